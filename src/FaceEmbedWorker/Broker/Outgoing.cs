using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>A message on its way out.</summary>
internal sealed class Outgoing(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body)
{
    public string Exchange => exchange;

    public string Key => key;

    public string? Id => properties.MessageId;

    public ReadOnlyMemory<byte> Body => body;

    /// <summary>The intake is closed for it.</summary>
    public bool Held { get; set; }

    /// <summary>By a queue, at the last try.</summary>
    public bool Refused { get; set; }

    /// <summary>It is not held where a queue refuses it: there is another way.</summary>
    public bool GivesWay { get; init; }

    /// <summary>Times that the broker closed the channel for something that was sent on it.</summary>
    public int Accused { get; set; }

    /// <summary>A copy for each try: the client writes into the headers.</summary>
    public BasicProperties Properties() => new(properties) { Headers = properties.Headers is { } headers ? new Dictionary<string, object?>(headers) : null };
}
