using System.Text.Json;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>Hands in jobs, and can listen to what becomes of them.</summary>
internal sealed class JobPublisher : IAsyncDisposable
{
    private const string FileField = "file";
    private static readonly TimeSpan QueueTime = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(0.5);

    private readonly BrokerOptions options;
    private readonly Topology topology;
    private readonly TimeProvider time;
    private readonly BrokerConnection connection;
    private readonly BrokerLink link;

    /// <summary>Its own, so that what closes a channel under a job does not end the listening.</summary>
    private readonly BrokerConnection listening;
    private readonly CancellationTokenSource over = new();
    private Task listener = Task.CompletedTask;

    public JobPublisher(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<JobPublisher> logger)
    {
        this.options = options.Value;
        this.topology = topology;
        this.time = time;
        var asItIs = new Topology(Options.Create(options.Value.WithoutDeclaring()));
        connection = new BrokerConnection("submit", confirms: true, options, asItIs, time, logger);
        link = new BrokerLink(connection);
        listening = new BrokerConnection("submit-wait", confirms: false, options, asItIs, time, logger);
    }

    /// <summary>
    /// Connects. Where there is no queue of jobs yet, the whole topology is declared, if it may be; what somebody has deleted of it since is
    /// not brought back, such as the default queue of results.
    /// </summary>
    /// <exception cref="BrokerRefusedException">No, or no answer in half a minute.</exception>
    public async Task OpenAsync(CancellationToken cancel)
    {
        await connection.OpenAsync(cancel);
        try
        {
            if (options.Declare && !(await connection.CountsAsync([topology.Jobs], cancel)).ContainsKey(topology.Jobs))
            {
                await connection.DeclareAsync(topology, cancel);
            }

            var channel = await connection.ChannelAsync(cancel);
            await channel.ExchangeDeclarePassiveAsync(topology.Jobs, cancel); // where it is missing, a job would be waited for until the broker ought to have confirmed it
        }
        catch (OperationInterruptedException e) when (Refusal(e) is { } refusal)
        {
            throw refusal;
        }
    }

    /// <inheritdoc cref="IBrokerLink.Blocked"/>
    public string? Blocked => connection.Blocked;

    /// <inheritdoc cref="IBrokerLink.BlockedChanged"/>
    public event Action? BlockedChanged
    {
        add => connection.BlockedChanged += value;
        remove => connection.BlockedChanged -= value;
    }

    /// <summary>Workers that take jobs; null where that cannot be told.</summary>
    public async Task<long?> TakersAsync(bool bulk, CancellationToken cancel)
    {
        try
        {
            var counts = await connection.CountsAsync([QueueOf(bulk)], cancel);
            return counts.TryGetValue(QueueOf(bulk), out var count) && !count.IsDoubtful ? count.Consumers : null;
        }
        catch (Exception) when (!cancel.IsCancellationRequested)
        {
            return null; // the connection went; whoever waits for results has another
        }
    }

