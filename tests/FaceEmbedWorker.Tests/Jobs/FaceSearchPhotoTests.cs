using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using NetVips;

namespace FaceEmbedWorker.Tests.Jobs;

/// <summary>Which faces are embedded, and what a job can ask for beside their vectors.</summary>
public class FaceSearchPhotoTests
{
    /// <summary>The large face is in a corner, the smaller one in the middle, the smallest at the right.</summary>
    private static readonly Lazy<byte[]> Three = new(() =>
    {
        using var frame = FaceScenes.Frame(1200, 900, 3);
        FaceScenes.Paste(frame, TestData.GraceHopper, size: 170, x: 0, y: 0);
        FaceScenes.Paste(frame, TestData.Astronaut, size: 110, x: 420, y: 330);
        FaceScenes.Paste(frame, TestData.GraceHopper, size: 60, x: 1000, y: 500);
        return FaceScenes.Encoded(frame, ".png");
    });

    private static CancellationToken None => CancellationToken.None;

    [Fact]
    public async Task The_foremost_faces_are_embedded_and_the_rest_is_listed()
    {
        var all = await EmbedAsync();
        Assert.Equal(3, all.Embeddings.Count);
        Assert.Null(all.Skipped);

        var two = await EmbedAsync(new FaceOptions { MaxFaces = 2 });
        Assert.Equal([Middle(all, 0), Middle(all, 1)], [Middle(two, 0), Middle(two, 1)]);
        var skipped = Assert.Single(two.Skipped!);
        Assert.Equal([FaceLimits.TooMany], skipped.Reasons);
        Assert.Equal(all.Embeddings[2].Box, skipped.Box);
        Assert.Null(skipped.Quality);

        var one = await EmbedAsync(new FaceOptions { MaxFaces = 1 });
        Assert.Equal((Middle(all, 0), 2), (Middle(one, 0), one.Skipped!.Count));
        Assert.True(Pipeline.Cosine(all.Embeddings[0].Vector, one.Embeddings[0].Vector) > 0.999);
    }

    [Theory]
    [InlineData("Largest", 0)]
    [InlineData("Central", 1)]
    public async Task One_face_of_a_picture_is_embedded_where_that_is_asked_for(string choice, int which)
    {
        var (all, one) = (await EmbedAsync(), await EmbedAsync(new FaceOptions { FaceOf = Enum.Parse<FaceChoice>(choice) }));
        Assert.Equal(Middle(all, which), Middle(one, 0));
        Assert.Single(one.Embeddings);
        Assert.All(one.Skipped!, s => Assert.Equal([FaceLimits.NotChosen], s.Reasons));
        Assert.Equal(2, one.Skipped!.Count);
    }

    [Fact]
    public async Task Small_faces_are_left_out_before_they_cost_anything()
    {
        var all = await EmbedAsync();
        var large = await EmbedAsync(new FaceOptions { MinSize = 60 });
        Assert.Equal(2, large.Embeddings.Count);
        Assert.Equal([FaceLimits.TooSmall], Assert.Single(large.Skipped!).Reasons);
        Assert.Equal(all.Embeddings[2].Box, large.Skipped![0].Box);

        var none = await EmbedAsync(new FaceOptions { MinSize = 500 });
        Assert.Equal((EmbedResult.NoFace, 3), (none.Outcome, none.Skipped!.Count));
        Assert.Null(none.TimingsMs.Embed); // neither embedded nor looked at again
    }

    /// <summary>Sizes are shown in whole pixels, and decided by those.</summary>
    [Fact]
    public async Task A_face_is_as_large_as_the_result_says()
    {
        foreach (var face in (await EmbedAsync()).Embeddings)
        {
            var size = Math.Min(face.Box!.Width, face.Box.Height);
            Assert.Equal(size, face.Quality!.Size);
            Assert.Contains((await EmbedAsync(new FaceOptions { MinSize = size })).Embeddings, e => e.Box == face.Box);
            Assert.Contains((await EmbedAsync(new FaceOptions { MinSize = size + 1 })).Skipped!, s => s.Box == face.Box);
        }
    }

