using System.Runtime.InteropServices;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>One quantisation: the nodes again, with QuantizeLinear and DequantizeLinear between them.</summary>
/// <param name="graph">A copy of the plan's, which is changed.</param>
/// <param name="ranges">Of every tensor that goes through 8 bits.</param>
internal sealed class QuantizedGraph(QuantizationPlan plan, GraphProto graph, IReadOnlyDictionary<string, ValueRange> ranges)
{
    private const int Float = 1;
    private const int UInt8 = 2;
    private const int Int8 = 3;
    private const int Int32 = 6;

    /// <summary>
    /// 7 bits: without VNNI, x64 adds two products of uint8 and int8 in 16 bits, which saturate beyond 64 (ONNX Runtime's reduce_range). So
    /// a file's vectors are the same on every processor, as its space says; it costs nothing that could be measured.
    /// </summary>
    private const int LargestWeight = 63;

    private const double LargestBias = int.MaxValue / 2;
    private const float SmallestScale = 1e-30f;

    private readonly List<NodeProto> nodes = [];
    private readonly Dictionary<string, TensorProto> constants = [];
    private readonly Dictionary<string, double> scales = [];

    public void Write()
    {
        foreach (var input in graph.Input)
        {
            Pass(input.Name);
        }

        foreach (var node in plan.Nodes)
        {
            if (plan.Absorbed.Contains(node))
            {
                continue;
            }

            var copy = node.Clone();
            for (var i = 0; i < copy.Input.Count; i++)
            {
                copy.Input[i] = plan.Tensors.Contains(node.Input[i]) ? Dequantised(node.Input[i]) : node.Input[i];
            }

            if (plan.Quantised.Contains(node) && node.OpType != "Add")
            {
                WriteWeights(node, copy);
            }

            copy.Output[0] = plan.Activated.GetValueOrDefault(node.Output[0], node.Output[0]);
            nodes.Add(copy);
            Pass(copy.Output[0]);
        }

        graph.Node.Clear();
        graph.Node.AddRange(nodes);
        var used = nodes.SelectMany(n => n.Input).ToHashSet();
        var kept = graph.Initializer.Where(t => used.Contains(t.Name)).ToList();
        graph.Initializer.Clear();
        graph.Initializer.AddRange(kept);
        graph.Initializer.AddRange(constants.Values);
    }

    private static string Dequantised(string tensor) => $"{tensor}/dequantized";

    /// <summary>A tensor through 8 bits, where it is one of those.</summary>
    private void Pass(string tensor)
    {
        if (!plan.Tensors.Contains(tensor))
        {
            return;
        }

        var source = plan.Source(tensor);
        var (scale, zero) = ($"{source}/scale", $"{source}/zero");
        ScaleOf(tensor);
        nodes.Add(Node("QuantizeLinear", $"{tensor}/quantized", tensor, scale, zero));
        nodes.Add(Node("DequantizeLinear", Dequantised(tensor), $"{tensor}/quantized", scale, zero));
    }

    /// <summary>Zero is one of the 256 values: a convolution's padding is exactly that.</summary>
    private double ScaleOf(string tensor)
    {
        var source = plan.Source(tensor);
        if (scales.TryGetValue(source, out var known))
        {
            return known;
        }

        var range = ranges[source];
        var (low, high) = (Math.Min(0, (double)range.Low), Math.Max(0, (double)range.High));
        if (!double.IsFinite(high - low))
        {
            throw new InvalidDataException($"What it computes is not finite ({source}).");
        }

        var scale = (float)(high > low ? (high - low) / byte.MaxValue : 1);
        var zero = (byte)Math.Clamp(Math.Round(-low / scale), 0, byte.MaxValue);
        Add($"{source}/scale", Float, [], [scale]);
        Add($"{source}/zero", UInt8, [], [zero]);
        return scales[source] = scale;
    }

    private void WriteWeights(NodeProto node, NodeProto copy)
    {
        var input = ScaleOf(node.Input[0]);
        var matrix = plan.Constants[node.Input[1]];
        var (values, axis) = (Weights.Values(matrix)!, QuantizationPlan.Axis(node));
        var outputs = (int)matrix.Dims[axis];
        var bias = node.Input.Count > 2 ? Weights.Values(plan.Constants[node.Input[2]])! : new float[outputs];
        var largest = new double[outputs];
        for (var i = 0; i < values.Length; i++)
        {
            largest[Output(i)] = Math.Max(largest[Output(i)], Math.Abs(values[i]));
        }

        // a scale of a channel of nothing is any; one that is so small that the bias has no room beside it is larger
        var scale = Array.ConvertAll(largest, l => (float)(l / LargestWeight));
        for (var c = 0; c < outputs; c++)
        {
            scale[c] = Math.Max(scale[c], Math.Max(SmallestScale, (float)(Math.Abs(bias[c]) / input / LargestBias)));
        }

        var name = node.Output[0];
        var steps = values.Select((v, i) => (sbyte)Math.Clamp(Math.Round(v / (double)scale[Output(i)]), -LargestWeight, LargestWeight)).ToArray();
        copy.Input[1] = Constant($"{name}/weight", Int8, [.. matrix.Dims], axis, steps, scale);
        if (node.Input.Count > 2)
        {
            var scaleOfBias = Array.ConvertAll(scale, s => (float)(s * input));
            copy.Input[2] = Constant($"{name}/bias", Int32, [outputs], 0, [.. bias.Select((b, c) => (int)Math.Round(b / (double)scaleOfBias[c]))], scaleOfBias);
        }

        int Output(int i) => axis == 0 ? i / (values.Length / outputs) : i % outputs;
    }

    /// <summary>An integer constant with a scale for each channel.</summary>
    private string Constant<T>(string name, int type, long[] shape, int axis, T[] values, float[] scale)
        where T : unmanaged
    {
        var (quantised, zeros) = ($"{name}/quantized", new T[scale.Length]);
        Add(quantised, type, shape, values);
        Add($"{name}/scale", Float, [scale.Length], scale);
        Add($"{name}/zero", type, [scale.Length], zeros);
        var node = Node("DequantizeLinear", Dequantised(name), quantised, $"{name}/scale", $"{name}/zero");
        node.Attribute.Add(new AttributeProto { Name = "axis", Type = AttributeProto.Types.AttributeType.Int, I = axis });
        nodes.Add(node);
        return node.Output[0];
    }

    private void Add<T>(string name, int type, long[] shape, T[] values)
        where T : unmanaged => constants[name] = new TensorProto { Name = name, DataType = type, Dims = { shape }, RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(values.AsSpan())) };

    private static NodeProto Node(string type, string output, params string[] inputs) => new() { OpType = type, Name = output, Input = { inputs }, Output = { output } };
}
