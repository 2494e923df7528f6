using System.Text;
using FaceEmbedWorker.Broker;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Simulation;

/// <summary>A message as a queue holds it.</summary>
internal sealed class ModelMessage(byte[] body, BasicProperties properties)
{
    public byte[] Body => body;

    public BasicProperties Properties => properties;

    /// <summary>Times that it was handed out and came back.</summary>
    public long Returns { get; set; }

    /// <summary>A broker has moved it on.</summary>
    public bool IsLetter { get; init; }

    /// <summary>The job that it is, or that it is the result of.</summary>
    public string Job { get; } = (properties.MessageId ?? "").Split(':')[0];

    public object? Header(string name) => properties.Headers is { } headers && headers.TryGetValue(name, out var value) ? value : null;

    /// <summary>As the broker hands it out: texts are bytes, and returns are told in a header.</summary>
    public BasicProperties Told()
    {
        var told = new BasicProperties(properties) { Headers = new Dictionary<string, object?>(properties.Headers ?? new Dictionary<string, object?>()) };
        if (Returns > 0)
        {
            told.Headers["x-delivery-count"] = Returns;
        }

        return told;
    }

    /// <summary>As it is after its way over the wire.</summary>
    public static ModelMessage Sent(ReadOnlyMemory<byte> body, IReadOnlyBasicProperties properties) => new(body.ToArray(), Sent(properties));

    /// <summary>A copy that the broker moves on.</summary>
    public static ModelMessage Letter(byte[] body, IReadOnlyBasicProperties properties) => new(body, Sent(properties)) { IsLetter = true };

    private static BasicProperties Sent(IReadOnlyBasicProperties properties)
    {
        var sent = new BasicProperties(properties);
        sent.Headers = sent.Headers?.ToDictionary(h => h.Key, h => Sent(h.Value));
        return sent;
    }

    private static object? Sent(object? value) => value switch
    {
        string text => Encoding.UTF8.GetBytes(text),
        IDictionary<string, object?> table => table.ToDictionary(field => field.Key, field => Sent(field.Value)),
        List<object?> list => list.ConvertAll(Sent),
        _ => value,
    };
}

/// <summary>What the broker answers to a message.</summary>
internal enum Answer
{
    Confirmed,

    /// <summary>No queue takes it.</summary>
    Returned,

    /// <summary>A queue is full.</summary>
    Refused,
}

/// <summary>What happens in the broker, for those who watch.</summary>
internal interface IWatcher
{
    void Note(string what);

    /// <summary>There may be one copy of a job more than there was.</summary>
    void Doubled(string job);

    /// <summary>A job came back, and no worker that lives on has seen it.</summary>
    void CameBack(string job);

    void Arrived(string queue, ModelMessage message);

    /// <summary>It is full.</summary>
    void Refused(string queue, ModelMessage message);

    void Dropped(string queue, ModelMessage message);

    /// <summary>A delivery is settled that is not in hand, and its channel is closed for it.</summary>
    void SettledTwice(ModelChannel channel, ulong tag);

    /// <summary>A worker publishes.</summary>
    void Sends(ModelChannel channel, string exchange, string key, ModelMessage message);

    /// <summary>A delivery was not settled in time, and its channel is closed for it.</summary>
    void TimedOut(ModelMessage message);
}

/// <summary>
/// The rules of RabbitMQ's quorum queues that the worker lives by; ModelBrokerTests holds each against a real broker. Latencies and what
/// goes wrong are the schedule's.
/// </summary>
internal sealed class ModelBroker
{
    /// <summary>A dead letter that its target does not take is sent again after this time.</summary>
    private static readonly TimeSpan DeadLetterRetry = TimeSpan.FromMinutes(3);

    private readonly List<(string Exchange, string Key, ModelQueue Queue)> bindings = [];

    public ModelBroker(Topology topology, Agenda agenda, IWatcher watcher)
    {
        (Agenda, Watcher) = (agenda, watcher);
        foreach (var (name, arguments, exchange, keys) in topology.Queues)
        {
            var queue = Queues[name] = new ModelQueue(this, name, arguments);
            bindings.AddRange(keys.Select(key => (exchange, key, queue)));
        }
    }

    public Agenda Agenda { get; }

    public IWatcher Watcher { get; }

