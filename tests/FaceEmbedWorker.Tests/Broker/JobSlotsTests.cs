using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class JobSlotsTests : IDisposable
{
    private readonly FakeTimeProvider time = new();
    private readonly PaperChannel channel = new();
    private readonly IntakeGate gate;
    private readonly ConsumerLife life;
    private readonly CancellationTokenSource abandon = new();
    private readonly PaperLog log = new();
    private readonly System.Collections.Concurrent.ConcurrentQueue<(Delivery Delivery, JobOutcome Outcome)> settled = new();
    private TaskCompletionSource<JobOutcome>? running;
    private EmbedJob? job;

    public JobSlotsTests() => (gate, life) = (new IntakeGate(time), new ConsumerLife(channel, time));

    [Fact]
    public async Task Suspects_are_told_apart_malformed_jobs_are_rejected_and_the_rest_is_handled()
    {
        var slots = await SlotsAsync();
        await channel.HandAsync([1], new BasicProperties { MessageId = "suspect", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = 2L } });
        await channel.HandAsync([], new BasicProperties { MessageId = "empty" });
        await channel.HandAsync([1], new BasicProperties { MessageId = "good" });
        await UntilAsync(() => settled.Count == 2 && running is not null);
        Assert.Equal([typeof(Suspect), typeof(JobOutcome.Rejected)], settled.Select(s => s.Outcome.GetType()));
        running!.SetResult(new JobOutcome.Retry("io", "away"));
        await UntilAsync(() => settled.Count == 3);
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task What_waits_at_a_closed_gate_can_be_let_go()
    {
        gate.Hold("held");
        var slots = await SlotsAsync();
        await channel.HandAsync([1], new BasicProperties { MessageId = "let-go" });
        Assert.True(life.Unsettled.Single().TryLetGo());
        life.Unsettled.Single().GiveUp();
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30)); // though the gate is closed still
        Assert.Empty(settled);
        Assert.Null(running);
    }

    [Fact]
    public async Task Bodies_of_ended_lives_are_forgotten()
    {
        var slots = await SlotsAsync();
        for (var i = 0; i < 3; i++)
        {
            await channel.HandAsync([1, 2, 3], new BasicProperties { MessageId = $"{i}" });
        }

        await UntilAsync(() => running is not null);
        await life.EndAsync("gone");
        slots.ForgetEnded();
        Assert.Equal([3, 0, 0], life.Unsettled.OrderBy(d => d.Tag).Select(d => d.Message.Body.Length)); // the first one runs
        running!.SetResult(new JobOutcome.Retry("io", "away"));
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task What_a_slot_does_is_told_while_it_does_it()
    {
        var slots = await SlotsAsync();
        Assert.Empty(slots.Running);
        await channel.HandAsync("""{"id":"photo-1","image":{"data":"AQ=="}}"""u8.ToArray(), new BasicProperties { ContentType = "application/json", Headers = new Dictionary<string, object?> { ["fw-attempt"] = 2 } });
        await UntilAsync(() => running is not null);
        time.Advance(TimeSpan.FromSeconds(3));
        Assert.Equal(new RunningJob("photo-1", 2, 3), Assert.Single(slots.Running));
        running!.SetResult(new JobOutcome.Retry("io", "away"));
        await UntilAsync(() => settled.Count == 1);
        Assert.Empty(slots.Running);
    }

    /// <summary>A host that wants to be asked later, as by 429, stops no other's jobs.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task A_host_that_asks_for_patience_is_not_the_world(bool asks, bool pauses)
    {
        await SlotsAsync();
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            running = null;
            await channel.HandAsync([1], new BasicProperties { MessageId = $"job-{i}" });
            await UntilAsync(() => running is not null);
            running!.SetResult(new JobOutcome.Retry("source_unavailable", "429") { After = asks ? TimeSpan.FromSeconds(3) : null });
            await UntilAsync(() => settled.Count == i + 1);
        }

        Assert.Equal(pauses, gate.IsFailing(bulk: false));
    }

    /// <summary>An archive whose host is away: one of its jobs at a time is tried, and none of them holds up anybody who waits.</summary>
    [Fact]
    public async Task Bulk_jobs_that_fail_pause_bulk_jobs_only()
    {
        var slots = await PausedForBulkAsync();
        Assert.Equal((true, false, null), (gate.IsFailing(bulk: true), gate.IsFailing(bulk: false), gate.Reason));
        running = null;
        await HandAsync("bulk-next", bulk: true);
        await RunAsync("live-1", bulk: false, new JobOutcome.Rejected("refused", "No."));
        await RunAsync("live-2", bulk: false, new JobOutcome.Rejected("refused", "No."));
        running = null;
        await Task.Delay(50);
        Assert.Null(running); // the pause is not over

        time.Advance(TimeSpan.FromSeconds(1.1));
        await UntilAsync(() => running is not null);
        var probe = running!;
        await HandAsync("bulk-after", bulk: true);
        probe.SetResult(new JobOutcome.Retry("source_unavailable", "away"));
        await UntilAsync(() => settled.Count == IntakeGate.Failures + 3);
        await RunAsync("live-3", bulk: false, new JobOutcome.Retry("io", "full"));
        running = null;
        time.Advance(TimeSpan.FromSeconds(1.1)); // of two
        await Task.Delay(50);
        Assert.Null(running);
        time.Advance(TimeSpan.FromSeconds(1.1));
        await UntilAsync(() => running is not null);
        running!.SetResult(Completed);
        await UntilAsync(() => settled.Count == IntakeGate.Failures + 5);
        Assert.False(gate.IsFailing(bulk: true));
        Assert.Equal(["Error: Pausing bulk jobs: 5 different jobs in a row failed for no fault of theirs. One at a time is tried until one succeeds. The last: away", "Information: Resuming bulk jobs: a job succeeded"], log.Lines);
        await RunAsync("bulk-free", bulk: true, new JobOutcome.Rejected("refused", "No."));
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30));
    }

    /// <summary>An archive whose host never answers, and one slot: who waits has it until the picture is there, and then it is the bulk job's.</summary>
    [Fact]
    public async Task A_bulk_job_that_waits_for_its_picture_lets_others_have_its_slot()
    {
        var slots = await SlotsAsync();
        await life.SubscribeAsync("bulk", 9, d => slots.Add(d), (_, error) => throw error, bulk: true);
        await channel.HandAsync("""{"id":"fetches","image":{"url":"https://archive.example/1.jpg"}}"""u8.ToArray(), new BasicProperties { ContentType = "application/json" }, "bulk");
        await UntilAsync(() => running is not null);
        var (fetching, turn) = (running!, job!.Turn!);
        await RunAsync("live-1", bulk: false, new JobOutcome.Rejected("refused", "No."));
        await HandAsync("bulk-beside", bulk: true);
        running = null;
        await HandAsync("live-2", bulk: false);
        await UntilAsync(() => running is not null);
        Assert.Equal(("live-2", 2), (job.Id, slots.Running.Count));
        Assert.Null(job.Turn);

        var given = turn();
        await HandAsync("live-3", bulk: false);
        var last = running!;
        running = null;
        await Task.Delay(50);
        Assert.False(given.IsCompleted); // another has the slot
        last.SetResult(new JobOutcome.Rejected("refused", "No."));
        await given.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Null(running); // it is next, though others wait
        fetching.SetResult(new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => running is not null);
        Assert.Equal(["live-1", "live-2", "fetches"], settled.Select(s => s.Delivery.Message.JobId));
    }

    /// <summary>A row of jobs of one host that is away closes the gate, and pictures of other hosts behind them do not wait a minute for each.</summary>
    [Fact]
    public async Task A_job_whose_host_is_left_alone_goes_back_uncounted_and_the_next_one_is_tried_soon()
    {
        await SlotsAsync();
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            await RunAsync($"away-{i}", bulk: false, new JobOutcome.Retry("source_unavailable", "away"));
        }

        for (var pause = 1; pause <= 8; pause *= 2) // until it is long
        {
            await ProbeAsync(pause, "asked", new JobOutcome.Retry("source_unavailable", "away"));
        }

        await ProbeAsync(16, "left-alone-0", new JobOutcome.Retry("source_unavailable", "not asked") { Asked = false });
        Assert.Equal((typeof(Returned), DeliveryState.LetGo), (settled.Last().Outcome.GetType(), settled.Last().Delivery.State));
        await ProbeAsync(1, "left-alone-1", new JobOutcome.Retry("source_unavailable", "not asked") { Asked = false });
        await ProbeAsync(1, "asked", new JobOutcome.Retry("source_unavailable", "away"));
        await ProbeAsync(32, "elsewhere", Completed);
        Assert.False(gate.IsFailing(bulk: false));

        async Task ProbeAsync(int pause, string id, JobOutcome outcome)
        {
            (running, var before) = (null, settled.Count);
            await HandAsync(id, bulk: false);
            await Task.Delay(30); // it waits for the pause's end
            time.Advance(TimeSpan.FromSeconds(pause) - TimeSpan.FromMilliseconds(100));
            await Task.Delay(30);
            Assert.Null(running);
            time.Advance(TimeSpan.FromMilliseconds(200));
            await UntilAsync(() => running is not null);
            running!.SetResult(outcome);
            await UntilAsync(() => settled.Count == before + 1);
        }
    }

    /// <summary>A host that is well and slow condemns nobody: whoever stood in line in vain goes back uncounted, and the intake stays open.</summary>
    [Fact]
    public async Task A_job_whose_turn_did_not_come_goes_back_uncounted()
    {
        await SlotsAsync();
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            await RunAsync($"in-line-{i}", bulk: false, new JobOutcome.Retry("deadline", "its turn did not come") { InLine = true });
            Assert.Equal((typeof(Returned), DeliveryState.LetGo), (settled.Last().Outcome.GetType(), settled.Last().Delivery.State));
        }

        Assert.False(gate.IsFailing(bulk: false));
    }

    /// <summary>What has its picture needs its slot from the first.</summary>
    [Fact]
    public async Task A_bulk_job_with_its_picture_keeps_its_slot()
    {
        var slots = await SlotsAsync();
        await life.SubscribeAsync("bulk", 9, d => slots.Add(d), (_, error) => throw error, bulk: true);
        await HandAsync("bulk", bulk: true);
        await UntilAsync(() => running is not null);
        var first = running!;
        running = null;
        await HandAsync("live", bulk: false);
        await Task.Delay(50);
        Assert.Null(running);
        first.SetResult(Completed);
        await UntilAsync(() => running is not null);
        Assert.Equal("live", job!.Id);
    }

    [Fact]
    public async Task Bulk_jobs_that_are_paused_keep_no_worker_from_stopping()
    {
        var slots = await PausedForBulkAsync();
        await HandAsync("bulk-next", bulk: true);
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(IntakeGate.Failures, settled.Count);
        Assert.Equal(DeliveryState.Waiting, life.Unsettled.Single(d => d.Message.JobId == "bulk-next").State); // for whoever gives it back
    }

    [Fact]
    public async Task When_a_bulk_job_succeeds_all_slots_take_bulk_jobs_again_at_once()
    {
        var slots = await PausedForBulkAsync(parallelism: 2);
        running = null;
        string[] waiting = ["a", "b", "c"];
        foreach (var id in waiting)
        {
            await HandAsync(id, bulk: true);
        }

        time.Advance(TimeSpan.FromSeconds(1.1));
        await UntilAsync(() => running is not null);
        var first = Assert.Single(slots.Running).JobId; // whichever slot was first
        var probe = running!;
        running = null;
        probe.SetResult(Completed);
        await UntilAsync(() => slots.Running.Count(r => r.JobId != first) == 2);
        Assert.Equal(waiting.Except([first]), slots.Running.Select(r => r.JobId).Order());
        Assert.IsType<JobOutcome.Completed>(settled.Last().Outcome); // a probe's outcome is its own
    }

    [Fact]
    public async Task A_job_that_is_handled_alone_and_given_up_waits_again()
    {
        var slots = await SlotsAsync();
        var delivery = Delivery(1, "alone", redelivered: false);
        var handling = slots.HandleAsync(delivery);
        await UntilAsync(() => running is not null);
        await abandon.CancelAsync();
        running!.SetException(new OperationCanceledException());
        Assert.Null((await handling.WaitAsync(TimeSpan.FromSeconds(30))).Outcome);
        Assert.Equal(DeliveryState.Waiting, delivery.State); // for whoever gives it back
    }

    [Fact]
    public async Task A_job_that_never_ends_is_told()
    {
        var (slots, stuck) = (await SlotsAsync(), 0);
        slots.Stuck += () => stuck++;
        await channel.HandAsync([1], new BasicProperties { MessageId = "endless" });
        await UntilAsync(() => running is not null);
        slots.EndWhereStuck();
        Assert.Equal(0, stuck);
        time.Advance(TimeSpan.FromSeconds(2 * 60) + JobSlots.StuckTime);
        slots.EndWhereStuck();
        Assert.Equal(0, stuck);
        time.Advance(TimeSpan.FromTicks(1));
        slots.EndWhereStuck();
        Assert.Equal(1, stuck);
        Assert.Equal("Critical: Job endless has run for 130 s and does not heed its deadline of 60 s: the worker ends, to be started again. If the job does that again, it goes to the dead letters as crash_loop", Assert.Single(log.Lines));
        running!.SetResult(new JobOutcome.Retry("deadline", "late"));
    }

    /// <summary>What was handed out again has a result already: it is sent as it was, and the job is not done twice.</summary>
    [Theory]
    [InlineData(true, 0)]
    [InlineData(false, 1)]
    public async Task A_job_that_comes_again_is_answered_from_the_recent_results(bool redelivered, int handled)
    {
        var slots = await SlotsAsync();
        var first = Delivery(1, "photo", redelivered: false);
        slots.Add(first);
        await UntilAsync(() => running is not null);
        var completed = Of(job!, [1]);
        running!.SetResult(completed);
        await UntilAsync(() => settled.Count == 1);
        running = null;
        slots.Add(Delivery(2, "photo", redelivered));
        if (handled > 0)
        {
            await UntilAsync(() => running is not null);
            running!.SetResult(completed);
        }

        await UntilAsync(() => settled.Count == 2);
        Assert.Equal((handled > 0, completed), (running is not null, settled.Last().Outcome));
    }

    [Fact]
    public async Task Jobs_that_are_given_up_are_not_settled()
    {
        var slots = await SlotsAsync();
        await HandAsync("runs", bulk: false);
        await HandAsync("waits", bulk: false);
        await UntilAsync(() => running is not null);
        await abandon.CancelAsync();
        running!.SetException(new OperationCanceledException());
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Empty(settled);
        Assert.Empty(slots.Running);
        Assert.All(life.Unsettled, d => Assert.Equal(DeliveryState.Waiting, d.State)); // for whoever gives them back
    }

    [Fact]
    public async Task What_a_job_throws_is_an_outcome_and_the_world_is_blamed_as_by_one()
    {
        await SlotsAsync();
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            running = null;
            await HandAsync($"job-{i}", bulk: false);
            await UntilAsync(() => running is not null);
            running!.SetException(new IOException("The disk is full."));
            await UntilAsync(() => settled.Count == i + 1);
            Assert.Equal("io", Assert.IsType<JobOutcome.Retry>(settled.Last().Outcome).Reason);
        }

        Assert.EndsWith("The last: The disk is full.", gate.Reason, StringComparison.Ordinal);
        Assert.Equal("Error: Pausing: 5 different jobs in a row failed for no fault of theirs. One at a time is tried until one succeeds. The last: The disk is full.", Assert.Single(log.Lines));
        running = null;
        await HandAsync("probe", bulk: false);
        await Task.Delay(30); // it waits for the pause's end
        time.Advance(TimeSpan.FromSeconds(1.1));
        await UntilAsync(() => running is not null);
        running!.SetResult(Completed);
        await UntilAsync(() => log.Lines.Count == 2);
        Assert.Equal("Information: Resuming: a job succeeded", log.Lines.Last());
    }

    [Fact]
    public async Task What_a_job_throws_for_its_own_fault_blames_nobody()
    {
        await SlotsAsync();
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            running = null;
            await HandAsync($"job-{i}", bulk: false);
            await UntilAsync(() => running is not null);
            running!.SetException(new ImageException(ImageFault.Refused, "No."));
            await UntilAsync(() => settled.Count == i + 1);
            Assert.Equal("refused", Assert.IsType<JobOutcome.Rejected>(settled.Last().Outcome).Reason);
        }

        Assert.Null(gate.Reason);
    }

    [Fact]
    public async Task Whoever_waits_for_idle_slots_waits_for_the_last_job_and_a_job_is_handled_once()
    {
        var slots = await SlotsAsync();
        await slots.IdleAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
        var delivery = Delivery(1, "alone", redelivered: false);
        var handling = slots.HandleAsync(delivery);
        await UntilAsync(() => running is not null);
        Assert.Equal((null, null), await slots.HandleAsync(delivery)); // it runs
        var idle = slots.IdleAsync(CancellationToken.None);
        time.Advance(TimeSpan.FromSeconds(1));
        await Task.Delay(5);
        Assert.False(idle.IsCompleted);
        running!.SetResult(new JobOutcome.Rejected("refused", "No."));
        Assert.Equal("alone", (await handling).Job!.Id);
        Assert.Equal(DeliveryState.Running, delivery.State); // until it is settled
        for (var end = DateTime.UtcNow.AddSeconds(30); !idle.IsCompleted; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
            time.Advance(TimeSpan.FromMilliseconds(20));
        }
    }

    [Fact]
    public async Task The_longest_running_job_is_told_first()
    {
        var slots = await SlotsAsync(parallelism: 3);
        foreach (var id in new[] { "c", "a", "b" })
        {
            running = null;
            await HandAsync(id, bulk: false);
            await UntilAsync(() => running is not null);
            time.Advance(TimeSpan.FromSeconds(1.234));
        }

        Assert.Equal([new("c", 1, 3.7), new("a", 1, 2.47), new("b", 1, 1.23)], slots.Running);
    }

    /// <summary>One trace leads from whoever sent a job to its stages.</summary>
    [Fact]
    public async Task Each_job_is_measured_and_traced()
    {
        var (measured, traced) = (new System.Collections.Concurrent.ConcurrentQueue<string>(), new System.Collections.Concurrent.ConcurrentQueue<Activity>());
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Name == "messaging.process.duration")
            {
                l.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((_, value, tags, _) =>
        {
            if (tags.ToArray().Any(t => t.Value is "measured"))
            {
                measured.Enqueue($"{value} {tags.ToArray().FirstOrDefault(t => t.Key == "error.type").Value}");
            }
        });
        listener.Start();
        using var traces = new ActivityListener { ShouldListenTo = source => source.Name == Telemetry.Name, Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData, ActivityStarted = traced.Enqueue };
        ActivitySource.AddActivityListener(traces);
        var slots = await SlotsAsync(queue: "measured");
        const string Producer = "0af7651916cd43dd8448eb211c80319c";
        foreach (var (id, outcome) in new (string, JobOutcome)[] { ("a", new JobOutcome.Retry("io", "full")), ("b", new JobOutcome.Rejected("refused", "No.")), ("c", new JobOutcome.Completed(Completed.Result with { TimingsMs = new ResultTimings(null, 5, null, null, 7, 12) })) })
        {
            (running, var before) = (null, settled.Count);
            await channel.HandAsync([1], new BasicProperties { MessageId = id, Headers = new Dictionary<string, object?> { ["traceparent"] = $"00-{Producer}-b7ad6b7169203331-01", ["tracestate"] = "k=v" } }, "q");
            await UntilAsync(() => running is not null);
            time.Advance(TimeSpan.FromSeconds(2));
            running!.SetResult(outcome);
            await UntilAsync(() => settled.Count == before + 1);
        }

        Assert.Equal(["2 io", "2 refused", "2 "], measured);
        var spans = settled.Select(s => s.Delivery.Span!).ToList();
        Assert.All(spans.Zip(["a", "b", "c"]), s => Assert.Equal(("process measured", Producer, "k=v", s.Second), (s.First.OperationName, s.First.TraceId.ToHexString(), s.First.TraceStateString, s.First.GetTagItem("messaging.message.id"))));
        Assert.Equal(["decode", "embed"], traced.Where(a => a.ParentSpanId == spans[2].SpanId).Select(a => a.OperationName));
        Assert.DoesNotContain(traced, a => a.ParentSpanId == spans[1].SpanId);
        slots.Close();
        await slots.Working.WaitAsync(TimeSpan.FromSeconds(30));
    }

    public void Dispose()
    {
        life.Dispose();
        gate.Dispose();
        abandon.Dispose();
    }

    private static JobOutcome.Completed Completed => new(new EmbedResult
    {
        JobId = "x",
        Outcome = EmbedResult.NoFace,
        Model = new ResultModel("model", "space", 1),
        Image = new ResultImage("sum"),
        Embeddings = [],
        Metadata = JsonElement.Parse("{}"),
        Attempt = 1,
        Worker = "host/1",
        Version = "1.0.0",
        TimingsMs = new ResultTimings(null, null, null, null, null, 1),
        CompletedAt = DateTime.UnixEpoch,
    });

    private Task HandAsync(string id, bool bulk) => channel.HandAsync([1], new BasicProperties { MessageId = id }, bulk ? "bulk" : "q");

    /// <summary>Hands a job out, and ends it so when it has begun.</summary>
    private async Task RunAsync(string id, bool bulk, JobOutcome outcome)
    {
        (running, var before) = (null, settled.Count);
        await HandAsync(id, bulk);
        await UntilAsync(() => running is not null);
        running!.SetResult(outcome);
        await UntilAsync(() => settled.Count == before + 1);
        Assert.Equal(id, settled.Last().Delivery.Message.JobId);
    }

    private async Task<JobSlots> PausedForBulkAsync(int parallelism = 1)
    {
        var slots = await SlotsAsync(parallelism);
        await life.SubscribeAsync("bulk", 9, d => slots.Add(d), (_, error) => throw error, bulk: true);
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            await RunAsync($"bulk-{i}", bulk: true, new JobOutcome.Retry("source_unavailable", "away"));
        }

        return slots;
    }

    private Delivery Delivery(ulong tag, string id, bool redelivered) => new(life, tag, redelivered, false, new JobMessage(new byte[] { 1 }, new BasicProperties { MessageId = id }), time.GetTimestamp());

    /// <summary>Its result.</summary>
    private static JobOutcome.Completed Of(EmbedJob job, byte[] picture) => new(Completed.Result with { JobId = job.Id, Image = new ResultImage(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(picture))) });

    private async Task<JobSlots> SlotsAsync(int parallelism = 1, string queue = "q")
    {
        var slots = new JobSlots((asked, _) =>
        {
            job = asked;
            return (running = new TaskCompletionSource<JobOutcome>()).Task;
        }, (delivery, _, outcome) => settled.Enqueue((delivery, outcome)), gate, new CrashCounts(),
            new JobOptions { Parallelism = parallelism }, queue, time, log, abandon.Token);
        slots.Start();
        await life.SubscribeAsync("q", 9, d => slots.Add(d), (_, error) => throw error);
        return slots;
    }

    private static async Task UntilAsync(Func<bool> come)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); !come(); await Task.Delay(5))
        {
            Assert.True(DateTime.UtcNow < end);
        }
    }
}
