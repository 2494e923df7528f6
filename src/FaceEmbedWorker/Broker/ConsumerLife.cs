using System.Collections.Concurrent;
using System.Collections.Immutable;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// A channel with its subscription and its deliveries, from subscribing until the channel is gone or the worker stops. Deliveries of an
/// ended life are the broker's again.
/// </summary>
internal sealed class ConsumerLife : IDisposable
{
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SubscribeTime = TimeSpan.FromSeconds(15);

    /// <summary>
    /// In which an ack arrives: the acks of a subscription that is over reach a quorum queue behind its channel's back, and those not there
    /// when the channel is closed are lost (measured on 3.10 and 4.0: hundreds of 1,200 where it was closed at once, 133 after 0.1 s, none
    /// after 0.3 s; no answer on the channel tells).
    /// </summary>
    private static readonly TimeSpan AckTime = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource ended = new();
    private readonly ConcurrentDictionary<ulong, Delivery> unsettled = new();
    private readonly TimeProvider time;
    private volatile TaskCompletionSource changed = NewSignal();
    private ImmutableArray<Subscription> subscriptions = [];
    private readonly long begun;
    private long bytes;
    private long left;
    private int came;
    private int settled;

    public ConsumerLife(IBrokerChannel channel, TimeProvider time)
    {
        Channel = channel;
        this.time = time;
        begun = time.GetTimestamp();
        channel.OnClosed(EndAsync);
    }

    public IBrokerChannel Channel { get; }

    /// <summary>No more jobs are begun: the worker stops.</summary>
    public volatile bool Closed;

    /// <summary>Has been subscribed.</summary>
    public volatile bool Ready;

    public string Reason { get; private set; } = "";

    public bool Ended => ended.IsCancellationRequested;

    /// <summary>Ends with the life.</summary>
    public Task EndedAsync() => Task.Delay(Timeout.Infinite, Token).ContinueWith(_ => { }, TaskScheduler.Default);

    /// <summary>Cancelled when the life has ended.</summary>
    public CancellationToken Token => ended.Token;

    /// <summary>Handed out and not settled.</summary>
    public ICollection<Delivery> Unsettled => unsettled.Values;

    public int InHand => unsettled.Count;

    /// <summary>Deliveries that were acked or refused.</summary>
    public int Settled => Volatile.Read(ref settled);

    public TimeSpan Age => time.GetElapsedTime(begun);

    /// <summary>Of the bodies in hand.</summary>
    public long Bytes => Interlocked.Read(ref bytes);

    public bool CameSinceLastLook() => Interlocked.Exchange(ref came, 0) == 1;

    /// <summary>Takes what comes by a queue, beside what comes by others.</summary>
    /// <param name="received">Must not throw.</param>
    /// <param name="failed">What a delivery threw before it could be taken in; it must be settled before this returns, for its body is the
    /// client's.</param>
    /// <param name="cancel">Waits no longer for the broker's answer; <see cref="UnsubscribeAsync"/> does.</param>
    public async Task SubscribeAsync(string queue, ushort prefetch, Action<Delivery> received, Func<Delivery, Exception, Task> failed, bool bulk = false, CancellationToken cancel = default)
    {
        var made = new Subscription();
        subscriptions = subscriptions.Add(made);
        made.Tag = Channel.ConsumeAsync(queue, prefetch, handed => ReceiveAsync(handed, received, failed, bulk), () => EndedAsync(made), CancellationToken.None);
        await made.Tag.WaitAsync(SubscribeTime, time, cancel);
        Ready = true;
    }

    /// <summary>
    /// Returns when nothing more will come. A broker that does not answer ends the life: what it may still hand out would be forgotten.
    /// </summary>
    public async Task UnsubscribeAsync()
    {
        foreach (var old in ImmutableInterlocked.InterlockedExchange(ref subscriptions, []))
        {
            if (Ended)
            {
                return;
            }

            old.Cancelled = true;
            try
            {
                using var limit = new CancellationTokenSource(AnswerTime, time);
                await Channel.CancelAsync(await old.Tag.WaitAsync(limit.Token), limit.Token).WaitAsync(AnswerTime, time);
                await old.Over.Task.WaitAsync(AnswerTime, time); // deliveries on their way may come after the broker's answer
            }
            catch (Exception e)
            {
                await EndAsync($"the broker does not end a subscription: {BrokerErrors.Describe(e)}");
            }
        }
    }

