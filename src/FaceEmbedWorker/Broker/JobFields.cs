using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>What a job asks for beside its picture: a field of its JSON, or the header of that name.</summary>
internal sealed class JobFields(JobMessage message, JsonElement? job = null)
{
    private const int LongestQuoted = 100;

    public EmbedMode? Mode => Text(JobMessage.ModeHeader) switch
    {
        null => null,
        "faces" => EmbedMode.Faces,
        "image" => EmbedMode.Image,
        "aligned" => EmbedMode.Aligned,
        var mode => throw Malformed($"The mode '{JobMessage.Clip(mode)}' is unknown; it can be faces, image or aligned."),
    };

    public int? Detail => Whole(JobMessage.DetailHeader, 1, 4, "is unknown; it can be 1, 2, 3 or 4");

    public int? MaxFaces => Whole(JobMessage.MaxFacesHeader, 1, FaceOptions.Most, $"is no whole number from 1 to {FaceOptions.Most:N0}");

    public int? MinFaceSize => Whole(JobMessage.MinFaceSizeHeader, 0, FaceOptions.Most, $"is no whole number from 0 to {FaceOptions.Most:N0}");

    public CropFormat? ReturnCrops => Text(JobMessage.ReturnCropsHeader) switch
    {
        null => null,
        "png" => CropFormat.Png,
        "jpeg" => CropFormat.Jpeg,
        var format => throw Malformed($"The return_crops '{JobMessage.Clip(format)}' is unknown; it can be png or jpeg."),
    };

    public VectorEncoding? VectorEncoding => Text(JobMessage.VectorEncodingHeader) switch
    {
        null => null,
        "numbers" => Jobs.VectorEncoding.Numbers,
        "base64" => Jobs.VectorEncoding.Base64,
        var encoding => throw Malformed($"The vector_encoding '{JobMessage.Clip(encoding)}' is unknown; it can be numbers or base64."),
    };

    public DateTimeOffset? Deadline => Text(JobMessage.DeadlineHeader) is not { } deadline ? null
        : DateTimeOffset.TryParse(deadline, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var end) && deadline.Contains('T', StringComparison.OrdinalIgnoreCase) ? end
        : throw Malformed($"The deadline '{JobMessage.Clip(deadline)}' is no time; write 2026-01-31T12:00:00Z.");

    /// <summary>As a result's <c>landmarks</c>; a header holds the same as JSON text.</summary>
    public FivePoints? Landmarks
    {
        get
        {
            if (job is { } root && root.TryGetProperty(JobMessage.LandmarksHeader, out var given))
            {
                return Points(given);
            }

            if (HeaderText(JobMessage.LandmarksHeader) is not { } text)
            {
                return null;
            }

            if (Encoding.UTF8.GetByteCount(text) is var length && length > JobMessage.LongestLandmarks)
            {
                throw Malformed($"The header '{JobMessage.LandmarksHeader}' has {length:N0} bytes of UTF-8; {JobMessage.LongestLandmarks:N0} are allowed.");
            }

            try
            {
                using var document = JsonDocument.Parse(text);
                return Points(document.RootElement);
            }
            catch (JsonException e)
            {
                throw Malformed($"The header '{JobMessage.LandmarksHeader}' is not JSON: {JsonFault.Of(e)}", e);
            }
        }
    }

    /// <summary>A header that is text; null where it is not there.</summary>
    /// <exception cref="MalformedJobException">It is something else.</exception>
    public string? HeaderText(string name) => message.Header(name) switch
    {
        null => null,
        string text => text,
        byte[] bytes when Utf8.IsValid(bytes) => Encoding.UTF8.GetString(bytes),
        _ => throw Malformed($"The header '{name}' is not text in UTF-8."),
    };

    /// <summary>Of a job or of the event around it; <see cref="JobMessage.Priority"/> is what counts.</summary>
    /// <exception cref="MalformedJobException">It is no priority of AMQP's.</exception>
    public static void CheckPriority(JsonElement element)
    {
        if (element.TryGetProperty(JobMessage.PriorityField, out var value) && WholeNumber.Of(value) is not (>= byte.MinValue and <= byte.MaxValue))
        {
            throw Malformed($"The priority {Clip(value.GetRawText())} is no whole number from 0 to 255.");
        }
    }

    /// <summary>A string of a JSON object; null where it is not there.</summary>
    /// <exception cref="MalformedJobException">It is something else.</exception>
    public static string? OptionalString(JsonElement element, string name) => !element.TryGetProperty(name, out var value) ? null
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : throw Malformed($"The JSON job's '{name}' is {Kind(value)}, not a string.");

    public static string Kind(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.Number => "a number",
        JsonValueKind.String => "a string",
        var kind => kind.ToString().ToLowerInvariant(), // true, false, null
    };

    private string? Text(string name) => (job is { } root ? OptionalString(root, name) : null) ?? HeaderText(name);

    private int? Whole(string name, int least, int most, string wrong)
    {
        var value = job is { } root && root.TryGetProperty(name, out var field)
            ? WholeNumber.Of(field) is { } number ? number : field.GetRawText()
            : message.Header(name);
        return value switch
        {
            null => null,
            int or long or short or sbyte or byte or ushort or uint when Convert.ToInt64(value, CultureInfo.InvariantCulture) is var n && n >= least && n <= most => (int)n,
            float or double or decimal when Convert.ToDouble(value, CultureInfo.InvariantCulture) is var n && double.IsInteger(n) && n >= least && n <= most => (int)n,
            byte[] text when decimal.TryParse(Encoding.UTF8.GetString(text), NumberStyles.Float, CultureInfo.InvariantCulture, out var n) && decimal.IsInteger(n) && n >= least && n <= most => (int)n,
            byte[] text => throw Wrong(Encoding.UTF8.GetString(text)),
            int or long or short or sbyte or byte or ushort or uint or ulong or float or double or decimal or string => throw Wrong(Convert.ToString(value, CultureInfo.InvariantCulture)!),
            _ => throw Malformed($"The header '{name}' is neither a number nor text in UTF-8."),
        };

        MalformedJobException Wrong(string text) => Malformed($"The {name} '{JobMessage.Clip(text)}' {wrong}.");
    }

    private static FivePoints Points(JsonElement element)
    {
        var points = element.ValueKind == JsonValueKind.Array && element.GetArrayLength() == FivePoints.Count
            ? element.EnumerateArray().Select(Point).ToArray() : [];
        return points.Length == FivePoints.Count && !Array.Exists(points, p => p is null) ? new FivePoints(points[0]!.Value, points[1]!.Value, points[2]!.Value, points[3]!.Value, points[4]!.Value)
            : throw Malformed($"The landmarks {Clip(element.GetRawText())} are not five points [x, y] in pixels: left eye, right eye, nose, left and right corner of the mouth, as seen.");
    }

    private static Point? Point(JsonElement element) => element.ValueKind == JsonValueKind.Array && element.GetArrayLength() == 2 && element[0].ValueKind == JsonValueKind.Number && element[1].ValueKind == JsonValueKind.Number
        && element[0].TryGetDouble(out var x) && element[1].TryGetDouble(out var y) && Math.Abs(x) < FaceOptions.Most && Math.Abs(y) < FaceOptions.Most ? new Point(x, y) : null;

    private static string Clip(string text) => text.Length <= LongestQuoted ? text : text[..LongestQuoted] + "…";

    private static MalformedJobException Malformed(string text, Exception? inner = null) => new(text, inner);
}
