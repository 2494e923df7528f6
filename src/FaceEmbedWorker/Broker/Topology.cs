using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// The exchanges and queues, the same on RabbitMQ 3.10 to 4.x: all durable, every queue a quorum queue. Whatever is dead-lettered between
/// them goes at least once, and a full queue refuses instead of dropping; src/README.md says why.
/// </summary>
internal sealed partial class Topology
{
    /// <summary>
    /// RabbitMQ 4 drops after 20 deliveries by default; these queues are for people and consumers to take their time with.
    /// </summary>
    private const int NoDeliveryLimit = 1_000_000;

    private readonly BrokerOptions options;
    private readonly string bulk;

    public Topology(IOptions<BrokerOptions> options)
    {
        this.options = options.Value;
        Jobs = this.options.Jobs;
        Suspects = $"{Jobs}.suspect";
        bulk = $"{Jobs}.bulk";
        Bulk = this.options.BulkQueue ? bulk : null;
        Retry = $"{Jobs}.retry";
        Dead = $"{Jobs}.dead";
        Results = this.options.Results;
        Ladder = this.options.Ladder;
    }

    /// <summary>Exchange and queue of jobs.</summary>
    public string Jobs { get; }

    /// <summary>Queue of jobs that were in hand when a worker crashed, again and again; each is handled alone.</summary>
    public string Suspects { get; }

    /// <summary>Queue of jobs that are taken when no others wait, but for their share; null where there is none.</summary>
    public string? Bulk { get; }

    /// <summary>Exchange that leads to the wait queues.</summary>
    public string Retry { get; }

    /// <summary>Exchange and queue of dead letters.</summary>
    public string Dead { get; }

    /// <summary>Exchange of results, and their default queue.</summary>
    public string Results { get; }

    /// <summary>The wait before each further attempt.</summary>
    public IReadOnlyList<TimeSpan> Ladder { get; }

    private static readonly TimeSpan LongestWaitForRoom = TimeSpan.FromSeconds(30);

    /// <summary>Routing key of jobs.</summary>
    public const string JobKey = "job";

    /// <summary>Routing key of jobs that are crash suspects.</summary>
    public const string SuspectKey = "suspect";

    /// <summary>Routing key of bulk jobs.</summary>
    public const string BulkKey = "bulk";

    /// <summary>Routing key of dead letters that the worker writes.</summary>
    public const string WorkerKey = "worker";

    /// <summary>Routing key of dead letters that the broker makes.</summary>
    public const string BrokerKey = "broker";

    /// <summary>
    /// The wait before a job's next attempt: the ladder's next, or where the world asks for longer the first behind it that is as long, or
    /// else its longest.
    /// </summary>
    /// <returns>Null where there is no next attempt.</returns>
    public TimeSpan? Wait(int attempt, TimeSpan? atLeast)
    {
        if (attempt > Ladder.Count)
        {
            return null;
        }

        var left = Ladder.Skip(attempt - 1);
        return atLeast is not { } least || left.First() >= least ? left.First() : left.Where(delay => delay >= least).DefaultIfEmpty(left.Max()).First();
    }

    /// <summary>How long a job waits whose queue is full: as long as the ladder has it, up to half a minute, for there may be many.</summary>
    public TimeSpan WaitForRoom => Ladder.Where(delay => delay <= LongestWaitForRoom).DefaultIfEmpty(Ladder.Min()).Max();

    /// <summary>The wait is in the queue's name, so that a changed ladder makes new queues instead of a conflict.</summary>
    public static string RetryKey(TimeSpan delay) => ((long)delay.TotalMilliseconds).ToString(CultureInfo.InvariantCulture);

    public string WaitQueue(TimeSpan delay) => $"{Jobs}.wait.{RetryKey(delay)}";

    /// <summary>What a queue is for, in one word: <c>jobs</c>, <c>bulk</c>, <c>suspect</c>, <c>wait</c>, <c>dead</c> or <c>results</c>.</summary>
    public string Role(string queue) => queue == Jobs ? "jobs" : queue == Bulk ? "bulk" : queue == Suspects ? "suspect" : queue == Dead ? "dead" : queue == Results ? "results" : "wait";

    /// <summary>Whether the broker made a dead letter of it in the queue of bulk jobs, as its own header says, whether or not this program has one.</summary>
    public bool DiedAsBulk(JobMessage letter) => letter.Text("x-first-death-queue") == bulk;

    /// <summary>The one queue that this topology binds to an exchange with a key; null for results, which others take too.</summary>
    public string? OnlyQueue(string exchange, string key) => exchange == Results ? null : Queues.Where(q => q.Exchange == exchange && q.Keys.Contains(key)).Select(q => q.Name).FirstOrDefault();

