using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Broker;

/// <summary>Declares the topology for those who do not let workers do it, and takes away what an old retry ladder left.</summary>
internal sealed class TopologyDesk(IOptions<BrokerOptions> options, Topology topology)
{
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(1);

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
    /// <exception cref="BrokerRefusedException">It does not answer.</exception>
    public async Task<IReadOnlyList<string>> LeftAsync(Uri management, CancellationToken cancel)
    {
        var prefix = $"{topology.Jobs}.wait.";
        using var http = new ManagementApi(management, options.Value);
        var all = await http.GetAsync($"api/queues/{http.VirtualHost}?disable_stats=true&enable_queue_totals=false", cancel);
        var names = (all ?? JsonElement.Parse("[]")).EnumerateArray().Select(q => q.GetProperty("name").GetString()!);
        return [.. names.Where(n => n.StartsWith(prefix, StringComparison.Ordinal) && long.TryParse(n[prefix.Length..], CultureInfo.InvariantCulture, out _))
            .Except(topology.Ladder.Select(topology.WaitQueue), StringComparer.Ordinal).Order(StringComparer.Ordinal)];
    }

    /// <summary>
    /// Takes a wait queue away once it is empty. It is unbound first, so that nothing new can come in between the look and the deletion:
    /// a worker that still has the old ladder holds its message meanwhile, and declares the queue again.
    /// </summary>
    /// <returns>Null where it is gone; otherwise why not.</returns>
    public Task<string?> PruneAsync(string queue, CancellationToken cancel) => BrokerCheck.ConnectedAsync(options.Value, async (connection, token) =>
    {
        await using var channel = await connection.CreateChannelAsync(cancellationToken: token);
        var key = queue[(queue.LastIndexOf('.') + 1)..];
        await channel.QueueUnbindAsync(queue, topology.Retry, key, cancellationToken: token);
        for (var look = 0; look < 2; look++)
        {
            if ((await channel.QueueDeclarePassiveAsync(queue, token)).MessageCount is > 0 and var waiting)
            {
                await channel.QueueBindAsync(queue, topology.Retry, key, cancellationToken: token);
                return $"{waiting} jobs wait in it; they go back to {topology.Jobs} by themselves, try again later";
            }

            await Task.Delay(Settle, token);
        }

        await channel.QueueDeleteAsync(queue, ifUnused: false, ifEmpty: false, cancellationToken: token);
        return (string?)null;
    }, cancel);
}
