namespace FaceEmbedWorker.Jobs;

/// <summary>How long jobs took, from their start to their result; within 5 %. Null where there was none.</summary>
/// <param name="P50">Milliseconds: half of them took no longer.</param>
/// <param name="P95">Milliseconds: 95 of 100 took no longer.</param>
internal sealed record JobLatency(double? P50, double? P95);

/// <summary>What became of jobs in the last stretch of time, counted in slices of it. Not for several threads at once.</summary>
internal sealed class JobWindow(TimeSpan slice, int slices)
{
    /// <summary>The present slice, and so many full ones before it.</summary>
    private readonly Slice[] ring = [.. Enumerable.Range(0, slices + 1).Select(_ => new Slice())];

    /// <param name="elapsed">Time since the start.</param>
    public Slice At(TimeSpan elapsed)
    {
        var number = elapsed.Ticks / slice.Ticks;
        var current = ring[number % ring.Length];
        if (current.Number != number)
        {
            current.Begin(number);
        }

        return current;
    }

    /// <summary>The full slices, the oldest first; null where nothing happened in one.</summary>
    public Slice?[] Full(TimeSpan elapsed) => Last(elapsed.Ticks / slice.Ticks - 1);

    /// <summary>As many slices with the present one as the last.</summary>
    public Slice?[] UpToNow(TimeSpan elapsed) => Last(elapsed.Ticks / slice.Ticks);

    private Slice?[] Last(long newest) => [.. Enumerable.Range(0, slices).Select(i => newest - slices + 1 + i)
        .Select(number => number >= 0 && ring[number % ring.Length] is var found && found.Number == number ? found : null)];

    internal sealed class Slice
    {
        /// <summary>Each bucket's upper bound is a tenth above its lower: from 0.1 ms to hours.</summary>
        private const double Shortest = 0.1, Step = 1.1;

        private const int Buckets = 200;

        private readonly int[] buckets = new int[Buckets];

        public long Number { get; private set; } = -1;

        /// <summary>Attempts settled, whatever their outcome.</summary>
        public int Jobs { get; set; }

        public int Retries { get; set; }

        public int DeadLetters { get; set; }

        /// <summary>Stage -> milliseconds, and jobs that had it.</summary>
        public Dictionary<string, (double Sum, int Count)> Stages { get; } = [];

        public void Begin(long number)
        {
            (Number, Jobs, Retries, DeadLetters) = (number, 0, 0, 0);
            Stages.Clear();
            Array.Clear(buckets);
        }

        public void Took(ResultTimings timings)
        {
            buckets[Math.Clamp((int)(Math.Log(timings.Total / Shortest) / Math.Log(Step)), 0, Buckets - 1)]++;
            foreach (var (stage, milliseconds) in timings.Stages)
            {
                var (sum, count) = Stages.GetValueOrDefault(stage);
                Stages[stage] = (sum + milliseconds, count + 1);
            }
        }

        public static JobLatency Latency(IEnumerable<Slice> slices)
        {
            var sums = new long[Buckets];
            foreach (var bucket in slices.Select(s => s.buckets))
            {
                for (var i = 0; i < sums.Length; i++)
                {
                    sums[i] += bucket[i];
                }
            }

            return new JobLatency(Percentile(sums, 0.50), Percentile(sums, 0.95));
        }

        private static double? Percentile(long[] buckets, double share)
        {
            var (wanted, seen) = (Math.Ceiling(share * buckets.Sum()), 0L);
            for (var i = 0; wanted > 0 && i < buckets.Length; i++)
            {
                seen += buckets[i];
                if (seen >= wanted)
                {
                    return Math.Round(Shortest * Math.Pow(Step, i + 0.5), 1);
                }
            }

            return null;
        }
    }
}
