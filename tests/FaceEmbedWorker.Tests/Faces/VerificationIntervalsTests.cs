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

    /// <summary>Samples of a known population: its rate lies within about 95 in 100 of their intervals.</summary>
    [Fact]
    public void Intervals_hold_the_populations_rate_as_often_as_they_say()
    {
        var (all, pictures) = Make(new Random(6), people: 400, spread: 0.4);
        var truth = new VerificationIntervals(all, pictures).Figures([.. pictures.Select(_ => 1)], Fmrs)!.Value.Tar[3];
        var (random, held) = (new Random(7), 0);
        const int rounds = 60;
        for (var round = 0; round < rounds; round++)
        {
            var chosen = Enumerable.Range(0, 400).OrderBy(_ => random.Next()).Take(60).Select((p, i) => (p, i)).ToDictionary(x => x.p, x => x.i);
            var sample = all.Where(p => chosen.ContainsKey(p.First) && chosen.ContainsKey(p.Second)).Select(p => (chosen[p.First], chosen[p.Second], p.Score));
            var interval = new VerificationIntervals(sample, [.. chosen.OrderBy(c => c.Value).Select(c => pictures[c.Key])]).Estimate(Fmrs).Tar[3];
            held += truth >= interval.Low && truth <= interval.High ? 1 : 0;
        }

        Assert.InRange(held / (double)rounds, 0.85, 1);
    }

    [Fact]
    public void Nothing_to_compare_gives_no_figures() => Assert.Null(new VerificationIntervals([(0, 0, 0.5), (0, 1, 0.1)], [2, 1]).Figures([0, 1], Fmrs));

    private static (List<(int First, int Second, double Score)> Pairs, int[] Pictures) Make(Random random, int people, double spread)
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
