using System.Text;

namespace FaceEmbedWorker.Tests;

/// <summary>Writes ONNX files of one or two operators, by onnx.proto's field numbers: what a user's own model may look like from outside.</summary>
internal static class TinyOnnx
{
    /// <summary>The mean of each channel: float32 [batch, 3, height, width] -> [batch, 3]. A size of 0 is symbolic.</summary>
    public static byte[] ChannelMeans(int height, int width, int batch = 1, string input = "picture") => Model(
        [Node("GlobalAveragePool", [input], "pooled"), Node("Flatten", ["pooled"], "means")],
        Value(input, batch, 3, height, width), Value("means", batch, 3));

    /// <summary>The same behind a PRelu whose slope is no constant, which cannot be rewritten.</summary>
    public static byte[] WithMovingSlope(int height, int width) => Model(
        [Node("PRelu", ["picture", "picture"], "bent"), Node("GlobalAveragePool", ["bent"], "pooled"), Node("Flatten", ["pooled"], "means")],
        Value("picture", 1, 3, height, width), Value("means", 1, 3));

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
