using System.Diagnostics;
using System.Text.RegularExpressions;
using YamlDotNet.RepresentationModel;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>What the project's host runs: read as actionlint reads it, as far as that can be done without it.</summary>
public partial class ProjectTests
{
    private static readonly string Folder = Path.Combine(TestData.Repository, ".github");

    public static TheoryData<string> Workflows => [.. Directory.GetFiles(Path.Combine(Folder, "workflows")).Select(f => Path.GetFileName(f)!)];

    /// <summary>
    /// Known keys only, an end in time, least rights, actions by their commit, and scripts that parse and into which no stranger's text is
    /// pasted.
    /// </summary>
    [Theory]
    [MemberData(nameof(Workflows))]
    public void A_workflow_is_one(string file)
    {
        var text = File.ReadAllText(Path.Combine(Folder, "workflows", file));
        var workflow = Map(Load(text));
        Known(workflow, "name", "on", "permissions", "concurrency", "env", "jobs");
        Assert.Equal("read", Value(Map(workflow["permissions"])["contents"]));
        var jobs = Map(workflow["jobs"]);
        foreach (var (name, node) in jobs)
        {
            var job = Map(node);
            Known(job, "if", "needs", "strategy", "runs-on", "timeout-minutes", "permissions", "env", "steps");
            Assert.InRange(int.Parse(Value(job["timeout-minutes"]), System.Globalization.CultureInfo.InvariantCulture), 1, 90);
            Assert.True(job.ContainsKey("runs-on"), name);
            Assert.True(!job.TryGetValue("needs", out var needs) || jobs.ContainsKey(Value(needs)));
            foreach (var step in ((YamlSequenceNode)job["steps"]).Select(Map))
            {
                Known(step, "id", "name", "if", "uses", "with", "run", "env");
                Assert.True(step.ContainsKey("uses") != step.ContainsKey("run"));
                if (step.TryGetValue("run", out var run))
                {
                    Assert.DoesNotContain("${{", Value(run), StringComparison.Ordinal);
                    Assert.True(Parses(Value(run)), Value(run));
                }
                else
                {
                    Assert.Matches("^[a-z-]+/[a-z-]+@[0-9a-f]{40}$", Value(step["uses"]));
                }
            }
        }

        Assert.All(text.Split('\n').Where(l => l.Contains("uses: ", StringComparison.Ordinal)), line => Assert.Matches("@[0-9a-f]{40} # v[0-9.]+$", line));
        Assert.All(Named().Matches(text).Select(m => m.Value), path => Assert.True(File.Exists(Path.Combine(TestData.Repository, path)), path));
    }

    /// <summary>Only what was tested is published, under a name that a registry takes, and it calls itself what its tag does.</summary>
    [Fact]
    public async Task A_release_is_tested_and_is_of_the_version_of_its_tag()
    {
        var jobs = Map(Map(Load(File.ReadAllText(Path.Combine(Folder, "workflows", "release.yml"))))["jobs"]);
        Assert.Contains(Steps("test"), s => s.TryGetValue("run", out var run) && Value(run) == "tests/run");
        Assert.All(jobs.Where(j => Map(j.Value).TryGetValue("permissions", out var may) && Map(may).ContainsKey("packages")), j => Assert.Equal("test", Value(Map(j.Value)["needs"])));

        var name = Value(Assert.Single(Steps("image"), s => s.TryGetValue("id", out var id) && Value(id) == "name")["run"]);
        Assert.Equal("image=ghcr.io/someone/facesof", await BashAsync(name.Replace(">> \"$GITHUB_OUTPUT\"", "", StringComparison.Ordinal), ("GITHUB_REPOSITORY", "Someone/FacesOf")));

        var arguments = Value(Map(Assert.Single(Steps("image"), s => s.TryGetValue("id", out var id) && Value(id) == "build")["with"])["build-args"]);
        Assert.Equal("VERSION=${{ steps.meta.outputs.version }}", arguments);
        var publishes = File.ReadAllLines(Path.Combine(TestData.Repository, "deploy", "Dockerfile")).Where(l => l.Contains("dotnet publish", StringComparison.Ordinal)).ToArray();
        Assert.Equal(2, publishes.Length);
        Assert.All(publishes, l => Assert.Contains(" ${VERSION:+-p:Version=$VERSION} ", l, StringComparison.Ordinal));
        Assert.Equal("-p:Version=1.2.3", await BashAsync("echo ${VERSION:+-p:Version=$VERSION}", ("VERSION", "1.2.3")));
        var told = await BashAsync($"dotnet msbuild {Path.Combine(TestData.Repository, "src", "FaceEmbedWorker")} -p:Version=1.2.3 -t:GetAssemblyVersion -getProperty:InformationalVersion", ("VERSION", ""));
        Assert.Equal("1.2.3", told);

        IEnumerable<Dictionary<string, YamlNode>> Steps(string job) => ((YamlSequenceNode)Map(jobs[job])["steps"]).Select(Map);
    }

