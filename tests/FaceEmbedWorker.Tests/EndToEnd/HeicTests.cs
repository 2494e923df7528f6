using System.Diagnostics;
using System.Text.Json;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>HEIC through a system's libvips: the program built without the prebuilt library, on Debian's.</summary>
public sealed class HeicTests : IDisposable
{
    private static readonly string Pictures = Path.Combine(TestData.Repository, "tests", "heic");
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-heic-").FullName;

    /// <summary>Publishes what was built with these tests, from a copy of the sources, so that nothing of it is left in theirs.</summary>
    private async Task PublishAsync()
    {
        Assert.SkipUnless(File.Exists("/usr/lib/x86_64-linux-gnu/libvips.so.42"), "There is no libvips of the system (Debian's libvips42).");
        var configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        foreach (var part in new[] { "src/FaceEmbedWorker", "models", "tests/data" })
        {
            Copy(Path.Combine(TestData.Repository, part), Path.Combine(folder, "source", part));
        }

        var output = Path.Combine("src", "FaceEmbedWorker", "bin", configuration, "net10.0");
        Directory.CreateDirectory(Path.Combine(folder, "source", output));
        foreach (var (below, files) in new[] { ("", "*.props"), ("", "global.json"), (output, "face-embed.*") })
        {
            foreach (var file in Directory.EnumerateFiles(Path.Combine(TestData.Repository, below), files))
            {
                File.Copy(file, Path.Combine(folder, "source", below, Path.GetFileName(file)));
            }
        }

        var project = Path.Combine(folder, "source", "src", "FaceEmbedWorker");
        foreach (var step in new string[][] { ["restore", project, "--locked-mode"], ["publish", project, "-c", configuration, "--no-build", "-o", Path.Combine(folder, "out")] })
        {
            var (code, said) = await RunAsync("dotnet", [.. step, "-p:SystemLibvips=true"]);
            Assert.True(code == 0, said);
        }
    }

    [Fact]
    public async Task Every_kind_of_heic_is_decoded_and_the_rest_named()
    {
        await PublishAsync();
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(folder, "out"), "libvips*", SearchOption.AllDirectories));
        var plain = await File.ReadAllBytesAsync(Path.Combine(Pictures, "plain.heic"), TestContext.Current.CancellationToken);
        var cut = Path.Combine(folder, "cut.heic");
        await File.WriteAllBytesAsync(cut, plain[..(plain.Length / 2)], TestContext.Current.CancellationToken);
        var documents = await EmbedAsync(Pictures, cut, TestData.Astronaut, TestData.GraceHopper);
        foreach (var (name, width, height, reference) in new[] { ("plain.heic", 512, 512, "astronaut.png"), ("tiles.heic", 512, 512, "astronaut.png"), ("large.heic", 4032, 3024, "astronaut.png"), ("ten_bits.heic", 512, 512, "astronaut.png"), ("thumbnail.heic", 512, 512, "astronaut.png"), ("sequence.heics", 512, 512, "astronaut.png"), ("rotated.heic", 600, 512, "grace_hopper.jpg") })
        {
            var image = documents[name].GetProperty("image");
            Assert.Equal((name, "heic", width, height), (name, image.GetProperty("format").GetString(), image.GetProperty("width").GetInt32(), image.GetProperty("height").GetInt32()));
            Assert.InRange(Pipeline.Cosine(Vector(documents[name]), Vector(documents[reference])), 0.95, 1.0001);
        }

        Assert.Equal(("stub", "undecodable"), (documents["cut.heic"].GetProperty("outcome").GetString(), documents["cut.heic"].GetProperty("error").GetString()));
    }

    [Fact]
    public void The_header_gives_the_size_and_the_memory()
    {
        foreach (var file in Directory.EnumerateFiles(Pictures, "*.heic*"))
        {
            var bytes = File.ReadAllBytes(file);
            Assert.Equal("heic", ImageFormat.Of(bytes));
            var header = ImageHeader.Read("heic", bytes);
            var (width, height) = Path.GetFileName(file) switch { "rotated.heic" => (600, 512), "large.heic" => (4032, 3024), _ => (512, 512) };
            Assert.Equal((file, width, height), (file, header.Width, header.Height));
            Assert.InRange(header.Held, header.Pixels * 8, header.Pixels * 18);
        }
    }

    [Fact]
    public void The_prebuilt_library_says_what_to_do()
    {
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open(File.ReadAllBytes(Path.Combine(Pictures, "plain.heic"))));
        Assert.Equal(ImageFault.Unsupported, fault.Fault);
        Assert.Contains("-p:SystemLibvips=true", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("HEIC", Pipeline.Decoder.Describe(), StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private async Task<Dictionary<string, JsonElement>> EmbedAsync(params string[] paths)
    {
        var (_, output) = await RunAsync(Path.Combine(folder, "out", "face-embed"), ["embed", .. paths]);
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l.StartsWith('{')).Select(l => JsonElement.Parse(l)).ToDictionary(d => Path.GetFileName(d.GetProperty("file").GetString()!));
    }

    private static float[] Vector(JsonElement document) => [.. document.GetProperty("embeddings")[0].GetProperty("vector").EnumerateArray().Select(v => v.GetSingle())];

    private static async Task<(int Code, string Output)> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output);
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.EnumerateFiles(from))
        {
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }

        foreach (var below in Directory.EnumerateDirectories(from).Where(d => Path.GetFileName(d) != "bin"))
        {
            Copy(below, Path.Combine(to, Path.GetFileName(below)));
        }
    }
}
