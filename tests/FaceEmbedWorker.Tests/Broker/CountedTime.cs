using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>A clock that tells how often somebody began to wait by it: a test goes on when whoever it watches waits again.</summary>
internal sealed class CountedTime : FakeTimeProvider
{
    private int timers, pending;

    public int Timers => Volatile.Read(ref timers);

    /// <summary>Those of them that nobody has let go.</summary>
    public int Pending => Volatile.Read(ref pending);

    /// <summary>How long the last of them waits.</summary>
    public TimeSpan Due { get; private set; }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new PendingTimer(base.CreateTimer(callback, state, dueTime, period), this);
        Due = dueTime;
        Interlocked.Increment(ref pending);
        Interlocked.Increment(ref timers);
        return timer;
    }

    /// <summary>Moves on, to where somebody's wait ends, and until somebody waits again.</summary>
    public Task NextAsync(double seconds)
    {
        var next = Timers + 1;
        Advance(TimeSpan.FromSeconds(seconds));
        return UntilAsync(next);
    }

    /// <summary>Until so many have been made.</summary>
    public async Task UntilAsync(int count)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); Timers < count; await Task.Delay(1))
        {
            Assert.True(DateTime.UtcNow < end);
        }
    }

    private sealed class PendingTimer(ITimer timer, CountedTime time) : ITimer
    {
        private int gone;

        public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(dueTime, period);

        public void Dispose()
        {
            timer.Dispose();
            Interlocked.Add(ref time.pending, Interlocked.Exchange(ref gone, 1) - 1);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
