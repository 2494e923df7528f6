using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class ScalesTests
{
    [Fact]
    public void A_looks_sides_follow_the_picture_and_stay_within_bounds()
    {
        Assert.Equal([(320, 0.0)], Scales.Looks(1, 4000, 3000));
        Assert.Equal([(640, 0.0), (160, 50.0)], Scales.Looks(2, 4000, 3000));
        Assert.Equal([(960, 0.0), (240, 50.0)], Scales.Looks(3, 4000, 3000));
        Assert.Equal([(250, 0.0)], Scales.Looks(2, 250, 250)); // enlarged by the finest detail alone
        Assert.Equal([(375, 0.0)], Scales.Looks(4, 250, 250));
        Assert.Equal([(1280, 0.0), (320, 50.0)], Scales.Looks(4, 1024, 768));
        Assert.Equal([1280, 1281, 1920, 1920], new[] { 1280, 1281, 1920, 8000 }.Select(side => Scales.Looks(4, side, 100).First().Side));
        Assert.Equal((562, 1920, 1920), (Scales.Finer(4, 250, 250), Scales.Finer(4, 1024, 768), Scales.Finer(4, 100, 1300)));
        Assert.Equal([320, 640, 960, 1920], Enumerable.Range(1, 4).Select(Scales.Finest));
        Assert.Equal((1280, 960), Scales.Fit(4000, 3000, 1280));
        Assert.Equal((1440, 1920), Scales.Fit(3000, 4000, Scales.Finest(4)));
        Assert.Equal((960, 960, 0), (Scales.Finer(2, 640, 480), Scales.Finer(2, 4000, 3000), Scales.Finer(4, 4000, 3000)));
        Assert.Equal((300, 200), Scales.Fit(300, 200, 640));
        foreach (var (width, height) in new[] { (1, 1_000_000), (1_000_000, 1), (100_000, 3), (1, 1) })
        {
            for (var detail = 1; detail <= 4; detail++)
            {
                var fit = Scales.Fit(width, height, Scales.Finest(detail));
                Assert.InRange(fit.Width, 1, 1920);
                Assert.InRange(fit.Height, 1, 1920);
            }
        }
    }

    [Fact]
    public void A_look_is_joined_by_a_coarse_one_from_480_pixels_on()
    {
        Assert.Equal([(479, 0.0)], Scales.Looks(2, 479, 300));
        Assert.Equal([(480, 0.0), (120, 50.0)], Scales.Looks(2, 300, 480));
        Assert.Equal([(1920, 0.0), (320, 200 / 6.0)], Scales.Looks(4, 5000, 4000));
    }

    [Fact]
    public void A_picture_is_brought_to_a_size_in_proportion_and_never_to_nothing()
    {
        Assert.Equal((640, 480), Scales.Fit(640, 480, 640));
        Assert.Equal((639, 479), Scales.Fit(640, 480, 639)); // 479.25
        Assert.Equal((400, 300), Scales.Fit(40, 30, 500, 300)); // enlarged
        Assert.Equal((500, 375), Scales.Fit(40, 30, 500, 400));
        Assert.Equal((1, 100), Scales.Fit(3, 10_000, 100, 100));
        Assert.Equal((100, 1), Scales.Fit(10_000, 3, 100, 100));
        Assert.Equal([32, 32, 64], new[] { 1, 32, 33 }.Select(length => Scales.Up(length, 32)));
    }

    [Fact]
    public void A_face_seen_twice_stays_once_and_a_part_of_a_larger_one_goes()
    {
        var (fine, surer, part, other) = (new Detection(new Box(10, 10, 40, 50), 0.8), new Detection(new Box(12, 9, 38, 50), 0.9), new Detection(new Box(15, 15, 15, 20), 0.7), new Detection(new Box(200, 10, 40, 50), 0.75));
        Assert.Equal([surer, other], Scales.Merge([fine, part, other], [surer], 0.3));
        Assert.Equal([surer, other], Scales.Merge([surer, other], [fine], 0.3));
    }

    [Fact]
    public void Of_two_looks_the_surer_one_stays_and_of_two_that_are_as_sure_the_finer()
    {
        var (fine, coarse) = (Face(10, 10, 40, 40, 0.8), Face(12, 10, 40, 40, 0.8));
        Assert.Equal([fine], Scales.Merge([fine], [coarse], 0.3));
        Assert.Equal([fine with { Score = 0.81 }], Scales.Merge([fine with { Score = 0.81 }], [coarse], 0.3));
        Assert.Equal([coarse], Scales.Merge([fine with { Score = 0.79 }], [coarse], 0.3));
        Assert.Equal(2, Scales.Merge([fine], [coarse], fine.Box.Overlap(coarse.Box)).Count); // no more than that
        Assert.Equal([coarse], Scales.Merge([fine with { Score = 0.79 }], [coarse], fine.Box.Overlap(coarse.Box))); // it lies in the surer one
    }

    [Fact]
    public void What_lies_in_a_surer_face_by_more_than_three_fifths_is_a_part_of_it()
    {
        var large = Face(0, 0, 100, 100, 0.9);
        Assert.Equal([large], Scales.Merge([Face(94, 0, 9.9, 10, 0.5)], [large], 0.3)); // .606 of it
        Assert.Equal(2, Scales.Merge([Face(94, 0, 10, 10, 0.5)], [large], 0.3).Count); // .6
        Assert.Equal(2, Scales.Merge([Face(40, 40, 10, 10, 0.9)], [large], 0.3).Count); // as sure
        Assert.Equal([0.95, 0.9, 0.5], Scales.Merge([Face(300, 0, 10, 10, 0.5), Face(40, 40, 10, 10, 0.95)], [large], 0.3).Select(f => f.Score)); // the surest first
    }

    private static Detection Face(double x, double y, double width, double height, double score) => new(new Box(x, y, width, height), score);
}
