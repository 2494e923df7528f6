using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class ResultOptionsTests
{
    [Fact]
    public void Replies_go_to_queues_that_brokers_name_where_no_setting_says_otherwise() =>
        Assert.Equal(["amq.rabbitmq.reply-to*", "amq.gen-*"], new ResultOptions().ReplyToPatterns);

    [Theory]
    [InlineData("", new string[0])]
    [InlineData(" , ,", new string[0])]
    [InlineData(" replies.* ,, amq.gen-*,", new[] { "replies.*", "amq.gen-*" })]
    public void Queues_of_replies_are_parted_by_commas(string setting, string[] expected) => Assert.Equal(expected, new ResultOptions { ReplyTo = setting }.ReplyToPatterns);
}
