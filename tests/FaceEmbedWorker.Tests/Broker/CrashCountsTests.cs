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

    private static JobMessage Returned(long times) => new(new byte[] { 1 }, new BasicProperties { MessageId = "a", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = times } });
}
