using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class SpellingTests
{
    [Theory]
    [InlineData("", "", 0)]
    [InlineData("", "mode", 4)]
    [InlineData("mode", "mode", 0)]
    [InlineData("mdoe", "mode", 1)] // swapped
    [InlineData("omde", "mode", 1)]
    [InlineData("moed", "mode", 1)]
    [InlineData("modes", "mode", 1)] // put in
    [InlineData("amode", "mode", 1)]
    [InlineData("moode", "mode", 1)]
    [InlineData("ode", "mode", 1)] // left out
    [InlineData("mod", "mode", 1)]
    [InlineData("made", "mode", 1)] // changed
    [InlineData("node", "mode", 1)]
    [InlineData("modo", "mode", 1)]
    [InlineData("edom", "mode", 3)]
    [InlineData("ca", "abc", 3)] // no letter is moved twice
    [InlineData("ab", "cd", 2)]
    [InlineData("abcd", "badc", 2)]
    [InlineData("abb", "bab", 1)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("max_face", "max_faces", 1)]
    [InlineData("retrun_corps", "return_crops", 2)]
    public void Counts_letters_put_in_left_out_changed_or_swapped(string a, string b, int expected)
    {
        Assert.Equal(expected, Spelling.Distance(a, b));
        Assert.Equal(expected, Spelling.Distance(b, a));
    }

    [Fact]
    public void Is_what_its_definition_gives_for_all_short_words()
    {
        string[] words = [.. Enumerable.Range(0, 5).SelectMany(length => Enumerable.Range(0, 1 << length).Select(bits => string.Concat(Enumerable.Range(0, length).Select(i => (bits >> i & 1) == 0 ? 'a' : 'b'))))];
        Assert.All(words.SelectMany(a => words.Select(b => (a, b))), pair => Assert.Equal(Defined(pair.a, pair.b), Spelling.Distance(pair.a, pair.b)));
    }

    /// <summary>The same told from the last letter on: slow and obvious.</summary>
    private static int Defined(string a, string b)
    {
        if (a.Length == 0 || b.Length == 0)
        {
            return Math.Max(a.Length, b.Length);
        }

        int[] ways = [Defined(a[..^1], b) + 1, Defined(a, b[..^1]) + 1, Defined(a[..^1], b[..^1]) + (a[^1] == b[^1] ? 0 : 1)];
        return a.Length > 1 && b.Length > 1 && (a[^1], a[^2]) == (b[^2], b[^1]) ? Math.Min(ways.Min(), Defined(a[..^2], b[..^2]) + 1) : ways.Min();
    }
}
