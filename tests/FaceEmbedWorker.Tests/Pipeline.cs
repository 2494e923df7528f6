using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Options;
using NetVips;

namespace FaceEmbedWorker.Tests;

/// <summary>The shipped models, loaded once for all tests.</summary>
internal static class Pipeline
{
    private static readonly Lazy<Model> Detection = new(() => Model.Load(Shipped("face_detection.onnx"), ModelCard.Detection));
    private static readonly Lazy<Model> Rfb = new(() => Model.Load(Shipped("rfb/face_detection.onnx"), ModelCard.Detection));
    private static readonly Lazy<Model> Points = new(() => Model.Load(Shipped("rfb/face_landmarks.onnx"), ModelCard.Landmarks));
    private static readonly Lazy<Model> Embedding = new(() => Model.Load(Shipped("face_embedding.onnx"), ModelCard.Embedding));

    public static ImageDecoder Decoder { get; } = new(Options.Create(new ImageOptions()));

    public static Model EmbeddingModel => Embedding.Value;

    public static FaceEmbedder Embedder => new(Embedding.Value);

    public static FaceDetector Detector => DetectorOf(new FaceOptions());

    /// <summary>RFB-320 with 68 landmarks, which shipped before.</summary>
    public static FaceDetector Earlier => new(Rfb.Value, new Landmarks(Points.Value), Options.Create(new FaceOptions()));

    public static FaceAligner Aligner => new(Embedding.Value.Card);

    public static string Shipped(string model) => Path.Combine(TestData.Repository, "models", model);

    public static FaceDetector DetectorOf(FaceOptions options) => new(Detection.Value, null, Options.Create(options));

    public static JobHandler Handler(JobOptions? options = null, TimeProvider? time = null, ImageOptions? images = null, Model? embedding = null, FaceOptions? faces = null, SourceOptions? sources = null, FaceDetector? detector = null, WarmThreads? threads = null)
    {
        var model = embedding ?? Embedding.Value;
        return new JobHandler(new ImageFetcher(Options.Create(sources ?? new SourceOptions()), Options.Create(images ?? new ImageOptions()), TimeProvider.System), new ImageDecoder(Options.Create(images ?? new ImageOptions())), detector ?? Detector, new FaceAligner(model.Card), new FaceEmbedder(model),
            Options.Create(options ?? new JobOptions()), Options.Create(faces ?? new FaceOptions()), threads ?? WarmThreads.Shared, time ?? TimeProvider.System);
    }

    public static async Task<EmbedResult> EmbedAsync(byte[] picture, EmbedMode mode = EmbedMode.Faces)
    {
        var outcome = await Handler().HandleAsync(new EmbedJob("test", new ImageSource.Data(picture), mode), CancellationToken.None);
        Assert.True(outcome is JobOutcome.Completed, outcome.ToString());
        return ((JobOutcome.Completed)outcome).Result;
    }

    public static Picture Decode(byte[] picture, int shrink = 1)
    {
        var encoded = Decoder.Open(picture);
        return encoded.Decode(shrink, CancellationToken.None);
    }

    public static double Cosine(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();

    /// <summary>A copy of a picture, changed and encoded again.</summary>
    public static byte[] Changed(string file, Func<Image, Image> change, string format = ".png", VOption? options = null)
    {
        using var picture = Decode(File.ReadAllBytes(file));
        using var image = Image.NewFromMemoryCopy<byte>(picture.Pixels, picture.Width, picture.Height, 3, Enums.BandFormat.Uchar);
        using var srgb = image.Copy(interpretation: Enums.Interpretation.Srgb);
        using var changed = change(srgb);
        return changed.WriteToBuffer(format == ".png" ? ".png[compression=1]" : format, options); // the same pixels, sooner
    }
}
