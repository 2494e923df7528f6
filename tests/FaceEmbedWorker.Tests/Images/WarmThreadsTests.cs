using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class WarmThreadsTests
{
    private readonly WarmThreads threads = new();

    [Fact]
    public async Task Work_one_after_the_other_is_done_by_one_thread()
    {
        var seen = new HashSet<int>();
        for (var i = 0; i < 1_000; i++)
        {
            seen.Add(await threads.RunAsync(() => Environment.CurrentManagedThreadId));
            Assert.DoesNotContain(Environment.CurrentManagedThreadId, seen); // what follows it is no work on pixels
        }

        Assert.Single(seen);
    }

    [Fact]
    public async Task There_are_as_many_threads_as_work_at_once()
    {
        var seen = new HashSet<int>();
        for (var round = 0; round < 50; round++)
        {
            using var together = new Barrier(3);
            seen.UnionWith(await Task.WhenAll(Enumerable.Range(0, together.ParticipantCount).Select(_ => threads.RunAsync(() =>
            {
                Assert.True(together.SignalAndWait(TimeSpan.FromSeconds(30)));
                return Environment.CurrentManagedThreadId;
            }))));
        }

        Assert.Equal(3, seen.Count);
    }

    [Fact]
    public async Task An_error_reaches_whoever_waits_and_the_thread_goes_on()
    {
        var thread = await threads.RunAsync(() => Environment.CurrentManagedThreadId);
        await Assert.ThrowsAsync<ImageException>(() => threads.RunAsync<int>(() => throw new ImageException(ImageFault.Undecodable, "no picture")));
        await Assert.ThrowsAsync<OperationCanceledException>(() => threads.RunAsync<int>(() => throw new OperationCanceledException()));
        Assert.Equal(thread, await threads.RunAsync(() => Environment.CurrentManagedThreadId));
    }

    /// <summary>Stay as they may, the process ends without them.</summary>
    [Fact]
    public async Task They_keep_no_process_alive() =>
        Assert.Equal((true, "pixels"), await threads.RunAsync(() => (Thread.CurrentThread.IsBackground, Thread.CurrentThread.Name)));

    [Fact]
    public async Task The_work_knows_its_callers_context_and_leaves_none_behind()
    {
        var local = new AsyncLocal<string>();
        local.Value = "job 1";
        Assert.Equal("job 1", await threads.RunAsync(() => local.Value));
        local.Value = "job 2";
        Assert.Equal("job 2", await threads.RunAsync(() => local.Value));
        Assert.Equal("job 2 done", await threads.RunAsync(() => local.Value += " done"));
        Assert.Equal("job 2", local.Value);
    }
}
