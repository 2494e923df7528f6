using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Jobs;

public class StageClockTests
{
    private readonly FakeTimeProvider time = new();

    [Fact]
    public void A_stage_that_comes_again_is_added_up()
    {
        var clock = new StageClock(time);
        Spend(clock, 5, Stage.Fetch);
        Spend(clock, 3, Stage.Decode);
        Spend(clock, 20, Stage.Detect);
        Spend(clock, 2, Stage.Align);
        Spend(clock, 7, Stage.Embed);
        Spend(clock, 4, Stage.Align);
        Assert.Equal(new ResultTimings(5, 3, 20, 6, 7, 41), clock.Read());
        Assert.Equal(TimeSpan.FromMilliseconds(41), clock.Elapsed);
    }

    [Fact]
    public void A_stage_that_did_not_run_is_absent_and_what_is_skipped_counts_in_the_total_only()
    {
        var clock = new StageClock(time);
        Spend(clock, 5, Stage.Fetch);
        time.Advance(TimeSpan.FromMilliseconds(100));
        clock.Skip();
        Spend(clock, 3.456, Stage.Decode);
        Assert.Equal(new ResultTimings(5, 3.46, null, null, null, 108.46), clock.Read());
    }

    private void Spend(StageClock clock, double milliseconds, Stage stage)
    {
        time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        clock.Mark(stage);
    }
}
