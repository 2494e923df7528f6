using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FaceEmbedWorker.Jobs;

/// <summary>A result message, as published: see "Messages" in the README.</summary>
internal sealed record EmbedResult
{
    public const string Embedded = "embedded";
    public const string NoFace = "no_face";
    public const string Stub = "stub";

    public required string JobId { get; init; }

    /// <summary><c>embedded</c>, <c>no_face</c> or <c>stub</c>; also the routing key.</summary>
    public required string Outcome { get; init; }

    public required ResultModel Model { get; init; }

    public required ResultImage Image { get; init; }

    public required IReadOnlyList<ResultEmbedding> Embeddings { get; init; }

    /// <summary>Faces that were found and left out; absent where there are none.</summary>
    public IReadOnlyList<SkippedFace>? Skipped { get; init; }

    public required JsonElement Metadata { get; init; }

    public required int Attempt { get; init; }

    /// <summary>Host and process id.</summary>
    public required string Worker { get; init; }

    public required string Version { get; init; }

    public required ResultTimings TimingsMs { get; init; }

    public required DateTime CompletedAt { get; init; }

    /// <summary>Only from <c>face-embed embed</c>: the file as it was named.</summary>
    public string? File { get; init; }

    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, ResultJson.Plain.EmbedResult);

    /// <exception cref="JsonException">It is no result.</exception>
    public static EmbedResult FromJson(ReadOnlySpan<byte> json) =>
        JsonSerializer.Deserialize(json, ResultJson.Plain.EmbedResult) ?? throw new JsonException("The result is null.");
}

/// <param name="Space">Names the embedding space; vectors of different spaces do not compare.</param>
/// <param name="SelfTest"><c>failed</c> where the model failed its self-test at the worker's start; otherwise absent.</param>
internal sealed record ResultModel(string Id, string Space, int Dimensions, string? SelfTest = null);

/// <summary>Sizes in pixels of the upright picture; absent where the bytes are no picture.</summary>
/// <param name="Rotation">Degrees clockwise by which the picture should be turned for its faces to be upright; absent where they are.</param>
internal sealed record ResultImage(string Sha256, string? Format = null, int? Width = null, int? Height = null, int? Orientation = null, int? Rotation = null);

/// <param name="Source"><c>face</c>, <c>image</c> or <c>stub</c>.</param>
/// <param name="Vector">float32, unit L2 length.</param>
/// <param name="Landmarks">Left eye, right eye, nose, left and right mouth corner (as seen), [x, y] in pixels of the upright picture.</param>
/// <param name="Score">The detector's, 0 to 1.</param>
internal sealed record ResultEmbedding(string Source, float[] Vector, ResultBox? Box = null, double[][]? Landmarks = null, double? Score = null, ResultQuality? Quality = null);

/// <summary>Pixels of the upright picture.</summary>
internal sealed record ResultBox(int X, int Y, int Width, int Height);

/// <param name="Norm">Length of the vector before normalisation: falls with blur.</param>
/// <param name="AlignmentError">Root mean square distance of the landmarks from the template, in pixels of a 112-pixel face.</param>
/// <param name="Size">Pixels of the box's shorter side.</param>
/// <param name="Sharpness">0 to 1, from the norm.</param>
/// <param name="Yaw">Degrees, like <paramref name="Pitch"/> and <paramref name="Roll"/>; estimated from five points.</param>
/// <param name="Flags"><c>small</c>, <c>blurred</c>, <c>profile</c>, <c>cut</c>, <c>uncertain_landmarks</c>.</param>
/// <param name="Score">0 to 1.</param>
internal sealed record ResultQuality(double Norm, double? AlignmentError = null, int? Size = null, double? Sharpness = null, double? Yaw = null, double? Pitch = null, double? Roll = null,
    IReadOnlyList<string>? Flags = null, double? Score = null);

/// <summary>A face that was found and left out.</summary>
/// <param name="Reasons">The setting that left it out, and what is wrong with the face.</param>
internal sealed record SkippedFace(ResultBox Box, double Score, ResultQuality Quality, IReadOnlyList<string> Reasons);

/// <summary>Milliseconds by stage; absent where a stage did not run.</summary>
internal sealed record ResultTimings(double? Decode, double? Detect, double? Align, double? Embed, double Total)
{
    /// <summary>The stages that ran, in their order.</summary>
    [JsonIgnore]
    public IEnumerable<(string Stage, double Milliseconds)> Stages =>
        new[] { ("decode", Decode), ("detect", Detect), ("align", Align), ("embed", Embed) }.Where(s => s.Item2 is not null).Select(s => (s.Item1, s.Item2!.Value));
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(EmbedResult))]
internal sealed partial class ResultJson : JsonSerializerContext
{
    private static ResultJson? plain;

    /// <summary>Text as it came, not as \u escapes: results are JSON for programs, never put into a page.</summary>
    public static ResultJson Plain => plain ??= new(new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
