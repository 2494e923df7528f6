using System.Globalization;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Faces;

/// <summary>One thing that the self-test looked at.</summary>
/// <param name="Text">What was seen, and where it failed, what that means.</param>
/// <param name="IsDoubtful">Passed, and a reader should know of it.</param>
/// <param name="IsHopeless">Failed, and no job can ever succeed.</param>
internal sealed record Finding(string Name, bool Passed, string Text, bool IsDoubtful = false, bool IsHopeless = false);

/// <summary>
/// Does the embedder tell people apart? Two public-domain photos, and copies of one, are enough to see a network that was never trained, a
/// card with the wrong colours, or weights that differ from those that were measured.
/// </summary>
internal sealed class SelfTest(ImageDecoder decoder, FaceDetector detector, FaceAligner aligner, FaceEmbedder embedder)
{
    private const int SampleDetail = 2;

    private readonly bool cutsNothing = embedder.Card.NotForFaces is not null;

    /// <summary>Where a card names no threshold: between the two of any model that is of use.</summary>
    private const double UsualThreshold = 0.5;

    /// <summary>Cosine with a picture of nothing but the face's mean colour. Networks that were trained stay far below.</summary>
    private const double FlatLimit = 0.9;

    /// <summary>Another processor or another build of a library moves a vector by less than this.</summary>
    private const double GoldenCosine = 0.999;

