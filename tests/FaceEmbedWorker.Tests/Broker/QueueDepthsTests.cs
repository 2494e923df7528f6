using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Options;

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

    private List<long?> Look(int times, long ready, long consumers) => [.. Enumerable.Range(0, times)
        .Select(_ => depths.Believed(new Dictionary<string, QueueCount> { ["q"] = new(ready, consumers) }).TryGetValue("q", out var told) ? told : (long?)null)];
}
