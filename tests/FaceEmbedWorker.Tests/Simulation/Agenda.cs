namespace FaceEmbedWorker.Tests.Simulation;

/// <summary>Whose events these are: those of a process that has crashed do not happen.</summary>
internal class Party
{
    public bool Dead { get; set; }
}

/// <summary>What is to happen, in the order of simulated time; of equal times the first that was noted.</summary>
internal sealed class Agenda
{
    private readonly PriorityQueue<(Action Happens, Party? Party), (long Ticks, long Number)> events = new();
    private long number;

    public TimeSpan Now { get; private set; }

    /// <summary>Events that happened.</summary>
    public long Happened { get; private set; }

    public void After(TimeSpan delay, Action happens, Party? party = null) =>
        events.Enqueue((happens, party), ((Now + (delay > TimeSpan.Zero ? delay : TimeSpan.Zero)).Ticks, number++));

    /// <returns>False where nothing is left.</returns>
    public bool Next()
    {
        while (events.TryDequeue(out var next, out var when))
        {
            Now = TimeSpan.FromTicks(when.Ticks);
            if (next.Party is not { Dead: true })
            {
                Happened++;
                next.Happens();
                return true;
            }
        }

        return false;
    }
}

/// <summary>A process's clock and timers, which stop with it.</summary>
internal sealed class SimulatedClock(Agenda agenda, Party party) : TimeProvider
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow() => Start + agenda.Now;

    public override long GetTimestamp() => agenda.Now.Ticks + 1; // 0 is never

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(agenda, party, () => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class Timer(Agenda agenda, Party party, Action callback) : ITimer
    {
        private int version;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            var mine = ++version;
            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                agenda.After(dueTime, Fire, party);
            }

            return true;

            void Fire()
            {
                if (mine == version)
                {
                    if (period > TimeSpan.Zero)
                    {
                        agenda.After(period, Fire, party);
                    }

                    callback();
                }
            }
        }

        public void Dispose() => version++;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
