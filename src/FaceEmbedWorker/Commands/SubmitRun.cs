using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>A list that is not what its journal was written for.</summary>
internal sealed class SubmitListException(string message) : Exception(message);

/// <summary>
/// Hands in a list of any length, in its order and many at once; what it keeps in memory does not grow with it. A line that is no picture,
/// or that cannot be handed in, is told and passed over.
/// </summary>
/// <param name="tells">Which job is of which line.</param>
internal sealed class SubmitRun(JobPublisher publisher, SubmitOrder order, SubmitJournal? journal, SubmitResults? results, int maxBytes, bool tells, TimeProvider time) : IDisposable
{
    /// <summary>Jobs published and not yet confirmed.</summary>
    private const int Outstanding = 64;

    /// <summary>Those of them that hold their picture in memory.</summary>
    private const int Pictures = 16;

    private static readonly TimeSpan Look = TimeSpan.FromSeconds(0.5);

    /// <summary>Of waiting, after which is told what for.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(3);

    private readonly SemaphoreSlim pictures = new(Pictures, Pictures);
    private readonly QueueRoom? queue = order.Ahead is { } most ? new(most, time) : null;
    private readonly long start = time.GetTimestamp();
    private long begun;
    private long confirmed;
    private long failed;
    private long room;
    private bool wasFull;
    private volatile bool nobodyTakes;

    /// <summary>From where on the rate counts: the first jobs go into an empty queue, and the others as fast as it is emptied.</summary>
    private volatile Pace pace = new(time.GetTimestamp(), 0);

    private bool toldOfDoubt;
    private bool toldOfNobody;

    /// <summary>Of the list, in this run or, as its journal tells, in an earlier one.</summary>
    public int Failed => (int)Math.Min(failed + (journal?.Failed ?? 0), int.MaxValue);

    /// <summary>Whether there was a line at all.</summary>
    public bool Any { get; private set; }

