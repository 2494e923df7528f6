using FaceEmbedWorker.Images;
using Microsoft.Win32.SafeHandles;

namespace FaceEmbedWorker.Commands;

/// <summary>What was asked for cannot be written. The message names the place.</summary>
internal sealed class OutputException(string place, string why, Exception inner) : Exception($"{place}: it cannot be written: {why}", inner);

/// <summary>Files that a user asked for. All of it throws <see cref="OutputException"/>.</summary>
internal static class OutputFile
{
    /// <summary>As messages call it.</summary>
    public const string Output = "standard output";

    private const int BrokenPipe = 32; // EPIPE
    private const int NoSpace = 28; // ENOSPC

    private const string Unread = "nobody has begun to read it. Start its reader first, or name a file.";

    /// <summary>Unbuffered: what cannot be written is told where it is written. A pipe that nobody reads is given up.</summary>
    public static FileStream Open(string path, FileMode mode = FileMode.Create) => Try(path, () => IsPipe(path) ? HandedFile.InTime(() => Opened(path, mode), Unread) : Opened(path, mode));

    /// <summary>Standard output, unbuffered, that fails once its reader is gone: the console's own stream says nothing of that.</summary>
    public static Stream OpenOutput()
    {
        if (Console.IsOutputRedirected)
        {
            var stream = new FileStream(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
            if (!stream.CanSeek) // a place of its own in a file would write over what others write there
            {
                return stream;
            }
        }

        return Console.OpenStandardOutput();
    }

    /// <summary>What cannot be written is told before the work. A pipe is not tried: its reader would take that for the end.</summary>
    public static void MustBeWritable(string path)
    {
        if (!IsPipe(path))
        {
            var existed = File.Exists(path) || new FileInfo(path).LinkTarget is not null; // a link that leads nowhere yet is the user's
            Open(path, FileMode.Append).Dispose();
            if (!existed)
            {
                Remove(path);
            }
        }
    }

    public static void CreateFolder(string path) =>
        Try(path, () => File.Exists(path) ? throw new IOException("it is a file, and a folder is wanted.") : Directory.CreateDirectory(path));

    /// <summary>A folder, there by now or not, in which files can be made: that they cannot is told before the work.</summary>
    public static void MustTakeFiles(string folder)
    {
        CreateFolder(folder);
        try
        {
            File.Create(Path.Combine(folder, $".{Guid.NewGuid():N}.part"), bufferSize: 1, FileOptions.DeleteOnClose).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OutputException(folder, e is UnauthorizedAccessException ? "permission denied." : e is FileNotFoundException or DirectoryNotFoundException ? "no file can be made in it." : e.Message, e);
        }
    }

    public static void Write(string path, string text) => Write(path, System.Text.Encoding.UTF8.GetBytes(text));

    /// <param name="place">The name that is told, where this is another one on the way to it.</param>
    public static void Write(string path, byte[] bytes, string? place = null) => Try(place ?? path, () =>
    {
        using var file = IsPipe(path) ? HandedFile.InTime(() => File.OpenWrite(path), Unread) : File.Create(path);
        file.Write(bytes);
        return true;
    });

    /// <summary>In place of what has that name.</summary>
    public static void Move(string from, string to) => Try(to, () =>
    {
        File.Move(from, to, overwrite: true);
        return true;
    });

    /// <summary>Refuses the name of what is no file, a device or pipe too: one that is moved there would take its place.</summary>
    public static void MayBeReplaced(string path) => Try(path, () => PictureFile.KindOf(path) is { } kind ? throw new IOException($"it is {kind}.") : true);

    /// <summary>What was begun and is not wanted any more.</summary>
    public static void Remove(string path)
    {
        if (File.Exists(path))
        {
            Try(path, () =>
            {
                File.Delete(path);
                return true;
            });
        }
    }

    public static void WriteToOutput(byte[] bytes) => Try(Output, () =>
    {
        using var stream = Console.OpenStandardOutput();
        stream.Write(bytes);
        return true;
    });

    /// <summary>One JSON document.</summary>
    public static void WriteLine(Stream stream, string place, byte[] document) => Try(place, () =>
    {
        stream.Write([.. document, (byte)'\n']);
        stream.Flush();
        return true;
    });

    private static FileStream Opened(string path, FileMode mode) => new(path, mode, FileAccess.Write, FileShare.Read, bufferSize: 0);

    private static bool IsPipe(string path) => PictureFile.KindOf(path) == PictureFile.Pipe;

    private static T Try<T>(string place, Func<T> write)
    {
        try
        {
            return write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OutputException(place, Why(place, e), e);
        }
    }

    /// <summary>In words of this program, where it has some.</summary>
    public static string Why(string place, Exception e) => e switch
    {
        UnauthorizedAccessException when place == Output => "it is closed.",
        UnauthorizedAccessException => Directory.Exists(place) ? "it is a folder." : "permission denied.",
        DirectoryNotFoundException or FileNotFoundException => "there is no such folder.",
        IOException when e.Message.Contains("used by another process", StringComparison.Ordinal) => "another process has it open.",
        IOException { HResult: BrokenPipe } => "nobody reads it any more.",
        IOException { HResult: NoSpace } => "No space left on device.", // the name stands before it
        _ => e.Message,
    };
}
