using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Faces;

public class LandmarksTests
{
    private static readonly ModelCard Card = new() { Id = "points", Task = ModelCard.Landmarks, Input = new ModelInput { Color = "RGB", Mean = [0], Std = [1] }, Output = new ModelOutput() };
    private static readonly Lazy<Model> Seven = new(() => PaperFaces.Load(TinyOnnx.Values(7), Card));

    /// <summary>Lids without the corners of the eyes, the tip of the nose, both corners of the lips (iBUG 300-W, from 0).</summary>
    [Theory]
    [InlineData(0, new[] { 37, 38, 40, 41 })]
    [InlineData(1, new[] { 43, 44, 46, 47 })]
    [InlineData(2, new[] { 30 })]
    [InlineData(3, new[] { 48, 60 })]
    [InlineData(4, new[] { 54, 64 })]
    public void Five_points_are_means_of_the_68(int point, int[] of)
    {
        for (var i = 0; i < 68; i++)
        {
            var points = new float[136];
            (points[2 * i], points[2 * i + 1]) = (12, 24);
            Assert.Equal(of.Contains(i) ? new Point(12.0 / of.Length, 24.0 / of.Length) : default, Landmarks.Five(points)[point]);
        }
    }

    /// <summary>The network gives the pixels of its input, 7 x 7 in three planes: so the points say which pixels it was shown.</summary>
    [Theory]
    [InlineData(10.4, 8, 9, 7, 1, 1, 11, 8)]
    [InlineData(3.1, 2.2, 5, 6.6, 1, 1, 2, 2)]
    [InlineData(20.8, 32, 18, 28, 2, 4, 11, 8)] // of a picture that was decoded smaller
    [InlineData(-6, -5, 7, 7, 1, 1, -6, -5)] // beyond the border it is black
    public void A_square_of_the_boxs_height_around_its_centre_is_looked_at(double x, double y, double width, double height, double scaleX, double scaleY, int left, int upper)
    {
        using var picture = Speckled(scaleX, scaleY);
        var five = new Landmarks(Seven.Value).Locate(picture, new Box(x, y, width, height));
        var shown = new float[147];
        for (var i = 0; i < shown.Length; i++)
        {
            var (channel, v, u) = (i / 49, upper + i % 49 / 7, left + i % 7);
            shown[i] = u < 0 || v < 0 ? 0 : picture.Pixels[(v * picture.Width + u) * 3 + channel];
        }

        Assert.Equal(Landmarks.Five(shown).Select(p => new Point((left + p.X * 7) * scaleX, (upper + p.Y * 7) * scaleY)), five);
    }

    /// <summary>From twice as large, and from less than a pixel, which is taken for one.</summary>
    [Theory]
    [InlineData(14, 14)]
    [InlineData(0.3, 1)]
    public void The_square_is_brought_to_the_networks_size(double height, int side)
    {
        using var picture = new Picture(40, 30);
        picture.Pixels.Fill(9);
        var five = new Landmarks(Seven.Value).Locate(picture, new Box(10, 10, 0.4, height));
        var (left, upper) = (Math.Round(10.2 - side / 2.0), Math.Round(10 + height / 2 - side / 2.0));
        Assert.All(five, p => Assert.Equal(new Point(left + 9 * side, upper + 9 * side), p));
    }

    [Fact]
    public void A_point_that_is_no_number_is_an_error_of_the_model()
    {
        using var picture = Speckled(1, 1);
        picture.Pixels[(8 * picture.Width + 10) * 3 + 1] = 0;
        using var model = PaperFaces.Load(TinyOnnx.Logarithms(7), Card);
        var beside = new Landmarks(model).Locate(picture, new Box(11, 8, 7, 7));
        Assert.All(beside, p => Assert.True(double.IsFinite(p.X + p.Y)));
        var error = Assert.Throws<ModelException>(() => new Landmarks(model).Locate(picture, new Box(6, 5, 7, 7)));
        Assert.StartsWith("The model points gave a landmark that is not finite", error.Message, StringComparison.Ordinal);
    }

    private static Picture Speckled(double scaleX, double scaleY)
    {
        var picture = new Picture(40, 30) { ScaleX = scaleX, ScaleY = scaleY };
        for (var i = 0; i < picture.Pixels.Length; i++)
        {
            picture.Pixels[i] = (byte)(1 + i * 37 % 251);
        }

        return picture;
    }
}
