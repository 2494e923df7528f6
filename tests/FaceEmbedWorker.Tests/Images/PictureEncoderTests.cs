using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PictureEncoderTests
{
    [Fact]
    public void A_png_has_each_pixel()
    {
        using var picture = Noise();
        using var read = Pipeline.Decode(PictureEncoder.Png(picture));
        Assert.Equal((17, 9), (read.Width, read.Height));
        Assert.Equal(picture.Pixels.ToArray(), read.Pixels.ToArray());
    }

    /// <summary>The first step of the table of brightness is 16 x (200 - 2 x quality) / 100, rounded (IJG's).</summary>
    [Theory]
    [InlineData(null, 3)]
    [InlineData(75, 8)]
    public void A_jpeg_has_the_quality_that_is_asked_for_and_all_colours(int? quality, int step)
    {
        using var picture = Noise();
        var jpeg = quality is { } asked ? PictureEncoder.Jpeg(picture, asked) : PictureEncoder.Jpeg(picture);
        var table = jpeg.AsSpan().IndexOf([(byte)0xFF, (byte)0xDB]);
        Assert.Equal((0, step), (jpeg[table + 4], jpeg[table + 5]));
        Assert.Equal((false, false), ImageHeader.Read("jpeg", jpeg).HalvedColours);
        using var read = Pipeline.Decode(jpeg);
        Assert.Equal((17, 9), (read.Width, read.Height));
        using var stream = new MemoryStream();
        if (quality is { } again)
        {
            PictureEncoder.WriteJpeg(picture, stream, again);
        }
        else
        {
            PictureEncoder.WriteJpeg(picture, stream);
        }

        Assert.Equal(jpeg, stream.ToArray());
    }

    private static Picture Noise()
    {
        var picture = new Picture(17, 9);
        new Random(1).NextBytes(picture.Pixels);
        return picture;
    }
}
