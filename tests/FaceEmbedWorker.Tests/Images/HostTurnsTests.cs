using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Tests.Broker;

namespace FaceEmbedWorker.Tests.Images;

public sealed class HostTurnsTests : IDisposable
{
    private readonly CountedTime time = new();
    private readonly HostTurns turns;

    public HostTurnsTests() => turns = new HostTurns(new SourceOptions { PerHost = 1 }, time);

    /// <summary>The least and the most that the setting takes, which no timer counts.</summary>
    [Theory]
    [InlineData(1e-300, 1)]
    [InlineData(10_000, 200)]
    public async Task No_rate_is_too_low_or_too_high(double rate, int pictures)
    {
        using var paced = new HostTurns(new SourceOptions { PerHostRate = rate }, TimeProvider.System);
        await Task.WhenAll(Enumerable.Range(0, pictures).Select(_ => paced.AskAsync("host", last: false, () => Task.FromResult<byte[]>([]), TestContext.Current.CancellationToken))).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }

    /// <summary>After a pause, too: none goes by a turn that lay waiting.</summary>
    [Fact]
    public async Task Those_who_ask_are_evenly_spaced_and_who_gives_up_leaves_its_place()
    {
        using var paced = new HostTurns(new SourceOptions { PerHostRate = 0.5 }, time);
        using var deadline = new CancellationTokenSource();
        var began = time.GetTimestamp();
        var begun = new List<double>();
        await Ask();
        time.Advance(TimeSpan.FromSeconds(3.8));
        Task[] all = [Ask(), Ask(), Ask(deadline.Token), Ask()];
        await deadline.CancelAsync();
        await Assert.ThrowsAsync<TurnException>(() => all[2]);
        for (var turns = 2; turns <= 4; turns++)
        {
            await Until(() => begun.Count == turns && time.Timers >= Math.Min(turns - 1, 2)); // the next one waits by the clock; however slow the machine, no time goes by meanwhile
            time.Advance(TimeSpan.FromSeconds(1.9));
            await Task.Delay(20, TestContext.Current.CancellationToken);
            time.Advance(TimeSpan.FromSeconds(0.1));
        }

        await Task.WhenAll(all[0], all[1], all[3]).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.Equal([0, 3.8, 5.8, 7.8], begun);

        Task Ask(CancellationToken cancel = default) => paced.AskAsync("host", last: false, () =>
        {
            begun.Add(Math.Round(time.GetElapsedTime(began).TotalSeconds, 1));
            return Task.FromResult<byte[]>([]);
        }, cancel);
    }

    [Theory]
    [InlineData(1, 0, false)]
    [InlineData(1, 0, true)]
    [InlineData(0, 0.2, false)]
    [InlineData(0, 0.2, true)]
    public async Task Who_waits_when_the_worker_ends_does_not_ask(int atOnce, double rate, bool last)
    {
        using var ending = new HostTurns(new SourceOptions { PerHost = atOnce, PerHostRate = rate }, time);
        var (answer, asked) = (new TaskCompletionSource<byte[]>(), 0);
        Task[] all = [.. Enumerable.Range(0, 9).Select(_ => ending.AskAsync("host", last, () =>
        {
            asked++;
            return answer.Task;
        }, TestContext.Current.CancellationToken))];
        ending.Dispose();
        answer.SetResult([]);
        await all[0].WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        foreach (var waiting in all[1..])
        {
            await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
        }

        Assert.Equal(1, asked);
    }

