using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Commands;

/// <summary>Text that a user hands in, as marks and pairs are: from regular files of a sensible size, as pictures are.</summary>
internal static class TextFile
{
    /// <summary>WIDER FACE's 393,703 boxes are 20 MB.</summary>
    private const int MostBytes = 64 * 1024 * 1024;

    /// <exception cref="IOException">No regular file, too large, or it cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static string Read(string path)
    {
        using var stream = PictureFile.Open(path);
        if (stream.Length > MostBytes)
        {
            throw new IOException($"it has {stream.Length:N0} bytes, and at most {MostBytes:N0} are read.");
        }

        var bytes = new byte[stream.Length];
        using var reader = new StreamReader(new MemoryStream(bytes, 0, stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)));
        return reader.ReadToEnd();
    }

    public static string[] Lines(string text) => Array.ConvertAll(text.Split('\n'), l => l.TrimEnd('\r'));
}
