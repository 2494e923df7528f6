using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Handles crash suspects, each with nothing else in hand, so that a picture that kills the process takes no other job with it, and no
/// other's crash is counted against a suspect: one is taken from its queue only when everything else is done.
/// </summary>
internal sealed partial class SuspectLane(JobSlots slots, Settler settler, CrashCounts crashes, IntakeGate gate, Topology topology, ILogger logger)
{
    private Task working = Task.CompletedTask;

    /// <summary>
    /// A suspect may have been handed out into a channel that was given up before its answer came: its return is no crash. The next suspect
    /// is that one, for it is at the head of its queue again.
    /// </summary>
    private bool unseen;

    /// <summary>
    /// Ends when the suspect of an earlier life, which may run on without its connection, is done: nothing may run beside it.
    /// </summary>
    public Task IdleAsync(CancellationToken cancel) => working.WaitAsync(cancel);

    /// <summary>
    /// Finishes all else, and then takes suspects, one after the other, until there are none, the life ends or the worker stops. Nothing is
    /// subscribed after it.
    /// </summary>
    public async Task RunAsync(ConsumerLife life, CancellationToken stopping)
    {
        using var any = CancellationTokenSource.CreateLinkedTokenSource(life.Token, stopping);
        try
        {
            await life.UnsubscribeAsync();
            await life.LighterAsync(0, any.Token);
            await slots.IdleAsync(any.Token); // a job may outlive its connection
            while (!any.IsCancellationRequested && !gate.Holding && await TakeAsync(life) is { } suspect)
            {
                working = HandleAsync(suspect);
                await working.WaitAsync(any.Token);
            }
        }
        catch (OperationCanceledException) when (any.IsCancellationRequested)
        {
            // the suspect is drained like any other job, or is the broker's again
        }
    }

    private async Task<Delivery?> TakeAsync(ConsumerLife life)
    {
        var suspect = await life.TakeAloneAsync(topology.Suspects);
        if (unseen && suspect is { Message.Returns: > 0 })
        {
            crashes.Lost(suspect.Message);
        }

        unseen = suspect is null && life.Ended;
        return suspect;
    }

    private async Task HandleAsync(Delivery suspect)
    {
        var count = crashes.Of(suspect.Message);
        HandlingAlone(logger, suspect.Message.JobId, count);
        var (job, outcome) = CrashCounts.IsCondemned(count)
            ? (null, new JobOutcome.Rejected(DeadLetters.CrashLoop, $"The worker ended {Plural.Of(count, "time")} while it handled this job and no other."))
            : await Task.Run(() => slots.HandleAsync(suspect));
        if (outcome is not null)
        {
            settler.Begin(suspect, job, outcome);
            await suspect.Settlement;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id} is a crash suspect (crashes alone so far: {Crashes}): handling it with nothing else in hand")]
    private static partial void HandlingAlone(ILogger logger, string id, long crashes);
}