    /// <summary>Embedders that are in use have 128 to 512; a network of a few passes by luck.</summary>
    private const int FewDimensions = 32;

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
        try
        {
            return Tested(file);
        }
        catch (ModelException e)
        {
            return [new Finding("output", false, $"{e.Message} Nothing else was tested."), Weights(file)];
        }
    }

    private List<Finding> Tested(string file)
    {
        using var first = Decode(First);
        using var second = Decode(Second);
        var found = Array.ConvertAll(new[] { first, second }, Found);
        if (!cutsNothing && new[] { First, Second }.Where((_, i) => found[i].Count == 0).ToList() is { Count: > 0 } faceless)
        {
            return [new Finding("detector", false, $"The detector {detector.Card.Id} finds no face in {string.Join(" and ", faceless)}, a portrait: it is none, or its card is wrong of its input. Nothing else was tested."), Weights(file)];
        }

        using var tilted = Cut(Tilted(first, degrees: 20));
        using var dark = Cut(Darkened(first));
        using var face = Cut(first, found[0])!;
        using var otherFace = Cut(second, found[1])!;
        using var flat = Flat(face);
        Embedding one, other;
        try
        {
            (one, other) = (embedder.Embed(face), embedder.Embed(otherFace));
        }
        catch (ModelException e)
        {
            return [new Finding("output", false, $"{e.Message} Nothing else was tested.", IsHopeless: true), Weights(file)];
        }

        var (apart, nothing) = (Cosine(one, other), Cosine(one, embedder.Embed(flat, mayBeZero: true)));
        var weights = Weights(file);
        var findings = new List<Finding>
        {
            new("identity", embedder.Card.Identity is not false, embedder.Card.Identity is not false ? "The card says nothing against it." : "The card says that this is not an identity embedding: its vectors do not tell people apart."),
            new("flat picture", nothing < FlatLimit, Text($"A flat picture of the face's mean colour has cosine {nothing:0.0000} with the face{(nothing < FlatLimit ? "" : ": the vector depends on colour alone, as that of a network that was never trained")}.")),
            new("two people", apart < Threshold, Text($"Two people have cosine {apart:0.000}; the threshold is {Threshold:0.00}{(apart < Threshold ? "" : ": this model takes them for one")}.")),
            Copy("tilted copy", one, tilted, "tilted by 20 degrees"),
            Copy("darkened copy", one, dark, "at half the light"),
            weights,
        };
        if (embedder.Dimensions < FewDimensions)
        {
            findings.Add(new("dimensions", true, Text($"The vector has {embedder.Dimensions} dimensions, and embedders of faces have 128 or more: with fewer than {FewDimensions}, a network that was never trained may pass by luck. Measure with --pictures."), IsDoubtful: true));
        }

        findings.AddRange(Norms(one, other));
        var golden = detector.HasPoints ? Golden(one, other).ToList() : []; // golden vectors are of faces aligned by a detector's own points
        findings.AddRange(golden);
        if (weights.Passed && embedder.Card.Identity is not false && Input(new(face, otherFace, flat, tilted, dark), golden, findings.TrueForAll(f => f.Passed)) is { } input)
        {
            findings.Add(input);
        }

        return findings;
    }

    private double Threshold => embedder.Card.Threshold ?? UsualThreshold;

    /// <summary>A face and a copy of it.</summary>
    private Finding Copy(string name, Embedding one, Picture? copy, string words)
    {
        if (copy is null)
        {
            return new Finding(name, true, $"The detector finds no face in its copy {words}: nothing was compared.");
        }

        var same = Cosine(one, embedder.Embed(copy));
        return new Finding(name, same >= Threshold, Text($"A face and its copy {words} have cosine {same:0.000}; the threshold is {Threshold:0.00}{(same >= Threshold ? "" : ": this model takes them for two people")}."));
    }

    /// <summary>
    /// Whether colour order and scaling of the card are right. Golden vectors tell; without them another input than the card's is only told
    /// where it passes all that the card's does not.
    /// </summary>
    private Finding? Input(Looks looks, List<Finding> golden, bool passed)
    {
        var card = embedder.Card.Input;
        if (card.Channels != 3 || golden.Count > 0 && golden.TrueForAll(f => f.Passed))
        {
            return null;
        }

        if (passed)
        {
            var exchanged = Cosine(embedder.Embed(looks.Face), embedder.Embed(looks.Face, Exchanged(card)));
            return new Finding("input", true, Text($"With red and blue exchanged the face has cosine {exchanged:0.000} with itself. Two photos do not tell the colour order, nor whether pixels are wanted from 0 to 1 or otherwise: both are as the card says. Measure with --pictures."));
        }

        var fits = Usual(card).FirstOrDefault(input => Passes(input, looks, golden.Count > 0));
        return fits is null ? new Finding("input", true, "No other usual colour order or scaling passes what fails: the card's input is not the reason, or it is an unusual one.")
            : new Finding("input", false, Text($"With input.color {fits.Color}, mean {string.Join(' ', fits.Mean)} and std {string.Join(' ', fits.Std)} it passes: the card is wrong of its input."));
    }

    private bool Passes(ModelInput input, Looks looks, bool hasGolden)
    {
        try
        {
            var (one, other) = (embedder.Embed(looks.Face, input), embedder.Embed(looks.Other, input));
            return hasGolden ? Golden(one, other).All(f => f.Passed)
                : Cosine(one, other) < Threshold && Cosine(one, embedder.Embed(looks.Flat, input, mayBeZero: true)) < FlatLimit && Norms(one, other).All(f => f.Passed)
                && new[] { looks.Tilted, looks.Dark }.All(copy => copy is null || Cosine(one, embedder.Embed(copy, input)) >= Threshold);
        }
        catch (ModelException) // of this input it gives no vector
        {
            return false;
        }
    }

    /// <summary>The inputs that embedders are trained with: both colour orders, -1 to 1, 0 to 255, 0 to 1, and ImageNet's.</summary>
    private static IEnumerable<ModelInput> Usual(ModelInput card)
    {
        foreach (var (mean, std) in ((double[], double[])[])[(card.Mean, card.Std), ([127.5], [127.5]), ([127.5], [128]), ([0], [1]), ([0], [255]), ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])])
        {
            foreach (var color in (string[])["RGB", "BGR"])
            {
                yield return card with { Color = color, Mean = color == "RGB" || mean.Length == 1 ? mean : [.. mean.Reverse()], Std = color == "RGB" || std.Length == 1 ? std : [.. std.Reverse()] };
            }
        }
    }

    private static ModelInput Exchanged(ModelInput card) => card with { Color = card.Color == "RGB" ? "BGR" : "RGB", Mean = [.. card.Mean.Reverse()], Std = [.. card.Std.Reverse()] };

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
                var expected = ModelCard.VectorOf(golden)!; // validated with the card
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

    private List<Detection> Found(Picture picture) => cutsNothing ? [] : detector.Detect(picture, SampleDetail);

    /// <summary>Of a picture that is not needed any more.</summary>
    private Picture? Cut(Picture picture)
    {
        using (picture)
        {
            return Cut(picture, Found(picture));
        }
    }

    /// <summary>The picture as the embedder takes it; null where it takes faces, and none was found.</summary>
    private Picture? Cut(Picture picture, List<Detection> found)
    {
        var input = embedder.Card.Input;
        return cutsNothing ? Pixels.Resized(picture, input.Width, input.Height, input.ResizeFilter)
            : found is [var face, ..] ? aligner.Align(picture, face.Box, detector.Locate(picture, face), out _) : null;
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

    /// <summary>Pictures as the embedder takes them: two people, the first one's mean colour, and copies of the first in which a face is found.</summary>
    private sealed record Looks(Picture Face, Picture Other, Picture Flat, Picture? Tilted, Picture? Dark);
}
