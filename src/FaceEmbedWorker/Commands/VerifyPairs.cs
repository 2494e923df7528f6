using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// <c>face-embed verify --pairs</c>: Labeled Faces in the Wild's protocol (Huang et al. 2007). The pairs come in folds; the threshold for
/// each is the one that is right most often on all others; the result is the mean accuracy and its standard error.
/// </summary>
internal static class VerifyPairs
{
    public static int Verify(List<VerifyPhoto> photos, string folder, string file, string face, string? json)
    {
        var vectors = photos.ToDictionary(p => p.File, p => p.Face.Vector);
        if (!TryRead(folder, file, out var folds))
        {
            return ExitCode.SomeFailed;
        }

        // a pair with a picture without a face never matches: what is not found is not recognised
        var scored = folds.ConvertAll(fold => fold.ConvertAll(p => (p.Same, Score: vectors.TryGetValue(p.First, out var a) && vectors.TryGetValue(p.Second, out var b) ? VerifyCommand.Cosine(a, b) : -1)));
        var accuracies = Enumerable.Range(0, scored.Count).Select(test =>
        {
            var threshold = Best(scored.Where((_, i) => i != test).SelectMany(f => f).ToList());
            return scored[test].Count(p => p.Score > threshold == p.Same) / (double)scored[test].Count;
        }).ToList();
        var (mean, unfound) = (accuracies.Average(), folds.Sum(f => f.Count(p => !vectors.ContainsKey(p.First) || !vectors.ContainsKey(p.Second))));
        var deviation = Math.Sqrt(accuracies.Sum(a => (a - mean) * (a - mean)) / Math.Max(1, accuracies.Count - 1));
        var figures = new PairFigures(folds.Count, folds.Sum(f => f.Count), unfound, face, mean, deviation, deviation / Math.Sqrt(folds.Count), accuracies);
        var table = new Table().AddColumns("figure", "value").HideHeaders();
        table.AddRow("folds", Text($"{figures.Folds:N0}"));
        table.AddRow("pairs", Text($"{figures.Pairs:N0}"));
        table.AddRow("pairs without a face", Text($"{figures.WithoutFace:N0}"));
        table.AddRow("face taken", face);
        table.AddRow("accuracy, mean of the folds", Text($"{100 * mean:0.00} %"));
        table.AddRow("deviation of the folds, standard error", Text($"{100 * deviation:0.00}, {100 * figures.StandardError:0.00} points"));
        Screen.Show(table);
        if (json is not null)
        {
            OutputFile.Write(json, JsonSerializer.Serialize(figures, PairJson.Default.PairFigures));
        }

        return ExitCode.Ok;
    }

    /// <summary>The folds; what is wrong with them is told.</summary>
    public static bool TryRead(string folder, string file, out List<List<Pair>> folds)
    {
        try
        {
            folds = Read(TextFile.Lines(TextFile.Read(file)), name => Photos(folder, name));
            return true;
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            folds = [];
            Screen.Complain(file, $"{e.Message} It should hold the number of folds and of same pairs a fold, then for each fold lines NAME i j and as many NAME i NAME j; picture i is NAME/NAME_000i.jpg, or the i-th of the folder.");
            return false;
        }
    }

    /// <summary>A person's pictures: NAME_0001.jpg and so on by their number, otherwise in the order of the alphabet.</summary>
    private static Func<int, string> Photos(string folder, string name)
    {
        var files = Directory.Exists(Path.Combine(folder, name)) ? PicturePaths.Expand([Path.Combine(folder, name)]).Files.Order(StringComparer.Ordinal).ToList() : [];
        return number => files.Find(f => Path.GetFileNameWithoutExtension(f) == string.Create(CultureInfo.InvariantCulture, $"{name}_{number:0000}"))
            ?? (number >= 1 && number <= files.Count && !files.Exists(f => Path.GetFileName(f).StartsWith($"{name}_0", StringComparison.Ordinal)) ? files[number - 1]
                : throw new FormatException($"{Path.Combine(folder, name)} has no picture {number}."));
    }

    internal static List<List<Pair>> Read(string[] lines, Func<string, Func<int, string>> photos)
    {
        var rows = lines.Where(l => l.Trim().Length > 0).Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).ToList();
        var counts = rows.FirstOrDefault() is { Length: 1 or 2 } first ? Array.ConvertAll(first, c => int.TryParse(c, CultureInfo.InvariantCulture, out var n) && n > 0 ? n : throw new FormatException($"'{c}' is no number of folds or pairs.")) : throw new FormatException("the first line is not the number of folds and of pairs.");
        var pairs = rows.Skip(1).Select(r => r switch
        {
            [var name, var i, var j] => new Pair(true, photos(name)(Number(i)), photos(name)(Number(j))),
            [var name, var i, var other, var j] => new Pair(false, photos(name)(Number(i)), photos(other)(Number(j))),
            _ => throw new FormatException($"'{string.Join(' ', r)}' is no pair."),
        }).ToList();
        var (folds, size) = counts.Length == 2 ? (counts[0], 2L * counts[1]) : (10, 2L * counts[0]);
        if (folds < 2 || pairs.Count != folds * size)
        {
            throw new FormatException($"the first line says {folds} folds of {size} pairs, and there are {pairs.Count} pairs.");
        }

        return [.. pairs.Chunk((int)size).Select(c => c.ToList())];

        static int Number(string text) => int.TryParse(text, CultureInfo.InvariantCulture, out var n) ? n : throw new FormatException($"'{text}' is no number of a picture.");
    }

    /// <summary>The threshold that is right most often: in the middle between two scores.</summary>
    internal static double Best(List<(bool Same, double Score)> pairs)
    {
        var sorted = pairs.OrderByDescending(p => p.Score).ToList();
        var right = pairs.Count(p => !p.Same); // all are kept out
        var (best, threshold) = (right, sorted[0].Score);
        for (var i = 0; i < sorted.Count; i++)
        {
            right += sorted[i].Same ? 1 : -1;
            if (right > best && (i + 1 == sorted.Count || sorted[i + 1].Score < sorted[i].Score))
            {
                (best, threshold) = (right, i + 1 < sorted.Count ? (sorted[i].Score + sorted[i + 1].Score) / 2 : sorted[i].Score - 1e-9);
            }
        }

        return threshold;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    internal sealed record Pair(bool Same, string First, string Second);
}

/// <summary>Accuracy by LFW's protocol; shares from 0 to 1. A pair with a picture without a face counts as no match.</summary>
internal sealed record PairFigures(int Folds, int Pairs, int WithoutFace, string Face, double Accuracy, double Deviation, double StandardError, IReadOnlyList<double> ByFold);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(PairFigures))]
internal sealed partial class PairJson : JsonSerializerContext;
