using System.Text.RegularExpressions;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The commands of README and docs do what these say.</summary>
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
    [InlineData("model quantize")]
    [InlineData("check")]
    [InlineData("health")]
    [InlineData("results")]
    [InlineData("dead-letters list")]
    [InlineData("dead-letters show")]
    [InlineData("dead-letters replay")]
    [InlineData("dead-letters discard")]
    [InlineData("dead-letters web")]
    [InlineData("topology show")]
    [InlineData("topology declare")]
    [InlineData("topology prune")]
    [InlineData("completion")]
    public async Task A_verbs_help_has_the_options_of_the_documentation(string verb)
    {
        var heading = Page("commands.md").Split('\n').First(l => l.StartsWith($"### `face-embed {verb}", StringComparison.Ordinal));
        var (_, help, _) = await FaceEmbed.RunAsync([.. verb.Split(' '), "--help"]);
        Assert.Equal(Option().Matches(help).Select(m => m.Value).Where(o => o is not "--help").Distinct().Order(), Option().Matches(heading).Select(m => m.Value).Order());
    }

    [Fact]
    public void The_readme_is_short() => Assert.Multiple(
        () => Assert.InRange(Text.Count(c => c == '\n'), 1, 200),
        () => Assert.All(Text.Split('\n'), line => Assert.InRange(line.Length, 0, 120)));

    /// <summary>Files and headings of this repository that a page points to.</summary>
    [Fact]
    public void Every_link_of_a_page_leads_somewhere()
    {
        string[] pages = [.. Directory.GetFiles(TestData.Repository, "*.md"), .. Directory.GetFiles(Path.Combine(TestData.Repository, "docs"), "*.md"),
            .. ((string[])["src", "tests", "deploy", "models"]).Select(folder => Path.Combine(TestData.Repository, folder, "README.md"))];
        Assert.All(pages, page => Assert.All(Link().Matches(File.ReadAllText(page)).Select(m => m.Groups[1].Value), link =>
        {
            var (file, heading) = link.Split('#') is [var f, var h] ? (f, h) : (link, "");
            var target = file.Length > 0 ? Path.GetFullPath(file, Path.GetDirectoryName(page)!) : page;
            Assert.True(File.Exists(target) || Directory.Exists(target), $"{page}: {link}");
            Assert.True(heading.Length == 0 || Heading().Matches(File.ReadAllText(target)).Any(m => Anchor(m.Groups[1].Value) == heading), $"{page}: {link}");
        }));

        static string Anchor(string title) => new([.. title.ToLowerInvariant().Replace(' ', '-').Where(c => char.IsLetterOrDigit(c) || c is '-' or '_')]);
    }

    private static string Page(string name) => File.ReadAllText(Path.Combine(TestData.Repository, "docs", name));

    [GeneratedRegex("```\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CodeBlock();

    [GeneratedRegex("--[a-z][a-z-]+")]
    private static partial Regex Option();

    [GeneratedRegex(@"\]\((?!https?:)([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (.*)$", RegexOptions.Multiline)]
    private static partial Regex Heading();
}
