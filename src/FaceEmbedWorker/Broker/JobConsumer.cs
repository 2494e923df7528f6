using System.Collections.Concurrent;
using System.Threading.Channels;
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
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(5);

    private readonly Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle;
    private readonly ResultPublisher publisher;
    private readonly Topology topology;
    private readonly BrokerOptions options;
    private readonly TimeProvider time;
    private readonly ILogger<JobConsumer> logger;
    private readonly BrokerConnection connection;
    private readonly int slots;
    private readonly Channel<Delivery> deliveries = Channel.CreateUnbounded<Delivery>(); // bounded by the prefetch
    private readonly ConcurrentDictionary<Task, bool> settling = new();
    private readonly CancellationTokenSource abandon = new();

    /// <param name="handle"><see cref="JobHandler.HandleAsync"/>.</param>
    public JobConsumer(Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, ResultPublisher publisher, Topology topology,
        IOptions<BrokerOptions> options, IOptions<JobOptions> jobs, TimeProvider time, ILogger<JobConsumer> logger)
    {
        this.handle = handle;
        this.publisher = publisher;
        this.topology = topology;
        this.options = options.Value;
        this.time = time;
        this.logger = logger;
        slots = jobs.Value.Slots;
        Prefetch = (ushort)(this.options.Prefetch > 0 ? this.options.Prefetch : Math.Min(3 * slots, ushort.MaxValue));
        connection = new BrokerConnection("consume", confirms: false, options, topology, time, logger);
    }

    /// <summary>Jobs that the broker hands out before one is settled.</summary>
    public ushort Prefetch { get; }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var working = Enumerable.Range(0, slots).Select(_ => Task.Run(WorkAsync, CancellationToken.None)).ToArray();
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
            await connection.DisposeAsync();
            await publisher.DisposeAsync();
        }

        Stopped(logger);
    }

    /// <summary>One life of the consumer: until its channel is gone, or the worker stops.</summary>
    private async Task ConsumeAsync(Task[] working, CancellationToken stopping)
    {
        var channel = await connection.ChannelAsync(stopping);
        using var life = new ConsumerLife(channel);
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, e) => ReceiveAsync(life, e);
        consumer.UnregisteredAsync += (_, _) => life.Closed ? Task.CompletedTask : life.EndAsync("the broker cancelled the consumer"); // it also tells of our own cancel
        channel.ChannelShutdownAsync += (_, e) => life.EndAsync(e.ReplyText);
        string tag;
        try
        {
            await channel.BasicQosAsync(0, Prefetch, global: false, stopping).WaitAsync(AnswerTime, stopping);
            tag = await channel.BasicConsumeAsync(topology.Jobs, autoAck: false, consumer, stopping).WaitAsync(AnswerTime, stopping);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            NotConsuming(logger, topology.Jobs, BrokerErrors.Describe(e));
            await life.EndAsync("");
            await connection.AbandonAsync(channel);
            await Task.Delay(TimeSpan.FromSeconds(1), time, stopping);
            return;
        }

        Consuming(logger, topology.Jobs);
        if (await life.EndedOrAsync(stopping))
        {
            Interrupted(logger, life.Reason);
            await connection.AbandonAsync(channel);
            return;
        }

        await DrainAsync(life, tag, working);
    }

    /// <summary>Takes no more, gives back what has not started, finishes what runs, and settles it.</summary>
    private async Task DrainAsync(ConsumerLife life, string tag, Task[] working)
    {
        life.Closed = true;
        Draining(logger, options.DrainSeconds);
        await Quietly(() => life.Channel.BasicCancelAsync(tag), life);
        deliveries.Writer.TryComplete();
        while (deliveries.Reader.TryRead(out var unstarted))
        {
            await Quietly(() => life.Channel.BasicNackAsync(unstarted.Tag, multiple: false, requeue: true).AsTask(), life);
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

    private async Task ReceiveAsync(ConsumerLife life, BasicDeliverEventArgs e)
    {
        // the body is the client's again once this returns
        var delivery = new Delivery(life, e.DeliveryTag, new JobMessage(e.Body.ToArray(), e.BasicProperties));
        if (life.Closed || !deliveries.Writer.TryWrite(delivery))
        {
            await Quietly(() => life.Channel.BasicNackAsync(e.DeliveryTag, multiple: false, requeue: true).AsTask(), life);
        }
    }

    /// <summary>One slot: handles one job at a time; the broker's confirm is awaited beside the next.</summary>
    private async Task WorkAsync()
    {
        await foreach (var delivery in deliveries.Reader.ReadAllAsync())
        {
            if (delivery.Life.Ended || abandon.IsCancellationRequested)
            {
                continue; // it is on the queue again
            }

            var (job, outcome) = await HandleAsync(delivery.Message);
            if (outcome is not null)
            {
                var settled = SettleOrLeaveAsync(delivery, job, outcome);
                settling.TryAdd(settled, true);
                _ = settled.ContinueWith(t => settling.TryRemove(t, out _), TaskScheduler.Default);
            }
        }
    }

    private async Task<(EmbedJob? Job, JobOutcome? Outcome)> HandleAsync(JobMessage message)
    {
        EmbedJob? job = null;
        try
        {
            job = message.Read();
            return (job, await handle(job, abandon.Token));
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
    }

    /// <summary>Settles an outcome: published, confirmed, then acked.</summary>
    private async Task SettleAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome, CancellationToken giveUp)
    {
        var message = delivery.Message;
        var (id, attempts) = (job?.Id ?? message.Name ?? "without id", topology.Ladder.Count + 1);
        switch (outcome)
        {
            case JobOutcome.Completed(var result):
                await publisher.PublishResultAsync(result, message.Properties.CorrelationId, giveUp);
                LogCompleted(id, result, attempts);
                break;
            case JobOutcome.Retry retry when message.Attempt < attempts:
                var delay = topology.Ladder[message.Attempt - 1];
                await publisher.PublishRetryAsync(message, retry, delay, giveUp);
                Retrying(logger, id, retry.Reason, message.Attempt, attempts, delay.TotalSeconds, retry.Message);
                break;
            case JobOutcome.Retry(var reason, var text, var detail):
                await publisher.PublishDeadLetterAsync(message, job?.Id, DeadLetters.AttemptsExhausted, $"Attempt {message.Attempt} of {attempts}, {reason}: {text}", detail, giveUp);
                DeadLettered(logger, id, DeadLetters.AttemptsExhausted, message.Attempt, attempts, text);
                break;
            case JobOutcome.Rejected(var reason, var text, var detail):
                await publisher.PublishDeadLetterAsync(message, job?.Id, reason, text, detail, giveUp);
                DeadLettered(logger, id, reason, message.Attempt, attempts, text);
                break;
        }

        await delivery.Life.Channel.BasicAckAsync(delivery.Tag, multiple: false, giveUp);
    }

    /// <summary>A job whose channel ends before it is settled is on the queue again, and is settled by whoever gets it.</summary>
    private async Task SettleOrLeaveAsync(Delivery delivery, EmbedJob? job, JobOutcome outcome)
    {
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

    [LoggerMessage(Level = LogLevel.Warning, Message = "Cannot take jobs from {Queue} yet: {Reason}")]
    private static partial void NotConsuming(ILogger logger, string queue, string reason);

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

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id} was not settled and is on the queue again: {Reason}")]
    private static partial void LeftOnQueue(ILogger logger, string id, string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The broker did not answer while stopping: {Reason}")]
    private static partial void NotAnswered(ILogger logger, string reason);

    private sealed record Delivery(ConsumerLife Life, ulong Tag, JobMessage Message);

    /// <summary>What ends with a channel: deliveries of an ended one are the broker's again.</summary>
    private sealed class ConsumerLife(IChannel channel) : IDisposable
    {
        private readonly CancellationTokenSource ended = new();

        public IChannel Channel { get; } = channel;

        /// <summary>No more jobs are taken from it.</summary>
        public volatile bool Closed;

        public string Reason { get; private set; } = "";

        public bool Ended => ended.IsCancellationRequested;

        public CancellationToken Token => ended.Token;

        public async Task EndAsync(string reason)
        {
            if (!Ended)
            {
                Reason = reason;
                await ended.CancelAsync();
            }
        }

        /// <returns>True where the channel ended, false where the token was cancelled.</returns>
        public async Task<bool> EndedOrAsync(CancellationToken stopping)
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(ended.Token, stopping);
            await Task.Delay(Timeout.InfiniteTimeSpan, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return Ended;
        }

        public void Dispose() => Closed = true;
    }
}
