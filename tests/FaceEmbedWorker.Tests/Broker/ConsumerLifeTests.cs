using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class ConsumerLifeTests : IDisposable
{
    private readonly FakeTimeProvider time = new();
    private readonly PaperChannel channel = new();
    private readonly List<Delivery> received = [];
    private readonly List<(Delivery Delivery, Exception Error)> failed = [];
    private readonly ConsumerLife life;

    public ConsumerLifeTests() => life = new ConsumerLife(channel, time);

    [Fact]
    public async Task Knows_what_is_in_hand_until_it_is_acked()
    {
        await SubscribeAsync(received.Add);
        await channel.HandAsync([1, 2, 3]);
        await channel.HandAsync([4, 5]);
        Assert.Equal((2, 5L), (life.InHand, life.Bytes));
        var lighter = life.LighterAsync(2, CancellationToken.None);
        var empty = life.LighterAsync(0, CancellationToken.None);
        await life.AckAsync(received[0], CancellationToken.None);
        await lighter.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.False(empty.IsCompleted);
        await life.RejectAsync(received[1], CancellationToken.None);
        await empty.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal([1UL], channel.Acked);
        Assert.Equal([2UL], channel.Rejected);
    }

    [Fact]
    public async Task A_delivery_that_cannot_be_taken_in_is_settled_before_its_body_goes()
    {
        await SubscribeAsync(_ => throw new InsufficientMemoryException());
        await channel.HandAsync([1, 2, 3]);
        var (delivery, error) = Assert.Single(failed);
        Assert.IsType<InsufficientMemoryException>(error);
        Assert.Equal((3, false), (delivery.Message.Body.Length, life.Ended));
    }

    [Fact]
    public async Task A_cancel_is_done_when_nothing_more_comes()
    {
        channel.AnswersCancel = false;
        await SubscribeAsync(received.Add);
        var done = life.UnsubscribeAsync();
        await channel.HandAsync([1]); // overtaken by the broker's answer
        Assert.Single(received);
        Assert.False(done.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(5));
        await done.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.True(life.Ended); // unanswered
        Assert.Contains("does not end a subscription", life.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_answered_cancel_leaves_the_life_alive_and_a_foreign_one_ends_it()
    {
        await SubscribeAsync(received.Add);
        await life.UnsubscribeAsync();
        Assert.False(life.Ended);
        await SubscribeAsync(received.Add);
        await channel.EndSubscriptionAsync();
        Assert.Equal((true, "the broker cancelled the consumer"), (life.Ended, life.Reason));
    }

    [Fact]
    public async Task Ends_with_its_channel()
    {
        await SubscribeAsync(received.Add);
        await channel.HandAsync([1]);
        var waiting = life.LighterAsync(0, CancellationToken.None);
        await channel.CloseAsync("gone");
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await life.EndedAsync().WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal("gone", life.Reason);
    }

    [Fact]
    public async Task What_waits_can_be_let_go_once_and_what_runs_cannot()
    {
        await SubscribeAsync(received.Add);
        await channel.HandAsync([1]);
        await channel.HandAsync([2]);
        Assert.True(received[0].TryMove(DeliveryState.Waiting, DeliveryState.Running));
        Assert.False(received[0].TryLetGo());
        Assert.True(received[1].TryLetGo());
        Assert.True(received[1].HeldToken.IsCancellationRequested);
        Assert.False(received[1].TryLetGo());
        Assert.False(received[1].TryMove(DeliveryState.Waiting, DeliveryState.Running));
    }

    public void Dispose() => life.Dispose();

    private Task SubscribeAsync(Action<Delivery> receive) => life.SubscribeAsync("q", 3, receive, (delivery, error) =>
    {
        failed.Add((delivery, error));
        return Task.CompletedTask;
    });
}
