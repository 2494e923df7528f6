using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// Cuts out a face as the embedder wants it: brought to a template by the least-squares similarity of its five landmarks (Umeyama 1991:
/// turn, scale and shift), or, for embedders trained that way, the detector's box with a margin.
/// </summary>
internal sealed class FaceAligner
{
    /// <summary>Side of the picture that <see cref="ArcFaceTemplate"/> is given for.</summary>
    public const int ArcFaceSize = 112;

    /// <summary>The ArcFace template (Deng et al. 2019, as in InsightFace), pixel centres at whole numbers.</summary>
    public static readonly double[][] ArcFaceTemplate = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

    private readonly Point[] template;
    private readonly ModelInput input;
    private readonly double? margin;

    /// <param name="card">The embedder's: its template is scaled to its input.</param>
    /// <param name="points">How faces get their points: <see cref="FaceDetector.PointsRule"/>; null: as with the shipped detector.</param>
    public FaceAligner(ModelCard card, string? points = null)
    {
        points ??= FaceDetector.CloserPoints;
        var crop = card.Crop is { Rule: ModelCrop.Similarity } own ? own : ModelCard.Default("", "").Crop!;
        var scale = Math.Min(card.Input.Width, card.Input.Height) / crop.TemplateSize!.Value;
        var (left, upper) = ((card.Input.Width - scale * crop.TemplateSize.Value) / 2, (card.Input.Height - scale * crop.TemplateSize.Value) / 2);
        template = Array.ConvertAll(crop.Template!, p => new Point(p[0] * scale + left, p[1] * scale + upper));
        (Width, Height) = (card.Input.Width, card.Input.Height);
        input = card.Input;
        if (card.Crop is { Rule: ModelCrop.BoxMargin } box)
        {
            margin = box.Margin ?? 0;
            Rule = FormattableString.Invariant($"{ModelCrop.BoxMargin}/{points} {margin:R} {input.ResizeFilter}");
            return;
        }

        Rule = FormattableString.Invariant($"{ModelCrop.Similarity}/{points}[{string.Join(' ', crop.Template!.Select(p => FormattableString.Invariant($"{p[0]:R},{p[1]:R}")))} of {crop.TemplateSize}] box-shrink bilinear");
    }

    public int Width { get; }

    public int Height { get; }

    /// <summary>The rule in force, as it enters the embedding space. A change here that moves pixels gets the next number.</summary>
    public string Rule { get; }

    /// <summary>The aligned face, of the embedder's input size.</summary>
    /// <param name="box">The detector's.</param>
    /// <param name="error">How far the landmarks are from the template: root mean square, in pixels of a 112-pixel template.</param>
    public Picture Align(Picture picture, Box box, Point[] landmarks, out double error)
    {
        // the template counts pixel centres at whole numbers
        var five = Array.ConvertAll(landmarks, p => new Point(p.X / picture.ScaleX - 0.5, p.Y / picture.ScaleY - 0.5));
        var similarity = Similarity.Fit(five, template);
        error = similarity.Residual(five, template) * ArcFaceSize / Math.Min(Width, Height);
        if (margin is { } more)
        {
            return CutOut(picture, box.Scaled(1 / picture.ScaleX, 1 / picture.ScaleY), more);
        }

        var aligned = new Picture(Width, Height);
        Warp(picture, similarity, aligned);
        return aligned;
    }

    private Picture CutOut(Picture picture, Box box, double more)
    {
        var (x, y) = (Math.Clamp((int)Math.Round(box.X - box.Width * more / 2), 0, picture.Width - 1), Math.Clamp((int)Math.Round(box.Y - box.Height * more / 2), 0, picture.Height - 1));
        var right = Math.Clamp((int)Math.Round(box.X + box.Width * (1 + more / 2)), x + 1, picture.Width);
        var lower = Math.Clamp((int)Math.Round(box.Y + box.Height * (1 + more / 2)), y + 1, picture.Height);
        using var crop = Pixels.Cropped(picture, x, y, right - x, lower - y);
        return Pixels.Resized(crop, Width, Height, input.ResizeFilter);
    }

