namespace FaceEmbedWorker.Faces;

/// <summary>
/// How large a picture is looked at, by detail, and what becomes of a face that two looks see. Pure functions; sizes in pixels.
/// </summary>
internal static class Scales
{
    /// <summary>The finest detail.</summary>
    public const int Highest = 4;

    /// <summary>Longest side of detail 1, and at most of the look that joins a finer one.</summary>
    private const int Coarse = 320;

    /// <summary>The look that joins a finer one is coarser by this factor: there a face of the whole picture is within the detector's range.</summary>
    private const int Coarser = 4;

    /// <summary>A look of this longest side or more is joined by the coarse one.</summary>
    private const int JoinedFrom = 480;

    /// <summary>
    /// Size in a look's input from which a face may be seen better by the coarse look: all are found up to 280 pixels, 83 in 100 at 460.
    /// </summary>
    private const double Large = 200;

    /// <summary>A box that lies in another by this share of its area is a part of the same face.</summary>
    private const double Inside = 0.6;

    /// <summary>
    /// Longest side of the finest look of all: faces of 1.5 % of a picture's width have 20 pixels or more then, and 95 in 100 are found (at
    /// 1,280: 80).
    /// </summary>
    private const int Longest = 1920;

    /// <summary>
    /// Longest side to which detail <see cref="Highest"/> enlarges a smaller picture, by <see cref="More"/> at most: faces of 10 pixels in
    /// the network's input are 0.8 % of it.
    /// </summary>
    private const int Enlarged = 1280;

    /// <summary>The most by which a picture is enlarged, or looked at finer where nothing is found.</summary>
    private const double More = 1.5;

    /// <summary>Longest side of the finest look at a large picture.</summary>
    public static int Finest(int detail) => detail switch
    {
        <= 1 => Coarse,
        2 => 640,
        3 => 960,
        _ => Longest,
    };

    /// <summary>Longest side of the look at a picture in which nothing was found; 0: it was looked at as finely as can be.</summary>
    public static int Finer(int detail, int width, int height) => Side(detail, width, height) is < Longest and var side ? Math.Min((int)(side * More), Longest) : 0;

    /// <summary>The looks at a picture: the longest side of each, and the smallest face in its input that counts.</summary>
    public static IEnumerable<(int Side, double Smallest)> Looks(int detail, int width, int height)
    {
        var finest = Side(detail, width, height);
        yield return (finest, 0);
        if (finest >= JoinedFrom)
        {
            var side = Math.Min(Coarse, finest / Coarser);
            yield return (side, Large * side / finest);
        }
    }

    /// <summary>Longest side of the finest look at a picture.</summary>
    private static int Side(int detail, int width, int height)
    {
        var longest = Math.Max(width, height);
        return Math.Clamp(longest, detail < Highest ? 0 : (int)Math.Min(Enlarged, longest * More), Finest(detail));
    }

    /// <summary>The size of a picture whose longest side is brought down to <paramref name="side"/>; a smaller one stays.</summary>
    public static (int Width, int Height) Fit(int width, int height, int side) => Math.Max(width, height) <= side ? (width, height) : Fit(width, height, side, side);

    /// <summary>The size of a picture that is made as large as fits.</summary>
    public static (int Width, int Height) Fit(int width, int height, int intoWidth, int intoHeight)
    {
        var scale = Math.Min((double)intoWidth / width, (double)intoHeight / height);
        return (Math.Clamp((int)Math.Round(width * scale), 1, intoWidth), Math.Clamp((int)Math.Round(height * scale), 1, intoHeight));
    }

    /// <summary>The next multiple.</summary>
    public static int Up(int length, int multiple) => (length + multiple - 1) / multiple * multiple;

    /// <summary>The faces of two looks, the surest first: where they see the same, the surer one; a part of a larger face goes.</summary>
    public static List<Detection> Merge(IEnumerable<Detection> fine, IEnumerable<Detection> coarse, double overlap)
    {
        var kept = fine.ToList();
        foreach (var large in coarse)
        {
            if (!kept.Exists(k => k.Score >= large.Score && k.Box.Overlap(large.Box) > overlap))
            {
                kept.RemoveAll(k => k.Box.Overlap(large.Box) > overlap || k.Score < large.Score && k.Box.Shared(large.Box) > Inside * k.Box.Area);
                kept.Add(large);
            }
        }

        kept.Sort(static (a, b) => b.Score.CompareTo(a.Score));
        return kept;
    }
}
