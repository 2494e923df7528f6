using System.Collections.Concurrent;
using System.Diagnostics;
using System.IO.Pipes;
using System.Reflection;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Commands;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>
/// A process that runs commands one after the other, for nearly all that most of them take is their start: a quarter to half a second of a core.
/// What a command says, and its exit code, are the program's own; whoever sends signals or changes the environment has a <see cref="FaceEmbed"/>.
/// </summary>
internal sealed class WarmProgram : IDisposable
{
    /// <summary>Ends what a command has said, on both streams; its exit code follows.</summary>
    private const char End = '\u0004';

    /// <summary>So many commands, and the process is let go: what they leave behind is no more than that.</summary>
    private const int Commands = 50;

    private static readonly ConcurrentBag<WarmProgram> Idle = [];

    private readonly AnonymousPipeServerStream toProgram = new(PipeDirection.Out, HandleInheritability.Inheritable);
    private readonly Process process;
    private int done;

    private WarmProgram()
    {
        process = FaceEmbed.StartProcess([toProgram.GetClientHandleAsString()], new() { ["DOTNET_STARTUP_HOOKS"] = typeof(WarmProgram).Assembly.Location });
        toProgram.DisposeLocalCopyOfClientHandle();
    }

    /// <summary>Before the program's own beginning: runs each command that it is told, a line of JSON each, until there is none any more.</summary>
    public static void Serve(string handle)
    {
        using var lines = new StreamReader(new AnonymousPipeClientStream(PipeDirection.In, handle));
        var main = typeof(RunCommand).Assembly.EntryPoint!;
        while (lines.ReadLine() is { } line)
        {
            var code = (int)main.Invoke(null, BindingFlags.DoNotWrapExceptions, null, [JsonSerializer.Deserialize<string[]>(line)!], null)!;
            Console.Out.Write($"{End}{code}\n");
            Console.Error.Write($"{End}{code}\n");
        }
    }

    public static async Task<(int ExitCode, string Output, string Errors)> RunAsync(string[] arguments)
    {
        if (!Idle.TryTake(out var program))
        {
            program = new WarmProgram();
        }

        var told = await program.CommandAsync(arguments);
        if (++program.done < Commands)
        {
            Idle.Add(program);
        }
        else
        {
            program.Dispose();
        }

        return told;
    }

    private async Task<(int ExitCode, string Output, string Errors)> CommandAsync(string[] arguments)
    {
        using var patience = new CancellationTokenSource(FaceEmbed.Patience);
        await toProgram.WriteAsync(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(arguments) + "\n"));
        var said = await Task.WhenAll(SaidAsync(process.StandardOutput, patience.Token), SaidAsync(process.StandardError, patience.Token));
        return (said[0].Code, said[0].Text, said[1].Text);
    }

    /// <summary>All that is said until the end of the command, as lines without the last one's end.</summary>
    private static async Task<(int Code, string Text)> SaidAsync(StreamReader from, CancellationToken cancel)
    {
        var lines = new List<string>();
        while (true)
        {
            var line = await from.ReadLineAsync(cancel) ?? throw new InvalidOperationException($"The program ended within a command. It said: {string.Join('\n', lines)}");
            if (line.IndexOf(End, StringComparison.Ordinal) is >= 0 and var end)
            {
                if (end > 0)
                {
                    lines.Add(line[..end]);
                }

                return (int.Parse(line[(end + 1)..], System.Globalization.CultureInfo.InvariantCulture), string.Join('\n', lines));
            }

            lines.Add(line);
        }
    }

    public void Dispose()
    {
        toProgram.Dispose();
        process.Dispose();
    }
}
