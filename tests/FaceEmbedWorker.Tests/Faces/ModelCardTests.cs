using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public sealed class ModelCardTests : IDisposable
{
    private const string Points = "[[1,2],[9,2],[5,5],[2,8],[8,8]]";

    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-cards-").FullName;

    /// <summary>The least and the most of each field, and what is beyond; null: it is read.</summary>
    [Theory]
    [InlineData("golden", "{\"astronaut.png\":\"not base64\"}", "golden.astronaut.png is no vector; it can be base64 of float32 values")]
    [InlineData("golden", "{\"astronaut.png\":null}", "golden.astronaut.png is no vector")]
    [InlineData("golden", "{\"astronaut.png\":\"AAA=\"}", "golden.astronaut.png is no vector")]
    [InlineData("golden", "{\"astronaut.png\":\"AADAfw==\"}", "golden.astronaut.png is no vector")]
    [InlineData("golden", "null", null)]
    [InlineData("input", "0", "'input' is not an object")]
    [InlineData("input", "null", "'input' is null (line")]
    [InlineData("input.width", "65535", "they can be 1 to 4096 pixels")]
    [InlineData("input.height", "-1", "they can be 1 to 4096 pixels")]
    [InlineData("input.mean", "[1e999]", "input.mean has")]
    [InlineData("input.std", "[0]", "input.std has 0; a value can be 0.000001 to 1000")]
    [InlineData("input.std", "[-1]", "input.std has -1")]
    [InlineData("output.dimensions", "-5", "output.dimensions is -5; it can be 1 to 65536")]
    [InlineData("output.dimensions", "2000000000", "output.dimensions is 2000000000")]
    [InlineData("norm_range", "[5]", "norm_range is [5]; it wants two norms")]
    [InlineData("norm_range", "[5, 2]", "norm_range is [5, 2]; it wants two norms, the lower one first")]
    [InlineData("norm_scale", "[-1, 2]", "norm_scale has -1")]
    [InlineData("norm_scale", "[0, 1e999]", "norm_scale has")]
    [InlineData("crop.margin", "-1", "crop.margin has -1; a value can be 0 to 10")]
    [InlineData("crop.template_size", "1e300", "crop.template_size, template_width and template_height has")]
    [InlineData("crop.template", "[[1,1],[1,1],[1,1],[1,1],[1,1]]", "in one place or in one line")]
    [InlineData("crop.template", "[[1e300,1],[2,5],[3,3],[4,8],[1,9]]", "crop.template has")]
    [InlineData("crop.template", "[null,[1,1],[1,1],[1,1],[1,1]]", "five [x, y] points")]
    [InlineData("id", "\"\"", "id has 0 characters")]
    [InlineData("id", "\"{200}\"", null)]
    [InlineData("id", "\"{201}\"", "id has 201 characters; it can be a name of 1 to 200 characters in one line.")]
    [InlineData("id", "\"two\\nlines\"", "id has 9 characters")]
    [InlineData("task", "\"{3}\"", null)] // what it is for is the loader's to say
    [InlineData("input.color", "\"CMYK\"", "input.color is 'CMYK'; it can be RGB, BGR, GRAY.")]
    [InlineData("input.color", "\"GRAY\"", null)]
    [InlineData("input.colour", "\"RGB\"", "there is no field 'colour'")]
    [InlineData("input.layout", "\"NHWC\"", null)]
    [InlineData("input.layout", "\"NWHC\"", "input.layout is 'NWHC'; it can be NCHW, NHWC.")]
    [InlineData("input.resize_filter", "\"pillow-bilinear\"", null)]
    [InlineData("input.resize_filter", "\"pillow-bicubic\"", null)]
    [InlineData("input.resize_filter", "\"area\"", "input.resize_filter is 'area'; it can be pillow-bicubic, pillow-bilinear.")]
    [InlineData("input.standardization", "\"per-image\"", null)]
    [InlineData("input.standardization", "\"z\"", "input.standardization is 'z'; it can be fixed, per-image.")]
    [InlineData("input.fit", "\"letterbox\"", null)]
    [InlineData("input.fit", "\"crop\"", "input.fit is 'crop'; it can be stretch, letterbox.")]
    [InlineData("output.normalization", "\"none\"", null)]
    [InlineData("output.normalization", "\"L3\"", "output.normalization is 'L3'; it can be l2, none.")]
    [InlineData("output.layout", "\"scrfd-boxes\"", null)]
    [InlineData("output.layout", "\"yunet\"", null)]
    [InlineData("output.layout", "\"yolo\"", "output.layout is 'yolo'; it can be rfb, scrfd, scrfd-boxes, yunet.")]
    [InlineData("input.mean", "[]", "input.mean has 0 values; it wants 1, or one for each of the 3 channels.")]
    [InlineData("input.mean", "[1,2]", "input.mean has 2 values; it wants 1, or one for each of the 3 channels.")]
    [InlineData("input.mean", "[-1000,1000,0]", null)]
    [InlineData("input.mean", "[-1000.5]", "input.mean has -1000.5; a value can be -1000 to 1000.")]
    [InlineData("input.mean", "[0,0,1001]", "input.mean has 1001;")]
    [InlineData("input.std", "[1,2,3,4]", "input.std has 4 values; it wants 1, or one for each of the 3 channels.")]
    [InlineData("input.std", "[0.000001,1000,1]", null)]
    [InlineData("input.std", "[0.0000009]", "input.std has 9E-07; a value can be 0.000001 to 1000.")]
    [InlineData("input.std", "[1000.1]", "input.std has 1000.1;")]
    [InlineData("input.multiple", "1024", null)]
    [InlineData("input.multiple", "0", null)]
    [InlineData("input.multiple", "1025", "input.multiple is 1025; it can be 1 to 1,024 pixels, or left out where the model has one size.")]
    [InlineData("input.multiple", "-1", "input.multiple is -1;")]
    [InlineData("input.width", "4096", null)]
    [InlineData("input.width", "4097", "input.width and input.height are 4097 and ")]
    [InlineData("input.width", "-1", "input.width and input.height are -1 and ")]
    [InlineData("input.height", "4096", null)]
    [InlineData("input.height", "0", null)]
    [InlineData("input.height", "4097", " and 4097; they can be 1 to 4096 pixels, or left out.")]
    [InlineData("output.dimensions", "65536", null)]
    [InlineData("output.dimensions", "0", null)]
    [InlineData("output.dimensions", "65537", "output.dimensions is 65537; it can be 1 to 65536, or left out.")]
    [InlineData("golden", "{\"a\":\"AACAPw==\"}", null)]
    [InlineData("threshold", "0", null)]
    [InlineData("threshold", "0.999", null)]
    [InlineData("threshold", "1", "threshold is 1; it is a score from 0 up to, not including, 1.")]
    [InlineData("threshold", "-0.1", "threshold is -0.1;")]
    [InlineData("norm_range", "[0, 340282346638528860000000000000000000000]", null)]
    [InlineData("norm_range", "[0, 340282346638528870000000000000000000000]", null)] // the same float64
    [InlineData("norm_range", "[0, 3.5e38]", "norm_range has 3.5E+38; a value can be 0 or more.")]
    [InlineData("norm_range", "[2, 2]", "norm_range is [2, 2]; it wants two norms, the lower one first.")]
    [InlineData("norm_range", "[1, 2, 3]", "norm_range is [1, 2, 3]; it wants two norms")]
    [InlineData("norm_scale", "[0, 2]", null)]
    [InlineData("norm_scale", "[0, 3.5e38]", "norm_scale has 3.5E+38; a value can be 0 or more.")]
    [InlineData("norm_scale", "[3, 2]", "norm_scale is [3, 2]; it wants two norms, the lower one first.")]
    [InlineData("crop.rule", "\"ellipse\"", "crop.rule is 'ellipse'; it can be similarity-5pt, whole-picture, box-square, box-margin.")]
    [InlineData("crop", "{\"rule\":\"box-square\"}", null)]
    [InlineData("crop", "{\"rule\":\"whole-picture\"}", null)]
    [InlineData("crop", "{\"rule\":\"box-margin\",\"margin\":0}", null)]
    [InlineData("crop", "{\"rule\":\"box-margin\",\"margin\":10}", null)]
    [InlineData("crop", "{\"rule\":\"box-margin\",\"margin\":10.1}", "crop.margin has 10.1; a value can be 0 to 10.")]
    [InlineData("crop", "{\"rule\":\"box-margin\",\"template\":[[1]],\"template_width\":3}", null)] // what it does not look at
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template_size\":112}", "crop.template wants five [x, y] points, and crop.template_size their picture's side in pixels, or crop.template_width and crop.template_height its sides.")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_size\":1}", null)]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_size\":4096}", null)]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_size\":4097}", "crop.template_size, template_width and template_height has 4097; a value can be 1 to 4096.")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_width\":96,\"template_height\":112}", null)]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_width\":0.5,\"template_height\":112}", "template_height has 0.5;")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_width\":96,\"template_height\":0}", "template_height has 0;")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_width\":96}", "crop.template_width and crop.template_height its sides")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_height\":96}", "crop.template_width and crop.template_height its sides")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS}", "crop.template wants five [x, y] points")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_size\":112,\"template_width\":96,\"template_height\":112}", "crop.template_size is a square's side: leave it out, or crop.template_width and crop.template_height.")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_size\":112,\"template_width\":96}", "crop.template_size is a square's side")]
    [InlineData("crop", "{\"rule\":\"similarity-5pt\",\"template\":POINTS,\"template_size\":112,\"template_height\":96}", "crop.template_size is a square's side")]
    [InlineData("crop.template", "[[1,2],[9,2],[5,5],[2,8]]", "crop.template wants five [x, y] points")]
    [InlineData("crop.template", "[[1,2],[9,2],[5,5],[2,8],[8,8],[8,9]]", "crop.template wants five [x, y] points")]
    [InlineData("crop.template", "[[1,2],[9,2],[5,5],[2,8],[8]]", "crop.template wants five [x, y] points")]
    [InlineData("crop.template", "[[1,2],[9,2],[5,5],[2,8],[8,8,8]]", "crop.template wants five [x, y] points")]
    [InlineData("crop.template", "[[1,2],[1.9,2],[1,5],[1,8],[1,8]]", "crop.template has its five points in one place or in one line, and they are eyes, nose and corners of the mouth.")]
    [InlineData("crop.template", "[[1,2],[2,2],[1,5],[1,8],[1,8]]", null)]
    [InlineData("crop.template", "[[1,2],[9,2],[5,2.5],[2,2.9],[8,2]]", "in one place or in one line")]
    [InlineData("crop.template", "[[1,2],[9,2],[5,3],[2,2.9],[8,2]]", null)]
    [InlineData("crop.template", "[[-4096,2],[4096,2],[5,5],[2,8],[8,8]]", null)]
    [InlineData("crop.template", "[[-4097,2],[9,2],[5,5],[2,8],[8,8]]", "crop.template has -4097; a value can be -4096 to 4096.")]
    [InlineData("filter", "{\"per_octave\":0,\"highest\":0,\"sharpness\":0,\"doubt\":0,\"finer\":0,\"alignment_error\":0,\"certain\":0}", null)]
    [InlineData("filter", "{\"per_octave\":1,\"highest\":1,\"sharpness\":1,\"doubt\":100,\"finer\":100,\"alignment_error\":112,\"certain\":1}", null)]
    [InlineData("filter", "{\"per_octave\":1.1}", "filter.per_octave is 1.1; it can be 0 to 1.")]
    [InlineData("filter", "{\"highest\":1.1}", "filter.highest is 1.1; it can be 0 to 1.")]
    [InlineData("filter", "{\"sharpness\":-0.1}", "filter.sharpness is -0.1; it can be 0 to 1.")]
    [InlineData("filter", "{\"doubt\":101}", "filter.doubt is 101; it can be 0 to 100.")]
    [InlineData("filter", "{\"finer\":101}", "filter.finer is 101; it can be 0 to 100.")]
    [InlineData("filter", "{\"alignment_error\":113}", "filter.alignment_error is 113; it can be 0 to 112.")]
    [InlineData("filter", "{\"certain\":2}", "filter.certain is 2; it can be 0 to 1.")]
    public void A_card_with_a_value_that_cannot_be_names_the_card_the_field_and_what_it_can_be(string path, string value, string? told)
    {
        var card = Card();
        var (parent, name) = path.Split('.') is [var section, var field] ? (card[section]!, field) : (card, path);
        parent[name] = "HERE";
        var file = Path.Combine(folder, "face_embedding.json");
        value = value.Replace("POINTS", Points, StringComparison.Ordinal);
        for (var length = 3; length <= 201; length++)
        {
            value = value.Replace($"{{{length}}}", new string('x', length), StringComparison.Ordinal);
        }

        File.WriteAllText(file, card.ToJsonString().Replace("\"HERE\"", value, StringComparison.Ordinal));
        if (told is null)
        {
            ModelCard.Read(file);
            return;
        }

        var message = Assert.Throws<ModelException>(() => ModelCard.Read(file)).Message;
        Assert.Contains("face_embedding.json cannot be read: ", message, StringComparison.Ordinal);
        Assert.Contains(told, message, StringComparison.Ordinal);
    }

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
                (card with { Input = card.Input with { Height = 160 } }).Space("weights", "crop"),
                (card with { Input = card.Input with { Standardization = "per-image" } }).Space("weights", "crop"),
                (card with { Output = card.Output with { Normalization = "none" } }).Space("weights", "crop"),
                (card with { Output = card.Output with { Dimensions = 3 } }).Space("weights", "crop"),
                (card with { Output = card.Output with { Name = "other" } }).Space("weights", "crop"),
            ],
            other => Assert.NotEqual(space, other));
        Assert.NotEqual(Pipeline.Embedder.FaceSpace, Pipeline.Embedder.ImageSpace);
    }

    /// <summary>Vectors of one space are in users' databases: its name never changes (models/README.md).</summary>
    [Theory]
    [InlineData(false, "face-embed/1 weights=w size=96x112 color=BGR mean=127.5,1,2 std=0.1 crop=c output=o dimensions=7 normalization=l2")]
    [InlineData(true, "face-embed/1 weights=w size=96x112 color=BGR mean=127.5,1,2 std=0.1 crop=c output=o dimensions=7 normalization=l2 standardization=per-image")]
    public void A_spaces_name_is_the_sum_of_what_moves_a_vector(bool perImage, string text)
    {
        var card = new ModelCard
        {
            Id = "x",
            Task = ModelCard.Embedding,
            Input = new ModelInput { Color = "BGR", Mean = [127.5, 1, 2], Std = [0.1], Width = 96, Height = 112, Standardization = perImage ? "per-image" : "fixed" },
            Output = new ModelOutput { Name = "o", Dimensions = 7, Normalization = "l2" },
        };
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12], card.Space("w", "c"));
    }

    [Fact]
    public void A_model_without_a_card_has_the_original_contract()
    {
        var card = ModelCard.Default("own", ModelCard.Embedding);
        Assert.Equal(("own", ModelCard.Embedding, "RGB", "l2", "cosine"), (card.Id, card.Task, card.Input.Color, card.Output.Normalization, card.Metric));
        Assert.Equal([127.5], card.Input.Mean);
        Assert.Equal([127.5], card.Input.Std);
        Assert.Equal((ModelCrop.Similarity, (112.0, 112.0)), (card.Crop!.Rule, card.Crop.TemplateFrame));
        Assert.Equal((card, ModelCard.DefaultContract), (ModelCard.For(Path.Combine(folder, "own.onnx"), ModelCard.Embedding, "") is var (found, from) ? (found with { Input = card.Input, Crop = card.Crop, Output = card.Output }, from) : default));
    }

    [Fact]
    public void The_card_in_force_is_the_named_one_then_the_one_beside_the_model()
    {
        var beside = Write("own.json", Text(card => card["id"] = "beside"));
        var named = Write("named.json", Text(card => card["id"] = "named"));
        var model = Path.Combine(folder, "own.onnx");
        Assert.Equal(("named", named), (ModelCard.For(model, ModelCard.Embedding, named) is var (card, from) ? (card.Id, from) : default));
        Assert.Equal(("beside", beside), (ModelCard.For(model, ModelCard.Embedding, "") is var (other, by) ? (other.Id, by) : default));
        Assert.Equal(("beside", beside), (ModelCard.For(model, ModelCard.Detection, "") is var (third, of) ? (third.Id, of) : default));
    }

    [Fact]
    public void A_card_is_named_by_its_family_or_its_path_and_who_names_none_is_told_which_there_are()
    {
        Assert.Equal(ModelCard.KnownNames.Order(StringComparer.Ordinal), ModelCard.KnownNames);
        Assert.Contains("facenet-prewhiten", ModelCard.KnownNames);
        Assert.Contains("sface", ModelCard.KnownNames);
        Assert.All(ModelCard.KnownNames, name => Assert.NotEmpty(ModelCard.Named(name).Id));
        Assert.Equal("own", ModelCard.Named(Write("own.json", Text(card => card["id"] = "own"))).Id);
        Assert.Equal($"'nobody' is neither a card's file nor one of the known cards: {string.Join(", ", ModelCard.KnownNames)}.", Assert.Throws<ModelException>(() => ModelCard.Named("nobody")).Message);
    }

    /// <summary>As editors and people write it.</summary>
    [Fact]
    public void A_byte_order_mark_comments_and_trailing_commas_are_passed_over()
    {
        var text = Text(_ => { });
        Write("card.json", "\uFEFF// mine\n" + text[..text.LastIndexOf('}')] + ",\n}");
        Assert.Equal([0xEF, 0xBB, 0xBF], File.ReadAllBytes(Path.Combine(folder, "card.json"))[..3]);
        Assert.NotEmpty(ModelCard.Read(Path.Combine(folder, "card.json")).Id);
    }

    [Theory]
    [InlineData("null", "it is null. Correct it, or remove it to run the model under the default contract (models/README.md).")]
    [InlineData("", "it is empty")]
    [InlineData("{", "cannot be read: ")]
    [InlineData("[]", "cannot be read: ")]
    [InlineData("{\"id\":\"x\"}", "lacks")]
    public void What_is_no_card_is_called_that(string text, string told)
    {
        var file = Write("card.json", text);
        var message = Assert.Throws<ModelException>(() => ModelCard.Read(file)).Message;
        Assert.StartsWith($"The model card {file} cannot be read: ", message, StringComparison.Ordinal);
        Assert.Contains(told, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_card_that_is_not_there_is_called_that() =>
        Assert.StartsWith($"The model card {folder}/no.json cannot be read: ", Assert.Throws<ModelException>(() => ModelCard.Read($"{folder}/no.json")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_card_larger_than_any_is_not_taken_into_memory()
    {
        var file = Path.Combine(folder, "vast.json");
        using (var vast = File.Create(file))
        {
            vast.SetLength(16 * 1024 * 1024 + 1);
        }

        Assert.Contains("it is larger than 16 MiB", Assert.Throws<ModelException>(() => ModelCard.Read(file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_card_is_written_as_it_is_read()
    {
        var card = ModelCard.Read(Pipeline.Shipped("face_embedding.json"));
        var text = card.ToJson();
        Assert.Equal(text, ModelCard.Read(Write("again.json", Encoding.UTF8.GetString(text))).ToJson());
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData("", null)]
    [InlineData("A", null)]
    [InlineData("    ", null)]
    [InlineData("AAA=", null)]
    [InlineData("AACAPwA=", null)]
    [InlineData("AACAfw==", null)] // infinite
    [InlineData("AADAfw==", null)] // no number
    [InlineData("AACAPwAAAMA=", new[] { 1f, -2f })]
    public void A_golden_vector_is_float32_in_base64(string? text, float[]? vector) => Assert.Equal(vector, ModelCard.VectorOf(text));

    [Fact]
    public void What_a_card_leaves_out_has_its_default()
    {
        var card = ModelCard.Read(Write("least.json", """{"id": "own", "task": "face-embedding", "input": {"color": "RGB", "mean": [0], "std": [1]}, "output": {}}"""));
        Assert.Equal(("", "NCHW", "pillow-bicubic", "fixed", "stretch", 0, 1), (card.Input.Name, card.Input.Layout, card.Input.ResizeFilter, card.Input.Standardization, card.Input.Fit, card.Input.Multiple, card.Input.Batch));
        Assert.Equal(("", "none", 0, null), (card.Output.Name, card.Output.Normalization, card.Output.Dimensions, card.Output.Layout));
        Assert.Equal(1, new FaceFilter().Highest);
    }

    /// <summary>A detector without a card is what its outputs tell, and no other model is.</summary>
    [Fact]
    public void A_model_without_a_card_has_one_by_its_task()
    {
        var file = Path.Combine(folder, "own.onnx");
        File.WriteAllBytes(file, TinyOnnx.Detector("scrfd", 64));
        var (detector, from) = ModelCard.For(file, ModelCard.Detection, "");
        Assert.Equal(("scrfd", ModelCard.ToldByOutputs), (detector.Output.Layout, from));
        (var embedder, from) = ModelCard.For(file, ModelCard.Embedding, "");
        Assert.Equal(("own", ModelCard.Embedding, ModelCard.DefaultContract), (embedder.Id, embedder.Task, from));
    }

    [Fact]
    public void A_model_of_whole_pictures_embeds_no_faces()
    {
        var card = ModelCard.Default("own", ModelCard.Embedding);
        Assert.Null(card.NotForFaces);
        Assert.Null((card with { Crop = null }).NotForFaces);
        Assert.StartsWith("The card of own says that its model takes whole pictures (crop.rule whole-picture)", (card with { Crop = new ModelCrop { Rule = ModelCrop.WholePicture } }).NotForFaces, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("NCHW", "BGR", new long[] { 2, 3, 7, 5 })]
    [InlineData("NHWC", "RGB", new long[] { 2, 7, 5, 3 })]
    [InlineData("NCHW", "GRAY", new long[] { 2, 1, 7, 5 })]
    public void An_input_has_the_shape_of_its_layout(string layout, string colour, long[] shape) =>
        Assert.Equal(shape, new ModelInput { Layout = layout, Color = colour, Mean = [0], Std = [1], Width = 5, Height = 7, Batch = 2 }.Shape);

    /// <summary>SphereFace's and its followers' cut: InsightFace's points, 8 pixels less on either side.</summary>
    [Theory]
    [InlineData(112, 112, 38.2946, 51.6963, 112, 112)]
    [InlineData(160, 160, 38.2946, 51.6963, 112, 112)]
    [InlineData(96, 112, 30.2946, 51.6963, 96, 112)]
    [InlineData(192, 224, 30.2946, 51.6963, 96, 112)]
    [InlineData(112, 96, 38.2946, 51.6963, 112, 112)]
    public void The_template_is_that_of_the_inputs_shape(int width, int height, double x, double y, double frameWidth, double frameHeight)
    {
        var crop = ModelCrop.For(width, height);
        Assert.Equal((ModelCrop.Similarity, (frameWidth, frameHeight)), (crop.Rule, crop.TemplateFrame));
        Assert.Equal([x, y], crop.Template![0]);
        Assert.Equal(5, crop.Template.Length);
    }

    [Fact]
    public void A_filter_asks_more_of_large_boxes_and_sharpness_of_those_from_afar()
    {
        var filter = new FaceFilter { PerOctave = 0.05, Highest = 0.7, Doubt = 2, Finer = 3 };
        Assert.Equal([0.6, 0.6, 0.65, 0.7, 0.7], new[] { 4.0, 8, 16, 32, 300 }.Select(seen => Math.Round(filter.Threshold(0.6, seen), 9)));
        Assert.Equal(0.8, filter.Threshold(0.8, 16)); // never less than what is asked of all

        Assert.False(filter.Allows(FaceOf(size: 90, seen: 20, score: 0.7), sharpness: 0.5));
        Assert.True(filter.Allows(FaceOf(size: 90, seen: 20, score: 0.7), sharpness: 0.65));
        Assert.True(filter.Allows(FaceOf(size: 90, seen: 20, score: 0.7), sharpness: null)); // an embedder without a scale
        Assert.True(filter.Allows(FaceOf(size: 90, seen: 60, score: 0.7), sharpness: 0)); // the detector saw all there is
        Assert.True(filter.Allows(FaceOf(size: 40, seen: 10, score: 0.7), sharpness: 0)); // too small to be sharp
        Assert.False(filter.Allows(FaceOf(size: 56, seen: 10, score: 0.7), sharpness: 0));
        Assert.True(filter.Allows(FaceOf(size: 56, seen: 10, score: 0.7, height: 40), sharpness: 0)); // by its shorter side
        Assert.False(filter.Allows(FaceOf(size: 90, seen: 30, score: 0.7), sharpness: 0));
        Assert.True(filter.Allows(FaceOf(size: 90, seen: 20, score: 1), sharpness: 0)); // where there is no doubt
        Assert.True(filter.Allows(FaceOf(size: 90, seen: 20, score: 0.75), sharpness: 0.5)); // as much as it must

        var always = new FaceFilter { Sharpness = 0.3 };
        Assert.False(always.Allows(FaceOf(size: 20, seen: 20, score: 0.7), sharpness: 0.29));
        Assert.True(always.Allows(FaceOf(size: 20, seen: 20, score: 0.7), sharpness: 0.3));
        Assert.Equal(0.6, always.Threshold(0.6, 500));

        var aligned = new FaceFilter { AlignmentError = 4 };
        Assert.True(aligned.Allows(FaceOf(size: 90, seen: 20, score: 0.7, error: 3.9), sharpness: 0));
        Assert.False(aligned.Allows(FaceOf(size: 90, seen: 20, score: 0.7, error: 4), sharpness: 1));
        Assert.True(new FaceFilter().Allows(FaceOf(size: 90, seen: 20, score: 0.7, error: 50), sharpness: 0));

        static Face FaceOf(double size, double seen, double score, double error = 3, double? height = null) => new(new Box(0, 0, size, height ?? size), score, new Point[5], error, default, seen, 0);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static JsonNode Card() => JsonNode.Parse(File.ReadAllText(Pipeline.Shipped("face_embedding.json")))!;

    private static string Text(Action<JsonNode> change)
    {
        var card = Card();
        change(card);
        return card.ToJsonString();
    }

    private string Write(string name, string text)
    {
        var path = Path.Combine(folder, name);
        File.WriteAllText(path, text, new UTF8Encoding(false));
        return path;
    }
}
