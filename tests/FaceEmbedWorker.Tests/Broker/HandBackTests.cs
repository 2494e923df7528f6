using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class HandBackTests : IDisposable
{
    private readonly CountedTime time = new();
    private readonly PaperChannel channel = new();
    private readonly PaperChannel replies = new() { Confirms = false };
    private readonly PaperLog log = new();
    private readonly PaperLink link;
    private readonly IntakeGate gate;
    private readonly ConsumerLife life;
    private readonly HandBack handBack;
    private readonly ResultPublisher publisher;
    private readonly Settler settler;

    public HandBackTests()
    {
        var options = Options.Create(new BrokerOptions { BulkQueue = true });
        var topology = new Topology(options);
        (link, gate, life) = (new PaperLink(channel), new IntakeGate(time), new ConsumerLife(channel, time));
        publisher = new ResultPublisher((role, _) => role == "reply" ? new PaperLink(replies) : link, options, Options.Create(new ResultOptions()), topology, gate, time, NullLogger<ResultPublisher>.Instance);
        settler = new Settler(publisher, topology, new JobTally(time), new CrashCounts(), time, NullLogger.Instance);
        handBack = HandBack(TimeSpan.FromSeconds(100));
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

    /// <summary>Held, it closed the intake, and the worker that was to empty the queue took nothing from it.</summary>
    [Theory]
    [InlineData(true, Topology.BulkKey)]
    [InlineData(false, Topology.JobKey)]
    public async Task What_its_full_queue_does_not_take_back_waits_and_closes_no_intake(bool bulk, string key)
    {
        Delivery? taken = null;
        await life.SubscribeAsync("q", 1, delivery => taken = delivery, (_, error) => throw error);
        await channel.HandAsync([1], new BasicProperties { Expiration = "60000", Headers = new Dictionary<string, object?> { [JobMessage.BulkHeader] = bulk ? 1 : null, [JobMessage.AttemptHeader] = 3 } });
        channel.Answer = (exchange, _) => exchange == "face.jobs" ? Task.FromException(new PublishException(1, isReturn: false)) : Task.CompletedTask;
        var returning = handBack.ReturnAsync(taken!);
        await returning.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);

        Assert.Equal(["face.jobs", "face.jobs.retry"], channel.Published.Select(p => p.Exchange));
        Assert.Equal(key, channel.Published[0].Key);
        var waits = channel.Published[1];
        Assert.Equal(("30000", 3, "60000"), (waits.Key, waits.Properties.Headers![JobMessage.AttemptHeader], waits.Properties.Headers[DeadLetters.ExpirationHeader]));
        Assert.False(waits.Properties.IsExpirationPresent());
        Assert.Equal((1UL, false), (Assert.Single(channel.Acked), gate.Holding));
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

    [Fact]
    public async Task What_nobody_works_on_goes_back_before_the_brokers_ack_timeout_and_what_runs_does_not()
    {
        var taken = await TakeAsync(3);
        Assert.True(taken[1].TryMove(DeliveryState.Waiting, DeliveryState.Running));
        var watching = handBack.WatchAsync(life);
        for (var look = 1; look <= 10; look++)
        {
            await time.NextAsync(10);
        }

        Assert.Empty(channel.Published); // not older than that
        await time.NextAsync(10);
        await UntilAsync(() => channel.Acked.Count == 2);
        Assert.Equal([("face.jobs", "job", "1"), ("face.jobs", "job", "3")], channel.Published.Select(p => (p.Exchange, p.Key, p.Properties.MessageId)));
        Assert.Equal([1UL, 3UL], channel.Acked);
        Assert.Equal((false, 1), (life.Ended, life.InHand));
        Assert.Equal("Warning: 2 jobs in hand for longer than 100 s: back to the queue as fresh copies, before the broker takes back what waits as if the worker had crashed", Assert.Single(log.Lines));

        await time.NextAsync(10);
        Assert.Equal(2, channel.Published.Count); // it runs
        Assert.True(taken[1].TryMove(DeliveryState.Running, DeliveryState.Waiting));
        await UntilAsync(() => channel.Acked.Count == 3, step: 10);
        Assert.False(watching.IsCompleted);
        life.Closed = true;
        await UntilAsync(() => watching.IsCompleted, step: 10);
    }

    [Fact]
    public async Task With_a_short_time_the_looks_are_ten_in_it()
    {
        var soon = HandBack(TimeSpan.FromSeconds(10));
        await TakeAsync(1);
        var watching = soon.WatchAsync(life);
        for (var look = 1; look <= 10; look++)
        {
            await time.NextAsync(1);
        }

        Assert.Empty(channel.Published);
        await time.NextAsync(1);
        await UntilAsync(() => channel.Published.Count == 1);
        await life.EndAsync("over");
        await watching.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task With_a_long_time_the_looks_are_ten_seconds_apart()
    {
        var watching = HandBack(TimeSpan.FromHours(1)).WatchAsync(life);
        Assert.Equal(TimeSpan.FromSeconds(10), time.Due);
        await life.EndAsync("over");
        await watching.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task At_a_stop_what_is_not_begun_goes_back_first_and_then_all_but_what_runs()
    {
        var taken = await TakeAsync(3);
        Assert.True(taken[0].TryMove(DeliveryState.Waiting, DeliveryState.Running));
        Assert.True(taken[1].TryMove(DeliveryState.Waiting, DeliveryState.Settling));
        await handBack.ReturnUnstartedAsync(life).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal([3UL], channel.Acked);
        await handBack.ReturnAllAsync(life).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal([3UL, 2UL], channel.Acked);
        Assert.Equal((DeliveryState.Running, 1), (taken[0].State, life.InHand));
    }

    /// <summary>The confirm of what was published before may still come: then there is no copy to be sent.</summary>
    [Fact]
    public async Task A_copy_waits_two_seconds_for_the_answer_to_what_was_sent_before()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        channel.Confirms = false;
        settler.Begin(delivery, null, new JobOutcome.Rejected("refused", "No."));
        var returned = handBack.ReturnAsync(delivery);
        time.Advance(TimeSpan.FromSeconds(1.9));
        var twice = handBack.ReturnAsync(delivery);
        await Task.Delay(30);
        Assert.Single(channel.Published);
        Assert.Equal(DeliveryState.LetGo, delivery.State);
        time.Advance(TimeSpan.FromSeconds(0.1));
        await UntilAsync(() => channel.Published.Count == 2);
        Assert.Equal(["face.jobs.dead", "face.jobs"], channel.Published.Select(p => p.Exchange));
        Assert.False(returned.IsCompleted || twice.IsCompleted); // who asks meanwhile waits for the copy too
        await life.EndAsync("gone");
        await Task.WhenAll(returned, twice).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Empty(channel.Acked);
    }

    [Fact]
    public async Task What_is_confirmed_after_it_was_let_go_is_acked_and_does_not_go_back()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        var confirm = new TaskCompletionSource();
        channel.Answer = (_, cancel) => confirm.Task.WaitAsync(cancel);
        settler.Begin(delivery, null, new JobOutcome.Rejected("refused", "No."));
        var returned = handBack.ReturnAsync(delivery);
        var twice = handBack.ReturnAsync(delivery);
        time.Advance(TimeSpan.FromSeconds(1));
        confirm.SetResult();
        await Task.WhenAll(returned, twice).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(("face.jobs.dead", 1UL), (Assert.Single(channel.Published).Exchange, Assert.Single(channel.Acked)));
        Assert.Equal((DeliveryState.Done, 0, false), (delivery.State, life.InHand, life.Ended));
    }

    /// <summary>It is on the queue again: what its next worker makes of it would be the second.</summary>
    [Fact]
    public async Task Of_a_job_whose_life_has_ended_nothing_is_published()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        await life.EndAsync("gone");
        settler.Begin(delivery, null, new JobOutcome.Rejected("refused", "No."));
        await settler.AllAsync().WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Empty(channel.Published);
        Assert.Empty(channel.Acked);
    }

    [Fact]
    public async Task What_is_confirmed_in_the_moment_in_which_it_is_given_up_does_not_go_back()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        channel.Answer = (exchange, cancel) =>
        {
            var confirm = new TaskCompletionSource();
            cancel.Register(confirm.SetResult);
            return exchange == "face.jobs.dead" ? confirm.Task : Task.CompletedTask;
        };
        settler.Begin(delivery, null, new JobOutcome.Rejected("refused", "No."));
        var returned = handBack.ReturnAsync(delivery);
        time.Advance(TimeSpan.FromSeconds(2));
        await returned.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(("face.jobs.dead", 1UL), (Assert.Single(channel.Published).Exchange, Assert.Single(channel.Acked)));
    }

    /// <summary>Whoever looks between the two lines of the settler would see a job that nobody settles.</summary>
    [Fact]
    public async Task What_is_let_go_while_its_settling_begins_does_not_go_back_once_it_is_confirmed()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        var (confirm, returned) = (new TaskCompletionSource(), Task.CompletedTask);
        channel.Answer = (exchange, cancel) =>
        {
            returned = exchange == "face.jobs.dead" ? handBack.ReturnAsync(delivery) : returned;
            return confirm.Task.WaitAsync(cancel);
        };
        settler.Begin(delivery, null, new JobOutcome.Rejected("refused", "No."));
        await Task.Delay(30);
        confirm.SetResult();
        await returned.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(("face.jobs.dead", 1UL), (Assert.Single(channel.Published).Exchange, Assert.Single(channel.Acked)));
    }

    /// <summary>A tag that is settled twice closes the channel.</summary>
    [Fact]
    public async Task What_turns_out_to_be_unpublishable_after_it_was_let_go_is_refused_and_does_not_go_back()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        var answer = new TaskCompletionSource();
        channel.Answer = (_, cancel) => answer.Task.WaitAsync(cancel);
        settler.Begin(delivery, null, new JobOutcome.Rejected("refused", "No."));
        var returned = handBack.ReturnAsync(delivery);
        answer.SetException(new UnpublishableException("It never fits."));
        await returned.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.All(channel.Published, p => Assert.Equal("face.jobs.dead", p.Exchange));
        Assert.Equal((1UL, 0, DeliveryState.Done, 0), (Assert.Single(channel.Rejected), channel.Acked.Count, delivery.State, life.InHand));
    }

    /// <summary>What became of the job is confirmed: a copy would do it twice.</summary>
    [Fact]
    public async Task What_is_confirmed_and_lacks_its_reply_alone_does_not_go_back()
    {
        Delivery? taken = null;
        await life.SubscribeAsync("q", 1, delivery => taken = delivery, (_, error) => throw error);
        await channel.HandAsync([1], new BasicProperties { MessageId = "asked", ReplyTo = "amq.gen-asker" });
        settler.Begin(taken!, null, new JobOutcome.Rejected("refused", "No."));
        await UntilAsync(() => replies.Published.Count == 1);
        Assert.Empty(channel.Acked);
        var returned = handBack.ReturnAsync(taken!);
        time.Advance(TimeSpan.FromSeconds(2)); // for the reply, too
        await returned.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(("face.jobs.dead", 1UL), (Assert.Single(channel.Published).Exchange, Assert.Single(channel.Acked)));
        Assert.Equal((DeliveryState.Done, 0), (taken!.State, life.InHand));
    }

    [Fact]
    public async Task Who_gives_back_what_is_on_its_way_back_waits_for_it()
    {
        var delivery = Assert.Single(await TakeAsync(1));
        channel.Confirms = false;
        var first = handBack.ReturnAsync(delivery);
        await UntilAsync(() => channel.Published.Count == 1);
        var second = handBack.ReturnAsync(delivery);
        Assert.False(first.IsCompleted || second.IsCompleted);
        await life.EndAsync("gone");
        await Task.WhenAll(first, second).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Single(channel.Published);
    }

    [Fact]
    public async Task The_watch_ends_when_what_went_back_has_arrived()
    {
        await TakeAsync(1);
        channel.Confirms = false;
        var watching = handBack.WatchAsync(life);
        await UntilAsync(() => channel.Published.Count == 1, step: 10);
        life.Closed = true;
        time.Advance(TimeSpan.FromSeconds(10)); // to the next look
        await Task.Delay(30);
        Assert.False(watching.IsCompleted);
        await life.EndAsync("gone");
        await watching.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task An_alarm_that_keeps_several_jobs_is_told_of_all()
    {
        await TakeAsync(2);
        link.Block("low on memory");
        var watching = handBack.WatchAsync(life);
        await UntilAsync(() => life.Ended, step: 10);
        await watching.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal("2 jobs wait for longer than 100 s while the broker takes no messages (low on memory)", life.Reason);
    }

    public void Dispose()
    {
        life.Dispose();
        gate.Dispose();
    }

    private HandBack HandBack(TimeSpan after) => new(settler, publisher, after, time, log);

    /// <summary>Jobs in hand; their ids are their tags.</summary>
    private async Task<List<Delivery>> TakeAsync(int count)
    {
        var taken = new List<Delivery>();
        await life.SubscribeAsync("q", 9, taken.Add, (_, error) => throw error);
        for (var i = 1; i <= count; i++)
        {
            await channel.HandAsync([1], new BasicProperties { MessageId = $"{i}" });
        }

        return taken;
    }

    /// <param name="step">Seconds by which time goes on meanwhile.</param>
    private async Task UntilAsync(Func<bool> come, int step = 0)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); !come(); await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
            time.Advance(TimeSpan.FromSeconds(step));
        }
    }
}
