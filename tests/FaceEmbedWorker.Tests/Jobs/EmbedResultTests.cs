using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class EmbedResultTests
{
    private static readonly EmbedResult Result = new()
    {
        JobId = "photo-42",
        Outcome = EmbedResult.Embedded,
        Model = new ResultModel("some-model", "0123456789ab", 2),
        Image = new ResultImage("ab", "jpeg", 600, 800, 1, Decoder: "libvips"),
        Embeddings = [new ResultEmbedding("face", [0.6f, -0.8f], new ResultBox(1, 2, 3, 4), [[1.5, 2]], 0.9, new ResultQuality(7.25)), new ResultEmbedding("face", [1, 0])],
        Metadata = JsonElement.Parse("""{"album":"Ü <a&b>"}"""),
        Attempt = 2,
        Worker = "host/7",
        Version = "1.0.0",
        TimingsMs = new ResultTimings(null, 1, 2, null, 4, 7.5),
        CompletedAt = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc),
    };

    private const string Start = """{"job_id":"photo-42","outcome":"embedded","model":{"id":"some-model","space":"0123456789ab","dimensions":2},"image":{"sha256":"ab","format":"jpeg","width":600,"height":800,"orientation":1,"decoder":"libvips"},"embeddings":""";

    private const string Rest = ""","metadata":{"album":"Ü <a&b>"},"attempt":2,"worker":"host/7","version":"1.0.0","timings_ms":{"decode":1,"detect":2,"embed":4,"total":7.5},"completed_at":"2026-01-02T03:04:05Z"}""";

    private const string Numbers = Start + """[{"source":"face","vector":[0.6,-0.8],"box":{"x":1,"y":2,"width":3,"height":4},"landmarks":[[1.5,2]],"score":0.9,"quality":{"norm":7.25}},{"source":"face","vector":[1,0]}]""" + Rest;

    /// <summary>0.6 is 0x3f19999a, -0.8 is 0xbf4ccccd, 1 is 0x3f800000: the lowest byte first.</summary>
    private static readonly string Base64 = Start + $$"""[{"source":"face","box":{"x":1,"y":2,"width":3,"height":4},"landmarks":[[1.5,2]],"score":0.9,"quality":{"norm":7.25},"vector_base64":"{{Convert.ToBase64String([0x9a, 0x99, 0x19, 0x3f, 0xcd, 0xcc, 0x4c, 0xbf])}}"},{"source":"face","vector_base64":"{{Convert.ToBase64String([0, 0, 0x80, 0x3f, 0, 0, 0, 0])}}"}]""" + Rest;

    [Fact]
    public void It_is_written_in_either_encoding_without_what_is_absent_and_with_text_as_it_came()
    {
        Assert.Equal(Numbers, Text(Result.ToJson()));
        Assert.Equal(Base64, Text(Result.ToJson(VectorEncoding.Base64)));
    }

    [Fact]
    public void An_event_names_who_made_it_what_of_and_when()
    {
        const string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        const string named = """{"specversion":"1.0","id":"photo-42:0123456789ab","source":"/face-embed/host/7","type":"face-embed.result.embedded","subject":"photo-42","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json",""";
        Assert.Equal($$"""{{named}}"data":{{Numbers}}}""", Text(Result.ToCloudEvent(VectorEncoding.Numbers, null)));
        Assert.Equal($$"""{{named}}"traceparent":"{{trace}}","data":{{Base64}}}""", Text(Result.ToCloudEvent(VectorEncoding.Base64, trace)));
    }

    [Fact]
    public void It_is_read_as_it_was_whatever_it_was_written_in()
    {
        Same(EmbedResult.FromJson(Result.ToJson()));
        Same(EmbedResult.FromJson(Result.ToJson(VectorEncoding.Base64), "application/json"));
        Same(EmbedResult.FromJson(Result.ToCloudEvent(VectorEncoding.Numbers, null), EmbedResult.CloudEventType));
        Same(EmbedResult.FromJson(Result.ToCloudEvent(VectorEncoding.Base64, null), EmbedResult.CloudEventType));

        static void Same(EmbedResult read)
        {
            Assert.Equal(Numbers, Text(read.ToJson()));
            Assert.All(read.Embeddings, e => Assert.Null(e.VectorBase64));
        }
    }

    [Theory]
    [InlineData("null", null)]
    [InlineData("null", EmbedResult.CloudEventType)]
    [InlineData("{\"data\":null}", EmbedResult.CloudEventType)]
    [InlineData("{}", null)]
    public void What_is_none_is_an_error_of_the_message(string json, string? contentType) => Assert.Throws<JsonException>(() => EmbedResult.FromJson(Encoding.UTF8.GetBytes(json), contentType));

    [Fact]
    public void Null_is_named() => Assert.Equal("The result is null.", Assert.Throws<JsonException>(() => EmbedResult.FromJson("null"u8)).Message);

    [Fact]
    public void A_double_has_the_message_id_of_the_first_and_another_space_has_another()
    {
        Assert.Equal("photo-42:0123456789ab", Result.MessageId);
        Assert.Equal("photo-42:other", (Result with { Model = Result.Model with { Space = "other" } }).MessageId);
    }

    [Fact]
    public void Timings_tell_the_stages_that_ran_in_their_order()
    {
        Assert.Equal([("decode", 1), ("detect", 2), ("embed", 4)], Result.TimingsMs.Stages);
        Assert.Equal([("fetch", 1), ("decode", 2), ("detect", 3), ("align", 4), ("embed", 5)], new ResultTimings(1, 2, 3, 4, 5, 15).Stages);
    }

    [Fact]
    public void A_job_or_a_file_without_a_result_says_why()
    {
        var at = Result.CompletedAt;
        Assert.Equal("""{"job_id":"a","outcome":"rejected","error":"undecodable","message":"It's “no” picture.","worker":"host/7","version":"1.0.0","completed_at":"2026-01-02T03:04:05Z","file":"ü/a b.jpg"}""",
            Text(new RejectedFile("a", RejectedJob.Rejected, "undecodable", "It's “no” picture.", "host/7", "1.0.0", at, "ü/a b.jpg").ToJson()));
        Assert.Equal("""{"job_id":"a","outcome":"rejected","error":"malformed","message":"<why>","attempt":3,"worker":"host/7","version":"1.0.0","completed_at":"2026-01-02T03:04:05Z"}""",
            Text(new RejectedJob("a", RejectedJob.Rejected, "malformed", "<why>", 3, "host/7", "1.0.0", at).ToJson()));
    }

    private static string Text(byte[] json) => Encoding.UTF8.GetString(json);
}
