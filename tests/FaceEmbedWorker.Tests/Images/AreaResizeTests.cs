using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class AreaResizeTests
{
    [Theory]
    [InlineData(97, 61, 97, 61)]
    [InlineData(97, 61, 40, 61)]
    [InlineData(97, 61, 97, 30)]
    [InlineData(97, 61, 41, 23)]
    [InlineData(200, 150, 100, 75)]
    [InlineData(500, 7, 3, 1)]
    [InlineData(1, 900, 1, 32)]
    public void Each_pixel_is_the_mean_of_what_it_covers_as_a_slow_reference_says(int width, int height, int toWidth, int toHeight)
    {
        var random = new Random(8);
        using var picture = new Picture(width, height);
        random.NextBytes(picture.Pixels);
        using var small = new Picture(toWidth, toHeight);

        AreaResize.Shrink(picture, small);

        for (var y = 0; y < toHeight; y++)
        {
            for (var x = 0; x < toWidth; x++)
            {
                for (var channel = 0; channel < 3; channel++)
                {
                    Assert.Equal(Mean(picture, x, y, toWidth, toHeight, channel), small.Row(y)[x * 3 + channel], 0.51);
                }
            }
        }
    }

    /// <summary>As many shapes as there are sizes of what it borrows: it borrows enough, and leaves nothing of another's in a picture.</summary>
    [Fact]
    public void A_picture_of_any_shape_is_averaged()
    {
        for (var seed = 0; seed < TestData.Cases(1500); seed++)
        {
            var random = new Random(seed);
            var (width, height) = (1 + random.Next(10 + seed % 150), 1 + random.Next(12));
            var (toWidth, toHeight) = (1 + random.Next(width), 1 + random.Next(height));
            using var picture = new Picture(width, height);
            random.NextBytes(picture.Pixels);
            using var small = new Picture(toWidth, toHeight);
            AreaResize.Shrink(picture, small);
            foreach (var (x, y) in new[] { (0, 0), (toWidth - 1, toHeight - 1), (random.Next(toWidth), random.Next(toHeight)) })
            {
                for (var channel = 0; channel < 3; channel++)
                {
                    var mean = Mean(picture, x, y, toWidth, toHeight, channel);
                    Assert.True(Math.Abs(mean - small.Row(y)[x * 3 + channel]) < 0.51, $"seed {seed}: {width} x {height} to {toWidth} x {toHeight}, {mean} at {x}, {y}");
                }
            }
        }
    }

    /// <summary>With vectors of 512 bits, which most processors of servers have and many others lack, and without.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Rows_by_colours_are_the_same_with_wide_vectors_and_without(bool wide)
    {
        // as many as vectors hold, one more, and shrunk by so much that two vectors are just enough for sixteen pixels, or not
        (int From, int To)[] widths = [(16, 16), (17, 16), (32, 16), (33, 16), (34, 17), (40, 16), (48, 16), (48, 32), (64, 32), (65, 32), (66, 33), (96, 32), (100, 40), (160, 33), (300, 256), (600, 300)];
        for (var seed = 0; seed < widths.Length + TestData.Cases(400); seed++)
        {
            var random = new Random(seed);
            var (width, height) = (1 + random.Next(seed % 2 == 0 ? 160 : 40), 1 + random.Next(6));
            var (toWidth, toHeight) = (seed % 3 == 0 ? 1 + random.Next(width) : width - random.Next(1 + width / 2), 1 + random.Next(height));
            (width, toWidth) = seed < widths.Length ? widths[seed] : (width, toWidth);
            using var picture = new Picture(width, height);
            random.NextBytes(picture.Pixels);
            using var resize = new AreaResize(picture, toWidth, toHeight, wide);
            var colours = new float[3][];
            for (var y = 0; y < toHeight; y++)
            {
                (colours[0], colours[1], colours[2]) = (new float[toWidth], new float[toWidth], new float[toWidth]);
                resize.Row(y, colours[0], colours[1], colours[2]);
                for (var i = 0; i < 3 * toWidth; i++)
                {
                    var mean = Mean(picture, i / 3, y, toWidth, toHeight, i % 3);
                    Assert.True(Math.Abs(mean - colours[i % 3][i / 3]) < 0.001, $"seed {seed}: {width} x {height} to {toWidth} x {toHeight}, {mean} at {i / 3}, {y} of colour {i % 3}: {colours[i % 3][i / 3]}");
                }
            }
        }
    }

    [Theory]
    [InlineData(10, 11)]
    [InlineData(11, 10)]
    [InlineData(11, 9)]
    public void No_side_grows(int width, int height)
    {
        using var picture = new Picture(10, 10);
        using var large = new Picture(width, height);
        Assert.Throws<ArgumentOutOfRangeException>(() => AreaResize.Shrink(picture, large));
    }

    private static double Mean(Picture picture, int x, int y, int toWidth, int toHeight, int channel)
    {
        double sum = 0, area = 0;
        for (var v = 0; v < picture.Height; v++)
        {
            var down = Shared(v, y, (double)picture.Height / toHeight);
            for (var u = 0; down > 0 && u < picture.Width; u++)
            {
                var shared = Shared(u, x, (double)picture.Width / toWidth) * down;
                sum += shared * picture.Row(v)[u * 3 + channel];
                area += shared;
            }
        }

        return sum / area;

        static double Shared(int pixel, int to, double scale) => Math.Max(0, Math.Min(pixel + 1, (to + 1) * scale) - Math.Max(pixel, to * scale));
    }
}
