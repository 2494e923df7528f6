using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>Finds 68 landmarks in a face box and reduces them to the five of the alignment: for detectors that give no points.</summary>
internal sealed class Landmarks(Model model)
{
    public ModelCard Card => model.Card;

    /// <summary>Left eye, right eye, nose, left and right mouth corner (left and right as seen) of a face.</summary>
    public Point[] Locate(Picture picture, Box face)
    {
        using var run = model.Rent();
        var (x, y, side) = Crop(picture, face, model.Card.Input, run.Input);
        run.Execute();
        var five = Five(run.Output());
        return !Array.TrueForAll(five, p => double.IsFinite(p.X + p.Y)) ? throw ModelException.NotFinite(model.Card.Id, "landmark") : Array.ConvertAll(five, p => new Point((x + p.X * side) * picture.ScaleX, (y + p.Y * side) * picture.ScaleY));
    }

    /// <summary>Writes a square of the box's height around its centre into the network's input.</summary>
    private static Square Crop(Picture picture, Box face, ModelInput input, Span<float> values)
    {
        var box = face.Scaled(1 / picture.ScaleX, 1 / picture.ScaleY);
        var side = Math.Max(1, (int)Math.Round(box.Height));
        var square = new Square((int)Math.Round(box.CentreX - side / 2.0), (int)Math.Round(box.CentreY - side / 2.0), side);
        using var crop = Pixels.Cropped(picture, square.X, square.Y, side, side);
        using var small = Pixels.Resized(crop, input.Width, input.Height, input.ResizeFilter);
        InputPicture.Write(small.Pixels, input, values);
        return square;
    }

    /// <summary>From 68 points in iBUG 300-W order (float32 [136]: x, y interleaved).</summary>
    internal static Point[] Five(ReadOnlySpan<float> points)
    {
        return [Mean(points, 37, 38, 40, 41), Mean(points, 43, 44, 46, 47), Mean(points, 30), Mean(points, 48, 60), Mean(points, 54, 64)];

        static Point Mean(ReadOnlySpan<float> points, params ReadOnlySpan<int> indices)
        {
            double x = 0, y = 0;
            foreach (var i in indices)
            {
                x += points[2 * i];
                y += points[2 * i + 1];
            }

            return new Point(x / indices.Length, y / indices.Length);
        }
    }

    /// <summary>In pixels of the decoded picture.</summary>
    private readonly record struct Square(int X, int Y, int Side);
}
