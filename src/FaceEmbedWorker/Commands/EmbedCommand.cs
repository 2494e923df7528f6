using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed embed</c>: local files through the same handler as the worker's jobs.</summary>
internal static class EmbedCommand
{
    public static void AddTo(RootCommand root, string[] settings)
    {
        var paths = PicturePaths.Argument(ArgumentArity.OneOrMore);
        var mode = new Option<string?>("--mode") { Description = "faces: every face, aligned. image: the whole picture. aligned: pictures are crops of a face each. Default: the setting Jobs:Mode." };
        mode.AcceptOnlyFromAmong("faces", "image", "aligned");
        var output = new Option<string?>("--out") { Description = "Write the results here, one JSON document a line.", HelpName = "FILE.jsonl" };
        var annotate = new Option<string?>("--annotate") { Description = "Write copies with boxes, landmarks and scores here.", HelpName = "DIR" };
        var crops = new Option<string?>("--crops") { Description = "Write the aligned faces here, a PNG each: pictures of faces, for mode aligned.", HelpName = "DIR" };
        var command = new Command("embed", "Embed local pictures: a table on a terminal, one JSON document a line otherwise.") { paths, mode, output, annotate, crops };
        command.SetAction((parsed, cancel) => EmbedAsync(settings, parsed.GetRequiredValue(paths), parsed.GetValue(mode), parsed.GetValue(output), parsed.GetValue(annotate), parsed.GetValue(crops), cancel));
        root.Add(command);
    }

    private static async Task<int> EmbedAsync(string[] settings, string[] paths, string? mode, string? output, string? annotate, string? crops, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var options = services.GetRequiredService<IOptions<ImageOptions>>().Value;
        var (files, missing, empty) = PicturePaths.Expand(paths);
        var pictures = new FileSet(files);
        if (output is not null && pictures.Holds(output))
        {
            Screen.Complain($"--out {output} is one of the pictures, and would be overwritten; name another file.");
            return ExitCode.Usage;
        }

        EmbedMode? asked = mode is null ? null : Enum.Parse<EmbedMode>(mode, ignoreCase: true);
        var jobs = services.GetRequiredService<IOptions<JobOptions>>().Value;
        if (crops is not null && (asked ?? jobs.Mode) is not EmbedMode.Faces and var other)
        {
            Screen.Complain($"--crops writes the faces that are found, and mode {other.ToString().ToLowerInvariant()} looks for none: take --mode faces, or leave --crops out.");
            return ExitCode.Usage;
        }

        var handler = services.GetRequiredService<JobHandler>(); // what is wrong with the models is told before what lies there is overwritten
        foreach (var folder in new[] { annotate, crops }.OfType<string>())
        {
            OutputFile.MustTakeFiles(folder);
        }

        var name = Shortener([.. files, .. missing.Select(m => m.Path)]);
        var table = output is null && !Console.IsOutputRedirected ? NewTable() : null;
        await using var lines = table is not null ? null : output is null ? OpenOutput() : files.Count + missing.Count == 0 ? Stream.Null : OutputFile.Open(output);
        var copies = annotate is null ? null : new AnnotatedCopies(services.GetRequiredService<ImageDecoder>(), options.MaxBytes, new CopyFolder(annotate, pictures, output));
        var cut = crops is null ? null : new CopyFolder(crops, pictures, output);
        foreach (var none in empty)
        {
            Screen.Complain(none, PicturePaths.NoPictures);
        }

        var failed = missing.Count;
        foreach (var (path, error, why) in missing)
        {
            Reject(path, new JobOutcome.Rejected(error, why));
        }

        var (done, faces, without, start) = (missing.Count, 0, 0, Stopwatch.GetTimestamp());
        try
        {
            await Screen.ProgressAsync("embedding", files.Count, EmbedAllAsync);
        }
        finally
        {
            if (table is { Rows.Count: > 0 })
            {
                Screen.Show(table);
            }

            if (!Console.IsErrorRedirected && files.Count > 0)
            {
                Screen.Note(Text($"{Plural.Of(done, "picture")}{(done < files.Count + missing.Count ? $" of {files.Count + missing.Count:N0}" : "")} in {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s: {Plural.Of(faces, "face")}, {without:N0} without a face{(failed > 0 ? Text($", {failed:N0} failed") : "")}.{(output is null ? "" : $" Results: {output}.")}{(annotate is null ? "" : $" Copies with boxes: {annotate}.")}{(crops is null ? "" : $" Crops: {crops}.")}"));
            }
        }

        return failed == 0 && files.Count > 0 ? ExitCode.Ok : ExitCode.SomeFailed;

        // without a reader there is nothing to embed for, unless files are made besides
        Stream OpenOutput() => annotate is null && crops is null ? OutputFile.OpenOutput() : Console.OpenStandardOutput();

        async Task EmbedAllAsync(Action advance)
        {
            await foreach (var (file, outcome) in HandleAsync(handler, files, asked, jobs.Slots, cancel, crops is null ? null : CropFormat.Png))
            {
                done++;
                if (outcome is JobOutcome.Completed(var result))
                {
                    failed += result.Outcome == EmbedResult.Stub ? 1 : 0;
                    faces += result.Embeddings.Count(e => e.Source == "face");
                    without += result.Outcome == EmbedResult.NoFace ? 1 : 0;
                    AddRows(table, name(file), result);
                    if (cut is not null && WriteCrops(cut, file, result) is { } unwritten)
                    {
                        failed++;
                        Screen.Complain(file, $"no crop: {unwritten}");
                    }

                    Write((result with { File = file, Embeddings = cut is null ? result.Embeddings : [.. result.Embeddings.Select(e => e with { Crop = null })] }).ToJson());
                    if (copies is not null && result.Outcome != EmbedResult.Stub && await copies.WriteAsync(file, result, cancel) is { } why)
                    {
                        failed++;
                        Screen.Complain(file, $"no copy with boxes: {why}");
                    }
                }
                else
                {
                    failed++;
                    Reject(file, outcome);
                }

                advance();
            }
        }

        void Reject(string path, JobOutcome outcome)
        {
            var (error, message) = Reason(outcome);
            Screen.Complain(path, error == "source_missing" ? message : $"{error}: {message}");
            table?.AddRow(Screen.Cell(name(path)), "rejected", "", "", Screen.Cell(error), "");
            Write(new RejectedFile(path, "rejected", error, message, JobHandler.Worker, JobHandler.Version, DateTime.UtcNow, path).ToJson());
        }

        void Write(byte[] document)
        {
            if (lines is not null)
            {
                OutputFile.WriteLine(lines, output ?? OutputFile.Output, document);
            }
        }
    }

