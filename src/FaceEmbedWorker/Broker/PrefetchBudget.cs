namespace FaceEmbedWorker.Broker;

/// <summary>
/// How many jobs to be handed at once: a count, and less of it where jobs are so large that their bytes would fill the memory. AMQP's own
/// limit by bytes does not exist in RabbitMQ, so large jobs are noticed as they come, and the next ones are asked for in smaller numbers.
/// </summary>
internal sealed class PrefetchBudget(ushort most, long bytes)
{
    private const double Memory = 0.9;
    private double size;

    /// <summary>Bytes that jobs in hand may have together.</summary>
    public long Bytes => bytes;

    /// <summary>A size that most of the last jobs were below.</summary>
    public void Saw(long job) => size = job > size ? job : size * Memory + job * (1 - Memory);

    public ushort Wanted => (ushort)Math.Clamp(size < 1 ? most : bytes / size, 1, most);

    /// <summary>Whether to ask anew.</summary>
    public bool ShouldChange(ushort present, long inHand) => (inHand > bytes && Wanted < present) || Wanted >= 2 * present;
}
