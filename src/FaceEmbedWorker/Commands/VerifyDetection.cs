using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// <c>face-embed verify</c> on pictures whose faces are marked by a point each: how many are found, and what is found besides.
/// </summary>
internal static class VerifyDetection
{
    public const string Json = "noses.json";

    private static readonly int[] Bins = [0, 24, 48, 96, 192, int.MaxValue];

    /// <summary>The file that marks the faces of a folder's pictures; null where there is none.</summary>
    /// <exception cref="IOException">The folder cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static string? MarksOf(string folder) => File.Exists(Path.Combine(folder, Json)) ? Path.Combine(folder, Json)
        : Directory.EnumerateFiles(folder, "*.csv").Order(StringComparer.Ordinal).FirstOrDefault();

    public static async Task<int> VerifyAsync(string[] settings, string folder, string marks, string? json, CancellationToken cancel)
    {
        string text;
        try
        {
            text = TextFile.Read(marks);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Screen.Complain(marks, e.Message);
            return ExitCode.SomeFailed;
        }

        if (VerifyBoxes.Are(marks, text))
        {
            return await VerifyBoxes.VerifyAsync(settings, folder, marks, text, json, cancel);
        }

        Dictionary<string, List<double[]>> points;
        try
        {
            points = marks.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? ReadJson(text) : ReadLines(text);
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            Screen.Complain(marks, $"it does not mark faces: {(e is JsonException fault ? JsonFault.Of(fault) : e.Message)} It should hold file -> [[x, y], …] as JSON, or lines file,x,y in pixels of the upright picture.");
            return ExitCode.SomeFailed;
        }

        await using var services = Services.Build(settings);
        var handler = services.GetRequiredService<JobHandler>();
        var marked = points.ToList();
        var (found, missed, extra, looked, unread) = (new List<ResultBox>(), new List<string>(), new List<string>(), 0, 0);
        await Screen.ProgressAsync("looking", marked.Count, async advance =>
        {
            var files = marked.ConvertAll(m => Path.Combine(folder, m.Key));
            await foreach (var (file, outcome) in EmbedCommand.HandleAsync(handler, files, EmbedMode.Faces, services.GetRequiredService<IOptions<JobOptions>>().Value.Slots, cancel))
            {
                advance();
                var (name, its) = marked[looked++];
                if (outcome is not JobOutcome.Completed { Result: { Outcome: not EmbedResult.Stub } result })
                {
                    unread++;
                    Screen.Complain(file, $"{EmbedCommand.Text(outcome)} Left out.");
                    continue;
                }

                Match(result, its, name, found, missed, extra);
            }
        });
        var figures = new DetectionFigures(marked.Count - unread, found.Count + missed.Count, found.Count, extra.Count,
            Bins.Zip(Bins.Skip(1)).ToDictionary(b => b.Second == int.MaxValue ? $"{b.First}+" : $"{b.First}-{b.Second - 1}", b => found.Count(f => Side(f) >= b.First && Side(f) < b.Second)), missed, extra);
        Print(figures);
        if (json is not null)
        {
            OutputFile.Write(json, JsonSerializer.Serialize(figures, DetectionJson.Default.DetectionFigures));
        }

        return unread == 0 ? ExitCode.Ok : ExitCode.SomeFailed;
    }

    /// <summary>Each point takes the smallest box that holds it and is free.</summary>
    private static void Match(EmbedResult result, List<double[]> points, string file, List<ResultBox> found, List<string> missed, List<string> extra)
    {
        var free = result.Embeddings.Select(e => e.Box!).OrderBy(b => (long)b.Width * b.Height).ToList();
        foreach (var point in points)
        {
            if (free.Find(b => point[0] >= b.X && point[0] <= b.X + b.Width && point[1] >= b.Y && point[1] <= b.Y + b.Height) is { } box)
            {
                free.Remove(box);
                found.Add(box);
            }
            else
            {
                missed.Add(Text($"{file} ({point[0]:0}, {point[1]:0})"));
            }
        }

        extra.AddRange(free.Select(b => Text($"{file} ({b.X}, {b.Y}) {b.Width} x {b.Height}")));
    }

