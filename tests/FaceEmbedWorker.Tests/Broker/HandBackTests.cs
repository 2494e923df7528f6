using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class HandBackTests : IDisposable
{
    private readonly FakeTimeProvider time = new();
    private readonly PaperChannel channel = new();
    private readonly PaperLink link;
    private readonly IntakeGate gate;
    private readonly ConsumerLife life;
    private readonly HandBack handBack;

    public HandBackTests()
    {
        var options = Options.Create(new BrokerOptions());
        var topology = new Topology(options);
        (link, gate, life) = (new PaperLink(channel), new IntakeGate(time), new ConsumerLife(channel, time));
        var publisher = new ResultPublisher((_, _) => link, options, Options.Create(new ResultOptions()), topology, gate, time, NullLogger<ResultPublisher>.Instance);
        var settler = new Settler(publisher, topology, new JobTally(time), new CrashCounts(), time, NullLogger.Instance, CancellationToken.None);
        handBack = new HandBack(settler, publisher, TimeSpan.FromSeconds(100), time, NullLogger.Instance);
    }

    [Fact]
    public async Task What_was_on_its_way_back_when_an_alarm_came_ends_the_life_too()
    {
        Delivery? taken = null;
        await life.SubscribeAsync("q", 1, delivery => taken = delivery, (_, error) => throw error);
        await channel.HandAsync([1]);
        channel.Confirms = false;
        link.Block("low on memory");
        _ = handBack.ReturnAsync(taken!);
        var watching = handBack.WatchAsync(life);
        for (var step = 0; !life.Ended && step < 1000; step++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1);
        }

        await watching.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Contains("1 job waits for longer than 100 s", life.Reason, StringComparison.Ordinal);
        Assert.True(life.Age < TimeSpan.FromSeconds(200));
    }

    [Fact]
    public async Task An_alarm_that_comes_after_the_copies_were_sent_is_noticed()
    {
        await life.SubscribeAsync("q", 1, _ => { }, (_, error) => throw error);
        await channel.HandAsync([1]);
        channel.Confirms = false;
        var watching = handBack.WatchAsync(life);
        for (var step = 0; !life.Ended && step < 1000; step++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1);
            if (channel.Published.Count == 1 && link.Blocked is null)
            {
                link.Block("low on memory");
            }
        }

        await watching.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.True(life.Ended);
        Assert.Single(channel.Published);
    }

    public void Dispose()
    {
        life.Dispose();
        gate.Dispose();
    }
}
