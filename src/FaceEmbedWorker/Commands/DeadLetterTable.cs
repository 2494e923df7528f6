using System.Globalization;
using FaceEmbedWorker.Broker;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>The dead letters on a terminal, a line each: what does not fit is cut, and whole in <c>show</c>.</summary>
internal static class DeadLetterTable
{
    private const int LongestId = 20, LongestReason = 18, LeastText = 10, Gap = 2;

    /// <summary>Columns of a terminal that has room for the counts as well.</summary>
    private const int Wide = 100;

    public static Table Of(IReadOnlyList<DeadLetter> letters)
    {
        var ids = DeadLetterNames.ShortIds([.. letters.Select(l => l.Id)]);
        var columns = new List<(string Name, string[] Cells)> { ("id", [.. ids.Select(id => Screen.Cut(id, LongestId))]) };
        if (ids.Distinct().Count() < ids.Count || ids.Any(id => Screen.Cut(id, LongestId) != id))
        {
            columns.Add(("key", [.. DeadLetterNames.Shortened([.. letters.Select(l => l.Key)])])); // the id alone does not name each letter
        }

        columns.Add(("reason", Cells(l => Screen.Cut(l.Reason, LongestReason))));
        columns.Add(("failed last, UTC", Cells(l => Minute(l.LastFailedAt))));
        if (Screen.Width >= Wide)
        {
            columns.Add(("attempt", Cells(l => l.Attempt.ToString(CultureInfo.InvariantCulture))));
            columns.Add(("replays", Cells(l => l.Replays.ToString(CultureInfo.InvariantCulture))));
        }

        var left = Screen.Width - columns.Sum(c => c.Cells.Append(c.Name).Max(Screen.WidthOf) + Gap);
        columns.Add(("what", Cells(l => Screen.Cut(l.What, Math.Max(LeastText, left)))));

        var table = new Table().Border(TableBorder.None);
        foreach (var (name, _) in columns)
        {
            table.AddColumn(new TableColumn($"[bold]{name}[/]") { NoWrap = true }.PadLeft(0).PadRight(name == "what" ? 0 : Gap));
        }

        for (var row = 0; row < letters.Count; row++)
        {
            table.AddRow([.. columns.Select(c => Screen.Cell(c.Cells[row]))]);
        }

        return table;

        string[] Cells(Func<DeadLetter, string> text) => [.. letters.Select(text)];
    }

    /// <summary>Of the worker's "2026-01-31T12:00:00.0000000Z", what tells one hour from another.</summary>
    private static string Minute(string? time) =>
        DateTime.TryParse(time, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind, out var at) ? at.ToUniversalTime().ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) : Screen.Cut(time ?? "", 16);
}
