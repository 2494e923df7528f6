using System.Threading.RateLimiting;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Lets one after the other go, so far apart; who gives up leaves its place to the next. A bucket of tokens lets two go together after a
/// pause: one by the token that lay in it, one by the next.
/// </summary>
/// <param name="apart">From the begin of one to that of the next.</param>
internal sealed class PacedLimiter(TimeSpan apart, TimeProvider time) : RateLimiter
{
    /// <summary>By which a timer may wake too late: the next makes up for it, or a thousand a second would be half as many.</summary>
    private static readonly TimeSpan Lateness = TimeSpan.FromMilliseconds(1);

    private readonly SemaphoreSlim first = new(1, 1);
    private readonly CancellationTokenSource over = new();
    private readonly long began = time.GetTimestamp();
    private TimeSpan next;
    private int inLine;

    private TimeSpan Now => time.GetElapsedTime(began);

    /// <summary>Since the next could go; null while it could not yet, or one waits.</summary>
    public override TimeSpan? IdleDuration => Volatile.Read(ref inLine) == 0 && Now - next is { Ticks: >= 0 } idle ? idle : null;

    public override RateLimiterStatistics? GetStatistics() => null;

    /// <returns>Not acquired: nobody goes past the line.</returns>
    protected override RateLimitLease AttemptAcquireCore(int permitCount) => new Lease(false);

    /// <returns>Not acquired where it was disposed of meanwhile.</returns>
    protected override async ValueTask<RateLimitLease> AcquireAsyncCore(int permitCount, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, over.Token);
        Interlocked.Increment(ref inLine);
        try
        {
            await first.WaitAsync(either.Token);
            try
            {
                if (next - Now is { Ticks: > 0 } left)
                {
                    await Task.Delay(left, time, either.Token);
                }

                either.Token.ThrowIfCancellationRequested(); // who was next may have given up in the very moment
                next = TimeSpan.FromTicks(Math.Max(next.Ticks, (Now - Lateness).Ticks)) + apart;
                return new Lease(true);
            }
            finally
            {
                first.Release();
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new Lease(false);
        }
        finally
        {
            Interlocked.Decrement(ref inLine);
        }
    }

    /// <summary>Ends the line.</summary>
    protected override void Dispose(bool disposing)
    {
        over.Cancel();
        base.Dispose(disposing);
    }

    private sealed class Lease(bool acquired) : RateLimitLease
    {
        public override bool IsAcquired => acquired;

        public override IEnumerable<string> MetadataNames => [];

        public override bool TryGetMetadata(string metadataName, out object? metadata)
        {
            metadata = null;
            return false;
        }
    }
}
