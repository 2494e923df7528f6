using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Commands;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Commands;

public class SettingsTests
{
    [Fact]
    public void The_command_line_is_parted_into_arguments_and_settings()
    {
        var (arguments, settings) = Settings.Split(["embed", "a:b.jpg", "--Jobs:Mode=Image", "--Broker:Uri", "amqp://x", "--out", "o.jsonl"]);
        Assert.Equal(["embed", "a:b.jpg", "--out", "o.jsonl"], arguments);
        Assert.Equal(["--Jobs:Mode=Image", "--Broker:Uri=amqp://x"], settings);
    }

    [Fact]
    public void A_setting_of_the_command_line_is_used()
    {
        using var services = Build("--Jobs:Mode=Image", "--Broker:RetryDelays=0.1,2");
        Assert.Equal(EmbedMode.Image, services.GetRequiredService<IOptions<JobOptions>>().Value.Mode);
        Assert.Equal([TimeSpan.FromSeconds(0.1), TimeSpan.FromSeconds(2)], services.GetRequiredService<IOptions<BrokerOptions>>().Value.Ladder);
    }

    [Theory]
    [InlineData("--Broker:Prefetch=-1", "Broker:Prefetch")]
    [InlineData("--Broker:Uri=http://x", "Broker:Uri")]
    [InlineData("--Broker:RetryDelays=1,,5", "Broker:RetryDelays")]
    [InlineData("--Broker:RetryDelays=soon", "Broker:RetryDelays")]
    [InlineData("--Broker:Urii=amqp://x", "Broker:Urii")]
    [InlineData("--Jobs:Mode=both", "Jobs:Mode")]
    [InlineData("--Jobs:Mode=7", "Jobs:Mode")]
    [InlineData("--Jobs:DeadlineSeconds=0", "Jobs:DeadlineSeconds")]
    [InlineData("--Images:MaxBytes=0", "Images:MaxBytes")]
    [InlineData("--Images:MaxBytes=2000000000", "Images:MaxBytes")]
    [InlineData("--Images:MaxPixels=1000000000", "Images:MaxPixels")]
    [InlineData("--Images:MaxProgressivePixels=1000000000", "Images:MaxProgressivePixels")]
    [InlineData("--Images:MaxMemory=1000", "Images:MaxMemory")]
    [InlineData("--Images:MaxSide=0", "Images:MaxSide")]
    [InlineData("--Images:MaxScans=10000", "Images:MaxScans")]
    [InlineData("--Faces:DetectionThreshold=2", "Faces:DetectionThreshold")]
    [InlineData("--Face:DetectionThreshold=0.5", "'Face'")]
    public void A_wrong_setting_names_itself(string argument, string name) =>
        Assert.Contains(name, Assert.Throws<SettingsException>(() => Build(argument)).Message, StringComparison.Ordinal);

    [Fact]
    public void The_file_holds_every_setting_with_its_default()
    {
        var json = System.Text.Json.JsonElement.Parse(File.ReadAllText(Path.Combine(TestData.Repository, "src", "FaceEmbedWorker", "appsettings.json")));
        foreach (var (section, type) in Settings.Sections)
        {
            var defaults = Activator.CreateInstance(type);
            Assert.Equal(Settings.Of(type).Select(p => $"{p.Name} = {p.GetValue(defaults)}"),
                json.GetProperty(section).EnumerateObject().Select(p => $"{p.Name} = {p.Value}"));
        }
    }

    [Fact]
    public void The_readme_lists_every_setting_with_its_default()
    {
        var readme = File.ReadAllText(Path.Combine(TestData.Repository, "README.md"));
        foreach (var (section, type) in Settings.Sections)
        {
            var defaults = Activator.CreateInstance(type);
            Assert.All(Settings.Of(type), p => Assert.Contains($"| `{section}:{p.Name}` | `{p.GetValue(defaults)}` |", readme, StringComparison.Ordinal));
        }
    }

    private static ServiceProvider Build(params string[] settings) => new ServiceCollection().AddSettings(Settings.Read(settings)).BuildServiceProvider();
}
