namespace FaceEmbedWorker.Broker;

/// <summary>What probes and people are told of this worker.</summary>
internal sealed class WorkerHealth(IntakeGate gate, Topology topology, TimeProvider time)
{
    private static readonly TimeSpan StandsStill = TimeSpan.FromSeconds(10);
    private long lastTick;

    /// <summary>The consumer's present life; null before the first.</summary>
    public ConsumerLife? Life { get; set; }

    /// <summary>The connection that jobs come by.</summary>
    public IBrokerLink? Link { get; set; }

    public QueueDepths? Queues { get; set; }

    public JobSlots? Slots { get; set; }

    /// <summary>Why the broker, which is there, does not hand out jobs; null: it does, or is away.</summary>
    public string? Refusal { get; set; }

    /// <summary>The consumer has come to its end.</summary>
    public bool Over { get; set; }

    /// <summary>Jobs that the broker hands out before one is settled.</summary>
    public ushort Prefetch { get; set; }

    /// <summary>Jobs handed out and not settled.</summary>
    public int InFlight => Life is { Ended: false } life ? life.InHand : 0;

    /// <inheritdoc cref="QueueDepths.Ready"/>
    public IReadOnlyDictionary<string, long> Depths => Queues?.Ready ?? new Dictionary<string, long>();

    /// <summary>Why no jobs are taken at this moment; null where they are.</summary>
    public string? NotReady => Now.NotReady;

    /// <summary>The intake waits for the end of something, and goes on by itself; what is in hand stays.</summary>
    public bool Paused => Now.Paused;

    /// <inheritdoc cref="IntakeGate.BulkReason"/>
    public string? BulkPaused => gate.BulkReason;

    /// <inheritdoc cref="IntakeGate.BulkResults"/>
    public long BulkResults => gate.BulkResults;

    private (string? NotReady, bool Paused) Now => Life switch
    {
        { Closed: true, Ended: false } => ("stopping", false),
        null or { Ended: true } => gate.Blocked is { } why ? ($"the broker takes no messages: {why}", true) : (Refusal is { } refusal ? $"the broker does not hand out jobs: {refusal}" : $"not connected to the broker{Link?.Trouble}", false),
        { Ready: false } => ($"the broker does not hand out {topology.Jobs} yet", false),
        _ => gate.Reason is { } closed ? (closed, true) : default,
    };

    /// <summary>Why the process should be started again, whatever the broker does; null where it works.</summary>
    public string? NotAlive => Over ? "the worker has ended"
        : lastTick != 0 && time.GetElapsedTime(lastTick) > StandsStill ? $"the worker's clock has stood for {time.GetElapsedTime(lastTick).TotalSeconds:0} s: no thread is free"
        : null;

    /// <summary>The worker's clock goes.</summary>
    public void Tick() => lastTick = time.GetTimestamp();
}
