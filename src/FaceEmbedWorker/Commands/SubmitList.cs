using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Commands;

/// <summary>Something to hand in.</summary>
/// <param name="Name">As it was written, or found.</param>
/// <param name="Source">A file, whose bytes the job carries, or what the job refers to; null where there is nothing to hand in.</param>
/// <param name="Wrong">Why there is not.</param>
internal sealed record SubmitLine(string Name, ImageSource? Source, string? Wrong = null);

/// <summary>
/// What <c>submit</c> is to hand in, one after the other, however many there are: paths, URLs, <c>s3://bucket/key</c>, and what is below a
/// folder or <c>s3://bucket/prefix/</c>.
/// </summary>
internal sealed class SubmitList(string[] named, string? file, BucketListing buckets)
{
    private const string S3 = "s3://";
    private const string StandardInput = "-";
    private const int LongestLine = 65_536;

    private readonly Lazy<IReadOnlyList<SubmitLine>> local = new(() => Local([.. named.Where(n => !IsReference(n))]));

    private readonly Lazy<FileStream> opened = new(() => Open(file!)); // once: for the count and for the jobs

    /// <summary>Whether a file of names is what this program was given to read.</summary>
    public static bool IsStandardInput(string? file) => file is StandardInput or "/dev/stdin";

    /// <summary>Whether there may be something to hand in; where there is not, why is told.</summary>
    public async Task<bool> HasAnyAsync(CancellationToken cancel)
    {
        if (file is not (null or StandardInput))
        {
            try
            {
                await Task.Run(() => opened.Value, CancellationToken.None).WaitAsync(cancel); // of a pipe: until somebody writes
            }
            catch (IOException e)
            {
                Screen.Complain(file, e.Message);
                return false;
            }
        }

        if (file is not null || named.Any(IsReference) || local.Value.Any(line => line.Source is not null))
        {
            return true;
        }

        foreach (var line in local.Value)
        {
            Screen.Complain(line.Name, line.Wrong!);
        }

        return false;
    }

