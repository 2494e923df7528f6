using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Running;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Benchmarks;

/// <summary>
/// Each stage of a job by itself, for whoever makes one faster: <c>dotnet run -c Release --project tests/FaceEmbedWorker.Benchmarks</c>.
/// </summary>
[MemoryDiagnoser]
public class StageBenchmarks
{
    private static readonly ImageDecoder Decoder = new(Options.Create(new ImageOptions()));
    private static readonly ModelInput Fine = new() { Layout = "NCHW", Color = "BGR", Mean = [0], Std = [1], Width = 480, Height = 640 };
    private readonly Model embedding = Model.Load("models/face_embedding.onnx", ModelCard.Embedding);
    private readonly Model plain = Model.Load("models/face_embedding.onnx", ModelCard.Embedding, prepare: false);
    private readonly FaceDetector detector = new(Model.Load("models/face_detection.onnx", ModelCard.Detection), null, Options.Create(new FaceOptions()));
    private readonly byte[] photo = File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "samples", "grace_hopper.jpg"));
    private readonly float[] values = new float[3 * 112 * 112];
    private Picture portrait = null!;
    private readonly float[] fine = new float[3 * 480 * 640];
    private FaceAligner aligner = null!;
    private Picture picture = null!;
    private Picture aligned = null!;
    private Detection face;
    private Point[] points = null!;

    public static void Main(string[] args)
    {
        if (args is ["calibrate", var folder, var file, ..])
        {
            Calibration.Run(folder, file, args.Length > 3 ? int.Parse(args[3], System.Globalization.CultureInfo.InvariantCulture) : 2);
            return;
        }

        if (args is ["quality", var people])
        {
            QualityMeasure.Run(people);
            return;
        }

        BenchmarkSwitcher.FromAssembly(typeof(StageBenchmarks).Assembly).Run(args);
    }

    [GlobalSetup]
    public void Setup()
    {
        aligner = new FaceAligner(embedding.Card);
        var encoded = Decoder.Open(photo);
        picture = encoded.Decode(1, CancellationToken.None);
        portrait = Pixels.Resized(picture, 600, 800, PillowResize.Filter.Bilinear.Name);
        face = detector.Detect(picture)[0];
        points = detector.Locate(picture, face);
        aligned = aligner.Align(picture, face.Box, points, out _);
    }

    [Benchmark]
    public void Decode()
    {
        var encoded = Decoder.Open(photo);
        encoded.Decode(1, CancellationToken.None).Dispose();
    }

    [Benchmark]
    public void Resize() => Pixels.Shrunk(picture, 320, 240).Dispose();

    /// <summary>A portrait of 600 x 800 straight into the detector's input at detail 2.</summary>
    [Benchmark]
    public void ResizeToInput() => InputPicture.WriteShrunk(portrait, Fine.Width, Fine.Height, Fine, fine);

    [Benchmark]
    public object Detect() => detector.Detect(picture);

    [Benchmark]
    public object DetectFine() => detector.Detect(picture, detail: 2);

    [Benchmark]
    public void Align() => aligner.Align(picture, face.Box, points, out _).Dispose();

    [Benchmark]
    public void Normalise() => InputPicture.Write(aligned.Pixels, embedding.Card.Input, values);

    [Benchmark]
    public object Embed() => new FaceEmbedder(embedding).Embed(aligned);

    [Benchmark]
    public object EmbedPlain() => new FaceEmbedder(plain).Embed(aligned);

    [Benchmark]
    public object Stub() => StubEmbedding.Compute(photo, 512);
}
