using System.Buffers;
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
        Assert.False(lighter.IsCompleted || empty.IsCompleted);
        await life.AckAsync(received[0], CancellationToken.None);
        await lighter.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.False(empty.IsCompleted);
        await life.RejectAsync(received[1], CancellationToken.None);
        await empty.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal([1UL], channel.Acked);
        Assert.Equal([2UL], channel.Rejected);
    }

    [Fact]
    public async Task A_delivery_without_a_byte_is_in_hand_too()
    {
        await SubscribeAsync(received.Add);
        await channel.HandAsync([]);
        var empty = life.LighterAsync(0, CancellationToken.None);
        Assert.False(empty.IsCompleted);
        await life.AckAsync(received[0], CancellationToken.None);
        await empty.WaitAsync(TimeSpan.FromSeconds(30));
    }

    /// <summary>For want of memory, say: it is in hand, with the body that is the client's, until it is settled.</summary>
    [Fact]
    public async Task A_body_that_cannot_be_copied_is_settled_as_what_it_came_as()
    {
        await life.SubscribeAsync("bulk", 3, received.Add, FailAsync, bulk: true);
        using var body = new Uncopied(7);
        await channel.HandMemoryAsync(body.Memory);
        var (delivery, error) = Assert.Single(failed);
        Assert.IsType<InsufficientMemoryException>(error);
        Assert.Equal((true, false, 7L, 1), (delivery.IsBulk, delivery.Alone, life.Bytes, life.InHand));
        Assert.Empty(received);
    }

    [Fact]
    public async Task A_delivery_that_cannot_be_taken_in_is_settled_before_its_body_goes()
    {
        await SubscribeAsync(_ => throw new InsufficientMemoryException());
        await channel.HandAsync([1, 2, 3]);
        var (delivery, error) = Assert.Single(failed);
        Assert.IsType<InsufficientMemoryException>(error);
        Assert.Equal((3, false), (delivery.Message.Body.Length, life.Ended));
        Assert.Equal((delivery, 3L), (Assert.Single(life.Unsettled), life.Bytes)); // and is taken once
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

    /// <summary>A worker that is told to stop waits no longer than for the answer to a cancel, and forgets nothing that the broker hands out meanwhile.</summary>
    [Fact]
    public async Task A_stop_does_not_wait_for_a_subscription_but_its_cancel_does()
    {
        channel.Subscribed = new TaskCompletionSource();
        using var stopping = new CancellationTokenSource();
        var subscribing = life.SubscribeAsync("jobs", 3, received.Add, FailAsync, cancel: stopping.Token);
        await stopping.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => subscribing.WaitAsync(TimeSpan.FromSeconds(30)));
        var done = life.UnsubscribeAsync();
        Assert.False(done.IsCompleted);
        channel.Subscribed.SetResult();
        await done.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(("tag of jobs", false, false), (Assert.Single(channel.Cancelled), life.Ended, life.Ready));
    }

    [Fact]
    public async Task A_subscription_that_is_never_answered_ends_the_life_when_it_is_to_end()
    {
        channel.Subscribed = new TaskCompletionSource();
        using var stopping = new CancellationTokenSource();
        var subscribing = life.SubscribeAsync("jobs", 3, received.Add, FailAsync, cancel: stopping.Token);
        await stopping.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => subscribing.WaitAsync(TimeSpan.FromSeconds(30)));
        var done = life.UnsubscribeAsync();
        Assert.False(done.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(5));
        await done.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Contains("does not end a subscription", life.Reason, StringComparison.Ordinal);
        Assert.Empty(channel.Cancelled);
    }

    [Fact]
    public async Task What_comes_after_the_answer_to_a_cancel_is_waited_for()
    {
        channel.EndsAtOnce = false;
        await SubscribeAsync(received.Add);
        var done = life.UnsubscribeAsync();
        Assert.False(done.IsCompleted);
        await channel.HandAsync([1]);
        await channel.EndSubscriptionAsync();
        await done.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((1, false), (life.InHand, life.Ended));
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
        Assert.False(received[1].HeldToken.IsCancellationRequested); // what is on its way may still be confirmed
        received[1].GiveUp();
        Assert.True(received[1].HeldToken.IsCancellationRequested);
        Assert.False(received[1].TryLetGo());
        Assert.False(received[1].TryMove(DeliveryState.Waiting, DeliveryState.Running));
    }

    [Fact]
    public async Task Tells_its_age_what_was_settled_and_whether_anything_came()
    {
        Assert.Equal((false, 0, TimeSpan.Zero, false), (life.Ready, life.Settled, life.Age, life.CameSinceLastLook()));
        await SubscribeAsync(received.Add);
        await channel.HandAsync([1]);
        await channel.HandAsync([2]);
        time.Advance(TimeSpan.FromSeconds(3));
        Assert.Equal((true, 0, TimeSpan.FromSeconds(3), true), (life.Ready, life.Settled, life.Age, life.CameSinceLastLook()));
        Assert.False(life.CameSinceLastLook());
        await life.AckAsync(received[0], CancellationToken.None);
        await life.AckAsync(received[0], CancellationToken.None); // once more
        Assert.Equal((1, 1, 1L), (life.Settled, life.InHand, life.Bytes));
        Assert.Equal((received[1], TimeSpan.FromSeconds(3)), (Assert.Single(life.Unsettled), time.GetElapsedTime(received[1].Since)));
    }

    [Fact]
    public async Task A_change_is_a_delivery_that_comes_or_leaves_or_the_end_of_the_wait()
    {
        await SubscribeAsync(received.Add);
        foreach (var change in new Func<Task>[] { () => channel.HandAsync([1]), () => life.AckAsync(received[0], CancellationToken.None), Later })
        {
            var changed = life.ChangedAsync(TimeSpan.FromSeconds(10), CancellationToken.None);
            Assert.False(changed.IsCompleted);
            await change();
            await changed.WaitAsync(TimeSpan.FromSeconds(30));
        }

        using var stopping = new CancellationTokenSource();
        var (stopped, ended) = (life.ChangedAsync(TimeSpan.FromSeconds(10), stopping.Token), life.ChangedAsync(TimeSpan.FromSeconds(10), CancellationToken.None));
        await stopping.CancelAsync();
        await stopped.WaitAsync(TimeSpan.FromSeconds(30));
        await life.EndAsync("gone");
        await ended.WaitAsync(TimeSpan.FromSeconds(30));

        Task Later()
        {
            time.Advance(TimeSpan.FromSeconds(10));
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task A_suspect_is_taken_alone_and_without_a_subscription()
    {
        Assert.Null(await life.TakeAloneAsync("suspects"));
        channel.Wait([1, 2], new RabbitMQ.Client.BasicProperties { MessageId = "s" });
        var suspect = await life.TakeAloneAsync("suspects");
        Assert.Equal(("s", true, true, 2L, false), (suspect!.Message.JobId, suspect.Alone, suspect.Redelivered, life.Bytes, life.Ended));
        await SubscribeAsync(received.Add);
        await channel.HandAsync([3]);
        Assert.Equal((false, false), (received[0].Alone, received[0].Redelivered));
    }

    [Fact]
    public async Task A_broker_that_hands_out_no_suspect_and_does_not_say_so_ends_the_life()
    {
        channel.AnswersGet = false;
        var suspect = life.TakeAloneAsync("suspects");
        Assert.False(suspect.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(5));
        Assert.Null(await suspect.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.StartsWith("the broker does not hand out a suspect: ", life.Reason, StringComparison.Ordinal);
    }

    /// <summary>All others follow from it.</summary>
    [Fact]
    public async Task The_first_reason_for_its_end_is_told()
    {
        Assert.Equal("", life.Reason);
        await life.EndAsync("the broker is gone");
        await life.EndAsync("the channel is closed");
        Assert.Equal("the broker is gone", life.Reason);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => life.LighterAsync(0, CancellationToken.None));
    }

    [Fact]
    public async Task Bulk_jobs_come_by_a_subscription_of_their_own_and_both_are_ended()
    {
        await SubscribeAsync(received.Add);
        await life.SubscribeAsync("bulk", 3, received.Add, (_, error) => throw error, bulk: true);
        await channel.HandAsync([1], queue: "bulk");
        await channel.HandAsync([1], queue: "q");
        Assert.Equal([true, false], received.Select(d => d.IsBulk));
        await life.UnsubscribeAsync();
        Assert.Equal(["tag of q", "tag of bulk"], channel.Cancelled);
        Assert.False(life.Ended);
        await life.UnsubscribeAsync(); // nothing is subscribed any more
        Assert.Equal(2, channel.Cancelled.Count);
    }

    [Fact]
    public async Task A_broker_that_does_not_answer_one_cancel_is_not_asked_for_the_next()
    {
        channel.AnswersCancel = false;
        await SubscribeAsync(received.Add);
        await life.SubscribeAsync("bulk", 3, received.Add, (_, error) => throw error, bulk: true);
        var done = life.UnsubscribeAsync();
        time.Advance(TimeSpan.FromSeconds(5));
        await done.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(["tag of q"], channel.Cancelled);
    }

    public void Dispose()
    {
        life.Dispose();
        Assert.True(life.Closed);
    }

    private Task SubscribeAsync(Action<Delivery> receive) => life.SubscribeAsync("q", 3, receive, FailAsync);

    private Task FailAsync(Delivery delivery, Exception error)
    {
        failed.Add((delivery, error));
        return Task.CompletedTask;
    }

    /// <summary>Bytes that nobody can read.</summary>
    private sealed class Uncopied(int length) : MemoryManager<byte>
    {
        public override Memory<byte> Memory => CreateMemory(length);

        public override Span<byte> GetSpan() => throw new InsufficientMemoryException();

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException();

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