    /// <summary>How many there are; null where that shows only when they are read.</summary>
    public long? Count()
    {
        if (file is null)
        {
            return named.Any(IsReference) ? null : local.Value.Count;
        }

        try
        {
            if (file == StandardInput || named.Length > 0 || !opened.Value.CanSeek) // a pipe, whatever it is called, is read once
            {
                return null;
            }

            try
            {
                using var lines = new StreamReader(opened.Value, leaveOpen: true);
                return LinesAsync(lines, CancellationToken.None).ToBlockingEnumerable().LongCount(line => Named(line) is { } name && !name.EndsWith('/'));
            }
            finally
            {
                opened.Value.Position = 0;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // it is told when it is read
        }
    }

    /// <param name="passesOver">What cannot be listed is a line that failed; otherwise it ends the list.</param>
    /// <exception cref="SourceException">A bucket cannot be listed.</exception>
    /// <exception cref="IOException">The file of names cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public async IAsyncEnumerable<SubmitLine> ReadAsync(bool passesOver, [EnumeratorCancellation] CancellationToken cancel)
    {
        foreach (var line in local.Value)
        {
            yield return line;
        }

        await foreach (var name in NamesAsync(named.Where(IsReference), cancel))
        {
            if (!IsReference(name))
            {
                foreach (var line in Local([name]))
                {
                    yield return line;
                }
            }
            else if (!name.StartsWith(S3, StringComparison.Ordinal))
            {
                yield return Uri.TryCreate(name, UriKind.Absolute, out _) ? new SubmitLine(name, new ImageSource.Url(name)) : new SubmitLine(name, null, "no address: write https://host/path.");
            }
            else if (name[S3.Length..].Split('/', 2) is not [{ Length: > 0 } bucket, var key])
            {
                yield return new SubmitLine(name, null, "write s3://bucket/key, or s3://bucket/prefix/ for all below it.");
            }
            else if (key.Length > 0 && !key.EndsWith('/'))
            {
                yield return new SubmitLine(name, new ImageSource.S3(bucket, key));
            }
            else
            {
                await using var pictures = buckets.PicturesAsync(bucket, key, cancel).GetAsyncEnumerator(cancel);
                string? wrong = null;
                var any = false;
                while (await NextAsync())
                {
                    any = true;
                    yield return new SubmitLine($"{S3}{bucket}/{pictures.Current}", new ImageSource.S3(bucket, pictures.Current));
                }

                if (wrong is not null || !any)
                {
                    yield return new SubmitLine(name, null, wrong ?? PicturePaths.NoPictures);
                }

                async Task<bool> NextAsync()
                {
                    try
                    {
                        return await pictures.MoveNextAsync();
                    }
                    catch (SourceException e)
                    {
                        wrong = passesOver ? e.Message : throw new SourceException($"{name}: {e.Message} What is done is in the journal: mend the line, or take it out, and the same command goes on.", e);
                        return false;
                    }
                }
            }
        }
    }

    private static FileStream Open(string file)
    {
        try
        {
            return File.OpenRead(file);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException("it may not be read: permission denied.", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new IOException("there is no such file: --from takes one with a name a line.", e);
        }
    }

    private async IAsyncEnumerable<string> NamesAsync(IEnumerable<string> references, [EnumeratorCancellation] CancellationToken cancel)
    {
        foreach (var name in references)
        {
            yield return name;
        }

        if (file is null)
        {
            yield break;
        }

        using var lines = new StreamReader(file == StandardInput ? Console.OpenStandardInput() : opened.Value);
        await foreach (var line in LinesAsync(lines, cancel))
        {
            if (Named(line) is { } name)
            {
                yield return name;
            }
        }
    }

    /// <summary>Some are empty: of two characters that end a line. What ends no line would fill the memory.</summary>
    /// <exception cref="IOException">A line is longer than any name.</exception>
    private static async IAsyncEnumerable<string> LinesAsync(StreamReader reader, [EnumeratorCancellation] CancellationToken cancel)
    {
        var (buffer, line) = (new char[LongestLine], new StringBuilder());
        for (int read, number = 1; (read = await Task.Run(() => reader.Read(buffer), CancellationToken.None).WaitAsync(cancel)) > 0;) // a pipe's does not heed a token
        {
            var rest = buffer.AsMemory(0, read);
            for (int end; (end = rest.Span.IndexOfAny('\r', '\n')) >= 0; rest = rest[(end + 1)..])
            {
                Append(rest.Span[..end], number);
                yield return line.ToString();
                line.Clear();
                number += rest.Span[end] == '\n' ? 1 : 0;
            }

            Append(rest.Span, number);
        }

        if (line.Length > 0)
        {
            yield return line.ToString();
        }

        void Append(ReadOnlySpan<char> text, int number)
        {
            if (line.Append(text).Length > LongestLine)
            {
                throw new IOException(string.Create(CultureInfo.InvariantCulture, $"Line {number} is longer than {LongestLine:N0} characters: a list has a name on each line."));
            }
        }
    }

    private static string? Named(string line) => line.Trim('\r', '\n') is { Length: > 0 } name && !string.IsNullOrWhiteSpace(name) ? name : null;

    private static bool IsReference(string name) => name.StartsWith(S3, StringComparison.Ordinal) || name.StartsWith("https://", StringComparison.OrdinalIgnoreCase) || name.StartsWith("http://", StringComparison.OrdinalIgnoreCase);

    private static IReadOnlyList<SubmitLine> Local(string[] paths)
    {
        var (files, missing, empty) = PicturePaths.Expand(paths);
        foreach (var folder in empty)
        {
            Screen.Complain(folder, PicturePaths.NoPictures);
        }

        return [.. missing.Select(m => new SubmitLine(m.Path, null, m.Why)), .. files.Select(f => new SubmitLine(f, new ImageSource.File(f)))];
    }
}
