using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>The finer looks at a picture: grids of overlapping tiles, and what becomes of a face that several of them see. Pure functions.</summary>
internal static class Tiles
{
    /// <summary>Most tiles a side, at the highest detail.</summary>
    private const int FinestGrid = 8;

    /// <summary>Share of a tile that its neighbour sees too: more than the largest face that the coarser grid would have missed.</summary>
    private const double Overlap = 0.2;

    /// <summary>How near to a tile's inner edge a box is taken for one that the edge has cut, as a share of the tile.</summary>
    private const double Edge = 0.01;

    /// <summary>A box that lies in another by this share of its area is a part of the same face.</summary>
    private const double Inside = 0.6;

    /// <summary>Tiles a side for each look beyond the whole picture: 2, 4 and 8.</summary>
    /// <param name="detail">1 (the whole picture alone) to 4.</param>
    /// <param name="width">Of the full picture, in pixels.</param>
    /// <param name="input">Width of the network's input: a look that would only enlarge pixels is left out, and at lower details one that would not shrink enough to be worth it.</param>
    public static IEnumerable<int> Grids(int detail, double width, int input)
    {
        // at detail 2 a tile has twice the input's pixels, at 3 as many, at 4 half
        var fewest = detail switch { <= 1 => double.MaxValue, 2 => 2.0 * input, 3 => input, _ => input / 2.0 };
        for (var grid = 2; grid <= FinestGrid && grid <= 1 << (detail - 1) && width * Share(grid) >= fewest; grid *= 2)
        {
            yield return grid;
        }
    }

    /// <summary>Side of a tile, as a share of the picture's.</summary>
    public static double Share(int grid) => 1 / (grid - (grid - 1) * Overlap);

    /// <summary>A grid's tiles, in pixels of a picture.</summary>
    public static IEnumerable<(int X, int Y, int Width, int Height)> Of(int grid, int width, int height)
    {
        var share = Share(grid);
        var (wide, high) = ((int)Math.Ceiling(width * share), (int)Math.Ceiling(height * share));
        for (var row = 0; row < grid; row++)
        {
            for (var column = 0; column < grid; column++)
            {
                yield return ((width - wide) * column / (grid - 1), (height - high) * row / (grid - 1), wide, high);
            }
        }
    }

    /// <summary>A box ends at an edge of its tile that is not the picture's: half a face, which another tile sees whole.</summary>
    public static bool IsCut(Box box, Box tile, double width, double height)
    {
        var (x, y) = (tile.Width * Edge, tile.Height * Edge);
        return box.X < tile.X + x && tile.X > 0 || box.X + box.Width > tile.X + tile.Width - x && tile.X + tile.Width < width - 1
            || box.Y < tile.Y + y && tile.Y > 0 || box.Y + box.Height > tile.Y + tile.Height - y && tile.Y + tile.Height < height - 1;
    }

    /// <summary>
    /// Non-maximum suppression over all looks: the best box stays; whatever overlaps it, lies in it or holds it goes. Ties go to the coarser
    /// look, which comes first.
    /// </summary>
    public static List<Detection> Merge(IEnumerable<Detection> looks, double overlap)
    {
        var kept = new List<Detection>();
        foreach (var candidate in looks.OrderByDescending(d => Math.Round(d.Score, 2)))
        {
            if (!kept.Exists(k => k.Box.Overlap(candidate.Box) > overlap || k.Box.Shared(candidate.Box) > Inside * Math.Min(k.Box.Area, candidate.Box.Area)))
            {
                kept.Add(candidate);
            }
        }

        return kept;
    }
}

/// <summary>
/// A way to look at a picture: turned by quarters, or with a border. What is found in it is told in pixels of the picture as delivered.
/// </summary>
/// <param name="Turn">Degrees clockwise by which the picture is turned to be looked at: 0, 90, 180 or 270.</param>
/// <param name="Border">Grey border on each side, as a share of the picture's.</param>
internal readonly record struct View(int Turn, double Border)
{
    private const byte Grey = 128;

    public static readonly View Plain = new(0, 0);

    /// <summary>For faces that fill the picture: the detector was trained on faces with something around them. One border finds 97 of 100 tight crops, both 100.</summary>
    public static readonly View[] Padded = [new(0, 0.35), new(0, 0.15)];

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
