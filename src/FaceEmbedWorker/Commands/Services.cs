using System.Diagnostics;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Commands;

/// <summary>What the verbs are made of. The service and its tools run the same code.</summary>
internal static partial class Services
{
    /// <summary>
    /// Everything for a verb that runs to its end; it logs warnings to standard error, so that standard output is its results alone.
    /// </summary>
    public static ServiceProvider Build(string[] settings)
    {
        var configuration = Settings.Read(settings);
        (LogLine.OnTerminal, LogLine.Coloured) = (!Console.IsErrorRedirected, LogLine.MayColour(Console.IsErrorRedirected));
        BrokerWait.Show = Console.IsErrorRedirected ? null : Screen.ShowWaiting;
        return new ServiceCollection()
            .AddLogging(logging => logging
                .SetMinimumLevel(LogLevel.Warning)
                .AddConfiguration(configuration.GetSection("Logging"))
                .AddConsole(console => (console.FormatterName, console.LogToStandardErrorThreshold) = (LogLine.FormatterName, LogLevel.Trace))
                .AddConsoleFormatter<LogLine, ConsoleFormatterOptions>())
            .AddFaceEmbed(configuration)
            .BuildServiceProvider();
    }

    /// <exception cref="SettingsException">A setting is wrong.</exception>
    public static IServiceCollection AddFaceEmbed(this IServiceCollection services, IConfiguration configuration) => services
        .AddSettings(configuration)
        .AddSingleton(TimeProvider.System)
        .AddSingleton<ImageFetcher>()
        .AddSingleton<BucketListing>()
        .AddSingleton(s => new ImageDecoder(s.GetRequiredService<IOptions<ImageOptions>>(), s.GetRequiredService<IOptions<JobOptions>>().Value.Slots))
        .AddSingleton(LoadDetector)
        .AddSingleton(s => new FaceEmbedder(Load(s, o => o.EmbeddingModel, ModelCard.Embedding, o => o.EmbeddingCard), s.GetRequiredService<FaceDetector>().Points))
        .AddSingleton(s => new FaceAligner(s.GetRequiredService<FaceEmbedder>().Card, s.GetRequiredService<FaceDetector>().Points))
        .AddSingleton(services => ActivatorUtilities.CreateInstance<SelfTest>(services, new ImageDecoder(Options.Create(new ImageOptions { Decoder = services.GetRequiredService<IOptions<ImageOptions>>().Value.Decoder })))) // its own photos are within no limits that are set
        .AddSingleton(WarmThreads.Shared)
        .AddSingleton<JobHandler>()
        .AddSingleton<Topology>()
        .AddSingleton<IntakeGate>()
        .AddSingleton<JobTally>()
        .AddSingleton<WorkerHealth>()
        .AddSingleton<ResultPublisher>()
        .AddSingleton<JobPublisher>()
        .AddSingleton<DeadLetterDesk>()
        .AddSingleton<ResultWatch>()
        .AddSingleton<TopologyDesk>()
        .AddSingleton<Func<EmbedJob, CancellationToken, Task<JobOutcome>>>(s => OrCrash(s.GetRequiredService<JobHandler>().HandleAsync))
        .AddSingleton<JobConsumer>();

    /// <summary>
    /// For the tests of crash safety, and off unless the environment names a job's id: while it handles that job, the process ends as by
    /// kill -9, or the job never ends.
    /// </summary>
    private static Func<EmbedJob, CancellationToken, Task<JobOutcome>> OrCrash(Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle)
    {
        var (crashing, hanging) = (Environment.GetEnvironmentVariable("FACE_EMBED_TEST_CRASH_ON_ID"), Environment.GetEnvironmentVariable("FACE_EMBED_TEST_HANG_ON_ID"));
        return string.IsNullOrEmpty(crashing) && string.IsNullOrEmpty(hanging) ? handle : (job, stopping) =>
        {
            if (job.Id == crashing)
            {
                Process.GetCurrentProcess().Kill();
            }

            return job.Id == hanging ? new TaskCompletionSource<JobOutcome>().Task : handle(job, stopping);
        };
    }

    /// <exception cref="ModelException">The detector gives no points and no landmark model is set, or one is set that nothing asks
    /// for.</exception>
    private static FaceDetector LoadDetector(IServiceProvider services)
    {
        var options = services.GetRequiredService<IOptions<FaceOptions>>();
        var model = Load(services, o => o.DetectionModel, ModelCard.Detection);
        FaceDetector.CheckLandmarks(model.Card, options.Value);
        return new FaceDetector(model, options.Value.LandmarksModel.Length > 0 ? new Landmarks(Load(services, o => o.LandmarksModel, ModelCard.Landmarks)) : null, options);
    }

    private static Model Load(IServiceProvider services, Func<FaceOptions, string> path, string task, Func<FaceOptions, string>? card = null)
    {
        var options = services.GetRequiredService<IOptions<FaceOptions>>().Value;
        var model = Model.Load(path(options), task, options.PrepareGraph, cardName: card?.Invoke(options) ?? "");
        foreach (var reason in (model.Prepared?.Left ?? []).Take(1))
        {
            RunsPlain(services.GetRequiredService<ILogger<Model>>(), path(options), reason);
        }

        return model;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The model {Path} is not prepared for speed in full, and runs slower than it could: {Reason}")]
    private static partial void RunsPlain(ILogger logger, string path, string reason);
}
