using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class FaceQualityTests
{
    private static readonly ModelCard Card = ModelCard.Default("own", ModelCard.Embedding) with { NormScale = [2, 12] };
    private static readonly ModelCard Unscaled = Card with { NormScale = null };

    [Fact]
    public void A_pose_is_that_of_the_points_that_were_projected()
    {
        foreach (var (yaw, pitch, roll) in new[] { (0.0, 0.0, 0.0), (30, 0, 0), (-45, 10, 0), (0, -20, 15), (20, 15, -30) })
        {
            var pose = Pose.Of(Pose.Project(yaw, pitch, roll, scale: 3, x: 400, y: 300));
            Assert.Equal((yaw, pitch, roll), (Math.Round(pose.Yaw, 3), Math.Round(pose.Pitch, 3), Math.Round(pose.Roll, 3)));
        }
    }

    [Fact]
    public void Points_that_fall_together_have_a_finite_pose()
    {
        var pose = Pose.Of(new Point[5]);
        Assert.True(double.IsFinite(pose.Yaw + pose.Pitch + pose.Roll));
    }

    [Theory]
    [InlineData(84, 12, 0, 0, 1)]
    [InlineData(42, 12, 0, 0, 0.70710678)] // the root of a half
    [InlineData(300, 12, 0, 0, 1)]
    [InlineData(84, 7, 0, 0, 0.5)] // half as sharp as can be
    [InlineData(84, 2, 0, 0, 0)]
    [InlineData(84, 12, 60, 0, 0.70710678)] // the root of the cosine
    [InlineData(84, 12, -60, 0, 0.70710678)]
    [InlineData(84, 12, 120, 0, 0)]
    [InlineData(84, 12, 0, 4.5, 1)]
    [InlineData(84, 12, 0, 9, 0.5)]
    [InlineData(84, 12, 0, 20, 0)]
    [InlineData(42, 7, 60, 9, 0.125)]
    public void A_score_is_the_product_of_sharpness_size_turn_and_points(double side, double norm, double yaw, double error, double score) =>
        Assert.Equal(score, FaceQuality.Of(FaceOf(side, norm, yaw, error), Card, 1000, 1000).Score, 1e-6);

    [Theory]
    [InlineData(56, 8, 0, 4.5, "")]
    [InlineData(55, 8, 0, 4.5, "small")]
    [InlineData(55.6, 8, 0, 4.5, "")] // 56 whole pixels
    [InlineData(56, 7.99, 0, 4.5, "blurred")]
    [InlineData(56, 8, 39.9, 4.5, "")]
    [InlineData(56, 8, 40.1, 4.5, "profile")]
    [InlineData(56, 8, -40.1, 4.5, "profile")]
    [InlineData(56, 8, 0, 4.51, "uncertain_landmarks")]
    [InlineData(20, 3, 70, 9, "small blurred profile uncertain_landmarks")]
    public void Flags_say_what_is_wrong_with_a_face(double side, double norm, double yaw, double error, string flags)
    {
        var quality = FaceQuality.Of(FaceOf(side, norm, yaw, error), Card, 1000, 1000);
        Assert.Equal(flags, string.Join(' ', quality.Flags));
        Assert.Equal((Math.Round(side), (norm - 2) / 10), (quality.Size, quality.Sharpness!.Value), Near);
    }

    [Fact]
    public void Without_a_scale_sharpness_is_not_told()
    {
        var quality = FaceQuality.Of(FaceOf(56, 3, 0, 0), Unscaled, 1000, 1000);
        Assert.Equal((null, Math.Sqrt(56 / 84.0)), (quality.Sharpness, quality.Score));
        Assert.Empty(quality.Flags);
    }

    [Theory]
    [InlineData(1, 1, 98, 78, false)] // of a picture 100 by 80
    [InlineData(0.9, 1, 90, 70, true)]
    [InlineData(1, 0.9, 90, 70, true)]
    [InlineData(5, 5, 94.1, 70, true)]
    [InlineData(5, 5, 90, 74.1, true)]
    public void A_face_that_ends_at_the_border_is_cut(double x, double y, double width, double height, bool cut)
    {
        var face = FaceOf(56, 12, 0, 0) with { Box = new Box(x, y, width, height) };
        Assert.Equal((cut, cut), (FaceQuality.IsCut(face.Box, 100, 80), FaceQuality.Of(face, Card, 100, 80).Flags.Contains("cut")));
    }

    [Theory]
    [InlineData(0.6, 4.5, "")]
    [InlineData(0.59, 4.5, "blurred")]
    [InlineData(0.6, 4.6, "uncertain_landmarks")]
    [InlineData(0.1, 9.0, "blurred uncertain_landmarks")]
    [InlineData(null, 0.0, "")]
    public void Of_a_crop_the_flags_are_those_that_can_be_told(double? sharpness, double error, string flags) => Assert.Equal(flags, string.Join(' ', FaceQuality.FlagsOf(sharpness, error)));

    [Theory]
    [InlineData(0.9, 7, true)]
    [InlineData(0.89, 7, false)]
    [InlineData(0.9, 6.9, false)]
    public void A_face_is_clear_where_it_is_sure_and_sharp(double score, double norm, bool clear)
    {
        Assert.Equal(clear, FaceQuality.IsClear(FaceOf(56, norm, 0, 0) with { Score = score }, Card));
        Assert.Equal(score >= 0.9, FaceQuality.IsClear(FaceOf(56, norm, 0, 0) with { Score = score }, Unscaled));
    }

    [Theory]
    [InlineData(0.85, 11.1, 0.95, 10, true)] // sharper by a tenth
    [InlineData(0.85, 11, 0.95, 10, false)]
    [InlineData(0.85, 5.5, 0.95, 5, false)]
    [InlineData(0.84, 11.1, 0.5, 10, false)]
    [InlineData(0.95, 9, 0.91, 10, true)] // surer, and nearly as sharp
    [InlineData(0.9, 9, 0.86, 10, true)]
    [InlineData(0.95, 8.5, 0.91, 10, false)]
    [InlineData(0.95, 9, 0.92, 10, false)]
    [InlineData(0.93, 9, 0.9, 10, false)]
    [InlineData(0.89, 9, 0.5, 10, false)]
    [InlineData(0.95, 5.4, 0.1, 3, false)] // too blurred to be evidence
    [InlineData(0.95, 5.5, 0.1, 3, true)]
    public void A_turned_look_is_the_right_way_up_on_clear_evidence_alone(double score, double norm, double before, double normBefore, bool upright)
    {
        var (turned, plain, worse) = (FaceOf(56, norm, 0, 0) with { Score = score }, FaceOf(56, normBefore, 0, 0) with { Score = before }, FaceOf(56, 2, 0, 0) with { Score = 0.1 });
        Assert.Equal(upright, FaceQuality.IsUpright(turned, [plain], Card));
        Assert.Equal(upright, FaceQuality.IsUpright(turned, [worse, plain], Card));
        Assert.Equal(norm >= 5.5 && score >= 0.85, FaceQuality.IsUpright(turned, [], Card));
    }

    [Fact]
    public void Of_two_looks_at_a_face_that_asked_for_a_second_the_better_one_stays()
    {
        var (good, bad) = (FaceOf(84, 12, 0, 0), FaceOf(84, 7, 0, 0));
        Assert.Equal([good], Merged([bad], [good], wanted: true));
        Assert.Equal([bad], Merged([bad], [good], wanted: false));
        Assert.Equal([good], Merged([good], [bad], wanted: true));
        var same = good with { Turn = 90 };
        Assert.Same(good, Assert.Single(Merged([good], [same], wanted: true)));
    }

    [Fact]
    public void What_only_the_later_look_sees_is_added_where_it_is_clear_or_nothing_else_was_found()
    {
        var (seen, clear, unsure) = (FaceOf(84, 12, 0, 0), Elsewhere(0.9), Elsewhere(0.89));
        Assert.Equal([seen, clear], Merged([seen], [clear], wanted: false));
        Assert.Equal([seen], Merged([seen], [unsure], wanted: true));
        Assert.Equal([unsure], Merged([], [unsure], wanted: true));
        Assert.Equal([], Merged([], [], wanted: true));

        static Face Elsewhere(double score) => FaceOf(84, 12, 0, 0) with { Box = new Box(500, 500, 84, 84), Score = score };
    }

    [Theory]
    [InlineData(0, 0, 100, 100, true)]
    [InlineData(53, 0, 100, 100, true)] // 47 of 153
    [InlineData(54, 0, 100, 100, false)] // 46 of 154
    [InlineData(40, 0, 160, 100, false)] // 60 of 200, and three fifths of the smaller one
    [InlineData(40, 40, 10, 10, true)] // lies in it
    [InlineData(94, 40, 9.9, 10, true)] // by more than three fifths
    [InlineData(94, 40, 10, 10, false)]
    [InlineData(100, 0, 100, 100, false)]
    public void Boxes_that_overlap_or_lie_in_one_another_are_one_face(double x, double y, double width, double height, bool one)
    {
        var (a, b) = (new Box(0, 0, 100, 100), new Box(x, y, width, height));
        Assert.Equal((one, one), (FaceQuality.AreOne(a, b), FaceQuality.AreOne(b, a)));
        Assert.Equal(one, FaceQuality.AreOne(FaceOf(84, 12, 0, 0) with { Box = a }, FaceOf(84, 12, 0, 0) with { Box = b }));
    }

    private static IEqualityComparer<(double, double)> Near => EqualityComparer<(double, double)>.Create((a, b) => Math.Abs(a.Item1 - b.Item1) + Math.Abs(a.Item2 - b.Item2) < 1e-9, _ => 0);

    private static List<Face> Merged(List<Face> earlier, List<Face> later, bool wanted) => FaceQuality.Merged(earlier, later, _ => wanted, Card, 1000, 1000);

    private static Face FaceOf(double side, double norm, double yaw, double error) =>
        new(new Box(100, 100, side, side), 0.95, Pose.Project(yaw, 0, 0, 1, 150, 150), error, new Embedding([], norm), side, 0);
}
