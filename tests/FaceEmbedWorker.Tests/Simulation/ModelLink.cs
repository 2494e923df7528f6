using FaceEmbedWorker.Broker;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Simulation;

/// <summary>Where a fault may strike: asked at each step of each call, and may do whatever it likes before it answers.</summary>
internal interface INetwork
{
    /// <summary>Time that a frame takes.</summary>
    TimeSpan Latency(ModelChannel channel, string what);

    /// <summary>Whether the last delivery on its way to a consumer that the client cancels never reaches it, and acks for it take their time.</summary>
    bool Strays { get; }
}

/// <summary>A connection to the model with one channel, rebuilt whenever it is gone, as <see cref="BrokerLink"/> is to RabbitMQ.</summary>
internal sealed class ModelLink : IBrokerLink
{
    private readonly ModelBroker broker;
    private readonly INetwork network;
    private readonly string role;
    private ModelChannel? current;
    private Task<ModelChannel>? opening;
    private bool disposed;

    public ModelLink(ModelBroker broker, INetwork network, Party party, string role)
    {
        (this.broker, this.network, this.role, Party) = (broker, network, role, party);
        broker.BlockedChanged += TellBlocked;
    }

    public Party Party { get; }

    public string Role => role;

    public string Trouble => "";

    public BrokerIdentity Broker => new("model:5672", "/", null, null);

    public string? Blocked { get; private set; }

    public event Action? BlockedChanged;

    /// <summary>The channel that the client holds for open.</summary>
    public ModelChannel? Current => current;

    public async Task<IBrokerChannel> ChannelAsync(CancellationToken cancel)
    {
        if (current is { IsOpen: true } open)
        {
            return open;
        }

        ObjectDisposedException.ThrowIf(disposed, this);
        opening ??= OpenAsync();
        return await opening.WaitAsync(cancel);
    }

    public async Task AbandonAsync(IBrokerChannel dead)
    {
        if (ReferenceEquals(dead, current))
        {
            current = null;
            await ((ModelChannel)dead).CloseAsync("closed by the client");
            TellBlocked();
        }
    }

    public async Task DeclareAsync(CancellationToken cancel)
    {
        await Reach();
        broker.Unbound.Clear();
    }

    public async Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel)
    {
        if (current is not { IsOpen: true })
        {
            return [];
        }

        await Reach();
        return queues.Where(broker.Queues.ContainsKey).ToDictionary(q => q, q => broker.CountsNothing ? default : new QueueCount(broker.Queues[q].Ready, broker.Queues[q].Consumers.Count));
    }

    public async ValueTask DisposeAsync()
    {
        disposed = true;
        broker.BlockedChanged -= TellBlocked;
        if (current is { } last)
        {
            await AbandonAsync(last);
        }
    }

    /// <summary>A crash: the process is no longer there to be told of anything.</summary>
    public void Vanish(TimeSpan brokerNotices)
    {
        broker.BlockedChanged -= TellBlocked;
        current?.Vanish(brokerNotices);
    }

    private async Task<ModelChannel> OpenAsync()
    {
        try
        {
            await Reach();
            current = new ModelChannel(broker, network, this);
            TellBlocked();
            return current;
        }
        finally
        {
            opening = null;
        }
    }

    /// <summary>There and back.</summary>
    private Task Reach()
    {
        var reached = new TaskCompletionSource();
        broker.Agenda.After(TimeSpan.FromMilliseconds(3), reached.SetResult, Party);
        return reached.Task;
    }

    /// <summary>RabbitMQ tells those who publish of an alarm.</summary>
    private void TellBlocked()
    {
        if (role == "consume")
        {
            return;
        }

        broker.Agenda.After(TimeSpan.FromMilliseconds(1), () =>
        {
            var why = broker.Blocked && current is { IsOpen: true } ? "low on memory" : null;
            if (why != Blocked)
            {
                Blocked = why;
                BlockedChanged?.Invoke();
            }
        }, Party);
    }
}

/// <summary>A subscription as the broker has it.</summary>
internal sealed class ModelConsumer(ModelChannel channel, string tag, ushort prefetch, Func<Handed, Task> received, Func<Task> ended)
{
    private int inHand;

    public string Tag => tag;

    public ushort Prefetch => prefetch;

    public Func<Handed, Task> Received => received;

    public Func<Task> Ended => ended;

    public bool HasRoom => prefetch == 0 || inHand < prefetch;

    public ModelChannel Channel => channel;

    public void Hand(ModelQueue queue, ModelMessage message)
    {
        inHand++;
        channel.Hand(this, queue, message);
    }

    public void Settled() => inHand--;
}

