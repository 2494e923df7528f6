using FaceEmbedWorker.Tests.EndToEnd;

/// <summary>What the runtime calls before the program's own beginning, where DOTNET_STARTUP_HOOKS names this assembly: <see cref="WarmProgram"/> does.</summary>
internal static class StartupHook
{
    public static void Initialize() => WarmProgram.Serve();
}
