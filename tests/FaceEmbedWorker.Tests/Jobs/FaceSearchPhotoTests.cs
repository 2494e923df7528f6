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

    [Fact]
    public async Task A_crop_that_shows_no_face_is_flagged()
    {
        using var frame = FaceScenes.Frame(112, 112, 1);
        var result = await EmbedAsync(job: j => j with { Image = new ImageSource.Data(FaceScenes.Encoded(frame, ".png")), Mode = EmbedMode.Aligned });
        Assert.Equal([FaceQuality.Blurred], result.Embeddings[0].Quality!.Flags);
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

    private static async Task<EmbedResult> EmbedAsync(FaceOptions? options = null, Func<EmbedJob, EmbedJob>? job = null)
    {
        var question = new EmbedJob("x", new ImageSource.Data(Three.Value), EmbedMode.Faces);
        return Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler(faces: options).HandleAsync(job?.Invoke(question) ?? question, None)).Result;
    }
}
