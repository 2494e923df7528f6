using FaceEmbedWorker.Broker;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// How many jobs a queue has room for, told from its counts. A queue that may be empty, or may not have answered, gets one job: where it
/// answers, the next count has that. One that goes on like that gets one at times that double, so that it is neither flooded nor forgotten.
/// </summary>
/// <param name="most">Jobs that may wait in it.</param>
internal sealed class QueueRoom(int most, TimeProvider time)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);

    private TimeSpan pause = FirstPause;
    private long? asked;

    /// <param name="count">The queue's; null where it cannot be asked.</param>
    /// <param name="onTheWay">Jobs that are published and not confirmed.</param>
    public long Of(QueueCount? count, long onTheWay)
    {
        if (count is not { } told)
        {
            return 0;
        }

        if (told.IsDoubtful)
        {
            return onTheWay == 0 ? OneAtTimes() : 0;
        }

        var room = Math.Max(0, most - told.Ready - onTheWay);
        (pause, asked) = room > 0 ? (FirstPause, null) : (pause, asked);
        return room;
    }

    private int OneAtTimes()
    {
        if (asked is { } last)
        {
            if (time.GetElapsedTime(last) < pause)
            {
                return 0;
            }

            pause *= 2;
        }

        asked = time.GetTimestamp();
        return 1;
    }
}
