namespace FaceEmbedWorker.Broker;

/// <summary>
/// Which queues are taken. A message that the client cannot read closes the connection, and each time what was in hand beside it pays: after
/// a lost connection the next ones come one by one, until it has gone alone, from the first queue and the bulk queue by turns, until enough
/// was settled, or neither has anything. Otherwise from both.
/// </summary>
internal sealed class CarefulTurns(bool hasBulk, TimeProvider time)
{
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(2);

    private bool bulk;
    private bool ofOne;
    private int idle;
    private long since;

    public bool Careful { get; private set; }

    public void Begin(bool careful) => (Careful, idle) = (careful, 0);

    /// <returns>True: the bulk queue. False: the first. Where there is no such queue, nothing is in hand yet.</returns>
    public bool[] Next()
    {
        (bulk, ofOne, since) = (Careful && !bulk && hasBulk, Careful && hasBulk, time.GetTimestamp());
        return bulk ? [true] : ofOne || !hasBulk ? [false] : [true, false];
    }

    /// <summary>Something came, or is in hand.</summary>
    public void Busy() => since = time.GetTimestamp();

    /// <returns>Whether the queues are to be taken anew.</returns>
    public bool Look(bool enough)
    {
        Careful &= !enough;
        var nothing = Careful && ofOne && time.GetElapsedTime(since) >= IdleTime; // what ended the connection is not here
        Careful &= !nothing || ++idle < 2;
        return nothing || (ofOne && !Careful);
    }
}
