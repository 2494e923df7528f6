using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class BoxTests
{
    [Fact]
    public void A_box_knows_its_size_and_middle()
    {
        var box = new Box(10, 20, 30, 50);
        Assert.Equal((1500, 30, 25, 45), (box.Area, box.ShorterSide, box.CentreX, box.CentreY));
        Assert.Equal(30, new Box(0, 0, 50, 30).ShorterSide);
        Assert.Equal(new Box(20, 60, 60, 150), box.Scaled(2, 3));
    }

    [Theory]
    [InlineData(10, 10, 20, 20, 400, 1)]
    [InlineData(20, 20, 20, 20, 100, 100 / 700.0)]
    [InlineData(15, 5, 5, 100, 100, 100 / 800.0)]
    [InlineData(30, 10, 20, 20, 0, 0)] // side by side
    [InlineData(10, 30, 20, 20, 0, 0)]
    [InlineData(50, 50, 20, 20, 0, 0)]
    [InlineData(-50, -50, 20, 20, 0, 0)]
    public void What_two_boxes_share_is_told_by_area_and_share(double x, double y, double width, double height, double shared, double overlap)
    {
        var (a, b) = (new Box(10, 10, 20, 20), new Box(x, y, width, height));
        Assert.Equal((shared, shared, overlap, overlap), (a.Shared(b), b.Shared(a), a.Overlap(b), b.Overlap(a)));
    }

    [Fact]
    public void Boxes_without_an_area_overlap_nothing() => Assert.Equal(0, new Box(1, 1, 0, 0).Overlap(new Box(1, 1, 0, 0)));

    [Theory]
    [InlineData(-5, -6, 20, 30, 0, 0, 15, 24)]
    [InlineData(90, 70, 20, 30, 90, 70, 10, 10)]
    [InlineData(200, 200, 20, 30, 100, 80, 0, 0)]
    [InlineData(-50, 10, 20, 30, 0, 10, 0, 30)]
    public void The_part_in_a_picture_is_what_is_left(double x, double y, double width, double height, double left, double upper, double wide, double high) =>
        Assert.Equal(new Box(left, upper, wide, high), new Box(x, y, width, height).Clamped(100, 80));

    /// <summary>Sides are rounded, not sizes: two boxes that meet still do.</summary>
    [Fact]
    public void Results_show_sides_at_whole_pixels() => Assert.Equal(new Box(10, 21, 31, 49), new Box(10.4, 20.6, 30.3, 49.7).Rounded());
}
