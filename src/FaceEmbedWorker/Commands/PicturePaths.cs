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

    /// <summary>A file as it is named, whatever it holds; of a folder, every file below it that is named as a picture.</summary>
    /// <returns>Files, and paths where nothing is.</returns>
    public static (IReadOnlyList<string> Files, IReadOnlyList<string> Missing) Expand(IEnumerable<string> paths)
    {
        var (files, missing) = (new List<string>(), new List<string>());
        foreach (var path in paths)
        {
            if (Directory.Exists(path))
            {
                files.AddRange(Directory.EnumerateFiles(path, "*", new EnumerationOptions { RecurseSubdirectories = true })
                    .Where(f => ImageFormat.FileExtensions.Contains(Path.GetExtension(f)))
                    .Order(StringComparer.Ordinal));
            }
            else
            {
                (File.Exists(path) ? files : missing).Add(path);
            }
        }

        return (files, missing);
    }
}
