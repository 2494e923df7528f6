using System.Globalization;
using System.Net;
using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Tests.Chaos;
using Microsoft.Extensions.Time.Testing;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.EndToEnd;

[CollectionDefinition(Name)]
public sealed class RabbitMq310 : ICollectionFixture<DebianBroker>
{
    public const string Name = "RabbitMQ 3.10";
}

[CollectionDefinition(Name)]
public sealed class RabbitMq4 : ICollectionFixture<ContainerBroker>
{
    public const string Name = "RabbitMQ 4";
}

/// <summary>Brokers of their own for what is around the worker, so that it is tested beside it.</summary>
[CollectionDefinition(Name)]
public sealed class AroundRabbitMq310 : ICollectionFixture<DebianBroker>
{
    public const string Name = "RabbitMQ 3.10, around the worker";
}

/// <inheritdoc cref="AroundRabbitMq310"/>
[CollectionDefinition(Name)]
public sealed class AroundRabbitMq4 : ICollectionFixture<ContainerBroker>
{
    public const string Name = "RabbitMQ 4, around the worker";
}

[Collection(RabbitMq310.Name)]
public sealed class WorkerOnRabbitMq310Tests(DebianBroker broker) : WorkerTests(broker);

/// <summary>The worker on a real broker; what a user could see, in queues and on the command line.</summary>
public abstract class WorkerTests(TestBroker broker)
{
    private protected static readonly byte[] Astronaut = File.ReadAllBytes(TestData.Astronaut);
    private protected static readonly byte[] GraceHopper = File.ReadAllBytes(TestData.GraceHopper);

    protected TestBroker Broker => broker;

