using System.Globalization;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>
/// What keeps a graph from being rewritten: names that are not there, or twice. ONNX Runtime refuses such graphs too. And what it would not
/// refuse: values that no memory holds.
/// </summary>
internal static class GraphFault
{
    /// <summary>Values of one tensor, a gigabyte of float32. The largest input that is run has a fifth of it.</summary>
    private const double MostValues = 1 << 28;

    /// <inheritdoc cref="Of(GraphProto)"/>
    public static string? Of(byte[] bytes) => Graph(bytes) is { } graph ? Of(graph) : null;

    /// <summary>
    /// Refuses a graph of a few bytes that would fill the memory when it is loaded, before ONNX Runtime computes its constants. Sizes that
    /// are made of the picture's are not known here.
    /// </summary>
    /// <exception cref="InvalidDataException">With what makes so many values.</exception>
    public static void MustBeBounded(byte[] bytes)
    {
        if (Graph(bytes) is not { } graph)
        {
            return; // of which ONNX Runtime says what it is
        }

        foreach (var output in graph.Output)
        {
            Check($"output {Named(output.Name)}", output.Type?.TensorType?.Shape?.Dim.Select(d => d.DimValue).Where(size => size > 0) ?? []);
        }

        var weights = Weights.Of(graph);
        foreach (var node in graph.Node)
        {
            var sizes = node.OpType switch { "ConstantOfShape" => 0, "Expand" or "Tile" => 1, _ => -1 };
            if (sizes >= 0 && sizes < node.Input.Count && weights.TryGetValue(node.Input[sizes], out var shape))
            {
                Check(node.OpType, Weights.Integers(shape) ?? []);
            }
        }

        static void Check(string what, IEnumerable<long> sizes)
        {
            if (sizes.Aggregate(1.0, (a, b) => a * b) is var values and > MostValues)
            {
                throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"Its {what} has {values:N0} values, and {MostValues:N0} are the most that is run here. It is no network of faces, or was exported wrongly."));
            }
        }
    }

    private static GraphProto? Graph(byte[] bytes)
    {
        try
        {
            return ModelProto.Parser.ParseFrom(bytes).Graph;
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }

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
