using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Tests.EndToEnd;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Simulation;

public sealed class ModelBrokerOnPaperTests() : OnPaperTests(isVersion4: false);

public sealed class ModelBroker4OnPaperTests() : OnPaperTests(isVersion4: true);

public abstract class OnPaperTests : ModelBrokerTests
{
    private readonly Agenda agenda = new();
    private readonly ModelBroker broker;

    protected OnPaperTests(bool isVersion4)
        : base(isVersion4) => broker = new ModelBroker(Topology, agenda, new Nobody()) { IsVersion4 = isVersion4 };

    internal override Task<IBrokerLink> LinkAsync(string role) => Task.FromResult<IBrokerLink>(new ModelLink(broker, new Steady(), new Party(), role));

    protected override Task FullAsync(string name)
    {
        broker.Bind(name, "", name, new() { ["x-max-length"] = 1L });
        return Task.CompletedTask;
    }

    protected override Task BlockAsync(bool blocked)
    {
        broker.Block(blocked);
        return Task.CompletedTask;
    }

    /// <summary>Time passes as soon as nobody has anything to do.</summary>
    protected override Task StepsAsync(Func<Task> steps)
    {
        var (before, loop) = (SynchronizationContext.Current, new Loop());
        SynchronizationContext.SetSynchronizationContext(loop);
        try
        {
            var done = steps();
            loop.RunUntil(done, agenda);
            return done;
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(before);
        }
    }

    protected override Task WaitAsync(TimeSpan time)
    {
        var passed = new TaskCompletionSource();
        agenda.After(time, passed.SetResult);
        return passed.Task;
    }

    /// <summary>Continuations, one after the other on the test's own thread.</summary>
    private sealed class Loop : SynchronizationContext
    {
        private readonly System.Collections.Concurrent.BlockingCollection<Action> posted = [];

        public override void Post(SendOrPostCallback d, object? state) => posted.Add(() => d(state));

        public void RunUntil(Task done, Agenda agenda)
        {
            for (var idle = 0; !done.IsCompleted; idle++)
            {
                if (posted.TryTake(out var next, millisecondsTimeout: idle == 0 ? 0 : 5)) // what goes by the pool comes back soon
                {
                    (idle, _) = (-1, 0);
                    next();
                }
                else if (!agenda.Next())
                {
                    Assert.True(idle < 1000, "nothing is left to happen");
                }
            }
        }
    }

    private sealed class Steady : INetwork
    {
        public TimeSpan Latency(ModelChannel channel, string what) => TimeSpan.FromMilliseconds(1);

        public bool Strays => false;
    }

    private sealed class Nobody : IWatcher
    {
        public void Note(string what)
        {
        }

        public void Refused(string queue, ModelMessage message)
        {
        }

        public void Doubled(string job)
        {
        }

        public void CameBack(string job)
        {
        }

        public void Arrived(string queue, ModelMessage message)
        {
        }

        public void Dropped(string queue, ModelMessage message)
        {
        }

        public void SettledTwice(ModelChannel channel, ulong tag)
        {
        }

        public void Sends(ModelChannel channel, string exchange, string key, ModelMessage message)
        {
        }

        public void TimedOut(ModelMessage message)
        {
        }
    }
}

[Collection(RabbitMq4.Name)]
public sealed class ModelBrokerOn4Tests(ContainerBroker broker) : ModelBrokerOnRabbitMqTests(broker, isVersion4: true);

[Collection(RabbitMq310.Name)]
public sealed class ModelBrokerOn310Tests(DebianBroker broker) : ModelBrokerOnRabbitMqTests(broker, isVersion4: false);

public abstract class ModelBrokerOnRabbitMqTests(TestBroker broker, bool isVersion4) : ModelBrokerTests(isVersion4)
{
    private readonly List<BrokerConnection> connections = [];

    internal override Task<IBrokerLink> LinkAsync(string role)
    {
        broker.Require();
        Settings.Uri = broker.Uri;
        var connection = new BrokerConnection(role, role != "consume", Options.Create(Settings), Topology, TimeProvider.System, NullLogger.Instance);
        connections.Add(connection);
        return Task.FromResult<IBrokerLink>(new BrokerLink(connection));
    }

    protected override async Task FullAsync(string name)
    {
        var channel = await connections[0].ChannelAsync(CancellationToken.None);
        await channel.QueueDeclareAsync(name, durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" });
    }

    protected override Task BlockAsync(bool blocked) => broker.AlarmAsync(blocked);

    protected override Task StepsAsync(Func<Task> steps)
    {
        broker.Require();
        return steps();
    }

    protected override Task WaitAsync(TimeSpan time) => Task.Delay(time);
}

/// <summary>Each rule that the model has, by the same steps on the model and on RabbitMQ.</summary>
public abstract class ModelBrokerTests
{
    private static readonly byte[] Body = [1];

    private readonly bool isVersion4;

    protected ModelBrokerTests(bool isVersion4)
    {
        this.isVersion4 = isVersion4;
        var name = $"m{Guid.NewGuid():N}"[..9];
        Settings = new BrokerOptions { Jobs = $"{name}.jobs", Results = $"{name}.results", RetryDelays = "0.5" };
        Topology = new Topology(Options.Create(Settings));
    }

