using System.Collections.Concurrent;
using System.Security.Cryptography;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Broker;

/// <summary>A job that is being handled.</summary>
/// <param name="JobId">Empty while a message without an id of its own is being read.</param>
/// <param name="Seconds">Since it was begun.</param>
internal sealed record RunningJob(string JobId, int Attempt, double Seconds);

/// <summary>
/// Works on jobs, so many at once: through the intake's gate, answered from recent results where a job came before, and watched for one
/// that never ends. Slots outlive connections, and know no broker.
/// </summary>
/// <param name="handle"><see cref="JobHandler.HandleAsync"/>.</param>
/// <param name="settle">Called with each outcome; not awaited, so that a confirm is awaited beside the next job.</param>
/// <param name="abandon">Cancelled when running jobs are given up.</param>
internal sealed partial class JobSlots(Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, Action<Delivery, EmbedJob?, JobOutcome> settle, IntakeGate gate, CrashCounts crashes,
    JobOptions options, string queue, TimeProvider time, ILogger logger, CancellationToken abandon)
{
    /// <summary>Beyond twice its deadline: then a job does not heed it.</summary>
    public static readonly TimeSpan StuckTime = TimeSpan.FromSeconds(10);

    private readonly WaitingJobs waiting = new(options.BulkShare, () => gate.BulkPause, time);
    private readonly ConcurrentDictionary<Delivery, (long Since, string Id)> running = new();
    private readonly RecentResults recent = new();
    private readonly TimeSpan deadline = TimeSpan.FromSeconds(options.DeadlineSeconds);
    private Task working = Task.CompletedTask;

    /// <summary>A job runs far beyond its deadline: the process should end, and be started again.</summary>
    public event Action? Stuck;

    /// <summary>
    /// What is being handled now, the longest first: at most one for each slot, and beside it a bulk job that waits for its picture.
    /// </summary>
    public IReadOnlyList<RunningJob> Running => [.. running.OrderBy(r => r.Value.Since)
        .Select(r => new RunningJob(r.Value.Id, r.Key.Message.Attempt, Math.Round(time.GetElapsedTime(r.Value.Since).TotalSeconds, 2)))];

    /// <summary>Ends once <see cref="Close"/> was called and the last job is done.</summary>
    public Task Working => working;

    public void Start() => working = Task.WhenAll(Enumerable.Range(0, options.Slots).Select(_ => Task.Run(WorkAsync, CancellationToken.None)));

    /// <returns>False where the worker stops.</returns>
    public bool Add(Delivery delivery) => waiting.Add(delivery);

    /// <summary>Ends when no job is being handled.</summary>
    public async Task IdleAsync(CancellationToken cancel)
    {
        while (!running.IsEmpty)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), time, cancel);
        }
    }

    public void Close() => waiting.Close();

    /// <inheritdoc cref="WaitingJobs.ForgetEnded"/>
    public void ForgetEnded() => waiting.ForgetEnded();

    /// <summary>
    /// A job that runs far beyond its deadline does not heed it, and its slot is lost. The process ends, as in a crash: whoever starts it
    /// again gets the job back, and in the end it goes alone, and to the dead letters.
    /// </summary>
    public void EndWhereStuck()
    {
        foreach (var (delivery, (since, _)) in running)
        {
            if (time.GetElapsedTime(since) is var elapsed && elapsed > 2 * deadline + StuckTime)
            {
                RunsOn(logger, delivery.Message.JobId, elapsed.TotalSeconds, deadline.TotalSeconds);
                Stuck?.Invoke();
            }
        }
    }

    /// <summary>Handles a job now, whatever the gate says.</summary>
    /// <returns>No outcome where it was given up.</returns>
    public async Task<(EmbedJob? Job, JobOutcome? Outcome)> HandleAsync(Delivery delivery)
    {
        if (!delivery.TryMove(DeliveryState.Waiting, DeliveryState.Running))
        {
            return (null, null);
        }

        var (job, outcome, _) = await RunAsync(delivery, turn: null);
        if (outcome is null)
        {
            delivery.TryMove(DeliveryState.Running, DeliveryState.Waiting);
        }

        return (job, outcome);
    }

    /// <summary>
    /// One slot: handles one job at a time. While a bulk job waits for its picture, jobs of the first queue have its slot, so that an archive
    /// whose host is slow, or never answers, keeps nobody waiting; it goes on when the one that has it then is done.
    /// </summary>
    private async Task WorkAsync()
    {
        while (await waiting.NextAsync() is { } delivery)
        {
            var turn = delivery.IsBulk ? new Turn() : null;
            var work = WorkAsync(delivery, turn);
            if (turn is not null)
            {
                var until = Task.WhenAny(turn.Asked, work);
                while (await waiting.NextAsync(until) is { } other)
                {
                    await WorkAsync(other, turn: null);
                }

                turn.Give();
            }

            await work;
        }
    }

    private async Task WorkAsync(Delivery delivery, Turn? turn)
    {
        var (job, outcome) = await HandleThroughGateAsync(delivery, turn);
        _ = outcome is not Returned || delivery.TryLetGo();
        if (outcome is not null) // otherwise it is, or comes, on the queue again
        {
            settle(delivery, job, outcome);
        }
    }

    private async Task<(EmbedJob? Job, JobOutcome? Outcome)> HandleThroughGateAsync(Delivery delivery, Turn? turn)
    {
        if (CrashCounts.IsSuspect(crashes.Of(delivery.Message)))
        {
            return (null, new Suspect());
        }

        var probing = false;
        try
        {
            using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(delivery.Life.Token, delivery.HeldToken, abandon);
            if ((delivery.IsBulk ? await gate.EnterBulkAsync(giveUp.Token) : await gate.EnterAsync(giveUp.Token)) is not { } entered)
            {
                waiting.Add(delivery); // where that is closed, it goes back to its queue
                return (null, null);
            }

            probing = entered;
            giveUp.Token.ThrowIfCancellationRequested();
        }
        catch (OperationCanceledException)
        {
            Tell(delivery, null, null, worldFailed: null, probing);
            return (null, null);
        }

        EmbedJob? job = null;
        JobOutcome? outcome = null;
        bool? worldFailed = null;
        try
        {
            if (delivery.TryMove(DeliveryState.Waiting, DeliveryState.Running))
            {
                (job, outcome, worldFailed) = await RunAsync(delivery, turn);
                delivery.TryMove(DeliveryState.Running, DeliveryState.Waiting); // for whoever settles it, or lets it go
            }
        }
        finally
        {
            Tell(delivery, job, outcome, worldFailed, probing);
        }

        // others are behind it that may not want the same host
        return (job, outcome is JobOutcome.Retry { InLine: true } || (probing && outcome is JobOutcome.Retry { Asked: false }) ? new Returned() : outcome);
    }

    private void Tell(Delivery delivery, EmbedJob? job, JobOutcome? outcome, bool? worldFailed, bool probing)
    {
        var retry = outcome as JobOutcome.Retry;
        var why = retry?.Message ?? "";
        var turned = gate.Report(job?.Id ?? "", worldFailed, probing, delivery.IsBulk, why, retry is not { Asked: false });
        if (turned && gate.IsFailing(delivery.IsBulk))
        {
            Pausing(logger, delivery.IsBulk ? " bulk jobs" : "", IntakeGate.Failures, why);
        }
        else if (turned)
        {
            Resuming(logger, delivery.IsBulk ? " bulk jobs" : "");
        }

        if (delivery.IsBulk && (turned || probing))
        {
            waiting.Look();
        }
    }

    private async Task<(EmbedJob? Job, JobOutcome? Outcome, bool? WorldFailed)> RunAsync(Delivery delivery, Turn? turn)
    {
        EmbedJob? job = null;
        try
        {
            var start = time.GetTimestamp();
            running[delivery] = (start, delivery.Message.Properties.MessageId ?? "");
            job = delivery.Message.Read();
            running[delivery] = (start, job.Id);
            if (turn is not null && job.Image is ImageSource.Data)
            {
                await turn.AskAsync();
            }
            if (delivery.Redelivered && job.Image is ImageSource.Data data && recent.Find(job, Convert.ToHexStringLower(SHA256.HashData(data.Bytes))) is { } known)
            {
                return (job, new JobOutcome.Completed(known), null);
            }

            delivery.Span = Telemetry.StartProcess(queue, delivery.Message.Text(JobMessage.TraceParentHeader), delivery.Message.Text(JobMessage.TraceStateHeader))?.AddTag("messaging.message.id", job.Id);
            var outcome = await handle(turn is null ? job : job with { Turn = turn.AskAsync }, abandon);
            Telemetry.JobProcessed(time.GetElapsedTime(start), queue, outcome switch { JobOutcome.Retry r => r.Reason, JobOutcome.Rejected r => r.Reason, _ => null });
            if (outcome is JobOutcome.Completed(var result))
            {
                recent.Add(job, result);
                Telemetry.AddStages(result, delivery.Span);
            }

            return (job, outcome, outcome switch { JobOutcome.Retry { After: null, InLine: false } => true, JobOutcome.Completed => false, _ => null }); // one host that wants to be asked later is not the world
        }
        catch (MalformedJobException e)
        {
            return (null, new JobOutcome.Rejected(DeadLetters.Malformed, e.Message), null);
        }
        catch (OperationCanceledException) when (abandon.IsCancellationRequested)
        {
            return (job, null, null);
        }
        catch (Exception e)
        {
            return JobOutcome.Of(e) is var outcome ? (job, outcome, outcome is JobOutcome.Retry ? true : null) : default;
        }
        finally
        {
            running.TryRemove(delivery, out _);
        }
    }

    /// <summary>Of a job that lets others have its slot for a while.</summary>
    private sealed class Turn
    {
        private readonly TaskCompletionSource asked = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource given = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>It needs the slot.</summary>
        public Task Asked => asked.Task;

        /// <summary>Ends when the slot is the job's own.</summary>
        public Task AskAsync()
        {
            asked.TrySetResult();
            return given.Task;
        }

        public void Give() => given.TrySetResult();
    }

    [LoggerMessage(Level = LogLevel.Critical, Message = "Job {Id} has run for {Seconds:0} s and does not heed its deadline of {Deadline} s: the worker ends, to be started again. If the job does that again, it goes to the dead letters as crash_loop")]
    private static partial void RunsOn(ILogger logger, string id, double seconds, double deadline);

    [LoggerMessage(Level = LogLevel.Error, Message = "Pausing{Which}: {Failures} different jobs in a row failed for no fault of theirs. One at a time is tried until one succeeds. The last: {Text}")]
    private static partial void Pausing(ILogger logger, string which, int failures, string text);

    [LoggerMessage(Level = LogLevel.Information, Message = "Resuming{Which}: a job succeeded")]
    private static partial void Resuming(ILogger logger, string which);
}
