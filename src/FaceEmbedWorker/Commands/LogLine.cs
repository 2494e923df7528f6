using System.Diagnostics;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// One line an entry: time (UTC), level, class, message for a person; the same as JSON, with the trace, for whoever else reads the worker's
/// output.
/// </summary>
internal sealed class LogLine(TimeProvider time) : ConsoleFormatter(FormatterName)
{
    public const string FormatterName = "line";

    private static readonly JsonWriterOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Set by the worker where its output is no terminal.</summary>
    public static bool AsJson { get; set; }

    /// <summary>Lines are folded between words where a terminal would break them within.</summary>
    public static bool OnTerminal { get; set; }

    /// <summary>Levels are coloured on a terminal, unless NO_COLOR (https://no-color.org) is set.</summary>
    public static bool Coloured { get; set; }

    public override void Write<TState>(in LogEntry<TState> logEntry, IExternalScopeProvider? scopeProvider, TextWriter textWriter)
    {
        var category = logEntry.Category[(logEntry.Category.LastIndexOf('.') + 1)..];
        var level = logEntry.LogLevel.ToString().ToLowerInvariant();
        var message = logEntry.Formatter(logEntry.State, logEntry.Exception);
        if (AsJson)
        {
            textWriter.WriteLine(Document(category, level, message, logEntry.Exception));
            return;
        }

        var (at, line) = ($"{time.GetUtcNow():yyyy-MM-ddTHH:mm:ss.fffZ} ", $"{category}: {Plain(message)}");
        textWriter.WriteLine($"{at}{Colour(logEntry.LogLevel, level)} {(OnTerminal ? Screen.Fold(line, at.Length + level.Length + 1) : line)}");
        if (logEntry.Exception is { } exception)
        {
            textWriter.WriteLine(PlainLines(exception.ToString()));
        }
    }

    /// <summary>Whether what goes to a terminal may have colours.</summary>
    public static bool MayColour(bool redirected) => !redirected && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && Environment.GetEnvironmentVariable("TERM") is not "dumb";

    private static string Colour(LogLevel level, string word) => !Coloured ? word : level switch
    {
        LogLevel.Critical or LogLevel.Error => $"\e[31m{word}\e[0m", // red
        LogLevel.Warning => $"\e[33m{word}\e[0m", // yellow
        LogLevel.Debug or LogLevel.Trace => $"\e[2m{word}\e[0m", // dim
        _ => word,
    };

    /// <summary>For a terminal: ids and messages are somebody else's text, and may hold what moves a cursor or begins a line.</summary>
    public static string Plain(string text) => text.Any(Steers) ? string.Concat(text.Select(c => Steers(c) ? '\uFFFD' : c)) : text;

    /// <summary>For what has lines of its own, as a trace has.</summary>
    public static string PlainLines(string text) => string.Join('\n', text.Split('\n').Select(l => Plain(l.TrimEnd('\r'))));

    /// <summary>Control characters, line and paragraph separators, and what turns the direction of writing.</summary>
    private static bool Steers(char c) => char.IsControl(c) || char.GetUnicodeCategory(c) is System.Globalization.UnicodeCategory.LineSeparator or System.Globalization.UnicodeCategory.ParagraphSeparator or System.Globalization.UnicodeCategory.Format;

    private string Document(string category, string level, string message, Exception? exception)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes, Json))
        {
            json.WriteStartObject();
            json.WriteString("time", time.GetUtcNow().UtcDateTime);
            json.WriteString("level", level);
            json.WriteString("logger", category);
            json.WriteString("message", message);
            if (Activity.Current is { } activity)
            {
                json.WriteString("trace_id", activity.TraceId.ToHexString());
                json.WriteString("span_id", activity.SpanId.ToHexString());
            }

            if (exception is not null)
            {
                json.WriteString("exception", exception.ToString());
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }
}
