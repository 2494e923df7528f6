using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>On networks of a few channels, and pictures of noise.</summary>
public class GraphQuantizerTests
{
    private const int Side = 32;

    private static readonly byte[] Small = FaceNetworks.IResNet(Side, 8, [1], 16);

    private static readonly ModelInput Input = ModelCard.Default("test", ModelCard.Embedding).Input with { Width = Side, Height = Side };

    private static readonly Lazy<Picture[]> Pictures = new(() => [.. Enumerable.Range(1, 3).Select(Noise)]);

    [Fact]
    public void A_quantised_graph_is_left_alone_when_it_is_loaded()
    {
        var quantised = GraphQuantizer.Of(Small).Quantize(Calibrate(Small));
        var prepared = GraphPreparation.Prepare(quantised);
        Assert.Same(quantised, prepared.Model);
        Assert.Empty(prepared.Left);
    }

    [Fact]
    public void What_cannot_be_quantised_is_told()
    {
        var small = FaceNetworks.IResNet(32, 8, [1], 16);
        Assert.Contains("quantised already", Refusal(GraphQuantizer.Of(small).Quantize(Calibrate(small))), StringComparison.Ordinal);
        Assert.Contains("quantised already", Refusal(With(m => m.Graph.Node[0].OpType = "DynamicQuantizeLinear")), StringComparison.Ordinal);
        Assert.Contains("lie in other files", Refusal(With(m => m.Graph.Initializer[0].DataLocation = 1)), StringComparison.Ordinal);
        Assert.Contains("what Softmax means there may differ from opset 13", Refusal(With(m => m.Graph.Node[1].OpType = "Softmax")), StringComparison.Ordinal);
        Assert.Contains("no convolution", Refusal(TinyOnnx.ChannelMeans(Side, Side)), StringComparison.Ordinal);
        Assert.Contains("not an ONNX file", Refusal([1, 2, 3]), StringComparison.Ordinal);

        var quantizer = GraphQuantizer.Of(small);
        var ranges = Calibrate(small);
        ranges[ranges.Keys.Last()] = new ValueRange(float.NegativeInfinity, 1);
        Assert.Contains("not finite", Assert.Throws<InvalidDataException>(() => quantizer.Quantize(ranges)).Message, StringComparison.Ordinal);

        byte[] With(Action<ModelProto> change)
        {
            var model = ModelProto.Parser.ParseFrom(small);
            change(model);
            return model.ToByteArray();
        }

        static string Refusal(byte[] bytes) => Assert.Throws<InvalidDataException>(() => GraphQuantizer.Of(bytes)).Message;
    }

