using System.IO.Enumeration;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// What became of a job, for those who asked for a reply: one try, and nothing waits for it, for it is on its exchange all the same.
/// </summary>
/// <param name="link">Its own, for a reply that is not allowed closes its channel; opened for the first reply.</param>
internal sealed partial class Replies(IBrokerLink link, ResultOptions options, TimeProvider time, ILogger logger) : IAsyncDisposable
{
    private const string DirectReply = "amq.rabbitmq.reply-to.";
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(5);
    private readonly string[] allowed = options.ReplyToPatterns;

    public async Task SendAsync(string queue, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken giveUp)
    {
        if (!Array.Exists(allowed, pattern => FileSystemName.MatchesSimpleExpression(pattern, queue, ignoreCase: false)))
        {
            NotAllowed(logger, properties.MessageId, JobMessage.Clip(queue));
            return;
        }

        try
        {
            using var patience = new CancellationTokenSource(AnswerTime, time);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(giveUp, patience.Token);
            var channel = await link.ChannelAsync(limit.Token);
            await channel.PublishAsync("", queue, properties, body, limit.Token).WaitAsync(limit.Token);
        }
        catch (PublishReturnException) when (queue.StartsWith(DirectReply, StringComparison.Ordinal))
        {
            // it leads to no queue, so the broker returns it, though it has handed it over
        }
        catch (Exception e) // what became of the job is confirmed, and it must be acked
        {
            NotReplied(logger, properties.MessageId, e is PublishReturnException ? "that queue is gone" : BrokerErrors.Describe(e));
        }
    }

    public ValueTask DisposeAsync() => link.DisposeAsync();

    [LoggerMessage(Level = LogLevel.Warning, Message = "The reply {MessageId} did not reach who asked for it: {Reason}. What became of the job is on its exchange all the same; replies need write on amq.default")]
    private static partial void NotReplied(ILogger logger, string? messageId, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The job of {MessageId} asks for a reply to the queue {Queue}, which Results:ReplyTo does not allow. What became of the job is on its exchange all the same")]
    private static partial void NotAllowed(ILogger logger, string? messageId, string queue);
}
