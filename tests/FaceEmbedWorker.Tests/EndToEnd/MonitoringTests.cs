using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>Alerts and dashboard, on a real Prometheus.</summary>
[Collection(AroundRabbitMq310.Name)]
public sealed partial class MonitoringTests(DebianBroker broker)
{
    private static readonly string Folder = Path.Combine(TestData.Repository, "deploy");

    [Fact]
    public async Task Alerts_fire_where_they_should_and_only_there()
    {
        Require();
        var (code, output) = await RunAsync("promtool", "test", "rules", Path.Combine(Folder, "prometheus", "alerts.test.yaml"), Path.Combine(Folder, "prometheus", "alerts.week.test.yaml"));
        Assert.True(code == 0, output);
        (code, output) = await RunAsync("promtool", "check", "config", "--syntax-only", Path.Combine(Folder, "prometheus", "prometheus.yaml"));
        Assert.True(code == 0, output);
    }

    /// <summary>An alert whose trial was forgotten would pass the tests above.</summary>
    [Fact]
    public void Every_alert_is_tested_and_is_in_the_runbook()
    {
        var alerts = Alert().Matches(File.ReadAllText(Path.Combine(Folder, "prometheus", "alerts.yaml"))).Select(m => m.Groups[1].Value).ToArray();
        var rules = File.ReadAllText(Path.Combine(Folder, "prometheus", "alerts.yaml"));
        var (tests, runbook) = (File.ReadAllText(Path.Combine(Folder, "prometheus", "alerts.test.yaml")), File.ReadAllText(Path.Combine(Folder, "README.md")));
        Assert.NotEmpty(alerts);
        Assert.All(alerts, alert =>
        {
            Assert.Matches($@"alertname: {alert}\s+exp_alerts:\s+- exp_labels", tests);
            Assert.Contains($"runbook_url: deploy/README.md#{alert.ToLowerInvariant()}\n", rules, StringComparison.Ordinal);
            var section = Assert.Single(runbook.Split("\n#### ")[1..], s => s.StartsWith($"{alert}\n", StringComparison.Ordinal)).Split("\n### ")[0];
            Assert.All(new[] { "Means", "If you wait", "Do", "Over when" }, part => Assert.Contains($"\n- **{part}**: ", section, StringComparison.Ordinal));
        });
    }

    /// <summary>
    /// What the runbook tells somebody to type at night is run as it stands, with a letter of its own: none is for good, and what is has a
    /// warning before it. As whom it says: fe with the worker's permissions, fo with the operator's, as both are shipped.
    /// </summary>
    [Fact]
    public async Task The_runbooks_commands_run()
    {
        broker.Require();
        var runbook = Runbook();
        var commands = Typed().Matches(runbook).Select(m => (As: m.Groups[1].Value, Line: m.Groups[2].Value)).Where(c => !c.Line.Contains("--management", StringComparison.Ordinal)).Distinct().ToArray(); // SecurityTests has a management API
        Assert.True(commands.Count(c => c.As == "fe") >= 2 && commands.Count(c => c.As == "fo") >= 6, string.Join("; ", commands));
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        foreach (var (role, user) in new[] { ("fe", "face-embed"), ("fo", "face-embed-operator") })
        {
            var (configure, write, read) = KubernetesTests.RoleOf(user, probe.Topology);
            await broker.AddUserAsync(role, role);
            await broker.AllowAsync(role, configure, write, read);
        }

        var health = $"--Health:Url=http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.WorkerAsync(probe, health, "--Jobs:Undecodable=Reject");
        await probe.SubmitAsync([1, 2, 3], id: "letter");
        foreach (var (role, command) in commands)
        {
            await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result > 0 ? probe : null, "a dead letter"); // replayed it comes again, and what has looked at it gives it back as it ends
            Assert.True(!command.Contains("discard", StringComparison.Ordinal) || command.Contains("--dry-run", StringComparison.Ordinal), command);
            var (code, output, errors) = await FaceEmbed.RunAsync([.. command.Split(" > ")[0].Replace("ID", "letter", StringComparison.Ordinal).Replace(" R", " undecodable", StringComparison.Ordinal).Split(' '), .. probe.Settings, health, $"--Broker:Uri=amqp://{role}:{role}@127.0.0.1:{new Uri(broker.Uri).Port}/", "--Broker:Declare=false"]);
            Assert.True(code == 0 && (output + errors).Length > 0, $"{command}: {code}\n{output}\n{errors}");
        }

