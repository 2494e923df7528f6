using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using RabbitMQ.Client;
using Testcontainers.RabbitMq;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A real RabbitMQ on loopback that the tests start, restart and stop.</summary>
public abstract class TestBroker : IAsyncLifetime
{
    /// <summary>Erlang's schedulers spin for work by default, which costs those who share the cores.</summary>
    internal const string NoBusyWaiting = "+sbwt none +sbwtdcpu none +sbwtdio none";

    /// <summary>Node, cookie or its file, expression. rabbitmqctl starts an Erlang of its own each time, half a second of a core; not every image has erl_call.</summary>
    internal const string EvaluateScript = """
        if command -v erl_call > /dev/null; then printf '%s\n' "$3" | erl_call -sname "$1" -c "$(cat "$2" 2> /dev/null || echo "$2")" -e
        else said=$(rabbitmqctl -n "$1" eval "$3") && printf '{ok, %s}' "$said"; fi
        """;

    private string? missing;

    protected int Port { get; } = FreePort();

    /// <summary>User and password. RabbitMQ lets its guest in over loopback only, and a container is reached over a bridge.</summary>
    protected virtual string User => "guest";

    public string Uri => $"amqp://{User}:{User}@127.0.0.1:{Port}/";

    public string WrongUri => $"amqp://{User}:wrong@127.0.0.1:{Port}/";

    public async ValueTask InitializeAsync()
    {
        missing = Missing();
        if (missing is null)
        {
            await StartAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (missing is null)
        {
            await RemoveAsync();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>Counts the test as skipped where there is no such broker.</summary>
    public void Require() => Assert.SkipWhen(missing is not null, missing ?? "");

    public abstract Task StartAsync();

    public abstract Task StopAsync();

    /// <summary>Ends the broker as kill -9 does; <see cref="StartAsync"/> brings it back.</summary>
    public abstract Task KillAsync();

    /// <summary>Stops the broker's processes where they are, connections open, until <see cref="ResumeAsync"/>.</summary>
    public abstract Task PauseAsync();

    public abstract Task ResumeAsync();

    /// <summary>Runs rabbitmqctl, and gives what it said.</summary>
    public abstract Task<string> ControlAsync(params string[] arguments);

    /// <summary>Evaluates an Erlang expression within the broker, and gives its value.</summary>
    public async Task<string> EvaluateAsync(string expression) => Value(expression, await ShellAsync(EvaluateScript, Node, $"{Home}/.erlang.cookie", expression));

    /// <summary>Of what the script said.</summary>
    internal static string Value(string expression, string said)
    {
        said = said.Trim();
        Assert.True(said.StartsWith("{ok, ", StringComparison.Ordinal), $"{expression}: {said}");
        return said[5..^1];
    }

    /// <summary>Connections that the broker knows of.</summary>
    public async Task<int> ConnectionsAsync() => int.Parse(await EvaluateAsync("length(rabbit_networking:connections())."), System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Sets some of the broker's own parameters, for connections and channels from now on, while it runs.</summary>
    public Task SetAsync(params (string Parameter, int Value)[] parameters) => EvaluateAsync($"{string.Join(", ", parameters.Select(p => $"application:set_env(rabbit, {p.Parameter}, {p.Value})"))}.");

    /// <summary>Raises its memory alarm, and ends it.</summary>
    public Task AlarmAsync(bool raised = true) => EvaluateAsync($"vm_memory_monitor:set_vm_memory_high_watermark({(raised ? "{absolute, 1000000}" : "0.4")}).");

    public Task AddUserAsync(string user, string password) => EvaluateAsync($"rabbit_auth_backend_internal:add_user({Erlang(user)}, {Erlang(password)}, <<>>).");

    /// <summary>What a user may configure, write and read: patterns of names.</summary>
    public Task AllowAsync(string user, string configure, string write, string read, string host = "/") =>
        EvaluateAsync($"rabbit_auth_backend_internal:set_permissions({string.Join(", ", new[] { user, host, configure, write, read }.Select(Erlang))}, <<>>).");

    private static string Erlang(string text) => $"<<\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\">>";

    /// <summary>The node's name.</summary>
    protected abstract string Node { get; }

    /// <summary>Where its cookie is.</summary>
    protected abstract string Home { get; }

    /// <summary>Runs a script of sh beside the node, and gives what it said.</summary>
    protected abstract Task<string> ShellAsync(string script, params string[] arguments);

    /// <summary>What this machine lacks to run it; null: nothing.</summary>
    protected abstract string? Missing();

    protected abstract Task RemoveAsync();

    public async Task RestartAsync()
    {
        await StopAsync();
        await StartAsync();
    }

    protected async Task UntilItAnswersAsync()
    {
        for (var tries = 0; ; tries++)
        {
            try
            {
                await using var connection = await new ConnectionFactory { Uri = new Uri(Uri) }.CreateConnectionAsync();
                return;
            }
            catch (Exception) when (tries < 720) // three minutes: on two busy cores a node with TLS and the management plugin has taken over one
            {
                await Task.Delay(250);
            }
        }
    }

    /// <summary>Below those that outgoing connections are given: one of these would have it before the broker does.</summary>
    internal static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20_000, 32_768);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // taken
            }
        }
    }
}

