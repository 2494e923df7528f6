namespace FaceEmbedWorker.Onnx;

/// <summary>
/// Takes out the hidden channels that training left dead: nothing of a picture gets through them, or nobody reads them. Looked at is what
/// lies between two convolutions: activations and depthwise convolutions, which keep channels apart. Only zeros count, so nothing that is
/// computed changes; the constant that a dead channel may still pass on, its last bias, goes into its reader's.
/// </summary>
internal sealed class DeadChannels
{
    private const int Block = 16; // channels in ONNX Runtime's blocked layout: a count that is no multiple of it costs more than it saves

    private readonly GraphProto graph;
    private readonly Dictionary<string, TensorProto> weights;
    private readonly ILookup<string, NodeProto> readers;
    private readonly HashSet<string> outputs;

    private DeadChannels(GraphProto graph)
    {
        this.graph = graph;
        weights = Weights.Of(graph);
        readers = graph.Node.SelectMany(n => n.Input.Select(i => (Name: i, Node: n))).ToLookup(r => r.Name, r => r.Node);
        outputs = [.. graph.Output.Select(o => o.Name)];
    }

    /// <param name="graph">Is changed.</param>
    /// <param name="left">Takes why others were not removed, each naming its node.</param>
    /// <returns>How many channels.</returns>
    public static int Remove(GraphProto graph, List<string> left)
    {
        var channels = new DeadChannels(graph);
        return graph.Node.Sum(n => channels.LayerOf(n) is { } layer ? channels.Shrink(layer, left) : 0);
    }

    /// <summary>The layer whose channels a convolution makes; null where they are not hidden between two convolutions.</summary>
    private Layer? LayerOf(NodeProto maker)
    {
        if (!IsConv(maker) || Group(maker) != 1)
        {
            return null;
        }

        var channels = (int)weights[maker.Input[1]].Dims[0];
        var between = new List<NodeProto>();
        for (var next = OnlyReader(maker); next is not null; next = OnlyReader(next))
        {
            if (IsConv(next) && Group(next) == 1)
            {
                return weights[next.Input[1]].Dims[1] == channels ? new Layer(maker, between, next, channels) : null;
            }

            if (!IsActivation(next, channels) && !IsDepthwise(next, channels))
            {
                return null;
            }

            between.Add(next);
        }

        return null;
    }

    private NodeProto? OnlyReader(NodeProto node) => !outputs.Contains(node.Output[0]) && readers[node.Output[0]].Take(2).ToArray() is [var only] ? only : null;

    private bool IsConv(NodeProto node) =>
        node is { OpType: "Conv", Domain: "" or "ai.onnx", Input.Count: 2 or 3, Output.Count: 1 } && node.Input.Skip(1).All(i => weights.TryGetValue(i, out var t) && Weights.AreFloats(t))
        && weights[node.Input[1]].Dims is [> 0 and var made, > 0, > 0, > 0] && (node.Input.Count == 2 || weights[node.Input[2]].Dims is [var biases] && biases == made);

    private bool IsDepthwise(NodeProto node, int channels) => channels > 1 && IsConv(node) && Group(node) == channels && weights[node.Input[1]].Dims is [var made, 1, _, _] && made == channels;

    private bool IsActivation(NodeProto node, int channels) => node is { OpType: "Relu", Domain: "" or "ai.onnx", Input.Count: 1, Output.Count: 1 }
        || node is { OpType: "PRelu", Domain: "" or "ai.onnx", Input.Count: 2, Output.Count: 1 } && weights.TryGetValue(node.Input[1], out var slope)
            && Weights.AreFloats(slope) && (IsOne(slope) || slope.Dims is [.., var own, 1, 1] && own == channels && slope.Dims.SkipLast(3).All(d => d == 1));

    private int Shrink(Layer layer, List<string> left)
    {
        var (channels, read) = (layer.Channels, Values(layer.Reader, 1)!);
        var makes = (int)weights[layer.Reader.Input[1]].Dims[0];
        var kernel = read.Length / makes / channels;
        Func<int, double?> passed = Passed(layer);
        var dead = new List<(int Channel, double Constant)>();
        for (var c = 0; c < channels; c++)
        {
            if ((Enumerable.Range(0, makes).All(o => IsZero(Read(o, c))) ? 0 : passed(c)) is { } constant)
            {
                dead.Add((c, constant));
            }
        }

        if (Room(dead.Count) <= 0)
        {
            return 0;
        }

        if (Obstacle(layer) is { } obstacle)
        {
            return Keep(dead.Count, obstacle);
        }

        if (layer.Reader.Input.Count < 3 || IsPadded(layer.Reader))
        {
            var constants = dead.RemoveAll(d => d.Constant != 0);
            if (Room(dead.Count) <= 0)
            {
                return Keep(constants, "they pass on a constant, and its reader has padding or no bias for it");
            }
        }

        var gone = dead.Take(Room(dead.Count)).ToArray();
        Fold();
        Cut(layer, [.. Enumerable.Range(0, channels).Except(gone.Select(g => g.Channel))]);
        return gone.Length;

        Span<float> Read(int output, int channel) => read.AsSpan((output * channels + channel) * kernel, kernel);

        // so that what stays is full blocks
        int Room(int gone) => channels - Math.Min(channels, (Math.Max(1, channels - gone) + Block - 1) / Block * Block);

        int Keep(int count, string why)
        {
            left.Add($"Conv '{(layer.Maker.Name.Length > 0 ? layer.Maker.Name : layer.Maker.Output[0])}' keeps {count} dead channels: {why}.");
            return 0;
        }

        void Fold()
        {
            if (Array.TrueForAll(gone, g => g.Constant == 0))
            {
                return;
            }

            var bias = Values(layer.Reader, 2)!;
            for (var o = 0; o < makes; o++)
            {
                bias[o] = (float)(bias[o] + gone.Sum(g => g.Constant * Read(o, g.Channel).ToArray().Sum(v => (double)v)));
            }

            Weights.Write(weights[layer.Reader.Input[2]], bias);
        }
    }

