using System.Globalization;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// Copies of pictures with boxes, landmarks and scores drawn: each has a name of its own, and none takes the place of a picture.
/// </summary>
/// <param name="output">The file that results go to, open by now, which is none of the copies; null where there is none.</param>
internal sealed class AnnotatedCopies(ImageDecoder decoder, int maxBytes, string folder, FileSet pictures, string? output = null)
{
    private const int LongestName = 255; // bytes, on Linux' file systems

    private readonly HashSet<string> taken = new(StringComparer.OrdinalIgnoreCase);
    private readonly FileSet results = new(output is null ? [] : [output]);

    /// <returns>Why there is none; null where there is one.</returns>
    public async Task<string?> WriteAsync(string file, EmbedResult result, CancellationToken cancel)
    {
        try
        {
            var encoded = decoder.Open(await PictureFile.ReadAsync(file, maxBytes, cancel));
            using var picture = encoded.Decode(shrink: 1, cancel);
            Draw(picture, result);
            Replace(Target(file), picture);
            return null;
        }
        catch (Exception e) when (!cancel.IsCancellationRequested) // whatever it is, it ends this copy alone
        {
            return e.Message;
        }
    }

    /// <summary>The path without its extension, of its end as much as a name may have; with a number where that is taken.</summary>
    private string Target(string file)
    {
        var parts = Path.GetRelativePath(".", file).Split('/', '\\').Where(p => p is not (".." or "."));
        var stem = Path.ChangeExtension(string.Join('_', parts), null);
        for (var number = 1; ; number++)
        {
            var end = number == 1 ? ".faces.jpg" : string.Create(CultureInfo.InvariantCulture, $".{number}.faces.jpg");
            var target = Path.Combine(folder, End(stem, LongestName - end.Length) + end);
            if (!pictures.Holds(target) && !results.Holds(target) && taken.Add(Path.GetFullPath(target)))
            {
                return target;
            }
        }
    }

    /// <summary>Whole or not at all; a link that lies there is replaced, and what it leads to is left alone.</summary>
    private void Replace(string target, Picture picture)
    {
        var part = Path.Combine(folder, $".{Guid.NewGuid():N}.part");
        try
        {
            using (var stream = File.Create(part))
            {
                PictureEncoder.WriteJpeg(picture, stream);
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

    private static void Draw(Picture picture, EmbedResult result)
    {
        foreach (var embedding in result.Embeddings)
        {
            if (embedding.Box is { } box)
            {
                Drawing.Box(picture, box.X, box.Y, box.Width, box.Height);
                Drawing.Number(picture, box.X, box.Y, embedding.Score?.ToString("0.000", CultureInfo.InvariantCulture) ?? "");
            }

            foreach (var point in embedding.Landmarks ?? [])
            {
                Drawing.Dot(picture, point[0], point[1]);
            }
        }
    }
}
