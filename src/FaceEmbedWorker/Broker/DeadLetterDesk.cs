using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>A dead letter, without its body.</summary>
/// <param name="Id">The message's id, or its body's SHA-256.</param>
/// <param name="Reason"><c>fw-error</c>; where the broker made the letter, its own word for why.</param>
internal sealed record DeadLetter(string Id, string Reason, string Message, string? Detail, int Attempt, long Replays, string? FirstFailedAt, string? LastFailedAt, string? Worker, string? ContentType, int Bytes)
{
    public static DeadLetter Of(JobMessage message) => new(
        message.Identity,
        message.Text(DeadLetters.ErrorHeader) ?? message.Text("x-first-death-reason") ?? "unknown",
        message.Text(DeadLetters.MessageHeader) ?? "The broker made this dead letter: the job was handed out too often, or expired.",
        message.Text(DeadLetters.DetailHeader),
        message.Attempt,
        message.Number(DeadLetters.ReplaysHeader),
        message.Text(DeadLetters.FirstFailedHeader),
        message.Text(DeadLetters.LastFailedHeader),
        message.Text(DeadLetters.WorkerHeader),
        message.Properties.ContentType,
        message.Body.Length);
}

/// <summary>Looks through the dead letters, and takes out only what was confirmed elsewhere or is to be discarded.</summary>
internal sealed class DeadLetterDesk(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<DeadLetterDesk> logger) : IAsyncDisposable
{
    private readonly BrokerConnection connection = new("dead-letters", confirms: true, options, new Topology(Options.Create(options.Value.WithoutDeclaring())), time, logger);

    /// <summary>
    /// Shows each letter that is in the queue now. All are held until the last is seen, and go back to their places when the channel closes,
    /// as they do where this process is killed.
    /// </summary>
    /// <param name="decide">True takes the letter out of the queue; only said once it is safe elsewhere.</param>
    /// <exception cref="BrokerRefusedException">There is no such queue, or it may not be read.</exception>
    public async Task ScanAsync(Func<DeadLetter, JobMessage, Task<bool>> decide, CancellationToken cancel)
    {
        var channel = await connection.OpenAsync(cancel);
        try
        {
            // a queue's own count is 0 where its leader is slow to answer; a message that is taken tells how many are behind it
            await channel.QueueDeclarePassiveAsync(topology.Dead, cancel);
            long? left = null;
            while (left is not 0 && await BrokerConnection.Bounded(token => channel.BasicGetAsync(topology.Dead, autoAck: false, token), cancel) is { } got)
            {
                left = (left ?? got.MessageCount + 1L) - 1;
                var message = new JobMessage(got.Body, got.BasicProperties);
                if (await decide(DeadLetter.Of(message), message))
                {
                    await channel.BasicAckAsync(got.DeliveryTag, multiple: false, cancel);
                }
            }
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason is { ReplyCode: 403 or 404 } reason)
        {
            throw new BrokerRefusedException($"The dead letters cannot be read: {reason.ReplyText}. The queue is {topology.Dead} (Broker:Jobs), and reading it needs the permission.", e);
        }
        catch (Exception e) when (e is RabbitMQClientException or IOException or TimeoutException or OperationCanceledException && !cancel.IsCancellationRequested)
        {
            throw new BrokerRefusedException($"The broker went away under way: {BrokerErrors.Describe(e)}. Nothing is lost: what was not taken out is still a dead letter, at most handed in twice. Call again; where it goes away each time, the next letter has headers that this program's client cannot read, and is to be taken out by the broker's management page.", e);
        }
        finally
        {
            await connection.AbandonAsync(channel); // an ack is only sent; closing waits until the broker has taken it
        }
    }

    /// <summary>Hands the job in again: a copy without what went before, confirmed. The letter itself is then to be taken out.</summary>
    /// <exception cref="JobRefusedException">The broker did not take it.</exception>
    public async Task ReplayAsync(JobMessage letter, CancellationToken cancel)
    {
        var channel = await connection.ChannelAsync(cancel);
        var properties = DeadLetters.ForReplay(letter);
        try
        {
            await channel.BasicPublishAsync(topology.Jobs, Topology.JobKey, mandatory: true, properties, letter.Body, cancel)
                .AsTask().WaitAsync(TimeSpan.FromSeconds(options.Value.ConfirmSeconds), time, cancel);
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            throw new JobRefusedException($"{letter.Identity} was not replayed, and is still a dead letter: {(e is PublishReturnException ? $"no queue is bound to {topology.Jobs}" : BrokerErrors.Describe(e))}.", e);
        }
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();
}
