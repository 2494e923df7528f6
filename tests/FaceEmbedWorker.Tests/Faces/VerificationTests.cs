using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class VerificationTests
{
    [Fact]
    public void Separated_scores_are_perfect()
    {
        var verification = new Verification([0.6, 0.7, 0.9], [0.1, 0.2, 0.3]);
        Assert.Equal((1, 0, 1), (verification.Auc, verification.Eer, verification.TarAtFmr(1e-3)));
        Assert.Equal(0.45, verification.Threshold(1e-3), 1e-12);
    }

    [Fact]
    public void Figures_of_overlapping_scores_are_those_worked_out_by_hand()
    {
        // sorted: 0.1d 0.3s 0.4d 0.5d 0.6s 0.7d 0.8s 0.9s
        var verification = new Verification([0.3, 0.6, 0.8, 0.9], [0.1, 0.4, 0.5, 0.7]);
        Assert.Equal((1 + 3 + 4 + 4) / 16.0, verification.Auc);
        Assert.Equal(0.25, verification.Eer); // at 0.5: 0.3 is missed, 0.7 matches
        Assert.Equal(0.5, verification.TarAtFmr(0)); // above 0.7
        Assert.Equal(0.75, verification.TarAtFmr(0.25)); // above 0.5
        Assert.Equal(0.75, verification.Threshold(0), 1e-12);
    }

    [Fact]
    public void Figures_are_those_of_a_slow_reference()
    {
        var random = new Random(9);
        for (var round = 0; round < 20; round++)
        {
            double[] same = [.. Enumerable.Range(0, 60).Select(_ => Math.Round(random.NextDouble() + 0.3, 2))];
            double[] different = [.. Enumerable.Range(0, 200).Select(_ => Math.Round(random.NextDouble(), 2))];
            var verification = new Verification(same, different);

            Assert.Equal(same.Average(s => different.Average(d => s > d ? 1 : s == d ? 0.5 : 0)), verification.Auc, 1e-9);
            foreach (var fmr in new[] { 0, 0.005, 0.01, 0.1, 0.5 })
            {
                var best = different.Concat(same).Where(t => different.Count(d => d > t) <= fmr * different.Length).Max(t => same.Count(s => s > t) / 60.0);
                Assert.Equal(best, verification.TarAtFmr(fmr), 1e-9);
                Assert.True(verification.Fmr(verification.Threshold(fmr)) <= fmr);
            }
        }
    }

    [Fact]
    public void The_curve_goes_from_nothing_to_everything_by_each_score()
    {
        var verification = new Verification([0.3, 0.6, 0.9], [0.1, 0.6]);
        Assert.Equal((3, 2), (verification.SamePairs, verification.DifferentPairs));
        Assert.Equal([(0, 0), (0, 0), (0, 1 / 3.0), (0.5, 2 / 3.0), (0.5, 1), (1, 1)], verification.Curve()); // above .9, .6, .3 and .1
        Assert.Equal((0.5, 2 / 3.0), (verification.Fmr(0.3), verification.Tar(0.3))); // a score that is the threshold does not match
        Assert.Equal((1 + 1.5 + 2) / 6, verification.Auc); // a tie counts half
    }

    /// <summary>In the middle between the last pair kept out and the first let in, of whichever kind; where there is none, that pair itself.</summary>
    [Fact]
    public void A_threshold_lies_between_two_scores()
    {
        Assert.Equal(0.65, new Verification([0.3, 0.7], [0.1, 0.2, 0.6, 0.8]).Threshold(0.25), 1e-12); // .6 and .7
        Assert.Equal(0.65, new Verification([0.6, 0.7], [0.1, 0.2, 0.6, 0.8]).Threshold(0.25), 1e-12); // a pair of one person that is kept out too
        Assert.Equal(0.75, new Verification([0.3, 0.9], [0.1, 0.2, 0.7, 0.8]).Threshold(0.25), 1e-12); // .7 and .8
        Assert.Equal(0.8, new Verification([0.3, 0.7], [0.1, 0.2, 0.6, 0.8]).Threshold(0), 1e-12);
        Assert.Equal(0.15, new Verification([0.3, 0.7], [0.1, 0.2, 0.6, 0.8]).Threshold(1), 1e-12); // the lowest that there is: .1 itself matches nobody
    }

    [Fact]
    public void Without_any_difference_the_equal_error_rate_is_a_half()
    {
        double[] scores = [0.1, 0.2, 0.3, 0.4];
        Assert.Equal((0.5, 0.5), (new Verification(scores, scores).Auc, new Verification(scores, scores).Eer));
    }
}
