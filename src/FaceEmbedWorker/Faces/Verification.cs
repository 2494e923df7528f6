namespace FaceEmbedWorker.Faces;

/// <summary>
/// How well similarity tells same from different, after ISO/IEC 19795-1. A pair matches where its score is above the threshold.
/// </summary>
internal sealed class Verification
{
    private readonly double[] same;
    private readonly double[] different;

    /// <param name="same">Scores of pairs of one person; at least one.</param>
    /// <param name="different">Scores of pairs of two people; at least one.</param>
    public Verification(IEnumerable<double> same, IEnumerable<double> different)
    {
        this.same = [.. same.Order()];
        this.different = [.. different.Order()];
        Auc = AreaUnderCurve();
        Eer = EqualErrorRate();
    }

    public int SamePairs => same.Length;

    public int DifferentPairs => different.Length;

    /// <summary>Chance that a same pair scores above a different one, ties counted half.</summary>
    public double Auc { get; }

    /// <summary>The error rate at the threshold where as many same pairs are missed as different ones matched.</summary>
    public double Eer { get; }

    /// <summary>Share of different pairs that match (false match rate).</summary>
    public double Fmr(double threshold) => (double)Above(different, threshold) / different.Length;

    /// <summary>Share of same pairs that match (true accept rate).</summary>
    public double Tar(double threshold) => (double)Above(same, threshold) / same.Length;

    /// <summary>The true accept rate at the lowest threshold whose false match rate is at most <paramref name="fmr"/>.</summary>
    public double TarAtFmr(double fmr) => Tar(LowestThreshold(fmr));

    /// <summary>
    /// A threshold for a false match rate of at most <paramref name="fmr"/>: in the middle between the last pair kept out and the first let
    /// in.
    /// </summary>
    public double Threshold(double fmr)
    {
        var low = LowestThreshold(fmr);
        var next = same.Where(s => s > low).Concat(different.Where(d => d > low)).DefaultIfEmpty(low).Min();
        return (low + next) / 2;
    }

    /// <summary>False match rate and true accept rate at every threshold, falling.</summary>
    public IEnumerable<(double Fmr, double Tar)> Curve()
    {
        yield return (0, 0);
        foreach (var threshold in same.Concat(different).Distinct().OrderDescending())
        {
            yield return (Fmr(threshold), Tar(threshold));
        }

        yield return (1, 1);
    }

    private double LowestThreshold(double fmr) => different[different.Length - 1 - Math.Min(different.Length - 1, (int)(fmr * different.Length))];

    private double AreaUnderCurve()
    {
        double wins = 0;
        foreach (var score in same)
        {
            var above = Above(different, score);
            var below = Below(different, score);
            wins += below + 0.5 * (different.Length - above - below);
        }

        return wins / ((double)same.Length * different.Length);
    }

    private double EqualErrorRate()
    {
        var best = (Gap: double.MaxValue, Rate: 1.0);
        foreach (var threshold in same.Concat(different))
        {
            var (missed, matched) = (1 - Tar(threshold), Fmr(threshold));
            var gap = Math.Abs(missed - matched);
            if (gap < best.Gap)
            {
                best = (gap, (missed + matched) / 2);
            }
        }

        return best.Rate;
    }

    private static int Above(double[] sorted, double value) => sorted.Length - Index(sorted, value, orEqual: true);

    private static int Below(double[] sorted, double value) => Index(sorted, value, orEqual: false);

    /// <summary>How many of the sorted values are smaller (or equal).</summary>
    private static int Index(double[] sorted, double value, bool orEqual)
    {
        var (low, high) = (0, sorted.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = sorted[middle] < value || orEqual && sorted[middle] == value ? (middle + 1, high) : (low, middle);
        }

        return low;
    }
}
