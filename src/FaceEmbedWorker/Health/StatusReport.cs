using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Health;

/// <summary>What this replica does now, as <c>/status.json</c> and the page at <c>/</c> show it. Holds job ids and sentences, never a picture or a vector.</summary>
/// <param name="NotReady">Why no jobs are taken; null where they are.</param>
/// <param name="Queues">Of the topology, in the order of a job's life.</param>
internal sealed record StatusReport(string Worker, string Version, double UptimeSeconds, StatusModel Model, string? NotReady, int InFlight, int Slots, int Prefetch,
    LastMinute LastMinute, IReadOnlyDictionary<string, long> Outcomes, IReadOnlyDictionary<string, long> Retries, IReadOnlyDictionary<string, long> DeadLetters,
    IReadOnlyList<StatusQueue> Queues, IReadOnlyList<JobTrouble> Troubles)
{
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, StatusJson.Default.StatusReport);

    /// <summary>Now.</summary>
    public static StatusReport Of(WorkerHealth health, JobTally tally, Topology topology, FaceEmbedder embedder, string? notReady, TimeSpan uptime, int slots)
    {
        var depths = health.Depths;
        var waits = topology.Ladder.Distinct().Select(d => (topology.WaitQueue(d), $"wait {d.TotalSeconds:0.###} s"));
        (string Name, string Role)[] queues = [(topology.Jobs, "jobs"), (topology.Suspects, "crash suspects"), .. waits, (topology.Dead, "dead letters"), (topology.Results, "results")];
        return new StatusReport(JobHandler.Worker, JobHandler.Version, Math.Round(uptime.TotalSeconds), new StatusModel(embedder.Card.Id, embedder.FaceSpace, embedder.ImageSpace), notReady,
            health.InFlight, slots, health.Prefetch, tally.Look(), Sorted(tally.Outcomes), Sorted(tally.Retries), Sorted(tally.DeadLetters),
            [.. queues.Select(q => new StatusQueue(q.Name, q.Role, depths.TryGetValue(q.Name, out var ready) ? ready : null))], tally.Troubles);
    }

    private static SortedDictionary<string, long> Sorted(IDictionary<string, long> counts) => new(counts, StringComparer.Ordinal);
}

internal sealed record StatusModel(string Id, string Space, string ImageSpace);

/// <param name="Ready">Messages; null where it is not known.</param>
internal sealed record StatusQueue(string Name, string Role, long? Ready);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(StatusReport))]
internal sealed partial class StatusJson : JsonSerializerContext;
