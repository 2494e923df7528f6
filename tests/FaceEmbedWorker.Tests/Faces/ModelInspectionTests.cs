using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>What ONNX Runtime says of small graphs, and the multiply-adds that a run of one picture takes.</summary>
public sealed class ModelInspectionTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-inspected-").FullName;

    /// <summary>Two maps of 3 x 3 x 3 weights, 4 sums of all their values, and 5 of these.</summary>
    [Theory]
    [InlineData("1,3,8,8", "picture: float [1,3,8,8]", 2 * 64 * 27 + 4 * 128 + 5 * 4)]
    [InlineData("4,3,8,8", "picture: float [4,3,8,8]", 2 * 64 * 27 + 4 * 128 + 5 * 4)] // of one of them
    [InlineData("batch,3,8,8", "picture: float [batch,3,8,8]", 2 * 64 * 27 + 4 * 128 + 5 * 4)]
    [InlineData("?,3,8,8", "picture: float [any,3,8,8]", 2 * 64 * 27 + 4 * 128 + 5 * 4)]
    public void Multiply_adds_are_those_of_one_picture(string input, string told, long count)
    {
        var inspection = Inspect(Network(input, products: true));
        Assert.Equal((told, count, null), (Assert.Single(inspection.Inputs), inspection.MultiplyAdds, inspection.Trouble));
        Assert.Matches(@"^vector: float \[[^,]+,5\]$", Assert.Single(inspection.Outputs));
    }

    /// <summary>A side that the file leaves open is 160 pixels.</summary>
    [Theory]
    [InlineData("1,3,height,width", "picture: float [1,3,height,width]", 2L * 160 * 160 * 27)]
    [InlineData("1,3,8,?", "picture: float [1,3,8,any]", 2L * 8 * 160 * 27)]
    public void An_open_side_is_tried_with_160_pixels(string input, string told, long count)
    {
        var inspection = Inspect(Network(input, products: false));
        Assert.Equal((told, count, null), (Assert.Single(inspection.Inputs), inspection.MultiplyAdds, inspection.Trouble));
    }

    [Fact]
    public void Open_sizes_of_what_is_no_picture_are_1()
    {
        var model = new ModelProto { IrVersion = 8, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } }, Graph = new GraphProto { Name = "g", Input = { Value("a", "rows,columns") }, Output = { Value("b", "?,?") } } };
        model.Graph.Initializer.Add(new TensorProto { Name = "w", DataType = 1, Dims = { 1, 7 }, FloatData = { new float[7] } });
        model.Graph.Node.Add(new NodeProto { OpType = "MatMul", Input = { "a", "w" }, Output = { "b" } });
        var inspection = Inspect(model);
        Assert.Equal(("a: float [rows,columns]", 7L, null), (inspection.Inputs[0], inspection.MultiplyAdds, inspection.Trouble));
    }

    [Fact]
    public void What_is_no_tensor_is_called_what_it_is()
    {
        var model = Network("1,3,8,8", products: false);
        model.Graph.Node.Add(new NodeProto { OpType = "SequenceConstruct", Input = { "vector" }, Output = { "list" } });
        model.Graph.Output.Add(new ValueInfoProto { Name = "list" });
        Assert.Equal("list: ONNX_TYPE_SEQUENCE", Inspect(model).Outputs[1]);
    }

    [Fact]
    public void What_is_too_large_to_try_is_told_and_what_does_not_run()
    {
        var inspection = Inspect(Network("1,3,8192,8192", products: false));
        Assert.Null(inspection.MultiplyAdds);
        Assert.Contains("its input [1,3,8192,8192] is too large to try", inspection.Trouble, StringComparison.OrdinalIgnoreCase);

        var model = Network("1,colours,8,8", products: false);
        inspection = Inspect(model); // 160 colours, where the weights have 3
        Assert.Null(inspection.MultiplyAdds);
        Assert.NotEmpty(inspection.Trouble!);
        Assert.Equal("picture: float [1,colours,8,8]", Assert.Single(inspection.Inputs));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private ModelInspection Inspect(ModelProto model)
    {
        var file = Path.Combine(folder, "own.onnx");
        File.WriteAllBytes(file, model.ToByteArray());
        return ModelInspection.Of(file, model.ToByteArray());
    }

    private static ModelProto Network(string input, bool products)
    {
        var graph = new GraphProto { Name = "g", Input = { Value("picture", input) } };
        Add("kernel", 2, 3, 3, 3);
        graph.Node.Add(new NodeProto { OpType = "Conv", Input = { "picture", "kernel" }, Output = { products ? "maps" : "vector" }, Attribute = { new AttributeProto { Name = "pads", Type = AttributeProto.Types.AttributeType.Ints, Ints = { 1, 1, 1, 1 } } } });
        if (products)
        {
            Add("sums", 128, 4);
            Add("last", 4, 5);
            graph.Node.Add(new NodeProto { OpType = "Flatten", Input = { "maps" }, Output = { "values" } });
            graph.Node.Add(new NodeProto { OpType = "Gemm", Input = { "values", "sums" }, Output = { "four" } });
            graph.Node.Add(new NodeProto { OpType = "MatMul", Input = { "four", "last" }, Output = { "vector" } });
        }

        graph.Output.Add(new ValueInfoProto { Name = "vector", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1 } } });
        return new ModelProto { IrVersion = 8, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } }, Graph = graph };

        void Add(string name, params long[] dims) => graph.Initializer.Add(new TensorProto { Name = name, DataType = 1, Dims = { dims }, FloatData = { new float[dims.Aggregate(1L, (a, b) => a * b)] } });
    }

    /// <param name="sizes">Numbers, names, or a question mark.</param>
    private static ValueInfoProto Value(string name, string sizes) => new()
    {
        Name = name,
        Type = new TypeProto
        {
            TensorType = new TypeProto.Types.Tensor
            {
                ElemType = 1,
                Shape = new TensorShapeProto { Dim = { sizes.Split(',').Select(s => s == "?" ? new TensorShapeProto.Types.Dimension() : long.TryParse(s, out var size) ? new TensorShapeProto.Types.Dimension { DimValue = size } : new TensorShapeProto.Types.Dimension { DimParam = s }) } },
            },
        },
    };
}
