using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed verify</c>: how well the model tells a user's own people apart.</summary>
internal static class VerifyCommand
{
    internal const string Central = "central";
    private const string Largest = "largest";

    public static void AddTo(RootCommand root, string[] settings)
    {
        var folder = new Argument<string>("DIR") { Description = "A folder with one folder of pictures per person; or of pictures with noses.json or a CSV of file,x,y beside them, to measure detection." };
        var report = new Option<string?>("--report") { Description = "Write a page with histogram, curve and the worst pairs.", HelpName = "FILE.html" };
        var json = new Option<string?>("--json") { Description = "Write the figures.", HelpName = "FILE" };
        var pairs = new Option<string?>("--pairs") { Description = "Only these pairs, in ten folds as LFW's protocol has them: lines NAME i j or NAME i NAME j, after a line with the number of folds and of pairs a fold.", HelpName = "pairs.txt" };
        var face = new Option<string>("--face") { Description = "Which face of a picture is the person: central (in the middle, as LFW means it) or largest.", DefaultValueFactory = _ => Central };
        face.AcceptOnlyFromAmong(Central, Largest);
        var command = new Command("verify", "Measure how well the model tells your own people apart.") { folder, report, json, pairs, face };
        command.Validators.Add(result =>
        {
            if (result.GetValue(pairs) is not null && result.GetValue(report) is not null)
            {
                result.AddError("--report shows all pairs, and --pairs takes only some: give one of them.");
            }
        });
        command.SetAction((parsed, cancel) => VerifyAsync(settings, parsed.GetRequiredValue(folder), parsed.GetValue(report), parsed.GetValue(json), cancel, parsed.GetValue(pairs), parsed.GetValue(face)!));
        root.Add(command);
    }

