using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>How a command line is read, and what is wrong with it.</summary>
internal static partial class Arguments
{
    /// <summary>There are no files of arguments: a picture may be named @x.jpg.</summary>
    private static readonly ParserConfiguration Plain = new() { ResponseFileTokenReplacer = null };

    public static ParseResult Parse(RootCommand root, string[] arguments) => root.Parse(arguments, Plain);

    /// <summary>Sentences; none where all is well.</summary>
    public static IReadOnlyList<string> Wrong(ParseResult parsed)
    {
        var before = parsed.Tokens.TakeWhile(t => t.Type != TokenType.DoubleDash).ToHashSet(ReferenceEqualityComparer.Instance);
        var misspelt = parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(a => a.Tokens)
            .Where(t => before.Contains(t) && t.Value.StartsWith("--", StringComparison.Ordinal))
            .Select(t => $"'{t.Value}' is no option here; a file of that name goes behind --.{Meant(t.Value, parsed)}");
        var empty = parsed.Tokens.Where(t => t.Value.Length == 0).Take(1).Select(_ => "An argument is empty, and nothing has an empty name.");
        if (parsed.CommandResult.Command is { Action: null, Subcommands: { Count: > 0 } verbs } alone && parsed.UnmatchedTokens.Count == 0 && parsed.Action?.ClearsParseErrors is not true)
        {
            string[] names = [.. verbs.Select(v => v.Name)];
            return [$"{alone.Name} needs a verb: {string.Join(", ", names[..^1])} or {names[^1]}."];
        }

        return [.. misspelt, .. empty, .. parsed.Errors.Count > 0 && parsed.UnmatchedTokens is [var unknown, ..] ? [Unknown(unknown, parsed)] : parsed.Errors.Select(Sentence)];
    }

    /// <summary>The verb as it is written: <c>dead-letters replay</c>; empty for the program itself.</summary>
    public static string Path(Command command) =>
        command is RootCommand ? "" : $"{string.Concat(command.Parents.OfType<Command>().Select(Path))} {command.Name}".TrimStart();

    /// <summary>What is said of a word that nothing here takes.</summary>
    public static string Unknown(string written, ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        if (Known(command, written.Split('=')[0]).Contains(written.Split('=')[0]))
        {
            return $"'{written}' stands behind --, where nothing is an option or a verb: write it before.";
        }

        var verbs = command.Subcommands.Count > 0 && !written.StartsWith('-') ? $"There is no verb '{(command is RootCommand ? "" : command.Name + " ")}{written}'." : $"'{written}' is nothing that {(command is RootCommand ? "face-embed" : command.Name)} takes.";
        return verbs + Meant(written, parsed);
    }

    /// <summary>Refuses a value before the library does, whose words name types.</summary>
    /// <param name="can">What it can be: "16 to 1024".</param>
    public static void MustBe(Option option, string can, Func<string, bool> good) => option.Validators.Add(result =>
    {
        if (result.Tokens is [{ Value: var text }] && !good(text))
        {
            result.AddError($"{option.Name} is '{text}'; it can be {can}.");
        }
    });

    private static string Sentence(ParseError error)
    {
        if (NoneOf().Match(error.Message) is not { Success: true } none)
        {
            return error.Message;
        }

        var words = none.Groups[2].Value.Split(['\'', ' ', '\t', '\r', '\n'], StringSplitOptions.RemoveEmptyEntries);
        var name = error.SymbolResult is OptionResult option ? option.Option.Name : (error.SymbolResult as ArgumentResult)?.Argument.Name;
        return $"{name} is '{none.Groups[1].Value}'; it can be {string.Join(", ", words[..^1])} or {words[^1]}.";
    }

    /// <summary>
    /// " Did you mean …?" where a verb or an option that could stand there is almost what was written; otherwise nothing.
    /// </summary>
    private static string Meant(string written, ParseResult parsed)
    {
        var (command, name) = (parsed.CommandResult.Command, written.Split('=')[0]);
        var nearest = Known(command, name).Where(known => known != name).Select(known => (Known: known, Distance: Spelling.Distance(name.ToLowerInvariant(), known))).Where(c => c.Distance <= Math.Max(1, c.Known.Length / 3)).OrderBy(c => c.Distance).FirstOrDefault();
        return nearest.Known is { } meant ? $" Did you mean '{meant}'?" : "";
    }

    /// <summary>The options that could stand where one is written, or the verbs.</summary>
    private static IEnumerable<string> Known(Command command, string name) =>
        name.StartsWith('-') ? command.Options.SelectMany(o => o.Aliases.Append(o.Name)).Append("--help") : command.Subcommands.Select(c => c.Name);

    /// <summary>The library's own words.</summary>
    [GeneratedRegex(@"^Argument '(.*)' not recognized\. Must be one of:(.*)$", RegexOptions.Singleline)]
    private static partial Regex NoneOf();
}
