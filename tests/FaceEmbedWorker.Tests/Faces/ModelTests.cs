using System.Text.Json.Nodes;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Faces;

public sealed class ModelTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-models-").FullName;

    [Theory]
    [InlineData("face_detection.onnx", ModelCard.Detection)]
    [InlineData("rfb/face_detection.onnx", ModelCard.Detection)]
    [InlineData("rfb/face_landmarks.onnx", ModelCard.Landmarks)]
    [InlineData("face_embedding.onnx", ModelCard.Embedding)]
    public void The_shipped_cards_fit_their_files(string file, string task)
    {
        using var model = Model.Load(Pipeline.Shipped(file), task);
        Assert.Equal(model.Card.Sha256, model.Sha256);
        Assert.All(new[] { model.Card.Licence, model.Card.Source, model.Card.Version, model.Card.Notes }, Assert.NotNull);
    }

    [Fact]
    public void A_model_without_a_card_runs_under_the_original_contract()
    {
        using var model = Model.Load(Write("own.onnx", TinyOnnx.ChannelMeans(160, 160)), ModelCard.Embedding);
        Assert.Equal(("own", "picture", 160, 160, "RGB", 3), (model.Card.Id, model.Card.Input.Name, model.Card.Input.Width, model.Card.Input.Height, model.Card.Input.Color, model.Card.Output.Dimensions));
        Assert.Equal((127.5, 127.5), (model.Card.Input.Mean[0], model.Card.Input.Std[0]));
    }

    [Fact]
    public void A_symbolic_size_is_160()
    {
        using var model = Model.Load(Write("own.onnx", TinyOnnx.ChannelMeans(0, 0, batch: 0)), ModelCard.Embedding);
        Assert.Equal([1, 3, 160, 160], model.Card.Input.Shape);
        Assert.Equal(3, model.Card.Output.Dimensions);
    }

    [Fact]
    public async Task A_model_of_another_size_embeds_with_no_other_step()
    {
        using var model = Model.Load(Write("own.onnx", TinyOnnx.ChannelMeans(96, 128)), ModelCard.Embedding);
        foreach (var mode in Enum.GetValues<EmbedMode>())
        {
            var outcome = await Pipeline.Handler(embedding: model).HandleAsync(new EmbedJob("own", new ImageSource.Data(File.ReadAllBytes(TestData.Astronaut)), mode), TestContext.Current.CancellationToken);
            var vector = Assert.Single(Assert.IsType<JobOutcome.Completed>(outcome).Result.Embeddings).Vector;
            Assert.Equal(3, vector.Length);
            Assert.Equal(1, Pipeline.Cosine(vector, vector), 1e-5);
        }
    }

    [Fact]
    public void A_wrong_checksum_names_both_sums_and_the_way_out()
    {
        var file = Write("face_embedding.onnx", TinyOnnx.ChannelMeans(112, 112));
        File.Copy(Pipeline.Shipped("face_embedding.json"), Path.Combine(folder, "face_embedding.json"));

        var message = Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Embedding)).Message;

        Assert.Contains(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file))), message, StringComparison.Ordinal);
        Assert.Contains("87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581", message, StringComparison.Ordinal);
        Assert.Contains("models/fetch", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("input", "width", 160, "[1,3,112,160]")]
    [InlineData("input", "color", "GRAY", "[1,1,112,112]")]
    [InlineData("input", "name", "data", "'data'")]
    [InlineData("output", "dimensions", 128, "128 dimensions")]
    [InlineData("output", "name", "vector", "'vector'")]
    public void A_card_that_contradicts_the_file_says_what_differs(string section, string field, object value, string told)
    {
        var card = Card();
        card[section]![field] = JsonValue.Create(value);
        Assert.Contains(told, Assert.Throws<ModelException>(() => Load(card)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("input", "color", "CMYK", "input.color is 'CMYK'")]
    [InlineData("input", "colour", "RGB", "colour")]
    [InlineData("output", "normalization", "L3", "output.normalization is 'L3'")]
    [InlineData("crop", "rule", "ellipse", "crop.rule is 'ellipse'")]
    public void A_card_that_says_nonsense_names_the_field(string section, string field, string value, string told)
    {
        var card = Card();
        card[section]![field] = value;
        Assert.Contains(told, Assert.Throws<ModelException>(() => Load(card)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_and_a_broken_one_are_named()
    {
        Assert.Contains("nowhere.onnx cannot be read", Assert.Throws<ModelException>(() => Model.Load(Path.Combine(folder, "nowhere.onnx"), ModelCard.Embedding)).Message, StringComparison.Ordinal);
        Assert.Contains("broken.onnx is not an ONNX file", Assert.Throws<ModelException>(() => Model.Load(Write("broken.onnx", [1, 2, 3]), ModelCard.Embedding)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_detector_in_the_embedders_place_is_refused() =>
        Assert.Contains("face-detection", Assert.Throws<ModelException>(() => Model.Load(Pipeline.Shipped("face_detection.onnx"), ModelCard.Embedding)).Message, StringComparison.Ordinal);

    [Fact]
    public void The_space_follows_whatever_moves_a_vector_and_nothing_else()
    {
        var card = Pipeline.EmbeddingModel.Card;
        var space = card.Space("weights", "crop");

        Assert.Matches("^[0-9a-f]{12}$", space);
        Assert.Equal(space, (card with { Id = "other", Version = "2", Licence = "x", Source = "x", Notes = "x", Threshold = 0.1, NormRange = null, Sha256 = null }).Space("weights", "crop"));
        Assert.All(
            [
                card.Space("other weights", "crop"),
                card.Space("weights", "other crop"),
                (card with { Input = card.Input with { Color = "RGB" } }).Space("weights", "crop"),
                (card with { Input = card.Input with { Mean = [127] } }).Space("weights", "crop"),
                (card with { Input = card.Input with { Std = [128] } }).Space("weights", "crop"),
                (card with { Input = card.Input with { Width = 160 } }).Space("weights", "crop"),
                (card with { Output = card.Output with { Normalization = "none" } }).Space("weights", "crop"),
            ],
            other => Assert.NotEqual(space, other));
        Assert.NotEqual(Pipeline.Embedder.FaceSpace, Pipeline.Embedder.ImageSpace);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static JsonNode Card() => JsonNode.Parse(File.ReadAllText(Pipeline.Shipped("face_embedding.json")))!;

    private Model Load(JsonNode card)
    {
        File.WriteAllText(Path.Combine(folder, "face_embedding.json"), card.ToJsonString());
        return Model.Load(Write("face_embedding.onnx", File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"))), ModelCard.Embedding);
    }

    private string Write(string name, byte[] bytes)
    {
        var path = Path.Combine(folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
