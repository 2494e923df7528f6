using FaceEmbedWorker.Broker;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

public class CrashCountsTests
{
    [Theory]
    [InlineData(0, 0, 0, false)]
    [InlineData(1, 0, 1, false)]
    [InlineData(2, 0, 2, true)]
    [InlineData(3, 2, 1, false)]
    [InlineData(1, 5, 0, false)]
    public void What_was_lost_here_is_no_crash(long returns, int lostHere, long crashes, bool suspect) =>
        Assert.Equal((crashes, suspect), (CrashCounts.Crashes(returns, lostHere), CrashCounts.IsSuspect(CrashCounts.Crashes(returns, lostHere))));

    [Theory]
    [InlineData(2, false)]
    [InlineData(3, true)]
    public void Three_crashes_alone_are_guilt(long alone, bool condemned) => Assert.Equal(condemned, CrashCounts.IsCondemned(alone));

    [Fact]
    public void A_job_that_is_settled_is_forgotten()
    {
        var (counts, message) = (new CrashCounts(), Returned(3));
        Assert.Equal(3, counts.Of(message));
        counts.Lost(message);
        counts.Lost(message);
        Assert.Equal(1, counts.Of(message));
        counts.Settled(message);
        Assert.Equal(3, counts.Of(message));
    }

    [Fact]
    public void Ten_thousand_jobs_are_remembered_and_then_all_are_forgotten()
    {
        var counts = new CrashCounts();
        for (var i = 0; i <= 10_000; i++)
        {
            counts.Lost(Returned(1, $"{i}"));
        }

        Assert.Equal((0, 0), (counts.Of(Returned(1, "0")), counts.Of(Returned(1, "10000"))));
        counts.Lost(Returned(1, "one more"));
        Assert.Equal((1, 1, 0), (counts.Of(Returned(1, "0")), counts.Of(Returned(1, "10000")), counts.Of(Returned(1, "one more"))));
    }

    private static JobMessage Returned(long times, string id = "a") => new(new byte[] { 1 }, new BasicProperties { MessageId = id, Headers = new Dictionary<string, object?> { ["x-delivery-count"] = times } });
}