    /// <summary>Graphs that are no graphs, or odd ones: a sentence, or another graph that runs; never another exception.</summary>
    [Theory]
    [InlineData("nowhere", "Its Conv reads 'nowhere', which nothing gives. Export it again.")]
    [InlineData("late", "which only a node behind it gives: its nodes are out of order, or in a ring. Export it again.")]
    [InlineData("twice", "It has two values of the name '")]
    [InlineData("nothing", "Its Conv gives nothing.")]
    [InlineData("two tensors", "It has two tensors of the name '")]
    [InlineData("two inputs", "It has two inputs of the name 'data'.")]
    [InlineData("output", "Its output 'other' is given by nothing.")]
    [InlineData("branch", "It has branches or loops")]
    [InlineData("loop", "It has branches or loops")]
    [InlineData("no opset", "It does not say its opset.")]
    [InlineData("doubles", "It has no convolution that can be quantised, so that nothing would be gained.")]
    [InlineData("no weights", "It has no convolution that can be quantised, so that nothing would be gained.")]
    [InlineData("empty weights", "It has no convolution that can be quantised, so that nothing would be gained.")]
    [InlineData("scalar", null)]
    [InlineData("constant picture", null)]
    [InlineData("sums of sums", null)]
    public void An_odd_graph_is_a_sentence_or_is_quantised(string kind, string? told)
    {
        var model = ModelProto.Parser.ParseFrom(FaceNetworks.IResNet(32, 8, [1], 16, opset: 13));
        var graph = model.Graph;
        var first = graph.Node.First(n => n.OpType == "Conv");
        var last = graph.Node[^1].Output[0];
        Action change = kind switch
        {
            "nowhere" => () => first.Input[1] = "nowhere",
            "late" => () => first.Input[0] = last,
            "twice" => () => graph.Node[2].Output[0] = graph.Node[1].Output[0],
            "nothing" => first.Output.Clear,
            "two tensors" => () => graph.Initializer.Add(graph.Initializer[0].Clone()),
            "two inputs" => () => graph.Input.Add(graph.Input[0].Clone()),
            "output" => () => graph.Output[0].Name = "other",
            "branch" => () => graph.Node.Add(new NodeProto { OpType = "If", Input = { last }, Output = { "branched" } }),
            "loop" => () => graph.Node.Add(new NodeProto { OpType = "Loop", Input = { "", "", last }, Output = { "looped" } }),
            "no opset" => model.OpsetImport.Clear,
            "doubles" => () => graph.Initializer.ToList().ForEach(t => t.DataType = 11),
            "no weights" => () => graph.Initializer.ToList().ForEach(t => Emptied(t)),
            "empty weights" => () => graph.Initializer.ToList().ForEach(t => Emptied(t).Dims[0] = 0),
            "scalar" => () => Behind("Add", new TensorProto { Name = "one", DataType = 1, FloatData = { 1 } }),
            "constant picture" => AddConstantPicture,
            _ => AddSumsOfSums,
        };
        change();

        if (told is not null)
        {
            Assert.Contains(told, Assert.Throws<InvalidDataException>(() => GraphQuantizer.Of(model.ToByteArray())).Message, StringComparison.Ordinal);
            return;
        }

        using var session = new InferenceSession(GraphQuantizer.Of(model.ToByteArray()).Quantize(Calibrate(model.ToByteArray())));
        Assert.Single(session.OutputNames);

        void AddConstantPicture()
        {
            graph.Initializer.Add(new TensorProto { Name = "flat", DataType = 1, Dims = { 3, 32, 32 }, FloatData = { new float[3 * 32 * 32] } });
            graph.Initializer.Add(new TensorProto { Name = "shape", DataType = 7, Dims = { 4 }, Int64Data = { 1, 3, 32, 32 } });
            graph.Node.Insert(0, new NodeProto { OpType = "Reshape", Input = { "flat", "shape" }, Output = { "constant" } });
            Behind("Add", null, "constant");
        }

        void AddSumsOfSums()
        {
            for (var i = 0; i < 60; i++)
            {
                Behind("Sub", null, "data");
                graph.Node[i].Input[0] = graph.Node[i].Input[1] = i == 0 ? "data" : graph.Node[i - 1].Output[0];
            }
        }

        static TensorProto Emptied(TensorProto tensor)
        {
            tensor.RawData = ByteString.Empty;
            tensor.FloatData.Clear();
            return tensor;
        }

        // puts a node between the picture and whatever read it last
        void Behind(string type, TensorProto? constant, string other = "one")
        {
            if (constant is not null)
            {
                graph.Initializer.Add(constant);
            }

            var (at, name) = (graph.Node.ToList().FindLastIndex(n => n.Output[0].StartsWith("odd", StringComparison.Ordinal) || n.Output[0] == "constant") + 1, $"odd{graph.Node.Count}");
            graph.Node.Insert(at, new NodeProto { OpType = type, Input = { first.Input[0], other }, Output = { name } });
            first.Input[0] = name;
        }
    }

