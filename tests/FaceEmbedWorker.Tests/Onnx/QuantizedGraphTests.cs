using System.Runtime.InteropServices;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>What is written of small graphs, node by node and number by number.</summary>
public class QuantizedGraphTests
{
    private static readonly float[] Kernel = [62, -126, 63, 1.9f];

    [Fact]
    public void Each_operator_stands_between_values_that_go_through_8_bits()
    {
        var graph = Written(
            new() { ["data"] = new(-51, 204), ["r"] = new(0, 510), ["c"] = new(-255, 0), ["s"] = new(5, 255) },
            Node("Conv", "a", "data", "w", "b"), Node("Relu", "r", "a"), Node("Conv", "c", "r", "w"), Node("Add", "s", "c", "r"), Node("Reshape", "f", "s", "shape"), Node("Gemm", "vector", "f", "m", "b"));

        Assert.Equal(
        [
            "QuantizeLinear data data/scale data/zero -> data/quantized",
            "DequantizeLinear data/quantized data/scale data/zero -> data/dequantized",
            "DequantizeLinear a/weight/quantized a/weight/scale a/weight/zero -> a/weight/dequantized axis 0",
            "DequantizeLinear a/bias/quantized a/bias/scale a/bias/zero -> a/bias/dequantized axis 0",
            "Conv data/dequantized a/weight/dequantized a/bias/dequantized -> r",
            "QuantizeLinear r r/scale r/zero -> r/quantized",
            "DequantizeLinear r/quantized r/scale r/zero -> r/dequantized",
            "DequantizeLinear c/weight/quantized c/weight/scale c/weight/zero -> c/weight/dequantized axis 0",
            "Conv r/dequantized c/weight/dequantized -> c",
            "QuantizeLinear c c/scale c/zero -> c/quantized",
            "DequantizeLinear c/quantized c/scale c/zero -> c/dequantized",
            "Add c/dequantized r/dequantized -> s",
            "QuantizeLinear s s/scale s/zero -> s/quantized",
            "DequantizeLinear s/quantized s/scale s/zero -> s/dequantized",
            "Reshape s/dequantized shape -> f",
            "QuantizeLinear f s/scale s/zero -> f/quantized",
            "DequantizeLinear f/quantized s/scale s/zero -> f/dequantized",
            "DequantizeLinear vector/weight/quantized vector/weight/scale vector/weight/zero -> vector/weight/dequantized axis 1",
            "DequantizeLinear vector/bias/quantized vector/bias/scale vector/bias/zero -> vector/bias/dequantized axis 0",
            "Gemm f/dequantized vector/weight/dequantized vector/bias/dequantized -> vector",
        ], graph.Node.Select(Told));
        Assert.All(graph.Node.Where(n => n.OpType.EndsWith("Linear", StringComparison.Ordinal)), n => Assert.Equal(n.Output[0], n.Name));
        Assert.Equal(
        [
            "shape: 7 [4] 2 2 1 1",
            "data/scale: 1 [] 1", "data/zero: 2 [] 51",
            "a/weight/quantized: 3 [2,2,1,1] 31 -63 63 2", "a/weight/scale: 1 [2] 2 1", "a/weight/zero: 3 [2] 0 0",
            "a/bias/quantized: 6 [2] 5 -5", "a/bias/scale: 1 [2] 2 1", "a/bias/zero: 6 [2] 0 0",
            "r/scale: 1 [] 2", "r/zero: 2 [] 0",
            "c/weight/quantized: 3 [2,2,1,1] 31 -63 63 2", "c/weight/scale: 1 [2] 2 1", "c/weight/zero: 3 [2] 0 0",
            "c/scale: 1 [] 1", "c/zero: 2 [] 255",
            "s/scale: 1 [] 1", "s/zero: 2 [] 0",
            "vector/weight/quantized: 3 [2,2] 62 -63 63 1", "vector/weight/scale: 1 [2] 1 2", "vector/weight/zero: 3 [2] 0 0",
            "vector/bias/quantized: 6 [2] 10 -3", "vector/bias/scale: 1 [2] 1 2", "vector/bias/zero: 6 [2] 0 0",
        ], graph.Initializer.Select(Told));
    }

