using System.Globalization;
using System.Net;
using System.Net.Sockets;
using FaceEmbedWorker.Tests.EndToEnd;

namespace FaceEmbedWorker.Tests.Chaos;

/// <summary>
/// Attacks on three RabbitMQ 4 nodes in containers on a network of their own, behind one address. In the short form one leader is killed;
/// the rest is for tests/chaos.
/// </summary>
public sealed class ClusterTests(ClusterTests.Cluster cluster) : IClassFixture<ClusterTests.Cluster>
{
    [Fact]
    public async Task A_cluster_that_loses_nodes_loses_no_job()
    {
        await AttackAsync("cluster: leader of the jobs queue killed", KillLeaderAsync);
        if (Ledger.Full)
        {
            await AttackAsync("cluster: a minority cut off for a minute", CutOffAsync);
            await AttackAsync("cluster: rolling restart", RestartAsync);
            await AttackAsync("cluster: leader of the jobs queue killed, again", KillLeaderAsync);
        }
    }

    private async Task<int> KillLeaderAsync(BrokerProbe probe)
    {
        var leader = await cluster.LeaderAsync(probe.Topology.Jobs);
        await DockerCommand.RunAsync("kill", leader);
        await probe.RecoverAsync();
        await DockerCommand.RunAsync("start", leader);
        await cluster.UntilWholeAsync();
        return 1;
    }

    private async Task<int> CutOffAsync(BrokerProbe probe)
    {
        var leader = await cluster.LeaderAsync(probe.Topology.Jobs);
        await DockerCommand.RunAsync("network", "disconnect", cluster.Network, leader);
        await probe.ReconnectAsync();
        await Task.Delay(TimeSpan.FromSeconds(60));
        await DockerCommand.RunAsync("network", "connect", "--alias", Cluster.HostOf(leader), "--ip", Cluster.AddressOf(leader), cluster.Network, leader);
        await cluster.UntilWholeAsync();
        return 1;
    }

    private async Task<int> RestartAsync(BrokerProbe probe)
    {
        foreach (var node in cluster.Nodes)
        {
            await DockerCommand.RunAsync("exec", node, "rabbitmq-upgrade", "drain");
            await DockerCommand.RunAsync("restart", node);
            await cluster.UntilWholeAsync();
            await probe.RecoverAsync();
        }

        return cluster.Nodes.Count;
    }

    private async Task AttackAsync(string name, Func<BrokerProbe, Task<int>> attack)
    {
        cluster.Require();
        await using var probe = new BrokerProbe(cluster.Uri);
        await probe.ReconnectAsync();
        await Ledger.SubmitAsync(probe, Ledger.Full ? 4000 : 1000);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await Ledger.MoreAsync(probe, 30);
        var attacks = await attack(probe);
        await probe.AllAsync(probe.Submitted, seconds: 120 + 60 * Ledger.Scale);
        Assert.Empty(probe.Dead);
        Assert.Equal(0, await worker.TerminateAsync());
        Ledger.Record("4.0", name, probe.Submitted, attacks, probe);
    }

    /// <summary>Three nodes that stop serving where they are in a minority.</summary>
    public sealed class Cluster : IAsyncLifetime
    {
        private const string Subnet = "172.31.251";
        private const string Cookie = "face-embed";
        private const string Settings = """
            cluster_formation.peer_discovery_backend = classic_config
            cluster_formation.classic_config.nodes.1 = rabbit@node1
            cluster_formation.classic_config.nodes.2 = rabbit@node2
            cluster_formation.classic_config.nodes.3 = rabbit@node3
            cluster_partition_handling = pause_minority
            loopback_users = none
            heartbeat = 5
            """;

        private readonly string name = $"face-embed-{Guid.NewGuid():N}"[..16];
        private readonly string settings = Path.Combine(Path.GetTempPath(), $"face-embed-{Guid.NewGuid():N}.conf");
        private string? missing;
        private CutableProxy? balancer;

        public string Network => name;

        public IReadOnlyList<string> Nodes => [.. Enumerable.Range(1, 3).Select(n => $"{name}-node{n}")];

        public string Uri => $"amqp://guest:guest@127.0.0.1:{balancer!.Port}/";

        public void Require() => Assert.SkipWhen(missing is not null, missing ?? "");

        public static string HostOf(string node) => node[(node.LastIndexOf('-') + 1)..];

        public static string AddressOf(string node) => $"{Subnet}.{10 + int.Parse(node[^1..], CultureInfo.InvariantCulture)}";

        public async ValueTask InitializeAsync()
        {
            missing = DockerCommand.Missing();
            if (missing is not null)
            {
                return;
            }

            await File.WriteAllTextAsync(settings, Settings);
            await DockerCommand.RunAsync("network", "create", "--internal", "--subnet", $"{Subnet}.0/24", name);
            foreach (var node in Nodes)
            {
                await DockerCommand.RunAsync("run", "--detach", "--name", node, "--hostname", HostOf(node), "--network", name, "--network-alias", HostOf(node), "--ip", AddressOf(node),
                    "--env", $"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-setcookie {Cookie} {TestBroker.NoBusyWaiting}", "--env", $"RABBITMQ_CTL_ERL_ARGS=-setcookie {Cookie}",
                    "--volume", $"{settings}:/etc/rabbitmq/rabbitmq.conf:ro", DockerCommand.RabbitMqImage);
            }

            balancer = new CutableProxy([.. Nodes.Select(n => new IPEndPoint(IPAddress.Parse(AddressOf(n)), 5672))]);
            await UntilWholeAsync();
        }

        public async ValueTask DisposeAsync()
        {
            if (missing is null)
            {
                await DockerCommand.RunAsync(["rm", "--force", "--volumes", .. Nodes]);
                await DockerCommand.RunAsync("network", "rm", name);
                await balancer!.DisposeAsync();
            }

            File.Delete(settings);
        }

        /// <summary>The container of the node that leads a queue.</summary>
        public async Task<string> LeaderAsync(string queue)
        {
            var queues = await DockerCommand.RunAsync("exec", Nodes[0], "rabbitmqctl", "list_queues", "--quiet", "name", "leader");
            var leader = queues.Split('\n').Select(l => l.Split('\t')).First(c => c[0] == queue)[1];
            return $"{name}-{leader[(leader.IndexOf('@', StringComparison.Ordinal) + 1)..]}";
        }

        /// <summary>Waits until every node says that three run, and takes connections.</summary>
        public async Task UntilWholeAsync()
        {
            for (var end = DateTime.UtcNow.AddSeconds(120); ; await Task.Delay(500))
            {
                try
                {
                    foreach (var node in Nodes)
                    {
                        const string running = "length(rabbit_nodes:list_running()).";
                        Assert.Equal("3", TestBroker.Value(running, await DockerCommand.RunAsync("exec", node, "sh", "-c", TestBroker.EvaluateScript, "sh", $"rabbit@{HostOf(node)}", Cookie, running)));
                        using var client = new TcpClient();
                        await client.ConnectAsync(AddressOf(node), 5672);
                    }

                    return;
                }
                catch (Exception e) when (e is Xunit.Sdk.XunitException or SocketException && DateTime.UtcNow < end)
                {
                    // not yet
                }
            }
        }
    }
}
