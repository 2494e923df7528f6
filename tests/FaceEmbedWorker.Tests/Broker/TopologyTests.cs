using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Broker;

public class TopologyTests
{
    [Theory]
    [InlineData("PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'face.jobs' in vhost '/': received 'quorum' but current is 'classic'",
        "The queue 'face.jobs' exists on the broker with x-queue-type 'classic', but this worker needs 'quorum'.")]
    [InlineData("PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'face.jobs' in vhost '/': received the value 'quorum' of type 'longstr' but current is none",
        "The queue 'face.jobs' exists on the broker with x-queue-type none, but this worker needs 'quorum'.")]
    [InlineData("PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'face.jobs' in vhost '/': received the value '20' of type 'signedint' but current is the value '5' of type 'signedint'",
        "The queue 'face.jobs' exists on the broker with x-delivery-limit '5', but this worker needs '20'.")]
    [InlineData("PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'face.results' in vhost '/': received 'topic' but current is 'fanout'",
        "The exchange 'face.results' exists on the broker with type 'fanout', but this worker needs 'topic'.")]
    public void A_difference_is_told_in_words(string reply, string words) =>
        Assert.StartsWith(words, Topology.Words(reply), StringComparison.Ordinal);

    [Fact]
    public void The_wait_is_in_the_name_of_its_queue()
    {
        var topology = new Topology(Options.Create(new BrokerOptions { RetryDelays = "0.25, 5,120" }));
        Assert.Equal(["face.jobs.wait.250", "face.jobs.wait.5000", "face.jobs.wait.120000"], topology.Ladder.Select(topology.WaitQueue));
    }
}
