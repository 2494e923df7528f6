using System.Diagnostics;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A terminal of a given size, whose screen can be read: tmux, on a socket of its own.</summary>
internal sealed class Terminal : IAsyncDisposable
{
    private readonly string socket = $"face-embed-{Guid.NewGuid():N}";

    private Terminal()
    {
    }

    public static bool Exists { get; } = OperatingSystem.IsLinux() && File.Exists("/usr/bin/tmux");

    /// <summary>Runs the program in it; "EXIT" and its exit code are the last line.</summary>
    public static Task<Terminal> RunAsync(int columns, int rows, params string[] arguments) => StartAsync(columns, rows, $"{Command(arguments)}; echo EXIT $?");

    /// <summary>The same with its standard output piped into another program; its input and its errors stay the terminal's.</summary>
    public static Task<Terminal> RunPipedAsync(int columns, int rows, string into, params string[] arguments) =>
        StartAsync(columns, rows, $"({Command(arguments)}; echo EXIT $? >&2) | {into}");

    private static string Command(string[] arguments) => string.Join(' ', new[] { "dotnet", Path.Combine(AppContext.BaseDirectory, "face-embed.dll") }.Concat(arguments).Select(a => $"'{a}'"));

    private static async Task<Terminal> StartAsync(int columns, int rows, string command)
    {
        var terminal = new Terminal();
        await terminal.TmuxAsync("new-session", "-d", "-x", $"{columns}", "-y", $"{rows}", "-c", TestData.Repository, $"{command}; sleep 600");
        return terminal;
    }

    /// <summary>What is on the screen and what went off it above, without the empty lines at its end.</summary>
    public async Task<string> ScreenAsync() => (await TmuxAsync("capture-pane", "-p", "-S", "-2000")).TrimEnd();

    /// <summary>The same with its colours, as escape codes.</summary>
    public Task<string> ColouredScreenAsync() => TmuxAsync("capture-pane", "-p", "-e", "-S", "-2000");

    public async Task<bool> ShowsCursorAsync() => (await TmuxAsync("display-message", "-p", "#{cursor_flag}")).Trim() == "1";

    public Task PressAsync(string key) => TmuxAsync("send-keys", key);

    /// <summary>Waits until the screen has a text.</summary>
    public async Task<string> ShowsAsync(string text, int seconds = 60)
    {
        for (var end = DateTime.UtcNow.AddSeconds(seconds); ; await Task.Delay(50))
        {
            var screen = await ScreenAsync();
            if (screen.Contains(text, StringComparison.Ordinal))
            {
                return screen;
            }

            Assert.True(DateTime.UtcNow < end, $"After {seconds} s the screen does not show '{text}':\n{screen}");
        }
    }

    public async ValueTask DisposeAsync() => await TmuxAsync("kill-server");

    private async Task<string> TmuxAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("tmux", ["-f", "/dev/null", "-L", socket, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["TERM"] = "xterm-256color";
        start.Environment["LC_ALL"] = "C.UTF-8";
        using var tmux = Process.Start(start)!;
        var output = await tmux.StandardOutput.ReadToEndAsync();
        await tmux.WaitForExitAsync();
        return output;
    }
}
