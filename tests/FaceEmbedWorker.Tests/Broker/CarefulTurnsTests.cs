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
        Assert.False(turns.Look(0, Enough) || turns.Careful);
        turns.Begin(careful: false);
        Assert.Equal([true, false], turns.Next(0));
        Assert.False(turns.Look(3, Enough) || turns.Look(Enough, Enough));
    }

    [Fact]
    public void Of_one_queue_one_comes_after_the_other_until_enough_was_settled()
    {
        var alone = new CarefulTurns(hasBulk: false, time);
        alone.Begin(careful: true);
        Assert.Equal([false], alone.Next(0));
        time.Advance(TimeSpan.FromHours(1));
        Assert.False(alone.Look(Enough - 1, Enough));
        Assert.True(alone.Careful);
        Assert.False(alone.Look(Enough, Enough)); // nothing is to be taken anew but for how many at once
        Assert.False(alone.Careful);
        Assert.Equal([false], alone.Next(0));
    }

    /// <summary>Bulk jobs that take long kept the first queue waiting until enough of them were settled: minutes.</summary>
    [Fact]
    public void The_first_queue_goes_first_and_then_both_go_by_turns()
    {
        turns.Begin(careful: true);
        for (var settled = 0; settled < Enough - 1; settled++)
        {
            Assert.Equal([settled % 2 == 1], turns.Next(settled));
            time.Advance(TimeSpan.FromSeconds(8)); // one job is done for so long
            turns.Busy();
            Assert.False(turns.Look(settled, Enough));
            Assert.True(turns.Look(settled + 1, Enough));
        }

        Assert.True(turns.Careful);
        Assert.True(turns.Look(Enough, Enough));
        Assert.False(turns.Careful);
        Assert.Equal([true, false], turns.Next(Enough));
    }

    /// <summary>Each end of a subscription may bring a job back counted.</summary>
    [Fact]
    public void A_turn_is_two_seconds_at_least_where_there_is_something()
    {
        turns.Begin(careful: true);
        turns.Next(0);
        time.Advance(TimeSpan.FromSeconds(1.9));
        turns.Busy();
        Assert.False(turns.Look(4, Enough));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(turns.Look(4, Enough));
    }

    [Fact]
    public void A_queue_without_a_job_has_two_seconds_and_without_any_in_either_it_is_over()
    {
        turns.Begin(careful: true);
        Assert.Equal([false], turns.Next(0));
        time.Advance(TimeSpan.FromSeconds(1.9));
        turns.Busy(); // one came, and is gone
        time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(turns.Look(0, Enough));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(turns.Look(0, Enough));
        Assert.Equal([true], turns.Next(0));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(0, Enough));
        Assert.False(turns.Careful);
        Assert.Equal([true, false], turns.Next(0));
    }

    [Fact]
    public void A_queue_that_had_nothing_before_the_other_had_something_is_looked_at_again()
    {
        turns.Begin(careful: true);
        turns.Next(0);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(0, Enough)); // the first has nothing
        turns.Next(0);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(1, Enough)); // the bulk queue had
        Assert.Equal([false], turns.Next(1));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(1, Enough)); // nothing again: what came meanwhile may be in the other
        Assert.True(turns.Careful);
        Assert.Equal([true], turns.Next(1));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.True(turns.Look(1, Enough));
        Assert.False(turns.Careful);
    }
}
