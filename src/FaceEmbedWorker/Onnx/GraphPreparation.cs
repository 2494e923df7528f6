using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Google.Protobuf.Collections;

namespace FaceEmbedWorker.Onnx;

/// <summary>A model rewritten for ONNX Runtime's fast path.</summary>
/// <param name="Model">The ONNX file's bytes; the original ones where nothing was rewritten.</param>
/// <param name="Rewritten">How many nodes were replaced.</param>
/// <param name="Left">Why others were not, each naming its node.</param>
/// <param name="Flushed">How many weights were too small to matter and are zero now.</param>
/// <param name="Removed">How many channels were dead and are gone.</param>
/// <param name="Joined">How many convolutions are computed by another one.</param>
internal sealed record PreparedGraph(byte[] Model, int Rewritten, IReadOnlyList<string> Left, int Flushed = 0, int Removed = 0, int Joined = 0)
{
    public bool IsChanged => Rewritten + Flushed + Removed + Joined > 0;
}

/// <summary>
/// Rewrites what keeps ONNX Runtime out of its blocked layout (NCHWc), without changing what is computed. PRelu has no kernel for that
/// layout, so each one makes the tensor go back and forth; but PRelu(x) = a x + (1 - a) relu(x), and 1 x 1 depthwise convolutions, Relu and
/// Add all have one. MobileFaceNet has 33 of them, ArcFace's IResNets 25 to 100. And weight decay leaves dead channels of weights down to
/// 1e-40: what they compute are denormal numbers, each of which costs an Intel core over a hundred cycles; they become zero, and the
/// channels go. A detector's many narrow heads become one of the layout's width.
/// </summary>
internal static class GraphPreparation
{
    private const int Float = 1;
    private const float Negligible = 1e-15f; // of the largest weight of its tensor: eight digits below float32's own rounding
    private const int FewestShare = 1000; // one in so many weights must be negligible, or the tensor stays as it is
    private static readonly string[] DynamicallyQuantised = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "ConvInteger", "MatMulInteger"];
    private const int FirstOpset = 7; // before, PRelu's slope broadcast by other rules

    /// <exception cref="InvalidDataException">Not an ONNX file.</exception>
    public static PreparedGraph Prepare(byte[] bytes)
    {
        var model = Read(bytes);
        var left = new List<string>();
        var graph = model.Graph ?? throw new InvalidDataException("it has no graph.");
        if (graph.Node.Any(n => DynamicallyQuantised.Contains(n.OpType)))
        {
            return new PreparedGraph(bytes, 0, ["It is quantised dynamically: whatever is rewritten moves the ranges that its steps are made of."]);
        }

        if (GraphQuantizer.IsQuantised(graph))
        {
            return new PreparedGraph(bytes, 0, []); // there is nothing to rewrite, and a scale is no weight
        }

        if (graph.Initializer.Any(Weights.LieElsewhere))
        {
            return new PreparedGraph(bytes, 0, ["Its weights lie in other files."]); // which are looked for beside the file
        }

        if (GraphFault.Of(graph) is { } fault)
        {
            return new PreparedGraph(bytes, 0, [fault]);
        }

        var flushed = graph.Initializer.Sum(Flush);
        var removed = DeadChannels.Remove(graph, left);
        var rewritten = Rewrite(model, left);
        var prepared = new PreparedGraph(bytes, rewritten, left, flushed, removed, DetectorHead.Join(graph));
        return prepared.IsChanged ? prepared with { Model = model.ToByteArray() } : prepared;
    }

    private static int Rewrite(ModelProto model, List<string> left)
    {
        if (!model.Graph.Node.Any(n => n.OpType == "PRelu"))
        {
            return 0;
        }

        var opset = model.OpsetImport.FirstOrDefault(o => o.Domain.Length == 0)?.Version ?? 0;
        if (opset < FirstOpset)
        {
            left.Add($"The graph is of opset {opset}; PRelu is rewritten from opset {FirstOpset} on.");
            return 0;
        }

        return new PReluRewriter(model.Graph).Rewrite(left);
    }

    /// <summary>Makes what is negligible in a tensor of weights zero.</summary>
    /// <returns>How many values.</returns>
    private static int Flush(TensorProto tensor)
    {
        if (Weights.Values(tensor) is not { } values)
        {
            return 0;
        }

        var largest = 0f;
        foreach (var value in values)
        {
            largest = Math.Max(largest, Math.Abs(value)); // stays NaN or infinite, and then nothing is smaller
        }

        var flushed = 0;
        for (var i = 0; i < values.Length; i++)
        {
            if (values[i] != 0 && Math.Abs(values[i]) < largest * Negligible)
            {
                values[i] = 0;
                flushed++;
            }
        }

        if (flushed > 0 && flushed * FewestShare >= values.Length && float.IsFinite(largest))
        {
            Weights.Write(tensor, values);
            return flushed;
        }

        return 0;
    }

    /// <summary>The same model for pictures in batches of another fixed size.</summary>
    /// <exception cref="InvalidDataException">Not an ONNX file.</exception>
    public static byte[] WithBatch(byte[] bytes, int batch)
    {
        var model = Read(bytes);
        if (model.Graph is null)
        {
            throw new InvalidDataException("it has no graph.");
        }

        var constants = model.Graph.Initializer.DistinctBy(t => t.Name).ToDictionary(t => t.Name);
        var was = model.Graph.Input.Where(i => !constants.ContainsKey(i.Name)).Select(i => i.Type?.TensorType?.Shape?.Dim.FirstOrDefault()?.DimValue ?? 0).FirstOrDefault();
        foreach (var value in model.Graph.Input.Where(i => !constants.ContainsKey(i.Name)).Concat(model.Graph.Output))
        {
            if (value.Type?.TensorType?.Shape is { Dim: { Count: > 1 } dimensions })
            {
                dimensions[0] = new TensorShapeProto.Types.Dimension { DimValue = batch };
            }
        }

        // a reshape to [1, -1] keeps one picture's values together, and so do others whose first size is the batch
        foreach (var reshape in model.Graph.Node.Where(n => n.OpType == "Reshape" && n.Input.Count > 1 && !constants.ContainsKey(n.Input[0])))
        {
            if (constants.TryGetValue(reshape.Input[1], out var shape) && Weights.Integers(shape) is { Length: > 1 } sizes && sizes[0] == was && (was > 1 || sizes.Length == 2))
            {
                sizes[0] = batch;
                shape.Int64Data.Clear();
                shape.RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(sizes.AsSpan()));
            }
        }

        model.Graph.ValueInfo.Clear();
        return model.ToByteArray();
    }

    /// <summary>
    /// The same model for pictures of any size: the sides of its input, and what of its outputs follows them, become open. Its reshapes
    /// must be written with -1.
    /// </summary>
    /// <param name="firstSide">The input's dimension that is its height; the width is the next one.</param>
    /// <exception cref="InvalidDataException">Not an ONNX file.</exception>
    public static byte[] WithOpenSize(byte[] bytes, int firstSide)
    {
        var model = Read(bytes);
        if (model.Graph is null)
        {
            throw new InvalidDataException("it has no graph.");
        }

        var constants = model.Graph.Initializer.Select(t => t.Name).ToHashSet();
        foreach (var input in model.Graph.Input.Where(i => !constants.Contains(i.Name)))
        {
            Open(input, firstSide, firstSide + 2);
        }

        foreach (var output in model.Graph.Output)
        {
            Open(output, 1, -1); // not the batch, and not the values of a place
        }

        model.Graph.ValueInfo.Clear();
        return model.ToByteArray();

        static void Open(ValueInfoProto value, int first, int end)
        {
            if (value.Type?.TensorType?.Shape?.Dim is { } dimensions)
            {
                for (var i = first; i < (end < 0 ? dimensions.Count + end : Math.Min(end, dimensions.Count)); i++)
                {
                    dimensions[i] = new TensorShapeProto.Types.Dimension();
                }
            }
        }
    }

    private static ModelProto Read(byte[] bytes)
    {
        try
        {
            return ModelProto.Parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException(e.Message, e);
        }
    }

    /// <summary>One run of the rewrite, in the graph's order: a node's inputs are known when it is reached.</summary>
    private sealed class PReluRewriter
    {
        private readonly GraphProto graph;
        private readonly Dictionary<string, TensorProto> constants;
        private readonly Dictionary<string, NodeProto> producers = [];
        private readonly Dictionary<string, (int Rank, long Channels)> shapes = [];
        private readonly HashSet<string> names = [];
        private readonly List<NodeProto> nodes = [];
        private readonly Dictionary<(string Slope, long Channels), Slope> slopes = [];

        public PReluRewriter(GraphProto graph)
        {
            this.graph = graph;
            constants = Weights.Of(graph);
            foreach (var node in graph.Node)
            {
                foreach (var output in node.Output)
                {
                    producers[output] = node;
                    names.Add(output);
                }
            }

            names.UnionWith(constants.Keys);
            names.UnionWith(graph.Input.Select(i => i.Name));
            foreach (var value in graph.Input.Concat(graph.ValueInfo).Concat(graph.Output))
            {
                if (value.Type?.TensorType?.Shape is { Dim: { Count: > 0 } dimensions })
                {
                    shapes[value.Name] = (dimensions.Count, dimensions.Count > 1 ? dimensions[1].DimValue : 0);
                }
            }
        }

        public int Rewrite(List<string> left)
        {
            var rewritten = 0;
            foreach (var node in graph.Node)
            {
                if (node is { OpType: "PRelu", Domain: "" or "ai.onnx", Input.Count: 2, Output.Count: 1 })
                {
                    if (Obstacle(node, out var slope) is { } obstacle)
                    {
                        left.Add($"PRelu '{(node.Name.Length > 0 ? node.Name : node.Output[0])}' stays: {obstacle}.");
                    }
                    else
                    {
                        Replace(node, slope!);
                        rewritten++;
                        Infer(node);
                        continue;
                    }
                }

                Infer(node);
                nodes.Add(node);
            }

            graph.Node.Clear();
            graph.Node.AddRange(nodes);
            RemoveUnused();
            return rewritten;
        }

        /// <summary>The slopes that no node reads any more; all stay where a subgraph might read them.</summary>
        private void RemoveUnused()
        {
            if (Weights.HaveSubgraphs(nodes))
            {
                return;
            }

            var used = nodes.SelectMany(n => n.Input).Concat(graph.Output.Select(o => o.Name)).ToHashSet();
            foreach (var (slope, _) in slopes.Keys.Where(k => !used.Contains(k.Slope)))
            {
                Remove(graph.Initializer, t => t.Name == slope);
                Remove(graph.Input, i => i.Name == slope);
                Remove(graph.Node, n => n.OpType == "Constant" && n.Output[0] == slope);
            }

            static void Remove<T>(RepeatedField<T> list, Func<T, bool> gone)
            {
                for (var i = list.Count - 1; i >= 0; i--)
                {
                    if (gone(list[i]))
                    {
                        list.RemoveAt(i);
                    }
                }
            }
        }

        /// <summary>What keeps a node from being rewritten exactly; null: nothing.</summary>
        private string? Obstacle(NodeProto node, out Slope? slope)
        {
            slope = null;
            if (!constants.TryGetValue(node.Input[1], out var tensor))
            {
                return "its slope is not a constant";
            }

            if (Weights.Values(tensor) is not { } values)
            {
                return "its slope is not float32 data of this file";
            }

            if (!values.All(float.IsFinite))
            {
                return "its slope is not finite";
            }

            if (!shapes.TryGetValue(node.Input[0], out var shape))
            {
                return "the shape of its input is unknown";
            }

            if (shape.Rank != 4)
            {
                return $"its input has {shape.Rank} dimensions, and the blocked layout is for 4";
            }

            if (shape.Channels <= 0)
            {
                return "the number of its input's channels is unknown";
            }

            // the slope's dimensions stand against the input's last ones: channels are the third from the end
            var perChannel = tensor.Dims is [.., var channels, 1, 1] && channels == shape.Channels && values.Length == channels;
            if (!perChannel && values.Length != 1)
            {
                return $"its slope is [{string.Join(',', tensor.Dims)}], neither one value nor one a channel";
            }

            slope = SlopeOf(node.Input[1], values, shape.Channels);
            return null;
        }

        private void Replace(NodeProto node, Slope slope)
        {
            var (input, output) = (node.Input[0], node.Output[0]);
            var direct = Unique($"{output}/direct");
            if (slope.AtMostOne)
            {
                // relu((1 - a) x) = (1 - a) relu(x) where a <= 1; the Relu is fused into its convolution, and the sum into the other
                var (scaled, positive) = (Unique($"{output}/scaled"), Unique($"{output}/positive"));
                nodes.Add(Depthwise(input, slope.Rest, scaled, slope.Channels));
                nodes.Add(Node("Relu", positive, scaled));
                nodes.Add(Depthwise(input, slope.Direct, direct, slope.Channels));
                nodes.Add(Node("Add", output, direct, positive));
            }
            else
            {
                var (positive, scaled) = (Unique($"{output}/positive"), Unique($"{output}/scaled"));
                nodes.Add(Node("Relu", positive, input));
                nodes.Add(Depthwise(positive, slope.Rest, scaled, slope.Channels));
                nodes.Add(Depthwise(input, slope.Direct, direct, slope.Channels));
                nodes.Add(Node("Add", output, direct, scaled));
            }
        }

        /// <summary>The weights of both convolutions, once for all nodes that share a slope.</summary>
        private Slope SlopeOf(string name, float[] values, long channels)
        {
            if (!slopes.TryGetValue((name, channels), out var slope))
            {
                slope = new Slope(Unique($"{name}/direct"), Unique($"{name}/rest"), channels, values.All(a => a <= 1));
                slopes[(name, channels)] = slope;
                nodes.Add(Constant(slope.Direct, values, channels, a => a));
                nodes.Add(Constant(slope.Rest, values, channels, a => 1 - a));
            }

            return slope;
        }

        /// <summary>
        /// Rank and channels of what a node gives, for the nodes that networks of faces have; nothing where it is not certain.
        /// </summary>
        private void Infer(NodeProto node)
        {
            if (node.Output.Count == 0 || node.Input.Count == 0 || shapes.TryGetValue(node.Output[0], out var known) && known.Channels > 0)
            {
                return;
            }

            (int Rank, long Channels)? shape = node.OpType switch
            {
                "Conv" when node.Input.Count > 1 && constants.TryGetValue(node.Input[1], out var weights) && weights.Dims.Count > 0 => (weights.Dims.Count, weights.Dims[0]),
                "BatchNormalization" or "Relu" or "PRelu" or "LeakyRelu" or "Clip" or "Identity" or "Dropout" or "Sigmoid" or "HardSigmoid" or "Elu" or "Tanh"
                    or "MaxPool" or "AveragePool" or "GlobalAveragePool" or "GlobalMaxPool" or "Pad" => Of(node.Input[0]),
                "Add" or "Sub" or "Mul" or "Div" => node.Input.Select(Of).Where(s => s is { Rank: 4 }).OrderByDescending(s => s!.Value.Channels).FirstOrDefault(),
                _ => null,
            };
            if (shape is { } certain)
            {
                shapes[node.Output[0]] = certain;
            }
        }

        private (int Rank, long Channels)? Of(string name) => shapes.TryGetValue(name, out var shape) ? shape : null;

        private string Unique(string wanted)
        {
            var name = wanted;
            for (var n = 2; !names.Add(name); n++)
            {
                name = $"{wanted}.{n}";
            }

            return name;
        }

        private static NodeProto Node(string type, string output, params string[] inputs) => new() { OpType = type, Name = output, Input = { inputs }, Output = { output } };

        /// <summary>Multiplies each channel by a weight.</summary>
        private static NodeProto Depthwise(string input, string weights, string output, long channels)
        {
            var node = Node("Conv", output, input, weights);
            node.Attribute.Add(new AttributeProto { Name = "group", Type = AttributeProto.Types.AttributeType.Int, I = channels });
            node.Attribute.Add(new AttributeProto { Name = "kernel_shape", Type = AttributeProto.Types.AttributeType.Ints, Ints = { 1, 1 } });
            return node;
        }

        private static NodeProto Constant(string name, float[] values, long channels, Func<float, float> map)
        {
            var raw = new byte[channels * sizeof(float)];
            for (var c = 0; c < channels; c++)
            {
                BinaryPrimitives.WriteSingleLittleEndian(raw.AsSpan(c * sizeof(float)), map(values[values.Length == 1 ? 0 : c]));
            }

            var node = Node("Constant", name);
            var tensor = new TensorProto { Dims = { channels, 1, 1, 1 }, DataType = Float, RawData = ByteString.CopyFrom(raw) };
            node.Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor });
            return node;
        }

        /// <summary>The names of the weights a and 1 - a.</summary>
        private sealed record Slope(string Direct, string Rest, long Channels, bool AtMostOne);
    }
}
