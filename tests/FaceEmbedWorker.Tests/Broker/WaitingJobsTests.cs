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
