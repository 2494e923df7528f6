using System.Text.Json;
using System.Text.Json.Serialization;

namespace FaceEmbedWorker.Jobs;

/// <summary>A whole number however JSON writes it, 5.0 and 5e0 as well.</summary>
internal sealed class WholeNumber : JsonConverter<int>
{
    /// <returns>Null where it is anything else.</returns>
    public static long? Of(JsonElement element) => element.ValueKind == JsonValueKind.Number && element.TryGetDecimal(out var number) && decimal.IsInteger(number) && Math.Abs(number) <= long.MaxValue ? (long)number : null;

    public override int Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Of(JsonElement.ParseValue(ref reader)) is >= int.MinValue and <= int.MaxValue and { } number ? (int)number : throw new JsonException();

    public override void Write(Utf8JsonWriter writer, int value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
}