    /// <summary>Also of a file whose makers ran it on four pictures at once.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void Ranges_are_those_of_the_pictures_and_nothing_is_clipped(int batch)
    {
        var model = ModelProto.Parser.ParseFrom(Small);
        model.Graph.Input[0].Type.TensorType.Shape.Dim[0] = new TensorShapeProto.Types.Dimension { DimValue = batch };
        var ranges = Quantization.Ranges(GraphQuantizer.Of(model.ToByteArray()).Probe(), Input, Pictures.Value);
        var pixels = Pictures.Value.SelectMany(f => f.Pixels.ToArray()).ToArray();
        Assert.Equal((pixels.Min() - 127.5) / 127.5, ranges["data"].Low, 1e-6);
        Assert.Equal((pixels.Max() - 127.5) / 127.5, ranges["data"].High, 1e-6);
        Assert.All(ranges.Values, r => Assert.True(r.Low <= r.High));
    }

    [Fact]
    public void What_cannot_be_calibrated_is_told_and_it_stops_when_told_to()
    {
        Assert.Throws<OperationCanceledException>(() => Quantization.Ranges(GraphQuantizer.Of(Small).Probe(), Input, Pictures.Value, new CancellationToken(true)));
        var model = ModelProto.Parser.ParseFrom(GraphQuantizer.Of(Small).Probe());
        model.Graph.Initializer.Add(new TensorProto { Name = "seven", DataType = 7, Dims = { 1 }, Int64Data = { 7 } });
        model.Graph.Node.Add(new NodeProto { OpType = "Reshape", Input = { "data", "seven" }, Output = { "odd" } });
        model.Graph.Output.Add(new ValueInfoProto { Name = "odd", Type = model.Graph.Output[0].Type });
        var told = Assert.Throws<InvalidDataException>(() => Quantization.Ranges(model.ToByteArray(), Input, Pictures.Value)).Message;
        Assert.StartsWith("It cannot be calibrated, for it does not run as it is rewritten for 8 bits: ", told, StringComparison.Ordinal);
    }

    /// <summary>The vector's place is taken by two numbers for each tensor that has a scale of its own.</summary>
    [Fact]
    public void A_probe_gives_the_least_and_the_largest_of_each_tensor()
    {
        var (quantizer, probe) = (GraphQuantizer.Of(Small), ModelProto.Parser.ParseFrom(GraphQuantizer.Of(Small).Probe()).Graph);
        var plan = new QuantizationPlan(ModelProto.Parser.ParseFrom(quantizer.Plain).Graph);
        var names = plan.Tensors.Where(t => plan.Source(t) == t).ToList();
        Assert.Contains("data", names);
        Assert.True(names.Count < plan.Tensors.Count); // what is flattened has the scale of what it was
        Assert.Equal(names.SelectMany(n => new[] { $"{n}/least", $"{n}/largest" }), probe.Output.Select(o => o.Name));
        Assert.All(probe.Output, o => Assert.Equal((1, 0), (o.Type.TensorType.ElemType, o.Type.TensorType.Shape.Dim.Count)));
        var reduces = probe.Node.TakeLast(2 * names.Count).ToList();
        Assert.Equal(names.SelectMany(n => new[] { $"ReduceMin {n} {n}/least {n}/least keepdims 0", $"ReduceMax {n} {n}/largest {n}/largest keepdims 0" }),
            reduces.Select(n => $"{n.OpType} {Assert.Single(n.Input)} {Assert.Single(n.Output)} {n.Name} {Assert.Single(n.Attribute).Name} {n.Attribute[0].I}"));
        Assert.All(reduces, n => Assert.Equal(AttributeProto.Types.AttributeType.Int, n.Attribute[0].Type));
    }

    [Fact]
    public void What_a_probe_gives_widens_the_range_of_its_tensor()
    {
        var ranges = new Dictionary<string, ValueRange>();
        foreach (var (output, value) in new[] { ("a/least", 2f), ("a/largest", 3f), ("a/least", -1f), ("a/largest", 2.5f), ("b/largest", -4f), ("b/least", -5f) })
        {
            GraphQuantizer.Observe(ranges, output, value);
        }

        Assert.Equal([("a", -1f, 3f), ("b", -5f, -4f)], ranges.Select(r => (r.Key, r.Value.Low, r.Value.High)));
    }