    [Fact]
    public void A_transposed_product_has_a_scale_for_each_row()
    {
        var graph = Written(new() { ["data"] = new(0, 255) }, Rows(Node("Gemm", "vector", "data", "m", "b")));
        Assert.Contains("DequantizeLinear vector/weight/quantized vector/weight/scale vector/weight/zero -> vector/weight/dequantized axis 0", graph.Node.Select(Told));
        Assert.Equal(
            ["data/scale: 1 [] 1", "data/zero: 2 [] 0", "vector/weight/quantized: 3 [2,2] 31 -63 63 2", "vector/weight/scale: 1 [2] 2 1", "vector/weight/zero: 3 [2] 0 0",
                "vector/bias/quantized: 6 [2] 5 -5", "vector/bias/scale: 1 [2] 2 1", "vector/bias/zero: 6 [2] 0 0"],
            graph.Initializer.Select(Told));
    }

    [Fact]
    public void What_is_not_quantised_keeps_its_weights()
    {
        var graph = Written(new() { ["data"] = new(0, 255) }, Node("Conv", "vector", "data", "w", "b"));
        Assert.Equal("Conv data/dequantized w b -> vector", Told(graph.Node[^1]));
        Assert.Equal(["w", "b", "data/scale", "data/zero"], graph.Initializer.Select(t => t.Name));
    }

    /// <summary>Zero is always one of the 256 values, and a tensor that is always zero has a scale.</summary>
    [Theory]
    [InlineData(0, 255, 1, 0)]
    [InlineData(5, 255, 1, 0)]
    [InlineData(-255, -5, 1, 255)]
    [InlineData(-51, 204, 1, 51)]
    [InlineData(-1, 509, 2, 0)] // 0.5, to the even
    [InlineData(-3, 507, 2, 2)] // 1.5
    [InlineData(0, 0, 1, 0)]
    [InlineData(0, 510, 2, 0)]
    public void A_range_becomes_a_scale_and_a_zero_point(float low, float high, float scale, int zero)
    {
        var graph = Written(new() { ["data"] = new(low, high) }, Node("Gemm", "vector", "data", "m"));
        Assert.Contains(FormattableString.Invariant($"data/scale: 1 [] {scale}"), graph.Initializer.Select(Told));
        Assert.Contains($"data/zero: 2 [] {zero}", graph.Initializer.Select(Told));
    }

    [Theory]
    [InlineData(float.NegativeInfinity, 1)]
    [InlineData(0, float.PositiveInfinity)]
    [InlineData(0, float.NaN)]
    public void A_range_that_is_not_finite_is_told_by_its_tensor(float low, float high) =>
        Assert.Equal("What it computes is not finite (data).", Assert.Throws<InvalidDataException>(() => Written(new() { ["data"] = new(low, high) }, Node("Gemm", "vector", "data", "m"))).Message);

    /// <summary>The widest range of float32 is none that is not finite.</summary>
    [Fact]
    public void The_widest_range_has_a_scale()
    {
        var graph = Written(new() { ["data"] = new(-float.MaxValue, float.MaxValue) }, Node("Gemm", "vector", "data", "m"));
        Assert.Equal(2.0 * float.MaxValue / 255, Floats(graph, "data/scale")[0], 1e32);
        Assert.Contains("data/zero: 2 [] 128", graph.Initializer.Select(Told));
    }

