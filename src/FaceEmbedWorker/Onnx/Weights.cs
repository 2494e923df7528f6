using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>Reads and writes the constants of a graph.</summary>
internal static class Weights
{
    private const int Float = 1;
    private const int Int64 = 7;
    private const int External = 1;

    /// <summary>By name: initializers, and the values of Constant nodes.</summary>
    public static Dictionary<string, TensorProto> Of(GraphProto graph)
    {
        var weights = new Dictionary<string, TensorProto>();
        foreach (var tensor in graph.Initializer)
        {
            weights[tensor.Name] = tensor;
        }

        foreach (var node in graph.Node)
        {
            if (node is { OpType: "Constant", Output: [var name], Attribute: [{ Name: "value", T: { } value }] })
            {
                weights[name] = value;
            }
        }

        return weights;
    }

    public static bool LieElsewhere(TensorProto tensor) => tensor.DataLocation == External;

    /// <summary>The file, in the model's folder, of a tensor whose data lie elsewhere; null where none is named.</summary>
    public static string? FileOf(TensorProto tensor) => LieElsewhere(tensor) ? tensor.ExternalData.FirstOrDefault(e => e.Key == "location")?.Value : null;

    /// <summary>The places of a model's weights that lie elsewhere, in order of name; none of what is no ONNX file.</summary>
    public static IReadOnlyList<string> FilesOf(byte[] model)
    {
        try
        {
            return [.. Of(ModelProto.Parser.ParseFrom(model).Graph ?? new GraphProto()).Values.Select(FileOf).OfType<string>().Where(f => f.Length > 0).Distinct().Order(StringComparer.Ordinal)];
        }
        catch (InvalidProtocolBufferException)
        {
            return [];
        }
    }

    /// <summary>The file of a place; null outside of the model's folder, where none is read.</summary>
    public static string? PathOf(string place, string folder)
    {
        if (place.Contains('\0')) // which no file's name has
        {
            return null;
        }

        var path = Path.GetFullPath(place, folder);
        return !Path.IsPathRooted(place) && path.StartsWith(Path.TrimEndingDirectorySeparator(folder) + Path.DirectorySeparatorChar, StringComparison.Ordinal) ? path : null;
    }

    /// <summary>How many bytes its shape has; null of a type whose size is not known here, and of a shape that is none.</summary>
    public static double? BytesOf(TensorProto tensor)
    {
        var size = tensor.DataType switch { 2 or 3 or 9 => 1, 4 or 5 or 10 or 16 => 2, Float or 6 or 12 => 4, Int64 or 11 or 13 => 8, _ => 0 };
        return size == 0 || tensor.Dims.Any(d => d < 0) ? null : size * tensor.Dims.Aggregate(1.0, (a, b) => a * b); // in floating point, for it may be any number
    }

    /// <summary>Where, in the file of <see cref="FileOf"/>, its data end; null where that is not told.</summary>
    public static double? EndOf(TensorProto tensor)
    {
        return Number("offset") + (tensor.ExternalData.Any(e => e.Key == "length") ? Number("length") : BytesOf(tensor));

        double? Number(string key) => tensor.ExternalData.FirstOrDefault(e => e.Key == key) is not { } entry ? 0
            : ulong.TryParse(entry.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
    }

    /// <summary>True for float32 data of this file, as much as the tensor's shape says.</summary>
    public static bool AreFloats(TensorProto tensor)
    {
        var count = tensor.Dims.Aggregate(1.0, (a, b) => a * b); // in floating point, for it may be any number
        return tensor.DataType == Float && !LieElsewhere(tensor) && (tensor.HasRawData ? tensor.RawData.Length == count * sizeof(float) : tensor.FloatData.Count == count);
    }

    /// <summary>A copy of its values; null where <see cref="AreFloats"/> is false.</summary>
    public static float[]? Values(TensorProto tensor) =>
        !AreFloats(tensor) ? null : tensor.HasRawData ? MemoryMarshal.Cast<byte, float>(tensor.RawData.Span).ToArray() : [.. tensor.FloatData];

    /// <summary>A copy of its whole numbers of 64 bits; null where it holds others.</summary>
    public static long[]? Integers(TensorProto tensor) =>
        tensor.DataType != Int64 || LieElsewhere(tensor) || tensor.RawData.Length % sizeof(long) != 0 ? null : tensor.HasRawData ? MemoryMarshal.Cast<byte, long>(tensor.RawData.Span).ToArray() : [.. tensor.Int64Data];

    public static void Write(TensorProto tensor, ReadOnlySpan<float> values)
    {
        tensor.FloatData.Clear();
        tensor.RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(values));
    }

    /// <summary>True where a node has a graph of its own, which may read any value of this one.</summary>
    public static bool HaveSubgraphs(IEnumerable<NodeProto> nodes) => nodes.Any(n => n.OpType is "If" or "Loop" or "Scan");
}
