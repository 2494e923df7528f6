using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using YamlDotNet.Serialization;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>What deploy/ holds, run as its users run it.</summary>
public partial class DeployTests
{
    private static readonly string Folder = Path.Combine(TestData.Repository, "deploy");

    [Fact]
    public async Task The_demo_shows_results_and_the_stub_and_stops_what_it_started()
    {
        Assert.SkipUnless(File.Exists("/usr/lib/rabbitmq/bin/rabbitmq-server"), "There is no RabbitMQ of Debian's.");
        var (code, output) = await ScriptAsync("deploy/demo");
        Assert.True(code == 0, output);
        Assert.Contains("astronaut.png: embedded, 1 vector of space", output, StringComparison.Ordinal);
        Assert.Contains("not-a-picture.jpg: stub, 1 vector of space", output, StringComparison.Ordinal);
        Assert.Contains("42 embedded, 1 stub", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compose_brings_up_a_broker_and_two_workers_that_share_a_thousand_jobs()
    {
        Assert.SkipUnless(Environment.GetEnvironmentVariable("FACE_EMBED_COMPOSE") == "1", "There is no Docker engine with compose; tests/run installs them as root on Debian.");
        var (code, output) = await ScriptAsync("tests/compose");
        Assert.SkipWhen(code == 77, output); // no image can be pulled, nor made
        Assert.True(code == 0, output);
        Assert.Contains("astronaut.png: embedded, 1 vector of space", output, StringComparison.Ordinal);
        var told = output.Split('\n').Where(l => l.StartsWith("Prometheus: ", StringComparison.Ordinal)).Select(l => JsonElement.Parse(l["Prometheus: ".Length..]).GetProperty("data").GetProperty("result")).ToArray();
        var shares = told[0].EnumerateArray().Select(r => int.Parse(r.GetProperty("value")[1].GetString()!, CultureInfo.InvariantCulture)).ToArray();
        Assert.Equal((2, 1000), (shares.Length, shares.Sum()));
        Assert.All(shares, share => Assert.InRange(share, 200, 800));
        Assert.Equal("2", told[1][0].GetProperty("value")[1].GetString());
        Assert.Contains("\nok\n", output, StringComparison.Ordinal); // face-embed health, in an image without a shell
        Assert.Equal(2, output.Split('\n').Count(l => l == "login: 640")); // which the containers' users are no owners of
        Assert.Contains("user faces, tags", output, StringComparison.Ordinal);
        Assert.Contains("A worker with these settings can start.", output, StringComparison.Ordinal);
        Assert.Contains("There are no wait queues of another ladder.", output, StringComparison.Ordinal);
        Assert.Contains("\ndesk: \"total\":1,\"reasons\":{\"malformed\":1}\n", output, StringComparison.Ordinal);
        foreach (var (old, worker) in new[] { ("worker_1", "worker-1"), ("worker_2", "worker-2") }) // by docker-compose, and by docker compose
        {
            Assert.Contains(output.Split('\n'), line => (line.Contains(old, StringComparison.Ordinal) || line.Contains(worker, StringComparison.Ordinal)) && line.Contains("\"message\":\"Stopped\"", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void An_image_that_cannot_be_had_is_a_reason_to_skip_that_says_what_to_do()
    {
        const string nowhere = "127.0.0.1:1/rabbitmq:none";
        var why = DockerCommand.Missing(nowhere);
        Assert.SkipWhen(why == "There is no Docker engine.", "There is no Docker engine.");
        Assert.Matches($"^There is no image {nowhere}, and it cannot be pulled: .*refused.* FACE_EMBED_RABBITMQ_IMAGE names another", why);
        Assert.DoesNotContain('\n', why!);
    }

    /// <summary>Versions that do not move, limits, nothing written but volumes, no password in the environment.</summary>
    [Fact]
    public void The_compose_file_pins_bounds_and_keeps_secrets_in_files()
    {
        var file = File.ReadAllText(Path.Combine(Folder, "compose.yaml"));
        var compose = new DeserializerBuilder().Build().Deserialize<Dictionary<string, Dictionary<string, Dictionary<string, object>?>>>(file);
        Assert.Equal(["broker", "collector", "desk", "grafana", "prometheus", "worker"], compose["services"].Keys.Order());
        Assert.All(compose["services"].Values.Select(s => s!), service =>
        {
            Assert.True(service.ContainsKey("build") || Pinned().IsMatch((string)service["image"]), $"{service["image"]}");
            Assert.Equal("true", service["read_only"]);
            Assert.Contains("mem_limit", service.Keys);
            Assert.Equal(["no-new-privileges:true"], (List<object>)service["security_opt"]);
        });
        Assert.All(compose["services"].Where(s => s.Value!.ContainsKey("secrets")), service => Assert.Contains("FACE_EMBED_LOGINS_GROUP", (string)((List<object>)service.Value!["group_add"]).Single(), StringComparison.Ordinal)); // tests/compose reads files of mode 640
        Assert.Equal("rabbitmq", compose["services"]["broker"]!["user"]);

        // the desk listens on loopback alone: on the host's, where the broker's port is too, and not unless it is asked for
        var (desk, ports) = (compose["services"]["desk"]!, (List<object>)compose["services"]["broker"]!["ports"]);
        Assert.Equal(("host", "broker:127.0.0.1", "desk", true), (desk["network_mode"], ((List<object>)desk["extra_hosts"]).Single(), ((List<object>)desk["profiles"]).Single(), ports.Contains("127.0.0.1:5672:5672")));
        Assert.Contains("./rabbitmq-plugins:/etc/rabbitmq/enabled_plugins:ro", (List<object>)compose["services"]["broker"]!["volumes"]);
        Assert.Equal("[rabbitmq_management,rabbitmq_prometheus].", File.ReadAllText(Path.Combine(Folder, "rabbitmq-plugins")).Trim());
        Assert.DoesNotContain("PASS", file, StringComparison.Ordinal);
        Assert.DoesNotContain("amqp://", file, StringComparison.Ordinal);
        Assert.All(compose["secrets"], secret => Assert.True(File.Exists(Path.Combine(Folder, ((string)secret.Value!["file"]).Replace("${FACE_EMBED_LOGINS:-./logins}", "logins", StringComparison.Ordinal)))));
        var login = File.ReadAllText(Path.Combine(Folder, "logins", "rabbitmq.conf")).Split('\n');
        var uri = new Uri(File.ReadAllText(Path.Combine(Folder, "logins", "FaceEmbed__Broker__Uri")).Trim());
        Assert.Equal([$"default_user = {uri.UserInfo.Split(':')[0]}", $"default_pass = {uri.UserInfo.Split(':')[1]}", ""], login);

        var images = File.ReadAllLines(Path.Combine(Folder, "Dockerfile")).Where(l => l.StartsWith("FROM ", StringComparison.Ordinal) && l.Contains('/', StringComparison.Ordinal)).ToArray();
        Assert.Equal(3, images.Length);
        Assert.StartsWith("FROM --platform=$BUILDPLATFORM ", images[0], StringComparison.Ordinal); // the compiler is not emulated
        Assert.All(images, image => Assert.Matches(Pinned(), image));
    }

    /// <summary>ONNX Runtime's package would put a Windows library beside every program.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("linux-x64")]
    [InlineData("linux-arm64")]
    public async Task What_is_published_holds_libraries_of_Linux_alone(string runtime)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Elsewhere a portable publish has the libraries of every system.");
        var (code, output) = await ScriptAsync($"dotnet msbuild src/FaceEmbedWorker -t:ComputeResolvedFilesToPublishList -getItem:ResolvedFileToPublish -p:Configuration=Release -p:RuntimeIdentifier={runtime}");
        Assert.True(code == 0, output);
        var files = JsonElement.Parse(output).GetProperty("Items").GetProperty("ResolvedFileToPublish").EnumerateArray().Select(f => f.GetProperty("RelativePath").GetString()!).ToArray();
        Assert.Contains(files, f => Path.GetFileName(f) == "libonnxruntime.so");
        Assert.Contains(files, f => Path.GetFileName(f) == "libvips.so.42");
        Assert.DoesNotContain(files, f => Path.GetFileName(f) is "onnxruntime.dll" or "onnxruntime_providers_shared.dll" or "libvips-42.dll" || f.EndsWith(".dylib", StringComparison.Ordinal));
        Assert.DoesNotContain(files, f => f.StartsWith("runtimes/", StringComparison.Ordinal) && !f.StartsWith("runtimes/linux", StringComparison.Ordinal));
    }

    /// <summary>Whatever can be known of the unit without systemd as process 1.</summary>
    [Fact]
    public async Task The_systemd_unit_is_valid_and_hardened()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/systemd-analyze"), "There is no systemd-analyze: apt-get install systemd.");
        var folder = Directory.CreateTempSubdirectory("face-embed-unit-");
        try
        {
            // the program's place, which verify looks at, is not on this machine
            var unit = Path.Combine(folder.FullName, "face-embed.service");
            await File.WriteAllTextAsync(unit, (await File.ReadAllTextAsync(Path.Combine(TestData.Repository, "deploy", "systemd", "face-embed.service"))).Replace("/opt/face-embed/face-embed", "/bin/true", StringComparison.Ordinal));
            var (code, output) = await ScriptAsync($"systemd-analyze verify --man=no --recursive-errors=no {unit}");
            Assert.True(code == 0 && !output.Contains("face-embed.service:", StringComparison.Ordinal), output);
            (code, output) = await ScriptAsync($"systemd-analyze security --offline=true --threshold=20 {unit}");
            Assert.True(code == 0, output); // an exposure of 2.0 of 10 at most
            var filters = (await File.ReadAllLinesAsync(unit)).Where(l => l.StartsWith("SystemCallFilter=", StringComparison.Ordinal)).ToArray();
            Assert.Equal("SystemCallFilter=sched_setaffinity", filters[^1]); // of @resources; .NET ends with 137 where it is refused
            var text = await File.ReadAllTextAsync(unit);
            Assert.Contains("\nIPAddressDeny=link-local fd00:ec2::254\n", text, StringComparison.Ordinal); // where clouds keep credentials, in IPv4 and IPv6
            Assert.All(new[] { "systemd 250 or later", "aspnetcore-runtime-10.0" }, needs => Assert.Contains(needs, text.Split("[Unit]")[0], StringComparison.Ordinal));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>systemd as process 1 of a container starts the unit as it is shipped, credentials and all restrictions included.</summary>
    [Fact]
    public async Task The_systemd_unit_takes_a_job_drains_and_starts_again()
    {
        Assert.SkipUnless(Environment.GetEnvironmentVariable("FACE_EMBED_SYSTEMD") == "1", "There is no Docker engine on a Debian as root; tests/run starts one there.");
        var (code, output) = await ScriptAsync("tests/systemd");
        Assert.True(code == 0, output);
        var told = output.Split('\n').Where(l => l.StartsWith("unit: ", StringComparison.Ordinal)).Select(l => l["unit: ".Length..]).ToArray();
        Assert.Equal(["active", "grace_hopper.jpg: embedded", "inactive, success, 0", "active", "astronaut.png: embedded", "inactive, success, 0"], told);
        Assert.Equal(2, output.Split('\n').Count(l => l.Contains("\"message\":\"Stopped\"", StringComparison.Ordinal)));
        Assert.Contains("of root: no", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_endpoint_answers_over_both_kinds_of_address()
    {
        var port = TestBroker.FreePort();
        await using var worker = FaceEmbed.Start(["run", $"--Health:Url=http://[::]:{port}", "--Broker:Uri=amqp://127.0.0.1:1"]);
        await worker.SaidAsync("Status page");
        using var http = new HttpClient();
        foreach (var host in Socket.OSSupportsIPv6 ? new[] { "127.0.0.1", "[::1]" } : ["127.0.0.1"])
        {
            Assert.Equal("ok\n", await http.GetStringAsync($"http://{host}:{port}/startupz", TestContext.Current.CancellationToken));
        }
    }

    [Fact]
    public async Task Systemd_is_told_when_the_models_have_run()
    {
        var folder = Directory.CreateTempSubdirectory("face-embed-notify-");
        var file = Path.Combine(folder.FullName, "socket");
        using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(file));
        try
        {
            var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "face-embed.dll"), "run", "--Health:Url=", "--Broker:Uri=amqp://127.0.0.1:1"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                WorkingDirectory = TestData.Repository,
            };
            start.Environment["NOTIFY_SOCKET"] = file;
            using var worker = Process.Start(start)!;
            var (output, errors) = (worker.StandardOutput.ReadToEndAsync(), worker.StandardError.ReadToEndAsync());
            Assert.Equal("READY=1", await ToldAsync());
            using (Process.Start("kill", ["-TERM", $"{worker.Id}"]))
            {
                Assert.Equal("STOPPING=1", await ToldAsync());
            }

            await worker.WaitForExitAsync();
            Assert.True(worker.ExitCode == 0, await errors);
            Assert.StartsWith("{\"time\":", await output, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        async Task<string> ToldAsync()
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            var buffer = new byte[256];
            var length = await socket.ReceiveAsync(buffer, patience.Token);
            return Encoding.UTF8.GetString(buffer, 0, length).Trim();
        }
    }

    private static async Task<(int Code, string Output)> ScriptAsync(string script)
    {
        var start = new ProcessStartInfo("bash", ["-c", $"exec {script} 2>&1"]) { RedirectStandardOutput = true, WorkingDirectory = TestData.Repository };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output);
    }

    [GeneratedRegex(@":v?\d+\.\d+\.\d+(-[a-z-]+)?( AS \w+)?$")]
    private static partial Regex Pinned();
}
