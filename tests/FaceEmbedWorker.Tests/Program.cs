using FaceEmbedWorker.Tests.Simulation;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace FaceEmbedWorker.Tests;

/// <summary>The tests, and the simulation, which needs a process of its own.</summary>
internal static class Program
{
    public static int Main(string[] arguments) => arguments switch
    {
        ["simulate", .. var rest] => Simulator.Run(rest),
        _ when arguments.Contains("--server") || arguments.Contains("--internal-msbuild-node") => TestPlatformTestFramework.RunAsync(arguments, SelfRegisteredExtensions.AddSelfRegisteredExtensions).GetAwaiter().GetResult(),
        _ => ConsoleRunner.Run(arguments).GetAwaiter().GetResult(),
    };
}
