using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>Finds 68 landmarks in a face box and reduces them to the five of the alignment.</summary>
/// <param name="single">For one face a run.</param>
/// <param name="several">The same model for several faces a run; the numbers are the same to the bit.</param>
internal sealed class Landmarks(Model single, Model several)
{
    /// <summary>Faces of one run, where there are that many.</summary>
    public const int Batch = 4;

    /// <summary>Left eye, right eye, nose, left and right mouth corner (left and right as seen) of a face.</summary>
    public Point[] Locate(Picture picture, Box face) => Locate(picture, [face])[0];

    /// <summary>The five points of each face: the detector's, where it gives them.</summary>
    public Point[][] Locate(Picture picture, IReadOnlyList<Detection> faces) => faces.Count > 0 && faces.All(f => f.Landmarks is not null)
        ? [.. faces.Select(f => f.Landmarks!)]
        : Locate(picture, faces.Select(f => f.Box).ToArray());

    /// <summary>The five points of each face.</summary>
    public Point[][] Locate(Picture picture, IReadOnlyList<Box> faces)
    {
        var points = new Point[faces.Count][];
        for (var first = 0; first < faces.Count;)
        {
            var model = faces.Count - first >= Batch ? several : single;
            var input = model.Card.Input;
            using var run = model.Rent();
            var (squares, values) = (new Square[input.Batch], input.Width * input.Height * input.Channels);
            for (var k = 0; k < input.Batch; k++)
            {
                squares[k] = Crop(picture, faces[first + k], input, run.Input.Slice(k * values, values));
            }

            run.Execute();
            var output = run.Output();
            for (var k = 0; k < input.Batch; k++, first++)
            {
                var (x, y, side) = squares[k];
                points[first] = Array.ConvertAll(Five(output.Slice(k * output.Length / input.Batch, output.Length / input.Batch)),
                    p => new Point((x + p.X * side) * picture.ScaleX, (y + p.Y * side) * picture.ScaleY));
            }
        }

        return points;
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
