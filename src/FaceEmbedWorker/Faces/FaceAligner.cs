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
    /// <summary>Side of the square that <see cref="ArcFaceTemplate"/> is given for.</summary>
    public const int ArcFaceSize = 112;

    /// <summary>The ArcFace template (Deng et al. 2019, as in InsightFace), pixel centres at whole numbers.</summary>
    public static readonly double[][] ArcFaceTemplate = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

    private readonly Point[] template;
    private readonly ModelInput input;
    private readonly string rule;
    private readonly double margin;
    private readonly double errorScale;

    /// <param name="card">The embedder's: its template is scaled to its input.</param>
    /// <param name="points">How faces get their points: <see cref="FaceDetector.PointsRule"/>; null: as with the shipped detector.</param>
    public FaceAligner(ModelCard card, string? points = null)
    {
        points ??= FaceDetector.CloserPoints;
        var aligned = card.Crop is { Rule: ModelCrop.Similarity } own ? own : ModelCard.Default("", "").Crop!; // boxes have an alignment error too
        var frame = aligned.TemplateFrame;
        var scale = Math.Min(card.Input.Width / frame.Width, card.Input.Height / frame.Height);
        var (left, upper) = ((card.Input.Width - scale * frame.Width) / 2, (card.Input.Height - scale * frame.Height) / 2);
        errorScale = ArcFaceSize / (scale * frame.Height);
        template = Array.ConvertAll(aligned.Template!, p => new Point(p[0] * scale + left, p[1] * scale + upper));
        (Width, Height) = (card.Input.Width, card.Input.Height);
        input = card.Input;
        rule = card.Crop?.Rule ?? ModelCrop.Similarity;
        margin = card.Crop?.Margin ?? 0;
        Rule = rule switch
        {
            ModelCrop.BoxMargin => FormattableString.Invariant($"{ModelCrop.BoxMargin}/{points} {margin:R} {input.ResizeFilter}"),
            ModelCrop.BoxSquare => $"{ModelCrop.BoxSquare}/{points} {input.ResizeFilter}",
            _ => FormattableString.Invariant($"{ModelCrop.Similarity}/{points}[{string.Join(' ', aligned.Template!.Select(p => FormattableString.Invariant($"{p[0]:R},{p[1]:R}")))} of {(aligned.TemplateSize is { } side ? FormattableString.Invariant($"{side:R}") : FormattableString.Invariant($"{frame.Width:R}x{frame.Height:R}"))}] box-shrink bilinear"),
        };
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
        error = similarity.Residual(five, template) * errorScale;
        if (!IsByLandmarks)
        {
            var seen = box.Scaled(1 / picture.ScaleX, 1 / picture.ScaleY);
            return rule == ModelCrop.BoxSquare ? CutOutSquare(picture, seen) : CutOut(picture, seen, margin);
        }

        var aligned = new Picture(Width, Height);
        Warp(picture, similarity, aligned);
        return aligned;
    }

    /// <summary>
    /// A crop of a face, brought to the embedder's input: as it is where it has that size, otherwise from the ArcFace template of its side.
    /// </summary>
    /// <returns>Null where it cannot be told how the face lies in it: it is neither square nor of the input's size.</returns>
    public Picture? AlignCrop(Picture crop)
    {
        if ((crop.Width, crop.Height) == (Width, Height))
        {
            return Pixels.Cropped(crop, 0, 0, Width, Height);
        }

        if (crop.Width != crop.Height)
        {
            return null;
        }

        if (!IsByLandmarks)
        {
            return Pixels.Resized(crop, Width, Height, input.ResizeFilter);
        }

        var scale = (double)crop.Width / ArcFaceSize;
        var aligned = new Picture(Width, Height);
        Warp(crop, Similarity.Fit(Array.ConvertAll(ArcFaceTemplate, p => new Point(p[0] * scale, p[1] * scale)), template), aligned);
        return aligned;
    }

    /// <summary>Whether faces are cut out by their landmarks alone.</summary>
    public bool IsByLandmarks => rule is not (ModelCrop.BoxMargin or ModelCrop.BoxSquare);

    /// <summary>Pixels of the upright picture at full size for a pixel of the crop.</summary>
    public double ScaleOf(Point[] landmarks) => Similarity.Fit(landmarks, template).Inverse().Scale;

    /// <summary>Where the landmarks come to lie in the crop that <see cref="Align"/> makes; null where it is cut out by its box.</summary>
    public Point[]? InCrop(Point[] landmarks)
    {
        var similarity = Similarity.Fit(landmarks, template);
        return !IsByLandmarks ? null : Array.ConvertAll(landmarks, p => similarity.Apply(p) is var at ? new Point(at.X + 0.5, at.Y + 0.5) : default); // the template counts pixel centres at whole numbers
    }

    /// <summary>A square of the box's height on its centre; what lies outside the picture is black.</summary>
    private Picture CutOutSquare(Picture picture, Box box)
    {
        var side = Math.Max(1, (int)Math.Round(box.Height));
        using var square = Pixels.Cropped(picture, (int)Math.Round(box.CentreX - side / 2.0), (int)Math.Round(box.CentreY - side / 2.0), side, side);
        return Pixels.Resized(square, Width, Height, input.ResizeFilter);
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
        Span<byte> four = stackalloc byte[12];

        // where these pixels begin, eight bytes can be read of their row and of the next
        var (right, lower) = (Vector256.Create(picture.Width - 3.0), Vector256.Create(picture.Height - 2.0));
        for (var v = 0; v < target.Height; v++)
        {
            var row = target.Row(v);
            for (var u = 0; u < target.Width; u += 4)
            {
                var across = Vector256.Create(u, u + 1.0, u + 2, u + 3);
                var x = across * back.A - Vector256.Create(back.B * v) + Vector256.Create(back.X);
                var y = across * back.B + Vector256.Create(back.A * v) + Vector256.Create(back.Y);
                var (left, top) = (Vector256.Floor(x), Vector256.Floor(y));
                var (toNext, toBelow) = (Narrow(x - left), Narrow(y - top));
                var first = top * stride + left * 3;
                Vector128<int> a, b, c, d;
                if (Vector256.GreaterThanOrEqualAll(Vector256.Min(left, top), Vector256<double>.Zero) && Vector256.LessThanOrEqualAll(left, right) && Vector256.LessThanOrEqualAll(top, lower))
                {
                    a = Read(source, (int)first[0], stride, toNext[0], toBelow[0]);
                    b = Read(source, (int)first[1], stride, toNext[1], toBelow[1]);
                    c = Read(source, (int)first[2], stride, toNext[2], toBelow[2]);
                    d = Read(source, (int)first[3], stride, toNext[3], toBelow[3]);
                }
                else
                {
                    a = ReadAnywhere(source, left[0], top[0], toNext[0], toBelow[0]);
                    b = ReadAnywhere(source, left[1], top[1], toNext[1], toBelow[1]);
                    c = ReadAnywhere(source, left[2], top[2], toNext[2], toBelow[2]);
                    d = ReadAnywhere(source, left[3], top[3], toNext[3], toBelow[3]);
                }

                if (u <= target.Width - 4)
                {
                    Pixels.WriteFour(a, b, c, d, row[(u * 3)..]);
                    continue;
                }

                Pixels.WriteFour(a, b, c, d, four);
                four[..((target.Width - u) * 3)].CopyTo(row[(u * 3)..]);
            }
        }

        static Vector128<float> Narrow(Vector256<double> values) => Vector128.Narrow(values.GetLower(), values.GetUpper());

        static Vector128<int> Read(ReadOnlySpan<byte> source, int first, int stride, float toNext, float toBelow)
        {
            var (upper, lower) = (MemoryMarshal.Read<ulong>(source[first..]), MemoryMarshal.Read<ulong>(source[(first + stride)..])); // a pixel and the next one
            return Blend(Values((uint)upper), Values((uint)(upper >> 24)), Values((uint)lower), Values((uint)(lower >> 24)), toNext, toBelow);
        }

        Vector128<int> ReadAnywhere(ReadOnlySpan<byte> source, double left, double top, float toNext, float toBelow) => Blend(
            Values(Pixel(source, left, top)), Values(Pixel(source, left + 1, top)), Values(Pixel(source, left, top + 1)), Values(Pixel(source, left + 1, top + 1)), toNext, toBelow);

        uint Pixel(ReadOnlySpan<byte> source, double x, double y) =>
            x >= 0 && x < picture.Width && y >= 0 && y < picture.Height && (int)y * stride + (int)x * 3 is var at ? (uint)(source[at] | source[at + 1] << 8 | source[at + 2] << 16) : 0; // outside is black

        static Vector128<int> Blend(Vector128<float> upper, Vector128<float> upperNext, Vector128<float> lower, Vector128<float> lowerNext, float toNext, float toBelow)
        {
            var (here, next) = (upper + (lower - upper) * toBelow, upperNext + (lowerNext - upperNext) * toBelow);
            return Vector128.ConvertToInt32(here + (next - here) * toNext + Vector128.Create(0.5f));
        }

        static Vector128<float> Values(uint pixel) => Vector128.ConvertToSingle(Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalar(pixel).AsByte())).AsInt32());
    }
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
