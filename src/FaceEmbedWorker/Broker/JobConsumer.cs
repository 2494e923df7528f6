using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Threading.Channels;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Takes jobs from the queue, has them handled, and settles each: what becomes of it is published and confirmed before it is acked, so that
/// a crash at any moment gives a job twice rather than not at all.
/// </summary>
internal sealed partial class JobConsumer : BackgroundService
{
    /// <summary>A job that came back this often without a word may be what crashes the worker.</summary>
    private const int SuspectAfter = 2;

    private const int MostLost = 10_000;

    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SubscribeTime = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan WatchTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StuckTime = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan NextSuspectTime = TimeSpan.FromMilliseconds(250);

    private readonly Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle;
    private readonly ResultPublisher publisher;
    private readonly Topology topology;
    private readonly BrokerOptions options;
    private readonly TimeProvider time;
    private readonly ILogger<JobConsumer> logger;
    private readonly BrokerConnection connection;
    private readonly int slots;
    private readonly TimeSpan deadline;
    private readonly Channel<Delivery> deliveries = Channel.CreateUnbounded<Delivery>(); // bounded by the prefetch
    private readonly ConcurrentDictionary<Task, bool> settling = new();
    private readonly ConcurrentDictionary<Delivery, long> running = new();
    private readonly CancellationTokenSource abandon = new();
    private readonly RecentResults recent = new();
    private readonly ConcurrentDictionary<string, int> lost = new();
    private readonly IntakeGate gate;
    private readonly JobTally tally;
    private readonly QueueDepths depths;
    private ConsumerLife? current;
    private TimeSpan lastPause;
    private long lastTick;

    /// <param name="handle"><see cref="JobHandler.HandleAsync"/>.</param>
    /// <param name="gate">The publisher's.</param>
    public JobConsumer(Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, ResultPublisher publisher, Topology topology, IntakeGate gate, JobTally tally,
        IOptions<BrokerOptions> options, IOptions<JobOptions> jobs, TimeProvider time, ILogger<JobConsumer> logger)
    {
        this.handle = handle;
        this.publisher = publisher;
        this.topology = topology;
        this.options = options.Value;
        this.time = time;
        this.logger = logger;
        this.gate = gate;
        this.tally = tally;
        slots = jobs.Value.Slots;
        deadline = TimeSpan.FromSeconds(jobs.Value.DeadlineSeconds);
        Prefetch = (ushort)(this.options.Prefetch > 0 ? this.options.Prefetch : Math.Min(3 * slots, ushort.MaxValue));
        connection = new BrokerConnection("consume", confirms: false, options, topology, time, logger);
        depths = new QueueDepths(connection, topology, time);
    }

    /// <summary>Jobs that the broker hands out before one is settled.</summary>
    public ushort Prefetch { get; }

    /// <summary>Jobs handed out and not settled.</summary>
    public int InFlight => current is { Ended: false } life ? life.Unsettled.Count() : 0;

    /// <inheritdoc cref="QueueDepths.Ready"/>
    public IReadOnlyDictionary<string, long> Depths => depths.Ready;

    /// <summary>A job runs far beyond its deadline: the process should end, and be started again.</summary>
    public event Action? Stuck;

    /// <summary>Why no jobs are taken at this moment; null where they are.</summary>
    public string? NotReady => current switch
    {
        null or { Ended: true } => $"not connected to the broker{connection.Trouble}",
        { Closed: true } => "stopping",
        { Subscribed: false } => $"the broker does not hand out {topology.Jobs} yet",
        _ => gate.Reason,
    };

