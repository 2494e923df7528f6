using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// A way to look at a picture: turned by quarters, or with a border. What is found in it is told in pixels of the picture as delivered.
/// </summary>
/// <param name="Turn">Degrees clockwise by which the picture is turned to be looked at: 0, 90, 180 or 270.</param>
/// <param name="Border">Grey border on each side, as a share of the picture's.</param>
internal readonly record struct View(int Turn, double Border)
{
    private const byte Grey = 128;

    public static readonly View Plain = new(0, 0);

    /// <summary>For faces that fill the picture: the detector was trained on faces with something around them.</summary>
    public static readonly View Padded = new(0, 0.35);

    public static readonly View[] Turned = [new(90, 0), new(270, 0), new(180, 0)];

    /// <summary>The picture as this view shows it: a copy.</summary>
    public Picture Apply(Picture picture)
    {
        if (Border == 0)
        {
            return Pixels.Turned(picture, Turn);
        }

        var (x, y) = ((int)(picture.Width * Border), (int)(picture.Height * Border));
        var padded = new Picture(picture.Width + 2 * x, picture.Height + 2 * y) { ScaleX = picture.ScaleX, ScaleY = picture.ScaleY };
        padded.Pixels.Fill(Grey);
        for (var row = 0; row < picture.Height; row++)
        {
            picture.Row(row).CopyTo(padded.Row(row + y)[(x * 3)..]);
        }

        return padded;
    }

    /// <summary>A point of the view, in pixels at full size, as one of the delivered picture.</summary>
    public Point Back(Point p, Picture delivered)
    {
        var (width, height) = (delivered.Width * delivered.ScaleX, delivered.Height * delivered.ScaleY);
        return Turn switch
        {
            90 => new Point(p.Y, height - p.X),
            180 => new Point(width - p.X, height - p.Y),
            270 => new Point(width - p.Y, p.X),
            _ => new Point(p.X - (int)(delivered.Width * Border) * delivered.ScaleX, p.Y - (int)(delivered.Height * Border) * delivered.ScaleY),
        };
    }

    public Box Back(Box box, Picture delivered)
    {
        var (a, b) = (Back(new Point(box.X, box.Y), delivered), Back(new Point(box.X + box.Width, box.Y + box.Height), delivered));
        var (x, y) = (Math.Min(a.X, b.X), Math.Min(a.Y, b.Y));
        return new Box(x, y, Math.Max(a.X, b.X) - x, Math.Max(a.Y, b.Y) - y).Clamped(delivered.Width * delivered.ScaleX, delivered.Height * delivered.ScaleY);
    }
}
