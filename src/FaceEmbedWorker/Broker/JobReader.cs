using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>A message that is no job. The text says what is wrong with it.</summary>
internal sealed class MalformedJobException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Reads what a message asks for.</summary>
internal sealed class JobReader(JobMessage message)
{
    /// <summary>A result nests it a few levels deeper, and parsers of JSON commonly stop at 64.</summary>
    private const int DeepestMetadata = 56;

    private const int LongestMetadata = 1024 * 1024;

    private const int MostWarnings = 10;
    private const int MostIgnoredKept = 100;
    private const int LongestField = 30;
    private const int ShortName = 4;
    private static readonly string[] HeaderFields = [JobMessage.ModeHeader, JobMessage.MetadataHeader, JobMessage.DetailHeader, JobMessage.VectorEncodingHeader, JobMessage.DeadlineHeader,
        JobMessage.MaxFacesHeader, JobMessage.MinFaceSizeHeader, JobMessage.ReturnCropsHeader, JobMessage.LandmarksHeader];
    private static readonly string[] OtherModes = ["modes", "modus"];
    private static readonly string[] KnownFields = ["id", "image", JobMessage.PriorityField, .. HeaderFields];
    private static readonly string[] ImageFields = ["data", "url", "path", "s3", "sha256"];
    private JsonPicture? picture;

    /// <exception cref="MalformedJobException">It is no job.</exception>
    public EmbedJob Read()
    {
        if (message.Body.IsEmpty)
        {
            throw Malformed("The body is empty. Send a picture, or a JSON job.");
        }

        return message.MediaType switch
        {
            "" or "application/octet-stream" => ReadRaw(),
            "application/json" => ReadJson(isEvent: false),
            EmbedResult.CloudEventType => ReadJson(isEvent: true),
            var type when type.StartsWith("image/", StringComparison.Ordinal) => ReadRaw(),
            var type => throw Malformed($"The content_type '{JobMessage.Clip(type)}' is none of a job. Use image/*, application/octet-stream or none for a picture, application/json for a JSON job, {EmbedResult.CloudEventType} for a CloudEvent."),
        };
    }

    private EmbedJob ReadRaw() => OfHeaders(message.Identity, message.Bytes());

    private EmbedJob OfHeaders(string id, byte[] bytes) => Job(Named(id), new ImageSource.Data(bytes), new JobFields(message), ReadMetadataHeader()) with { Warnings = HeaderWarnings() };

    private EmbedJob Job(string id, ImageSource image, JobFields fields, JsonElement? metadata) => new(id, image, fields.Mode, metadata, message.Attempt, fields.Detail, fields.VectorEncoding, fields.Deadline)
    {
        MaxFaces = fields.MaxFaces,
        MinFaceSize = fields.MinFaceSize,
        ReturnCrops = fields.ReturnCrops,
        Landmarks = fields.Landmarks,
    };

    private EmbedJob ReadJson(bool isEvent)
    {
        if (!Utf8.IsValid(message.Body.Span))
        {
            throw Malformed("The JSON job is not UTF-8.");
        }

        try
        {
            picture = new JsonPicture(message.Body);
            using var document = JsonDocument.Parse(picture.Rest);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
            {
                throw Malformed($"The JSON job is {JobFields.Kind(root)}, not an object.");
            }

            JobFields.CheckPriority(root);
            var id = isEvent ? OpenEvent(ref root) : null;
            if (isEvent && root.ValueKind == JsonValueKind.String)
            {
                return OfHeaders(id!, picture!.Decode(root) ?? throw Malformed("The CloudEvent's data_base64 is not base64, or empty.")) with { IsCloudEvent = true };
            }

            JobFields.CheckPriority(root);
            var metadata = root.TryGetProperty(JobMessage.MetadataHeader, out var given) ? Metadata(given) : ReadMetadataHeader();
            return Job(Named(JobFields.OptionalString(root, "id") ?? id ?? message.Identity), ReadImage(root), new JobFields(message, root), metadata) with { IsCloudEvent = isEvent, Warnings = Warnings(root) };
        }
        catch (JsonException e)
        {
            throw Malformed($"The JSON job cannot be read: {JsonFault.Of(e, picture!.ByteOf)}", e);
        }
        catch (InvalidOperationException e) // half a surrogate pair, written as \u escape
        {
            throw Malformed("A text of the JSON job is no Unicode: it has half of a surrogate pair (\\ud800 to \\udfff) alone.", e);
        }
    }

