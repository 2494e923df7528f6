namespace FaceEmbedWorker.Broker;

/// <summary>How many messages are ready in each queue of the topology, asked every few seconds.</summary>
internal sealed class QueueDepths(BrokerConnection connection, Topology topology, TimeProvider time)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(0.5);
    private readonly string[] queues = [.. topology.Queues.Select(q => q.Name)];

    /// <summary>Queue -> messages ready; without those that do not exist, and empty while there is no connection.</summary>
    public IReadOnlyDictionary<string, long> Ready { get; private set; } = new Dictionary<string, long>();

    public async Task WatchAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                Ready = await connection.DepthsAsync(queues, stopping);
            }
            catch (Exception)
            {
                Ready = new Dictionary<string, long>(); // the consumer says why
            }

            await Task.Delay(Ready.Count > 0 ? Interval : Soon, time, stopping).ContinueWith(_ => { }, TaskScheduler.Default);
        }
    }
}
