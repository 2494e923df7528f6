using System.Text;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests;

/// <summary>
/// Writes ONNX files of one or two operators, by onnx.proto's field numbers: what a user's own model may look like from outside.
/// </summary>
internal static class TinyOnnx
{
    /// <summary>The mean of each channel: float32 [batch, 3, height, width] -> [batch, 3]. A size of 0 is symbolic.</summary>
    public static byte[] ChannelMeans(int height, int width, int batch = 1, string input = "picture") => Model(
        [Node("GlobalAveragePool", [input], "pooled"), Node("Flatten", ["pooled"], "means")],
        Value(input, batch, 3, height, width), Value("means", batch, 3));

    /// <summary>The picture's own values: float32 [1, 3, side, side] -> [1, 3 x side x side].</summary>
    public static byte[] Values(int side) => Model([Node("Flatten", ["picture"], "values")], Value("picture", 1, 3, side, side), Value("values", 1, 3 * side * side));

    /// <summary>Their logarithms, which a black pixel has none of.</summary>
    public static byte[] Logarithms(int side) => Model([Node("Log", ["picture"], "logarithms"), Node("Flatten", ["logarithms"], "values")], Value("picture", 1, 3, side, side), Value("values", 1, 3 * side * side));

    /// <summary>Channel means behind a PRelu whose slope is no constant, which cannot be rewritten.</summary>
    public static byte[] WithMovingSlope(int height, int width) => Model(
        [Node("PRelu", ["picture", "picture"], "bent"), Node("GlobalAveragePool", ["bent"], "pooled"), Node("Flatten", ["pooled"], "means")],
        Value("picture", 1, 3, height, width), Value("means", 1, 3));

    /// <summary>Settings of a worker whose models are a few operators: a face in every picture, and the mean colour of it as its vector.</summary>
    public static string[] Settings => [$"--Faces:DetectionModel={Path.Combine(Written.Value, "detector.onnx")}", $"--Faces:EmbeddingModel={Path.Combine(Written.Value, "means.onnx")}"];

    private static readonly Lazy<string> Written = new(() =>
    {
        var folder = Directory.CreateTempSubdirectory("face-embed-tiny-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        File.WriteAllBytes(Path.Combine(folder, "detector.onnx"), Detector("scrfd", 64));
        File.WriteAllBytes(Path.Combine(folder, "means.onnx"), ChannelMeans(112, 112));
        return folder;
    });

    /// <summary>The face that <see cref="Detector"/> finds in every picture, in pixels of its input.</summary>
    public static Box DetectorBox { get; } = new(8, 12, 32, 32);

    /// <summary>A detector of a family's output layout that finds the same face in every picture.</summary>
    public static byte[] Detector(string layout, int size)
    {
        var graph = new GraphProto { Name = "detector" };
        graph.Input.Add(Tensor("picture", 1, 3, size, size));
        foreach (var stride in new[] { 8, 16, 32 })
        {
            var (columns, anchors) = (size / stride, layout == "scrfd" ? 2 : 1);
            var places = columns * columns * anchors;
            var (scores, boxes, points) = (new float[places], new float[places * 4], new float[places * 10]);
            if (stride == 16)
            {
                var at = (columns + 1) * anchors; // x 16, y 16
                scores[at] = 0.95f;
                float[] box = layout == "scrfd" ? [0.5f, 0.25f, 1.5f, 1.75f] : [0.5f, 0.75f, (float)Math.Log(2), (float)Math.Log(2)];
                box.CopyTo(boxes, at * 4);
                float[] five = [0, 0.25f, 1, 0.25f, 0.5f, 0.75f, 0, 1.25f, 1, 1.25f];
                five.CopyTo(points, at * 10);
            }

            (string Name, float[] Values, int Last)[] outputs = layout == "scrfd"
                ? [($"{stride}1", scores, 1), ($"{stride}4", boxes, 4), ($"{stride}10", points, 10)]
                : [($"cls_{stride}", scores, 1), ($"obj_{stride}", scores, 1), ($"bbox_{stride}", boxes, 4), ($"kps_{stride}", points, 10)];
            foreach (var (name, values, last) in outputs)
            {
                graph.Initializer.Add(new TensorProto { Name = $"{name}/constant", DataType = 1, Dims = { places, last }, FloatData = { values } });
                graph.Node.Add(new NodeProto { OpType = "Identity", Input = { $"{name}/constant" }, Output = { name } });
                graph.Output.Add(Tensor(name, places, last));
            }
        }

        return new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } } }.ToByteArray();

        static ValueInfoProto Tensor(string name, params int[] sizes) => new()
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { sizes.Select(s => new TensorShapeProto.Types.Dimension { DimValue = s }) } } } },
        };
    }

    private static byte[] Model(byte[][] nodes, byte[] input, byte[] output)
    {
        byte[] graph = [.. nodes.SelectMany(n => Bytes(1, n)), .. Bytes(2, "tiny"u8), .. Bytes(11, input), .. Bytes(12, output)];
        return [.. Number(1, 8), .. Bytes(7, graph), .. Bytes(8, Number(2, 13))];
    }

    private static byte[] Node(string type, string[] inputs, string output) =>
        [.. inputs.SelectMany(i => Bytes(1, Encoding.UTF8.GetBytes(i))), .. Bytes(2, Encoding.UTF8.GetBytes(output)), .. Bytes(4, Encoding.UTF8.GetBytes(type))];

    private static byte[] Value(string name, params int[] sizes)
    {
        byte[] shape = [.. sizes.SelectMany(s => Bytes(1, s > 0 ? Number(1, s) : Bytes(2, "any"u8)))];
        byte[] tensor = [.. Number(1, 1), .. Bytes(2, shape)]; // element type 1: float
        return [.. Bytes(1, Encoding.UTF8.GetBytes(name)), .. Bytes(2, Bytes(1, tensor))];
    }

    private static byte[] Number(int field, int value) => [.. Varint(field << 3), .. Varint(value)];

    private static byte[] Bytes(int field, ReadOnlySpan<byte> value) => [.. Varint(field << 3 | 2), .. Varint(value.Length), .. value];

    private static byte[] Varint(int value)
    {
        var bytes = new List<byte>();
        for (; value > 127; value >>= 7)
        {
            bytes.Add((byte)(value & 127 | 128));
        }

        return [.. bytes, (byte)value];
    }
}
