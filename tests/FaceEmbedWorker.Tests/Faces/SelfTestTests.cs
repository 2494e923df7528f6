using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>
/// The self-test's sentences and figures, of models that give a picture's own values: what they must be is computed here from the pictures.
/// </summary>
public sealed class SelfTestTests : IDisposable
{
    private const int Side = 8;

    private const string NoOther = "No other usual colour order or scaling passes what fails: the card's input is not the reason, or it is an unusual one.";

    private static readonly string[] Samples = ["astronaut.png", "grace_hopper.jpg"];

    /// <summary>Of whole pictures, so that no detector has a say.</summary>
    private static readonly ModelCard Card = ModelCard.Default("own", ModelCard.Embedding) with { Crop = new ModelCrop { Rule = ModelCrop.WholePicture } };

    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-self-test-").FullName;

    [Fact]
    public void Each_finding_says_what_was_seen()
    {
        var (one, other) = (Vector(Sample(0)), Vector(Sample(1)));
        var apart = Cosine(one, other);
        var flat = Cosine(one, Vector(Flat(Sample(0))));
        var (tilted, dark) = (Cosine(one, Vector(Tilted())), Cosine(one, Vector(Darkened())));
        var exchanged = Cosine(one, [.. one[^(Side * Side)..], .. one[(Side * Side)..^(Side * Side)], .. one[..(Side * Side)]]);
        Assert.True(flat < 0.9 && apart < 0.5 && tilted > 0.5 && dark > 0.5, $"{flat} {apart} {tilted} {dark}"); // or all of it would be another test
        var findings = Findings(Card, TinyOnnx.Values(Side));
        Assert.Equal(
        [
            ("identity", true, "The card says nothing against it."),
            ("flat picture", true, Text($"A flat picture of the face's mean colour has cosine {flat:0.0000} with the face.")),
            ("two people", true, Text($"Two people have cosine {apart:0.000}; the threshold is 0.50.")),
            ("tilted copy", true, Text($"A face and its copy tilted by 20 degrees have cosine {tilted:0.000}; the threshold is 0.50.")),
            ("darkened copy", true, Text($"A face and its copy at half the light have cosine {dark:0.000}; the threshold is 0.50.")),
            ("weights", true, "0 of 0 weight tensors lie in a framework's range of new weights."),
            ("input", true, Text($"With red and blue exchanged the face has cosine {exchanged:0.000} with itself. Two photos do not tell the colour order, nor whether pixels are wanted from 0 to 1 or otherwise: both are as the card says. Measure with --pictures.")),
        ], findings.Select(f => (f.Name, f.Passed, f.Text)));
        Assert.All(findings, f => Assert.False(f.IsDoubtful || f.IsHopeless));
        Assert.Null(SelfTest.Verdict(findings));
    }

    /// <summary>The threshold is the card's.</summary>
    [Fact]
    public void What_a_threshold_does_not_part_or_keep_together_is_told()
    {
        var (one, other) = (Vector(Sample(0)), Vector(Sample(1)));
        var (apart, tilted, dark) = (Cosine(one, other), Cosine(one, Vector(Tilted())), Cosine(one, Vector(Darkened())));
        Assert.True(apart > 0.02, $"{apart}");
        var findings = Findings(Card with { Threshold = 0.01 }, TinyOnnx.Values(Side));
        Assert.Equal(Text($"Two people have cosine {apart:0.000}; the threshold is 0.01: this model takes them for one."), Assert.Single(findings, f => f.Name == "two people" && !f.Passed).Text);
        Assert.Equal(["two people"], Failed(findings));
        Assert.Equal(NoOther, Assert.Single(findings, f => f.Name == "input" && f.Passed).Text);

        // one copy is kept together, and one is not
        findings = Findings(Card with { Threshold = (tilted + dark) / 2 }, TinyOnnx.Values(Side));
        Assert.Equal([tilted < dark ? "tilted copy" : "darkened copy"], Failed(findings));
        Assert.Equal(NoOther, Assert.Single(findings, f => f.Name == "input" && f.Passed).Text);

        findings = Findings(Card with { Threshold = 0.999 }, TinyOnnx.Values(Side));
        Assert.Equal(["tilted copy", "darkened copy"], Failed(findings));
        string[] told = [Text($"A face and its copy tilted by 20 degrees have cosine {tilted:0.000}; the threshold is 1.00: this model takes them for two people."), Text($"A face and its copy at half the light have cosine {dark:0.000}; the threshold is 1.00: this model takes them for two people.")];
        Assert.Equal(told, findings.Where(f => !f.Passed).Select(f => f.Text));
        Assert.Equal(string.Join(' ', told), SelfTest.Verdict(findings));
        Assert.Equal(NoOther, Assert.Single(findings, f => f.Name == "input" && f.Passed).Text); // the card's own least of all
    }

