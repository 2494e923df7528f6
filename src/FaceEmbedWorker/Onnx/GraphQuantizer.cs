using System.Runtime.InteropServices;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>The least and the largest value that a tensor was seen to have.</summary>
internal readonly record struct ValueRange(float Low, float High)
{
    public ValueRange With(float low, float high) => new(Math.Min(Low, low), Math.Max(High, high));
}

/// <summary>
/// Makes a float32 graph of convolutions one of 8 bits, statically: weights int8, symmetric, a scale for each output channel; what flows
/// between them uint8 with one scale and zero point a tensor, from ranges that were seen; biases int32. It is written with QuantizeLinear
/// and DequantizeLinear around each operator, which ONNX Runtime fuses to QLinearConv, QLinearAdd and QGemm. Before, the graph is rewritten
/// to operators that have such kernels: PRelu to 1 x 1 depthwise convolutions, Relu and Add (<see cref="GraphPreparation"/>), a batch norm
/// into its convolution or, in front of one with padding, to such a convolution itself. The last layer's values stay float32.
/// </summary>
internal sealed class GraphQuantizer
{
    private const int Float = 1;
    private const int UInt8 = 2;
    private const int Int8 = 3;
    private const int Int32 = 6;
    private const int Opset = 13; // the first whose DequantizeLinear has a scale for each channel
    private const int IrVersion = 7; // of that opset; from 4 on, weights need not be listed as inputs

    /// <summary>
    /// 7 bits: without VNNI, x64 adds two products of uint8 and int8 in 16 bits, which saturate beyond 64 (ONNX Runtime's reduce_range). So
    /// a file's vectors are the same on every processor, as its space says; it costs nothing that could be measured.
    /// </summary>
    private const int LargestWeight = 63;

    private const double LargestBias = int.MaxValue / 2;
    private const float SmallestScale = 1e-30f;
    private const string Low = "/least";
    private const string High = "/largest";

    private static readonly HashSet<string> Quantised =
    [
        "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "ConvInteger", "MatMulInteger",
    ];

    /// <summary>They move or choose values and compute none: their output has their input's scale.</summary>
    private static readonly HashSet<string> Moving = ["Flatten", "Reshape", "Transpose", "MaxPool"];

