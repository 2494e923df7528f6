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
    private const string Low = "/least";
    private const string High = "/largest";

    private static readonly HashSet<string> Quantised =
    [
        "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "ConvInteger", "MatMulInteger",
    ];

    private readonly ModelProto model;
    private readonly QuantizationPlan plan;

    private GraphQuantizer(ModelProto model)
    {
        this.model = model;
        plan = new QuantizationPlan(model.Graph);
    }

    /// <summary>The graph before quantisation, of the operators that it is quantised with.</summary>
    public byte[] Plain => model.ToByteArray();

    /// <summary>How many convolutions are to be quantised.</summary>
    public int Convolutions => plan.Quantised.Count(n => n.OpType == "Conv");

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
        SteadyGraph.Tidy(model.Graph);
        new NormFolder(model.Graph).Fold();
        SteadyGraph.Raise(model);
        var convolutions = original.Node.Where(n => n.OpType == "Conv").ToList();
        var quantizer = new GraphQuantizer(model) { IsMobile = convolutions.Count(IsApart) * 4 >= convolutions.Count };
        return quantizer.Convolutions > 0 ? quantizer : throw new InvalidDataException("It has no convolution that can be quantised, so that nothing would be gained.");
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
        foreach (var tensor in plan.Tensors.Where(t => plan.Source(t) == t))
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
        new QuantizedGraph(plan, result.Graph, ranges).Write();
        return result.ToByteArray();
    }

    private static bool IsApart(NodeProto conv) => conv.Attribute.Any(a => a is { Name: "group", I: > 1 });
}