    public Dictionary<string, ModelQueue> Queues { get; } = [];

    /// <summary>RabbitMQ 4, which does not heed deaths that clients write, and leaves a dead letter its count of returns; otherwise 3.10.</summary>
    public bool IsVersion4 { get; init; }

    /// <summary>Time that a delivery may be in hand (consumer_timeout).</summary>
    public TimeSpan AckTimeout { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>An alarm: nothing that is published is read.</summary>
    public bool Blocked { get; private set; }

    public event Action? BlockedChanged;

    /// <summary>Routing keys of exchanges that lead nowhere now.</summary>
    public HashSet<string> Unbound { get; } = [];

    /// <summary>Queue counts are all 0: leaders do not answer.</summary>
    public bool CountsNothing { get; set; }

    public ModelQueue Bind(string queue, string exchange, string key, Dictionary<string, object?> arguments)
    {
        var bound = Queues[queue] = new ModelQueue(this, queue, arguments);
        bindings.Add((exchange, key, bound));
        return bound;
    }

    public void Block(bool blocked)
    {
        if (Blocked != blocked)
        {
            Blocked = blocked;
            Watcher.Note(blocked ? "the broker raises an alarm" : "the broker's alarm is over");
            BlockedChanged?.Invoke();
        }
    }

    public Answer Publish(string exchange, string key, ModelMessage message)
    {
        var targets = exchange.Length == 0 ? Queues.TryGetValue(key, out var direct) ? [direct] : []
            : bindings.Where(b => b.Exchange == exchange && (b.Key == "#" || b.Key == key)).Select(b => b.Queue).ToArray();
        if (targets.Length == 0 || Unbound.Contains(exchange))
        {
            return Answer.Returned;
        }

        var taken = 0;
        foreach (var queue in targets)
        {
            if (!queue.IsFull)
            {
                taken++;
                queue.Add(new ModelMessage(message.Body, message.Properties) { IsLetter = message.IsLetter });
            }
            else
            {
                Watcher.Refused(queue.Name, message);
            }
        }

        if (taken < targets.Length && taken > 0)
        {
            Watcher.Doubled(message.Job);
        }

        return taken < targets.Length ? Answer.Refused : Answer.Confirmed;
    }

    /// <summary>Moves a message on, at least once where the queue says so.</summary>
    public void DeadLetter(ModelQueue from, ModelMessage message, string reason)
    {
        if (from.DeadExchange is not { } exchange)
        {
            Watcher.Dropped(from.Name, message);
            return;
        }

        var deaths = (IsVersion4 && !message.IsLetter ? [] : message.Header("x-death") as List<object?> ?? []).Cast<IDictionary<string, object?>>().ToArray();
        var letter = ModelMessage.Letter(message.Body, IsVersion4 ? message.Told() : message.Properties);
        letter.Properties.Headers ??= new Dictionary<string, object?>();
        letter.Properties.Headers["x-death"] = new List<object?>([new Dictionary<string, object?> { ["queue"] = Encoding.UTF8.GetBytes(from.Name), ["reason"] = Encoding.UTF8.GetBytes(reason), ["count"] = 1L }, .. deaths]);
        letter.Properties.Expiration = null;
        if (reason != "rejected" && bindings.Any(b => b.Exchange == exchange && b.Key == from.DeadKey && Array.Exists(deaths, d => Is(d, "queue", b.Queue.Name)) && !Array.Exists(deaths, d => Is(d, "reason", "rejected"))))
        {
            Watcher.Dropped(from.Name, message); // a cycle
            return;
        }

        if (from.MovesLeader)
        {
            from.MovesLeader = false;
            if (!from.IsAtLeastOnce)
            {
                Watcher.Dropped(from.Name, message);
                return;
            }

            if (Publish(exchange, from.DeadKey, letter) == Answer.Confirmed)
            {
                Watcher.Note($"{from.Name} moves {message.Job} on twice: its leader has moved");
                Watcher.Doubled(message.Job);
            }
        }

        Move();

        void Move()
        {
            if (Publish(exchange, from.DeadKey, letter) == Answer.Confirmed)
            {
                Watcher.Note($"{from.Name} moves {message.Job} on: {reason}");
                from.Leaving--;
            }
            else if (from.IsAtLeastOnce)
            {
                Agenda.After(DeadLetterRetry, Move);
            }
            else
            {
                Watcher.Dropped(from.Name, message);
            }
        }

        from.Leaving++;
    }

    private static bool Is(IDictionary<string, object?> death, string field, string value) => death[field] is byte[] bytes && Encoding.UTF8.GetString(bytes) == value;
}

/// <summary>A quorum queue with overflow reject-publish.</summary>
internal sealed class ModelQueue(ModelBroker broker, string name, Dictionary<string, object?> arguments)
{
    private readonly LinkedList<ModelMessage> ready = [];
    private readonly List<ModelConsumer> consumers = [];
    private bool stalled;

