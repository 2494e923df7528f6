using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class JobWindowTests
{
    private readonly JobWindow window = new(TimeSpan.FromSeconds(1), 3);

    [Fact]
    public void A_slice_in_which_nothing_happened_is_absent()
    {
        window.At(TimeSpan.FromSeconds(2.5)).Jobs++;
        Assert.Equal([null, null, 1], window.Full(TimeSpan.FromSeconds(3)).Select(slice => slice?.Jobs));
        Assert.Equal([null, 1, null], window.UpToNow(TimeSpan.FromSeconds(3)).Select(slice => slice?.Jobs));
        Assert.Equal([null, null, null], window.Full(TimeSpan.FromSeconds(7)).Select(slice => slice?.Jobs));
    }

    [Fact]
    public void The_present_slice_takes_the_place_of_none_that_is_told()
    {
        for (var second = 0; second <= 3; second++)
        {
            window.At(TimeSpan.FromSeconds(second)).Jobs = second + 1;
        }

        Assert.Equal([1, 2, 3], window.Full(TimeSpan.FromSeconds(3)).Select(slice => slice?.Jobs));
        Assert.Equal([2, 3, 4], window.UpToNow(TimeSpan.FromSeconds(3)).Select(slice => slice?.Jobs));
    }

    [Fact]
    public void A_slice_that_comes_round_again_begins_empty()
    {
        var slice = window.At(TimeSpan.Zero);
        (slice.Jobs, slice.Retries, slice.DeadLetters) = (3, 1, 1);
        slice.Took(new ResultTimings(1, null, null, null, null, 1000));

        slice = window.At(TimeSpan.FromSeconds(4));
        Assert.Equal((0, 0, 0, 0), (slice.Jobs, slice.Retries, slice.DeadLetters, slice.Stages.Count));
        slice.Took(new ResultTimings(null, 2, null, null, null, 10));
        Assert.Equal(["decode"], slice.Stages.Keys);
        Assert.InRange(JobWindow.Slice.Latency([slice]).P95!.Value, 9.5, 10.5);
    }

    [Fact]
    public void Half_of_the_jobs_took_no_longer_than_the_median()
    {
        var slice = window.At(TimeSpan.Zero);
        slice.Took(new ResultTimings(null, null, null, null, null, 10));
        slice.Took(new ResultTimings(null, null, null, null, null, 1000));
        var latency = JobWindow.Slice.Latency([slice]);
        Assert.InRange(latency.P50!.Value, 9.5, 10.5);
        Assert.InRange(latency.P95!.Value, 950, 1050);
    }
}
