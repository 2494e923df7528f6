using System.Collections.Concurrent;
using System.Diagnostics;
using System.IO.Pipes;
using System.Reflection;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Commands;

[assembly: AssemblyFixture(typeof(FaceEmbedWorker.Tests.EndToEnd.WarmPrograms))]

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>
/// A process that runs commands one after the other, for nearly all that most of them take is their start: a quarter to half a second of a core.
/// What a command says, and its exit code, are the program's own, and in the end the process ends as the program does: a thread that a command
/// has left behind, or a fault at the end, fails a test. Whoever sends signals or changes the environment has a <see cref="FaceEmbed"/>.
/// </summary>
internal sealed class WarmProgram : IAsyncDisposable
{
    /// <summary>Where the process finds the pipe on which it is told its commands, and the mark that ends what each of them says.</summary>
    private const string Told = "FACE_EMBED_TEST_COMMANDS";

    /// <summary>Beyond this a process is let go: the models of past commands are still in it.</summary>
    private const long Memory = 600_000_000;

    private static readonly ConcurrentBag<WarmProgram> Idle = [];

    private readonly AnonymousPipeServerStream toProgram = new(PipeDirection.Out, HandleInheritability.Inheritable);
    private readonly string mark = $"{Guid.NewGuid():N} ";
    private readonly List<string> commands = [];
    private readonly Process process;

    private WarmProgram()
    {
        process = FaceEmbed.StartProcess(["--version"], new() { ["DOTNET_STARTUP_HOOKS"] = typeof(WarmProgram).Assembly.Location, [Told] = $"{toProgram.GetClientHandleAsString()} {mark}" });
        toProgram.DisposeLocalCopyOfClientHandle();
    }

    /// <summary>In the process, before the program's own beginning: runs each command that it is told, a line of JSON each, until there is none any more.</summary>
    public static void Serve()
    {
        var told = Environment.GetEnvironmentVariable(Told)!.Split(' ', 2);
        Environment.SetEnvironmentVariable(Told, null);
        Environment.SetEnvironmentVariable("DOTNET_STARTUP_HOOKS", null);
        using var lines = new StreamReader(new AnonymousPipeClientStream(PipeDirection.In, told[0]));
        var main = typeof(RunCommand).Assembly.EntryPoint!;
        while (lines.ReadLine() is { } line)
        {
            var code = (int)main.Invoke(null, BindingFlags.DoNotWrapExceptions, null, [JsonSerializer.Deserialize<string[]>(line)!], null)!;
            Console.Out.Write($"{told[1]}{(byte)code}\n");
            Console.Error.Write($"{told[1]}{(byte)code}\n");
        }
    }

    public static async Task<(int ExitCode, string Output, string Errors)> RunAsync(string[] arguments)
    {
        if (!Idle.TryTake(out var program))
        {
            program = new WarmProgram();
        }

        Assert.False(program.process.HasExited, $"The program ended after these commands: {string.Join("; ", program.commands)}");
        var (output, errors, code) = (new List<string>(), new List<string>(), (int?)null);
        try
        {
            code = await program.CommandAsync(arguments, output, errors);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            program.process.Kill();
            Assert.Fail($"{program.commands[^1]}: {(e is IOException ? "the program ended without an exit code." : $"not ended after {FaceEmbed.Patience}.")} It said: {string.Join('\n', output.Concat(errors))}");
        }

        program.process.Refresh();
        if (program.process.WorkingSet64 < Memory)
        {
            Idle.Add(program);
        }
        else
        {
            await program.DisposeAsync();
        }

        return (code.Value, string.Join('\n', output), string.Join('\n', errors));
    }

    /// <summary>Ends those that wait for a command.</summary>
    public static async Task EndAllAsync()
    {
        while (Idle.TryTake(out var program))
        {
            await program.DisposeAsync();
        }
    }

    private async Task<int> CommandAsync(string[] arguments, List<string> output, List<string> errors)
    {
        commands.Add(string.Join(' ', arguments));
        using var patience = new CancellationTokenSource(FaceEmbed.Patience);
        await toProgram.WriteAsync(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(arguments) + "\n"));
        var codes = await Task.WhenAll(SaidAsync(process.StandardOutput, output, patience.Token), SaidAsync(process.StandardError, errors, patience.Token));
        return codes[0];
    }

    /// <summary>All that is said until the end of the command, as lines.</summary>
    /// <returns>The exit code.</returns>
    private async Task<int> SaidAsync(StreamReader from, List<string> lines, CancellationToken cancel)
    {
        while (true)
        {
            var line = await from.ReadLineAsync(cancel) ?? throw new EndOfStreamException();
            if (line.IndexOf(mark, StringComparison.Ordinal) is >= 0 and var end)
            {
                if (end > 0)
                {
                    lines.Add(line[..end]);
                }

                return int.Parse(line[(end + mark.Length)..], System.Globalization.CultureInfo.InvariantCulture);
            }

            lines.Add(line);
        }
    }

    /// <summary>No more commands: the program says its version, and ends.</summary>
    public async ValueTask DisposeAsync()
    {
        await toProgram.DisposeAsync();
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(patience.Token), process.StandardError.ReadToEndAsync(patience.Token));
            await process.WaitForExitAsync(patience.Token);
            Assert.True(process.ExitCode == 0, $"The program ended with {process.ExitCode} after these commands: {string.Join("; ", commands)}\n{await output}\n{await errors}");
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            Assert.Fail($"The program does not end after these commands: {string.Join("; ", commands)}");
        }
        finally
        {
            process.Dispose();
        }
    }
}

/// <summary>Ends the warm processes after the last test.</summary>
public sealed class WarmPrograms : IAsyncDisposable
{
    public async ValueTask DisposeAsync() => await WarmProgram.EndAllAsync();
}
