using System.Text.RegularExpressions;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// Which dead letters a person means: an id names all of its letters, and a key one. The beginning of a key, and of an id that a program made
/// (a UUID, a hash), is enough; a name that people give is taken as it is, for photo-42 is not the beginning of photo-421.
/// </summary>
internal static partial class DeadLetterNames
{
    /// <summary>Letters that are told where a name stands for several.</summary>
    private const int MostTold = 5;

    /// <summary>A beginning is told from others by so many letters at least.</summary>
    private const int Shortest = 8;

    /// <summary>The keys of all letters that are named: an id is the name of each letter that has it.</summary>
    /// <param name="single">Each name is to stand for one letter only.</param>
    /// <returns>Null where a name is nobody's, or of more than are meant, which is told.</returns>
    public static async Task<HashSet<string>?> FindAsync(DeadLetterDesk desk, string[] names, bool single, CancellationToken cancel)
    {
        if (names.Length == 0)
        {
            return [];
        }

        var found = names.Distinct(StringComparer.Ordinal).ToDictionary(n => n, _ => new List<DeadLetter>(), StringComparer.Ordinal);
        await desk.ScanAsync((letter, _) =>
        {
            foreach (var (name, letters) in found)
            {
                if (IsNamed(letter, name) && (letters.Count < MostTold || letter.Id == name || letters.Exists(l => l.Id == letter.Id)))
                {
                    letters.Add(letter);
                }
            }

            return Task.FromResult(false);
        }, cancel);
        var keys = found.Select(f => Resolve(f.Key, f.Value, single)).ToArray();
        return keys.Contains(null) ? null : keys.SelectMany(k => k!).ToHashSet(StringComparer.Ordinal);
    }

    /// <summary>For each name the shortest beginning, of 8 letters or more, that is no other's.</summary>
    public static IReadOnlyList<string> Shortened(IReadOnlyList<string> names)
    {
        var sorted = names.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        var lengths = sorted.Select((name, i) => Math.Max(i > 0 ? Shared(name, sorted[i - 1]) : 0, i + 1 < sorted.Length ? Shared(name, sorted[i + 1]) : 0)).ToArray();
        return [.. names.Select(name => name[..Math.Min(name.Length, Math.Max(Shortest, lengths[Array.BinarySearch(sorted, name, StringComparer.Ordinal)] + 1))])];

        static int Shared(string a, string b) => a.Zip(b).TakeWhile(c => c.First == c.Second).Count();
    }

    /// <summary>The ids as short as they name each letter; those that people gave are whole.</summary>
    public static IReadOnlyList<string> ShortIds(IReadOnlyList<string> ids)
    {
        var made = ids.Where(id => Made().IsMatch(id)).Distinct(StringComparer.Ordinal).ToArray();
        var shortened = made.Zip(Shortened(made)).ToDictionary(p => p.First, p => p.Second, StringComparer.Ordinal);
        return [.. ids.Select(id => shortened.GetValueOrDefault(id, id))];
    }

    private static bool IsNamed(DeadLetter letter, string name) =>
        letter.Id == name || (name.Length >= Shortest && ((Made().IsMatch(letter.Id) && letter.Id.StartsWith(name, StringComparison.OrdinalIgnoreCase)) || letter.Key.StartsWith(name, StringComparison.OrdinalIgnoreCase)));

    /// <summary>32 hexadecimal digits or more: a UUID, or a hash.</summary>
    [GeneratedRegex("^[0-9A-Fa-f-]{32,}$")]
    private static partial Regex Made();

    private static string[]? Resolve(string name, List<DeadLetter> found, bool single)
    {
        var meant = found.Exists(l => l.Id == name) ? found.FindAll(l => l.Id == name) : found;
        var (ids, keys) = (meant.Select(l => l.Id).Distinct().ToArray(), meant.Select(l => l.Key).Distinct().ToArray());
        var trouble = ids.Length == 0 ? "there is no such dead letter; face-embed dead-letters list shows all. Write an id in full; of a UUID or a key the first 8 digits are enough."
            : ids.Length > 1 ? $"several dead letters begin so: {string.Join(", ", ids)}{(ids.Length >= MostTold ? ", …" : "")}."
            : single && keys.Length > 1 ? $"{Plural.Of(keys.Length, "dead letter")} have this id. Name one by its key: {string.Join(", ", Apart(meant).Take(MostTold))}{(keys.Length > MostTold ? ", …" : "")}."
            : null;
        if (trouble is not null)
        {
            Screen.Complain(name, trouble);
            return null;
        }

        return keys;
    }

    private static IEnumerable<string> Apart(List<DeadLetter> letters)
    {
        var different = letters.DistinctBy(l => l.Key).ToArray();
        return different.Zip(Shortened([.. different.Select(l => l.Key)]), (letter, key) => $"{key} ({letter.Reason}{(letter.LastFailedAt is { } time ? $", {time.Split('.')[0]}" : "")})");
    }
}
