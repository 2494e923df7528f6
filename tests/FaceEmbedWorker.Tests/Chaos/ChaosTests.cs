using System.Diagnostics;
using System.Net;
using FaceEmbedWorker.Tests.EndToEnd;

namespace FaceEmbedWorker.Tests.Chaos;

/// <summary>Brokers of their own: the other tests' run beside them in peace.</summary>
[CollectionDefinition(Name)]
public sealed class AttackedRabbitMq310 : ICollectionFixture<DebianBroker>
{
    public const string Name = "RabbitMQ 3.10, attacked";
}

[CollectionDefinition(Name)]
public sealed class AttackedRabbitMq4 : ICollectionFixture<ContainerBroker>
{
    public const string Name = "RabbitMQ 4, attacked";
}

[Collection(AttackedRabbitMq310.Name)]
public sealed class ChaosOnRabbitMq310Tests(DebianBroker broker) : ChaosTests(broker)
{
    internal override TestBroker WithData(string folder) => new DebianBroker(folder);
}

[Collection(AttackedRabbitMq4.Name)]
public sealed class ChaosOnRabbitMq4Tests(ContainerBroker broker) : ChaosTests(broker)
{
    internal override TestBroker WithData(string folder) => new ContainerBroker(folder);
}

/// <summary>
/// Attacks on the delivery guarantee, each with a ledger: every job that the broker confirmed ends as at least one result or one dead
/// letter. See <see cref="Ledger"/> for the short and the full form.
/// </summary>
public abstract class ChaosTests(TestBroker broker)
{
    private static readonly int Scale = Ledger.Scale;

    /// <summary>A broker of the same version whose data lie in a folder.</summary>
    internal abstract TestBroker WithData(string folder);

    [Fact]
    public Task A_worker_killed_again_and_again_loses_nothing() => AttackAsync("worker kill -9, again and again", async probe =>
    {
        for (var kill = 0; kill < 3 * Scale; kill++)
        {
            await using var victim = await FaceEmbed.WorkerAsync(probe);
            await Ledger.MoreAsync(probe, 30);
            await victim.KillAsync();
        }

        return 3 * Scale;
    });

    [Fact]
    public Task A_killed_broker_loses_nothing() => AttackAsync("broker kill -9", async probe =>
    {
        for (var kill = 0; kill < Scale; kill++)
        {
            await Ledger.MoreAsync(probe, 60);
            await broker.KillAsync();
            await broker.StartAsync();
            await probe.RecoverAsync();
        }

        return Scale;
    }, worker: true);

    /// <summary>Frozen with its connections open, and then stopped: both for longer than the heartbeat.</summary>
    [Fact]
    public Task A_broker_that_is_away_for_longer_than_the_heartbeat_loses_nothing() => AttackAsync("broker away for longer than the heartbeat", async probe =>
    {
        var heartbeat = Ledger.Full ? 30 : 2;
        await broker.SetAsync(("heartbeat", heartbeat));
        await using var workers = await Fleet.StartAsync(probe);
        await Ledger.MoreAsync(probe, 30);
        await broker.PauseAsync();
        await workers.First.SaidAsync("The broker went away", seconds: 4 * heartbeat + 30);
        await Task.Delay(TimeSpan.FromSeconds(heartbeat));
        await broker.ResumeAsync();
        await probe.RecoverAsync();

        await Ledger.MoreAsync(probe, 30);
        await broker.StopAsync();
        await Task.Delay(TimeSpan.FromSeconds(1.5 * heartbeat));
        await broker.StartAsync(); // which sets the heartbeat back
        await probe.RecoverAsync();
        await probe.AllAsync(probe.Submitted, seconds: 120 + 30 * Scale);
        return 2;
    });