    [Fact]
    public void The_other_files_are_yaml_of_their_kind()
    {
        var dependabot = Map(Load(File.ReadAllText(Path.Combine(Folder, "dependabot.yml"))));
        Assert.Equal("2", Value(dependabot["version"]));
        Assert.All(((YamlSequenceNode)dependabot["updates"]).Select(Map), update => Assert.True(Directory.Exists(Path.Combine(TestData.Repository, Value(update["directory"]).TrimStart('/')))));
        Assert.All(Directory.GetFiles(Path.Combine(Folder, "ISSUE_TEMPLATE")), file =>
        {
            var form = Map(Load(File.ReadAllText(file)));
            Known(form, "name", "description", "body");
            Assert.All(((YamlSequenceNode)form["body"]).Select(Map), item => Known(item, "type", "id", "attributes", "validations"));
        });
    }

    /// <summary>CONTRIBUTING promises that its fast set needs no broker, and a minute would be too long for it.</summary>
    [Fact]
    public void The_fast_set_needs_no_broker()
    {
        var command = File.ReadAllText(Path.Combine(TestData.Repository, "CONTRIBUTING.md")).Split("--filter-namespace ")[1].Split('#')[0].Split(" --filter-not-class ");
        var (namespaces, without) = (command[0].Split([' ', '\\', '\n'], StringSplitOptions.RemoveEmptyEntries), command[1].Split([' ', '\'', '*'], StringSplitOptions.RemoveEmptyEntries));
        var classes = typeof(ProjectTests).Assembly.GetTypes().Where(t => t.GetMethods().Any(m => m.IsDefined(typeof(FactAttribute), inherit: true))).ToArray();
        Assert.All(namespaces, name => Assert.Contains(classes, c => c.Namespace == name));
        Assert.All(classes.Where(c => namespaces.Contains(c.Namespace) && !without.Any(name => c.Name.EndsWith(name, StringComparison.Ordinal))), c => Assert.False(c.IsDefined(typeof(CollectionAttribute), inherit: true), $"{c} shares a fixture, such as a broker."));
        Assert.Contains(classes, c => c == typeof(WorkerTests) || c.IsDefined(typeof(CollectionAttribute), inherit: true)); // otherwise nothing was looked at
    }

    /// <summary>Before anything is built, and not as a run of none that found nothing.</summary>
    [Theory]
    [InlineData("simulate 0")]
    [InlineData("simulate -5")]
    [InlineData("simulate abc")]
    [InlineData("simulate 5 x")]
    [InlineData("simulate --seed")]
    [InlineData("simulate \"3 5\"")]
    [InlineData("fuzz")]
    [InlineData("fuzz nothing 3")]
    [InlineData("fuzz card soon")]
    [InlineData("mutate")]
    [InlineData("mutate Nothing")]
    [InlineData("mutate Jobs Nothing")]
    public async Task The_commands_of_the_tests_tell_in_a_line_what_they_do_not_take(string command)
    {
        var told = await BashAsync($"code=0; \"$ROOT\"/tests/{command} 2>&1 || code=$?; echo $code", ("ROOT", TestData.Repository));
        Assert.Equal("64", Assert.Single(told.Split('\n')[1..]));
        Assert.Contains($"tests/{command.Split(' ')[0]}", told, StringComparison.Ordinal);
    }

    /// <summary>
    /// Where a script ends with the first command that fails, one that leaves a pipe before all is written ends it now and then: the writer
    /// fails. (The list of where the time went took the last line of tests/run with it.)
    /// </summary>
    [Fact]
    public void No_command_of_the_tests_leaves_a_pipe_early()
    {
        var scripts = Directory.GetFiles(Path.Combine(TestData.Repository, "tests")).Where(f => Path.GetExtension(f).Length == 0).Select(File.ReadAllText).Where(t => t.Contains("pipefail", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(scripts);
        Assert.All(scripts, text => Assert.DoesNotMatch(LeavesEarly(), text));
    }

    [GeneratedRegex(@"\|\s*(head|grep (-\w*q|-m))\b")]
    private static partial Regex LeavesEarly();

    private static YamlNode Load(string text)
    {
        var yaml = new YamlStream();
        yaml.Load(new StringReader(text));
        return yaml.Documents.Single().RootNode;
    }

    private static Dictionary<string, YamlNode> Map(YamlNode node) => ((YamlMappingNode)node).Children.ToDictionary(c => Value(c.Key), c => c.Value);

    private static string Value(YamlNode node) => ((YamlScalarNode)node).Value!;

    private static void Known(Dictionary<string, YamlNode> map, params string[] keys) => Assert.Empty(map.Keys.Except(keys));

    private static async Task<string> BashAsync(string script, (string Name, string Value) variable)
    {
        var start = new ProcessStartInfo("bash", ["-ec", script]) { RedirectStandardOutput = true };
        start.Environment[variable.Name] = variable.Value;
        using var bash = Process.Start(start)!;
        var output = await bash.StandardOutput.ReadToEndAsync();
        await bash.WaitForExitAsync();
        Assert.Equal(0, bash.ExitCode);
        return output.Trim();
    }

    private static bool Parses(string script)
    {
        using var bash = Process.Start(new ProcessStartInfo("bash", ["-n", "-c", script]) { RedirectStandardError = true })!;
        bash.WaitForExit();
        return bash.ExitCode == 0;
    }

    [GeneratedRegex(@"\b(deploy/Dockerfile|tests/run|global\.json)\b")]
    private static partial Regex Named();
}
