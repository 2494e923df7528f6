using System.Text.Json;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Broker;

public class RecentResultsTests
{
    private static readonly EmbedJob Job = new("a", new ImageSource.Data([1]), EmbedMode.Faces, JsonElement.Parse("""{"n":1}"""), Detail: 2, VectorEncoding: VectorEncoding.Numbers);

    [Fact]
    public void Only_the_same_question_about_the_same_picture_has_the_same_answer()
    {
        var recent = new RecentResults();
        recent.Add(Job, Result(10));
        Assert.NotNull(recent.Find(Job, "sum"));
        Assert.NotNull(recent.Find(Job with { Metadata = JsonElement.Parse("""{"n":1}""") }, "sum"));
        Assert.All(new[] { Job with { Id = "b" }, Job with { Mode = EmbedMode.Image }, Job with { Detail = 3 }, Job with { Metadata = JsonElement.Parse("""{"n":2}""") }, Job with { Metadata = null },
            Job with { VectorEncoding = VectorEncoding.Base64 }, Job with { IsCloudEvent = true }, Job with { Attempt = 2 } }, other => Assert.Null(recent.Find(other, "sum")));
        Assert.Null(recent.Find(Job, "another"));
    }

    [Fact]
    public void Bounded_in_number_and_in_bytes()
    {
        var few = new RecentResults(most: 3);
        for (var i = 0; i < 5; i++)
        {
            few.Add(Job with { Id = $"{i}" }, Result(10));
        }

        Assert.Equal([false, false, true, true, true], Enumerable.Range(0, 5).Select(i => few.Find(Job with { Id = $"{i}" }, "sum") is not null));

        var small = new RecentResults(mostBytes: 10_000);
        small.Add(Job with { Id = "1" }, Result(1000));
        small.Add(Job with { Id = "2" }, Result(1000));
        small.Add(Job with { Id = "3" }, Result(1000));
        Assert.Equal((false, true, true), (small.Find(Job with { Id = "1" }, "sum") is not null, small.Find(Job with { Id = "2" }, "sum") is not null, small.Find(Job with { Id = "3" }, "sum") is not null));
        small.Add(Job, Result(100_000)); // more than all of it
        Assert.Null(small.Find(Job, "sum"));
    }

    private static EmbedResult Result(int floats) => new()
    {
        JobId = "a",
        Outcome = "embedded",
        Model = new("m", "s", floats),
        Image = new("sum"),
        Embeddings = [new("face", new float[floats])],
        Metadata = JsonElement.Parse("{}"),
        Attempt = 1,
        Worker = "w",
        Version = "1",
        TimingsMs = new(null, null, null, null, null, 1),
        CompletedAt = DateTime.UnixEpoch,
    };
}