    [Theory]
    [InlineData("QuantizeLinear", "", true)]
    [InlineData("DequantizeLinear", "", true)]
    [InlineData("QLinearConv", "", true)]
    [InlineData("QLinearMatMul", "", true)]
    [InlineData("DynamicQuantizeLinear", "", true)]
    [InlineData("DynamicQuantizeMatMul", "com.microsoft", true)]
    [InlineData("ConvInteger", "", true)]
    [InlineData("MatMulInteger", "", true)]
    [InlineData("QLinearAdd", "com.microsoft", true)]
    [InlineData("QLinearAdd", "", false)]
    [InlineData("FusedConv", "com.microsoft", false)]
    [InlineData("Conv", "", false)]
    public void A_graph_with_one_operator_of_8_bits_is_quantised(string type, string domain, bool quantised) =>
        Assert.Equal(quantised, GraphQuantizer.IsQuantised(new GraphProto { Node = { new NodeProto { OpType = "Relu" }, new NodeProto { OpType = type, Domain = domain } } }));

    /// <summary>The file's own convolutions, of which a quarter or more keep channels apart. What PRelu and norms become are none of them.</summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(4, true)]
    public void A_mobile_network_keeps_channels_apart_in_a_quarter_of_its_convolutions(int apart, bool mobile)
    {
        var model = ModelProto.Parser.ParseFrom(Small);
        var convolutions = model.Graph.Node.Where(n => n.OpType == "Conv").ToList();
        Assert.Equal(4, convolutions.Count);
        foreach (var conv in convolutions.TakeLast(apart))
        {
            conv.Attribute.Add(new AttributeProto { Name = "group", Type = AttributeProto.Types.AttributeType.Int, I = 2 });
        }

        convolutions[0].Attribute.Add(new AttributeProto { Name = "group", Type = AttributeProto.Types.AttributeType.Int, I = apart == 4 ? 2 : 1 });
        Assert.Equal(mobile, GraphQuantizer.Of(model.ToByteArray()).IsMobile);
        if (apart == 1)
        {
            var reader = convolutions[^1].Clone();
            reader.Output[0] = "fifth";
            reader.Attribute.Remove(reader.Attribute.Single(a => a.Name == "group"));
            model.Graph.Node.Insert(model.Graph.Node.IndexOf(convolutions[^1]), reader);
            Assert.False(GraphQuantizer.Of(model.ToByteArray()).IsMobile);
        }
    }

    [Fact]
    public void All_convolutions_of_an_IResNet_are_counted_and_those_of_its_slopes_and_norms()
    {
        var quantizer = GraphQuantizer.Of(Small);
        var plain = GraphSummary.Read(quantizer.Plain).Operators.ToDictionary(o => o.Type, o => o.Count);
        Assert.Equal(plain["Conv"], quantizer.Convolutions);
        Assert.True(quantizer.Convolutions > 4);
        Assert.DoesNotContain(plain.Keys, o => o is "PRelu" or "BatchNormalization" or "Dropout" or "Constant");
        Assert.Equal(quantizer.Convolutions, GraphSummary.Read(quantizer.Quantize(Calibrate(Small))).Operators.ToDictionary(o => o.Type, o => o.Count)["Conv"]);
        Assert.Equal(13, ModelProto.Parser.ParseFrom(quantizer.Plain).OpsetImport.Single().Version);
    }

    private static Dictionary<string, ValueRange> Calibrate(byte[] bytes) => Quantization.Ranges(GraphQuantizer.Of(bytes).Probe(), Input, Pictures.Value);

    private static Picture Noise(int seed)
    {
        var picture = new Picture(Side, Side);
        var random = new Random(seed);
        for (var i = 0; i < picture.Pixels.Length; i++)
        {
            picture.Pixels[i] = (byte)(100 + 30 * seed + random.Next(30)); // each has a range of its own, and none the middle, which is 0
        }

        return picture;
    }
}