/// <summary>RabbitMQ 3.10 of Debian 12: a node of its own, with its own ports, files and name server.</summary>
public class DebianBroker : TestBroker
{
    private const string Program = "/usr/lib/rabbitmq/bin/rabbitmq-server";
    private readonly string folder;
    private readonly int epmdPort = FreePort();
    private readonly int distributionPort = FreePort();
    private Process? server;

    public DebianBroker()
        : this(Path.Combine(Path.GetTempPath(), $"face-embed-broker-{Guid.NewGuid():N}"))
    {
    }

    /// <param name="folder">Its files.</param>
    internal DebianBroker(string folder) => this.folder = folder;

    protected string Folder => folder;

    /// <summary>Plugins that it runs, comma-separated.</summary>
    protected virtual string Plugins => "";

    /// <summary>Lines of rabbitmq.conf.</summary>
    protected virtual string Configuration => "";

    protected override string? Missing() => File.Exists(Program) ? null : "There is no RabbitMQ 3.10: apt-get install rabbitmq-server (Debian 12).";

    public override async Task StartAsync()
    {
        Directory.CreateDirectory(folder);
        await File.WriteAllTextAsync(Path.Combine(folder, "plugins"), $"[{Plugins}].");
        await File.WriteAllTextAsync(Path.Combine(folder, "rabbitmq.conf"), Configuration);
        server = Start(Program);
        await UntilItAnswersAsync();
    }

    public override Task StopAsync() => EndAsync("TERM");

    public override Task KillAsync() => EndAsync("KILL");

    public override Task PauseAsync() => SignalAsync("STOP");

    public override Task ResumeAsync() => SignalAsync("CONT");

    private async Task EndAsync(string signal)
    {
        await SignalAsync(signal);
        await server!.WaitForExitAsync();
        server.Dispose();
    }

    private async Task SignalAsync(string signal)
    {
        var pid = (await File.ReadAllTextAsync(Path.Combine(folder, "pid"))).Trim();
        using var kill = Process.Start("sh", ["-c", $"kill -{signal} {pid}"]);
        await kill.WaitForExitAsync();
    }

    protected override string Node => $"face-embed-{Port}@localhost";

    protected override string Home => folder;

    public override Task<string> ControlAsync(params string[] arguments) => RunAsync("/usr/lib/rabbitmq/bin/rabbitmqctl", ["-n", Node, .. arguments]);

    protected override Task<string> ShellAsync(string script, params string[] arguments) => RunAsync("sh", ["-c", script, "sh", .. arguments]);

    private async Task<string> RunAsync(string program, string[] arguments)
    {
        var said = new System.Text.StringBuilder();
        using var control = Start(program, line => said.AppendLine(line), arguments);
        await control.WaitForExitAsync();
        Assert.True(control.ExitCode == 0, said.ToString());
        return said.ToString();
    }

    protected override async Task RemoveAsync()
    {
        await StopAsync();
        using var epmd = Start("epmd", "-port", epmdPort.ToString(System.Globalization.CultureInfo.InvariantCulture), "-kill");
        await epmd.WaitForExitAsync();
        Directory.Delete(folder, recursive: true);
    }

    private Process Start(string program, params string[] arguments) => Start(program, _ => { }, arguments);

    private Process Start(string program, Action<string> said, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in new Dictionary<string, string>
        {
            ["HOME"] = folder,
            ["ERL_EPMD_PORT"] = $"{epmdPort}",
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_NODENAME"] = Node,
            ["RABBITMQ_NODE_PORT"] = $"{Port}",
            ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_DIST_PORT"] = $"{distributionPort}",
            ["RABBITMQ_MNESIA_BASE"] = Path.Combine(folder, "data"),
            ["RABBITMQ_LOG_BASE"] = Path.Combine(folder, "log"),
            ["RABBITMQ_PID_FILE"] = Path.Combine(folder, "pid"),
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(folder, "plugins"),
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = NoBusyWaiting,
            ["RABBITMQ_CONFIG_FILE"] = Path.Combine(folder, "rabbitmq.conf"),
        })
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, e) => said(e.Data ?? "");
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }
}

