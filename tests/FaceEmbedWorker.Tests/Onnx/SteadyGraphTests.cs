using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

public class SteadyGraphTests
{
    [Fact]
    public void Constants_become_initialisers_and_what_does_nothing_goes()
    {
        var graph = new GraphProto
        {
            Input = { new ValueInfoProto { Name = "x" }, new ValueInfoProto { Name = "w" } },
            Output = { new ValueInfoProto { Name = "y" }, new ValueInfoProto { Name = "z" } },
            Initializer = { new TensorProto { Name = "w" } },
            ValueInfo = { new ValueInfoProto { Name = "a" } },
            Node =
            {
                new NodeProto { OpType = "Constant", Output = { "c" }, Attribute = { new AttributeProto { Name = "value", T = new TensorProto { DataType = 1, Dims = { 1 }, FloatData = { 2 } } } } },
                new NodeProto { OpType = "Constant", Output = { "k" }, Attribute = { new AttributeProto { Name = "value_float", F = 1 } } },
                new NodeProto { OpType = "Identity", Input = { "x" }, Output = { "a" } },
                new NodeProto { OpType = "Dropout", Input = { "a" }, Output = { "b", "mask" } },
                new NodeProto { OpType = "Mul", Input = { "b", "c" }, Output = { "y" } },
                new NodeProto { OpType = "Identity", Input = { "b" }, Output = { "z" } }, // an output keeps its name
            },
        };
        SteadyGraph.Tidy(graph);
        Assert.Equal(["Constant k", "Mul x c", "Identity x"], graph.Node.Select(n => $"{n.OpType} {(n.OpType == "Constant" ? n.Output[0] : string.Join(' ', n.Input))}"));
        Assert.Equal(["w", "c"], graph.Initializer.Select(t => t.Name));
        Assert.Equal(2, graph.Initializer[1].FloatData[0]);
        Assert.Equal("x", Assert.Single(graph.Input).Name); // weights are no inputs
        Assert.Empty(graph.ValueInfo);
    }

    /// <summary>The opset from which each means what it means in 13, as ONNX's changelog of operators has it.</summary>
    [Theory]
    [InlineData(1, "Conv", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "LpNormalization", "MatMul", "MaxPool", "ReduceL2", "ReduceMean", "Shape", "Transpose")]
    [InlineData(4, "Concat")]
    [InlineData(5, "Reshape")]
    [InlineData(6, "Cast", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Sqrt", "Tanh")]
    [InlineData(7, "Add", "AveragePool", "Div", "Gemm", "Mul", "PRelu", "Pow", "Sub")]
    [InlineData(9, "BatchNormalization")]
    [InlineData(10, "Slice")]
    [InlineData(11, "Clip", "Pad")]
    public void An_operator_is_raised_from_where_its_meaning_stayed(int from, params string[] operators)
    {
        foreach (var type in operators)
        {
            var model = Model(from, type);
            SteadyGraph.Raise(model);
            Assert.Equal((13, 7), (model.OpsetImport[0].Version, model.IrVersion));
            if (from > 1)
            {
                Assert.Equal($"It is of opset {from - 1}, and what {type} means there may differ from opset 13, which quantised graphs need. Export it with opset 13 or later.",
                    Assert.Throws<InvalidDataException>(() => SteadyGraph.Raise(Model(from - 1, type))).Message);
            }
        }
    }

    [Fact]
    public void What_is_not_known_is_refused_below_13_and_taken_from_there_on()
    {
        Assert.Contains("what Softmax means", Assert.Throws<InvalidDataException>(() => SteadyGraph.Raise(Model(12, "Softmax"))).Message, StringComparison.Ordinal);
        foreach (var opset in new[] { 13, 17 })
        {
            var model = Model(opset, "Softmax");
            model.IrVersion = 9;
            SteadyGraph.Raise(model);
            Assert.Equal((opset, 9), (model.OpsetImport[0].Version, model.IrVersion));
        }

        var other = Model(12, "Softmax");
        other.Graph.Node[0].Domain = "com.example"; // of another set, which is not raised
        SteadyGraph.Raise(other);
        Assert.Equal(13, other.OpsetImport[0].Version);
        other = Model(12, "Softmax");
        other.Graph.Node[0].Domain = "ai.onnx"; // the other name of the one that is
        Assert.Throws<InvalidDataException>(() => SteadyGraph.Raise(other));
        var named = Model(12, "Relu");
        named.OpsetImport.Insert(0, new OperatorSetIdProto { Domain = "com.example", Version = 1 });
        named.OpsetImport[1].Domain = "ai.onnx";
        SteadyGraph.Raise(named);
        Assert.Equal([1L, 13L], named.OpsetImport.Select(o => o.Version));
        Assert.Equal("It does not say its opset.", Assert.Throws<InvalidDataException>(() => SteadyGraph.Raise(new ModelProto { Graph = new GraphProto() })).Message);
    }

    private static ModelProto Model(int opset, string type) => new()
    {
        IrVersion = 3,
        OpsetImport = { new OperatorSetIdProto { Domain = "", Version = opset } },
        Graph = new GraphProto { Node = { new NodeProto { OpType = type, Input = { "x" }, Output = { "y" } } } },
    };
}
