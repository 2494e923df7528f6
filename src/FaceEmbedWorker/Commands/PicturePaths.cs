using System.CommandLine;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>A path that leads to nothing, or may not be looked at.</summary>
/// <param name="Error">As in a <see cref="RejectedFile"/>.</param>
internal sealed record Unreachable(string Path, string Error, string Why);

/// <summary>Turns the paths of a command line into files.</summary>
internal static class PicturePaths
{
    public const string NoPictures = "there are no pictures in there.";
    private const string NoAddress = "there is no such file; of addresses, submit takes https://, http:// and s3://bucket/key, and other verbs none.";

    /// <summary>The argument of a verb that takes pictures.</summary>
    public static Argument<string[]> Argument(ArgumentArity arity) =>
        new("PATH") { Description = "Pictures, or folders of pictures. In a folder, names that begin with a dot are passed over.", Arity = arity };

    /// <summary>
    /// A file as it is named, whatever it holds; of a folder, every file below it that is named as a picture, and whose name and folders'
    /// names do not begin with a dot. Links are followed, and each file and folder comes once, however many names lead to it.
    /// </summary>
    /// <returns>Empty: folders that are named and hold no picture.</returns>
    public static (IReadOnlyList<string> Files, IReadOnlyList<Unreachable> Missing, IReadOnlyList<string> Empty) Expand(IEnumerable<string> paths)
    {
        var walk = new Walk();
        foreach (var path in paths)
        {
            walk.Take(path);
        }

        return (walk.Files, walk.Missing, walk.Empty);
    }

    private sealed class Walk
    {
        private readonly FileSet seen = new();
        private bool holdsAny;

        public List<string> Files { get; } = [];

        public List<Unreachable> Missing { get; } = [];

        public List<string> Empty { get; } = [];

        public void Take(string path)
        {
            try
            {
                if (Directory.Exists(path))
                {
                    var (below, missing) = (new List<string>(), Missing.Count);
                    holdsAny = false;
                    Descend(path, below);
                    if (!holdsAny && Missing.Count == missing)
                    {
                        Empty.Add(path);
                    }

                    Files.AddRange(below.Order(StringComparer.Ordinal));
                }
                else if (seen.Add(path))
                {
                    Files.Add(path);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Miss(path, e is FileNotFoundException ? ImageFault.SourceMissing : ImageFault.Unreadable, e is FileNotFoundException && path.Contains(":/", StringComparison.Ordinal) ? NoAddress : e.Message);
            }
        }

        private void Descend(string folder, List<string> below)
        {
            try
            {
                if (!seen.Add(folder))
                {
                    holdsAny |= Files.Count + Missing.Count > 0; // it was named before; with nothing found yet, a link leads back up
                    return;
                }

                var names = new HashSet<string>(StringComparer.Ordinal);
                var entries = new DirectoryInfo(folder).EnumerateFileSystemInfos("*", new EnumerationOptions { IgnoreInaccessible = false }); // none that begins with a dot
                foreach (var entry in entries.OrderBy(e => e.LinkTarget is not null).ThenBy(e => e.Name, StringComparer.Ordinal)) // a file goes by its own name rather than a link's
                {
                    var (path, isFolder) = (Path.Combine(folder, entry.Name), entry is DirectoryInfo);
                    if (!isFolder && !ImageFormat.FileExtensions.Contains(Path.GetExtension(entry.Name)))
                    {
                        continue;
                    }

                    holdsAny |= !isFolder;
                    if (!names.Add(entry.Name))
                    {
                        Miss(path, ImageFault.Unreadable, PictureFile.NotUtf8); // two names that read the same: this path opens one of them at most
                    }
                    else if (isFolder)
                    {
                        Descend(path, below);
                    }
                    else if (IsNew(path))
                    {
                        below.Add(path);
                    }
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Miss(folder, ImageFault.Unreadable, "the folder cannot be read: " + (e is UnauthorizedAccessException ? "permission denied." : e.Message));
            }
        }

        private bool IsNew(string path)
        {
            try
            {
                return seen.Add(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return true; // a link that leads nowhere is told when it is read
            }
        }

        private void Miss(string path, ImageFault fault, string why) => Missing.Add(new Unreachable(path, JobOutcome.Word(fault), why));
    }
}
