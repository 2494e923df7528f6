using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Commands;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Commands;

public class QueueRoomTests
{
    private static readonly QueueCount Doubtful = new(0, 0);

    private readonly FakeTimeProvider time = new();

    [Fact]
    public void There_is_room_for_what_neither_waits_nor_is_on_its_way()
    {
        var room = new QueueRoom(50, time);
        Assert.Equal([40, 30, 0, 50], [room.Of(new(10, 0), 0), room.Of(new(10, 1), 10), room.Of(new(60, 1), 0), room.Of(new(0, 1), 0)]);
        Assert.Equal(0, room.Of(null, 0));
    }

    /// <summary>The first job tells that the queue answers.</summary>
    [Fact]
    public void An_empty_queue_that_nobody_takes_from_is_filled()
    {
        var room = new QueueRoom(50, time);
        Assert.Equal(1, room.Of(Doubtful, 0));
        Assert.Equal(0, room.Of(Doubtful, 1)); // not confirmed yet
        Assert.Equal(49, room.Of(new(1, 0), 0));
    }

    /// <summary>Confirms come, and counts do not.</summary>
    [Fact]
    public void A_queue_that_does_not_tell_its_count_is_not_flooded()
    {
        var (room, handedIn) = (new QueueRoom(50, time), 0L);
        for (var look = 0; look < 7200; look++) // an hour
        {
            handedIn += room.Of(Doubtful, 0);
            handedIn += look % 600 == 0 ? room.Of(new(50 + handedIn, 0), 0) : 0; // full, where it answers
            time.Advance(TimeSpan.FromSeconds(0.5));
        }

        Assert.InRange(handedIn, 5, 15);
        Assert.Equal(10, room.Of(new(40, 1), 0));
        Assert.Equal(1, room.Of(Doubtful, 0)); // it was emptied since, or does not answer again
    }
}
