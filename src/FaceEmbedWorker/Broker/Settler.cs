using System.Collections.Concurrent;
using System.Diagnostics;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Broker;

/// <summary>Not handled here: to be moved to the suspects.</summary>
internal sealed record Suspect : JobOutcome;

/// <summary>Not handled here: back to its queue as a fresh copy, whose returns are counted from nought.</summary>
internal sealed record Returned : JobOutcome;

/// <summary>Nothing that becomes of it can be published: the broker is to make a dead letter of it.</summary>
internal sealed record Poison(string Text) : JobOutcome;

/// <summary>
/// Settles outcomes: what becomes of a job is published and confirmed before the job is acked, so that a crash at any moment gives a job
/// twice rather than not at all. What fails while one is settled ends that one.
/// </summary>
internal sealed partial class Settler(ResultPublisher publisher, Topology topology, JobTally tally, CrashCounts crashes, TimeProvider time, ILogger logger)
{
    private readonly ConcurrentDictionary<Task, bool> settling = new();

    /// <summary>Ends when everything that is being settled now is.</summary>
    public Task AllAsync() => Task.WhenAll(settling.Keys);

    /// <summary>Settles beside whatever else is done; <see cref="Delivery.Settlement"/> ends with it, and never fails.</summary>
    public void Begin(Delivery delivery, EmbedJob? job, JobOutcome outcome)
    {
        var settled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (outcome is Returned ? delivery.TrySettle(DeliveryState.LetGo, settled.Task) : delivery.TrySettle(DeliveryState.Waiting, settled.Task) || delivery.TrySettle(DeliveryState.Running, settled.Task))
        {
            settling.TryAdd(settled.Task, true);
            _ = SettleToTheEndAsync(delivery, job, outcome, settled);
        }
    }