    internal static async Task<int> VerifyAsync(string[] settings, string folder, string? report, string? json, CancellationToken cancel, string? pairsFile = null, string which = Central)
    {
        if (!Directory.Exists(folder))
        {
            Screen.Complain(folder, "there is no such folder. It should hold one folder of pictures per person.");
            return ExitCode.SomeFailed;
        }

        string? marks;
        string[] people;
        try
        {
            (marks, people) = (VerifyDetection.MarksOf(folder), [.. Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal)]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Screen.Complain(folder, $"the folder cannot be read: {(e is UnauthorizedAccessException ? "permission denied." : e.Message)}");
            return ExitCode.SomeFailed;
        }

        if (marks is not null && pairsFile is not null)
        {
            Screen.Complain(folder, $"--pairs compares people, and there are marks of faces beside these pictures ({Path.GetFileName(marks)}): detection is measured here, without --pairs.");
            return ExitCode.Usage;
        }

        if (marks is not null)
        {
            return await VerifyDetection.VerifyAsync(settings, folder, marks, json, cancel);
        }

        if (pairsFile is not null && !VerifyPairs.TryRead(folder, pairsFile, out _))
        {
            return ExitCode.SomeFailed; // told before the work
        }

        foreach (var asked in new[] { report, json }.OfType<string>())
        {
            OutputFile.MustBeWritable(asked);
        }

        if (people.Length == 0)
        {
            Screen.Complain(folder, "there are no folders in it. It wants two people or more, with a folder of pictures for each.");
            return ExitCode.SomeFailed;
        }

        await using var services = Services.Build(settings);
        var embedder = services.GetRequiredService<FaceEmbedder>();
        if (embedder.Card.NotForFaces is { } reason)
        {
            throw new ModelException(reason);
        }

        var (photos, without, unread, missing) = await EmbedAsync(services, folder, people, which, cancel);
        var all = missing == 0 && unread.Count == 0 ? ExitCode.Ok : ExitCode.SomeFailed;
        if (pairsFile is not null)
        {
            return VerifyPairs.Verify(photos, folder, pairsFile, which, json) is not ExitCode.Ok and var failed ? failed : all;
        }

        var pairs = Pairs(photos);
        if (!pairs.Exists(p => p.Same) || pairs.TrueForAll(p => p.Same))
        {
            Screen.Complain(folder, $"{Plural.Of(photos.Count, "picture")} with a face, of {Plural.Of(photos.Select(p => p.Person).Distinct().Count(), "person", "people")}: there are no pairs to compare. It wants two people or more, and two pictures of at least one.");
            return ExitCode.SomeFailed;
        }

        var persons = photos.GroupBy(p => p.Person).Select((p, i) => (p.Key, Index: i, Count: p.Count())).ToList();
        var numbers = persons.ToDictionary(p => p.Key, p => p.Index);
        var intervals = new VerificationIntervals(pairs.Select(p => (numbers[p.First.Person], numbers[p.Second.Person], p.Score)), [.. persons.Select(p => p.Count)]).Estimate([1e-4, 1e-3, 1e-2]);
        var verification = new Verification(pairs.Where(p => p.Same).Select(p => p.Score), pairs.Where(p => !p.Same).Select(p => p.Score));
        var figures = new VerifyFigures(embedder.Card.Id, embedder.FaceSpace, photos.Select(p => p.Person).Distinct().Count(), photos.Count, without,
            verification.SamePairs, verification.DifferentPairs, verification.Auc, verification.Eer, verification.TarAtFmr(1e-2), verification.TarAtFmr(1e-3),
            verification.Threshold(1e-3), embedder.Card.Threshold, which, verification.Threshold(1e-2), verification.Threshold(1e-4), verification.TarAtFmr(1e-4),
            Ends(intervals.Eer, verification.Eer), Ends(intervals.Tar[2], verification.TarAtFmr(1e-2)), Ends(intervals.Tar[1], verification.TarAtFmr(1e-3)), Ends(intervals.Tar[0], verification.TarAtFmr(1e-4)), unread);
        figures = VerifyReport.IsTooLittle(figures) ? figures with { EerInterval = null, TarAtFmr1e2Interval = null, TarAtFmr1e3Interval = null, TarAtFmr1e4Interval = null } : figures;
        Print(figures);
        if (json is not null)
        {
            OutputFile.Write(json, JsonSerializer.Serialize(figures, VerifyJson.Default.VerifyFigures));
        }

        if (report is not null)
        {
            var conditions = $"{folder}; {DateTime.Now:yyyy-MM-dd HH:mm}; face-embed {JobHandler.Version}; detector {services.GetRequiredService<FaceDetector>().Card.Id}, detail {services.GetRequiredService<IOptions<FaceOptions>>().Value.DetectionDetail}; {services.GetRequiredService<IOptions<ImageOptions>>().Value.Decoder}";
            OutputFile.Write(report, await VerifyReport.WriteAsync(figures, conditions, verification, pairs, services.GetRequiredService<ImageDecoder>(), services.GetRequiredService<IOptions<ImageOptions>>().Value.MaxBytes));
        }

        return all;
    }

    /// <summary>
    /// The face in the middle of each picture, or its largest; the pictures without one; the files that are no picture or cannot be read;
    /// and how many folders or files cannot be looked at.
    /// </summary>
    /// <param name="crops">With each face as it was aligned.</param>
    internal static async Task<(List<VerifyPhoto> Photos, List<string> Without, List<string> Unread, int Missing)> EmbedAsync(ServiceProvider services, string folder, string[] people, string which, CancellationToken cancel, CropFormat? crops = null)
    {
        var handler = services.GetRequiredService<JobHandler>();
        var slots = services.GetRequiredService<IOptions<JobOptions>>().Value.Slots;
        var (files, missing, _) = PicturePaths.Expand(people);
        foreach (var (path, _, why) in missing)
        {
            Screen.Complain(path, why);
        }

        var (photos, without, unread) = (new List<VerifyPhoto>(), new List<string>(), new List<string>());
        await Screen.ProgressAsync("embedding", files.Count, async advance =>
        {
            await foreach (var (file, outcome) in EmbedCommand.HandleAsync(handler, files, EmbedMode.Faces, slots, cancel, crops))
            {
                advance();
                if (outcome is JobOutcome.Completed { Result: { Outcome: EmbedResult.Embedded } result })
                {
                    photos.Add(new VerifyPhoto(Path.GetRelativePath(folder, file).Split(Path.DirectorySeparatorChar)[0], file, which == Largest ? result.Embeddings[0] : result.Embeddings.MinBy(e => FromMiddle(e.Box!, result.Image))!));
                }
                else if (outcome is JobOutcome.Completed { Result.Outcome: EmbedResult.NoFace })
                {
                    without.Add(file);
                    Screen.Complain(file, "there is no face in it. Left out.");
                }
                else
                {
                    unread.Add(file);
                    Screen.Complain(file, $"{EmbedCommand.Text(outcome)} Left out.");
                }
            }
        });
        HintAtFolders(folder, photos);
        return (photos, without, unread, missing.Count);
    }

