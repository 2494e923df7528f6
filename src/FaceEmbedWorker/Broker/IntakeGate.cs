using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// The intake: open, or closed and why. It closes where many different jobs in a row fail for the world's fault, for a disk that is full or
/// a host that is away fails for everyone, and the whole queue would go down the retry ladder for it: then one job at a time goes through
/// as a probe, with growing pauses. Bulk jobs are counted and paused by themselves, so that an archive whose host is away holds up nobody
/// who waits. And it closes while the broker does not take what becomes of jobs.
/// </summary>
internal sealed class IntakeGate(TimeProvider time) : IDisposable
{
    /// <summary>Different jobs that fail in a row, none of them settled otherwise in between.</summary>
    public const int Failures = 5;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);

    private readonly Lock state = new();
    private readonly Row jobs = new(time);
    private readonly Row bulks = new(time);
    private int held;
    private string holding = "";
    private string? blocked;
    private TaskCompletionSource? flows;

    /// <summary>Too many jobs failed, of bulk jobs or of the others: none of them goes through but a probe.</summary>
    public bool IsFailing(bool bulk) => Of(bulk).Failing;

    /// <summary>Why the intake is closed; null where it is open, if only for jobs that are no bulk jobs.</summary>
    public string? Reason
    {
        get
        {
            lock (state)
            {
                return blocked is not null ? $"the broker takes no messages: {blocked}" : held > 0 ? $"{Plural.Of(held, "message waits", "messages wait")} until the broker takes {(held == 1 ? "it" : "them")}: {holding}" : jobs.Failing ? $"{jobs.Failed} different jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds. The last: {jobs.Last}" : null;
            }
        }
    }

    /// <summary>Why bulk jobs are paused by themselves; null where they are not.</summary>
    public string? BulkReason
    {
        get
        {
            lock (state)
            {
                return bulks.Failing ? $"{bulks.Failed} different bulk jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds. The last: {bulks.Last}" : null;
            }
        }
    }

    /// <summary>Bulk jobs that ended with a result.</summary>
    public long BulkResults => bulks.Done;

    /// <summary>Waits until a job may be handled.</summary>
    /// <returns>True where the job is the probe: its outcome must be told to <see cref="Report"/>.</returns>
    public async Task<bool> EnterAsync(CancellationToken cancel)
    {
        while (true)
        {
            await FlowAsync(cancel);
            var probing = await jobs.EnterAsync(cancel);
            if (!Holding)
            {
                return probing;
            }

            jobs.Leave(probing); // it has waited for a probe or a pause, and meanwhile the broker has come to take nothing
        }
    }

    /// <summary>A bulk job keeps no slot waiting that others may need.</summary>
    /// <returns>As of <see cref="EnterAsync"/>; null where it may not be handled yet.</returns>
    public async Task<bool?> EnterBulkAsync(CancellationToken cancel)
    {
        await FlowAsync(cancel);
        return bulks.TryEnter();
    }

    /// <summary>How long bulk jobs are paused; null until a probe has ended.</summary>
    public TimeSpan? BulkPause => bulks.Left;

    /// <summary>Tells how a job ended.</summary>
    /// <param name="worldFailed">True: it will be tried again. False: it was done. Null: neither, as where the job itself was wrong, which
    /// tells nothing of the world.</param>
    /// <param name="why">Of a failure, for people.</param>
    /// <param name="asked">False: the job failed without a look at the world, so that the next probe need not wait for long.</param>
    /// <returns>True where this closed or opened the gate.</returns>
    public bool Report(string id, bool? worldFailed, bool probing, bool bulk = false, string why = "", bool asked = true)
    {
        lock (state)
        {
            return Of(bulk).Report(id, worldFailed, probing, why, asked);
        }
    }

    /// <summary>The broker takes nothing at all, or does again.</summary>
    /// <param name="why">Null: it does.</param>
    public void Block(string? why)
    {
        lock (state)
        {
            blocked = why;
            Turn();
        }
    }

    /// <summary>
    /// A message that the broker does not take now is held in memory: nothing new is begun until each <see cref="Release"/>.
    /// </summary>
    public void Hold(string reason)
    {
        lock (state)
        {
            (held, holding) = (held + 1, reason);
            Turn();
        }
    }

    /// <summary>The broker has taken it after all.</summary>
    /// <returns>True where it was the last one.</returns>
    public bool Release()
    {
        lock (state)
        {
            held--;
            Turn();
            return held == 0;
        }
    }

    /// <summary>Why the broker takes nothing at all; null where it does.</summary>
    public string? Blocked => blocked;

    /// <summary>True while the broker does not take what becomes of jobs.</summary>
    public bool Holding => flows is not null;

    private void Turn()
    {
        if (held > 0 || blocked is not null)
        {
            flows ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        else
        {
            flows?.SetResult();
            flows = null;
        }
    }

    private async Task FlowAsync(CancellationToken cancel)
    {
        while (flows is { } closed)
        {
            await closed.Task.WaitAsync(cancel);
        }
    }

    private Row Of(bool bulk) => bulk ? bulks : jobs;

    public void Dispose()
    {
        jobs.Dispose();
        bulks.Dispose();
    }

    /// <summary>Failures in a row, and the pause that they make.</summary>
    private sealed class Row(TimeProvider time) : IDisposable
    {
        private readonly SemaphoreSlim probe = new(1, 1);
        private readonly HashSet<string> failed = [];
        private TimeSpan pause = FirstPause;

        /// <summary>Until the next probe; shorter than the pause after one that did not look at the world.</summary>
        private TimeSpan wait = FirstPause;

        /// <summary>Of a probe, or of the job that closed the gate.</summary>
        private long lastFailure;

        public bool Failing { get; private set; }

        public int Failed => failed.Count;

        public string Last { get; private set; } = "";

        public long Done { get; private set; }

        /// <summary>Until the next probe may go; null while one is under way.</summary>
        public TimeSpan? Left => !Failing ? TimeSpan.Zero : probe.CurrentCount == 0 ? null : PauseLeft;

        private TimeSpan PauseLeft => wait - time.GetElapsedTime(lastFailure) is { Ticks: > 0 } left ? left : TimeSpan.Zero; // not from now: whoever waits may be handed back before it is over, and the next one goes on

        public async Task<bool> EnterAsync(CancellationToken cancel)
        {
            if (!Failing)
            {
                return false;
            }

            await probe.WaitAsync(cancel);
            try
            {
                if (Failing)
                {
                    await (PauseLeft is { Ticks: > 0 } left ? Task.Delay(left, time, cancel) : Task.CompletedTask);
                    return true;
                }
            }
            catch
            {
                probe.Release();
                throw;
            }

            probe.Release();
            return false;
        }

        /// <summary>Who has entered does not go on.</summary>
        public void Leave(bool probing)
        {
            if (probing)
            {
                probe.Release();
            }
        }

        public bool? TryEnter()
        {
            if (!Failing)
            {
                return false;
            }

            if (!probe.Wait(0))
            {
                return null;
            }

            if (Failing && PauseLeft == TimeSpan.Zero)
            {
                return true;
            }

            probe.Release();
            return Failing ? null : false;
        }

        public bool Report(string id, bool? worldFailed, bool probing, string why, bool asked)
        {
            var before = Failing;
            if (worldFailed is false)
            {
                failed.Clear();
                (Failing, pause, wait, Done) = (false, FirstPause, FirstPause, Done + 1);
            }
            else if (worldFailed is true && probing && !asked)
            {
                (lastFailure, wait) = (time.GetTimestamp(), FirstPause);
            }
            else if (worldFailed is true)
            {
                failed.Add(id);
                Last = why;
                Failing |= failed.Count >= Failures;
                lastFailure = probing || Failing != before ? time.GetTimestamp() : lastFailure;
                pause = !probing ? pause : pause * 2 < LongestPause ? pause * 2 : LongestPause;
                wait = pause;
            }

            if (probing)
            {
                probe.Release();
            }

            return Failing != before;
        }

        public void Dispose() => probe.Dispose();
    }
}