    /// <summary>Takes one message without a subscription.</summary>
    /// <returns>Null where there is none, or no answer.</returns>
    public async Task<Delivery?> TakeAloneAsync(string queue)
    {
        try
        {
            return await Channel.GetAsync(queue, CancellationToken.None).WaitAsync(AnswerTime, time) is { } handed ? Take(handed, alone: true, new JobMessage(handed.Body.ToArray(), handed.Properties)) : null;
        }
        catch (Exception e)
        {
            await EndAsync($"the broker does not hand out a suspect: {BrokerErrors.Describe(e)}");
            return null;
        }
    }

    public async Task AckAsync(Delivery delivery, CancellationToken cancel)
    {
        Leave(delivery);
        await Channel.AckAsync(delivery.Tag, cancel);
    }

    /// <summary>The last way out: the broker makes a dead letter of it.</summary>
    public async Task RejectAsync(Delivery delivery, CancellationToken cancel)
    {
        Leave(delivery);
        await Channel.RejectAsync(delivery.Tag, cancel);
    }

    /// <summary>Returns when what was acked is with the broker, and the channel may be closed; at once where it is gone.</summary>
    public async Task ArrivedAsync()
    {
        while (Channel.IsOpen && AckTime - time.GetElapsedTime(Volatile.Read(ref left)) is var wait && wait > TimeSpan.Zero)
        {
            await Task.Delay(wait + TimeSpan.FromMilliseconds(1), time); // a timer knows whole ones only
        }
    }

    /// <summary>Waits for a delivery to come or to leave, or for a while.</summary>
    public async Task ChangedAsync(TimeSpan wait, CancellationToken cancel)
    {
        using var limit = new CancellationTokenSource(wait, time);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(Token, cancel, limit.Token);
        await changed.Task.WaitAsync(any.Token).ContinueWith(_ => { }, TaskScheduler.Default);
    }

    /// <summary>Waits until no more than so many bytes are in hand; 0: no delivery at all.</summary>
    /// <exception cref="OperationCanceledException">Cancelled, or the life has ended.</exception>
    public async Task LighterAsync(long most, CancellationToken cancel)
    {
        using var any = CancellationTokenSource.CreateLinkedTokenSource(Token, cancel);
        for (var next = changed.Task; most == 0 ? InHand > 0 : Bytes > most; next = changed.Task)
        {
            await next.WaitAsync(any.Token);
        }

        any.Token.ThrowIfCancellationRequested();
    }

    public async Task EndAsync(string reason)
    {
        if (!Ended)
        {
            Reason = reason;
            await ended.CancelAsync();
        }
    }

    public void Dispose() => Closed = true;

    private async Task ReceiveAsync(Handed handed, Action<Delivery> received, Func<Delivery, Exception, Task> failed, bool bulk)
    {
        Delivery? delivery = null;
        try
        {
            delivery = Take(handed, alone: false, new JobMessage(handed.Body.ToArray(), handed.Properties) { CameAsBulk = bulk }); // the body is the client's again once this returns
            received(delivery);
        }
        catch (Exception e)
        {
            await failed(delivery ?? Take(handed, alone: false, new JobMessage(handed.Body, handed.Properties) { CameAsBulk = bulk }), e);
        }
    }

    private async Task EndedAsync(Subscription which)
    {
        which.Over.TrySetResult();
        if (!which.Cancelled)
        {
            await EndAsync("the broker cancelled the consumer");
        }
    }

    private Delivery Take(Handed handed, bool alone, JobMessage message)
    {
        var delivery = new Delivery(this, handed.Tag, handed.Redelivered, alone, message, time.GetTimestamp());
        unsettled[handed.Tag] = delivery;
        Interlocked.Add(ref bytes, delivery.Bytes);
        Volatile.Write(ref came, 1);
        Signal();
        return delivery;
    }

    private void Leave(Delivery delivery)
    {
        if (unsettled.TryRemove(delivery.Tag, out _))
        {
            Interlocked.Add(ref bytes, -delivery.Bytes);
            Interlocked.Increment(ref settled);
            Volatile.Write(ref left, time.GetTimestamp());
            Signal();
        }
    }

    private void Signal() => Interlocked.Exchange(ref changed, NewSignal()).TrySetResult();

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private sealed class Subscription
    {
        /// <summary>The broker's answer.</summary>
        public Task<string> Tag { get; set; } = Task.FromResult("");

        /// <summary>True when this process cancelled it.</summary>
        public bool Cancelled { get; set; }

        /// <summary>Nothing more comes.</summary>
        public TaskCompletionSource Over { get; } = NewSignal();
    }
}