    /// <summary>Why the process should be started again, whatever the broker does; null where it works.</summary>
    public string? NotAlive => ExecuteTask is { IsCompleted: true } ? "the worker has ended"
        : lastTick != 0 && time.GetElapsedTime(lastTick) > StuckTime ? $"the worker's clock has stood for {time.GetElapsedTime(lastTick).TotalSeconds:0} s: no thread is free"
        : null;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var working = Enumerable.Range(0, slots).Select(_ => Task.Run(WorkAsync, CancellationToken.None)).ToArray();
        using var gauges = Telemetry.Watch(() => InFlight, () => NotReady is null, () => Depths.Select(d => (d.Key, topology.Role(d.Key), d.Value)));
        await using var watchdog = time.CreateTimer(_ => EndWhereStuck(), null, StuckTime / 10, StuckTime / 10);
        var watching = depths.WatchAsync(stoppingToken);
        try
        {
            await publisher.OpenAsync(stoppingToken);
            while (!stoppingToken.IsCancellationRequested)
            {
                await ConsumeAsync(working, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // stopped before there was anything to drain
        }
        finally
        {
            deliveries.Writer.TryComplete();
            await (stoppingToken.IsCancellationRequested ? watching : Task.CompletedTask);
            await connection.DisposeAsync();
            await publisher.DisposeAsync();
        }

        Stopped(logger);
    }

    /// <summary>One life of the consumer: until its channel is gone, or the worker stops.</summary>
    private async Task ConsumeAsync(Task[] working, CancellationToken stopping)
    {
        var channel = await connection.ChannelAsync(stopping);
        using var life = new ConsumerLife(channel, stopping);
        current = life;
        channel.ChannelShutdownAsync += (_, e) => life.EndAsync(e.ReplyText);
        try
        {
            // what is handed out and comes back counts as a crash: so first the queues must be there, and suspects, who have few lives, come last
            await connection.ReadyAsync(topology.Jobs, stopping);
            await connection.ReadyAsync(topology.Suspects, stopping);
            life.Jobs = await SubscribeAsync(life, topology.Jobs, Prefetch, stopping);
            life.Alone = await SubscribeAsync(life, topology.Suspects, prefetch: 1, stopping);
            life.Subscribed = true;
            lastPause = TimeSpan.Zero;
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            lastPause = lastPause + lastPause < LongestPause ? lastPause + lastPause + FirstPause : LongestPause;
            NotConsuming(logger, topology.Jobs, BrokerErrors.Describe(e), lastPause.TotalSeconds);
            await life.EndAsync("");
            await BuryAsync(life);
            await Task.Delay(lastPause, time, stopping);
            return;
        }

        Consuming(logger, topology.Jobs);
        while (!life.Ended && !stopping.IsCancellationRequested)
        {
            if (await life.SuspectAsync(WatchTime, time, stopping))
            {
                await HandleSuspectsAsync(life, stopping);
            }
            else
            {
                await WatchAsync(life, stopping);
            }
        }

        if (life.Ended)
        {
            Interrupted(logger, life.Reason);
            await BuryAsync(life);
            return;
        }

        await DrainAsync(life, working);
    }

    /// <summary>What it had in hand is handed out again, to us or to others, and that was no crash of ours.</summary>
    private async Task BuryAsync(ConsumerLife life)
    {
        if (lost.Count > MostLost)
        {
            lost.Clear(); // other replicas have settled these long since
        }

        foreach (var delivery in life.Unsettled)
        {
            lost.AddOrUpdate(delivery.Message.Identity, 1, static (_, times) => times + 1);
        }

        await connection.AbandonAsync(life.Channel);
    }

    /// <summary>Ends the present channel as a broker that goes away does, for tests.</summary>
    internal Task EndLifeAsync() => current?.EndAsync("asked to") ?? Task.CompletedTask;

    private async Task<Subscription> SubscribeAsync(ConsumerLife life, string queue, ushort prefetch, CancellationToken stopping)
    {
        var subscription = new Subscription();
        var consumer = new AsyncEventingBasicConsumer(life.Channel);
        consumer.ReceivedAsync += (_, e) => ReceiveAsync(life, queue, e);
        consumer.UnregisteredAsync += (_, _) => subscription.Cancelled ? Task.CompletedTask : life.EndAsync("the broker cancelled the consumer"); // it also tells of our own cancel
        await life.Channel.BasicQosAsync(0, prefetch, global: false, stopping).WaitAsync(SubscribeTime, stopping);
        subscription.Tag = await life.Channel.BasicConsumeAsync(queue, autoAck: false, consumer, stopping).WaitAsync(SubscribeTime, stopping);
        return subscription;
    }

    private async Task UnsubscribeAsync(ConsumerLife life, Subscription subscription)
    {
        if (!subscription.Cancelled)
        {
            subscription.Cancelled = true;
            await Quietly(() => life.Channel.BasicCancelAsync(subscription.Tag), life);
        }
    }

    /// <summary>With nothing else in hand, so that a picture that kills the process takes no other job with it.</summary>
    private async Task HandleSuspectsAsync(ConsumerLife life, CancellationToken stopping)
    {
        await UnsubscribeAsync(life, life.Jobs);
        while (life.InHand > 0 && !life.Ended && !stopping.IsCancellationRequested)
        {
            await Task.Delay(10, CancellationToken.None);
        }

        do
        {
            if (life.Ended || stopping.IsCancellationRequested || !life.Suspects.Reader.TryRead(out var suspect))
            {
                return; // what is not settled goes back with the channel
            }

            var crashes = Crashes(suspect);
            HandlingAlone(logger, suspect.Message.Name ?? "without id", crashes);
            var (job, outcome) = crashes >= SuspectAfter
                ? (null, new JobOutcome.Rejected(DeadLetters.CrashLoop, $"The worker ended {crashes} times while it handled this job and no other."))
                : await HandleAsync(suspect);
            if (outcome is not null)
            {
                await SettleOrLeaveAsync(suspect, job, outcome);
            }
        }
        while (await life.SuspectAsync(NextSuspectTime, time, stopping));

        if (!life.Ended && !stopping.IsCancellationRequested)
        {
            life.Jobs = await SubscribeAgainAsync(life, stopping);
        }
    }

    private async Task<Subscription> SubscribeAgainAsync(ConsumerLife life, CancellationToken stopping)
    {
        try
        {
            return await SubscribeAsync(life, topology.Jobs, Prefetch, stopping);
        }
        catch (Exception e)
        {
            await life.EndAsync(BrokerErrors.Describe(e));
            return life.Jobs;
        }
    }

    /// <summary>Nothing came for a while: either there is nothing, or the consumer is dead and does not know.</summary>
    private async Task WatchAsync(ConsumerLife life, CancellationToken stopping)
    {
        if (life.Ended || stopping.IsCancellationRequested || life.InHand > 0 || life.CameSinceLastLook())
        {
            return;
        }

        try
        {
            var waiting = await connection.ReadyAsync(topology.Jobs, stopping) + await connection.ReadyAsync(topology.Suspects, stopping);
            if (waiting > 0 && life.InHand == 0 && !life.CameSinceLastLook())
            {
                await life.EndAsync($"the queues have {waiting} jobs, and none was handed out for {WatchTime.TotalSeconds} s");
            }
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            await life.EndAsync($"the broker does not answer: {BrokerErrors.Describe(e)}");
        }
    }

    /// <summary>
    /// A job that runs far beyond its deadline does not heed it, and its slot is lost. The process ends, as in a crash: whoever starts it again
    /// gets the job back, and in the end it goes alone, and to the dead letters.
    /// </summary>
    private void EndWhereStuck()
    {
        lastTick = time.GetTimestamp();
        foreach (var (delivery, since) in running)
        {
            if (time.GetElapsedTime(since) is var elapsed && elapsed > 2 * deadline + StuckTime)
            {
                RunsOn(logger, delivery.Message.Name ?? "without id", elapsed.TotalSeconds, deadline.TotalSeconds);
                Stuck?.Invoke();
            }
        }
    }

    /// <summary>Takes no more, gives back what has not started, finishes what runs, and settles it.</summary>
    private async Task DrainAsync(ConsumerLife life, Task[] working)
    {
        life.Closed = true;
        Draining(logger, options.DrainSeconds);
        await UnsubscribeAsync(life, life.Jobs);
        await UnsubscribeAsync(life, life.Alone);
        deliveries.Writer.TryComplete();
        while (deliveries.Reader.TryRead(out var unstarted))
        {
            await GiveBackAsync(unstarted);
        }

        // a nack would count as a crash, and condemn a suspect that nobody has tried: a fresh copy goes back instead
        while (life.Suspects.Reader.TryRead(out var untried))
        {
            settling.TryAdd(SettleOrLeaveAsync(untried, null, new Suspect()), true);
        }

        try
        {
            await FinishAsync().WaitAsync(TimeSpan.FromSeconds(options.DrainSeconds), time);
        }
        catch (TimeoutException)
        {
            GivingBack(logger, options.DrainSeconds);
            await abandon.CancelAsync();
            await Quietly(FinishAsync, life);
        }

        async Task FinishAsync()
        {
            await Task.WhenAll(working);
            await Task.WhenAll(settling.Keys);
        }
    }

    private async Task ReceiveAsync(ConsumerLife life, string queue, BasicDeliverEventArgs e)
    {
        // the body is the client's again once this returns
        var delivery = new Delivery(life, e.DeliveryTag, e.Redelivered, Alone: queue == topology.Suspects, new JobMessage(e.Body.ToArray(), e.BasicProperties));
        life.Take(delivery);
        Telemetry.JobConsumed(queue);
        if (delivery.Alone)
        {
            life.Suspects.Writer.TryWrite(delivery);
        }
        else if (life.Closed || !deliveries.Writer.TryWrite(delivery))
        {
            await GiveBackAsync(delivery);
        }
    }

    private Task GiveBackAsync(Delivery delivery)
    {
        var life = delivery.Life;
        life.Leave(delivery);
        return Quietly(() => life.Channel.BasicNackAsync(delivery.Tag, multiple: false, requeue: true).AsTask(), life);
    }

    /// <summary>How often a job came back without a word, but for the times when this process lost its channel and lived on.</summary>
    private long Crashes(Delivery delivery) =>
        delivery.Message.Crashes is > 0 and var times ? times - lost.GetValueOrDefault(delivery.Message.Identity) : 0;

    /// <summary>One slot: handles one job at a time; the broker's confirm is awaited beside the next.</summary>
    private async Task WorkAsync()
    {
        await foreach (var delivery in deliveries.Reader.ReadAllAsync())
        {
            var (job, outcome) = await HandleThroughGateAsync(delivery);
            if (outcome is not null) // otherwise it is on the queue again
            {
                var settled = SettleOrLeaveAsync(delivery, job, outcome);
                settling.TryAdd(settled, true);
                _ = settled.ContinueWith(t => settling.TryRemove(t, out _), TaskScheduler.Default);
            }
        }
    }

    private async Task<(EmbedJob? Job, JobOutcome? Outcome)> HandleThroughGateAsync(Delivery delivery)
    {
        if (Crashes(delivery) >= SuspectAfter)
        {
            return (null, new Suspect());
        }

        var probing = false;
        try
        {
            using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(delivery.Life.Token, delivery.Life.Stopping, abandon.Token);
            probing = await gate.EnterAsync(giveUp.Token);
            giveUp.Token.ThrowIfCancellationRequested();
        }
        catch (OperationCanceledException)
        {
            if (probing)
            {
                gate.Report("", worldFailed: true, probing);
            }

            return (null, null);
        }

        var (job, outcome) = await HandleAsync(delivery);
        if (gate.Report(job?.Id ?? "", outcome is null or JobOutcome.Retry, probing))
        {
            if (gate.Failing)
            {
                Pausing(logger, IntakeGate.Failures, (outcome as JobOutcome.Retry)?.Message ?? "");
            }
            else
            {
                Resuming(logger);
            }
        }

        return (job, outcome);
    }

    private async Task<(EmbedJob? Job, JobOutcome? Outcome)> HandleAsync(Delivery delivery)
    {
        EmbedJob? job = null;
        try
        {
            job = delivery.Message.Read();
            if (delivery.Redelivered && job.Image is ImageSource.Data data && recent.Find(job, Convert.ToHexStringLower(SHA256.HashData(data.Bytes))) is { } known)
            {
                return (job, new JobOutcome.Completed(known));
            }

            delivery.Span = Telemetry.StartProcess(topology.Jobs, delivery.Message.Text(JobMessage.TraceParentHeader), delivery.Message.Text(JobMessage.TraceStateHeader))?.AddTag("messaging.message.id", job.Id);
            var start = running[delivery] = time.GetTimestamp();
            var outcome = await handle(job, abandon.Token);
            Telemetry.JobProcessed(time.GetElapsedTime(start), topology.Jobs, outcome switch { JobOutcome.Retry r => r.Reason, JobOutcome.Rejected r => r.Reason, _ => null });
            if (outcome is JobOutcome.Completed(var result))
            {
                recent.Add(job, result);
                Telemetry.AddStages(result, delivery.Span);
            }

            return (job, outcome);
        }
        catch (MalformedJobException e)
        {
            return (null, new JobOutcome.Rejected(DeadLetters.Malformed, e.Message, e.InnerException?.Message));
        }
        catch (OperationCanceledException) when (abandon.IsCancellationRequested)
        {
            return (job, null);
        }
        catch (Exception e)
        {
            return (job, JobOutcome.Of(e));
        }
        finally
        {
            running.TryRemove(delivery, out _);
        }
    }

    /// <summary>Settles an outcome: published, confirmed, then acked.</summary>
    private async Task SettleAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome, CancellationToken giveUp)
    {
        var message = delivery.Message;
        var (id, attempts) = (job?.Id ?? message.Name ?? "without id", topology.Ladder.Count + 1);
        switch (outcome)
        {
            case JobOutcome.Completed(var result):
                await publisher.PublishResultAsync(result, job!, message, delivery.Span?.Id, giveUp);
                tally.Completed(result);
                LogCompleted(id, result, attempts);
                break;
            case JobOutcome.Retry retry when message.Attempt < attempts:
                var delay = topology.Ladder[message.Attempt - 1];
                await publisher.PublishRetryAsync(message, retry, delay, giveUp);
                tally.Retried(id, retry);
                Retrying(logger, id, retry.Reason, message.Attempt, attempts, delay.TotalSeconds, retry.Message);
                break;
            case JobOutcome.Retry(var reason, var text, var detail):
                await publisher.PublishDeadLetterAsync(message, job?.Id, DeadLetters.AttemptsExhausted, $"Attempt {message.Attempt} of {attempts}, {reason}: {text}", detail, giveUp);
                tally.Dead(id, DeadLetters.AttemptsExhausted, text);
                DeadLettered(logger, id, DeadLetters.AttemptsExhausted, message.Attempt, attempts, text);
                break;
            case JobOutcome.Rejected(var reason, var text, var detail):
                await publisher.PublishDeadLetterAsync(message, job?.Id, reason, text, detail, giveUp);
                tally.Dead(id, reason, text);
                DeadLettered(logger, id, reason, message.Attempt, attempts, text);
                break;
            case Suspect:
                await publisher.PublishSuspectAsync(message, giveUp);
                Suspected(logger, id, message.Crashes, topology.Suspects);
                break;
        }

        await delivery.Life.Channel.BasicAckAsync(delivery.Tag, multiple: false, giveUp);
        delivery.Life.Leave(delivery);
        if (!lost.IsEmpty)
        {
            lost.TryRemove(message.Identity, out _);
        }
    }