    /// <summary>
    /// Results that no queue takes are held, and unacked for so long that the broker closes the channel, again and again.
    /// </summary>
    [Fact]
    public async Task A_channel_closed_by_the_ack_timeout_makes_no_job_a_suspect()
    {
        broker.Require();
        await broker.SetAsync(("consumer_timeout", 2000), ("channel_tick_interval", 500));
        try
        {
            await using var probe = await new BrokerProbe(broker.Uri, o => o.ResultsQueue = false).ConnectAsync();
            await Ledger.SubmitAsync(probe, 100);
            await using var worker = await FaceEmbed.WorkerAsync(probe);
            await probe.UntilAsync(() => worker.Output.Split("timed out").Length > 4 ? worker : null, "four timeouts", seconds: 90);

            var queue = $"{probe.Topology.Results}.late";
            await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-queue-type"] = "quorum" });
            await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
            await probe.ListenAsync(queue);
            await probe.AllAsync(100);

            Assert.Empty(probe.Dead);
            Assert.DoesNotContain("crash suspect", worker.Output, StringComparison.Ordinal);
            await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
            Ledger.Record(broker, "channel closed by the ack timeout", 100, 4, probe);
        }
        finally
        {
            await broker.SetAsync(("consumer_timeout", 1_800_000), ("channel_tick_interval", 60_000));
        }
    }

    [Fact]
    public Task A_deleted_results_exchange_loses_nothing() => AttackAsync("results exchange deleted", async probe =>
    {
        for (var round = 0; round < 2 * Scale; round++)
        {
            await Ledger.MoreAsync(probe, 30);
            await probe.Channel.ExchangeDeleteAsync(probe.Topology.Results);
        }

        return 2 * Scale;
    }, worker: true);

    [Fact]
    public Task A_rolling_deploy_of_workers_loses_nothing() => AttackAsync("rolling deploy (SIGTERM, one after the other)", async probe =>
    {
        var old = await FaceEmbed.WorkerAsync(probe);
        for (var round = 0; round < 2 * Scale; round++)
        {
            await Ledger.MoreAsync(probe, 30);
            var next = await FaceEmbed.WorkerAsync(probe);
            Assert.Equal(0, await old.TerminateAsync());
            await old.DisposeAsync();
            old = next;
        }

        await old.DisposeAsync(); // the last one without a word
        return 2 * Scale;
    });

    [Fact]
    public Task A_policy_changed_under_load_loses_nothing() => AttackAsync("queue policy changed", async probe =>
    {
        await Ledger.UnderLoadAsync(probe, async () =>
        {
            for (var round = 0; round < 2 * Scale; round++)
            {
                await broker.ControlAsync("set_policy", "chaos", $"^{probe.Topology.Jobs}$", """{"max-length":100000,"delivery-limit":15}""", "--apply-to", "queues");
                await broker.ControlAsync("clear_policy", "chaos");
            }
        });
        return 2 * Scale;
    }, worker: true);

    /// <summary>
    /// Results that no queue takes are held by several workers, for many times the ack timeout: jobs go back as fresh copies before it
    /// strikes.
    /// </summary>
    [Fact]
    public async Task Jobs_held_over_replicas_go_back_before_the_ack_timeout()
    {
        broker.Require();
        var (timeout, handBack) = (6, Ledger.Full ? 2 : 1); // seconds
        await broker.SetAsync(("consumer_timeout", 1000 * timeout), ("channel_tick_interval", 500));
        try
        {
            await using var probe = await new BrokerProbe(broker.Uri, o => (o.ResultsQueue, o.HandBackSeconds) = (false, handBack)).ConnectAsync();
            await Ledger.SubmitAsync(probe, 100);
            await using var workers = await Fleet.StartAsync(probe);
            await Task.Delay(TimeSpan.FromSeconds(Ledger.Full ? 120 : 20));

            var queue = $"{probe.Topology.Results}.late";
            await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-queue-type"] = "quorum" });
            await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
            await probe.ListenAsync(queue);
            await probe.AllAsync(100);

            Assert.Empty(probe.Dead);
            Assert.All(await workers.TerminateAsync(), code => Assert.Equal(0, code));
            Assert.DoesNotContain("timed out", workers.Output, StringComparison.Ordinal);
            Assert.DoesNotContain("to be handled alone", workers.Output, StringComparison.Ordinal);
            Assert.Equal((0u, 0u), (await probe.ReadyAsync(probe.Topology.Jobs), await probe.ReadyAsync(probe.Topology.Suspects)));
            await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
            Ledger.Record(broker, "results held by all workers for many ack timeouts", 100, 1, probe);
        }
        finally
        {
            await broker.SetAsync(("consumer_timeout", 1_800_000), ("channel_tick_interval", 60_000));
        }
    }

