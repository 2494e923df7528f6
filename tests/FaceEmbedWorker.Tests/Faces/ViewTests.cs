using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Faces;

public class ViewTests
{
    [Fact]
    public void A_view_shows_what_a_point_is_told_back_from()
    {
        using var picture = new Picture(60, 40) { ScaleX = 2, ScaleY = 2 };
        picture.Pixels.Clear();
        picture.Row(10)[30 * 3] = 255; // a red pixel at (30, 10): full size (61, 21)
        foreach (var view in View.Turned.Append(View.Padded).Append(View.Plain))
        {
            using var shown = view.Apply(picture);
            var at = Enumerable.Range(0, shown.Width * shown.Height).Single(i => shown.Pixels[i * 3] == 255 && shown.Pixels[i * 3 + 1] == 0);
            var back = view.Back(new Point((at % shown.Width + 0.5) * 2, (at / shown.Width + 0.5) * 2), picture);
            Assert.Equal((61.0, 21.0), (back.X, back.Y));
        }
    }

    [Theory]
    [InlineData(0, 10, 4, 20, 8)]
    [InlineData(90, 4, 50, 8, 20)] // of a picture 120 by 80
    [InlineData(180, 90, 68, 20, 8)]
    [InlineData(270, 108, 10, 8, 20)]
    public void A_box_is_told_back_with_its_sides(int turn, double x, double y, double width, double height)
    {
        using var picture = new Picture(60, 40) { ScaleX = 2, ScaleY = 2 };
        Assert.Equal(new Box(x, y, width, height), new View(turn, 0).Back(new Box(10, 4, 20, 8), picture));
    }

    [Fact]
    public void A_border_is_grey_on_each_side_and_what_is_found_in_it_is_cut_off()
    {
        using var picture = new Picture(60, 40) { ScaleX = 2, ScaleY = 2 };
        picture.Pixels.Fill(7);
        using var padded = View.Padded.Apply(picture);
        Assert.Equal((60 + 2 * 21, 40 + 2 * 14, 2.0, 2.0), (padded.Width, padded.Height, padded.ScaleX, padded.ScaleY));
        for (var y = 0; y < padded.Height; y++)
        {
            for (var x = 0; x < padded.Width; x++)
            {
                Assert.Equal(x is >= 21 and < 81 && y is >= 14 and < 54 ? 7 : 128, padded.Row(y)[x * 3 + 1]);
            }
        }

        Assert.Equal(new Box(0, 0, 58, 32), View.Padded.Back(new Box(20, 8, 80, 52), picture));
        Assert.Equal(new Box(108, 72, 12, 8), View.Padded.Back(new Box(150, 100, 99, 99), picture));
    }
}
