using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

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

    [Fact]
    public void The_queue_of_bulk_jobs_is_there_where_a_setting_says_so_and_is_as_the_first()
    {
        var (without, with) = (new Topology(Options.Create(new BrokerOptions())), new Topology(Options.Create(new BrokerOptions { BulkQueue = true })));
        Assert.Null(without.Bulk);
        var (name, arguments, exchange, keys) = Assert.Single(with.Queues, q => !without.Queues.Any(w => w.Name == q.Name));
        Assert.Equal(("face.jobs.bulk", "face.jobs", "bulk", "bulk"), (name, exchange, Assert.Single(keys), with.Role(name)));
        Assert.Equal(with.Queues.Single(q => q.Name == with.Jobs).Arguments, arguments);
    }

    /// <summary>As README and docs tell them: another argument would be another topology, which brokers with the present one refuse.</summary>
    [Fact]
    public void Queues_are_as_they_are_on_the_brokers_of_users()
    {
        var topology = new Topology(Options.Create(new BrokerOptions { Jobs = "j", Results = "r", BulkQueue = true, RetryDelays = "0.5,1.5,0.5" }));
        const string ToDead = "x-dead-letter-exchange=j.dead x-dead-letter-routing-key=broker x-dead-letter-strategy=at-least-once";
        const string ToJobs = "x-dead-letter-exchange=j x-dead-letter-routing-key=job x-dead-letter-strategy=at-least-once";
        const string Quorum = "x-overflow=reject-publish x-queue-type=quorum";
        Assert.Equal(
        [
            $"dead j.dead <- j.dead/worker,broker: x-delivery-limit=1000000 {Quorum}",
            $"jobs j <- j/job: {ToDead} x-delivery-limit=20 {Quorum}",
            $"bulk j.bulk <- j/bulk: {ToDead} x-delivery-limit=20 {Quorum}",
            $"suspect j.suspect <- j/suspect: {ToDead} x-delivery-limit=3 {Quorum}",
            $"wait j.wait.500 <- j.retry/500: {ToJobs} x-message-ttl=500 {Quorum}",
            $"wait j.wait.1500 <- j.retry/1500: {ToJobs} x-message-ttl=1500 {Quorum}",
            $"results r <- r/#: x-delivery-limit=1000000 {Quorum}",
        ], topology.Queues.Select(q => $"{topology.Role(q.Name)} {q.Name} <- {q.Exchange}/{string.Join(',', q.Keys)}: {string.Join(' ', q.Arguments.OrderBy(a => a.Key, StringComparer.Ordinal).Select(a => $"{a.Key}={a.Value}"))}"));
        Assert.Equal([("j", "direct"), ("j.retry", "direct"), ("j.dead", "direct"), ("r", "topic")], topology.Exchanges);
        Assert.DoesNotContain("r", new Topology(Options.Create(new BrokerOptions { Results = "r", ResultsQueue = false })).Queues.Select(q => q.Name));
    }

    [Theory]
    [InlineData("j", "job", "j")]
    [InlineData("j", "suspect", "j.suspect")]
    [InlineData("j", "bulk", null)] // there is none
    [InlineData("j.retry", "500", "j.wait.500")]
    [InlineData("j.retry", "job", null)]
    [InlineData("j.dead", "worker", "j.dead")]
    [InlineData("r", "#", null)] // others may take them too
    public void Each_key_but_those_of_results_has_one_queue(string exchange, string key, string? queue) =>
        Assert.Equal(queue, new Topology(Options.Create(new BrokerOptions { Jobs = "j", Results = "r", RetryDelays = "0.5" })).OnlyQueue(exchange, key));

    [Theory]
    [InlineData("j.bulk", true)]
    [InlineData("j", false)]
    [InlineData(null, false)]
    public void A_letter_of_the_queue_of_bulk_jobs_is_known_whether_or_not_there_is_one_now(string? queue, bool bulk) => Assert.Equal(bulk,
        new Topology(Options.Create(new BrokerOptions { Jobs = "j" })).DiedAsBulk(new JobMessage(new byte[] { 1 }, new BasicProperties { Headers = new Dictionary<string, object?> { ["x-first-death-queue"] = queue } })));

    [Fact]
    public void What_is_no_difference_is_told_in_the_brokers_words() => Assert.Equal("The broker refused the topology: PRECONDITION_FAILED - why ever", Topology.Words("PRECONDITION_FAILED - why ever"));

    [Fact]
    public void A_difference_is_told_with_the_ways_out() => Assert.EndsWith(" Move its messages away and delete it, give this worker other names (Broker:Jobs, Broker:Results), or set Broker:Declare to false to use it as it is.",
        Topology.Words("inequivalent arg 'type' for exchange 'r' in vhost '/': received 'topic' but current is 'fanout'"), StringComparison.Ordinal);

    [Theory]
    [InlineData("1,5,30,120,600", 30)]
    [InlineData("2,29.9,30.1", 29.9)]
    [InlineData("600,60", 60)]
    [InlineData("0.2", 0.2)]
    public void A_job_whose_queue_is_full_waits_for_half_a_minute_at_most_where_the_ladder_has_that(string ladder, double seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), new Topology(Options.Create(new BrokerOptions { RetryDelays = ladder })).WaitForRoom);

    [Theory]
    [InlineData(1, null, 1.0)]
    [InlineData(1, 0.5, 1.0)]
    [InlineData(1, 20.0, 30.0)]
    [InlineData(1, 5.0, 5.0)]
    [InlineData(2, 3.0, 5.0)]
    [InlineData(2, 5.5, 30.0)]
    [InlineData(1, 9999.0, 30.0)]
    [InlineData(4, 9999.0, 2.0)]
    [InlineData(5, 1.0, null)]
    public void The_wait_is_the_ladders_next_or_the_first_that_is_as_long_as_the_world_asks_for(int attempt, double? asked, double? seconds)
    {
        var topology = new Topology(Options.Create(new BrokerOptions { RetryDelays = "1,5,30,2" }));
        Assert.Equal(seconds, topology.Wait(attempt, asked is { } a ? TimeSpan.FromSeconds(a) : null)?.TotalSeconds);
    }

    [Fact]
    public void Every_ladder_that_the_setting_takes_leads_each_attempt_to_a_queue_of_its_own_that_waits_so_long_and_ends()
    {
        var random = new Random(77);
        for (var round = 0; round < 5000; round++)
        {
            var written = string.Join(random.Next(2) == 0 ? "," : " , ", Enumerable.Range(0, random.Next(1, 9)).Select(_ => (random.Next(4) switch
            {
                0 => Math.Max(0.001, random.NextDouble() * 0.01),
                1 => random.Next(1, 10),
                2 => random.NextDouble() * 1000 + 0.001,
                _ => random.Next(1, 86_401),
            }).ToString(random.Next(2) == 0 ? "0.####" : "0.0000000", CultureInfo.InvariantCulture)));
            var options = new BrokerOptions { RetryDelays = written };
            if (options.Validate(new ValidationContext(options)).Any())
            {
                Assert.Contains(options.RetryDelays.Split(','), s => double.Parse(s, CultureInfo.InvariantCulture) < 0.001); // rounded away
                continue;
            }

            var topology = new Topology(Options.Create(options));
            var steps = written.Split(',').Select(s => TimeSpan.FromSeconds(double.Parse(s, CultureInfo.InvariantCulture))).ToArray();
            for (var attempt = 1; attempt <= steps.Length; attempt++)
            {
                TimeSpan? asked = random.Next(3) == 0 ? null : TimeSpan.FromSeconds(Math.Pow(10, random.NextDouble() * 9 - 3));
                var wait = Assert.NotNull(topology.Wait(attempt, asked));
                var left = steps[(attempt - 1)..];
                Assert.Equal(asked is null ? left[0] : left.FirstOrDefault(s => s >= asked, left.Max()), wait);
                var queue = Assert.Single(topology.Queues.DistinctBy(q => q.Name), q => q.Name == topology.WaitQueue(wait));
                Assert.Equal((topology.Retry, Topology.RetryKey(wait)), (queue.Exchange, Assert.Single(queue.Keys)));
                Assert.InRange(wait.TotalMilliseconds - (long)queue.Arguments["x-message-ttl"]!, 0, 1);
                Assert.True((long)queue.Arguments["x-message-ttl"]! >= 1);
            }

            Assert.Null(topology.Wait(steps.Length + 1, null));
            Assert.Null(topology.Wait(steps.Length + 1, TimeSpan.FromSeconds(1)));
            Assert.All(topology.Queues.GroupBy(q => q.Name), same => Assert.Single(same.Select(q => JsonSerializer.Serialize(q.Arguments)).Distinct())); // two steps that round to one are one queue
        }
    }

    [Theory]
    [InlineData("stub", true)]
    [InlineData("*", true)]
    [InlineData("#", true)]
    [InlineData("#.stub", true)]
    [InlineData("*.#", true)]
    [InlineData("", false)]
    [InlineData("*.*", false)]
    [InlineData("embedded", false)]
    [InlineData("stub.#.x", false)]
    public void A_binding_of_the_results_takes_a_key_as_the_broker_would(string pattern, bool takes) => Assert.Equal(takes, BrokerCheck.Takes(pattern, "stub"));
}