    /// <summary>What the queue tells of itself; null where that cannot be asked now.</summary>
    /// <exception cref="BrokerRefusedException">There is no such queue, or it may not be looked at.</exception>
    public async Task<QueueCount?> CountAsync(bool bulk, CancellationToken cancel)
    {
        try
        {
            var channel = await link.ChannelAsync(cancel);
            return (await connection.CountsAsync([QueueOf(bulk)], cancel)).TryGetValue(QueueOf(bulk), out var count) ? count
                : !channel.IsOpen ? null : throw new BrokerRefusedException($"There is no queue {QueueOf(bulk)}, or this user may not look at it: --ahead cannot be held.");
        }
        catch (Exception e) when (e is not BrokerRefusedException && !cancel.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>Publishes one job, again where the connection is lost under it; returns once the broker has confirmed it.</summary>
    /// <exception cref="JobRefusedException">The broker did not take it.</exception>
    /// <exception cref="BrokerRefusedException">The user may not, or the broker takes nothing for as long as it may take to
    /// confirm.</exception>
    public async Task SubmitAsync(NewJob job, CancellationToken cancel)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(TimeSpan.FromSeconds(options.ConfirmSeconds));
        try
        {
            while (!await TrySubmitAsync(job, patience.Token))
            {
                await Task.Delay(Pause, time, patience.Token);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested && Blocked is { } why)
        {
            throw BrokerErrors.AlarmStays(why, TimeSpan.FromSeconds(options.ConfirmSeconds));
        }
        catch (Exception e) when (e is not BrokerRefusedException && !cancel.IsCancellationRequested)
        {
            throw new JobRefusedException(e switch
            {
                PublishReturnException when job.Bulk => $"there is no queue of bulk jobs; start a worker with Broker:BulkQueue=true, or call face-embed topology declare --Broker:BulkQueue=true.",
                PublishReturnException => $"no queue is bound to the exchange {topology.Jobs}: a job would be lost there. face-embed topology declare binds it.",
                PublishException => $"the broker refused the job: the queue {QueueOf(job.Bulk)} is full.",
                UnpublishableException => $"the broker does not take the job. {e.Message} Hand in a reference instead (docs/messages.md).",
                _ => $"the broker did not confirm the job: {BrokerErrors.Describe(e)}.",
            }, e);
        }
    }

    /// <summary>
    /// Calls back for each result and dead letter that is published from now on, by any worker and for any job. Its queue outlives a lost
    /// connection for a while, so that nothing is missed; what comes twice is told twice.
    /// </summary>
    /// <exception cref="BrokerRefusedException">The user may not listen.</exception>
    public async Task ListenAsync(Action<JobReport> report, CancellationToken cancel)
    {
        var queue = $"{topology.Jobs}.submit.{Guid.NewGuid():N}";
        try
        {
            var channel = await listening.ChannelAsync(cancel);
            await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-expires"] = (long)QueueTime.TotalMilliseconds }, cancellationToken: cancel);
            await channel.QueueBindAsync(queue, topology.Results, "#", cancellationToken: cancel);
            await channel.QueueBindAsync(queue, topology.Dead, Topology.WorkerKey, cancellationToken: cancel);
            await channel.QueueBindAsync(queue, topology.Dead, Topology.BrokerKey, cancellationToken: cancel);
            var gone = await ConsumeAsync(channel, queue, report, cancel);
            listener = KeepListeningAsync(queue, report, gone);
        }
        catch (OperationInterruptedException e) when (Refusal(e) is { } refusal)
        {
            throw refusal;
        }
    }

    private BrokerRefusedException? Refusal(OperationInterruptedException e) => e.ShutdownReason is { ReplyCode: 404 } reason
        ? new($"There is nothing to hand jobs in to: {reason.ReplyText}. Start a worker, or call face-embed topology declare.", e) : BrokerErrors.Refusal(e, new Uri(options.Uri));

    /// <summary>Deletes every queue and exchange of the topology, with all that is in them.</summary>
    public async Task DeleteTopologyAsync()
    {
        var channel = await connection.ChannelAsync(CancellationToken.None);
        await topology.DeleteAsync(channel);
    }

    public async ValueTask DisposeAsync()
    {
        await over.CancelAsync();
        await listener;
        await listening.DisposeAsync();
        await link.DisposeAsync();
        over.Dispose();
    }

    /// <returns>False where the channel went before the broker said anything: it is to be sent again, and a double has the same
    /// id.</returns>
    private async Task<bool> TrySubmitAsync(NewJob job, CancellationToken cancel)
    {
        var properties = new BasicProperties
        {
            MessageId = job.Id,
            ContentType = job.ContentType,
            DeliveryMode = DeliveryModes.Persistent,
            Headers = new Dictionary<string, object?> { [JobMessage.MetadataHeader] = MetadataOf(job.Name) },
        };
        if (job.Mode is { } mode)
        {
            properties.Headers[JobMessage.ModeHeader] = mode;
        }

        if (job.Priority is { } priority)
        {
            properties.Priority = priority;
        }

        var channel = await link.ChannelAsync(cancel);
        try
        {
            await channel.PublishAsync(topology.Jobs, job.Bulk ? Topology.BulkKey : Topology.JobKey, properties, job.Body, cancel).WaitAsync(cancel);
            return true;
        }
        catch (OperationInterruptedException e) when ((BrokerErrors.MayNotHandIn(e, new Uri(options.Uri), topology.Jobs) ?? Refusal(e)) is { } refusal)
        {
            throw refusal;
        }
        catch (Exception e) when (e is OperationInterruptedException or IOException or ObjectDisposedException && !cancel.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Listens on after each lost connection; the queue is deleted at the end, or by the broker where there is no end.</summary>
    private async Task KeepListeningAsync(string queue, Action<JobReport> report, Task gone)
    {
        while (!over.IsCancellationRequested)
        {
            await gone.WaitAsync(over.Token).ContinueWith(_ => { }, TaskScheduler.Default);
            try
            {
                var channel = await listening.ChannelAsync(over.Token);
                gone = await ConsumeAsync(channel, queue, report, over.Token);
            }
            catch (Exception) when (!over.IsCancellationRequested)
            {
                await Task.Delay(Pause, time, over.Token).ContinueWith(_ => { }, TaskScheduler.Default);
            }
            catch (OperationCanceledException)
            {
                // the end
            }
        }

        try
        {
            using var limit = new CancellationTokenSource(Pause * 4);
            var channel = await listening.ChannelAsync(limit.Token);
            await channel.QueueDeleteAsync(queue, cancellationToken: limit.Token);
        }
        catch (Exception)
        {
            // it expires by itself
        }
    }

    /// <returns>A task that ends with the channel.</returns>
    private async Task<Task> ConsumeAsync(IChannel channel, string queue, Action<JobReport> report, CancellationToken cancel)
    {
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        channel.ChannelShutdownAsync += (_, _) =>
        {
            gone.TrySetResult();
            return Task.CompletedTask;
        };
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += async (_, e) =>
        {
            report(e.Exchange == topology.Dead ? DeadLetter(e) : new JobReport(JobIdOf(e.BasicProperties.MessageId), EmbedResult.FromJson(e.Body.Span, e.BasicProperties.ContentType)));
            await channel.BasicAckAsync(e.DeliveryTag, multiple: false);
        };
        await channel.BasicConsumeAsync(queue, autoAck: false, consumer, cancel);
        return gone.Task;
    }

    /// <summary>The metadata of a job that <c>submit</c> makes of a file.</summary>
    public static string MetadataOf(string file) => JsonSerializer.Serialize(new Dictionary<string, string> { [FileField] = file }, SubmitJson.Default.DictionaryStringString);

    /// <summary>The file that a job's metadata names, as <c>submit</c> writes it; null where there is none.</summary>
    public static string? FileOf(string? metadata)
    {
        try
        {
            return metadata is null ? null : FileOf(JsonElement.Parse(metadata));
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <inheritdoc cref="FileOf(string?)"/>
    public static string? FileOf(JsonElement metadata) =>
        metadata.ValueKind == JsonValueKind.Object && metadata.TryGetProperty(FileField, out var file) && file.ValueKind == JsonValueKind.String ? file.GetString() : null;

    private string QueueOf(bool bulk) => bulk && topology.Bulk is { } queue ? queue : topology.Jobs;

    private static JobReport DeadLetter(BasicDeliverEventArgs e)
    {
        var message = new JobMessage(ReadOnlyMemory<byte>.Empty, e.BasicProperties);
        return new JobReport(e.BasicProperties.MessageId ?? "", null, $"{message.Text(DeadLetters.ErrorHeader) ?? "delivery_limit"}: {message.Text(DeadLetters.MessageHeader) ?? "handed out too often"}");
    }

    /// <summary>A result's message id is the job's, a colon, and the space.</summary>
    private static string JobIdOf(string? messageId) => messageId is null ? "" : messageId[..Math.Max(0, messageId.LastIndexOf(':'))];
}
