using System.Text.Json;

[assembly: Xunit.v3.Parallelization(MaxThreads = 6)] // of two cores: most of them wait for brokers and workers

namespace FaceEmbedWorker.Tests;

/// <summary>Tests that keep a core busy for long: one after the other, so that those with brokers have the rest of the machine.</summary>
[CollectionDefinition(Name)]
public sealed class Heavy
{
    public const string Name = "heavy";
}

/// <summary>Where the tests' pictures are.</summary>
internal static class TestData
{
    /// <summary>Some tests block while they wait; timers must not wait for them.</summary>
    [System.Runtime.CompilerServices.ModuleInitializer]
    internal static void MoreThreads() => ThreadPool.SetMinThreads(64, 64);

    /// <summary>Programs that tests start live for seconds: compiling each loop in full first, and again what is called thirty times, would be a third of their work.</summary>
    [System.Runtime.CompilerServices.ModuleInitializer]
    internal static void QuickPrograms()
    {
        Environment.SetEnvironmentVariable("DOTNET_TC_QuickJitForLoops", "1");
        Environment.SetEnvironmentVariable("DOTNET_TC_CallCountThreshold", "3E8");
        Environment.SetEnvironmentVariable("DOTNET_EnableDiagnostics", "0"); // as in the images
        Environment.SetEnvironmentVariable("DOTNET_EnableWriteXorExecute", "0");
    }

    public static string Repository { get; } = Up(AppContext.BaseDirectory, d => File.Exists(Path.Combine(d, "FaceEmbedWorker.sln")));

    public static string Folder { get; } = Path.Combine(Repository, "tests", "data");

    public static string Astronaut { get; } = Path.Combine(Folder, "astronaut.png");

    public static string GraceHopper { get; } = Path.Combine(Folder, "grace_hopper.jpg");

    public static JsonElement Golden { get; } = JsonElement.Parse(File.ReadAllText(Path.Combine(Folder, "golden.json")));

    public static byte[] Read(string name) => File.ReadAllBytes(Path.Combine(Folder, name));

    /// <summary>Of random cases so many, or as many times fewer as FACE_EMBED_FEWER says: <c>tests/mutate</c>, where each step of a loop takes long.</summary>
    public static int Cases(int count) => Math.Max(1, count / int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_FEWER") ?? "1", System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>
    /// Labelled pictures that are not part of the repository; a test that needs them is skipped, and counted so, where there are none.
    /// </summary>
    public static string Verification(string name)
    {
        var folder = Path.Combine(Environment.GetEnvironmentVariable("FACE_EMBED_VERIFICATION") ?? Path.Combine(Repository, "..", "shared", "verification"), name);
        Assert.SkipUnless(Directory.Exists(folder), $"There are no verification pictures in {folder}; FACE_EMBED_VERIFICATION names another folder.");
        return folder;
    }

    private static string Up(string folder, Func<string, bool> found) => found(folder) ? folder : Up(Path.GetDirectoryName(folder.TrimEnd('/', '\\'))!, found);
}