    /// <summary>
    /// Each target pixel is read bilinearly where the inverse transform puts it; outside is black. Where the transform shrinks by two or
    /// more, the part of the picture it sees is first averaged in whole blocks, so that no pixel is skipped.
    /// </summary>
    internal static void Warp(Picture picture, Similarity toTarget, Picture target)
    {
        var back = toTarget.Inverse();
        if (!double.IsFinite(back.A + back.B + back.X + back.Y))
        {
            target.Pixels.Clear();
            return;
        }

        var factor = (int)Math.Clamp(back.Scale, 1, 64);
        if (factor == 1)
        {
            Sample(picture, back, target);
            return;
        }

        var (x, width) = Seen(Span(back, target, static p => p.X), picture.Width, factor);
        var (y, height) = Seen(Span(back, target, static p => p.Y), picture.Height, factor);
        using var small = Shrunk(picture, x, y, width, height, factor);
        var shift = (factor - 1) / 2.0; // a block's centre, in pixel centres of the picture
        Sample(small, new Similarity(back.A / factor, back.B / factor, (back.X - x - shift) / factor, (back.Y - y - shift) / factor), target);
    }

    /// <summary>
    /// A part of a picture, of whole blocks, each averaged to a pixel; black where there is no picture. The part is copied a band at a
    /// time: of a large picture it may be nearly all.
    /// </summary>
    internal static Picture Shrunk(Picture picture, int x, int y, int width, int height, int factor, int mostBytes = MostCopied)
    {
        var small = new Picture(width / factor, height / factor);
        var rows = (int)Math.Clamp(mostBytes / (3L * width * factor), 1, small.Height);
        for (var row = 0; row < small.Height; row += rows)
        {
            rows = Math.Min(rows, small.Height - row);
            using var band = Pixels.Cropped(picture, x, y + row * factor, width, rows * factor);
            using var shrunk = Pixels.Shrunk(band, small.Width, rows);
            shrunk.Pixels.CopyTo(small.Pixels[(row * small.Width * 3)..]);
        }

        return small;
    }

    private const int MostCopied = 2 * 1024 * 1024;

    /// <summary>What the target's corners span along one axis of the picture.</summary>
    private static (double From, double To) Span(Similarity back, Picture target, Func<Point, double> along)
    {
        double[] corners = [along(back.Apply(new(0, 0))), along(back.Apply(new(target.Width, 0))), along(back.Apply(new(0, target.Height))), along(back.Apply(new(target.Width, target.Height)))];
        return (corners.Min(), corners.Max());
    }

    /// <summary>
    /// The pixels from the first to the last that are seen along one axis, with a margin, in whole blocks; blocks that lie wholly outside
    /// the picture are left out, as they are black anyway, so that landmarks from anywhere take no more memory than the picture.
    /// </summary>
    private static (int From, int Length) Seen((double From, double To) span, int length, int factor)
    {
        var from = Math.Floor(span.From) - 2 * factor;
        var blocks = Math.Floor((Math.Ceiling(span.To) + 2 * factor - from) / factor) + 1;
        from += Math.Floor(Math.Max(0, -from / factor)) * factor;
        var end = Math.Min(Math.Floor(span.From) - 2 * factor + blocks * factor, from + Math.Ceiling((length - from) / factor) * factor);
        return from > -factor && from < length && end > from ? ((int)from, (int)(end - from)) : (-factor, factor); // nothing of the picture is seen: a block of black
    }

