using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Gives jobs back that nobody is working on, each as a fresh confirmed copy: a delivery that simply went back, or that the broker took
/// back for its ack timeout, would count as a crash of whoever had it.
/// </summary>
/// <param name="after">A delivery that is older goes back, unless it runs; well below the broker's ack timeout.</param>
internal sealed partial class HandBack(Settler settler, ResultPublisher publisher, TimeSpan after, TimeProvider time, ILogger logger)
{
    /// <summary>For the answer to what is on its way; short enough that a copy can follow before a stop is over.</summary>
    internal static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan LongestLook = TimeSpan.FromSeconds(10);

    /// <summary>Looks after a life's deliveries until it ends or is drained.</summary>
    public async Task WatchAsync(ConsumerLife life)
    {
        var look = after / 10 < LongestLook ? after / 10 : LongestLook;
        var returning = Task.CompletedTask;
        while (!life.Ended && !life.Closed)
        {
            await Task.Delay(look, time, life.Token).ContinueWith(_ => { }, TaskScheduler.Default);
            var old = life.Unsettled.Where(d => time.GetElapsedTime(d.Since) > after && d.State is DeliveryState.Waiting or DeliveryState.Settling or DeliveryState.LetGo).ToArray();
            if (old.Length == 0 || life.Ended || life.Closed)
            {
                continue;
            }

            if (publisher.Blocked is { } why)
            {
                // no copy would get through: once is better than at every ack timeout, so the worker takes nothing until the alarm is over
                await life.EndAsync($"{Plural.Of(old.Length, "job waits", "jobs wait")} for longer than {after.TotalSeconds:0} s while the broker takes no messages ({why})");
            }
            else if (Array.FindAll(old, d => !d.IsReturning) is { Length: > 0 } held)
            {
                HeldLong(logger, Plural.Of(held.Length, "job"), after.TotalSeconds);
                returning = Task.WhenAll([returning, .. held.Select(ReturnAsync)]); // the looks go on: an alarm may come before the broker has taken the copies
            }
        }

        await returning;
    }

    /// <summary>Gives back what nobody has begun.</summary>
    public Task ReturnUnstartedAsync(ConsumerLife life) => Task.WhenAll(life.Unsettled.Where(d => d.State == DeliveryState.Waiting).Select(ReturnAsync));

    /// <summary>Gives back whatever does not run. Ends when what was confirmed is acked, or cannot be.</summary>
    public Task ReturnAllAsync(ConsumerLife life) => Task.WhenAll(life.Unsettled.Select(ReturnAsync));

    /// <summary>
    /// Gives it back unless it runs, or what became of it is confirmed after all. Ends when it is settled either way, or cannot be.
    /// </summary>
    public async Task ReturnAsync(Delivery delivery)
    {
        if (delivery.TryLetGo())
        {
            await Task.WhenAny(delivery.Settlement, Task.Delay(AnswerTime, time));
            delivery.GiveUp();
            await delivery.Settlement; // of the two only one is ever under way
            settler.Begin(delivery, null, new Returned());
            await delivery.Settlement;
            delivery.EndReturn();
        }

        await (delivery.IsReturning ? delivery.Returned : Task.CompletedTask); // otherwise it runs, or is done
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Jobs} in hand for longer than {Seconds} s: back to the queue as fresh copies, before the broker takes back what waits as if the worker had crashed")]
    private static partial void HeldLong(ILogger logger, string jobs, double seconds);
}
