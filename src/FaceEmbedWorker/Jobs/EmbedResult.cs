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
internal sealed record ResultImage(string Sha256, string? Format = null, int? Width = null, int? Height = null, int? Orientation = null);

/// <param name="Source"><c>face</c>, <c>image</c> or <c>stub</c>.</param>
/// <param name="Vector">float32, unit L2 length.</param>
/// <param name="Landmarks">Left eye, right eye, nose, left and right mouth corner (as seen), [x, y] in pixels of the upright picture.</param>
/// <param name="Score">The detector's, 0 to 1.</param>
internal sealed record ResultEmbedding(string Source, float[] Vector, ResultBox? Box = null, double[][]? Landmarks = null, double? Score = null, ResultQuality? Quality = null);

/// <summary>Pixels of the upright picture.</summary>
internal sealed record ResultBox(int X, int Y, int Width, int Height);

/// <param name="Norm">Length of the vector before normalisation: falls with blur.</param>
/// <param name="AlignmentError">Root mean square distance of the landmarks from the template, in pixels of a 112-pixel face.</param>
internal sealed record ResultQuality(double Norm, double? AlignmentError = null);

/// <summary>Milliseconds by stage; absent where a stage did not run.</summary>
internal sealed record ResultTimings(double? Decode, double? Detect, double? Align, double? Embed, double Total);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(EmbedResult))]
internal sealed partial class ResultJson : JsonSerializerContext
{
    private static ResultJson? plain;

    /// <summary>Text as it came, not as \u escapes: results are JSON for programs, never put into a page.</summary>
    public static ResultJson Plain => plain ??= new(new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
