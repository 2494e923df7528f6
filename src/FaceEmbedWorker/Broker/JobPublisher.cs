using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>Hands in jobs, and can listen to what becomes of them.</summary>
internal sealed class JobPublisher(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<JobPublisher> logger) : IAsyncDisposable
{
    private readonly BrokerConnection connection = new("submit", confirms: true, options, topology, time, logger);

    /// <summary>Connects.</summary>
    /// <exception cref="BrokerRefusedException">No, or no answer in half a minute.</exception>
    public Task OpenAsync() => connection.OpenAsync(CancellationToken.None);

    /// <summary>Publishes one job; returns once the broker has confirmed it.</summary>
    /// <exception cref="JobRefusedException">The broker did not take it.</exception>
    public async Task SubmitAsync(string id, ReadOnlyMemory<byte> picture, string contentType, string metadata, CancellationToken cancel)
    {
        var channel = await connection.ChannelAsync(cancel);
        var properties = new BasicProperties
        {
            MessageId = id,
            ContentType = contentType,
            DeliveryMode = DeliveryModes.Persistent,
            Headers = new Dictionary<string, object?> { [JobMessage.MetadataHeader] = metadata },
        };
        try
        {
            await channel.BasicPublishAsync(topology.Jobs, Topology.JobKey, mandatory: true, properties, picture, cancel)
                .AsTask().WaitAsync(TimeSpan.FromSeconds(options.Value.ConfirmSeconds), time, cancel);
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            throw new JobRefusedException(e switch
            {
                PublishReturnException => $"no queue is bound to the exchange {topology.Jobs}; start a worker, or set Broker:Declare to true.",
                PublishException => $"the broker refused the job: the queue {topology.Jobs} is full.",
                _ => $"the broker did not confirm the job: {BrokerErrors.Describe(e)}. RabbitMQ 4 takes 16 MiB a message by default.",
            }, e);
        }
    }

    /// <summary>Calls back for each result and dead letter that is published from now on, by any worker and for any job.</summary>
    public async Task ListenAsync(Action<JobReport> report, CancellationToken cancel)
    {
        var channel = await connection.ChannelAsync(cancel);
        var queue = await channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true, cancellationToken: cancel);
        await channel.QueueBindAsync(queue.QueueName, topology.Results, "#", cancellationToken: cancel);
        await channel.QueueBindAsync(queue.QueueName, topology.Dead, Topology.WorkerKey, cancellationToken: cancel);
        await channel.QueueBindAsync(queue.QueueName, topology.Dead, Topology.BrokerKey, cancellationToken: cancel);
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, e) =>
        {
            report(e.Exchange == topology.Dead ? DeadLetter(e) : new JobReport(JobIdOf(e.BasicProperties.MessageId), EmbedResult.FromJson(e.Body.Span, e.BasicProperties.ContentType)));
            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(queue.QueueName, autoAck: true, consumer, cancel);
    }

    /// <summary>Deletes every queue and exchange of the topology, with all that is in them.</summary>
    public async Task DeleteTopologyAsync()
    {
        var channel = await connection.ChannelAsync(CancellationToken.None);
        await topology.DeleteAsync(channel);
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private static JobReport DeadLetter(BasicDeliverEventArgs e)
    {
        var message = new JobMessage(ReadOnlyMemory<byte>.Empty, e.BasicProperties);
        return new JobReport(e.BasicProperties.MessageId ?? "", null, $"{message.Text(DeadLetters.ErrorHeader) ?? "delivery_limit"}: {message.Text(DeadLetters.MessageHeader) ?? "handed out too often"}");
    }

    /// <summary>A result's message id is the job's, a colon, and the space.</summary>
    private static string JobIdOf(string? messageId) => messageId is null ? "" : messageId[..Math.Max(0, messageId.LastIndexOf(':'))];
}

/// <summary>A job that the broker did not take; the message says why.</summary>
internal sealed class JobRefusedException(string message, Exception inner) : Exception(message, inner);

/// <summary>What became of a job: a result, or why it is a dead letter.</summary>
internal sealed record JobReport(string JobId, EmbedResult? Result, string? Error = null);
