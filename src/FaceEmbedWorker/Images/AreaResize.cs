using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Shrinks by area averaging: each pixel of the result is the mean of the rectangle that it covers, parts of pixels counted as parts.
/// Nothing is skipped and nothing rings, so a detector sees small faces as a camera further away would. Rows are computed when they are
/// asked for.
/// </summary>
internal ref struct AreaResize : IDisposable
{
    /// <summary>As cards name it.</summary>
    public const string Name = "area";

    private readonly Picture from;
    private readonly Spans rows;
    private readonly int taps;
    private readonly int[] starts;
    private readonly float[] rented;
    private readonly Span<float> rowWeights;
    private readonly Span<float> weights;
    private readonly Span<float> sums;
    private readonly Span<float> result;

    /// <exception cref="ArgumentOutOfRangeException">A side would grow.</exception>
    public AreaResize(Picture from, int width, int height)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, from.Width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(height, from.Height);
        this.from = from;
        rows = new Spans(from.Height, height);
        var columns = new Spans(from.Width, width);
        taps = columns.Most;
        rented = ArrayPool<float>.Shared.Rent(rows.Most + width * taps + from.Width * 3 + 1 + width * 4);
        starts = ArrayPool<int>.Shared.Rent(width);
        var rest = rented.AsSpan();
        rowWeights = Take(ref rest, rows.Most);
        weights = Take(ref rest, width * taps);
        sums = Take(ref rest, from.Width * 3 + 1); // a pixel is read as four values
        result = Take(ref rest, width * 4);
        sums[^1] = 0;
        for (var x = 0; x < width; x++)
        {
            starts[x] = columns.Weigh(x, weights.Slice(x * taps, taps)) * 3;
        }

        static Span<float> Take(scoped ref Span<float> rest, int length)
        {
            var taken = rest[..length];
            rest = rest[length..];
            return taken;
        }
    }

    /// <summary>Shrinks uint8 [height, width, 3] to uint8 [toHeight, toWidth, 3], rounded.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side would grow.</exception>
    public static void Shrink(Picture from, Picture to)
    {
        if ((from.Width, from.Height) == (to.Width, to.Height))
        {
            from.Pixels.CopyTo(to.Pixels);
            return;
        }

        using var resize = new AreaResize(from, to.Width, to.Height);
        for (var y = 0; y < to.Height; y++)
        {
            Round(resize.Row(y), to.Row(y));
        }
    }

    /// <summary>
    /// A row of the result: float32 [width, 4], red, green, blue (0 to 255) and an undefined value. Valid until the next.
    /// </summary>
    public readonly ReadOnlySpan<float> Row(int y)
    {
        var first = rows.Weigh(y, rowWeights);
        AddRows(from.Pixels.Slice(first * from.Width * 3, rowWeights.Length * from.Width * 3), rowWeights, sums[..^1]);
        AverageColumns(sums, starts.AsSpan(0, result.Length / 4), weights, taps, result);
        return result;
    }

    public readonly void Dispose()
    {
        ArrayPool<float>.Shared.Return(rented);
        ArrayPool<int>.Shared.Return(starts);
    }

    /// <summary>The weighted sum of whole rows: uint8 [n, length] to float32 [length].</summary>
    private static void AddRows(ReadOnlySpan<byte> rows, ReadOnlySpan<float> weights, Span<float> sums)
    {
        var x = 0;
        for (; x <= sums.Length - Vector256<byte>.Count; x += Vector256<byte>.Count)
        {
            var (a, b, c, d) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
            var at = x;
            foreach (var weight in weights)
            {
                var (low, high) = Vector256.Widen(Vector256.Create(rows.Slice(at, Vector256<byte>.Count)));
                var ((first, second), (third, fourth)) = (Vector256.Widen(low), Vector256.Widen(high));
                var by = Vector256.Create(weight);
                a += Vector256.ConvertToSingle(first.AsInt32()) * by;
                b += Vector256.ConvertToSingle(second.AsInt32()) * by;
                c += Vector256.ConvertToSingle(third.AsInt32()) * by;
                d += Vector256.ConvertToSingle(fourth.AsInt32()) * by;
                at += sums.Length;
            }

            var target = sums.Slice(x, Vector256<byte>.Count);
            a.CopyTo(target);
            b.CopyTo(target[8..]);
            c.CopyTo(target[16..]);
            d.CopyTo(target[24..]);
        }

        for (; x < sums.Length; x++)
        {
            var sum = 0f;
            for (var row = 0; row < weights.Length; row++)
            {
                sum += rows[row * sums.Length + x] * weights[row];
            }

            sums[x] = sum;
        }
    }

    /// <summary>The weighted sums of a row's pixels: float32 [from, 3] to float32 [to, 4].</summary>
    private static void AverageColumns(ReadOnlySpan<float> row, ReadOnlySpan<int> starts, ReadOnlySpan<float> weights, int taps, Span<float> result)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(starts[^1] + 3 * taps + 1, row.Length); // the last pixel starts furthest right
        ArgumentOutOfRangeException.ThrowIfNotEqual(weights.Length, starts.Length * taps);
        ArgumentOutOfRangeException.ThrowIfNotEqual(result.Length, starts.Length * 4);
        ref var pixels = ref MemoryMarshal.GetReference(row);
        ref var weight = ref MemoryMarshal.GetReference(weights);
        ref var target = ref MemoryMarshal.GetReference(result);
        for (var x = 0; x < starts.Length; x++)
        {
            ref var pixel = ref Unsafe.Add(ref pixels, starts[x]);
            var sum = Vector128.LoadUnsafe(ref pixel) * weight;
            for (var i = 1; i < taps; i++)
            {
                pixel = ref Unsafe.Add(ref pixel, 3);
                sum += Vector128.LoadUnsafe(ref pixel) * Unsafe.Add(ref weight, i);
            }

            weight = ref Unsafe.Add(ref weight, taps);
            sum.StoreUnsafe(ref target, (nuint)(4 * x));
        }
    }

    private static void Round(ReadOnlySpan<float> row, Span<byte> bytes)
    {
        var x = 0;
        for (; x <= row.Length / 4 - 4; x += 4)
        {
            Pixels.WriteFour(Rounded(row, x), Rounded(row, x + 1), Rounded(row, x + 2), Rounded(row, x + 3), bytes[(x * 3)..]);
        }

        for (; x < row.Length / 4; x++)
        {
            var values = Rounded(row, x);
            (bytes[x * 3], bytes[x * 3 + 1], bytes[x * 3 + 2]) = ((byte)values[0], (byte)values[1], (byte)values[2]);
        }

        static Vector128<int> Rounded(ReadOnlySpan<float> row, int x) => Vector128.ConvertToInt32(Vector128.Min(Vector128.Create(row.Slice(x * 4, 4)) + Vector128.Create(0.5f), Vector128.Create(255f)));
    }

    /// <summary>Which pixels of a side each pixel of a shorter one covers, and how much of each.</summary>
    private readonly struct Spans
    {
        private readonly int from;
        private readonly double scale;

        public Spans(int from, int to)
        {
            (this.from, scale) = (from, (double)from / to);
            for (var i = 0; i < to; i++)
            {
                var (first, last) = Of(i);
                Most = Math.Max(Most, last + 1 - first);
            }
        }

        /// <summary>So many pixels are covered at most.</summary>
        public int Most { get; }

        /// <summary>Weighs <see cref="Most"/> pixels in a row, those that are covered among them, and says which is the first.</summary>
        public int Weigh(int i, Span<float> weights)
        {
            var (covered, last) = Of(i);
            var first = Math.Min(covered, from - Most);
            for (var pixel = first; pixel < first + Most; pixel++)
            {
                weights[pixel - first] = pixel < covered || pixel > last ? 0 : (float)((Math.Min(pixel + 1, (i + 1) * scale) - Math.Max(pixel, i * scale)) / scale);
            }

            return first;
        }

        private (int First, int Last) Of(int i) => ((int)(i * scale), Math.Min(from, (int)Math.Ceiling((i + 1) * scale - 1e-9)) - 1);
    }
}
