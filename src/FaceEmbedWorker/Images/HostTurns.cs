using System.Threading.RateLimiting;

namespace FaceEmbedWorker.Images;

/// <summary>The job was given up before its turn at a host came.</summary>
internal sealed class TurnException(string host, OperationCanceledException inner) : OperationCanceledException(
    $"Its turn at {host} did not come within the job's deadline (Jobs:DeadlineSeconds): Sources:PerHost or Sources:PerHostRate lets fewer jobs through than wait for that host.", inner, inner.CancellationToken);

/// <summary>
/// When a host or bucket is asked: by so many at once and so often as the settings say, bulk jobs one behind all others, and for a while not
/// at all where one try after the other fails, so that what lies elsewhere does not wait for a host that is away.
/// </summary>
internal sealed class HostTurns : IDisposable
{
    /// <summary>Tries in a row at one host that fail, before it is left alone.</summary>
    public const int Failures = 5;

    /// <summary>Hosts that are remembered as failing: jobs may name any number of them.</summary>
    internal const int MostFailing = 1000;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);

    private readonly TimeProvider time;

    /// <summary>Made for the first host: each looks ten times a second for what is idle, for as long as it lives.</summary>
    private readonly Lazy<(PartitionedRateLimiter<string> AtOnce, PartitionedRateLimiter<string> Rate, PartitionedRateLimiter<string> Both, PartitionedRateLimiter<string> Door)> limits;

    private readonly Dictionary<string, Failing> failing = [];
    private volatile bool ended;

    public HostTurns(SourceOptions options, TimeProvider time)
    {
        this.time = time;
        limits = new(() =>
        {
            var atOnce = PartitionedRateLimiter.Create((string host) => options.PerHost == 0 ? RateLimitPartition.GetNoLimiter(host) : AtOnce(host, options.PerHost));
            var apart = TimeSpan.FromMilliseconds(Math.Min(1000 / options.PerHostRate, int.MaxValue));
            var rate = PartitionedRateLimiter.Create((string host) => options.PerHostRate == 0 ? RateLimitPartition.GetNoLimiter(host) : RateLimitPartition.Get(host, _ => (RateLimiter)new PacedLimiter(apart, time)));
            return (atOnce, rate, PartitionedRateLimiter.CreateChained(atOnce, rate), PartitionedRateLimiter.Create((string host) => AtOnce(host, 1)));
        });

        static RateLimitPartition<string> AtOnce(string host, int most) =>
            RateLimitPartition.GetConcurrencyLimiter(host, _ => new ConcurrencyLimiterOptions { PermitLimit = most, QueueLimit = int.MaxValue });
    }

    /// <summary>Asks when it is this one's turn.</summary>
    /// <param name="last">One of those of which only one is in line with the others, and the rest behind it.</param>
    /// <param name="tells">Whether an answer says that the host is well; null: it says nothing, as a redirect to itself. Left out: each does.</param>
    /// <exception cref="SourceException">As of <paramref name="ask"/>, or the host is left alone now.</exception>
    /// <exception cref="ObjectDisposedException">The worker has ended meanwhile.</exception>
    public async Task<T> AskAsync<T>(string host, bool last, Func<Task<T>> ask, CancellationToken cancel, Func<T, bool?>? tells = null)
    {
        Look(host, begin: false);
        using var turn = await TurnAsync(host, last, cancel);
        var probed = Look(host, begin: true); // it may have failed for those before
        SourceException? failure = null;
        bool? answers = null;
        try
        {
            var answer = await ask();
            answers = tells is null ? true : tells(answer);
            return answer;
        }
        catch (Exception e) when (e is SourceException or ImageException)
        {
            failure = e as SourceException;
            answers = failure is not { RetryAfter: null };
            throw;
        }
        finally
        {
            Tell(host, answers, failure?.Message, probed);
        }
    }

    private async Task<RateLimitLease> TurnAsync(string host, bool last, CancellationToken cancel)
    {
        while (true)
        {
            ObjectDisposedException.ThrowIf(ended, this);
            try
            {
                using var entered = last ? Acquired(await limits.Value.Door.AcquireAsync(host, cancellationToken: cancel)) : null;
                return Acquired(await limits.Value.Both.AcquireAsync(host, cancellationToken: cancel));
            }
            catch (OperationCanceledException e)
            {
                throw new TurnException(host, e);
            }
            catch (ObjectDisposedException) when (!ended)
            {
                // .NET throws a host's limiter away that nobody asked for long, now and then just as somebody does
            }
        }

        static RateLimitLease Acquired(RateLimitLease lease) => lease.IsAcquired ? lease : throw new ObjectDisposedException(nameof(HostTurns));
    }

    /// <returns>What this one is the probe of; null where it is none.</returns>
    /// <exception cref="SourceException">The host is left alone now.</exception>
    private Failing? Look(string host, bool begin)
    {
        lock (failing)
        {
            if (failing.TryGetValue(host, out var how) && how.Tries >= Failures)
            {
                var left = how.Pause - time.GetElapsedTime(how.Since);
                if (how.Probing || left > TimeSpan.Zero)
                {
                    throw new SourceException($"{host} is not asked now: {how.Tries} tries in a row failed, and {(how.Probing ? "one more is under way" : $"the next is in {left.TotalSeconds:0.#} s")}. The last: {how.Last}", paused: true);
                }

                how.Probing = begin;
                return begin ? how : null;
            }

            return null;
        }
    }

    /// <param name="answers">Null: nobody knows, as where the job was given up.</param>
    /// <param name="probed">Others that were begun before may end beside the probe: they make no room for one more.</param>
    private void Tell(string host, bool? answers, string? why, Failing? probed)
    {
        lock (failing)
        {
            if (probed is not null)
            {
                probed.Probing = false;
            }

            if (answers is true)
            {
                failing.Remove(host);
            }
            else if (answers is false)
            {
                if (!failing.TryGetValue(host, out var how))
                {
                    if (failing.Count >= MostFailing)
                    {
                        failing.Remove(failing.MinBy(f => f.Value.Since).Key);
                    }

                    failing[host] = how = new Failing();
                }

                how.Tries++;
                how.Pause = how.Tries <= Failures ? FirstPause : how.Pause + how.Pause < LongestPause ? how.Pause + how.Pause : LongestPause;
                (how.Since, how.Last) = (time.GetTimestamp(), why);
            }
        }
    }

    public void Dispose()
    {
        ended = true;
        if (limits.IsValueCreated)
        {
            var (atOnce, rate, both, door) = limits.Value;
            foreach (var limiter in new[] { both, atOnce, rate, door }) // the chain ends none of its links
            {
                limiter.Dispose();
            }
        }
    }

    /// <summary>A host of which the last try failed.</summary>
    private sealed class Failing
    {
        public int Tries { get; set; }

        public long Since { get; set; }

        public TimeSpan Pause { get; set; }

        public string? Last { get; set; }

        /// <summary>Its pause is over, and one tries it.</summary>
        public bool Probing { get; set; }
    }
}
