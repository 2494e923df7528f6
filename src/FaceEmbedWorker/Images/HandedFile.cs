using System.Collections.Concurrent;

namespace FaceEmbedWorker.Images;

/// <summary>
/// The whole of a card or checkpoint that a user names: a regular file, or a pipe, as a shell hands in what a command writes
/// (<c>&lt;(gpg -d card)</c>). Nothing else is opened, and a pipe that nobody writes to is given up.
/// </summary>
internal static class HandedFile
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private static readonly string Silent = $"nothing has come through it for {Patience.TotalSeconds} seconds. Write it to a file first, and name that.";

    /// <summary>What came through pipes: it comes once, and a card is read by more than one.</summary>
    private static readonly ConcurrentDictionary<string, byte[]> Piped = [];

    /// <summary>The program is told to end: nothing is waited for any more.</summary>
    public static CancellationToken Ending { get; set; }

    /// <exception cref="IOException">It is a folder or a device, too large, not there, or nothing comes; in words.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static byte[] Read(string path, int mostBytes) => PictureFile.KindOf(path) == PictureFile.Pipe ? Piped.GetOrAdd(path, _ => FromPipe(path, mostBytes)) : FromFile(path, mostBytes);

    private static byte[] FromFile(string path, int mostBytes)
    {
        using var file = PictureFile.Open(path);
        var bytes = file.Length <= mostBytes ? new byte[file.Length] : throw TooLarge(mostBytes);
        return file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) is var read && read == bytes.Length ? bytes : bytes[..read];
    }

    private static byte[] FromPipe(string path, int mostBytes)
    {
        var pipe = InTime(() => File.OpenRead(path), Silent); // which waits for who writes
        var (bytes, buffer) = (new MemoryStream(), new byte[64 * 1024]);
        for (int count; (count = InTime(() => pipe.Read(buffer), Silent)) > 0;)
        {
            bytes.Write(buffer, 0, count);
            if (bytes.Length > mostBytes)
            {
                throw TooLarge(mostBytes);
            }
        }

        pipe.Dispose();
        return bytes.ToArray();
    }

    /// <summary>What comes too late is left to its thread, which the program's end does not wait for.</summary>
    /// <param name="why">What has not happened, and what to do.</param>
    /// <exception cref="OperationCanceledException">The program is told to end.</exception>
    public static T InTime<T>(Func<T> wait, string why)
    {
        try
        {
            return Task.Run(wait).WaitAsync(Patience, Ending).GetAwaiter().GetResult();
        }
        catch (TaskCanceledException e)
        {
            throw new OperationCanceledException(e.Message, e, Ending); // not as a fetch that took too long
        }
        catch (TimeoutException e)
        {
            throw new IOException($"it is {PictureFile.Pipe}, and {why}", e);
        }
    }

    private static IOException TooLarge(int mostBytes) => new($"it is larger than {mostBytes / 1024 / 1024} MiB, and no more is read. Name another file.");
}
