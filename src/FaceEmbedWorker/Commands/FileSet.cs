using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Commands;

/// <summary>Files or folders, each once whatever name leads to it: links are followed, hard links are the same file.</summary>
internal sealed class FileSet
{
    private readonly HashSet<string> keys = new(StringComparer.Ordinal);

    public FileSet()
    {
    }

    /// <summary>Of those that are there.</summary>
    public FileSet(IEnumerable<string> paths)
    {
        foreach (var path in paths)
        {
            try
            {
                Add(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // it is no file that could be overwritten
            }
        }
    }

    /// <returns>False where it is in there already.</returns>
    /// <exception cref="IOException">The path leads to nothing.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be looked at.</exception>
    public bool Add(string path) => keys.Add(Key(path));

    /// <summary>Whether a path leads to one of them.</summary>
    public bool Holds(string path)
    {
        try
        {
            return keys.Contains(Key(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string Key(string path)
    {
        if (PictureFile.Identity(path) is var (device, node))
        {
            return $"{device}:{node}";
        }

        return Path.Exists(path) ? new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Path.GetFullPath(path) : throw new FileNotFoundException("there is no such file or folder.");
    }
}
