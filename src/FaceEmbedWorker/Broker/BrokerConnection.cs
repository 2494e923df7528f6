using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Polly;
using Polly.Retry;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// One connection with one channel, rebuilt whenever it is gone. The client's own recovery is off: it leaves channels that the broker
/// closed dead, so a new connection is the only state to reason about.
/// </summary>
internal sealed partial class BrokerConnection : IAsyncDisposable
{
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan CloseTime = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim one = new(1, 1);
    private readonly ILogger logger;
    private readonly Topology topology;
    private readonly string role;
    private readonly Uri uri;
    private readonly CreateChannelOptions channelOptions;
    private readonly ConnectionFactory factory;
    private readonly ResiliencePipeline<IChannel> untilItOpens;
    private IConnection? connection;
    private IChannel? channel;
    private bool everOpen;

    /// <param name="role">Part of the connection's name on the broker.</param>
    public BrokerConnection(string role, bool confirms, IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger logger)
    {
        this.role = role;
        uri = new Uri(options.Value.Uri);
        this.topology = topology;
        this.logger = logger;
        channelOptions = new CreateChannelOptions(publisherConfirmationsEnabled: confirms, publisherConfirmationTrackingEnabled: confirms);
        factory = BrokerLogin.Factory(options.Value, role);
        untilItOpens = new ResiliencePipelineBuilder<IChannel> { TimeProvider = time }
            .AddRetry(new RetryStrategyOptions<IChannel>
            {
                MaxRetryAttempts = int.MaxValue,
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                Delay = TimeSpan.FromMilliseconds(250),
                MaxDelay = TimeSpan.FromSeconds(5),
                ShouldHandle = arguments => ValueTask.FromResult(arguments.Outcome.Exception is { } e and not BrokerRefusedException && !arguments.Context.CancellationToken.IsCancellationRequested),
                OnRetry = arguments =>
                {
                    var reason = BrokerErrors.Describe(arguments.Outcome.Exception!);
                    Trouble = $" at {Address}: {reason}";
                    Waiting(logger, Address, role, reason, arguments.RetryDelay.TotalSeconds);
                    return ValueTask.CompletedTask;
                },
            })
            .Build();
    }

    /// <summary>Where the broker should be and why there is no connection; empty before the first try, and while there is one.</summary>
    public string Trouble { get; private set; } = "";

    private string Address => $"{factory.Endpoint.HostName}:{factory.Endpoint.Port}";

    /// <summary>The open channel; builds a new one, for as long as it takes, where there is none.</summary>
    /// <exception cref="BrokerRefusedException">The broker refused, and it has never been any different.</exception>
    public async Task<IChannel> ChannelAsync(CancellationToken cancel)
    {
        if (channel is { IsOpen: true } open)
        {
            return open;
        }

        await one.WaitAsync(cancel);
        try
        {
            return channel is { IsOpen: true } opened ? opened : channel = await untilItOpens.ExecuteAsync(BuildAsync, cancel);
        }
        finally
        {
            one.Release();
        }
    }

    /// <summary>The open channel, for a tool that somebody waits for.</summary>
    /// <exception cref="BrokerRefusedException">No, or no answer in half a minute.</exception>
    public async Task<IChannel> OpenAsync(CancellationToken cancel)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(Patience);
        try
        {
            return await ChannelAsync(patience.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new BrokerRefusedException($"The broker did not answer within {Patience.TotalSeconds} s. Is it running, and is Broker:Uri right?");
        }
    }

    /// <summary>Declares once more what has been deleted since.</summary>
    public async Task DeclareAsync(CancellationToken cancel)
    {
        if (connection is { IsOpen: true } open)
        {
            await Bounded(async token =>
            {
                await topology.DeclareAsync(open, token);
                return true;
            }, cancel);
        }
    }

