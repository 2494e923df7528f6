using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// Finds faces with RFB-320 (Linzaer, Ultra-Light-Fast-Generic-Face-Detector-1MB): the picture stretched to the network's 320 x 240,
/// scores and decoded boxes back, non-maximum suppression.
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
        var input = model.Card.Input;
        using (var small = Pixels.Resized(picture, input.Width, input.Height, input.ResizeFilter))
        {
            InputPicture.Write(small.Pixels, input, run.Input);
        }

        run.Execute();
        var candidates = Candidates(run.Output(0), run.Output(1), picture.Width * picture.ScaleX, picture.Height * picture.ScaleY);
        return Suppress(candidates, options.DetectionOverlap);
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

    /// <param name="scores">float32 [n, 2]; column 1 is the face's.</param>
    /// <param name="boxes">float32 [n, 4]: left, upper, right, lower, 0 to 1.</param>
    private List<Detection> Candidates(ReadOnlySpan<float> scores, ReadOnlySpan<float> boxes, double width, double height)
    {
        var found = new List<Detection>();
        for (var i = 0; i < scores.Length / 2; i++)
        {
            if (scores[i * 2 + 1] > options.DetectionThreshold)
            {
                var corner = boxes.Slice(i * 4, 4);
                var (left, right) = (Math.Clamp(corner[0], 0, 1) * width, Math.Clamp(corner[2], 0, 1) * width);
                var (upper, lower) = (Math.Clamp(corner[1], 0, 1) * height, Math.Clamp(corner[3], 0, 1) * height);
                if (right - left >= 1 && lower - upper >= 1)
                {
                    found.Add(new Detection(new Box(left, upper, right - left, lower - upper), scores[i * 2 + 1]));
                }
            }
        }

        return found;
    }
}
