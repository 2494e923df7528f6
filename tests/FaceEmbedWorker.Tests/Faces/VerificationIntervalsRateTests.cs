using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>Samples of a known population: its rate lies within about 95 in 100 of their intervals.</summary>
public class VerificationIntervalsRateTests
{
    [Fact]
    public void Intervals_hold_the_populations_rate_as_often_as_they_say()
    {
        double[] fmrs = [1e-4, 1e-3, 1e-2, 0.1];
        var (all, pictures) = VerificationIntervalsTests.Make(new Random(6), people: 400, spread: 0.4);
        var truth = new VerificationIntervals(all, pictures).Figures([.. pictures.Select(_ => 1)], fmrs)!.Value.Tar[3];
        var (random, held) = (new Random(7), 0);
        const int rounds = 60;
        for (var round = 0; round < rounds; round++)
        {
            var chosen = Enumerable.Range(0, 400).OrderBy(_ => random.Next()).Take(60).Select((p, i) => (p, i)).ToDictionary(x => x.p, x => x.i);
            var sample = all.Where(p => chosen.ContainsKey(p.First) && chosen.ContainsKey(p.Second)).Select(p => (chosen[p.First], chosen[p.Second], p.Score));
            var interval = new VerificationIntervals(sample, [.. chosen.OrderBy(c => c.Value).Select(c => pictures[c.Key])]).Estimate(fmrs).Tar[3];
            held += truth >= interval.Low && truth <= interval.High ? 1 : 0;
        }

        Assert.InRange(held / (double)rounds, 0.85, 1);
    }
}
