using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// Finds faces with RFB-320 (Linzaer, Ultra-Light-Fast-Generic-Face-Detector-1MB), or with a detector of another layout that its card names:
/// the picture brought to the network's input, boxes back, non-maximum suppression.
/// </summary>
internal sealed class FaceDetector(Model model, IOptions<FaceOptions> options)
{
    private readonly FaceOptions options = options.Value;

    /// <summary>The pixels that a picture should have for detection: twice the network's input, so that shrinking to it averages well.</summary>
    public (int Width, int Height) Wanted => (2 * model.Card.Input.Width, 2 * model.Card.Input.Height);

    /// <summary>The faces of a picture, the surest first, clamped to the picture.</summary>
    public IReadOnlyList<Detection> Detect(Picture picture)
    {
        using var run = model.Rent();
        var (scaleX, scaleY) = Fit(picture, run.Input);
        run.Execute();
        var (width, height) = (picture.Width * picture.ScaleX, picture.Height * picture.ScaleY);
        var candidates = new List<Detection>();
        foreach (var candidate in DetectorLayout.Read(run, model.Card, options.DetectionThreshold))
        {
            var box = candidate.Box.Scaled(scaleX, scaleY).Clamped(width, height);
            if (box is { Width: >= 1, Height: >= 1 })
            {
                candidates.Add(candidate with { Box = box, Landmarks = candidate.Landmarks is { } points ? Array.ConvertAll(points, p => new Point(p.X * scaleX, p.Y * scaleY)) : null });
            }
        }

        return Suppress(candidates, options.DetectionOverlap);
    }

    /// <summary>Writes the picture into the network's input.</summary>
    /// <returns>Pixels of the full picture that one of the input's is wide and high.</returns>
    private (double X, double Y) Fit(Picture picture, Span<float> values)
    {
        var input = model.Card.Input;
        var (width, height) = (input.Width, input.Height);
        if (input.Fit == "letterbox")
        {
            var scale = Math.Min((double)input.Width / picture.Width, (double)input.Height / picture.Height);
            (width, height) = (Math.Max(1, (int)Math.Round(picture.Width * scale)), Math.Max(1, (int)Math.Round(picture.Height * scale)));
        }

        using var small = Pixels.Resized(picture, width, height, input.ResizeFilter);
        using var whole = (width, height) == (input.Width, input.Height) ? null : Pixels.Cropped(small, 0, 0, input.Width, input.Height);
        InputPicture.Write((whole ?? small).Pixels, input, values);
        return (picture.Width * picture.ScaleX / width, picture.Height * picture.ScaleY / height);
    }

    /// <summary>Greedy non-maximum suppression: the best box stays, whatever overlaps it by more than <paramref name="overlap"/> goes. Reorders its input by descending score.</summary>
    internal static List<Detection> Suppress(List<Detection> candidates, double overlap)
    {
        candidates.Sort(static (a, b) => b.Score.CompareTo(a.Score));
        var kept = new List<Detection>();
        foreach (var candidate in candidates)
        {
            if (!kept.Exists(k => k.Box.Overlap(candidate.Box) > overlap))
            {
                kept.Add(candidate);
            }
        }

        return kept;
    }
}