    /// <summary>How many messages are ready in a queue.</summary>
    public async Task<uint> ReadyAsync(string queue, CancellationToken cancel)
    {
        var open = connection ?? throw new InvalidOperationException("There is no connection.");
        return await Bounded(async token =>
        {
            await using var asking = await open.CreateChannelAsync(cancellationToken: token);
            return (await asking.QueueDeclarePassiveAsync(queue, token)).MessageCount;
        }, cancel);
    }

    /// <summary>How many messages are ready in each of the queues that exist; none where there is no connection.</summary>
    public async Task<IReadOnlyDictionary<string, long>> DepthsAsync(IEnumerable<string> queues, CancellationToken cancel)
    {
        var depths = new Dictionary<string, long>();
        if (connection is not { IsOpen: true } open)
        {
            return depths;
        }

        IChannel? asking = null;
        try
        {
            foreach (var queue in queues)
            {
                try
                {
                    asking = asking is { IsOpen: true } ? asking : await Bounded(token => open.CreateChannelAsync(cancellationToken: token), cancel);
                    depths[queue] = (await Bounded(token => asking.QueueDeclarePassiveAsync(queue, token), cancel)).MessageCount;
                }
                catch (OperationInterruptedException e) when (e.ShutdownReason is { ReplyCode: 403 or 404 })
                {
                    // not there, or not ours to see; the broker has closed the channel
                }
            }
        }
        finally
        {
            await (asking?.DisposeAsync() ?? ValueTask.CompletedTask);
        }

        return depths;
    }

    /// <summary>Gives up a connection that does not answer; the next <see cref="ChannelAsync"/> builds a new one.</summary>
    public async Task AbandonAsync(IChannel dead)
    {
        await one.WaitAsync();
        try
        {
            if (ReferenceEquals(dead, channel))
            {
                await CloseAsync();
            }
        }
        finally
        {
            one.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        one.Dispose();
    }

    private async ValueTask<IChannel> BuildAsync(CancellationToken cancel)
    {
        try
        {
            if (connection is not { IsOpen: true })
            {
                await CloseAsync();
                connection = await Bounded(factory.CreateConnectionAsync, cancel);
            }

            await DeclareAsync(cancel);
            var opened = await Bounded(token => connection.CreateChannelAsync(channelOptions, token), cancel);
            (everOpen, Trouble) = (true, "");
            Connected(logger, Address, role);
            return opened;
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            await CloseAsync();
            if (!everOpen && BrokerErrors.Refusal(e, uri) is { } refusal)
            {
                throw refusal;
            }

            throw;
        }
    }

    /// <summary>The client's calls have hung before: each gets a token, and is left behind if it does not heed that.</summary>
    internal static async Task<T> Bounded<T>(Func<CancellationToken, Task<T>> call, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerTime);
        return await call(limit.Token).WaitAsync(AnswerTime + CloseTime, cancel);
    }

    /// <summary>Bounded: a connection that is blocked by an alarm, or whose peer is gone, would hold a plain close for half a minute.</summary>
    private async Task CloseAsync()
    {
        var (oldChannel, oldConnection) = (channel, connection);
        (channel, connection) = (null, null);
        try
        {
            if (oldChannel is { IsOpen: true })
            {
                await oldChannel.CloseAsync().WaitAsync(CloseTime);
            }

            if (oldConnection is not null)
            {
                await oldConnection.AbortAsync().WaitAsync(CloseTime);
                await oldConnection.DisposeAsync().AsTask().WaitAsync(CloseTime);
            }
        }
        catch (Exception e)
        {
            ClosedHard(logger, role, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Connected to the broker at {Address} ({Role})")]
    private static partial void Connected(ILogger logger, string address, string role);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Waiting for the broker at {Address} ({Role}): {Reason}; next try in {Seconds:0.0} s")]
    private static partial void Waiting(ILogger logger, string address, string role, string reason, double seconds);

    [LoggerMessage(Level = LogLevel.Debug, Message = "Closed the {Role} connection without waiting for the broker: {Reason}")]
    private static partial void ClosedHard(ILogger logger, string role, string reason);
}