    /// <summary>A folder of folders of people was given: each counts as one person.</summary>
    private static void HintAtFolders(string folder, List<VerifyPhoto> photos)
    {
        foreach (var person in photos.GroupBy(p => p.Person))
        {
            var parents = person.Select(p => Path.GetDirectoryName(p.File)!).Distinct().ToList();
            if (parents.Count > 1 && !parents.Contains(Path.Combine(folder, person.Key)))
            {
                Screen.Complain(Path.Combine(folder, person.Key), $"its pictures lie in {parents.Count:N0} folders and count as one person. Where each of these is a person: face-embed verify {Path.Combine(folder, person.Key)}");
            }
        }
    }

    /// <summary>With the value itself, which the draws of a few people may all miss.</summary>
    private static double[] Ends(Interval interval, double value) => double.IsNaN(interval.Low) ? [value, value] : [Math.Min(interval.Low, value), Math.Max(interval.High, value)];

    private static double FromMiddle(ResultBox box, ResultImage image) => Math.Pow(box.X + box.Width / 2.0 - image.Width!.Value / 2.0, 2) + Math.Pow(box.Y + box.Height / 2.0 - image.Height!.Value / 2.0, 2);

    internal static List<VerifyPair> Pairs(List<VerifyPhoto> photos)
    {
        var pairs = new List<VerifyPair>(photos.Count * (photos.Count - 1) / 2);
        for (var i = 0; i < photos.Count; i++)
        {
            for (var j = i + 1; j < photos.Count; j++)
            {
                pairs.Add(new VerifyPair(photos[i], photos[j], Cosine(photos[i].Face.Vector, photos[j].Face.Vector)));
            }
        }

        return pairs;
    }

    internal static double Cosine(float[] a, float[] b)
    {
        double score = 0;
        for (var k = 0; k < a.Length; k++)
        {
            score += a[k] * b[k];
        }

        return score;
    }

