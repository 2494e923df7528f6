using System.Buffers.Binary;
using System.Text.Json;

namespace FaceEmbedWorker.Onnx;

/// <summary>A tensor of a safetensors file: its place in the file's bytes.</summary>
internal readonly record struct StoredTensor(string Name, string Type, int Size, long[] Shape, int From, int Length);

/// <summary>
/// Reads the header of a safetensors file: 8 bytes of length, JSON of names with type, shape and place, and the data. As the format's own
/// reader does, it asks that the tensors cover the data without gap or overlap, so that nothing can hide in it.
/// </summary>
internal static class SafeTensors
{
    private const int LengthSize = sizeof(ulong);
    private const int LargestHeader = 100_000_000; // as the format's own reader allows
    private const int MostDimensions = 8;

    public static bool IsStartOf(ReadOnlySpan<byte> bytes) =>
        bytes.Length > LengthSize + 1 && bytes[..LengthSize].ContainsAnyExceptInRange((byte)9, (byte)126) /* a number, and no text */ && bytes[LengthSize] == '{' && bytes[LengthSize + 1] is (byte)'"' or (byte)'}' or (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n';

    /// <exception cref="InvalidDataException">With what is wrong of the file.</exception>
    public static List<StoredTensor> Read(byte[] bytes)
    {
        var length = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        Require(length <= LargestHeader && length <= (ulong)(bytes.Length - LengthSize), $"its header is said to have {length} bytes, of {bytes.Length - LengthSize} that follow");
        var data = LengthSize + (int)length;
        var tensors = new List<StoredTensor>();
        try
        {
            using var header = JsonDocument.Parse(bytes.AsMemory(LengthSize, (int)length), new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = 4 });
            foreach (var entry in header.RootElement.EnumerateObject())
            {
                if (entry.Name == "__metadata__")
                {
                    Require(entry.Value.ValueKind == JsonValueKind.Object && entry.Value.EnumerateObject().All(m => m.Value.ValueKind == JsonValueKind.String), "its __metadata__ is no dictionary of text by names");
                    continue;
                }

                tensors.Add(Tensor(entry.Name, entry.Value, data, bytes.Length - data));
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) // the latter of text that is no UTF-8
        {
            throw Broken($"its header is not as the format wants it: {(e is InvalidOperationException ? "text that is no UTF-8" : e is JsonException { LineNumber: { } line, BytePositionInLine: { } column } ? $"no JSON at line {line + 1}, byte {column + 1}" : "a name is there twice")}");
        }

        var at = data;
        foreach (var tensor in tensors.OrderBy(t => t.From).ThenBy(t => t.Length))
        {
            Require(tensor.From == at, $"the tensor '{Unpickler.Clip(tensor.Name)}' begins at byte {tensor.From - data} of the data, where {at - data} is next");
            at += tensor.Length;
        }

        Require(at == bytes.Length, $"{bytes.Length - at} bytes at its end belong to no tensor");
        return tensors;
    }

    private static StoredTensor Tensor(string name, JsonElement entry, int data, int length)
    {
        Require(entry.ValueKind == JsonValueKind.Object, $"the tensor '{Unpickler.Clip(name)}' is no object with dtype, shape and data_offsets");
        var (type, shape, offsets) = (TypeOf(name, entry), Numbers(name, entry, "shape"), Numbers(name, entry, "data_offsets"));
        Require(entry.GetPropertyCount() == 3, $"the tensor '{Unpickler.Clip(name)}' has more than dtype, shape and data_offsets");
        var size = SizeOf(type);
        Require(size > 0, $"the tensor '{Unpickler.Clip(name)}' is of type '{Unpickler.Clip(type)}', which is not known here");
        Require(shape.Length <= MostDimensions && shape.Aggregate(1.0, (a, b) => a * b) <= int.MaxValue, $"the tensor '{Unpickler.Clip(name)}' is too large");
        Require(offsets is [>= 0, var end] && end >= offsets[0] && end <= length, $"the tensor '{Unpickler.Clip(name)}' lies outside of the data");
        var count = shape.Aggregate(1L, (a, b) => a * b);
        Require(offsets[1] - offsets[0] == count * size, $"the tensor '{Unpickler.Clip(name)}' [{string.Join(',', shape)}] of {type} wants {count * size} bytes, and has {offsets[1] - offsets[0]}");
        return new StoredTensor(name, type, size, shape, data + (int)offsets[0], (int)(count * size));
    }

    private static int SizeOf(string type) => type switch
    {
        "F64" or "I64" or "U64" => 8,
        "F32" or "I32" or "U32" => 4,
        "F16" or "BF16" or "I16" or "U16" => 2,
        "I8" or "U8" or "BOOL" => 1,
        _ => 0,
    };

    private static string TypeOf(string name, JsonElement entry) => entry.TryGetProperty("dtype", out var type) && type.ValueKind == JsonValueKind.String ? type.GetString()!
        : throw Broken($"the tensor '{Unpickler.Clip(name)}' has no dtype that is text");

    private static long[] Numbers(string name, JsonElement entry, string field) =>
        entry.TryGetProperty(field, out var array) && array.ValueKind == JsonValueKind.Array && array.EnumerateArray().All(n => n.ValueKind == JsonValueKind.Number && n.TryGetInt64(out var number) && number >= 0)
            ? [.. array.EnumerateArray().Select(n => n.GetInt64())] : throw Broken($"the tensor '{Unpickler.Clip(name)}' has no {field} that is a list of whole numbers from 0 on");

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw Broken(otherwise);
        }
    }

    private static InvalidDataException Broken(string why) => new($"The safetensors file is broken: {why}.");
}
