using System.Net;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Jobs;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;

namespace FaceEmbedWorker.Web;

/// <summary>
/// Answers probes over HTTP: <c>/startupz</c> (the models are loaded and have run), <c>/livez</c> (the process works; ignores the broker)
/// and
/// <c>/readyz</c> (jobs are taken; otherwise 503 and why not); a scraper with <c>/metrics</c>; and people with the page at <c>/</c> and
/// what to do about it at <c>/runbook</c>. Read-only.
/// </summary>
internal sealed partial class HealthEndpoint(IOptions<HealthOptions> options, IOptions<JobOptions> jobs, WorkerHealth health, JobHandler handler, JobTally tally, Topology topology, FaceEmbedder embedder,
    TimeProvider time, ILogger<HealthEndpoint> logger) : IHostedService, IAsyncDisposable
{
    private static readonly WebPage Page = new("status.html");
    private static readonly byte[] Runbook = WebPage.Read("runbook.md");
    private readonly long start = time.GetTimestamp();
    private readonly string url = options.Value.Url;
    private MeterProvider? metrics;
    private WebApplication? server;

    /// <summary>Who it is that tells.</summary>
    public static void Describe(ResourceBuilder resource) => resource.AddService("face-embed", serviceVersion: JobHandler.Version, serviceInstanceId: JobHandler.Worker).AddEnvironmentVariableDetector();

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (url.Length == 0)
        {
            return;
        }

        metrics = Sdk.CreateMeterProviderBuilder().ConfigureResource(Describe).AddMeter(Telemetry.Name).AddPrometheusExporter(o => o.ScopeInfoEnabled = false).Build();
        // to Kestrel, * is IPv6 and IPv4, or the latter alone on a machine without the former; [::] would fail there
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(url.Replace("[::]", "*", StringComparison.Ordinal)).ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        server = builder.Build();
        if (new Uri(url).IsLoopback)
        {
            server.Use(next => context => IsAnothersName(context.Request.Host.Host)
                ? TextAsync(context, StatusCodes.Status421MisdirectedRequest, "This page is for this machine alone: ask for it by localhost or an address (Health:Url).") : next(context));
        }

        server.UseOpenTelemetryPrometheusScrapingEndpoint(metrics, predicate: null, path: null, configureBranchedPipeline: null, optionsName: null);
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
        (_, "/livez") => Answer(context, health.NotAlive),
        (_, "/readyz") => Answer(context, NotReady),
        (_, "/") => Page.WriteAsync(context),
        (_, "/status.json") => WebPage.WriteAsync(context, "application/json",
            StatusReport.Of(health, tally, topology, embedder, handler.ModelDoubt, time.GetElapsedTime(start), jobs.Value.Slots).ToJson()),
        (_, "/runbook") => WebPage.WriteAsync(context, "text/plain; charset=utf-8", Runbook),
        _ => TextAsync(context, StatusCodes.Status404NotFound, "there are /, /status.json, /runbook, /startupz, /livez, /readyz and /metrics"),
    };

    /// <summary>
    /// A name of someone else's that leads here (DNS rebinding): a browser of this machine would let that site read the page. An address
    /// cannot be made to lead here.
    /// </summary>
    private static bool IsAnothersName(string host) => host.Length > 0 && host != "localhost" && !IPAddress.TryParse(host, out _);

    private string? NotReady => StatusReport.WhyNotReady(health, handler.ModelDoubt);

    private static Task Answer(HttpContext context, string? trouble) =>
        TextAsync(context, trouble is null ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable, trouble ?? "ok");

    private static Task TextAsync(HttpContext context, int status, string text)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync($"{text}\n");
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Status page: {Url}/; probes: /readyz, /livez, /startupz; metrics: /metrics")]
    private static partial void Listening(ILogger logger, string url);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The health endpoint cannot listen on {Url}: {Reason} Working without it; set Health:Url to another address, or to nothing")]
    private static partial void NotListening(ILogger logger, string url, string reason);
}
