using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Jobs;

/// <summary>One picture to embed.</summary>
/// <param name="Mode">Null: as <see cref="JobOptions.Mode"/> says.</param>
/// <param name="Metadata">A JSON object of the producer's, echoed in the result.</param>
/// <param name="Attempt">1 for the first.</param>
/// <param name="Detail">1 to 4; null: as <see cref="FaceOptions.DetectionDetail"/> says.</param>
/// <param name="VectorEncoding">Null: as <see cref="ResultOptions.VectorEncoding"/> says.</param>
/// <param name="Deadline">After it the job is not worth doing; null: it always is.</param>
/// <param name="IsCloudEvent">It came as one, and so goes its result.</param>
/// <param name="Warnings">What was ignored in it; null where nothing was.</param>
internal sealed record EmbedJob(string Id, ImageSource Image, EmbedMode? Mode = null, JsonElement? Metadata = null, int Attempt = 1, int? Detail = null,
    VectorEncoding? VectorEncoding = null, DateTimeOffset? Deadline = null, bool IsCloudEvent = false, IReadOnlyList<string>? Warnings = null)
{
    /// <summary>1 or more; null: as <see cref="FaceOptions.MaxFaces"/> says, which it cannot exceed.</summary>
    public int? MaxFaces { get; init; }

    /// <summary>Pixels; null: as <see cref="FaceOptions.MinSize"/> says, which it cannot go below.</summary>
    public int? MinFaceSize { get; init; }

    /// <summary>Null: results have no crops.</summary>
    public CropFormat? ReturnCrops { get; init; }

    /// <summary>
    /// Awaited when the picture was fetched, before it is decoded: until then others may have the job's slot. Null: the slot is its own.
    /// </summary>
    public Func<Task>? Turn { get; init; }

    /// <summary>However many they are: the result is not sent in a message.</summary>
    public bool EveryCrop { get; init; }

    /// <summary>Of the one face of mode <see cref="EmbedMode.Aligned"/>, in pixels of the upright picture; null: the picture is a crop.</summary>
    public FivePoints? Landmarks { get; init; }
}

/// <summary>How a face's crop is encoded.</summary>
internal enum CropFormat
{
    /// <summary>Without loss: embedded again, it gives the same vector to the bit.</summary>
    Png,

    Jpeg,
}
