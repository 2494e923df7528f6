using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>All rooms together after a lost connection, when jobs come one by one; everything else of them is in the simulation.</summary>
public sealed class JobConsumerTests : IDisposable
{
    private readonly CountedTime time = new();
    private readonly PaperChannel channel = new();
    private readonly PaperLink link;
    private readonly IntakeGate gate;
    private readonly WorkerHealth health;
    private readonly JobConsumer consumer;
    private readonly TaskCompletionSource<JobOutcome> outcome = new();

    public JobConsumerTests()
    {
        var options = Options.Create(new BrokerOptions { DrainSeconds = 5, BulkQueue = true });
        var topology = new Topology(options);
        (link, gate) = (new PaperLink(channel), new IntakeGate(time));
        health = new WorkerHealth(gate, topology, time);
        var publisher = new ResultPublisher((_, _) => link, options, Options.Create(new ResultOptions()), topology, gate, time, NullLogger<ResultPublisher>.Instance);
        consumer = new JobConsumer((_, _) => link, (_, cancel) => outcome.Task.WaitAsync(cancel), publisher, topology, gate, new JobTally(time), health, options, Options.Create(new JobOptions()), time, NullLogger<JobConsumer>.Instance);
    }

    /// <summary>What the other queue had meanwhile was counted as not handed out: a new connection for each job of half a minute.</summary>
    [Fact]
    public async Task A_job_that_takes_longer_than_a_queue_may_be_quiet_ends_no_connection()
    {
        var life = await CarefulAsync();
        link.Counts = new() { ["face.jobs"] = new(5, 1) };
        await channel.HandAsync([1], new BasicProperties { MessageId = "long" }, "face.jobs");
        await UntilAsync(() => channel.Cancelled.Count > 0, step: 0.5);
        for (var seconds = 0; seconds < 50; seconds++)
        {
            await StepAsync(1);
        }

        Assert.Equal("tag of face.jobs", Assert.Single(channel.Cancelled)); // its turn is over
        outcome.SetResult(new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => channel.Acked.Count == 1);
        for (var seconds = 0; seconds < 20; seconds++)
        {
            await StepAsync(1); // the bulk queue's, and so on
        }

        Assert.True(ReferenceEquals(life, health.Life) && !life.Ended, life.Reason);
    }

    /// <summary>What goes back as its queue's turn ends may wait for long: a stop does not.</summary>
    [Fact]
    public async Task A_stop_does_not_wait_for_what_a_turn_gives_back()
    {
        var life = await CarefulAsync();
        gate.Hold("for this test");
        channel.Confirms = false;
        await channel.HandAsync([1], new BasicProperties { MessageId = "waits" }, "face.jobs");
        await UntilAsync(() => channel.Published.Count > 0, step: 0.5);
        var (stopping, began) = (consumer.StopAsync(CancellationToken.None), time.GetTimestamp());
        await UntilAsync(() => life.Closed, step: 0.1);
        Assert.InRange(time.GetElapsedTime(began).TotalSeconds, 0, 5);
        await UntilAsync(() => stopping.IsCompleted, step: 0.2);
        Assert.InRange(time.GetElapsedTime(began).TotalSeconds, 5, 15);
    }

    public void Dispose()
    {
        consumer.Dispose();
        gate.Dispose();
    }

    /// <summary>The life after one whose connection was lost.</summary>
    private async Task<ConsumerLife> CarefulAsync()
    {
        await consumer.StartAsync(TestContext.Current.CancellationToken);
        await UntilAsync(() => health.Life is { Ready: true });
        var first = health.Life;
        await consumer.EndLifeAsync();
        await UntilAsync(() => health.Life is { Ready: true } life && !ReferenceEquals(life, first), step: 0.1);
        return health.Life!;
    }

    private async Task StepAsync(double seconds)
    {
        time.Advance(TimeSpan.FromSeconds(seconds));
        await Task.Delay(10);
    }

    /// <param name="step">Seconds by which time goes on meanwhile.</param>
    private async Task UntilAsync(Func<bool> come, double step = 0)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); !come(); await Task.Delay(10))
        {
            Assert.True(DateTime.UtcNow < end);
            time.Advance(TimeSpan.FromSeconds(step));
        }
    }
}
