using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PixelsTests
{
    [Theory]
    [InlineData(-3, -2, 5, 4)]
    [InlineData(4, 3, 9, 9)]
    [InlineData(2, 1, 3, 2)]
    [InlineData(-2, -2, 20, 20)]
    [InlineData(7, 0, 3, 3)]
    [InlineData(0, 5, 3, 3)]
    [InlineData(-9, 0, 9, 5)]
    [InlineData(0, -9, 7, 9)]
    [InlineData(-30, 40, 2, 2)]
    public void A_part_has_what_lies_within_and_is_black_elsewhere(int x, int y, int width, int height)
    {
        using var picture = Numbered(7, 5);
        using var part = Pixels.Cropped(picture, x, y, width, height);
        Assert.Equal((width, height), (part.Width, part.Height));
        for (var i = 0; i < width * height; i++)
        {
            var (u, v) = (x + i % width, y + i / width);
            Assert.Equal(u is >= 0 and < 7 && v is >= 0 and < 5 ? At(picture, u, v) : (0, 0, 0), At(part, i % width, i / width));
        }
    }

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

    /// <summary>Which side of the upright picture the stored rows begin at, and which the columns: EXIF 2.32, 4.6.4 A, Orientation.</summary>
    [Theory]
    [InlineData(1, "top", "left")]
    [InlineData(2, "top", "right")]
    [InlineData(3, "bottom", "right")]
    [InlineData(4, "bottom", "left")]
    [InlineData(5, "left", "top")]
    [InlineData(6, "right", "top")]
    [InlineData(7, "right", "bottom")]
    [InlineData(8, "left", "bottom")]
    public void Rows_are_put_where_they_belong_in_the_upright_picture(int orientation, string firstRow, string firstColumn)
    {
        using var stored = Numbered(7, 5);
        var upright = orientation < 5 ? new Picture(7, 5) : new Picture(5, 7);
        using (upright)
        {
            Pixels.Place(stored.Pixels[..(3 * 7 * 3)], 0, 7, 5, orientation, upright); // in two parts
            Pixels.Place(stored.Pixels[(3 * 7 * 3)..], 3, 7, 5, orientation, upright);
            for (var i = 0; i < 35; i++)
            {
                var (column, row) = (i % 7, i / 7);
                var x = firstColumn switch { "left" => column, "right" => 6 - column, _ => firstRow == "left" ? row : 4 - row };
                var y = firstRow switch { "top" => row, "bottom" => 4 - row, _ => firstColumn == "top" ? column : 6 - column };
                Assert.Equal(At(stored, column, row), At(upright, x, y));
            }
        }
    }

    [Theory]
    [InlineData("area", 20, 10, 20, 10, "area")]
    [InlineData("area", 20, 10, 9, 4, "area")]
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
        using var white = new Picture(8, 6);
        white.Pixels.Fill(255);
        using var whole = Pixels.Shrunk(white, 3, 3);
        Assert.All(whole.Pixels.ToArray(), value => Assert.Equal(255, value));
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
