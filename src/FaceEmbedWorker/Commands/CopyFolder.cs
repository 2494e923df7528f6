using System.Globalization;

namespace FaceEmbedWorker.Commands;

/// <summary>A folder for what is made of pictures: each file has a name of its own, and none takes the place of a picture.</summary>
/// <param name="output">The file that results go to, open by now, which is none of the copies; null where there is none.</param>
internal sealed class CopyFolder(string folder, FileSet pictures, string? output = null)
{
    private const int LongestName = 255; // bytes, on Linux' file systems

    private readonly HashSet<string> taken = new(StringComparer.OrdinalIgnoreCase);
    private readonly Dictionary<string, string> owners = new(StringComparer.OrdinalIgnoreCase); // of a stem: the picture whose copies have it
    private readonly FileSet results = new(output is null ? [] : [output]);

    /// <summary>
    /// The path that a copy of a picture gets: the picture's without its extension, of its end as much as a name may have, with a number
    /// where that is taken, by a copy of another picture too.
    /// </summary>
    /// <param name="ending">Begins with a dot.</param>
    public string Target(string file, string ending)
    {
        var parts = Path.GetRelativePath(".", file).Split('/', '\\').Where(p => p is not (".." or "."));
        var stem = Path.ChangeExtension(string.Join('_', parts), null);
        for (var number = 1; ; number++)
        {
            var end = number == 1 ? ending : string.Create(CultureInfo.InvariantCulture, $".{number}{ending}");
            var name = End(stem, LongestName - end.Length) + end;
            var (target, own) = (Path.Combine(folder, name), name[..^ending.Length]);
            if (owners.GetValueOrDefault(own, file) == file && !pictures.Holds(target) && !results.Holds(target) && taken.Add(Path.GetFullPath(target)))
            {
                owners[own] = file;
                return target;
            }
        }
    }

    /// <summary>Whole or not at all; a link that lies there is replaced, and what it leads to is left alone.</summary>
    public void Write(string target, Action<Stream> write)
    {
        var part = Path.Combine(folder, $".{Guid.NewGuid():N}.part");
        try
        {
            using (var stream = File.Create(part))
            {
                write(stream);
            }

            File.Move(part, target, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }
    }

    private static string End(string text, int mostBytes)
    {
        var (from, bytes) = (text.Length, 0);
        foreach (var rune in text.EnumerateRunes().Reverse())
        {
            if ((bytes += rune.Utf8SequenceLength) > mostBytes)
            {
                break;
            }

            from -= rune.Utf16SequenceLength;
        }

        return text[from..];
    }
}
