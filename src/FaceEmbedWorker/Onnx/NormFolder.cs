namespace FaceEmbedWorker.Onnx;

/// <summary>
/// Batch norms go into what is in front of them or, before a padded convolution, become convolutions themselves: for
/// <see cref="GraphQuantizer"/>.
/// </summary>
internal sealed class NormFolder(GraphProto graph)
{
    private const int Float = 1;

    private readonly Dictionary<string, TensorProto> weights = Weights.Of(graph);
    private readonly Dictionary<string, NodeProto> producers = graph.Node.ToDictionary(n => n.Output[0]);
    private readonly ILookup<string, NodeProto> readers = graph.Node.SelectMany(n => n.Input.Distinct().Select(i => (Name: i, Node: n))).ToLookup(r => r.Name, r => r.Node);
    private readonly HashSet<string> outputs = [.. graph.Output.Select(o => o.Name)];

    public void Fold()
    {
        var pictures = Pictures();
        foreach (var norm in graph.Node.Where(n => n is { OpType: "BatchNormalization", Input.Count: 5 }).ToList())
        {
            if (norm.Attribute.Any(a => a is { Name: "spatial", I: 0 } or { Name: "training_mode", I: 1 }) || FactorsOf(norm) is not { } factors)
            {
                continue;
            }

            if (producers.TryGetValue(norm.Input[0], out var maker) && QuantizationPlan.IsConv(maker, weights) | QuantizationPlan.IsProduct(maker, weights) && OutputsOf(maker) == factors.Scale.Length
                && readers[maker.Output[0]].Count() == 1 && !outputs.Contains(maker.Output[0]))
            {
                FoldInto(maker, factors);
                maker.Output[0] = norm.Output[0];
                producers[norm.Output[0]] = maker;
                graph.Node.Remove(norm);
            }
            else if (pictures.Contains(norm.Input[0]))
            {
                Become(norm, factors);
            }
        }

        var used = graph.Node.SelectMany(n => n.Input).Concat(outputs).ToHashSet();
        var kept = graph.Initializer.Where(t => used.Contains(t.Name)).ToList();
        graph.Initializer.Clear();
        graph.Initializer.AddRange(kept);
    }

    /// <summary>The tensors of four dimensions, in the graph's order: what a node takes is known when it is reached.</summary>
    private HashSet<string> Pictures()
    {
        var pictures = graph.Input.Where(i => i.Type?.TensorType?.Shape?.Dim.Count == 4).Select(i => i.Name).ToHashSet();
        foreach (var node in graph.Node)
        {
            if (node.OpType is "Conv" or "MaxPool" or "AveragePool" or "GlobalAveragePool"
                || node.OpType is "Add" or "Mul" or "Sub" or "Div" or "Relu" or "PRelu" or "BatchNormalization" or "Sigmoid" or "Clip" or "LeakyRelu" && node.Input.Any(pictures.Contains))
            {
                pictures.Add(node.Output[0]);
            }
        }

        return pictures;
    }

    private long OutputsOf(NodeProto maker) => weights[maker.Input[1]].Dims[QuantizationPlan.Axis(maker)];

    private (double[] Scale, double[] Shift)? FactorsOf(NodeProto norm)
    {
        var values = norm.Input.Skip(1).Select(i => weights.TryGetValue(i, out var t) ? Weights.Values(t) : null).ToArray();
        if (values is not [{ } scale, { } shift, { } mean, { } variance] || Array.Exists(values, v => v!.Length != scale.Length))
        {
            return null;
        }

        var epsilon = norm.Attribute.FirstOrDefault(a => a.Name == "epsilon")?.F ?? 1e-5f;
        var factors = scale.Select((s, c) => s / Math.Sqrt((double)variance[c] + epsilon)).ToArray();
        return !Array.TrueForAll(factors, double.IsFinite) ? null : (factors, [.. shift.Select((b, c) => b - mean[c] * factors[c])]);
    }

    private void FoldInto(NodeProto maker, (double[] Scale, double[] Shift) factors)
    {
        var matrix = weights[maker.Input[1]];
        var (values, apart) = (Weights.Values(matrix)!, QuantizationPlan.Axis(maker) == 0);
        var perOutput = values.Length / factors.Scale.Length;
        var scaled = values.Select((v, i) => (float)(v * factors.Scale[apart ? i / perOutput : i % factors.Scale.Length])).ToArray();
        var bias = maker.Input.Count > 2 ? Weights.Values(weights[maker.Input[2]])! : new float[factors.Scale.Length];
        var name = maker.Output[0];
        maker.Input[1] = Add($"{name}/weight", [.. matrix.Dims], scaled);
        var shifted = Add($"{name}/bias", [bias.Length], [.. bias.Select((b, c) => (float)(b * factors.Scale[c] + factors.Shift[c]))]);
        if (maker.Input.Count > 2)
        {
            maker.Input[2] = shifted;
        }
        else
        {
            maker.Input.Add(shifted);
        }
    }

    /// <summary>In front of a padded convolution it cannot be folded into that: its shift is none at the border.</summary>
    private void Become(NodeProto norm, (double[] Scale, double[] Shift) factors)
    {
        var (channels, name) = (factors.Scale.Length, norm.Output[0]);
        norm.OpType = "Conv";
        norm.Attribute.Clear();
        norm.Attribute.Add(new AttributeProto { Name = "group", Type = AttributeProto.Types.AttributeType.Int, I = channels });
        norm.Attribute.Add(new AttributeProto { Name = "kernel_shape", Type = AttributeProto.Types.AttributeType.Ints, Ints = { 1, 1 } });
        var input = norm.Input[0];
        norm.Input.Clear();
        var (weight, bias) = (Array.ConvertAll(factors.Scale, s => (float)s), Array.ConvertAll(factors.Shift, s => (float)s));
        norm.Input.Add([input, Add($"{name}/weight", [channels, 1, 1, 1], weight), Add($"{name}/bias", [channels], bias)]);
    }

    private string Add(string name, long[] shape, float[] values)
    {
        var tensor = new TensorProto { Name = name, DataType = Float, Dims = { shape } };
        Weights.Write(tensor, values);
        weights[name] = tensor;
        graph.Initializer.Add(tensor);
        return name;
    }
}
