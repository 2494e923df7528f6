namespace FaceEmbedWorker.Broker;

/// <summary>
/// What waits for a queue that has refused it: one tries, with growing pauses, for each try gives a copy to the other queues of an exchange;
/// once it is refused no more, the next tries at once.
/// </summary>
internal sealed class RefusedLine() : SemaphoreSlim(1, 1)
{
    public static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);

    private bool moves;

    /// <summary>Waits for one's turn, which ends with <see cref="Pass"/>.</summary>
    /// <returns>How long to wait before the next try; nothing where it moves.</returns>
    public async Task<TimeSpan> EnterAsync(CancellationToken giveUp)
    {
        if (Wait(0, CancellationToken.None))
        {
            return FirstPause;
        }

        await WaitAsync(giveUp);
        return moves ? TimeSpan.Zero : FirstPause;
    }

    /// <param name="taken">The queue has taken its message; who gives up says nothing of the queue.</param>
    public void Pass(bool taken)
    {
        moves = taken;
        Release();
    }
}
