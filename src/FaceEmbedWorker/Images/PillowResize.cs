using System.Buffers;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Resizes as Pillow does (<c>Image.resize</c>, 8-bit), to the bit: two passes, the horizontal first, fixed-point coefficients of 22
/// fractional bits, an 8-bit rounded intermediate, and a support that grows with the shrink factor (antialias).
/// </summary>
internal static class PillowResize
{
    private const int FractionBits = 32 - 8 - 2;

    /// <summary>Bytes between the two passes.</summary>
    private const int BetweenBytes = 1024 * 1024;

    /// <summary>A resampling kernel: its half-width in pixels, and its weight at a distance.</summary>
    public sealed record Filter(string Name, double Support, Func<double, double> Weight)
    {
        /// <summary>Pillow's BICUBIC, a = -0.5.</summary>
        public static readonly Filter Bicubic = new("pillow-bicubic", 2, static x =>
        {
            const double a = -0.5;
            x = Math.Abs(x);
            return x < 1 ? (((a + 2) * x) - (a + 3)) * x * x + 1
                : x < 2 ? (((x - 5) * x + 8) * x - 4) * a
                : 0;
        });

        /// <summary>Pillow's BILINEAR.</summary>
        public static readonly Filter Bilinear = new("pillow-bilinear", 1, static x => Math.Max(0, 1 - Math.Abs(x)));

        /// <exception cref="ArgumentException">No filter of that name.</exception>
        public static Filter Named(string name) => name == Bicubic.Name ? Bicubic : name == Bilinear.Name ? Bilinear
            : throw new ArgumentException($"'{name}' is no resize filter; there are {Bicubic.Name} and {Bilinear.Name}.");
    }

    /// <summary>Resizes uint8 [height, width, 3] to uint8 [toHeight, toWidth, 3].</summary>
    /// <exception cref="ArgumentException">A size is not positive, or a span has not the bytes of its size.</exception>
    public static void Resize(ReadOnlySpan<byte> from, int width, int height, Span<byte> to, int toWidth, int toHeight, Filter filter)
    {
        from = from[..Picture.Bytes(width, height)];
        to = to[..Picture.Bytes(toWidth, toHeight)];
        if (width == toWidth && height == toHeight)
        {
            from.CopyTo(to);
            return;
        }

        if (width == toWidth)
        {
            Vertical(from, width, 0, to, new Taps(height, toHeight, filter), 0, toHeight);
            return;
        }

        var horizontal = new Taps(width, toWidth, filter);
        if (height == toHeight)
        {
            Horizontal(from, width, height, to, horizontal);
            return;
        }

        // both passes for as many rows at a time as fit into a small buffer between them, however high the picture is
        var vertical = new Taps(height, toHeight, filter);
        for (int row = 0, next; row < toHeight; row = next)
        {
            var first = vertical.Start[row];
            for (next = row + 1; next < toHeight && (vertical.End(next) - first) * (long)toWidth * 3 <= BetweenBytes;)
            {
                next++;
            }

            var rows = vertical.End(next - 1) - first;
            var between = ArrayPool<byte>.Shared.Rent(Picture.Bytes(toWidth, rows));
            Horizontal(from.Slice(first * width * 3), width, rows, between, horizontal);
            Vertical(between, toWidth, first, to, vertical, row, next);
            ArrayPool<byte>.Shared.Return(between);
        }
    }

    /// <summary>Two pixels of a row at once: red, green, blue and an unused lane of each, in one vector of eight.</summary>
    private static void Horizontal(ReadOnlySpan<byte> from, int width, int height, Span<byte> to, Taps taps)
    {
        for (var y = 0; y < height; y++)
        {
            // two pixels are six of eight bytes that are read: the next row gives the last two, and behind the last row they are read
            // otherwise
            var row = from[(y * width * 3)..];
            var written = to.Slice(y * taps.Length * 3, taps.Length * 3);
            for (var x = 0; x < taps.Length; x++)
            {
                var sum = Vector256<int>.Zero;
                var at = taps.Start[x] * 3;
                foreach (var weights in taps.Pairs(x))
                {
                    var bytes = at + 8 <= row.Length ? MemoryMarshal.Read<ulong>(row[at..]) : LastBytes(row[at..]);
                    var spread = Vector128.Shuffle(Vector128.CreateScalar(bytes).AsByte(), Vector128.Create((byte)0, 1, 2, 6, 3, 4, 5, 6, 8, 8, 8, 8, 8, 8, 8, 8));
                    var pixels = Vector256.WidenLower(Vector128.WidenLower(spread).ToVector256Unsafe()).AsInt32();
                    sum += pixels * Vector256.Shuffle(Vector256.CreateScalarUnsafe(weights).AsInt32(), Vector256.Create(0, 0, 0, 0, 1, 1, 1, 1));
                    at += 6;
                }

                var rounded = (sum.GetLower() + sum.GetUpper() + Vector128.Create(1 << (FractionBits - 1))) >> FractionBits;
                var pixel = Vector128.Min(Vector128.Max(rounded, Vector128<int>.Zero), Vector128.Create(255));
                written[x * 3 + 2] = (byte)pixel[2];
                written[x * 3 + 1] = (byte)pixel[1];
                written[x * 3] = (byte)pixel[0];
            }
        }

        static ulong LastBytes(ReadOnlySpan<byte> rest)
        {
            ulong bytes = 0;
            for (var i = 0; i < Math.Min(6, rest.Length); i++)
            {
                bytes |= (ulong)rest[i] << 8 * i;
            }

            return bytes;
        }
    }

