using FaceEmbedWorker.Tests.EndToEnd;

/// <summary>What the runtime calls before the program's own beginning, where DOTNET_STARTUP_HOOKS names this assembly: <see cref="WarmProgram"/> does.</summary>
internal static class StartupHook
{
    public static void Initialize()
    {
        Environment.SetEnvironmentVariable("DOTNET_STARTUP_HOOKS", null);
        WarmProgram.Serve(Environment.GetCommandLineArgs()[1]);
        Environment.Exit(0);
    }
}
