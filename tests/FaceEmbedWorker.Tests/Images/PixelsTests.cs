using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PixelsTests
{
    [Theory]
    [InlineData(0, 1, 0, 0, 0)]
    [InlineData(90, 0, 1, 4, 0)]
    [InlineData(180, -1, 0, 6, 4)]
    [InlineData(270, 0, -1, 0, 6)]
    public void A_picture_is_turned_clockwise(int degrees, int right, int down, int originX, int originY)
    {
        using var picture = Numbered(7, 5, 2, 3);
        using var turned = Pixels.Turned(picture, degrees);

        var side = degrees is 90 or 270;
        Assert.Equal(side ? (5, 7, 3.0, 2.0) : (7, 5, 2.0, 3.0), (turned.Width, turned.Height, turned.ScaleX, turned.ScaleY));
        for (var i = 0; i < 35; i++)
        {
            var (x, y) = (i % 7, i / 7);
            Assert.Equal(At(picture, x, y), At(turned, originX + x * right - y * down, originY + x * down + y * right));
        }
    }

    [Theory]
    [InlineData("area", 20, 10, 20, 10, "area")]
    [InlineData("area", 20, 10, 9, 4, "area")]
    [InlineData("area", 20, 10, 20, 4, "area")]
    [InlineData("area", 20, 10, 9, 10, "area")]
    [InlineData("area", 20, 10, 20, 11, "pillow-bilinear")]
    [InlineData("area", 20, 10, 21, 10, "pillow-bilinear")]
    [InlineData("area", 20, 10, 9, 30, "pillow-bilinear")]
    [InlineData("pillow-bilinear", 20, 10, 9, 4, "pillow-bilinear")]
    [InlineData("pillow-bicubic", 20, 10, 30, 4, "pillow-bicubic")]
    public void A_picture_is_averaged_where_no_side_grows_and_otherwise_stretched(string filter, int width, int height, int toWidth, int toHeight, string expected)
    {
        using var picture = Numbered(width, height);
        using var fitted = Pixels.Fitted(picture, toWidth, toHeight, filter);
        using var same = expected == "area" ? Pixels.Shrunk(picture, toWidth, toHeight) : Pixels.Resized(picture, toWidth, toHeight, expected);
        Assert.Equal((toWidth, toHeight), (fitted.Width, fitted.Height));
        Assert.Equal(same.Pixels, fitted.Pixels);
    }

    [Fact]
    public void What_shrinks_knows_its_scale_to_the_whole()
    {
        using var picture = Numbered(20, 10, 2, 3);
        using var shrunk = Pixels.Shrunk(picture, 5, 4);
        Assert.Equal((8, 7.5), (shrunk.ScaleX, shrunk.ScaleY));
        using var resized = Pixels.Resized(picture, 5, 4, "pillow-bilinear", 6, 7);
        Assert.Equal((6, 7), (resized.ScaleX, resized.ScaleY));
    }

    private static (byte, byte, byte) At(Picture picture, int x, int y) => (picture.Row(y)[x * 3], picture.Row(y)[x * 3 + 1], picture.Row(y)[x * 3 + 2]);

    /// <summary>No two pixels are the same.</summary>
    private static Picture Numbered(int width, int height, double scaleX = 1, double scaleY = 1)
    {
        var picture = new Picture(width, height) { ScaleX = scaleX, ScaleY = scaleY };
        for (var i = 0; i < picture.Pixels.Length; i++)
        {
            picture.Pixels[i] = (byte)(1 + i * 7 % 251);
        }

        return picture;
    }
}
