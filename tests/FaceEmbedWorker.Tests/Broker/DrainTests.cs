using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class DrainTests : IDisposable
{
    private readonly CountedTime time = new();
    private readonly PaperChannel channel = new();
    private readonly PaperLog log = new();
    private readonly CancellationTokenSource abandon = new();
    private readonly TaskCompletionSource<JobOutcome> outcome = new();
    private readonly IntakeGate gate;
    private readonly ConsumerLife life;
    private readonly Settler settler;
    private readonly JobSlots slots;
    private readonly HandBack handBack;
    private readonly Drain drain;

    public DrainTests()
    {
        var options = Options.Create(new BrokerOptions());
        var (topology, crashes) = (new Topology(options), new CrashCounts());
        (gate, life) = (new IntakeGate(time), new ConsumerLife(channel, time));
        var publisher = new ResultPublisher((_, _) => new PaperLink(channel), options, Options.Create(new ResultOptions()), topology, gate, time, NullLogger<ResultPublisher>.Instance);
        settler = new Settler(publisher, topology, new JobTally(time), crashes, time, NullLogger.Instance);
        slots = new JobSlots((_, cancel) => outcome.Task.WaitAsync(cancel), settler.Begin, gate, crashes, new JobOptions { Parallelism = 1 }, topology.Jobs, time, NullLogger.Instance, abandon.Token);
        handBack = new HandBack(settler, publisher, TimeSpan.FromSeconds(600), time, NullLogger.Instance);
        drain = new Drain(slots, settler, new SuspectLane(slots, settler, crashes, gate, topology, NullLogger.Instance), handBack, abandon, TimeSpan.FromSeconds(20), time, log);
        slots.Start();
    }

    [Fact]
    public async Task What_runs_is_finished_and_what_waits_goes_back_at_once()
    {
        await TakeAsync(2);
        await UntilAsync(() => slots.Running.Count == 1);
        var stopping = drain.RunAsync(life);
        await UntilAsync(() => channel.Acked.Count == 1);
        Assert.Equal(("face.jobs", 2UL), (Assert.Single(channel.Published).Exchange, Assert.Single(channel.Acked)));
        outcome.SetResult(new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => channel.Acked.Count == 2);
        var acked = time.GetTimestamp();
        await UntilAsync(() => stopping.IsCompleted, step: 0.1);
        Assert.InRange(time.GetElapsedTime(acked).TotalSeconds, 1, 60); // in which the acks arrive
        Assert.Equal(["face.jobs", "face.jobs.dead"], channel.Published.Select(p => p.Exchange));
        Assert.Equal((2, 0, false, 1), (channel.Acked.Count, life.InHand, abandon.IsCancellationRequested, log.Lines.Count));
    }

    /// <summary>Between the end of what was given up and the copy there is nothing that is settled.</summary>
    [Fact]
    public async Task A_stop_waits_for_what_is_on_its_way_back_already()
    {
        await TakeAsync(1);
        var (confirm, copied) = (new TaskCompletionSource(), new TaskCompletionSource());
        channel.Answer = (exchange, cancel) => (exchange == "face.jobs" ? copied.Task : confirm.Task).WaitAsync(cancel);
        outcome.SetResult(new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => channel.Published.Count == 1);
        var returning = handBack.ReturnAsync(life.Unsettled.Single());
        var stopping = drain.RunAsync(life);
        await UntilAsync(() => channel.Published.Count == 2, step: 0.1);
        await Task.Delay(30);
        Assert.False(stopping.IsCompleted);
        copied.SetResult();
        await UntilAsync(() => stopping.IsCompleted && returning.IsCompleted, step: 0.1);
        Assert.Equal((1UL, 0, false), (Assert.Single(channel.Acked), life.InHand, abandon.IsCancellationRequested));
    }

    [Fact]
    public async Task At_the_deadline_what_is_held_goes_back()
    {
        await TakeAsync(1);
        channel.Answer = (exchange, _) => exchange == "face.jobs" ? Task.CompletedTask : Task.FromException(new PublishReturnException(1, "NO_ROUTE", exchange, "worker", 312, "NO_ROUTE"));
        outcome.SetResult(new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => gate.Holding);
        var stopping = drain.RunAsync(life);
        var began = time.GetTimestamp();
        time.Advance(TimeSpan.FromSeconds(19));
        await UntilAsync(() => stopping.IsCompleted, step: 0.05);
        Assert.Equal("face.jobs", channel.Published[^1].Exchange);
        Assert.Equal((1UL, 0, true), (Assert.Single(channel.Acked), life.InHand, abandon.IsCancellationRequested));
        Assert.InRange(time.GetElapsedTime(began).TotalSeconds, 22, 30);
    }

    /// <summary>The broker takes nothing: what is in hand is its own again once the connection ends.</summary>
    [Fact]
    public async Task A_stop_ends_within_the_hosts_ten_seconds_beyond_its_deadline()
    {
        await TakeAsync(1);
        channel.Confirms = false;
        outcome.SetResult(new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => channel.Published.Count == 1);
        var stopping = drain.RunAsync(life);
        var began = time.GetTimestamp();
        time.Advance(TimeSpan.FromSeconds(19));
        await UntilAsync(() => stopping.IsCompleted, step: 0.05);
        Assert.InRange(time.GetElapsedTime(began).TotalSeconds, 20, 30);
        Assert.Equal((0, 1), (channel.Acked.Count, life.InHand));
    }

    public void Dispose()
    {
        slots.Close();
        life.Dispose();
        gate.Dispose();
        abandon.Dispose();
    }

    /// <summary>Jobs in hand; their ids are their tags.</summary>
    private async Task TakeAsync(int count)
    {
        await life.SubscribeAsync("q", 9, delivery => Assert.True(slots.Add(delivery)), (_, error) => throw error);
        for (var i = 1; i <= count; i++)
        {
            await channel.HandAsync([1], new BasicProperties { MessageId = $"{i}" });
        }
    }

    /// <param name="step">Seconds by which time goes on meanwhile.</param>
    private async Task UntilAsync(Func<bool> come, double step = 0)
    {
        for (var end = DateTime.UtcNow.AddSeconds(120); !come(); await Task.Delay(10)) // time enough for what a step begins, and for all steps on a busy machine
        {
            Assert.True(DateTime.UtcNow < end);
            time.Advance(TimeSpan.FromSeconds(step));
        }
    }
}
