using System.Buffers.Binary;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

public class GraphPreparationTests
{
    private enum SlopeKind
    {
        PerChannel,
        PerChannelWithBatch,
        One,
        Scalar,
        AlongWidth,
    }

    [Fact]
    public void The_shipped_embedder_is_rewritten_in_full_and_gives_the_same_vectors()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"));
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Equal((33, 0), (prepared.Rewritten, prepared.Left.Count));

        using var plain = Model.Load(Pipeline.Shipped("face_embedding.onnx"), ModelCard.Embedding, prepare: false);
        foreach (var photo in new[] { TestData.Astronaut, TestData.GraceHopper })
        {
            using var picture = Pipeline.Decode(File.ReadAllBytes(photo));
            var face = Pipeline.Detector.Detect(picture)[0];
            using var aligned = Pipeline.Aligner.Align(picture, face.Box, Pipeline.Detector.Locate(picture, face), out _);
            Assert.Equal(new FaceEmbedder(plain).Embed(aligned).Vector, Pipeline.Embedder.Embed(aligned).Vector, (a, b) => Math.Abs(a - b) <= 1e-6);
        }

        Assert.Equal(new FaceEmbedder(plain).FaceSpace, Pipeline.Embedder.FaceSpace);
    }

    [Fact]
    public void A_model_without_prelu_and_negligible_weights_stays_as_it_is()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("rfb/face_detection.onnx"));
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Same(bytes, prepared.Model);
        Assert.Equal((0, 0, 0, 0), (prepared.Rewritten, prepared.Flushed, prepared.Removed, prepared.Joined));
    }

    /// <summary>The landmark network has dead weights too: zero instead of 1e-20, they move no landmark.</summary>
    [Fact]
    public void A_model_with_negligible_weights_gives_the_same_without_them()
    {
        using var plain = Model.Load(Pipeline.Shipped("rfb/face_landmarks.onnx"), ModelCard.Landmarks, prepare: false);
        using var flushed = Model.Load(Pipeline.Shipped("rfb/face_landmarks.onnx"), ModelCard.Landmarks);
        Assert.True(flushed.Prepared is { Rewritten: 0, Flushed: > 0 });
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.GraceHopper));
        var box = Pipeline.Detector.Detect(picture)[0].Box;
        var (expected, actual) = (new Landmarks(plain).Locate(picture, box), new Landmarks(flushed).Locate(picture, box));
        Assert.All(expected.Zip(actual), p => Assert.True(Math.Abs(p.First.X - p.Second.X) < 1e-3 && Math.Abs(p.First.Y - p.Second.Y) < 1e-3));
    }

    /// <summary>
    /// YuNet's file is for 640 x 640; a picture of its own shape gives what the same picture padded to that gives, away from the padding.
    /// </summary>
    [Fact]
    public void A_fixed_input_that_is_made_open_takes_other_sizes_and_gives_the_same()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_detection.onnx"));
        using var fixedSize = new Microsoft.ML.OnnxRuntime.InferenceSession(bytes);
        using var open = new Microsoft.ML.OnnxRuntime.InferenceSession(GraphPreparation.WithOpenSize(bytes, 2));
        Assert.Equal([1, 3, -1, -1], open.InputMetadata["input"].Dimensions);
        var picture = new float[3 * 640 * 640];
        var random = new Random(6);
        for (var i = 0; i < picture.Length; i++)
        {
            picture[i] = random.Next(256);
        }

        Assert.Equal(Run(fixedSize, picture, 640, 640), Run(open, picture, 640, 640));
        Assert.Equal(8 * 3, Run(open, picture[..(3 * 64 * 192)], 64, 192).Length / 8);

        static float[] Run(Microsoft.ML.OnnxRuntime.InferenceSession session, float[] picture, int height, int width)
        {
            using var value = Microsoft.ML.OnnxRuntime.OrtValue.CreateTensorValueFromMemory(picture, [1, 3, height, width]);
            using var options = new Microsoft.ML.OnnxRuntime.RunOptions();
            using var outputs = session.Run(options, ["input"], [value], ["cls_8"]);
            return outputs[0].GetTensorDataAsSpan<float>().ToArray();
        }
    }

    /// <summary>
    /// Random small networks: every kind of slope, positive, negative and above one, shared or not, as initialiser or constant, opsets 7 to
    /// 21, 4 and 2 dimensions, symbolic batch.
    /// </summary>
    [Fact]
    public void Prepared_and_plain_agree_on_random_graphs()
    {
        var (rewritten, left) = (0, 0);
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var graph = new RandomGraph(random);
            var bytes = graph.Write();

            var prepared = GraphPreparation.Prepare(bytes);

            Assert.Equal(graph.Rewritable, prepared.Rewritten);
            Assert.Equal(graph.Others, prepared.Left.Count);
            rewritten += prepared.Rewritten;
            left += prepared.Left.Count;
            var input = Enumerable.Range(0, 2 * graph.Channels * graph.Size * graph.Size).Select(_ => (float)(random.NextDouble() * 4 - 2)).ToArray();
            var (expected, actual) = (Run(bytes, input, graph), Run(prepared.Model, input, graph));
            var scale = expected.Max(Math.Abs) + 1e-6;
            Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * scale));
        }

        Assert.True(rewritten > 300 && left > 50, $"{rewritten} rewritten, {left} left");
    }

    [Fact]
    public void What_cannot_be_rewritten_names_its_node_and_why()
    {
        Assert.Contains("neither one value nor one a channel", Left(SlopeKind.AlongWidth), StringComparison.Ordinal);
        Assert.StartsWith("PRelu 'prelu-0' stays: its slope is not finite", Left(SlopeKind.PerChannel, float.NaN), StringComparison.Ordinal);

        static string Left(SlopeKind kind, float slope = 0.2f)
        {
            var model = new RandomGraph(new Random(1), kind, slope).Write();
            return Assert.Single(GraphPreparation.Prepare(model).Left);
        }
    }

    /// <summary>What each obstacle is called, in a graph of one PRelu behind a Relu.</summary>
    [Theory]
    [InlineData("", null)]
    [InlineData("no constant", "PRelu 'p' stays: its slope is not a constant.")]
    [InlineData("unnamed", "PRelu 'y' stays: its slope is not a constant.")]
    [InlineData("double", "PRelu 'p' stays: its slope is not float32 data of this file.")]
    [InlineData("infinite", "PRelu 'p' stays: its slope is not finite.")]
    [InlineData("no shape", "PRelu 'p' stays: the shape of its input is unknown.")]
    [InlineData("flat", "PRelu 'p' stays: its input has 3 dimensions, and the blocked layout is for 4.")]
    [InlineData("no channels", "PRelu 'p' stays: the number of its input's channels is unknown.")]
    [InlineData("some", "PRelu 'p' stays: its slope is [2,1,1], neither one value nor one a channel.")]
    [InlineData("wide", "PRelu 'p' stays: its slope is [4,1,2], neither one value nor one a channel.")]
    [InlineData("opset 6", "The graph is of opset 6; PRelu is rewritten from opset 7 on.")]
    [InlineData("no opset", "The graph is of opset 0; PRelu is rewritten from opset 7 on.")]
    public void What_stays_says_why(string how, string? told)
    {
        var model = Small(how == "no channels" ? 0 : 4, [Node("Relu", "x", "in"), Node("PRelu", "y", "x", "a")], [Floats("a", [4, 1, 1], 0.5f, -0.5f, 1f, 0f)]);
        var (graph, slope, node) = (model.Graph, model.Graph.Initializer[0], model.Graph.Node[1]);
        node.Name = "p";
        switch (how)
        {
            case "no constant" or "unnamed":
                graph.Initializer.Clear();
                graph.Input.Add(Value("a", 4, 1, 1));
                node.Name = how == "unnamed" ? "" : "p";
                break;
            case "double":
                slope.DataType = 11;
                break;
            case "infinite":
                slope.FloatData[3] = float.PositiveInfinity;
                break;
            case "no shape":
                graph.Node[0].OpType = "Softplus";
                break;
            case "flat":
                graph.Input[0].Type.TensorType.Shape.Dim.RemoveAt(3);
                break;
            case "some":
                graph.Initializer[0] = Floats("a", [2, 1, 1], 0.5f, 0.5f);
                break;
            case "wide":
                graph.Initializer[0] = Floats("a", [4, 1, 2], new float[8]);
                break;
            case "opset 6":
                model.OpsetImport.Insert(0, new OperatorSetIdProto { Domain = "com.microsoft", Version = 9 });
                model.OpsetImport[1].Version = 6;
                break;
            case "no opset":
                model.OpsetImport.Clear();
                break;
        }

        var prepared = GraphPreparation.Prepare(model.ToByteArray());
        Assert.Equal(told is null ? [] : [told], prepared.Left);
        Assert.Equal((told is null ? 1 : 0, told is null), (prepared.Rewritten, prepared.IsChanged));
    }

    /// <summary>A Relu behind a convolution is fused into it: so the order is another where no slope is above one.</summary>
    [Theory]
    [InlineData(1f, "Constant Constant Relu Conv Relu Conv Add")]
    [InlineData(1.01f, "Constant Constant Relu Relu Conv Conv Add")]
    public void Slopes_of_at_most_one_have_their_Relu_behind_the_convolution(float largest, string nodes)
    {
        var model = Small(2, [Node("Relu", "x", "in"), Node("PRelu", "y", "x", "a")], [Floats("a", [2, 1, 1], 0.25f, largest)]);
        var graph = ModelProto.Parser.ParseFrom(GraphPreparation.Prepare(model.ToByteArray()).Model).Graph;
        Assert.Equal(nodes.Split(' ').Order(), graph.Node.Select(n => n.OpType).Order());
        Assert.Equal(nodes.Split(' ').Where(t => t != "Constant"), graph.Node.Select(n => n.OpType).Where(t => t != "Constant"));
        Assert.Empty(graph.Initializer);
        var constants = graph.Node.Where(n => n.OpType == "Constant").ToArray();
        Assert.Equal([[0.25f, largest], [0.75f, 1 - largest]], constants.Select(n => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(n.Attribute.Single(a => a is { Name: "value", Type: AttributeProto.Types.AttributeType.Tensor }).T.RawData.Span).ToArray()));
        Assert.All(graph.Node.Where(n => n.OpType == "Conv"), n => Assert.Equal((2, "1,1"), (n.Attribute.Single(a => a.Name == "group").I, string.Join(',', n.Attribute.Single(a => a.Name == "kernel_shape").Ints))));
    }

    /// <summary>What the slope is needed for besides, and whether it is an initialiser, an input with a default, or a constant.</summary>
    [Theory]
    [InlineData("initializer", false)]
    [InlineData("input", false)]
    [InlineData("constant", false)]
    [InlineData("read", true)]
    [InlineData("given", true)]
    [InlineData("subgraph", true)]
    public void A_slope_that_nobody_reads_any_more_goes_and_nothing_else(string how, bool stays)
    {
        var model = Small(2, [Node("PRelu", "y", "in", "a")], [Floats("b", [1], 1f), Floats("a", [2, 1, 1], 0.25f, 0.5f)]);
        var graph = model.Graph;
        graph.Node.Add(Constant("other"));
        switch (how)
        {
            case "input":
                graph.Input.Add(Value("a", 2, 1, 1));
                break;
            case "constant":
                graph.Node.Insert(0, Constant("a", graph.Initializer[1]));
                graph.Initializer.RemoveAt(1);
                break;
            case "read":
                graph.Node.Add(Node("Neg", "z", "a"));
                break;
            case "given":
                graph.Output.Add(Value("a", 2, 1, 1));
                break;
            case "subgraph":
                graph.Node.Add(Node("If", "z", "b"));
                break;
        }

        var prepared = ModelProto.Parser.ParseFrom(GraphPreparation.Prepare(model.ToByteArray()).Model).Graph;
        Assert.Equal(stays, prepared.Initializer.Any(t => t.Name == "a") || prepared.Node.Any(n => n.Output.Contains("a")) || prepared.Input.Any(i => i.Name == "a"));
        Assert.Contains(prepared.Initializer, t => t.Name == "b");
        Assert.Contains(prepared.Input, i => i.Name == "in");
        Assert.Contains(prepared.Node, n => n.Output.Contains("other"));
    }

    /// <summary>The names that the new nodes would have are there already: as an output, an initialiser, an input.</summary>
    [Fact]
    public void No_name_is_given_twice()
    {
        var model = Small(2, [Node("PRelu", "y", "in", "a"), Node("Neg", "y/direct", "in"), Node("Neg", "y/direct.2", "in")], [Floats("a", [2, 1, 1], 0.25f, 0.5f), Floats("y/scaled", [1], 1f)]);
        model.Graph.Input.Add(Value("y/positive", 1, 2, 3, 3));
        var graph = ModelProto.Parser.ParseFrom(GraphPreparation.Prepare(model.ToByteArray()).Model).Graph;
        var names = graph.Node.SelectMany(n => n.Output).Concat(graph.Initializer.Select(t => t.Name)).Concat(graph.Input.Select(i => i.Name)).ToArray();
        Assert.Equal(names.Distinct(), names);
        Assert.Contains("y/direct.3", names);
        Assert.Contains("y/scaled.2", names);
        Assert.Contains("y/positive.2", names);
    }

    /// <summary>What is known of a tensor where the file tells no shapes: through the nodes that networks of faces have.</summary>
    [Theory]
    [InlineData("Conv", 1)]
    [InlineData("BatchNormalization,Clip,Identity,Dropout,Sigmoid,HardSigmoid,Elu,Tanh,LeakyRelu,MaxPool,AveragePool,Pad,GlobalAveragePool", 1)]
    [InlineData("GlobalMaxPool", 1)]
    [InlineData("Add", 1)]
    [InlineData("Mul", 1)]
    [InlineData("PRelu", 2)]
    [InlineData("Softmax", 0)]
    [InlineData("Transpose", 0)]
    public void A_shape_is_known_through_the_nodes_of_such_networks(string operations, int rewritten)
    {
        var nodes = new List<NodeProto> { Node("Conv", "x0", "in", "w") };
        foreach (var operation in operations.Split(','))
        {
            var last = nodes[^1].Output[0];
            nodes.Add(operation switch
            {
                "Conv" => Node("Conv", $"x{nodes.Count}", last, "w2"),
                "Add" => Node("Add", $"x{nodes.Count}", "one", last), // one value a picture, and one a channel
                "Mul" => Node("Mul", $"x{nodes.Count}", "anything", last),
                "PRelu" => Node("PRelu", $"x{nodes.Count}", last, "a"),
                _ => Node(operation, $"x{nodes.Count}", last),
            });
        }

        nodes.Add(Node("PRelu", "y", nodes[^1].Output[0], "a"));
        var model = Small(5, [.. nodes], [Floats("w", [3, 5, 1, 1], Enumerable.Repeat(1f, 15).ToArray()), Floats("w2", [3, 3, 1, 1], Enumerable.Repeat(1f, 9).ToArray()), Floats("a", [3, 1, 1], 0.5f, 0.5f, 0.5f)]);
        model.Graph.Input.Add(Value("one", 1, 1, 1, 1));
        model.Graph.Input.Add(new ValueInfoProto { Name = "anything" });
        model.Graph.Output[0].Type.TensorType.Shape.Dim[1] = new TensorShapeProto.Types.Dimension { DimParam = "channels" };
        Assert.Equal(rewritten, GraphPreparation.Prepare(model.ToByteArray()).Rewritten);
    }

    /// <summary>What the file itself tells of a tensor, and what it tells of others that nobody needs.</summary>
    [Theory]
    [InlineData("told", 1)]
    [InlineData("told without its channels", 0)]
    [InlineData("told by half", 1)]
    [InlineData("a sum of unknown ones", 0)]
    [InlineData("another domain", 0)]
    [InlineData("the standard's domain", 1)]
    public void A_shape_is_known_where_the_file_tells_it(string how, int rewritten)
    {
        var first = how switch
        {
            "told by half" => Node("Conv", "x", "in", "w"),
            "a sum of unknown ones" => Node("Add", "x", "flat", "anything"),
            "another domain" or "the standard's domain" => Node("Relu", "x", "in"),
            _ => Node("Softplus", "x", "in"),
        };
        var model = Small(4, [first, Node("PRelu", "y", "x", "a")], [Floats("a", [4, 1, 1], 0.5f, -0.5f, 1f, 0f), Floats("w", [4, 4, 1, 1], new float[16])]);
        var graph = model.Graph;
        graph.ValueInfo.Add(Value("flat", 4)); // one dimension
        graph.Input.Add(new ValueInfoProto { Name = "anything" });
        switch (how)
        {
            case "told":
                graph.ValueInfo.Add(Value("x", 1, 4, 3, 3));
                break;
            case "told without its channels" or "told by half":
                graph.ValueInfo.Add(Value("x", 1, 0, 3, 3));
                break;
            case "another domain":
                graph.Node[1].Domain = "own";
                break;
            case "the standard's domain":
                graph.Node[1].Domain = "ai.onnx";
                break;
        }

        Assert.Equal(rewritten, GraphPreparation.Prepare(model.ToByteArray()).Rewritten);
    }

    [Fact]
    public void Without_PRelu_nothing_is_said_of_an_opset_that_is_too_old_for_it()
    {
        var model = Small(4, [Node("Relu", "y", "in")], []);
        model.OpsetImport[0].Version = 6;
        Assert.Empty(GraphPreparation.Prepare(model.ToByteArray()).Left);
        Assert.True(new PreparedGraph([], 0, [], Removed: 1).IsChanged && new PreparedGraph([], 0, [], Joined: 1).IsChanged);
        Assert.Contains("no graph", Assert.Throws<InvalidDataException>(() => GraphPreparation.Prepare([])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("DynamicQuantizeLinear")]
    [InlineData("DynamicQuantizeMatMul")]
    [InlineData("ConvInteger")]
    [InlineData("MatMulInteger")]
    public void A_graph_that_is_quantised_dynamically_is_left_alone_by_whatever_node(string operation)
    {
        var bytes = Small(2, [Node("PRelu", "y", "in", "a"), Node(operation, "z", "in")], [Floats("a", [2, 1, 1], 0.25f, 0.5f)]).ToByteArray();
        Assert.Same(bytes, GraphPreparation.Prepare(bytes).Model);
    }

    [Fact]
    public void A_graph_whose_weights_lie_elsewhere_is_left_alone()
    {
        var model = Small(2, [Node("PRelu", "y", "in", "a")], [Floats("a", [2, 1, 1], 0.25f, 0.5f), Floats("b", [1], 1f)]);
        model.Graph.Initializer[1].DataLocation = 1;
        var bytes = model.ToByteArray();
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Equal(("Its weights lie in other files.", 0), (Assert.Single(prepared.Left), prepared.Rewritten));
        Assert.Same(bytes, prepared.Model);
    }

    /// <summary>A thousandth of the weights at least must be 15 digits below the largest.</summary>
    [Theory]
    [InlineData(1000, 1, 0.9e-15f, 1f, 1)]
    [InlineData(1001, 1, 0.9e-15f, 1f, 0)]
    [InlineData(2000, 2, -0.9e-15f, 1f, 2)]
    [InlineData(1000, 1, 1e-15f, 1f, 0)]
    [InlineData(1000, 1, 0f, 1f, 0)]
    [InlineData(1000, 500, 1f, float.PositiveInfinity, 0)]
    [InlineData(1000, 500, 1f, float.NaN, 0)]
    public void Negligible_weights_become_zero(int count, int small, float value, float largest, int flushed)
    {
        var weights = Enumerable.Repeat(largest, count).ToArray();
        weights.AsSpan(7, small).Fill(value);
        var model = Small(2, [Node("Add", "y", "in", "w")], [Floats("w", [count], weights)]);
        var prepared = GraphPreparation.Prepare(model.ToByteArray());
        Assert.Equal((flushed, flushed > 0), (prepared.Flushed, prepared.IsChanged));
        var after = ModelProto.Parser.ParseFrom(prepared.Model).Graph.Initializer[0];
        var values = after.RawData.Length > 0 ? System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(after.RawData.Span).ToArray() : [.. after.FloatData];
        weights.AsSpan(7, small).Fill(flushed > 0 ? 0 : value);
        Assert.Equal(weights, values);
    }

    /// <summary>Which of a graph's fixed shapes are the batch, and which are sizes of other things.</summary>
    [Theory]
    [InlineData(1, new long[] { 1, -1 }, new long[] { 3, -1 })]
    [InlineData(1, new long[] { 1, 7, 7 }, new long[] { 1, 7, 7 })]
    [InlineData(4, new long[] { 4, -1 }, new long[] { 3, -1 })]
    [InlineData(4, new long[] { 4, 7, 7 }, new long[] { 3, 7, 7 })]
    [InlineData(4, new long[] { 2, -1 }, new long[] { 2, -1 })]
    [InlineData(4, new long[] { 4 }, new long[] { 4 })]
    public void A_batch_is_written_wherever_its_size_stands(int was, long[] shape, long[] expected)
    {
        var model = Small(2, [Node("Reshape", "y", "in", "s"), Node("Reshape", "kept", "weights", "t"), Node("Squeeze", "z", "in", "u"), Node("Reshape", "v", "in")], [Integers("s", shape), Integers("t", shape), Integers("u", shape), Floats("weights", [1], 1f)]);
        var graph = model.Graph;
        graph.Input[0].Type.TensorType.Shape.Dim[0] = new TensorShapeProto.Types.Dimension { DimValue = was };
        graph.Input.Insert(0, Value("weights", 9, 9)); // a default is no picture
        graph.Input.Add(Value("other", 8, 2));
        graph.Output.Add(Value("one", 5));
        graph.ValueInfo.Add(Value("y", was, 2));
        var changed = ModelProto.Parser.ParseFrom(GraphPreparation.WithBatch(model.ToByteArray(), 3)).Graph;

        Assert.Equal(["9,9", "3,2,3,3", "3,2"], changed.Input.Select(Shape));
        Assert.Equal(["3,2,3,3", "5"], changed.Output.Select(Shape));
        Assert.Empty(changed.ValueInfo);
        Assert.Equal([expected, shape, shape], changed.Initializer.Take(3).Select(t => t.RawData.Length > 0 ? System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(t.RawData.Span).ToArray() : [.. t.Int64Data]));
        Assert.True(changed.Initializer[0].Int64Data.Count == 0 || changed.Initializer[0].RawData.Length == 0); // never both
        Assert.Contains("no graph", Assert.Throws<InvalidDataException>(() => GraphPreparation.WithBatch([], 3)).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => GraphPreparation.WithBatch([0xFF, 0xFF], 3));
    }

    [Fact]
    public void A_size_is_made_open_in_inputs_and_outputs()
    {
        var model = Small(3, [Node("Relu", "y", "in")], [Floats("weights", [1], 1f)]);
        model.Graph.Input.Add(Value("weights", 9, 9, 9, 9));
        model.Graph.Input.Add(Value("few", 1, 3, 7));
        model.Graph.Output.Add(Value("scores", 1, 12_800, 2));
        model.Graph.Output.Add(Value("two", 1, 2));
        model.Graph.ValueInfo.Add(Value("y", 1, 2));
        var open = ModelProto.Parser.ParseFrom(GraphPreparation.WithOpenSize(model.ToByteArray(), 2)).Graph;
        Assert.Equal(["1,3,0,0", "9,9,9,9", "1,3,0"], open.Input.Select(Shape));
        Assert.Equal(["1,0,0,3", "1,0,2", "1,2"], open.Output.Select(Shape));
        Assert.Empty(open.ValueInfo);
        Assert.Contains("no graph", Assert.Throws<InvalidDataException>(() => GraphPreparation.WithOpenSize([], 2)).Message, StringComparison.Ordinal);
    }

    private static string Shape(ValueInfoProto value) => string.Join(',', value.Type.TensorType.Shape.Dim.Select(d => d.DimValue));

    /// <summary>From "in", float32 [1, channels, 3, 3], to "y".</summary>
    private static ModelProto Small(int channels, NodeProto[] nodes, TensorProto[] weights) => new()
    {
        IrVersion = 8,
        OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } },
        Graph = new GraphProto { Node = { nodes }, Initializer = { weights }, Input = { Value("in", 1, channels, 3, 3) }, Output = { Value("y", 1, channels, 3, 3) } },
    };

    private static NodeProto Node(string operation, string output, params string[] inputs) => new() { OpType = operation, Output = { output }, Input = { inputs } };

    private static NodeProto Constant(string output, TensorProto? tensor = null)
    {
        var node = Node("Constant", output);
        node.Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor ?? Floats("", [1], 1f) });
        return node;
    }

    private static TensorProto Floats(string name, long[] shape, params float[] values) => new() { Name = name, DataType = 1, Dims = { shape }, FloatData = { values } };

    private static TensorProto Integers(string name, params long[] values) => new() { Name = name, DataType = 7, Dims = { values.Length }, Int64Data = { values } };

    private static ValueInfoProto Value(string name, params int[] shape) => new()
    {
        Name = name,
        Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { shape.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }) } } } },
    };

    [Fact]
    public void Unknown_fields_are_kept()
    {
        var bytes = new RandomGraph(new Random(1), SlopeKind.PerChannel, 0.2f).Write();
        byte[] withMetadata = [.. bytes, .. new byte[] { 0x72, 6, 0x0A, 1, (byte)'k', 0x12, 1, (byte)'v' }]; // metadata_props, field 14
        Assert.EndsWith("\n\u0001k\u0012\u0001v", System.Text.Encoding.Latin1.GetString(GraphPreparation.Prepare(withMetadata).Model), StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_no_model_are_told_so()
    {
        Assert.Throws<InvalidDataException>(() => GraphPreparation.Prepare([0xFF, 0xFF, 0xFF]));
        Assert.Throws<InvalidDataException>(() => GraphPreparation.Prepare([]));
    }

    [Fact]
    public void A_graph_that_is_quantised_dynamically_is_left_alone()
    {
        var model = ModelProto.Parser.ParseFrom(new RandomGraph(new Random(2), SlopeKind.PerChannel).Write());
        Assert.True(GraphPreparation.Prepare(model.ToByteArray()).IsChanged);
        model.Graph.Node.Add(new NodeProto { OpType = "DynamicQuantizeLinear", Input = { "in" }, Output = { "q", "scale", "zero" } });
        var bytes = model.ToByteArray();
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Same(bytes, prepared.Model);
        Assert.Contains("quantised dynamically", Assert.Single(prepared.Left), StringComparison.Ordinal);
    }

    [Fact]
    public void A_batch_gives_what_single_pictures_give()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"));
        var random = new Random(4);
        var pictures = Enumerable.Range(0, 3 * 3 * 112 * 112).Select(_ => (float)(random.NextDouble() * 2 - 1)).ToArray();

        var together = RunShape(GraphPreparation.WithBatch(GraphPreparation.Prepare(bytes).Model, 3), pictures, [3, 3, 112, 112]);

        for (var i = 0; i < 3; i++)
        {
            var alone = RunShape(GraphPreparation.Prepare(bytes).Model, pictures[(i * 3 * 112 * 112)..((i + 1) * 3 * 112 * 112)], [1, 3, 112, 112]);
            Assert.Equal(alone, together[(i * 512)..((i + 1) * 512)]);
        }
    }

    private static float[] Run(byte[] model, float[] input, RandomGraph graph) =>
        RunShape(model, input, graph.TwoDimensions ? [2, graph.Channels * graph.Size * graph.Size] : [2, graph.Channels, graph.Size, graph.Size]);

    private static float[] RunShape(byte[] model, float[] input, long[] shape)
    {
        using var options = Model.SessionOptions();
        using var session = new InferenceSession(model, options);
        using var value = OrtValue.CreateTensorValueFromMemory(input, shape);
        using var run = new RunOptions();
        using var outputs = session.Run(run, session.InputNames, [value], session.OutputNames);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>A chain of convolutions (or matrix products) with a PRelu behind each.</summary>
    private sealed class RandomGraph
    {
        private readonly ModelProto model = new() { IrVersion = 8, Graph = new GraphProto() };
        private readonly Random random;
        private readonly SlopeKind? kind;
        private readonly float? slope;

        public RandomGraph(Random random, SlopeKind? kind = null, float? slope = null)
        {
            this.random = random;
            this.kind = kind;
            this.slope = slope;
            TwoDimensions = kind is null && random.Next(6) == 0;
            Channels = random.Next(1, 20);
            Size = random.Next(2, 7);
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = random.Next(7, 22) });
            Build(kind is null ? random.Next(1, 5) : 1);
        }

        public bool TwoDimensions { get; }

        public int Channels { get; }

        public int Size { get; }

        public int Rewritable { get; private set; }

        public int Others { get; private set; }

        public byte[] Write() => model.ToByteArray();

        private void Build(int layers)
        {
            var graph = model.Graph;
            graph.Input.Add(Value("in", TwoDimensions ? Channels * Size * Size : Channels));
            var (last, channels) = ("in", TwoDimensions ? Channels * Size * Size : Channels);
            string? shared = null;
            for (var layer = 0; layer < layers; layer++)
            {
                var next = random.Next(1, 33);
                graph.Initializer.Add(TwoDimensions ? Tensor($"w{layer}", channels, next) : Tensor($"w{layer}", next, channels, 1, 1));
                graph.Node.Add(new NodeProto { OpType = TwoDimensions ? "MatMul" : "Conv", Input = { last, $"w{layer}" }, Output = { $"x{layer}" } });
                var shape = kind ?? (SlopeKind)random.Next(5);
                var name = shared is not null && random.Next(2) == 0 && shape is SlopeKind.One or SlopeKind.Scalar && shared is not null ? shared : Slope(layer, shape, next);
                shared = shape is SlopeKind.One or SlopeKind.Scalar ? name : shared;
                graph.Node.Add(new NodeProto { OpType = "PRelu", Name = $"prelu-{layer}", Input = { $"x{layer}", name }, Output = { $"y{layer}" } });
                Count(shape, next);
                (last, channels) = ($"y{layer}", next);
            }

            graph.Output.Add(Value(last, channels));
        }

        private void Count(SlopeKind shape, int channels)
        {
            var one = shape is SlopeKind.One or SlopeKind.Scalar || shape == SlopeKind.AlongWidth && Size == 1;
            if (!TwoDimensions && slope is not float.NaN && (one || shape is SlopeKind.PerChannel or SlopeKind.PerChannelWithBatch || channels == 1 && shape == SlopeKind.AlongWidth && Size == 1))
            {
                Rewritable++;
            }
            else
            {
                Others++;
            }
        }

        private string Slope(int layer, SlopeKind shape, int channels)
        {
            long[] dims = (TwoDimensions, shape) switch
            {
                (true, SlopeKind.PerChannel or SlopeKind.PerChannelWithBatch or SlopeKind.AlongWidth) => [channels],
                (_, SlopeKind.Scalar) => [],
                (_, SlopeKind.One) => [1],
                (_, SlopeKind.PerChannelWithBatch) => [1, channels, 1, 1],
                (_, SlopeKind.AlongWidth) => [Size],
                _ => [channels, 1, 1],
            };
            var tensor = Tensor($"slope{layer}", dims);
            if (random.Next(2) == 0)
            {
                model.Graph.Initializer.Add(tensor);
            }
            else
            {
                var constant = new NodeProto { OpType = "Constant", Output = { tensor.Name } };
                constant.Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor });
                model.Graph.Node.Add(constant);
            }

            return tensor.Name;
        }

        private TensorProto Tensor(string name, params ReadOnlySpan<long> dims)
        {
            var tensor = new TensorProto { Name = name, DataType = 1 };
            var count = 1L;
            foreach (var dim in dims)
            {
                tensor.Dims.Add(dim);
                count *= dim;
            }

            var isSlope = name.StartsWith("slope", StringComparison.Ordinal);
            var spread = isSlope && random.Next(2) == 0 ? 0.9 : 2.5; // half of the slopes have none above one
            var values = Enumerable.Range(0, (int)count).Select(_ => isSlope && slope is { } given ? given : (float)((random.NextDouble() * 2 - 1) * spread)).ToArray();
            if (random.Next(2) == 0)
            {
                tensor.FloatData.Add(values);
            }
            else
            {
                var raw = new byte[count * sizeof(float)];
                for (var i = 0; i < values.Length; i++)
                {
                    BinaryPrimitives.WriteSingleLittleEndian(raw.AsSpan(i * sizeof(float)), values[i]);
                }

                tensor.RawData = ByteString.CopyFrom(raw);
            }

            return tensor;
        }

        private ValueInfoProto Value(string name, int channels)
        {
            var shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimParam = "batch" }, new TensorShapeProto.Types.Dimension { DimValue = channels } } };
            if (!TwoDimensions)
            {
                shape.Dim.Add([new() { DimValue = Size }, new() { DimValue = Size }]);
            }

            return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = shape } } };
        }
    }
}
