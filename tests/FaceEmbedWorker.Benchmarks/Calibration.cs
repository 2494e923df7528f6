using System.Globalization;
using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Tests;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Benchmarks;

/// <summary>
/// <c>calibrate DIR FILE.csv [DETAIL]</c>: every box that the detector finds from a low score on, with its label and what the worker knows
/// of it. Where a detector's card has its threshold and filter from; <c>calibrate.py</c> beside it makes the tables.
/// </summary>
internal static class Calibration
{
    private const double LowestScore = 0.3;

    public static void Run(string folder, string file, int detail)
    {
        using var detection = Model.Load("models/face_detection.onnx", ModelCard.Detection);
        using var embedding = Model.Load("models/face_embedding.onnx", ModelCard.Embedding);
        var detector = new FaceDetector(detection, null, Options.Create(new FaceOptions { DetectionThreshold = LowestScore }));
        var (decoder, aligner, embedder) = (new ImageDecoder(Options.Create(new ImageOptions())), new FaceAligner(embedding.Card), new FaceEmbedder(embedding));
        using var lines = new StreamWriter(file);
        lines.WriteLine("set,picture,label,subset,score,sharpness,norm,error,width,height,seen");

        var boxes = File.ReadLines(Path.Combine(folder, "wider", "faces.csv")).Skip(1).Select(l => l.Split(',')).ToLookup(c => c[0], c => (Box: new Box(Number(c[1]), Number(c[2]), Number(c[3]), Number(c[4])), Subset: c[5]));
        Each(boxes, set => set.Key, set =>
        {
            using var picture = Decode(Path.Combine(folder, "wider", set.Key));
            var found = new HashSet<Box>();
            Describe("wider", set.Key, picture, face =>
            {
                var best = set.MaxBy(b => b.Box.Overlap(face));
                if (best.Box.Overlap(face) < 0.5)
                {
                    return set.Any(b => b.Box.Shared(face) > 0) ? ("near", "") : ("false", "");
                }

                return (found.Add(best.Box) ? "true" : "again", best.Subset);
            });
            foreach (var (box, subset) in set.Where(b => !found.Contains(b.Box)))
            {
                Write(FormattableString.Invariant($"wider,{set.Key},missed,{subset},0,0,0,0,{box.Width},{box.Height},0"));
            }
        });

        var noses = JsonElement.Parse(File.ReadAllBytes(Path.Combine(folder, "photos", "noses.json")));
        Each(noses.EnumerateObject(), p => p.Name, photo =>
        {
            using var picture = Decode(Path.Combine(folder, "photos", photo.Name));
            var free = photo.Value.EnumerateArray().Select(n => new Point(n[0].GetDouble(), n[1].GetDouble())).ToList();
            Describe("photos", photo.Name, picture, face => free.RemoveAll(n => n.X >= face.X && n.Y >= face.Y && n.X <= face.X + face.Width && n.Y <= face.Y + face.Height) > 0 ? ("true", "") : ("false", ""));
            free.ForEach(_ => Write($"photos,{photo.Name},missed,,0,0,0,0,0,0,0"));
        });

        Each(Directory.EnumerateFiles(Path.Combine(folder, "lfw300"), "*.jpg", SearchOption.AllDirectories).Order(StringComparer.Ordinal), f => f, path =>
        {
            using var picture = Decode(path);
            var found = false;
            Describe("lfw300", Path.GetFileName(path), picture, face =>
            {
                var (again, central) = (found, Math.Abs(face.CentreX - 125) < 35 && Math.Abs(face.CentreY - 125) < 35);
                found |= central;
                return (central ? again ? "again" : "true" : "other", "");
            });
            if (!found)
            {
                Write($"lfw300,{Path.GetFileName(path)},missed,,0,0,0,0,0,0,0");
            }
        });

        Each(Enumerable.Range(0, 500), n => $"{n}", number =>
        {
            using var picture = FacelessPictures.Make(number);
            Describe("faceless", $"{number}", picture, _ => ("false", ""));
        });

        Picture Decode(string path)
        {
            var encoded = decoder.Open(File.ReadAllBytes(path));
            return encoded.Decode(encoded.ShrinkFor(detector.WantedFor(detail, encoded.Width, encoded.Height)), CancellationToken.None);
        }

        void Describe(string set, string name, Picture picture, Func<Box, (string Label, string Subset)> label)
        {
            foreach (var face in detector.Detect(picture, detail))
            {
                var (told, subset) = label(face.Box);
                using var aligned = aligner.Align(picture, face.Box, detector.Locate(picture, face), out var error);
                var norm = embedder.Embed(aligned).Norm;
                Write(FormattableString.Invariant($"{set},{name},{told},{subset},{face.Score:0.0000},{FaceQuality.SharpnessOf(norm, embedding.Card):0.0000},{norm:0.000},{error:0.00},{face.Box.Width:0.0},{face.Box.Height:0.0},{face.Seen:0.0}"));
            }
        }

        void Write(string line)
        {
            lock (lines)
            {
                lines.WriteLine(line);
            }
        }

        static void Each<T>(IEnumerable<T> items, Func<T, string> _, Action<T> work) => Parallel.ForEach(items, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, work);
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
