using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace FaceEmbedWorker.Broker;

/// <summary>A copy of each result that is published from now on, in a queue that ends with the connection. What others consume is not touched.</summary>
internal sealed class ResultWatch(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<ResultWatch> logger) : IAsyncDisposable
{
    private readonly BrokerConnection connection = new("results", confirms: false, options, new Topology(Options.Create(options.Value.WithoutDeclaring())), time, logger);

    /// <summary>Calls back until it is cancelled; connects again where the broker goes.</summary>
    public async Task ListenAsync(Action<EmbedResult> seen, Action listening, CancellationToken cancel)
    {
        var channel = await connection.OpenAsync(cancel);
        while (true)
        {
            var ended = new TaskCompletionSource();
            await using var onCancel = cancel.Register(ended.SetCanceled);
            channel.ChannelShutdownAsync += (_, _) =>
            {
                ended.TrySetResult();
                return Task.CompletedTask;
            };
            var queue = await channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true, cancellationToken: cancel);
            await channel.QueueBindAsync(queue.QueueName, topology.Results, "#", cancellationToken: cancel);
            var consumer = new AsyncEventingBasicConsumer(channel);
            consumer.ReceivedAsync += (_, e) =>
            {
                seen(EmbedResult.FromJson(e.Body.Span, e.BasicProperties.ContentType));
                return Task.CompletedTask;
            };
            await channel.BasicConsumeAsync(queue.QueueName, autoAck: true, consumer, cancel);
            listening();
            await ended.Task;
            channel = await connection.ChannelAsync(cancel);
        }
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();
}
