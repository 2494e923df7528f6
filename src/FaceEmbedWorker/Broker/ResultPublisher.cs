using System.Text.Json;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Writes what becomes of jobs: results, retries, copies, dead letters. Each call ends when the broker has confirmed the message, or when
/// it is clear that it can never be published.
/// </summary>
internal sealed partial class ResultPublisher : IAsyncDisposable
{
    private readonly Topology topology;
    private readonly TimeProvider time;
    private readonly ILogger<ResultPublisher> logger;
    private readonly ResultOptions results;
    private readonly ConfirmedPublisher publisher;
    private readonly Replies replies;

    /// <param name="gate">Closed while a message is held.</param>
    public ResultPublisher(IOptions<BrokerOptions> options, IOptions<ResultOptions> results, Topology topology, IntakeGate gate, TimeProvider time, ILogger<ResultPublisher> logger)
        : this((role, confirms) => new BrokerLink(new BrokerConnection(role, confirms, options, topology, time, logger)), options, results, topology, gate, time, logger)
    {
    }

    internal ResultPublisher(MakeLink link, IOptions<BrokerOptions> options, IOptions<ResultOptions> results, Topology topology, IntakeGate gate, TimeProvider time, ILogger<ResultPublisher> logger)
    {
        this.topology = topology;
        this.results = results.Value;
        this.time = time;
        this.logger = logger;
        publisher = new ConfirmedPublisher(link, topology, gate, TimeSpan.FromSeconds(options.Value.ConfirmSeconds), time, logger);
        replies = new Replies(link("reply", true), this.results, time, logger);
    }

    /// <inheritdoc cref="IBrokerLink.Blocked"/>
    public string? Blocked => publisher.Blocked;

    /// <summary>Connects, for as long as it takes.</summary>
    public Task OpenAsync(CancellationToken cancel) => publisher.OpenAsync(cancel);

    /// <param name="message">Its correlation id goes along, and who asked for a reply gets one.</param>
    /// <param name="span">Of the job, in W3C form: the result's trace parent; null: the job's own goes along.</param>
    /// <exception cref="UnpublishableException">It never can be, as it is.</exception>
    public async Task PublishResultAsync(EmbedResult result, EmbedJob job, JobMessage message, string? span, CancellationToken giveUp)
    {
        var parent = (span ?? message.Text(JobMessage.TraceParentHeader)) is { Length: <= 100 } known ? known : null;
        var isEvent = job.IsCloudEvent || results.Envelope == ResultEnvelope.CloudEvents;
        var properties = new BasicProperties
        {
            ContentType = isEvent ? EmbedResult.CloudEventType : "application/json",
            MessageId = result.MessageId,
            Timestamp = new AmqpTimestamp(time.GetUtcNow().ToUnixTimeSeconds()),
            DeliveryMode = DeliveryModes.Persistent,
            AppId = "face-embed",
        };
        if (JobMessage.Short(message.Properties.CorrelationId) is { } correlationId)
        {
            properties.CorrelationId = correlationId;
        }

        if (parent is not null)
        {
            properties.Headers = new Dictionary<string, object?> { [JobMessage.TraceParentHeader] = parent };
        }

        var body = Write(result, isEvent, job.VectorEncoding ?? results.VectorEncoding, parent);
        await publisher.PublishAsync(topology.Results, result.Outcome, properties, body, giveUp);
        if (message.Properties.ReplyTo is { Length: > 0 } queue)
        {
            await replies.SendAsync(queue, properties, body, giveUp);
        }
    }

    /// <param name="delay">One of the ladder's.</param>
    /// <exception cref="UnpublishableException">It never can be.</exception>
    public Task PublishRetryAsync(JobMessage job, JobOutcome.Retry retry, TimeSpan delay, CancellationToken giveUp) =>
        PublishJobAsync(topology.Retry, Topology.RetryKey(delay), job, DeadLetters.ForRetry(job, retry, time.GetUtcNow()), giveUp);

    /// <exception cref="UnpublishableException">It never can be.</exception>
    public Task PublishSuspectAsync(JobMessage job, CancellationToken giveUp) =>
        PublishJobAsync(topology.Jobs, Topology.SuspectKey, job, DeadLetters.ForReturn(job), giveUp);

    /// <summary>
    /// A fresh copy, whose returns are counted from nought. Where its queue is full it waits in a wait queue, and comes again: held here
    /// it would close the intake, and who is to empty the queue takes nothing then.
    /// </summary>
    /// <returns>How long it waits; null where it is on its queue.</returns>
    /// <exception cref="UnpublishableException">It never can be.</exception>
    public async Task<TimeSpan?> PublishReturnAsync(JobMessage job, bool alone, CancellationToken giveUp)
    {
        TimeSpan? wait = alone ? null : topology.WaitForRoom; // a suspect that came by the first queue would be among others
        try
        {
            await PublishJobAsync(topology.Jobs, alone ? Topology.SuspectKey : job.IsBulk && topology.Bulk is not null ? Topology.BulkKey : Topology.JobKey, job, DeadLetters.ForReturn(job), giveUp, givesWay: wait is not null);
            return null;
        }
        catch (QueueFullException)
        {
            await PublishJobAsync(topology.Retry, Topology.RetryKey(wait!.Value), job, DeadLetters.ForWait(job), giveUp);
            return wait;
        }
    }

    /// <summary>Who asked for a reply gets a word of it.</summary>
    /// <exception cref="UnpublishableException">It never can be.</exception>
    public async Task PublishDeadLetterAsync(JobMessage job, string jobId, string reason, string message, string? detail, CancellationToken giveUp)
    {
        var now = time.GetUtcNow();
        await PublishJobAsync(topology.Dead, Topology.WorkerKey, job, DeadLetters.ForDeadLetter(job, jobId, reason, message, detail, now), giveUp);
        if (job.Properties.ReplyTo is { Length: > 0 } queue)
        {
            var properties = new BasicProperties { ContentType = "application/json", MessageId = JobMessage.Short(jobId), CorrelationId = JobMessage.Short(job.Properties.CorrelationId), DeliveryMode = DeliveryModes.Persistent, AppId = "face-embed" };
            await replies.SendAsync(queue, properties, new RejectedJob(jobId, RejectedJob.Rejected, reason, message, job.Attempt, JobHandler.Worker, JobHandler.Version, now.UtcDateTime).ToJson(), giveUp);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await replies.DisposeAsync();
        await publisher.DisposeAsync();
    }

    /// <summary>A job again, in full, or where that cannot be with the least that it can be done with.</summary>
    private async Task PublishJobAsync(string exchange, string key, JobMessage job, BasicProperties properties, CancellationToken giveUp, bool givesWay = false)
    {
        try
        {
            await publisher.PublishAsync(exchange, key, properties, job.Body, giveUp, givesWay);
        }
        catch (UnpublishableException e)
        {
            Reduced(logger, job.JobId, e.Message);
            await publisher.PublishAsync(exchange, key, DeadLetters.Least(job, properties), job.Body, giveUp, givesWay);
        }
    }

    private static byte[] Write(EmbedResult result, bool isEvent, VectorEncoding encoding, string? parent)
    {
        try
        {
            return isEvent ? result.ToCloudEvent(encoding, parent) : result.ToJson(encoding);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException or NotSupportedException)
        {
            throw new UnpublishableException($"It cannot be written as JSON: {e.Message}", e);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Job {Id} cannot be published again in full: {Reason} Trying with the least of its properties")]
    private static partial void Reduced(ILogger logger, string id, string reason);
}