    /// <summary>What a channel passes on to the reader, whatever the picture; null: that depends on the picture.</summary>
    private Func<int, double?> Passed(Layer layer)
    {
        List<Func<double?, int, double?>> steps = [Convolution(layer.Maker, _ => true)];
        foreach (var node in layer.Between)
        {
            // a constant other than zero is none at the border, beside a convolution's padding
            steps.Add(node.OpType == "Conv" ? Convolution(node, value => value == 0) : Activation(Values(node, 1)));
        }

        return channel => steps.Aggregate((double?)null, (value, step) => step(value, channel));

        Func<double?, int, double?> Convolution(NodeProto conv, Func<double, bool> vanishes)
        {
            var (rows, bias) = (Values(conv, 1)!, Values(conv, 2));
            var length = rows.Length / layer.Channels;
            return (value, c) => IsZero(rows.AsSpan(c * length, length)) || value is { } constant && vanishes(constant) ? bias?[c] ?? 0 : null;
        }

        static Func<double?, int, double?> Activation(float[]? slope) => (value, c) => value >= 0 ? value : value * (slope?[slope.Length == 1 ? 0 : c] ?? 0);
    }

    /// <summary>What keeps a layer's weights from being cut; null: nothing.</summary>
    private string? Obstacle(Layer layer)
    {
        if (Weights.HaveSubgraphs(graph.Node))
        {
            return "a subgraph may read them";
        }

        var own = layer.Nodes.SelectMany(n => n.Input.Skip(1).Where(name => n.OpType == "Conv" || !IsOne(weights[name])));
        var all = layer.Nodes.SelectMany(n => n.Input.Skip(1));
        return own.Any(name => outputs.Contains(name) || readers[name].Skip(1).Any()) ? "its weights are read elsewhere too"
            : all.Any(name => !Array.TrueForAll(Weights.Values(weights[name])!, float.IsFinite)) ? "its weights are not finite"
            : null;
    }

    private void Cut(Layer layer, int[] kept)
    {
        foreach (var node in layer.Between.Prepend(layer.Maker))
        {
            foreach (var name in node.Input.Skip(1).Where(n => !IsOne(weights[n])))
            {
                Cut(name, node.OpType == "PRelu" ? weights[name].Dims.Count - 3 : 0, kept);
            }

            if (node.OpType == "Conv" && Group(node) > 1)
            {
                node.Attribute.First(a => a.Name == "group").I = kept.Length;
            }

            Declare(node.Output[0], 1, kept.Length);
        }

        Cut(layer.Reader.Input[1], 1, kept);
    }

    private void Cut(string name, int axis, int[] kept)
    {
        var tensor = weights[name];
        var (values, channels) = (Weights.Values(tensor)!, (int)tensor.Dims[axis]);
        var outer = (int)tensor.Dims.Take(axis).Aggregate(1L, (a, b) => a * b);
        var inner = values.Length / outer / channels;
        var result = new List<float>(outer * kept.Length * inner);
        for (var o = 0; o < outer; o++)
        {
            foreach (var channel in kept)
            {
                result.AddRange(values.AsSpan((o * channels + channel) * inner, inner));
            }
        }

        tensor.Dims[axis] = kept.Length;
        Weights.Write(tensor, [.. result]);
        Declare(name, axis, kept.Length);
    }

    /// <summary>Corrects what the file says of a value's shape, if it does.</summary>
    private void Declare(string name, int axis, int size)
    {
        foreach (var value in graph.ValueInfo.Concat(graph.Input).Where(v => v.Name == name))
        {
            if (value.Type?.TensorType?.Shape is { Dim: var dimensions } && dimensions.Count > axis)
            {
                dimensions[axis] = new TensorShapeProto.Types.Dimension { DimValue = size };
            }
        }
    }

    private float[]? Values(NodeProto node, int input) => node.Input.Count > input ? Weights.Values(weights[node.Input[input]]) : null;

    private static bool IsZero(ReadOnlySpan<float> values) => !values.ContainsAnyExcept(0f);

    private static bool IsOne(TensorProto tensor) => tensor.Dims.All(d => d == 1);

    private static long Group(NodeProto conv) => conv.Attribute.FirstOrDefault(a => a.Name == "group")?.I ?? 1;

    private static bool IsPadded(NodeProto conv) => conv.Attribute.Any(a => a.Name == "pads" && a.Ints.Any(p => p != 0) || a.Name == "auto_pad");

    /// <summary>A hidden layer: what makes its channels, what they go through one by one, and what reads them together.</summary>
    private sealed record Layer(NodeProto Maker, List<NodeProto> Between, NodeProto Reader, int Channels)
    {
        public IEnumerable<NodeProto> Nodes => [Maker, .. Between, Reader];
    }
}