    internal BrokerOptions Settings { get; }

    internal Topology Topology { get; }

    [Fact]
    public Task A_message_whose_channel_is_gone_comes_again_at_the_front_and_is_counted() => StepsAsync(async () =>
    {
        await PublishAsync(Topology.Jobs, Topology.JobKey, "first");
        await PublishAsync(Topology.Jobs, Topology.JobKey, "second");
        for (var lost = 0; lost < 3; lost++)
        {
            var (link, channel, got) = await TakeAsync(Topology.Jobs);
            Assert.Equal(("first", lost > 0, (long)lost), (got.Properties.MessageId, got.Redelivered, Returns(got)));
            await link.AbandonAsync(channel);
        }
    });

    [Fact]
    public Task Beyond_the_delivery_limit_the_broker_makes_a_dead_letter_and_says_why() => StepsAsync(async () =>
    {
        await PublishAsync(Topology.Jobs, Topology.SuspectKey, "again-and-again");
        for (var lost = 0; lost <= 3; lost++)
        {
            var (link, channel, got) = await TakeAsync(Topology.Suspects);
            Assert.Equal(lost, Returns(got));
            await link.AbandonAsync(channel);
        }

        var (_, _, letter) = await TakeAsync(Topology.Dead);
        Assert.Equal(("delivery_limit", Topology.Suspects, isVersion4 ? 4L : 0L), (Death(letter, "reason"), Death(letter, "queue"), Returns(letter)));
    });

    [Fact]
    public Task What_is_rejected_is_a_dead_letter_at_once() => StepsAsync(async () =>
    {
        await PublishAsync(Topology.Jobs, Topology.JobKey, "rejected");
        var (_, channel, got) = await TakeAsync(Topology.Jobs);
        await channel.RejectAsync(got.Tag, CancellationToken.None);
        var (_, _, letter) = await TakeAsync(Topology.Dead);
        Assert.Equal(("rejected", "rejected"), (letter.Properties.MessageId, Death(letter, "reason")));
    });

    [Fact]
    public Task What_is_acked_does_not_come_again() => StepsAsync(async () =>
    {
        await PublishAsync(Topology.Jobs, Topology.JobKey, "acked");
        await PublishAsync(Topology.Jobs, Topology.JobKey, "next");
        var (link, channel, got) = await TakeAsync(Topology.Jobs);
        await channel.AckAsync(got.Tag, CancellationToken.None);
        await WaitAsync(TimeSpan.FromSeconds(0.2));
        await link.AbandonAsync(channel);
        var (_, _, next) = await TakeAsync(Topology.Jobs);
        Assert.Equal(("next", 0L), (next.Properties.MessageId, Returns(next)));
    });

    [Fact]
    public Task A_waiting_job_comes_back_by_the_job_queue_once_its_time_is_over() => StepsAsync(async () =>
    {
        await PublishAsync(Topology.Retry, Topology.RetryKey(Topology.Ladder[0]), "waits");
        var (link, _, got) = await TakeAsync(Topology.Jobs);
        Assert.Equal(("waits", "expired", 0L), (got.Properties.MessageId, Death(got, "reason"), Returns(got)));
        Assert.Equal(0, (await link.CountsAsync([Topology.WaitQueue(Topology.Ladder[0])], CancellationToken.None)).Single().Value.Ready);
    });

    /// <summary>RabbitMQ 4 does not heed what clients write there.</summary>
    [Fact]
    public Task A_copied_death_makes_a_cycle_for_3_10_and_the_job_is_gone() => StepsAsync(async () =>
    {
        await PublishAsync(Topology.Retry, Topology.RetryKey(Topology.Ladder[0]), "cycle", new Dictionary<string, object?>
        {
            ["x-death"] = new List<object?> { new Dictionary<string, object?> { ["queue"] = Topology.Jobs, ["reason"] = "expired", ["count"] = 1L, ["exchange"] = Topology.Jobs, ["routing-keys"] = new List<object?> { "job" } } },
        });
        await WaitAsync(TimeSpan.FromSeconds(2));
        var link = await LinkAsync("consume");
        Assert.Equal(isVersion4, await (await link.ChannelAsync(CancellationToken.None)).GetAsync(Topology.Jobs, CancellationToken.None) is not null);
        await link.DisposeAsync();
    });

    [Fact]
    public Task What_no_queue_takes_is_returned_and_what_a_full_one_refuses_is_not_confirmed() => StepsAsync(async () =>
    {
        await Assert.ThrowsAsync<PublishReturnException>(() => PublishAsync(Topology.Retry, "no-such-wait", "unroutable"));
        await FullAsync($"{Topology.Jobs}.full");
        await Assert.ThrowsAsync<PublishException>(async () =>
        {
            for (var i = 0; i < 20; i++) // a quorum queue takes a few more than its limit before it refuses
            {
                await PublishAsync("", $"{Topology.Jobs}.full", $"{i}");
            }
        });
    });