    /// <summary>Goes on with the event's data: a JSON job, or a string with the picture in base64.</summary>
    /// <returns>The event's id.</returns>
    private static string OpenEvent(ref JsonElement root)
    {
        foreach (var name in new[] { "specversion", "id", "source", "type" })
        {
            if (JobFields.OptionalString(root, name) is not { Length: > 0 })
            {
                throw Malformed($"The CloudEvent has no '{name}'.");
            }
        }

        if (JobFields.OptionalString(root, "specversion") is not "1.0" and var version)
        {
            throw Malformed($"The CloudEvent is of version '{JobMessage.Clip(version!)}'; 1.0 is known here.");
        }

        var id = JobFields.OptionalString(root, "id")!;
        root = (root.TryGetProperty("data", out var data), root.TryGetProperty("data_base64", out var encoded)) switch
        {
            (true, false) when data.ValueKind == JsonValueKind.Object => data,
            (false, true) when encoded.ValueKind == JsonValueKind.String => encoded,
            _ => throw Malformed("The CloudEvent must have either 'data' with a job's object, or 'data_base64' with a picture."),
        };
        return id;
    }

    private ImageSource ReadImage(JsonElement root)
    {
        if (!root.TryGetProperty("image", out var image) || image.ValueKind != JsonValueKind.Object)
        {
            throw Malformed("The JSON job has no object 'image'. Write {\"image\":{\"data\":\"<base64>\"}}.");
        }

        var sum = JobFields.OptionalString(image, "sha256")?.ToLowerInvariant();
        if (sum is not null && (sum.Length != 64 || !sum.All(char.IsAsciiHexDigit)))
        {
            throw Malformed("The JSON job's image.sha256 is not 64 hexadecimal digits.");
        }

        if (image.TryGetProperty("data", out var data) && data.ValueKind != JsonValueKind.String)
        {
            throw Malformed($"The JSON job's image.data is {JobFields.Kind(data)}, not a string.");
        }

        return (data.ValueKind == JsonValueKind.String, JobFields.OptionalString(image, "url"), JobFields.OptionalString(image, "path"), JobFields.OptionalString(image, "s3")) switch
        {
            (true, null, null, null) when data.ValueEquals(""u8) => throw Malformed("The JSON job's image.data is empty."),
            (true, null, null, null) => picture!.Decode(data) is { } bytes
                ? new ImageSource.Data(bytes, sum)
                : throw Malformed("The JSON job's image.data is not base64 (RFC 4648, without line breaks)."),
            (false, { Length: > 0 } url, null, null) => new ImageSource.Url(url, sum),
            (false, null, { Length: > 0 } path, null) => new ImageSource.Path(path, sum),
            (false, null, null, { } place) => place.IndexOf('/', StringComparison.Ordinal) is > 0 and var slash && slash < place.Length - 1
                ? new ImageSource.S3(place[..slash], place[(slash + 1)..], sum)
                : throw Malformed($"The JSON job's image.s3 '{JobMessage.Clip(place)}' is not bucket/key."),
            _ => throw Malformed("The JSON job's 'image' must have exactly one of 'data', 'url', 'path' and 's3'."),
        };
    }

    private JsonElement? ReadMetadataHeader()
    {
        if (new JobFields(message).HeaderText(JobMessage.MetadataHeader) is not { } text)
        {
            return null;
        }

        if (Encoding.UTF8.GetByteCount(text) is var length && length > JobMessage.LongestMetadataHeader)
        {
            throw Malformed($"The header 'metadata' has {length:N0} bytes of UTF-8; {JobMessage.LongestMetadataHeader:N0} are allowed. Send a JSON job for more.");
        }

        try
        {
            using var document = JsonDocument.Parse(text);
            return Metadata(document.RootElement);
        }
        catch (JsonException e)
        {
            throw Malformed($"The header 'metadata' is not JSON: {JsonFault.Of(e)}", e);
        }
    }

    /// <summary>
    /// What is taken in here comes back in the result: so it must be possible to write it, and leave room for the vectors.
    /// </summary>
    private static JsonElement Metadata(JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Malformed($"'metadata' is {JobFields.Kind(element)}, not an object.");
        }

