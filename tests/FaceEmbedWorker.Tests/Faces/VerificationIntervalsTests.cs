using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class VerificationIntervalsTests
{
    private static readonly double[] Fmrs = [1e-4, 1e-3, 1e-2, 0.1];

    /// <summary>With everybody drawn once, or everybody twice, the figures are those of <see cref="Verification"/>.</summary>
    [Fact]
    public void Everybody_drawn_alike_gives_the_figures_themselves()
    {
        var (pairs, pictures) = Make(new Random(4), people: 40, spread: 0.25);
        var expected = new Verification(pairs.Where(p => p.First == p.Second).Select(p => p.Score), pairs.Where(p => p.First != p.Second).Select(p => p.Score));
        var intervals = new VerificationIntervals(pairs, pictures);

        var once = intervals.Figures([.. pictures.Select(_ => 1)], Fmrs)!.Value;
        Assert.Equal(Fmrs.Select(expected.TarAtFmr), once.Tar, (a, b) => Math.Abs(a - b) < 1e-12);
        Assert.Equal(expected.Eer, once.Eer, 0.005);
    }

    /// <summary>
    /// A person left out is as if that person's pictures were not there; one drawn twice as if there were two such people.
    /// </summary>
    [Fact]
    public void A_draw_weighs_people()
    {
        var (pairs, pictures) = Make(new Random(5), people: 12, spread: 0.3);
        var without = pairs.Where(p => p.First != 3 && p.Second != 3).ToList();
        var expected = new Verification(without.Where(p => p.First == p.Second).Select(p => p.Score), without.Where(p => p.First != p.Second).Select(p => p.Score));
        var figures = new VerificationIntervals(pairs, pictures).Figures([.. pictures.Select((_, i) => i == 3 ? 0 : 1)], Fmrs)!.Value;
        Assert.Equal(Fmrs.Select(expected.TarAtFmr), figures.Tar, (a, b) => Math.Abs(a - b) < 1e-12);

        var twice = new Verification(
            pairs.Where(p => p.First == p.Second).SelectMany(p => Enumerable.Repeat(p.Score, p.First == 0 ? 2 : 1)),
            pairs.Where(p => p.First != p.Second).SelectMany(p => Enumerable.Repeat(p.Score, p.First == 0 || p.Second == 0 ? 2 : 1)));
        figures = new VerificationIntervals(pairs, pictures).Figures([.. pictures.Select((_, i) => i == 0 ? 2 : 1)], Fmrs)!.Value;
        Assert.Equal(Fmrs.Select(twice.TarAtFmr), figures.Tar, (a, b) => Math.Abs(a - b) < 1e-12);
    }

    /// <summary>Of a thousand draws of as many people, the middle 95 in 100.</summary>
    [Fact]
    public void An_interval_is_the_middle_of_what_draws_give()
    {
        var (pairs, pictures) = Make(new Random(8), people: 15, spread: 0.4);
        var intervals = new VerificationIntervals(pairs, pictures);
        var (random, eers, tars) = (new Random(1), new List<double>(), Fmrs.Select(_ => new List<double>()).ToArray());
        for (var draw = 0; draw < 1000; draw++)
        {
            var weights = new int[pictures.Length];
            foreach (var _ in weights)
            {
                weights[random.Next(weights.Length)]++;
            }

            var figures = intervals.Figures(weights, Fmrs)!.Value;
            eers.Add(figures.Eer);
            for (var i = 0; i < Fmrs.Length; i++)
            {
                tars[i].Add(figures.Tar[i]);
            }
        }

        var (eer, tar) = intervals.Estimate(Fmrs);
        Assert.Equal(Middle(eers), eer);
        Assert.Equal(tars.Select(Middle), tar);
        Assert.True(eer.Low < eer.High && tar[3].Low < tar[3].High);

        static Interval Middle(List<double> values) => new(values.Order().ElementAt(24), values.Order().ElementAt(975)); // .025 and .975 of 999, to the outside
    }

    [Fact]
    public void Draws_without_pairs_give_no_interval()
    {
        var (eer, tar) = new VerificationIntervals([(0, 1, 0.1)], [1, 1]).Estimate([0.1]);
        Assert.Equal((new Interval(double.NaN, double.NaN), new Interval(double.NaN, double.NaN)), (eer, Assert.Single(tar)));
    }

    [Fact]
    public void People_who_are_told_apart_in_each_pair_give_no_error()
    {
        var figures = new VerificationIntervals([(0, 0, 0.8), (1, 1, 0.9), (0, 1, 0.3), (0, 1, 0.2), (0, 1, 0.1), (0, 1, 0)], [2, 2]).Figures([1, 1], Fmrs)!.Value;
        Assert.Equal(0, figures.Eer);
        Assert.Equal([1, 1, 1, 1], figures.Tar);
    }

    /// <summary>Four pairs of one person, and of two people four: in falling order 1 s, .9 d, .8 s, .7 d, .6 s, .5 d, .4 s, .3 d.</summary>
    [Fact]
    public void The_equal_error_rate_is_where_as_many_are_missed_as_match()
    {
        var figures = new VerificationIntervals([(0, 0, 1), (1, 1, 0.8), (2, 2, 0.6), (3, 3, 0.4), (0, 1, 0.9), (1, 2, 0.7), (2, 3, 0.5), (3, 0, 0.3), (0, 2, 0), (1, 3, 0)], [2, 2, 2, 2]).Figures([1, 1, 1, 1], [0, 0.05, 0.5])!.Value;
        Assert.Equal([0.25, 0.5, 1], figures.Tar); // of 24 pairs of two people .9 alone is one: .0417
        Assert.Equal(3 / 24.0 / 2, figures.Eer, 1e-12); // with the fourth all are found, and three of the others have matched before
    }

    [Fact]
    public void A_score_that_is_the_threshold_does_not_match()
    {
        var figures = new VerificationIntervals([(0, 0, 0.6), (1, 1, 0.9), (0, 1, 0.6), (0, 1, 0.5), (0, 1, 0.2), (0, 1, 0.1)], [2, 2]).Figures([1, 1], [0, 0.25])!.Value;
        Assert.Equal([0.5, 1], figures.Tar); // above .6; above .5, where one of four matches
    }

    /// <summary>Half of the pairs of one person are missed, and with the second of four pairs of two people half of these match.</summary>
    [Fact]
    public void The_equal_error_rate_is_taken_where_they_are_the_same() =>
        Assert.Equal((0.25 + 0.5) / 2, new VerificationIntervals([(0, 0, 0.9), (1, 1, 0.5), (0, 1, 0.8), (0, 1, 0.7), (0, 1, 0.3), (0, 1, 0.2)], [2, 2]).Figures([1, 1], [0.5])!.Value.Eer);

    [Fact]
    public void Nothing_to_compare_gives_no_figures() => Assert.Null(new VerificationIntervals([(0, 0, 0.5), (0, 1, 0.1)], [2, 1]).Figures([0, 1], Fmrs));

    internal static (List<(int First, int Second, double Score)> Pairs, int[] Pictures) Make(Random random, int people, double spread)
    {
        int[] pictures = [.. Enumerable.Range(0, people).Select(_ => random.Next(1, 5))];
        var owners = pictures.SelectMany((count, person) => Enumerable.Repeat(person, count)).ToArray();
        var ease = pictures.Select(_ => random.NextDouble()).ToArray();
        var pairs = new List<(int, int, double)>();
        for (var i = 0; i < owners.Length; i++)
        {
            for (var j = i + 1; j < owners.Length; j++)
            {
                pairs.Add((owners[i], owners[j], owners[i] == owners[j] ? 0.3 + spread * (ease[owners[i]] + random.NextDouble()) : spread * 2 * random.NextDouble()));
            }
        }

        return (pairs, pictures);
    }
}
