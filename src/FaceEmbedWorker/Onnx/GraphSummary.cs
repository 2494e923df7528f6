using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>An input or output of a graph.</summary>
/// <param name="Shape">0 for a size that the file leaves open; empty where it says nothing.</param>
internal sealed record GraphValue(string Name, IReadOnlyList<long> Shape)
{
    public override string ToString() => $"{Name} [{string.Join(',', Shape.Select(s => s > 0 ? s.ToString(CultureInfo.InvariantCulture) : "any"))}]";
}

/// <summary>What an ONNX file says of itself, without running it.</summary>
/// <param name="Parameters">Numbers in its weights.</param>
/// <param name="Operators">Type -> how many, most first.</param>
/// <param name="Fresh">How many of the weight tensors fill exactly the range that a framework's default initialisation draws from.</param>
internal sealed record GraphSummary(long IrVersion, long Opset, string Producer, long Parameters, IReadOnlyList<(string Type, int Count)> Operators,
    IReadOnlyList<(string Key, string Value)> Metadata, int WeightTensors, int Fresh, IReadOnlyList<GraphValue> Inputs, IReadOnlyList<GraphValue> Outputs)
{
    private const int Float = 1;
    private const int FewestValues = 100; // fewer say nothing of a range

    /// <summary>Nearly all of them: the network was never trained.</summary>
    public bool LooksUntrained => WeightTensors > 0 && Fresh >= 0.9 * WeightTensors;

    /// <exception cref="ForeignFileException">Not an ONNX file, but one that is known.</exception>
    /// <exception cref="InvalidDataException">Not an ONNX file.</exception>
    public static GraphSummary Read(byte[] bytes)
    {
        ModelProto model;
        try
        {
            model = ModelProto.Parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw Foreign(e.Message);
        }

        var graph = model.Graph ?? throw Foreign("it has no graph.");
        var weights = graph.Initializer.ToLookup(t => t.Name);
        var used = graph.Node.Where(n => n.OpType is "Conv" or "Gemm" or "MatMul" && n.Input.Count > 1).Select(n => (Node: n, Weights: weights[n.Input[1]].FirstOrDefault()))
            .Where(u => u.Weights is { DataType: Float } && u.Weights.Dims.Count > 1).ToList();
        var ranges = used.Select(u => IsFresh(u.Node, u.Weights!)).Where(f => f is not null).ToList();
        return new GraphSummary(model.IrVersion, model.OpsetImport.FirstOrDefault(o => o.Domain.Length == 0)?.Version ?? 0, $"{model.ProducerName} {model.ProducerVersion}".Trim(),
            graph.Initializer.Aggregate(0L, (sum, t) => unchecked(sum + t.Dims.Aggregate(1L, (a, b) => a * b))),
            [.. graph.Node.GroupBy(n => n.OpType).OrderByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal).Select(g => (g.Key, g.Count()))],
            [.. model.MetadataProps.Select(p => (p.Key, p.Value))], ranges.Count, ranges.Count(f => f is true),
            [.. graph.Input.Where(i => !weights.Contains(i.Name)).Select(ValueOf)], [.. graph.Output.Select(ValueOf)]);

        static GraphValue ValueOf(ValueInfoProto value) => new(value.Name, [.. value.Type?.TensorType?.Shape?.Dim.Select(d => d.DimValue) ?? []]);

        Exception Foreign(string otherwise) => ForeignFile.InPlaceOfOnnx(bytes) is { } known ? new ForeignFileException($"It is not an ONNX file. {known}") : new InvalidDataException($"It is not an ONNX file: {otherwise}");
    }

    /// <summary>
    /// PyTorch draws the weights of convolutions and linear layers from +-1 / sqrt(inputs of a unit) (He et al. 2015 with a = sqrt 5),
    /// Keras from +-sqrt(6 / (inputs + outputs)) (Glorot 2010). New weights fill that range and stay in it; training leaves neither.
    /// </summary>
    /// <returns>Null where there are too few values to tell.</returns>
    private static bool? IsFresh(NodeProto node, TensorProto tensor)
    {
        var values = tensor.HasRawData ? MemoryMarshal.Cast<byte, float>(tensor.RawData.Span).ToArray() : [.. tensor.FloatData];
        var count = tensor.Dims.Aggregate(1L, (a, b) => unchecked(a * b));
        if (values.Length < FewestValues || values.Length != count)
        {
            return null;
        }

        var transposed = node.OpType == "MatMul" || node.OpType == "Gemm" && !node.Attribute.Any(a => a is { Name: "transB", I: 1 });
        var outputs = transposed ? tensor.Dims[^1] : tensor.Dims[0];
        var inputs = count / outputs;
        var largest = values.Max(Math.Abs);
        return Fills(1 / Math.Sqrt(inputs)) || Fills(Math.Sqrt(6.0 / (inputs + outputs * (node.OpType == "Conv" ? tensor.Dims.Skip(2).Aggregate(1L, (a, b) => a * b) : 1))));

        // a uniform draw of n values comes within 1 / n of its bound; a batch norm folded in may have taken 5e-6 off
        bool Fills(double bound) => largest <= bound * (1 + 1e-6) && largest >= bound * (1 - 8.0 / values.Length - 1e-4);
    }
}
