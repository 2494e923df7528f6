using System.CommandLine;
using System.CommandLine.Parsing;

namespace FaceEmbedWorker.Commands;

/// <summary>How a command line is read, and what is wrong with it.</summary>
internal static class Arguments
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
            .Select(t => $"'{t.Value}' is no option here; a file of that name goes behind --.");
        var empty = parsed.Tokens.Where(t => t.Value.Length == 0).Take(1).Select(_ => "An argument is empty, and nothing has an empty name.");
        return [.. misspelt, .. empty, .. parsed.Errors.Select(e => e.Message)];
    }
}
