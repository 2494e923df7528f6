using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>What a look at something on the broker found.</summary>
/// <param name="Exists">Null where it was not looked for.</param>
internal sealed record BrokerFinding(string Name, bool Good, string Text, bool? Exists = null);

/// <summary>Compares what a worker needs of the broker with what is there. Changes nothing, and takes no message.</summary>
internal sealed class BrokerCheck(IOptions<BrokerOptions> options, Topology topology)
{
    private readonly BrokerOptions options = options.Value;

    /// <summary>
    /// Who answers, and as whom the worker is known to it: an address that leads to another cluster than was meant is seen here.
    /// </summary>
    /// <exception cref="BrokerRefusedException">The broker refused us, or does not answer.</exception>
    public Task<BrokerFinding> BrokerAsync(CancellationToken cancel) => ConnectedAsync(options, async (connection, token) =>
    {
        await using var channel = await connection.CreateChannelAsync(cancellationToken: token); // whether the virtual host lets us in shows with the first channel
        var login = BrokerLogin.Factory(options, "check");
        var user = login.AuthMechanisms.OfType<ExternalMechanismFactory>().Any() ? "a certificate" : $"user {login.UserName}";
        return new BrokerFinding("broker", true, $"{Told("product")} {Told("version")}, cluster {Told("cluster_name")}, virtual host {login.VirtualHost}, logged in as {user}");

        string Told(string name) => connection.ServerProperties is { } of && of.TryGetValue(name, out var value) && value is byte[] text ? Encoding.UTF8.GetString(text) : "?";
    }, cancel);

    /// <summary>Every exchange and queue.</summary>
    /// <exception cref="BrokerRefusedException">The broker refused us, or does not answer.</exception>
    public Task<List<BrokerFinding>> TopologyAsync(CancellationToken cancel) => ConnectedAsync(options, async (connection, token) =>
    {
        var findings = new List<BrokerFinding>();
        foreach (var (name, type) in topology.Exchanges)
        {
            findings.Add(await CompareAsync(connection, $"exchange {name}",
                async channel =>
                {
                    await channel.ExchangeDeclarePassiveAsync(name, token);
                    return "";
                },
                channel => channel.ExchangeDeclareAsync(name, type, durable: true, autoDelete: false, cancellationToken: token), token));
        }

        foreach (var (name, arguments, _, _) in topology.Queues)
        {
            findings.Add(await CompareAsync(connection, $"queue {name}",
                async channel =>
                {
                    var found = await channel.QueueDeclarePassiveAsync(name, token);
                    return $", {found.MessageCount:N0} ready{(name == topology.Dead ? "" : $", {Plural.Of(found.ConsumerCount, "consumer")}")}"; // of a quorum queue each letter that somebody holds counts as a consumer
                },
                channel => channel.QueueDeclareAsync(name, durable: true, exclusive: false, autoDelete: false, arguments, cancellationToken: token), token));
        }

        return findings;
    }, cancel);

    /// <summary>Whether the user may do what a worker does, on what exists.</summary>
    /// <exception cref="BrokerRefusedException">The broker refused us, or does not answer.</exception>
    public Task<List<BrokerFinding>> PermissionsAsync(CancellationToken cancel) => ConnectedAsync(options, async (connection, token) =>
    {
        var findings = new List<BrokerFinding>();
        await ProvokeAlarmAsync(connection, token);
        foreach (var (exchange, _) in topology.Exchanges)
        {
            findings.Add(await MayAsync(connection, $"write to {exchange}", channel => TryWriteAsync(channel, exchange, token), token));
        }

        foreach (var queue in new[] { topology.Jobs, topology.Bulk, topology.Suspects }.OfType<string>())
        {
            findings.Add(await MayAsync(connection, $"read {queue}", channel => TryReadAsync(channel, queue, token), token));
        }

        return findings;
    }, cancel);

    /// <summary>
    /// Whom the management API takes us for, and whether a policy on one of the queues breaks the guarantee, which AMQP does not tell.
    /// </summary>
    /// <param name="management">Such as http://host:15672; the login is in it, or that of Broker:Uri.</param>
    /// <exception cref="BrokerRefusedException">It does not answer.</exception>
    public async Task<IReadOnlyList<BrokerFinding>> PoliciesAsync(Uri management, CancellationToken cancel)
    {
        using var http = new ManagementApi(management, options);
        var findings = new List<BrokerFinding>();
        if (await http.GetAsync("api/whoami", cancel) is { } who)
        {
            findings.Add(new("management", true, $"user {who.GetProperty("name").GetString()}, tags {Tags(who.GetProperty("tags"))}"));
        }

        var policies = (await http.GetAsync($"api/queues/{http.VirtualHost}?disable_stats=true&enable_queue_totals=false", cancel) ?? JsonElement.Parse("[]")).EnumerateArray()
            .ToDictionary(q => q.GetProperty("name").GetString()!, QueuePolicy.Of);
        var start = Stopwatch.GetTimestamp();
        foreach (var (queue, _, _, _) in topology.Queues)
        {
            JsonElement? found;
            while ((found = await http.GetAsync($"api/queues/{http.VirtualHost}/{Uri.EscapeDataString(queue)}", cancel)) is { } told && QueuePolicy.Of(told) != policies.GetValueOrDefault(queue) && Stopwatch.GetElapsedTime(start) < TopologyDesk.Settle)
            {
                await Task.Delay(500, cancel); // what a policy does is told with the figures, seconds after its name
            }

            if (found is { } settled) // otherwise the look at the topology says so
            {
                findings.Add(QueuePolicy.Judge(queue, topology.Role(queue), settled));
            }
        }

        return findings;
    }