    /// <summary>A channel of no weights has a scale beside which its bias has room in 32 bits, and keeps it to nine digits.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(-4)]
    [InlineData(0)]
    public void A_channel_of_next_to_no_weights_keeps_its_bias(float bias)
    {
        var graph = Written(new() { ["data"] = new(0, 510) }, [Rows(Node("Gemm", "vector", "data", "small", "own"))], [Tensor("small", [2, 2], 1e-12f, 0, 63, 1.9f), Tensor("own", [2], bias, 5)]);
        var (steps, scale) = (MemoryMarshal.Cast<byte, int>(graph.Initializer.Single(t => t.Name == "vector/bias/quantized").RawData.Span)[0], Floats(graph, "vector/bias/scale")[0]);
        Assert.Equal(bias, steps * (double)scale, 1e-8);
        Assert.Equal(bias == 0 ? 1e-12f / 63 : 4.0 / 2 / (int.MaxValue / 2), Floats(graph, "vector/weight/scale")[0], bias == 0 ? 1e-20 : 1e-15);
        Assert.Equal($"vector/weight/quantized: 3 [2,2] {(bias == 0 ? 63 : 0)} 0 63 2", Told(graph.Initializer.Single(t => t.Name == "vector/weight/quantized")));
    }

    [Fact]
    public void A_channel_of_zeros_has_a_scale_that_is_more_than_nothing()
    {
        var graph = Written(new() { ["data"] = new(0, 510) }, [Rows(Node("Gemm", "vector", "data", "small"))], [Tensor("small", [2, 2], 0, 0, 63, 1.9f)]);
        Assert.Equal([1e-30f, 1], Floats(graph, "vector/weight/scale"));
        Assert.Equal("vector/weight/quantized: 3 [2,2] 0 0 63 2", Told(graph.Initializer.Single(t => t.Name == "vector/weight/quantized")));
    }

    private static NodeProto Rows(NodeProto gemm)
    {
        gemm.Attribute.Add(new AttributeProto { Name = "transB", Type = AttributeProto.Types.AttributeType.Int, I = 1 });
        return gemm;
    }

    private static GraphProto Written(Dictionary<string, ValueRange> ranges, params NodeProto[] nodes) => Written(ranges, nodes, []);

    private static GraphProto Written(Dictionary<string, ValueRange> ranges, NodeProto[] nodes, TensorProto[] more)
    {
        var graph = new GraphProto
        {
            Node = { nodes },
            Initializer =
            {
                Tensor("unused", [1], 1),
                Tensor("w", [2, 2, 1, 1], Kernel),
                Tensor("m", [2, 2], Kernel),
                Tensor("b", [2], 10.4f, -5.2f),
                new TensorProto { Name = "shape", DataType = 7, Dims = { 4 }, Int64Data = { 2, 2, 1, 1 } },
                more,
            },
            Input = { new ValueInfoProto { Name = "data" } },
            Output = { new ValueInfoProto { Name = nodes[^1].Output[0] } },
        };
        var copy = graph.Clone();
        new QuantizedGraph(new QuantizationPlan(graph), copy, ranges).Write();
        return copy;
    }

    private static TensorProto Tensor(string name, long[] shape, params float[] values) => new() { Name = name, DataType = 1, Dims = { shape }, FloatData = { values } };

    private static NodeProto Node(string type, string output, params string[] inputs) => new() { OpType = type, Input = { inputs }, Output = { output } };

    private static string Told(NodeProto node) => $"{node.OpType} {string.Join(' ', node.Input)} -> {string.Join(' ', node.Output)}{string.Concat(node.Attribute.Where(a => a.Name == "axis" && a.Type == AttributeProto.Types.AttributeType.Int).Select(a => $" axis {a.I}"))}";

    private static string Told(TensorProto tensor) => FormattableString.Invariant($"{tensor.Name}: {tensor.DataType} [{string.Join(',', tensor.Dims)}] {string.Join(' ', Values(tensor))}");

    private static IEnumerable<string> Values(TensorProto tensor) => tensor.DataType switch
    {
        1 => Weights.Values(tensor)!.Select(v => v.ToString(System.Globalization.CultureInfo.InvariantCulture)),
        2 => tensor.RawData.Select(v => $"{v}"),
        3 => tensor.RawData.Select(v => $"{(sbyte)v}"),
        6 => MemoryMarshal.Cast<byte, int>(tensor.RawData.Span).ToArray().Select(v => $"{v}"),
        _ => Weights.Integers(tensor)!.Select(v => $"{v}"),
    };

    private static float[] Floats(GraphProto graph, string name) => Weights.Values(graph.Initializer.Single(t => t.Name == name))!;
}
