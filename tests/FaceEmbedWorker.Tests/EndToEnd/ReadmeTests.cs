using System.Text.RegularExpressions;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The README's commands do what it says.</summary>
public partial class ReadmeTests
{
    private static readonly string Text = File.ReadAllText(Path.Combine(TestData.Repository, "README.md"));

    [Fact]
    public async Task The_quick_start_embeds_the_two_photos()
    {
        var command = CodeBlock().Matches(Text).Select(m => m.Groups[1].Value.Trim()).First(c => c.StartsWith("dotnet run", StringComparison.Ordinal));
        const string program = "dotnet run -c Release --project src/FaceEmbedWorker -- ";
        Assert.StartsWith(program, command, StringComparison.Ordinal);

        var (code, output, _) = await FaceEmbed.RunAsync(command[program.Length..].Split(' '));

        Assert.Equal(0, code);
        Assert.Equal(2, output.Split('\n').Count(l => l.Contains("\"outcome\":\"embedded\"", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_second_command_is_the_one_that_checks_everything()
    {
        Assert.Contains("tests/run", CodeBlock().Matches(Text).Select(m => m.Groups[1].Value.Trim()));
        Assert.True(File.Exists(Path.Combine(TestData.Repository, "tests", "run")));
    }

    [Theory]
    [InlineData("run")]
    [InlineData("embed")]
    [InlineData("submit")]
    [InlineData("verify")]
    [InlineData("bench")]
    [InlineData("model convert")]
    [InlineData("model inspect")]
    [InlineData("model check")]
    [InlineData("check")]
    [InlineData("health")]
    [InlineData("results")]
    [InlineData("dead-letters list")]
    [InlineData("dead-letters show")]
    [InlineData("dead-letters replay")]
    [InlineData("dead-letters discard")]
    [InlineData("topology show")]
    [InlineData("topology declare")]
    [InlineData("topology prune")]
    [InlineData("completion")]
    public async Task A_verbs_help_has_the_options_of_the_readme(string verb)
    {
        var row = Text.Split('\n').First(l => l.StartsWith($"| `face-embed {verb}", StringComparison.Ordinal));
        var (_, help, _) = await FaceEmbed.RunAsync([.. verb.Split(' '), "--help"]);
        Assert.All(Option().Matches(row.Split("` |")[0]).Select(m => m.Value), option => Assert.Contains(option, help, StringComparison.Ordinal));
        Assert.Equal(Option().Matches(help).Select(m => m.Value).Where(o => o is not "--help").Distinct().Order(), Option().Matches(row.Split("` |")[0]).Select(m => m.Value).Order());
    }

    [GeneratedRegex("```\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CodeBlock();

    [GeneratedRegex("--[a-z][a-z-]+")]
    private static partial Regex Option();
}
