using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Everything that walks over pixels, in shapes that nobody has, against slow and obvious references.</summary>
public class BoundsTests
{
    private static readonly int[] Sides = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 64, 65, 111, 112, 113, 300, 2049];

    /// <summary>Small ones first: what is wrong is seen at once.</summary>
    [Fact]
    public void A_resize_equals_a_slow_reference_in_any_shape()
    {
        var cases = TestData.Cases(400);
        for (var seed = 0; seed < cases + 7; seed++)
        {
            var random = new Random(seed);
            var most = Math.Min(8 + seed, 200);
            var (width, height, toWidth, toHeight) = (seed - cases) switch
            {
                0 => (1, 60_000, 1, 7),
                1 => (60_000, 1, 7, 1),
                2 => (3, 300, 2000, 4), // more than the buffer between the passes
                3 => (1, 1, 300, 200),
                4 => (9, 7, 9, 7),
                5 => (9, 7, 9, 3),
                6 => (9, 7, 4, 7),
                _ => (Side(random, most), Side(random, most), Side(random, most), Side(random, most)),
            };
            if ((long)width * height > 300_000 || (long)toWidth * toHeight > 100_000)
            {
                continue;
            }

            using var picture = Noise(random, width, height);
            var filter = random.Next(2) == 0 ? PillowResize.Filter.Bicubic : PillowResize.Filter.Bilinear;
            using var resized = Pixels.Resized(picture, toWidth, toHeight, filter.Name);
            Assert.True(Slow(picture, toWidth, toHeight, filter).AsSpan().SequenceEqual(resized.Pixels), $"seed {seed}: {width} x {height} to {toWidth} x {toHeight}, {filter.Name}");
        }
    }

    /// <summary>Keys' cubic of a = -0.5 (1981), and the triangle.</summary>
    [Theory]
    [InlineData("pillow-bicubic", new[] { 1, 0.8671875, 0.5625, 0.2265625, 0, -0.0703125, -0.0625, -0.0234375, 0, 0 })]
    [InlineData("pillow-bilinear", new[] { 1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0, 0 })]
    public void A_filter_weighs_by_distance(string name, double[] weights)
    {
        var filter = PillowResize.Filter.Named(name);
        Assert.Equal((name, name == "pillow-bicubic" ? 2 : 1), (filter.Name, filter.Support));
        Assert.Equal(weights, Enumerable.Range(0, weights.Length).Select(i => filter.Weight(i / 4.0)));
        Assert.Equal(weights, Enumerable.Range(0, weights.Length).Select(i => filter.Weight(i / -4.0)));
    }

    [Fact]
    public void An_unknown_filter_is_named() =>
        Assert.Equal("'lanczos' is no resize filter; there are pillow-bicubic and pillow-bilinear.", Assert.Throws<ArgumentException>(() => PillowResize.Filter.Named("lanczos")).Message);

    [Fact]
    public void Sizes_that_overflow_or_do_not_fit_are_refused_at_the_door()
    {
        var filter = PillowResize.Filter.Bilinear;
        Assert.ThrowsAny<ArgumentException>(() => PillowResize.Resize(new byte[11], 2, 2, new byte[3], 1, 1, filter));
        Assert.ThrowsAny<ArgumentException>(() => PillowResize.Resize(new byte[12], 2, 2, new byte[2], 1, 1, filter));
        Assert.ThrowsAny<ArgumentException>(() => PillowResize.Resize(new byte[12], 4_473_925, 320, new byte[3], 1, 1, filter));
        Assert.ThrowsAny<ArgumentException>(() => PillowResize.Resize(new byte[12], 2, 2, new byte[12], 65_536, 65_536, filter));
        foreach (var (width, height) in new[] { (0, 1), (1, 0), (-1, 1), (int.MaxValue, 1), (26_755, 26_755), (1, 715_827_883) })
        {
            Assert.ThrowsAny<ArgumentException>(() => new Picture(width, height));
        }

        new Picture(26_754, 100).Dispose();
    }

    [Fact]
    public void Rows_go_where_the_orientation_puts_them()
    {
        using var stored = Noise(new Random(1), 7, 5);
        for (var orientation = 1; orientation <= 8; orientation++)
        {
            using var upright = orientation < 5 ? new Picture(7, 5) : new Picture(5, 7);
            for (var row = 0; row < 5; row += 2)
            {
                Pixels.Place(stored.Pixels[(row * 21)..Math.Min(105, row * 21 + 42)], row, 7, 5, orientation, upright);
            }

            for (var y = 0; y < upright.Height; y++)
            {
                for (var x = 0; x < upright.Width; x++)
                {
                    // EXIF 2.32: what the 0th row and the 0th column of the stored picture are in the upright one
                    var (row, column) = orientation switch { 1 => (y, x), 2 => (y, 6 - x), 3 => (4 - y, 6 - x), 4 => (4 - y, x), 5 => (x, y), 6 => (4 - x, y), 7 => (4 - x, 6 - y), _ => (x, 6 - y) };
                    Assert.True(stored.Row(row).Slice(column * 3, 3).SequenceEqual(upright.Row(y).Slice(x * 3, 3)), $"orientation {orientation} at {x}, {y}");
                }
            }
        }
    }

    [Fact]
    public void Crops_and_drawings_may_lie_anywhere()
    {
        int[] places = [int.MinValue / 2, -1000, -1, 0, 1, 30, 31, 32, 1000, int.MaxValue / 2];
        for (var seed = 0; seed < TestData.Cases(2000); seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 32, 20);
            var (x, y) = (places[random.Next(places.Length)], places[random.Next(places.Length)]);
            Drawing.Box(picture, x, y, places[random.Next(places.Length)], places[random.Next(places.Length)]);
            Drawing.Dot(picture, x, y);
            Drawing.Number(picture, x, y, "0.91");
            using var crop = Pixels.Cropped(picture, x, y, 1 + random.Next(70), 1 + random.Next(70));
            for (var v = 0; v < crop.Height; v++)
            {
                for (var u = 0; u < crop.Width; u++)
                {
                    var (column, row) = ((long)x + u, (long)y + v);
                    var inside = column is >= 0 and < 32 && row is >= 0 and < 20;
                    Assert.Equal(inside ? picture.Row((int)row)[(int)column * 3] : 0, crop.Row(v)[u * 3]);
                }
            }
        }
    }

    private static int Side(Random random, int most) => random.Next(3) == 0 && most > 100 ? Sides[random.Next(Sides.Length)] : 1 + random.Next(most);

    private static Picture Noise(Random random, int width, int height)
    {
        var picture = new Picture(width, height);
        random.NextBytes(picture.Pixels);
        return picture;
    }

    /// <summary>Pillow's algorithm as its documentation and source tell it, a pixel at a time.</summary>
    private static byte[] Slow(Picture picture, int toWidth, int toHeight, PillowResize.Filter filter)
    {
        var (columns, rows) = (Weights(picture.Width, toWidth, filter), Weights(picture.Height, toHeight, filter));
        byte Pixel(ReadOnlySpan<byte> values, (int First, int[] Weights) tap, int step, int at)
        {
            long sum = 1 << 21;
            for (var k = 0; k < tap.Weights.Length; k++)
            {
                sum += (long)values[at + (tap.First + k) * step] * tap.Weights[k];
            }

            return (byte)Math.Clamp(sum >> 22, 0, 255);
        }

        var between = new byte[picture.Height * toWidth * 3];
        for (var i = 0; i < between.Length; i++)
        {
            between[i] = columns is null ? picture.Pixels[i] : Pixel(picture.Row(i / (toWidth * 3)), columns[i / 3 % toWidth], 3, i % 3);
        }

        var result = new byte[toHeight * toWidth * 3];
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = rows is null ? between[i] : Pixel(between, rows[i / (toWidth * 3)], toWidth * 3, i % (toWidth * 3));
        }

        return result;
    }

    private static (int First, int[] Weights)[]? Weights(int from, int to, PillowResize.Filter filter)
    {
        if (from == to)
        {
            return null;
        }

        var scale = (double)from / to;
        var stretch = Math.Max(1, scale);
        return [.. Enumerable.Range(0, to).Select(i =>
        {
            var centre = (i + 0.5) * scale;
            var first = Math.Max(0, (int)(centre - filter.Support * stretch + 0.5));
            var exact = Enumerable.Range(first, Math.Min(from, (int)(centre + filter.Support * stretch + 0.5)) - first).Select(p => filter.Weight((p - centre + 0.5) * (1 / stretch))).ToArray();
            var total = exact.Sum();
            return (first, exact.Select(w => (total == 0 ? w : w / total) is var share && share < 0 ? (int)(share * (1 << 22) - 0.5) : (int)((total == 0 ? w : w / total) * (1 << 22) + 0.5)).ToArray());
        })];
    }
}
