using System.Buffers.Binary;
using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FaceEmbedWorker.Onnx;

/// <summary>A named array of numbers, row by row.</summary>
internal sealed record Tensor(long[] Shape, float[] Values)
{
    public override string ToString() => $"[{string.Join(',', Shape)}]";
}

/// <summary>
/// The tensors of a PyTorch checkpoint (<c>torch.save</c> of a state dict, alone or under <c>state_dict</c>): the zip format of PyTorch 1.6
/// and later, the stream format before it, and a tar or gzip around either. Storages of float32, float16, bfloat16 and float64 become
/// float32.
/// </summary>
internal sealed class Checkpoint
{
    /// <summary>A face network has some megabytes; this bounds what a file that lies can cost.</summary>
    public const int LargestFile = 256 * 1024 * 1024;

    private const int DeepestWrapping = 3;

    private readonly Dictionary<string, Storage> storages = [];
    private long budget = LargestFile; // bytes of values that may still be made

    private Checkpoint(string sha256) => Sha256 = sha256;

    /// <summary>Of the file as given, lower-case hex.</summary>
    public string Sha256 { get; }

    /// <summary>By name, without a leading <c>module.</c>, in the file's order.</summary>
    public IReadOnlyDictionary<string, Tensor> Tensors { get; private set; } = new Dictionary<string, Tensor>();

    /// <summary>Of tensors that are at hand.</summary>
    public static Checkpoint Of(IReadOnlyDictionary<string, Tensor> tensors) => new("") { Tensors = tensors };

    /// <exception cref="InvalidDataException">Not a checkpoint, a broken one, or one that asks for more than tensors.</exception>
    public static Checkpoint Read(byte[] file)
    {
        var checkpoint = new Checkpoint(Convert.ToHexStringLower(SHA256.HashData(file)));
        try
        {
            checkpoint.ReadAny(file, 0);
        }
        catch (Exception e) when (e is EndOfStreamException or ArgumentException or OverflowException or IOException or InvalidDataException and not { Message: ['T', 'h', 'e', ' ', ..] })
        {
            throw new InvalidDataException($"The checkpoint is truncated or corrupt: {e.Message}", e);
        }

        return checkpoint;
    }

    private void ReadAny(byte[] bytes, int depth)
    {
        if (depth > DeepestWrapping)
        {
            throw new InvalidDataException($"The checkpoint is wrapped in more than {DeepestWrapping} archives.");
        }

        switch (bytes)
        {
            case [0x1f, 0x8b, ..]:
                using (var gzip = new GZipStream(new MemoryStream(bytes), CompressionMode.Decompress))
                {
                    ReadAny(ReadAll(gzip), depth + 1);
                }

                break;
            case [(byte)'P', (byte)'K', 3, 4, ..]:
                ReadZip(bytes);
                break;
            case [0x80, ..]:
                ReadStream(bytes);
                break;
            default:
                if (bytes.Length > 262 && bytes.AsSpan(257, 5).SequenceEqual("ustar"u8))
                {
                    ReadTar(bytes, depth);
                    break;
                }

                throw new InvalidDataException("The file is no PyTorch checkpoint: it is neither a zip nor a pickle, nor a tar or gzip around one.");
        }
    }

    private void ReadTar(byte[] bytes, int depth)
    {
        using var tar = new TarReader(new MemoryStream(bytes));
        while (tar.GetNextEntry() is { } entry)
        {
            if (entry.EntryType is TarEntryType.RegularFile or TarEntryType.V7RegularFile && entry.DataStream is { } data)
            {
                ReadAny(ReadAll(data), depth + 1);
                return;
            }
        }

        throw new InvalidDataException("The tar holds no file.");
    }

