using System.Globalization;
using System.Text.Json;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>Declares the topology for those who do not let workers do it, and takes away what an old retry ladder left.</summary>
internal sealed class TopologyDesk(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<TopologyDesk> logger)
{
    /// <summary>Between two looks at a queue: what is on its way to it, or back, or behind an election, shows by then.</summary>
    public static readonly TimeSpan Apart = TimeSpan.FromMinutes(2);

    /// <summary>Twice as long as the management API's figures are old.</summary>
    public static readonly TimeSpan Settle = TimeSpan.FromSeconds(11);

    /// <summary>Waits for the broker as every tool does, and declares nothing.</summary>
    /// <exception cref="BrokerRefusedException">No, or no answer in half a minute.</exception>
    public async Task ReachAsync(CancellationToken cancel)
    {
        await using var connection = new BrokerConnection("topology", confirms: false, options, new Topology(Options.Create(options.Value.WithoutDeclaring())), time, logger);
        await connection.OpenAsync(cancel);
    }

    /// <summary>Declares what is missing, whatever Broker:Declare says.</summary>
    /// <exception cref="BrokerRefusedException">The broker refused us, or something of the same name differs.</exception>
    public Task DeclareAsync(CancellationToken cancel) => BrokerCheck.ConnectedAsync(options.Value, async (connection, token) =>
    {
        var always = options.Value.WithoutDeclaring();
        always.Declare = true;
        await new Topology(Options.Create(always)).DeclareAsync(connection, token);
        return true;
    }, cancel);

    /// <summary>The wait queues on the broker that are none of the ladder's, by the management API's list.</summary>
    /// <exception cref="BrokerRefusedException">It does not answer; or the ladder's own are not there, so that it is not the workers'.</exception>
    public async Task<IReadOnlyList<string>> LeftAsync(Uri management, CancellationToken cancel)
    {
        var prefix = $"{topology.Jobs}.wait.";
        using var http = new ManagementApi(management, options.Value);
        var all = await http.GetAsync($"api/queues/{http.VirtualHost}?disable_stats=true&enable_queue_totals=false", cancel);
        string[] names = [.. (all ?? JsonElement.Parse("[]")).EnumerateArray().Select(q => q.GetProperty("name").GetString()!)];
        string[] missing = [.. topology.Ladder.Select(topology.WaitQueue).Except(names, StringComparer.Ordinal)];
        if (missing.Length > 0)
        {
            throw new BrokerRefusedException($"The ladder {options.Value.RetryDelays} is not the workers': there is no queue {missing[0]}, and theirs would be taken for old ones. Set Broker:RetryDelays as the workers have it.");
        }

        return [.. names.Where(n => n.StartsWith(prefix, StringComparison.Ordinal) && long.TryParse(n[prefix.Length..], CultureInfo.InvariantCulture, out _))
            .Except(topology.Ladder.Select(topology.WaitQueue), StringComparer.Ordinal).Order(StringComparer.Ordinal)];
    }

    /// <summary>
    /// Takes wait queues away that are empty by the management API's totals, twice, a few minutes apart: a queue's own count is 0 where its
    /// leader is slow, and leaves out what is on its way to its target. Before the last look a queue is unbound, so that nothing new comes
    /// in unless a worker that still has the old ladder binds it again: then it stays.
    /// </summary>
    /// <param name="force">Do not wait minutes between the looks.</param>
    /// <returns>Each queue with null where it is gone; otherwise why not.</returns>
    /// <exception cref="BrokerRefusedException">The broker or its management API does not answer, or refuses.</exception>
    public async Task<IReadOnlyDictionary<string, string?>> PruneAsync(IReadOnlyList<string> queues, Uri management, bool force, CancellationToken cancel)
    {
        var kept = new Dictionary<string, string?>();
        using var http = new ManagementApi(management, options.Value);
        var empty = await EmptyAsync(queues);
        if (empty.Count > 0 && !force)
        {
            await Task.Delay(Apart, time, cancel);
            empty = await EmptyAsync(empty);
        }

        foreach (var queue in empty)
        {
            await ChannelAsync(channel => channel.QueueUnbindAsync(queue, topology.Retry, Key(queue), cancellationToken: cancel));
        }

        var gone = new HashSet<string>();
        try
        {
            await Task.Delay(empty.Count > 0 ? Settle : TimeSpan.Zero, time, cancel);
            foreach (var queue in await EmptyAsync(empty))
            {
                kept[queue] = await UsedAsync(http, queue, cancel);
                if (kept[queue] is null)
                {
                    await ChannelAsync(channel => channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false, cancellationToken: cancel));
                    gone.Add(queue);
                }
            }
        }
        finally
        {
            foreach (var queue in empty.Except(gone))
            {
                await ChannelAsync(channel => channel.QueueBindAsync(queue, topology.Retry, Key(queue), cancellationToken: CancellationToken.None));
            }
        }

