using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// What a queue tells of itself. Both are 0 as well where its leader does not answer within a quarter of a second: that is no proof of an
/// empty queue.
/// </summary>
internal readonly record struct QueueCount(long Ready, long Consumers)
{
    /// <summary>As a leader that does not answer is told of.</summary>
    public bool IsDoubtful => this is { Ready: 0, Consumers: 0 };

    /// <summary>Those of the queues that exist.</summary>
    public static async Task<Dictionary<string, QueueCount>> AskAsync(IConnection connection, IEnumerable<string> queues, CancellationToken cancel)
    {
        var counts = new Dictionary<string, QueueCount>();
        IChannel? asking = null;
        try
        {
            foreach (var queue in queues)
            {
                try
                {
                    asking = asking is { IsOpen: true } ? asking : await BrokerConnection.Bounded(token => connection.CreateChannelAsync(cancellationToken: token), cancel);
                    counts[queue] = Of(await BrokerConnection.Bounded(token => asking.QueueDeclarePassiveAsync(queue, token), cancel));
                }
                catch (OperationInterruptedException e) when (e.ShutdownReason is { ReplyCode: 403 or 404 })
                {
                    // not there, or not ours to see; the broker has closed the channel
                }
            }
        }
        finally
        {
            await (asking?.DisposeAsync() ?? ValueTask.CompletedTask);
        }

        return counts;
    }

    private static QueueCount Of(QueueDeclareOk told) => new(told.MessageCount, told.ConsumerCount);
}
