using System.Collections.Concurrent;
using System.CommandLine;
using System.Threading.Channels;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed submit</c>: local files as jobs on the queue.</summary>
internal static class SubmitCommand
{
    /// <summary>Jobs published and not yet confirmed; each holds its picture in memory.</summary>
    private const int Outstanding = 16;

    public static void AddTo(RootCommand root, string[] settings)
    {
        var paths = PicturePaths.Argument(ArgumentArity.OneOrMore);
        var wait = new Option<bool>("--wait") { Description = "Show each result as it comes back." };
        var command = new Command("submit", "Publish pictures as jobs, confirmed by the broker.") { paths, wait };
        command.SetAction((parsed, cancel) => SubmitAsync(settings, parsed.GetRequiredValue(paths), parsed.GetValue(wait), cancel));
        root.Add(command);
    }

    private static async Task<int> SubmitAsync(string[] settings, string[] paths, bool wait, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var publisher = services.GetRequiredService<JobPublisher>();
        var (files, missing) = PicturePaths.Expand(paths);
        var maxBytes = services.GetRequiredService<IOptions<ImageOptions>>().Value.MaxBytes;
        foreach (var (path, _, why) in missing)
        {
            Screen.Complain(path, why);
        }

        if (files.Count == 0)
        {
            if (missing.Count == 0)
            {
                Screen.Complain(string.Join(", ", paths), "there are no pictures in there.");
            }

            return ExitCode.SomeFailed;
        }

        await publisher.OpenAsync(cancel);
        publisher.BlockedChanged += () => Screen.NoteAlarm(publisher.Blocked);
        var waiting = new Waiting();
        if (wait)
        {
            await publisher.ListenAsync(waiting.Report, cancel);
        }

        var (failed, confirmed) = (missing.Count, 0);
        try
        {
            await SubmitAllAsync();
        }
        finally
        {
            Screen.Say($"{Plural.Of(confirmed, "job")} confirmed by the broker{(failed > 0 ? $", {failed} failed" : "")}.");
        }

        if (wait && waiting.Open > 0)
        {
            if (await publisher.TakersAsync(cancel) == 0)
            {
                Screen.Note("No worker takes jobs at the moment: results come once one is started (face-embed run). Ctrl-C ends the waiting; the jobs stay in their queue.");
            }

            try
            {
                await Screen.ProgressAsync("waiting for results", waiting.Open, advance => waiting.AllAsync(advance, cancel));
            }
            finally
            {
                Screen.Say(waiting.Summary());
            }

            failed += waiting.Failed;
        }

        return failed == 0 ? ExitCode.Ok : ExitCode.SomeFailed;

        Task SubmitAllAsync() => Screen.ProgressAsync("submitting", files.Count, advance => Parallel.ForEachAsync(files, new ParallelOptions { MaxDegreeOfParallelism = Outstanding, CancellationToken = cancel }, async (file, token) =>
        {
            var id = Guid.CreateVersion7().ToString();
            waiting.Expect(id, file);
            try
            {
                var picture = await PictureFile.ReadAsync(file, maxBytes, token);
                await publisher.SubmitAsync(id, picture, ContentType(picture), JobPublisher.MetadataOf(file), token);
                Interlocked.Increment(ref confirmed);
                if (!wait)
                {
                    Screen.Say($"{file}: job {id}");
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException or JobRefusedException)
            {
                waiting.Forget(id);
                Interlocked.Increment(ref failed);
                Screen.Complain(file, e.Message);
            }

            advance();
        }));
    }

    private static string ContentType(byte[] picture) => ImageFormat.Of(picture) is { } format && ImageFormat.Decoded.Contains(format) ? $"image/{format}" : "application/octet-stream";

    /// <summary>The jobs whose results have not come back yet.</summary>
    private sealed class Waiting
    {
        private readonly ConcurrentDictionary<string, string> open = new();
        private readonly Channel<JobReport> reports = Channel.CreateUnbounded<JobReport>();
        private readonly SortedDictionary<string, int> counts = new(StringComparer.Ordinal);

        public int Open => open.Count;

        public int Failed { get; private set; }

        public void Expect(string id, string file) => open[id] = file;

        public void Forget(string id) => open.TryRemove(id, out _);

        public void Report(JobReport report)
        {
            if (open.ContainsKey(report.JobId))
            {
                reports.Writer.TryWrite(report);
            }
        }

        public async Task AllAsync(Action advance, CancellationToken cancel)
        {
            while (!open.IsEmpty)
            {
                var report = await reports.Reader.ReadAsync(cancel);
                if (open.TryRemove(report.JobId, out var file))
                {
                    Show(file, report);
                    advance();
                }
            }
        }

        public string Summary() => string.Join(", ", counts.Select(c => Words(c.Key, c.Value)).Concat(open.IsEmpty ? [] : [$"{open.Count} without a result yet"]));

        private static string Words(string outcome, int count) => outcome switch
        {
            EmbedResult.Embedded => $"{count:N0} embedded",
            EmbedResult.NoFace => $"{count:N0} without a face",
            _ => Plural.Of(count, outcome),
        };

        private void Show(string file, JobReport report)
        {
            var outcome = report.Result?.Outcome ?? "dead letter";
            counts[outcome] = counts.GetValueOrDefault(outcome) + 1;
            Failed += outcome is EmbedResult.Embedded or EmbedResult.NoFace ? 0 : 1;
            Screen.Say(report.Result is { } result
                ? FormattableString.Invariant($"{file}: {result.Outcome}, {Plural.Of(result.Embeddings.Count, "vector")} of space {result.Model.Space}, {result.TimingsMs.Total:0.0} ms, by {result.Worker}, job {report.JobId}")
                : $"{file}: {outcome}, {report.Error}; job {report.JobId}");
        }
    }
}
