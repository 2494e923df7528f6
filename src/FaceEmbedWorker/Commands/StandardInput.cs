namespace FaceEmbedWorker.Commands;

/// <summary>What this program was given to read.</summary>
internal static class StandardInput
{
    private const int WriteOnly = 1;

    /// <summary>
    /// Whether it was closed when this program was started. .NET opens a pipe to itself early, which has the free number then: to read from
    /// that would never end. Nobody else's pipe has its other end in here.
    /// </summary>
    public static bool IsClosed()
    {
        if (!OperatingSystem.IsLinux())
        {
            return false;
        }

        var input = Target("0");
        return input is null || (input.StartsWith("pipe:", StringComparison.Ordinal) && Directory.EnumerateFileSystemEntries("/proc/self/fd").Select(path => Path.GetFileName(path)!).Any(other => Target(other) == input && IsToWrite(other)));
    }

    private static string? Target(string descriptor) => new FileInfo($"/proc/self/fd/{descriptor}").LinkTarget;

    private static bool IsToWrite(string descriptor)
    {
        try
        {
            var flags = File.ReadLines($"/proc/self/fdinfo/{descriptor}").Single(line => line.StartsWith("flags:", StringComparison.Ordinal));
            return (Convert.ToInt32(flags.Split('\t')[^1], 8) & 3) == WriteOnly;
        }
        catch (IOException)
        {
            return false; // closed since
        }
    }
}