    /// <summary><c>NAME/data.pkl</c>, and a file for each storage in <c>NAME/data/</c>.</summary>
    private void ReadZip(byte[] bytes)
    {
        using var zip = new ZipArchive(new MemoryStream(bytes), ZipArchiveMode.Read);
        var pickle = zip.Entries.FirstOrDefault(e => e.FullName == "data.pkl" || e.FullName.EndsWith("/data.pkl", StringComparison.Ordinal))
            ?? throw new InvalidDataException("The zip is no PyTorch checkpoint: it holds no data.pkl.");
        var root = pickle.FullName[..^"data.pkl".Length];
        if (zip.GetEntry($"{root}byteorder") is { } order && System.Text.Encoding.ASCII.GetString(ReadAll(order.Open())).Trim() == "big")
        {
            throw new InvalidDataException("The checkpoint was saved on a big-endian machine; save it again on a little-endian one.");
        }

        var saved = new Unpickler(Call, id => FindStorage(id, key => () =>
        {
            var entry = zip.GetEntry($"{root}data/{key}") ?? throw new InvalidDataException($"The checkpoint's data of storage '{Unpickler.Clip(key)}' is missing.");
            return ReadAll(entry.Open());
        })).Read(ReadAll(pickle.Open()), out _);
        Keep(saved);
    }

    /// <summary>
    /// Five pickles (magic number, version, machine, the object, the storages' keys), then each storage: its count as int64, and its
    /// values.
    /// </summary>
    private void ReadStream(byte[] bytes)
    {
        var (at, data) = (0, new Dictionary<string, byte[]>());
        if (!IsLegacy(Next()))
        {
            throw new InvalidDataException("The pickle is no PyTorch checkpoint: it does not start with PyTorch's magic number.");
        }

        Next(); // the version
        Next(); // sizes of the machine's types
        var saved = Next();
        var keys = Next() as List<object?> ?? throw new InvalidDataException("The checkpoint's list of storages is missing.");
        foreach (var key in keys)
        {
            if (key is not string name || !storages.TryGetValue(name, out var storage))
            {
                throw new InvalidDataException($"The checkpoint holds a storage that no tensor uses.");
            }

            var count = BinaryPrimitives.ReadInt64LittleEndian(Take(8));
            if (count != storage.Count)
            {
                throw new InvalidDataException($"The checkpoint's storage '{Unpickler.Clip(name)}' holds {count} values, and {storage.Count} are announced.");
            }

            data[name] = Take(checked((int)(count * storage.Size))).ToArray();
        }

        Keep(saved);

        object? Next()
        {
            var value = new Unpickler(Call, id => FindStorage(id, key => () => data.TryGetValue(key, out var found) ? found : throw new InvalidDataException($"The checkpoint's data of storage '{Unpickler.Clip(key)}' is missing.")))
                .Read(bytes.AsSpan(at), out var length);
            at += length;
            return value;
        }

        ReadOnlySpan<byte> Take(int count)
        {
            if (count < 0 || count > bytes.Length - at)
            {
                throw new InvalidDataException("The checkpoint ends in the middle of a storage.");
            }

            at += count;
            return bytes.AsSpan(at - count, count);
        }
    }

    private static bool IsLegacy(object? magic) => magic is System.Numerics.BigInteger number && number == System.Numerics.BigInteger.Parse("01950a86a20f9469cfc6c", System.Globalization.NumberStyles.HexNumber, null);

    /// <summary>The calls that build tensors and dictionaries; no other is made.</summary>
    private static object? Call(PickledName name, object?[] arguments) => (name.Module, name.Name) switch
    {
        ("collections", "OrderedDict") => new PickledDictionary(),
        ("torch._utils", "_rebuild_tensor_v2" or "_rebuild_tensor") => Lazy(arguments),
        ("torch._utils", "_rebuild_parameter") => arguments is [LazyTensor data, ..] ? data : throw new InvalidDataException("The checkpoint has a parameter that is no tensor."),
        ("torch", "Size") => arguments is [object?[] sizes] ? sizes : Array.Empty<object?>(),
        _ => null,
    };

    private static LazyTensor Lazy(object?[] arguments) => arguments is [Storage storage, long offset, object?[] shape, object?[] strides, ..]
        && shape.Length == strides.Length && shape.Length <= 8 && Array.TrueForAll(shape, s => s is >= 0L) && Array.TrueForAll(strides, s => s is >= 0L)
        ? new LazyTensor(storage, offset, Array.ConvertAll(shape, s => (long)s!), Array.ConvertAll(strides, s => (long)s!))
        : throw new InvalidDataException("The checkpoint has a tensor without storage, place, sizes and strides.");

