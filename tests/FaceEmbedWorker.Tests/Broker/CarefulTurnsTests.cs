using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

public class CarefulTurnsTests
{
    private const int Enough = 6;

    private readonly FakeTimeProvider time = new();
    private readonly CarefulTurns turns;

    public CarefulTurnsTests() => turns = new CarefulTurns(hasBulk: true, time);

    [Fact]
    public void Both_queues_are_taken_where_no_connection_was_lost()
    {
        Assert.Equal([true, false], turns.Next(0)); // the bulk queue first
        time.Advance(TimeSpan.FromHours(1));
        Assert.False(turns.Look(true, 0, Enough) || turns.Look(false, 0, Enough) || turns.Careful);
        turns.Begin(careful: false);
        Assert.Equal([true, false], turns.Next(0));
        Assert.False(turns.Look(true, 3, Enough) || turns.Look(false, Enough, Enough));
    }

    [Fact]
    public void Of_one_queue_one_comes_after_the_other_until_enough_was_settled()
    {
        var alone = new CarefulTurns(hasBulk: false, time);
        alone.Begin(careful: true);
        Assert.Equal([false], alone.Next(0));
        time.Advance(TimeSpan.FromHours(1));
        alone.Busy();
        Assert.False(alone.Look(true, Enough - 1, Enough)); // there is no other to leave it for
        Assert.True(alone.Careful);
        Assert.True(alone.Look(true, Enough, Enough)); // so many at once
        Assert.False(alone.Careful);
        Assert.Equal([false], alone.Next(0));
        Assert.False(alone.Look(true, Enough, Enough));
    }

    [Fact]
    public void Of_one_queue_without_a_job_as_many_come_at_once_again()
    {
        var alone = new CarefulTurns(hasBulk: false, time);
        alone.Begin(careful: true);
        Assert.Equal([false], alone.Next(0));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(alone.Look(false, 0, Enough));
        Assert.True(alone.Careful);
        Assert.Equal([false], alone.Next(0));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(alone.Look(false, 0, Enough));
        Assert.False(alone.Careful);
    }

    /// <summary>Bulk jobs that take long kept the first queue waiting until enough of them were settled: minutes.</summary>
    [Fact]
    public void The_first_queue_goes_first_and_then_both_go_by_turns()
    {
        turns.Begin(careful: true);
        for (var settled = 0; settled < Enough; settled++)
        {
            Assert.Equal([settled % 2 == 1], turns.Next(settled));
            turns.Busy();
            Assert.False(turns.Look(true, settled, Enough));
            time.Advance(TimeSpan.FromSeconds(2)); // one job is done for longer: the queue is left beside it, so that the next does not come
            turns.Busy();
            Assert.True(turns.Look(true, settled, Enough));
        }

        Assert.True(turns.Careful);
        Assert.Equal([false], turns.Next(Enough - 1));
        Assert.True(turns.Look(true, Enough, Enough));
        Assert.False(turns.Careful);
        Assert.Equal([true, false], turns.Next(Enough));
    }

    [Fact]
    public void A_turn_is_two_seconds_and_ends_beside_a_job_or_where_there_is_none()
    {
        turns.Begin(careful: true);
        turns.Next(0);
        time.Advance(TimeSpan.FromSeconds(1.9));
        turns.Busy();
        Assert.False(turns.Look(true, 4, Enough));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.False(turns.Look(false, 5, Enough)); // the next is on its way
        turns.Busy();
        Assert.True(turns.Look(true, 5, Enough));
    }

    [Fact]
    public void A_queue_without_a_job_has_two_seconds_and_without_any_in_either_it_is_over()
    {
        turns.Begin(careful: true);
        Assert.Equal([false], turns.Next(0));
        time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(turns.Look(false, 0, Enough));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(turns.Look(false, 0, Enough));
        Assert.Equal([true], turns.Next(0));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(false, 0, Enough));
        Assert.False(turns.Careful);
        Assert.Equal([true, false], turns.Next(0));
    }

    [Fact]
    public void A_queue_that_had_nothing_before_the_other_had_something_is_looked_at_again()
    {
        turns.Begin(careful: true);
        turns.Next(0);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(false, 0, Enough)); // the first has nothing
        turns.Next(0);
        time.Advance(TimeSpan.FromSeconds(1));
        turns.Busy(); // the bulk queue had one
        time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(turns.Look(false, 1, Enough));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(turns.Look(false, 1, Enough));
        Assert.Equal([false], turns.Next(1));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(false, 1, Enough)); // nothing again: what came meanwhile may be in the other
        Assert.True(turns.Careful);
        Assert.Equal([true], turns.Next(1));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(false, 1, Enough));
        Assert.False(turns.Careful);
    }
}
