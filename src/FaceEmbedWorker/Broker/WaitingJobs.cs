namespace FaceEmbedWorker.Broker;

/// <summary>
/// Jobs in hand that no slot has begun: those of the first queue before bulk jobs, but for the share that these always get. So a job never
/// waits behind bulk jobs that were handed out before it; their number is bounded by the prefetch.
/// </summary>
/// <param name="bulkShare">Percent of the jobs that are begun while both wait.</param>
/// <param name="bulkPause">How long no bulk job is begun; null: until <see cref="Look"/>.</param>
internal sealed class WaitingJobs(int bulkShare, Func<TimeSpan?> bulkPause, TimeProvider time)
{
    private readonly Lock moving = new();
    private TaskCompletionSource change = Change();
    private readonly Queue<Delivery> jobs = new();
    private readonly Queue<Delivery> bulk = new();
    private int owed;
    private bool closed;

    /// <returns>False where it is closed.</returns>
    public bool Add(Delivery delivery)
    {
        lock (moving)
        {
            if (closed)
            {
                return false;
            }

            (delivery.IsBulk ? bulk : jobs).Enqueue(delivery);
        }

        Look();
        return true;
    }

    /// <summary>Waits for the next one.</summary>
    /// <param name="until">No bulk job, and one that comes before this ends; null: any.</param>
    /// <returns>Null where it is closed and empty, or <paramref name="until"/> has ended.</returns>
    public async Task<Delivery?> NextAsync(Task? until = null)
    {
        for (; ; )
        {
            Task changed;
            TimeSpan? left;
            lock (moving)
            {
                left = bulk.Count == 0 || until is not null ? null : closed ? TimeSpan.Zero : bulkPause();
                if (until is not { IsCompleted: true } && Take(left == TimeSpan.Zero) is { } delivery)
                {
                    return delivery;
                }

                if (closed || until is { IsCompleted: true })
                {
                    return null;
                }

                changed = change.Task;
            }

            using var over = new CancellationTokenSource();
            // a delay knows whole milliseconds, and one of less would be none
            await Task.WhenAny(changed, until ?? changed, left is { } pause ? Task.Delay(pause + TimeSpan.FromMilliseconds(1), time, over.Token) : changed);
            await over.CancelAsync();
        }
    }

    /// <summary>Something has changed: whoever waits looks whether there is one for it.</summary>
    public void Look()
    {
        TaskCompletionSource before;
        lock (moving)
        {
            (before, change) = (change, Change());
        }

        before.SetResult();
    }

    /// <summary>Takes no more; each of those who wait for one comes to an end.</summary>
    public void Close()
    {
        lock (moving)
        {
            closed = true;
        }

        Look();
    }

    /// <summary>Lets go of what waits here and has ended with its life, with its bytes.</summary>
    public void ForgetEnded()
    {
        lock (moving)
        {
            Forget(jobs);
            Forget(bulk);
        }
    }

    private static void Forget(Queue<Delivery> queue)
    {
        for (var count = queue.Count; count > 0; count--)
        {
            var delivery = queue.Dequeue();
            if (delivery.Life.Ended)
            {
                delivery.Forget();
            }
            else
            {
                queue.Enqueue(delivery);
            }
        }
    }

    private static TaskCompletionSource Change() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Delivery? Take(bool bulkToo)
    {
        if (bulkToo && (owed >= 100 - bulkShare || jobs.Count == 0) && bulk.TryDequeue(out var next))
        {
            owed = Math.Max(0, owed - (100 - bulkShare));
            return next;
        }

        if (jobs.TryDequeue(out next))
        {
            owed = bulkToo ? owed + bulkShare : Math.Min(owed + bulkShare, 100 - bulkShare); // what was not there to be taken is not made up for
        }

        return next;
    }
}
