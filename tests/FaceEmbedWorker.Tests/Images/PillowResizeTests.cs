using System.Security.Cryptography;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PillowResizeTests
{
    public static TheoryData<string> Cases => [.. TestData.Golden.GetProperty("resized").EnumerateObject().Select(p => p.Name)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Resizes_as_Pillow_to_the_bit(string name)
    {
        var parts = name.Split(' ');
        var size = parts[2].Split('x').Select(int.Parse).ToArray();
        using var picture = Pipeline.Decode(TestData.Read(parts[0]));

        using var resized = Pixels.Resized(picture, size[0], size[1], parts[1]);

        Assert.Equal(TestData.Golden.GetProperty("resized").GetProperty(name).GetString(), Convert.ToHexStringLower(SHA256.HashData(resized.Pixels)));
    }

    /// <summary>Pillow's arithmetic, one pixel after the other (Pillow 11, src/libImaging/Resample.c: what it computes), in any shape.</summary>
    [Fact]
    public void A_picture_of_any_shape_is_what_Pillow_computes()
    {
        for (var seed = 0; seed < 600; seed++)
        {
            var random = new Random(seed);
            int Side() => 1 + random.Next(seed % 5 == 0 ? 8 : 60);
            var (width, height, toWidth, toHeight) = (Side(), Side(), Side(), Side());
            toWidth = seed % 7 == 1 ? width : toWidth;
            toHeight = seed % 7 == 2 ? height : toHeight;
            AsPillowComputes(random, width, height, toWidth, toHeight, seed % 2 == 0 ? PillowResize.Filter.Bicubic : PillowResize.Filter.Bilinear, $"seed {seed}");
        }
    }

    /// <summary>The rows between the two passes fit in no one buffer: they come in parts.</summary>
    [Theory]
    [InlineData(40, 3000, 300, 2500)]
    [InlineData(300, 3000, 170, 2100)]
    [InlineData(30, 1200, 2000, 37)]
    [InlineData(9, 12, 40_000, 25)]
    public void A_high_picture_is_what_Pillow_computes(int width, int height, int toWidth, int toHeight) =>
        AsPillowComputes(new Random(7), width, height, toWidth, toHeight, PillowResize.Filter.Bicubic, "in parts");

    private static void AsPillowComputes(Random random, int width, int height, int toWidth, int toHeight, PillowResize.Filter filter, string what)
    {
        var from = new byte[width * height * 3];
        random.NextBytes(from);
        for (var i = 0; i < from.Length; i++)
        {
            from[i] = from[i] switch { < 60 => 0, > 190 => 255, var v => v }; // for what is beyond 0 and 255
        }

        var between = width == toWidth ? from : Pass(from, height, width, toWidth, width * 3, 3, filter);
        var expected = height == toHeight ? between : Pass(between, toWidth, height, toHeight, 3, toWidth * 3, filter);
        var resized = new byte[toWidth * toHeight * 3];
        PillowResize.Resize(from, width, height, resized, toWidth, toHeight, filter);
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.True(expected[i] == resized[i], $"{what}: {width} x {height} to {toWidth} x {toHeight}, {filter.Name}: {expected[i]} at {i}, not {resized[i]}");
        }
    }

    /// <summary>One pass over lines of pixels, each so many bytes after the one before, as the pixels in it are.</summary>
    private static byte[] Pass(byte[] from, int lines, int length, int toLength, int line, int step, PillowResize.Filter filter)
    {
        var (toLine, toStep) = step == 3 ? (toLength * 3, 3) : (3, lines * 3);
        var to = new byte[lines * toLength * 3];
        var scale = (double)length / toLength;
        var wide = Math.Max(scale, 1);
        for (var i = 0; i < toLength; i++)
        {
            var centre = (i + 0.5) * scale;
            var first = (int)Math.Max(0, centre - filter.Support * wide + 0.5);
            var end = (int)Math.Min(length, centre + filter.Support * wide + 0.5);
            var weights = Enumerable.Range(first, end - first).Select(x => filter.Weight((x - centre + 0.5) / wide)).ToArray();
            var whole = weights.Sum();
            var factors = weights.Select(w => (int)Math.Round(w / whole * (1 << 22), MidpointRounding.AwayFromZero)).ToArray();
            for (var at = 0; at < lines * 3; at++)
            {
                var sum = 1 << 21;
                for (var k = 0; k < factors.Length; k++)
                {
                    sum += factors[k] * from[at / 3 * line + (first + k) * step + at % 3];
                }

                to[at / 3 * toLine + i * toStep + at % 3] = (byte)Math.Clamp(sum >> 22, 0, 255);
            }
        }

        return to;
    }

    [Fact]
    public void An_unknown_filter_is_named() =>
        Assert.Contains("'lanczos'", Assert.Throws<ArgumentException>(() => PillowResize.Filter.Named("lanczos")).Message, StringComparison.Ordinal);
}
