using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Onnx;

public class WeightsTests
{
    [Fact]
    public void Weights_are_initializers_and_the_values_of_constants()
    {
        var value = new TensorProto { DataType = 1, FloatData = { 3 } };
        var graph = new GraphProto { Initializer = { new TensorProto { Name = "a" }, new TensorProto { Name = "b", DataType = 7 } } };
        graph.Node.Add(Constant("Constant", "c", "value", value));
        graph.Node.Add(Constant("Other", "d", "value", value));
        graph.Node.Add(Constant("Constant", "e", "value_float", value));
        graph.Node.Add(new NodeProto { OpType = "Constant", Output = { "f" } });
        Assert.Equal(["a", "b", "c"], Weights.Of(graph).Keys.Order(StringComparer.Ordinal));
        Assert.Same(value, Weights.Of(graph)["c"]);

        static NodeProto Constant(string type, string output, string attribute, TensorProto value) =>
            new() { OpType = type, Output = { output }, Attribute = { new AttributeProto { Name = attribute, T = value } } };
    }

    [Fact]
    public void Files_of_weights_are_named_once_in_order()
    {
        var graph = new GraphProto { Initializer = { Elsewhere("b.bin"), Elsewhere("a.bin"), Elsewhere("b.bin"), Elsewhere(""), new TensorProto { DataLocation = 1 }, new TensorProto { Name = "here" } } };
        foreach (var (tensor, i) in graph.Initializer.Select((t, i) => (t, i)))
        {
            tensor.Name = $"{i}";
        }

        Assert.Equal(["a.bin", "b.bin"], Weights.FilesOf(new ModelProto { Graph = graph }.ToByteArray()));
        Assert.Empty(Weights.FilesOf([]));
        Assert.Empty(Weights.FilesOf([0xFF, 0xFF, 0xFF]));
        Assert.Equal("b.bin", Weights.FileOf(graph.Initializer[0]));
        graph.Initializer[0].DataLocation = 0;
        Assert.Null(Weights.FileOf(graph.Initializer[0])); // what it names does not count then
    }

    [Theory]
    [InlineData("weights.bin", "/models/weights.bin")]
    [InlineData("data/weights.bin", "/models/data/weights.bin")]
    [InlineData("data/../weights.bin", "/models/weights.bin")]
    [InlineData("../weights.bin", null)]
    [InlineData("../models/weights.bin", "/models/weights.bin")]
    [InlineData("../models2/weights.bin", null)]
    [InlineData("/models/weights.bin", null)]
    [InlineData("/etc/passwd", null)]
    [InlineData("a\0b", null)]
    [InlineData(".", null)]
    public void A_place_is_in_the_models_folder(string place, string? path)
    {
        Assert.Equal(path, Weights.PathOf(place, "/models"));
        Assert.Equal(path, Weights.PathOf(place, "/models/"));
    }

    [Theory]
    [InlineData(new[] { 1, 6, 12 }, 4)]
    [InlineData(new[] { 2, 3, 9 }, 1)]
    [InlineData(new[] { 4, 5, 10, 16 }, 2)]
    [InlineData(new[] { 7, 11, 13 }, 8)]
    [InlineData(new[] { 0, 8, 14, 15, 17 }, 0)]
    public void A_shape_has_bytes(int[] types, int size)
    {
        foreach (var type in types)
        {
            Assert.Equal(size == 0 ? null : 6.0 * size, Weights.BytesOf(new TensorProto { DataType = type, Dims = { 2, 3 } }));
            Assert.Equal(size == 0 ? null : 1.0 * size, Weights.BytesOf(new TensorProto { DataType = type }));
            Assert.Equal(size == 0 ? null : 0.0, Weights.BytesOf(new TensorProto { DataType = type, Dims = { 2, 0 } }));
            Assert.Null(Weights.BytesOf(new TensorProto { DataType = type, Dims = { 2, -3 } }));
        }

        Assert.Equal(Math.Pow(2, 124), Weights.BytesOf(new TensorProto { DataType = 1, Dims = { 1L << 61, 1L << 61 } }));
    }

