using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>What is said of a file that does not fit, word by word, and what fits just so.</summary>
public sealed class ModelRefusalTests : IDisposable
{
    private const int Side = 8;

    private const int Double = 11, Int64 = 7;

    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-refused-").FullName;

    private string FileName => Path.Combine(folder, "own.onnx");

    private string CardName => Path.Combine(folder, "own.json");

    [Fact]
    public void A_file_without_a_card_is_held_against_the_default_contract()
    {
        const string way = "Write its card (models/README.md), or put a model there that fits.";
        Says($"has no card, and without one the input is named 'picture', but the file has the inputs picture, other. {way}", Means(g => g.Input.Add(Value("other", 1, 1))));
        Says($"has no card, and without one a picture goes in as float32 with four dimensions, but the file has an input of Float [1,3,64]. {way}", Flat(1, 3, 64));
        Says($"has no card, and without one a picture goes in as float32 with four dimensions, but the file has an input of Double [1,3,8,8]. {way}", Typed());
        Says($"has no card, and without one values come out as float32, but the file has an output 'means' of Int64. {way}", Means(g =>
        {
            g.Node[^1].Output[0] = "plain";
            g.Node.Add(new NodeProto { OpType = "Cast", Input = { "plain" }, Output = { "means" }, Attribute = { Whole("to", Int64) } });
            g.Output[0].Type.TensorType.ElemType = Int64;
        }));
        Says($"has no card, and without one tensors go in and come out, but the file has an output 'list' of ONNX_TYPE_SEQUENCE. {way}", Means(g =>
        {
            g.Node.Add(new NodeProto { OpType = "SequenceConstruct", Input = { "means" }, Output = { "list" } });
            g.Output[0] = new ValueInfoProto { Name = "list" };
        }));
        Says("has an input of [1,3,8,0], and no picture has a side of 0. Export it again, for pictures of a size that they have.", Flat(1, 3, 8, 0));
        Says("has 0 inputs and 1 outputs; a picture goes in and something comes out of a model.", Means(g =>
        {
            g.Initializer.Add(new TensorProto { Name = "picture", DataType = 1, Dims = { 1, 3, Side, Side }, FloatData = { new float[3 * Side * Side] } });
            g.Input.Clear();
        }));
    }

    [Fact]
    public void A_card_that_says_something_else_is_told_with_both()
    {
        const string way = "Correct the card, or put the model there that it describes.";
        var card = ModelCard.Default("own", ModelCard.Embedding);
        Says($"the input is named 'data', but the file has the inputs picture. {way}", Means(), card with { Input = card.Input with { Name = "data" } });
        Says($"the output is named 'vector', but the file has the outputs means, pooled. {way}", Means(g => g.Output.Add(Value("pooled", 1, 3, 1, 1))), card with { Output = card.Output with { Name = "vector" } });
        Says($"the input is [1,3,8,9] (NCHW, RGB), but the file has an input of [1,3,8,8]. {way}", Means(), card with { Input = card.Input with { Width = 9 } });
        Says($"the input is [1,1,8,8] (NCHW, GRAY), but the file has an input of [1,3,8,8]. {way}", Means(), card with { Input = card.Input with { Color = "GRAY" } });
        Says($"the input is [1,3,8,3] (NHWC, RGB), but the file has an input of [1,3,8,8], which is layout NCHW. {way}", Means(), card with { Input = card.Input with { Layout = "NHWC" } });
        Says($"the input is [1,3,8,3] (NCHW, RGB), but the file has an input of [1,8,8,3], which is layout NHWC. {way}", TinyOnnxOf(1, 8, 8, 3), card);
        Says($"the input is [1,1,8,1] (NCHW, GRAY), but the file has an input of [1,8,8,1], which is layout NHWC. {way}", TinyOnnxOf(1, 8, 8, 1), card with { Input = card.Input with { Color = "GRAY" } });
        Says($"the input is [1,3,8,8] (NCHW, RGB), but the file has an input of [1,3,8,3]. {way}", TinyOnnxOf(1, 3, 8, 3), card with { Input = card.Input with { Width = 8, Height = 8 } });
        Says($"the output has 4 dimensions, but the file has an output of [1,3]. {way}", Means(), card with { Output = card.Output with { Dimensions = 4 } });
        Says(" values for one picture, but 4 dimensions are stated. It is no embedder of single faces, or its card is wrong.", Means(OfAnyLength), card with { Output = card.Output with { Dimensions = 4 } });
        Assert.StartsWith($"The card of {FileName} says that ", Refusal(Means(), card with { Input = card.Input with { Name = "data" } }), StringComparison.Ordinal);
        Assert.StartsWith($"The model {FileName} has no card,", Refusal(Typed(), null), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ModelCard.Detection, "a detector (face-detection)")]
    [InlineData(ModelCard.Landmarks, "a network of landmarks (face-landmarks)")]
    [InlineData("segmentation", "a model for 'segmentation'")]
    public void A_card_of_another_task_is_told(string task, string what)
    {
        var card = ModelCard.Default("own", task);
        Assert.Equal($"The card {CardName} says that {FileName} is {what}, and an embedder (face-embedding) is wanted here. Name another file, or the card that is its own.", Refusal(Means(), card));
    }

