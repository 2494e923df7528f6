using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.EndToEnd;

[Collection(RabbitMq310.Name)]
public sealed class BulkOnRabbitMq310Tests(DebianBroker broker) : BulkTests(broker);

[Collection(RabbitMq4.Name)]
public sealed class BulkOnRabbitMq4Tests(ContainerBroker broker) : BulkTests(broker);

/// <summary>Jobs that somebody waits for, beside a backlog that nobody does.</summary>
public abstract class BulkTests(TestBroker broker)
{
    private static readonly byte[] Photo = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(0.4), ".jpg");

    /// <summary>Bulk jobs in the measured backlog.</summary>
    private static int Backlog => int.TryParse(Environment.GetEnvironmentVariable("FACE_EMBED_BULK"), CultureInfo.InvariantCulture, out var jobs) ? jobs : 300;

    /// <summary>One slot: what is done between a job's confirm and its own end is what it waited for.</summary>
    [Fact]
    public async Task A_job_waits_for_no_backlog()
    {
        await using var probe = await ProbeAsync();
        await SubmitBulkAsync(probe, Backlog);
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe, "--Jobs:Parallelism=1");
        await probe.WaitForMoreAsync(20);

        var (before, milliseconds) = (new List<int>(), new List<double>());
        for (var i = 0; i < 15; i++)
        {
            var asked = DateTime.UtcNow;
            await probe.SubmitAsync(Photo, "image/jpeg", $"asked-{i}");
            var confirmed = DateTime.UtcNow;
            var done = Done(await probe.ResultAsync($"asked-{i}"));
            before.Add(probe.Results.Count(r => BrokerProbe.JobId(r).StartsWith("bulk-", StringComparison.Ordinal) && Done(r) > confirmed && Done(r) < done));
            milliseconds.Add((done - asked).TotalMilliseconds);
        }

        before.Sort();
        milliseconds.Sort();
        var left = await probe.ReadyAsync(probe.Topology.Bulk!);
        TestContext.Current.TestOutputHelper?.WriteLine($"{Backlog:N0} bulk jobs, {left:N0} left: {string.Join(' ', before)} of them were done before a job that was asked for; {milliseconds[7]:0} ms in the median, {milliseconds[^1]:0} at most");
        Assert.True(left > 0, "The backlog was done before the last job was asked for.");
        Assert.InRange(before[7], 0, 1); // the one that ran, so that the job's own time makes two

        static DateTime Done(Seen result) => result.Json.GetProperty("completed_at").GetDateTime().ToUniversalTime();
    }

    [Fact]
    public async Task Bulk_jobs_get_their_share_while_others_wait()
    {
        await using var probe = await ProbeAsync();
        await SubmitBulkAsync(probe, 10);
        for (var i = 0; i < 60; i++)
        {
            await probe.SubmitAsync(Photo, "image/jpeg", $"asked-{i}");
        }

        var begun = new ConcurrentQueue<string>();
        InProcessWorker? worker = null;
        await using var ends = worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            begun.Enqueue(job.Id);
            while (begun.Count <= 50 && (worker is not { InHand: 5 } || probe.Results.Count < begun.Count - 1)) // all three and two that it asks for, so that one of each sort waits: broker and acks may take their time
            {
                await Task.Delay(5, cancel);
            }

            return await Pipeline.Handler().HandleAsync(job, cancel);
        });
        await probe.AllAsync(70);

        Assert.InRange(begun.Take(50).Count(IsBulk), 4, 6); // 10 %
        Assert.Equal(70, begun.Distinct().Count());
        Assert.Equal((0u, 0), (await probe.ReadyAsync(probe.Topology.Bulk!), probe.Dead.Count));

        static bool IsBulk(string id) => id.StartsWith("bulk-", StringComparison.Ordinal);
    }

    /// <summary>An archive that takes connections and says nothing: who waits does not wait for it, though there is one slot.</summary>
    [Fact]
    public async Task A_host_that_never_answers_holds_up_bulk_jobs_only()
    {
        await using var probe = await ProbeAsync();
        using var archive = new TcpListener(IPAddress.Loopback, 0);
        archive.Start();
        for (var i = 0; i < 3; i++)
        {
            await SubmitBulkAsync(probe, $"bulk-{i}", body: Encoding.UTF8.GetBytes($$$"""{"image":{"url":"http://{{{archive.LocalEndpoint}}}/{{{i}}}.jpg"}}"""));
        }

        await using var worker = await FaceEmbed.WorkerAsync(probe, "--Jobs:Parallelism=1", $"--Sources:Hosts=http://{archive.LocalEndpoint}", "--Sources:PrivateNetworks=127.0.0.1/32", "--Sources:TimeoutSeconds=300", "--Jobs:DeadlineSeconds=300");
        using var silent = await archive.AcceptTcpClientAsync();
        for (var i = 0; i < 5; i++)
        {
            await probe.SubmitAsync(Photo, "image/jpeg", $"asked-{i}");
            await probe.ResultAsync($"asked-{i}");
        }

        Assert.False(archive.Pending()); // it is one job that waits for the archive, and the first still
        using var stream = silent.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Length: {Photo.Length}\r\n\r\n"));
        await stream.WriteAsync(Photo);
        var result = await probe.ResultAsync("bulk-0");
        Assert.Equal(("embedded", 1), (result.Json.GetProperty("outcome").GetString(), result.Json.GetProperty("attempt").GetInt32()));
    }

    /// <summary>Its own retries find no room in it, and come by the first queue: they were held with the intake closed, and nobody made room.</summary>
    [Fact]
    public async Task A_full_queue_of_bulk_jobs_holds_up_nobody()
    {
        await using var probe = await ProbeAsync();
        string away;
        using (var port = new TcpListener(IPAddress.Loopback, 0))
        {
            port.Start();
            away = $"http://{port.LocalEndpoint}";
        }

        for (var i = 0; i < 40; i++)
        {
            await SubmitBulkAsync(probe, $"bulk-{i}", body: Encoding.UTF8.GetBytes($$$"""{"image":{"url":"{{{away}}}/{{{i}}}.jpg"}}"""));
        }

        await broker.ControlAsync("set_policy", probe.Topology.Bulk!, $"^{probe.Topology.Bulk}$", """{"max-length":5,"overflow":"reject-publish"}""", "--apply-to", "queues");
        try
        {
            await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Sources:Hosts={away}", "--Sources:PrivateNetworks=127.0.0.1/32");
            await worker.SaidAsync("finds its queue full");
            for (var i = 0; i < 3; i++)
            {
                await probe.SubmitAsync(Photo, "image/jpeg", $"asked-{i}");
                await probe.ResultAsync($"asked-{i}");
            }

            Assert.DoesNotContain("The intake is closed", worker.Output, StringComparison.Ordinal);
        }
        finally
        {
            await broker.ControlAsync("clear_policy", probe.Topology.Bulk!);
        }
    }

    /// <summary>After a lost connection the queues have their turns one by one, for the next message may end it again; where there is none, both are taken soon.</summary>
    [Fact]
    public async Task Both_queues_are_taken_again_after_a_lost_connection()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await InProcessWorker.StartAsync(probe, (job, cancel) => Pipeline.Handler().HandleAsync(job, cancel));
        for (var lost = 0; lost < 3; lost++) // whichever has the first turn
        {
            await BothAsync();
            await worker.EndLifeAsync();
        }

        await BothAsync();
        await SubmitBulkAsync(probe, "bulk");
        await probe.SubmitAsync(Photo, "image/jpeg", "asked");
        await probe.AllAsync(2);

        async Task BothAsync()
        {
            await probe.UntilAsync(() => probe.Channel.ConsumerCountAsync(probe.Topology.Jobs).Result > 0 && probe.Channel.ConsumerCountAsync(probe.Topology.Bulk!).Result > 0 ? probe : null, "a consumer of each queue", seconds: 60);
        }
    }

    [Fact]
    public async Task A_bulk_job_that_is_tried_again_waits_among_its_own()
    {
        await using var probe = await ProbeAsync();
        var (failed, first, blocked, release) = (0, new TaskCompletionSource(), new TaskCompletionSource(), new TaskCompletionSource());
        await using var worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            if (job.Id == "blocks")
            {
                blocked.SetResult();
                await release.Task;
            }

            if (job.Id != "fails")
            {
                return await Pipeline.Handler().HandleAsync(job, cancel);
            }

            failed++;
            await first.Task;
            return new JobOutcome.Retry("io", "away");
        });
        await SubmitBulkAsync(probe, "fails", priority: 9);
        await probe.UntilAsync(() => failed > 0 ? probe : null, "a first attempt");
        await probe.SubmitAsync(Photo, "image/jpeg", "blocks");
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 0 ? probe : null, "the next one in the worker's hand");
        first.SetResult();
        await blocked.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await SubmitBulkAsync(probe, "beside");
        await SubmitBulkAsync(probe, "beside-2");

        // two of the three are in the worker's hand
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Bulk!).Result == 1 ? probe : null, "all in the queue of bulk jobs");
        Assert.Equal((0u, 1), (await probe.ReadyAsync(probe.Topology.Jobs), failed));
        release.SetResult();

        var letter = await probe.DeadLetterAsync("fails");
        Assert.Equal(("attempts_exhausted", "3", "1", 9), (letter.Header("fw-error"), letter.Header("fw-attempt"), letter.Header("fw-bulk"), letter.Properties.Priority));
        await probe.ResultAsync("beside");
        Assert.Equal(3, failed);
    }

    [Fact]
    public async Task A_bulk_job_that_a_stopping_worker_has_not_begun_goes_back_to_its_queue()
    {
        await using var probe = await ProbeAsync();
        var (started, release) = (new TaskCompletionSource(), new TaskCompletionSource());
        var worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            started.TrySetResult();
            await release.Task;
            return await Pipeline.Handler().HandleAsync(job, cancel);
        });
        await SubmitBulkAsync(probe, "runs");
        await started.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await SubmitBulkAsync(probe, "waits");
        await probe.UntilAsync(() => worker.InHand == 2 ? probe : null, "all in the worker's hand"); // on its way to a consumer that is cancelled, the broker takes it back and counts that

        var stopping = worker.DisposeAsync().AsTask();
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Bulk!).Result == 1 ? probe : null, "the one that was not begun");
        release.SetResult();
        await stopping;

        await probe.ResultAsync("runs");
        var back = (await probe.Channel.BasicGetAsync(probe.Topology.Bulk!, autoAck: true))!;
        Assert.Equal(("waits", 0L, false), (back.BasicProperties.MessageId, new JobMessage(back.Body.ToArray(), back.BasicProperties).Returns, back.Redelivered));
    }

    /// <summary>Nobody has marked such a letter: the broker says which queue it was in. The one who replays need not know of the queue.</summary>
    [Theory]
    [InlineData("delivery_limit")]
    [InlineData("expired")]
    [InlineData("rejected")]
    public async Task A_dead_letter_that_the_broker_made_of_a_bulk_job_goes_back_to_its_queue(string reason)
    {
        await using var probe = await ProbeAsync(listen: false);
        await SubmitBulkAsync(probe, "bulk", expiration: reason == "expired" ? "1" : null);
        while (reason != "expired" && await probe.Channel.BasicGetAsync(probe.Topology.Bulk!, autoAck: false) is { } got)
        {
            await probe.Channel.BasicNackAsync(got.DeliveryTag, multiple: false, requeue: reason == "delivery_limit");
        }

        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 1 ? probe : null, "a dead letter");
        var (_, list, _) = await FaceEmbed.RunAsync(["dead-letters", "list", "--json", .. probe.Settings]);
        Assert.Contains($"\"reason\":\"{reason}\"", list, StringComparison.Ordinal);
        Assert.Equal((0, "bulk: replayed\n1 replayed.", ""), await FaceEmbed.RunAsync(["dead-letters", "replay", "bulk", .. probe.Settings, "--Broker:BulkQueue=false"]));

        var job = (await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true))!;
        Assert.Equal("1", new Seen(job.RoutingKey, job.Body.ToArray(), job.BasicProperties).Header("fw-bulk")); // with which the worker that gets it moves it
    }

    private static async Task SubmitBulkAsync(BrokerProbe probe, int count)
    {
        for (var i = 0; i < count; i += 100)
        {
            await Task.WhenAll(Enumerable.Range(i, Math.Min(100, count - i)).Select(n => SubmitBulkAsync(probe, $"bulk-{n}")));
        }
    }

    private static async Task SubmitBulkAsync(BrokerProbe probe, string id, byte? priority = null, string? expiration = null, byte[]? body = null)
    {
        var properties = new BasicProperties { MessageId = id, ContentType = body is null ? "image/jpeg" : "application/json", DeliveryMode = DeliveryModes.Persistent, Expiration = expiration };
        if (priority is { } given)
        {
            properties.Priority = given;
        }

        await probe.Channel.BasicPublishAsync(probe.Topology.Jobs, Topology.BulkKey, mandatory: true, properties, body ?? Photo);
    }

    private async Task<BrokerProbe> ProbeAsync(bool listen = true)
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri, o => o.BulkQueue = true).ConnectAsync(listen);
    }
}
