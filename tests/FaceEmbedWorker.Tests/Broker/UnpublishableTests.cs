using FaceEmbedWorker.Broker;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Broker;

public class UnpublishableTests
{
    [Theory]
    [InlineData(406, "PRECONDITION_FAILED - message size 3000001 is larger than configured max size 1000000", 1000000L, true)]
    [InlineData(406, "PRECONDITION_FAILED - message size 600000000 is larger than max size 536870912", 536870912L, true)]
    [InlineData(406, "PRECONDITION_FAILED - unknown delivery tag 7", null, true)]
    [InlineData(501, "FRAME_ERROR - type 2, all octets = <<>>", null, true)]
    [InlineData(404, "NOT_FOUND - no exchange 'x'", null, false)]
    [InlineData(320, "CONNECTION_FORCED - broker forced connection closure", null, false)]
    public void A_closed_channel_tells_whose_fault_it_is(ushort code, string text, long? limit, bool accuses)
    {
        var closed = new OperationInterruptedException(new ShutdownEventArgs(ShutdownInitiator.Peer, code, text));
        Assert.Equal((limit, accuses), (Unpublishable.LimitOf(closed), Unpublishable.Accuses(closed)));
    }

    [Fact]
    public void Properties_that_do_not_fit_into_a_frame_are_told_before_they_are_sent()
    {
        var large = new BasicProperties { Headers = new Dictionary<string, object?> { ["a"] = new string('ü', 66_000) } };
        Assert.Contains("131,072", Assert.Throws<UnpublishableException>(() => Unpublishable.RequireThatItFits(large, 131_072)).Message, StringComparison.Ordinal);
        Unpublishable.RequireThatItFits(large, 0); // no limit
        large.Headers["a"] = new string('ü', 64_000);
        Unpublishable.RequireThatItFits(large, 131_072);
    }
}
