using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Web;

/// <summary>
/// What this replica does now, as <c>/status.json</c> and the page at <c>/</c> show it. Holds job ids and sentences, never a picture or a
/// vector.
/// </summary>
/// <param name="NotReady">What <c>/readyz</c> says; null where it says ok. A model in doubt is served and not ready.</param>
/// <param name="IntakeClosed">Why no jobs are taken; null where they are.</param>
/// <param name="Paused">The intake is closed until something ends, and opens by itself.</param>
/// <param name="BulkPaused">Why bulk jobs are paused by themselves; null where they are not.</param>
/// <param name="ModelDoubt">What the embedder's self-test found wrong; null: nothing, or not tested.</param>
/// <param name="Broker">Null before the first connection was tried.</param>
/// <param name="Working">The jobs in the slots, the longest first.</param>
/// <param name="Backlog">Null while it is not known.</param>
/// <param name="Queues">Of the topology, in the order of a job's life.</param>
internal sealed record StatusReport(string Worker, string Version, double UptimeSeconds, StatusModel Model, BrokerIdentity? Broker, string? NotReady, string? IntakeClosed, bool Paused, string? BulkPaused, string? ModelDoubt,
    int InFlight, int Slots, IReadOnlyList<RunningJob> Working, int Prefetch, Backlog? Backlog, LastMinute LastMinute, LastHour LastHour,
    IReadOnlyDictionary<string, long> Outcomes, IReadOnlyDictionary<string, long> Retries, IReadOnlyDictionary<string, long> DeadLetters,
    IReadOnlyList<StatusQueue> Queues, IReadOnlyList<JobDone> Results, IReadOnlyList<JobTrouble> Troubles)
{
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, StatusJson.Default.StatusReport);

    public static string? WhyNotReady(WorkerHealth health, string? modelDoubt) => (health.NotReady, modelDoubt) switch
    {
        (var why, null) => why,
        (null, var doubt) => $"the model fails its self-test: {doubt}",
        var (why, doubt) => $"{why}; and the model fails its self-test: {doubt}",
    };

    /// <summary>Now.</summary>
    public static StatusReport Of(WorkerHealth health, JobTally tally, Topology topology, FaceEmbedder embedder, string? modelDoubt, TimeSpan uptime, int slots)
    {
        var depths = health.Depths;
        var waits = topology.Ladder.Distinct().Select(d => (topology.WaitQueue(d), $"wait {d.TotalSeconds:0.###} s"));
        (string Name, string Role)[] queues = [(topology.Jobs, "jobs"), .. topology.Bulk is { } bulk ? [(bulk, "bulk jobs")] : Array.Empty<(string, string)>(), (topology.Suspects, "crash suspects"), .. waits, (topology.Dead, "dead letters"), (topology.Results, "results")];
        return new StatusReport(JobHandler.Worker, JobHandler.Version, Math.Round(uptime.TotalSeconds), new StatusModel(embedder.Card.Id, embedder.FaceSpace, embedder.ImageSpace),
            health.Link?.Broker, WhyNotReady(health, modelDoubt), health.NotReady, health.Paused, health.BulkPaused, modelDoubt,
            health.InFlight, slots, health.Slots?.Running ?? [], health.Prefetch, health.Queues?.Backlog is { } backlog ? backlog with { Paused = (health.NotReady ?? health.BulkPaused) is not null } : null, tally.LastMinute(), tally.LastHour(),
            Sorted(tally.Outcomes), Sorted(tally.Retries), Sorted(tally.DeadLetters),
            [.. queues.Select(q => new StatusQueue(q.Name, q.Role, depths.TryGetValue(q.Name, out var ready) ? ready : null))], tally.Results, tally.Troubles);
    }

    private static SortedDictionary<string, long> Sorted(IDictionary<string, long> counts) => new(counts, StringComparer.Ordinal);
}

internal sealed record StatusModel(string Id, string Space, string ImageSpace);

/// <param name="Ready">Messages; null where it is not known.</param>
internal sealed record StatusQueue(string Name, string Role, long? Ready);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(StatusReport))]
internal sealed partial class StatusJson : JsonSerializerContext;
