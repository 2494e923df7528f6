using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Prometheus;

namespace FaceEmbedWorker.Health;

/// <summary>
/// Answers probes over HTTP: <c>/startupz</c> (the models are loaded and have run), <c>/livez</c> (the process works; ignores the broker) and
/// <c>/readyz</c> (jobs are taken; otherwise 503 and why not); and a scraper with <c>/metrics</c>. Read-only.
/// </summary>
internal sealed partial class HealthEndpoint(IOptions<HealthOptions> options, JobConsumer consumer, JobHandler handler, ILogger<HealthEndpoint> logger) : IHostedService, IAsyncDisposable
{
    private static readonly CollectorRegistry Registry = Metrics.NewCustomRegistry();
    private readonly string url = options.Value.Url;
    private IDisposable? metrics;
    private WebApplication? server;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (url.Length == 0)
        {
            return;
        }

        metrics = MeterAdapter.StartListening(new MeterAdapterOptions
        {
            Registry = Registry,
            MetricFactory = Metrics.WithCustomRegistry(Registry),
            InstrumentFilterPredicate = instrument => instrument.Meter.Name == Telemetry.Name,
            ResolveHistogramBuckets = instrument => instrument.Unit == "s" ? Telemetry.Buckets : [0, 1, 2, 3, 5, 10, 20, 50, 100],
        });
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(url).ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        server = builder.Build();
        server.Run(AnswerAsync);
        try
        {
            await server.StartAsync(cancellationToken);
            Listening(logger, url);
        }
        catch (IOException e)
        {
            NotListening(logger, url, e.Message); // jobs matter more
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => server?.StopAsync(cancellationToken) ?? Task.CompletedTask;

    public ValueTask DisposeAsync()
    {
        metrics?.Dispose();
        return server?.DisposeAsync() ?? ValueTask.CompletedTask;
    }

    private Task AnswerAsync(HttpContext context) => (context.Request.Method, context.Request.Path.Value) switch
    {
        (not "GET" and not "HEAD", _) => TextAsync(context, StatusCodes.Status405MethodNotAllowed, "only GET"),
        (_, "/startupz") => TextAsync(context, StatusCodes.Status200OK, "ok"), // nothing listens before the models have run
        (_, "/livez") => Answer(context, consumer.NotAlive),
        (_, "/metrics") => MetricsAsync(context),
        (_, "/readyz") => Answer(context, handler.ModelDoubt is { } doubt ? $"the model fails its self-test: {doubt}" : consumer.NotReady),
        _ => TextAsync(context, StatusCodes.Status404NotFound, "there are /startupz, /livez, /readyz and /metrics"),
    };

    /// <summary>Prometheus' text format.</summary>
    private static async Task MetricsAsync(HttpContext context)
    {
        context.Response.ContentType = PrometheusConstants.TextContentType;
        await Registry.CollectAndExportAsTextAsync(context.Response.Body, context.RequestAborted);
    }

    private static Task Answer(HttpContext context, string? trouble) =>
        TextAsync(context, trouble is null ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable, trouble ?? "ok");

    private static Task TextAsync(HttpContext context, int status, string text)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync($"{text}\n");
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Health: {Url}/readyz, /livez, /startupz; metrics: /metrics")]
    private static partial void Listening(ILogger logger, string url);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The health endpoint cannot listen on {Url}: {Reason} Working without it; set Health:Url to another address, or to nothing")]
    private static partial void NotListening(ILogger logger, string url, string reason);
}