    [Fact]
    public void Data_elsewhere_end_behind_their_offset_and_length()
    {
        Assert.Equal(24, Weights.EndOf(Elsewhere("a")));
        Assert.Equal(124, Weights.EndOf(Elsewhere("a", ("offset", "100"))));
        Assert.Equal(107, Weights.EndOf(Elsewhere("a", ("offset", "100"), ("length", "7"))));
        Assert.Equal(7, Weights.EndOf(Elsewhere("a", ("length", "7"))));
        Assert.Null(Weights.EndOf(Elsewhere("a", ("offset", "x"))));
        Assert.Null(Weights.EndOf(Elsewhere("a", ("length", "-7"))));
        Assert.Null(Weights.EndOf(Elsewhere("a", ("length", "7 "))));
    }

    [Fact]
    public void Floats_are_as_many_as_the_shape_says()
    {
        byte[] raw = [.. new[] { 1.5f, -2 }.SelectMany(BitConverter.GetBytes)];
        var inBytes = new TensorProto { DataType = 1, Dims = { 2 }, RawData = ByteString.CopyFrom(raw) };
        var inFloats = new TensorProto { DataType = 1, Dims = { 2 }, FloatData = { 1.5f, -2 } };
        foreach (var tensor in new[] { inBytes, inFloats })
        {
            Assert.Equal([1.5f, -2], Weights.Values(tensor)!);
            Assert.Null(Weights.Values(With(tensor, t => t.DataType = 11)));
            Assert.Null(Weights.Values(With(tensor, t => t.DataLocation = 1)));
            Assert.Null(Weights.Values(With(tensor, t => t.Dims[0] = 3)));
            Assert.Null(Weights.Values(With(tensor, t => t.Dims[0] = 1)));
            Weights.Write(tensor, [7]);
            tensor.Dims[0] = 1;
            Assert.Equal([7], Weights.Values(tensor)!);
            Assert.Empty(tensor.FloatData);
        }
    }

    [Fact]
    public void Whole_numbers_of_64_bits_are_read_either_way()
    {
        var inBytes = new TensorProto { DataType = 7, RawData = ByteString.CopyFrom([.. new[] { 5L, -6 }.SelectMany(BitConverter.GetBytes)]) };
        var inNumbers = new TensorProto { DataType = 7, Int64Data = { 5, -6 } };
        foreach (var tensor in new[] { inBytes, inNumbers })
        {
            Assert.Equal([5, -6], Weights.Integers(tensor)!);
            Assert.Null(Weights.Integers(With(tensor, t => t.DataType = 6)));
            Assert.Null(Weights.Integers(With(tensor, t => t.DataLocation = 1)));
        }

        Assert.Null(Weights.Integers(With(inBytes, t => t.RawData = ByteString.CopyFrom(new byte[15]))));
    }

    [Theory]
    [InlineData("If", true)]
    [InlineData("Loop", true)]
    [InlineData("Scan", true)]
    [InlineData("Conv", false)]
    public void Nodes_with_graphs_of_their_own_are_known(string type, bool have) =>
        Assert.Equal(have, Weights.HaveSubgraphs([new NodeProto { OpType = "Relu" }, new NodeProto { OpType = type }]));

    private static TensorProto With(TensorProto tensor, Action<TensorProto> change)
    {
        var changed = tensor.Clone();
        change(changed);
        return changed;
    }

    /// <summary>Six float32.</summary>
    private static TensorProto Elsewhere(string place, params (string Key, string Value)[] entries)
    {
        var tensor = new TensorProto { DataType = 1, Dims = { 6 }, DataLocation = 1 };
        tensor.ExternalData.Add(entries.Prepend(("location", place)).Select(e => new StringStringEntryProto { Key = e.Item1, Value = e.Item2 }));
        return tensor;
    }
}
