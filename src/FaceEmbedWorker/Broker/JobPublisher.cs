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
        connection = new BrokerConnection("submit", confirms: true, options, topology, time, logger);
        link = new BrokerLink(connection);
        listening = new BrokerConnection("submit-wait", confirms: false, options, topology, time, logger);
    }

    /// <summary>Connects.</summary>
    /// <exception cref="BrokerRefusedException">No, or no answer in half a minute.</exception>
    public Task OpenAsync(CancellationToken cancel) => connection.OpenAsync(cancel);

    /// <inheritdoc cref="IBrokerLink.Blocked"/>
    public string? Blocked => connection.Blocked;

    /// <inheritdoc cref="IBrokerLink.BlockedChanged"/>
    public event Action? BlockedChanged
    {
        add => connection.BlockedChanged += value;
        remove => connection.BlockedChanged -= value;
    }

    /// <summary>Workers that take jobs; null where that cannot be told.</summary>
    public async Task<long?> TakersAsync(CancellationToken cancel)
    {
        try
        {
            var counts = await connection.CountsAsync([topology.Jobs], cancel);
            return counts.TryGetValue(topology.Jobs, out var count) && !count.IsDoubtful ? count.Consumers : null;
        }
        catch (Exception) when (!cancel.IsCancellationRequested)
        {
            return null; // the connection went; whoever waits for results has another
        }
    }

    /// <summary>Publishes one job, again where the connection is lost under it; returns once the broker has confirmed it.</summary>
    /// <exception cref="JobRefusedException">The broker did not take it.</exception>
    /// <exception cref="BrokerRefusedException">The broker takes nothing for as long as it may take to confirm.</exception>
    public async Task SubmitAsync(string id, ReadOnlyMemory<byte> picture, string contentType, string metadata, CancellationToken cancel)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(TimeSpan.FromSeconds(options.ConfirmSeconds));
        try
        {
            while (!await TrySubmitAsync(id, picture, contentType, metadata, patience.Token))
            {
                await Task.Delay(Pause, time, patience.Token);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested && Blocked is { } why)
        {
            throw BrokerErrors.AlarmStays(why, TimeSpan.FromSeconds(options.ConfirmSeconds));
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            throw new JobRefusedException(e switch
            {
                PublishReturnException => $"no queue is bound to the exchange {topology.Jobs}; start a worker, or set Broker:Declare to true.",
                PublishException => $"the broker refused the job: the queue {topology.Jobs} is full.",
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
        catch (OperationInterruptedException e) when (BrokerErrors.Refusal(e, new Uri(options.Uri)) is { } refusal)
        {
            throw refusal;
        }
    }

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
    private async Task<bool> TrySubmitAsync(string id, ReadOnlyMemory<byte> picture, string contentType, string metadata, CancellationToken cancel)
    {
        var properties = new BasicProperties
        {
            MessageId = id,
            ContentType = contentType,
            DeliveryMode = DeliveryModes.Persistent,
            Headers = new Dictionary<string, object?> { [JobMessage.MetadataHeader] = metadata },
        };
        var channel = await link.ChannelAsync(cancel);
        try
        {
            await channel.PublishAsync(topology.Jobs, Topology.JobKey, properties, picture, cancel).WaitAsync(cancel);
            return true;
        }
        catch (OperationInterruptedException e) when (BrokerErrors.Refusal(e, new Uri(options.Uri)) is { } refusal)
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

    private static JobReport DeadLetter(BasicDeliverEventArgs e)
    {
        var message = new JobMessage(ReadOnlyMemory<byte>.Empty, e.BasicProperties);
        return new JobReport(e.BasicProperties.MessageId ?? "", null, $"{message.Text(DeadLetters.ErrorHeader) ?? "delivery_limit"}: {message.Text(DeadLetters.MessageHeader) ?? "handed out too often"}");
    }

    /// <summary>A result's message id is the job's, a colon, and the space.</summary>
    private static string JobIdOf(string? messageId) => messageId is null ? "" : messageId[..Math.Max(0, messageId.LastIndexOf(':'))];
}

[System.Text.Json.Serialization.JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class SubmitJson : System.Text.Json.Serialization.JsonSerializerContext;

/// <summary>A job that the broker did not take; the message says why.</summary>
internal sealed class JobRefusedException(string message, Exception inner) : Exception(message, inner);

/// <summary>What became of a job: a result, or why it is a dead letter.</summary>
internal sealed record JobReport(string JobId, EmbedResult? Result, string? Error = null);