    /// <summary>The opset from which an operator means what it means in <see cref="Opset"/>.</summary>
    private static readonly (int From, string[] Operators)[] Steady =
    [
        (1, ["Conv", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "LpNormalization"]),
        (1, ["MatMul", "MaxPool", "ReduceL2", "ReduceMean", "Shape", "Transpose"]),
        (4, ["Concat"]),
        (5, ["Reshape"]),
        (6, ["Cast", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Sqrt", "Tanh"]),
        (7, ["Add", "AveragePool", "Div", "Gemm", "Mul", "PRelu", "Pow", "Sub"]),
        (9, ["BatchNormalization"]),
        (10, ["Slice"]),
        (11, ["Clip", "Pad"]),
    ];

    private readonly ModelProto model;
    private readonly Dictionary<string, TensorProto> weights;
    private readonly Dictionary<string, NodeProto> producers;
    private readonly HashSet<string> outputs;
    private readonly HashSet<NodeProto> quantised = new(ReferenceEqualityComparer.Instance); // protobuf's own equality reads all of a node
    private readonly HashSet<NodeProto> absorbed = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<string, string> activated = []; // what an operator gives -> what the Relu that it absorbs makes of it
    private readonly HashSet<string> tensors = [];

    private GraphQuantizer(ModelProto model)
    {
        this.model = model;
        weights = Weights.Of(model.Graph);
        producers = model.Graph.Node.ToDictionary(n => n.Output[0]);
        outputs = [.. model.Graph.Output.Select(o => o.Name)];
        Choose();
    }

    /// <summary>The graph before quantisation, of the operators that it is quantised with.</summary>
    public byte[] Plain => model.ToByteArray();

    /// <summary>How many convolutions are to be quantised.</summary>
    public int Convolutions => quantised.Count(n => n.OpType == "Conv");

    /// <summary>True where most of its own convolutions keep channels apart: each has so little to compute that 8 bits save nothing.</summary>
    public bool IsMobile { get; private init; }

    /// <exception cref="InvalidDataException">
    /// Not an ONNX file, one that is quantised, or of operators that cannot be told; its message says what to do.
    /// </exception>
    public static GraphQuantizer Of(byte[] bytes)
    {
        GraphSummary.Read(bytes); // says what else it is
        var original = ModelProto.Parser.ParseFrom(bytes).Graph;
        if (IsQuantised(original))
        {
            throw new InvalidDataException("It is quantised already. Quantise the float32 file that it was made from.");
        }

        if (original.Initializer.Any(Weights.LieElsewhere))
        {
            throw new InvalidDataException("Its weights lie in other files. Save it as one file (onnx.save without external data).");
        }

        if (Weights.HaveSubgraphs(original.Node))
        {
            throw new InvalidDataException("It has branches or loops, and only plain networks are quantised.");
        }

        if (GraphFault.Of(original) is { } fault)
        {
            throw new InvalidDataException($"{fault} Export it again.");
        }

        var model = ModelProto.Parser.ParseFrom(GraphPreparation.Prepare(bytes).Model);
        Tidy(model.Graph);
        new NormFolder(model.Graph).Fold();
        Raise(model);
        var convolutions = original.Node.Where(n => n.OpType == "Conv").ToList();
        var quantizer = new GraphQuantizer(model) { IsMobile = convolutions.Count(IsApart) * 4 >= convolutions.Count };
        return quantizer.Convolutions > 0 ? quantizer : throw new InvalidDataException("It has no convolution that can be quantised. Serve it as it is.");
    }

    public static bool IsQuantised(GraphProto graph) => graph.Node.Any(n => Quantised.Contains(n.OpType) || n.Domain == "com.microsoft" && n.OpType.StartsWith('Q'));

    /// <summary>
    /// The plain graph that gives, instead of a vector, the least and the largest value of each tensor that is to be quantised; read with
    /// <see cref="Observe"/>.
    /// </summary>
    public byte[] Probe()
    {
        var probe = model.Clone();
        probe.Graph.Output.Clear();
        foreach (var tensor in tensors.Where(t => Source(t) == t))
        {
            foreach (var (type, name) in new[] { ("ReduceMin", tensor + Low), ("ReduceMax", tensor + High) })
            {
                var node = new NodeProto { OpType = type, Name = name, Input = { tensor }, Output = { name } };
                node.Attribute.Add(new AttributeProto { Name = "keepdims", Type = AttributeProto.Types.AttributeType.Int, I = 0 });
                probe.Graph.Node.Add(node);
                var number = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = Float, Shape = new TensorShapeProto() } };
                probe.Graph.Output.Add(new ValueInfoProto { Name = name, Type = number });
            }
        }

        return probe.ToByteArray();
    }

    /// <summary>Widens ranges by an output of the probe.</summary>
    public static void Observe(Dictionary<string, ValueRange> ranges, string output, float value)
    {
        var tensor = output.EndsWith(Low, StringComparison.Ordinal) ? output[..^Low.Length] : output[..^High.Length];
        ranges[tensor] = ranges.TryGetValue(tensor, out var range) ? range.With(value, value) : new ValueRange(value, value);
    }

    /// <param name="ranges">Of every tensor that the probe tells of.</param>
    /// <exception cref="InvalidDataException">A range is not finite.</exception>
    public byte[] Quantize(IReadOnlyDictionary<string, ValueRange> ranges)
    {
        var result = model.Clone();
        var writer = new Writer(this, result.Graph, ranges);
        writer.Write();
        return result.ToByteArray();
    }

    private static bool IsApart(NodeProto conv) => conv.Attribute.Any(a => a is { Name: "group", I: > 1 });

    /// <summary>Constants become initialisers, and what does nothing at inference goes.</summary>
    private static void Tidy(GraphProto graph)
    {
        var outputs = graph.Output.Select(o => o.Name).ToHashSet();
        var renamed = new Dictionary<string, string>();
        var nodes = new List<NodeProto>();
        foreach (var node in graph.Node)
        {
            for (var i = 0; i < node.Input.Count; i++)
            {
                node.Input[i] = renamed.GetValueOrDefault(node.Input[i], node.Input[i]);
            }

            if (node is { OpType: "Constant", Attribute: [{ Name: "value", T: { } value }] })
            {
                value.Name = node.Output[0];
                graph.Initializer.Add(value);
            }
            else if (node.OpType is "Identity" or "Dropout" && !outputs.Contains(node.Output[0]))
            {
                renamed[node.Output[0]] = node.Input[0];
            }
            else
            {
                nodes.Add(node);
            }
        }

        graph.Node.Clear();
        graph.Node.AddRange(nodes);
        var constants = graph.Initializer.Select(t => t.Name).ToHashSet();
        var inputs = graph.Input.Where(i => !constants.Contains(i.Name)).ToList();
        graph.Input.Clear();
        graph.Input.AddRange(inputs);
        graph.ValueInfo.Clear();
    }

