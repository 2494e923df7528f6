using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FaceEmbedWorker.Jobs;

/// <summary>A result message, as published: see docs/messages.md.</summary>
internal sealed record EmbedResult
{
    public const string Embedded = "embedded";
    public const string NoFace = "no_face";
    public const string Stub = "stub";

    /// <summary>Content type of a CloudEvent.</summary>
    public const string CloudEventType = "application/cloudevents+json";

    public required string JobId { get; init; }

    /// <summary><c>embedded</c>, <c>no_face</c> or <c>stub</c>; also the routing key.</summary>
    public required string Outcome { get; init; }

    /// <summary>Only of a stub: why the bytes gave no picture, in a word of <c>fw-error</c> (<c>undecodable</c>).</summary>
    public string? Error { get; init; }

    /// <summary>Only of a stub: the same in a sentence.</summary>
    public string? Message { get; init; }

    public required ResultModel Model { get; init; }

    public required ResultImage Image { get; init; }

    public required IReadOnlyList<ResultEmbedding> Embeddings { get; init; }

    /// <summary>Faces that were found and left out; absent where there are none.</summary>
    public IReadOnlyList<SkippedFace>? Skipped { get; init; }

    public required JsonElement Metadata { get; init; }

    /// <summary>What was ignored in the job, in a sentence each; absent where nothing was.</summary>
    public IReadOnlyList<string>? Warnings { get; init; }

    public required int Attempt { get; init; }

    /// <summary>Host and process id.</summary>
    public required string Worker { get; init; }

    public required string Version { get; init; }

    public required ResultTimings TimingsMs { get; init; }

    public required DateTime CompletedAt { get; init; }

    /// <summary>Only from <c>face-embed embed</c>: the file as it was named.</summary>
    public string? File { get; init; }

    /// <summary>What tells a double from others: the same job and the same space.</summary>
    [JsonIgnore]
    public string MessageId => $"{JobId}:{Model.Space}";

    public byte[] ToJson(VectorEncoding encoding = VectorEncoding.Numbers) => JsonSerializer.SerializeToUtf8Bytes(As(encoding), ResultJson.Plain.EmbedResult);

    /// <summary>The result as a CloudEvent 1.0 in structured JSON.</summary>
    public byte[] ToCloudEvent(VectorEncoding encoding, string? traceParent) => JsonSerializer.SerializeToUtf8Bytes(
        new ResultEvent("1.0", MessageId, $"/face-embed/{Worker}", $"face-embed.result.{Outcome}", JobId, CompletedAt, "application/json", traceParent, As(encoding)), ResultJson.Plain.ResultEvent);

    /// <summary>A result as it was published: plain or a CloudEvent, vectors in either encoding.</summary>
    /// <exception cref="JsonException">It is no result.</exception>
    public static EmbedResult FromJson(ReadOnlySpan<byte> json, string? contentType = null)
    {
        var result = contentType == CloudEventType ? JsonSerializer.Deserialize(json, ResultJson.Plain.ResultEvent)?.Data : JsonSerializer.Deserialize(json, ResultJson.Plain.EmbedResult);
        return result is null ? throw new JsonException("The result is null.")
            : result with { Embeddings = [.. result.Embeddings.Select(e => e.VectorBase64 is { } bytes ? e with { Vector = Floats(bytes), VectorBase64 = null } : e)] };
    }

    private EmbedResult As(VectorEncoding encoding) =>
        encoding == VectorEncoding.Numbers ? this : this with { Embeddings = [.. Embeddings.Select(e => e with { Vector = null!, VectorBase64 = Bytes(e.Vector) })] };

    private static byte[] Bytes(float[] vector)
    {
        var bytes = new byte[4 * vector.Length];
        for (var i = 0; i < vector.Length; i++)
        {
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(4 * i), vector[i]);
        }

        return bytes;
    }

    private static float[] Floats(byte[] bytes) => [.. Enumerable.Range(0, bytes.Length / 4).Select(i => BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(4 * i)))];
}

/// <summary>What <c>face-embed embed</c> writes for a file that gives no result, so that each file has its document.</summary>
/// <param name="Outcome"><c>rejected</c>.</param>
/// <param name="Error">As in <c>fw-error</c>, or <c>unreadable</c>, <c>source_missing</c>, or what a worker would try again for, such as
/// <c>deadline</c>.</param>
/// <param name="Message">One sentence.</param>
internal sealed record RejectedFile(string JobId, string Outcome, string Error, string Message, string Worker, string Version, DateTime CompletedAt, string File)
{
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, ResultJson.Plain.RejectedFile);
}

/// <summary>The reply to a job that ended as a dead letter.</summary>
/// <param name="Outcome"><c>rejected</c>.</param>
/// <param name="Error">As in <c>fw-error</c>.</param>
/// <param name="Message">One sentence.</param>
internal sealed record RejectedJob(string JobId, string Outcome, string Error, string Message, int Attempt, string Worker, string Version, DateTime CompletedAt)
{
    public const string Rejected = "rejected";

    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, ResultJson.Plain.RejectedJob);
}

