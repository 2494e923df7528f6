using System.Text;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class StubEmbeddingTests
{
    /// <summary>The test vectors of docs/messages.md, as tests/data/stub.py computes them from its words.</summary>
    [Theory]
    [InlineData("61", -0.01890854, -0.04982159, -0.02872328, 0.04316514, 0.00592297)]
    [InlineData("6E6F7420612070696374757265", -0.05830006, -0.04887749, -0.07588618, -0.07689921, -0.04463975)]
    public void Is_what_the_readme_specifies(string hex, double first, double second, double third, double fourth, double last)
    {
        var vector = StubEmbedding.Compute(Convert.FromHexString(hex), 512);
        Assert.Equal([first, second, third, fourth, last], [.. vector[..4].Select(v => Math.Round(v, 8)), Math.Round(vector[511], 8)], (a, b) => Math.Abs(a - b) < 2e-8);
    }

    [Theory]
    [InlineData(128)]
    [InlineData(512)]
    [InlineData(513)]
    public void Is_of_unit_length_and_mean_zero(int dimensions)
    {
        var vector = StubEmbedding.Compute("no picture"u8, dimensions);
        Assert.Equal(dimensions, vector.Length);
        Assert.Equal(1, Pipeline.Cosine(vector, vector), 1e-5);
        Assert.Equal(0, vector.Average(), 1e-7);
    }

    [Fact]
    public void Ten_thousand_stubs_are_near_orthogonal()
    {
        var stubs = Enumerable.Range(0, 10_000).Select(i => StubEmbedding.Compute(Encoding.ASCII.GetBytes($"payload {i}"), 512)).ToArray();
        var cosines = new List<double>();
        for (var i = 0; i + 1 < stubs.Length; i++)
        {
            cosines.Add(Pipeline.Cosine(stubs[i], stubs[i + 1]));
            cosines.Add(Pipeline.Cosine(stubs[i], stubs[i / 2]) is var c && i / 2 != i ? c : 0);
        }

        // a random direction in 512 dimensions: mean 0, deviation 1 / sqrt(512) = 0.0442
        Assert.Equal(0, cosines.Average(), 0.002);
        Assert.Equal(0.0442, Math.Sqrt(cosines.Average(c => c * c)), 0.002);
        Assert.InRange(cosines.Max(Math.Abs), 0, 0.25);
    }

    [Fact]
    public void Spaces_of_stubs_are_their_own()
    {
        Assert.NotEqual(StubEmbedding.Space(512), StubEmbedding.Space(128));
        Assert.NotEqual(StubEmbedding.Space(512), Pipeline.Embedder.FaceSpace);
    }
}
