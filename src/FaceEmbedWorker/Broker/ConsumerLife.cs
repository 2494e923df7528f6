using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>A job in hand.</summary>
/// <param name="Alone">From the queue of suspects: to be handled with nothing else in hand.</param>
internal sealed record Delivery(ConsumerLife Life, ulong Tag, bool Redelivered, bool Alone, JobMessage Message)
{
    /// <summary>The job's span, from its handling to its settling; null where nobody listens.</summary>
    public Activity? Span { get; set; }
}

/// <summary>A consumer on a channel.</summary>
internal sealed class Subscription
{
    public string Tag { get; set; } = "";

    /// <summary>By us.</summary>
    public bool Cancelled { get; set; }
}

/// <summary>What ends with a channel: deliveries of an ended one are the broker's again.</summary>
internal sealed class ConsumerLife(IChannel channel, CancellationToken stopping) : IDisposable
{
    private readonly CancellationTokenSource ended = new();
    private readonly ConcurrentDictionary<ulong, Delivery> unsettled = new();
    private int came;

    public IChannel Channel { get; } = channel;

    public Subscription Jobs { get; set; } = new();

    /// <summary>The consumer of the suspects.</summary>
    public Subscription Alone { get; set; } = new();

    /// <summary>Handed out and waiting to be handled alone.</summary>
    public Channel<Delivery> Suspects { get; } = System.Threading.Channels.Channel.CreateUnbounded<Delivery>();

    /// <summary>No more jobs are taken from it.</summary>
    public volatile bool Closed;

    /// <summary>Both consumers are there.</summary>
    public volatile bool Subscribed;

    public string Reason { get; private set; } = "";

    public bool Ended => ended.IsCancellationRequested;

    public CancellationToken Token => ended.Token;

    public CancellationToken Stopping { get; } = stopping;

    /// <summary>Handed out and not settled.</summary>
    public IEnumerable<Delivery> Unsettled => unsettled.Values;

    /// <summary>Jobs taken from the queue and not settled; suspects not counted.</summary>
    public int InHand => unsettled.Values.Count(d => !d.Alone);

    public void Take(Delivery delivery)
    {
        unsettled[delivery.Tag] = delivery;
        Volatile.Write(ref came, 1);
    }

    public void Leave(Delivery delivery) => unsettled.TryRemove(delivery.Tag, out _);

    public bool CameSinceLastLook() => Interlocked.Exchange(ref came, 0) == 1;

    public async Task EndAsync(string reason)
    {
        if (!Ended)
        {
            Reason = reason;
            await ended.CancelAsync();
        }
    }

    /// <returns>True where a suspect is there; false where time ran out, the channel ended or the worker stops.</returns>
    public async Task<bool> SuspectAsync(TimeSpan wait, TimeProvider time, CancellationToken stopping)
    {
        using var limit = new CancellationTokenSource(wait, time);
        using var any = CancellationTokenSource.CreateLinkedTokenSource(ended.Token, stopping, limit.Token);
        try
        {
            return await Suspects.Reader.WaitToReadAsync(any.Token);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    public void Dispose() => Closed = true;
}
