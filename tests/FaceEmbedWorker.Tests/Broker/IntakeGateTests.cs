using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class IntakeGateTests : IDisposable
{
    private readonly FakeTimeProvider time = new();
    private readonly IntakeGate gate;

    public IntakeGateTests() => gate = new IntakeGate(time);

    [Fact]
    public async Task A_job_that_was_wrong_itself_tells_nothing_of_the_world()
    {
        Fail(IntakeGate.Failures);
        Assert.False(gate.Report("malformed", worldFailed: null, probing: false));
        Assert.True(gate.IsFailing(bulk: false));
        Assert.True(await InTimeAsync(gate.EnterAsync(CancellationToken.None)));
        Assert.False(gate.Report("malformed", worldFailed: null, probing: true));
        Assert.True(await InTimeAsync(gate.EnterAsync(CancellationToken.None))); // the probe's place is free again
        Assert.True(gate.Report("good", worldFailed: false, probing: true));
        Assert.False(gate.IsFailing(bulk: false));
    }

    /// <summary>Whoever looks at the page or the metrics sees that pause, though the intake is open.</summary>
    [Fact]
    public void A_pause_of_bulk_jobs_is_told_beside_an_open_intake()
    {
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            Assert.Null(gate.BulkReason);
            gate.Report($"bulk-{i}", worldFailed: true, probing: false, bulk: true, $"archive {i} is away.");
        }

        Assert.Equal((null, "5 different bulk jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds. The last: archive 4 is away.", 0L), (gate.Reason, gate.BulkReason, gate.BulkResults));
        gate.Report("live", worldFailed: false, probing: false);
        Assert.Equal((true, 0L), (gate.BulkReason is not null, gate.BulkResults));
        gate.Report("bulk", worldFailed: false, probing: false, bulk: true);
        Assert.Equal((null, 1L), (gate.BulkReason, gate.BulkResults));
    }

    [Fact]
    public async Task Is_closed_while_the_broker_takes_nothing()
    {
        gate.Block("low on memory");
        gate.Hold("held");
        var waiting = gate.EnterAsync(CancellationToken.None);
        Assert.Equal("the broker takes no messages: low on memory", gate.Reason);
        gate.Release();
        Assert.False(waiting.IsCompleted);
        gate.Block(null);
        Assert.False(await waiting.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(gate.Reason);
    }

    [Fact]
    public async Task Is_open_until_enough_different_jobs_fail_in_a_row()
    {
        Fail(IntakeGate.Failures - 1);
        gate.Report("good", worldFailed: false, probing: false);
        Fail(IntakeGate.Failures - 1);
        Assert.False(gate.IsFailing(bulk: false));
        Assert.False(await gate.EnterAsync(CancellationToken.None));

        for (var again = 0; again < 10; again++)
        {
            gate.Report("job-0", worldFailed: true, probing: false); // the same job's fault, perhaps
        }

        Assert.False(gate.IsFailing(bulk: false));
        Assert.True(gate.Report("another", worldFailed: true, probing: false));
        Assert.True(gate.IsFailing(bulk: false));
    }

    [Fact]
    public async Task Lets_one_probe_through_at_a_time_with_growing_pauses()
    {
        Fail(IntakeGate.Failures);
        foreach (var pause in new[] { 1, 2, 4, 8, 16, 32, 60, 60 })
        {
            var probe = gate.EnterAsync(CancellationToken.None);
            time.Advance(TimeSpan.FromSeconds(pause - 0.1));
            Assert.False(probe.IsCompleted);
            time.Advance(TimeSpan.FromSeconds(0.2));
            Assert.True(await probe);

            var another = gate.EnterAsync(CancellationToken.None);
            time.Advance(TimeSpan.FromMinutes(10));
            Assert.False(another.IsCompleted); // while the probe is under way

            gate.Report("probe", worldFailed: true, probing: true);
            Assert.True(await InTimeAsync(another)); // its turn, as a probe as well
            gate.Report("another", worldFailed: false, probing: true);
            Fail(IntakeGate.Failures);
            for (var p = 1; p <= pause && p < 60; p *= 2)
            {
                Assert.True(await InTimeAsync(gate.EnterAsync(CancellationToken.None)));
                gate.Report("failing", worldFailed: true, probing: true);
            }
        }
    }

    [Fact]
    public async Task Opens_for_all_who_wait_when_a_probe_succeeds()
    {
        Fail(IntakeGate.Failures);
        var probe = gate.EnterAsync(CancellationToken.None);
        var waiting = Enumerable.Range(0, 5).Select(_ => gate.EnterAsync(CancellationToken.None)).ToArray();
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(await probe);

        Assert.True(gate.Report("probe", worldFailed: false, probing: true));

        Assert.All(await Task.WhenAll(waiting).WaitAsync(TimeSpan.FromSeconds(30)), Assert.False);
    }

    [Fact]
    public async Task Who_has_waited_for_a_probe_waits_for_the_broker_too()
    {
        Fail(IntakeGate.Failures);
        Task<bool>[] waiting = [gate.EnterAsync(CancellationToken.None), gate.EnterAsync(CancellationToken.None)];
        gate.Block("low on memory");
        time.Advance(TimeSpan.FromSeconds(1));
        await Task.Delay(20);
        Assert.DoesNotContain(waiting, w => w.IsCompleted);
        gate.Block(null);
        var probe = await Task.WhenAny(waiting).WaitAsync(TimeSpan.FromSeconds(30)); // either of them
        Assert.True(await probe);
        var next = waiting.Single(w => w != probe);
        gate.Block("low on memory");
        gate.Report("good", worldFailed: false, probing: true);
        await Task.Delay(20);
        Assert.False(next.IsCompleted);
        gate.Block(null);
        Assert.False(await next.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task A_wait_that_is_given_up_leaves_the_turn_to_the_next()
    {
        Fail(IntakeGate.Failures);
        using var stopping = new CancellationTokenSource();
        var first = gate.EnterAsync(stopping.Token);
        await stopping.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        var second = gate.EnterAsync(CancellationToken.None);
        Assert.True(await InTimeAsync(second));
    }

    [Fact]
    public async Task A_pause_is_not_begun_anew_by_the_next_that_waits()
    {
        Fail(IntakeGate.Failures);
        for (var p = 0; p < 3; p++)
        {
            Assert.True(await InTimeAsync(gate.EnterAsync(CancellationToken.None)));
            gate.Report("failing", worldFailed: true, probing: true);
        }

        for (var second = 0; second < 7; second++) // of 8; each is handed back before it may go
        {
            using var handedBack = new CancellationTokenSource();
            var waiting = gate.EnterAsync(handedBack.Token);
            time.Advance(TimeSpan.FromSeconds(1));
            await handedBack.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        }

        var next = gate.EnterAsync(CancellationToken.None);
        time.Advance(TimeSpan.FromSeconds(1.1));
        Assert.True(await next.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task Is_closed_while_a_message_is_held_and_says_why()
    {
        Assert.Null(gate.Reason);
        gate.Hold("a queue is full");
        gate.Hold("a queue is full");
        var waiting = gate.EnterAsync(CancellationToken.None);
        Assert.Equal("2 messages wait until the broker takes them: a queue is full", gate.Reason);

        Assert.False(gate.Release());
        await Task.Yield();
        Assert.False(waiting.IsCompleted);
        Assert.True(gate.Release());

        Assert.False(await waiting.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(gate.Reason);
    }

    [Fact]
    public async Task Bulk_jobs_are_told_to_come_again_where_others_wait()
    {
        Assert.Equal((false, TimeSpan.Zero), (await gate.EnterBulkAsync(CancellationToken.None), gate.BulkPause));
        FailBulk();
        Assert.Equal((null, TimeSpan.FromSeconds(1)), (await gate.EnterBulkAsync(CancellationToken.None), gate.BulkPause));
        Assert.False(await gate.EnterAsync(CancellationToken.None)); // the others are not paused
        time.Advance(TimeSpan.FromSeconds(0.9));
        Assert.Equal((null, TimeSpan.FromSeconds(0.1)), (await gate.EnterBulkAsync(CancellationToken.None), gate.BulkPause));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(TimeSpan.Zero, gate.BulkPause);
        Assert.Equal((true, null), (await gate.EnterBulkAsync(CancellationToken.None), gate.BulkPause));
        Assert.Null(await gate.EnterBulkAsync(CancellationToken.None)); // one at a time
        gate.Report("probe", worldFailed: true, probing: true, bulk: true);
        Assert.Equal((null, TimeSpan.FromSeconds(2)), (await gate.EnterBulkAsync(CancellationToken.None), gate.BulkPause));
        time.Advance(TimeSpan.FromHours(1));
        Assert.Equal(TimeSpan.Zero, gate.BulkPause);
        Assert.True(await gate.EnterBulkAsync(CancellationToken.None));
        gate.Report("probe", worldFailed: false, probing: true, bulk: true);
        Assert.Equal((false, TimeSpan.Zero), (await gate.EnterBulkAsync(CancellationToken.None), gate.BulkPause));
        FailBulk();
        Assert.Equal(TimeSpan.FromSeconds(1), gate.BulkPause); // from the first again

        void FailBulk()
        {
            for (var i = 0; i < IntakeGate.Failures; i++)
            {
                gate.Report($"bulk-{i}", worldFailed: true, probing: false, bulk: true);
            }
        }
    }

    /// <summary>It tells nothing of the world: the next probe need not wait for long, and the pauses grow on behind it.</summary>
    [Fact]
    public async Task After_a_probe_that_looked_at_nothing_the_next_one_goes_soon()
    {
        for (var i = 0; i < IntakeGate.Failures; i++)
        {
            gate.Report($"bulk-{i}", worldFailed: true, probing: false, bulk: true);
        }

        await ProbeAsync(seconds: 1, worldFailed: true, asked: true, pause: 2);
        await ProbeAsync(seconds: 2, worldFailed: true, asked: false, pause: 1);
        gate.Report("was-running", worldFailed: true, probing: false, bulk: true, asked: false);
        Assert.StartsWith("7 different bulk jobs", gate.BulkReason, StringComparison.Ordinal); // the first probe and that one beside them
        await ProbeAsync(seconds: 2, worldFailed: null, asked: false, pause: 0);
        await ProbeAsync(seconds: 0, worldFailed: true, asked: true, pause: 4);
        gate.Report("good", worldFailed: false, probing: false, bulk: true);
        Assert.Equal(TimeSpan.Zero, gate.BulkPause);

        async Task ProbeAsync(int seconds, bool? worldFailed, bool asked, int pause)
        {
            time.Advance(TimeSpan.FromSeconds(seconds));
            Assert.True(await gate.EnterBulkAsync(CancellationToken.None));
            gate.Report("probe", worldFailed, probing: true, bulk: true, asked: asked);
            Assert.Equal(TimeSpan.FromSeconds(pause), gate.BulkPause);
        }
    }

    [Fact]
    public void A_job_that_is_done_takes_all_failures_before_it_off()
    {
        foreach (var round in new[] { "a", "b" })
        {
            for (var i = 1; i < IntakeGate.Failures; i++)
            {
                Assert.False(gate.Report($"{round}-{i}", worldFailed: true, probing: false));
            }

            gate.Report("good", worldFailed: false, probing: false);
        }
    }

    [Fact]
    public async Task Bulk_jobs_wait_like_others_while_the_broker_takes_nothing()
    {
        gate.Block("low on memory");
        Assert.Equal(("low on memory", true), (gate.Blocked, gate.Holding));
        var waiting = gate.EnterBulkAsync(CancellationToken.None);
        gate.Block("low on disk");
        Assert.Equal("low on disk", gate.Blocked);
        Assert.False(waiting.IsCompleted);
        gate.Block(null);
        Assert.Equal((null, false), (gate.Blocked, gate.Holding));
        Assert.False(await waiting.WaitAsync(TimeSpan.FromSeconds(30)));
        gate.Block(null); // once more
        Assert.False(gate.Holding);
    }

    [Fact]
    public async Task Jobs_that_fail_beside_a_probe_make_its_pause_neither_longer_nor_later()
    {
        Fail(IntakeGate.Failures);
        time.Advance(TimeSpan.FromSeconds(0.9));
        gate.Report("was-running", worldFailed: true, probing: false);
        var probe = gate.EnterAsync(CancellationToken.None);
        Assert.False(probe.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(await probe.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public void Says_why_jobs_fail_and_how_many()
    {
        for (var i = 1; i < 8; i++)
        {
            Assert.Equal(i == IntakeGate.Failures, gate.Report($"job-{i}", worldFailed: true, probing: false, why: $"The disk is full ({i})."));
        }

        Assert.Equal("7 different jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds. The last: The disk is full (7).", gate.Reason);
        Assert.Null(gate.BulkReason);
        gate.Hold("a queue is full");
        Assert.Equal("1 message waits until the broker takes it: a queue is full", gate.Reason);
    }

    public void Dispose() => gate.Dispose();

    /// <summary>Moves the clock until the wait ends; whoever waits may start its pause only after a first move.</summary>
    private async Task<bool> InTimeAsync(Task<bool> wait)
    {
        for (var step = 0; !wait.IsCompleted && step < 10_000; step++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1);
        }

        Assert.True(wait.IsCompleted);
        return await wait;
    }

    private void Fail(int count)
    {
        for (var i = 0; i < count; i++)
        {
            gate.Report($"job-{i}", worldFailed: true, probing: false);
        }
    }
}
