namespace FaceEmbedWorker.Broker;

/// <summary>
/// Closes where many different jobs in a row fail for the world's fault: a disk that is full or a host that is away fails for everyone, and
/// the whole queue would go down the retry ladder for it. While closed, one job at a time goes through as a probe, with growing pauses.
/// </summary>
internal sealed class IntakeGate(TimeProvider time) : IDisposable
{
    /// <summary>Different jobs that fail in a row, none of them settled otherwise in between.</summary>
    public const int Failures = 5;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(60);

    private readonly SemaphoreSlim probe = new(1, 1);
    private readonly HashSet<string> failed = [];
    private TimeSpan pause = FirstPause;

    /// <summary>No job goes through but a probe.</summary>
    public bool Closed { get; private set; }

    /// <summary>Waits until a job may be handled.</summary>
    /// <returns>True where the job is the probe: its outcome must be told to <see cref="Report"/>.</returns>
    public async Task<bool> EnterAsync(CancellationToken cancel)
    {
        if (!Closed)
        {
            return false;
        }

        await probe.WaitAsync(cancel);
        try
        {
            if (Closed)
            {
                await Task.Delay(pause, time, cancel);
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
    /// <param name="worldFailed">It will be tried again.</param>
    /// <returns>True where this closed or opened the gate.</returns>
    public bool Report(string id, bool worldFailed, bool probing)
    {
        lock (failed)
        {
            var before = Closed;
            if (!worldFailed)
            {
                failed.Clear();
                (Closed, pause) = (false, FirstPause);
            }
            else
            {
                failed.Add(id);
                Closed |= failed.Count >= Failures;
                pause = !probing ? pause : pause * 2 < LongestPause ? pause * 2 : LongestPause;
            }

            if (probing)
            {
                probe.Release();
            }

            return Closed != before;
        }
    }

    public void Dispose() => probe.Dispose();
}
