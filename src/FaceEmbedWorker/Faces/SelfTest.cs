using System.Globalization;
using System.Runtime.InteropServices;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Faces;

/// <summary>One thing that the self-test looked at.</summary>
/// <param name="Text">What was seen, and where it failed, what that means.</param>
internal sealed record Finding(string Name, bool Passed, string Text);

/// <summary>
/// Does the embedder tell people apart? Two public-domain photos, and copies of one, are enough to see a network that was never trained, a
/// card with the wrong colours, or weights that differ from those that were measured.
/// </summary>
internal sealed class SelfTest(ImageDecoder decoder, FaceDetector detector, FaceAligner aligner, FaceEmbedder embedder)
{
    /// <summary>Where a card names no threshold: between the two of any model that is of use.</summary>
    private const double UsualThreshold = 0.5;

    /// <summary>Cosine with a picture of nothing but the face's mean colour. Networks that were trained stay far below.</summary>
    private const double FlatLimit = 0.9;

    /// <summary>Another processor or another build of a library moves a vector by less than this.</summary>
    private const double GoldenCosine = 0.999;

    private const string First = "astronaut.png";
    private const string Second = "grace_hopper.jpg";

    /// <summary>The sample pictures' folder.</summary>
    public static string Samples { get; } = Path.Combine(AppContext.BaseDirectory, "samples");

    /// <summary>The findings in words, one sentence; null where nothing is wrong.</summary>
    public static string? Verdict(IReadOnlyList<Finding> findings) =>
        findings.Any(f => !f.Passed) ? string.Join(" ", findings.Where(f => !f.Passed).Select(f => f.Text)) : null;

    /// <summary>Looks at the embedder that is loaded.</summary>
    /// <param name="file">Its ONNX file, for its weights.</param>
    public IReadOnlyList<Finding> Run(string file)
    {
        using var first = Decode(First);
        using var second = Decode(Second);
        using var tilted = Tilted(first, degrees: 20);
        using var dark = Darkened(first);
        using var cut = Cut(first);
        using var flat = Flat(cut);
        var (one, other) = (Embed(first), Embed(second));
        var (turned, darkened) = (Cosine(one, Embed(tilted)), Cosine(one, Embed(dark)));
        var (apart, nothing) = (Cosine(one, other), Cosine(one, embedder.Embed(flat)));
        var threshold = embedder.Card.Threshold ?? UsualThreshold;
        var findings = new List<Finding>
        {
            new("identity", embedder.Card.Identity is not false, embedder.Card.Identity is not false ? "The card says nothing against it." : "The card says that this is not an identity embedding: its vectors do not tell people apart."),
            new("flat picture", nothing < FlatLimit, Text($"A flat picture of the face's mean colour has cosine {nothing:0.0000} with the face{(nothing < FlatLimit ? "" : ": the vector depends on colour alone, as that of a network that was never trained")}.")),
            new("two people", apart < threshold, Text($"Two people have cosine {apart:0.000}; the threshold is {threshold:0.00}{(apart < threshold ? "" : ": this model takes them for one")}.")),
            new("tilted copy", turned >= threshold, Text($"A face and its copy tilted by 20 degrees have cosine {turned:0.000}; the threshold is {threshold:0.00}{(turned >= threshold ? "" : ": this model takes them for two people")}.")),
            new("darkened copy", darkened >= threshold, Text($"A face and its copy at half the light have cosine {darkened:0.000}; the threshold is {threshold:0.00}{(darkened >= threshold ? "" : ": this model takes them for two people")}.")),
            Weights(file),
        };
        findings.AddRange(Norms(one, other));
        if (detector.HasPoints) // golden vectors are of faces aligned by a detector's own points
        {
            findings.AddRange(Golden(one, other));
        }

        return findings;
    }

    private static Finding Weights(string file)
    {
        var summary = GraphSummary.Read(File.ReadAllBytes(Model.Locate(file)));
        return new Finding("weights", !summary.LooksUntrained, summary.LooksUntrained
            ? $"{summary.Fresh} of {summary.WeightTensors} weight tensors fill exactly the range of a framework's default initialisation: the network was never trained."
            : $"{summary.Fresh} of {summary.WeightTensors} weight tensors lie in a framework's range of new weights.");
    }

