using System.Collections.Concurrent;
using System.Diagnostics;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The program as a process of its own, as its users run it.</summary>
internal sealed class FaceEmbed : IAsyncDisposable
{
    private readonly Process process;
    private readonly ConcurrentQueue<string> output = new();
    private readonly ConcurrentQueue<string> errors = new();

    /// <summary>A table's words, without its lines.</summary>
    public static string Flat(string table) => string.Join(' ', table.Split((char[])['│', ' ', '\n'], StringSplitOptions.RemoveEmptyEntries));

    private FaceEmbed(string[] arguments, Dictionary<string, string?>? environment = null)
    {
        process = StartProcess(arguments, environment ?? []);
        process.OutputDataReceived += (_, e) => Add(output, e.Data);
        process.ErrorDataReceived += (_, e) => Add(errors, e.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    /// <summary>Starts the program as users do, whatever this process ignores or has among its environment's settings.</summary>
    internal static Process StartProcess(string[] arguments, Dictionary<string, string?> environment)
    {
        // whoever runs the tests in the background ignores SIGINT, and so would all that they start
        string[] command = [.. OperatingSystem.IsLinux() ? ["env", "--default-signal=INT,HUP"] : Array.Empty<string>(), "dotnet", Path.Combine(AppContext.BaseDirectory, "face-embed.dll"), .. arguments];
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = TestData.Repository,
        };
        foreach (var name in start.Environment.Keys.Where(k => k.StartsWith("FaceEmbed__", StringComparison.Ordinal)).ToList())
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    public string Output => string.Join('\n', output);

    public string Errors => string.Join('\n', errors);

    public int Id => process.Id;

    /// <summary>What a command may take: 235 crowded photos at the finest, beside five other programs.</summary>
    internal static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>Runs a command to its end: a worker in a process of its own, all else in a <see cref="WarmProgram"/>.</summary>
    public static Task<(int ExitCode, string Output, string Errors)> RunAsync(params string[] arguments) => arguments.Contains("run") ? RunAsync(arguments, []) : WarmProgram.RunAsync(arguments);

    /// <summary>In a process of its own.</summary>
    public static async Task<(int ExitCode, string Output, string Errors)> RunAsync(string[] arguments, Dictionary<string, string?> environment)
    {
        await using var program = new FaceEmbed(arguments, environment);
        var code = await program.ExitAsync();
        return (code, program.Output, program.Errors);
    }

    /// <summary>
    /// Settings where what becomes of a job is looked at, not of a face: no self-test, and models of a few operators, which is most of the
    /// work of such a test. The shipped models where jobs are many (tests/chaos).
    /// </summary>
    public static string[] Light => [.. Chaos.Ledger.Full ? [] : TinyOnnx.Settings, "--Faces:SelfTest=Off"];

    /// <summary>Starts a worker with <see cref="Light"/> and waits until it takes jobs.</summary>
    public static Task<FaceEmbed> WorkerAsync(BrokerProbe probe, params string[] settings) => WorkerAsync(probe, new Dictionary<string, string?>(), settings);

    public static Task<FaceEmbed> WorkerAsync(BrokerProbe probe, Dictionary<string, string?> environment, params string[] settings) =>
        StartedAsync(["run", .. probe.Settings, .. Light, .. settings], environment);

    /// <summary>With the shipped models: vectors or times are looked at.</summary>
    public static Task<FaceEmbed> ShippedWorkerAsync(BrokerProbe probe, params string[] settings) => ShippedWorkerAsync(probe, new Dictionary<string, string?>(), settings);

    public static Task<FaceEmbed> ShippedWorkerAsync(BrokerProbe probe, Dictionary<string, string?> environment, params string[] settings) =>
        StartedAsync(["run", .. probe.Settings, "--Faces:SelfTest=Off", .. settings], new(environment) { ["DOTNET_TC_QuickJitForLoops"] = "0" }); // as shipped: with pictures of some size it pays

    private static async Task<FaceEmbed> StartedAsync(string[] arguments, Dictionary<string, string?> environment)
    {
        var worker = new FaceEmbed(arguments, environment);
        await worker.SaidAsync("Ready: taking jobs");
        return worker;
    }

    public static FaceEmbed Start(params string[] arguments) => new(arguments);

    public static FaceEmbed Start(string[] arguments, Dictionary<string, string?> environment) => new(arguments, environment);

    public bool Running => !process.HasExited;

    /// <summary>Ends it as kill -9 does.</summary>
    public async Task KillAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
    }

    /// <summary>Waits until its output has a text.</summary>
    public async Task SaidAsync(string text, int seconds = 60)
    {
        for (var end = DateTime.UtcNow.AddSeconds(seconds); !Output.Contains(text, StringComparison.Ordinal); await Task.Delay(20))
        {
            Assert.False(process.HasExited, $"The program ended without saying '{text}': {Output}\n{Errors}");
            Assert.True(DateTime.UtcNow < end, $"After {seconds} s the program has not said '{text}': {Output}\n{Errors}");
        }
    }

    /// <summary>Sends SIGTERM and waits for the end.</summary>
    public Task<int> TerminateAsync() => EndAsync("TERM");

    /// <summary>The same as Ctrl-C in a terminal.</summary>
    public Task<int> InterruptAsync() => EndAsync("INT");

    /// <summary>The same as a terminal that is closed.</summary>
    public Task<int> HangUpAsync() => EndAsync("HUP");

    private async Task<int> EndAsync(string signal)
    {
        using var kill = Process.Start("sh", ["-c", $"kill -{signal} {process.Id}"]);
        return await ExitAsync();
    }

    public async Task<int> ExitAsync()
    {
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"The program has not ended. It said: {Output}\n{Errors}");
        }

        return process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
        {
            process.Kill();
            await process.WaitForExitAsync();
        }

        process.Dispose();
    }

    private static void Add(ConcurrentQueue<string> lines, string? line)
    {
        if (line is not null)
        {
            lines.Enqueue(line);
        }
    }
}
