using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>Which dead letters a person means: by id, by key, or by the beginning of one.</summary>
internal static class DeadLetterNames
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

    private static bool IsNamed(DeadLetter letter, string name) =>
        letter.Id.StartsWith(name, StringComparison.Ordinal) || (name.Length >= Shortest && letter.Key.StartsWith(name, StringComparison.Ordinal));

    private static string[]? Resolve(string name, List<DeadLetter> found, bool single)
    {
        var meant = found.Exists(l => l.Id == name) ? found.FindAll(l => l.Id == name) : found.Exists(l => l.Key == name) ? found.FindAll(l => l.Key == name) : found;
        var (ids, keys) = (meant.Select(l => l.Id).Distinct().ToArray(), meant.Select(l => l.Key).Distinct().ToArray());
        var trouble = ids.Length == 0 ? "there is no such dead letter; face-embed dead-letters list shows all."
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
