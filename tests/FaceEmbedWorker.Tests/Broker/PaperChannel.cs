using FaceEmbedWorker.Broker;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>A channel on paper, for rooms that are to be tested without a broker: the test plays RabbitMQ.</summary>
internal sealed class PaperChannel : IBrokerChannel
{
    private Func<string, Task> closed = _ => Task.CompletedTask;
    private readonly Dictionary<string, Func<Handed, Task>> received = [];
    private readonly Dictionary<string, Func<Task>> ended = [];
    private readonly Queue<Handed> waiting = new();
    private ulong tag;

    /// <summary>Answers a cancel.</summary>
    public bool AnswersCancel { get; set; } = true;

    /// <summary>Says with that answer that nothing more comes.</summary>
    public bool EndsAtOnce { get; set; } = true;

    /// <summary>Hands out what waits when it is asked to.</summary>
    public bool AnswersGet { get; set; } = true;

    /// <summary>The answer to a subscription, where it is not given at once.</summary>
    public TaskCompletionSource? Subscribed { get; set; }

    /// <summary>Confirms what is published; otherwise whoever publishes waits until it gives up.</summary>
    public bool Confirms { get; set; } = true;

    /// <summary>What becomes of what is published, where it is not told at once.</summary>
    public Func<string, CancellationToken, Task>? Answer { get; set; }

    public List<ulong> Acked { get; } = [];

    public List<ulong> Rejected { get; } = [];

    /// <summary>Tags of subscriptions that were to end.</summary>
    public List<string> Cancelled { get; } = [];

    /// <summary>What is published, by exchange.</summary>
    public List<(string Exchange, string Key, BasicProperties Properties)> Published { get; } = [];

    public bool IsOpen { get; private set; } = true;

    /// <summary>Hands a message to who consumes.</summary>
    /// <param name="queue">Null where there is but one.</param>
    public Task HandAsync(byte[] body, BasicProperties? properties = null, string? queue = null) => HandMemoryAsync(body, properties, queue);

    public Task HandMemoryAsync(ReadOnlyMemory<byte> body, BasicProperties? properties = null, string? queue = null) =>
        (queue is null ? received.Values.Single() : received[queue])(new Handed(++tag, false, body, properties ?? new BasicProperties()));

    /// <summary>Puts a message where it is asked for.</summary>
    public void Wait(byte[] body, BasicProperties properties) => waiting.Enqueue(new Handed(++tag, true, body, properties));

    public Task EndSubscriptionAsync() => ended.Values.Single()();

    public Task CloseAsync(string reason)
    {
        IsOpen = false;
        return closed(reason);
    }

    public void OnClosed(Func<string, Task> closed) => this.closed = closed;

    public async Task<string> ConsumeAsync(string queue, ushort prefetch, Func<Handed, Task> received, Func<Task> ended, CancellationToken cancel)
    {
        (this.received[queue], this.ended[queue]) = (received, ended);
        await (Subscribed?.Task ?? Task.CompletedTask);
        return $"tag of {queue}";
    }

    public Task CancelAsync(string tag, CancellationToken cancel)
    {
        Cancelled.Add(tag);
        return AnswersCancel ? EndsAtOnce ? ended[tag["tag of ".Length..]]() : Task.CompletedTask : Task.Delay(Timeout.Infinite, cancel);
    }

    public Task<Handed?> GetAsync(string queue, CancellationToken cancel) => AnswersGet ? Task.FromResult(waiting.TryDequeue(out var next) ? next : null) : new TaskCompletionSource<Handed?>().Task;

    public Task AckAsync(ulong tag, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        Acked.Add(tag);
        return Task.CompletedTask;
    }

    public Task RejectAsync(ulong tag, CancellationToken cancel)
    {
        Rejected.Add(tag);
        return Task.CompletedTask;
    }

    public Task PublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken cancel)
    {
        Published.Add((exchange, key, properties));
        return Answer is not null ? Answer(exchange, cancel) : Confirms ? Task.CompletedTask : Task.Delay(Timeout.Infinite, cancel);
    }
}

/// <summary>A link that always has one channel.</summary>
internal sealed class PaperLink(PaperChannel channel) : IBrokerLink
{
    public string Trouble => "";

    public BrokerIdentity Broker => new("paper:5672", "/", null, null);

    public string? Blocked { get; private set; }

    public event Action? BlockedChanged;

    public void Block(string? why)
    {
        Blocked = why;
        BlockedChanged?.Invoke();
    }

    public Task<IBrokerChannel> ChannelAsync(CancellationToken cancel) => Task.FromResult<IBrokerChannel>(channel);

    public Task AbandonAsync(IBrokerChannel dead) => Task.CompletedTask;

    public Task DeclareAsync(CancellationToken cancel) => Task.CompletedTask;

    /// <summary>What its queues tell; null: it cannot be asked.</summary>
    public Dictionary<string, QueueCount>? Counts { get; set; } = [];

    /// <summary>How often they were asked.</summary>
    public int Looks { get; private set; }

    public Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel)
    {
        Looks++;
        return Task.FromResult(queues.Where((Counts ?? throw new IOException("away")).ContainsKey).ToDictionary(q => q, q => Counts[q]));
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
