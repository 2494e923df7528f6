using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>The one door to a person's terminal: names, ids and messages are somebody else's text, and nothing of it may move a cursor or begin a line.</summary>
internal static class Screen
{
    /// <summary>A line on standard output.</summary>
    public static void Say(string text) => Console.WriteLine(LogLine.Plain(text));

    /// <summary>Text that has lines of its own, on standard output.</summary>
    public static void SayLines(string text) => Console.WriteLine(LogLine.PlainLines(text));

    /// <summary>A line on standard error that is no complaint.</summary>
    public static void Note(string text) => Console.Error.WriteLine(LogLine.Plain(text));

    /// <summary>What is wrong, in one line on standard error.</summary>
    public static void Complain(string message) => Console.Error.WriteLine($"face-embed: {LogLine.Plain(message)}");

    /// <summary>What is wrong with a file or another thing that has a name.</summary>
    public static void Complain(string name, string message) => Complain($"{name}: {message}");

    /// <summary>A fault of this program, with its trace.</summary>
    public static void Complain(Exception fault) => Console.Error.WriteLine($"face-embed: {LogLine.PlainLines(fault.ToString())}");

    /// <summary>On standard output; what it holds of other people's text has come through <see cref="Cell(string)"/>.</summary>
    public static void Show(Table table) => AnsiConsole.Write(table);

    /// <summary>For a cell of a table.</summary>
    public static string Cell(string text) => Markup.Escape(LogLine.Plain(text));

    /// <summary>For a cell with a line for each text.</summary>
    public static string Cell(IEnumerable<string> lines) => string.Join('\n', lines.Select(Cell));
}