    private static void Print(VerifyFigures figures)
    {
        var table = new Table().AddColumns("figure", "value").HideHeaders();
        table.AddRow("verdict", Screen.Cell(figures.Verdict));
        table.AddRow("model, space", Screen.Cell($"{figures.Model}, {figures.Space}"));
        table.AddRow("people", Text($"{figures.People:N0}"));
        table.AddRow("pictures with a face", Text($"{figures.Pictures:N0}"));
        table.AddRow("pictures without a face", Text($"{figures.WithoutFace.Count:N0}"));
        table.AddRow("files that give no picture", Text($"{figures.NoPicture.Count:N0}"));
        table.AddRow("pairs of one person", Text($"{figures.SamePairs:N0}"));
        table.AddRow("pairs of two people", Text($"{figures.DifferentPairs:N0}"));
        table.AddRow("AUC", Text($"{figures.Auc:0.00000}"));
        table.AddRow(VerifyReport.IsTooLittle(figures) ? "EER" : "EER (95 % interval)", Text($"{figures.Eer * 100:0.00} %{Range(figures.EerInterval, 100, "0.00")}"));
        table.AddRow("face taken", figures.Face == Central ? "the one in the middle (--face largest: the largest)" : "the largest");
        table.AddRow("threshold, TAR at FMR 1e-2", Text($"{figures.ThresholdAtFmr1e2:0.000}, {figures.TarAtFmr1e2:0.0000}{Range(figures.TarAtFmr1e2Interval, 1, "0.000")}"));
        table.AddRow("threshold, TAR at FMR 1e-3", Text($"{figures.ThresholdAtFmr1e3:0.000}, {figures.TarAtFmr1e3:0.0000}{Range(figures.TarAtFmr1e3Interval, 1, "0.000")}"));
        table.AddRow("threshold, TAR at FMR 1e-4", Text($"{figures.ThresholdAtFmr1e4:0.000}, {figures.TarAtFmr1e4:0.0000}{Range(figures.TarAtFmr1e4Interval, 1, "0.000")}"));
        table.AddRow("suggested threshold (cosine)", (VerifyReport.NoThreshold(figures) ?? Text($"{figures.ThresholdAtFmr1e3:0.000}, at FMR 1e-3")) + (figures.CardThreshold is { } card ? Text($" (the card says {card:0.000})") : ""));
        Screen.Show(table);

        string Range(double[]? interval, double scale, string format) => interval is null ? "" : string.Create(CultureInfo.InvariantCulture, $" ({(interval[0] * scale).ToString(format, CultureInfo.InvariantCulture)} to {(interval[1] * scale).ToString(format, CultureInfo.InvariantCulture)})");
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

internal sealed record VerifyPhoto(string Person, string File, ResultEmbedding Face);

internal sealed record VerifyPair(VerifyPhoto First, VerifyPhoto Second, double Score)
{
    public bool Same => First.Person == Second.Person;
}

/// <summary>
/// What <c>verify</c> found; the suggested threshold is that of FMR 1e-3. Rates are shares from 0 to 1; thresholds are cosines; intervals
/// hold 95 % [low, high], and are null where there is too little to tell. <c>NoPicture</c> are the files that cannot be decoded, are refused or cannot be read.
/// </summary>
internal sealed record VerifyFigures(string Model, string Space, int People, int Pictures, IReadOnlyList<string> WithoutFace, int SamePairs, int DifferentPairs,
    double Auc, double Eer, [property: JsonPropertyName("tar_at_fmr_1e-2")] double TarAtFmr1e2, [property: JsonPropertyName("tar_at_fmr_1e-3")] double TarAtFmr1e3,
    [property: JsonPropertyName("threshold_at_fmr_1e-3")] double ThresholdAtFmr1e3, double? CardThreshold, string Face, [property: JsonPropertyName("threshold_at_fmr_1e-2")] double ThresholdAtFmr1e2,
    [property: JsonPropertyName("threshold_at_fmr_1e-4")] double ThresholdAtFmr1e4, [property: JsonPropertyName("tar_at_fmr_1e-4")] double TarAtFmr1e4,
    double[]? EerInterval, [property: JsonPropertyName("tar_at_fmr_1e-2_interval")] double[]? TarAtFmr1e2Interval,
    [property: JsonPropertyName("tar_at_fmr_1e-3_interval")] double[]? TarAtFmr1e3Interval, [property: JsonPropertyName("tar_at_fmr_1e-4_interval")] double[]? TarAtFmr1e4Interval,
    IReadOnlyList<string> NoPicture)
{
    /// <summary>In words.</summary>
    public string Verdict => VerifyReport.Verdict(this, "the pairs in the report (--report)");

    /// <summary>That of FMR 1e-3; null where there is too little to tell, or the model does not tell people apart.</summary>
    public double? SuggestedThreshold => VerifyReport.NoThreshold(this) is null ? ThresholdAtFmr1e3 : null;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(VerifyFigures))]
internal sealed partial class VerifyJson : JsonSerializerContext;
