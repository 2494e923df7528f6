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
        if (current is { } ending && ReferenceEquals(ending.Real, channel) && ending.Ended is { } ended)
        {
            await ended.WaitAsync(cancel);
            channel = await connection.ChannelAsync(cancel);
        }

        return current is { } known && ReferenceEquals(known.Real, channel) ? known : current = new Channel(channel, connection);
    }

    public Task AbandonAsync(IBrokerChannel dead) => connection.AbandonAsync(((Channel)dead).Real);

    public Task DeclareAsync(CancellationToken cancel) => connection.DeclareAsync(cancel);

    public Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel) => connection.CountsAsync(queues, cancel);

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private sealed class Channel(IChannel real, BrokerConnection connection) : IBrokerChannel
    {
        private readonly Lock mine = new();
        private int underWay;
        private bool refused;

        public IChannel Real => real;

        /// <summary>Completes once it is closed, where it is closed for a refusal; null otherwise.</summary>
        public Task? Ended { get; private set; }

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

            Begin();
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

        private void Begin()
        {
            lock (mine)
            {
                if (Ended is not null)
                {
                    throw new AlreadyClosedException(new ShutdownEventArgs(ShutdownInitiator.Application, 200, "a queue refused a message on this channel"));
                }

                underWay++;
            }
        }

        /// <summary>
        /// A quorum queue that has refused a message of a channel goes on to do so where its limit is taken away (seen on 3.10, of a policy
        /// that is deleted, and however empty it is by then): the next message is published on a channel of its own. What is under way on
        /// this one is waited for, or it would be sent twice.
        /// </summary>
        private Task EndAsync()
        {
            lock (mine)
            {
                return --underWay == 0 && refused && Ended is null ? Ended = CloseAsync() : Task.CompletedTask;
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
                // it is not asked any more, whatever became of it
            }
        }
    }
}
