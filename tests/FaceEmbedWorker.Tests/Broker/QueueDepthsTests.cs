using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

public class QueueDepthsTests
{
    private readonly QueueDepths depths = new(null!, new Topology(Options.Create(new BrokerOptions())), TimeProvider.System);

    [Fact]
    public void A_nought_that_may_be_a_silent_leader_is_told_late()
    {
        Assert.Equal([null, null, 0L], Look(3, 0, 0));
        Assert.Equal([5L], Look(1, 5, 0));
        Assert.Equal([5L, 5L, null, null], Look(4, 0, 0));
        Assert.Equal([7L], Look(1, 7, 0));
        Assert.Equal(0L, Look(24, 0, 0)[^1]); // emptied after all
        Assert.Equal([9L, 0L], [.. Look(1, 9, 1), .. Look(1, 0, 1)]); // a consumer is told of: its leader has answered
        Assert.Equal([0L, 0L, 0L, 0L], Look(4, 0, 0)); // it was 0 before
    }

    [Fact]
    public void The_time_until_the_backlog_is_done_is_told_once_it_is_seen_to_shrink()
    {
        var time = new FakeTimeProvider();
        var watched = new QueueDepths(null!, new Topology(Options.Create(new BrokerOptions())), time);
        Assert.Equal(new Backlog(1000, null), watched.Look(1000));
        Assert.Null(watched.Look(1000).SecondsLeft);

        Assert.Equal((-10, 95), After(5, 950));
        Assert.Null((new Backlog(950, -10) { Paused = true }).SecondsLeft);
        Assert.Equal((-10, 70), After(25, 700));
        Assert.Equal((0, null), After(35, 700)); // what is longer ago than half a minute does not count
        Assert.Equal((10, null), After(20, 950));

        (double?, double?) After(int seconds, long jobs)
        {
            time.Advance(TimeSpan.FromSeconds(seconds - 5));
            watched.Look(jobs);
            time.Advance(TimeSpan.FromSeconds(5));
            var backlog = watched.Look(jobs);
            return (backlog.PerSecond, backlog.SecondsLeft);
        }
    }

    [Fact]
    public void A_trend_is_told_from_the_fifth_second_on_and_over_half_a_minute_at_most()
    {
        var time = new FakeTimeProvider();
        var watched = new QueueDepths(null!, new Topology(Options.Create(new BrokerOptions())), time);
        watched.Look(100);
        Assert.Null(After(4.9, 50).PerSecond);
        Assert.Equal(-10, After(0.1, 50).PerSecond); // 50 in 5 s
        Assert.Equal(-3.33, After(25, 0).PerSecond); // 100 in 30 s
        Assert.Equal(-1.98, After(0.1, 0).PerSecond); // 50 in 25.2 s: what is older than half a minute is gone
        Assert.Equal(new Backlog(7, -2).SecondsLeft, 4); // 3.5
        Assert.Null(new Backlog(7, 0).SecondsLeft);
        Assert.Null(new Backlog(7, null).SecondsLeft);

        Backlog After(double seconds, long jobs)
        {
            time.Advance(TimeSpan.FromSeconds(seconds));
            return watched.Look(jobs);
        }
    }

    [Fact]
    public async Task What_waits_is_all_jobs_and_suspects_apart()
    {
        var link = new PaperLink(new PaperChannel()) { Counts = new() { ["face.jobs"] = new(3, 1), ["face.jobs.bulk"] = new(40, 1), ["face.jobs.suspect"] = new(2, 0), ["face.jobs.dead"] = new(500, 0) } };
        Assert.Equal((43, 2), await new QueueDepths(link, new Topology(Options.Create(new BrokerOptions { BulkQueue = true })), TimeProvider.System).AskAsync(CancellationToken.None));
        Assert.Equal((3, 2), await new QueueDepths(link, new Topology(Options.Create(new BrokerOptions())), TimeProvider.System).AskAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Queues_are_asked_every_five_seconds_and_every_half_while_one_is_in_doubt()
    {
        var (time, link) = (new CountedTime(), new PaperLink(new PaperChannel()) { Counts = new() { ["face.jobs"] = new(3, 1), ["face.jobs.dead"] = new(5, 0) } });
        var watched = new QueueDepths(link, new Topology(Options.Create(new BrokerOptions())), time);
        using var stopping = new CancellationTokenSource();
        Assert.Null(watched.Backlog);
        var watching = watched.WatchAsync(stopping.Token);
        Assert.Equal(new Dictionary<string, long> { ["face.jobs"] = 3, ["face.jobs.dead"] = 5 }, watched.Ready);
        Assert.Equal(new Backlog(3, null), watched.Backlog);

        link.Counts = new() { ["face.jobs.dead"] = new(6, 0) };
        await NextAsync(5);
        Assert.Equal(6, Assert.Single(watched.Ready).Value);
        Assert.Null(watched.Backlog); // there is no queue of jobs

        link.Counts = new() { ["face.jobs"] = new(4, 1), ["face.jobs.results"] = new(0, 0), ["face.results"] = new(0, 0) };
        await NextAsync(5);
        Assert.Equal(4, Assert.Single(watched.Ready).Value);
        await NextAsync(0.5); // one of them is in doubt
        link.Counts = null;
        await NextAsync(0.5);
        Assert.Equal((0, null), (watched.Ready.Count, watched.Backlog));
        link.Counts = [];
        await NextAsync(0.5);
        await NextAsync(0.5);
        await stopping.CancelAsync();
        await watching.WaitAsync(TimeSpan.FromSeconds(30));

        async Task NextAsync(double seconds)
        {
            var before = link.Looks;
            Assert.Equal(TimeSpan.FromSeconds(seconds), time.Due);
            await time.NextAsync(seconds);
            Assert.Equal(before + 1, link.Looks);
        }
    }

    [Fact]
    public async Task The_backlog_is_of_both_queues_of_jobs_and_unknown_while_one_of_them_is()
    {
        var (time, link) = (new CountedTime(), new PaperLink(new PaperChannel()) { Counts = new() { ["face.jobs"] = new(3, 1), ["face.jobs.bulk"] = new(40, 1) } });
        var watched = new QueueDepths(link, new Topology(Options.Create(new BrokerOptions { BulkQueue = true })), time);
        using var stopping = new CancellationTokenSource();
        var watching = watched.WatchAsync(stopping.Token);
        Assert.Equal(43, watched.Backlog?.Jobs);
        link.Counts = new() { ["face.jobs"] = new(3, 1) };
        await time.NextAsync(5);
        Assert.Null(watched.Backlog);
        await stopping.CancelAsync();
        await watching.WaitAsync(TimeSpan.FromSeconds(30));
    }

    private List<long?> Look(int times, long ready, long consumers) => [.. Enumerable.Range(0, times)
        .Select(_ => depths.Believed(new Dictionary<string, QueueCount> { ["q"] = new(ready, consumers) }).TryGetValue("q", out var told) ? told : (long?)null)];
}