    public string Name => name;

    public string? DeadExchange { get; } = arguments.GetValueOrDefault("x-dead-letter-exchange") as string;

    public string DeadKey { get; } = arguments.GetValueOrDefault("x-dead-letter-routing-key") as string ?? "";

    public bool IsAtLeastOnce { get; } = arguments.GetValueOrDefault("x-dead-letter-strategy") is "at-least-once";

    private long? Limit { get; } = arguments.GetValueOrDefault("x-delivery-limit") is { } limit ? Convert.ToInt64(limit, null) : null;

    private TimeSpan? Ttl { get; } = arguments.GetValueOrDefault("x-message-ttl") is long ttl ? TimeSpan.FromMilliseconds(ttl) : null;

    private long? MaxLength { get; } = arguments.GetValueOrDefault("x-max-length") is { } length ? Convert.ToInt64(length, null) : null;

    /// <summary>A schedule has filled it.</summary>
    public bool Filled { get; set; }

    public bool IsFull => Filled || ready.Count >= MaxLength;

    /// <summary>The next message that it moves on is moved twice, or not at all where it moves them at most once.</summary>
    public bool MovesLeader { get; set; }

    /// <summary>Messages on their way to a dead-letter target.</summary>
    public int Leaving { get; set; }

    /// <summary>Handed out and not acked.</summary>
    public int Unacked { get; set; }

    public int Ready => ready.Count;

    public IEnumerable<ModelMessage> Messages => ready;

    public IReadOnlyList<ModelConsumer> Consumers => consumers;

    public void Add(ModelMessage message)
    {
        ready.AddLast(message);
        broker.Watcher.Arrived(name, message);
        if (Ttl is { } ttl)
        {
            broker.Agenda.After(ttl, () =>
            {
                if (ready.Remove(message))
                {
                    broker.DeadLetter(this, message, "expired");
                }
            });
        }

        HandOut();
    }

    /// <summary>Hands nothing out while its leader is elected.</summary>
    public void Stall(TimeSpan time)
    {
        stalled = true;
        broker.Agenda.After(time, () =>
        {
            stalled = false;
            HandOut();
        });
    }

    public ModelMessage? Take()
    {
        if (stalled || ready.First is not { } first)
        {
            return null;
        }

        ready.RemoveFirst();
        Unacked++;
        return first.Value;
    }

    /// <summary>A delivery whose channel or consumer is gone.</summary>
    /// <param name="isSeen">It may have reached the worker.</param>
    /// <param name="isKnown">The worker has had it, and lives on.</param>
    public void TakeBack(ModelMessage message, bool isSeen = true, bool isKnown = false)
    {
        Unacked--;
        message.Returns++;
        if (!isKnown)
        {
            broker.Watcher.CameBack(message.Job);
        }

        if (isSeen)
        {
            broker.Watcher.Doubled(message.Job);
        }

        if (message.Returns > Limit)
        {
            broker.DeadLetter(this, message, "delivery_limit");
            return;
        }

        ready.AddFirst(message);
        HandOut();
    }

    public void Subscribe(ModelConsumer consumer)
    {
        consumers.Add(consumer);
        HandOut();
    }

    public void Unsubscribe(ModelConsumer consumer) => consumers.Remove(consumer);

    /// <summary>Hands nothing more to those who take from it now, though they believe so.</summary>
    public void Forget() => consumers.Clear();

    /// <summary>To each consumer in turn, as far as its prefetch goes.</summary>
    public void HandOut()
    {
        while (!stalled && ready.Count > 0 && consumers.Find(c => c.HasRoom) is { } next)
        {
            consumers.Remove(next);
            consumers.Add(next);
            next.Hand(this, Take()!);
        }
    }
}