    /// <summary>Every exchange, with its type.</summary>
    public IEnumerable<(string Name, string Type)> Exchanges => [(Jobs, ExchangeType.Direct), (Retry, ExchangeType.Direct), (Dead, ExchangeType.Direct), (Results, ExchangeType.Topic)];

    /// <summary>Every queue, with its arguments, the exchange it is bound to, and the routing keys.</summary>
    public IEnumerable<(string Name, Dictionary<string, object?> Arguments, string Exchange, string[] Keys)> Queues
    {
        get
        {
            yield return (Dead, Quorum(new() { ["x-delivery-limit"] = NoDeliveryLimit }), Dead, [WorkerKey, BrokerKey]);
            yield return (Jobs, ToDead(deliveryLimit: 20), Jobs, [JobKey]);
            if (Bulk is not null)
            {
                yield return (Bulk, ToDead(deliveryLimit: 20), Jobs, [BulkKey]);
            }

            yield return (Suspects, ToDead(deliveryLimit: 3), Jobs, [SuspectKey]);
            foreach (var delay in Ladder.Distinct())
            {
                yield return (WaitQueue(delay), Quorum(new()
                {
                    ["x-message-ttl"] = (long)delay.TotalMilliseconds,
                    ["x-dead-letter-exchange"] = Jobs,
                    ["x-dead-letter-routing-key"] = JobKey,
                    ["x-dead-letter-strategy"] = "at-least-once",
                }), Retry, [RetryKey(delay)]);
            }

            if (options.ResultsQueue)
            {
                yield return (Results, Quorum(new() { ["x-delivery-limit"] = NoDeliveryLimit }), Results, ["#"]);
            }
        }
    }

    /// <summary>Declares what is missing. What is there already stays as it is.</summary>
    /// <exception cref="BrokerRefusedException">Something of the same name exists and differs.</exception>
    public async Task DeclareAsync(IConnection connection, CancellationToken cancel)
    {
        if (!options.Declare)
        {
            return;
        }

        await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
        try
        {
            foreach (var (name, type) in Exchanges)
            {
                await channel.ExchangeDeclareAsync(name, type, durable: true, autoDelete: false, cancellationToken: cancel);
            }

            foreach (var (name, arguments, exchange, keys) in Queues)
            {
                await channel.QueueDeclareAsync(name, durable: true, exclusive: false, autoDelete: false, arguments, cancellationToken: cancel);
                foreach (var key in keys)
                {
                    await channel.QueueBindAsync(name, exchange, key, cancellationToken: cancel);
                }
            }
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason is { ReplyCode: 406 } reason)
        {
            throw new BrokerRefusedException(Words(reason.ReplyText), e);
        }
    }

    private Dictionary<string, object?> ToDead(int deliveryLimit) => Quorum(new()
    {
        ["x-delivery-limit"] = deliveryLimit,
        ["x-dead-letter-exchange"] = Dead,
        ["x-dead-letter-routing-key"] = BrokerKey,
        ["x-dead-letter-strategy"] = "at-least-once",
    });

    private static Dictionary<string, object?> Quorum(Dictionary<string, object?> arguments)
    {
        arguments["x-queue-type"] = "quorum";
        arguments["x-overflow"] = "reject-publish";
        return arguments;
    }

    /// <summary>Deletes all of it, with the messages in it.</summary>
    public async Task DeleteAsync(IChannel channel)
    {
        foreach (var queue in Queues.Select(q => q.Name).Append(Results))
        {
            await channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false);
        }

        foreach (var (exchange, _) in Exchanges)
        {
            await channel.ExchangeDeleteAsync(exchange);
        }
    }

    /// <summary>A 406's text, in words.</summary>
    internal static string Words(string reply)
    {
        var match = Inequivalent().Match(reply);
        if (!match.Success)
        {
            return $"The broker refused the topology: {reply}";
        }

        var group = match.Groups;
        var (has, wants) = (Value(group["current"].Value), Value(group["received"].Value));
        return $"The {group["kind"].Value} '{group["name"].Value}' exists on the broker with {group["arg"].Value} {has}, but this worker needs {wants}. "
            + $"Move its messages away and delete it, give this worker other names (Broker:Jobs, Broker:Results), or set Broker:Declare to false to use it as it is.";

        static string Value(string text) => Quoted().Match(text) is { Success: true } quoted ? $"'{quoted.Groups[1].Value}'" : text.Trim();
    }

    [GeneratedRegex(@"inequivalent arg '(?<arg>[^']+)' for (?<kind>queue|exchange) '(?<name>[^']+)' in vhost '[^']*':? *received (?<received>.*?)(?: of type '[^']*')? but current is (?<current>.*?)(?: of type '[^']*')?$")]
    private static partial Regex Inequivalent();

    [GeneratedRegex("'([^']*)'")]
    private static partial Regex Quoted();
}
