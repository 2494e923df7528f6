using System.Collections.Concurrent;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// How often a job may have ended a worker. The broker counts each return of a delivery, whatever its cause; what this process lost itself
/// and lived on is no crash, and is taken off.
/// </summary>
internal sealed class CrashCounts
{
    /// <summary>A job that came back this often without a word may be what crashes the worker.</summary>
    public const int SuspectAfter = 2;

    /// <summary>
    /// One that came back this often without a word while nothing else was in hand is given up. Each time may be no fault of its own, a node
    /// that dies or an alarm that another worker waited for too long: three of them on one suspect are not to be expected.
    /// </summary>
    public const int CondemnedAfter = 3;

    private const int MostLost = 10_000;
    private readonly ConcurrentDictionary<string, int> lost = new();

    /// <param name="returns"><see cref="JobMessage.Returns"/>.</param>
    /// <param name="lostHere">Times that this process lost it and lived on.</param>
    public static long Crashes(long returns, int lostHere) => Math.Max(0, returns - lostHere);

    public static bool IsSuspect(long crashes) => crashes >= SuspectAfter;

    /// <param name="alone">Crashes since it was handled alone.</param>
    public static bool IsCondemned(long alone) => alone >= CondemnedAfter;

    public long Of(JobMessage message) => message.Returns is > 0 and var returns ? Crashes(returns, lost.GetValueOrDefault(message.Identity)) : 0;

    /// <summary>The channel that it came by is gone, and this process is not.</summary>
    public void Lost(JobMessage message)
    {
        if (lost.Count > MostLost)
        {
            lost.Clear(); // other replicas have settled these long since
        }

        lost.AddOrUpdate(message.Identity, 1, static (_, times) => times + 1);
    }

    public void Settled(JobMessage message)
    {
        if (!lost.IsEmpty)
        {
            lost.TryRemove(message.Identity, out _);
        }
    }
}