        var written = new ArrayBufferWriter<byte>();
        try
        {
            using var writer = new Utf8JsonWriter(written, new JsonWriterOptions { MaxDepth = DeepestMetadata });
            element.WriteTo(writer);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw Malformed($"'metadata' cannot be written into a result: it is nested deeper than {DeepestMetadata} levels, or holds text that is no Unicode.", e);
        }

        return written.WrittenCount <= LongestMetadata ? element.Clone()
            : throw Malformed($"'metadata' has {written.WrittenCount:N0} bytes; {LongestMetadata:N0} are allowed.");
    }

    private static string Named(string id) => id.Contains('\0', StringComparison.Ordinal) ? throw Malformed("The job's id has the character U+0000 in it, which databases do not take.")
        : Encoding.UTF8.GetByteCount(id) is > 0 and <= JobMessage.LongestId ? id
        : throw Malformed($"The job's id has {Encoding.UTF8.GetByteCount(id)} bytes; it can have 1 to {JobMessage.LongestId}.");

    /// <summary>Fields that no job has: a typing error would otherwise be found by nobody.</summary>
    private static string[]? Warnings(JsonElement root) =>
        Told(Unknown(root, KnownFields, "").Concat(Unknown(root.GetProperty("image"), ImageFields, "image.")), "field", UnknownField);

    /// <summary>
    /// Headers are everybody's, so only those are named that are almost a field of a job, or one that a raw job has elsewhere.
    /// </summary>
    private string[]? HeaderWarnings() => Told(IgnoredHeaders(message.Properties), "header", header => Ignored(header)!);

    /// <summary>Those that a warning names or counts. They go along when a job is sent again, so that its result tells them too.</summary>
    public static IEnumerable<string> IgnoredHeaders(IReadOnlyBasicProperties properties) =>
        (properties.Headers?.Keys ?? []).Where(header => Ignored(header) is not null).Order(StringComparer.Ordinal).Take(MostIgnoredKept);

    private static string? Ignored(string header) => header.Length > LongestField || HeaderFields.Contains(header) ? null : Letters(header) switch
    {
        "id" => $"The job's header '{header}' was ignored: a raw job's id is its message_id.",
        var letters when IsAlmost(letters, JobMessage.PriorityField) => $"The job's header '{header}' was ignored: a raw job's priority is AMQP's property of that name.",
        var letters when (OtherModes.Contains(letters) ? JobMessage.ModeHeader : Array.Find(HeaderFields, field => IsAlmost(letters, Letters(field)))) is { } meant
            => $"The job's header '{header}' is unknown and was ignored. Did you mean '{meant}'?",
        _ => null,
    };

    /// <summary>One slip of the finger away; so are node and model from mode, and of a name so short two letters may be swapped only.</summary>
    private static bool IsAlmost(string header, string field) =>
        Spelling.Distance(header, field) <= 1 && (field.Length > ShortName || header.Order().SequenceEqual(field.Order()));

    private static string Letters(string name) => name.ToLowerInvariant().Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal);

    private static IEnumerable<(string Path, JsonProperty Property)> Unknown(JsonElement element, string[] known, string path)
    {
        foreach (var property in element.EnumerateObject())
        {
            if (!IsOneOf(known, property))
            {
                yield return (path, property);
            }
        }
    }

    /// <summary>Takes no memory, for there may be a million of them.</summary>
    private static bool IsOneOf(string[] names, JsonProperty property)
    {
        foreach (var name in names)
        {
            if (property.NameEquals(name))
            {
                return true;
            }
        }

        return false;
    }

    private static string UnknownField((string Path, JsonProperty Property) field) =>
        $"The job's field '{field.Path}{JobMessage.Clip(Encoding.UTF8.GetString(JsonMarshal.GetRawUtf8PropertyName(field.Property)))}' is unknown and was ignored.";

    /// <summary>The first of them in a sentence each, and how many more there are; null where there are none.</summary>
    private static string[]? Told<T>(IEnumerable<T> ignored, string noun, Func<T, string> sentence)
    {
        var (told, more) = (new List<string>(), 0);
        foreach (var one in ignored)
        {
            if (told.Count < MostWarnings)
            {
                told.Add(sentence(one));
            }
            else
            {
                more++;
            }
        }

        return told.Count == 0 ? null : more == 0 ? [.. told] : [.. told, $"And {Plural.Of(more, $"more {noun}")} of the job {(more == 1 ? "was" : "were")} ignored."];
    }

    private static MalformedJobException Malformed(string text, Exception? inner = null) => new(text, inner);
}
