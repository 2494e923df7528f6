namespace FaceEmbedWorker.Onnx;

/// <summary>
/// Joins the heads of YuNet. For each stride it has four, each a 1 x 1 convolution of the same features, a depthwise one, and then what
/// turns planes into rows: class and object score, box, five points, 1 + 1 + 4 + 10 channels. As two convolutions of 16 channels, the width
/// of ONNX Runtime's blocked layout, they compute the same in a fifth of the nodes, and only what passes the threshold is decoded.
/// </summary>
internal static class DetectorHead
{
    /// <summary>The parts of a head, in the order of their channels: name without stride, channels.</summary>
    private static readonly (string Name, int Channels)[] Parts = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)];

    private static readonly int[] Strides = [8, 16, 32];

    /// <summary>Channels of a joined head: scores before their sigmoid, box, points.</summary>
    public const int Channels = 16;

    /// <summary>The output that takes the place of four: float32 [1, 16, height, width], in strides.</summary>
    public static string Name(int stride) => $"head_{stride}";

    /// <summary>An output that a graph with joined heads has no more.</summary>
    public static bool Replaces(string output) => Parts.Any(part => Strides.Any(stride => output == $"{part.Name}_{stride}"));

    /// <summary>Joins the heads of a graph, or leaves it as it is where one is not built like this.</summary>
    /// <returns>How many convolutions are fewer.</returns>
    public static int Join(GraphProto graph)
    {
        if (!Strides.All(stride => Parts.All(part => graph.Output.Any(o => o.Name == $"{part.Name}_{stride}"))))
        {
            return 0;
        }

        var values = new Values(graph);
        var heads = Array.ConvertAll(Strides, stride => Array.ConvertAll(Parts, part => values.Find($"{part.Name}_{stride}", part.Channels)));
        if (heads.Any(head => head.Any(branch => branch is null || branch.Features != head[0]?.Features || !branch.IsLike(head[0]!))))
        {
            return 0;
        }

        foreach (var (stride, head) in Strides.Zip(heads))
        {
            var (inner, name) = ($"{Name(stride)}/features", Name(stride));
            var first = head.Select(branch => branch!.Pointwise).ToArray();
            var second = head.Select(branch => branch!.Depthwise).ToArray();
            var at = graph.Node.IndexOf(first[0]);
            graph.Node.Insert(at, values.Join(second, inner, name, groups: Channels));
            graph.Node.Insert(at, values.Join(first, first[0].Input[0], inner, groups: 1));
            var gone = head.SelectMany(branch => branch!.Nodes).ToList();
            foreach (var node in gone)
            {
                graph.Node.Remove(node);
            }

            var read = graph.Node.SelectMany(n => n.Input).ToHashSet();
            var unread = gone.SelectMany(n => n.Input).Where(name => !read.Contains(name)).ToHashSet();
            foreach (var weights in graph.Initializer.Where(t => unread.Contains(t.Name)).ToList())
            {
                graph.Initializer.Remove(weights); // ONNX Runtime warns of what nobody reads
            }

            var shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimValue = 1 }, new TensorShapeProto.Types.Dimension { DimValue = Channels }, new TensorShapeProto.Types.Dimension(), new TensorShapeProto.Types.Dimension() } };
            graph.Output.Add(new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = Values.Float, Shape = shape } } });
        }

        foreach (var output in graph.Output.Where(o => Replaces(o.Name)).ToList())
        {
            graph.Output.Remove(output);
        }

        return heads.Length * (Parts.Length - 1) * 2;
    }

    /// <summary>One part of a head: the two convolutions, and what follows them.</summary>
    private sealed record Branch(NodeProto Pointwise, NodeProto Depthwise, IReadOnlyList<NodeProto> Nodes)
    {
        public string Features => Pointwise.Input[0];

        /// <summary>The two can be computed together.</summary>
        public bool IsLike(Branch other) => Attributes(Pointwise) == Attributes(other.Pointwise) && Attributes(Depthwise) == Attributes(other.Depthwise);

        private static string Attributes(NodeProto node) => string.Join(' ', node.Attribute.Where(a => a.Name != "group").Select(a => a.ToString()).Order(StringComparer.Ordinal));
    }

    /// <summary>The values of a graph: who makes them, and how many read them.</summary>
    private sealed class Values
    {
        public const int Float = 1;

        private readonly GraphProto graph;
        private readonly Dictionary<string, TensorProto> weights;
        private readonly Dictionary<string, NodeProto> makers = [];
        private readonly ILookup<string, NodeProto> readers;

        public Values(GraphProto graph)
        {
            this.graph = graph;
            weights = Weights.Of(graph);
            readers = graph.Node.SelectMany(n => n.Input.Select(input => (Input: input, Node: n))).ToLookup(r => r.Input, r => r.Node);
            foreach (var node in graph.Node)
            {
                foreach (var output in node.Output)
                {
                    makers[output] = node;
                }
            }
        }

        /// <summary>Walks back from an output; null where it is made in another way.</summary>
        public Branch? Find(string output, int channels)
        {
            var nodes = new List<NodeProto>();
            var value = output;
            foreach (var type in (string[])["Sigmoid", "Reshape", "Transpose", "Conv", "Conv"])
            {
                if (type == "Sigmoid" && channels > 1)
                {
                    continue; // boxes and points are no scores
                }

                if (!makers.TryGetValue(value, out var node) || node.OpType != type || node.Output.Count != 1 || value != output && (readers[value].Count() != 1 || graph.Output.Any(o => o.Name == value)))
                {
                    return null;
                }

                nodes.Add(node);
                value = node.Input[0];
            }

            var (depthwise, pointwise) = (nodes[^2], nodes[^1]);
            return nodes[^3].Attribute is [{ Name: "perm", Ints: [0, 2, 3, 1] }] && IsRows(nodes[^4], channels)
                && Has(depthwise, [channels, 1, 3, 3], channels) && Has(pointwise, null, 1) && weights[pointwise.Input[1]].Dims is [var outputs, _, 1, 1] && outputs == channels
                ? new Branch(pointwise, depthwise, nodes) : null;
        }

        /// <summary>One convolution in the place of several that read the same, or what belongs together.</summary>
        public NodeProto Join(NodeProto[] nodes, string input, string output, int groups)
        {
            var joined = nodes[0].Clone();
            joined.Name = output;
            joined.Input.Clear();
            joined.Input.Add([input, Concatenated(1), Concatenated(2)]);
            joined.Output.Clear();
            joined.Output.Add(output);
            foreach (var group in joined.Attribute.Where(a => a.Name == "group").ToList())
            {
                joined.Attribute.Remove(group);
            }

            joined.Attribute.Add(new AttributeProto { Name = "group", Type = AttributeProto.Types.AttributeType.Int, I = groups });
            return joined;

            string Concatenated(int index)
            {
                var parts = Array.ConvertAll(nodes, n => weights[n.Input[index]]);
                var tensor = new TensorProto { Name = $"{output}/{index}", DataType = Float, Dims = { parts[0].Dims } };
                tensor.Dims[0] = parts.Sum(p => p.Dims[0]);
                Weights.Write(tensor, [.. parts.SelectMany(p => Weights.Values(p)!)]);
                graph.Initializer.Add(tensor);
                return tensor.Name;
            }
        }

        /// <summary>It makes rows of so many channels.</summary>
        private bool IsRows(NodeProto reshape, int channels) =>
            weights.TryGetValue(reshape.Input[1], out var shape) && Weights.Integers(shape) is [1, -1, var last] && last == channels;

        private bool Has(NodeProto convolution, long[]? shape, int groups) =>
            convolution.Input.Count == 3 && weights.TryGetValue(convolution.Input[1], out var weight) && weights.TryGetValue(convolution.Input[2], out var bias)
            && Weights.AreFloats(weight) && Weights.AreFloats(bias) && weight.Dims.Count == 4 && (shape is null || weight.Dims.SequenceEqual(shape)) && bias.Dims is [var values] && values == weight.Dims[0]
            && (convolution.Attribute.FirstOrDefault(a => a.Name == "group")?.I ?? 1) == groups;
    }
}
