using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Options;
using NetVips;

namespace FaceEmbedWorker.Benchmarks;

/// <summary>
/// <c>quality DIR</c>: what the quality's numbers mean, on a folder with a folder of pictures per person, the face in the middle:
/// percentiles of norm, alignment error and pose of the pictures as they are, and the share of genuine pairs that match by the score of the
/// worse picture, which is shrunk, blurred and recompressed.
/// </summary>
internal static class QualityMeasure
{
    private const int CopiesOfEach = 2;
    private static readonly int[] Shown = [0, 1, 5, 25, 50, 75, 95, 98, 100];

    public static void Run(string folder)
    {
        using var detection = Model.Load("models/face_detection.onnx", ModelCard.Detection);
        using var embedding = Model.Load("models/face_embedding.onnx", ModelCard.Embedding);
        var (images, faces) = (Options.Create(new ImageOptions()), Options.Create(new FaceOptions()));
        var decoder = new ImageDecoder(images);
        var handler = new JobHandler(new ImageFetcher(Options.Create(new SourceOptions()), images, TimeProvider.System), decoder, new FaceDetector(detection, null, faces),
            new FaceAligner(embedding.Card), new FaceEmbedder(embedding), Options.Create(new JobOptions()), faces, WarmThreads.Shared, TimeProvider.System);
        var files = Directory.EnumerateFiles(folder, "*.jpg", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToArray();
        var clean = files.Select(f => (Person: Path.GetDirectoryName(f)!, File: f, Face: Central(File.ReadAllBytes(f)))).Where(p => p.Face is not null).ToArray();
        Percentiles("norm", clean.Select(p => p.Face!.Quality!.Norm));
        Percentiles("alignment error", clean.Select(p => p.Face!.Quality!.AlignmentError!.Value));
        Percentiles("yaw", clean.Select(p => p.Face!.Quality!.Yaw!.Value));
        Percentiles("pitch", clean.Select(p => p.Face!.Quality!.Pitch!.Value));
        Percentiles("pitch, facing the camera (yaw up to 10)", clean.Where(p => Math.Abs(p.Face!.Quality!.Yaw!.Value) <= 10).Select(p => p.Face!.Quality!.Pitch!.Value));
        Percentiles("roll", clean.Select(p => p.Face!.Quality!.Roll!.Value));
        Percentiles("score", clean.Select(p => p.Face!.Quality!.Score!.Value));

        var (genuine, impostors, lost) = (new List<(double Quality, double Cosine)>(), new List<double>(), 0);
        for (var i = 0; i < CopiesOfEach * files.Length; i++)
        {
            var (file, random) = (files[i % files.Length], new Random(i));
            if (Central(Worse(file, random)) is not { } face)
            {
                lost++;
                continue;
            }

            foreach (var other in clean.Where(c => c.File != file))
            {
                var cosine = Cosine(face.Vector, other.Face!.Vector);
                if (other.Person == Path.GetDirectoryName(file))
                {
                    genuine.Add((Math.Min(face.Quality!.Score!.Value, other.Face.Quality!.Score!.Value), cosine));
                }
                else
                {
                    impostors.Add(cosine);
                }
            }
        }

        var threshold = impostors.Order().ElementAt((int)(impostors.Count * 0.999));
        Console.WriteLine(FormattableString.Invariant($"{CopiesOfEach * files.Length} worse copies, {lost} without a face, {genuine.Count} genuine pairs, threshold at FMR 1e-3 {threshold:0.000}"));
        foreach (var decile in genuine.GroupBy(g => Math.Min(9, (int)(g.Quality * 10))).OrderBy(g => g.Key))
        {
            Console.WriteLine(FormattableString.Invariant($"score {decile.Key / 10.0:0.0}: {decile.Count(g => g.Cosine > threshold) / (double)decile.Count():0.000} of {decile.Count()}"));
        }

        ResultEmbedding? Central(byte[] picture)
        {
            var result = ((JobOutcome.Completed)handler.HandleAsync(new EmbedJob("quality", new ImageSource.Data(picture)), CancellationToken.None).GetAwaiter().GetResult()).Result;
            return result.Embeddings.MinBy(e => Math.Pow(e.Box!.X + e.Box.Width / 2.0 - result.Image.Width!.Value / 2.0, 2) + Math.Pow(e.Box.Y + e.Box.Height / 2.0 - result.Image.Height!.Value / 2.0, 2));
        }

        byte[] Worse(string file, Random random)
        {
            using var picture = decoder.Open(File.ReadAllBytes(file)).Decode(1, CancellationToken.None);
            using var image = Image.NewFromMemoryCopy<byte>(picture.Pixels, picture.Width, picture.Height, 3, Enums.BandFormat.Uchar);
            using var srgb = image.Copy(interpretation: Enums.Interpretation.Srgb);
            using var small = srgb.Resize(0.15 + 0.85 * random.NextDouble());
            using var blurred = small.Gaussblur(random.NextDouble() * 4 + 0.1);
            return blurred.WriteToBuffer(".jpg", new VOption { { "Q", random.Next(40, 95) } });
        }
    }

    private static double Cosine(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();

    private static void Percentiles(string name, IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        Console.WriteLine($"{name}: {string.Join(", ", Shown.Select(p => FormattableString.Invariant($"p{p} {sorted[(sorted.Length - 1) * p / 100]:0.00}")))}");
    }
}
