using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Polly;
using Polly.Retry;
using RabbitMQ.Client;

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
    private readonly BrokerWait wait;
    private readonly Topology topology;
    private readonly string role;
    private readonly CreateChannelOptions channelOptions;
    private readonly IOptions<BrokerOptions> options;
    private readonly ResiliencePipeline<IChannel> untilItOpens;
    private ConnectionFactory factory;
    private Socket? socket;
    private IConnection? connection;
    private IChannel? channel;
    private bool everOpen;

    /// <param name="role">Part of the connection's name on the broker.</param>
    public BrokerConnection(string role, bool confirms, IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger logger)
    {
        this.role = role;
        this.options = options;
        this.topology = topology;
        this.logger = logger;
        wait = new BrokerWait(role, logger);
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
                ShouldHandle = arguments => ValueTask.FromResult(arguments.Outcome.Exception is { } e && (everOpen || e is not BrokerRefusedException) && !arguments.Context.CancellationToken.IsCancellationRequested),
                OnRetry = arguments =>
                {
                    wait.Failed(Address, BrokerErrors.Describe(arguments.Outcome.Exception!), arguments.RetryDelay);
                    return ValueTask.CompletedTask;
                },
            })
            .Build();
    }

    /// <inheritdoc cref="BrokerWait.Trouble"/>
    public string Trouble => wait.Trouble;

    /// <inheritdoc cref="IBrokerLink.Broker"/>
    public BrokerIdentity Broker => BrokerIdentity.Of(factory, connection);

    /// <inheritdoc cref="IBrokerLink.Blocked"/>
    public string? Blocked { get; private set; }

    /// <inheritdoc cref="IBrokerLink.BlockedChanged"/>
    public event Action? BlockedChanged;

    /// <summary>Bytes of a frame that the present connection allows; 0: any number.</summary>
    public uint FrameMax => connection?.FrameMax ?? 0;

    /// <summary>Bytes of a message that the broker takes, where it has said so on the present connection.</summary>
    public long? MessageLimit { get; set; }

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
    /// <param name="limit">Half a minute where it is not said.</param>
    /// <exception cref="BrokerRefusedException">No, or no answer in that time.</exception>
    public async Task<IChannel> OpenAsync(CancellationToken cancel, TimeSpan? limit = null)
    {
        var time = limit ?? Patience;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(time);
        wait.Begin(time);
        try
        {
            return await ChannelAsync(patience.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new BrokerRefusedException($"No answer from the broker{(Trouble.Length > 0 ? Trouble : $" at {Address}")}; tried for {time.TotalSeconds} s{(wait.Tries > 1 ? $", {wait.Tries} times" : "")}. Is it running, and is Broker:Uri right?");
        }
        finally
        {
            wait.End();
        }
    }

    /// <summary>Declares once more what has been deleted since.</summary>
    public Task DeclareAsync(CancellationToken cancel) => DeclareAsync(topology, cancel);

    /// <exception cref="BrokerRefusedException">The broker does not let us.</exception>
    public async Task DeclareAsync(Topology what, CancellationToken cancel)
    {
        if (connection is { IsOpen: true } open)
        {
            await Bounded(async token =>
            {
                await what.DeclareAsync(open, token);
                return true;
            }, cancel);
        }
    }

    /// <inheritdoc cref="IBrokerLink.CountsAsync"/>
    public Task<Dictionary<string, QueueCount>> CountsAsync(IEnumerable<string> queues, CancellationToken cancel) =>
        connection is { IsOpen: true } open ? QueueCount.AskAsync(open, queues, cancel) : Task.FromResult<Dictionary<string, QueueCount>>([]);

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
        wait.Try(Address);
        try
        {
            var anew = connection is not { IsOpen: true };
            if (anew)
            {
                await CloseAsync();
                await ConnectAsync(cancel);
            }

            await DeclareAsync(cancel);
            var opened = await Bounded(token => connection!.CreateChannelAsync(channelOptions, token), cancel);
            (everOpen, wait.Trouble) = (true, "");
            if (anew)
            {
                Connected(logger, Address, role);
            }

            return opened;
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            await CloseAsync();
            if (!everOpen && BrokerErrors.Refusal(e, new Uri(options.Value.Uri)) is { } refusal)
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

    /// <summary>With the login and the certificates of this moment: both may have been renewed since the last time.</summary>
    private async Task ConnectAsync(CancellationToken cancel)
    {
        factory = BrokerLogin.Factory(options.Value, role);
        factory.SocketFactory = family =>
        {
            var client = new TcpClientAdapter(new Socket(family, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
            socket = client.Client;
            return client;
        };
        var made = await Bounded(factory.CreateConnectionAsync, cancel);
        (connection, MessageLimit) = (made, null);
        made.ConnectionBlockedAsync += (_, e) => Tell(made, e.Reason);
        made.ConnectionUnblockedAsync += (_, _) => Tell(made, null);
        made.ConnectionShutdownAsync += (_, _) => Tell(made, null); // whoever waits for the end of the alarm would wait for a connection that is gone

        Task Tell(IConnection from, string? reason)
        {
            if (ReferenceEquals(from, connection))
            {
                Block(reason);
            }

            return Task.CompletedTask;
        }
    }

    private void Block(string? reason)
    {
        if (Blocked != reason)
        {
            Blocked = reason;
            BlockedChanged?.Invoke();
        }
    }

    /// <summary>
    /// Politely and bounded first; then by the socket, for a connection that is blocked by an alarm answers nothing. Its end is a reset, so
    /// that the broker forgets what it has not read yet: those are copies of messages that will be sent again.
    /// </summary>
    private async Task CloseAsync()
    {
        var (oldChannel, oldConnection, oldSocket, polite) = (channel, connection, socket, Blocked is null);
        (channel, connection, socket) = (null, null, null);
        try
        {
            if (polite && oldChannel is { IsOpen: true })
            {
                await oldChannel.CloseAsync().WaitAsync(CloseTime);
            }

            if (polite && oldConnection is { IsOpen: true })
            {
                await oldConnection.AbortAsync().WaitAsync(CloseTime);
            }
        }
        catch (Exception e)
        {
            polite = false;
            ClosedHard(logger, role, e.Message);
        }

        Block(null);
        try
        {
            if (!polite && oldSocket is not null)
            {
                oldSocket.LingerState = new LingerOption(true, 0);
            }

            oldSocket?.Dispose();
            await (oldConnection?.DisposeAsync().AsTask() ?? Task.CompletedTask).WaitAsync(CloseTime);
        }
        catch (Exception e)
        {
            ClosedHard(logger, role, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Connected to the broker at {Address} ({Role})")]
    private static partial void Connected(ILogger logger, string address, string role);

    [LoggerMessage(Level = LogLevel.Debug, Message = "Closed the {Role} connection without waiting for the broker: {Reason}")]
    private static partial void ClosedHard(ILogger logger, string role, string reason);
}