    private Storage FindStorage(object? id, Func<string, Func<byte[]>> data)
    {
        if (id is not object?[] and not List<object?> || (id as object?[] ?? [.. (List<object?>)id]) is not ["storage", PickledName type, string key, _, long count, ..])
        {
            throw new InvalidDataException("The checkpoint refers to something that is no storage.");
        }

        if (!storages.TryGetValue(key, out var storage))
        {
            var size = type.Module is "torch" or "torch.cuda" ? type.Name switch
            {
                "FloatStorage" or "IntStorage" => 4,
                "HalfStorage" or "BFloat16Storage" or "ShortStorage" => 2,
                "DoubleStorage" or "LongStorage" => 8,
                "ByteStorage" or "CharStorage" or "BoolStorage" => 1,
                _ => 0,
            } : 0;
            if (size == 0)
            {
                throw new InvalidDataException($"The checkpoint has a storage of type '{Unpickler.Clip(type.ToString())}', which is not one of numbers that are known here.");
            }

            storages[key] = storage = new Storage(type.Name, size, count, data(key));
        }

        return storage;
    }

    /// <summary>The state dict's tensors, without those of whole numbers (counters).</summary>
    private void Keep(object? saved)
    {
        var state = saved as PickledDictionary ?? throw new InvalidDataException("The checkpoint is no dictionary. Save the state dict: torch.save(model.state_dict(), path).");
        state = state["state_dict"] as PickledDictionary ?? state["model_state_dict"] as PickledDictionary ?? state;
        var tensors = new Dictionary<string, Tensor>();
        foreach (var (key, value) in state.Items)
        {
            if (value is LazyTensor { Storage.IsFloat: true } tensor)
            {
                tensors[key.StartsWith("module.", StringComparison.Ordinal) ? key["module.".Length..] : key] = Read(key, tensor);
            }
        }

        Tensors = tensors.Count > 0 ? tensors : throw new InvalidDataException("The checkpoint holds no tensors of floating-point numbers, neither itself nor under 'state_dict'.");
    }

    private Tensor Read(string name, LazyTensor tensor)
    {
        var storage = tensor.Storage;
        var count = tensor.Shape.Aggregate(1L, (a, b) => checked(a * b));
        var last = tensor.Offset;
        for (var d = 0; d < tensor.Shape.Length; d++)
        {
            last = checked(last + Math.Max(0, tensor.Shape[d] - 1) * tensor.Strides[d]);
        }

        if (tensor.Offset < 0 || count > storage.Count || count > 0 && last >= storage.Count)
        {
            throw new InvalidDataException($"The tensor '{Unpickler.Clip(name)}' [{string.Join(',', tensor.Shape)}] reaches beyond its storage of {storage.Count} values.");
        }

        budget -= count * sizeof(float);
        if (budget < 0)
        {
            throw new InvalidDataException($"The checkpoint's tensors have more than {LargestFile / 1024 / 1024} MiB, far more than a MobileFaceNet.");
        }

        var all = storage.Values();
        var values = new float[count];
        var index = new long[tensor.Shape.Length];
        for (long i = 0, from = tensor.Offset; i < count; i++)
        {
            values[i] = all[from];
            for (var d = index.Length - 1; d >= 0; d--)
            {
                from += tensor.Strides[d];
                if (++index[d] < tensor.Shape[d])
                {
                    break;
                }

                from -= tensor.Strides[d] * tensor.Shape[d];
                index[d] = 0;
            }
        }

        return new Tensor(tensor.Shape, values);
    }

    private static byte[] ReadAll(Stream stream)
    {
        using (stream)
        {
            var bytes = new MemoryStream();
            var buffer = new byte[64 * 1024];
            for (int count; (count = stream.Read(buffer)) > 0;)
            {
                bytes.Write(buffer, 0, count);
                if (bytes.Length > LargestFile)
                {
                    throw new InvalidDataException($"The checkpoint unpacks to more than {LargestFile / 1024 / 1024} MiB, far more than a MobileFaceNet.");
                }
            }

            return bytes.ToArray();
        }
    }

    private sealed record LazyTensor(Storage Storage, long Offset, long[] Shape, long[] Strides);

    /// <summary>Numbers of one type, read when first asked for.</summary>
    private sealed class Storage(string type, int size, long count, Func<byte[]> read)
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
}