    private async Task SettleToTheEndAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome, TaskCompletionSource settled)
    {
        try
        {
            await SettleOrLeaveAsync(delivery, job, outcome);
        }
        finally
        {
            settling.TryRemove(settled.Task, out _);
            settled.SetResult();
            if (outcome is Returned)
            {
                delivery.EndReturn();
            }
        }
    }

    /// <summary>Settles an outcome: published, confirmed, then acked.</summary>
    private async Task SettleAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome, CancellationToken giveUp)
    {
        var message = delivery.Message;
        var (id, attempts) = (Id(delivery, job), topology.Ladder.Count + 1);
        var wait = topology.Wait(message.Attempt, (outcome as JobOutcome.Retry)?.After);
        switch (outcome)
        {
            case JobOutcome.Completed(var result):
                await publisher.PublishResultAsync(result, job!, message, delivery.Span?.Id, giveUp);
                tally.Completed(result);
                LogCompleted(id, result, attempts);
                break;
            case JobOutcome.Retry retry when wait is { } delay && !message.ExpiresBefore(time.GetUtcNow() + delay, time.GetUtcNow()):
                await publisher.PublishRetryAsync(message, retry, delay, giveUp);
                tally.Retried(id, retry);
                Retrying(logger, id, retry.Reason, message.Attempt, attempts, delay.TotalSeconds, retry.Message);
                break;
            case JobOutcome.Retry(var reason, var text, var detail):
                var (word, first) = wait is null ? (DeadLetters.AttemptsExhausted, $"Attempt {message.Attempt} of {Math.Max(message.Attempt, attempts)}") : (DeadLetters.Expired, $"The job's {message.Expiration} ms would be over before attempt {message.Attempt + 1}");
                await publisher.PublishDeadLetterAsync(message, id, word, $"{first}, {reason}: {text}", detail, giveUp);
                Buried(delivery, id, attempts, word, text);
                break;
            case JobOutcome.Rejected(var reason, var text, var detail):
                await publisher.PublishDeadLetterAsync(message, id, reason, text, detail, giveUp);
                Buried(delivery, id, attempts, reason, text);
                break;
            case Suspect:
                await publisher.PublishSuspectAsync(message, giveUp);
                Suspected(logger, id, message.Returns, topology.Suspects);
                break;
            case Returned:
                if (await publisher.PublishReturnAsync(message, delivery.Alone, giveUp) is { } room)
                {
                    WaitsForRoom(logger, id, room.TotalSeconds);
                }
                else
                {
                    GaveBack(logger, id);
                }

                break;
        }

        if (delivery.TryMove(DeliveryState.Settling, DeliveryState.Done) || delivery.TryMove(DeliveryState.LetGo, DeliveryState.Done)) // whoever let it go meanwhile has nothing to give back
        {
            if (outcome is Poison(var text))
            {
                await delivery.Life.RejectAsync(delivery, delivery.Life.Token);
                Buried(delivery, id, attempts, DeadLetters.Unpublishable, text);
            }
            else
            {
                await delivery.Life.AckAsync(delivery, delivery.Life.Token); // though it was let go
            }

            crashes.Settled(message);
        }
    }

    /// <summary>A job whose channel ends before it is settled is on the queue again, and is settled by whoever gets it.</summary>
    private async Task SettleOrLeaveAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome)
    {
        using var span = delivery.Span;
        Activity.Current = span; // the log tells the trace
        using var settle = span is null ? null : Telemetry.Source.StartActivity("settle");
        using var giveUp = outcome is Returned ? CancellationTokenSource.CreateLinkedTokenSource(delivery.Life.Token)
            : CancellationTokenSource.CreateLinkedTokenSource(delivery.Life.Token, delivery.HeldToken);
        try
        {
            for (var next = outcome; next is not null;)
            {
                next = await TrySettleAsync(delivery, job, next, giveUp.Token);
            }
        }
        catch (Exception) when (delivery.State == DeliveryState.LetGo)
        {
            // whoever let it go has it
        }
        catch (Exception e)
        {
            LeftOnQueue(logger, Id(delivery, job), BrokerErrors.Describe(e));
            if (!delivery.Life.Ended && !giveUp.IsCancellationRequested)
            {
                // never keep an unsettled delivery on a living channel: it would hold its place in the prefetch for ever
                await delivery.Life.EndAsync($"settling a job failed: {e.GetType().Name}");
            }
        }
    }

    /// <returns>What to try instead, where the outcome can never be published; null where it is settled.</returns>
    private async Task<JobOutcome?> TrySettleAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome, CancellationToken giveUp)
    {
        try
        {
            await SettleAsync(delivery, job, outcome, giveUp);
            return null;
        }
        catch (UnpublishableException e) when (outcome is JobOutcome.Completed)
        {
            return new JobOutcome.Rejected(DeadLetters.Unpublishable, $"The job's result can never be published. {e.Message}", e.InnerException?.Message);
        }
        catch (UnpublishableException e)
        {
            return new Poison($"What becomes of it can never be published, so the broker makes the dead letter. {e.Message}");
        }
        catch (Exception e) when (e is not (OutOfMemoryException or ObjectDisposedException) && outcome is not Poison && delivery.State == DeliveryState.Settling && !giveUp.IsCancellationRequested)
        {
            // publishing goes on until it is confirmed or given up: what fails otherwise, but for want of memory or at the end, is our own
            // work on this message, and would fail each time
            return new Poison($"What becomes of it cannot be worked out, so the broker makes the dead letter: {e.GetType().Name}: {e.Message}");
        }
    }

    private void Buried(Delivery delivery, string id, int attempts, string reason, string text)
    {
        tally.Dead(id, reason, text);
        DeadLettered(logger, id, reason, delivery.Message.Attempt, attempts, text);
    }

    private static string Id(Delivery delivery, EmbedJob? job) => job?.Id ?? delivery.Message.JobId;

    private void LogCompleted(string id, EmbedResult result, int attempts)
    {
        var (timings, vectors) = (result.TimingsMs, Plural.Of(result.Embeddings.Count, "vector"));
        if (timings.Fetch is { } fetch)
        {
            SettledFetched(logger, id, result.Outcome, result.Attempt, attempts, vectors, fetch, timings.Decode ?? 0, timings.Detect ?? 0, timings.Align ?? 0, timings.Embed ?? 0, timings.Total);
        }
        else
        {
            Settled(logger, id, result.Outcome, result.Attempt, attempts, vectors, timings.Decode ?? 0, timings.Detect ?? 0, timings.Align ?? 0, timings.Embed ?? 0, timings.Total);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id}: {Outcome}, attempt {Attempt} of {Attempts}, {Vectors}; decode {Decode}, detect {Detect}, align {Align}, embed {Embed}, total {Total} ms")]
    private static partial void Settled(ILogger logger, string id, string outcome, int attempt, int attempts, string vectors, double decode, double detect, double align, double embed, double total);

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id}: {Outcome}, attempt {Attempt} of {Attempts}, {Vectors}; fetch {Fetch}, decode {Decode}, detect {Detect}, align {Align}, embed {Embed}, total {Total} ms")]
    private static partial void SettledFetched(ILogger logger, string id, string outcome, int attempt, int attempts, string vectors, double fetch, double decode, double detect, double align, double embed, double total);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id}: {Reason}, attempt {Attempt} of {Attempts} failed; next in {Seconds} s: {Text}")]
    private static partial void Retrying(ILogger logger, string id, string reason, int attempt, int attempts, double seconds, string text);

    [LoggerMessage(Level = LogLevel.Error, Message = "Job {Id}: dead letter, {Reason}, attempt {Attempt} of {Attempts}: {Text}")]
    private static partial void DeadLettered(ILogger logger, string id, string reason, int attempt, int attempts, string text);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id} was not settled and is on the queue again: {Reason}")]
    private static partial void LeftOnQueue(ILogger logger, string id, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id} went back to its queue as a fresh copy")]
    private static partial void GaveBack(ILogger logger, string id);

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id} finds its queue full, and comes again in {Seconds} s")]
    private static partial void WaitsForRoom(ILogger logger, string id, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id} came back {Returns} times without a word: it goes to {Queue}, to be handled alone")]
    private static partial void Suspected(ILogger logger, string id, long returns, string queue);
}