    /// <summary>The outcomes in the order of the files, <paramref name="slots"/> being worked on at once.</summary>
    internal static async IAsyncEnumerable<(string File, JobOutcome Outcome)> HandleAsync(JobHandler handler, IReadOnlyList<string> files, EmbedMode? mode, int slots,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel, CropFormat? crops = null)
    {
        var running = new Queue<(string File, Task<JobOutcome> Outcome)>();
        try
        {
            foreach (var file in files)
            {
                if (running.Count == slots)
                {
                    var (done, outcome) = running.Dequeue();
                    yield return (done, await outcome);
                }

                running.Enqueue((file, Task.Run(() => handler.HandleAsync(new EmbedJob(file, new ImageSource.File(file), mode) { ReturnCrops = crops, EveryCrop = true }, cancel), cancel)));
            }

            foreach (var (file, outcome) in running)
            {
                yield return (file, await outcome);
            }
        }
        finally
        {
            // where the caller does not go on, the models must not be let go under those that run
            await ((Task)Task.WhenAll(running.Select(r => r.Outcome))).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Faces are numbered as in the result.</summary>
    /// <returns>Why there are none, or not all; null where there are.</returns>
    private static string? WriteCrops(CopyFolder folder, string file, EmbedResult result)
    {
        try
        {
            for (var i = 0; i < result.Embeddings.Count; i++)
            {
                if (result.Embeddings[i].Crop is { } crop)
                {
                    folder.Write(folder.Target(file, Text($".face{i + 1}.{crop.Format}")), stream => stream.Write(crop.Data));
                }
            }

            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    internal static string Text(JobOutcome outcome) => Reason(outcome) is var (word, message) ? $"{word}: {message}" : "";

    private static (string Word, string Message) Reason(JobOutcome outcome) => outcome switch
    {
        JobOutcome.Rejected(var reason, var message, _) => (reason, message),
        JobOutcome.Retry(var reason, var message, _) => (reason, message),
        JobOutcome.Completed { Result: { Error: { } error, Message: { } message } } => (error, message), // a stub
        _ => throw new ArgumentException("A result has no reason.", nameof(outcome)),
    };

    private static Table NewTable()
    {
        var table = new Table().Border(TableBorder.None);
        foreach (var name in new[] { "file", "outcome", "face", "score", "quality", "ms" })
        {
            table.AddColumn(new TableColumn($"[bold]{name}[/]") { NoWrap = name is not ("file" or "quality") }.PadLeft(0).PadRight(2));
        }

        return table;
    }

    private static void AddRows(Table? table, string file, EmbedResult result)
    {
        var milliseconds = Text(result.TimingsMs.Total, "0.0");
        var name = Screen.Cell(file);
        if (result.Embeddings.Count == 0)
        {
            table?.AddRow(name, result.Outcome, "", "", result.Error ?? "", milliseconds);
        }

        for (var i = 0; i < result.Embeddings.Count; i++)
        {
            var (embedding, first) = (result.Embeddings[i], i == 0);
            table?.AddRow(first ? name : "", first ? result.Outcome : "", embedding.Box is { } box ? $"{box.Width}x{box.Height}" : "",
                Text(embedding.Score, "0.000"), result.Error ?? string.Join(' ', [Text(embedding.Quality?.Score, "0.00"), .. embedding.Quality?.Flags ?? []]), first ? milliseconds : "");
        }
    }

    /// <summary>Paths without the folders that they share.</summary>
    private static Func<string, string> Shortener(IReadOnlyList<string> paths)
    {
        var folders = paths.Select(p => (Path.GetDirectoryName(p) ?? "").Split(Path.DirectorySeparatorChar)).ToArray();
        var shared = folders.Length == 0 ? 0 : folders.Skip(1).Aggregate(folders[0].Length, (common, parts) => Math.Min(common, parts.Zip(folders[0]).TakeWhile(p => p.First == p.Second).Count()));
        var prefix = folders.Length == 0 || shared == 0 ? "" : string.Join(Path.DirectorySeparatorChar, folders[0].Take(shared)) + Path.DirectorySeparatorChar;
        return path => path.StartsWith(prefix, StringComparison.Ordinal) ? path[prefix.Length..] : path;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static string Text(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
}
