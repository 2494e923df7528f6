using System.Text.RegularExpressions;

namespace FaceEmbedWorker.Tests;

/// <summary>The arrows of src/README.md as code.</summary>
public partial class LayeringTests
{
    private static readonly Dictionary<string, string[]> MayUse = new()
    {
        ["Commands"] = ["Web", "Broker", "Jobs", "Faces", "Images", "Onnx"],
        ["Web"] = ["Broker", "Jobs", "Faces", "Images"],
        ["Broker"] = ["Jobs", "Faces", "Images"],
        ["Jobs"] = ["Faces", "Images"],
        ["Faces"] = ["Images", "Onnx"],
        ["Images"] = [],
        ["Onnx"] = [],
    };

    private static readonly Dictionary<string, string[]> Libraries = new()
    {
        ["RabbitMQ.Client"] = ["Broker"],
        ["Microsoft.ML.OnnxRuntime"] = ["Faces"],
        ["NetVips"] = ["Images"],
        ["SixLabors.ImageSharp"] = ["Images"],
        ["Google.Protobuf"] = ["Onnx"],
        ["System.CommandLine"] = ["Commands", "Program.cs"],
        ["Spectre.Console"] = ["Commands"],
        ["Polly"] = ["Broker", "Images"],
        ["Amazon"] = ["Images"],
        ["Microsoft.AspNetCore"] = ["Web"],
        ["OpenTelemetry"] = ["Commands", "Web"],
    };

    private static readonly string Source = Path.Combine(TestData.Repository, "src", "FaceEmbedWorker");

    [Fact]
    public void Folders_use_only_those_below_them()
    {
        foreach (var (file, text) in Files().Where(f => f.File != "Program.cs"))
        {
            var folder = file.Split('/')[0];
            Assert.True(MayUse.ContainsKey(folder), $"{folder} is no folder of the design.");
            foreach (Match match in Own().Matches(text))
            {
                var used = match.Groups[1].Value;
                Assert.True(used == folder || MayUse[folder].Contains(used), $"{file} uses {used}, which is not below {folder}.");
            }
        }
    }

    [Fact]
    public void Each_library_is_named_in_one_folder()
    {
        foreach (var (file, text) in Files())
        {
            foreach (var (library, places) in Libraries)
            {
                Assert.True(!text.Contains($"using {library}", StringComparison.Ordinal) || places.Any(p => file.StartsWith(p, StringComparison.Ordinal)), $"{file} names {library}.");
            }
        }
    }

    [Fact]
    public void Rooms_of_the_broker_fit_a_few_screens() =>
        Assert.All(Files().Where(f => f.File.StartsWith("Broker/", StringComparison.Ordinal)), f => Assert.InRange(f.Text.Split('\n').Length, 1, 301));

    /// <summary>What is printed is somebody else's text, and goes through one door.</summary>
    [Fact]
    public void Only_the_screen_prints() =>
        Assert.All(Files().Where(f => f.File is not ("Commands/Screen.cs" or "Commands/Progress.cs")), f => Assert.DoesNotMatch(@"Console\.(Write|Error|Out)|AnsiConsole|Markup\.", f.Text));

    private static IEnumerable<(string File, string Text)> Files() => Directory.EnumerateFiles(Source, "*.cs", SearchOption.AllDirectories)
        .Select(f => (File: Path.GetRelativePath(Source, f).Replace('\\', '/'), Text: File.ReadAllText(f)))
        .Where(f => !f.File.StartsWith("obj/", StringComparison.Ordinal) && !f.File.StartsWith("bin/", StringComparison.Ordinal));

    [GeneratedRegex(@"FaceEmbedWorker\.(Web|Broker|Jobs|Faces|Images|Onnx|Commands)\b(?<!namespace FaceEmbedWorker\.\w+)")]
    private static partial Regex Own();
}
