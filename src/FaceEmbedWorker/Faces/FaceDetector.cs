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

    /// <summary>The pixels that a picture should have for the whole to be looked at: twice the network's input, so that shrinking to it averages well.</summary>
    public (int Width, int Height) Wanted => (2 * model.Card.Input.Width, 2 * model.Card.Input.Height);

    /// <summary>The pixels that a picture should have for the finest look that its full size is worth.</summary>
    public (int Width, int Height) WantedFor(int detail, int width, int height)
    {
        var finest = Tiles.Grids(detail, Longer(width, height), model.Card.Input.Width).LastOrDefault(1);
        return finest == 1 ? Wanted : ((int)(1.5 * model.Card.Input.Width / Tiles.Share(finest)), (int)(1.5 * model.Card.Input.Height / Tiles.Share(finest)));
    }

    /// <summary>A copy with the pixels that are wanted for the whole to be looked at, or all that there are.</summary>
    public Picture Shrunk(Picture picture)
    {
        var factor = Math.Max(1, Math.Min((double)picture.Width / Wanted.Width, (double)picture.Height / Wanted.Height));
        var (width, height) = ((int)Math.Round(picture.Width / factor), (int)Math.Round(picture.Height / factor));
        return Pixels.Resized(picture, width, height, model.Card.Input.ResizeFilter, picture.ScaleX * picture.Width / width, picture.ScaleY * picture.Height / height);
    }

    /// <summary>The faces of a picture, the surest first, clamped to the picture.</summary>
    /// <param name="detail">1: the whole picture; up to 4: overlapping tiles too, each grid finer than the one before.</param>
    public IReadOnlyList<Detection> Detect(Picture picture, int detail = 1)
    {
        var found = DetectWhole(picture);
        var (width, height) = (picture.Width * picture.ScaleX, picture.Height * picture.ScaleY);
        var grids = Tiles.Grids(detail, Longer(width, height), model.Card.Input.Width).ToArray();
        if (grids.Length == 0)
        {
            return found;
        }

        foreach (var (x, y, wide, high) in grids.SelectMany(grid => Tiles.Of(grid, picture.Width, picture.Height)))
        {
            using var tile = Pixels.Cropped(picture, x, y, wide, high);
            var place = new Box(x, y, wide, high).Scaled(picture.ScaleX, picture.ScaleY);
            found.AddRange(DetectWhole(tile)
                .Select(d => d.Moved(picture.ScaleX, picture.ScaleY, place.X, place.Y))
                .Where(d => !Tiles.IsCut(d.Box, place, width, height)));
        }

        return Tiles.Merge(found, options.DetectionOverlap);
    }

    private List<Detection> DetectWhole(Picture picture)
    {
        using var run = model.Rent();
        var (scaleX, scaleY) = Fit(picture, run.Input);
        run.Execute();
        var (width, height) = (picture.Width * picture.ScaleX, picture.Height * picture.ScaleY);
        var candidates = new List<Detection>();
        foreach (var candidate in DetectorLayout.Read(run, model.Card, options.DetectionThreshold))
        {
            var face = candidate.Moved(scaleX, scaleY, 0, 0);
            if (face.Box.Clamped(width, height) is { Width: >= 1, Height: >= 1 } box)
            {
                candidates.Add(face with { Box = box });
            }
        }

        return Suppress(candidates, options.DetectionOverlap);
    }

    /// <summary>The input is wider than high: in a portrait photo the height says how fine a tile is.</summary>
    private static double Longer(double width, double height) => Math.Max(width, height);

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
