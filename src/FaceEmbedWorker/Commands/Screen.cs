using System.Text;
using FaceEmbedWorker.Broker;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// The one door to a person's terminal: names, ids and messages are somebody else's text, and nothing of it may move a cursor or begin a
/// line.
/// </summary>
internal static class Screen
{
    /// <summary>Where a bar is drawn, while one is: lines on the same terminal go above it.</summary>
    private static IAnsiConsole? bar;

    /// <summary>What takes a row away.</summary>
    private const string Erased = "\r\e[2K";

    /// <summary>The row where the cursor stands says what is waited for.</summary>
    private static bool isWaiting;

    /// <summary>One line at a time, and none while a bar is drawn first or taken away: it would stand where the bar is erased.</summary>
    private static readonly SemaphoreSlim Turn = new(1);

    /// <summary>A line on standard output.</summary>
    public static void Say(string text) => Write(Console.Out, Console.IsOutputRedirected, LogLine.Plain(text));

    /// <summary>A line on standard output for a program: a tab between fields, and none within.</summary>
    public static void SayFields(params IEnumerable<string> fields) => Write(Console.Out, Console.IsOutputRedirected, string.Join('\t', fields.Select(LogLine.Plain)));

    /// <summary>Text that has lines of its own, on standard output.</summary>
    public static void SayLines(string text) => Write(Console.Out, Console.IsOutputRedirected, LogLine.PlainLines(text));

    /// <summary>A line on standard error that is no complaint.</summary>
    public static void Note(string text) => Write(Console.Error, Console.IsErrorRedirected, LogLine.Plain(text));

    /// <summary>That the broker takes nothing at present, and why, while a verb waits for the end of that.</summary>
    public static void NoteAlarm(string? reason)
    {
        if (reason is not null)
        {
            Note($"{BrokerErrors.Alarm(reason)} Waiting for its end.");
        }
    }

    /// <summary>What is waited for, on one row of the terminal: the next one, or the next line, stands in its place. Null: nothing any more.</summary>
    public static void ShowWaiting(string? text)
    {
        Turn.Wait();
        try
        {
            if (bar is null && (isWaiting || text is not null))
            {
                Console.Error.Write(text is null ? Erased : $"{Erased}{Cut(text, Width - 1)}");
                isWaiting = text is not null;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // standard error: there is nobody left to tell
        }
        finally
        {
            Turn.Release();
        }
    }

    /// <summary>A person's yes.</summary>
    public static async Task<bool> AskAsync(string question, CancellationToken cancel)
    {
        (Console.IsOutputRedirected ? Console.Error : Console.Out).Write($"{LogLine.Plain(question)} [y/N] ");
        try
        {
            var answer = await Task.Run(Console.In.ReadLine, cancel).WaitAsync(cancel); // a read of the console cannot be cancelled: it is left behind
            return answer?.Trim().ToUpperInvariant() is "Y" or "YES";
        }
        catch (OperationCanceledException)
        {
            Console.WriteLine();
            throw;
        }
    }

    /// <summary>What is wrong, in one line on standard error.</summary>
    public static void Complain(string message) => Write(Console.Error, Console.IsErrorRedirected, $"face-embed: {LogLine.Plain(message)}");

    /// <summary>What is wrong with a file or another thing that has a name.</summary>
    public static void Complain(string name, string message) => Complain($"{name}: {message}");

    /// <summary>A fault of this program, with its trace.</summary>
    public static void Complain(Exception fault) => Write(Console.Error, Console.IsErrorRedirected, $"face-embed: {LogLine.PlainLines(fault.ToString())}");

    /// <summary>On standard output; what it holds of other people's text has come through <see cref="Cell(string)"/>.</summary>
    public static void Show(Table table)
    {
        try
        {
            AnsiConsole.Write(table);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OutputException(OutputFile.Output, OutputFile.Why(OutputFile.Output, e), e);
        }
    }

    /// <summary>A progress bar on standard error where a person is looking; nothing otherwise.</summary>
    /// <param name="work">Is given what moves the bar by one.</param>
    /// <param name="tellsTime">Whether the bar says how long is left.</param>
    public static async Task ProgressAsync(string what, int count, Func<Action, Task> work, bool tellsTime = true)
    {
        if (Console.IsErrorRedirected || count < 10)
        {
            await work(() => { });
            return;
        }

        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        await Turn.WaitAsync();
        try
        {
            await console.Progress().AutoClear(true)
                .Columns([new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), .. tellsTime ? [new RemainingTimeColumn()] : Array.Empty<ProgressColumn>()])
                .StartAsync(async context =>
                {
                    var task = context.AddTask(what, maxValue: count);
                    bar = console;
                    Turn.Release();
                    try
                    {
                        await work(() => task.Increment(1));
                    }
                    finally
                    {
                        await Turn.WaitAsync();
                    }
                });
        }
        finally
        {
            bar = null;
            Turn.Release();
        }
    }

