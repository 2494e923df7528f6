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
}