    /// <summary>The file does not say it: a run does, and the card has it then.</summary>
    [Fact]
    public void A_length_that_nobody_states_is_seen_in_a_run()
    {
        using var model = Load(Means(g =>
        {
            g.Node[^1].Output[0] = "plain";
            g.Initializer.Add(new TensorProto { Name = "flat", DataType = Int64, Dims = { 1 }, Int64Data = { -1 } });
            g.Node.Add(new NodeProto { OpType = "Reshape", Input = { "plain", "flat" }, Output = { "means" } });
            g.Output[0].Type.TensorType.Shape = null;
            g.Input[0].Type.TensorType.Shape.Dim[1] = new TensorShapeProto.Types.Dimension { DimParam = "colours" };
        }));
        Assert.Equal(3, model.Card.Output.Dimensions);
    }

    /// <summary>What its card calls a detector of any size is run at more than one when it is loaded.</summary>
    [Fact]
    public void A_detector_of_one_size_whose_card_says_any_is_refused()
    {
        var card = ModelCard.Default("own", ModelCard.Detection);
        var message = Assert.Throws<ModelException>(() => PaperFaces.Load(TinyOnnx.Detector("scrfd", 96), card with { Input = card.Input with { Multiple = 32 }, Output = card.Output with { Layout = "scrfd" } })).Message;
        Assert.Contains(" has no output of [32,1], which layout scrfd gives of 32 x 32 pixels; it has 81 [288,1],", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_detector_in_an_embedders_place_is_known_by_its_outputs()
    {
        const string way = "and an embedder is wanted here. Set Faces:DetectionModel to it, or name an embedder (models/README.md).";
        var detector = TinyOnnx.Detector("yunet", 64);
        Assert.Equal($"The model {FileName} is a detector of faces by its outputs, {way}", Refusal(detector, null));
        Assert.Equal($"The model {FileName} is a detector of faces by its outputs, whatever its card {CardName} says, {way}", Refusal(detector, ModelCard.Default("own", ModelCard.Embedding) with { Output = new ModelOutput { Dimensions = 7 } }));
    }

    [Fact]
    public void A_model_that_tells_nobody_apart_is_refused_and_one_that_does_a_little_is_not()
    {
        Assert.Equal($"The model {FileName} gives two faces the same vector, to the last digit, and tells nobody apart: its weights are damaged, such as with values near 1e38, or its card is wrong of its input. Get or export it again.", Refusal(Scaled(0), null));
        Load(Scaled(1e-3f)).Dispose();
        Load(Scaled(0, lastIsMean: true)).Dispose(); // one value tells them apart
    }

    [Fact]
    public void What_is_no_file_of_a_model_is_told_and_what_to_name()
    {
        Assert.Equal($"The model {folder} is a folder. Name the .onnx file in it.", Assert.Throws<ModelException>(() => Model.Load(folder, ModelCard.Embedding)).Message);
        Assert.Equal("The model /dev/null is a device. Name an ONNX file.", Assert.Throws<ModelException>(() => Model.Load("/dev/null", ModelCard.Embedding)).Message);
        var missing = Path.Combine(folder, "missing.onnx");
        Assert.Equal($"The model {missing} cannot be read: there is no such file. Name an ONNX file, or run models/fetch for the shipped ones.", Assert.Throws<ModelException>(() => Model.Load(missing, ModelCard.Embedding)).Message);
        Assert.StartsWith($"The model {FileName} is not an ONNX file. It is ", Refusal([0x89, .. "HDF\r\n\u001a\n"u8, .. new byte[100]], null), StringComparison.Ordinal);
        Assert.Equal((Path.GetFullPath("nowhere/at/all"), Path.Combine(AppContext.BaseDirectory, "models/face_embedding.onnx")), (Model.Locate("nowhere/at/all"), Model.Locate("models/face_embedding.onnx")));
        File.WriteAllBytes(FileName, Means());
        Assert.Equal(FileName, Model.Locate(Path.GetRelativePath(Environment.CurrentDirectory, FileName)));
    }

    [Fact]
    public void A_checksum_that_differs_is_told_with_both_and_the_way_out()
    {
        var sum = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Means()));
        Load(Means(), ModelCard.Default("own", ModelCard.Embedding) with { Sha256 = sum.ToUpperInvariant() }).Dispose();
        Assert.Equal($"The model {FileName} has SHA-256 {sum}, but its card {CardName} says 00. For the file that the card means, run models/fetch; for a model of your own, write its card (models/README.md) or remove the card to run it under the default contract.",
            Refusal(Means(), ModelCard.Default("own", ModelCard.Embedding) with { Sha256 = "00" }));
    }

