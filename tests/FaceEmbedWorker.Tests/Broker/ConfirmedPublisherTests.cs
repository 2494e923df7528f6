using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class ConfirmedPublisherTests : IAsyncDisposable
{
    private readonly CountedTime time = new();
    private readonly PaperChannel channel = new();
    private readonly PaperLog log = new();
    private readonly IntakeGate gate;
    private readonly ConfirmedPublisher publisher;
    private readonly List<string> taken = [];
    private int room;

    public ConfirmedPublisherTests()
    {
        gate = new IntakeGate(time);
        publisher = new ConfirmedPublisher((_, _) => new PaperLink(channel), new Topology(Options.Create(new BrokerOptions())), gate, TimeSpan.FromSeconds(10), time, log);
        channel.Answer = (_, _) =>
        {
            if (room == 0)
            {
                return Task.FromException(new PublishException(1, isReturn: false));
            }

            room--;
            taken.Add(channel.Published[^1].Properties.MessageId!);
            return Task.CompletedTask;
        };
    }

    /// <summary>Each waited for a second of its own, with the intake closed: six minutes for 383 that the broker took in a moment.</summary>
    [Fact]
    public async Task What_a_full_queue_refused_goes_out_at_once_when_it_has_room()
    {
        var all = Enumerable.Range(0, 40).Select(i => PublishAsync($"{i}")).ToArray();
        Assert.Equal((40, "40 messages wait until the broker takes them: a queue of exchange face.results is full"), (channel.Published.Count, gate.Reason));
        Assert.Equal("Error: The broker refused a message to exchange face.results with routing key embedded: a queue of exchange face.results is full. The intake is closed, holding 0; next try in 1.0 s", Assert.Single(log.Lines));

        room = 1000;
        time.Advance(TimeSpan.FromSeconds(1));
        await Task.WhenAll(all).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.Equal(Enumerable.Range(0, 40).Select(i => $"{i}"), taken);
        Assert.Equal((80, null), (channel.Published.Count, gate.Reason));
        Assert.Equal("Information: The broker takes messages again: the intake is open", log.Lines.Last());
        Assert.Equal(2, log.Lines.Count);
    }

    /// <summary>One try a pause, so that the other queues of the exchange get few copies; the pauses grow, and begin anew behind one that got through.</summary>
    [Fact]
    public async Task Of_what_a_full_queue_refuses_one_message_is_tried_with_growing_pauses()
    {
        var all = Enumerable.Range(0, 10).Select(i => PublishAsync($"{i}")).ToArray();
        foreach (var (pause, tries) in new[] { (1, 11), (2, 12), (4, 13), (8, 14), (16, 15), (32, 16), (64, 17), (120, 18), (120, 19) })
        {
            await NextAsync(pause, tries);
        }

        room = 3;
        await NextAsync(120, 23); // three get through, and the fourth is refused
        Assert.Equal(["0", "1", "2"], taken);
        await NextAsync(1, 24);
        await NextAsync(2, 25);
        room = 1;
        await NextAsync(4, 27);
        room = 100;
        time.Advance(TimeSpan.FromSeconds(1));
        await Task.WhenAll(all).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.Equal(10, taken.Count);
    }

    /// <summary>It says nothing of the queue; and who gave up while it waited for its turn has none.</summary>
    [Fact]
    public async Task Who_gives_up_leaves_the_turn_and_the_pause_to_the_next()
    {
        using CancellationTokenSource first = new(), second = new();
        var (one, two, three) = (PublishAsync("1", first.Token), PublishAsync("2", second.Token), PublishAsync("3"));
        await second.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => two);
        var waits = time.Timers;
        await first.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => one);
        await time.UntilAsync(waits + 1);
        Assert.Equal((3, "1 message waits until the broker takes it: a queue of exchange face.results is full"), (channel.Published.Count, gate.Reason));
        room = 1;
        time.Advance(TimeSpan.FromSeconds(1));
        await three.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.Null(gate.Reason);

        var late = PublishAsync("4"); // nobody is before it: that one got through says nothing of now
        Assert.Equal(5, channel.Published.Count);
        room = 1;
        time.Advance(TimeSpan.FromSeconds(1));
        await late.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Who_gives_up_before_the_answer_says_nothing_of_the_queue()
    {
        using var first = new CancellationTokenSource();
        var (one, two, refuse) = (PublishAsync("1", first.Token), PublishAsync("2"), channel.Answer);
        channel.Answer = (_, cancel) => Task.Delay(Timeout.Infinite, cancel);
        time.Advance(TimeSpan.FromSeconds(1));
        for (var end = DateTime.UtcNow.AddSeconds(30); channel.Published.Count < 3; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
        }

        var waits = time.Timers;
        channel.Answer = refuse;
        await first.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => one);
        await time.UntilAsync(waits + 1);
        Assert.Equal(3, channel.Published.Count);
        room = 1;
        time.Advance(TimeSpan.FromSeconds(1));
        await two.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await publisher.DisposeAsync();
        gate.Dispose();
    }

    private Task PublishAsync(string id, CancellationToken giveUp = default) => publisher.PublishAsync("face.results", "embedded", new BasicProperties { MessageId = id }, new byte[1], giveUp);

    /// <summary>Moves on by the pause to the next try, and not before.</summary>
    private async Task NextAsync(int pause, int tries)
    {
        var before = channel.Published.Count;
        time.Advance(TimeSpan.FromSeconds(pause - 0.01));
        await Task.Delay(20);
        Assert.Equal(before, channel.Published.Count);
        var waits = time.Timers;
        time.Advance(TimeSpan.FromSeconds(0.01));
        for (var end = DateTime.UtcNow.AddSeconds(30); channel.Published.Count < tries || time.Timers == waits; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
        }

        Assert.Equal(tries, channel.Published.Count);
    }
}
