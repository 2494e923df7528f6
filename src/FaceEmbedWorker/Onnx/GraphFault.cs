namespace FaceEmbedWorker.Onnx;

/// <summary>What keeps a graph from being rewritten: names that are not there, or twice. ONNX Runtime refuses such graphs too.</summary>
internal static class GraphFault
{
    /// <summary>One sentence; null where each node reads what comes before it.</summary>
    public static string? Of(GraphProto graph)
    {
        var known = new HashSet<string>();
        foreach (var input in graph.Input)
        {
            if (!known.Add(input.Name))
            {
                return $"It has two inputs of the name {Named(input.Name)}.";
            }
        }

        var constants = new HashSet<string>();
        foreach (var tensor in graph.Initializer)
        {
            if (!constants.Add(tensor.Name))
            {
                return $"It has two tensors of the name {Named(tensor.Name)}.";
            }
        }

        known.UnionWith(constants);
        foreach (var node in graph.Node)
        {
            if (node.Input.FirstOrDefault(i => i.Length > 0 && !known.Contains(i)) is { } missing)
            {
                return $"Its {node.OpType} reads {Named(missing)}, which nothing before it gives.";
            }

            if (node.Output.Count == 0 || node.Output[0].Length == 0)
            {
                return $"Its {node.OpType} gives nothing.";
            }

            if (node.Output.FirstOrDefault(o => o.Length > 0 && !known.Add(o)) is { } twice)
            {
                return $"It has two values of the name {Named(twice)}.";
            }
        }

        return graph.Output.FirstOrDefault(o => !known.Contains(o.Name)) is { } output ? $"Its output {Named(output.Name)} is given by nothing." : null;
    }

    private static string Named(string name) => $"'{Unpickler.Clip(name)}'";
}
