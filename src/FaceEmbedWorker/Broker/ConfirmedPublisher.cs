using System.Collections.Concurrent;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>A queue refused a message that has another way to go. The text says which.</summary>
internal sealed class QueueFullException(string message) : Exception(message);

/// <summary>
/// Publishes a message until the broker has confirmed it, however often it must be sent. A message that the broker cannot take now is held
/// in memory with the intake closed, and is nobody's failed attempt; one that can never be published is told as such, and holds nothing up.
/// </summary>
internal sealed partial class ConfirmedPublisher : IAsyncDisposable
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LongestRefusedPause = TimeSpan.FromMinutes(2);

    /// <summary>Channels that are closed in a row under a message before it is sent on one of its own, to see whose fault it is.</summary>
    private const int AloneAfter = 2;

    private readonly Topology topology;
    private readonly IntakeGate gate;
    private readonly TimeSpan confirmTime;
    private readonly TimeProvider time;
    private readonly ILogger logger;
    private readonly IBrokerLink link;
    private readonly IBrokerLink alone;
    private readonly SemaphoreSlim one = new(1, 1);

    private readonly ConcurrentDictionary<(string Exchange, string Key), RefusedLine> lines = new();

    public ConfirmedPublisher(MakeLink link, Topology topology, IntakeGate gate, TimeSpan confirmTime, TimeProvider time, ILogger logger)
    {
        this.topology = topology;
        this.gate = gate;
        this.confirmTime = confirmTime;
        this.time = time;
        this.logger = logger;
        this.link = link("publish", true);
        alone = link("publish-alone", true);
        this.link.BlockedChanged += TellBlocked;
    }

    /// <inheritdoc cref="IBrokerLink.Blocked"/>
    public string? Blocked => link.Blocked;

    public Task OpenAsync(CancellationToken cancel) => link.ChannelAsync(cancel);

    /// <param name="givesWay">It is not to be held where a queue refuses it.</param>
    /// <exception cref="UnpublishableException">It is the message's fault.</exception>
    /// <exception cref="QueueFullException">It gives way, and was refused.</exception>
    /// <exception cref="OperationCanceledException">Told to give up: whether the message arrived is unknown.</exception>
    public async Task PublishAsync(string exchange, string key, BasicProperties properties, ReadOnlyMemory<byte> body, CancellationToken giveUp, bool givesWay = false)
    {
        var message = new Outgoing(exchange, key, properties, body) { GivesWay = givesWay };
        RefusedLine? line = null;
        var taken = false;
        try
        {
            for (var pause = FirstPause; await TryAsync(message, pause, giveUp) is { } trouble; pause = Longer(pause, message))
            {
                if (!message.Held)
                {
                    message.Held = true;
                    gate.Hold(trouble);
                }

                if (message.Refused && line is null)
                {
                    var its = lines.GetOrAdd((exchange, key), _ => new RefusedLine());
                    pause = await its.EnterAsync(giveUp);
                    line = its; // ours only now: who gives up while waiting has no turn to pass on
                }

                if (message.Refused && pause > TimeSpan.Zero)
                {
                    Refused(logger, exchange, key, trouble, message.Id, pause.TotalSeconds);
                }

                await Task.Delay(pause, time, giveUp);
            }

            taken = true;
        }
        finally
        {
            line?.Pass(taken);
            if (message.Held && gate.Release() && !giveUp.IsCancellationRequested)
            {
                Flowing(logger);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await alone.DisposeAsync();
        await link.DisposeAsync();
        one.Dispose();
    }

    private TimeSpan Longer(TimeSpan pause, Outgoing message)
    {
        var longest = message.Refused && message.Exchange == topology.Results ? LongestRefusedPause : LongestPause;
        return pause == TimeSpan.Zero ? RefusedLine.FirstPause : pause * 2 < longest ? pause * 2 : longest;
    }

    /// <returns>Null once the broker has confirmed the message; otherwise why it has not.</returns>
    private async Task<string?> TryAsync(Outgoing message, TimeSpan pause, CancellationToken giveUp)
    {
        var start = time.GetTimestamp();
        string? error = null;
        message.Refused = false;
        try
        {
            await (message.Accused >= AloneAfter ? SendAloneAsync(message, giveUp) : SendAsync(link, message, giveUp));
            return null;
        }
        catch (PublishReturnException)
        {
            error = "unroutable";
            Unroutable(logger, message.Exchange, message.Key, message.Id, pause.TotalSeconds);
            await DeclareAgainAsync(giveUp);
            return $"no queue takes messages of exchange {message.Exchange} with routing key {message.Key}";
        }
        catch (PublishException)
        {
            error = "refused";
            message.Refused = true;
            var full = topology.OnlyQueue(message.Exchange, message.Key) is { } queue ? $"the queue {queue} is full" : $"a queue of exchange {message.Exchange} is full";
            if (message.GivesWay)
            {
                throw new QueueFullException(full);
            }

            return full;
        }
        catch (TimeoutException)
        {
            error = "unconfirmed";
            Unconfirmed(logger, message.Id, confirmTime.TotalSeconds);
            return "the broker does not confirm";
        }
        catch (UnpublishableException)
        {
            error = "unpublishable";
            throw;
        }
        catch (Exception e) when (!giveUp.IsCancellationRequested)
        {
            error = e.GetType().Name;
            message.Accused += Unpublishable.Accuses(e) ? 1 : 0;
            var reason = BrokerErrors.Describe(e);
            Lost(logger, message.Id, reason, pause.TotalSeconds);
            return reason;
        }
        finally
        {
            if (!giveUp.IsCancellationRequested)
            {
                Telemetry.MessagePublished(message.Exchange, time.GetElapsedTime(start), error);
            }
        }
    }

    /// <summary>
    /// Sends it once and waits for the confirm; while the broker has blocked the connection no time counts, for the message is on its way
    /// and another would double it.
    /// </summary>
    /// <exception cref="TimeoutException">No answer; the connection is given up.</exception>
    private async Task SendAsync(IBrokerLink over, Outgoing message, CancellationToken giveUp)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(giveUp);
        IBrokerChannel channel;
        using (var patience = new CancellationTokenSource(confirmTime, time))
        using (var either = CancellationTokenSource.CreateLinkedTokenSource(giveUp, patience.Token))
        {
            channel = await Bounded(over.ChannelAsync(either.Token), giveUp);
        }

        giveUp.ThrowIfCancellationRequested(); // of a job that somebody else has by now nothing is sent
        var sent = channel.PublishAsync(message.Exchange, message.Key, message.Properties(), message.Body, limit.Token);
        try
        {
            for (var wasBlocked = false; ; wasBlocked = over.Blocked is not null)
            {
                try
                {
                    await sent.WaitAsync(confirmTime, time, giveUp);
                    return;
                }
                catch (TimeoutException) when (!sent.IsCompleted && (wasBlocked || over.Blocked is not null))
                {
                    // the alarm, or the time since
                }
            }
        }
        catch (Exception e) when (!sent.IsCompleted || sent.IsCompletedSuccessfully)
        {
            _ = sent.ContinueWith(t => t.Exception, TaskScheduler.Default); // told by us
            await limit.CancelAsync();
            if (sent.IsCompletedSuccessfully)
            {
                return; // in the moment in which it was given up
            }

            if (e is TimeoutException)
            {
                await over.AbandonAsync(channel);
            }

            throw;
        }
    }

    /// <summary>On a connection of its own and with none beside it: what closes it now is this message's fault.</summary>
    private async Task SendAloneAsync(Outgoing message, CancellationToken giveUp)
    {
        await one.WaitAsync(giveUp);
        try
        {
            await SendAsync(alone, message, giveUp);
        }
        catch (Exception e) when (Unpublishable.Accuses(e))
        {
            throw new UnpublishableException($"The broker closes each channel that it is sent on: {BrokerErrors.Describe(e)}.", e);
        }
        finally
        {
            one.Release();
        }
    }

    private static async Task<IBrokerChannel> Bounded(Task<IBrokerChannel> channel, CancellationToken giveUp)
    {
        try
        {
            return await channel;
        }
        catch (OperationCanceledException) when (!giveUp.IsCancellationRequested)
        {
            throw new TimeoutException("There is no connection to the broker.");
        }
    }

    private void TellBlocked()
    {
        var why = link.Blocked;
        gate.Block(why);
        if (why is not null)
        {
            BlockedByAlarm(logger, why);
        }
        else
        {
            Unblocked(logger);
        }
    }

    /// <summary>What was deleted under way comes back; if it cannot, the next round says so again.</summary>
    private async Task DeclareAgainAsync(CancellationToken giveUp)
    {
        try
        {
            await link.DeclareAsync(giveUp);
        }
        catch (Exception e) when (!giveUp.IsCancellationRequested)
        {
            NotDeclared(logger, BrokerErrors.Describe(e));
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "No queue takes messages of exchange {Exchange} with routing key {Key}: bind one. The intake is closed, holding {MessageId}; next try in {Seconds:0.0} s")]
    private static partial void Unroutable(ILogger logger, string exchange, string key, string? messageId, double seconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The broker refused a message to exchange {Exchange} with routing key {Key}: {Full}. The intake is closed, holding {MessageId}; next try in {Seconds:0.0} s")]
    private static partial void Refused(ILogger logger, string exchange, string key, string full, string? messageId, double seconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The broker has not confirmed {MessageId} in {Seconds} s: a dead connection, or a queue without its majority. The intake is closed, holding it and connecting again")]
    private static partial void Unconfirmed(ILogger logger, string? messageId, double seconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The broker takes no messages: {Reason} (an alarm of memory or disk). The intake is closed, and what is on its way waits")]
    private static partial void BlockedByAlarm(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "The broker's alarm is over")]
    private static partial void Unblocked(ILogger logger);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Publishing {MessageId} failed: {Reason}. The intake is closed, holding it; next try in {Seconds:0.0} s")]
    private static partial void Lost(ILogger logger, string? messageId, string reason, double seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "The broker takes messages again: the intake is open")]
    private static partial void Flowing(ILogger logger);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Declaring the topology again failed: {Reason}")]
    private static partial void NotDeclared(ILogger logger, string reason);
}
