using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Jobs;

/// <summary>What becomes of a job, with models that see squares; <c>JobHandlerPhotoTests</c> have the shipped ones.</summary>
public class JobHandlerTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly Lazy<Model> WholePictures = new(() => PaperFaces.Load(PaperFaces.Embedder(32), PaperFaces.EmbedderCard with { Id = "whole", Crop = new ModelCrop { Rule = ModelCrop.WholePicture } }));
    private static readonly Lazy<Model> ByBox = new(() => PaperFaces.Load(PaperFaces.Embedder(32), PaperFaces.EmbedderCard with { Id = "by-box", Crop = new ModelCrop { Rule = ModelCrop.BoxSquare } }));
    private static readonly Lazy<Model> Wide = new(() => PaperFaces.Load(TinyOnnx.ChannelMeans(300, 320), ModelCard.Default("wide", ModelCard.Embedding)));

    private readonly FakeTimeProvider time = new(Now) { AutoAdvanceAmount = TimeSpan.FromMilliseconds(1) };

    private static CancellationToken None => CancellationToken.None;

    [Fact]
    public async Task A_result_is_the_message_of_the_contract()
    {
        var bytes = Alone();
        var handler = PaperFaces.Handler(time: time);
        handler.ModelDoubt = "It has other norms.";
        var job = new EmbedJob("photo-42", new ImageSource.Data(bytes), Metadata: JsonElement.Parse("""{"album":"Ü"}"""), Attempt: 2, Warnings: ["before"]);

        var result = Assert.IsType<JobOutcome.Completed>(await handler.HandleAsync(job, None)).Result;

        var model = new FaceEmbedder(PaperFaces.Embedding);
        Assert.Equal($$$"""
            {"job_id":"photo-42","outcome":"embedded","model":{"id":"paper","space":"{{{model.FaceSpace}}}","dimensions":2,"self_test":"failed"},
            "image":{"sha256":"{{{Sha256(bytes)}}}","format":"png","width":160,"height":160,"orientation":1,"decoder":"libvips"},
            "embeddings":[{"source":"face","vector":[0.6,0.8],"box":{"x":64,"y":64,"width":32,"height":32},"landmarks":[[75.4,79.3],[85.5,79.2],[80.5,85],[76.4,90.9],[84.7,90.8]],"score":0.95,
            "quality":{"norm":10,"alignment_error":0,"size":32,"sharpness":0.8,"yaw":0,"pitch":-9,"roll":0,"flags":["small"],"score":0.494}}],
            "metadata":{"album":"Ü"},"warnings":["before"],"attempt":2,"worker":"{{{Environment.MachineName}}}/{{{Environment.ProcessId}}}","version":"{{{typeof(JobHandler).Assembly.GetName().Version!.ToString(3)}}}",
            "timings_ms":{"decode":2,"detect":2,"align":1,"embed":1,"total":8},"completed_at":"2026-01-01T00:00:00.009Z"}
            """.ReplaceLineEndings(""), Encoding.UTF8.GetString(result.ToJson()));
    }

    [Fact]
    public async Task A_whole_picture_has_a_vector_of_another_space()
    {
        var bytes = Alone();
        var result = await CompletedAsync(new EmbedJob("x", new ImageSource.Data(bytes), EmbedMode.Image));

        using var resized = Pixels.Resized(Pipeline.Decode(bytes), 32, 32, PaperFaces.EmbedderCard.Input.ResizeFilter);
        var embedder = new FaceEmbedder(PaperFaces.Embedding);
        var (vector, norm) = embedder.Embed(resized);
        Assert.Equal(("embedded", embedder.ImageSpace, "{}", 1), (result.Outcome, result.Model.Space, result.Metadata.GetRawText(), result.Attempt));
        Assert.Equal(new ResultImage(Sha256(bytes), "png", 160, 160, 1, null, "libvips"), result.Image);
        Assert.Equal(JsonSerializer.Serialize(new ResultEmbedding("image", vector, Quality: new ResultQuality(Math.Round(norm, 3)))), JsonSerializer.Serialize(Assert.Single(result.Embeddings)));
        Assert.Equal(new ResultTimings(null, 1, null, null, 1, 4), result.TimingsMs);
        Assert.Equal((null, null), (result.Warnings, result.Model.SelfTest));
    }

    [Fact]
    public async Task The_setting_says_what_a_picture_becomes_where_the_job_does_not()
    {
        foreach (var mode in Enum.GetValues<EmbedMode>())
        {
            var by = new JobOptions { Mode = mode };
            var crop = PaperFaces.Blank(32, 32).Face(0, 0).Png();
            var unsaid = await CompletedAsync(new EmbedJob("x", new ImageSource.Data(crop)), by);
            Assert.Equal((mode == EmbedMode.Image ? "image" : "face", mode == EmbedMode.Faces), (unsaid.Embeddings[0].Source, unsaid.Embeddings[0].Box is not null));
            Assert.Equal("image", (await CompletedAsync(new EmbedJob("x", new ImageSource.Data(crop), EmbedMode.Image), by)).Embeddings[0].Source);
        }
    }

    [Fact]
    public async Task What_a_mode_does_not_have_is_named_as_ignored()
    {
        var points = Five(PaperFaces.Points(0, 0));
        string[] looks = [.. new[] { "detail", "max_faces", "min_face_size" }.Select(name => $"The job's '{name}' was ignored: mode faces looks for faces.")];
        const string landmarks = "The job's 'landmarks' were ignored: mode aligned takes them.", crops = "The job's 'return_crops' was ignored: mode faces returns crops.";
        var all = new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(32, 32).Face(0, 0).Png())) { Landmarks = points, ReturnCrops = CropFormat.Png, Detail = 2, MaxFaces = 3, MinFaceSize = 0 };
        Assert.Equal([landmarks], (await CompletedAsync(all with { Mode = EmbedMode.Faces })).Warnings);
        Assert.Equal([crops, .. looks], (await CompletedAsync(all with { Mode = EmbedMode.Aligned })).Warnings);
        Assert.Equal(["before", landmarks, crops, .. looks], (await CompletedAsync(all with { Mode = EmbedMode.Image, Warnings = ["before"] })).Warnings);
        Assert.Null((await CompletedAsync(all with { Mode = EmbedMode.Faces, Landmarks = null })).Warnings);
    }

    [Fact]
    public async Task A_job_is_not_begun_after_its_own_deadline()
    {
        var clock = new FakeTimeProvider(Now);
        var job = new EmbedJob("x", new ImageSource.Data([1, 2, 3]), Deadline: Now);
        Assert.IsType<JobOutcome.Completed>(await PaperFaces.Handler(time: clock).HandleAsync(job, None));
        clock.Advance(TimeSpan.FromTicks(1));
        Assert.Equal(new JobOutcome.Rejected("expired", "The job was worth doing until 2026-01-01T00:00:00Z, and that is past."), await PaperFaces.Handler(time: clock).HandleAsync(job, None));
    }

    [Fact]
    public async Task A_model_of_whole_pictures_embeds_no_faces()
    {
        foreach (var mode in new[] { EmbedMode.Faces, EmbedMode.Aligned })
        {
            Assert.Equal(new JobOutcome.Rejected("refused", WholePictures.Value.Card.NotForFaces!), await PaperFaces.Handler(embedding: WholePictures.Value).HandleAsync(new EmbedJob("x", new ImageSource.Data(Alone()), mode), None));
        }

        Assert.IsType<JobOutcome.Completed>(await PaperFaces.Handler(embedding: WholePictures.Value).HandleAsync(new EmbedJob("x", new ImageSource.Data(Alone()), EmbedMode.Image), None));
    }

    [Fact]
    public async Task Unreadable_bytes_become_a_stub_or_a_dead_letter_and_other_faults_a_dead_letter()
    {
        byte[] bytes = [1, 2, 3];
        var job = new EmbedJob("x", new ImageSource.Data(bytes), Metadata: JsonElement.Parse("""{"a":1}"""), Attempt: 3);
        var stub = await CompletedAsync(job);
        Assert.Equal(("x", "stub", "undecodable", "The bytes are not a picture of any known format."), (stub.JobId, stub.Outcome, stub.Error, stub.Message));
        Assert.Equal((new ResultModel("stub-sha256", StubEmbedding.Space(2), 2), new ResultImage(Sha256(bytes)), """{"a":1}""", 3), (stub.Model, stub.Image, stub.Metadata.GetRawText(), stub.Attempt));
        Assert.Equal(JsonSerializer.Serialize(new ResultEmbedding("stub", StubEmbedding.Compute(bytes, 2))), JsonSerializer.Serialize(Assert.Single(stub.Embeddings)));

        var rejected = new JobOptions { Undecodable = UndecodablePolicy.Reject };
        Assert.Equal(new JobOutcome.Rejected("undecodable", stub.Message!), await PaperFaces.Handler(options: rejected).HandleAsync(job, None));
        var file = Path.GetTempFileName(); // all empty ones would have one stub
        (string Reason, ImageSource Image)[] faults =
        [
            ("too_large", new ImageSource.Data(new byte[101])),
            ("unsupported", new ImageSource.Data(Convert.FromHexString("0000001866747970686569630000000068656963"))),
            ("malformed", new ImageSource.File(file)),
            ("source_denied", new ImageSource.Url("https://example.org/a.jpg")),
            ("source_denied", new ImageSource.Path("a.jpg")),
        ];
        foreach (var (reason, image) in faults)
        {
            Assert.Equal(reason, Assert.IsType<JobOutcome.Rejected>(await PaperFaces.Handler(images: new ImageOptions { MaxBytes = 100 }).HandleAsync(job with { Image = image }, None)).Reason);
        }

        File.Delete(file);
    }

    /// <summary>A vector of zeros: no face is as dark.</summary>
    [Fact]
    public async Task A_models_fault_is_tried_again_and_one_of_a_job_that_is_stopped_is_nobodys()
    {
        var job = new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(160, 160).Face(64, 64, 0.95, 0, 0).Png()));
        Assert.Equal("model_output", Assert.IsType<JobOutcome.Retry>(await PaperFaces.Handler().HandleAsync(job, None)).Reason);
        using var stopped = new CancellationTokenSource();
        await stopped.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => PaperFaces.Handler().HandleAsync(job, stopped.Token));
    }

    /// <summary>
    /// The clock goes on by a second whenever it is read: three are gone after the fetch, and the last look at the deadline is after eight,
    /// one of them between. What others do meanwhile takes nothing, be it an hour.
    /// </summary>
    [Fact]
    public async Task A_job_waits_for_its_turn_between_the_fetch_and_the_decode_and_not_on_its_own_time()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllBytesAsync(file, Alone(), TestContext.Current.CancellationToken);
        var ends = new List<string>();
        foreach (var (wait, deadline) in new[] { (0, 8), (0, 7), (0, 2.5), (0, 2), (3600, 8), (3600, 7), (3600, 2.5), (3600, 2) })
        {
            var clock = new FakeTimeProvider(Now) { AutoAdvanceAmount = TimeSpan.FromSeconds(1) };
            var turns = 0;
            var job = new EmbedJob("x", new ImageSource.File(file))
            {
                Turn = () =>
                {
                    turns++;
                    clock.Advance(TimeSpan.FromSeconds(wait));
                    return Task.CompletedTask;
                },
            };
            var outcome = await PaperFaces.Handler(time: clock, options: new JobOptions { DeadlineSeconds = deadline }).HandleAsync(job, None);
            ends.Add(outcome is JobOutcome.Completed { Result.TimingsMs: var t } ? $"{t.Fetch} {t.Decode} {t.Detect} {turns}" : $"{Assert.IsType<JobOutcome.Retry>(outcome).Reason} {turns}");
        }

        File.Delete(file);
        Assert.Equal(["1000 2000 2000 1", "deadline 1", "deadline 1", "deadline 0"], ends[..4]);
        Assert.Equal(ends[..4], ends[4..]);
    }

    [Fact]
    public async Task Who_stops_waits_for_no_turn()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllBytesAsync(file, Alone(), TestContext.Current.CancellationToken);
        using var stopping = new CancellationTokenSource();
        var asked = new TaskCompletionSource();
        var handled = PaperFaces.Handler().HandleAsync(new EmbedJob("x", new ImageSource.File(file)) { Turn = () => { asked.SetResult(); return new TaskCompletionSource().Task; } }, stopping.Token);
        await asked.Task;
        await Task.WhenAny(handled, Task.Delay(50, None));
        Assert.False(handled.IsCompleted);
        await stopping.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => handled);
        File.Delete(file);
    }

    [Fact]
    public async Task A_picture_that_is_in_the_job_has_its_turn_at_once()
    {
        var result = await CompletedAsync(new EmbedJob("x", new ImageSource.Data(Alone())) { Turn = () => throw new InvalidOperationException() });
        Assert.Null(result.TimingsMs.Fetch);
    }

    [Fact]
    public async Task Faces_are_told_the_largest_first_and_those_of_too_little_quality_with_what_is_wrong_with_them()
    {
        var bytes = PaperFaces.Blank(160, 160).Face(64, 64).Face(8, 64, 0.65, 3, 4).Cut(104, 0.95).Face(96, 136).Png(); // the last one without its lowest rows
        var job = new EmbedJob("x", new ImageSource.Data(bytes));
        var all = await CompletedAsync(job);
        Assert.Equal(["64 small 0.494", "8 small,blurred,uncertain 0.247", "136 small,blurred,cut 0.308", "96 small,cut,uncertain 0.428"], all.Embeddings.Select(e => FormattableString.Invariant($"{e.Box!.X} {string.Join(',', e.Quality!.Flags!)} {e.Quality.Score}")));
        Assert.Null(all.Skipped);

        var most = await CompletedAsync(job, faces: new FaceOptions { DetectionThreshold = 0.5, MinQuality = 0.3 });
        Assert.Equal(("embedded", "64 136 96"), (most.Outcome, string.Join(' ', most.Embeddings.Select(e => e.Box!.X))));
        var skipped = Assert.Single(most.Skipped!);
        Assert.Equal((new ResultBox(8, 64, 32, 32), 0.65, 0.247), (skipped.Box, skipped.Score, skipped.Quality!.Score!.Value));
        Assert.Equal(["min_quality", "small", "blurred", "uncertain"], skipped.Reasons);

        var none = await CompletedAsync(job with { MaxFaces = 2 }, faces: new FaceOptions { DetectionThreshold = 0.5, MinQuality = 0.6 });
        Assert.Equal(("no_face", 0, new FaceEmbedder(PaperFaces.Embedding).FaceSpace), (none.Outcome, none.Embeddings.Count, none.Model.Space));
        Assert.Equal(["64 min_quality,small", "8 min_quality,small,blurred,uncertain", "96 max_faces,uncertain", "136 max_faces"], none.Skipped!.Select(s => $"{s.Box.X} {string.Join(',', s.Reasons)}"));
        Assert.Null(none.Skipped![2].Quality);
    }

    [Theory]
    [InlineData(256, 256, null)]
    [InlineData(257, 257, "The picture has 257 x 257 pixels, and a crop has 256 a side at most. Mode aligned takes a crop of one face, or a picture and its 'landmarks'.")]
    [InlineData(300, 20, "The picture has 300 x 20 pixels, and a crop has 256 a side at most. Mode aligned takes a crop of one face, or a picture and its 'landmarks'.")]
    [InlineData(20, 300, "The picture has 20 x 300 pixels, and a crop has 256 a side at most. Mode aligned takes a crop of one face, or a picture and its 'landmarks'.")]
    [InlineData(200, 100, "The picture has 200 x 100 pixels: a crop is square, or of the model's 32 x 32. Mode aligned takes a crop of one face, or a picture and its 'landmarks'.")]
    public async Task A_crop_is_a_small_square(int width, int height, string? wrong)
    {
        var outcome = await PaperFaces.Handler().HandleAsync(new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(width, height).Png()), EmbedMode.Aligned), None);
        Assert.Equal(wrong, outcome is JobOutcome.Rejected { Reason: "malformed" } rejected ? rejected.Message : Assert.IsType<JobOutcome.Completed>(outcome) is null ? "" : null);
    }

    [Theory]
    [InlineData(320, 300, true)]
    [InlineData(300, 320, false)]
    [InlineData(320, 320, false)]
    public async Task A_crop_of_a_large_models_own_size_is_one(int width, int height, bool fits)
    {
        var outcome = await PaperFaces.Handler(embedding: Wide.Value).HandleAsync(new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(width, height).Fill(0, 0, width, height, 0.5, 3).Png()), EmbedMode.Aligned), None);
        Assert.Equal(fits, outcome is JobOutcome.Completed);
    }

    [Fact]
    public async Task A_crop_is_embedded_as_it_is_and_a_face_by_its_landmarks()
    {
        var crop = await CompletedAsync(new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(32, 32).Face(0, 0).Png()), EmbedMode.Aligned));
        Assert.Equal(("embedded", new FaceEmbedder(PaperFaces.Embedding).FaceSpace, 32, 32), (crop.Outcome, crop.Model.Space, crop.Image.Width!.Value, crop.Image.Height!.Value));
        Assert.Equal("""{"Source":"face","Vector":[0.6,0.8],"Box":null,"Landmarks":null,"Score":null,"Quality":{"Norm":10,"AlignmentError":null,"Size":null,"Sharpness":0.8,"Yaw":null,"Pitch":null,"Roll":null,"Flags":[],"Score":null},"VectorBase64":null,"Crop":null}""",
            JsonSerializer.Serialize(Assert.Single(crop.Embeddings)));
        Assert.Equal(new ResultTimings(null, 1, null, 1, 1, 5), crop.TimingsMs);

        var dull = await CompletedAsync(new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(160, 160).Face(64, 64, left: 3, right: 4).Png()), EmbedMode.Aligned) { Landmarks = Five(PaperFaces.Points(64, 64)) });
        var face = Assert.Single(dull.Embeddings);
        Assert.Equal((5, 0, 0.4), (face.Quality!.Norm, face.Quality.AlignmentError!.Value, face.Quality.Sharpness!.Value));
        Assert.Equal(["blurred"], face.Quality.Flags!);
        Assert.Equal([[75.4, 79.3], [85.5, 79.2], [80.5, 85], [76.4, 90.9], [84.7, 90.8]], face.Landmarks!);

        // one that is off by 28 of the template's 112 pixels: 11.2 by a shift alone, and the scale takes a part of that
        var off = PaperFaces.Points(64, 64);
        off[2] = off[2] with { Y = off[2].Y + 8 };
        var uncertain = Assert.Single((await CompletedAsync(new EmbedJob("x", new ImageSource.Data(Alone()), EmbedMode.Aligned) { Landmarks = Five(off) })).Embeddings);
        Assert.Equal(["uncertain_landmarks"], uncertain.Quality!.Flags!);
        Assert.Equal(10.1, uncertain.Quality.AlignmentError);
    }

    /// <summary>Limits by two pixels, and by the picture's sides.</summary>
    [Theory]
    [InlineData("[[310,10],[330,10],[320,20],[312,30],[328,30]]", "lie outside")]
    [InlineData("[[-30,10],[-10,10],[-20,20],[-28,30],[-12,30]]", "lie outside")]
    [InlineData("[[10,110],[30,110],[20,120],[12,130],[28,130]]", "lie outside")]
    [InlineData("[[10,-30],[30,-30],[20,-20],[12,-10],[28,-10]]", "lie outside")]
    [InlineData("[[-20,40],[20,40],[0,50],[-16,60],[16,60]]", null)] // their middle is on its border
    [InlineData("[[180,40],[220,40],[200,50],[184,60],[216,60]]", null)]
    [InlineData("[[40,80],[60,80],[50,100],[42,120],[58,120]]", null)]
    [InlineData("[[10,10],[10,10],[10,10],[10,10],[10,10]]", "lie in one place, or in one line")]
    [InlineData("[[10,10],[11.9,20],[11,30],[10,40],[11.9,50]]", "lie in one place, or in one line")]
    [InlineData("[[10,10],[12,20],[11,30],[10,40],[12,50]]", null)]
    [InlineData("[[10,10],[20,11.9],[30,10],[40,11.9],[50,10]]", "lie in one place, or in one line")]
    [InlineData("[[10,10],[20,12],[30,11],[40,12],[50,10]]", null)]
    [InlineData("[[10,110],[10,120],[10,130],[10,140],[10,150]]", "lie in one place, or in one line")] // and outside
    [InlineData("[[10,110],[15,115],[20,120],[25,125],[30,130]]", "lie outside")] // and in one line
    [InlineData("[[10,10],[15,15],[20,20],[25,25],[30,30]]", "lie in one place, or in one line")]
    [InlineData("[[10,90],[50,71],[20,85],[90,50],[30,80]]", "lie in one place, or in one line")]
    [InlineData("[[10,10],[20,22],[30,30],[40,38],[50,50]]", null)]
    [InlineData("[[10,10],[20,21.3],[30,30],[40,38.7],[50,50]]", "lie in one place, or in one line")]
    public async Task Landmarks_are_those_of_a_face_in_the_picture(string landmarks, string? wrong)
    {
        var points = JsonSerializer.Deserialize<double[][]>(landmarks)!.Select(p => new Point(p[0], p[1])).ToArray();
        var outcome = await PaperFaces.Handler().HandleAsync(new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(200, 100).Png()), EmbedMode.Aligned) { Landmarks = Five(points) }, None);
        Assert.Equal(wrong is null ? null : $"The landmarks are none of a face in this picture of 200 x 100 pixels: they {wrong}.",
            outcome is JobOutcome.Rejected { Reason: "malformed" } rejected ? rejected.Message : Assert.IsType<JobOutcome.Completed>(outcome) is null ? "" : null);
    }

    [Fact]
    public async Task A_model_that_takes_faces_by_their_box_takes_crops_and_no_landmarks()
    {
        var job = new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(64, 64).Face(0, 0, side: 64).Png()), EmbedMode.Aligned);
        Assert.IsType<JobOutcome.Completed>(await PaperFaces.Handler(embedding: ByBox.Value).HandleAsync(job, None));
        Assert.Equal(new JobOutcome.Rejected("malformed", "The model by-box takes faces by their box, not by landmarks. Send the face's crop without 'landmarks', or use mode faces."),
            await PaperFaces.Handler(embedding: ByBox.Value).HandleAsync(job with { Landmarks = Five(PaperFaces.Points(0, 0, 64)) }, None));
    }

    /// <summary>Of a face of 16 pixels all are needed; whatever its file, it gives the same vector.</summary>
    [Fact]
    public async Task A_small_face_of_known_landmarks_is_cut_out_of_all_pixels()
    {
        using var picture = PaperFaces.Blank(160, 160).Face(64, 64, left: 1, right: 12, side: 16);
        var vectors = new List<float[]>();
        foreach (var bytes in new[] { PictureEncoder.Png(picture), PictureEncoder.Jpeg(picture, 100) })
        {
            vectors.Add((await CompletedAsync(new EmbedJob("x", new ImageSource.Data(bytes), EmbedMode.Aligned) { Landmarks = Five(PaperFaces.Points(64, 64, 16)) })).Embeddings[0].Vector);
        }

        Assert.Equal(vectors[0][0] / vectors[0][1], vectors[1][0] / vectors[1][1], 0.01);
    }

    [Fact]
    public void A_result_has_crops_of_as_many_faces_as_it_has_room_for()
    {
        const int mebibyte = 1024 * 1024;
        var (four, none) = JobHandler.WithCrops(Faces(mebibyte, mebibyte, 2 * mebibyte), null);
        Assert.Equal((3, null), (four.Count(e => e.Crop is not null), none));

        var (some, warnings) = JobHandler.WithCrops(Faces(mebibyte, mebibyte, 2 * mebibyte + 1, 1), ["before"]);
        Assert.Equal([true, true, false, false], some.Select(e => e.Crop is not null)); // nor what would still fit
        Assert.Equal(["before", "2 faces of 4 have no crop: a result has room for 4 MiB of them. Ask for jpeg, or for fewer faces."], warnings!);

        Assert.Equal(["1 face of 1 have no crop: a result has room for 4 MiB of them. Ask for jpeg, or for fewer faces."], JobHandler.WithCrops(Faces(4 * mebibyte + 1), null).Warnings!);
        Assert.Equal((1, null), (JobHandler.WithCrops([new ResultEmbedding("face", [1])], null) is var plain ? (plain.Embeddings.Length, plain.Warnings) : default));

        static ResultEmbedding[] Faces(params int[] bytes) => Array.ConvertAll(bytes, b => new ResultEmbedding("face", [1], Crop: new ResultCrop("png", new byte[b])));
    }

    private async Task<EmbedResult> CompletedAsync(EmbedJob job, JobOptions? options = null, FaceOptions? faces = null) =>
        Assert.IsType<JobOutcome.Completed>(await PaperFaces.Handler(faces, time, options: options).HandleAsync(job, None)).Result;

    /// <summary>One face in a picture of 160 x 160 pixels, at (64, 64).</summary>
    private static byte[] Alone() => PaperFaces.Blank(160, 160).Face(64, 64).Png();

    private static FivePoints Five(Point[] p) => new(p[0], p[1], p[2], p[3], p[4]);

    private static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