    /// <summary>Where a bar hid it and had no time to show it again.</summary>
    public static void ShowCursor()
    {
        if (bar is not null)
        {
            Console.Error.Write("\e[?25h");
        }
    }

    private static void Write(TextWriter stream, bool redirected, string text)
    {
        text = redirected ? text : string.Join('\n', text.Split('\n').Select(line => Fold(line)));
        Turn.Wait();
        try
        {
            if (isWaiting)
            {
                Console.Error.Write(Erased);
                isWaiting = false;
            }

            if (bar is { } console && !redirected)
            {
                console.Write(new AboveBar(text));
            }
            else
            {
                stream.WriteLine(text);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException && stream == Console.Out)
        {
            throw new OutputException(OutputFile.Output, OutputFile.Why(OutputFile.Output, e), e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // standard error: there is nobody left to tell
        }
        finally
        {
            Turn.Release();
        }
    }

    /// <summary>
    /// A line where the bar is: what is left of the bar is erased first, for the line may have more rows, or be shorter. From its second
    /// column on: tmux puts a screen that is erased from its very first place into the scrollback, bar and all.
    /// </summary>
    private sealed class AboveBar(string text) : Renderable
    {
        protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
            [Segment.Control(" \e[0J\r"), .. text.Split('\n').SelectMany(line => (Segment[])[new(line), Segment.LineBreak])];
    }

    /// <summary>Columns of the terminal.</summary>
    public static int Width => AnsiConsole.Profile.Width;

    /// <summary>A line in as many as the terminal is wide for, parted between words; a word that is longer stays whole.</summary>
    /// <param name="taken">Columns of the first that something else has.</param>
    public static string Fold(string line, int taken = 0)
    {
        if (taken + WidthOf(line) <= Width)
        {
            return line;
        }

        var indent = new string(' ', Math.Max(2, line.Length - line.TrimStart(' ').Length));
        var (folded, column, atStart) = (new StringBuilder(), taken, true);
        foreach (var word in line.TrimEnd(' ').Split(' ')) // several blanks part empty words
        {
            var width = WidthOf(word);
            if (!atStart && column + 1 + width > Width)
            {
                folded.Append('\n').Append(indent);
                column = indent.Length;
            }
            else if (!atStart)
            {
                folded.Append(' ');
                column++;
            }

            folded.Append(word);
            (column, atStart) = (column + width, false);
        }

        return folded.ToString();
    }

    /// <summary>Columns that a text takes: an ideograph takes two.</summary>
    public static int WidthOf(string text) => new Segment(LogLine.Plain(text)).CellCount();

    /// <summary>A text in one line of so many columns, with an ellipsis where it is longer.</summary>
    public static string Cut(string text, int width)
    {
        var line = new Segment(LogLine.Plain(text));
        return line.CellCount() <= width ? line.Text : $"{Segment.Truncate(line, width - 1)?.Text}…";
    }

    /// <summary>For a cell of a table.</summary>
    public static string Cell(string text) => Markup.Escape(LogLine.Plain(text));

    /// <summary>For a cell with a line for each text.</summary>
    public static string Cell(IEnumerable<string> lines) => string.Join('\n', lines.Select(Cell));
}
