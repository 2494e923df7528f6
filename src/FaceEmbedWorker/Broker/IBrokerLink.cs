using System.Text;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>A message that the broker handed out.</summary>
/// <param name="Body">Valid only until the callback that got it has returned.</param>
internal sealed record Handed(ulong Tag, bool Redelivered, ReadOnlyMemory<byte> Body, IReadOnlyBasicProperties Properties);

/// <summary>Which broker a worker talks to, without its credentials.</summary>
/// <param name="Address">Host and port.</param>
/// <param name="Name">What it calls itself: its cluster's name; null while there is no connection.</param>
/// <param name="Version">Such as RabbitMQ 4.0.5; null while there is no connection.</param>
internal sealed record BrokerIdentity(string Address, string VirtualHost, string? Name, string? Version)
{
    public static BrokerIdentity Of(ConnectionFactory factory, IConnection? connection)
    {
        var told = connection is { IsOpen: true } ? connection.ServerProperties : null;
        return new($"{factory.Endpoint.HostName}:{factory.Endpoint.Port}", factory.VirtualHost, Text("cluster_name"), Text("version") is { } version ? $"{Text("product")} {version}" : null);

        string? Text(string property) => told?.TryGetValue(property, out var value) is true && value is byte[] bytes ? Encoding.UTF8.GetString(bytes) : null;
    }
}

/// <summary>
/// A connection to the broker, rebuilt whenever it is gone. This and <see cref="IBrokerChannel"/> are all that the rooms of the consumer
/// know of a broker: <see cref="BrokerLink"/> is RabbitMQ, and the tests have a model of one.
/// </summary>
internal interface IBrokerLink : IAsyncDisposable
{
    /// <summary>Where the broker should be and why there is no connection; empty while there is one.</summary>
    string Trouble { get; }

    /// <summary>Which broker it is.</summary>
    BrokerIdentity Broker { get; }

    /// <summary>Why the broker takes no messages at present (an alarm), in its own words; null where it takes them.</summary>
    string? Blocked { get; }

    /// <summary><see cref="Blocked"/> has changed.</summary>
    event Action? BlockedChanged;

    /// <summary>The open channel; builds a new one, for as long as it takes, where there is none.</summary>
    /// <exception cref="BrokerRefusedException">The broker refused, and it has never been any different.</exception>
    Task<IBrokerChannel> ChannelAsync(CancellationToken cancel);

    /// <summary>Gives up a channel with its connection; what was sent on it and not answered may have arrived or not.</summary>
    Task AbandonAsync(IBrokerChannel dead);

    /// <summary>Declares once more what has been deleted since.</summary>
    Task DeclareAsync(CancellationToken cancel);

    /// <summary>What those of the queues that exist tell of themselves; nothing where there is no connection.</summary>
    Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel);
}

/// <summary>Makes a link; it connects when it is first asked for a channel.</summary>
/// <param name="role">Part of the connection's name on the broker.</param>
internal delegate IBrokerLink MakeLink(string role, bool confirms);

/// <summary>A channel. Every call may hang or fail with whatever a network does; callers bound it.</summary>
internal interface IBrokerChannel
{
    bool IsOpen { get; }

    /// <summary>Calls back once when the channel is gone, at once where it is already.</summary>
    void OnClosed(Func<string, Task> closed);

    /// <param name="received">Called for one message at a time.</param>
    /// <param name="ended">Called once nothing more comes, whoever ended it.</param>
    /// <returns>The consumer's tag.</returns>
    Task<string> ConsumeAsync(string queue, ushort prefetch, Func<Handed, Task> received, Func<Task> ended, CancellationToken cancel);

    Task CancelAsync(string tag, CancellationToken cancel);

    /// <returns>Null where the queue is empty.</returns>
    Task<Handed?> GetAsync(string queue, CancellationToken cancel);

    Task AckAsync(ulong tag, CancellationToken cancel);

    /// <summary>Refuses a message for good: the broker makes a dead letter of it.</summary>
    Task RejectAsync(ulong tag, CancellationToken cancel);

    /// <summary>Returns once the broker has confirmed the message. Cancelled: it may land later.</summary>
    /// <exception cref="RabbitMQ.Client.Exceptions.PublishReturnException">No queue takes it.</exception>
    /// <exception cref="RabbitMQ.Client.Exceptions.PublishException">A queue refused it; others may have taken it.</exception>
    /// <exception cref="UnpublishableException">It is the message's fault, and will be for ever.</exception>
    Task PublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken cancel);
}
