using System.CommandLine;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Commands;

/// <summary>Turns the paths of a command line into files.</summary>
internal static class PicturePaths
{
    /// <summary>The argument of a verb that takes pictures.</summary>
    public static Argument<string[]> Argument(ArgumentArity arity)
    {
        var paths = new Argument<string[]>("PATH") { Description = "Pictures, or folders of pictures.", Arity = arity };
        paths.Validators.Add(result =>
        {
            foreach (var option in result.Tokens.Where(t => t.Value.StartsWith("--", StringComparison.Ordinal)))
            {
                result.AddError($"'{option.Value}' is no option here.");
            }
        });
        return paths;
    }

    /// <summary>
    /// A file as it is named, whatever it holds; of a folder, every file below it that is named as a picture. Links are followed, and each file and folder
    /// comes once, however many names lead to it.
    /// </summary>
    /// <returns>Files; and paths that lead to nothing or may not be looked at, with the reason.</returns>
    public static (IReadOnlyList<string> Files, IReadOnlyList<(string Path, string Why)> Missing) Expand(IEnumerable<string> paths)
    {
        var walk = new Walk();
        foreach (var path in paths)
        {
            walk.Take(path);
        }

        return (walk.Files, walk.Missing);
    }

    private sealed class Walk
    {
        private readonly HashSet<string> seen = new(StringComparer.Ordinal);
        private readonly HashSet<(ulong, ulong)> folders = [];

        public List<string> Files { get; } = [];

        public List<(string, string)> Missing { get; } = [];

        public void Take(string path)
        {
            if (Directory.Exists(path))
            {
                var below = new List<string>();
                Descend(path, below);
                Files.AddRange(below.Order(StringComparer.Ordinal));
            }
            else if (!File.Exists(path))
            {
                Missing.Add((path, path.Contains('\uFFFD') ? "its name is not UTF-8, so it cannot be opened here: rename it." : "there is no such file or folder."));
            }
            else if (IsNew(path))
            {
                Files.Add(path);
            }
        }

        private void Descend(string folder, List<string> below)
        {
            try
            {
                if (PictureFile.Identity(folder) is { } identity && !folders.Add(identity))
                {
                    return; // a link leads back up
                }

                var entries = new DirectoryInfo(folder).EnumerateFileSystemInfos("*", new EnumerationOptions { IgnoreInaccessible = false });
                foreach (var entry in entries.OrderBy(e => e.LinkTarget is not null)) // a file goes by its own name rather than a link's
                {
                    var path = Path.Combine(folder, entry.Name);
                    if (entry is DirectoryInfo)
                    {
                        Descend(path, below);
                    }
                    else if (ImageFormat.FileExtensions.Contains(Path.GetExtension(entry.Name)) && IsNew(path))
                    {
                        below.Add(path);
                    }
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Missing.Add((folder, "the folder cannot be read: " + (e is UnauthorizedAccessException ? "permission denied." : e.Message)));
            }
        }

        private bool IsNew(string path)
        {
            try
            {
                return seen.Add(new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Path.GetFullPath(path));
            }
            catch (IOException)
            {
                return true; // a link that leads nowhere is told when it is read
            }
        }
    }
}
