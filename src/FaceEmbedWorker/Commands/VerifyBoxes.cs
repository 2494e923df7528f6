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
/// <c>face-embed verify</c> on pictures whose faces are marked by boxes, as WIDER FACE is: recall by subset, each within the next one (easy
/// within medium within hard, as the official tool counts), and what is found besides. Boxes of the subset <c>ignore</c> are neither found
/// nor false.
/// </summary>
internal static class VerifyBoxes
{
    private const string Ignore = "ignore";
    private const double Found = 0.5; // intersection over union

    /// <summary>Lines of <c>file,x,y,width,height,subset</c>, the subset being optional.</summary>
    public static bool Are(string marks, string text) => marks.EndsWith(".csv", StringComparison.OrdinalIgnoreCase) && TextFile.Lines(text)[0].Split(',').Length >= 5;

    public static async Task<int> VerifyAsync(string[] settings, string folder, string marks, string text, string? json, CancellationToken cancel)
    {
        List<Marked> marked;
        try
        {
            marked = Read(text);
        }
        catch (FormatException e)
        {
            Screen.Complain(marks, $"it does not mark faces: {e.Message} It should hold lines file,x,y,width,height,subset in pixels of the upright picture.");
            return ExitCode.SomeFailed;
        }

        await using var services = Services.Build(settings);
        var byFile = marked.GroupBy(m => m.File).ToList();
        var (boxes, missing, near, looked, unread) = (0, new List<string>(), 0, 0, 0);
        var files = byFile.ConvertAll(f => Path.Combine(folder, f.Key));
        await Screen.ProgressAsync("looking", files.Count, async advance =>
        {
            await foreach (var (file, outcome) in EmbedCommand.HandleAsync(services.GetRequiredService<JobHandler>(), files, EmbedMode.Faces, services.GetRequiredService<IOptions<JobOptions>>().Value.Slots, cancel))
            {
                advance();
                var its = byFile[looked++];
                if (outcome is not JobOutcome.Completed { Result: { Outcome: not EmbedResult.Stub } result })
                {
                    unread++;
                    Screen.Complain(file, $"{EmbedCommand.Text(outcome)} Left out.");
                    marked.RemoveAll(m => m.File == its.Key);
                    continue;
                }

                foreach (var face in result.Embeddings.Select(e => new Box(e.Box!.X, e.Box.Y, e.Box.Width, e.Box.Height)))
                {
                    boxes++;
                    var best = its.MaxBy(m => m.Box.Overlap(face))!;
                    if (best.Box.Overlap(face) >= Found)
                    {
                        best.IsFound = true;
                    }
                    else if (its.Any(m => m.Box.Shared(face) > 0))
                    {
                        near++;
                    }
                    else
                    {
                        missing.Add(Text($"{its.Key} ({face.X:0}, {face.Y:0}) {face.Width:0} x {face.Height:0}"));
                    }
                }
            }
        });
        var figures = new BoxFigures(files.Count - unread, marked.Count(m => m.Subset != Ignore), [.. Subsets(marked)], boxes, near, missing.Count, missing);
        Print(figures);
        if (json is not null)
        {
            OutputFile.Write(json, JsonSerializer.Serialize(figures, BoxJson.Default.BoxFigures));
        }

        return unread == 0 ? ExitCode.Ok : ExitCode.SomeFailed;
    }

    /// <summary>Each subset with all easier ones; the order is WIDER FACE's, then the alphabet's.</summary>
    private static IEnumerable<SubsetFigures> Subsets(List<Marked> marked)
    {
        var order = new[] { "easy", "medium", "hard" };
        var within = new List<Marked>();
        foreach (var subset in marked.Where(m => m.Subset != Ignore).GroupBy(m => m.Subset).OrderBy(g => Array.IndexOf(order, g.Key) is >= 0 and var place ? place : order.Length).ThenBy(g => g.Key, StringComparer.Ordinal))
        {
            within.AddRange(subset);
            yield return new SubsetFigures(subset.Key, within.Count, within.Count(m => m.IsFound), within.Count(m => m.IsFound) / (double)within.Count);
        }
    }

    private static List<Marked> Read(string text)
    {
        var marked = new List<Marked>();
        foreach (var cells in TextFile.Lines(text).Where(l => l.Trim().Length > 0).Select(l => l.Split(',', StringSplitOptions.TrimEntries)))
        {
            var numbers = cells.Skip(1).Take(4).Select(c => double.TryParse(c, CultureInfo.InvariantCulture, out var n) ? n : double.NaN).ToArray();
            if (numbers.Length == 4 && numbers.All(double.IsFinite))
            {
                marked.Add(new Marked(cells[0], new Box(numbers[0], numbers[1], numbers[2], numbers[3]), cells.Length > 5 ? cells[5] : "all"));
            }
            else if (marked.Count > 0)
            {
                throw new FormatException($"'{string.Join(',', cells)}' is not file,x,y,width,height,subset.");
            }
        }

        return marked.Count > 0 ? marked : throw new FormatException("there is no box in it.");
    }

    private static void Print(BoxFigures figures)
    {
        var table = new Table().AddColumns("figure", "value").HideHeaders();
        table.AddRow("pictures", Text($"{figures.Pictures:N0}"));
        table.AddRow("marked faces", Text($"{figures.Marked:N0}"));
        foreach (var subset in figures.Subsets)
        {
            table.AddRow(Screen.Cell($"recall, {subset.Name}"), Text($"{subset.Recall:0.000} ({subset.Found:N0} of {subset.Marked:N0})"));
        }

        table.AddRow("boxes", Text($"{figures.Boxes:N0}"));
        table.AddRow("boxes that touch a face and miss it", Text($"{figures.Near:N0}"));
        table.AddRow("boxes that touch no face", Text($"{figures.FalseAlarms:N0} (1 in {figures.Pictures / (double)Math.Max(1, figures.FalseAlarms):0.0} pictures)"));
        Screen.Show(table);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Marked(string File, Box Box, string Subset)
    {
        public bool IsFound { get; set; }
    }
}

/// <param name="Name">The subset, all easier ones within it.</param>
internal sealed record SubsetFigures(string Name, int Marked, int Found, double Recall);

/// <summary>What <c>verify</c> found on pictures marked by boxes.</summary>
/// <param name="Near">Boxes that touch a marked face and overlap none by half.</param>
/// <param name="FalseAlarms">Boxes that touch no marked face.</param>
internal sealed record BoxFigures(int Pictures, int Marked, IReadOnlyList<SubsetFigures> Subsets, int Boxes, int Near, int FalseAlarms, IReadOnlyList<string> NotMarked);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(BoxFigures))]
internal sealed partial class BoxJson : JsonSerializerContext;
