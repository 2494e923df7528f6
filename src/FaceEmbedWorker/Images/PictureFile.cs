using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FaceEmbedWorker.Images;

/// <summary>A path leads to a pipe, a device or a folder.</summary>
internal sealed class NotAFileException(string message) : IOException(message);

/// <summary>Opens files that hold pictures: only regular files, for a pipe or a device would never end, or never begin.</summary>
internal static partial class PictureFile
{
    /// <summary>Why a name cannot be opened that .NET has read with a replacement character.</summary>
    public const string NotUtf8 = "its name is not UTF-8, so it cannot be opened here: rename it.";

    /// <summary>What <see cref="KindOf"/> calls one.</summary>
    public const string Pipe = "a pipe (FIFO)";

    private const int NonBlocking = 0x800, CloseOnExec = 0x80000, ThisFile = 0x1000; // Linux, on all of .NET's architectures
    private const int TypeMask = 0xF000, Regular = 0x8000;

    /// <summary>The whole of a file, whose size is looked at first.</summary>
    /// <exception cref="ImageException">More bytes than <paramref name="maxBytes"/>.</exception>
    /// <exception cref="IOException">No regular file, or it cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static async Task<byte[]> ReadAsync(string path, int maxBytes, CancellationToken cancel)
    {
        await using var stream = Open(path);
        if (stream.Length > maxBytes)
        {
            throw TooLarge(stream.Length);
        }

        var bytes = new byte[stream.Length];
        var read = await stream.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancel);
        var more = new byte[1];
        return await stream.ReadAsync(more, cancel) > 0 ? throw new IOException("it changes while it is read.") : read == bytes.Length ? bytes : bytes[..read];

        ImageException TooLarge(long size) => new(ImageFault.TooLarge, $"The picture has {size:N0} bytes; Images:MaxBytes allows {maxBytes:N0}.");
    }

    /// <summary>Opens a regular file to be read, without waiting for anyone.</summary>
    /// <exception cref="IOException">It is something else, is not there, or cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static FileStream Open(string path)
    {
        if (!OperatingSystem.IsLinux())
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }

        Check(Status(path)); // before it is opened: opening can already do something to a device
        var descriptor = OpenFile(path, NonBlocking | CloseOnExec, 0);
        if (descriptor < 0)
        {
            throw Failure(path);
        }

        var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        try
        {
            Check(StatusOf(descriptor, "", ThisFile)); // and what was opened, for the name may be another's by now
            return new FileStream(handle, FileAccess.Read, bufferSize: 0);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Tells one file or folder from another, whatever name leads to it; null where that cannot be told.</summary>
    /// <exception cref="IOException">The path leads to nothing.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be looked at.</exception>
    public static (ulong Device, ulong Node)? Identity(string path)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        var status = Status(path);
        return ((ulong)status.DeviceMajor << 32 | status.DeviceMinor, status.Node);
    }

    /// <summary>What a path leads to, where that is no regular file: in words. Null where it is one, or nothing is there.</summary>
    public static string? KindOf(string path)
    {
        try
        {
            return OperatingSystem.IsLinux() ? Kind(Status(path)) : Directory.Exists(path) ? "a folder" : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <inheritdoc cref="KindOf"/>
    private static string? Kind(FileStatus status) => (status.Mode & TypeMask) switch
    {
        Regular => null,
        0x4000 => "a folder",
        0x1000 => Pipe,
        0xC000 => "a socket",
        0x2000 or 0x6000 => "a device",
        _ => "no regular file",
    };

    private static void Check(FileStatus status)
    {
        if (Kind(status) is { } kind)
        {
            throw new NotAFileException($"it is {kind}, and only regular files are read.");
        }
    }

    private static FileStatus Status(string path) => StatusOf(-100, path, 0); // from the working directory

    private static FileStatus StatusOf(int directory, string path, int flags) => path.Contains('\0') ? throw new IOException("it has a zero in its name, and no file has.")
        : GetStatus(directory, path, flags, 0x7FF, out var status) == 0 ? status : throw Failure(path);

    private static Exception Failure(string path) => Marshal.GetLastPInvokeError() switch
    {
        2 or 20 => path.Contains('\uFFFD') ? new IOException(NotUtf8) : new FileNotFoundException("there is no such file or folder."),
        1 or 13 => new UnauthorizedAccessException("it may not be read: permission denied."),
        40 => new IOException("its links lead in a circle, and to no file."),
        var error => new IOException($"{new Win32Exception(error).Message}."),
    };

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenFile(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int GetStatus(int directory, string path, int flags, uint mask, out FileStatus status);

    /// <summary><c>struct statx</c> of Linux, the same on all architectures.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private readonly struct FileStatus
    {
        [FieldOffset(28)]
        public readonly ushort Mode;

        [FieldOffset(32)]
        public readonly ulong Node;

        [FieldOffset(136)]
        public readonly uint DeviceMajor;

        [FieldOffset(140)]
        public readonly uint DeviceMinor;
    }
}