    [Fact]
    public void A_card_that_says_it_is_no_identity_fails_and_nothing_is_said_of_its_input()
    {
        var findings = Findings(Card with { Identity = false }, TinyOnnx.Values(Side));
        Assert.Equal("The card says that this is not an identity embedding: its vectors do not tell people apart.", Assert.Single(findings, f => !f.Passed).Text);
        Assert.Equal("identity", findings[0].Name);
        Assert.DoesNotContain(findings, f => f.Name == "input");
        Assert.Contains(Findings(Card with { Identity = true }, TinyOnnx.Values(Side)), f => f.Name == "input");
    }

    [Fact]
    public void Colours_alone_are_told_of_a_flat_picture()
    {
        var findings = Findings(Card, TinyOnnx.ChannelMeans(Side, Side));
        var flat = Assert.Single(findings, f => f.Name == "flat picture");
        Assert.False(flat.Passed);
        Assert.Matches("^A flat picture of the face's mean colour has cosine (0\\.99[0-9]+|1\\.0000) with the face: the vector depends on colour alone, as that of a network that was never trained\\.$", flat.Text);
    }

    [Theory]
    [InlineData(31)]
    [InlineData(32)]
    public void Few_dimensions_are_doubtful(int dimensions)
    {
        var findings = Findings(Card, First(dimensions));
        if (dimensions == 32)
        {
            Assert.DoesNotContain(findings, f => f.Name == "dimensions");
            return;
        }

        Assert.Equal(new Finding("dimensions", true, "The vector has 31 dimensions, and embedders of faces have 128 or more: with fewer than 32, a network that was never trained may pass by luck. Measure with --pictures.", IsDoubtful: true), Assert.Single(findings, f => f.Name == "dimensions"));
    }

    /// <summary>Whatever the length of its vectors is.</summary>
    [Fact]
    public void Vectors_of_any_length_are_compared_by_their_directions() =>
        Assert.Equal(Findings(Card, TinyOnnx.Values(Side)), Findings(Card with { Output = Card.Output with { Normalization = "none" } }, TinyOnnx.Values(Side)));

    /// <summary>What is subtracted and divided by goes with its colour.</summary>
    [Theory]
    [InlineData("RGB", "BGR")]
    [InlineData("BGR", "RGB")]
    public void Red_and_blue_are_exchanged_with_their_scaling(string color, string exchanged)
    {
        var input = Card.Input with { Color = color, Mean = [120, 127, 134], Std = [120, 127, 134], Width = Side, Height = Side };
        var (values, others) = (new float[3 * Side * Side], new float[3 * Side * Side]);
        using var face = Sample(0);
        InputPicture.Write(face.Pixels, input, values);
        InputPicture.Write(face.Pixels, input with { Color = exchanged, Mean = [134, 127, 120], Std = [134, 127, 120] }, others);
        Assert.StartsWith(Text($"With red and blue exchanged the face has cosine {Cosine(values, others):0.000} with itself."), Assert.Single(Findings(Card with { Input = Card.Input with { Color = color, Mean = [120, 127, 134], Std = [120, 127, 134] } }, TinyOnnx.Values(Side)), f => f.Name == "input").Text, StringComparison.Ordinal);
    }

