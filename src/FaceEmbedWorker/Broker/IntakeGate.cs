using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// The intake: open, or closed and why. It closes where many different jobs in a row fail for the world's fault, for a disk that is full or
/// a host that is away fails for everyone, and the whole queue would go down the retry ladder for it: then one job at a time goes through
/// as a probe, with growing pauses. And it closes while the broker does not take what becomes of jobs.
/// </summary>
internal sealed class IntakeGate(TimeProvider time) : IDisposable
{
    /// <summary>Different jobs that fail in a row, none of them settled otherwise in between.</summary>
    public const int Failures = 5;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);

    private readonly Lock state = new();
    private readonly SemaphoreSlim probe = new(1, 1);
    private readonly HashSet<string> failed = [];
    private TimeSpan pause = FirstPause;
    private int held;
    private string holding = "";
    private string? blocked;
    private TaskCompletionSource? flows;

    /// <summary>Of a probe, or of the job that closed the gate.</summary>
    private long lastFailure;

    /// <summary>Too many jobs failed: no job goes through but a probe.</summary>
    public bool Failing { get; private set; }

    /// <summary>Why the intake is closed; null where it is open.</summary>
    public string? Reason
    {
        get
        {
            lock (state)
            {
                return blocked is not null ? $"the broker takes no messages: {blocked}" : held > 0 ? $"{Plural.Of(held, "message waits", "messages wait")} until the broker takes {(held == 1 ? "it" : "them")}: {holding}" : Failing ? $"{failed.Count} different jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds" : null;
            }
        }
    }

    /// <summary>Waits until a job may be handled.</summary>
    /// <returns>True where the job is the probe: its outcome must be told to <see cref="Report"/>.</returns>
    public async Task<bool> EnterAsync(CancellationToken cancel)
    {
        while (flows is { } closed)
        {
            await closed.Task.WaitAsync(cancel);
        }

        if (!Failing)
        {
            return false;
        }

        await probe.WaitAsync(cancel);
        try
        {
            if (Failing)
            {
                var left = pause - time.GetElapsedTime(lastFailure); // not from now: whoever waits may be handed back before it is over, and the next one goes on
                await (left > TimeSpan.Zero ? Task.Delay(left, time, cancel) : Task.CompletedTask);
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

    /// <summary>Tells how a job ended.</summary>
    /// <param name="worldFailed">True: it will be tried again. False: it was done. Null: neither, as where the job itself was wrong, which
    /// tells nothing of the world.</param>
    /// <returns>True where this closed or opened the gate.</returns>
    public bool Report(string id, bool? worldFailed, bool probing)
    {
        lock (state)
        {
            var before = Failing;
            if (worldFailed is false)
            {
                failed.Clear();
                (Failing, pause) = (false, FirstPause);
            }
            else if (worldFailed is true)
            {
                failed.Add(id);
                Failing |= failed.Count >= Failures;
                lastFailure = probing || Failing != before ? time.GetTimestamp() : lastFailure;
                pause = !probing ? pause : pause * 2 < LongestPause ? pause * 2 : LongestPause;
            }

            if (probing)
            {
                probe.Release();
            }

            return Failing != before;
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

    public void Dispose() => probe.Dispose();
}
