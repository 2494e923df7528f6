using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// The end of a worker that was told to stop: no new jobs, those not begun go back, those that run finish and are settled, all under one
/// deadline.
/// </summary>
/// <param name="abandon">Gives up running jobs.</param>
internal sealed partial class Drain(JobSlots slots, Settler settler, SuspectLane lane, HandBack handBack, CancellationTokenSource abandon, TimeSpan deadline, TimeProvider time, ILogger logger)
{
    /// <summary>For copies of what the deadline has cut short; within the host's own time beyond it.</summary>
    private static readonly TimeSpan ReturnTime = TimeSpan.FromSeconds(4);

    public async Task RunAsync(ConsumerLife life)
    {
        life.Closed = true;
        Draining(logger, deadline.TotalSeconds);
        try
        {
            await Task.WhenAny(FinishAsync(life), life.EndedAsync()).WaitAsync(deadline, time);
        }
        catch (TimeoutException)
        {
            GivingBack(logger, deadline.TotalSeconds);
            await abandon.CancelAsync();
            await Task.WhenAny(slots.Working, Task.Delay(ReturnTime / 2, time));
            await Task.WhenAny(handBack.ReturnAllAsync(life), Task.Delay(ReturnTime, time));
        }

        await life.ArrivedAsync();
    }

    private async Task FinishAsync(ConsumerLife life)
    {
        await life.UnsubscribeAsync();
        slots.Close();
        await handBack.ReturnUnstartedAsync(life);
        await Task.WhenAll(slots.Working, lane.IdleAsync(CancellationToken.None));
        await settler.AllAsync();
        await handBack.ReturnAllAsync(life); // nobody has these, or they are on their way back
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopping: no new jobs; up to {Seconds} s for those that run")]
    private static partial void Draining(ILogger logger, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Jobs still run after {Seconds} s; they go back to the queue")]
    private static partial void GivingBack(ILogger logger, double seconds);
}
