using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Everything that walks over pixels, in shapes that nobody has, against slow and obvious references.</summary>
public class BoundsTests
{
    private static readonly int[] Sides = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 64, 65, 111, 112, 113, 300, 2049];

    [Fact]
    public void A_resize_equals_a_slow_reference_in_any_shape()
    {
        for (var seed = 0; seed < 400; seed++)
        {
            var random = new Random(seed);
            var (width, height, toWidth, toHeight) = seed switch
            {
                0 => (1, 60_000, 1, 7),
                1 => (60_000, 1, 7, 1),
                2 => (3, 40_000, 160, 160), // more than the buffer between the passes
                3 => (1, 1, 300, 200),
                _ => (Side(random), Side(random), Side(random), Side(random)),
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

    /// <summary>Landmarks may be anywhere, and nowhere: no memory beyond the picture's, no exception, black outside.</summary>
    [Fact]
    public void A_warp_of_any_similarity_reads_inside_the_picture_only()
    {
        double[] scales = [1e-9, 0.001, 0.015, 0.1, 0.3, 0.49, 0.5, 0.51, 1, 3, 1000, 1e9, double.NaN, double.PositiveInfinity];
        for (var seed = 0; seed < 3000; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, Sides[random.Next(Sides.Length)], Sides[random.Next(Sides.Length - 1)]);
            using var target = new Picture(1 + random.Next(40), 1 + random.Next(40));
            var (scale, angle) = (scales[random.Next(scales.Length)], random.NextDouble() * 7);
            var shift = Math.Pow(10, random.Next(12));
            FaceAligner.Warp(picture, new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), (random.NextDouble() - 0.5) * shift, (random.NextDouble() - 0.5) * shift), target);
        }
    }

    /// <summary>Four pixels at a time, at borders and in targets of any width: to the bit what a pixel at a time gives.</summary>
    [Fact]
    public void A_warp_equals_a_slow_reference_in_any_shape()
    {
        for (var seed = 0; seed < 1500; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 1 + random.Next(60), 1 + random.Next(60));
            using var target = new Picture(1 + random.Next(40), 1 + random.Next(20));
            var (scale, angle) = (Math.Exp(random.NextDouble() * 4 - 0.69), random.NextDouble() * 7); // shrinks by less than two
            var similarity = new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), random.Next(-40, 60), random.Next(-40, 60) + random.NextDouble());
            FaceAligner.Warp(picture, similarity, target);

            var back = similarity.Inverse();
            for (var v = 0; v < target.Height; v++)
            {
                for (var u = 0; u < target.Width; u++)
                {
                    var at = back.Apply(new Point(u, v));
                    var (x, y) = ((int)Math.Floor(at.X), (int)Math.Floor(at.Y));
                    var (across, down) = ((float)(at.X - x), (float)(at.Y - y));
                    for (var colour = 0; colour < 3; colour++)
                    {
                        var left = Value(x, y, colour) + (Value(x, y + 1, colour) - Value(x, y, colour)) * down;
                        var right = Value(x + 1, y, colour) + (Value(x + 1, y + 1, colour) - Value(x + 1, y, colour)) * down;
                        var expected = (byte)(left + (right - left) * across + 0.5f);
                        Assert.True(expected == target.Row(v)[u * 3 + colour], $"seed {seed} at {u}, {v}, colour {colour}: {expected} and {target.Row(v)[u * 3 + colour]}");
                    }
                }
            }

            float Value(int x, int y, int colour) => x >= 0 && y >= 0 && x < picture.Width && y < picture.Height ? picture.Row(y)[x * 3 + colour] : 0;
        }
    }

    [Theory]
    [InlineData("RGB")]
    [InlineData("BGR")]
    public void An_input_is_the_area_average_in_any_shape(string colours)
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 1 + random.Next(90), 1 + random.Next(90));
            var (width, height) = (1 + random.Next(picture.Width), 1 + random.Next(picture.Height));
            var input = new ModelInput { Layout = "NCHW", Color = colours, Mean = [10, 20, 30], Std = [2, 3, 4], Width = width + random.Next(9), Height = height + random.Next(9) };
            var values = new float[3 * input.Width * input.Height];
            values.AsSpan().Fill(float.NaN);
            InputPicture.WriteShrunk(picture, width, height, input, values);
            for (var channel = 0; channel < 3; channel++)
            {
                for (var y = 0; y < input.Height; y++)
                {
                    for (var x = 0; x < input.Width; x++)
                    {
                        var colour = x < width && y < height ? Average(picture, x, y, (double)picture.Width / width, (double)picture.Height / height, colours == "RGB" ? channel : 2 - channel) : 0;
                        var value = values[(channel * input.Height + y) * input.Width + x];
                        Assert.True(Math.Abs((colour - input.Mean[channel]) / input.Std[channel] - value) < 1e-3, $"seed {seed}, channel {channel} at {x}, {y}: {value}");
                    }
                }
            }
        }

        static double Average(Picture picture, int x, int y, double across, double down, int colour)
        {
            var sum = 0.0;
            for (var v = (int)(y * down); v < Math.Min(picture.Height, (y + 1) * down); v++)
            {
                for (var u = (int)(x * across); u < Math.Min(picture.Width, (x + 1) * across); u++)
                {
                    sum += picture.Row(v)[u * 3 + colour] * (Math.Min(u + 1, (x + 1) * across) - Math.Max(u, x * across)) * (Math.Min(v + 1, (y + 1) * down) - Math.Max(v, y * down));
                }
            }

            return sum / (across * down);
        }
    }

    [Fact]
    public void A_shrinking_warp_leaves_out_only_what_is_black()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 40 + random.Next(200), 40 + random.Next(200));
            using var target = new Picture(24, 18);
            var (scale, angle) = (1 / (2 + 6 * random.NextDouble()), random.NextDouble() * 7);
            var similarity = new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), random.Next(-40, 40), random.Next(-40, 40));
            FaceAligner.Warp(picture, similarity, target);

            // the same in the middle of a black canvas, where nothing is near a border
            using var canvas = new Picture(picture.Width + 1600, picture.Height + 1600);
            canvas.Pixels.Clear();
            for (var y = 0; y < picture.Height; y++)
            {
                picture.Row(y).CopyTo(canvas.Row(y + 800)[(800 * 3)..]);
            }

            using var expected = new Picture(target.Width, target.Height);
            var (x, y2) = (similarity.A * 800 - similarity.B * 800, similarity.B * 800 + similarity.A * 800);
            FaceAligner.Warp(canvas, similarity with { X = similarity.X - x, Y = similarity.Y - y2 }, expected);
            for (var i = 0; i < target.Pixels.Length; i++)
            {
                Assert.True(Math.Abs(expected.Pixels[i] - target.Pixels[i]) <= 1, $"seed {seed}, value {i}: {expected.Pixels[i]} and {target.Pixels[i]}");
            }
        }
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
        for (var seed = 0; seed < 2000; seed++)
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

    private static int Side(Random random) => random.Next(3) == 0 ? Sides[random.Next(Sides.Length)] : 1 + random.Next(200);

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
