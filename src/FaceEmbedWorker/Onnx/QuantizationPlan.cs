namespace FaceEmbedWorker.Onnx;

/// <summary>Which operators of a graph are quantised, and which tensors go through 8 bits between them.</summary>
internal sealed class QuantizationPlan
{
    /// <summary>They move or choose values and compute none: their output has their input's scale.</summary>
    private static readonly HashSet<string> Moving = ["Flatten", "Reshape", "Transpose", "MaxPool"];

    private readonly Dictionary<string, NodeProto> producers;
    private readonly HashSet<string> outputs;

    public QuantizationPlan(GraphProto graph)
    {
        Nodes = graph.Node;
        Constants = Weights.Of(graph);
        producers = Nodes.ToDictionary(n => n.Output[0]);
        outputs = [.. graph.Output.Select(o => o.Name)];
        Choose();
    }

    public IReadOnlyList<NodeProto> Nodes { get; }

    /// <summary>By name: weights, and what else is known before a picture is.</summary>
    public Dictionary<string, TensorProto> Constants { get; }

    /// <summary>Operators that get a kernel of 8 bits.</summary>
    public HashSet<NodeProto> Quantised { get; } = new(ReferenceEqualityComparer.Instance); // protobuf's own equality reads all of a node

    /// <summary>Relus that the operator before them does.</summary>
    public HashSet<NodeProto> Absorbed { get; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>What an operator gives -> what the Relu that it absorbs makes of it.</summary>
    public Dictionary<string, string> Activated { get; } = [];

    /// <summary>Names of what goes through 8 bits.</summary>
    public HashSet<string> Tensors { get; } = [];

    /// <summary>
    /// From the end: an operator is quantised where another one takes what it gives in 8 bits. So the last layer gives float32: a product
    /// has such a kernel, a convolution stays as it is.
    /// </summary>
    private void Choose()
    {
        var readers = Nodes.SelectMany(n => n.Input.Distinct()).GroupBy(i => i).ToDictionary(g => g.Key, g => g.Count());
        foreach (var node in Nodes.Reverse())
        {
            var wanted = Tensors.Contains(Activated.GetValueOrDefault(node.Output[0], node.Output[0]));
            if (!(node.Domain is "" or "ai.onnx") || node.Input.Count == 0 || Constants.ContainsKey(node.Input[0]))
            {
                continue; // what is made of constants alone is no picture's
            }

            if (Moving.Contains(node.OpType) && wanted)
            {
                Tensors.Add(node.Input[0]);
            }
            else if (node.OpType == "Relu" && wanted && producers.TryGetValue(node.Input[0], out var maker) && IsConv(maker, Constants) | IsSum(maker)
                && readers[node.Input[0]] == 1 && !outputs.Contains(node.Input[0]))
            {
                Absorbed.Add(node); // what is below the zero point, 0, is cut off anyway
                Activated[maker.Output[0]] = node.Output[0];
            }
            else if (IsConv(node, Constants) || IsProduct(node, Constants) || IsSum(node) && wanted)
            {
                Tensors.UnionWith(node.Input.Where(i => !Constants.ContainsKey(i)));
                if (wanted || node.OpType == "Gemm")
                {
                    Quantised.Add(node);
                }
            }
        }
    }

    /// <summary>The tensor whose scale another one has.</summary>
    public string Source(string tensor)
    {
        while (producers.TryGetValue(tensor, out var node) && Moving.Contains(node.OpType) && !Constants.ContainsKey(node.Input[0]))
        {
            tensor = node.Input[0];
        }

        return tensor;
    }

    private bool IsSum(NodeProto node) => node is { OpType: "Add", Input.Count: 2 } && !node.Input.Any(Constants.ContainsKey);

    public static bool IsConv(NodeProto node, Dictionary<string, TensorProto> weights) => node is { OpType: "Conv", Domain: "" or "ai.onnx", Input.Count: 2 or 3 }
        && weights.TryGetValue(node.Input[1], out var kernel) && Weights.AreFloats(kernel) && kernel.Dims is [var made, _, _, _] && kernel.Dims.All(d => d > 0) && IsBias(node, made, weights);

    public static bool IsProduct(NodeProto node, Dictionary<string, TensorProto> weights) =>
        node is { OpType: "Gemm", Domain: "" or "ai.onnx", Input.Count: 2 or 3 }
        && node.Attribute.All(a => a is { Name: "alpha" or "beta", F: 1 } or { Name: "transA", I: 0 } or { Name: "transB" })
        && weights.TryGetValue(node.Input[1], out var matrix) && Weights.AreFloats(matrix) && matrix.Dims is [> 0, > 0] && IsBias(node, matrix.Dims[Axis(node)], weights);

    private static bool IsBias(NodeProto node, long made, Dictionary<string, TensorProto> weights) =>
        node.Input.Count == 2 || weights.TryGetValue(node.Input[2], out var bias) && Weights.AreFloats(bias) && bias.Dims is [var count] && count == made;

    /// <summary>The dimension of the weights that counts outputs.</summary>
    public static int Axis(NodeProto node) => node.OpType == "Gemm" && !node.Attribute.Any(a => a is { Name: "transB", I: 1 }) ? 1 : 0;
}
