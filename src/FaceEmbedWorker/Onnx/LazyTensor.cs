using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Onnx;

/// <summary>A named array of numbers, row by row.</summary>
internal sealed record Tensor(long[] Shape, float[] Values)
{
    public override string ToString() => $"[{string.Join(',', Shape)}]";
}

/// <summary>A tensor as a checkpoint refers to it: a part of a storage.</summary>
internal sealed record LazyTensor(Storage Storage, long Offset, long[] Shape, long[] Strides)
{
    public static LazyTensor RowByRow(Storage storage, long[] shape)
    {
        var strides = new long[shape.Length];
        for (var (d, step) = (shape.Length - 1, 1L); d >= 0; step *= shape[d--])
        {
            strides[d] = step;
        }

        return new LazyTensor(storage, 0, shape, strides);
    }

    /// <summary>Its values, in memory.</summary>
    /// <param name="budget">Bytes of values that may still be made.</param>
    /// <exception cref="InvalidDataException">It reaches beyond its storage, or beyond the budget.</exception>
    public Tensor Read(string name, ref long budget)
    {
        var storage = Storage;
        var count = Shape.Aggregate(1L, (a, b) => checked(a * b));
        var last = Offset;
        for (var d = 0; d < Shape.Length; d++)
        {
            last = checked(last + Math.Max(0, Shape[d] - 1) * Strides[d]);
        }

        if (Offset < 0 || count > storage.Count || count > 0 && last >= storage.Count)
        {
            throw new InvalidDataException($"The tensor '{Unpickler.Clip(name)}' [{string.Join(',', Shape)}] reaches beyond its storage of {storage.Count} values.");
        }

        budget -= count * sizeof(float);
        if (budget < 0)
        {
            throw new InvalidDataException($"The checkpoint's tensors have more than {Checkpoint.LargestFile / 1024 / 1024} MiB, far more than a MobileFaceNet.");
        }

        var all = storage.Values();
        var values = new float[count];
        var index = new long[Shape.Length];
        for (long i = 0, from = Offset; i < count; i++)
        {
            values[i] = all[from];
            for (var d = index.Length - 1; d >= 0; d--)
            {
                from += Strides[d];
                if (++index[d] < Shape[d])
                {
                    break;
                }

                from -= Strides[d] * Shape[d];
                index[d] = 0;
            }
        }

        return new Tensor(Shape, values);
    }
}

/// <summary>Numbers of one type, read when first asked for.</summary>
internal sealed class Storage(string type, int size, long count, Func<byte[]> read)
{
    private float[]? values;

    public int Size => size;

    public long Count => count;

    public bool IsFloat => type is "FloatStorage" or "HalfStorage" or "BFloat16Storage" or "DoubleStorage";

    public float[] Values()
    {
        if (values is null)
        {
            var bytes = read();
            if (count < 0 || bytes.Length != count * size)
            {
                throw new InvalidDataException($"The checkpoint's storage has {bytes.Length} bytes, and {count} values of {size} are announced.");
            }

            values = type switch
            {
                "FloatStorage" => MemoryMarshal.Cast<byte, float>(bytes).ToArray(),
                "DoubleStorage" => Array.ConvertAll(MemoryMarshal.Cast<byte, double>(bytes).ToArray(), v => (float)v),
                "HalfStorage" => Array.ConvertAll(MemoryMarshal.Cast<byte, Half>(bytes).ToArray(), v => (float)v),
                _ => Array.ConvertAll(MemoryMarshal.Cast<byte, ushort>(bytes).ToArray(), v => BitConverter.UInt32BitsToSingle((uint)v << 16)), // bfloat16: the upper half of a float32
            };
        }

        return values;
    }
}