/// <summary>
/// A channel on a connection of its own. Frames keep their order in each direction; either end can be gone for a while before the other
/// notices.
/// </summary>
internal sealed class ModelChannel(ModelBroker broker, INetwork network, ModelLink link) : IBrokerChannel
{
    private static readonly Task Never = new TaskCompletionSource().Task;

    private readonly SortedDictionary<ulong, (ModelQueue Queue, ModelMessage Message, ModelConsumer? Consumer)> unacked = [];
    private readonly List<(ModelConsumer Consumer, ModelQueue Queue)> consumers = [];
    private readonly Dictionary<long, Action<Exception>> calls = [];
    private readonly Queue<Action> unread = new();
    private readonly Queue<Func<Task>> handing = new();
    private Func<string, Task>? closed;
    private TimeSpan toBroker;
    private TimeSpan toClient;
    private readonly HashSet<ulong> strayed = [];
    private readonly HashSet<(ModelQueue Queue, ModelMessage Message, bool Late)> acking = [];
    private ulong lastTag;
    private ulong lastArrived;
    private long lastCall;
    private bool cut;
    private bool cutThere;
    private bool goneThere;
    private bool left;
    private bool dispatching;

    public ModelLink Link => link;

    public bool IsOpen { get; private set; } = true;

    /// <summary>What the broker has handed out on it.</summary>
    public IEnumerable<(ulong Tag, ModelQueue Queue, ModelMessage Message)> Unacked => unacked.Select(u => (u.Key, u.Value.Queue, u.Value.Message));

    public IReadOnlyList<(ModelConsumer Consumer, ModelQueue Queue)> Consumers => consumers;

    /// <summary>Calls that wait for an answer.</summary>
    public int Calls => calls.Count;

    public void OnClosed(Func<string, Task> closed)
    {
        this.closed = closed;
        if (!IsOpen)
        {
            _ = closed("closed before");
        }
    }

    public Task<string> ConsumeAsync(string queue, ushort prefetch, Func<Handed, Task> received, Func<Task> ended, CancellationToken cancel) => Call<string>("consume", answer =>
    {
        var consumer = new ModelConsumer(this, $"c{lastCall}", prefetch, received, ended);
        consumers.Add((consumer, broker.Queues[queue]));
        answer(consumer.Tag);
        broker.Queues[queue].Subscribe(consumer);
    });

    public Task CancelAsync(string tag, CancellationToken cancel) => Call<string>("cancel", answer =>
    {
        answer(tag); // it may overtake deliveries, which wait for the client to handle those before
        End(tag);
        if (unacked.LastOrDefault(u => u.Value.Consumer?.Tag == tag && u.Key > lastArrived) is { Key: > 0, Value: var (queue, message, _) } last && network.Strays)
        {
            broker.Watcher.Note($"{message.Job} ({last.Key}) does not reach the cancelled consumer");
            strayed.Add(last.Key);
            unacked.Remove(last.Key);
            queue.TakeBack(message, isSeen: false);
        }
    });

    public Task<Handed?> GetAsync(string queue, CancellationToken cancel) => Call<Handed?>("get", answer =>
        answer(broker.Queues[queue].Take() is { } message ? Out(broker.Queues[queue], message, null) : null));

    /// <summary>Of a cancelled consumer it is on its way to the queue for a while, and is lost where the channel goes before.</summary>
    public Task AckAsync(ulong tag, CancellationToken cancel)
    {
        var (sent, way) = (broker.Agenda.Now, TimeSpan.FromSeconds(0.5));
        return Settle(tag, "ack", (queue, message, consumer) =>
        {
            if (consumer is null || consumers.Exists(c => c.Consumer == consumer) || !network.Strays)
            {
                queue.Unacked--;
                return;
            }

            var ack = (queue, message, broker.Agenda.Now - sent > way);
            acking.Add(ack);
            broker.Agenda.After(way, () => queue.Unacked -= acking.Remove(ack) ? 1 : 0);
        }, cancel);
    }

    public Task RejectAsync(ulong tag, CancellationToken cancel) => Settle(tag, "reject", (queue, message, _) =>
    {
        queue.Unacked--;
        broker.DeadLetter(queue, message, "rejected");
    }, cancel);

