using System.Globalization;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>
/// What keeps a graph from being rewritten: names that are not there, or twice. ONNX Runtime refuses such graphs too, but for those whose
/// nodes it can put in order. And what it would not refuse, or in words that lead nowhere: graphs of nothing, sizes that nothing has.
/// </summary>
internal static class GraphFault
{
    /// <summary>Values of one tensor, a gigabyte of float32. The largest input that is run has a fifth of it.</summary>
    private const double MostValues = 1 << 28;

    /// <inheritdoc cref="Of(GraphProto)"/>
    public static string? Of(byte[] bytes) => Graph(bytes) is { } graph ? Of(graph) : null;

    /// <summary>
    /// Refuses a file without a graph that can be run, and a graph of a few bytes that would fill the memory when it is loaded, before ONNX
    /// Runtime computes its constants. Sizes that are made of the picture's, or while it runs, are not known here.
    /// </summary>
    /// <exception cref="InvalidDataException">With what is wrong, or what makes so many values.</exception>
    public static void MustBeRunnable(byte[] bytes)
    {
        GraphProto graph;
        try
        {
            graph = ModelProto.Parser.ParseFrom(bytes).Graph ?? throw new InvalidDataException("It has no graph: it is damaged, or only a part of a model. Get it again, or export it again.");
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException("It is damaged or cut short. Get it again.", e);
        }

        if (graph.Node.Count == 0)
        {
            throw new InvalidDataException("Its graph has no nodes, and computes nothing. Export it again.");
        }

        var constants = graph.Initializer.Select(t => t.Name).ToHashSet();
        foreach (var (input, sizes) in graph.Input.Where(i => !constants.Contains(i.Name)).Select(i => (i, i.Type?.TensorType?.Shape?.Dim ?? [])))
        {
            if (sizes.Any(d => d.DimValue > int.MaxValue))
            {
                throw new InvalidDataException($"Its input {Named(input.Name)} is [{string.Join(',', sizes.Select(d => d.DimValue > 0 ? d.DimValue.ToString(CultureInfo.InvariantCulture) : "any"))}], which no picture has. Export it again, for pictures of a size that they have.");
            }
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
                return $"Its {node.OpType} reads {Named(missing)}, {(graph.Node.Any(n => n.Output.Contains(missing)) ? "which only a node behind it gives: its nodes are out of order, or in a ring." : "which nothing gives.")}";
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
