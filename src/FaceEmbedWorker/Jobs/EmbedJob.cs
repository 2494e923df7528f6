using System.Text.Json;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Jobs;

/// <summary>One picture to embed.</summary>
/// <param name="Mode">Null: as <see cref="JobOptions.Mode"/> says.</param>
/// <param name="Metadata">A JSON object of the producer's, echoed in the result.</param>
/// <param name="Attempt">1 for the first.</param>
/// <param name="Detail">1 to 4; null: as <see cref="Faces.FaceOptions.DetectionDetail"/> says.</param>
internal sealed record EmbedJob(string Id, ImageSource Image, EmbedMode? Mode = null, JsonElement? Metadata = null, int Attempt = 1, int? Detail = null);