    /// <summary>Also where it gives up in the moment in which its turn comes: the next one does not wait for a turn that nobody takes.</summary>
    [Fact]
    public async Task Who_gives_up_as_its_turn_comes_leaves_it_to_the_next()
    {
        for (var round = 0; round < 100; round++)
        {
            using var paced = new HostTurns(new SourceOptions { PerHostRate = 0.1 }, time);
            var gaveUp = Enumerable.Range(0, 100).Select(_ => new CancellationTokenSource()).ToArray();
            var went = new System.Collections.Concurrent.ConcurrentQueue<int>();
            var all = gaveUp.Select((g, i) => paced.AskAsync("host", last: false, () =>
            {
                went.Enqueue(i);
                return Task.FromResult<byte[]>([]);
            }, g.Token)).ToArray();
            Parallel.For(1, 99, i => gaveUp[i].Cancel());
            await Task.WhenAll(all[1..99]).ContinueWith(_ => { }, TaskScheduler.Default);
            await Task.Delay(2, TestContext.Current.CancellationToken);
            await Until(() => time.Pending == 1); // the last one waits by the clock
            time.Advance(TimeSpan.FromSeconds(10));
            await all[99].WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            Assert.Equal([0, 99], went);
        }
    }

    [Fact]
    public async Task Nobody_asks_after_the_worker_has_ended()
    {
        var ended = new HostTurns(new SourceOptions { PerHost = 1, PerHostRate = 1 }, time);
        ended.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => ended.AskAsync<byte[]>("host", last: false, () => throw new InvalidOperationException("asked"), CancellationToken.None));
    }

    /// <summary>Also beyond ten a second, which is how often a limiter of many hosts looks.</summary>
    [Fact]
    public async Task A_host_is_asked_as_often_as_the_rate_says()
    {
        using var paced = new HostTurns(new SourceOptions { PerHostRate = 40 }, TimeProvider.System);
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 81).Select(_ => paced.AskAsync("host", last: false, () => Task.FromResult<byte[]>([]), TestContext.Current.CancellationToken)));
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds, 1.9, 6); // two; eight where each waits for the next tenth of a second
    }

    /// <summary>Whoever is not to wait, waits for the one that is being fetched, and for one more at most.</summary>
    [Fact]
    public async Task All_but_one_of_the_last_wait_behind_the_others()
    {
        var (begun, end) = (new List<string>(), new List<TaskCompletionSource>());
        Task[] all = [Ask("bulk-0", true), Ask("bulk-1", true), Ask("bulk-2", true), Ask("bulk-3", true), Ask("asked-0", false), Ask("asked-1", false)];
        for (var i = 0; i < all.Length; i++)
        {
            Assert.Equal(i + 1, begun.Count);
            end[i].SetResult();
            await Until(() => begun.Count > i + 1 || i == all.Length - 1);
        }

        await Task.WhenAll(all).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(["bulk-0", "bulk-1", "asked-0", "asked-1", "bulk-2", "bulk-3"], begun);

        Task Ask(string name, bool last) => turns.AskAsync<byte[]>("host", last, async () =>
        {
            var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            begun.Add(name);
            end.Add(done);
            await done.Task;
            return [];
        }, CancellationToken.None);
    }

    [Fact]
    public async Task A_host_that_failed_is_tried_by_one_after_pauses_that_grow_until_it_answers()
    {
        await FailAsync("host", HostTurns.Failures);
        foreach (var pause in new[] { 1, 2, 4, 8, 16, 30, 30 })
        {
            await RefusedAsync($"the next is in {pause} s. The last: away");
            time.Advance(TimeSpan.FromSeconds(pause));
            await FailAsync("host", 1);
        }

        time.Advance(TimeSpan.FromSeconds(30));
        var answer = new TaskCompletionSource<byte[]>();
        var probe = turns.AskAsync("host", false, () => answer.Task, CancellationToken.None);
        await RefusedAsync("one more is under way. The last: away");
        answer.SetResult([1]);
        await probe;
        await FailAsync("host", HostTurns.Failures - 1); // it counts from one again
        Assert.Equal([2], await turns.AskAsync("host", false, () => Task.FromResult<byte[]>([2]), CancellationToken.None));
    }

    /// <summary>It says nothing of the host, and the next one tries.</summary>
    /// <summary>An answer may say that the host is well, that it is not, or nothing: then the try is over, and what was known is known.</summary>
    [Fact]
    public async Task An_answer_says_of_the_host_what_the_asker_makes_of_it()
    {
        for (var i = 0; i < HostTurns.Failures; i++)
        {
            await AnswerAsync(null);
            await AnswerAsync(false);
        }

        Assert.Contains("is not asked now: 5 tries in a row failed", (await Assert.ThrowsAsync<SourceException>(() => AnswerAsync(true))).Message, StringComparison.Ordinal);
        for (var i = 0; i < 2; i++)
        {
            time.Advance(TimeSpan.FromSeconds(1.1));
            await AnswerAsync(null); // its pause is over: the next may try, and none of the failures is forgotten
        }

        await AnswerAsync(true);
        for (var i = 1; i < HostTurns.Failures; i++)
        {
            await AnswerAsync(false);
        }

        await AnswerAsync(true);

        Task<bool?> AnswerAsync(bool? says) => turns.AskAsync("host", last: false, () => Task.FromResult(says), TestContext.Current.CancellationToken, answer => answer);
    }

    [Fact]
    public async Task A_try_that_was_given_up_leaves_its_place()
    {
        await FailAsync("host", HostTurns.Failures);
        time.Advance(TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<OperationCanceledException>(() => turns.AskAsync<byte[]>("host", false, () => throw new OperationCanceledException(), CancellationToken.None));
        await FailAsync("host", 1);
        await RefusedAsync("6 tries in a row failed, and the next is in 2 s");
    }

    /// <summary>They were begun before the host was away, and end beside the probe.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(false)]
    public async Task What_ends_late_makes_no_room_beside_a_probe(bool? says)
    {
        using var many = new HostTurns(new SourceOptions(), time);
        var (late, probe) = (new TaskCompletionSource<bool?>(), new TaskCompletionSource<bool?>());
        var asked = Ask(late.Task);
        for (var i = 0; i < HostTurns.Failures; i++)
        {
            await Ask(Task.FromResult<bool?>(false));
        }

        time.Advance(TimeSpan.FromSeconds(2));
        var probing = Ask(probe.Task);
        late.SetResult(says);
        await asked;
        time.Advance(TimeSpan.FromSeconds(60));
        Assert.Contains("one more is under way", (await Assert.ThrowsAsync<SourceException>(() => Ask(Task.FromResult<bool?>(true)))).Message, StringComparison.Ordinal);
        probe.SetResult(true);
        await probing;
        await Ask(Task.FromResult<bool?>(true));

        Task<bool?> Ask(Task<bool?> answer) => many.AskAsync("host", last: false, () => answer, TestContext.Current.CancellationToken, told => told);
    }

    [Fact]
    public async Task A_host_that_says_when_or_has_no_such_picture_is_not_away()
    {
        await FailAsync("host", HostTurns.Failures - 1);
        await Assert.ThrowsAsync<SourceException>(() => turns.AskAsync<byte[]>("host", false, () => throw new SourceException("later", retryAfter: TimeSpan.FromMinutes(1)), CancellationToken.None));
        await FailAsync("host", HostTurns.Failures - 1);
        await Assert.ThrowsAsync<ImageException>(() => turns.AskAsync<byte[]>("host", false, () => throw new ImageException(ImageFault.SourceMissing, "nothing there"), CancellationToken.None));
        await FailAsync("host", HostTurns.Failures);
        await RefusedAsync("5 tries in a row");
    }

    /// <summary>The host is well, and so is the world: the intake does not close for it.</summary>
    [Fact]
    public async Task A_job_whose_turn_does_not_come_says_what_it_waited_for()
    {
        var answer = new TaskCompletionSource<byte[]>();
        var first = turns.AskAsync("host", false, () => answer.Task, CancellationToken.None);
        using var deadline = new CancellationTokenSource();
        var second = turns.AskAsync<byte[]>("host", false, () => throw new InvalidOperationException("asked"), deadline.Token);
        await deadline.CancelAsync();
        var retry = Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(await Assert.ThrowsAsync<TurnException>(() => second)));
        Assert.Equal(("deadline", true, "Its turn at host did not come within the job's deadline (Jobs:DeadlineSeconds): Sources:PerHost or Sources:PerHostRate lets fewer jobs through than wait for that host."), (retry.Reason, retry.InLine, retry.Message));
        answer.SetResult([]);
        await first;
    }

    [Fact]
    public async Task Hosts_without_number_are_forgotten_the_oldest_first()
    {
        for (var i = 0; i <= HostTurns.MostFailing; i++)
        {
            await FailAsync($"host-{i}", HostTurns.Failures);
            time.Advance(TimeSpan.FromMicroseconds(100));
        }

        await FailAsync("host-0", 1); // asked, as one that was never heard of
        await Assert.ThrowsAsync<SourceException>(() => turns.AskAsync<byte[]>($"host-{HostTurns.MostFailing}", false, () => throw new InvalidOperationException("asked"), CancellationToken.None));
    }

    /// <summary>.NET throws away what is idle for ten seconds: never a limiter that still holds somebody, or the next, back.</summary>
    [Fact]
    public async Task A_limiter_is_idle_once_the_next_could_go_and_nobody_waits()
    {
        using var limiter = new PacedLimiter(TimeSpan.FromSeconds(60), time);
        time.Advance(TimeSpan.FromSeconds(7));
        Assert.Equal(TimeSpan.FromSeconds(7), limiter.IdleDuration);
        using (var refused = limiter.AttemptAcquire())
        {
            Assert.False(refused.IsAcquired); // nobody goes past the line
        }

        using (var turn = await limiter.AcquireAsync(1, TestContext.Current.CancellationToken))
        {
            Assert.True(turn.IsAcquired);
            Assert.False(turn.TryGetMetadata("RETRY_AFTER", out _));
        }

        Assert.Null(limiter.IdleDuration);
        var next = limiter.AcquireAsync(1, TestContext.Current.CancellationToken).AsTask();
        time.Advance(TimeSpan.FromSeconds(59));
        Assert.Null(limiter.IdleDuration);
        Assert.False(next.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(1));
        (await next.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken)).Dispose();
        time.Advance(TimeSpan.FromSeconds(59));
        Assert.Null(limiter.IdleDuration);
        time.Advance(TimeSpan.FromSeconds(12));
        Assert.InRange(limiter.IdleDuration!.Value, TimeSpan.FromSeconds(11), TimeSpan.FromSeconds(11.01)); // a timer may wake a millisecond late
    }

    /// <summary>The time of the next has come, and yet one waits: for a timer, as on a machine that is busy.</summary>
    [Fact]
    public async Task A_limiter_in_which_one_waits_is_not_idle()
    {
        using var limiter = new PacedLimiter(TimeSpan.FromSeconds(60), new DeafTimers(time));
        using var turn = await limiter.AcquireAsync(1, TestContext.Current.CancellationToken);
        var next = limiter.AcquireAsync(1, TestContext.Current.CancellationToken).AsTask();
        time.Advance(TimeSpan.FromSeconds(100));
        Assert.Null(limiter.IdleDuration);
        limiter.Dispose();
        Assert.False((await next).IsAcquired);
        Assert.Equal(TimeSpan.FromSeconds(40), limiter.IdleDuration);
    }

    /// <summary>A clock whose timers never ring.</summary>
    private sealed class DeafTimers(TimeProvider time) : TimeProvider
    {
        public override long TimestampFrequency => time.TimestampFrequency;

        public override long GetTimestamp() => time.GetTimestamp();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            time.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public void Dispose() => turns.Dispose();

    private static async Task Until(Func<bool> holds)
    {
        for (var i = 0; i < 3000 && !holds(); i++)
        {
            await Task.Delay(10);
        }
    }

    private async Task FailAsync(string host, int times)
    {
        for (var i = 0; i < times; i++)
        {
            Assert.Equal("away", (await Assert.ThrowsAsync<SourceException>(() => turns.AskAsync<byte[]>(host, false, () => throw new SourceException("away"), CancellationToken.None))).Message);
        }
    }

    private async Task RefusedAsync(string why)
    {
        var e = await Assert.ThrowsAsync<SourceException>(() => turns.AskAsync<byte[]>("host", false, () => throw new InvalidOperationException("asked"), CancellationToken.None));
        Assert.Contains(why, e.Message, StringComparison.Ordinal);
        Assert.True(e.Paused);
    }
}