    [Theory]
    [InlineData(9.4, 39.7, 40)] // from 9 to 49
    [InlineData(9.6, 40.4, 40)]
    [InlineData(9.6, 39.2, 39)]
    public void A_limit_looks_at_whole_pixels(double x, double side, int shown)
    {
        var box = new Box(x, x, side, side);
        Assert.Equal((true, false), (new FaceLimits(MinSize: shown).IsLargeEnough(box), new FaceLimits(MinSize: shown + 1).IsLargeEnough(box)));
    }

    [Fact]
    public async Task A_job_can_ask_for_less_than_the_settings_allow_and_not_for_more()
    {
        Assert.Single((await EmbedAsync(job: j => j with { MaxFaces = 1 })).Embeddings);
        Assert.Equal(2, (await EmbedAsync(new FaceOptions { MaxFaces = 2 }, j => j with { MaxFaces = 50 })).Embeddings.Count);
        Assert.Equal(2, (await EmbedAsync(job: j => j with { MinFaceSize = 60 })).Embeddings.Count);
        Assert.Equal(2, (await EmbedAsync(new FaceOptions { MinSize = 60 }, j => j with { MinFaceSize = 1 })).Embeddings.Count);
    }

    /// <summary>Weights are compared by hand: the area, and in corners half of it.</summary>
    [Fact]
    public void Of_equal_faces_the_more_central_is_foremost()
    {
        var limits = new FaceLimits(Most: 1);
        Box[] boxes = [new(0, 0, 10, 10), new(45, 45, 10, 10), new(80, 45, 13, 13)];
        Assert.Equal([2, 1, 0], limits.Foremost(Enumerable.Range(0, 3), i => boxes[i], 100, 100));
        Assert.Equal([1, 2, 0], (limits with { Of = FaceChoice.Central }).Foremost(Enumerable.Range(0, 3), i => boxes[i], 100, 100));
        Assert.Equal([0, 1, 2], default(FaceLimits).Foremost(Enumerable.Range(0, 3), i => boxes[i], 100, 100));
    }

