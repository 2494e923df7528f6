using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Images;

/// <summary>What the process holds of the system's memory and needs no more.</summary>
internal static partial class Heaps
{
    /// <summary>Sets a parameter of glibc's malloc; of another C library's, nothing.</summary>
    public static void Set(int parameter, int value)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = SetMalloc(parameter, value);
        }
        catch (EntryPointNotFoundException)
        {
            // another C library
        }
    }

    /// <summary>
    /// Gives back what lies dead in both heaps: beside a picture of 300 MB, files of up to 64 MB that are done with and the parts of blocks
    /// that malloc keeps (measured: 170 MB over two slots); after a model is loaded, its file, twice.
    /// </summary>
    public static void GiveBack()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = TrimMalloc(0);
        }
        catch (EntryPointNotFoundException)
        {
            // another C library
        }
    }

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int SetMalloc(int parameter, int value);

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int TrimMalloc(nuint pad);
}
