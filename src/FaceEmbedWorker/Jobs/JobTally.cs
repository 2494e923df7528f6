using System.Collections.Concurrent;

namespace FaceEmbedWorker.Jobs;

/// <summary>A job that did not succeed, for people to read: no picture, no vector.</summary>
/// <param name="Outcome"><c>retry</c> or <c>dead_letter</c>.</param>
internal sealed record JobTrouble(DateTime At, string JobId, string Outcome, string Reason, string Message);

/// <summary>What became of jobs in the last minute.</summary>
/// <param name="PerSecond">Jobs settled in each of the last 60 whole seconds, the oldest first.</param>
/// <param name="StageMs">Stage -> mean milliseconds of a job that had it.</param>
internal sealed record LastMinute(double JobsPerSecond, IReadOnlyList<int> PerSecond, IReadOnlyDictionary<string, double> StageMs);

/// <summary>Keeps count of how jobs end, for <see cref="Telemetry"/> and for people who look at this worker now.</summary>
internal sealed class JobTally(TimeProvider time)
{
    private const int Seconds = 60;
    private const int MostTroubles = 20;

    private readonly Lock state = new();
    private readonly Second[] ring = [.. Enumerable.Range(0, Seconds + 1).Select(_ => new Second())];
    private readonly Queue<JobTrouble> troubles = new();
    private readonly long start = time.GetTimestamp();

    /// <summary>Outcome -> jobs since the start.</summary>
    public ConcurrentDictionary<string, long> Outcomes { get; } = new();

    /// <summary>Reason -> attempts that failed for no fault of the job's.</summary>
    public ConcurrentDictionary<string, long> Retries { get; } = new();

    /// <summary>Reason -> jobs given up.</summary>
    public ConcurrentDictionary<string, long> DeadLetters { get; } = new();

    /// <summary>The newest first.</summary>
    public IReadOnlyList<JobTrouble> Troubles
    {
        get
        {
            lock (state)
            {
                return [.. troubles.Reverse()];
            }
        }
    }

    public void Completed(EmbedResult result)
    {
        Telemetry.JobCompleted(result);
        Count(Outcomes, result.Outcome);
        lock (state)
        {
            var second = Now();
            second.Jobs++;
            foreach (var (stage, milliseconds) in result.TimingsMs.Stages)
            {
                var (sum, count) = second.Stages.GetValueOrDefault(stage);
                second.Stages[stage] = (sum + milliseconds, count + 1);
            }
        }
    }

    public void Retried(string id, JobOutcome.Retry retry)
    {
        Telemetry.JobRetried(retry.Reason);
        Count(Retries, retry.Reason);
        Failed("retry", id, retry.Reason, retry.Message);
    }

    public void Dead(string id, string reason, string message)
    {
        Telemetry.JobDead(reason);
        Count(DeadLetters, reason);
        Failed("dead_letter", id, reason, message);
    }

    public LastMinute Look()
    {
        lock (state)
        {
            var now = Elapsed();
            var seconds = Enumerable.Range(1, Seconds).Select(i => At(now - Seconds - 1 + i)).ToArray();
            var stages = seconds.SelectMany(s => s?.Stages ?? []).GroupBy(s => s.Key).ToDictionary(g => g.Key, g => Math.Round(g.Sum(s => s.Value.Sum) / g.Sum(s => s.Value.Count), 2));
            var perSecond = Array.ConvertAll(seconds, s => s?.Jobs ?? 0);
            return new LastMinute(Math.Round(perSecond.Sum() / (double)Math.Clamp(now, 1, Seconds), 2), perSecond, stages);
        }
    }

    private void Failed(string outcome, string id, string reason, string message)
    {
        Count(Outcomes, outcome);
        lock (state)
        {
            Now().Jobs++;
            troubles.Enqueue(new JobTrouble(time.GetUtcNow().UtcDateTime, id, outcome, reason, message));
            if (troubles.Count > MostTroubles)
            {
                troubles.Dequeue();
            }
        }
    }

    private static void Count(ConcurrentDictionary<string, long> counts, string key) => counts.AddOrUpdate(key, 1, static (_, n) => n + 1);

    private long Elapsed() => (long)time.GetElapsedTime(start).TotalSeconds;

    private Second Now()
    {
        var now = Elapsed();
        var second = ring[now % ring.Length];
        if (second.Number != now)
        {
            (second.Number, second.Jobs) = (now, 0);
            second.Stages.Clear();
        }

        return second;
    }

    private Second? At(long number) => number >= 0 && ring[number % ring.Length] is var second && second.Number == number ? second : null;

    private sealed class Second
    {
        public long Number { get; set; } = -1;

        public int Jobs { get; set; }

        public Dictionary<string, (double Sum, int Count)> Stages { get; } = [];
    }
}