    private IEnumerable<Finding> Norms(Embedding one, Embedding other)
    {
        if (embedder.Card.NormRange is [var low, var high])
        {
            var inside = one.Norm >= low && one.Norm <= high && other.Norm >= low && other.Norm <= high;
            yield return new Finding("norms", inside, Text($"The raw norms are {one.Norm:0.00} and {other.Norm:0.00}; the card says {low:0.0} to {high:0.0}{(inside ? "" : ": other weights, or another input than it was trained on")}."));
        }
    }

    private IEnumerable<Finding> Golden(Embedding one, Embedding other)
    {
        foreach (var (name, vector) in new[] { (First, one.Vector), (Second, other.Vector) })
        {
            if (embedder.Card.Golden?.TryGetValue(name, out var golden) is true)
            {
                var expected = MemoryMarshal.Cast<byte, float>(Convert.FromBase64String(golden)).ToArray();
                var cosine = expected.Length == vector.Length ? Cosine(expected, vector) : 0;
                yield return new Finding($"golden {name}", cosine >= GoldenCosine,
                    Text($"The vector of {name} has cosine {cosine:0.000000} with the card's golden one{(cosine >= GoldenCosine ? "" : ": this is not the model, or not the input, that the card was made with")}."));
            }
        }
    }

    private Picture Decode(string sample)
    {
        var encoded = decoder.Open(File.ReadAllBytes(Path.Combine(Samples, sample)));
        return encoded.Decode(shrink: 1, CancellationToken.None);
    }

    private Embedding Embed(Picture picture)
    {
        using var face = Cut(picture);
        return embedder.Embed(face);
    }

    /// <summary>The picture as the embedder takes it.</summary>
    private Picture Cut(Picture picture)
    {
        var input = embedder.Card.Input;
        return embedder.Card.Crop is { Rule: ModelCrop.WholePicture } || detector.Detect(picture, detail: 2) is not [var face, ..]
            ? Pixels.Resized(picture, input.Width, input.Height, input.ResizeFilter)
            : aligner.Align(picture, face.Box, detector.Locate(picture, face), out _);
    }

    private static Picture Tilted(Picture picture, double degrees)
    {
        var (sin, cos) = Math.SinCos(degrees * Math.PI / 180);
        var (x, y) = (picture.Width / 2.0, picture.Height / 2.0);
        var tilted = new Picture(picture.Width, picture.Height);
        FaceAligner.Warp(picture, new Similarity(cos, sin, x - cos * x + sin * y, y - sin * x - cos * y), tilted);
        return tilted;
    }

    private static Picture Darkened(Picture picture)
    {
        var dark = new Picture(picture.Width, picture.Height);
        for (var i = 0; i < picture.Pixels.Length; i++)
        {
            dark.Pixels[i] = (byte)(picture.Pixels[i] / 2);
        }

        return dark;
    }

    private static Picture Flat(Picture picture)
    {
        var sums = new long[3];
        for (var i = 0; i < picture.Pixels.Length; i++)
        {
            sums[i % 3] += picture.Pixels[i];
        }

        var flat = new Picture(picture.Width, picture.Height);
        for (var i = 0; i < flat.Pixels.Length; i++)
        {
            flat.Pixels[i] = (byte)(sums[i % 3] / (picture.Pixels.Length / 3));
        }

        return flat;
    }

    private static double Cosine(Embedding a, Embedding b) => Cosine(a.Vector, b.Vector);

    private static double Cosine(float[] a, float[] b)
    {
        double dot = 0, first = 0, second = 0;
        for (var i = 0; i < a.Length; i++)
        {
            dot += (double)a[i] * b[i];
            first += (double)a[i] * a[i];
            second += (double)b[i] * b[i];
        }

        return dot / Math.Sqrt(first * second + 1e-30);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
