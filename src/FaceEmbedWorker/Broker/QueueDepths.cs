namespace FaceEmbedWorker.Broker;

/// <summary>Jobs that wait for any worker, bulk jobs among them.</summary>
/// <param name="PerSecond">How their number changes, by what all producers and workers do; null where it has not been seen for long
/// enough.</param>
internal sealed record Backlog(long Jobs, double? PerSecond)
{
    /// <summary>Some of them are paused: how it changed tells nothing of when it ends.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public bool Paused { get; init; }

    /// <summary>Time until none waits, if that goes on; null where the backlog does not shrink, or is paused.</summary>
    public double? SecondsLeft => PerSecond < 0 && !Paused ? Math.Round(Jobs / -PerSecond.Value) : null;
}

/// <summary>How many messages are ready in each queue of the topology, asked every few seconds.</summary>
internal sealed class QueueDepths(IBrokerLink link, Topology topology, TimeProvider time)
{
    /// <summary>
    /// Looks in a row that must find neither messages nor consumers before a queue counts as empty: its leader may be silent.
    /// </summary>
    private const int Doubts = 3;

    /// <summary>
    /// The same for a queue that had messages: a leader may be elected for long, a queue that was emptied can wait for its 0.
    /// </summary>
    private const int LongDoubts = 24;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan Trend = TimeSpan.FromSeconds(30);
    private readonly string[] queues = [.. topology.Queues.Select(q => q.Name)];
    private readonly string[] jobs = topology.Bulk is { } bulk ? [topology.Jobs, bulk] : [topology.Jobs];
    private readonly Dictionary<string, (long Last, int Doubts)> known = [];
    private readonly Queue<(long At, long Jobs)> looks = new();

    /// <summary>
    /// Queue -> messages ready; without those that do not exist or cannot be told for sure, and empty while there is no connection.
    /// </summary>
    public IReadOnlyDictionary<string, long> Ready { get; private set; } = new Dictionary<string, long>();

    /// <summary>Null while it is not known.</summary>
    public Backlog? Backlog { get; private set; }

    /// <summary>Jobs, bulk jobs among them, and suspects that are ready at this moment.</summary>
    public async Task<(long Jobs, long Suspects)> AskAsync(CancellationToken cancel)
    {
        var counts = await link.CountsAsync([.. jobs, topology.Suspects], cancel);
        return (jobs.Sum(queue => counts.GetValueOrDefault(queue).Ready), counts.GetValueOrDefault(topology.Suspects).Ready);
    }

    public async Task WatchAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            var asked = 0;
            try
            {
                var counts = await link.CountsAsync(queues, stopping);
                (Ready, asked) = (Believed(counts), counts.Count);
            }
            catch (Exception)
            {
                Ready = new Dictionary<string, long>(); // the consumer says why
            }

            Backlog = jobs.All(Ready.ContainsKey) ? Look(jobs.Sum(queue => Ready[queue])) : null;
            await Task.Delay(Ready.Count > 0 && Ready.Count == asked ? Interval : Soon, time, stopping).ContinueWith(_ => { }, TaskScheduler.Default);
        }
    }

    /// <summary>The backlog, beside what it was up to half a minute ago.</summary>
    internal Backlog Look(long jobs)
    {
        var now = time.GetTimestamp();
        looks.Enqueue((now, jobs));
        while (time.GetElapsedTime(looks.Peek().At, now) > Trend)
        {
            looks.Dequeue();
        }

        var (at, before) = looks.Peek();
        var seconds = time.GetElapsedTime(at, now).TotalSeconds;
        return new Backlog(jobs, seconds < Interval.TotalSeconds ? null : Math.Round((jobs - before) / seconds, 2));
    }

    /// <summary>What can be told: for the first doubtful looks the last sure number, then none, and at last the 0.</summary>
    internal Dictionary<string, long> Believed(IReadOnlyDictionary<string, QueueCount> counts)
    {
        var believed = new Dictionary<string, long>();
        foreach (var (queue, count) in counts)
        {
            var (last, doubts) = known.GetValueOrDefault(queue, (-1, 0));
            var sure = !count.IsDoubtful || ++doubts >= (last > 0 ? LongDoubts : Doubts);
            known[queue] = sure ? (count.Ready, 0) : (last, doubts);
            if (sure || (last >= 0 && doubts < Doubts))
            {
                believed[queue] = known[queue].Last;
            }
        }

        return believed;
    }
}
