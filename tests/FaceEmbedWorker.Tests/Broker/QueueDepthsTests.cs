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

    private List<long?> Look(int times, long ready, long consumers) => [.. Enumerable.Range(0, times)
        .Select(_ => depths.Believed(new Dictionary<string, QueueCount> { ["q"] = new(ready, consumers) }).TryGetValue("q", out var told) ? told : (long?)null)];
}
