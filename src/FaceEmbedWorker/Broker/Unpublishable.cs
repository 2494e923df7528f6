using System.Globalization;
using System.Text.RegularExpressions;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>A message that can never be written or published as it is, whoever tries. The text says why.</summary>
internal sealed class UnpublishableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Tells a message's fault from the broker's.</summary>
internal static partial class Unpublishable
{
    /// <summary>A frame's own bytes, and those of the client's sequence number.</summary>
    private const int FrameOverhead = 256;

    /// <summary>The limit that a closed channel tells of; null where it was closed for something else.</summary>
    public static long? LimitOf(Exception e) =>
        e is OperationInterruptedException { ShutdownReason: { ReplyCode: 406 } reason } && Size().Match(reason.ReplyText) is { Success: true } size
            ? long.Parse(size.Groups["limit"].ValueSpan, CultureInfo.InvariantCulture) : null;

    /// <summary>
    /// The broker closed the channel or the connection because of something that it was sent: by this message or another.
    /// </summary>
    public static bool Accuses(Exception e) => e is OperationInterruptedException { ShutdownReason: { ReplyCode: 406 or 501 or 502 or 503 or 504 or 505 } };

    /// <summary>The client could not write it, and sent nothing.</summary>
    public static bool CannotBeWritten(Exception e) => e is WireFormattingException or ArgumentException or FormatException or OverflowException or IndexOutOfRangeException or NotSupportedException;

    /// <exception cref="UnpublishableException">The properties do not fit into a frame.</exception>
    public static void RequireThatItFits(BasicProperties properties, uint frameMax)
    {
        if (frameMax > 0 && Bytes(properties) is var bytes && bytes + FrameOverhead > frameMax)
        {
            throw new UnpublishableException(string.Create(CultureInfo.InvariantCulture, $"Its properties have {bytes:N0} bytes, and a frame of the broker {frameMax:N0}."));
        }
    }

    public static UnpublishableException TooLarge(long bytes, long limit) =>
        new(string.Create(CultureInfo.InvariantCulture, $"It has {bytes:N0} bytes, and the broker takes at most {limit:N0} bytes (max_message_size)."));

    /// <summary>About as many as they take in a frame.</summary>
    internal static long Bytes(BasicProperties properties) => 64
        + new[] { properties.MessageId, properties.ContentType, properties.ContentEncoding, properties.CorrelationId, properties.ReplyTo, properties.Type, properties.AppId }.Sum(s => 1 + Utf8(s))
        + (properties.Headers?.Sum(h => Utf8(h.Key) + 6 + (h.Value switch { string s => Utf8(s), byte[] b => b.Length, _ => 8 })) ?? 0);

    private static long Utf8(string? text) => text is null ? 0 : System.Text.Encoding.UTF8.GetByteCount(text);

    [GeneratedRegex(@"message size (?<size>\d+) is larger than (configured )?max size (?<limit>\d+)")]
    private static partial Regex Size();
}