    /// <exception cref="SubmitListException">The journal is of another list.</exception>
    /// <exception cref="BrokerRefusedException">The broker takes nothing.</exception>
    public async Task HandInAsync(IAsyncEnumerable<SubmitLine> lines, Action advance, CancellationToken cancel)
    {
        ExceptionDispatchInfo? ended = null;
        await Parallel.ForEachAsync(BegunAsync(), new ParallelOptions { MaxDegreeOfParallelism = Outstanding, CancellationToken = cancel }, async (next, token) =>
        {
            var handedIn = await HandInAsync(next.Line, journal?.IdOf(next.Number) ?? Guid.CreateVersion7().ToString(), token);
            journal?.Settle(next.Number, next.Line.Name, !handedIn);
            advance();
        });
        ended?.Throw();

        // what ends the list lets those come to their end that were begun before it
        async IAsyncEnumerable<(long Number, SubmitLine Line)> BegunAsync()
        {
            await using var next = NextAsync(lines, advance, cancel).GetAsyncEnumerator(cancel);
            while (await IsThereAsync(next))
            {
                yield return next.Current;
            }
        }

        async Task<bool> IsThereAsync(IAsyncEnumerator<(long Number, SubmitLine Line)> next)
        {
            try
            {
                return await next.MoveNextAsync();
            }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                ended = ExceptionDispatchInfo.Capture(e);
                return false;
            }
        }
    }

    public void Dispose() => pictures.Dispose();

    public string Summary(bool withRate)
    {
        var seconds = time.GetElapsedTime(start).TotalSeconds;
        return $"{Plural.Of(confirmed, "job")} confirmed by the broker{(failed > 0 ? $", {failed:N0} failed" : "")}{(withRate ? string.Create(CultureInfo.InvariantCulture, $", {confirmed / seconds:N0}/s") : "")}"
            + (journal is { Done: > 0 } ? string.Create(CultureInfo.InvariantCulture, $"; {journal.Done - journal.Failed:N0} were handed in before") : "")
            + (journal is { Failed: > 0 } ? string.Create(CultureInfo.InvariantCulture, $", and {journal.Failed:N0} failed then: what failed is not tried again.") : ".");
    }

    /// <param name="total">Lines; null: unknown.</param>
    public string Progress(long? total)
    {
        var done = confirmed + failed;
        var rate = (done - pace.Done) / time.GetElapsedTime(pace.Since).TotalSeconds;
        var left = nobodyTakes ? ", no worker takes jobs (0 consumers)"
            : total is { } all && rate > 0 ? $", about {Duration(TimeSpan.FromSeconds(Math.Max(0, all - (journal?.Done ?? 0) - done) / rate))} left" : "";
        return string.Create(CultureInfo.InvariantCulture, $"{done + (journal?.Done ?? 0):N0}{(total is { } t ? $" of {t:N0}" : "")} handed in, {rate:N0}/s{left}{(results is { Any: true } ? $"; {results.Summary()}" : "")}");

        static string Duration(TimeSpan time) => time.TotalMinutes < 2 ? $"{time.TotalSeconds:0} s" : time.TotalHours < 2 ? $"{time.TotalMinutes:0} min" : $"{time.TotalHours:0} h";
    }

    /// <summary>The lines that are left, each when it may be begun.</summary>
    private async IAsyncEnumerable<(long Number, SubmitLine Line)> NextAsync(IAsyncEnumerable<SubmitLine> lines, Action advance, [EnumeratorCancellation] CancellationToken cancel)
    {
        var number = 0L;
        await foreach (var line in lines.WithCancellation(cancel))
        {
            number++;
            Any = true;
            if (journal?.Fits(number, line.Name) is false)
            {
                throw new SubmitListException($"The journal is of another list: its line {number:N0} was not {line.Name}. Name another journal to begin anew.");
            }

            if (number <= journal?.Done)
            {
                advance();
                continue;
            }

            await (journal?.EnterAsync(cancel) ?? Task.CompletedTask);
            await ResultsAsync(cancel);
            await RoomAsync(cancel);
            nobodyTakes = false;
            begun++;
            yield return (number, line);
        }

        if (number < journal?.Done)
        {
            throw new SubmitListException($"The journal is of another list: {journal.Done:N0} lines are done, and this has {number:N0}. Name another journal to begin anew.");
        }
    }

    /// <summary>Waits until fewer jobs are out than may be.</summary>
    private async Task ResultsAsync(CancellationToken cancel)
    {
        var entered = results?.EnterAsync(cancel) ?? Task.CompletedTask;
        while (!entered.IsCompleted && await Task.WhenAny(entered, Task.Delay(Silence, time, cancel)) != entered)
        {
            TellWhereNobodyTakes(await publisher.TakersAsync(order.Bulk, cancel), "results come, and the rest is handed in,");
        }

        await entered;
    }

    /// <summary>Waits until the queue has room for one more: jobs that are on their way to it count as well.</summary>
    private async Task RoomAsync(CancellationToken cancel)
    {
        var since = time.GetTimestamp();
        while (queue is not null && room == 0)
        {
            var onTheWay = begun - Interlocked.Read(ref confirmed) - Interlocked.Read(ref failed);
            var count = await publisher.CountAsync(order.Bulk, cancel);
            room = queue.Of(count, onTheWay);
            if (room == 0 && !wasFull && count is { IsDoubtful: false })
            {
                (wasFull, pace) = (true, new(time.GetTimestamp(), confirmed + failed));
            }

            if (room == 0 && time.GetElapsedTime(since) >= Silence)
            {
                TellOfDoubt(count);
                TellWhereNobodyTakes(count is { IsDoubtful: false } told ? told.Consumers : null, "the rest is handed in");
            }

            await (room > 0 ? Task.CompletedTask : Task.Delay(Look, time, cancel));
        }

        room = Math.Max(0, room - 1);
    }

    private void TellOfDoubt(QueueCount? count)
    {
        if (count is null or { IsDoubtful: true } && !toldOfDoubt)
        {
            toldOfDoubt = true;
            Screen.Note("The broker does not tell how many jobs wait in the queue: --ahead waits until it does. The jobs that are handed in are safe.");
        }
    }

    /// <param name="takers">Null: unknown.</param>
    /// <param name="then">What goes on once there are some.</param>
    public void TellWhereNobodyTakes(long? takers, string then)
    {
        nobodyTakes = takers == 0;
        if (nobodyTakes && !toldOfNobody)
        {
            toldOfNobody = true;
            Screen.Note($"No worker takes jobs at the moment: {then} once one is started (face-embed run). Ctrl-C ends the waiting; the jobs stay in their queue.");
        }
    }

    /// <returns>False where it failed, which is told.</returns>
    private async Task<bool> HandInAsync(SubmitLine line, string id, CancellationToken cancel)
    {
        if (line.Source is null)
        {
            results?.Leave();
            Fail(line.Name, line.Wrong!);
            return false;
        }

        results?.Expect(id, line.Name);
        try
        {
            await (line.Source is ImageSource.File file ? SubmitFileAsync(file.Name, id, cancel) : SubmitAsync(new NewJob(id, line.Name, Reference(line.Source), "application/json"), cancel));
            Interlocked.Increment(ref confirmed);
            if (tells)
            {
                Screen.Say($"{line.Name}: job {id}");
            }

            return true;
        }
        catch (JobRefusedException e) when (journal is not null && e.IsForAll)
        {
            throw new BrokerRefusedException($"{line.Name}: {e.Message} What is done is in the journal: the same command goes on.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException or JobRefusedException)
        {
            results?.Forget(id);
            Fail(line.Name, e.Message);
            return false;
        }
    }

    private async Task SubmitFileAsync(string path, string id, CancellationToken cancel)
    {
        await pictures.WaitAsync(cancel);
        try
        {
            var picture = await PictureFile.ReadAsync(path, maxBytes, cancel);
            await SubmitAsync(new NewJob(id, path, picture, ContentType(picture)), cancel);
        }
        finally
        {
            pictures.Release();
        }
    }

    private Task SubmitAsync(NewJob job, CancellationToken cancel) => publisher.SubmitAsync(job with { Mode = order.Mode, Priority = order.Priority, Bulk = order.Bulk }, cancel);

    private void Fail(string name, string why)
    {
        Interlocked.Increment(ref failed);
        Screen.Complain(name, why);
    }

    private static byte[] Reference(ImageSource source) => source switch
    {
        ImageSource.Url url => NewJob.Reference("url", url.Address),
        ImageSource.S3 s3 => NewJob.Reference("s3", $"{s3.Bucket}/{s3.Key}"),
        _ => throw new InvalidOperationException($"No way to refer to {source.GetType().Name}."),
    };

    private static string ContentType(byte[] picture) => ImageFormat.Of(picture) is { } format && ImageFormat.Decoded.Contains(format) ? $"image/{format}" : "application/octet-stream";

    private sealed record Pace(long Since, long Done);
}
