using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class SuspectLaneTests : IDisposable
{
    private readonly FakeTimeProvider time = new();
    private readonly PaperChannel channel = new();
    private readonly PaperLog log = new();
    private readonly CrashCounts crashes = new();
    private readonly IntakeGate gate;
    private readonly JobSlots slots;
    private readonly SuspectLane lane;
    private Task<JobOutcome> outcome = Task.FromResult<JobOutcome>(new JobOutcome.Rejected("refused", "No."));

    public SuspectLaneTests()
    {
        gate = new IntakeGate(time);
        var options = Options.Create(new BrokerOptions());
        var topology = new Topology(options);
        var publisher = new ResultPublisher((_, _) => new PaperLink(channel), options, Options.Create(new ResultOptions()), topology, gate, time, NullLogger<ResultPublisher>.Instance);
        var settler = new Settler(publisher, topology, new JobTally(time), crashes, time, NullLogger.Instance);
        slots = new JobSlots((_, _) => outcome, settler.Begin, gate, crashes, new JobOptions(), topology.Jobs, time, NullLogger.Instance, CancellationToken.None);
        lane = new SuspectLane(slots, settler, crashes, gate, topology, log);
    }

    /// <summary>The broker may have handed it out into the channel that was given up: nobody handled it then.</summary>
    [Theory]
    [InlineData(2, false, "refused")]
    [InlineData(3, false, "crash_loop")]
    [InlineData(3, true, "refused")]
    [InlineData(4, true, "crash_loop")]
    [InlineData(0, true, "refused")]
    public async Task A_suspect_that_was_asked_for_in_vain_has_crashed_nothing_by_that(long returns, bool inVain, string reason)
    {
        if (inVain)
        {
            await AskInVainAsync();
        }

        channel.Wait([1], new BasicProperties { MessageId = "suspect", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = returns } });
        channel.Wait([1], new BasicProperties { MessageId = "next", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = 3L } });
        using var life = new ConsumerLife(channel, time);
        await lane.RunAsync(life, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));

        Assert.Equal([$"Information: Job suspect is a crash suspect (crashes alone so far: {Math.Max(0, returns - (inVain ? 1 : 0))}): handling it with nothing else in hand", "Information: Job next is a crash suspect (crashes alone so far: 3): handling it with nothing else in hand"], log.Lines);
        Assert.Equal([("suspect", reason), ("next", "crash_loop")], channel.Published.Select(p => (p.Properties.MessageId, (string)p.Properties.Headers!["fw-error"]!)));
    }

    /// <summary>It was handed out for the first time: what was asked for in vain was another.</summary>
    [Fact]
    public async Task A_suspect_that_never_came_back_is_forgiven_nothing()
    {
        await AskInVainAsync();
        var handling = new TaskCompletionSource<JobOutcome>();
        outcome = handling.Task;
        channel.Wait([1], new BasicProperties { MessageId = "suspect" });
        using var life = new ConsumerLife(channel, time);
        var running = lane.RunAsync(life, CancellationToken.None);
        for (var end = DateTime.UtcNow.AddSeconds(30); log.Lines.IsEmpty; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
        }

        Assert.Equal(2, crashes.Of(new JobMessage(new byte[] { 1 }, new BasicProperties { MessageId = "suspect", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = 2L } })));
        handling.SetResult(new JobOutcome.Rejected("refused", "No."));
        await running.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task No_suspect_is_taken_before_all_else_is_done_nor_while_the_broker_takes_nothing()
    {
        channel.Wait([1], new BasicProperties { MessageId = "suspect" });
        using var life = new ConsumerLife(channel, time);
        Delivery? other = null;
        await life.SubscribeAsync("q", 1, delivery => other = delivery, (_, error) => throw error);
        await channel.HandAsync([1]);
        gate.Hold("a queue is full");
        var running = lane.RunAsync(life, CancellationToken.None);
        Assert.Equal((1, false), (channel.Cancelled.Count, running.IsCompleted));
        await life.AckAsync(other!, CancellationToken.None);
        await running.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Empty(channel.Published);

        gate.Release();
        using var stopping = new CancellationTokenSource();
        await stopping.CancelAsync();
        await lane.RunAsync(life, stopping.Token).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Empty(channel.Published); // the worker stops
        await lane.RunAsync(life, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal("suspect", Assert.Single(channel.Published).Properties.MessageId);
        await lane.IdleAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task No_suspect_is_taken_beside_a_job_that_outlived_its_connection()
    {
        var handling = new TaskCompletionSource<JobOutcome>();
        outcome = handling.Task;
        using var earlier = new ConsumerLife(channel, time);
        var handled = slots.HandleAsync(new Delivery(earlier, 1, false, false, new JobMessage(new byte[] { 1 }, new BasicProperties { MessageId = "runs" }), 0));
        channel.Wait([1], new BasicProperties { MessageId = "suspect" });
        using var life = new ConsumerLife(channel, time);
        var running = lane.RunAsync(life, CancellationToken.None);
        await Task.Delay(20);
        Assert.Empty(log.Lines);
        handling.SetResult(new JobOutcome.Rejected("refused", "No."));
        await handled;
        for (var end = DateTime.UtcNow.AddSeconds(30); !running.IsCompleted; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
            time.Advance(TimeSpan.FromMilliseconds(20));
        }

        Assert.Single(log.Lines);
    }

    [Fact]
    public async Task A_queue_without_suspects_forgives_no_crash()
    {
        using var first = new ConsumerLife(channel, time);
        await lane.RunAsync(first, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
        channel.Wait([1], new BasicProperties { MessageId = "suspect", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = 3L } });
        using var life = new ConsumerLife(channel, time);
        await lane.RunAsync(life, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));
        var headers = Assert.Single(channel.Published).Properties.Headers!;
        Assert.Equal(("crash_loop", "The worker ended 3 times while it handled this job and no other."), ((string)headers["fw-error"]!, (string)headers["fw-error-message"]!));
    }

    [Fact]
    public async Task The_next_suspect_is_taken_when_the_last_is_settled()
    {
        channel.Confirms = false;
        channel.Wait([1], new BasicProperties { MessageId = "suspect" });
        channel.Wait([1], new BasicProperties { MessageId = "next" });
        using var life = new ConsumerLife(channel, time);
        using var stopping = new CancellationTokenSource();
        var running = lane.RunAsync(life, stopping.Token);
        for (var end = DateTime.UtcNow.AddSeconds(30); channel.Published.Count == 0; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
        }

        await Task.Delay(20);
        Assert.Contains("suspect", Assert.Single(log.Lines), StringComparison.Ordinal);
        await stopping.CancelAsync();
        await running.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task A_suspect_outlives_its_connection_and_nothing_runs_beside_it()
    {
        var handling = new TaskCompletionSource<JobOutcome>();
        outcome = handling.Task;
        channel.Wait([1], new BasicProperties { MessageId = "suspect", Headers = new Dictionary<string, object?> { ["x-delivery-count"] = 2L } });
        using var life = new ConsumerLife(channel, time);
        var running = lane.RunAsync(life, CancellationToken.None);
        var idle = lane.IdleAsync(CancellationToken.None);
        await life.EndAsync("gone");
        await running.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.False(idle.IsCompleted);
        handling.SetResult(new JobOutcome.Rejected("refused", "No."));
        await idle.WaitAsync(TimeSpan.FromSeconds(30));
    }

    public void Dispose() => gate.Dispose();

    private async Task AskInVainAsync()
    {
        channel.AnswersGet = false;
        using var first = new ConsumerLife(channel, time);
        var asking = lane.RunAsync(first, CancellationToken.None);
        for (var step = 0; !first.Ended && step < 1000; step++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1);
        }

        await asking.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Contains("does not hand out a suspect", first.Reason, StringComparison.Ordinal);
        channel.AnswersGet = true;
    }
}
