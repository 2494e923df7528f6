namespace FaceEmbedWorker.Broker;

/// <summary>
/// Which queues are taken. A message that the client cannot read closes the connection, and each time what was in hand beside it pays: after
/// a lost connection the next ones come one by one, until it has gone alone, from the first queue and the bulk queue by turns, until enough
/// was settled, or neither has anything. Otherwise from both.
/// </summary>
internal sealed class CarefulTurns(bool hasBulk, TimeProvider time)
{
    /// <summary>A turn's, and that of a queue which has nothing.</summary>
    private static readonly TimeSpan TurnTime = TimeSpan.FromSeconds(2);

    private bool bulk;
    private bool byTurns;
    private int idle;
    private int before;
    private long begun;
    private long busy;

    public bool Careful { get; private set; }

    /// <summary>A new life, in which the first queue has the first turn.</summary>
    public void Begin(bool careful) => (Careful, idle, bulk) = (careful, 0, true);

    /// <param name="settled">Deliveries of this life that were settled.</param>
    /// <returns>True: the bulk queue. False: the first. Where there is no such queue, nothing is in hand yet.</returns>
    public bool[] Next(int settled)
    {
        (bulk, byTurns, before) = (Careful && !bulk && hasBulk, Careful, settled);
        begun = busy = time.GetTimestamp();
        return bulk ? [true] : byTurns || !hasBulk ? [false] : [true, false];
    }

    /// <summary>Something came, or is in hand.</summary>
    public void Busy() => busy = time.GetTimestamp();

    /// <param name="inHand">Something is: a turn ends beside its last job, for the next would be on its way once that is acked, and come
    /// back counted.</param>
    /// <param name="settled">Deliveries of this life that were settled.</param>
    /// <param name="enough">So many of them.</param>
    /// <returns>Whether the queues are to be taken anew.</returns>
    public bool Look(bool inHand, int settled, int enough)
    {
        Careful &= settled < enough;
        var over = Careful && byTurns && hasBulk && inHand && time.GetElapsedTime(begun) >= TurnTime; // the other queue's jobs are not to wait for all of these
        var nothing = Careful && byTurns && !inHand && time.GetElapsedTime(busy) >= TurnTime; // what ended the connection is not here
        idle = over || settled > before ? 0 : nothing ? idle + 1 : idle;
        Careful &= idle < 2;
        return over || nothing || (byTurns && !Careful);
    }
}