    /// <summary>A job whose channel ends before it is settled is on the queue again, and is settled by whoever gets it.</summary>
    private async Task SettleOrLeaveAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome)
    {
        using var span = delivery.Span;
        Activity.Current = span; // the log tells the trace
        using var settling = span is null ? null : Telemetry.Source.StartActivity("settle");
        try
        {
            using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(delivery.Life.Token, abandon.Token);
            await SettleAsync(delivery, job, outcome, giveUp.Token);
        }
        catch (Exception e)
        {
            LeftOnQueue(logger, job?.Id ?? delivery.Message.Name ?? "without id", BrokerErrors.Describe(e));
            if (!delivery.Life.Ended && !abandon.IsCancellationRequested)
            {
                // never keep an unsettled delivery on a living channel: it would hold its place in the prefetch for ever
                await delivery.Life.EndAsync($"settling a job failed: {e.GetType().Name}");
            }
        }
    }

    private async Task Quietly(Func<Task> call, ConsumerLife life)
    {
        try
        {
            await call().WaitAsync(AnswerTime);
        }
        catch (Exception e)
        {
            NotAnswered(logger, life.Ended ? life.Reason : BrokerErrors.Describe(e));
        }
    }

    public override void Dispose()
    {
        abandon.Dispose();
        base.Dispose();
    }

    private void LogCompleted(string id, EmbedResult result, int attempts)
    {
        var timings = result.TimingsMs;
        Settled(logger, id, result.Outcome, result.Attempt, attempts, result.Outcome == EmbedResult.Embedded ? result.Embeddings.Count : 0,
            timings.Decode ?? 0, timings.Detect ?? 0, timings.Align ?? 0, timings.Embed ?? 0, timings.Total);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Ready: taking jobs from {Queue}")]
    private static partial void Consuming(ILogger logger, string queue);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Cannot take jobs from {Queue} yet: {Reason}; next try in {Seconds:0.0} s")]
    private static partial void NotConsuming(ILogger logger, string queue, string reason, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The broker went away: {Reason}. Jobs not settled yet are handed out again")]
    private static partial void Interrupted(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopping: no new jobs; up to {Seconds} s for those that run")]
    private static partial void Draining(ILogger logger, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Jobs still run after {Seconds} s; they go back to the queue")]
    private static partial void GivingBack(ILogger logger, double seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopped")]
    private static partial void Stopped(ILogger logger);

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id}: {Outcome}, attempt {Attempt} of {Attempts}, {Faces} vectors; decode {Decode}, detect {Detect}, align {Align}, embed {Embed}, total {Total} ms")]
    private static partial void Settled(ILogger logger, string id, string outcome, int attempt, int attempts, int faces, double decode, double detect, double align, double embed, double total);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id}: {Reason}, attempt {Attempt} of {Attempts} failed; next in {Seconds} s: {Text}")]
    private static partial void Retrying(ILogger logger, string id, string reason, int attempt, int attempts, double seconds, string text);

    [LoggerMessage(Level = LogLevel.Error, Message = "Job {Id}: dead letter, {Reason}, attempt {Attempt} of {Attempts}: {Text}")]
    private static partial void DeadLettered(ILogger logger, string id, string reason, int attempt, int attempts, string text);

    [LoggerMessage(Level = LogLevel.Critical, Message = "Job {Id} has run for {Seconds:0} s and does not heed its deadline of {Deadline} s: the worker ends, to be started again. If the job does that again, it goes to the dead letters as crash_loop")]
    private static partial void RunsOn(ILogger logger, string id, double seconds, double deadline);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id} was not settled and is on the queue again: {Reason}")]
    private static partial void LeftOnQueue(ILogger logger, string id, string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The broker did not answer while stopping: {Reason}")]
    private static partial void NotAnswered(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id} came back {Crashes} times without a word: it goes to {Queue}, to be handled alone")]
    private static partial void Suspected(ILogger logger, string id, long crashes, string queue);

    [LoggerMessage(Level = LogLevel.Information, Message = "Job {Id} is a crash suspect ({Crashes} crashes alone so far): handling it with nothing else in hand")]
    private static partial void HandlingAlone(ILogger logger, string id, long crashes);

    [LoggerMessage(Level = LogLevel.Error, Message = "Pausing: {Failures} different jobs in a row failed for no fault of theirs. One at a time is tried until one succeeds. The last: {Text}")]
    private static partial void Pausing(ILogger logger, int failures, string text);

    [LoggerMessage(Level = LogLevel.Information, Message = "Resuming: a job succeeded")]
    private static partial void Resuming(ILogger logger);

    /// <summary>Not handled here: to be moved to the suspects.</summary>
    private sealed record Suspect : JobOutcome;
}
