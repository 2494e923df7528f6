using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Web;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed run</c>: the worker, until it is told to stop.</summary>
internal static partial class RunCommand
{
    public const string Name = "run";

    private static readonly string[] Collectors = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];

    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command(Name, "Run the worker until it is told to stop.");
        command.SetAction((_, _) => RunAsync(settings));
        root.Add(command);
    }

    private static async Task<int> RunAsync(string[] settings)
    {
        var configuration = Settings.Read(settings);
        (LogLine.AsJson, LogLine.OnTerminal, LogLine.Coloured) = (Console.IsOutputRedirected, !Console.IsOutputRedirected, LogLine.MayColour(Console.IsOutputRedirected));
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { ContentRootPath = AppContext.BaseDirectory });
        builder.Logging
            .SetMinimumLevel(LogLevel.Information)
            .AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None) // what ends the worker is told once, at the end
            .AddConfiguration(configuration.GetSection("Logging"))
            .AddConsole(console => console.FormatterName = LogLine.FormatterName)
            .AddConsoleFormatter<LogLine, ConsoleFormatterOptions>();
        builder.Services.AddFaceEmbed(configuration).AddHostedService<HealthEndpoint>().AddHostedService(s => s.GetRequiredService<JobConsumer>());
        builder.Configuration.AddEnvironmentVariables(); // where the OTEL_* variables are looked up
        AddOpenTelemetry(builder.Services);
        AddLifetime(builder.Services);
        builder.Services.AddOptions<HostOptions>().Configure<IOptions<BrokerOptions>>((host, broker) => host.ShutdownTimeout = TimeSpan.FromSeconds(broker.Value.DrainSeconds + 10));
        using var host = builder.Build();

        // what is wrong with the models is told before a job is taken
        var embedder = host.Services.GetRequiredService<FaceEmbedder>();
        var handler = host.Services.GetRequiredService<JobHandler>();
        var consumer = host.Services.GetRequiredService<JobConsumer>();
        consumer.Stuck += EndNow;
        if (host.Services.GetRequiredService<IOptions<JobOptions>>().Value.Mode != EmbedMode.Image && embedder.Card.NotForFaces is { } reason)
        {
            throw new ModelException(reason);
        }

        var faces = host.Services.GetRequiredService<IOptions<FaceOptions>>().Value;
        var logger = host.Services.GetRequiredService<ILogger<JobHandler>>();
        Serving(logger, JobHandler.Version, embedder.Card.Id, embedder.FaceSpace, embedder.ImageSpace);

        IReadOnlyList<Finding> findings = faces.SelfTest == SelfTestPolicy.Off ? [] : host.Services.GetRequiredService<SelfTest>().Run(faces.EmbeddingModel);
        if (SelfTest.Verdict(findings) is { } doubt)
        {
            if (findings.Any(f => f.IsHopeless))
            {
                throw new ModelException($"The model {faces.EmbeddingModel} gives no vectors. {doubt}");
            }

            if (faces.SelfTest == SelfTestPolicy.Refuse)
            {
                throw new ModelException($"The model {faces.EmbeddingModel} fails its self-test, and Faces:SelfTest is Refuse. {doubt} face-embed model check shows all of it.");
            }

            handler.ModelDoubt = doubt;
            Doubtful(logger, faces.EmbeddingModel, doubt);
        }

        var health = host.Services.GetRequiredService<WorkerHealth>();
        using var bulk = Telemetry.WatchBulk(() => health.BulkPaused is null, () => health.BulkResults);
        var slots = host.Services.GetRequiredService<IOptions<JobOptions>>().Value.Slots;
        var memory = host.Services.GetRequiredService<IOptions<ImageOptions>>().Value.MaxMemory;
        Plan(logger, Plural.Of(Environment.ProcessorCount, "core"), Plural.Of(slots, "job"), health.Prefetch, slots * memory / 1_000_000);
        Decoding(logger, host.Services.GetRequiredService<ImageDecoder>().Describe());

        // a closed terminal ends it as SIGTERM does
        using var hangUp = Interrupt.HangUpIsIgnored ? null : PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
        {
            signal.Cancel = true;
            host.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        });

        // the slots compute on pool threads; the broker's heartbeats and confirms must never wait for one
        ThreadPool.SetMinThreads(slots + Environment.ProcessorCount + 2, Environment.ProcessorCount);
        await host.RunAsync();
        return consumer.ExecuteTask is { IsFaulted: true, Exception.InnerException: var failure } ? throw failure! : ExitCode.Ok;
    }

    /// <summary>
    /// Where systemd waits for it, READY=1 is said once the models have run. AddSystemd looks at the parent process instead, which
    /// ProtectProc=invisible hides, and then says nothing.
    /// </summary>
    private static void AddLifetime(IServiceCollection services)
    {
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NOTIFY_SOCKET")))
        {
            services.AddSingleton<IHostLifetime, Microsoft.Extensions.Hosting.Internal.ConsoleLifetime>();
        }
        else
        {
            services.AddSingleton<ISystemdNotifier, SystemdNotifier>().AddSingleton<IHostLifetime, SystemdLifetime>();
        }
    }

    /// <summary>
    /// Traces and metrics over OTLP, where the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT and the like) say where to.
    /// </summary>
    private static void AddOpenTelemetry(IServiceCollection services)
    {
        if (!Collectors.Any(v => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(v))))
        {
            return;
        }

        services.AddOpenTelemetry()
            .ConfigureResource(HealthEndpoint.Describe)
            .WithTracing(traces => traces.AddSource(Telemetry.Name).AddOtlpExporter())
            .WithMetrics(metrics => metrics.AddMeter(Telemetry.Name).AddOtlpExporter());
    }

    /// <summary>Native code that does not return may hold up an orderly exit as well.</summary>
    private static void EndNow()
    {
        Task.Run(() => Environment.Exit(ExitCode.Software));
        Thread.Sleep(TimeSpan.FromSeconds(3));
        Process.GetCurrentProcess().Kill();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "face-embed {Version}, model {Model}, space {FaceSpace} (whole pictures: {ImageSpace})")]
    private static partial void Serving(ILogger logger, string version, string model, string faceSpace, string imageSpace);

    [LoggerMessage(Level = LogLevel.Error, Message = "The model {Model} fails its self-test: {Doubt} It is served all the same (Faces:SelfTest), and each result says so")]
    private static partial void Doubtful(ILogger logger, string model, string doubt);

    [LoggerMessage(Level = LogLevel.Information, Message = "Plan: {Cores}; {Jobs} at once (Jobs:Parallelism), one core each; prefetch {Prefetch} (Broker:Prefetch); decoding takes up to {Megabytes} MB (Images:MaxMemory for each job)")]
    private static partial void Plan(ILogger logger, string cores, string jobs, int prefetch, long megabytes);

    [LoggerMessage(Level = LogLevel.Information, Message = "Pictures are decoded by {Decoders}")]
    private static partial void Decoding(ILogger logger, string decoders);
}