    [Fact]
    public async Task Jobs_of_every_kind_end_as_they_should()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);

        await probe.SubmitAsync(Astronaut, "image/png", "raw", new() { ["metadata"] = """{"album":"Ü"}""" }, correlationId: "c-1");
        await probe.SubmitAsync(Encoding.UTF8.GetBytes($$$"""{"id":"json","image":{"data":"{{{Convert.ToBase64String(GraceHopper)}}}"},"mode":"image","metadata":{"n":1},"colour":"red"}"""), "application/json");
        await probe.SubmitAsync(GraceHopper, contentType: null);
        await probe.SubmitAsync("no picture at all"u8.ToArray(), "image/jpeg", "garbage");
        await probe.SubmitAsync([], "image/jpeg", "empty");
        await probe.SubmitAsync("{\"id\":\"malformed\",\"image\":{}}"u8.ToArray(), "application/json");
        await probe.SubmitAsync("{\"image\":{\"url\":\"http://127.0.0.1/\"}}"u8.ToArray(), "application/json", "reference");

        var raw = await probe.ResultAsync("raw");
        Assert.Equal(("embedded", "c-1", $"raw:{Pipeline.Embedder.FaceSpace}", "application/json", DeliveryModes.Persistent),
            (raw.RoutingKey, raw.Properties.CorrelationId, raw.Properties.MessageId, raw.Properties.ContentType, raw.Properties.DeliveryMode));
        Assert.Equal("""{"album":"Ü"}""", raw.Json.GetProperty("metadata").GetRawText());
        var expected = (await Pipeline.EmbedAsync(Astronaut)).Embeddings[0].Vector;
        Assert.Equal(expected, raw.Json.GetProperty("embeddings")[0].GetProperty("vector").EnumerateArray().Select(v => v.GetSingle()));

        var json = await probe.ResultAsync("json");
        Assert.Equal(("image", $"json:{Pipeline.Embedder.ImageSpace}"), (json.Json.GetProperty("embeddings")[0].GetProperty("source").GetString(), json.Properties.MessageId));
        Assert.Equal("""["The job's field 'colour' is unknown and was ignored."]""", json.Json.GetProperty("warnings").GetRawText());
        await probe.ResultAsync(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(GraceHopper)));
        Assert.Equal("stub", (await probe.ResultAsync("garbage")).RoutingKey);

        Assert.Equal("malformed", (await probe.DeadLetterAsync("empty")).Header("fw-error"));
        var malformed = await probe.DeadLetterAsync("malformed");
        Assert.Equal(("worker", "malformed", "1", "0", "{\"id\":\"malformed\",\"image\":{}}", "application/json"),
            (malformed.RoutingKey, malformed.Header("fw-error"), malformed.Header("fw-attempt"), malformed.Header("fw-replays"), Encoding.UTF8.GetString(malformed.Body), malformed.Properties.ContentType));
        Assert.All(new[] { "fw-error-message", "fw-first-failed-at", "fw-last-failed-at", "fw-worker", "fw-version" }, name => Assert.NotEmpty(malformed.Header(name)));
        Assert.Equal("source_denied", (await probe.DeadLetterAsync("reference")).Header("fw-error"));

        Assert.Equal(0, await worker.TerminateAsync());
        Assert.Contains("Stopped", worker.Output, StringComparison.Ordinal);
        Assert.Equal((4, 3, 0u), (probe.Results.Count, probe.Dead.Count, await probe.ReadyAsync(probe.Topology.Jobs)));
    }

    [Fact]
    public async Task A_job_that_fails_for_the_worlds_fault_succeeds_later()
    {
        await using var probe = await ProbeAsync();
        var attempts = new List<int>();
        await using var worker = await InProcessWorker.StartAsync(probe, (job, cancel) =>
        {
            attempts.Add(job.Attempt);
            return job.Attempt < 3 ? throw new IOException("the disk is away") : Pipeline.Handler().HandleAsync(job, cancel);
        });

        await probe.SubmitAsync(Astronaut, id: "later", headers: new() { ["metadata"] = """{"kept":true}""", ["x-death"] = new List<object?> { "a producer's copy" } });

        var result = await probe.ResultAsync("later");
        Assert.Equal([1, 2, 3], attempts);
        Assert.Equal(3, result.Json.GetProperty("attempt").GetInt32());
        Assert.Equal("""{"kept":true}""", result.Json.GetProperty("metadata").GetRawText());
        Assert.Empty(probe.Dead);
    }

    [Fact]
    public async Task Exhausted_attempts_end_as_a_dead_letter_that_tells_why()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe, "--Jobs:DeadlineSeconds=0.001");

        await probe.SubmitAsync(Astronaut, id: "slow");

        var letter = await probe.DeadLetterAsync("slow");
        Assert.Equal(("attempts_exhausted", "3"), (letter.Header("fw-error"), letter.Header("fw-attempt")));
        Assert.Contains("deadline", letter.Header("fw-error-message"), StringComparison.Ordinal);
        Assert.Equal(Astronaut, letter.Body);
        var (first, last) = (Time(letter.Header("fw-first-failed-at")), Time(letter.Header("fw-last-failed-at")));
        Assert.InRange(last - first, TimeSpan.FromSeconds(0.6), TimeSpan.FromSeconds(30));
        Assert.Empty(probe.Results);
    }

    [Fact]
    public async Task An_unroutable_result_is_held_until_a_queue_takes_it()
    {
        await using var probe = await ProbeAsync(o => o.ResultsQueue = false);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        for (var i = 0; i < 20; i++)
        {
            await probe.SubmitAsync(GraceHopper, id: $"held-{i}");
        }

        await worker.SaidAsync("No queue takes messages of exchange");
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Empty(probe.Dead);

        var queue = (await probe.Channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true)).QueueName;
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        var ids = new HashSet<string>();
        await probe.UntilAsync(() =>
        {
            while (probe.Channel.BasicGetAsync(queue, autoAck: true).Result is { } got)
            {
                var result = new Seen("", got.Body.ToArray(), got.BasicProperties);
                Assert.Equal(1, result.Json.GetProperty("attempt").GetInt32());
                ids.Add(BrokerProbe.JobId(result));
            }

            return ids.Count == 20 ? ids : null;
        }, "all 20 results");
        Assert.Empty(probe.Dead);
    }

    [Fact]
    public async Task A_deleted_results_queue_comes_back()
    {
        await using var probe = await ProbeAsync(listen: false);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await probe.Channel.QueueDeleteAsync(probe.Topology.Results, ifUnused: false, ifEmpty: false);

        await probe.SubmitAsync(GraceHopper, id: "after");

        await worker.SaidAsync("Job after: embedded");
        Assert.Equal(1u, await probe.ReadyAsync(probe.Topology.Results));
    }

    [Fact]
    public async Task Two_replicas_share_the_work()
    {
        await using var probe = await ProbeAsync();
        await using var first = await FaceEmbed.WorkerAsync(probe, "--Jobs:Parallelism=1");
        await using var second = await FaceEmbed.WorkerAsync(probe, "--Jobs:Parallelism=1");

        await SubmitManyAsync(probe, 0, 200);
        await probe.AllAsync(200);

        var shares = probe.Results.GroupBy(r => r.Json.GetProperty("worker").GetString()).Select(g => g.Count()).ToArray();
        Assert.Equal((2, 200), (shares.Length, probe.Results.Count));
        Assert.All(shares, share => Assert.InRange(share, 40, 160));
    }

    [Fact]
    public async Task Sigterm_under_load_loses_nothing_and_doubles_nothing()
    {
        await using var probe = await ProbeAsync();
        await using var first = await FaceEmbed.WorkerAsync(probe);
        var submitting = SubmitManyAsync(probe, 0, 300);
        await probe.UntilAsync(() => probe.Results.Count > 50 ? probe : null, "50 results");

        Assert.Equal(0, await first.TerminateAsync());
        var before = probe.Results.Count;
        Assert.InRange(before, 50, 299);
        await submitting;
        await using var second = await FaceEmbed.WorkerAsync(probe);

        await probe.AllAsync(300);
        var doubled = probe.Results.GroupBy(r => r.Properties.MessageId).Where(g => g.Count() > 1).Select(g => BrokerProbe.JobId(g.First())).ToArray();
        Assert.True(doubled.Length == 0, $"Doubled: {string.Join(", ", doubled)}\n{first.Output}");
        Assert.Empty(probe.Dead);
    }

    /// <summary>Before, while and after the worker subscribes, and with its first jobs in hand.</summary>
    [Fact]
    public async Task Sigterm_at_any_moment_of_a_start_drains()
    {
        await using var probe = await ProbeAsync();
        await SubmitManyAsync(probe, 0, 500);
        foreach (var milliseconds in new[] { 0, 5, 10, 20, 40, 80, 160 })
        {
            await using var worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light]);
            await worker.SaidAsync("Connected to the broker");
            await Task.Delay(milliseconds);
            Assert.True(await worker.TerminateAsync() == 0, $"{milliseconds} ms after it connected: {worker.Output}\n{worker.Errors}");
        }

        await using (var busy = await FaceEmbed.WorkerAsync(probe))
        {
            await probe.WaitForMoreAsync(1);
            Assert.Equal(0, await busy.TerminateAsync());
        }

        Assert.InRange(probe.Results.Count, 1, 499); // none of them was left without jobs
        await using var last = await FaceEmbed.WorkerAsync(probe);
        await probe.AllAsync(500);
        Assert.Equal((500, 0), (probe.Results.Count, probe.Dead.Count));
        Assert.DoesNotContain("crash suspect", last.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_redelivered_job_is_answered_with_the_same_bytes_and_not_done_twice()
    {
        await using var probe = await ProbeAsync(o => o.ResultsQueue = false);
        var handled = 0;
        await using var worker = await InProcessWorker.StartAsync(probe, (job, cancel) =>
        {
            handled++;
            return Pipeline.Handler().HandleAsync(job, cancel);
        });
        var queue = (await probe.Channel.QueueDeclareAsync("", durable: false, exclusive: false, autoDelete: true)).QueueName;
        await probe.SubmitAsync(GraceHopper, id: "again"); // its result is unroutable, so that it cannot be settled yet
        await probe.UntilAsync(() => handled == 1 ? probe : null, "a handled job");

        await worker.LoseConsumerAsync(probe);
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");

        var result = await probe.UntilAsync(() => probe.Channel.BasicGetAsync(queue, autoAck: true).Result, "a result");
        Assert.Equal($"again:{Pipeline.Embedder.FaceSpace}", result.BasicProperties.MessageId);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 0 ? probe : null, "an empty queue");
        Assert.Equal(1, handled);
    }

    /// <summary>
    /// The consumer is there, the connection lives, and nothing is handed out: the state in which others' workers stand for days.
    /// </summary>
    [Fact]
    public async Task A_consumer_that_is_handed_nothing_while_the_queue_has_jobs_connects_again()
    {
        await using var probe = await ProbeAsync();
        await using var proxy = new CutableProxy(new IPEndPoint(IPAddress.Loopback, new Uri(broker.Uri).Port)) { DropsDeliveries = true };
        var time = new FakeTimeProvider(DateTimeOffset.UtcNow);
        await probe.SubmitAsync(GraceHopper, id: "first"); // it fills the prefetch of one, and is never seen
        await probe.SubmitAsync(GraceHopper, id: "second");
        var direct = probe.Options.Uri;
        (probe.Options.Uri, probe.Options.Prefetch) = (direct.Replace($":{new Uri(direct).Port}", $":{proxy.Port}", StringComparison.Ordinal), 1);
        await using var worker = await InProcessWorker.StartAsync(probe, Pipeline.Handler().HandleAsync, time);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 1 ? probe : null, "a job handed out");
        proxy.DropsDeliveries = false;
        await Task.Delay(500);
        Assert.Empty(probe.Results);

        await probe.UntilAsync(() =>
        {
            time.Advance(TimeSpan.FromSeconds(1));
            return probe.Results.Count == 2 ? probe : null;
        }, "both results");
    }

    [Fact]
    public async Task A_suspect_is_taken_only_when_nothing_else_is_in_hand()
    {
        await using var probe = await ProbeAsync();
        var (started, release) = (new TaskCompletionSource(), new TaskCompletionSource());
        var worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            started.TrySetResult();
            await release.Task;
            return await Pipeline.Handler().HandleAsync(job, cancel);
        });
        await probe.SubmitAsync(GraceHopper, id: "busy");
        await started.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await SubmitSuspectAsync(probe, "waiting");
        await Task.Delay(10_000);
        await probe.SubmitAsync(GraceHopper, id: "later"); // there is room for it, but the worker finishes what it has
        await Task.Delay(1000);
        Assert.Equal((1u, 1u), (await probe.ReadyAsync(probe.Topology.Suspects), await probe.ReadyAsync(probe.Topology.Jobs)));

        var stopping = worker.DisposeAsync().AsTask();
        await Task.Delay(500);
        release.SetResult();
        await stopping;

        await probe.ResultAsync("busy");
        var back = await probe.UntilAsync(() => probe.Channel.BasicGetAsync(probe.Topology.Suspects, autoAck: true).Result, "the suspect");
        Assert.Single(probe.Results);
        Assert.Equal(("waiting", 0L), (back.BasicProperties.MessageId, new JobMessage(back.Body.ToArray(), back.BasicProperties).Returns));
        Assert.Empty(probe.Dead);
    }

    [Fact]
    public async Task A_suspect_that_runs_when_the_worker_stops_is_finished()
    {
        await using var probe = await ProbeAsync();
        var (started, release) = (new TaskCompletionSource(), new TaskCompletionSource());
        var worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            started.TrySetResult();
            await release.Task;
            return await Pipeline.Handler().HandleAsync(job, cancel);
        });
        await SubmitSuspectAsync(probe, "runs");
        await started.Task.WaitAsync(TimeSpan.FromSeconds(30));

        var stopping = worker.DisposeAsync().AsTask();
        await Task.Delay(500);
        release.SetResult();
        await stopping;

        await probe.ResultAsync("runs");
        Assert.Equal((0u, 0), (await probe.ReadyAsync(probe.Topology.Suspects), probe.Dead.Count));
    }

    [Fact]
    public async Task A_suspect_whose_result_is_held_goes_back_uncounted_when_the_worker_stops()
    {
        await using var probe = await ProbeAsync(o => (o.ResultsQueue, o.DrainSeconds) = (false, 2));
        var handled = 0;
        var worker = await InProcessWorker.StartAsync(probe, (job, cancel) =>
        {
            handled++;
            return Pipeline.Handler().HandleAsync(job, cancel);
        });
        await SubmitSuspectAsync(probe, "held");
        await probe.UntilAsync(() => handled == 1 ? probe : null, "a handled suspect");
        await Task.Delay(500);

        await worker.DisposeAsync();

        var back = await probe.UntilAsync(() => probe.Channel.BasicGetAsync(probe.Topology.Suspects, autoAck: true).Result, "the suspect");
        Assert.Equal(("held", 0L), (back.BasicProperties.MessageId, new JobMessage(back.Body.ToArray(), back.BasicProperties).Returns));
    }

    /// <summary>
    /// The channel is gone while the suspect runs: it is noticed at once, and nothing else is begun until the suspect is done.
    /// </summary>
    [Fact]
    public async Task A_channel_that_is_lost_under_a_suspect_is_noticed_and_nothing_runs_beside_it()
    {
        await using var probe = await ProbeAsync();
        var (started, release, beside) = (new TaskCompletionSource(), new TaskCompletionSource(), 0);
        await using var worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            if (job.Id == "runs" && started.TrySetResult())
            {
                await release.Task;
                Assert.Equal(0, beside);
            }

            beside += job.Id == "beside" ? 1 : 0;
            return await Pipeline.Handler().HandleAsync(job, cancel);
        });
        await SubmitSuspectAsync(probe, "runs");
        await started.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await worker.EndLifeAsync();
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Suspects).Result == 1 ? probe : null, "the suspect back on its queue");
        await probe.SubmitAsync(GraceHopper, id: "beside");
        await Task.Delay(1500);
        Assert.Equal(0, beside);

        release.SetResult();
        await probe.ResultAsync("runs");
        await probe.ResultAsync("beside");
        Assert.Empty(probe.Dead);
    }

    [Fact]
    public async Task Jobs_that_a_stopping_worker_has_not_begun_go_back_uncounted()
    {
        await using var probe = await ProbeAsync(o => o.Prefetch = 5);
        var (started, release) = (new TaskCompletionSource(), new TaskCompletionSource());
        var worker = await InProcessWorker.StartAsync(probe, async (job, cancel) =>
        {
            started.TrySetResult();
            await release.Task;
            return await Pipeline.Handler().HandleAsync(job, cancel);
        });
        for (var i = 0; i < 5; i++)
        {
            await probe.SubmitAsync(GraceHopper, id: $"prefetched-{i}");
        }

        await started.Task.WaitAsync(TimeSpan.FromSeconds(30));
        await probe.UntilAsync(() => worker.InHand == 5 ? probe : null, "all in the worker's hand");
        var stopping = worker.DisposeAsync().AsTask();
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 4 ? probe : null, "four jobs back");
        release.SetResult();
        await stopping;

        Assert.Single(probe.Results);
        for (var i = 0; i < 4; i++)
        {
            var back = (await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true))!;
            Assert.Equal((0L, false), (new JobMessage(back.Body.ToArray(), back.BasicProperties).Returns, back.Redelivered));
        }
    }

    [Fact]
    public async Task A_world_that_fails_for_everyone_pauses_the_intake_and_resumes()
    {
        await using var probe = await ProbeAsync(o => o.RetryDelays = "0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5");
        var (away, handled) = (true, 0);
        await using var worker = await InProcessWorker.StartAsync(probe, (job, cancel) =>
        {
            Interlocked.Increment(ref handled);
            return away ? throw new IOException("the disk is away") : Pipeline.Handler().HandleAsync(job, cancel);
        });
        await SubmitManyAsync(probe, 0, 100);
        await probe.UntilAsync(() => handled >= 5 ? probe : null, "five failures");
        await Task.Delay(TimeSpan.FromSeconds(4));
        Assert.InRange(handled, 5, 10); // probes after 1, 2, 4 s; without the gate it would be hundreds

        away = false;
        await probe.AllAsync(100);
        Assert.Empty(probe.Dead);
    }

    /// <summary>
    /// The bar of the delivery guarantee: 2,000 jobs, the worker stopped and started, the broker restarted, all under load.
    /// </summary>
    [Fact]
    public async Task Two_thousand_jobs_survive_a_stopped_worker_and_a_restarted_broker()
    {
        const int jobs = 2000;
        const string mode = "--Jobs:Mode=Image"; // a third of the work, and the same messages
        var probe = await ProbeAsync(listen: false);
        await using (probe)
        {
            await SubmitManyAsync(probe, 0, jobs);
            await using var first = await FaceEmbed.WorkerAsync(probe, mode);
            await UntilReadyAsync(probe, probe.Topology.Results, 300);
            Assert.Equal(0, await first.TerminateAsync());

            await using var second = await FaceEmbed.WorkerAsync(probe, mode);
            await UntilReadyAsync(probe, probe.Topology.Results, 800);
            await broker.RestartAsync();
            await second.SaidAsync("The broker went away");

            await probe.ConnectAsync();
            await probe.AllAsync(jobs, seconds: 180);
            Assert.Empty(probe.Dead);
            var doubles = probe.Results.Count - jobs;
            Assert.InRange(doubles, 0, 20); // what was in flight when the broker went
            Assert.Equal(jobs, probe.Results.Select(r => r.Properties.MessageId).Distinct().Count());
            Assert.Equal(0, await second.TerminateAsync());
        }
    }

    [Fact]
    public async Task A_worker_that_is_there_before_its_broker_waits_and_says_so()
    {
        broker.Require();
        await broker.StopAsync();
        try
        {
            await using var probe = new BrokerProbe(broker.Uri);
            await using var worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light]);
            await worker.SaidAsync("Waiting for the broker at 127.0.0.1");
            await broker.StartAsync();
            await worker.SaidAsync("Ready: taking jobs");
            await probe.ConnectAsync();
            await probe.SubmitAsync(GraceHopper, id: "patient");
            await probe.ResultAsync("patient");
        }
        catch
        {
            await broker.StartAsync();
            throw;
        }
    }

    [Fact]
    public async Task A_foreign_queue_of_the_same_name_is_told_in_words()
    {
        broker.Require();
        await using var probe = new BrokerProbe(broker.Uri);
        await using var connection = await new ConnectionFactory { Uri = new Uri(broker.Uri) }.CreateConnectionAsync(TestContext.Current.CancellationToken);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: TestContext.Current.CancellationToken);
        await channel.QueueDeclareAsync(probe.Topology.Jobs, durable: true, exclusive: false, autoDelete: false, cancellationToken: TestContext.Current.CancellationToken);

        var (code, _, errors) = await FaceEmbed.RunAsync(["run", .. probe.Settings, .. FaceEmbed.Light]);

        Assert.Equal(69, code);
        Assert.Contains($"The queue '{probe.Topology.Jobs}' exists on the broker with x-", errors, StringComparison.Ordinal);
        Assert.Contains("none, but this worker needs '", errors, StringComparison.Ordinal);
        Assert.Single(errors.Split('\n'));
        await channel.QueueDeleteAsync(probe.Topology.Jobs, cancellationToken: TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Check_compares_the_topology_and_changes_nothing()
    {
        broker.Require();
        await using var probe = new BrokerProbe(broker.Uri);
        var (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings]);
        Assert.True(code == 0, output);
        Assert.Contains("does not exist yet", output, StringComparison.Ordinal);
        Assert.EndsWith("can start.", output, StringComparison.Ordinal);

        (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--Broker:Declare=false"]);
        Assert.Equal(1, code); // for the first one declared nothing
        Assert.Contains("10 of", output, StringComparison.Ordinal);

        await probe.ConnectAsync(listen: false);
        await probe.SubmitAsync(GraceHopper, id: "waits");
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 1 ? probe : null, "a job");
        (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings]);
        Assert.Equal(0, code);
        Assert.Contains("1 ready, 0 consumers", output.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.Equal(6, output.Split('\n').Count(l => l.Contains(" allowed ", StringComparison.Ordinal)));
        Assert.False((await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true))!.Redelivered); // nothing was taken

        (code, output, _) = await FaceEmbed.RunAsync("check", $"--Broker:Uri={broker.WrongUri}", "--Broker:Jobs=x");
        Assert.Equal(69, code);
        Assert.Contains("refused the login", string.Join(' ', output.Split((char[])[' ', '\n', '│'], StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
        Assert.DoesNotContain("wrong", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refused_login_and_a_missing_virtual_host_are_told_in_words()
    {
        broker.Require();
        var (code, _, errors) = await FaceEmbed.RunAsync(["run", $"--Broker:Uri={broker.WrongUri}", .. FaceEmbed.Light]);
        Assert.Equal(69, code);
        Assert.Contains("refused the login of user '", errors, StringComparison.Ordinal);
        Assert.DoesNotContain(":wrong", errors, StringComparison.Ordinal);

        (code, _, errors) = await FaceEmbed.RunAsync(["run", $"--Broker:Uri={broker.Uri}nowhere", .. FaceEmbed.Light]);
        Assert.Equal(69, code);
        Assert.Contains("virtual host 'nowhere': NOT_ALLOWED - vhost nowhere not found. Correct the end of Broker:Uri, or make it: rabbitmqctl add_vhost 'nowhere'.", errors, StringComparison.Ordinal);

        // the cause once, and nothing that depends on it
        await broker.AddUserAsync("shut-out", "password");
        foreach (var (uri, remedy) in new[] { ($"{broker.Uri}nowhere", "rabbitmqctl add_vhost 'nowhere'."), (new UriBuilder(broker.Uri) { UserName = "shut-out", Password = "password" }.Uri.ToString(), "rabbitmqctl set_permissions -p '/' shut-out CONFIGURE WRITE READ.") })
        {
            (code, var output, _) = await FaceEmbed.RunAsync("check", $"--Broker:Uri={uri}");
            Assert.Equal(69, code);
            Assert.StartsWith("│ broker ", Assert.Single(output.Split('\n'), line => line.Contains("FAILED", StringComparison.Ordinal)), StringComparison.Ordinal);
            Assert.Contains(remedy, string.Join(' ', output.Split((char[])[' ', '\n', '│'], StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
            Assert.Contains("│ topology, permissions │", output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Without_declaring_the_worker_uses_what_is_there()
    {
        await using var probe = await ProbeAsync();
        probe.Options.Declare = false;
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await probe.SubmitAsync(GraceHopper, id: "declared");
        await probe.ResultAsync("declared");
    }

    [Fact]
    public async Task Submit_waits_for_results_and_dead_letters()
    {
        await using var probe = await ProbeAsync(listen: false);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        var empty = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.jpg");
        await File.WriteAllBytesAsync(empty, [], TestContext.Current.CancellationToken);

        var (code, output, errors) = await FaceEmbed.RunAsync(["submit", "tests/data", empty, "no/such/file.jpg", "--wait", .. probe.Settings]);
        File.Delete(empty);

        Assert.Equal(1, code);
        Assert.Contains("no/such/file.jpg: there is no such file", errors, StringComparison.Ordinal);
        Assert.Contains("astronaut.png: embedded, 1 vector of space", output, StringComparison.Ordinal);
        Assert.Contains("malformed: The body is empty", output, StringComparison.Ordinal);
        Assert.Contains("1 dead letter, ", output, StringComparison.Ordinal);
        (code, output, _) = await FaceEmbed.RunAsync(["submit", "tests/data/astronaut.png", "--wait", .. probe.Settings]);
        Assert.Equal(0, code);
        Assert.EndsWith("1 embedded", output, StringComparison.Ordinal);
    }

    private static DateTime Time(string text) => DateTime.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);

    /// <summary>Small variants of a photo, each with bytes and an id of its own.</summary>
    private static async Task SubmitManyAsync(BrokerProbe probe, int from, int count)
    {
        var body = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(0.4), ".jpg");
        for (var i = from; i < from + count; i += 50)
        {
            await Task.WhenAll(Enumerable.Range(i, Math.Min(50, from + count - i)).Select(n => probe.SubmitAsync(body, "image/jpeg", $"job-{n}")));
        }
    }

    private static async Task SubmitSuspectAsync(BrokerProbe probe, string id) =>
        await probe.Channel.BasicPublishAsync(probe.Topology.Jobs, Topology.SuspectKey, mandatory: true, new BasicProperties { MessageId = id, DeliveryMode = DeliveryModes.Persistent }, GraceHopper);

    private static async Task UntilReadyAsync(BrokerProbe probe, string queue, uint count)
    {
        for (var end = DateTime.UtcNow.AddSeconds(60); await probe.ReadyAsync(queue) < count; await Task.Delay(50))
        {
            Assert.True(DateTime.UtcNow < end, $"After 60 s there are not {count} messages in {queue}.");
        }
    }

    private protected async Task<BrokerProbe> ProbeAsync(Action<BrokerOptions>? change = null, bool listen = true)
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri, change).ConnectAsync(listen);
    }
}

/// <summary>Once, and here: what the worker does by itself, of which the broker hears nothing new: traces, metrics, probes, memory, a screen.</summary>
[Collection(RabbitMq4.Name)]
public sealed class WorkerOnRabbitMq4Tests(ContainerBroker broker) : WorkerTests(broker)
{
    /// <summary>Their acks reach the queue behind their channels' backs (Assumptions): on a busy machine up to 150 came a second time where those were closed at once.</summary>
    [Fact]
    public async Task Stopped_workers_give_back_hundreds_once_each()
    {
        await using var probe = await ProbeAsync();
        foreach (var ids in Enumerable.Range(0, 1000).Chunk(50))
        {
            await Task.WhenAll(ids.Select(n => probe.SubmitAsync(GraceHopper, "image/jpeg", $"job-{n}")));
        }

        string[] many = ["--Broker:Prefetch=400", "--Broker:PrefetchMegabytes=256", "--Jobs:Parallelism=1"];
        await using var first = await FaceEmbed.WorkerAsync(probe, many);
        await using var second = await FaceEmbed.WorkerAsync(probe, many);
        await probe.WaitForMoreAsync(50); // all that they asked for is there
        var codes = await Task.WhenAll(first.TerminateAsync(), second.TerminateAsync());
        Assert.Equal([0, 0], codes);

        var left = new List<string>();
        while (await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true) is { } job)
        {
            left.Add(job.BasicProperties.MessageId!);
        }

        await probe.UntilAsync(() => probe.Results.Count + left.Count >= 1000 ? probe : null, "each job in its queue or done");
        var all = left.Concat(probe.Results.Select(BrokerProbe.JobId)).ToArray();
        Assert.Equal((1000, 1000), (all.Length, all.Distinct().Count()));
        Assert.InRange(left.Count, 500, 999);
    }

    [Fact]
    public async Task A_job_that_never_ends_ends_the_worker_and_is_handed_out_again()
    {
        await using var probe = await ProbeAsync();
        await probe.SubmitAsync(GraceHopper, id: "endless");
        await using (var worker = FaceEmbed.Start(["run", .. probe.Settings, "--Jobs:DeadlineSeconds=3", "--Jobs:Parallelism=2"], new() { ["FACE_EMBED_TEST_HANG_ON_ID"] = "endless" }))
        {
            await worker.SaidAsync("Ready: taking jobs");
            await probe.SubmitAsync(GraceHopper, id: "beside");
            await probe.ResultAsync("beside");
            Assert.Equal(70, await worker.ExitAsync());
            Assert.Contains("Job endless has run for", worker.Output, StringComparison.Ordinal);
        }

        await using var next = await FaceEmbed.WorkerAsync(probe);
        await probe.ResultAsync("endless");
    }

    [Fact]
    public async Task Readiness_says_why_no_jobs_are_taken()
    {
        await using var probe = await ProbeAsync(o => o.ResultsQueue = false);
        var health = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Health:Url={health}");
        using var http = new HttpClient { BaseAddress = new Uri(health) };
        Assert.Equal((200, "ok\n"), await GetAsync("/readyz"));
        Assert.Equal((200, "ok\n"), await GetAsync("/startupz"));
        Assert.Equal((0, "ok"), await HealthAsync());

        await probe.SubmitAsync(GraceHopper, id: "unroutable");
        await probe.UntilAsync(() => GetAsync("/readyz").Result == (503, $"1 message waits until the broker takes it: no queue takes messages of exchange {probe.Topology.Results} with routing key embedded\n") ? probe : null, "its readiness to say why");
        Assert.Equal((200, "ok\n"), await GetAsync("/livez"));
        Assert.Equal((1, $"1 message waits until the broker takes it: no queue takes messages of exchange {probe.Topology.Results} with routing key embedded"), await HealthAsync());

        var queue = (await probe.Channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true)).QueueName;
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await worker.SaidAsync("the intake is open");
        Assert.Equal((200, "ok\n"), await GetAsync("/readyz"));

        Assert.Equal(404, (await GetAsync("/nothing")).Status);
        using var post = await http.PostAsync("/readyz", null, TestContext.Current.CancellationToken);
        Assert.Equal(405, (int)post.StatusCode);

        async Task<(int Code, string Output)> HealthAsync()
        {
            var (code, output, _) = await FaceEmbed.RunAsync("health", $"--Health:Url={health.Replace("127.0.0.1", "0.0.0.0", StringComparison.Ordinal)}");
            return (code, output);
        }

        async Task<(int Status, string Text)> GetAsync(string path)
        {
            using var answer = await http.GetAsync(path, TestContext.Current.CancellationToken);
            return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        }
    }

    [Fact]
    public async Task One_trace_leads_from_the_producer_to_the_result_and_to_a_collector()
    {
        await using var probe = await ProbeAsync();
        await using var collector = new OtlpReceiver();
        await using var worker = await FaceEmbed.WorkerAsync(probe, new Dictionary<string, string?> { ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.Address, ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf" });
        const string trace = "4bf92f3577b34da6a3ce929d0e0e4736";

        await probe.SubmitAsync(GraceHopper, id: "traced", headers: new() { ["traceparent"] = $"00-{trace}-00f067aa0ba902b7-01" });

        var result = await probe.ResultAsync("traced");
        Assert.StartsWith($"00-{trace}-", result.Header("traceparent"), StringComparison.Ordinal);
        Assert.NotEqual($"00-{trace}-00f067aa0ba902b7-01", result.Header("traceparent"));
        await worker.SaidAsync($"\"trace_id\":\"{trace}\"");
        Assert.Equal(0, await worker.TerminateAsync()); // which sends what is left

        var spans = Encoding.Latin1.GetString(collector.Of("/v1/traces"));
        Assert.Contains(Encoding.Latin1.GetString(Convert.FromHexString(trace)), spans, StringComparison.Ordinal);
        Assert.All(new[] { $"process {probe.Topology.Jobs}", "decode", "detect", "align", "embed", "settle" }, name => Assert.Contains(name, spans, StringComparison.Ordinal));
        Assert.All(new[] { "messaging.process.duration", "face_embed.stage.duration", "face_embed.jobs" }, name => Assert.Contains(name, Encoding.Latin1.GetString(collector.Of("/v1/metrics")), StringComparison.Ordinal));
    }

    [Fact]
    public async Task Without_a_collector_the_producers_trace_goes_along()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await probe.SubmitAsync(GraceHopper, id: "traced", headers: new() { ["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" });
        Assert.Equal("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", (await probe.ResultAsync("traced")).Header("traceparent"));
    }

    [Fact]
    public async Task Gauges_and_counters_move()
    {
        await using var probe = await ProbeAsync(o => o.ResultsQueue = false);
        var health = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe, $"--Health:Url={health}");
        using var http = new HttpClient { BaseAddress = new Uri(health) };
        await UntilAsync("face_embed_in_flight{} 0", "face_embed_intake_open{} 1", $"face_embed_queue_ready{{queue=\"{probe.Topology.Dead}\",role=\"dead\"}} 0");

        await probe.SubmitAsync(GraceHopper, id: "held");
        await UntilAsync("face_embed_in_flight{} 1", "face_embed_intake_open{} 0");

        var queue = (await probe.Channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true)).QueueName;
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await probe.SubmitAsync([], id: "malformed");
        await UntilAsync("face_embed_in_flight{} 0", "face_embed_intake_open{} 1", "face_embed_jobs_total{outcome=\"embedded\",space=\"0bc65e766053\"} 1", "face_embed_dead_letters_total{reason=\"malformed\"} 1", $"messaging_client_operation_duration_seconds_count{{messaging_destination_name=\"{probe.Topology.Dead}\",messaging_operation_name=\"publish\",messaging_system=\"rabbitmq\"}} 1",
            "face_embed_stage_duration_seconds_count{stage=\"embed\"} 1", "face_embed_faces_bucket{space=\"0bc65e766053\",le=\"1\"} 1");

        async Task UntilAsync(params string[] lines)
        {
            var text = "";
            for (var end = DateTime.UtcNow.AddSeconds(30); !lines.All(l => text.Contains($"\n{l}\n", StringComparison.Ordinal)); await Task.Delay(100))
            {
                Assert.True(DateTime.UtcNow < end, $"The metrics do not have {string.Join(", ", lines)}:\n{text}");
                text = await http.GetStringAsync("/metrics");
            }
        }
    }

    [Fact]
    public async Task Hostile_messages_end_by_their_kind_and_the_worker_serves_on()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        var noise = new byte[12 * 1024 * 1024]; // RabbitMQ 4 takes 16 MiB
        new Random(1).NextBytes(noise);
        await probe.SubmitAsync(noise, "image/jpeg", "noise");
        await probe.SubmitAsync(Pngs.Header(50_000, 50_000), "image/png", "bomb");
        await probe.SubmitAsync(Encoding.ASCII.GetBytes(new string('[', 1_000_000)), "application/json", "deep");
        await probe.SubmitAsync([.. "{\"image\":{\"data\":\""u8, 0xC3, 0x28, .. "\"}}"u8], "application/json", "not-utf8");
        await probe.SubmitAsync(Encoding.ASCII.GetBytes($$$"""{"id":"{{{new string('x', 10_240)}}}","image":{"data":"AAAA"}}"""), "application/json", "long-id");
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "headers", new() { ["metadata"] = new string('[', 100_000) });
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "other-headers", new() { ["x-anything"] = new string('[', 100_000) });
        await probe.SubmitAsync(Convert.FromHexString("0000001866747970686569630000000068656963"), "image/heic", "heic");

        Assert.Equal("stub", (await probe.ResultAsync("noise")).RoutingKey);
        Assert.Equal("embedded", (await probe.ResultAsync("other-headers")).RoutingKey);
        foreach (var (id, reason) in new[] { ("bomb", "refused"), ("deep", "malformed"), ("not-utf8", "malformed"), ("long-id", "malformed"), ("headers", "malformed"), ("heic", "unsupported") })
        {
            Assert.Equal(reason, (await probe.DeadLetterAsync(id)).Header("fw-error"));
        }

        await probe.SubmitAsync(Astronaut, id: "after");
        await probe.ResultAsync("after");
        Assert.Equal(0, await worker.TerminateAsync());
    }

    /// <summary>As bytes and as JSON: a picture with a long comment.</summary>
    [Fact]
    public async Task Messages_of_64_MiB_are_handled_with_one_copy_at_most()
    {
        const int size = 64 * 1024 * 1024;
        await using var probe = await ProbeAsync();
        await Broker.EvaluateAsync("application:set_env(rabbit, max_message_size, 134217728), persistent_term:put(max_message_size, 134217728).");
        await probe.ReconnectAsync(); // the limit is a channel's
        var photo = await File.ReadAllBytesAsync(TestData.GraceHopper);
        using var padded = new MemoryStream(size);
        padded.Write(photo, 0, 2);
        while (padded.Length < size - photo.Length - 65_537)
        {
            padded.Write([0xFF, 0xFE, 0xFF, 0xFF, .. new byte[65_533]]); // JPEG comments
        }

        padded.Write(photo, 2, photo.Length - 2);
        var large = padded.ToArray();
        string[] settings = ["--Images:MaxBytes=100000000", "--Jobs:Parallelism=1", "--Broker:Prefetch=1"];
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe, new Dictionary<string, string?> { ["DOTNET_TC_QuickJitForLoops"] = "0" }, settings); // as shipped: loops compiled quickly hold what they are done with
        await probe.SubmitAsync(photo, "image/jpeg", "small");
        await probe.ResultAsync("small");
        var before = Peak(worker);
        await probe.SubmitAsync(large, "image/jpeg", "bytes");
        var bytes = await probe.ResultAsync("bytes", seconds: 60);
        var raw = Peak(worker) - before;
        await probe.SubmitAsync([.. "{\"id\":\"json\",\"image\":{\"data\":\""u8, .. System.Text.Encoding.ASCII.GetBytes(Convert.ToBase64String(large)), .. "\"}}"u8], "application/json", "json");
        var json = await probe.ResultAsync("json", seconds: 60);

        Assert.Equal(Vector(await probe.ResultAsync("small")), Vector(bytes));
        Assert.Equal(Vector(bytes), Vector(json));
        Console.WriteLine($"64 MiB: {raw / 1e6:0} MB more as bytes, {(Peak(worker) - before) / 1e6:0} MB as JSON");
        Assert.InRange(raw, 0, 2.5 * size); // the client's own, whose pool has powers of two, and ours
        Assert.InRange(Peak(worker) - before, 0, 5.5 * size); // 4/3 of it as text, in a pool of powers of two, our copy of that, and the picture
        Assert.Equal(0, await worker.TerminateAsync());

        static long Peak(FaceEmbed worker) => 1024 * long.Parse(File.ReadLines($"/proc/{worker.Id}/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture);
        static string Vector(Seen result) => result.Json.GetProperty("embeddings")[0].GetProperty("vector").ToString();
    }

    /// <summary>
    /// Each result has a line on the screen, whatever bar is drawn below; and where nobody takes jobs, the person who waits is told.
    /// </summary>
    [Fact]
    public async Task Submit_on_a_terminal_shows_every_result()
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        await using var probe = await ProbeAsync(listen: false);
        var folder = Directory.CreateTempSubdirectory("face-embed-submit-").FullName;
        for (var i = 0; i < 60; i++)
        {
            File.Copy(TestData.GraceHopper, Path.Combine(folder, $"photo-{i:00}.jpg"));
        }

        await using var terminal = await Terminal.RunAsync(140, 50, ["submit", folder, "--wait", .. probe.Settings]);
        await terminal.ShowsAsync("No worker takes jobs at the moment");
        await using var worker = await FaceEmbed.WorkerAsync(probe);

        var lines = (await terminal.ShowsAsync("EXIT 0", seconds: 90)).Split('\n');

        for (var i = 12; i < 60; i++)
        {
            File.Delete(Path.Combine(folder, $"photo-{i:00}.jpg"));
        }

        for (var i = 0; i < 4; i++) // results come while the bar is taken away
        {
            await using var again = await Terminal.RunAsync(80, 50, ["submit", folder, "--wait", .. probe.Settings]);
            Assert.DoesNotContain("━", await again.ShowsAsync("EXIT 0", seconds: 30), StringComparison.Ordinal);
        }

        Directory.Delete(folder, recursive: true);
        Assert.Contains("60 jobs confirmed by the broker.", lines);
        Assert.Equal(60, Enumerable.Range(0, 60).Count(i => lines.Count(l => l.Contains($"photo-{i:00}.jpg: embedded, 1 vector of space", StringComparison.Ordinal)) == 1));
        Assert.Contains("60 embedded", lines);
        Assert.True(await terminal.ShowsCursorAsync());
    }
}
