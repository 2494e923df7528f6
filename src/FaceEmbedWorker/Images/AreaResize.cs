using System.Runtime.Intrinsics;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Shrinks by area averaging: each pixel of the result is the mean of the rectangle that it covers, parts of pixels counted as parts. Nothing is
/// skipped and nothing rings, so a detector sees small faces as a camera further away would.
/// </summary>
internal static class AreaResize
{
    /// <summary>As cards name it.</summary>
    public const string Name = "area";

    /// <summary>Shrinks uint8 [height, width, 3] to uint8 [toHeight, toWidth, 3]; no side may grow.</summary>
    public static void Shrink(Picture from, Picture to)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(to.Width, from.Width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(to.Height, from.Height);
        if ((from.Width, from.Height) == (to.Width, to.Height))
        {
            from.Pixels.CopyTo(to.Pixels);
            return;
        }

        var (rows, columns) = (new Spans(from.Height, to.Height), new Spans(from.Width, to.Width));
        var sums = new float[from.Width * 3]; // of a row of the result, at the width of the source
        var (covers, most) = (new (int First, int Count)[to.Width], columns.Most);
        var weights = new float[to.Width * most];
        for (var x = 0; x < to.Width; x++)
        {
            var (first, last) = columns.Of(x);
            covers[x] = (first, last + 1 - first);
            for (var column = first; column <= last; column++)
            {
                weights[x * most + column - first] = columns.Weight(x, column);
            }
        }

        for (var y = 0; y < to.Height; y++)
        {
            Array.Clear(sums);
            var (first, last) = rows.Of(y);
            for (var row = first; row <= last; row++)
            {
                Add(from.Row(row), rows.Weight(y, row), sums);
            }

            Average(sums, covers, weights, most, to.Row(y));
        }
    }

    private static void Add(ReadOnlySpan<byte> row, float weight, Span<float> sums)
    {
        var (x, weights) = (0, Vector256.Create(weight));
        for (; x <= row.Length - Vector256<byte>.Count; x += Vector256<byte>.Count)
        {
            var (low, high) = Vector256.Widen(Vector256.Create(row.Slice(x, Vector256<byte>.Count)));
            var (a, b) = Vector256.Widen(low);
            var (c, d) = Vector256.Widen(high);
            var target = sums.Slice(x, Vector256<byte>.Count);
            Add(a, target);
            Add(b, target[8..]);
            Add(c, target[16..]);
            Add(d, target[24..]);
        }

        for (; x < row.Length; x++)
        {
            sums[x] += row[x] * weight;
        }

        void Add(Vector256<uint> values, Span<float> target) =>
            (Vector256.Create(target[..8]) + Vector256.ConvertToSingle(values.AsInt32()) * weights).CopyTo(target);
    }

    private static void Average(ReadOnlySpan<float> sums, ReadOnlySpan<(int First, int Count)> covers, ReadOnlySpan<float> weights, int most, Span<byte> row)
    {
        for (var x = 0; x < covers.Length; x++)
        {
            var (red, green, blue) = (0.5f, 0.5f, 0.5f);
            var covered = sums.Slice(covers[x].First * 3, covers[x].Count * 3);
            var shares = weights.Slice(x * most, covers[x].Count);
            for (var i = 0; i < shares.Length; i++)
            {
                var pixel = covered.Slice(i * 3, 3);
                red += pixel[0] * shares[i];
                green += pixel[1] * shares[i];
                blue += pixel[2] * shares[i];
            }

            (row[x * 3], row[x * 3 + 1], row[x * 3 + 2]) = (Byte(red), Byte(green), Byte(blue));
        }

        static byte Byte(float value) => (byte)Math.Min(value, 255);
    }

    /// <summary>Which pixels of a side each pixel of a shorter one covers, and how much of each.</summary>
    private readonly struct Spans(int from, int to)
    {
        private readonly double scale = (double)from / to;

        /// <summary>So many pixels are covered at most.</summary>
        public int Most => (int)Math.Ceiling(scale) + 1;

        public (int First, int Last) Of(int i) => ((int)(i * scale), Math.Min(from, (int)Math.Ceiling((i + 1) * scale - 1e-9)) - 1);

        public float Weight(int i, int pixel) => (float)((Math.Min(pixel + 1, (i + 1) * scale) - Math.Max(pixel, i * scale)) / scale);
    }
}
