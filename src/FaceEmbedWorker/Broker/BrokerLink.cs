using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace FaceEmbedWorker.Broker;

/// <summary>RabbitMQ, as the rooms of the consumer see it.</summary>
internal sealed class BrokerLink(BrokerConnection connection) : IBrokerLink
{
    private Channel? current;

    public string Trouble => connection.Trouble;

    public BrokerIdentity Broker => connection.Broker;

    public string? Blocked => connection.Blocked;

    public event Action? BlockedChanged
    {
        add => connection.BlockedChanged += value;
        remove => connection.BlockedChanged -= value;
    }

    public async Task<IBrokerChannel> ChannelAsync(CancellationToken cancel)
    {
        var channel = await connection.ChannelAsync(cancel);
        return current is { } known && ReferenceEquals(known.Real, channel) ? known : current = new Channel(channel, connection);
    }

    public Task AbandonAsync(IBrokerChannel dead) => connection.AbandonAsync(((Channel)dead).Real);

    public Task DeclareAsync(CancellationToken cancel) => connection.DeclareAsync(cancel);

    public Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel) => connection.CountsAsync(queues, cancel);

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private sealed class Channel(IChannel real, BrokerConnection connection) : IBrokerChannel
    {
        public IChannel Real => real;

        public bool IsOpen => real.IsOpen;

        public void OnClosed(Func<string, Task> closed) => real.ChannelShutdownAsync += (_, e) => closed(e.ReplyText);

        public async Task<string> ConsumeAsync(string queue, ushort prefetch, Func<Handed, Task> received, Func<Task> ended, CancellationToken cancel)
        {
            var consumer = new AsyncEventingBasicConsumer(real);
            consumer.ReceivedAsync += (_, e) => received(new Handed(e.DeliveryTag, e.Redelivered, e.Body, e.BasicProperties));
            consumer.UnregisteredAsync += (_, _) => ended();
            await real.BasicQosAsync(0, prefetch, global: false, cancel);
            return await real.BasicConsumeAsync(queue, autoAck: false, consumer, cancel);
        }

        public Task CancelAsync(string tag, CancellationToken cancel) => real.BasicCancelAsync(tag, noWait: false, cancel);

        public async Task<Handed?> GetAsync(string queue, CancellationToken cancel) =>
            await real.BasicGetAsync(queue, autoAck: false, cancel) is { } got ? new Handed(got.DeliveryTag, got.Redelivered, got.Body, got.BasicProperties) : null;

        public Task AckAsync(ulong tag, CancellationToken cancel) => real.BasicAckAsync(tag, multiple: false, cancel).AsTask();

        public Task RejectAsync(ulong tag, CancellationToken cancel) => real.BasicRejectAsync(tag, requeue: false, cancel).AsTask();

        public async Task PublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken cancel)
        {
            Unpublishable.RequireThatItFits(properties, connection.FrameMax);
            if (connection.MessageLimit is { } known && body.Length > known)
            {
                throw Unpublishable.TooLarge(body.Length, known); // it would close the channel under the others' messages
            }

            try
            {
                await real.BasicPublishAsync(exchange, key, mandatory: true, properties, body, cancel);
            }
            catch (Exception e) when (Unpublishable.CannotBeWritten(e) && real.IsOpen)
            {
                throw new UnpublishableException($"It cannot be written: {e.Message}", e);
            }
            catch (Exception e) when (Unpublishable.LimitOf(e) is { } limit)
            {
                connection.MessageLimit = limit;
                if (body.Length > limit)
                {
                    throw Unpublishable.TooLarge(body.Length, limit);
                }

                throw; // another's
            }
        }
    }
}