    /// <summary>What it wants is known only when it runs.</summary>
    [Fact]
    public void A_model_that_does_not_run_is_told_with_the_input_that_it_got()
    {
        var message = Refusal(Means(g =>
        {
            g.Initializer.Add(new TensorProto { Name = "five", DataType = Int64, Dims = { 1 }, Int64Data = { 5 } });
            g.Node[^1].Output[0] = "plain";
            g.Node.Add(new NodeProto { OpType = "Reshape", Input = { "plain", "five" }, Output = { "means" } });
            g.Output[0].Type.TensorType.Shape = null;
            g.Input[0].Type.TensorType.Shape.Dim[1] = new TensorShapeProto.Types.Dimension { DimParam = "colours" };
        }), null);
        Assert.StartsWith($"The model {FileName} does not run on an input of [1,3,8,8]: ", message, StringComparison.Ordinal);
        Assert.EndsWith("Write the size, or the multiple, that it wants into its card (models/README.md).", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4096, 1, true)]
    [InlineData(1, 4096, true)]
    [InlineData(4097, 1, false)]
    [InlineData(1, 4097, false)]
    public void A_side_may_be_so_long(int height, int width, bool fits)
    {
        if (fits)
        {
            Load(TinyOnnx.ChannelMeans(height, width)).Dispose();
            return;
        }

        Assert.Equal($"The model {FileName} takes pictures of {width} x {height} pixels, and inputs of up to 4096 a side are run here. Export it with a smaller input.", Refusal(TinyOnnx.ChannelMeans(height, width), null));
    }

    [Fact]
    public void A_batch_is_as_many_pictures_as_are_asked_for()
    {
        using var model = Load(TinyOnnx.ChannelMeans(Side, Side), batch: 3);
        Assert.Equal([3, 3, Side, Side], model.Card.Input.Shape);
        Assert.Equal(3, model.Card.Output.Dimensions);
        using var run = model.Rent();
        for (var i = 0; i < run.Input.Length; i++)
        {
            run.Input[i] = i / (3 * Side * Side); // the picture's number
        }

        run.Execute();
        Assert.Equal([0, 0, 0, 1, 1, 1, 2, 2, 2], run.Output().ToArray());
        Assert.Equal([3, 3], run.Dimensions(0));
        Assert.Equal((3, "means"), (run.LastDimension(0), Assert.Single(run.OutputNames)));
    }