/// <param name="Space">Names the embedding space; vectors of different spaces do not compare.</param>
/// <param name="SelfTest"><c>failed</c> where the model failed its self-test at the worker's start; otherwise absent.</param>
internal sealed record ResultModel(string Id, string Space, int Dimensions, string? SelfTest = null);

/// <summary>Sizes in pixels of the upright picture; absent where the bytes are no picture.</summary>
/// <param name="Decoder"><c>libvips</c> or <c>imagesharp</c>.</param>
/// <param name="Rotation">Degrees clockwise by which the picture should be turned for its faces to be upright; absent where they
/// are.</param>
internal sealed record ResultImage(string Sha256, string? Format = null, int? Width = null, int? Height = null, int? Orientation = null, int? Rotation = null, string? Decoder = null);

/// <param name="Source"><c>face</c>, <c>image</c> or <c>stub</c>.</param>
/// <param name="Vector">float32, unit L2 length; absent in JSON where <paramref name="VectorBase64"/> stands for it.</param>
/// <param name="VectorBase64">The same, little-endian.</param>
/// <param name="Crop">Absent where the job does not ask for it.</param>
/// <param name="Landmarks">Left eye, right eye, nose, left and right mouth corner (as seen), [x, y] in pixels of the upright
/// picture.</param>
/// <param name="Score">The detector's, 0 to 1.</param>
internal sealed record ResultEmbedding(string Source, float[] Vector, ResultBox? Box = null, double[][]? Landmarks = null, double? Score = null, ResultQuality? Quality = null,
    byte[]? VectorBase64 = null, ResultCrop? Crop = null);

/// <summary>The aligned face as it was embedded: what mode <c>aligned</c> takes.</summary>
/// <param name="Format"><c>png</c> or <c>jpeg</c>.</param>
/// <param name="Landmarks">As those of the picture, in pixels of the crop; absent where the face was cut out by its box.</param>
internal sealed record ResultCrop(string Format, byte[] Data, double[][]? Landmarks = null);

/// <summary>Pixels of the upright picture.</summary>
internal sealed record ResultBox(int X, int Y, int Width, int Height);

/// <param name="Norm">Length of the vector before normalisation: falls with blur.</param>
/// <param name="AlignmentError">Root mean square distance of the landmarks from the template, in pixels of a 112-pixel face.</param>
/// <param name="Size">Pixels of the box's shorter side.</param>
/// <param name="Sharpness">0 to 1, from the norm.</param>
/// <param name="Yaw">Degrees, like <paramref name="Pitch"/> and <paramref name="Roll"/>; estimated from five points.</param>
/// <param name="Flags"><c>small</c>, <c>blurred</c>, <c>profile</c>, <c>cut</c>, <c>uncertain_landmarks</c>, <c>uncertain</c>.</param>
/// <param name="Score">0 to 1.</param>
internal sealed record ResultQuality(double Norm, double? AlignmentError = null, int? Size = null, double? Sharpness = null, double? Yaw = null, double? Pitch = null, double? Roll = null,
    IReadOnlyList<string>? Flags = null, double? Score = null);

/// <summary>A face that was found and left out.</summary>
/// <param name="Quality">Null where it was left out before it was embedded.</param>
/// <param name="Reasons">The setting that left it out, and what is wrong with the face.</param>
internal sealed record SkippedFace(ResultBox Box, double Score, ResultQuality? Quality, IReadOnlyList<string> Reasons);

/// <summary>CloudEvents 1.0.</summary>
internal sealed record ResultEvent(string Specversion, string Id, string Source, string Type, string Subject, DateTime Time, string Datacontenttype, string? Traceparent, EmbedResult Data);

/// <summary>Milliseconds by stage; absent where a stage did not run.</summary>
internal sealed record ResultTimings(double? Fetch, double? Decode, double? Detect, double? Align, double? Embed, double Total)
{
    /// <summary>The stages that ran, in their order.</summary>
    [JsonIgnore]
    public IEnumerable<(string Stage, double Milliseconds)> Stages =>
        new[] { ("fetch", Fetch), ("decode", Decode), ("detect", Detect), ("align", Align), ("embed", Embed) }.Where(s => s.Item2 is not null).Select(s => (s.Item1, s.Item2!.Value));
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, Converters = [typeof(WholeNumber)])]
[JsonSerializable(typeof(EmbedResult))]
[JsonSerializable(typeof(ResultEvent))]
[JsonSerializable(typeof(RejectedFile))]
[JsonSerializable(typeof(RejectedJob))]
internal sealed partial class ResultJson : JsonSerializerContext
{
    private static ResultJson? plain;

    /// <summary>Text as it came, not as \u escapes: results are JSON for programs, never put into a page.</summary>
    public static ResultJson Plain => plain ??= new(new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
