using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Onnx;

public class GraphSummaryTests
{
    [Fact]
    public void A_file_is_summed_up_without_running_it()
    {
        var model = new ModelProto
        {
            IrVersion = 8,
            ProducerName = "pytorch",
            ProducerVersion = "2.1",
            OpsetImport = { new OperatorSetIdProto { Domain = "com.microsoft", Version = 1 }, new OperatorSetIdProto { Domain = "", Version = 17 } },
            MetadataProps = { new StringStringEntryProto { Key = "licence", Value = "MIT" } },
            Graph = new GraphProto
            {
                Node = { Node("Relu"), Node("Conv", "x", "w"), Node("Add"), Node("Conv", "x", "w"), Node("Add"), Node("Conv") },
                Initializer = { new TensorProto { Name = "w", DataType = 1, Dims = { 2, 3, 4 } }, new TensorProto { Name = "b", DataType = 1, Dims = { 5 } }, new TensorProto { Name = "one", DataType = 1 } },
                Input = { Value("x", 1, 3, 0, 112), Value("w", 2, 3, 4), new ValueInfoProto { Name = "shapeless" } },
                Output = { Value("y", 1, 512) },
            },
        };
        var summary = GraphSummary.Read(model.ToByteArray());
        Assert.Equal((8, 17, "pytorch 2.1", 24 + 5 + 1), (summary.IrVersion, summary.Opset, summary.Producer, summary.Parameters));
        Assert.Equal([("Conv", 3), ("Add", 2), ("Relu", 1)], summary.Operators);
        Assert.Equal([("licence", "MIT")], summary.Metadata);
        Assert.Equal(["x [1,3,any,112]", "shapeless []"], summary.Inputs.Select(i => i.ToString())); // weights may be listed beside the inputs
        Assert.Equal(["y [1,512]"], summary.Outputs.Select(o => o.ToString()));
        Assert.Equal(("", 0, false), GraphSummary.Read(new ModelProto { Graph = new GraphProto() }.ToByteArray()) is var empty ? (empty.Producer, empty.Opset, empty.LooksUntrained) : default);
    }

    [Fact]
    public void As_many_of_two_operators_are_listed_by_name() => Assert.Equal(["Add", "Mul", "Relu"], GraphSummary.Read(Model(new GraphProto { Node = { Node("Relu"), Node("Mul"), Node("Add") } })).Operators.Select(o => o.Type));

    [Fact]
    public void What_is_no_graph_is_refused()
    {
        Assert.Contains("It is not an ONNX file: it has no graph.", Assert.Throws<InvalidDataException>(() => GraphSummary.Read(new ModelProto { IrVersion = 8 }.ToByteArray())).Message, StringComparison.Ordinal);
        Assert.StartsWith("It is not an ONNX file: ", Assert.Throws<InvalidDataException>(() => GraphSummary.Read([0xFF, 0xFF, 0xFF])).Message, StringComparison.Ordinal);
        Assert.Equal("It is not an ONNX file. It is a picture (JPEG), not a model.", Assert.Throws<ForeignFileException>(() => GraphSummary.Read([0xFF, 0xD8, 0xFF, 0xFF])).Message);
    }

