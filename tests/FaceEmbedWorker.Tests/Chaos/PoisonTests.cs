using System.Net;
using System.Text;
using FaceEmbedWorker.Tests.EndToEnd;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Chaos;

[Collection(AttackedRabbitMq310.Name)]
public sealed class PoisonOnRabbitMq310Tests(DebianBroker broker) : PoisonTests(broker);

[Collection(AttackedRabbitMq4.Name)]
public sealed class PoisonOnRabbitMq4Tests(ContainerBroker broker) : PoisonTests(broker);

/// <summary>
/// Messages whose result, retry or dead letter cannot be written or published: each ends, and takes nothing else with it.
/// </summary>
public abstract class PoisonTests(TestBroker broker)
{
    private const int Good = 40;
    private static readonly byte[] GraceHopper = File.ReadAllBytes(TestData.GraceHopper);

    [Fact]
    public async Task Results_that_cannot_be_written_are_rejected_with_their_ids()
    {
        await using var probe = await ProbeAsync();
        await Ledger.SubmitAsync(probe, Good / 2);
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "half-a-pair", new() { ["metadata"] = """{"a":"\ud800"}""" });
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "deep", new() { ["metadata"] = $"{string.Concat(Enumerable.Repeat("{\"a\":", 63))}{{}}{new string('}', 63)}" });
        await probe.SubmitAsync(Encoding.UTF8.GetBytes($$$"""{"id":"in-json","image":{"data":"{{{Convert.ToBase64String(GraceHopper)}}}"},"metadata":{"\udc00":1}}"""), "application/json");
        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await using var worker = await FaceEmbed.WorkerAsync(probe);

        foreach (var id in new[] { "half-a-pair", "deep", "in-json" })
        {
            Assert.Equal("malformed", (await probe.DeadLetterAsync(id)).Header("fw-error"));
        }

        await NobodyElsePaysAsync(probe, worker, letters: 3);
    }

    [Fact]
    public async Task Names_that_grow_when_they_are_read_are_cut()
    {
        await using var probe = await ProbeAsync();
        await using var proxy = new CutableProxy(new IPEndPoint(IPAddress.Loopback, new Uri(broker.Uri).Port)) { Rewrites = ((byte)'~', 0xE4) };
        var uri = new Uri(broker.Uri);
        await using var connection = await new ConnectionFactory { Uri = new UriBuilder(uri) { Port = proxy.Port }.Uri }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true));
        var odd = new string('~', 200); // Latin-1 on its way: each byte is read as U+FFFD, which has three
        await Ledger.SubmitAsync(probe, Good / 2);
        await channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = odd, Type = odd, AppId = odd }, new byte[] { 1, 2, 3 });
        await channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = "correlated", CorrelationId = odd, ReplyTo = odd, ContentType = "image/jpeg" }, new byte[] { 1, 2, 3 });
        await channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = "odd-type", ContentType = odd }, new byte[] { 1, 2, 3 });
        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await using var worker = await FaceEmbed.WorkerAsync(probe);

        Assert.Equal("malformed", (await probe.DeadLetterAsync("odd-type")).Header("fw-error"));
        var named = await probe.UntilAsync(() => probe.Dead.FirstOrDefault(d => d.Properties.MessageId?.StartsWith('\uFFFD') is true), "a dead letter with a cut id");
        Assert.Equal("malformed", named.Header("fw-error"));
        Assert.InRange(Encoding.UTF8.GetByteCount(named.Properties.MessageId!), 240, 255);
        Assert.StartsWith("\uFFFD", (await probe.ResultAsync("correlated")).Properties.CorrelationId!, StringComparison.Ordinal);
        await NobodyElsePaysAsync(probe, worker, letters: 2, results: 1);
    }

    [Fact]
    public async Task Headers_that_fill_a_frame_are_left_out()
    {
        await using var probe = await ProbeAsync();
        await Ledger.SubmitAsync(probe, Good / 2);
        var long_ = new string('x', 15_500);
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "full-frame", new[] { "mode", "detail", "deadline", "vector_encoding", "traceparent", "tracestate", "baggage", "fw-first-failed-at" }.ToDictionary(h => h, _ => (object?)long_));
        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await using var worker = await FaceEmbed.WorkerAsync(probe);

        Assert.Equal("malformed", (await probe.DeadLetterAsync("full-frame")).Header("fw-error"));
        await NobodyElsePaysAsync(probe, worker, letters: 1);
    }

    /// <summary>
    /// The broker takes smaller messages than when the job was handed in: the last way out is that it makes the dead letter itself.
    /// </summary>
    [Fact]
    public async Task A_dead_letter_over_the_brokers_limit_is_left_to_the_broker()
    {
        await using var probe = await ProbeAsync();
        await Ledger.SubmitAsync(probe, Good / 2);
        await probe.SubmitAsync([.. "{"u8, .. new byte[3_000_000]], "application/json", "too-large");
        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await LimitAsync(1_000_000);
        try
        {
            await using var worker = await FaceEmbed.WorkerAsync(probe, "--Broker:Prefetch=3");
            var letter = await probe.DeadLetterAsync("too-large");
            Assert.Equal(("broker", "", 3_000_001), (letter.RoutingKey, letter.Header("fw-error"), letter.Body.Length));
            await NobodyElsePaysAsync(probe, worker, letters: 1);
            Assert.Contains("Job too-large: ", worker.Output, StringComparison.Ordinal);
        }
        finally
        {
            await LimitAsync(16 * 1024 * 1024);
        }
    }

    [Fact]
    public async Task A_result_over_the_brokers_limit_is_a_dead_letter_that_says_so()
    {
        await using var probe = await ProbeAsync();
        await Ledger.SubmitAsync(probe, Good / 2);
        await probe.SubmitAsync(Encoding.UTF8.GetBytes($$$"""{"id":"wordy","image":{"data":"AAAA"},"metadata":{"a":"{{{new string('x', 200_000)}}}"}}"""), "application/json", "wordy");
        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await LimitAsync(205_000); // the job's bytes and the result's differ by more than that
        try
        {
            await using var worker = await FaceEmbed.ShippedWorkerAsync(probe, "--Broker:Prefetch=3");
            var letter = await probe.DeadLetterAsync("wordy");
            Assert.Equal(("worker", "unpublishable"), (letter.RoutingKey, letter.Header("fw-error")));
            Assert.Contains("the broker takes at most 205,000 bytes", letter.Header("fw-error-message"), StringComparison.Ordinal);
            await NobodyElsePaysAsync(probe, worker, letters: 1);
        }
        finally
        {
            await LimitAsync(16 * 1024 * 1024);
        }
    }

    /// <summary>
    /// Two kinds of headers that the broker confirms and hands out, and that the AMQP client reads before any code of ours sees the
    /// message.
    /// </summary>
    [Fact]
    public async Task Headers_nested_as_deep_as_a_frame_can_be_end_no_worker()
    {
        await using var probe = await ProbeAsync();
        await Ledger.SubmitAsync(probe, Good / 2);
        var nested = Enumerable.Range(0, 24_000).Aggregate(new List<object?>(), (inner, _) => [inner]);
        Task<Task> sent = null!;
        var writer = new Thread(() => sent = Task.FromResult(probe.SubmitAsync(GraceHopper, "image/jpeg", "nested", new() { ["x"] = nested })), 256 * 1024 * 1024);
        writer.Start(); // the client writes by recursion too
        writer.Join();
        await await sent;
        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await using var worker = await FaceEmbed.WorkerAsync(probe);

        await probe.ResultAsync("nested");
        await NobodyElsePaysAsync(probe, worker, letters: 0, results: 1);
    }

    [Fact]
    public async Task A_header_that_the_client_cannot_read_takes_no_other_job_with_it()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false); // the letter that the broker makes in the end would end our connection too
        await probe.ListenAsync(probe.Topology.Results);
        await Ledger.SubmitAsync(probe, Good / 2);
        await using (var proxy = new CutableProxy(new IPEndPoint(IPAddress.Loopback, new Uri(broker.Uri).Port)))
        await using (var connection = await new ConnectionFactory { Uri = new UriBuilder(broker.Uri) { Port = proxy.Port }.Uri }.CreateConnectionAsync())
        await using (var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true)))
        {
            proxy.Rewrites = (28, 100); // a decimal of 28 places becomes one of 100, which .NET has not
            await channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = "unreadable", Headers = new Dictionary<string, object?> { ["x"] = new decimal(5, 0, 0, false, 28) } }, new byte[] { 1, 2, 3 });
        }

        await Ledger.SubmitAsync(probe, Good - Good / 2, from: Good / 2);
        await using var worker = await FaceEmbed.WorkerAsync(probe);

        await probe.AllAsync(Good);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 1 ? probe : null, "the one dead letter", seconds: 60);
        Assert.Equal(0, await worker.TerminateAsync());
        Assert.Equal((0u, 1u), (await probe.ReadyAsync(probe.Topology.Jobs), await probe.ReadyAsync(probe.Topology.Dead)));
        Assert.InRange(probe.Results.Count, Good, Good + 10);
    }

    /// <summary>Every good job has its result once; a channel that a message closed may double what was on it at that moment: of three in hand two.</summary>
    private async Task NobodyElsePaysAsync(BrokerProbe probe, FaceEmbed worker, int letters, int results = 0)
    {
        await probe.AllAsync(Good + results);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 0 ? probe : null, "an empty queue");
        Assert.Equal(0, await worker.TerminateAsync());
        Assert.Equal((letters, 0u), (probe.Dead.Count, await probe.ReadyAsync(probe.Topology.Jobs)));
        Assert.DoesNotContain("The broker went away", worker.Output, StringComparison.Ordinal);
        Assert.InRange(probe.Results.Count, Good + results, Good + results + 2);
        Ledger.Record(broker, "poison: results and dead letters that cannot be published", Good + results + letters, letters + results, probe);
    }

    private Task LimitAsync(int bytes) => broker.EvaluateAsync($"application:set_env(rabbit, max_message_size, {bytes}), persistent_term:put(max_message_size, {bytes}).");

    private async Task<BrokerProbe> ProbeAsync()
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri).ConnectAsync();
    }
}