    private static void Raise(ModelProto model)
    {
        var opset = model.OpsetImport.FirstOrDefault(o => o.Domain is "" or "ai.onnx") ?? throw new InvalidDataException("It does not say its opset.");
        if (opset.Version < Opset)
        {
            if (model.Graph.Node.FirstOrDefault(n => n.Domain is "" or "ai.onnx" && !Steady.Any(s => s.From <= opset.Version && s.Operators.Contains(n.OpType))) is { } node)
            {
                throw new InvalidDataException($"It is of opset {opset.Version}, and what {node.OpType} means there may differ from opset {Opset}, "
                    + $"which quantised graphs need. Export it with opset {Opset} or later.");
            }

            opset.Version = Opset;
        }

        model.IrVersion = Math.Max(model.IrVersion, IrVersion);
    }

    /// <summary>
    /// From the end: an operator is quantised where another one takes what it gives in 8 bits. So the last layer gives float32: a product
    /// has such a kernel, a convolution stays as it is.
    /// </summary>
    private void Choose()
    {
        var readers = model.Graph.Node.SelectMany(n => n.Input.Distinct()).GroupBy(i => i).ToDictionary(g => g.Key, g => g.Count());
        foreach (var node in model.Graph.Node.Reverse())
        {
            var wanted = tensors.Contains(activated.GetValueOrDefault(node.Output[0], node.Output[0]));
            if (!(node.Domain is "" or "ai.onnx") || node.Input.Count == 0 || weights.ContainsKey(node.Input[0]))
            {
                continue; // what is made of constants alone is no picture's
            }

            if (Moving.Contains(node.OpType) && wanted)
            {
                tensors.Add(node.Input[0]);
            }
            else if (node.OpType == "Relu" && wanted && producers.TryGetValue(node.Input[0], out var maker) && IsConv(maker, weights) | IsSum(maker)
                && readers[node.Input[0]] == 1 && !outputs.Contains(node.Input[0]))
            {
                absorbed.Add(node); // what is below the zero point, 0, is cut off anyway
                activated[maker.Output[0]] = node.Output[0];
            }
            else if (IsConv(node, weights) || IsProduct(node, weights) || IsSum(node) && wanted)
            {
                tensors.UnionWith(node.Input.Where(i => !weights.ContainsKey(i)));
                if (wanted || node.OpType == "Gemm")
                {
                    quantised.Add(node);
                }
            }
        }
    }

    /// <summary>The tensor whose scale another one has.</summary>
    private string Source(string tensor)
    {
        while (producers.TryGetValue(tensor, out var node) && Moving.Contains(node.OpType) && !weights.ContainsKey(node.Input[0]))
        {
            tensor = node.Input[0];
        }

        return tensor;
    }

    private bool IsSum(NodeProto node) => node is { OpType: "Add", Input.Count: 2 } && !node.Input.Any(weights.ContainsKey);

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

    /// <summary>One quantisation: the nodes again, with QuantizeLinear and DequantizeLinear between them.</summary>
    private sealed class Writer(GraphQuantizer plan, GraphProto graph, IReadOnlyDictionary<string, ValueRange> ranges)
    {
        private readonly List<NodeProto> nodes = [];
        private readonly Dictionary<string, TensorProto> constants = [];
        private readonly Dictionary<string, double> scales = [];

        public void Write()
        {
            foreach (var input in graph.Input)
            {
                Pass(input.Name);
            }

            foreach (var node in plan.model.Graph.Node)
            {
                if (plan.absorbed.Contains(node))
                {
                    continue;
                }

                var copy = node.Clone();
                for (var i = 0; i < copy.Input.Count; i++)
                {
                    copy.Input[i] = plan.tensors.Contains(node.Input[i]) ? Dequantised(node.Input[i]) : node.Input[i];
                }

                if (plan.quantised.Contains(node) && node.OpType != "Add")
                {
                    WriteWeights(node, copy);
                }

                copy.Output[0] = plan.activated.GetValueOrDefault(node.Output[0], node.Output[0]);
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
            if (!plan.tensors.Contains(tensor))
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
            var matrix = plan.weights[node.Input[1]];
            var (values, axis) = (Weights.Values(matrix)!, Axis(node));
            var outputs = (int)matrix.Dims[axis];
            var bias = node.Input.Count > 2 ? Weights.Values(plan.weights[node.Input[2]])! : new float[outputs];
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
}