    private static void Sample(Picture picture, Similarity back, Picture target)
    {
        ReadOnlySpan<byte> source = picture.Pixels;
        var stride = picture.Width * 3;
        for (var v = 0; v < target.Height; v++)
        {
            var row = target.Row(v);
            for (var u = 0; u < target.Width; u++)
            {
                var at = back.Apply(new Point(u, v));
                var (x, y) = ((int)Math.Floor(at.X), (int)Math.Floor(at.Y));
                var (across, down) = ((float)(at.X - x), Vector256.Create((float)(at.Y - y)));
                var first = y * stride + x * 3;

                // a pixel and its neighbour at once, red, green, blue, red, green, blue, read as eight bytes; the picture's last ones are
                // left to the slow way
                var inside = (uint)x < (uint)(picture.Width - 1) && (uint)y < (uint)(picture.Height - 1) && first <= source.Length - stride - 8;
                var (upper, lower) = inside ? (Two(source, first), Two(source, first + stride)) : (Border(source, x, y), Border(source, x, y + 1));
                var both = upper + (lower - upper) * down;
                var (left, right) = (both.GetLower(), Vector256.Shuffle(both, Neighbour).GetLower());
                var value = Vector128.ConvertToInt32(left + (right - left) * across + Vector128.Create(0.5f));
                row[u * 3] = (byte)value[0];
                row[u * 3 + 1] = (byte)value[1];
                row[u * 3 + 2] = (byte)value[2];
            }
        }

        static Vector256<float> Two(ReadOnlySpan<byte> source, int at)
        {
            var values = Vector128.WidenLower(Vector128.CreateScalar(MemoryMarshal.Read<ulong>(source[at..])).AsByte());
            return Vector256.ConvertToSingle(Vector256.Create(Vector128.WidenLower(values), Vector128.WidenUpper(values)).AsInt32());
        }

        Vector256<float> Border(ReadOnlySpan<byte> source, int x, int y)
        {
            var ((a, b, c), (d, e, f)) = (Pixel(source, x, y), Pixel(source, x + 1, y));
            return Vector256.Create(a, b, c, d, e, f, 0, 0);
        }

        (float Red, float Green, float Blue) Pixel(ReadOnlySpan<byte> source, int x, int y) =>
            (uint)x < (uint)picture.Width && (uint)y < (uint)picture.Height && y * stride + x * 3 is var at ? (source[at], source[at + 1], source[at + 2]) : default;
    }

    /// <summary>Brings the second of two pixels to where the first is.</summary>
    private static readonly Vector256<int> Neighbour = Vector256.Create(3, 4, 5, 6, 0, 0, 0, 0);
}

/// <summary>x' = A x - B y + X, y' = B x + A y + Y: turn, scale and shift.</summary>
internal readonly record struct Similarity(double A, double B, double X, double Y)
{
    public double Scale => Math.Sqrt(A * A + B * B);

    /// <summary>The turn, clockwise as seen, -180 to 180.</summary>
    public double Degrees => Math.Atan2(B, A) * 180 / Math.PI;

    public Point Apply(Point p) => new(A * p.X - B * p.Y + X, B * p.X + A * p.Y + Y);

    /// <summary>
    /// The least-squares similarity from one set of points to another (Umeyama 1991, in the plane and without reflection).
    /// </summary>
    public static Similarity Fit(ReadOnlySpan<Point> from, ReadOnlySpan<Point> to)
    {
        var (meanFrom, meanTo) = (Mean(from), Mean(to));
        double along = 0, across = 0, spread = 0;
        for (var i = 0; i < from.Length; i++)
        {
            var (px, py) = (from[i].X - meanFrom.X, from[i].Y - meanFrom.Y);
            var (qx, qy) = (to[i].X - meanTo.X, to[i].Y - meanTo.Y);
            along += px * qx + py * qy;
            across += px * qy - py * qx;
            spread += px * px + py * py;
        }

        // points that all fall together say nothing of turn and scale
        var (a, b) = spread > 1e-12 ? (along / spread, across / spread) : (1, 0);
        if (a * a + b * b < 1e-12)
        {
            (a, b) = (1e-6, 0);
        }

        return new Similarity(a, b, meanTo.X - a * meanFrom.X + b * meanFrom.Y, meanTo.Y - b * meanFrom.X - a * meanFrom.Y);
    }

    public Similarity Inverse()
    {
        var square = A * A + B * B;
        var (a, b) = (A / square, -B / square);
        return new Similarity(a, b, -(a * X - b * Y), -(b * X + a * Y));
    }

    /// <summary>Root mean square distance of the transformed points from their targets.</summary>
    public double Residual(ReadOnlySpan<Point> from, ReadOnlySpan<Point> to)
    {
        double sum = 0;
        for (var i = 0; i < from.Length; i++)
        {
            var p = Apply(from[i]);
            sum += (p.X - to[i].X) * (p.X - to[i].X) + (p.Y - to[i].Y) * (p.Y - to[i].Y);
        }

        return Math.Sqrt(sum / from.Length);
    }

    private static Point Mean(ReadOnlySpan<Point> points)
    {
        double x = 0, y = 0;
        foreach (var p in points)
        {
            x += p.X;
            y += p.Y;
        }

        return new Point(x / points.Length, y / points.Length);
    }
}
