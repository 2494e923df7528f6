using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// The picture within a JSON job, decoded from the message's own bytes. A large one is cut out before the rest is parsed, for the parser
/// takes as much memory again as the text is long, and twice that for base64.
/// </summary>
internal sealed class JsonPicture
{
    private const int Large = 64 * 1024;
    private static readonly string[][] Places = [["image", "data"], ["data", "image", "data"], ["data_base64"]];

    private readonly string mark = $"{Guid.NewGuid():N}";
    private readonly ReadOnlyMemory<byte> picture;

    /// <param name="json">UTF-8.</param>
    public JsonPicture(ReadOnlyMemory<byte> json)
    {
        Rest = json;
        if (json.Length > Large && Find(json.Span) is { } place)
        {
            picture = json[place];
            Rest = (byte[])[.. json.Span[..place.Start.Value], .. Encoding.ASCII.GetBytes(mark), .. json.Span[place.End.Value..]];
        }
    }

    /// <summary>What is to be parsed.</summary>
    public ReadOnlyMemory<byte> Rest { get; }

    /// <summary>A byte's place in its line of the message, by that in <see cref="Rest"/>: behind the picture they differ.</summary>
    public long ByteOf(long line, long at)
    {
        var before = Rest.Span[..Math.Max(0, Rest.Span.IndexOf(Encoding.ASCII.GetBytes(mark)))];
        return !picture.IsEmpty && line == before.Count((byte)'\n') && at > before.Length - (before.LastIndexOf((byte)'\n') + 1) ? at + picture.Length - mark.Length : at;
    }

    /// <returns>Null where the text is no base64, or empty.</returns>
    public byte[]? Decode(JsonElement text)
    {
        var raw = !picture.IsEmpty && text.ValueEquals(mark) ? picture.Span : JsonMarshal.GetRawUtf8Value(text)[1..^1];
        if (raw.Contains((byte)'\\'))
        {
            return text.TryGetBytesFromBase64(out var unescaped) && unescaped.Length > 0 ? unescaped : null; // such a picture is never cut out
        }

        var padding = raw.EndsWith("=="u8) ? 2 : raw.EndsWith("="u8) ? 1 : 0;
        var bytes = new byte[Math.Max(0, Base64.GetMaxDecodedFromUtf8Length(raw.Length) - padding)];
        return Base64.DecodeFromUtf8(raw, bytes, out _, out var count) != OperationStatus.Done || count == 0 ? null : count == bytes.Length ? bytes : bytes[..count];
    }

    /// <summary>The picture that a JSON job or an event carries, whatever else is wrong with it; null where there is none.</summary>
    public static byte[]? Of(ReadOnlyMemory<byte> json)
    {
        try
        {
            var picture = new JsonPicture(json);
            using var document = JsonDocument.Parse(picture.Rest);
            return Places.Select(place => place.Aggregate((JsonElement?)document.RootElement, static (element, name) =>
                    element is { ValueKind: JsonValueKind.Object } e && e.TryGetProperty(name, out var inner) ? inner : null))
                .OfType<JsonElement>().Where(e => e.ValueKind == JsonValueKind.String).Select(picture.Decode).FirstOrDefault(bytes => bytes is not null);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>Where a large picture's text is, without its quotes.</summary>
    private static Range? Find(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        var names = new string?[4];
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth is >= 1 and <= 3)
                {
                    names[reader.CurrentDepth] = reader.ValueSpan.Length <= 16 ? reader.GetString() : null;
                }
                else if (reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length > Large && !reader.ValueIsEscaped && IsPlace(names.AsSpan(1, Math.Clamp(reader.CurrentDepth, 0, 3)), reader.CurrentDepth))
                {
                    var start = (int)reader.TokenStartIndex + 1;
                    return start..(start + reader.ValueSpan.Length);
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // whoever parses it says what is wrong
        }

        return null;
    }

    private static bool IsPlace(ReadOnlySpan<string?> names, int depth)
    {
        foreach (var place in Places)
        {
            if (depth == place.Length && names.SequenceEqual(place))
            {
                return true;
            }
        }

        return false;
    }
}