/// <summary>RabbitMQ 4 in a container; FACE_EMBED_RABBITMQ_IMAGE names another image than the public one.</summary>
public sealed class ContainerBroker : TestBroker
{
    private readonly string? folder;
    private RabbitMqContainer? container;

    public ContainerBroker()
    {
    }

    /// <param name="folder">Of this machine, for its data.</param>
    internal ContainerBroker(string folder) => this.folder = folder;

    protected override string User => "faces";

    protected override string? Missing() => DockerCommand.Missing();

    public override async Task StartAsync()
    {
        var builder = new RabbitMqBuilder(DockerCommand.RabbitMqImage)
            .WithHostname("broker") // the node's data is kept under the host's name
            .WithPortBinding(Port, RabbitMqBuilder.RabbitMqPort)
            .WithUsername(User)
            .WithPassword(User)
            .WithEnvironment("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", NoBusyWaiting);
        container ??= (folder is null ? builder : builder.WithBindMount(folder, "/var/lib/rabbitmq")).Build();
        await container.StartAsync();
        await UntilItAnswersAsync();
    }

    public override Task StopAsync() => container!.StopAsync();

    public override Task KillAsync() => DockerCommand.RunAsync("kill", container!.Id);

    /// <summary>Where a container's processes are just making others, it may not freeze at once (cgroups of version 1): it is let go again, and told.</summary>
    public override async Task PauseAsync()
    {
        for (var tries = 0; ; tries++)
        {
            try
            {
                await DockerCommand.RunAsync("pause", container!.Id);
                return;
            }
            catch (Xunit.Sdk.XunitException e) when (tries < 10 && e.Message.Contains("unable to freeze", StringComparison.Ordinal))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(200));
            }
        }
    }

    public override Task ResumeAsync() => DockerCommand.RunAsync("unpause", container!.Id);

    protected override string Node => "rabbit@broker";

    protected override string Home => "/var/lib/rabbitmq";

    public override Task<string> ControlAsync(params string[] arguments) => DockerCommand.RunAsync(["exec", container!.Id, "rabbitmqctl", .. arguments]);

    protected override Task<string> ShellAsync(string script, params string[] arguments) => DockerCommand.RunAsync(["exec", container!.Id, "sh", "-c", script, "sh", .. arguments]);

    protected override async Task RemoveAsync()
    {
        if (container is not null)
        {
            await container.DisposeAsync(); // a graceful stop would only cost time
        }
    }
}

/// <summary>The docker command.</summary>
internal static class DockerCommand
{
    public static string RabbitMqImage => Environment.GetEnvironmentVariable("FACE_EMBED_RABBITMQ_IMAGE") ?? "rabbitmq:4-alpine";

    private static readonly Lazy<string?> RabbitMqMissing = new(() => Missing(RabbitMqImage));

    /// <summary>Why RabbitMQ 4 cannot run in a container here; null: it can.</summary>
    public static string? Missing() => RabbitMqMissing.Value;

    /// <summary>Why no container of an image can run here; null: it can.</summary>
    internal static string? Missing(string image)
    {
        if (Run("version") is not null)
        {
            return "There is no Docker engine.";
        }

        return Run("image", "inspect", image) is null || Run("pull", "-q", image) is not { } why ? null
            : $"There is no image {image}, and it cannot be pulled: {why} FACE_EMBED_RABBITMQ_IMAGE names another, and tests/run makes one as root on Debian.";
    }

    /// <returns>Null where it did what it should; otherwise the last line of what it said.</returns>
    private static string? Run(params string[] arguments)
    {
        using var docker = Process.Start(new ProcessStartInfo("sh", ["-c", "timeout 60 docker \"$@\" 2>&1 >/dev/null", "docker", .. arguments]) { RedirectStandardOutput = true })!;
        var told = docker.StandardOutput.ReadToEnd().Trim();
        docker.WaitForExit();
        return docker.ExitCode == 0 ? null : told.Length > 0 ? told.Split('\n')[^1] : "no answer within a minute";
    }

    /// <summary>Runs it, and gives what it said.</summary>
    public static async Task<string> RunAsync(params string[] arguments)
    {
        using var docker = Process.Start(new ProcessStartInfo("docker", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, errors) = (docker.StandardOutput.ReadToEndAsync(), docker.StandardError.ReadToEndAsync());
        await docker.WaitForExitAsync();
        Assert.True(docker.ExitCode == 0, $"docker {string.Join(' ', arguments)}: {await errors}");
        return await output;
    }
}
