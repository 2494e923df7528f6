using FaceEmbedWorker.Commands;

namespace FaceEmbedWorker.Tests.Commands;

public class VerifyPairsTests
{
    private static List<List<VerifyPairs.Pair>> Read(params string[] lines) => VerifyPairs.Read(lines, name => number => $"{name}_{number:0000}");

    /// <summary>The published file: ten folds of 300 pairs of one person, then 300 of two.</summary>
    [Fact]
    public void The_protocols_6000_pairs_are_ten_folds_of_600()
    {
        var lines = new List<string> { "10\t300" };
        for (var fold = 0; fold < 10; fold++)
        {
            lines.AddRange(Enumerable.Range(1, 300).Select(i => $"Person_{fold}\t{i}\t{i + 1}"));
            lines.AddRange(Enumerable.Range(1, 300).Select(i => $"Person_{fold}\t{i}\tOther_{fold}\t{i}"));
        }

        var folds = Read([.. lines]);

        Assert.Equal(10, folds.Count);
        Assert.All(folds, f => Assert.Equal((600, 300), (f.Count, f.Count(p => p.Same))));
        Assert.Equal(new VerifyPairs.Pair(true, "Person_3_0001", "Person_3_0002"), folds[3][0]);
        Assert.Equal(new VerifyPairs.Pair(false, "Person_3_0001", "Other_3_0001"), folds[3][300]);
    }

    [Theory]
    [InlineData("the first line is not", "Anna 1 2")]
    [InlineData("'ten' is no number", "ten 1")]
    [InlineData("there are 1 pairs", "2 1", "Anna 1 2")]
    [InlineData("'x' is no number of a picture", "2 1", "Anna x 2")]
    [InlineData("is no pair", "2 1", "Anna 1 2 3 4")]
    public void What_is_no_file_of_pairs_is_told(string told, params string[] lines) =>
        Assert.Contains(told, Assert.Throws<FormatException>(() => Read(lines)).Message, StringComparison.Ordinal);

    [Fact]
    public void The_best_threshold_is_right_as_often_as_any()
    {
        var random = new Random(4);
        for (var round = 0; round < 50; round++)
        {
            List<(bool Same, double Score)> pairs = [.. Enumerable.Range(0, 40).Select(i => (i % 2 == 0, Math.Round(random.NextDouble() + (i % 2 == 0 ? 0.3 : 0), 1)))];
            int Right(double threshold) => pairs.Count(p => p.Score > threshold == p.Same);
            Assert.Equal(pairs.Select(p => Right(p.Score - 1e-6)).Append(Right(9)).Max(), Right(VerifyPairs.Best(pairs)));
        }
    }
}