    /// <summary>The other queues on the exchange get a copy of a result at each try.</summary>
    [Fact]
    public async Task A_full_queue_beside_the_results_queue_does_not_flood_it()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        var queue = $"{probe.Topology.Results}.beside";
        await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-max-length"] = 20, ["x-overflow"] = "reject-publish" });
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await Ledger.SubmitAsync(probe, 100);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await worker.SaidAsync("The broker refused a message");
        await Task.Delay(TimeSpan.FromSeconds(Ledger.Full ? 300 : 12));
        var doubles = probe.Results.Count - probe.Results.Select(r => r.Properties.MessageId).Distinct().Count();
        Assert.InRange(doubles, 1, Ledger.Full ? 20 : 8); // the tries of one of them, at 1, 3 and 7 s; once a second they would be 11

        await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        await probe.AllAsync(100, seconds: 300);
        Assert.Empty(probe.Dead);
        Ledger.Record(broker, "a queue beside the results queue full", 100, 1, probe);
    }

    /// <summary>
    /// With so little patience that each worker would connect anew a hundred times; the copies on its way are not sent again. The jobs wait
    /// in a queue that gives them up when the alarm is on: the broker's own dead-lettering goes on.
    /// </summary>
    [Fact]
    public async Task An_alarm_of_minutes_leaves_no_connections_and_no_copies()
    {
        const int jobs = 400;
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.ConfirmSeconds = 1).ConnectAsync();
        var waiting = $"{probe.Topology.Jobs}.waiting";
        await probe.Channel.QueueDeclareAsync(waiting, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = probe.Topology.Jobs });
        await Ledger.SubmitAsync(probe, jobs, queue: waiting);
        var health = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var seen = await FaceEmbed.WorkerAsync(probe, $"--Health:Url={health}");
        await using var workers = await Fleet.StartAsync(probe);
        var before = await broker.ConnectionsAsync();
        await broker.AlarmAsync();
        await broker.ControlAsync("set_policy", "waiting", $"^{waiting}$", """{"max-length":0}""", "--apply-to", "queues");
        try
        {
            await seen.SaidAsync("The broker takes no messages");
            using var http = new HttpClient();
            using var ready = await http.GetAsync($"{health}/readyz");
            Assert.Equal(System.Net.HttpStatusCode.ServiceUnavailable, ready.StatusCode);
            Assert.Contains("the broker takes no messages", await ready.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            await Task.Delay(TimeSpan.FromSeconds(Ledger.Full ? Ledger.AlarmSeconds : 8));
            Assert.DoesNotContain("The broker has not confirmed", workers.Output, StringComparison.Ordinal); // behind the alarm a busy broker may take longer than this second
        }
        finally
        {
            await broker.AlarmAsync(raised: false);
            await broker.ControlAsync("clear_policy", "waiting");
        }

        await probe.AllAsync(jobs, seconds: 180);
        await probe.Channel.QueueDeleteAsync(waiting, ifUnused: false, ifEmpty: false);
        Assert.Empty(probe.Dead);
        Assert.InRange(await broker.ConnectionsAsync(), 1, before);
        Assert.InRange(probe.Results.GroupBy(r => r.Properties.MessageId).Max(g => g.Count()), 1, 2);
        Ledger.Record(broker, $"memory alarm of {(Ledger.Full ? Ledger.AlarmSeconds : 8)} s, Broker:ConfirmSeconds=1", jobs, 1, probe);
    }

    [Fact]
    public Task A_memory_alarm_loses_nothing() => AttackAsync("memory alarm (blocked connections)", async probe =>
    {
        await Ledger.UnderLoadAsync(probe, async () =>
        {
            await broker.AlarmAsync();
            await Task.Delay(TimeSpan.FromSeconds(3));
            await broker.AlarmAsync(raised: false);
        });
        return 1;
    }, worker: true);

    /// <summary>
    /// A connection that goes while the broker has blocked it is not blocked any more: all that was on its way is given up with it, and
    /// nobody else would ask for a new one.
    /// </summary>
    [Fact]
    public async Task Connections_that_are_lost_during_an_alarm_come_back()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        await using var proxy = new CutableProxy(new IPEndPoint(IPAddress.Loopback, new Uri(broker.Uri).Port));
        await Ledger.SubmitAsync(probe, 30);
        await broker.AlarmAsync();
        try
        {
            var through = probe.Options.Uri.Replace($":{new Uri(probe.Options.Uri).Port}", $":{proxy.Port}", StringComparison.Ordinal);
            await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Broker:Uri={through}");
            await worker.SaidAsync("The broker takes no messages");
            await proxy.CutAsync(TimeSpan.FromSeconds(1));
            await worker.SaidAsync("The broker went away");
            await broker.AlarmAsync(raised: false);
            await probe.AllAsync(30, seconds: 60);
            Assert.Empty(probe.Dead);
            Assert.Equal(0, await worker.TerminateAsync());
        }
        finally
        {
            await broker.AlarmAsync(raised: false);
        }
    }

    [Fact]
    public Task A_cut_network_loses_nothing() => AttackThroughAsync("network cut: connections closed", 1, Ledger.Full ? [.. Enumerable.Repeat(1, 2 * Scale), 30, 180] : [1, 1],
        (proxy, time) => proxy.CutAsync(time));

    [Fact]
    public Task A_silent_network_loses_nothing() => AttackThroughAsync("network cut: nothing comes through", Ledger.Full ? 30 : 2, Ledger.Full ? [1, 30, 180] : [1, 6],
        (proxy, time) => proxy.SilenceAsync(time));

    [Fact]
    public async Task A_full_results_queue_holds_the_results_until_there_is_room()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.ResultsQueue = false).ConnectAsync();
        var queue = $"{probe.Topology.Results}.small";
        await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-max-length"] = 20, ["x-overflow"] = "reject-publish" });
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await Ledger.SubmitAsync(probe, 100);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await worker.SaidAsync("The broker refused a message");

        await probe.ListenAsync(queue);
        await probe.AllAsync(100);

        Assert.Empty(probe.Dead);
        await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        Ledger.Record(broker, "results queue full", 100, 1, probe);
    }

    /// <summary>A quorum queue goes on to refuse a channel's messages where the policy that limited it is deleted: they were held for ever.</summary>
    [Fact]
    public async Task A_limit_that_is_taken_away_refuses_nothing_more()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.ResultsQueue = false).ConnectAsync();
        var queue = $"{probe.Topology.Results}.limited";
        await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-overflow"] = "reject-publish" });
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await broker.ControlAsync("set_policy", queue, $"^{queue}$", """{"max-length":2}""", "--apply-to", "queues");
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await Ledger.SubmitAsync(probe, 20);
        await worker.SaidAsync("The broker refused a message");

        await broker.ControlAsync("clear_policy", queue);
        await worker.SaidAsync("the intake is open");
        await probe.ListenAsync(queue);
        await probe.AllAsync(20);

        Assert.Empty(probe.Dead);
        await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        Ledger.Record(broker, "the limit of a full results queue deleted", 20, 1, probe);
    }

    /// <summary>
    /// Held messages whose connection goes are given up while they wait for their turn: nothing of them stays behind that keeps the intake
    /// closed.
    /// </summary>
    [Fact]
    public async Task A_full_results_queue_and_a_lost_connection_leave_the_intake_open()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.ResultsQueue = false).ConnectAsync();
        var queue = $"{probe.Topology.Results}.small";
        await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-max-length"] = 5, ["x-overflow"] = "reject-publish" });
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await Ledger.SubmitAsync(probe, 40);
        await using var worker = await FaceEmbed.WorkerAsync(probe, "--Jobs:Parallelism=4");
        await worker.SaidAsync("The broker refused a message");
        await Task.Delay(TimeSpan.FromSeconds(3)); // until several are held

        await broker.ControlAsync("close_all_connections", "a test");
        await worker.SaidAsync("The broker went away");
        await probe.ReconnectAsync();
        await probe.ListenAsync(queue);
        await probe.AllAsync(40);

        Assert.DoesNotContain("maximum count", worker.Output, StringComparison.Ordinal);
        Assert.Empty(probe.Dead);
        await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        Ledger.Record(broker, "results queue full, connections lost", 40, 1, probe);
    }

    /// <summary>
    /// The crash is a real one: the process ends as by kill -9 while it handles the job (FACE_EMBED_TEST_CRASH_ON_ID), and is started
    /// again.
    /// </summary>
    [Fact]
    public async Task A_picture_that_kills_the_worker_takes_no_other_job_with_it()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.Prefetch = 32).ConnectAsync();
        await Ledger.SubmitAsync(probe, 100);
        await probe.SubmitAsync(Ledger.Photo, "image/jpeg", "guilty");
        await Ledger.SubmitAsync(probe, 100, from: 100);

        var (crashes, environment) = (0, new Dictionary<string, string?> { ["FACE_EMBED_TEST_CRASH_ON_ID"] = "guilty" });
        var worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light], environment);
        for (var end = DateTime.UtcNow.AddSeconds(120); probe.Results.Count < 200 || probe.Dead.Count < 1; await Task.Delay(50))
        {
            Assert.True(DateTime.UtcNow < end, $"{probe.Results.Count} results, {probe.Dead.Count} dead letters after {crashes} crashes\n{worker.Output}");
            if (!worker.Running)
            {
                crashes++;
                await worker.DisposeAsync();
                worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light], environment);
            }
        }

        await using (worker)
        {
            await probe.AllAsync(200);
            var letter = Assert.Single(probe.Dead);
            Assert.Equal(("guilty", "crash_loop"), (letter.Properties.MessageId, letter.Header("fw-error")));
            Assert.Equal(Ledger.Photo, letter.Body);
            Assert.InRange(crashes, 3, 6);
            Ledger.Record(broker, "a picture that kills the worker, among 200", 201, crashes, probe);
        }
    }

    /// <summary>
    /// The broker's data folder is a small one in memory, filled up under load; then there is room again, and the broker is started again.
    /// </summary>
    [Fact]
    public async Task A_full_disk_of_the_broker_loses_nothing()
    {
        broker.Require();
        Assert.SkipUnless(Environment.UserName == "root", "Only root may mount a folder in memory.");
        var folder = Directory.CreateTempSubdirectory("face-embed-small-disk-").FullName;
        await ShellAsync($"mount -t tmpfs -o size=300m,mode=777 tmpfs {folder}");
        try
        {
            await AttackFullDiskAsync(folder);
        }
        finally
        {
            await ShellAsync($"umount -l {folder} && rmdir {folder}");
        }
    }

    private async Task AttackFullDiskAsync(string folder)
    {
        var data = Path.Combine(folder, "data");
        await ShellAsync($"mkdir -m 777 {data}");
        var small = WithData(data);
        await small.InitializeAsync();
        try
        {
            await using var probe = await new BrokerProbe(small.Uri).ConnectAsync();
            await Ledger.SubmitAsync(probe, 1000); // what fits, many times over
            await using var worker = await FaceEmbed.WorkerAsync(probe);
            await Ledger.MoreAsync(probe, 30);

            await small.ControlAsync("set_disk_free_limit", "1MB"); // or its alarm would keep it from ever being full
            await ShellAsync($"dd if=/dev/zero of={folder}/filler bs=64k 2>/dev/null || true");
            await Task.Delay(TimeSpan.FromSeconds(Ledger.Full ? 30 : 5));
            await ShellAsync($"rm {folder}/filler");
            await small.KillAsync(); // if it still runs
            await small.StartAsync();
            try
            {
                await probe.RecoverAsync();
            }
            catch (Exception e)
            {
                Assert.Fail($"{e.Message}\n{worker.Output}\n{await small.ControlAsync("list_queues", "name", "messages", "consumers", "state", "online")}");
            }

            await probe.AllAsync(probe.Submitted);
            Assert.Empty(probe.Dead);
            Assert.Equal(0, await worker.TerminateAsync());
            Ledger.Record(broker, "disk of the broker full", probe.Submitted, 1, probe);
        }
        finally
        {
            await small.DisposeAsync();
        }
    }

    private Task AttackThroughAsync(string name, int heartbeat, int[] cuts, Func<CutableProxy, TimeSpan, Task> cut) => AttackAsync(name, async probe =>
    {
        await using var proxy = new CutableProxy(new IPEndPoint(IPAddress.Loopback, new Uri(broker.Uri).Port));
        var direct = probe.Options.Uri;
        probe.Options.Uri = direct.Replace($":{new Uri(direct).Port}", $":{proxy.Port}", StringComparison.Ordinal);
        await broker.SetAsync(("heartbeat", Math.Max(heartbeat, 2)));
        await using var workers = await Fleet.StartAsync(probe);
        foreach (var seconds in cuts)
        {
            await Ledger.MoreAsync(probe, 30);
            await cut(proxy, TimeSpan.FromSeconds(seconds));
        }

        probe.Options.Uri = direct;
        await broker.SetAsync(("heartbeat", 60));
        await probe.AllAsync(probe.Submitted, seconds: 120 + 30 * Scale);
        return cuts.Length;
    });

    private async Task AttackAsync(string name, Func<BrokerProbe, Task<int>> attack, bool worker = false)
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        await Ledger.SubmitAsync(probe, 100 * Scale);
        await using var running = worker ? await Fleet.StartAsync(probe) : null;
        var attacks = await attack(probe);
        await using var late = running is null ? await Fleet.StartAsync(probe, 1) : null; // for what the attack left
        await probe.AllAsync(probe.Submitted, seconds: 120 + 30 * Scale);
        Assert.Empty(probe.Dead);
        Assert.All(await (running ?? late!).TerminateAsync(), code => Assert.Equal(0, code));
        Ledger.Record(broker, name, probe.Submitted, attacks, probe);
    }

    /// <summary>Workers on the same queues.</summary>
    private sealed class Fleet(FaceEmbed[] workers) : IAsyncDisposable
    {
        public FaceEmbed First => workers[0];

        public string Output => string.Join('\n', workers.Select(w => w.Output));

        public static async Task<Fleet> StartAsync(BrokerProbe probe, int? workers = null) => new(await Task.WhenAll(Enumerable.Range(0, workers ?? Ledger.Workers).Select(_ => FaceEmbed.WorkerAsync(probe))));

        public Task<int[]> TerminateAsync() => Task.WhenAll(workers.Select(w => w.TerminateAsync()));

        public async ValueTask DisposeAsync()
        {
            foreach (var worker in workers)
            {
                await worker.DisposeAsync();
            }
        }
    }

    private static async Task ShellAsync(string command)
    {
        using var shell = Process.Start("sh", ["-c", command]);
        await shell.WaitForExitAsync();
        Assert.True(shell.ExitCode == 0, $"{command}: exit code {shell.ExitCode}");
    }
}