    /// <param name="from">Rows from <paramref name="firstRow"/> on.</param>
    /// <param name="to">All rows, of which those from <paramref name="row"/> to before <paramref name="end"/> are written.</param>
    private static void Vertical(ReadOnlySpan<byte> from, int width, int firstRow, Span<byte> to, Taps taps, int row, int end)
    {
        var stride = width * 3;
        for (var y = row; y < end; y++)
        {
            var weights = taps.Of(y);
            var rows = from[((taps.Start[y] - firstRow) * stride)..];
            var target = to.Slice(y * stride, stride);
            var x = 0;
            for (; x + Vector128<byte>.Count <= stride; x += Vector128<byte>.Count)
            {
                var (low, high) = (Vector256.Create(1 << (FractionBits - 1)), Vector256.Create(1 << (FractionBits - 1)));
                for (var k = 0; k < weights.Length; k++)
                {
                    var (first, second) = Vector256.Widen(Vector256.WidenLower(Vector128.Create(rows.Slice(k * stride + x, Vector128<byte>.Count)).ToVector256()));
                    var weight = Vector256.Create(weights[k]);
                    low += first.AsInt32() * weight;
                    high += second.AsInt32() * weight;
                }

                var words = Vector256.Narrow(Clip(low), Clip(high));
                Vector128.Narrow(words.GetLower().AsUInt16(), words.GetUpper().AsUInt16()).CopyTo(target[x..]);
            }

            for (; x < stride; x++)
            {
                var sum = 1 << (FractionBits - 1);
                for (var k = 0; k < weights.Length; k++)
                {
                    sum += rows[k * stride + x] * weights[k];
                }

                target[x] = (byte)Math.Clamp(sum >> FractionBits, 0, 255);
            }
        }
    }

    private static Vector256<int> Clip(Vector256<int> sum) => Vector256.Min(Vector256.Max(sum >> FractionBits, Vector256<int>.Zero), Vector256.Create(255));

    /// <summary>For each output pixel along one axis, the first input pixel and the weights from there on.</summary>
    private sealed class Taps
    {
        private readonly int[] weights;
        private readonly int[] counts;
        private readonly int most;

        public Taps(int from, int to, Filter filter)
        {
            var scale = (double)from / to;
            var stretch = Math.Max(1, scale);
            var support = filter.Support * stretch;
            most = ((int)Math.Ceiling(support) * 2 + 2) / 2 * 2; // even: they are also read in pairs
            Length = to;
            Start = new int[to];
            counts = new int[to];
            weights = new int[to * most];
            var exact = new double[most];
            for (var i = 0; i < to; i++)
            {
                var centre = (i + 0.5) * scale;
                var first = Math.Max(0, (int)(centre - support + 0.5));
                var count = Math.Min(from, (int)(centre + support + 0.5)) - first;
                var total = 0.0;
                for (var k = 0; k < count; k++)
                {
                    exact[k] = filter.Weight((k + first - centre + 0.5) * (1 / stretch));
                    total += exact[k];
                }

                Start[i] = first;
                counts[i] = count;
                for (var k = 0; k < count; k++)
                {
                    var weight = exact[k] / total;
                    weights[i * most + k] = (int)(weight * (1 << FractionBits) + (weight < 0 ? -0.5 : 0.5));
                }
            }
        }

        public int Length { get; }

        public int[] Start { get; }

        public ReadOnlySpan<int> Of(int i) => weights.AsSpan(i * most, counts[i]);

        /// <summary>The input pixel behind the last that output pixel <paramref name="i"/> sees.</summary>
        public int End(int i) => Start[i] + counts[i];

        /// <summary>The weights two by two, the last with 0 where their number is odd.</summary>
        public ReadOnlySpan<long> Pairs(int i) => MemoryMarshal.Cast<int, long>(weights.AsSpan(i * most, (counts[i] + 1) / 2 * 2));
    }
}
