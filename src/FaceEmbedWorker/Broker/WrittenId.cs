using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>Looks for a job's id in a body that may be no job at all: whoever sent it looks for it under that id.</summary>
internal static class WrittenId
{
    /// <summary>The id that a JSON job or a CloudEvent has in its body, as far as that can be read; null where there is none.</summary>
    public static string? Find(JobMessage message)
    {
        var isEvent = message.MediaType == EmbedResult.CloudEventType;
        if (!isEvent && message.MediaType != "application/json")
        {
            return null;
        }

        var (id, eventId, inData) = ((string?)null, (string?)null, false);
        var reader = new Utf8JsonReader(message.Body.Span);
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName || reader.CurrentDepth > 2)
                {
                    continue;
                }

                var (outer, isId) = (reader.CurrentDepth == 1, reader.ValueTextEquals("id"u8));
                inData = outer ? isEvent && reader.ValueTextEquals("data"u8) : inData;
                if (isId && (outer || inData) && reader.Read() && reader.TokenType == JsonTokenType.String && reader.GetString() is { } found)
                {
                    (id, eventId) = outer && isEvent ? (id, found) : (found, eventId);
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // what was found before is the job's
        }

        return (id ?? eventId) is { } best && Encoding.UTF8.GetByteCount(best) is > 0 and <= JobMessage.LongestId ? best : null;
    }
}
