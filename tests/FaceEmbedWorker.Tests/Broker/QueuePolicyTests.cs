using System.Text.Json;
using FaceEmbedWorker.Broker;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class QueuePolicyTests
{
    [Theory]
    [InlineData("results", """{"policy":"p","effective_policy_definition":{"message-ttl":4000}}""", "p: message-ttl 4000 deletes results that nobody took in 4000 ms.")]
    [InlineData("results", """{"policy":"p","effective_policy_definition":{"delivery-limit":1}}""", "p: delivery-limit 1 deletes what was looked at")]
    [InlineData("dead", """{"operator_policy":"o","effective_policy_definition":{"delivery-limit":1}}""", "operator policy o: delivery-limit 1 deletes")]
    [InlineData("dead", """{"policy":"p","operator_policy":"o","effective_policy_definition":{"expires":9}}""", "p and operator policy o: expires 9 deletes the queue")]
    [InlineData("jobs", """{"policy":"p","effective_policy_definition":{"overflow":"drop-head"}}""", "p: overflow drop-head drops")]
    [InlineData("wait", """{"policy":"p","effective_policy_definition":{"dead-letter-strategy":"at-most-once"}}""", "p: dead-letter-strategy at-most-once may lose")]
    public void What_deletes_messages_is_named(string role, string found, string told)
    {
        var finding = QueuePolicy.Judge("q", role, JsonElement.Parse(found));
        Assert.False(finding.Good);
        Assert.StartsWith(told, finding.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("dead", """{"policy":"p","effective_policy_definition":{"message-ttl":4000}}""", "p: message-ttl; dead letters are deleted after 4000 ms")]
    [InlineData("jobs", """{"policy":"p","effective_policy_definition":{"delivery-limit":9,"message-ttl":4000}}""", "p: delivery-limit, message-ttl; nothing of it loses messages")]
    [InlineData("results", """{"policy":"p","effective_policy_definition":{"max-length":9}}""", "p: max-length; nothing of it loses messages")]
    [InlineData("results", """{"policy":null,"effective_policy_definition":[]}""", "none")]
    public void What_is_the_operators_own_business_is_not(string role, string found, string told) =>
        Assert.Equal(new BrokerFinding("policy on q", true, told), QueuePolicy.Judge("q", role, JsonElement.Parse(found)));
}
