using System.Buffers;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Resizes as Pillow does (<c>Image.resize</c>, 8-bit), to the bit: two passes, the horizontal first, fixed-point coefficients of 22 fractional
/// bits, an 8-bit rounded intermediate, and a support that grows with the shrink factor (antialias).
/// </summary>
internal static class PillowResize
{
    private const int FractionBits = 32 - 8 - 2;

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
    public static void Resize(ReadOnlySpan<byte> from, int width, int height, Span<byte> to, int toWidth, int toHeight, Filter filter)
    {
        if (width == toWidth && height == toHeight)
        {
            from[..(width * height * 3)].CopyTo(to);
            return;
        }

        if (width == toWidth)
        {
            Vertical(from, width, to, new Taps(height, toHeight, filter));
            return;
        }

        var horizontal = new Taps(width, toWidth, filter);
        if (height == toHeight)
        {
            Horizontal(from, width, height, to, horizontal);
            return;
        }

        var between = ArrayPool<byte>.Shared.Rent(toWidth * height * 3);
        Horizontal(from, width, height, between, horizontal);
        Vertical(between, toWidth, to, new Taps(height, toHeight, filter));
        ArrayPool<byte>.Shared.Return(between);
    }

    private static void Horizontal(ReadOnlySpan<byte> from, int width, int height, Span<byte> to, Taps taps)
    {
        for (var y = 0; y < height; y++)
        {
            var row = from.Slice(y * width * 3, width * 3);
            var target = to.Slice(y * taps.Length * 3, taps.Length * 3);
            for (var x = 0; x < taps.Length; x++)
            {
                var source = row[(taps.Start[x] * 3)..];
                int r = 1 << (FractionBits - 1), g = r, b = r;
                foreach (var weight in taps.Of(x))
                {
                    r += source[0] * weight;
                    g += source[1] * weight;
                    b += source[2] * weight;
                    source = source[3..];
                }

                target[x * 3] = Clip(r);
                target[x * 3 + 1] = Clip(g);
                target[x * 3 + 2] = Clip(b);
            }
        }
    }

    private static void Vertical(ReadOnlySpan<byte> from, int width, Span<byte> to, Taps taps)
    {
        var stride = width * 3;
        var sums = ArrayPool<int>.Shared.Rent(stride);
        for (var y = 0; y < taps.Length; y++)
        {
            var sum = sums.AsSpan(0, stride);
            sum.Fill(1 << (FractionBits - 1));
            var start = taps.Start[y];
            foreach (var weight in taps.Of(y))
            {
                var row = from.Slice(start++ * stride, stride);
                for (var i = 0; i < sum.Length; i++)
                {
                    sum[i] += row[i] * weight;
                }
            }

            var target = to.Slice(y * stride, stride);
            for (var i = 0; i < sum.Length; i++)
            {
                target[i] = Clip(sum[i]);
            }
        }

        ArrayPool<int>.Shared.Return(sums);
    }

    private static byte Clip(int value) => (byte)Math.Clamp(value >> FractionBits, 0, 255);

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
            most = (int)Math.Ceiling(support) * 2 + 1;
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
                    var weight = total == 0 ? exact[k] : exact[k] / total;
                    weights[i * most + k] = (int)(weight * (1 << FractionBits) + (weight < 0 ? -0.5 : 0.5));
                }
            }
        }

        public int Length { get; }

        public int[] Start { get; }

        public ReadOnlySpan<int> Of(int i) => weights.AsSpan(i * most, counts[i]);
    }
}
