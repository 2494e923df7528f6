using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>A message that is no job. The text says what is wrong with it.</summary>
internal sealed class MalformedJobException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A job as it came from the queue, or as it goes there. "Messages" in the README is the contract.</summary>
internal sealed record JobMessage(ReadOnlyMemory<byte> Body, IReadOnlyBasicProperties Properties)
{
    public const string ModeHeader = "mode";
    public const string MetadataHeader = "metadata";
    public const string DetailHeader = "detail";
    public const string DeadlineHeader = "deadline";
    public const string VectorEncodingHeader = "vector_encoding";
    public const string AttemptHeader = "fw-attempt";
    public const string TraceParentHeader = "traceparent";
    public const string TraceStateHeader = "tracestate";

    /// <summary>Longest id, in bytes of UTF-8: a result's message id adds the space to it, and AMQP allows 255.</summary>
    public const int LongestId = 240;

    /// <summary>All headers of a message travel in one frame of 128 KiB, and the worker adds its own.</summary>
    private const int LongestMetadataHeader = 16 * 1024;

    /// <summary>Headers that go along when a job is published again; never what the broker or a client library wrote there.</summary>
    private static readonly string[] KeptHeaders = [ModeHeader, MetadataHeader, DetailHeader, DeadlineHeader, VectorEncodingHeader, TraceParentHeader, TraceStateHeader, "baggage", DeadLetters.FirstFailedHeader, DeadLetters.ReplaysHeader];

    /// <summary>This attempt's number; the first is 1.</summary>
    public int Attempt => Header(AttemptHeader) switch
    {
        int n and > 0 => n,
        long n and > 0 and <= int.MaxValue => (int)n,
        _ => 1,
    };

    /// <summary>How often the message was handed out and came back without a word: by a crash, a lost connection, or a worker that was told to stop.</summary>
    public long Crashes => Math.Max(Number("x-delivery-count"), Number("x-acquired-count"));

    /// <summary>What tells this message from others: its id, or its body's SHA-256.</summary>
    public string Identity => Properties.MessageId is { Length: > 0 } id ? id : BodyHash();

    /// <summary>What the message asks for.</summary>
    /// <exception cref="MalformedJobException">It is no job.</exception>
    public EmbedJob Read()
    {
        if (Body.IsEmpty)
        {
            throw new MalformedJobException("The body is empty. Send a picture, or a JSON job.");
        }

        var type = (Properties.ContentType ?? "").Split(';')[0].Trim().ToLowerInvariant();
        var job = type switch
        {
            "" or "application/octet-stream" => ReadRaw(),
            _ when type.StartsWith("image/", StringComparison.Ordinal) => ReadRaw(),
            "application/json" => ReadJson(),
            EmbedResult.CloudEventType => ReadJson(),
            _ => throw new MalformedJobException($"The content_type '{Clip(type)}' is none of a job. Use image/*, application/octet-stream or none for a picture, application/json for a JSON job, {EmbedResult.CloudEventType} for a CloudEvent."),
        };
        if (Encoding.UTF8.GetByteCount(job.Id) is 0 or > LongestId)
        {
            throw new MalformedJobException($"The job's id has {Encoding.UTF8.GetByteCount(job.Id)} bytes; it can have 1 to {LongestId}.");
        }

        return job;
    }

    /// <summary>The job's id where it can be known, for logs.</summary>
    public string? Name => Properties.MessageId is { Length: > 0 } id ? Clip(id) : null;

    /// <summary>Properties for publishing the same body again: what the producer set, by an allow-list, persistent, without an expiry.</summary>
    public BasicProperties CopyProperties()
    {
        var copy = new BasicProperties { DeliveryMode = DeliveryModes.Persistent, Headers = new Dictionary<string, object?>() };
        foreach (var name in KeptHeaders)
        {
            if (Header(name) is { } value && value is string or byte[] or int or long && (value as byte[])?.Length is not > LongestMetadataHeader)
            {
                copy.Headers[name] = value;
            }
        }

        copy.MessageId = Properties.MessageId;
        copy.ContentType = Properties.ContentType;
        copy.ContentEncoding = Properties.ContentEncoding;
        copy.CorrelationId = Properties.CorrelationId;
        copy.ReplyTo = Properties.ReplyTo;
        copy.Type = Properties.Type;
        copy.AppId = Properties.AppId;
        if (Properties.IsTimestampPresent())
        {
            copy.Timestamp = Properties.Timestamp;
        }

        return copy;
    }

    /// <summary>A header's value; text as a string.</summary>
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