    /// <summary>A list, or on RabbitMQ 3.8 a text with commas.</summary>
    private static string Tags(JsonElement tags) => tags.ValueKind == JsonValueKind.Array ? string.Join(", ", tags.EnumerateArray().Select(t => t.GetString())) : tags.GetString() ?? "";

    /// <summary>Whether each queue is bound as it should be, which AMQP does not tell: what nothing is bound to is lost on its way.</summary>
    /// <exception cref="BrokerRefusedException">The management API does not answer.</exception>
    public async Task<IReadOnlyList<BrokerFinding>> BindingsAsync(Uri management, CancellationToken cancel)
    {
        using var http = new ManagementApi(management, options);
        var findings = new List<BrokerFinding>();
        foreach (var (queue, _, exchange, keys) in topology.Queues)
        {
            if (await http.GetAsync($"api/queues/{http.VirtualHost}/{Uri.EscapeDataString(queue)}/bindings", cancel) is { ValueKind: JsonValueKind.Array } bindings)
            {
                string[] missing = [.. keys.Where(key => !bindings.EnumerateArray().Any(b => b.GetProperty("source").GetString() == exchange && b.GetProperty("routing_key").GetString() == key))];
                findings.Add(new($"bindings of {queue}", missing.Length == 0 || options.Declare, missing.Length == 0 ? "as they should be"
                    : $"not bound to {exchange} with the key {string.Join(" or ", missing)}: {(options.Declare ? "a worker binds it when it connects" : "face-embed topology declare binds it")}", missing.Length == 0));
            }
        }

        return findings;
    }

    /// <summary>
    /// Whether each outcome's result goes to some queue: one that goes nowhere is held, and nothing else is begun meanwhile.
    /// </summary>
    /// <param name="outcomes">The routing keys that this worker publishes with.</param>
    /// <exception cref="BrokerRefusedException">The management API does not answer.</exception>
    public async Task<IReadOnlyList<BrokerFinding>> RoutesAsync(Uri management, IReadOnlyList<string> outcomes, CancellationToken cancel)
    {
        using var http = new ManagementApi(management, options);
        if (this.options is { Declare: true, ResultsQueue: true }
            || await http.GetAsync($"api/exchanges/{http.VirtualHost}/{Uri.EscapeDataString(topology.Results)}/bindings/source", cancel) is not { ValueKind: JsonValueKind.Array } bindings)
        {
            return []; // the worker binds its default queue; or there is no such exchange, as the look at the topology says
        }

        string[] patterns = [.. bindings.EnumerateArray().Select(b => b.GetProperty("routing_key").GetString() ?? "")];
        string[] lost = [.. outcomes.Where(key => !patterns.Any(pattern => Takes(pattern, key)))];
        if (lost.Length > 0 && await http.GetAsync($"api/exchanges/{http.VirtualHost}/{Uri.EscapeDataString(topology.Results)}", cancel) is { } exchange
            && ((exchange.TryGetProperty("policy", out var policy) && policy.ValueKind == JsonValueKind.String) || exchange.GetProperty("arguments").TryGetProperty("alternate-exchange", out _)))
        {
            return [new($"results of {topology.Results}", true, $"no queue is bound with the key {string.Join(" or ", lost)}; its policy or its alternate exchange must lead such a result to one")];
        }

        return [new($"results of {topology.Results}", lost.Length == 0, lost.Length == 0 ? $"a queue is bound for each of {string.Join(", ", outcomes)}"
            : $"no queue is bound to {topology.Results} with the key {string.Join(" or ", lost)}: the worker holds such a result, and takes no jobs meanwhile. Bind one{(lost.Contains(EmbedResult.Stub) ? ", or set Jobs:Undecodable=Reject: a job that is no picture is then a dead letter, and no stub" : "")}.")];
    }

    /// <summary>Whether a topic exchange's pattern takes a key of one word.</summary>
    internal static bool Takes(string pattern, string key)
    {
        var words = pattern.Split('.');
        string[] fixedWords = [.. words.Where(w => w != "#")];
        return fixedWords.Length == 0 || (fixedWords is [var word] && (word == "*" || word == key));
    }