    public Task PublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken cancel)
    {
        var (message, told) = (ModelMessage.Sent(body, properties), exchange.Length == 0); // a reply is no copy of its job
        broker.Watcher.Sends(this, exchange, key, message);
        var call = Call<bool>($"publish to {exchange}/{key} {properties.MessageId}", (answer, fail) =>
        {
            switch (broker.Publish(exchange, key, message))
            {
                case Answer.Confirmed:
                    answer(true);
                    break;
                case Answer.Refused:
                    fail(new PublishException(1, false));
                    break;
                default:
                    fail(new PublishReturnException(1, "NO_ROUTE", exchange, key, 312, "NO_ROUTE"));
                    break;
            }
        }, unknown: Unknown, reads: true);
        return GiveUp(call, Unknown, cancel);

        void Unknown() // it may have landed, or land later
        {
            if (!told)
            {
                told = true;
                broker.Watcher.Doubled(message.Job);
            }
        }
    }

    /// <summary>The client closes it, and the connection with it; what it sent before arrives before that, unless an alarm lasts.</summary>
    public Task CloseAsync(string reason)
    {
        if (link.Party.Dead)
        {
            return Never;
        }

        var gone = new TaskCompletionSource();
        Notice(reason);
        if (cut)
        {
            return Task.CompletedTask;
        }

        ToBroker("close", () =>
        {
            left = true;
            Gone();
            broker.Agenda.After(TimeSpan.FromMilliseconds(1), () => gone.TrySetResult(), link.Party);
        });
        broker.Agenda.After(TimeSpan.FromSeconds(6), () => gone.TrySetResult(), link.Party); // the client waits no longer
        return gone.Task;
    }

    /// <summary>Nothing reaches the client any more, and soon nothing the broker. Each end notices in its own time.</summary>
    public void Cut(TimeSpan passesOn, TimeSpan brokerNotices, TimeSpan clientNotices)
    {
        cut = true;
        broker.Agenda.After(passesOn, () => cutThere = true);
        broker.Agenda.After(brokerNotices, Gone);
        broker.Agenda.After(clientNotices, () => Notice("the connection is lost"), link.Party);
    }

    /// <summary>The broker closes it.</summary>
    public void CloseByBroker(string reason)
    {
        Gone();
        ToClient("close", () => Notice(reason));
    }

    /// <summary>Its process ends; what it has sent may still arrive.</summary>
    public void Vanish(TimeSpan brokerNotices) => broker.Agenda.After(brokerNotices, Gone);

    /// <summary>The broker ends a subscription, as where a queue's leader goes; what is unacked stays so.</summary>
    public void CancelByBroker(ModelConsumer consumer) => End(consumer.Tag);

    /// <summary>From a queue to the client, which handles one message at a time.</summary>
    public void Hand(ModelConsumer consumer, ModelQueue queue, ModelMessage message)
    {
        var handed = Out(queue, message, consumer);
        ToClient("deliver", () =>
        {
            lastArrived = handed.Tag;
            Dispatch(() => IsOpen && !strayed.Contains(handed.Tag) ? consumer.Received(handed) : Task.CompletedTask);
        });
    }

    private Handed Out(ModelQueue queue, ModelMessage message, ModelConsumer? consumer)
    {
        var tag = ++lastTag;
        unacked[tag] = (queue, message, consumer);
        broker.Agenda.After(broker.AckTimeout, () =>
        {
            if (unacked.ContainsKey(tag) && !goneThere)
            {
                broker.Watcher.TimedOut(message);
                CloseByBroker("PRECONDITION_FAILED - delivery acknowledgement on channel timed out");
            }
        });
        broker.Watcher.Note($"{queue.Name} hands {message.Job} to {link.Party} as {tag}, returned {message.Returns} times");
        return new Handed(tag, message.Returns > 0, message.Body, message.Told());
    }

    private void End(string tag)
    {
        if (consumers.Find(c => c.Consumer.Tag == tag) is (not null, var queue) known)
        {
            consumers.Remove(known);
            queue.Unsubscribe(known.Consumer);
            ToClient("cancelled", () => Dispatch(known.Consumer.Ended));
        }
    }

    private Task Settle(ulong tag, string what, Action<ModelQueue, ModelMessage, ModelConsumer?> settled, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested(); // the client sends nothing then
        if (link.Party.Dead)
        {
            return Never;
        }

        if (!IsOpen)
        {
            throw Closed("it was closed before");
        }

        ToBroker(what, () =>
        {
            if (unacked.Remove(tag, out var was))
            {
                broker.Watcher.Note($"{link.Party} has sent {what} for {was.Message.Job} ({tag})");
                was.Consumer?.Settled();
                settled(was.Queue, was.Message, was.Consumer);
                was.Queue.HandOut();
            }
            else
            {
                broker.Watcher.SettledTwice(this, tag);
                CloseByBroker($"PRECONDITION_FAILED - unknown delivery tag {tag}");
            }
        });
        return Task.CompletedTask;
    }

    private static async Task GiveUp(Task<bool> call, Action unknown, CancellationToken cancel)
    {
        try
        {
            await call.WaitAsync(cancel);
        }
        catch (OperationCanceledException) when (!call.IsCompleted)
        {
            unknown();
            throw;
        }
    }

    private Task<T> Call<T>(string what, Action<Action<T>> there) => Call<T>(what, (answer, _) => there(answer));

    /// <param name="unknown">The channel goes before the answer has come.</param>
    /// <param name="reads">An alarm keeps the broker from reading it.</param>
    private Task<T> Call<T>(string what, Action<Action<T>, Action<Exception>> there, Action? unknown = null, bool reads = false)
    {
        var answered = new TaskCompletionSource<T>();
        if (link.Party.Dead)
        {
            return answered.Task;
        }

        if (!IsOpen)
        {
            answered.SetException(Closed("it was closed before"));
            return answered.Task;
        }

        var call = ++lastCall;
        calls[call] = e =>
        {
            unknown?.Invoke();
            answered.TrySetException(e);
        };
        ToBroker(what, () => there(
            value => ToClient($"answer to {what}", () => Answered(() => answered.TrySetResult(value))),
            error => ToClient($"refusal of {what}", () => Answered(() => answered.TrySetException(error)))), reads);
        return answered.Task;

        void Answered(Action how)
        {
            if (calls.Remove(call))
            {
                how();
            }
        }
    }

    private void ToBroker(string what, Action there, bool reads = false)
    {
        toBroker = Later(toBroker, what);
        broker.Agenda.After(toBroker - broker.Agenda.Now, () =>
        {
            if (cutThere || goneThere)
            {
                return;
            }

            if (unread.Count > 0 || (reads && broker.Blocked))
            {
                unread.Enqueue(there);
                broker.BlockedChanged -= Read;
                broker.BlockedChanged += Read;
                return;
            }

            there();
        });
    }

    /// <summary>What was sent during an alarm, now that it is over; of a connection that was reset, nothing.</summary>
    private void Read()
    {
        broker.BlockedChanged -= Read;
        while (!cutThere && !goneThere && IsOpen && unread.TryDequeue(out var next))
        {
            next();
        }

        if (!IsOpen)
        {
            unread.Clear();
            Gone();
        }
    }

    private void ToClient(string what, Action here)
    {
        toClient = Later(toClient, what);
        broker.Agenda.After(toClient - broker.Agenda.Now, () =>
        {
            if (!cut && IsOpen)
            {
                here();
            }
        }, link.Party);
    }

    private TimeSpan Later(TimeSpan last, string what)
    {
        var at = broker.Agenda.Now + network.Latency(this, what);
        return at > last ? at : last;
    }

    private void Dispatch(Func<Task> next)
    {
        handing.Enqueue(next);
        if (!dispatching)
        {
            _ = DispatchAsync();
        }
    }

    private async Task DispatchAsync()
    {
        dispatching = true;
        while (handing.TryDequeue(out var next))
        {
            await next();
        }

        dispatching = false;
    }

    /// <summary>The client knows.</summary>
    private void Notice(string reason)
    {
        if (!IsOpen)
        {
            return;
        }

        IsOpen = false;
        broker.Watcher.Note($"{link.Party} has no {link.Role} channel any more: {reason}");
        foreach (var fail in calls.Values.ToArray())
        {
            fail(Closed(reason));
        }

        calls.Clear();
        _ = closed?.Invoke(reason);
        foreach (var (consumer, _) in consumers.ToArray())
        {
            Dispatch(consumer.Ended);
        }
    }

    /// <summary>The broker knows: what was handed out is counted, and handed out again.</summary>
    private void Gone()
    {
        if (goneThere)
        {
            return;
        }

        goneThere = true;
        foreach (var (consumer, queue) in consumers)
        {
            queue.Unsubscribe(consumer);
        }

        foreach (var (tag, (queue, message, _)) in unacked.Reverse())
        {
            broker.Watcher.Note($"{queue.Name} takes {message.Job} back from {link.Party}");
            queue.TakeBack(message, isKnown: tag <= lastArrived && !link.Party.Dead);
        }

        unacked.Clear();
        foreach (var (queue, message, late) in acking)
        {
            broker.Watcher.Note($"{queue.Name} takes {message.Job} back from {link.Party}, who has acked it");
            queue.TakeBack(message, isSeen: !left || late, isKnown: left && !late); // who closes it in peace waits for so long as an ack takes
        }

        acking.Clear();
    }

    private static AlreadyClosedException Closed(string reason) => new(new ShutdownEventArgs(ShutdownInitiator.Peer, 320, reason));
}
