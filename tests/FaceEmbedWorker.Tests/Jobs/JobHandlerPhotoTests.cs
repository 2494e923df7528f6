using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using NetVips;

namespace FaceEmbedWorker.Tests.Jobs;

public class JobHandlerPhotoTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task Two_people_do_not_resemble_each_other()
    {
        var (astronaut, hopper) = (await VectorAsync(File.ReadAllBytes(TestData.Astronaut)), await VectorAsync(File.ReadAllBytes(TestData.GraceHopper)));
        Assert.InRange(Pipeline.Cosine(astronaut, hopper), -1, 0.3);
    }

    [Theory]
    [InlineData("astronaut.png")]
    [InlineData("grace_hopper.jpg")]
    public async Task A_turned_copy_resembles_its_original(string file)
    {
        var path = Path.Combine(TestData.Folder, file);
        var original = await VectorAsync(File.ReadAllBytes(path));
        var tilted = Pipeline.Changed(path, image => image.Rotate(20));
        Assert.InRange(Pipeline.Cosine(original, await VectorAsync(tilted)), 0.9, 1);
    }

    [Theory]
    [InlineData(3, Enums.Angle.D180)]
    [InlineData(6, Enums.Angle.D270)]
    [InlineData(8, Enums.Angle.D90)]
    public async Task A_copy_turned_in_its_exif_data_resembles_its_original(int orientation, Enums.Angle stored)
    {
        foreach (var path in new[] { TestData.Astronaut, TestData.GraceHopper })
        {
            var turned = Pipeline.Changed(path, image => image.Rot(stored).Mutate(m => m.Set(GValue.GIntType, "orientation", orientation)), ".jpg", new VOption { { "Q", 95 } });

            var result = await Pipeline.EmbedAsync(turned);

            Assert.Equal(orientation, result.Image.Orientation);
            Assert.InRange(Pipeline.Cosine(await VectorAsync(File.ReadAllBytes(path)), Assert.Single(result.Embeddings).Vector), 0.9, 1);
        }
    }

    [Fact]
    public async Task Boxes_and_landmarks_of_a_shrunk_decode_are_in_pixels_of_the_full_picture()
    {
        var large = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(6), ".jpg");
        var (small, result) = (await Pipeline.EmbedAsync(File.ReadAllBytes(TestData.GraceHopper)), await Pipeline.EmbedAsync(large));

        var (box, reference) = (result.Embeddings[0].Box!, small.Embeddings[0].Box!);
        Assert.Equal((3072, 3600), (result.Image.Width, result.Image.Height));
        Assert.Equal(reference.X * 6, box.X, reference.Width * 6 * 0.05);
        Assert.Equal(reference.Width * 6, box.Width, reference.Width * 6 * 0.05);
        Assert.Equal(small.Embeddings[0].Landmarks![2][0] * 6, result.Embeddings[0].Landmarks![2][0], reference.Width * 6 * 0.03);
        Assert.InRange(Pipeline.Cosine(small.Embeddings[0].Vector, result.Embeddings[0].Vector), 0.95, 1);
    }

    [Fact]
    public async Task A_small_face_in_a_large_jpeg_keeps_its_pixels()
    {
        // a face of about 190 pixels in 12 megapixels: at the overview's 1/4 it would be left with 47
        var large = Pipeline.Changed(TestData.GraceHopper, image => image.Embed(1500, 1000, 4032, 3024, extend: Enums.Extend.Copy), ".jpg", new VOption { { "Q", 95 } });
        var (original, result) = (await VectorAsync(File.ReadAllBytes(TestData.GraceHopper)), await Pipeline.EmbedAsync(large));
        var found = result.Embeddings.MaxBy(e => Pipeline.Cosine(original, e.Vector))!;
        Assert.InRange(Pipeline.Cosine(original, found.Vector), 0.97, 1);
    }

    [Theory]
    [InlineData("astronaut.png")]
    [InlineData("grace_hopper.jpg")]
    public async Task A_portrait_takes_40_KB_of_the_managed_heap_at_most(string file)
    {
        var threads = new WarmThreads();
        var (handler, job) = (Pipeline.Handler(threads: threads), new EmbedJob("portrait", new ImageSource.Data(Pipeline.Changed(Path.Combine(TestData.Folder, file), image => image.ThumbnailImage(600, 800, crop: Enums.Interesting.Centre), ".jpg"))));
        var (jobs, before) = (20, 0L);
        for (var n = -3; n < jobs; n++) // the first ones make what is kept
        {
            before = n == 0 ? await threads.RunAsync(GC.GetAllocatedBytesForCurrentThread) : before; // the one on which all of a job's pixels are
            Assert.Equal(EmbedResult.Embedded, Assert.IsType<JobOutcome.Completed>(await handler.HandleAsync(job, None)).Result.Outcome);
        }

        Assert.InRange((await threads.RunAsync(GC.GetAllocatedBytesForCurrentThread) - before) / jobs, 1000, 40_000);
    }

    [Fact]
    public async Task Image_mode_is_Pillows_resize_and_the_model()
    {
        foreach (var path in new[] { TestData.Astronaut, TestData.GraceHopper })
        {
            // PillowResizeTests show that these are Pillow's pixels; here the model is run on them in the plainest way
            using var picture = Pipeline.Decode(File.ReadAllBytes(path));
            using var resized = Pixels.Resized(picture, 112, 112, "pillow-bicubic");
            var input = new DenseTensor<float>([1, 3, 112, 112]);
            for (var y = 0; y < 112; y++)
            {
                for (var x = 0; x < 112; x++)
                {
                    for (var c = 0; c < 3; c++)
                    {
                        input[0, c, y, x] = (resized.Row(y)[x * 3 + 2 - c] - 127.5f) / 127.5f;
                    }
                }
            }

            using var session = new InferenceSession(Pipeline.Shipped("face_embedding.onnx"));
            using var outputs = session.Run([NamedOnnxValue.CreateFromTensor("input", input)]);
            var raw = outputs[0].AsEnumerable<float>().ToArray();
            var norm = Math.Sqrt(raw.Sum(v => (double)v * v)) + 1e-10;

            var result = await Pipeline.EmbedAsync(File.ReadAllBytes(path), EmbedMode.Image);

            var embedding = Assert.Single(result.Embeddings);
            Assert.Equal(("image", Pipeline.Embedder.ImageSpace), (embedding.Source, result.Model.Space));
            Assert.Equal(raw.Select(v => (float)(v / norm)), embedding.Vector, (a, b) => Math.Abs(a - b) < 1e-5);
        }
    }

    [Fact]
    public async Task Image_mode_decodes_in_full()
    {
        var large = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(4), ".jpg");
        using var picture = Pipeline.Decode(large);
        var expected = Pipeline.Embedder.EmbedWhole(picture).Vector;
        Assert.Equal(expected, (await Pipeline.EmbedAsync(large, EmbedMode.Image)).Embeddings[0].Vector);
    }

    [Fact]
    public async Task The_same_bytes_give_the_same_bits_whatever_runs_beside_them()
    {
        var handler = Pipeline.Handler();
        var photos = new[] { File.ReadAllBytes(TestData.Astronaut), File.ReadAllBytes(TestData.GraceHopper) };
        var alone = new[] { await VectorAsync(photos[0]), await VectorAsync(photos[1]) };

        var together = await Task.WhenAll(Enumerable.Range(0, 64).Select(i => Task.Run(() => Pipeline.EmbedAsync(photos[i % 2]))));

        Assert.All(together.Select((result, i) => (result, i)), r => Assert.Equal(alone[r.i % 2], Assert.Single(r.result.Embeddings).Vector));
    }

    [Fact]
    public async Task No_face_is_a_result()
    {
        using var grey = Image.Black(640, 480, bands: 3) + 120;
        using var bytes = grey.Cast(Enums.BandFormat.Uchar);
        var result = await Pipeline.EmbedAsync(bytes.PngsaveBuffer());
        Assert.Equal(("no_face", 0, Pipeline.Embedder.FaceSpace), (result.Outcome, result.Embeddings.Count, result.Model.Space));
    }

    [Fact]
    public async Task Unreadable_bytes_become_a_stub()
    {
        var result = await Pipeline.EmbedAsync("certainly no picture"u8.ToArray());
        var embedding = Assert.Single(result.Embeddings);
        Assert.Equal(("stub", "stub", StubEmbedding.Space(512)), (result.Outcome, embedding.Source, result.Model.Space));
        Assert.Equal(StubEmbedding.Compute("certainly no picture"u8, 512), embedding.Vector);
        Assert.Null(result.Image.Format);
    }

    /// <summary>Wherever it comes from: all empty files would have one stub.</summary>
    [Fact]
    public async Task An_empty_picture_is_malformed_as_an_empty_body_is()
    {
        var file = Path.GetTempFileName();
        var outcome = await Pipeline.Handler().HandleAsync(new EmbedJob("x", new ImageSource.File(file)), None);
        File.Delete(file);
        Assert.Equal(("malformed", "The picture is empty: it has 0 bytes."), Assert.IsType<JobOutcome.Rejected>(outcome) is var (reason, message, _) ? (reason, message) : default);
    }

    [Fact]
    public async Task Unreadable_bytes_are_rejected_where_that_is_asked_for()
    {
        var handler = Pipeline.Handler(new JobOptions { Undecodable = UndecodablePolicy.Reject });
        var outcome = await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data([1, 2, 3])), None);
        Assert.Equal("undecodable", Assert.IsType<JobOutcome.Rejected>(outcome).Reason);
    }

    [Theory]
    [InlineData("0000001866747970686569630000000068656963", "unsupported")]
    [InlineData(null, "too_large")]
    public async Task The_jobs_own_fault_is_rejected(string? hex, string reason)
    {
        var bytes = hex is null ? new byte[101] : Convert.FromHexString(hex);
        var outcome = await Pipeline.Handler(images: new ImageOptions { MaxBytes = 100 }).HandleAsync(new EmbedJob("x", new ImageSource.Data(bytes)), None);
        Assert.Equal(reason, Assert.IsType<JobOutcome.Rejected>(outcome).Reason);
    }

    [Fact]
    public async Task References_are_denied()
    {
        foreach (var source in new ImageSource[] { new ImageSource.Url("https://example.org/a.jpg"), new ImageSource.Path("a.jpg") })
        {
            Assert.Equal("source_denied", Assert.IsType<JobOutcome.Rejected>(await Pipeline.Handler().HandleAsync(new EmbedJob("x", source), None)).Reason);
        }
    }

    [Fact]
    public async Task A_job_over_its_deadline_is_tried_again()
    {
        var time = new FakeTimeProvider { AutoAdvanceAmount = TimeSpan.FromSeconds(11) }; // with every stage
        var handler = Pipeline.Handler(new JobOptions { DeadlineSeconds = 30 }, time);
        var outcome = await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data(File.ReadAllBytes(TestData.GraceHopper))), None);
        Assert.Equal("deadline", Assert.IsType<JobOutcome.Retry>(outcome).Reason);
    }

    [Fact]
    public async Task A_job_that_is_abandoned_has_no_outcome()
    {
        using var stopped = new CancellationTokenSource();
        await stopped.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Pipeline.Handler().HandleAsync(new EmbedJob("x", new ImageSource.Data(File.ReadAllBytes(TestData.Astronaut))), stopped.Token));
    }

    [Fact]
    public async Task A_result_is_the_message_of_the_contract()
    {
        var job = new EmbedJob("photo-42", new ImageSource.Data(File.ReadAllBytes(TestData.Astronaut)), Metadata: JsonElement.Parse("""{"album":"Ü"}"""), Attempt: 2);
        var outcome = Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(job, None));

        var message = JsonElement.Parse(outcome.Result.ToJson());

        Assert.Equal(["job_id", "outcome", "model", "image", "embeddings", "metadata", "attempt", "worker", "version", "timings_ms", "completed_at"], Names(message));
        Assert.Equal(["id", "space", "dimensions"], Names(message.GetProperty("model")));
        Assert.Equal(["sha256", "format", "width", "height", "orientation", "decoder"], Names(message.GetProperty("image")));
        var face = message.GetProperty("embeddings")[0];
        Assert.Equal(["source", "vector", "box", "landmarks", "score", "quality"], Names(face));
        Assert.Equal(["x", "y", "width", "height"], Names(face.GetProperty("box")));
        Assert.Equal(["norm", "alignment_error", "size", "sharpness", "yaw", "pitch", "roll", "flags", "score"], Names(face.GetProperty("quality")));
        Assert.Equal((5, 512), (face.GetProperty("landmarks").GetArrayLength(), face.GetProperty("vector").GetArrayLength()));
        Assert.Equal(["decode", "detect", "align", "embed", "total"], Names(message.GetProperty("timings_ms")));
        Assert.Equal("""{"album":"Ü"}""", message.GetProperty("metadata").GetRawText());
        Assert.Equal(2, message.GetProperty("attempt").GetInt32());
        Assert.Equal(outcome.Result.Embeddings[0].Vector, EmbedResult.FromJson(outcome.Result.ToJson()).Embeddings[0].Vector);
    }

    /// <summary>As those write it that pass results on and know floating-point numbers only.</summary>
    [Fact]
    public async Task A_result_is_read_however_its_whole_numbers_are_written()
    {
        var result = Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(new EmbedJob("a", new ImageSource.Data(await File.ReadAllBytesAsync(TestData.GraceHopper)), EmbedMode.Faces, null, 1), None)).Result;
        var (width, size) = (result.Image.Width!.Value, result.Embeddings[0].Quality!.Size!.Value);
        var json = Encoding.UTF8.GetString(result.ToJson()).Replace($"\"width\":{width},", $"\"width\":{width}.0,", StringComparison.Ordinal).Replace("\"attempt\":1", "\"attempt\":1e0", StringComparison.Ordinal)
            .Replace($"\"size\":{size},", $"\"size\":{size}.0,", StringComparison.Ordinal);

        var read = EmbedResult.FromJson(Encoding.UTF8.GetBytes(json));

        Assert.Equal((width, size, 1), (read.Image.Width!.Value, read.Embeddings[0].Quality!.Size!.Value, read.Attempt));
        Assert.All(["1.5", "\"1\"", "3e9"], wrong => Assert.Throws<JsonException>(() => EmbedResult.FromJson(Encoding.UTF8.GetBytes(json.Replace("\"attempt\":1e0", $"\"attempt\":{wrong}", StringComparison.Ordinal)))));
    }

    private static IEnumerable<string> Names(JsonElement element) => element.EnumerateObject().Select(p => p.Name);

    private static async Task<float[]> VectorAsync(byte[] picture) => Assert.Single((await Pipeline.EmbedAsync(picture)).Embeddings).Vector;
}
