using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

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
        return current is { } known && ReferenceEquals(known.Real, channel) ? known : current = new Channel(channel, connection, this);
    }

    public Task AbandonAsync(IBrokerChannel dead) => connection.AbandonAsync(((Channel)dead).Last.Real);

    public Task DeclareAsync(CancellationToken cancel) => connection.DeclareAsync(cancel);

    public Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel) => connection.CountsAsync(queues, cancel);

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private sealed class Channel(IChannel real, BrokerConnection connection, BrokerLink link) : IBrokerChannel
    {
        private readonly Lock mine = new();
        private int underWay;
        private bool refused;
        private Task? ended;
        private Channel? next;

        public IChannel Real => real;

        /// <summary>The one on which its messages are published now.</summary>
        public Channel Last => next?.Last ?? this;

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

            if (Begins() is { } closing)
            {
                await closing.WaitAsync(cancel);
                next = (Channel)await link.ChannelAsync(cancel);
                await next.PublishAsync(exchange, key, properties, body, cancel);
                return;
            }

            try
            {
                await real.BasicPublishAsync(exchange, key, mandatory: true, properties, body, cancel);
            }
            catch (PublishException e) when (e is not PublishReturnException)
            {
                refused = true;
                throw;
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
            finally
            {
                await EndAsync();
            }
        }

        /// <returns>Null where a message may be published; the end of the channel where it is closed for a refusal.</returns>
        private Task? Begins()
        {
            lock (mine)
            {
                underWay += ended is null ? 1 : 0;
                return ended;
            }
        }

        /// <summary>
        /// A quorum queue that has refused a message of a channel goes on to do so where its limit is taken away (seen on 3.10, of a policy
        /// that is deleted, and however empty it is by then): the next message is published on another channel. What is under way on this one
        /// is waited for, or it would be sent twice.
        /// </summary>
        private Task EndAsync()
        {
            lock (mine)
            {
                return --underWay == 0 && refused && ended is null ? ended = CloseAsync() : Task.CompletedTask;
            }
        }

        private async Task CloseAsync()
        {
            await Task.Yield(); // not within the lock
            try
            {
                await BrokerConnection.Bounded(async token =>
                {
                    await real.CloseAsync(token);
                    return true;
                }, CancellationToken.None);
            }
            catch (Exception)
            {
                await connection.AbandonAsync(real); // it does not answer
            }
        }
    }
}
