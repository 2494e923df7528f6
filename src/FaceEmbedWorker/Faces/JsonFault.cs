using System.Text.Json;
using System.Text.RegularExpressions;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// What is wrong with a JSON text, for whoever wrote it: fields as they are written there, line and byte counted from 1, nothing of .NET.
/// </summary>
internal static partial class JsonFault
{
    /// <param name="byteOf">The byte within a line of the text as it was sent, where another was parsed (both from 0).</param>
    public static string Of(JsonException fault, Func<long, long, long>? byteOf = null)
    {
        var place = fault is { LineNumber: { } line, BytePositionInLine: { } at } ? FormattableString.Invariant($" (line {line + 1}, byte {(byteOf?.Invoke(line, at) ?? at) + 1})") : "";
        return $"{What(fault)}{place}.";
    }

    private static string What(JsonException fault)
    {
        var (message, field) = (Place().Replace(fault.Message, ""), Field(fault.Path));
        return message switch
        {
            _ when Conversion().Match(message) is { Success: true } match => $"{field ?? "it"} is not {Wanted(match.Groups[1].Value, fault.InnerException?.Message ?? "")}",
            _ when Missing().Match(message) is { Success: true } match => $"{field ?? "it"} lacks {match.Groups[1].Value}",
            _ when Unmapped().Match(message) is { Success: true } match => $"there is no field '{match.Groups[1].Value}'",
            _ when Null().Match(message) is { Success: true } match => $"'{JsonNamingPolicy.SnakeCaseLower.ConvertName(match.Groups[1].Value)}' is null",
            _ when message.Contains("any JSON tokens", StringComparison.Ordinal) => "it is empty",
            _ when message.Contains("depth to be zero", StringComparison.Ordinal) => "it ends before its last object or list does",
            _ when message.Contains("trailing comma", StringComparison.Ordinal) => "nothing follows a comma",
            _ when Depth().Match(message) is { Success: true } match => $"it is nested deeper than {match.Groups[1].Value} levels",
            _ => message.TrimEnd('.', ' '),
        };
    }

    /// <summary>"$.input.width" is input.width to who writes JSON; null for the whole document.</summary>
    private static string? Field(string? path) => path is null or "$" ? null : $"'{path.TrimStart('$').TrimStart('.')}'";

    private static string Wanted(string type, string why) => type switch
    {
        _ when AsA().Match(why) is { Success: true } match => match.Groups[1].Value is "boolean" ? "true or false" : $"a {match.Groups[1].Value}",
        _ when why.Contains("out of bounds for an Int", StringComparison.Ordinal) => "a whole number in its range",
        _ when type.EndsWith("[]", StringComparison.Ordinal) || type.Contains("List", StringComparison.Ordinal) => "a list",
        _ => "an object",
    };

    // the library's own words

    [GeneratedRegex(@"( Path: \S+ \|)? LineNumber: \d+ \| BytePositionInLine: \d+\.$")]
    private static partial Regex Place();

    [GeneratedRegex(@"could not be converted to (.+?)\.?$")]
    private static partial Regex Conversion();

    [GeneratedRegex(@"token type '\w+' as a (\w+)\.")]
    private static partial Regex AsA();

    [GeneratedRegex(@"missing required properties including: (.+?)\.?$")]
    private static partial Regex Missing();

    [GeneratedRegex(@"The JSON property '(.*)' could not be mapped")]
    private static partial Regex Unmapped();

    [GeneratedRegex(@"'(\w+)' on type .* doesn't allow (?:setting )?null values")]
    private static partial Regex Null();

    [GeneratedRegex(@"maximum configured depth of (\d+)")]
    private static partial Regex Depth();
}
