using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class FaceLimitsTests
{
    /// <summary>A small one in the middle, a large one in a corner, and one between, of a picture 200 by 100.</summary>
    private static readonly Box[] Boxes = [new(95, 45, 10, 10), new(0, 0, 40, 40), new(60, 30, 36, 36)];

    [Theory]
    [InlineData(nameof(FaceChoice.All), 0, int.MaxValue, "max_faces")]
    [InlineData(nameof(FaceChoice.All), 3, 3, "max_faces")]
    [InlineData(nameof(FaceChoice.Largest), 0, 1, "face_of")]
    [InlineData(nameof(FaceChoice.Central), 3, 1, "face_of")]
    public void One_face_is_chosen_or_so_many_of_all(string of, int most, int count, string beyond)
    {
        var limits = new FaceLimits(Enum.Parse<FaceChoice>(of), most);
        Assert.Equal((count, beyond), (limits.Count, limits.Beyond));
    }

    [Theory]
    [InlineData(nameof(FaceChoice.All), 0, "012")] // as they came
    [InlineData(nameof(FaceChoice.All), 2, "210")] // a corner's counts half
    [InlineData(nameof(FaceChoice.Largest), 0, "120")]
    [InlineData(nameof(FaceChoice.Central), 0, "021")]
    public void The_foremost_come_first(string of, int most, string order) => Assert.Equal(order, string.Concat(new FaceLimits(Enum.Parse<FaceChoice>(of), most).Foremost([0, 1, 2], i => Boxes[i], 200, 100)));

    /// <summary>Pixels count, not shares: a picture is wider than high.</summary>
    [Fact]
    public void The_central_one_is_nearest_in_pixels()
    {
        Box above = new(95, 5, 10, 10), beside = new(140, 45, 10, 10), nearer = new(125, 45, 10, 10), middle = new(95, 45, 10, 10);
        Assert.Equal([middle, nearer, above, beside], new FaceLimits(FaceChoice.Central).Foremost([above, beside, nearer, middle], box => box, 200, 100));
    }

    [Fact]
    public void Of_faces_of_one_size_those_nearer_to_the_middle_come_first_in_either_direction()
    {
        Box above = new(95, 5, 10, 10), beside = new(5, 45, 10, 10), higher = new(95, 35, 10, 10);
        Assert.Equal([higher, above, beside], new FaceLimits(Most: 3).Foremost([beside, above, higher], box => box, 200, 100));
    }

    [Theory]
    [InlineData(40, 39.6, true)]
    [InlineData(40, 39.4, false)]
    [InlineData(0, 0, true)]
    public void A_face_is_large_enough_as_results_show_it(int least, double side, bool enough) => Assert.Equal(enough, new FaceLimits(MinSize: least).IsLargeEnough(new Box(0, 0, side, 100)));

    [Theory]
    [InlineData(0, null, 0)]
    [InlineData(0, 5, 5)]
    [InlineData(3, null, 3)]
    [InlineData(3, 2, 2)]
    [InlineData(3, 3, 3)]
    [InlineData(3, 5, 3)]
    public void A_job_may_ask_for_fewer_faces_not_for_more(int set, int? asked, int most) => Assert.Equal(most, new FaceOptions { MaxFaces = set }.LimitsOf(asked, null).Most);

    [Theory]
    [InlineData(0, null, 0)]
    [InlineData(0, 30, 30)]
    [InlineData(40, 30, 40)]
    [InlineData(40, 50, 50)]
    public void A_job_may_ask_for_larger_faces_not_for_smaller(int set, int? asked, int least) =>
        Assert.Equal((least, FaceChoice.Largest), (new FaceOptions { MinSize = set, FaceOf = FaceChoice.Largest }.LimitsOf(null, asked).MinSize, new FaceOptions { FaceOf = FaceChoice.Largest }.LimitsOf(null, asked).Of));

    [Theory]
    [InlineData(9.4, 39.7, 40)] // from 9 to 49
    [InlineData(9.6, 40.4, 40)]
    [InlineData(9.6, 39.2, 39)]
    public void A_limit_looks_at_whole_pixels(double x, double side, int shown)
    {
        var box = new Box(x, x, side, side);
        Assert.Equal((true, false), (new FaceLimits(MinSize: shown).IsLargeEnough(box), new FaceLimits(MinSize: shown + 1).IsLargeEnough(box)));
    }
}