    private static Dictionary<string, List<double[]>> ReadJson(string text)
    {
        var document = JsonElement.Parse(text);
        var points = new Dictionary<string, List<double[]>>();
        foreach (var file in document.ValueKind == JsonValueKind.Object ? document.EnumerateObject() : throw new FormatException("it is no object of JSON."))
        {
            var its = file.Value.ValueKind == JsonValueKind.Array ? file.Value.EnumerateArray().Select(Point).ToList() : [null];
            if (its.Contains(null))
            {
                throw new FormatException($"the points of '{file.Name}' are not [[x, y], …].");
            }

            if (!points.TryAdd(file.Name, its!))
            {
                throw new FormatException($"'{file.Name}' is in it twice.");
            }
        }

        return points;
    }

    /// <summary>Null where it is none.</summary>
    private static double[]? Point(JsonElement point) =>
        point.ValueKind == JsonValueKind.Array && point.GetArrayLength() >= 2 && Number(point[0]) is { } x && Number(point[1]) is { } y ? [x, y] : null;

    private static double? Number(JsonElement number) => number.ValueKind == JsonValueKind.Number && number.TryGetDouble(out var value) && double.IsFinite(value) ? value : null;

    private static Dictionary<string, List<double[]>> ReadLines(string text)
    {
        var points = new Dictionary<string, List<double[]>>();
        foreach (var line in TextFile.Lines(text).Where(l => l.Trim().Length > 0))
        {
            var cells = line.Split(',', StringSplitOptions.TrimEntries);
            if (cells.Length < 3 || !double.TryParse(cells[1], CultureInfo.InvariantCulture, out var x) || !double.TryParse(cells[2], CultureInfo.InvariantCulture, out var y) || !double.IsFinite(x) || !double.IsFinite(y))
            {
                if (points.Count == 0 && cells.Length >= 3 && !double.TryParse(cells[1], CultureInfo.InvariantCulture, out _))
                {
                    continue; // a heading
                }

                throw new FormatException($"'{line}' is not file,x,y.");
            }

            points.TryAdd(cells[0], []);
            points[cells[0]].Add([x, y]);
        }

        return points;
    }

    private static void Print(DetectionFigures figures)
    {
        var table = new Table().AddColumns("figure", "value").HideHeaders();
        table.AddRow("pictures", Text($"{figures.Pictures:N0}"));
        table.AddRow("marked faces", Text($"{figures.Marked:N0}"));
        table.AddRow("found (recall)", Text($"{figures.Found:N0} ({100.0 * figures.Found / Math.Max(1, figures.Marked):0.0} %)"));
        table.AddRow("boxes without a marked face", Text($"{figures.FalseAlarms:N0}"));
        table.AddRow("found, by pixels of the shorter side", string.Join(", ", figures.FoundBySize.Select(b => Text($"{b.Key}: {b.Value:N0}"))));
        foreach (var (what, list) in new[] { ("missed", figures.Missed), ("not marked", figures.NotMarked) }.Where(l => l.Item2.Count > 0))
        {
            table.AddRow(what, Screen.Cell(list.Count > 20 ? [.. list.Take(20), Text($"… {list.Count - 20:N0} more")] : list));
        }

        Screen.Show(table);
    }

    private static int Side(ResultBox box) => Math.Min(box.Width, box.Height);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>What <c>verify</c> found on marked pictures.</summary>
/// <param name="FoundBySize">Pixels of the box's shorter side -> faces.</param>
internal sealed record DetectionFigures(int Pictures, int Marked, int Found, int FalseAlarms, IReadOnlyDictionary<string, int> FoundBySize, IReadOnlyList<string> Missed, IReadOnlyList<string> NotMarked);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(DetectionFigures))]
internal sealed partial class DetectionJson : JsonSerializerContext;
