using System.Collections.Concurrent;

namespace FaceEmbedWorker.Jobs;

/// <summary>A job that did not succeed, for people to read: no picture, no vector.</summary>
/// <param name="Outcome"><c>retry</c> or <c>dead_letter</c>.</param>
internal sealed record JobTrouble(DateTime At, string JobId, string Outcome, string Reason, string Message);

/// <summary>A job that has its result, for people to read: no picture, no vector.</summary>
/// <param name="Milliseconds">From its start to its result.</param>
internal sealed record JobDone(DateTime At, string JobId, string Outcome, int Faces, double Milliseconds);

/// <summary>What became of jobs in the last minute.</summary>
/// <param name="PerSecond">Jobs settled in each of the last 60 whole seconds, the oldest first; one that will be tried again is not.</param>
/// <param name="StageMs">Stage -> mean milliseconds of a job that had it.</param>
internal sealed record LastMinute(double JobsPerSecond, IReadOnlyList<int> PerSecond, IReadOnlyDictionary<string, double> StageMs, JobLatency LatencyMs);

/// <summary>What became of jobs in the last hour.</summary>
/// <param name="Attempts">Attempts at jobs that were settled: each retry is one more.</param>
/// <param name="FailureRate">Share of them that ended as a retry or a dead letter; null where there was none.</param>
internal sealed record LastHour(int Attempts, int Retries, int DeadLetters, double? FailureRate, JobLatency LatencyMs);

/// <summary>Keeps count of how jobs end, for <see cref="Telemetry"/> and for people who look at this worker now.</summary>
internal sealed class JobTally(TimeProvider time)
{
    private const int MostTroubles = 20, MostResults = 10;

    private readonly Lock state = new();
    private readonly JobWindow minute = new(TimeSpan.FromSeconds(1), 60);
    private readonly JobWindow hour = new(TimeSpan.FromMinutes(1), 60);
    private readonly Queue<JobTrouble> troubles = new();
    private readonly Queue<JobDone> results = new();
    private readonly long start = time.GetTimestamp();

    /// <summary>Outcome -> jobs since the start.</summary>
    public ConcurrentDictionary<string, long> Outcomes { get; } = new();

    /// <summary>Reason -> attempts that failed for no fault of the job's.</summary>
    public ConcurrentDictionary<string, long> Retries { get; } = new();

    /// <summary>Reason -> jobs given up.</summary>
    public ConcurrentDictionary<string, long> DeadLetters { get; } = new();

    /// <summary>The newest first.</summary>
    public IReadOnlyList<JobTrouble> Troubles => Newest(troubles);

    /// <inheritdoc cref="Troubles"/>
    public IReadOnlyList<JobDone> Results => Newest(results);

    public void Completed(EmbedResult result)
    {
        Telemetry.JobCompleted(result);
        var faces = result.Outcome == EmbedResult.Embedded ? result.Embeddings.Count : 0;
        Count(result.Outcome, slice => slice.Took(result.TimingsMs));
        Keep(results, new JobDone(Now, result.JobId, result.Outcome, faces, result.TimingsMs.Total), MostResults);
    }

    public void Retried(string id, JobOutcome.Retry retry)
    {
        Telemetry.JobRetried(retry.Reason);
        Count(Retries, retry.Reason);
        Count("retry", slice => slice.Retries++);
        Keep(troubles, new JobTrouble(Now, id, "retry", retry.Reason, retry.Message), MostTroubles);
    }

    public void Dead(string id, string reason, string message)
    {
        Telemetry.JobDead(reason);
        Count(DeadLetters, reason);
        Count("dead_letter", slice => slice.DeadLetters++);
        Keep(troubles, new JobTrouble(Now, id, "dead_letter", reason, message), MostTroubles);
    }

    public LastMinute LastMinute()
    {
        lock (state)
        {
            var slices = minute.Full(Elapsed);
            var perSecond = Array.ConvertAll(slices, s => s is null ? 0 : s.Jobs - s.Retries);
            var known = slices.OfType<JobWindow.Slice>().ToArray();
            var stages = known.SelectMany(s => s.Stages).GroupBy(s => s.Key).ToDictionary(g => g.Key, g => Math.Round(g.Sum(s => s.Value.Sum) / g.Sum(s => s.Value.Count), 2));
            var rate = perSecond.Sum() / Math.Clamp(Math.Floor(Elapsed.TotalSeconds), 1, slices.Length);
            return new LastMinute(Math.Round(rate, 2), perSecond, stages, JobWindow.Slice.Latency(known));
        }
    }

    public LastHour LastHour()
    {
        lock (state)
        {
            var slices = hour.UpToNow(Elapsed).OfType<JobWindow.Slice>().ToArray();
            var (attempts, retries, dead) = (slices.Sum(s => s.Jobs), slices.Sum(s => s.Retries), slices.Sum(s => s.DeadLetters));
            return new LastHour(attempts, retries, dead, attempts > 0 ? Math.Round((retries + dead) / (double)attempts, 4) : null, JobWindow.Slice.Latency(slices));
        }
    }

    private DateTime Now => time.GetUtcNow().UtcDateTime;

    private TimeSpan Elapsed => time.GetElapsedTime(start);

    private static void Count(ConcurrentDictionary<string, long> counts, string key) => counts.AddOrUpdate(key, 1, static (_, n) => n + 1);

    private void Count(string outcome, Action<JobWindow.Slice> further)
    {
        Count(Outcomes, outcome);
        lock (state)
        {
            foreach (var window in (JobWindow[])[minute, hour])
            {
                var slice = window.At(Elapsed);
                slice.Jobs++;
                further(slice);
            }
        }
    }

    private void Keep<T>(Queue<T> kept, T one, int most)
    {
        lock (state)
        {
            kept.Enqueue(one);
            if (kept.Count > most)
            {
                kept.Dequeue();
            }
        }
    }

    private IReadOnlyList<T> Newest<T>(Queue<T> kept)
    {
        lock (state)
        {
            return [.. kept.Reverse()];
        }
    }
}
