using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// How far a list has been handed in, in a file of two lines that a kill at any moment leaves whole: behind it are at most
/// <see cref="Window"/> jobs that may have been handed in as well, and get the same ids again.
/// </summary>
internal sealed class SubmitJournal : IDisposable
{
    /// <summary>Lines that are handed in beyond the first that is not confirmed.</summary>
    public const int Window = 256;

    private const string Kind = "face-embed submit ";
    private static readonly int Head = Kind.Length + 32 + 1;

    private readonly string path;
    private readonly SafeFileHandle file;
    private readonly string run;
    private readonly Lock moving = new();
    private readonly SemaphoreSlim room = new(Window);
    private readonly SortedDictionary<long, (string Name, bool Failed)> ahead = [];
    private long done;
    private long failed;

    private SubmitJournal(string path, SafeFileHandle file, string run, long done, long failed, string last)
    {
        (this.path, this.file, this.run, this.done, this.failed) = (path, file, run, done, failed);
        (Done, Failed, Last) = (done, failed, last);
    }

    /// <summary>Lines that were done when it was opened.</summary>
    public long Done { get; }

    /// <summary>Those of them that were not handed in.</summary>
    public long Failed { get; }

    /// <summary>What tells the last of them; empty where there is none.</summary>
    private string Last { get; }

    /// <summary>Opens it, or makes it.</summary>
    /// <exception cref="OutputException">It is no journal, is another process's at present, or cannot be written.</exception>
    public static SubmitJournal Open(string path)
    {
        try
        {
            var file = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            var text = new byte[Head + Line(0, 0, "").Length];
            var length = RandomAccess.Read(file, text, 0);
            var lines = Encoding.ASCII.GetString(text, 0, length).Split('\n');
            if (length == 0)
            {
                var run = Guid.NewGuid().ToString("N");
                RandomAccess.Write(file, Encoding.ASCII.GetBytes($"{Kind}{run}\n{Line(0, 0, "")}"), 0);
                return new(path, file, run, 0, 0, "");
            }

            if (lines is [var head, var line, ""] && head.StartsWith(Kind, StringComparison.Ordinal) && head.Length == Head - 1 && line.Split(' ') is [var count, var wrong, var last]
                && long.TryParse(count, CultureInfo.InvariantCulture, out var done) && long.TryParse(wrong, CultureInfo.InvariantCulture, out var failed))
            {
                return new(path, file, head[Kind.Length..], done, failed, last);
            }

            file.Dispose();
            throw new IOException("it is a file already, and no journal of submit.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OutputException(path, OutputFile.Why(path, e), e);
        }
    }

    /// <summary>The id of a line's job, the same each time.</summary>
    public string IdOf(long line) => new Guid(SHA256.HashData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{run} {line}"))).AsSpan(0, 16)).ToString();

    /// <summary>Whether a line is as it was when the journal was written, as far as the journal knows it.</summary>
    public bool Fits(long line, string name) => line != Done || Last == Mark(name);

    /// <summary>Waits until a line may be begun.</summary>
    public Task EnterAsync(CancellationToken cancel) => room.WaitAsync(cancel);

    /// <summary>A line is done with: confirmed, or nothing that could be handed in.</summary>
    /// <param name="line">The first is 1.</param>
    /// <param name="failed">It was not handed in.</param>
    /// <exception cref="OutputException">It cannot be written.</exception>
    public void Settle(long line, string name, bool failed)
    {
        lock (moving)
        {
            ahead[line] = (name, failed);
            var (last, count) = ("", 0);
            while (ahead.Remove(done + 1, out var next))
            {
                (last, count, done, this.failed) = (next.Name, count + 1, done + 1, this.failed + (next.Failed ? 1 : 0));
            }

            if (count > 0)
            {
                Write(Line(done, this.failed, last));
                room.Release(count);
            }
        }
    }

    public void Dispose()
    {
        file.Dispose();
        room.Dispose();
    }

    private void Write(string line)
    {
        try
        {
            RandomAccess.Write(file, Encoding.ASCII.GetBytes(line), Head);
        }
        catch (IOException e)
        {
            throw new OutputException(path, e.Message, e);
        }
    }

    /// <summary>Of one length always, for it is written over.</summary>
    private static string Line(long count, long failed, string name) => string.Create(CultureInfo.InvariantCulture, $"{count:D20} {failed:D20} {Mark(name)}\n");

    private static string Mark(string name) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))[..16];
}
