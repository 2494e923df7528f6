using System.Diagnostics;
using System.Globalization;
using FaceEmbedWorker.Tests.EndToEnd;

namespace FaceEmbedWorker.Tests.Chaos;

[Collection(RabbitMq310.Name)]
public sealed class ChaosOnRabbitMq310Tests(DebianBroker broker) : ChaosTests(broker);

[Collection(RabbitMq4.Name)]
public sealed class ChaosOnRabbitMq4Tests(ContainerBroker broker) : ChaosTests(broker);

/// <summary>
/// Attacks on the delivery guarantee, each with a ledger: every job that the broker confirmed ends as at least one result or one dead letter.
/// FACE_EMBED_CHAOS multiplies the jobs (tests/chaos sets it); FACE_EMBED_LEDGER names a file that gets a line a scenario.
/// </summary>
public abstract class ChaosTests(TestBroker broker)
{
    private static readonly int Scale = int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_CHAOS") ?? "1", CultureInfo.InvariantCulture);
    private static readonly byte[] Photo = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(0.4), ".jpg");

    [Fact]
    public Task A_worker_killed_again_and_again_loses_nothing() => AttackAsync("worker kill -9, again and again", 300, async probe =>
    {
        for (var kill = 0; kill < 3 * Scale; kill++)
        {
            await using var victim = await FaceEmbed.WorkerAsync(probe);
            await probe.WaitForMoreAsync(30);
            await victim.KillAsync();
        }

        return 3 * Scale;
    });

    [Fact]
    public Task A_killed_broker_loses_nothing() => AttackAsync("broker kill -9", 300, async probe =>
    {
        for (var kill = 0; kill < Scale; kill++)
        {
            await probe.WaitForMoreAsync(60);
            await broker.KillAsync();
            await broker.StartAsync();
            await probe.ConnectAsync();
        }

        return Scale;
    }, worker: true);

    [Fact]
    public Task A_deleted_results_exchange_loses_nothing() => AttackAsync("results exchange deleted", 300, async probe =>
    {
        for (var round = 0; round < 2 * Scale; round++)
        {
            await probe.WaitForMoreAsync(30);
            await probe.Channel.ExchangeDeleteAsync(probe.Topology.Results);
        }

        return 2 * Scale;
    }, worker: true);

    [Fact]
    public Task A_rolling_deploy_of_workers_loses_nothing() => AttackAsync("rolling deploy (SIGTERM, one after the other)", 300, async probe =>
    {
        var old = await FaceEmbed.WorkerAsync(probe);
        for (var round = 0; round < 2 * Scale; round++)
        {
            await probe.WaitForMoreAsync(30);
            var next = await FaceEmbed.WorkerAsync(probe);
            Assert.Equal(0, await old.TerminateAsync());
            await old.DisposeAsync();
            old = next;
        }

        await old.DisposeAsync(); // the last one without a word
        return 2 * Scale;
    });

    [Fact]
    public Task A_policy_changed_under_load_loses_nothing() => AttackAsync("queue policy changed", 300, async probe =>
    {
        await probe.WaitForMoreAsync(30);
        for (var round = 0; round < 2 * Scale; round++)
        {
            await broker.ControlAsync("set_policy", "chaos", $"^{probe.Topology.Jobs}$", """{"max-length":100000,"delivery-limit":15}""", "--apply-to", "queues");
            await broker.ControlAsync("clear_policy", "chaos");
        }

        return 2 * Scale;
    }, worker: true);

    [Fact]
    public Task A_memory_alarm_loses_nothing() => AttackAsync("memory alarm (blocked connections)", 300, async probe =>
    {
        await probe.WaitForMoreAsync(30);
        await broker.ControlAsync("set_vm_memory_high_watermark", "absolute", "1MB");
        await Task.Delay(TimeSpan.FromSeconds(3));
        await broker.ControlAsync("set_vm_memory_high_watermark", "0.4");
        return 1;
    }, worker: true);

    [Fact]
    public Task A_cut_network_loses_nothing() => AttackAsync("network cut for a second", 300, async probe =>
    {
        await using var proxy = new CutableProxy(new Uri(broker.Uri).Port);
        var direct = probe.Options.Uri;
        probe.Options.Uri = direct.Replace($":{new Uri(direct).Port}", $":{proxy.Port}", StringComparison.Ordinal);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        for (var cut = 0; cut < 2 * Scale; cut++)
        {
            await probe.WaitForMoreAsync(30);
            await proxy.CutAsync(TimeSpan.FromSeconds(1));
        }

        probe.Options.Uri = direct;
        await probe.AllAsync(300 * Scale, seconds: 120 + 30 * Scale);
        return 2 * Scale;
    });

    [Fact]
    public async Task A_full_results_queue_holds_the_results_until_there_is_room()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.ResultsQueue = false).ConnectAsync();
        var queue = $"{probe.Topology.Results}.small";
        await probe.Channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-max-length"] = 20, ["x-overflow"] = "reject-publish" });
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Results, "#");
        await SubmitAsync(probe, 100);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await worker.SaidAsync("The broker refused a message");

        await probe.ListenAsync(queue);
        await probe.AllAsync(100);

        Assert.Empty(probe.Dead);
        await probe.Channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        Record("results queue full", 100, 1, probe, TimeSpan.Zero);
    }

    /// <summary>The crash is a real one: the process ends as by kill -9 while it handles the job (FACE_EMBED_TEST_CRASH_ON_ID), and is started again.</summary>
    [Fact]
    public async Task A_picture_that_kills_the_worker_takes_no_other_job_with_it()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.Prefetch = 32).ConnectAsync();
        await SubmitAsync(probe, 100);
        await probe.SubmitAsync(Photo, "image/jpeg", "guilty");
        await SubmitAsync(probe, 100, from: 100);

        var (crashes, environment) = (0, new Dictionary<string, string?> { ["FACE_EMBED_TEST_CRASH_ON_ID"] = "guilty" });
        var worker = FaceEmbed.Start(["run", .. probe.Settings], environment);
        for (var end = DateTime.UtcNow.AddSeconds(120); probe.Results.Count < 200 || probe.Dead.Count < 1; await Task.Delay(50))
        {
            Assert.True(DateTime.UtcNow < end, $"{probe.Results.Count} results, {probe.Dead.Count} dead letters after {crashes} crashes\n{worker.Output}");
            if (!worker.Running)
            {
                crashes++;
                await worker.DisposeAsync();
                worker = FaceEmbed.Start(["run", .. probe.Settings], environment);
            }
        }

        await using (worker)
        {
            await probe.AllAsync(200);
            var letter = Assert.Single(probe.Dead);
            Assert.Equal(("guilty", "crash_loop"), (letter.Properties.MessageId, letter.Header("fw-error")));
            Assert.Equal(Photo, letter.Body);
            Assert.InRange(crashes, 3, 6);
            Record("a picture that kills the worker, among 200", 201, crashes, probe, TimeSpan.Zero);
        }
    }

    private async Task AttackAsync(string name, int jobs, Func<BrokerProbe, Task<int>> attack, bool worker = false)
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        await SubmitAsync(probe, jobs * Scale);
        FaceEmbed? running = null;
        try
        {
            running = worker ? await FaceEmbed.WorkerAsync(probe) : null;
            var attacks = await attack(probe);
            var healed = Stopwatch.StartNew();
            running ??= await FaceEmbed.WorkerAsync(probe);
            await probe.AllAsync(jobs * Scale, seconds: 120 + 30 * Scale);
            Assert.Empty(probe.Dead);
            Assert.Equal(0, await running.TerminateAsync());
            Record(name, jobs * Scale, attacks, probe, healed.Elapsed);
        }
        finally
        {
            if (running is not null)
            {
                await running.DisposeAsync();
            }
        }
    }

    private static async Task SubmitAsync(BrokerProbe probe, int count, int from = 0)
    {
        for (var i = from; i < from + count; i += 50)
        {
            await Task.WhenAll(Enumerable.Range(i, Math.Min(50, from + count - i)).Select(n => probe.SubmitAsync(Photo, "image/jpeg", $"job-{n}")));
        }
    }

    /// <summary>A line for the table in the README.</summary>
    private void Record(string scenario, int jobs, int attacks, BrokerProbe probe, TimeSpan healed)
    {
        var ids = probe.Results.Select(r => r.Properties.MessageId).ToArray();
        var lost = jobs - ids.Distinct().Count() - probe.Dead.Count;
        Assert.InRange(lost, int.MinValue, 0);
        if (Environment.GetEnvironmentVariable("FACE_EMBED_LEDGER") is { Length: > 0 } ledger)
        {
            lock (typeof(ChaosTests))
            {
                File.AppendAllText(ledger, FormattableString.Invariant($"| {(broker is DebianBroker ? "3.10" : "4.0")} | {scenario} | {jobs} | {attacks} | {Math.Max(0, lost)} | {ids.Length - ids.Distinct().Count()} | {probe.LongestSilence.TotalSeconds:0.0} s |\n"));
            }
        }
    }
}
