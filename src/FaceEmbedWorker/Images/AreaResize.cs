using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

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

    /// <summary>Pixels that are averaged at a time.</summary>
    private const int Block = 16;

    /// <summary>As far as one reads, or writes, over the end of a row.</summary>
    private const int Over = 3 * Block;

    private readonly Picture from;
    private readonly bool wide;
    private readonly Spans rows;
    private readonly int taps;
    private readonly int[] starts;
    private readonly float[] rented;
    private readonly Span<float> rowWeights;
    private readonly Span<float> weights;
    private readonly Span<float> sums;
    private readonly Span<float> result;
    private readonly Span<float> planes;
    private readonly Span<float> blocks;

    /// <param name="from">The picture.</param>
    /// <param name="width">Pixels of the result.</param>
    /// <param name="height">Pixels of the result.</param>
    /// <param name="wide">Whether to go by vectors of 512 bits: the same values on any processor, and faster where it has them (default).</param>
    /// <exception cref="ArgumentOutOfRangeException">A side would grow.</exception>
    public AreaResize(Picture from, int width, int height, bool? wide = null)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, from.Width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(height, from.Height);
        this.from = from;
        this.wide = wide ?? Avx512F.IsSupported;
        rows = new Spans(from.Height, height);
        var columns = new Spans(from.Width, width);
        taps = columns.Most;
        starts = ArrayPool<int>.Shared.Rent(width);
        rented = ArrayPool<float>.Shared.Rent(rows.Most + width * taps + from.Width * 3 + Over + width * 4 + 3 * (from.Width + Over) + (width + Block) * taps);
        var rest = rented.AsSpan();
        rowWeights = Take(ref rest, rows.Most);
        weights = Take(ref rest, width * taps);
        sums = Take(ref rest, from.Width * 3 + Over);
        result = Take(ref rest, width * 4);
        planes = Take(ref rest, 3 * (from.Width + Over));
        sums[from.Width * 3] = 0; // the last pixel, too, is read as four values
        for (var x = 0; x < width; x++)
        {
            starts[x] = columns.Weigh(x, weights.Slice(x * taps, taps));
        }

        if (InBlocks(width))
        {
            blocks = Take(ref rest, (width + Block - 1) / Block * Block * taps);
            for (var i = 0; i < blocks.Length; i++)
            {
                var (tap, x) = (i / Block % taps, FirstOf(i / (Block * taps), width) + i % Block);
                blocks[i] = weights[x * taps + tap];
            }
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
        AddRows(y);
        AverageColumns(sums, Starts, weights, taps, result);
        return result;
    }

    /// <summary>A row of the result by colours: float32 [width] each, 0 to 255.</summary>
    public readonly void Row(int y, Span<float> red, Span<float> green, Span<float> blue)
    {
        if (blocks.IsEmpty)
        {
            Deal(Row(y), red, green, blue);
            return;
        }

        AddRows(y);
        var plane = planes.Length / 3;
        Deal(sums, planes[..plane], planes[plane..(2 * plane)], planes[(2 * plane)..], from.Width);
        AverageBlocks(planes, Starts, blocks, taps, red, green, blue);
    }

    public readonly void Dispose()
    {
        ArrayPool<float>.Shared.Return(rented);
        ArrayPool<int>.Shared.Return(starts);
    }

    private readonly ReadOnlySpan<int> Starts => starts.AsSpan(0, result.Length / 4);

    /// <summary>The first pixel of a block: the last block ends with the row, and overlaps with the one before.</summary>
    private static int FirstOf(int block, int width) => Math.Min(block * Block, width - Block);

    /// <summary>Whether each block's pixels cover no more than two vectors.</summary>
    private readonly bool InBlocks(int width)
    {
        var fit = wide && width >= Block;
        for (var x = 0; fit && x < width; x += Block)
        {
            var first = Math.Min(x, width - Block);
            fit = starts[first + Block - 1] - starts[first] + taps <= 2 * Block;
        }

        return fit;
    }

    private readonly void AddRows(int y)
    {
        var (first, length) = (rows.Weigh(y, rowWeights), from.Width * 3);
        AddRows(from.Pixels.Slice(first * length, rowWeights.Length * length), rowWeights, sums[..length], wide);
    }

    /// <summary>The weighted sum of whole rows: uint8 [n, length] to float32 [length].</summary>
    private static void AddRows(ReadOnlySpan<byte> rows, ReadOnlySpan<float> weights, Span<float> sums, bool wide)
    {
        var x = 0;
        if (wide && sums.Length >= Vector512<byte>.Count)
        {
            for (; x < sums.Length; x += Vector512<byte>.Count)
            {
                AddRows(rows, weights, sums, Math.Min(x, sums.Length - Vector512<byte>.Count));
            }
        }

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

    /// <summary>64 of the sums.</summary>
    private static void AddRows(ReadOnlySpan<byte> rows, ReadOnlySpan<float> weights, Span<float> sums, int at)
    {
        var (a, b, c, d) = (Vector512<float>.Zero, Vector512<float>.Zero, Vector512<float>.Zero, Vector512<float>.Zero);
        var from = at;
        foreach (var weight in weights)
        {
            ref var bytes = ref MemoryMarshal.GetReference(rows.Slice(from, Vector512<byte>.Count));
            var by = Vector512.Create(weight);
            a += Sixteen(ref bytes, 0) * by;
            b += Sixteen(ref bytes, 16) * by;
            c += Sixteen(ref bytes, 32) * by;
            d += Sixteen(ref bytes, 48) * by;
            from += sums.Length;
        }

        ref var target = ref MemoryMarshal.GetReference(sums.Slice(at, Vector512<byte>.Count));
        a.StoreUnsafe(ref target);
        b.StoreUnsafe(ref target, 16);
        c.StoreUnsafe(ref target, 32);
        d.StoreUnsafe(ref target, 48);

        static Vector512<float> Sixteen(ref byte bytes, nuint at)
        {
            var sixteen = Vector128.LoadUnsafe(ref bytes, at);
            return Vector512.ConvertToSingle(Avx512F.IsSupported
                ? Avx512F.ConvertToVector512Int32(sixteen)
                : Vector512.WidenLower(Vector512.WidenLower(sixteen.ToVector256().ToVector512())).AsInt32());
        }
    }

    /// <summary>The weighted sums of a row's pixels: float32 [from, 3] to float32 [to, 4].</summary>
    private static void AverageColumns(ReadOnlySpan<float> row, ReadOnlySpan<int> starts, ReadOnlySpan<float> weights, int taps, Span<float> result)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(3 * (starts[^1] + taps) + 1, row.Length); // the last pixel starts furthest right
        ArgumentOutOfRangeException.ThrowIfNotEqual(weights.Length, starts.Length * taps);
        ArgumentOutOfRangeException.ThrowIfNotEqual(result.Length, starts.Length * 4);
        ref var pixels = ref MemoryMarshal.GetReference(row);
        ref var weight = ref MemoryMarshal.GetReference(weights);
        ref var target = ref MemoryMarshal.GetReference(result);
        for (var x = 0; x < starts.Length; x++)
        {
            ref var pixel = ref Unsafe.Add(ref pixels, 3 * starts[x]);
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

    /// <summary>The same, sixteen pixels at a time, by colours: float32 [3, from] to float32 [to] each; weights [block, taps, 16].</summary>
    private static void AverageBlocks(ReadOnlySpan<float> planes, ReadOnlySpan<int> starts, ReadOnlySpan<float> weights, int taps, Span<float> red, Span<float> green, Span<float> blue)
    {
        var plane = planes.Length / 3;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(starts[^1] + 2 * Block, plane);
        ArgumentOutOfRangeException.ThrowIfNotEqual(weights.Length, (starts.Length + Block - 1) / Block * Block * taps);
        ref var reds = ref MemoryMarshal.GetReference(planes);
        ref var weight = ref MemoryMarshal.GetReference(weights);
        for (var block = 0; block * Block < starts.Length; block++)
        {
            var first = FirstOf(block, starts.Length);
            var start = starts[first];
            var at = (nuint)start;
            var pixel = Vector512.Create(starts.Slice(first, Block)) - Vector512.Create(start);
            var (lowRed, highRed) = Two(ref reds, at);
            var (lowGreen, highGreen) = Two(ref reds, at + (nuint)plane);
            var (lowBlue, highBlue) = Two(ref reds, at + (nuint)(2 * plane));
            var by = Vector512.LoadUnsafe(ref weight);
            var r = Pick(lowRed, pixel, highRed) * by;
            var g = Pick(lowGreen, pixel, highGreen) * by;
            var b = Pick(lowBlue, pixel, highBlue) * by;
            for (var tap = 1; tap < taps; tap++)
            {
                pixel += Vector512<int>.One;
                by = Vector512.LoadUnsafe(ref weight, (nuint)(tap * Block));
                r += Pick(lowRed, pixel, highRed) * by;
                g += Pick(lowGreen, pixel, highGreen) * by;
                b += Pick(lowBlue, pixel, highBlue) * by;
            }

            weight = ref Unsafe.Add(ref weight, taps * Block);
            r.CopyTo(red[first..]);
            g.CopyTo(green[first..]);
            b.CopyTo(blue[first..]);
        }

        static (Vector512<float> Low, Vector512<float> High) Two(ref float plane, nuint at) => (Vector512.LoadUnsafe(ref plane, at), Vector512.LoadUnsafe(ref plane, at + Block));
    }

    /// <summary>Values of two vectors, by places 0 to 31.</summary>
    private static Vector512<float> Pick(Vector512<float> low, Vector512<int> places, Vector512<float> high) => Avx512F.IsSupported
        ? Avx512F.PermuteVar16x32x2(low, places, high)
        : Vector512.Shuffle(low, places) + Vector512.Shuffle(high, places - Vector512.Create(Block)); // 0 beyond

    /// <summary>Splits pixels, float32 [width, 3], into their colours. Sixteen at a time: where the last lie, the spans are that much longer.</summary>
    private static void Deal(ReadOnlySpan<float> row, Span<float> red, Span<float> green, Span<float> blue, int width)
    {
        for (var x = 0; x < width; x += Block)
        {
            var (a, b, c) = (Vector512.Create(row.Slice(3 * x, Block)), Vector512.Create(row.Slice(3 * x + Block, Block)), Vector512.Create(row.Slice(3 * x + 2 * Block, Block)));
            Every(Vector512.Create(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0), Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29)).CopyTo(red[x..]);
            Every(Vector512.Create(1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0), Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30)).CopyTo(green[x..]);
            Every(Vector512.Create(2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0), Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31)).CopyTo(blue[x..]);

            Vector512<float> Every(Vector512<int> ofTwo, Vector512<int> withThird) => Pick(Pick(a, ofTwo, b), withThird, c);
        }
    }

    /// <summary>Splits pixels, float32 [width, 4], into their colours.</summary>
    private static void Deal(ReadOnlySpan<float> row, Span<float> red, Span<float> green, Span<float> blue)
    {
        var x = 0;
        for (; x <= red.Length - 2; x += 2)
        {
            var colours = Vector256.Shuffle(Vector256.Create(row.Slice(x * 4, 8)), Vector256.Create(0, 4, 1, 5, 2, 6, 3, 7)).AsInt64();
            MemoryMarshal.Write(MemoryMarshal.AsBytes(red[x..]), colours[0]);
            MemoryMarshal.Write(MemoryMarshal.AsBytes(green[x..]), colours[1]);
            MemoryMarshal.Write(MemoryMarshal.AsBytes(blue[x..]), colours[2]);
        }

        if (x < red.Length)
        {
            (red[x], green[x], blue[x]) = (row[4 * x], row[4 * x + 1], row[4 * x + 2]);
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
