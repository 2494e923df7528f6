using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>A job as it came from the queue, or as it goes there. docs/messages.md is the contract.</summary>
internal sealed record JobMessage(ReadOnlyMemory<byte> Body, IReadOnlyBasicProperties Properties)
{
    public const string PriorityField = "priority";
    public const string BulkHeader = "fw-bulk";
    public const string ModeHeader = "mode";
    public const string MetadataHeader = "metadata";
    public const string DetailHeader = "detail";
    public const string DeadlineHeader = "deadline";
    public const string VectorEncodingHeader = "vector_encoding";
    public const string MaxFacesHeader = "max_faces";
    public const string MinFaceSizeHeader = "min_face_size";
    public const string ReturnCropsHeader = "return_crops";
    public const string LandmarksHeader = "landmarks";
    public const string AttemptHeader = "fw-attempt";
    public const string TraceParentHeader = "traceparent";
    public const string TraceStateHeader = "tracestate";

    /// <summary>Longest id, in bytes of UTF-8: a result's message id adds the space to it, and AMQP allows 255.</summary>
    public const int LongestId = 240;

    /// <summary>All headers of a message travel in one frame of 128 KiB, and the worker adds its own.</summary>
    public const int LongestMetadataHeader = 16 * 1024;

    /// <summary>Bytes of five points with all the digits that a number can have.</summary>
    public const int LongestLandmarks = 1024;

    private const int LongestName = 255;
    private const int LongestOption = 256;
    private const int LongestExpiration = 10;

    /// <summary>
    /// Headers that go along when a job is published again, with the bytes that they may have: never what the broker or a client library
    /// wrote there. What a job asks for stays as wrong as it was: it is cut, and what is neither text nor a number is told by a boolean; the
    /// rest is left out where it is longer.
    /// </summary>
    private static readonly (string Name, int Longest, bool Cut)[] KeptHeaders =
    [
        (ModeHeader, LongestOption, true), (MetadataHeader, LongestMetadataHeader + 1, true), (DetailHeader, LongestOption, true), (DeadlineHeader, LongestOption, true), (VectorEncodingHeader, LongestOption, true),
        (MaxFacesHeader, LongestOption, true), (MinFaceSizeHeader, LongestOption, true), (ReturnCropsHeader, LongestOption, true), (LandmarksHeader, LongestLandmarks + 1, true),
        (TraceParentHeader, 100, false), (TraceStateHeader, 1024, false), ("baggage", 8 * 1024, false), (DeadLetters.FirstFailedHeader, 40, false), (DeadLetters.ReplaysHeader, 0, false), (DeadLetters.ExpirationHeader, LongestExpiration, false), (BulkHeader, 0, false),
    ];

    /// <summary>This attempt's number; the first is 1.</summary>
    public int Attempt => Header(AttemptHeader) switch
    {
        int n and > 0 => n,
        long n and > 0 and <= int.MaxValue => (int)n,
        _ => 1,
    };

    /// <summary>
    /// How often the message was handed out and came back without a word: by a crash, a lost connection, or a worker that was told to stop.
    /// </summary>
    public long Returns => Math.Max(Number("x-delivery-count"), Number("x-acquired-count"));

    /// <summary>
    /// Milliseconds that the producer lets the job wait in a queue, as AMQP writes them. They go along in a header where a queue's own time
    /// must not be cut short.
    /// </summary>
    public string? Expiration => (Properties.Expiration ?? Text(DeadLetters.ExpirationHeader)) is { Length: > 0 and <= LongestExpiration } text && text.All(char.IsAsciiDigit) ? text : null;

    /// <summary>Whether the time that the producer lets the job wait, counted from its first failure, is over by then.</summary>
    public bool ExpiresBefore(DateTimeOffset then, DateTimeOffset now) => Expiration is { } milliseconds
        && (then - (DateTimeOffset.TryParse(Text(DeadLetters.FirstFailedHeader), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var failed) ? failed : now))
            .TotalMilliseconds > long.Parse(milliseconds, CultureInfo.InvariantCulture); // whatever dates a header has, their difference can be told

    /// <summary>What tells this message from others: its id, or its body's SHA-256.</summary>
    public string Identity => Properties.MessageId is { Length: > 0 } id ? id : Convert.ToHexStringLower(SHA256.HashData(Body.Span));

