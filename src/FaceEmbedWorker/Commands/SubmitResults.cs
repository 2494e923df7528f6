using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>What has come back of the jobs that were handed in, and which have not come back yet.</summary>
/// <param name="tells">Each of them, not only those that failed.</param>
[SuppressMessage("Design", "CA1001", Justification = "Results come to the end, and a semaphore without a wait handle has nothing to dispose of.")]
internal sealed class SubmitResults(bool tells)
{
    /// <summary>Jobs that are out at once: what is handed in beyond them waits, so that their number takes no memory.</summary>
    private const int MostOpen = 10_000;

    private readonly ConcurrentDictionary<string, string> open = new();
    private readonly SortedDictionary<string, int> counts = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim room = new(MostOpen, MostOpen);
    private readonly TaskCompletionSource all = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile Action advance = () => { };
    private volatile bool complete;
    private bool over;

    public int Open => open.Count;

    /// <summary>Something came back, or should.</summary>
    public bool Any { get; private set; }

    public int Failed { get; private set; }

    /// <summary>Waits until there is room for one more; <see cref="Expect"/> or <see cref="Leave"/> follows.</summary>
    public Task EnterAsync(CancellationToken cancel) => room.WaitAsync(cancel);

    public void Expect(string id, string name) => (open[id], Any) = (name, true);

    /// <summary>A line that gives no job.</summary>
    public void Leave() => room.Release();

    /// <summary>A job that was not taken.</summary>
    public void Forget(string id)
    {
        if (open.TryRemove(id, out _))
        {
            room.Release();
        }
    }

    public void Report(JobReport report)
    {
        lock (counts) // whoever sees that none is open any more sees all of them counted
        {
            if (over || !open.TryRemove(report.JobId, out var name))
            {
                return;
            }

            Show(name, report);
        }

        room.Release();
        advance();
        if (complete && open.IsEmpty)
        {
            all.TrySetResult();
        }
    }

    /// <summary>Waits for the last one; no more are expected.</summary>
    public async Task AllAsync(Action moved, CancellationToken cancel)
    {
        (advance, complete) = (moved, true);
        if (!open.IsEmpty)
        {
            await all.Task.WaitAsync(cancel);
        }
    }

    /// <summary>What comes from now on is not told any more: the count is the last word.</summary>
    public void End()
    {
        lock (counts)
        {
            over = true;
        }
    }

    public string Summary()
    {
        lock (counts)
        {
            return string.Join(", ", counts.Select(c => Words(c.Key, c.Value)).Concat(open.IsEmpty ? [] : [$"{open.Count:N0} without a result yet"]));
        }
    }

    private static string Words(string outcome, int count) => outcome switch
    {
        EmbedResult.Embedded => $"{count:N0} embedded",
        EmbedResult.NoFace => $"{count:N0} without a face",
        _ => Plural.Of(count, outcome),
    };

    private void Show(string name, JobReport report)
    {
        var outcome = report.Result?.Outcome ?? "dead letter";
        var good = outcome is EmbedResult.Embedded or EmbedResult.NoFace;
        counts[outcome] = counts.GetValueOrDefault(outcome) + 1;
        Failed += good ? 0 : 1;
        if (tells || !good)
        {
            Screen.Say(report.Result is { } result
                ? FormattableString.Invariant($"{name}: {result.Outcome}, {Plural.Of(result.Embeddings.Count, "vector")} of space {result.Model.Space}, {result.TimingsMs.Total:0.0} ms, by {result.Worker}, job {report.JobId}")
                : $"{name}: {outcome}, {report.Error}; job {report.JobId}");
        }
    }
}
