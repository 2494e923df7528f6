using System.CommandLine;
using System.Globalization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Commands;

/// <summary>How a list is to be handed in.</summary>
/// <param name="Mode">As in a message; null: as the workers' settings say.</param>
/// <param name="Bulk">To the queue of bulk jobs.</param>
/// <param name="Ahead">Jobs that may wait in the queue; null: any number.</param>
internal sealed record SubmitOrder(string? Mode, byte? Priority, bool Bulk, int? Ahead);

/// <summary><c>face-embed submit</c>: files, and references to pictures, as jobs on the queue.</summary>
internal static class SubmitCommand
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    public static void AddTo(RootCommand root, string[] settings)
    {
        var paths = PicturePaths.Argument(ArgumentArity.ZeroOrMore);
        paths.Description += " URLs and s3://bucket/key, or s3://bucket/prefix/ for all below it, go as references.";
        var from = new Option<string?>("--from") { Description = "A file with such a name a line; - for standard input.", HelpName = "FILE" };
        var wait = new Option<bool>("--wait") { Description = "Show each result as it comes back." };
        var mode = new Option<string?>("--mode") { Description = "faces: every face, aligned. image: the whole picture. aligned: pictures are crops of a face each. Default: as the workers' settings say." };
        mode.AcceptOnlyFromAmong("faces", "image", "aligned");
        var priority = new Option<byte?>("--priority") { Description = "0 to 255; from RabbitMQ 4 on, 5 and more go before the rest.", HelpName = "N" };
        Arguments.MustBe(priority, "0 to 255", text => byte.TryParse(text, CultureInfo.InvariantCulture, out _));
        var bulk = new Option<bool>("--bulk") { Description = "To the queue of bulk jobs (Broker:BulkQueue): others go first." };
        var ahead = new Option<int?>("--ahead") { Description = "Hand in while fewer than N jobs wait in the queue.", HelpName = "N" };
        Arguments.MustBe(ahead, "any number from 1 on", text => int.TryParse(text, CultureInfo.InvariantCulture, out var most) && most >= 1);
        var resume = new Option<string?>("--resume") { Description = "Keep a journal in this file, and go on behind what it says is done.", HelpName = "FILE" };
        var command = new Command("submit", "Publish pictures as jobs, confirmed by the broker.") { paths, from, wait, mode, priority, bulk, ahead, resume };
        command.Validators.Add(result =>
        {
            if (result.GetValue(paths) is null or [] && result.GetResult(from) is null) // without its value, that is said
            {
                result.AddError("There is nothing to submit: name pictures or folders, or a list with --from.");
            }
        });
        command.SetAction((parsed, cancel) => SubmitAsync(settings, parsed.GetValue(paths) ?? [], parsed.GetValue(from), parsed.GetValue(wait), parsed.GetValue(resume),
            new SubmitOrder(parsed.GetValue(mode), parsed.GetValue(priority), parsed.GetValue(bulk), parsed.GetValue(ahead)), cancel));
        root.Add(command);
    }

    /// <summary>What of a command line names something that it cannot; null: nothing.</summary>
    private static string? Misnamed(string[] paths, string? from, string? resume) =>
        SubmitList.IsStandardInput(from) && StandardInput.IsClosed() ? $"--from {from} reads standard input, and that is closed: pipe a list in, or name a file."
        : from is not (null or "-") && Directory.Exists(from) ? $"--from {from} is a folder, and takes a file with a name a line: a folder is an argument, as in face-embed submit {from}."
        : resume is null ? null
        : PictureFile.KindOf(resume) is { } kind ? $"--resume {resume} is {kind}, and a journal is kept in a file."
        : new FileSet([.. paths, .. from is null ? Array.Empty<string>() : [from]]).Holds(resume) ? $"--resume {resume} is what is to be handed in, and would be overwritten; name another file."
        : null;

    private static async Task<int> SubmitAsync(string[] settings, string[] paths, string? from, bool wait, string? resume, SubmitOrder order, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        if (order.Bulk && services.GetRequiredService<Topology>().Bulk is null)
        {
            throw new SettingsException("--bulk needs Broker:BulkQueue=true, here and at the workers.");
        }

        if (Misnamed(paths, from, resume) is { } wrong)
        {
            Screen.Complain(wrong);
            return ExitCode.Usage;
        }

        var publisher = services.GetRequiredService<JobPublisher>();
        var list = new SubmitList(paths, from, services.GetRequiredService<BucketListing>());
        if (!await list.HasAnyAsync(cancel))
        {
            return ExitCode.SomeFailed;
        }

        using var journal = resume is null ? null : SubmitJournal.Open(resume);
        await publisher.OpenAsync(cancel);
        publisher.BlockedChanged += () => Screen.NoteAlarm(publisher.Blocked);
        var tells = from is null || Console.IsOutputRedirected; // a million lines are for a file
        var results = wait ? new SubmitResults(tells) : null;
        if (results is not null)
        {
            await publisher.ListenAsync(results.Report, cancel);
        }

        using var run = new SubmitRun(publisher, order, journal, results, services.GetRequiredService<IOptions<ImageOptions>>().Value.MaxBytes, tells && !wait, TimeProvider.System);
        var (total, failed, every) = (list.Count(), 0, from is null ? Timeout.InfiniteTimeSpan : Interval);
        try
        {
            try
            {
                await using var clock = TimeProvider.System.CreateTimer(_ => Screen.Note(run.Progress(total)), null, every, every);
                await Screen.ProgressAsync("submitting", (int)Math.Min(total ?? 0, int.MaxValue), advance => run.HandInAsync(list.ReadAsync(passesOver: journal is null, cancel), advance, cancel), tellsTime: order.Ahead is null);
            }
            catch (Exception e) when (e is SubmitListException or SourceException or IOException or UnauthorizedAccessException)
            {
                Screen.Complain(e is SubmitListException or SourceException ? e.Message : $"{from}: {e.Message}");
                failed++;
            }
            finally
            {
                Screen.Say(run.Summary(withRate: from is not null));
            }

            failed += run.Failed;
            if (!run.Any && failed == 0)
            {
                Screen.Complain(SubmitList.IsStandardInput(from) ? "standard input" : from!, "it holds no line with a name.");
                failed++;
            }

            if (results is { Open: > 0 })
            {
                run.TellWhereNobodyTakes(await publisher.TakersAsync(order.Bulk, cancel), "results come");
                await using var clock = TimeProvider.System.CreateTimer(_ => Screen.Note(results.Summary()), null, every, every);
                await Screen.ProgressAsync("waiting for results", results.Open, advance => results.AllAsync(advance, cancel));
            }
        }
        catch (OperationCanceledException) when (results is { Any: true })
        {
            results.End();
            Screen.Say(results.Summary());
            throw;
        }

        if (results is { Any: true })
        {
            Screen.Say(results.Summary());
            failed += results.Failed;
        }

        return failed == 0 ? ExitCode.Ok : ExitCode.SomeFailed;
    }
}