    /// <summary>Asks first whether it exists; only then is it declared once more, which changes nothing and tells a difference.</summary>
    private async Task<BrokerFinding> CompareAsync(IConnection connection, string name, Func<IChannel, Task<string>> look, Func<IChannel, Task> declare, CancellationToken cancel)
    {
        try
        {
            // a refusal closes the channel: each has its own
            await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
            var text = await look(channel);
            if (options.Declare)
            {
                await declare(channel);
            }

            return new(name, true, $"exists{text}", Exists: true);
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason is { Initiator: ShutdownInitiator.Peer } reason)
        {
            return reason.ReplyCode switch
            {
                404 => new(name, options.Declare, options.Declare ? "does not exist yet; the worker declares it (whether it may shows then)" : "does not exist, and Broker:Declare is off: face-embed topology declare makes it", Exists: false),
                406 => new(name, false, Topology.Words(reason.ReplyText), Exists: true),
                _ => new(name, false, $"{reason.ReplyText} ({reason.ReplyCode}). Grant the permission, or set Broker:Declare to false."),
            };
        }
    }

    private static async Task<BrokerFinding> MayAsync(IConnection connection, string name, Func<IChannel, Task> attempt, CancellationToken cancel)
    {
        try
        {
            await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
            await attempt(channel);
            return new(name, true, "allowed");
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason is { Initiator: ShutdownInitiator.Peer, ReplyCode: 403 or 404 or 406 } reason)
        {
            return reason.ReplyCode switch
            {
                403 when reason.ReplyText.Contains("default exchange", StringComparison.Ordinal) => new(name, true, "allowed"), // see TryWriteAsync
                403 => new(name, false, $"{reason.ReplyText}. Grant it as deploy/README.md lists."),
                404 => new(name, true, "not there yet"),
                _ => new(name, true, "allowed"), // the priority that is no number: see TryReadAsync
            };
        }
    }

    /// <summary>
    /// A binding from the default exchange: the broker checks the permission to write first, and then refuses it, whoever asks. One question
    /// and one answer: of a publish on a channel that the broker closes for it, the next frame could end the connection (504).
    /// </summary>
    private static Task TryWriteAsync(IChannel channel, string exchange, CancellationToken cancel) =>
        channel.ExchangeBindAsync(exchange, source: "", routingKey: "check", cancellationToken: cancel);

    /// <summary>
    /// An alarm shows to who publishes: a message to a queue that is not there is one, and from then on the broker reads nothing more here.
    /// </summary>
    private static async Task ProvokeAlarmAsync(IConnection connection, CancellationToken cancel)
    {
        var channel = await connection.CreateChannelAsync(cancellationToken: cancel); // ends with its connection: nothing may be sent on it after a refusal
        await channel.BasicPublishAsync("", $"face-embed-check-{Guid.NewGuid():N}", ReadOnlyMemory<byte>.Empty, cancel);
    }

    /// <summary>The broker checks the permission first, and then refuses a priority that is no number: no consumer comes to be.</summary>
    private static Task<string> TryReadAsync(IChannel channel, string queue, CancellationToken cancel) =>
        channel.BasicConsumeAsync(queue, autoAck: false, consumerTag: "", noLocal: false, exclusive: false, new Dictionary<string, object?> { ["x-priority"] = "check" }, new RabbitMQ.Client.Events.AsyncEventingBasicConsumer(channel), cancel);

    /// <summary>Connects once, for a look or a word.</summary>
    /// <exception cref="BrokerRefusedException">The broker refused us, or does not answer.</exception>
    public static async Task<T> ConnectedAsync<T>(BrokerOptions options, Func<IConnection, CancellationToken, Task<T>> talk, CancellationToken cancel)
    {
        var factory = BrokerLogin.Factory(options, "check");
        Socket? socket = null;
        factory.SocketFactory = family =>
        {
            var client = new TcpClientAdapter(new Socket(family, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
            socket = client.Client;
            return client;
        };
        try
        {
            return await BrokerConnection.Bounded(async token =>
            {
                await using var connection = await factory.CreateConnectionAsync(token);
                var alarm = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
                connection.ConnectionBlockedAsync += (_, e) =>
                {
                    alarm.TrySetException(new BrokerRefusedException($"{BrokerErrors.Alarm(e.Reason)} End it: until then nothing more can be tried here, and a worker takes no jobs."));
                    socket?.Dispose(); // the broker reads nothing on it now, and a polite end would wait for an answer
                    return Task.CompletedTask;
                };
                try
                {
                    return await await Task.WhenAny(talk(connection, token), alarm.Task);
                }
                catch (Exception) when (alarm.Task.IsFaulted)
                {
                    return await alarm.Task; // what the closed socket ended is the alarm's, too
                }
            }, cancel);
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            throw BrokerErrors.Refusal(e, new Uri(options.Uri))
                ?? new BrokerRefusedException($"The broker at {factory.Endpoint.HostName}:{factory.Endpoint.Port} does not answer: {BrokerErrors.Describe(e)}. Is it running, and is Broker:Uri right?", e);
        }
    }
}