    /// <summary>
    /// What frameworks draw new weights from, by inputs and outputs of a unit: PyTorch's range is 1 / sqrt(inputs), Keras' sqrt(6 / (inputs +
    /// outputs)), and of a convolution each counts once for each place of its kernel.
    /// </summary>
    [Theory]
    [InlineData("Conv", new long[] { 16, 8, 3, 3 }, 0, 72, 0)]
    [InlineData("Conv", new long[] { 16, 8, 3, 3 }, 0, 72, 144)]
    [InlineData("Conv", new long[] { 200, 1, 1, 1 }, 0, 1, 0)]
    [InlineData("Gemm", new long[] { 20, 50 }, 1, 50, 0)]
    [InlineData("Gemm", new long[] { 20, 50 }, 1, 50, 20)]
    [InlineData("Gemm", new long[] { 50, 20 }, 0, 50, 0)]
    [InlineData("MatMul", new long[] { 50, 20 }, 0, 50, 0)]
    [InlineData("MatMul", new long[] { 50, 20 }, 0, 50, 20)]
    public void Weights_that_fill_a_frameworks_range_are_fresh(string type, long[] shape, long transposed, int inputs, int outputs)
    {
        var bound = outputs == 0 ? 1 / Math.Sqrt(inputs) : Math.Sqrt(6.0 / (inputs + outputs));
        var count = shape.Aggregate((a, b) => a * b);
        Assert.True(IsFresh(bound));
        Assert.True(IsFresh(bound * (1 - 6.0 / count)));
        Assert.False(IsFresh(bound * (1 - 12.0 / count)));
        Assert.False(IsFresh(bound * 1.00001));
        Assert.False(IsFresh(bound * 2));

        bool IsFresh(double largest)
        {
            var values = Enumerable.Range(0, (int)count).Select(i => (float)(largest * Math.Sin(i))).ToArray();
            values[7] = (float)-largest; // the sign says nothing
            var node = Node(type, "x", "w");
            if (transposed > 0)
            {
                node.Attribute.Add(new AttributeProto { Name = "transB", I = transposed });
            }

            var tensor = new TensorProto { Name = "w", DataType = 1, Dims = { shape } };
            tensor.FloatData.Add(values);
            var (listed, raw) = (GraphSummary.Read(Model(new GraphProto { Node = { node }, Initializer = { tensor } })), tensor.Clone());
            raw.FloatData.Clear();
            raw.RawData = ByteString.CopyFrom(System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
            var packed = GraphSummary.Read(Model(new GraphProto { Node = { node }, Initializer = { raw } }));
            Assert.Equal((1, listed.Fresh, listed.LooksUntrained), (listed.WeightTensors, packed.Fresh, listed.Fresh == 1));
            return listed.LooksUntrained;
        }
    }

    /// <summary>Nine in ten of them, and of those that say something.</summary>
    [Theory]
    [InlineData(9, 1, true)]
    [InlineData(8, 1, false)]
    [InlineData(0, 3, false)]
    [InlineData(0, 0, false)]
    public void A_network_looks_untrained_where_nearly_all_its_weights_are_fresh(int fresh, int trained, bool untrained)
    {
        var graph = new GraphProto();
        for (var i = 0; i < fresh + trained; i++)
        {
            Add(graph, $"w{i}", "Conv", 1, i < fresh ? 1 / Math.Sqrt(25) : 3, 4, 25);
        }

        Add(graph, "few", "Conv", 1, 1 / Math.Sqrt(9), 11, 9); // 99 values
        Add(graph, "bias", "Conv", 1, 0.1, 100);
        Add(graph, "whole", "Conv", 7, 1 / Math.Sqrt(25), 4, 25); // integers
        Add(graph, "scale", "Mul", 1, 1 / Math.Sqrt(25), 4, 25);
        var summary = GraphSummary.Read(Model(graph));
        Assert.Equal((fresh + trained, fresh, untrained), (summary.WeightTensors, summary.Fresh, summary.LooksUntrained));

        static void Add(GraphProto graph, string name, string type, int dataType, double largest, params long[] shape)
        {
            graph.Node.Add(Node(type, "x", name));
            var tensor = new TensorProto { Name = name, DataType = dataType, Dims = { shape } };
            tensor.FloatData.Add(Enumerable.Repeat((float)largest, (int)shape.Aggregate((a, b) => a * b)));
            graph.Initializer.Add(tensor);
        }
    }

    [Fact]
    public void A_hundred_values_say_something_of_a_range()
    {
        var tensor = new TensorProto { Name = "w", DataType = 1, Dims = { 4, 25 } };
        tensor.FloatData.Add(Enumerable.Repeat(0.2f, 100));
        Assert.Equal(1, GraphSummary.Read(Model(new GraphProto { Node = { Node("Conv", "x", "w") }, Initializer = { tensor } })).Fresh);
        tensor.Dims[0] = 5; // not all are there
        Assert.Equal(0, GraphSummary.Read(Model(new GraphProto { Node = { Node("Conv", "x", "w") }, Initializer = { tensor } })).WeightTensors);
    }

    private static byte[] Model(GraphProto graph) => new ModelProto { IrVersion = 8, Graph = graph }.ToByteArray();

    private static NodeProto Node(string type, params string[] inputs) => new() { OpType = type, Input = { inputs } };

    private static ValueInfoProto Value(string name, params long[] sizes) => new()
    {
        Name = name,
        Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { sizes.Select(s => s > 0 ? new TensorShapeProto.Types.Dimension { DimValue = s } : new()) } } } },
    };
}