    /// <summary>A network may make nothing of a picture of one colour, of the card's input and of the one that is right.</summary>
    [Fact]
    public void A_flat_picture_may_give_a_vector_of_zeros()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.Values(Side));
        model.Graph.Node[^1].Input[0] = "centred";
        model.Graph.Node.Insert(0, new NodeProto { OpType = "GlobalAveragePool", Input = { "picture" }, Output = { "colour" } });
        model.Graph.Node.Insert(1, new NodeProto { OpType = "Sub", Input = { "picture", "colour" }, Output = { "centred" } });
        var findings = Findings(Card, model.ToByteArray());
        Assert.Matches("^A flat picture of the face's mean colour has cosine -?0\\.0000 with the face\\.$", Assert.Single(findings, f => f.Name == "flat picture" && f.Passed).Text);

        using var loaded = PaperFaces.Load(model.ToByteArray(), Card);
        var norms = new[] { 0, 1 }.Select(i => new FaceEmbedder(loaded).Embed(Sample(i)).Norm).Order().ToArray();
        Assert.DoesNotContain(Findings(Card with { NormRange = norms }, model.ToByteArray()), f => !f.Passed); // both are bounds, and within
        findings = Findings(Card with { NormRange = norms, Input = Card.Input with { Std = [100] } }, model.ToByteArray());
        Assert.Equal("With input.color RGB, mean 127.5 and std 127.5 it passes: the card is wrong of its input.", Assert.Single(findings, f => f.Name == "input" && !f.Passed).Text);
    }

    /// <summary>Both pictures' norms lie within the card's, the bounds included.</summary>
    [Fact]
    public void Norms_are_held_against_the_cards()
    {
        var (first, second) = (Norm(Sample(0)), Norm(Sample(1)));
        var (low, high) = (Math.Min(first, second), Math.Max(first, second));
        Assert.True(high - low > 0.1);
        foreach (var (least, most, passes) in new[] { (low - 1, high + 1, true), (low - 1, high - 0.05, false), (low + 0.05, high + 1, false), (high + 1, high + 2, false), (0, low - 0.05, false) })
        {
            var norms = Assert.Single(Findings(Card with { NormRange = [least, most] }, TinyOnnx.Values(Side)), f => f.Name == "norms");
            Assert.Equal((passes, Text($"The raw norms are {first:0.00} and {second:0.00}; the card says {least:0.0} to {most:0.0}{(passes ? "" : ": other weights, or another input than it was trained on")}.")), (norms.Passed, norms.Text));
        }
    }

    [Fact]
    public void Golden_vectors_are_compared_and_tell_the_input()
    {
        var (one, other) = (Vector(Sample(0)), Vector(Sample(1)));
        var apart = Cosine(one, other);
        var findings = Findings(Golden(one, other), TinyOnnx.Values(Side));
        Assert.Equal(["golden astronaut.png", "golden grace_hopper.jpg"], findings.TakeLast(2).Select(f => f.Name));
        Assert.Equal("The vector of grace_hopper.jpg has cosine 1.000000 with the card's golden one.", findings[^1].Text);
        Assert.DoesNotContain(findings, f => f.Name == "input" || !f.Passed);

        findings = Findings(Golden(one, one), TinyOnnx.Values(Side));
        Assert.Equal(["golden grace_hopper.jpg"], Failed(findings));
        Assert.Equal(Text($"The vector of grace_hopper.jpg has cosine {apart:0.000000} with the card's golden one: this is not the model, or not the input, that the card was made with."), Assert.Single(findings, f => !f.Passed).Text);
        Assert.Equal(NoOther, Assert.Single(findings, f => f.Name == "input" && f.Passed).Text);

        findings = Findings(Golden(one, other) with { Threshold = 0.999 }, TinyOnnx.Values(Side)); // copies fail; of the input the golden vectors have the last word
        Assert.Equal(["tilted copy", "darkened copy"], Failed(findings));
        Assert.DoesNotContain(findings, f => f.Name == "input");

        findings = Findings(Card with { Golden = new Dictionary<string, string> { [Samples[1]] = Base64(one[1..]) } }, TinyOnnx.Values(Side));
        Assert.Contains("has cosine 0.000000 with", Assert.Single(findings, f => f.Name.StartsWith("golden", StringComparison.Ordinal) && !f.Passed).Text, StringComparison.Ordinal); // of another length
        Assert.DoesNotContain(Findings(Golden(other, one), TinyOnnx.Values(Side), hasPoints: false), f => f.Name.StartsWith("golden", StringComparison.Ordinal)); // they are of faces aligned by a detector's points
    }

    /// <summary>Of a card with an odd input: what the golden vectors were made with is named.</summary>
    [Theory]
    [InlineData("RGB", "127.5", "127.5")]
    [InlineData("BGR", "127.5", "127.5")]
    [InlineData("RGB", "0", "255")]
    [InlineData("BGR", "0", "255")]
    [InlineData("RGB", "0", "1")] // of which this model sees no colour
    [InlineData("RGB", "123.675 116.28 103.53", "58.395 57.12 57.375")]
    [InlineData("BGR", "103.53 116.28 123.675", "57.375 57.12 58.395")]
    [InlineData("BGR", "60", "77")] // the card's own numbers
    [InlineData("BGR", "60 50 40", "70 77 80")]
    public void Golden_vectors_of_another_input_name_it(string color, string mean, string std)
    {
        var input = Card.Input with { Color = color, Mean = Numbers(mean), Std = Numbers(std), Width = Side, Height = Side };
        var odd = mean.StartsWith("60", StringComparison.Ordinal) ? input with { Color = "RGB", Mean = [.. input.Mean.Reverse()], Std = [.. input.Std.Reverse()] } : Card.Input with { Mean = [250], Std = [30] };
        var golden = Golden(Bent(Sample(0), input), Bent(Sample(1), input));
        var findings = Findings(golden with { Input = odd }, Sigmoid());
        Assert.Contains("golden astronaut.png", Failed(findings));
        Assert.Equal($"With input.color {color}, mean {mean} and std {std} it passes: the card is wrong of its input.", Assert.Single(findings, f => f.Name == "input" && !f.Passed).Text);

        static double[] Numbers(string text) => [.. text.Split(' ').Select(v => double.Parse(v, System.Globalization.CultureInfo.InvariantCulture))];
    }

    /// <summary>Without golden vectors another input is named where it passes what the card's fails: two people, the flat picture, the norms, and that there is a vector.</summary>
    [Fact]
    public void Another_input_that_passes_is_named()
    {
        var findings = Findings(Card with { Input = Card.Input with { Mean = [0], Std = [255] } }, TinyOnnx.Values(Side));
        Assert.Contains("flat picture", Failed(findings));
        Assert.Equal("With input.color RGB, mean 127.5 and std 127.5 it passes: the card is wrong of its input.", Assert.Single(findings, f => f.Name == "input" && !f.Passed).Text);

        var norms = new[] { 0, 1 }.Select(i => Norm(Sample(i))).ToArray();
        findings = Findings(Card with { Input = Card.Input with { Std = [100] }, NormRange = [norms.Min() - 0.01, norms.Max() + 0.01] }, TinyOnnx.Values(Side));
        Assert.Equal("With input.color RGB, mean 127.5 and std 127.5 it passes: the card is wrong of its input.", Assert.Single(findings, f => f.Name == "input" && !f.Passed).Text);
        findings = Findings(Card with { Input = Card.Input with { Mean = [0], Std = [255] }, NormRange = [norms.Min() * 1.1, norms.Min() * 1.1 + 0.1] }, TinyOnnx.Values(Side));
        Assert.True(Assert.Single(findings, f => f.Name == "input").Passed); // no norm is within

        // where there is no vector of what the usual scalings below 0 give
        findings = Findings(Card with { Input = Card.Input with { Mean = [-300], Std = [1] } }, TinyOnnx.Logarithms(Side));
        Assert.Equal(NoOther, Assert.Single(findings, f => f.Name == "input" && f.Passed).Text);
    }

    [Fact]
    public void A_model_of_grey_pictures_is_not_asked_for_its_colours()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.Values(Side));
        model.Graph.Input[0].Type.TensorType.Shape.Dim[1].DimValue = 1;
        model.Graph.Output[0].Type.TensorType.Shape.Dim[1].DimValue = Side * Side;
        var findings = Findings(Card with { Input = Card.Input with { Color = "GRAY" } }, model.ToByteArray());
        Assert.DoesNotContain(findings, f => f.Name == "input");
        Assert.Equal("weights", findings[^1].Name);
    }

    [Fact]
    public void A_model_that_gives_no_vector_is_hopeless_and_its_weights_are_looked_at()
    {
        var findings = Findings(Card, TinyOnnx.Logarithms(Side));
        Assert.Equal(["output", "weights"], findings.Select(f => f.Name));
        Assert.Equal((false, true, $"{ModelException.NotFinite("own", "vector").Message} Nothing else was tested."), (findings[0].Passed, findings[0].IsHopeless, findings[0].Text));
        Assert.True(findings[1].Passed);
    }

    [Fact]
    public void Weights_as_a_framework_makes_them_fail_and_nothing_is_said_of_the_input()
    {
        var findings = Findings(Card, TinyOnnx.Values(Side), weights: TestData.Read("untrained.onnx"));
        Assert.Equal(["weights"], Failed(findings));
        Assert.Matches("^[0-9]+ of [0-9]+ weight tensors fill exactly the range of a framework's default initialisation: the network was never trained\\.$", SelfTest.Verdict(findings));
        Assert.DoesNotContain(findings, f => f.Name == "input");
    }

    /// <summary>A detector that sees a face where there is light enough.</summary>
    [Fact]
    public void A_detector_that_finds_no_face_is_told_by_the_pictures()
    {
        var (light, dim) = (Light(0), Light(1));
        Assert.True(Math.Abs(light - dim) > 2 && Math.Max(light, dim) / 2 < Math.Min(light, dim), $"{light} {dim}");
        var faceless = light < dim ? Samples[0] : Samples[1];
        Of(255, $"The detector own-detector finds no face in {Samples[0]} and {Samples[1]}, a portrait: it is none, or its card is wrong of its input. Nothing else was tested.");
        Of((light + dim) / 2, $"The detector own-detector finds no face in {faceless}, a portrait: it is none, or its card is wrong of its input. Nothing else was tested.");

        void Of(double least, string told)
        {
            var findings = Findings(ModelCard.Default("own", ModelCard.Embedding), TinyOnnx.Values(32), detector: Detector(least));
            Assert.Equal(["detector", "weights"], findings.Select(f => f.Name));
            Assert.Equal((false, false, told), (findings[0].Passed, findings[0].IsHopeless, findings[0].Text));
        }
    }

    [Fact]
    public void A_copy_in_which_no_face_is_found_is_not_compared()
    {
        var findings = Findings(ModelCard.Default("own", ModelCard.Embedding), TinyOnnx.Values(32), detector: Detector(Math.Max(Light(0), Light(1)) * 0.55));
        Assert.Equal("The detector finds no face in its copy at half the light: nothing was compared.", Assert.Single(findings, f => f.Name == "darkened copy" && f.Passed).Text);
        Assert.Contains("have cosine", Assert.Single(findings, f => f.Name == "tilted copy").Text, StringComparison.Ordinal);
    }

    /// <summary>A whole picture is not what is embedded then.</summary>
    [Fact]
    public void Faces_are_cut_out_as_the_card_says()
    {
        var card = ModelCard.Default("own", ModelCard.Embedding) with { Input = Card.Input with { Width = 32, Height = 32 } };
        using var detector = Detector(0);
        var vectors = new[] { 0, 1 }.Select(i =>
        {
            using var picture = Pipeline.Decode(File.ReadAllBytes(Path.Combine(SelfTest.Samples, Samples[i])));
            var face = detector.Detector.Detect(picture, 2)[0];
            using var aligned = new FaceAligner(card).Align(picture, face.Box, detector.Detector.Locate(picture, face), out _);
            return Vector(aligned);
        }).ToArray();
        var apart = Assert.Single(Findings(card, TinyOnnx.Values(32), detector: detector), f => f.Name == "two people");
        Assert.StartsWith(Text($"Two people have cosine {Cosine(vectors[0], vectors[1]):0.000};"), apart.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Speed_is_measured_until_told_to_end()
    {
        using var face = new Picture(PaperFaces.Side, PaperFaces.Side);
        face.Pixels.Fill(128);
        var (turns, embedder) = (0, new FaceEmbedder(PaperFaces.Embedding));
        using var told = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() =>
        {
            Quantization.Speed(embedder, embedder, [face], () =>
            {
                turns++;
                told.Cancel();
            }, told.Token);
        });
        Assert.Equal(1, turns);
    }

    [Fact]
    public void A_detector_that_gives_nonsense_is_told_and_is_not_hopeless()
    {
        using var detector = Detector(0, float.NaN);
        var findings = Findings(ModelCard.Default("own", ModelCard.Embedding), TinyOnnx.Values(32), detector: detector);
        Assert.Equal([("output", false, false), ("weights", true, false)], findings.Select(f => (f.Name, f.Passed, f.IsHopeless)));
        Assert.Matches("^The model own-detector gave a face that is not finite.* Nothing else was tested\\.$", findings[0].Text);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private IReadOnlyList<Finding> Findings(ModelCard card, byte[] onnx, Detecting? detector = null, bool hasPoints = true, byte[]? weights = null)
    {
        var file = Path.Combine(folder, "own.onnx");
        File.WriteAllBytes(file, weights ?? onnx);
        using var model = PaperFaces.Load(onnx, card);
        using var boxes = hasPoints ? null : Model.Load(Pipeline.Shipped("rfb/face_detection.onnx"), ModelCard.Detection);
        var finds = boxes is null ? detector?.Detector ?? PaperFaces.DetectorOf() : new FaceDetector(boxes, null, Microsoft.Extensions.Options.Options.Create(new FaceOptions()));
        return new SelfTest(Pipeline.Decoder, finds, new FaceAligner(model.Card), new FaceEmbedder(model)).Run(file);
    }

    private sealed record Detecting(Model Model, FaceDetector Detector) : IDisposable
    {
        public void Dispose() => Model.Dispose();
    }

    /// <summary>Sees one and the same face in every picture whose mean level is beyond one.</summary>
    private static Detecting Detector(double leastLight, float score = 0.95f)
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.Detector("scrfd", 64));
        var scores = graph.Graph.Initializer.Single(t => t.Name == "161/constant").FloatData;
        scores[scores.IndexOf(0.95f)] = score;
        graph.Graph.Initializer.Add(new TensorProto { Name = "least", DataType = 1, Dims = { 1 }, FloatData = { (float)leastLight } });
        graph.Graph.Node.Add([
            new NodeProto { OpType = "ReduceMean", Input = { "picture" }, Output = { "mean" } },
            new NodeProto { OpType = "Greater", Input = { "mean", "least" }, Output = { "isLight" } },
            new NodeProto { OpType = "Cast", Input = { "isLight" }, Output = { "light" }, Attribute = { new AttributeProto { Name = "to", Type = AttributeProto.Types.AttributeType.Int, I = 1 } } },
            new NodeProto { OpType = "Reshape", Input = { "light", "one" }, Output = { "factor" } },
            new NodeProto { OpType = "Mul", Input = { "161/constant", "factor" }, Output = { "161" } },
        ]);
        graph.Graph.Initializer.Add(new TensorProto { Name = "one", DataType = 7, Dims = { 1 }, Int64Data = { 1 } });
        graph.Graph.Node.Remove(graph.Graph.Node.Single(n => n.OpType == "Identity" && n.Output[0] == "161"));
        var known = ModelCard.Named("scrfd");
        var card = known with { Id = "own-detector", Sha256 = null, Filter = null, Input = known.Input with { Name = "", Width = 0, Height = 0, Multiple = 0, Mean = [0], Std = [1], Fit = "stretch" }, Output = known.Output with { Name = "" } };
        var model = PaperFaces.Load(graph.ToByteArray(), card);
        return new(model, new FaceDetector(model, null, Microsoft.Extensions.Options.Options.Create(new FaceOptions())));
    }

    private static ModelCard Golden(float[] one, float[] other) => Card with { Golden = new Dictionary<string, string> { [Samples[0]] = Base64(one), [Samples[1]] = Base64(other) } };

    private static string Base64(float[] vector) => Convert.ToBase64String(System.Runtime.InteropServices.MemoryMarshal.AsBytes(vector.AsSpan()));

    /// <summary>The first of a picture's values.</summary>
    private static byte[] First(int dimensions)
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.Values(Side));
        model.Graph.Node[^1].Output[0] = "all";
        foreach (var (name, value) in new[] { ("from", 0), ("to", dimensions), ("axis", 1) })
        {
            model.Graph.Initializer.Add(new TensorProto { Name = name, DataType = 7, Dims = { 1 }, Int64Data = { value } });
        }

        model.Graph.Node.Add(new NodeProto { OpType = "Slice", Input = { "all", "from", "to", "axis" }, Output = { "values" } });
        model.Graph.Output[0].Type.TensorType.Shape.Dim[1].DimValue = dimensions;
        return model.ToByteArray();
    }

    /// <summary>Its values bent, so that another scaling is another direction.</summary>
    private static byte[] Sigmoid()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.Values(Side));
        model.Graph.Node[^1].Input[0] = "bent";
        model.Graph.Node.Insert(0, new NodeProto { OpType = "Sigmoid", Input = { "picture" }, Output = { "bent" } });
        return model.ToByteArray();
    }

    private static float[] Bent(Picture picture, ModelInput input)
    {
        var values = new float[3 * Side * Side];
        InputPicture.Write(picture.Pixels, input, values);
        return Array.ConvertAll(values, v => 1 / (1 + MathF.Exp(-v)));
    }

    private static Picture Sample(int i)
    {
        using var picture = Full(i);
        return Pixels.Resized(picture, Side, Side, Card.Input.ResizeFilter);
    }

    private static Picture Full(int i) => Pipeline.Decode(File.ReadAllBytes(Path.Combine(SelfTest.Samples, Samples[i])));

    private static double Light(int i)
    {
        using var picture = Full(i);
        return picture.Pixels.ToArray().Average(p => p);
    }

    private static Picture Darkened()
    {
        using var picture = Full(0);
        foreach (ref var value in picture.Pixels)
        {
            value /= 2;
        }

        return Pixels.Resized(picture, Side, Side, Card.Input.ResizeFilter);
    }

    /// <summary>Turned by 20 degrees about its middle.</summary>
    private static Picture Tilted()
    {
        using var picture = Full(0);
        var (x, y) = (picture.Width / 2.0, picture.Height / 2.0);
        var turn = new Similarity(Math.Cos(Math.PI / 9), Math.Sin(Math.PI / 9), 0, 0);
        var middle = turn.Apply(new(x, y));
        using var tilted = new Picture(picture.Width, picture.Height);
        FaceAligner.Warp(picture, turn with { X = x - middle.X, Y = y - middle.Y }, tilted);
        return Pixels.Resized(tilted, Side, Side, Card.Input.ResizeFilter);
    }

    private static Picture Flat(Picture picture)
    {
        var flat = new Picture(Side, Side);
        for (var i = 0; i < flat.Pixels.Length; i++)
        {
            flat.Pixels[i] = (byte)picture.Pixels.ToArray().Where((_, at) => at % 3 == i % 3).Average(v => v);
        }

        return flat;
    }

    /// <summary>The picture's values as the default contract scales them: [3, height, width].</summary>
    private static float[] Vector(Picture picture)
    {
        var values = new float[picture.Pixels.Length];
        for (var i = 0; i < values.Length; i++)
        {
            values[i % 3 * (values.Length / 3) + i / 3] = (picture.Pixels[i] - 127.5f) / 127.5f;
        }

        picture.Dispose();
        return values;
    }

    private static double Norm(Picture picture) => Math.Sqrt(Vector(picture).Sum(v => (double)v * v));

    private static double Cosine(float[] a, float[] b) => Pipeline.Cosine(a, b) / Math.Sqrt(Pipeline.Cosine(a, a) * Pipeline.Cosine(b, b));

    private static List<string> Failed(IReadOnlyList<Finding> findings) => [.. findings.Where(f => !f.Passed && f.Name != "input").Select(f => f.Name)];

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
