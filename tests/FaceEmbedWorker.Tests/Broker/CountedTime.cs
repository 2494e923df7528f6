using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>A clock that tells how often somebody began to wait by it: a test goes on when whoever it watches waits again.</summary>
internal sealed class CountedTime : FakeTimeProvider
{
    private int timers;

    public int Timers => Volatile.Read(ref timers);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = base.CreateTimer(callback, state, dueTime, period);
        Interlocked.Increment(ref timers);
        return timer;
    }

    /// <summary>Moves on, to where somebody's wait ends, and until somebody waits again.</summary>
    public async Task NextAsync(double seconds)
    {
        var before = Timers;
        Advance(TimeSpan.FromSeconds(seconds));
        for (var end = DateTime.UtcNow.AddSeconds(30); Timers == before; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
        }
    }
}
