using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// Files or folders, each once whatever name leads to its place: links are followed. Hard links are files of their own, but to write to one
/// is to write to all.
/// </summary>
internal sealed class FileSet
{
    private readonly HashSet<string> places = new(StringComparer.Ordinal);
    private readonly HashSet<(ulong, ulong)> nodes = [];

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
    public bool Add(string path)
    {
        if (Node(path) is { } node)
        {
            nodes.Add(node);
        }
        else if (!Path.Exists(path))
        {
            throw new FileNotFoundException("there is no such file or folder.");
        }

        return places.Add(Place(path));
    }

    /// <summary>Whether to write to a path is to write to one of them.</summary>
    public bool Holds(string path)
    {
        try
        {
            return Node(path) is { } node ? nodes.Contains(node) : places.Contains(Place(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static (ulong, ulong)? Node(string path) => PictureFile.Identity(path);

    /// <summary>The folder that it is in, whatever leads there, and its name.</summary>
    private static string Place(string path)
    {
        var full = new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return Path.GetDirectoryName(full) is { } folder && Node(folder) is var (device, node) ? $"{device}:{node}/{Path.GetFileName(full)}" : full;
    }
}
