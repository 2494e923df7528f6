using System.Globalization;
using System.Text.RegularExpressions;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>What a person sees: the program in a terminal, and its screen read.</summary>
public sealed class TerminalTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-terminal-").FullName;

    [Theory]
    [InlineData(80)]
    [InlineData(140)]
    public async Task Embed_shows_a_table_and_a_sum(int columns)
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        Copies(11);
        File.WriteAllBytes(Path.Combine(folder, "noise.jpg"), [1, 2, 3]);
        await using var terminal = await Terminal.RunAsync(columns, 40, "embed", folder);

        var screen = await terminal.ShowsAsync("EXIT");

        var lines = screen.Split('\n');
        Assert.All(lines, line => Assert.True(line.Length <= columns));
        Assert.Equal(11, lines.Count(line => line.StartsWith("photo-", StringComparison.Ordinal) && line.Contains("embedded", StringComparison.Ordinal)));
        Assert.Contains(lines, line => line.StartsWith("noise.jpg", StringComparison.Ordinal) && line.Contains("undecodable", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("12 pictures in ", StringComparison.Ordinal) && line.EndsWith(": 11 faces, 0 without a face, 1 failed.", StringComparison.Ordinal));
        Assert.EndsWith("EXIT 1", screen, StringComparison.Ordinal);
        Assert.DoesNotContain("embedding", screen, StringComparison.Ordinal); // the bar is gone
        Assert.True(await terminal.ShowsCursorAsync());
    }

    [Fact]
    public async Task Complaints_go_above_the_bar()
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        Copies(12);
        for (var i = 0; i < 30; i++)
        {
            File.WriteAllBytes(Path.Combine(folder, $"large-{i:00}.jpg"), new byte[200_000]);
        }

        await using var terminal = await Terminal.RunAsync(100, 30, "embed", folder, "--out", Path.Combine(folder, "out.jsonl"), "--Images:MaxBytes=150000");
        var screen = await terminal.ShowsAsync("EXIT 1");
        Assert.Equal(Enumerable.Range(0, 30).Select(i => $"large-{i:00}.jpg"), screen.Split('\n').Where(l => l.StartsWith("face-embed: ", StringComparison.Ordinal)).Select(l => Path.GetFileName(l.Split(": ")[1])));
        Assert.Contains("42 pictures in ", screen, StringComparison.Ordinal);
    }

    /// <summary>A line of several rows where the bar was: none of the bar is left behind it, nor in the scrollback.</summary>
    [Fact]
    public async Task Nothing_of_the_bar_is_left_beside_a_line_that_wraps()
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        Copies(12); // so that the bar is there before the first line
        for (var i = 0; i < 30; i++)
        {
            File.WriteAllBytes(Path.Combine(folder, $"tall-{i:00}-{new string('x', 20 + i)}.jpg"), new byte[200_000]);
        }

        await using var terminal = await Terminal.RunAsync(80, 60, "embed", folder, "--out", Path.Combine(folder, "out.jsonl"), "--Images:MaxBytes=150000");
        var screen = await terminal.ShowsAsync("EXIT ");
        Assert.EndsWith("EXIT 1", screen, StringComparison.Ordinal);
        Assert.True(!screen.Contains('━', StringComparison.Ordinal) && !screen.Contains("embedding", StringComparison.Ordinal), screen);
    }

    [Fact]
    public async Task Ctrl_C_ends_it_with_what_is_done_and_gives_the_cursor_back()
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        Copies(400);
        await using var terminal = await Terminal.RunAsync(80, 40, "embed", folder, "--Jobs:Parallelism=1");
        await terminal.ShowsAsync("embedding");
        await terminal.ShowsAsync("1%");

        await terminal.PressAsync("C-c");

        var screen = await terminal.ShowsAsync("EXIT 130", seconds: 20);
        Assert.Contains(" of 400 in ", screen, StringComparison.Ordinal);
        Assert.Contains("photo-000.jpg", screen, StringComparison.Ordinal);
        Assert.Contains("face-embed: interrupted.", screen, StringComparison.Ordinal);
        Assert.True(await terminal.ShowsCursorAsync());
    }

    /// <summary>A terminal would break a line at its last column, in the middle of a word.</summary>
    [Theory]
    [InlineData("EXIT", "settings")]
    [InlineData("(publish)", "run", "--Broker:Uri=amqp://127.0.0.1:1/", "--Health:Url=")]
    public async Task Lines_are_broken_between_words(string until, params string[] verb)
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        var words = (verb[0] == "settings" ? (await FaceEmbed.RunAsync(verb)).Output : "Waiting for the broker at 127.0.0.1:1 (publish): Connection refused; next try in").Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).ToHashSet();
        await using var terminal = await Terminal.RunAsync(80, 40, verb);

        var screen = await terminal.ShowsAsync(until);

        var seen = screen.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).ToHashSet();
        Assert.Equal([], words.Where(word => word.Length < 70).Except(seen));
    }

    /// <summary>One row, that is true at each moment, and gone at the end.</summary>
    [Fact]
    public async Task What_waits_for_the_broker_counts_its_tries_on_one_row()
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        await using var terminal = await Terminal.RunAsync(100, 40, "results", "--Broker:Uri=amqp://127.0.0.1:1/");
        var tries = new List<int>();
        var end = DateTime.UtcNow.AddSeconds(60);
        for (var waits = ""; !waits.Contains("face-embed: ", StringComparison.Ordinal); waits = await terminal.ScreenAsync()) // on a busy machine not each try is seen
        {
            Assert.True(DateTime.UtcNow < end, waits);
            var row = Assert.Single(Regex.Matches(waits, @"^(Waiting for the broker at 127\.0\.0\.1:1 \(try (\d+)( now\)|, next in \d\.\d s\): Connection refused))?$"));
            tries.AddRange(row.Groups[2].Success ? [int.Parse(row.Groups[2].Value, CultureInfo.InvariantCulture)] : []);
        }

        Assert.Equal(tries.Order(), tries);
        Assert.InRange(tries.Distinct().Count(), 3, tries[^1]);
        var screen = await terminal.ShowsAsync("EXIT 69");
        Assert.StartsWith("face-embed: No answer from the broker at 127.0.0.1:1: Connection refused; tried for 30", screen, StringComparison.Ordinal);
        Assert.DoesNotContain("Waiting", screen, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_workers_warnings_are_yellow_and_its_lines_plain()
    {
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        await using var terminal = await Terminal.RunAsync(140, 40, "run", $"--Broker:Uri=amqp://127.0.0.1:{TestBroker.FreePort()}/", "--Health:Url=");

        await terminal.ShowsAsync("Waiting for the broker");
        var screen = await terminal.ColouredScreenAsync();
        Assert.Contains("\e[33mwarning\e[39m ", screen, StringComparison.Ordinal);
        Assert.Contains("Z information JobHandler: ", screen, StringComparison.Ordinal);
        await terminal.PressAsync("C-c");
        await terminal.ShowsAsync("EXIT 0");
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private void Copies(int count)
    {
        for (var i = 0; i < count; i++)
        {
            File.Copy(TestData.GraceHopper, Path.Combine(folder, $"photo-{i:000}.jpg"));
        }
    }
}
