using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// A copy of each result that is published from now on, in a queue that ends with the connection. What others consume is not touched.
/// </summary>
internal sealed class ResultWatch(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<ResultWatch> logger) : IAsyncDisposable
{
    private readonly BrokerConnection connection = new("results", confirms: false, options, new Topology(Options.Create(options.Value.WithoutDeclaring())), time, logger);

    /// <summary>Calls back until it is cancelled, or until a call throws; connects again where the broker goes.</summary>
    public async Task ListenAsync(Action<EmbedResult> seen, Action listening, CancellationToken cancel)
    {
        var channel = await connection.OpenAsync(cancel);
        while (true)
        {
            var ended = new TaskCompletionSource();
            await using var onCancel = cancel.Register(() => ended.TrySetCanceled(cancel));
            channel.ChannelShutdownAsync += (_, _) =>
            {
                ended.TrySetResult();
                return Task.CompletedTask;
            };
            try
            {
                await SubscribeAsync(channel, seen, ended, cancel);
                listening();
                await ended.Task;
            }
            catch (OperationInterruptedException e) when (BrokerErrors.Refusal(e, new Uri(options.Value.Uri)) is { } refusal)
            {
                throw refusal;
            }
            catch (OperationInterruptedException e) when (e.ShutdownReason is { ReplyCode: 404 } reason)
            {
                throw new BrokerRefusedException($"There are no results to watch: {reason.ReplyText}. Start a worker, or call face-embed topology declare.", e);
            }
            catch (Exception e) when (e is RabbitMQClientException or IOException && !cancel.IsCancellationRequested)
            {
                // the broker goes; the next channel is a new connection's
            }

            channel = await connection.ChannelAsync(cancel);
        }
    }

    private async Task SubscribeAsync(IChannel channel, Action<EmbedResult> seen, TaskCompletionSource ended, CancellationToken cancel)
    {
        var queue = await channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true, cancellationToken: cancel);
        await channel.QueueBindAsync(queue.QueueName, topology.Results, "#", cancellationToken: cancel);
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, e) =>
        {
            var result = EmbedResult.FromJson(e.Body.Span, e.BasicProperties.ContentType);
            try
            {
                seen(result);
            }
            catch (Exception fault)
            {
                ended.TrySetException(fault); // the client would keep it to itself
            }

            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(queue.QueueName, autoAck: true, consumer, cancel);
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();
}
