using System.Text.Json;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Jobs;

public class JobTallyTests
{
    private readonly FakeTimeProvider time = new();
    private readonly JobTally tally;

    public JobTallyTests() => tally = new JobTally(time);

    [Fact]
    public void Latencies_are_told_within_five_percent()
    {
        Assert.Equal(new JobLatency(null, null), tally.LastHour().LatencyMs);
        foreach (var milliseconds in Enumerable.Range(1, 200))
        {
            Complete($"job-{milliseconds}", milliseconds);
        }

        time.Advance(TimeSpan.FromSeconds(1)); // the last minute is told in whole seconds
        Assert.All([tally.LastMinute().LatencyMs, tally.LastHour().LatencyMs], latency =>
        {
            Assert.InRange(latency.P50!.Value, 95, 105);
            Assert.InRange(latency.P95!.Value, 180.5, 199.5);
        });
        Complete("instant", 0);
        Complete("endless", 1e12); // and at both ends something is told
    }

    [Fact]
    public void Failures_count_for_an_hour()
    {
        Assert.Equal((0, null), (tally.LastHour().Attempts, tally.LastHour().FailureRate));
        tally.Retried("a", new JobOutcome.Retry("io", "away"));
        time.Advance(TimeSpan.FromMinutes(30));
        tally.Dead("b", "malformed", "no picture");
        Complete("c", 5);
        Complete("d", 5);

        var hour = tally.LastHour();
        Assert.Equal((4, 1, 1, 0.5), (hour.Attempts, hour.Retries, hour.DeadLetters, hour.FailureRate));
        time.Advance(TimeSpan.FromMinutes(30));
        hour = tally.LastHour();
        Assert.Equal((3, 0, 1, 0.3333), (hour.Attempts, hour.Retries, hour.DeadLetters, hour.FailureRate));
        time.Advance(TimeSpan.FromMinutes(31));
        Assert.Equal((0, null), (tally.LastHour().Attempts, tally.LastHour().FailureRate));
        Assert.Equal(2, tally.Outcomes["embedded"]);
    }

    [Fact]
    public void A_job_that_will_be_tried_again_is_not_done()
    {
        tally.Retried("a", new JobOutcome.Retry("io", "away"));
        tally.Dead("b", "malformed", "no picture");
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((1.0, 1), (tally.LastMinute().JobsPerSecond, tally.LastMinute().PerSecond.Sum()));
    }

    [Fact]
    public void The_last_minute_has_a_place_for_each_second()
    {
        Complete("a", 5);
        time.Advance(TimeSpan.FromSeconds(2));
        Complete("b", 5);
        Complete("c", 5);
        time.Advance(TimeSpan.FromSeconds(2));

        var minute = tally.LastMinute();
        Assert.Equal([1, 0, 2, 0], minute.PerSecond.TakeLast(4));
        Assert.Equal((60, 3, 0.75), (minute.PerSecond.Count, minute.PerSecond.Sum(), minute.JobsPerSecond));
        Assert.Equal(3, minute.StageMs["decode"]);
        time.Advance(TimeSpan.FromSeconds(58));
        Assert.Equal(2, tally.LastMinute().PerSecond.Sum());
    }

    [Fact]
    public void The_last_results_are_kept_the_newest_first()
    {
        for (var i = 0; i < 15; i++)
        {
            Complete($"job-{i}", i);
        }

        Assert.Equal(Enumerable.Range(5, 10).Reverse().Select(i => ($"job-{i}", "embedded", 1, (double)i)), tally.Results.Select(r => (r.JobId, r.Outcome, r.Faces, r.Milliseconds)));
    }

    [Fact]
    public void What_did_not_succeed_is_kept_the_newest_first()
    {
        for (var i = 0; i < 19; i++)
        {
            tally.Retried($"job-{i}", new JobOutcome.Retry("io", "away"));
        }

        time.Advance(TimeSpan.FromSeconds(1));
        tally.Retried("late", new JobOutcome.Retry("deadline", "It took too long."));
        tally.Dead("broken", "malformed", "It is no job.");

        var at = time.GetUtcNow().UtcDateTime;
        Assert.Equal([new JobTrouble(at, "broken", "dead_letter", "malformed", "It is no job."), new JobTrouble(at, "late", "retry", "deadline", "It took too long.")], tally.Troubles.Take(2));
        Assert.Equal(Enumerable.Range(1, 18).Reverse().Select(i => $"job-{i}"), tally.Troubles.Skip(2).Select(t => t.JobId));
    }

    [Fact]
    public void Outcomes_and_reasons_are_counted_since_the_start()
    {
        tally.Retried("a", new JobOutcome.Retry("io", "away"));
        tally.Retried("a", new JobOutcome.Retry("io", "away"));
        tally.Retried("b", new JobOutcome.Retry("deadline", "late"));
        tally.Dead("c", "malformed", "no job");
        Complete("d", 5);
        time.Advance(TimeSpan.FromHours(2));

        Assert.Equal(new Dictionary<string, long> { ["retry"] = 3, ["dead_letter"] = 1, ["embedded"] = 1 }, tally.Outcomes);
        Assert.Equal(new Dictionary<string, long> { ["io"] = 2, ["deadline"] = 1 }, tally.Retries);
        Assert.Equal(new Dictionary<string, long> { ["malformed"] = 1 }, tally.DeadLetters);
    }

    private void Complete(string id, double milliseconds) => tally.Completed(new EmbedResult
    {
        JobId = id,
        Outcome = EmbedResult.Embedded,
        Model = new ResultModel("model", "space", 1),
        Image = new ResultImage("sum"),
        Embeddings = [new ResultEmbedding("face", [1])],
        Metadata = JsonElement.Parse("{}"),
        Attempt = 1,
        Worker = "host/1",
        Version = "1.0.0",
        TimingsMs = new ResultTimings(null, 3, null, null, null, milliseconds),
        CompletedAt = DateTime.UnixEpoch,
    });
}
