using FaceEmbedWorker.Broker;

namespace FaceEmbedWorker.Tests.Broker;

public class PrefetchBudgetTests
{
    [Fact]
    public void Large_jobs_are_asked_for_in_smaller_numbers_and_small_ones_in_full_again()
    {
        var budget = new PrefetchBudget(most: 12, bytes: 100);
        Assert.Equal(12, budget.Wanted);
        budget.Saw(30);
        Assert.Equal(3, budget.Wanted);
        Assert.True(budget.ShouldChange(present: 12, inHand: 101));
        Assert.False(budget.ShouldChange(present: 12, inHand: 90)); // there is room as it is
        budget.Saw(1000);
        Assert.Equal(1, budget.Wanted);
        Assert.False(budget.ShouldChange(present: 1, inHand: 1000));
        for (var i = 0; i < 60; i++)
        {
            budget.Saw(5);
        }

        Assert.Equal(12, budget.Wanted);
        Assert.True(budget.ShouldChange(present: 1, inHand: 5));
    }

    [Theory]
    [InlineData(25, 12, 101, true)] // 4 wanted: too many are in hand
    [InlineData(25, 12, 100, false)]
    [InlineData(25, 4, 101, false)] // as many as wanted already
    [InlineData(25, 2, 0, true)] // twice as many are wanted
    [InlineData(25, 3, 0, false)]
    [InlineData(0, 12, 0, false)]
    [InlineData(1, 6, 0, true)] // jobs of a byte: as many as the setting says
    public void Asks_anew_where_too_much_is_in_hand_or_twice_as_many_are_wanted(long job, ushort present, long inHand, bool anew)
    {
        var budget = new PrefetchBudget(most: 12, bytes: 100);
        budget.Saw(job);
        Assert.Equal(anew, budget.ShouldChange(present, inHand));
    }

    [Fact]
    public void A_large_job_is_remembered_for_a_while()
    {
        var budget = new PrefetchBudget(most: 1000, bytes: 1000);
        budget.Saw(100);
        Assert.Equal(10, budget.Wanted);
        budget.Saw(50); // 95 now
        Assert.Equal(10, budget.Wanted);
        budget.Saw(50); // 90.5
        Assert.Equal(11, budget.Wanted);
        Assert.Equal(1000, budget.Bytes);
    }
}
