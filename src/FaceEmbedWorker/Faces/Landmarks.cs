using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>Finds 68 landmarks in a face box and reduces them to the five of the alignment.</summary>
internal sealed class Landmarks(Model model)
{
    /// <summary>Left eye, right eye, nose, left and right mouth corner (left and right as seen).</summary>
    public Point[] Locate(Picture picture, Box face)
    {
        var box = face.Scaled(1 / picture.ScaleX, 1 / picture.ScaleY);
        var side = Math.Max(1, (int)Math.Round(box.Height));
        var x = (int)Math.Round(box.CentreX - side / 2.0);
        var y = (int)Math.Round(box.CentreY - side / 2.0);
        using var run = model.Rent();
        var input = model.Card.Input;
        using (var crop = Pixels.Cropped(picture, x, y, side, side))
        using (var small = Pixels.Resized(crop, input.Width, input.Height, input.ResizeFilter))
        {
            InputPicture.Write(small.Pixels, input, run.Input);
        }

        run.Execute();
        var five = Five(run.Output());
        return Array.ConvertAll(five, p => new Point((x + p.X * side) * picture.ScaleX, (y + p.Y * side) * picture.ScaleY));
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
}
