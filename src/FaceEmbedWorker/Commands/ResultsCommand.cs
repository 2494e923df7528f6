using System.CommandLine;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed results</c>: watches results as they come, and takes none from their consumers.</summary>
internal static class ResultsCommand
{
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(5);

    public static void AddTo(RootCommand root, string[] settings)
    {
        var follow = new Option<bool>("--follow") { Description = "Until Ctrl-C; otherwise until none has come for five seconds." };
        var output = new Option<string?>("--out") { Description = "Append one JSON document a result to this file.", HelpName = "FILE" };
        var command = new Command("results", "Watch results as they come, from a queue of its own that ends with it.") { follow, output };
        command.SetAction((parsed, cancel) => WatchAsync(settings, parsed.GetValue(follow), parsed.GetValue(output), cancel));
        root.Add(command);
    }

    private static async Task<int> WatchAsync(string[] settings, bool follow, string? file, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        await using var watch = services.GetRequiredService<ResultWatch>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel); // an orderly end is a good one
        using var lines = file is null ? null : OutputFile.Open(file, FileMode.Append);
        using var console = OutputFile.OpenOutput();
        var asJson = lines is not null || Console.IsOutputRedirected;
        var (count, listening) = (0, false);
        try
        {
            await watch.ListenAsync(Seen, Listening, stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // told to stop, or silence
        }

        if (!listening)
        {
            cancel.ThrowIfCancellationRequested(); // nothing was watched: this is no good end
        }

        Screen.Note($"{Plural.Of(count, "result")}.");
        return ExitCode.Ok;

        void Listening()
        {
            listening = true;
            Screen.Note($"Watching.{(follow ? " Ctrl-C ends it." : "")}");
            Wait();
        }

        void Wait()
        {
            if (!follow)
            {
                stop.CancelAfter(Silence);
            }
        }

        void Seen(EmbedResult result)
        {
            Wait();
            count++;
            if (asJson)
            {
                OutputFile.WriteLine(lines ?? console, file ?? OutputFile.Output, result.ToJson());
            }
            else
            {
                Screen.Say(FormattableString.Invariant($"{result.JobId}{(JobPublisher.FileOf(result.Metadata) is { } name ? $" ({name})" : "")}: {result.Outcome}, {Plural.Of(result.Embeddings.Count, "vector")} of space {result.Model.Space}, attempt {result.Attempt}, {result.TimingsMs.Total:0.0} ms, by {result.Worker}"));
            }
        }
    }
}
