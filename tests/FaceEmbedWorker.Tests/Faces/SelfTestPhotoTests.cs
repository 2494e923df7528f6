using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Faces;

public sealed class SelfTestPhotoTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-self-test-").FullName;

    [Fact]
    public void The_shipped_model_passes_every_test()
    {
        var findings = Findings(Pipeline.EmbeddingModel, Pipeline.Shipped("face_embedding.onnx"));
        Assert.Null(SelfTest.Verdict(findings));
        Assert.Equal(["identity", "flat picture", "two people", "tilted copy", "darkened copy", "weights", "norms", "golden astronaut.png", "golden grace_hopper.jpg"], findings.Select(f => f.Name));
    }

    [Fact]
    public void A_network_that_was_never_trained_is_caught()
    {
        var file = Path.Combine(TestData.Folder, "untrained.onnx");
        using var model = Model.Load(file, ModelCard.Embedding);
        Assert.Equal((160, 512), (model.Card.Input.Width, model.Card.Output.Dimensions));
        Assert.Equal(["flat picture", "two people", "weights"], Findings(model, file).Where(f => !f.Passed).Select(f => f.Name));
    }

    [Theory]
    [InlineData("""{"color":"RGB"}""", "golden astronaut.png")]
    [InlineData("""{"mean":[0],"std":[1]}""", "norms")]
    public void A_card_that_is_wrong_of_the_input_is_caught(string change, string test)
    {
        var card = System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(Pipeline.Shipped("face_embedding.json")))!;
        foreach (var (name, value) in System.Text.Json.Nodes.JsonNode.Parse(change)!.AsObject().ToArray())
        {
            card["input"]![name] = value!.DeepClone();
        }

        var file = Path.Combine(folder, "face_embedding.onnx");
        File.Copy(Pipeline.Shipped("face_embedding.onnx"), file);
        File.WriteAllText(Path.Combine(folder, "face_embedding.json"), card.ToJsonString());
        using var model = Model.Load(file, ModelCard.Embedding);
        var findings = Findings(model, file);
        Assert.Contains(findings, f => f.Name == test && !f.Passed);
        Assert.Contains("With input.color BGR, mean 127.5 and std 127.5 it passes", Assert.Single(findings, f => f.Name == "input").Text, StringComparison.Ordinal);
    }

    /// <summary>What a detector gives that is no number, no score or no place of a face: a rejected picture, not one without faces, and a finding.</summary>
    [Theory]
    [InlineData("scrfd", "161", float.NaN, "gave a face that is not finite")]
    [InlineData("scrfd", "164", float.NaN, "gave a face that is not finite")]
    [InlineData("yunet", "kps_16", float.NaN, "gave a face that is not finite")]
    [InlineData("yunet", "obj_16", float.NaN, "gave a face that is not finite")]
    [InlineData("scrfd", "161", 7f, "gave a face the score 7, and scores go from 0 to 1")]
    [InlineData("scrfd", "1610", 1e29f, "put a face's points farther outside of the picture than the picture is long")]
    [InlineData("yunet", "kps_16", -1000f, "put a face's points farther outside of the picture than the picture is long")]
    public async Task A_detector_that_gives_nonsense_is_named(string layout, string output, float value, string told)
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.Detector(layout, 64));
        var values = graph.Graph.Initializer.Single(t => t.Name == $"{output}/constant").FloatData;
        for (var i = 0; i < values.Count; i++)
        {
            values[i] = value;
        }

        var file = Path.Combine(folder, "endless.onnx");
        File.WriteAllBytes(file, graph.ToByteArray());
        var card = ModelCard.Named(layout);
        card = card with { Id = "endless", Sha256 = null, Filter = null, Input = card.Input with { Name = "", Width = 0, Height = 0, Multiple = 0 }, Output = card.Output with { Name = "" } };
        File.WriteAllBytes(Path.Combine(folder, "endless.json"), card.ToJson());
        using var model = Model.Load(file, ModelCard.Detection);
        var options = Options.Create(new FaceOptions());
        var detector = new FaceDetector(model, null, options);

        var failed = Assert.IsType<JobOutcome.Retry>(await Pipeline.Handler(detector: detector).HandleAsync(new EmbedJob("own", new ImageSource.Data(File.ReadAllBytes(TestData.Astronaut))), TestContext.Current.CancellationToken));
        Assert.Equal("model_output", failed.Reason);
        Assert.Contains($"The model endless {told}", failed.Message, StringComparison.Ordinal);

        var decoder = new ImageDecoder(Options.Create(new ImageOptions()));
        var findings = new SelfTest(decoder, detector, new FaceAligner(Pipeline.EmbeddingModel.Card), Pipeline.Embedder).Run(Pipeline.Shipped("face_embedding.onnx"));
        Assert.Contains(told, Assert.Single(findings, f => !f.Passed).Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Exported_features_are_no_identity_and_are_caught()
    {
        var (file, converted) = (Path.Combine(folder, "features.onnx"), MobileFaceNet.Convert(Checkpoint.Read(TestData.Read("checkpoints/landmarks.pth.tar")), CheckpointHead.Features, 160, "x"));
        File.WriteAllBytes(file, converted.Onnx);
        File.WriteAllBytes(Path.ChangeExtension(file, ".json"), (ModelCard.Default("features", ModelCard.Embedding) with { Identity = false }).ToJson());
        using var model = Model.Load(file, ModelCard.Embedding);
        Assert.Contains(Findings(model, file), f => f is { Name: "identity", Passed: false });
    }

    [Fact]
    public async Task A_models_doubt_is_in_its_results()
    {
        var handler = Pipeline.Handler();
        handler.ModelDoubt = "it is a test";
        var outcome = await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data(File.ReadAllBytes(TestData.GraceHopper))), TestContext.Current.CancellationToken);
        Assert.Contains("\"self_test\":\"failed\"", System.Text.Encoding.UTF8.GetString(Assert.IsType<JobOutcome.Completed>(outcome).Result.ToJson()), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_is_summed_up()
    {
        var summary = GraphSummary.Read(File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx")));
        Assert.Equal((9L, 50, 0), (summary.Opset, summary.WeightTensors, summary.Fresh));
        var inspection = ModelInspection.Of(Pipeline.Shipped("face_embedding.onnx"), File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx")));
        Assert.Equal(221_161_984, inspection.MultiplyAdds);
        Assert.Equal("input: float [1,3,112,112]", Assert.Single(inspection.Inputs));
    }

    [Fact]
    public void Known_cards_can_be_read_and_say_their_licence()
    {
        Assert.Equal(["auraface", "facenet", "facenet-prewhiten", "glint360k", "mobilefacenet-96x112", "mobilefacenet-relu6", "original-160", "rfb", "scrfd", "sface", "w600k_mbf", "w600k_r50", "yunet"], ModelCard.KnownNames);
        Assert.All(ModelCard.KnownNames, name =>
        {
            var card = ModelCard.Named(name);
            Assert.NotNull(card.Licence);
            Assert.Contains(card.Task, new[] { ModelCard.Embedding, ModelCard.Detection });
        });
        Assert.Contains("neither a card's file nor one of the known cards", Assert.Throws<ModelException>(() => ModelCard.Named("nobody")).Message, StringComparison.Ordinal);
    }

    /// <summary>Graphs of the families' shapes, made here: the card's input, crop and standardisation run with them.</summary>
    [Theory]
    [InlineData("w600k_mbf", 112, 112)]
    [InlineData("sface", 112, 112)]
    [InlineData("facenet", 160, 160)]
    [InlineData("facenet-prewhiten", 160, 160)]
    [InlineData("mobilefacenet-96x112", 112, 96)]
    [InlineData("mobilefacenet-relu6", 112, 112)]
    [InlineData("original-160", 160, 160)]
    public async Task A_known_card_runs_a_model_of_its_shape(string name, int height, int width)
    {
        var file = Path.Combine(folder, "own.onnx");
        await File.WriteAllBytesAsync(file, TinyOnnx.ChannelMeans(height, width), TestContext.Current.CancellationToken);
        var card = ModelCard.Named(name);
        var own = Path.Combine(folder, "card.json");
        await File.WriteAllBytesAsync(own, (card with { Output = card.Output with { Dimensions = 3, Normalization = "none" } }).ToJson(), TestContext.Current.CancellationToken);
        using var model = Model.Load(file, ModelCard.Embedding, cardName: own);

        var job = new EmbedJob("x", new ImageSource.Data(File.ReadAllBytes(TestData.GraceHopper)));
        var outcome = await Pipeline.Handler(embedding: model).HandleAsync(job, TestContext.Current.CancellationToken);
        if (name == "original-160") // made for whole pictures: a face is refused in words, not cut out by a rule that the card does not have
        {
            Assert.Contains("takes whole pictures", Assert.IsType<JobOutcome.Rejected>(outcome).Message, StringComparison.Ordinal);
            outcome = await Pipeline.Handler(embedding: model).HandleAsync(job with { Mode = EmbedMode.Image }, TestContext.Current.CancellationToken);
        }

        var vector = Assert.Single(Assert.IsType<JobOutcome.Completed>(outcome).Result.Embeddings).Vector;
        switch (name)
        {
            case "sface": // pixels as they are, blue first: a face's blue is its lowest
                Assert.InRange(vector[0], 20, vector[2]);
                break;
            case "facenet-prewhiten": // each picture has mean 0 over all its values
                Assert.Equal(0, vector.Average(), 1e-3);
                break;
            case "mobilefacenet-relu6": // each colour by its own mean and deviation
                Assert.All(vector, v => Assert.InRange(v, -2.2, 2.7));
                break;
            default:
                Assert.All(vector, v => Assert.InRange(v, -1, 1));
                break;
        }
    }

    [Fact]
    public void Standardisation_by_the_picture_is_part_of_the_space_and_the_usual_one_is_not()
    {
        var card = Pipeline.EmbeddingModel.Card;
        Assert.NotEqual(card.Space("w", "c"), (card with { Input = card.Input with { Standardization = "per-image" } }).Space("w", "c"));
        Assert.Equal("0bc65e766053", Pipeline.Embedder.FaceSpace); // published vectors depend on it
        Assert.Equal("3d45b4915f1f", new FaceEmbedder(Pipeline.EmbeddingModel, FaceDetector.LandmarkPoints).FaceSpace); // and those of faces aligned by 68 landmarks
    }

    /// <summary>
    /// Detectors of both layouts with outputs that never change: a face found by one of them is embedded by its own points.
    /// </summary>
    [Theory]
    [InlineData("scrfd")]
    [InlineData("yunet")]
    public void A_detector_with_points_of_its_own_replaces_ours(string layout)
    {
        var file = Path.Combine(folder, "detector.onnx");
        File.WriteAllBytes(file, TinyOnnx.Detector(layout, size: 64));
        var card = ModelCard.Named(layout);
        var own = Path.Combine(folder, "detector-card.json");
        File.WriteAllBytes(own, (card with { Filter = null, Input = card.Input with { Name = "", Multiple = 0, Width = 64, Height = 64, Fit = "letterbox" } }).ToJson());
        using var model = Model.Load(file, ModelCard.Detection, cardName: own);
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.GraceHopper)); // 512 x 600: 9.375 pixels to one of the input's

        var face = Assert.Single(new FaceDetector(model, null, Options.Create(new FaceOptions())).Detect(picture));

        Assert.Equal(TinyOnnx.DetectorBox.Scaled(600 / 64.0, 600 / 64.0).Area, face.Box.Area, 1000.0);
        var points = face.Landmarks!;
        Assert.Equal(5, points.Length);
        Assert.All(points, p => Assert.InRange(p.X, 0, 600));
    }

    [Theory]
    [InlineData("doubt", "-1", "filter.doubt is -1; it can be 0 to 100.")]
    [InlineData("certain", "1.5", "filter.certain is 1.5; it can be 0 to 1.")]
    [InlineData("alignment_error", "1e9", "filter.alignment_error is 1000000000; it can be 0 to 112.")]
    public void A_filter_out_of_range_is_refused(string field, string value, string told)
    {
        var card = System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(Path.Combine(TestData.Repository, "models", "face_detection.json")))!;
        card["filter"]![field] = System.Text.Json.Nodes.JsonNode.Parse(value);
        var own = Path.Combine(folder, "card.json");
        File.WriteAllText(own, card.ToJsonString());
        Assert.Contains(told, Assert.Throws<ModelException>(() => ModelCard.Read(own)).Message, StringComparison.Ordinal);
    }

    /// <summary>A seeded mutator: each file gives a model that runs, or an error that names it.</summary>
    [Fact]
    public void Mutated_models_give_errors_and_nothing_else()
    {
        var corpus = new[] { TestData.Read("untrained.onnx"), TinyOnnx.ChannelMeans(112, 112), TinyOnnx.WithMovingSlope(112, 112), MobileFaceNet.Convert(Checkpoint.Read(TestData.Read("checkpoints/zip.pth")), CheckpointHead.Auto, null, "x").Onnx };
        var (loaded, refused) = (0, 0);
        for (var seed = 0; seed < 6000; seed++)
        {
            var file = Path.Combine(folder, $"mutated-{seed}.onnx");
            File.WriteAllBytes(file, Mutation.Of(corpus[seed % corpus.Length], new Random(seed)));
            try
            {
                GraphSummary.Read(File.ReadAllBytes(file));
                using var model = Model.Load(file, ModelCard.Embedding);
                loaded++;
            }
            catch (Exception e) when (e is ModelException or InvalidDataException)
            {
                refused++;
            }

            File.Delete(file);
        }

        Assert.True(loaded > 0 && refused > 100, $"{loaded} loaded, {refused} refused");
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static IReadOnlyList<Finding> Findings(Model model, string file) =>
        new SelfTest(Pipeline.Decoder, Pipeline.Detector, new FaceAligner(model.Card), new FaceEmbedder(model)).Run(file);
}
