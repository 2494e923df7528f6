using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Reflection;
using System.Text.RegularExpressions;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Commands;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Commands;

public partial class SettingsTests
{
    [Fact]
    public void The_command_line_is_parted_into_arguments_and_settings()
    {
        var (arguments, settings) = Settings.Split(["embed", "a:b.jpg", "--Jobs:Mode=Image", "--Broker:Uri", "amqp://x", "--out", "o.jsonl"]);
        Assert.Equal(["embed", "a:b.jpg", "--out", "o.jsonl"], arguments);
        Assert.Equal(["--Jobs:Mode=Image", "--Broker:Uri=amqp://x"], settings);
    }

    [Fact]
    public void Nothing_behind_two_dashes_is_a_setting()
    {
        var (arguments, settings) = Settings.Split(["embed", "--Jobs:Mode=Image", "--", "--a:b.jpg", "--Jobs:Mode=Faces"]);
        Assert.Equal(["embed", "--", "--a:b.jpg", "--Jobs:Mode=Faces"], arguments);
        Assert.Equal(["--Jobs:Mode=Image"], settings);
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
    [InlineData("--Images:MaxMemory=16777216", "Images:MaxMemory")]
    [InlineData("--Faces:DetectionThreshold=2", "Faces:DetectionThreshold")]
    [InlineData("--Faces:DetectionThreshold=1.4", "Faces:DetectionThreshold")]
    [InlineData("--Faces:DetectionOverlap=-0.4", "Faces:DetectionOverlap")]
    [InlineData("--Faces:DetectionOverlap=NaN", "Faces:DetectionOverlap is 'NaN'; it can be a number from 0 to 1.")]
    [InlineData("--Faces:MinQuality=NaN", "Faces:MinQuality is 'NaN'; it can be a number from 0 to 1.")]
    [InlineData("--Faces:MinQuality=Infinity", "Faces:MinQuality is 'Infinity'; it can be a number from 0 to 1.")]
    [InlineData("--Jobs:Mode=faces,image", "Jobs:Mode is 'faces,image'; it can be Faces, Image or Aligned")]
    [InlineData("--Jobs:Mode=1", "Jobs:Mode is '1'; it can be Faces, Image or Aligned")]
    [InlineData("--Jobs:Mode=", "Jobs:Mode is ''; it can be Faces, Image or Aligned")]
    [InlineData("--Images:Decoder=Libvips,ImageSharp", "Images:Decoder is 'Libvips,ImageSharp'; it can be Libvips or ImageSharp")]
    [InlineData("--Faces:SelfTest=Warn,Off", "it can be Warn, Refuse or Off")]
    [InlineData("--Face:DetectionThreshold=0.5", "'Face'")]
    public void A_wrong_setting_names_itself(string argument, string name) =>
        Assert.Contains(name, Assert.Throws<SettingsException>(() => Build(argument)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("Broker__Uri", "FaceEmbed__Broker__Uri")]
    [InlineData("BROKER__BULKQUEUE", "FaceEmbed__Broker__BulkQueue")]
    [InlineData("FACE_EMBED_Broker__Uri", "FaceEmbed__Broker__Uri")]
    [InlineData("FACE_EMBED__FACES__MINSIZE", "FaceEmbed__Faces__MinSize")]
    [InlineData("FaceEmbed_Broker__Uri", "FaceEmbed__Broker__Uri")]
    [InlineData("FaceEmbed_Broker_Uri", "FaceEmbed__Broker__Uri")]
    [InlineData("FACEEMBED_BROKER_URI", "FaceEmbed__Broker__Uri")]
    [InlineData("FaceEmbed.Broker.Uri", "FaceEmbed__Broker__Uri")]
    [InlineData("FaceEmbed__Broker__Uri", null)]
    [InlineData("FACEEMBED__BROKER__URI", null)]
    [InlineData("FACE_EMBED_SECRETS", null)]
    [InlineData("BROKER_URI", null)]
    [InlineData("Broker__Url", null)]
    [InlineData("OTHER__Broker__Uri", null)]
    public void A_variable_that_is_a_setting_but_for_its_prefix_is_told(string variable, string? setting) =>
        Assert.Equal(setting is null ? [] : [(variable, setting)], Settings.Misnamed([variable, "PATH"]));

    [Fact]
    public void A_section_may_be_written_in_any_case_and_has_no_value_of_its_own()
    {
        using var services = Build("--broker:jobs=mine", "--LOGGING:LogLevel:Default=Error");
        Assert.Equal("mine", services.GetRequiredService<IOptions<BrokerOptions>>().Value.Jobs);
        Assert.Equal("Broker is a section of settings and has no value of its own: write Broker:NAME, in the environment FaceEmbed__Broker__NAME.", Assert.Throws<SettingsException>(() => Build("--Broker=amqp://host/")).Message);
    }

    /// <summary>Of every setting that is a number: no number is beyond all bounds.</summary>
    [Fact]
    public void A_number_that_is_none_is_refused_with_its_setting()
    {
        foreach (var (section, type) in Settings.Sections)
        {
            foreach (var name in Settings.Of(type).Where(p => p.PropertyType == typeof(double) || p.PropertyType == typeof(int) || p.PropertyType == typeof(long)).Select(p => $"{section}:{p.Name}"))
            {
                Assert.All(["NaN", "Infinity", "-Infinity", "1e400", "-1"], value => Assert.Contains(name, Assert.Throws<SettingsException>(() => Build($"--{name}={value}")).Message, StringComparison.Ordinal));
            }
        }
    }

    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void The_least_memory_that_may_be_set_is_enough_for_an_ordinary_picture(string decoder)
    {
        var least = (long)(double)typeof(ImageOptions).GetProperty(nameof(ImageOptions.MaxMemory))!.GetCustomAttribute<RangeAttribute>()!.Minimum;
        using var images = new ImageDecoder(Options.Create(new ImageOptions { MaxMemory = least, Decoder = Enum.Parse<PictureDecoder>(decoder) }));
        using var picture = images.Open(File.ReadAllBytes(TestData.GraceHopper)).Decode(shrink: 1, CancellationToken.None);
        Assert.True(picture.Width > 500);
    }

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

    /// <summary>
    /// The tables of docs/settings.md are made of the options' own descriptions: with FACE_EMBED_DOCS=1 this writes them anew.
    /// </summary>
    [Fact]
    public void The_documentation_lists_every_setting_with_its_default_and_meaning()
    {
        var path = Path.Combine(TestData.Repository, "docs", "settings.md");
        var page = File.ReadAllText(path);
        var made = Table().Replace(page, table => table.Groups[1].Value + string.Concat(Settings.Of(Settings.Sections[table.Groups[2].Value])
            .Select(p => $"| `{table.Groups[2].Value}:{p.Name}` | {Default(p)} | {Page().Replace(p.GetCustomAttribute<DescriptionAttribute>()!.Description.Replace("*", "\\*", StringComparison.Ordinal), Link)} |\n")));
        if (Environment.GetEnvironmentVariable("FACE_EMBED_DOCS") is "1")
        {
            File.WriteAllText(path, made);
        }

        Assert.Equal(Settings.Sections.Keys, Table().Matches(page).Select(m => m.Groups[2].Value));
        Assert.Equal(made, File.ReadAllText(path));

        static string Default(PropertyInfo property) => $"{property.GetValue(Activator.CreateInstance(property.DeclaringType!))}" is { Length: > 0 } value ? $"`{value}`" : "";
        static string Link(Match page) => page.Groups[1].Success ? $"[{page.Groups[1].Value}]({page.Groups[1].Value}.md)" : $"[{page.Value}](../{page.Value})";
    }

    [GeneratedRegex(@"(^## `(\w+)`.*?\|---\|---\|---\|\n)(\|[^\n]*\n)*", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Table();

    [GeneratedRegex(@"docs/(\w+)\.md|models/README\.md")]
    private static partial Regex Page();

    private static ServiceProvider Build(params string[] settings) => new ServiceCollection().AddSettings(Settings.Read(settings)).BuildServiceProvider();
}