    /// <summary>
    /// The job's id, however wrong the rest of the message is: its body's, where that has one; otherwise <see cref="Identity"/>.
    /// </summary>
    public string JobId => WrittenFields.Id(this) ?? Identity;

    /// <summary>The property's; where there is none, what its body says, which the broker has not seen. Null: neither.</summary>
    public byte? Priority => Properties.IsPriorityPresent() ? Properties.Priority : WrittenFields.Priority(this);

    /// <summary>It came by the queue of bulk jobs.</summary>
    public bool CameAsBulk { get; init; }

    /// <summary>It belongs to the queue of bulk jobs, whichever it came by.</summary>
    public bool IsBulk => CameAsBulk || Number(BulkHeader) > 0;

    /// <summary>The content type without its parameters; empty where there is none.</summary>
    public string MediaType => (Properties.ContentType ?? "").Split(';')[0].Trim().ToLowerInvariant();

    /// <summary>What the message asks for.</summary>
    /// <exception cref="MalformedJobException">It is no job.</exception>
    public EmbedJob Read() => new JobReader(this).Read();

    /// <summary>The body, without a copy where it has an array to itself.</summary>
    public byte[] Bytes() => MemoryMarshal.TryGetArray(Body, out var own) && own.Array is { } all && own.Count == all.Length ? all : Body.ToArray();

    /// <summary>
    /// Properties for publishing the same body again: what the producer set, by an allow-list, persistent, its expiry as a header, and
    /// nothing longer than can be published.
    /// </summary>
    public BasicProperties CopyProperties()
    {
        var copy = LeastProperties();
        foreach (var (name, longest, cut) in KeptHeaders)
        {
            if (Kept(Header(name), longest, cut) is { } value)
            {
                copy.Headers![name] = value;
            }
        }

        foreach (var name in JobReader.IgnoredHeaders(Properties))
        {
            copy.Headers![name] = Kept(Header(name), LongestOption, cut: true);
        }

        if (Expiration is { } expiration)
        {
            copy.Headers![DeadLetters.ExpirationHeader] = expiration;
        }

        if (Priority is { } priority)
        {
            copy.Priority = priority;
        }

        if (IsBulk)
        {
            copy.Headers![BulkHeader] = 1;
        }

        copy.ContentEncoding = Short(Properties.ContentEncoding);
        copy.CorrelationId = Short(Properties.CorrelationId);
        copy.ReplyTo = Short(Properties.ReplyTo);
        copy.Type = Short(Properties.Type);
        copy.AppId = Short(Properties.AppId);
        if (Properties.IsTimestampPresent())
        {
            copy.Timestamp = Properties.Timestamp;
        }

        return copy;
    }

    /// <summary>As few as the job can be done with.</summary>
    public BasicProperties LeastProperties() => new()
    {
        DeliveryMode = DeliveryModes.Persistent,
        MessageId = Short(Properties.MessageId),
        ContentType = Short(Properties.ContentType),
        Headers = new Dictionary<string, object?>(),
    };

    /// <summary>A name as AMQP allows it, in bytes of UTF-8; what was no UTF-8 on its way here has grown.</summary>
    public static string? Short(string? name) => name is null ? null : DeadLetters.Clip(name, LongestName);

    /// <summary>A header's value; text as bytes or a string.</summary>
    public object? Header(string name) =>
        Properties.Headers is { } headers && headers.TryGetValue(name, out var value) ? value : null;

    /// <summary>A header that is text; null where it is not there or anything else.</summary>
    public string? Text(string name) => Header(name) switch
    {
        string text => text,
        byte[] bytes => Encoding.UTF8.GetString(bytes),
        _ => null,
    };

    /// <summary>A header that is a whole number; 0 where it is not there or anything else.</summary>
    public long Number(string name) => Header(name) switch
    {
        long n => n,
        int n => n,
        _ => 0,
    };

    /// <summary>A text as an error may quote it.</summary>
    internal static string Clip(string text) => text.Length <= 100 ? text : text[..100] + "…";

    private static object? Kept(object? value, int longest, bool cut) => value switch
    {
        sbyte or byte or short or ushort or int or uint or long => value,
        string text => Kept(Encoding.UTF8.GetBytes(text), longest, cut),
        byte[] bytes when bytes.Length <= longest => bytes,
        byte[] bytes when cut => bytes[..longest],
        null => null,
        _ when cut => value is float or double or decimal ? value : true,
        _ => null,
    };
}
