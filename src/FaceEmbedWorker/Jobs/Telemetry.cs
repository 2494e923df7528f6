using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace FaceEmbedWorker.Jobs;

/// <summary>
/// What a worker tells of itself: OpenTelemetry's messaging conventions, and <c>face_embed.*</c> for what is ours. Nothing of it holds ids,
/// pictures or vectors, but for job ids in spans.
/// </summary>
internal static class Telemetry
{
    /// <summary>Name of the meter and of the activity source.</summary>
    public const string Name = "FaceEmbedWorker";

    public static readonly ActivitySource Source = new(Name);

    private static readonly KeyValuePair<string, object?> System = new("messaging.system", "rabbitmq");
    private static readonly Meter Meter = new(Name);

    /// <summary>As the conventions advise.</summary>
    private static readonly InstrumentAdvice<double> Seconds = new() { HistogramBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] };
    private static readonly InstrumentAdvice<int> Few = new() { HistogramBucketBoundaries = [0, 1, 2, 3, 5, 10, 20, 50, 100] };

    private static readonly Histogram<double> Processed = Meter.CreateHistogram("messaging.process.duration", "s", "Time from the start of a job to its outcome.", null, Seconds);
    private static readonly Histogram<double> Operations = Meter.CreateHistogram("messaging.client.operation.duration", "s", "Time that the broker took to confirm a message, or to fail to.", null, Seconds);
    private static readonly Histogram<double> Stages = Meter.CreateHistogram("face_embed.stage.duration", "s", "Time of one stage of a job.", null, Seconds);
    private static readonly Histogram<int> FacesPerPhoto = Meter.CreateHistogram("face_embed.faces", "{face}", "Faces embedded of one photo.", null, Few);
    private static readonly Counter<long> Consumed = Meter.CreateCounter<long>("messaging.client.consumed.messages", "{message}", "Jobs handed out by the broker.");
    private static readonly Counter<long> Sent = Meter.CreateCounter<long>("messaging.client.sent.messages", "{message}", "Messages that the broker has confirmed.");
    private static readonly Counter<long> Jobs = Meter.CreateCounter<long>("face_embed.jobs", "{job}", "Jobs settled, by outcome.");
    private static readonly Counter<long> Pictures = Meter.CreateCounter<long>("face_embed.pictures", "{picture}", "Pictures decoded, by format and decoder.");
    private static readonly Counter<long> Retries = Meter.CreateCounter<long>("face_embed.retries", "{job}", "Attempts that failed for no fault of the job's, by reason.");
    private static readonly Counter<long> DeadLetters = Meter.CreateCounter<long>("face_embed.dead_letters", "{job}", "Jobs given up, by reason.");

    public static void JobConsumed(string queue) => Consumed.Add(1, System, new("messaging.destination.name", queue));

    /// <param name="error">Why the broker has not confirmed the message; null where it has.</param>
    public static void MessagePublished(string exchange, TimeSpan duration, string? error)
    {
        var tags = new TagList { System, { "messaging.operation.name", "publish" }, { "messaging.destination.name", exchange } };
        if (error is null)
        {
            Sent.Add(1, System, new("messaging.destination.name", exchange));
        }
        else
        {
            tags.Add("error.type", error);
        }

        Operations.Record(duration.TotalSeconds, tags);
    }

    /// <param name="error">Reason of a retry or a dead letter; null where the job succeeded.</param>
    public static void JobProcessed(TimeSpan duration, string queue, string? error)
    {
        var tags = new TagList { System, { "messaging.destination.name", queue } };
        if (error is not null)
        {
            tags.Add("error.type", error);
        }

        Processed.Record(duration.TotalSeconds, tags);
    }

    public static void JobCompleted(EmbedResult result)
    {
        Jobs.Add(1, new("outcome", result.Outcome), new("space", result.Model.Space));
        if (result.Outcome != EmbedResult.Stub)
        {
            Pictures.Add(1, new("format", result.Image.Format), new("decoder", result.Image.Decoder));
            FacesPerPhoto.Record(result.Embeddings.Count, new KeyValuePair<string, object?>("space", result.Model.Space));
        }

        foreach (var (stage, milliseconds) in result.TimingsMs.Stages)
        {
            Stages.Record(milliseconds / 1000, new KeyValuePair<string, object?>("stage", stage));
        }
    }

    public static void JobRetried(string reason)
    {
        Jobs.Add(1, new KeyValuePair<string, object?>("outcome", "retry"));
        Retries.Add(1, new KeyValuePair<string, object?>("reason", reason));
    }

    public static void JobDead(string reason)
    {
        Jobs.Add(1, new KeyValuePair<string, object?>("outcome", "dead_letter"));
        DeadLetters.Add(1, new KeyValuePair<string, object?>("reason", reason));
    }

    /// <summary>Gauges that are asked of whoever knows; they end with the returned meter.</summary>
    public static Meter Watch(Func<int> inFlight, Func<bool> intakeOpen, Func<IEnumerable<(string Queue, string Role, long Ready)>> depths)
    {
        var meter = new Meter(Name);
        meter.CreateObservableGauge("face_embed.in_flight", inFlight, "{job}", "Jobs taken from the queue and not settled.");
        meter.CreateObservableGauge("face_embed.intake.open", () => intakeOpen() ? 1 : 0, "1", "1 where jobs are taken, 0 where readiness says why not.");
        meter.CreateObservableGauge("face_embed.queue.ready", () => depths().Select(d => new Measurement<long>(d.Ready, new("queue", d.Queue), new("role", d.Role))), "{message}", "Messages ready in a queue; every replica tells the same.");
        return meter;
    }

    /// <summary>The same of bulk jobs, whose pause is no closed intake.</summary>
    public static Meter WatchBulk(Func<bool> open, Func<long> results)
    {
        var meter = new Meter(Name);
        meter.CreateObservableGauge("face_embed.bulk.open", () => open() ? 1 : 0, "1", "0 while bulk jobs are paused by themselves, 1 otherwise.");
        meter.CreateObservableCounter("face_embed.bulk.results", results, "{job}", "Bulk jobs that ended with a result.");
        return meter;
    }

    /// <summary>The span of a job: a child of the producer's, so that one trace leads from the photo to its vectors.</summary>
    public static Activity? StartProcess(string queue, string? traceParent, string? traceState)
    {
        ActivityContext.TryParse(traceParent, traceState, isRemote: true, out var producer);
        var activity = Source.StartActivity($"process {queue}", ActivityKind.Consumer, producer, [System, new("messaging.operation.type", "process"), new("messaging.destination.name", queue)]);
        return activity;
    }

    /// <summary>Spans of a finished job's stages, from its timings: stages interleave, so each is drawn as one stretch.</summary>
    public static void AddStages(EmbedResult result, Activity? job)
    {
        if (job is not { IsAllDataRequested: true })
        {
            return;
        }

        var start = job.StartTimeUtc;
        foreach (var (stage, milliseconds) in result.TimingsMs.Stages)
        {
            if (Source.StartActivity(stage, ActivityKind.Internal, job.Context, startTime: start) is { } activity)
            {
                activity.SetEndTime(start += TimeSpan.FromMilliseconds(milliseconds));
                activity.Dispose();
            }
        }
    }
}