        return queues.ToDictionary(q => q, q => gone.Contains(q) ? null : kept[q]);

        async Task<List<string>> EmptyAsync(IEnumerable<string> some)
        {
            var found = new List<string>();
            foreach (var queue in some)
            {
                kept[queue] = await NotEmptyAsync(http, queue, cancel);
                if (kept[queue] is null)
                {
                    found.Add(queue);
                }
            }

            return found;
        }
    }

    /// <returns>Null where the queue is empty, with nothing on its way to a target; otherwise what there is, or that it is not
    /// known.</returns>
    private async Task<string?> NotEmptyAsync(ManagementApi http, string queue, CancellationToken cancel)
    {
        var told = await AskAsync(http, queue, cancel);
        if (told is not null && Number(told.Value, "messages") is null)
        {
            await Task.Delay(Settle, time, cancel); // a queue that is seconds old has no figures yet
            told = await AskAsync(http, queue, cancel);
        }

        if (told is not { } found)
        {
            return "it is not there any more";
        }

        // the total has in it what waits for a consumer's ack and what is on its way to its target
        var state = found.TryGetProperty("state", out var s) ? s.GetString() : null;
        return Number(found, "messages") switch
        {
            null => "the management API does not know how many messages are in it",
            _ when state != "running" => $"its state is '{state}'",
            0 when Number(found, "messages_dlx") is null or 0 => null,
            var messages => $"{Plural.Of(messages.Value, "job waits", "jobs wait")} in it; what waits goes back to {topology.Jobs} by itself, try again later",
        };
    }

    /// <summary>The figures are seconds old; whether the queue is bound, and how many its leader counts, is of this moment.</summary>
    /// <returns>Null where nobody has bound it again and it is empty.</returns>
    private async Task<string?> UsedAsync(ManagementApi http, string queue, CancellationToken cancel)
    {
        var bindings = await http.GetAsync($"api/queues/{http.VirtualHost}/{Uri.EscapeDataString(queue)}/bindings", cancel);
        var bound = bindings is { } all && all.EnumerateArray().Any(b => b.GetProperty("source").GetString() == topology.Retry);
        var messages = 0u;
        await ChannelAsync(async channel => messages = (await channel.QueueDeclarePassiveAsync(queue, cancel)).MessageCount);
        return bound ? "a worker still has the ladder that it belongs to, and has bound it again; stop that worker first"
            : messages > 0 ? $"{Plural.Of(messages, "job has", "jobs have")} come into it"
            : null;
    }

    private static Task<JsonElement?> AskAsync(ManagementApi http, string queue, CancellationToken cancel) => http.GetAsync($"api/queues/{http.VirtualHost}/{Uri.EscapeDataString(queue)}", cancel);

    private static long? Number(JsonElement told, string name) => told.TryGetProperty(name, out var number) && number.TryGetInt64(out var n) ? n : null;

    private static string Key(string queue) => queue[(queue.LastIndexOf('.') + 1)..];

    private Task<bool> ChannelAsync(Func<IChannel, Task> talk) => BrokerCheck.ConnectedAsync(options.Value, async (connection, token) =>
    {
        await using var channel = await connection.CreateChannelAsync(cancellationToken: token);
        await talk(channel);
        return true;
    }, CancellationToken.None);
}