        Assert.Contains("-- rabbitmqctl list_bindings`", runbook, StringComparison.Ordinal);
        await broker.ControlAsync("list_bindings");
    }

    /// <summary>Without a cluster they get as far as to the server that is not there: verbs, kinds and flags are right.</summary>
    [Fact]
    public async Task The_runbooks_kubectl_commands_are_kubectls()
    {
        var commands = Kubectl().Matches(Runbook()).Select(m => m.Groups[1].Value.Split(" | ")[0]).Distinct().ToArray();
        Assert.True(commands.Length >= 7, string.Join("; ", commands));
        Assert.SkipWhen((await RunAsync("kubectl", "version", "--client")).Code != 0, "There is no kubectl.");
        var server = $"--server=http://127.0.0.1:{TestBroker.FreePort()}";
        foreach (var command in commands)
        {
            var (code, output) = await RunAsync("kubectl", [server, "--request-timeout=2s", .. command.Replace("$N", "face-embed", StringComparison.Ordinal).Split(' ')]);
            Assert.True(code != 0 && output.Contains("refused", StringComparison.Ordinal) && !output.Contains("unknown", StringComparison.OrdinalIgnoreCase), $"{command}: {output}");
        }
    }

    [Fact]
    public void What_deletes_for_good_has_a_warning_before_it()
    {
        var runbook = BrokenLine().Replace(Runbook(), " ");
        foreach (var deleting in new[] { "dead-letters discard", "delete pod", "topology prune", "delete the queue" })
        {
            var paragraphs = runbook.Split('\n').Where(l => l.Contains(deleting, StringComparison.Ordinal)).ToArray();
            Assert.NotEmpty(paragraphs);
            Assert.All(paragraphs, p => Assert.Contains("**Before you ", p, StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Every_query_of_the_dashboard_and_of_the_alerts_finds_what_workers_export()
    {
        Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        var (healthy, failing) = (TestBroker.FreePort(), TestBroker.FreePort());
        await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Health:Url=http://127.0.0.1:{healthy}");
        await using var other = await FaceEmbed.WorkerAsync(probe, $"--Health:Url=http://127.0.0.1:{failing}", "--Jobs:DeadlineSeconds=0.001");
        await using var prometheus = await Prometheus.StartAsync(healthy, failing);
        var picture = await File.ReadAllBytesAsync(TestData.GraceHopper);
        var stop = new CancellationTokenSource();
        var submitting = Task.Run(async () =>
        {
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                await probe.SubmitAsync(i % 3 == 0 ? [] : picture, id: $"{Guid.NewGuid()}"); // an empty one is a dead letter at once
                await Task.Delay(100);
            }
        });

        var dashboard = JsonElement.Parse(await File.ReadAllTextAsync(Path.Combine(Folder, "grafana", "dashboards", "face-embed.json")));
        var queries = dashboard.GetProperty("panels").EnumerateArray().SelectMany(p => p.GetProperty("targets").EnumerateArray()).Select(t => t.GetProperty("expr").GetString()!).ToArray();
        Assert.InRange(queries.Length, 15, 40);
        foreach (var query in queries)
        {
            await prometheus.UntilAsync(query.Replace("$__rate_interval", "20s", StringComparison.Ordinal));
        }

        await stop.CancelAsync();
        await submitting;
        var rules = await File.ReadAllTextAsync(Path.Combine(Folder, "prometheus", "alerts.yaml"));
        foreach (var metric in MetricName().Matches(rules).Select(m => m.Value).Distinct())
        {
            await prometheus.UntilAsync(metric);
        }

        var loaded = await prometheus.GetAsync("/api/v1/rules");
        Assert.All(loaded.GetProperty("data").GetProperty("groups").EnumerateArray().SelectMany(g => g.GetProperty("rules").EnumerateArray()), rule => Assert.Equal("ok", rule.GetProperty("health").GetString()));
    }

    private static string Runbook() => File.ReadAllText(Path.Combine(Folder, "README.md")).Split("## Runbook\n")[1];

    private void Require()
    {
        broker.Require();
        Assert.SkipUnless(File.Exists("/usr/bin/prometheus"), "There is no Prometheus: apt-get install prometheus.");
    }

    private static async Task<(int Code, string Output)> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("sh", ["-c", $"exec {program} \"$@\" 2>&1", program, .. arguments]) { RedirectStandardOutput = true })!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output);
    }

    /// <summary>Within a paragraph or an item of a list.</summary>
    [GeneratedRegex(@"\n(?!\n|- |#|\||```)\s*")]
    private static partial Regex BrokenLine();

    [GeneratedRegex("`(fe|fo) ([^`]*)`")]
    private static partial Regex Typed();

    [GeneratedRegex("`kubectl ([^`]*)`")]
    private static partial Regex Kubectl();

    [GeneratedRegex(@"- alert: (\w+)")]
    private static partial Regex Alert();

    [GeneratedRegex(@"\b(face_embed|messaging)_\w+")]
    private static partial Regex MetricName();

    /// <summary>Debian's, with the alerts of deploy/, on loopback.</summary>
    private sealed class Prometheus(Process process, string folder, HttpClient http) : IAsyncDisposable
    {
        public static async Task<Prometheus> StartAsync(params int[] workers)
        {
            var folder = Directory.CreateTempSubdirectory("face-embed-prometheus-").FullName;
            var file = Path.Combine(folder, "prometheus.yaml");
            await File.WriteAllTextAsync(file, $$"""
                global: { scrape_interval: 1s, evaluation_interval: 1s }
                rule_files: ["{{Path.Combine(Folder, "prometheus", "alerts.yaml")}}"]
                scrape_configs:
                  - job_name: face-embed
                    static_configs: [{ targets: [{{string.Join(", ", workers.Select(w => $"\"127.0.0.1:{w}\""))}}] }]
                """);
            var port = TestBroker.FreePort();
            var start = new ProcessStartInfo("/usr/bin/prometheus", [$"--config.file={file}", $"--storage.tsdb.path={Path.Combine(folder, "data")}", $"--web.listen-address=127.0.0.1:{port}"])
            {
                RedirectStandardError = true,
                RedirectStandardOutput = true,
            };
            var process = Process.Start(start)!;
            process.BeginErrorReadLine();
            process.BeginOutputReadLine();
            var prometheus = new Prometheus(process, folder, new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") });
            await prometheus.UntilAsync($"count(up{{job=\"face-embed\"}} == 1) == {workers.Length}");
            return prometheus;
        }

        public async Task<JsonElement> GetAsync(string path) => JsonElement.Parse(await http.GetStringAsync(path));

        /// <summary>Waits until a query has a result that is a number.</summary>
        public async Task UntilAsync(string query)
        {
            for (var end = DateTime.UtcNow.AddSeconds(45); ; await Task.Delay(250))
            {
                try
                {
                    var found = await GetAsync($"/api/v1/query?query={Uri.EscapeDataString(query)}");
                    if (found.GetProperty("data").GetProperty("result").EnumerateArray().Any(r => r.GetProperty("value")[1].GetString() is not "NaN"))
                    {
                        return;
                    }
                }
                catch (HttpRequestException e) when (e.StatusCode is null or System.Net.HttpStatusCode.ServiceUnavailable)
                {
                    // it starts
                }

                Assert.True(DateTime.UtcNow < end, $"After 45 s the query finds nothing: {query}");
            }
        }

        public async ValueTask DisposeAsync()
        {
            http.Dispose();
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }
}
