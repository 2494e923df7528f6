using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Publishes what becomes of jobs: results, retries, dead letters. Each call ends when the broker has confirmed the message, however often
/// it must be sent; a message that the broker cannot take now is held in memory, and is nobody's failed attempt.
/// </summary>
internal sealed partial class ResultPublisher : IAsyncDisposable
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ReplyTime = TimeSpan.FromSeconds(5);

    private readonly Topology topology;
    private readonly IntakeGate gate;
    private readonly TimeSpan confirmTime;
    private readonly TimeProvider time;
    private readonly ILogger<ResultPublisher> logger;
    private readonly ResultOptions results;
    private readonly BrokerConnection connection;

    /// <summary>Its own, for a reply that is not allowed closes its channel; opened for the first reply.</summary>
    private readonly BrokerConnection replies;

    /// <param name="gate">Closed while a message is held.</param>
    public ResultPublisher(IOptions<BrokerOptions> options, IOptions<ResultOptions> results, Topology topology, IntakeGate gate, TimeProvider time, ILogger<ResultPublisher> logger)
    {
        this.topology = topology;
        this.results = results.Value;
        this.gate = gate;
        this.time = time;
        this.logger = logger;
        confirmTime = TimeSpan.FromSeconds(options.Value.ConfirmSeconds);
        connection = new BrokerConnection("publish", confirms: true, options, topology, time, logger);
        replies = new BrokerConnection("reply", confirms: true, options, topology, time, logger);
    }

    /// <summary>Connects, for as long as it takes.</summary>
    public Task OpenAsync(CancellationToken cancel) => connection.ChannelAsync(cancel);

    /// <param name="message">Its correlation id goes along, and who asked for a reply gets one.</param>
    /// <param name="span">Of the job, in W3C form: the result's trace parent; null: the job's own goes along.</param>
    public async Task PublishResultAsync(EmbedResult result, EmbedJob job, JobMessage message, string? span, CancellationToken giveUp)
    {
        var parent = (span ?? message.Text(JobMessage.TraceParentHeader)) is { Length: <= 100 } known ? known : null;
        var isEvent = job.IsCloudEvent || results.Envelope == ResultEnvelope.CloudEvents;
        var encoding = job.VectorEncoding ?? results.VectorEncoding;
        var properties = new BasicProperties
        {
            ContentType = isEvent ? EmbedResult.CloudEventType : "application/json",
            MessageId = result.MessageId,
            Timestamp = new AmqpTimestamp(time.GetUtcNow().ToUnixTimeSeconds()),
            DeliveryMode = DeliveryModes.Persistent,
            AppId = "face-embed",
        };
        if (message.Properties.CorrelationId is { } correlationId)
        {
            properties.CorrelationId = correlationId;
        }

        if (parent is not null)
        {
            properties.Headers = new Dictionary<string, object?> { [JobMessage.TraceParentHeader] = parent };
        }

        var body = isEvent ? result.ToCloudEvent(encoding, parent) : result.ToJson(encoding);
        await PublishAsync(topology.Results, result.Outcome, properties, body, giveUp);
        if (message.Properties.ReplyTo is { Length: > 0 } queue)
        {
            await ReplyAsync(queue, properties, body, giveUp);
        }
    }

    /// <summary>Who asked may be gone, and has the result on the exchange all the same: one try, and nothing waits for it.</summary>
    private async Task ReplyAsync(string queue, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken giveUp)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(giveUp);
            limit.CancelAfter(ReplyTime);
            var channel = await replies.ChannelAsync(limit.Token);
            await channel.BasicPublishAsync("", queue, mandatory: true, properties, body, limit.Token).AsTask().WaitAsync(limit.Token);
        }
        catch (Exception e) when (!giveUp.IsCancellationRequested)
        {
            NotReplied(logger, properties.MessageId, e is PublishReturnException ? "that queue is gone" : BrokerErrors.Describe(e));
        }
    }

    /// <param name="delay">One of the ladder's.</param>
    public Task PublishRetryAsync(JobMessage job, JobOutcome.Retry retry, TimeSpan delay, CancellationToken giveUp) =>
        PublishAsync(topology.Retry, Topology.RetryKey(delay), DeadLetters.ForRetry(job, retry, time.GetUtcNow()), job.Body, giveUp);

    public Task PublishSuspectAsync(JobMessage job, CancellationToken giveUp) =>
        PublishAsync(topology.Jobs, Topology.SuspectKey, DeadLetters.ForSuspect(job), job.Body, giveUp);

    public Task PublishDeadLetterAsync(JobMessage job, string? jobId, string reason, string message, string? detail, CancellationToken giveUp) =>
        PublishAsync(topology.Dead, Topology.WorkerKey, DeadLetters.ForDeadLetter(job, jobId, reason, message, detail, time.GetUtcNow()), job.Body, giveUp);

    public async ValueTask DisposeAsync()
    {
        await replies.DisposeAsync();
        await connection.DisposeAsync();
    }

    /// <exception cref="OperationCanceledException">Told to give up: whether the message arrived is unknown.</exception>
    private async Task PublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken giveUp)
    {
        var held = false;
        try
        {
            for (var pause = FirstPause; await TryPublishAsync(exchange, key, properties, body, pause, giveUp) is { } trouble; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
            {
                if (!held)
                {
                    gate.Hold(trouble);
                    held = true;
                }

                await Task.Delay(pause, time, giveUp);
            }
        }
        finally
        {
            if (held && gate.Release() && !giveUp.IsCancellationRequested)
            {
                Flowing(logger);
            }
        }
    }

    /// <returns>Null once the broker has confirmed the message; otherwise why it has not.</returns>
    private async Task<string?> TryPublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, TimeSpan pause, CancellationToken giveUp)
    {
        IChannel? channel = null;
        var start = time.GetTimestamp();
        string? error = null;
        try
        {
            using var limit = new CancellationTokenSource(confirmTime, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(giveUp, limit.Token);
            channel = await connection.ChannelAsync(either.Token);
            await channel.BasicPublishAsync(exchange, key, mandatory: true, properties, body, either.Token).AsTask().WaitAsync(either.Token);
            return null;
        }
        catch (PublishReturnException)
        {
            error = "unroutable";
            Unroutable(logger, exchange, key, properties.MessageId, pause.TotalSeconds);
            await DeclareAgainAsync(giveUp);
            return $"no queue takes messages of exchange {exchange}";
        }
        catch (PublishException)
        {
            error = "refused";
            Refused(logger, exchange, key, properties.MessageId, pause.TotalSeconds);
            return $"a queue of exchange {exchange} is full";
        }
        catch (OperationCanceledException) when (!giveUp.IsCancellationRequested)
        {
            error = "unconfirmed";
            Unconfirmed(logger, properties.MessageId, confirmTime.TotalSeconds);
            if (channel is not null)
            {
                await connection.AbandonAsync(channel);
            }

            return "the broker does not confirm";
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            error = e.GetType().Name;
            var reason = BrokerErrors.Describe(e);
            Lost(logger, properties.MessageId, reason, pause.TotalSeconds);
            return reason;
        }
        finally
        {
            if (!giveUp.IsCancellationRequested)
            {
                Telemetry.MessagePublished(exchange, time.GetElapsedTime(start), error);
            }
        }
    }

    /// <summary>What was deleted under way comes back; if it cannot, the next round says so again.</summary>
    private async Task DeclareAgainAsync(CancellationToken giveUp)
    {
        try
        {
            await connection.DeclareAsync(giveUp);
        }
        catch (Exception e) when (!giveUp.IsCancellationRequested)
        {
            NotDeclared(logger, BrokerErrors.Describe(e));
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "No queue takes messages of exchange {Exchange} with routing key {Key}: bind one. The intake is closed, holding {MessageId}; next try in {Seconds:0.0} s")]
    private static partial void Unroutable(ILogger logger, string exchange, string key, string? messageId, double seconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The broker refused a message to exchange {Exchange} with routing key {Key}: a queue there is full. The intake is closed, holding {MessageId}; next try in {Seconds:0.0} s")]
    private static partial void Refused(ILogger logger, string exchange, string key, string? messageId, double seconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The broker has not confirmed {MessageId} in {Seconds} s: an alarm (memory, disk), or a dead connection. The intake is closed, holding it and connecting again")]
    private static partial void Unconfirmed(ILogger logger, string? messageId, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Publishing {MessageId} failed: {Reason}. The intake is closed, holding it; next try in {Seconds:0.0} s")]
    private static partial void Lost(ILogger logger, string? messageId, string reason, double seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "The broker takes messages again: the intake is open")]
    private static partial void Flowing(ILogger logger);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The reply {MessageId} did not reach who asked for it: {Reason}. The result is on the results exchange all the same; replies need write on amq.default")]
    private static partial void NotReplied(ILogger logger, string? messageId, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Declaring the topology again failed: {Reason}")]
    private static partial void NotDeclared(ILogger logger, string reason);
}
