using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Time.Testing;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

public sealed class WaitingJobsTests : IDisposable
{
    private readonly ConsumerLife life = new(new PaperChannel(), new FakeTimeProvider());
    private readonly WaitingJobs waiting = new(bulkShare: 25, () => TimeSpan.Zero, TimeProvider.System);
    private ulong tag;

    [Fact]
    public async Task Jobs_go_first_and_bulk_jobs_get_their_share_all_the_same()
    {
        Add(bulk: true, 6);
        Add(bulk: false, 9);
        Assert.Equal("jjjbjjjbjjjbbbb", await BegunAsync(15));
    }

    /// <summary>What is left of a share counts for the next one.</summary>
    [Fact]
    public async Task A_share_is_kept_over_many_jobs()
    {
        var shared = new WaitingJobs(bulkShare: 30, () => TimeSpan.Zero, TimeProvider.System);
        for (var i = 0; i < 100; i++)
        {
            shared.Add(Delivery(bulk: false));
            shared.Add(Delivery(bulk: true));
        }

        var begun = 0;
        for (var i = 0; i < 100; i++)
        {
            begun += (await shared.NextAsync())!.IsBulk ? 1 : 0;
        }

        Assert.InRange(begun, 29, 30);
    }

    [Fact]
    public async Task A_share_that_nothing_was_there_for_is_not_made_up_for()
    {
        Add(bulk: false, 40);
        await BegunAsync(30);
        Add(bulk: true, 5);
        Assert.Equal("bjjjbjjj", await BegunAsync(8));
    }

    [Fact]
    public async Task A_job_that_comes_goes_before_the_bulk_jobs_that_came_before_it()
    {
        Add(bulk: true, 3);
        Assert.Equal("b", await BegunAsync(1));
        Add(bulk: false, 1);
        Assert.Equal("jbb", await BegunAsync(3));
    }

    [Fact]
    public async Task What_waits_is_handed_out_when_it_closes_and_then_whoever_waits_comes_to_an_end()
    {
        Add(bulk: false, 1);
        Add(bulk: true, 1);
        waiting.Close();
        Assert.False(waiting.Add(Delivery(bulk: false)));
        Assert.Equal("jb", await BegunAsync(2));
        Assert.Null(await waiting.NextAsync().WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(await waiting.NextAsync().WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task What_has_ended_with_its_life_is_forgotten_in_both()
    {
        var (job, bulk) = (Delivery(bulk: false), Delivery(bulk: true));
        waiting.Add(job);
        waiting.Add(bulk);
        await life.EndAsync("gone");
        using var next = new ConsumerLife(new PaperChannel(), new FakeTimeProvider());
        var alive = new Delivery(next, 1, false, false, new JobMessage(new byte[] { 1 }, new BasicProperties()), 0);
        waiting.Add(alive);
        waiting.ForgetEnded();
        Assert.Equal((0, 0), (job.Message.Body.Length, bulk.Message.Body.Length));
        Assert.Same(alive, await waiting.NextAsync().WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task Bulk_jobs_wait_for_the_end_of_their_pause_and_others_do_not()
    {
        var time = new FakeTimeProvider();
        TimeSpan? pause = TimeSpan.FromSeconds(2);
        var paused = new WaitingJobs(25, () => pause, time);
        var (bulk, job) = (Delivery(bulk: true), Delivery(bulk: false));
        paused.Add(bulk);
        var next = paused.NextAsync();
        Assert.False(next.IsCompleted);
        paused.Add(job);
        Assert.Same(job, await next.WaitAsync(TimeSpan.FromSeconds(30)));

        next = paused.NextAsync();
        time.Advance(TimeSpan.FromSeconds(2));
        pause = TimeSpan.Zero;
        await Task.Delay(5);
        Assert.False(next.IsCompleted);
        time.Advance(TimeSpan.FromMilliseconds(1)); // a pause's part of a millisecond
        Assert.Same(bulk, await next.WaitAsync(TimeSpan.FromSeconds(30)));

        pause = null; // a probe is under way
        paused.Add(bulk);
        next = paused.NextAsync();
        time.Advance(TimeSpan.FromHours(1));
        await Task.Delay(5);
        Assert.False(next.IsCompleted);
        pause = TimeSpan.Zero;
        paused.Look();
        Assert.Same(bulk, await next.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    /// <summary>A pause is long, and jobs come often.</summary>
    [Fact]
    public async Task Who_waits_for_the_end_of_a_pause_has_one_timer_however_often_it_looks()
    {
        var time = new CountedTime();
        var paused = new WaitingJobs(25, () => TimeSpan.FromHours(1), time);
        paused.Add(Delivery(bulk: true));
        var next = paused.NextAsync();
        for (var looks = 1; looks < 5; looks++)
        {
            paused.Look();
            await time.UntilAsync(looks + 1);
            Assert.Equal(1, time.Pending);
        }

        paused.Close();
        Assert.NotNull(await next.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal(0, time.Pending);
    }

    [Fact]
    public async Task Paused_bulk_jobs_are_handed_out_when_it_closes()
    {
        var paused = new WaitingJobs(25, () => null, new FakeTimeProvider());
        paused.Add(Delivery(bulk: true));
        var next = paused.NextAsync();
        paused.Close();
        Assert.NotNull(await next.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(await paused.NextAsync().WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task Who_has_a_slot_for_a_while_gets_jobs_that_are_no_bulk_jobs_until_then()
    {
        var until = new TaskCompletionSource();
        var (bulk, job) = (Delivery(bulk: true), Delivery(bulk: false));
        waiting.Add(bulk);
        waiting.Add(job);
        Assert.Same(job, await waiting.NextAsync(until.Task).WaitAsync(TimeSpan.FromSeconds(30)));
        var next = waiting.NextAsync(until.Task);
        Assert.False(next.IsCompleted);
        until.SetResult();
        Assert.Null(await next.WaitAsync(TimeSpan.FromSeconds(30)));
        waiting.Add(job);
        Assert.Null(await waiting.NextAsync(until.Task).WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal("jb", await BegunAsync(2));
    }

    /// <summary>What others took meanwhile counts, but a bulk job that could not be taken is not made up for beyond one.</summary>
    [Fact]
    public async Task The_share_holds_where_slots_are_lent_too()
    {
        var until = new TaskCompletionSource().Task;
        Add(bulk: true, 3);
        Add(bulk: false, 12);
        for (var i = 0; i < 6; i++)
        {
            Assert.False((await waiting.NextAsync(until))!.IsBulk);
        }

        Assert.Equal("bjjjbjjjb", await BegunAsync(9));
    }

    public void Dispose() => life.Dispose();

    private void Add(bool bulk, int count)
    {
        for (var i = 0; i < count; i++)
        {
            Assert.True(waiting.Add(Delivery(bulk)));
        }
    }

    private Delivery Delivery(bool bulk) => new(life, ++tag, false, false, new JobMessage(new byte[] { 1 }, new BasicProperties()) { CameAsBulk = bulk }, 0);

    private async Task<string> BegunAsync(int count)
    {
        var begun = new char[count];
        for (var i = 0; i < count; i++)
        {
            begun[i] = (await waiting.NextAsync().WaitAsync(TimeSpan.FromSeconds(30)))!.IsBulk ? 'b' : 'j';
        }

        return new string(begun);
    }
}
