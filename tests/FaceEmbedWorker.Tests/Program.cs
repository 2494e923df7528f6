using FaceEmbedWorker.Tests.Fuzz;
using FaceEmbedWorker.Tests.Simulation;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace FaceEmbedWorker.Tests;

/// <summary>The tests, and what needs a process of its own: the simulation, and what a fuzzer feeds.</summary>
internal static class Program
{
    public static int Main(string[] arguments) => arguments switch
    {
        ["simulate", .. var rest] => Simulator.Run(rest),
        ["fuzz", var target] => Fuzzed(FuzzTargets.All[target]),
        _ when arguments.Contains("--server") || arguments.Contains("--internal-msbuild-node") => TestPlatformTestFramework.RunAsync(arguments, SelfRegisteredExtensions.AddSelfRegisteredExtensions).GetAwaiter().GetResult(),
        _ => ConsoleRunner.Run(arguments).GetAwaiter().GetResult(),
    };

    private static int Fuzzed(Action<byte[]> target)
    {
        SharpFuzz.Fuzzer.OutOfProcess.Run(stream =>
        {
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            target(bytes.ToArray());
        });
        return 0;
    }
}