    [Fact]
    public async Task A_lossless_crop_gives_the_same_vectors_to_the_bit_without_the_photo()
    {
        foreach (var picture in new[] { Three.Value, File.ReadAllBytes(TestData.GraceHopper), File.ReadAllBytes(TestData.Astronaut) })
        {
            var first = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(picture), ReturnCrops = CropFormat.Png });
            foreach (var face in first.Embeddings)
            {
                Assert.Equal("png", face.Crop!.Format);
                var again = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(face.Crop.Data), Mode = EmbedMode.Aligned });
                Assert.Equal(face.Vector, Assert.Single(again.Embeddings).Vector);
                Assert.Equal((first.Model, "face", face.Quality!.Norm), (again.Model, again.Embeddings[0].Source, again.Embeddings[0].Quality!.Norm));
                Assert.Null(again.TimingsMs.Detect);
            }

            Assert.All((await EmbedAsync(job: j => j with { Image = new ImageSource.Data(picture) })).Embeddings, e => Assert.Null(e.Crop));
        }
    }

    [Fact]
    public async Task A_crop_with_loss_gives_nearly_the_same_vector()
    {
        var face = (await EmbedAsync(job: j => j with { ReturnCrops = CropFormat.Jpeg })).Embeddings[0];
        Assert.Equal([0xFF, 0xD8], face.Crop!.Data[..2]);
        var again = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(face.Crop.Data), Mode = EmbedMode.Aligned });
        Assert.True(Pipeline.Cosine(face.Vector, again.Embeddings[0].Vector) > 0.99);
    }

    /// <summary>As a first pass of another system would know them; the crop's own put it where it is.</summary>
    [Fact]
    public async Task A_picture_whose_landmarks_are_known_needs_no_detection()
    {
        var picture = File.ReadAllBytes(TestData.GraceHopper);
        var face = Assert.Single((await EmbedAsync(job: j => j with { Image = new ImageSource.Data(picture), ReturnCrops = CropFormat.Png })).Embeddings);
        var again = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(picture), Mode = EmbedMode.Aligned, Landmarks = Points(face.Landmarks!) });
        Assert.True(Pipeline.Cosine(face.Vector, again.Embeddings[0].Vector) > 0.99);
        Assert.Equal(face.Landmarks, again.Embeddings[0].Landmarks);
        Assert.Equal(face.Quality!.AlignmentError!.Value, again.Embeddings[0].Quality!.AlignmentError!.Value, 0.05);

        var ofCrop = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(face.Crop!.Data), Mode = EmbedMode.Aligned, Landmarks = Points(face.Crop.Landmarks!) });
        Assert.True(Pipeline.Cosine(face.Vector, ofCrop.Embeddings[0].Vector) > 0.995);
    }

    /// <summary>As another system's crops may be: the same template at another size.</summary>
    [Fact]
    public async Task A_larger_crop_is_brought_to_the_models_size()
    {
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.GraceHopper));
        var face = Assert.Single((await EmbedAsync(job: j => j with { Image = new ImageSource.Data(File.ReadAllBytes(TestData.GraceHopper)) })).Embeddings);
        using var crop = new Picture(200, 200);
        var template = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(p[0] * 200 / 112, p[1] * 200 / 112));
        FaceAligner.Warp(picture, Similarity.Fit(Array.ConvertAll(face.Landmarks!, p => new Point(p[0] - 0.5, p[1] - 0.5)), template), crop);

        var again = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(FaceScenes.Encoded(crop, ".png")), Mode = EmbedMode.Aligned });

        Assert.True(Pipeline.Cosine(face.Vector, again.Embeddings[0].Vector) > 0.97, $"{Pipeline.Cosine(face.Vector, again.Embeddings[0].Vector)}");
    }

    /// <summary>Its crops are larger than others' may be.</summary>
    [Fact]
    public async Task A_large_models_own_crops_are_embedded_again()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllBytesAsync(file, TinyOnnx.ChannelMeans(300, 320));
        using var model = Model.Load(file, ModelCard.Embedding);
        File.Delete(file);
        var handler = Pipeline.Handler(embedding: model);
        var question = new EmbedJob("x", new ImageSource.Data(await File.ReadAllBytesAsync(TestData.GraceHopper))) { ReturnCrops = CropFormat.Png };
        var face = Assert.Single(Assert.IsType<JobOutcome.Completed>(await handler.HandleAsync(question, None)).Result.Embeddings);

        var again = await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data(face.Crop!.Data), EmbedMode.Aligned), None);

        Assert.Equal(face.Vector, Assert.IsType<JobOutcome.Completed>(again).Result.Embeddings[0].Vector);
    }

    [Fact]
    public async Task What_a_mode_does_not_have_is_named_as_ignored()
    {
        var points = new FivePoints(new(1, 1), new(9, 1), new(5, 5), new(2, 9), new(8, 9));
        Assert.Equal(["The job's 'landmarks' were ignored: mode aligned takes them."], (await EmbedAsync(job: j => j with { Landmarks = points, Warnings = null })).Warnings);
        Assert.Equal(["before", "The job's 'return_crops' was ignored: mode faces returns crops."], (await EmbedAsync(job: j => j with { Mode = EmbedMode.Image, ReturnCrops = CropFormat.Png, Warnings = ["before"] })).Warnings);
        Assert.Equal(["The job's 'detail' was ignored: mode faces looks for faces.", "The job's 'max_faces' was ignored: mode faces looks for faces.", "The job's 'min_face_size' was ignored: mode faces looks for faces."],
            (await EmbedAsync(job: j => j with { Mode = EmbedMode.Image, Detail = 2, MaxFaces = 3, MinFaceSize = 0 })).Warnings);
        Assert.Null((await EmbedAsync(job: j => j with { ReturnCrops = CropFormat.Png, Detail = 2, MaxFaces = 3, MinFaceSize = 1 })).Warnings);
    }

    [Fact]
    public async Task A_crop_that_shows_no_face_is_flagged()
    {
        using var frame = FaceScenes.Frame(112, 112, 1);
        var result = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(FaceScenes.Encoded(frame, ".png")), Mode = EmbedMode.Aligned });
        Assert.Equal([FaceQuality.Blurred], result.Embeddings[0].Quality!.Flags);
    }

    [Theory]
    [InlineData(1200, 900, null, "a crop has 256 a side at most")]
    [InlineData(200, 100, null, "a crop is square")]
    [InlineData(200, 100, "[[10,10],[10,10],[10,10],[10,10],[10,10]]", "lie in one place")]
    [InlineData(200, 100, "[[10,10],[15,15],[20,20],[25,25],[30,30]]", "in one line")]
    [InlineData(200, 100, "[[10,90],[50,71],[20,85],[90,50],[30,80]]", "in one line")]
    [InlineData(200, 100, "[[310,10],[330,10],[320,20],[312,30],[328,30]]", "lie outside")]
    public async Task What_is_no_crop_is_refused_with_a_sentence(int width, int height, string? landmarks, string told)
    {
        using var frame = FaceScenes.Frame(width, height, 1);
        var job = new EmbedJob("x", new ImageSource.Data(FaceScenes.Encoded(frame, ".png")), EmbedMode.Aligned) { Landmarks = landmarks is null ? null : Points(JsonSerializer.Deserialize<double[][]>(landmarks)!) };
        var rejected = Assert.IsType<JobOutcome.Rejected>(await Pipeline.Handler().HandleAsync(job, None));
        Assert.Equal("malformed", rejected.Reason);
        Assert.Contains(told, rejected.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_result_has_crops_of_as_many_faces_as_it_has_room_for()
    {
        var faces = Enumerable.Range(0, 10).Select(_ => new ResultEmbedding("face", [1], Crop: new ResultCrop("png", new byte[1_000_000]))).ToArray();
        var (embeddings, warnings) = JobHandler.WithCrops(faces, ["before"]);
        Assert.Equal([4, 6], [embeddings.Count(e => e.Crop is not null), embeddings.Count(e => e.Crop is null)]);
        Assert.Equal("before", warnings![0]);
        Assert.StartsWith("6 faces of 10 have no crop", warnings[1], StringComparison.Ordinal);
    }

    /// <summary>A crowd of more than a message has room for: files have no such limit.</summary>
    [Fact]
    public async Task Every_crop_is_there_where_they_are_written_to_files()
    {
        var crowd = Pipeline.Changed(TestData.Astronaut, image =>
        {
            using var tile = image.Crop(145, 40, 160, 160);
            return (tile.Replicate(12, 12) + Image.Gaussnoise(1920, 1920, sigma: 40, mean: 0)).Cast(Enums.BandFormat.Uchar); // noise does not pack
        });
        var job = new EmbedJob("x", new ImageSource.Data(crowd), EmbedMode.Faces) { ReturnCrops = CropFormat.Png };
        var sent = Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(job, None)).Result;
        Assert.Contains(sent.Embeddings, e => e.Crop is null);
        var written = Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(job with { EveryCrop = true }, None)).Result;
        Assert.Equal((sent.Embeddings.Count, null), (written.Embeddings.Count, written.Warnings));
        Assert.All(written.Embeddings, e => Assert.NotNull(e.Crop));
    }

    private static FivePoints Points(double[][] p) => new(At(p[0]), At(p[1]), At(p[2]), At(p[3]), At(p[4]));

    private static Point At(double[] p) => new(p[0], p[1]);

    private static (int X, int Y) Middle(EmbedResult result, int which) => result.Embeddings[which].Box is { } box ? (box.X + box.Width / 2, box.Y + box.Height / 2) : default;

    private static async Task<EmbedResult> EmbedAsync(FaceOptions? options = null, Func<EmbedJob, EmbedJob>? job = null)
    {
        var question = new EmbedJob("x", new ImageSource.Data(Three.Value), EmbedMode.Faces);
        return Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler(faces: options).HandleAsync(job?.Invoke(question) ?? question, None)).Result;
    }
}
