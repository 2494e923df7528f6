using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
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
    private readonly System.Collections.Concurrent.ConcurrentQueue<(Delivery Delivery, JobOutcome Outcome)> settled = new();
    private TaskCompletionSource<JobOutcome>? running;

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

        Assert.Equal(pauses, gate.Failing);
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
        time.Advance(TimeSpan.FromSeconds(2 * 60) + JobSlots.StuckTime + TimeSpan.FromSeconds(1));
        slots.EndWhereStuck();
        Assert.Equal(1, stuck);
        running!.SetResult(new JobOutcome.Retry("deadline", "late"));
    }

    public void Dispose()
    {
        life.Dispose();
        gate.Dispose();
        abandon.Dispose();
    }

    private async Task<JobSlots> SlotsAsync()
    {
        var slots = new JobSlots((_, _) => (running = new TaskCompletionSource<JobOutcome>()).Task, (delivery, _, outcome) => settled.Enqueue((delivery, outcome)), gate, new CrashCounts(),
            new JobOptions { Parallelism = 1 }, "q", time, NullLogger.Instance, abandon.Token);
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
