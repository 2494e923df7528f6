using System.Diagnostics.CodeAnalysis;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Jobs in hand that no slot has begun: those of the first queue before bulk jobs, but for the share that these always get. So a job never
/// waits behind bulk jobs that were handed out before it; their number is bounded by the prefetch.
/// </summary>
/// <param name="bulkShare">Percent of the jobs that are begun while both wait.</param>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore without a wait handle has nothing to dispose of.")]
internal sealed class WaitingJobs(int bulkShare)
{
    private readonly Lock moving = new();
    private readonly SemaphoreSlim come = new(0);
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

        come.Release();
        return true;
    }

    /// <summary>Waits for the next one.</summary>
    /// <returns>Null where it is closed and empty.</returns>
    public async Task<Delivery?> NextAsync()
    {
        for (; ; )
        {
            await come.WaitAsync();
            lock (moving)
            {
                if (Take() is { } delivery)
                {
                    return delivery;
                }

                if (closed)
                {
                    return null;
                }
            }
        }
    }

    /// <summary>Takes no more; each of those who wait for one comes to an end.</summary>
    public void Close(int waiters)
    {
        lock (moving)
        {
            closed = true;
        }

        come.Release(waiters);
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

    private Delivery? Take()
    {
        if ((owed >= 100 - bulkShare || jobs.Count == 0) && bulk.TryDequeue(out var next))
        {
            owed = Math.Max(0, owed - (100 - bulkShare));
            return next;
        }

        if (jobs.TryDequeue(out next))
        {
            owed = bulk.Count > 0 ? owed + bulkShare : Math.Min(owed + bulkShare, 100 - bulkShare); // what was not there to be taken is not made up for
        }

        return next;
    }
}
