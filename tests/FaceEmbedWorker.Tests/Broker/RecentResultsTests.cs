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

    [Fact]
    public void A_result_that_takes_anothers_place_takes_no_room_of_its_own()
    {
        var recent = new RecentResults(most: 2, mostBytes: 10_000);
        recent.Add(Job with { Id = "other" }, Result(10));
        for (var i = 0; i < 20; i++)
        {
            recent.Add(Job, Result(1000)); // nearly half of it each time
        }

        Assert.NotNull(recent.Find(Job with { Id = "other" }, "sum"));
        Assert.Equal(1000, recent.Find(Job, "sum")!.Model.Dimensions);
        recent.Add(Job, Result(10));
        Assert.Equal(10, recent.Find(Job, "sum")!.Model.Dimensions); // the latest
    }

    [Fact]
    public void Room_is_counted_for_all_that_a_result_keeps()
    {
        var (vector, nothing) = (Result(100).Embeddings[0], Result(0) with { Embeddings = [] });
        Assert.Equal(500 + 4 * 7, Room(nothing)); // the job's metadata
        Assert.Equal(500, Room(nothing, Job with { Metadata = null }));
        Assert.Equal(500 + 4 * 7 + 2 * (400 + 400), Room(nothing with { Embeddings = [vector, vector] }));
        Assert.Equal(500 + 4 * 7 + 400 + 400 + 3000, Room(nothing with { Embeddings = [vector with { Crop = new("png", new byte[3000]) }] }));
        Assert.Equal(500 + 4 * 7 + 3 * 400, Room(nothing with { Skipped = [.. Enumerable.Repeat(new SkippedFace(new(0, 0, 1, 1), 0.5, null, ["small"]), 3)] }));

        static int Room(EmbedResult result, EmbedJob? job = null)
        {
            return Enumerable.Range(1, 10_000).First(most =>
            {
                var recent = new RecentResults(mostBytes: most);
                recent.Add(job ?? Job, result);
                return recent.Find(job ?? Job, "sum") is not null;
            });
        }
    }

    [Fact]
    public void What_went_leaves_its_room_to_others()
    {
        var recent = new RecentResults(most: 2, mostBytes: 10_000);
        for (var i = 0; i < 20; i++)
        {
            recent.Add(Job with { Id = $"{i}" }, Result(1000));
        }

        Assert.All(new[] { "18", "19" }, id => Assert.NotNull(recent.Find(Job with { Id = id }, "sum")));
    }

    [Fact]
    public void What_is_ignored_in_a_job_is_part_of_the_answer()
    {
        var recent = new RecentResults();
        recent.Add(Job with { Warnings = ["a", "b"], Deadline = DateTimeOffset.UnixEpoch }, Result(10));
        Assert.NotNull(recent.Find(Job with { Warnings = ["a", "b"] }, "sum")); // another list, the same words, and whatever deadline
        Assert.All(new IReadOnlyList<string>?[] { null, ["a"], ["ab"] }, warnings => Assert.Null(recent.Find(Job with { Warnings = warnings }, "sum")));
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