    [Fact]
    public void An_embedder_says_its_spaces_and_gives_the_picture_as_its_card_says()
    {
        var card = ModelCard.Default("own", ModelCard.Embedding);
        using var model = Load(TinyOnnx.ChannelMeans(Side, Side), card with { Output = new ModelOutput { Normalization = "none" } });
        var embedder = new FaceEmbedder(model);
        Assert.Equal(model.Card.Space(model.Sha256, "whole-picture/1 pillow-bicubic"), embedder.ImageSpace);
        Assert.Equal(model.Card.Space(model.Sha256, new FaceAligner(model.Card).Rule), embedder.FaceSpace);
        using var picture = new Picture(2 * Side, 3 * Side);
        for (var i = 0; i < picture.Pixels.Length; i++)
        {
            picture.Pixels[i] = (byte)(i % 3 * 100);
        }

        var whole = embedder.EmbedWhole(picture);
        Assert.Equal([-1, -27.5 / 127.5, 72.5 / 127.5], whole.Vector.Select(v => (double)v), (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.Equal(Math.Sqrt(whole.Vector.Sum(v => (double)v * v)), whole.Norm, 1e-6);
        using var normal = Load(TinyOnnx.ChannelMeans(Side, Side));
        Assert.Equal(whole.Vector.Select(v => (float)(v / whole.Norm)), new FaceEmbedder(normal).EmbedWhole(picture).Vector, (a, b) => Math.Abs(a - b) < 1e-6);
        using var small = Pixels.Resized(picture, Side, Side, "pillow-bicubic");
        Assert.Equal([0, 100, 200], embedder.Embed(small, model.Card.Input with { Mean = [0], Std = [1] }).Vector);
    }

    /// <summary>The cosine that is the least of two faces; nothing to compare is as good as the same, and nothing of the second the worst.</summary>
    [Fact]
    public void Two_models_are_compared_by_the_vectors_of_two_faces()
    {
        using var one = Load(TinyOnnx.ChannelMeans(Side, Side));
        using var same = Load(TinyOnnx.ChannelMeans(Side, Side));
        Assert.Equal(1, SameVectors.Least(one, same), 1e-6);
        using var turned = Load(Means(g => Behind(g, new NodeProto { OpType = "Neg" })));
        Assert.Equal(-1, SameVectors.Least(one, turned), 1e-6);
        var card = ModelCard.Default("own", ModelCard.Embedding);
        using var none = PaperFaces.Load(TinyOnnx.Logarithms(Side), card); // of which a face as it is scaled has none
        using var values = PaperFaces.Load(TinyOnnx.Values(Side), card);
        Assert.Equal((1, 0), (SameVectors.Least(none, values), SameVectors.Least(values, none)));
        Assert.False(SameVectors.AreConstant(one));
        Assert.False(SameVectors.AreConstant(none));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private void Says(string told, byte[] onnx, ModelCard? card = null) => Assert.EndsWith(told, Refusal(onnx, card), StringComparison.Ordinal);

    private string Refusal(byte[] onnx, ModelCard? card) => Assert.Throws<ModelException>(() => Load(onnx, card).Dispose()).Message;

    private Model Load(byte[] onnx, ModelCard? card = null, int batch = 1)
    {
        File.WriteAllBytes(FileName, onnx);
        File.Delete(CardName);
        if (card is not null)
        {
            File.WriteAllBytes(CardName, card.ToJson());
        }

        return Model.Load(FileName, ModelCard.Embedding, batch: batch);
    }

    private static byte[] Means(Action<GraphProto>? change = null)
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(Side, Side));
        change?.Invoke(model.Graph);
        return model.ToByteArray();
    }

    /// <summary>Of a size that is known when it runs.</summary>
    private static void OfAnyLength(GraphProto graph)
    {
        graph.Initializer.Add(new TensorProto { Name = "axis", DataType = Int64, Dims = { 1 }, Int64Data = { 0 } });
        graph.Node.Add(new NodeProto { OpType = "NonZero", Input = { "means" }, Output = { "places" } });
        graph.Node.Add(new NodeProto { OpType = "Cast", Input = { "places" }, Output = { "numbers" }, Attribute = { Whole("to", 1) } });
        graph.Node.Add(new NodeProto { OpType = "ReduceSum", Input = { "numbers", "axis" }, Output = { "sums" } });
        graph.Output[0] = new ValueInfoProto { Name = "sums", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1 } } };
    }

    private static byte[] TinyOnnxOf(params int[] sizes) => Means(g =>
    {
        for (var i = 0; i < sizes.Length; i++)
        {
            g.Input[0].Type.TensorType.Shape.Dim[i].DimValue = sizes[i];
        }

        g.Output[0].Type.TensorType.Shape = null;
    });

    private static byte[] Flat(params int[] sizes) => Means(g =>
    {
        g.Input[0] = Value("picture", sizes);
        g.Node.Clear();
        g.Node.Add(new NodeProto { OpType = "Flatten", Input = { "picture" }, Output = { "means" } });
        g.Output[0].Type.TensorType.Shape = null;
    });

    /// <summary>Takes float64.</summary>
    private static byte[] Typed() => Means(g =>
    {
        g.Input[0].Type.TensorType.ElemType = Double;
        g.Node.Insert(0, new NodeProto { OpType = "Cast", Input = { "picture" }, Output = { "singles" }, Attribute = { Whole("to", 1) } });
        g.Node[1].Input[0] = "singles";
    });

    /// <summary>1 and so much of the means, or their last as it is.</summary>
    private static byte[] Scaled(float factor, bool lastIsMean = false) => Means(g =>
    {
        g.Initializer.Add(new TensorProto { Name = "factor", DataType = 1, Dims = { 3 }, FloatData = { factor, factor, lastIsMean ? 1 : factor } });
        g.Initializer.Add(new TensorProto { Name = "one", DataType = 1, Dims = { 1 }, FloatData = { 1 } });
        Behind(g, new NodeProto { OpType = "Mul", Input = { "factor" } });
        g.Node[^1].Output[0] = "scaled";
        g.Node.Add(new NodeProto { OpType = "Add", Input = { "scaled", "one" }, Output = { "means" } });
    });

    /// <summary>Puts a node between what the graph gave and its output.</summary>
    private static void Behind(GraphProto graph, NodeProto node)
    {
        graph.Node[^1].Output[0] = "plain";
        node.Input.Insert(0, "plain");
        node.Output.Add("means");
        graph.Node.Add(node);
    }

    private static AttributeProto Whole(string name, long value) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value };

    private static ValueInfoProto Value(string name, params int[] sizes) => new()
    {
        Name = name,
        Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { sizes.Select(s => new TensorShapeProto.Types.Dimension { DimValue = s }) } } } },
    };
}
