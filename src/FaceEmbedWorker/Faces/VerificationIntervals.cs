namespace FaceEmbedWorker.Faces;

/// <summary>A 95 % confidence interval.</summary>
internal readonly record struct Interval(double Low, double High);

/// <summary>
/// How far a verification's figures may be from those of all people, by a bootstrap over people: pairs of one person depend on each other,
/// so people are drawn and not pairs (Bolle, Ratha and Pankanti, 2004). Deterministic.
/// </summary>
internal sealed class VerificationIntervals
{
    private const int Draws = 1000;
    private const int Seed = 1;
    private readonly int[] pictures;
    private readonly (int Person, double Score)[] same;
    private readonly (int First, int Second, double Score)[] different;

    /// <param name="pairs">All pairs of all pictures, by the number of each person, from 0.</param>
    /// <param name="pictures">How many pictures each person has.</param>
    public VerificationIntervals(IEnumerable<(int First, int Second, double Score)> pairs, IReadOnlyList<int> pictures)
    {
        this.pictures = [.. pictures];
        same = [.. pairs.Where(p => p.First == p.Second).Select(p => (p.First, p.Score)).OrderByDescending(p => p.Score)];
        different = [.. pairs.Where(p => p.First != p.Second).OrderByDescending(p => p.Score)];
    }

    /// <summary>Intervals of the equal error rate, and of the true accept rate at each false match rate.</summary>
    /// <param name="fmrs">Rising.</param>
    public (Interval Eer, Interval[] Tar) Estimate(IReadOnlyList<double> fmrs)
    {
        var random = new Random(Seed);
        var weights = new int[pictures.Length];
        var (eers, tars) = (new List<double>(Draws), fmrs.Select(_ => new List<double>(Draws)).ToArray());
        for (var draw = 0; draw < Draws; draw++)
        {
            Array.Clear(weights);
            for (var i = 0; i < weights.Length; i++)
            {
                weights[random.Next(weights.Length)]++;
            }

            if (Figures(weights, fmrs) is { } figures)
            {
                eers.Add(figures.Eer);
                for (var i = 0; i < tars.Length; i++)
                {
                    tars[i].Add(figures.Tar[i]);
                }
            }
        }

        return (Middle(eers), Array.ConvertAll(tars, Middle));
    }

    /// <summary>The figures where each person counts as often as drawn; null where no pair of one or of two people was.</summary>
    internal (double Eer, double[] Tar)? Figures(IReadOnlyList<int> weights, IReadOnlyList<double> fmrs)
    {
        double own = 0, all = 0, squares = 0;
        for (var p = 0; p < pictures.Length; p++)
        {
            double drawn = (double)weights[p] * pictures[p];
            own += weights[p] * (pictures[p] * (pictures[p] - 1) / 2.0);
            all += drawn;
            squares += drawn * drawn;
        }

        var others = (all * all - squares) / 2;
        if (own == 0 || others == 0)
        {
            return null;
        }

        var (tar, eer, next) = (new double[fmrs.Count], 0.0, 0);
        double matched = 0, found = 0;
        var (k, met) = (0, false);
        foreach (var (first, second, score) in different) // each as a threshold, falling: what is above it matches
        {
            for (; k < same.Length && same[k].Score > score; k++)
            {
                found += weights[same[k].Person];
            }

            var with = matched + (double)weights[first] * weights[second];
            for (; next < tar.Length && with > fmrs[next] * others; next++)
            {
                tar[next] = found / own;
            }

            var missed = 1 - found / own;
            if (!met && with / others >= missed)
            {
                (met, eer) = (true, (matched / others + missed) / 2);
            }

            if (met && next == tar.Length)
            {
                return (eer, tar);
            }

            matched = with;
        }

        Array.Fill(tar, 1, next, tar.Length - next);
        return (eer, tar);
    }

    private static Interval Middle(List<double> values)
    {
        values.Sort();
        return values.Count == 0 ? new Interval(double.NaN, double.NaN) : new Interval(values[(int)(0.025 * (values.Count - 1))], values[(int)Math.Ceiling(0.975 * (values.Count - 1))]);
    }
}
