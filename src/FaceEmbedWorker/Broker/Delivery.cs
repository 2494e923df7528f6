using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;

namespace FaceEmbedWorker.Broker;

/// <summary>Where a delivery is between the queue and its ack.</summary>
internal enum DeliveryState
{
    /// <summary>Not begun: for a slot, or at the gate.</summary>
    Waiting,

    /// <summary>Being handled.</summary>
    Running,

    /// <summary>What becomes of it is being published.</summary>
    Settling,

    /// <summary>On its way back to the queue as a fresh copy.</summary>
    LetGo,

    /// <summary>What became of it is confirmed.</summary>
    Done,
}

/// <summary>A job in hand.</summary>
/// <param name="alone">From the queue of suspects: to be handled with nothing else in hand.</param>
/// <param name="since">Timestamp of when it was handed out.</param>
[SuppressMessage("Design", "CA1001", Justification = "A source without a timer or a wait handle has nothing to dispose of.")]
internal sealed class Delivery(ConsumerLife life, ulong tag, bool redelivered, bool alone, JobMessage message, long since)
{
    private readonly Lock moving = new();
    private readonly CancellationTokenSource givenUp = new();
    private readonly TaskCompletionSource returned = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ConsumerLife Life => life;

    public ulong Tag => tag;

    public bool Redelivered => redelivered;

    public bool Alone => alone;

    /// <summary>By the queue of bulk jobs.</summary>
    public bool IsBulk { get; } = message.CameAsBulk;

    public JobMessage Message { get; private set; } = message;

    /// <summary>Encoded bytes.</summary>
    public long Bytes { get; } = message.Body.Length;

    public long Since => since;

    /// <summary>The job's span, from its handling to its settling; null where nobody listens.</summary>
    public Activity? Span { get; set; }

    public DeliveryState State { get; private set; }

    /// <summary>Publishes what becomes of it.</summary>
    public Task Settlement { get; private set; } = Task.CompletedTask;

    /// <summary>It was let go: it goes, or went, back to its queue as a copy, unless what became of it was confirmed after all.</summary>
    public bool IsReturning { get; private set; }

    /// <summary>Ends when it has gone back, or need not, or cannot.</summary>
    public Task Returned => returned.Task;

    /// <summary>Cancelled when whoever waits with it is to wait no longer.</summary>
    public CancellationToken HeldToken => givenUp.Token;

    /// <returns>False where it is in another state: somebody else has it.</returns>
    public bool TryMove(DeliveryState from, DeliveryState to)
    {
        lock (moving)
        {
            if (State != from)
            {
                return false;
            }

            State = to;
            return true;
        }
    }

    /// <param name="settlement">Ends when it is settled.</param>
    /// <returns>False where it is in another state: somebody else has it.</returns>
    public bool TrySettle(DeliveryState from, Task settlement)
    {
        lock (moving)
        {
            if (State != from)
            {
                return false;
            }

            (State, Settlement) = (DeliveryState.Settling, settlement); // whoever lets it go sees what to wait for
            return true;
        }
    }

    /// <summary>Takes it away from whoever waits with it; what is published meanwhile may still be confirmed.</summary>
    /// <returns>False where it runs, is done, or was let go before: then it is not to be taken.</returns>
    public bool TryLetGo()
    {
        lock (moving)
        {
            if (IsReturning || State is not (DeliveryState.Waiting or DeliveryState.Settling))
            {
                return false;
            }

            (State, IsReturning) = (DeliveryState.LetGo, true);
            return true;
        }
    }

    /// <inheritdoc cref="HeldToken"/>
    public void GiveUp() => givenUp.Cancel();

    /// <inheritdoc cref="Returned"/>
    public void EndReturn() => returned.TrySetResult();

    /// <summary>Lets the body go: its life has ended, and somebody else has the job now.</summary>
    public void Forget() => Message = Message with { Body = ReadOnlyMemory<byte>.Empty };
}
