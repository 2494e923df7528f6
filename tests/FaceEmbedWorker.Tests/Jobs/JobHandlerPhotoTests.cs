using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
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

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_small_face_in_a_large_jpeg_keeps_its_pixels_beside_a_large_one_too(bool beside)
    {
        // a face of about 190 pixels in 12 megapixels: at the overview's 1/4 it would be left with 47
        var large = Pipeline.Changed(TestData.GraceHopper, image => beside ? image.Resize(4).Embed(0, 0, 4032, 3024, extend: Enums.Extend.Copy).Insert(image, 3000, 1000) : image.Embed(1500, 1000, 4032, 3024, extend: Enums.Extend.Copy), ".jpg", new VOption { { "Q", 95 } });
        var (original, result) = (await VectorAsync(File.ReadAllBytes(TestData.GraceHopper)), await Pipeline.EmbedAsync(large));
        Assert.Equal(beside ? 2 : 1, result.Embeddings.Count);
        Assert.InRange(Pipeline.Cosine(original, result.Embeddings[^1].Vector), 0.985, 1); // the smallest
    }

    [Theory]
    [InlineData("astronaut.png")]
    [InlineData("grace_hopper.jpg")]
    public async Task A_portrait_takes_40_KB_of_the_managed_heap_at_most(string file)
    {
        var threads = new WarmThreads();
        var (handler, job) = (Pipeline.Handler(threads: threads), new EmbedJob("portrait", new ImageSource.Data(Pipeline.Changed(Path.Combine(TestData.Folder, file), image => image.ThumbnailImage(600, 800, crop: Enums.Interesting.Centre), ".jpg"))));
        var taken = new List<long>();
        for (var n = 0; n < 24; n++)
        {
            var before = await threads.RunAsync(GC.GetAllocatedBytesForCurrentThread); // the one on which all of a job's pixels are
            Assert.Equal(EmbedResult.Embedded, Assert.IsType<JobOutcome.Completed>(await handler.HandleAsync(job, None)).Result.Outcome);
            taken.Add(await threads.RunAsync(GC.GetAllocatedBytesForCurrentThread) - before);
        }

        taken.Sort();
        Assert.InRange(taken[taken.Count / 2], 1000, 40_000); // the first ones make what is kept, and a collection for the tests beside takes some of it away
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

    private static async Task<float[]> VectorAsync(byte[] picture) => Assert.Single((await Pipeline.EmbedAsync(picture)).Embeddings).Vector;
}