    private EmbedJob ReadRaw()
    {
        return new EmbedJob(Identity, new ImageSource.Data(Body.ToArray()), ReadMode(TextHeader(ModeHeader)), ReadMetadataHeader(), Attempt, ReadDetail(Header(DetailHeader)),
            ReadEncoding(TextHeader(VectorEncodingHeader)), ReadDeadline(TextHeader(DeadlineHeader)));
    }

    private EmbedJob ReadJson()
    {
        if (!Utf8.IsValid(Body.Span))
        {
            throw new MalformedJobException("The JSON job is not UTF-8.");
        }

        try
        {
            using var document = JsonDocument.Parse(Body);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
            {
                throw new MalformedJobException($"The JSON job is {Kind(root)}, not an object.");
            }

            var isEvent = (Properties.ContentType ?? "").StartsWith(EmbedResult.CloudEventType, StringComparison.OrdinalIgnoreCase);
            var id = isEvent ? OpenEvent(ref root) : null;
            if (isEvent && root.ValueKind == JsonValueKind.String)
            {
                return ReadRaw(id!, root);
            }

            return new EmbedJob(
                OptionalString(root, "id") ?? id ?? Identity,
                ReadImage(root),
                ReadMode(OptionalString(root, ModeHeader) ?? TextHeader(ModeHeader)),
                root.TryGetProperty(MetadataHeader, out var metadata) ? Metadata(metadata) : ReadMetadataHeader(),
                Attempt,
                ReadDetail(root.TryGetProperty(DetailHeader, out var detail) ? detail.ValueKind == JsonValueKind.Number && detail.TryGetInt64(out var number) ? number : detail.GetRawText() : Header(DetailHeader)),
                ReadEncoding(OptionalString(root, VectorEncodingHeader) ?? TextHeader(VectorEncodingHeader)),
                ReadDeadline(OptionalString(root, DeadlineHeader) ?? TextHeader(DeadlineHeader)),
                isEvent);
        }
        catch (JsonException e)
        {
            throw new MalformedJobException($"The JSON job cannot be read: {e.Message}", e);
        }
        catch (InvalidOperationException e) // half a surrogate pair, written as \u escape
        {
            throw new MalformedJobException($"A text of the JSON job is no Unicode: {e.Message}", e);
        }
    }

    /// <summary>Goes on with the event's data: a JSON job, or a string with the picture in base64.</summary>
    /// <returns>The event's id.</returns>
    private static string OpenEvent(ref JsonElement root)
    {
        foreach (var name in new[] { "specversion", "id", "source", "type" })
        {
            if (OptionalString(root, name) is not { Length: > 0 })
            {
                throw new MalformedJobException($"The CloudEvent has no '{name}'.");
            }
        }

        if (OptionalString(root, "specversion") is not "1.0" and var version)
        {
            throw new MalformedJobException($"The CloudEvent is of version '{Clip(version!)}'; 1.0 is known here.");
        }

        var id = OptionalString(root, "id")!;
        root = (root.TryGetProperty("data", out var data), root.TryGetProperty("data_base64", out var picture)) switch
        {
            (true, false) when data.ValueKind == JsonValueKind.Object => data,
            (false, true) when picture.ValueKind == JsonValueKind.String => picture,
            _ => throw new MalformedJobException("The CloudEvent must have either 'data' with a job's object, or 'data_base64' with a picture."),
        };
        return id;
    }

    private EmbedJob ReadRaw(string id, JsonElement picture) => picture.TryGetBytesFromBase64(out var bytes) && bytes.Length > 0
        ? new EmbedJob(id, new ImageSource.Data(bytes), ReadMode(TextHeader(ModeHeader)), ReadMetadataHeader(), Attempt, ReadDetail(Header(DetailHeader)),
            ReadEncoding(TextHeader(VectorEncodingHeader)), ReadDeadline(TextHeader(DeadlineHeader)), IsCloudEvent: true)
        : throw new MalformedJobException("The CloudEvent's data_base64 is not base64, or empty.");