    [Fact]
    public Task No_more_than_the_prefetch_is_in_hand_and_a_cancel_leaves_it_there() => StepsAsync(async () =>
    {
        for (var i = 0; i < 4; i++)
        {
            await PublishAsync(Topology.Jobs, Topology.JobKey, $"{i}");
        }

        var link = await LinkAsync("consume");
        var channel = await link.ChannelAsync(CancellationToken.None);
        var (got, over) = (new List<Handed>(), new TaskCompletionSource());
        var tag = await channel.ConsumeAsync(Topology.Jobs, 2, handed =>
        {
            got.Add(handed);
            return Task.CompletedTask;
        }, () =>
        {
            over.TrySetResult();
            return Task.CompletedTask;
        }, CancellationToken.None);
        await UntilAsync(() => got.Count == 2);
        await channel.AckAsync(got[0].Tag, CancellationToken.None);
        await UntilAsync(() => got.Count == 3);
        await channel.CancelAsync(tag, CancellationToken.None);
        await over.Task;
        await channel.AckAsync(got[1].Tag, CancellationToken.None);
        await WaitAsync(TimeSpan.FromSeconds(0.5));
        Assert.Equal(["0", "1", "2"], got.Select(g => g.Properties.MessageId));
        Assert.Equal(1, (await link.CountsAsync([Topology.Jobs], CancellationToken.None)).Single().Value.Ready);
        await link.DisposeAsync();
        var (_, _, back) = await TakeAsync(Topology.Jobs);
        Assert.Equal(("2", 1L), (back.Properties.MessageId, Returns(back)));
    });

    [Fact]
    public Task An_unknown_tag_closes_the_channel() => StepsAsync(async () =>
    {
        var link = await LinkAsync("consume");
        var channel = await link.ChannelAsync(CancellationToken.None);
        var closed = new TaskCompletionSource<string>();
        channel.OnClosed(reason =>
        {
            closed.TrySetResult(reason);
            return Task.CompletedTask;
        });
        await channel.AckAsync(99, CancellationToken.None);
        Assert.Contains("unknown delivery tag 99", await closed.Task, StringComparison.Ordinal);
        Assert.False(channel.IsOpen);
        await link.DisposeAsync();
    });

    [Fact]
    public Task During_an_alarm_nothing_is_confirmed_and_what_was_sent_arrives_when_it_is_over() => StepsAsync(async () =>
    {
        var link = await LinkAsync("publish");
        var channel = await link.ChannelAsync(CancellationToken.None);
        await BlockAsync(true);
        var sent = channel.PublishAsync(Topology.Jobs, Topology.JobKey, new BasicProperties { MessageId = "waits" }, Body, CancellationToken.None);
        await UntilAsync(() => link.Blocked is not null);
        await WaitAsync(TimeSpan.FromSeconds(0.5));
        Assert.False(sent.IsCompleted);
        await BlockAsync(false);
        await sent;
        await UntilAsync(() => link.Blocked is null);
        await link.DisposeAsync();
        var (_, _, got) = await TakeAsync(Topology.Jobs);
        Assert.Equal("waits", got.Properties.MessageId);
    });

    internal abstract Task<IBrokerLink> LinkAsync(string role);

    /// <summary>A queue that takes one message or a few.</summary>
    protected abstract Task FullAsync(string name);

    /// <summary>Raises an alarm, or ends it.</summary>
    protected abstract Task BlockAsync(bool blocked);

    protected abstract Task StepsAsync(Func<Task> steps);

    protected abstract Task WaitAsync(TimeSpan time);

    private async Task PublishAsync(string exchange, string key, string id, Dictionary<string, object?>? headers = null)
    {
        var link = await LinkAsync("publish");
        await (await link.ChannelAsync(CancellationToken.None)).PublishAsync(exchange, key, new BasicProperties { MessageId = id, DeliveryMode = DeliveryModes.Persistent, Headers = headers }, Body, CancellationToken.None);
        await link.DisposeAsync();
    }

    /// <summary>The queue's next message, as soon as there is one, on a connection of its own.</summary>
    private async Task<(IBrokerLink Link, IBrokerChannel Channel, Handed Got)> TakeAsync(string queue)
    {
        var link = await LinkAsync("consume");
        var channel = await link.ChannelAsync(CancellationToken.None);
        Handed? got = null;
        for (var tries = 0; got is null && tries < 300; tries++)
        {
            got = await channel.GetAsync(queue, CancellationToken.None);
            await (got is null ? WaitAsync(TimeSpan.FromSeconds(0.1)) : Task.CompletedTask);
        }

        Assert.NotNull(got);
        return (link, channel, got);
    }

    private async Task UntilAsync(Func<bool> come)
    {
        for (var tries = 0; !come(); tries++)
        {
            Assert.True(tries < 300);
            await WaitAsync(TimeSpan.FromSeconds(0.1));
        }
    }

    private static long Returns(Handed handed) => new JobMessage(handed.Body.ToArray(), handed.Properties).Returns;

    private static string Death(Handed handed, string field) =>
        handed.Properties.Headers?["x-death"] is List<object> { Count: > 0 } deaths && deaths[0] is IDictionary<string, object?> death && death[field] is byte[] text ? Encoding.UTF8.GetString(text) : "";
}
