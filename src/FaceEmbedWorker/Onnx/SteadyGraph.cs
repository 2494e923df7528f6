namespace FaceEmbedWorker.Onnx;

/// <summary>Brings a graph to the opset that quantised graphs need, without what does nothing at inference.</summary>
internal static class SteadyGraph
{
    private const int Opset = 13; // the first whose DequantizeLinear has a scale for each channel
    private const int IrVersion = 7; // of that opset; from 4 on, weights need not be listed as inputs

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

    /// <summary>Constants become initialisers, and what does nothing at inference goes.</summary>
    public static void Tidy(GraphProto graph)
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

    /// <exception cref="InvalidDataException">An operator may mean something else there.</exception>
    public static void Raise(ModelProto model)
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
}