    private static ImageSource ReadImage(JsonElement root)
    {
        if (!root.TryGetProperty("image", out var image) || image.ValueKind != JsonValueKind.Object)
        {
            throw new MalformedJobException("The JSON job has no object 'image'. Write {\"image\":{\"data\":\"<base64>\"}}.");
        }

        var sum = OptionalString(image, "sha256")?.ToLowerInvariant();
        if (sum is not null && (sum.Length != 64 || !sum.All(char.IsAsciiHexDigit)))
        {
            throw new MalformedJobException("The JSON job's image.sha256 is not 64 hexadecimal digits.");
        }

        return (OptionalString(image, "data"), OptionalString(image, "url"), OptionalString(image, "path"), OptionalString(image, "s3")) switch
        {
            ({ Length: > 0 }, null, null, null) => image.GetProperty("data").TryGetBytesFromBase64(out var bytes)
                ? new ImageSource.Data(bytes, sum)
                : throw new MalformedJobException("The JSON job's image.data is not base64 (RFC 4648, without line breaks)."),
            ("", null, null, null) => throw new MalformedJobException("The JSON job's image.data is empty."),
            (null, { Length: > 0 } url, null, null) => new ImageSource.Url(url, sum),
            (null, null, { Length: > 0 } path, null) => new ImageSource.Path(path, sum),
            (null, null, null, { } place) => place.IndexOf('/', StringComparison.Ordinal) is > 0 and var slash && slash < place.Length - 1
                ? new ImageSource.S3(place[..slash], place[(slash + 1)..], sum)
                : throw new MalformedJobException($"The JSON job's image.s3 '{Clip(place)}' is not bucket/key."),
            _ => throw new MalformedJobException("The JSON job's 'image' must have exactly one of 'data', 'url', 'path' and 's3'."),
        };
    }

    private static VectorEncoding? ReadEncoding(string? encoding) => encoding switch
    {
        null => null,
        "numbers" => VectorEncoding.Numbers,
        "base64" => VectorEncoding.Base64,
        _ => throw new MalformedJobException($"The vector_encoding '{Clip(encoding)}' is unknown; it can be numbers or base64."),
    };

    private static DateTimeOffset? ReadDeadline(string? deadline) => deadline is null ? null
        : DateTimeOffset.TryParse(deadline, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var end) && deadline.Contains('T', StringComparison.OrdinalIgnoreCase) ? end
        : throw new MalformedJobException($"The deadline '{Clip(deadline)}' is no time; write 2026-01-31T12:00:00Z.");

    private static EmbedMode? ReadMode(string? mode) => mode switch
    {
        null => null,
        "faces" => EmbedMode.Faces,
        "image" => EmbedMode.Image,
        _ => throw new MalformedJobException($"The mode '{Clip(mode)}' is unknown; it can be faces or image."),
    };

    private static int? ReadDetail(object? detail) => detail switch
    {
        null => null,
        int and >= 1 and <= 4 and var n => n,
        long and >= 1 and <= 4 and var n => (int)n,
        byte[] text when int.TryParse(Encoding.UTF8.GetString(text), CultureInfo.InvariantCulture, out var n) && n is >= 1 and <= 4 => n,
        byte[] text => throw Wrong(Encoding.UTF8.GetString(text)),
        _ => throw Wrong($"{detail}"),
    };

    private static MalformedJobException Wrong(string detail) => new($"The detail '{Clip(detail)}' is unknown; it can be 1, 2, 3 or 4.");

    private JsonElement? ReadMetadataHeader()
    {
        if (TextHeader(MetadataHeader) is not { } text)
        {
            return null;
        }

        if (text.Length > LongestMetadataHeader)
        {
            throw new MalformedJobException($"The header 'metadata' has {text.Length:N0} characters; {LongestMetadataHeader:N0} are allowed. Send a JSON job for more.");
        }

        try
        {
            using var document = JsonDocument.Parse(text);
            return Metadata(document.RootElement);
        }
        catch (JsonException e)
        {
            throw new MalformedJobException($"The header 'metadata' is not JSON: {e.Message}", e);
        }
    }

    private static JsonElement Metadata(JsonElement element) => element.ValueKind == JsonValueKind.Object
        ? element.Clone()
        : throw new MalformedJobException($"'metadata' is {Kind(element)}, not an object.");

    private static string? OptionalString(JsonElement element, string name) => !element.TryGetProperty(name, out var value) ? null
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : throw new MalformedJobException($"The JSON job's '{name}' is {Kind(value)}, not a string.");

    private string? TextHeader(string name) => Header(name) switch
    {
        null => null,
        string text => text,
        byte[] bytes when Utf8.IsValid(bytes) => Encoding.UTF8.GetString(bytes),
        _ => throw new MalformedJobException($"The header '{name}' is not text in UTF-8."),
    };

    private string BodyHash() => Convert.ToHexStringLower(SHA256.HashData(Body.Span));

    private static string Kind(JsonElement element) => element.ValueKind.ToString().ToLower(CultureInfo.InvariantCulture);

    private static string Clip(string text) => text.Length <= 100 ? text : text[..100] + "…";
}
