using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Looks for fields of a job in a body that may be no job at all: whoever sent it looks for it under its id, and it keeps its priority.
/// </summary>
internal static class WrittenFields
{
    private delegate T? Reading<T>(ref Utf8JsonReader reader);

    /// <summary>The id that a JSON job or a CloudEvent has in its body, as far as that can be read; null where there is none.</summary>
    public static string? Id(JobMessage message) =>
        Find(message, "id"u8, (ref reader) => reader.TokenType == JsonTokenType.String ? reader.GetString() : null) is { } id && Encoding.UTF8.GetByteCount(id) is > 0 and <= JobMessage.LongestId ? id : null;

    /// <summary>The same of its priority.</summary>
    public static byte? Priority(JobMessage message) =>
        Find(message, "priority"u8, (ref reader) => reader.TokenType == JsonTokenType.Number && reader.TryGetDecimal(out var priority) && decimal.IsInteger(priority) && priority is >= byte.MinValue and <= byte.MaxValue ? (byte?)priority : null);

    /// <returns>What the job says, or else the event around it.</returns>
    private static T? Find<T>(JobMessage message, ReadOnlySpan<byte> name, Reading<T> read)
    {
        var isEvent = message.MediaType == EmbedResult.CloudEventType;
        if (!isEvent && message.MediaType != "application/json")
        {
            return default;
        }

        var (job, around, inData) = (default(T), default(T), false);
        var reader = new Utf8JsonReader(message.Body.Span);
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName || reader.CurrentDepth > 2)
                {
                    continue;
                }

                var (outer, isIt) = (reader.CurrentDepth == 1, reader.ValueTextEquals(name));
                inData = outer ? isEvent && reader.ValueTextEquals("data"u8) : inData;
                if (isIt && (outer || inData) && reader.Read() && read(ref reader) is { } found)
                {
                    (job, around) = outer && isEvent ? (job, found) : (found, around);
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // what was found before is the job's
        }

        return job ?? around;
    }
}
