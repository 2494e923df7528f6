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
/// The tensors of a checkpoint of PyTorch (<c>torch.save</c> of a state dict, alone or under any key): the zip format of PyTorch 1.6 and
/// later, the stream format before it, safetensors, and a tar or gzip around any. Numbers of float32, float16, bfloat16 and float64 become
/// float32.
/// </summary>
internal sealed class Checkpoint
{
    /// <summary>A face network has some megabytes; this bounds what a file that lies can cost.</summary>
    public const int LargestFile = 256 * 1024 * 1024;

    private const int DeepestWrapping = 3;
    private const int DeepestNesting = 16;
    private const int MostListed = 12;

    /// <summary>Where a checkpoint holds several networks, as of training with a moving average, the one that is meant.</summary>
    private static readonly string[] StateDicts = ["state_dict", "model_state_dict", "net_state_dict"];

    private readonly Dictionary<string, Storage> storages = [];
    private long budget = LargestFile; // bytes of values that may still be made

    private Checkpoint(string sha256) => Sha256 = sha256;

    /// <summary>Of the file as given, lower-case hex.</summary>
    public string Sha256 { get; }

    /// <summary>The key under which the tensors were found, keys within keys by points; null where they are the file's own.</summary>
    public string? Key { get; private set; }

    /// <summary>By name, without what all names begin with, in the file's order.</summary>
    public IReadOnlyDictionary<string, Tensor> Tensors { get; private set; } = new Dictionary<string, Tensor>();

    /// <summary>Names of tensors beside those of the network that was taken, such as a head's.</summary>
    public IReadOnlyList<string> LeftOut { get; private set; } = [];

    /// <summary>Classes of objects in the pickle that are not built, for they are no tensors.</summary>
    public IReadOnlyCollection<string> NotBuilt { get; private set; } = [];

    /// <summary>Of tensors that are at hand.</summary>
    public static Checkpoint Of(IReadOnlyDictionary<string, Tensor> tensors) => new("") { Tensors = tensors };

    /// <summary>Of what a pickle holds.</summary>
    internal static Checkpoint Of(object saved)
    {
        var checkpoint = new Checkpoint("");
        checkpoint.Keep(saved);
        return checkpoint;
    }

    /// <exception cref="ForeignFileException">Not a checkpoint.</exception>
    /// <exception cref="InvalidDataException">A broken one, or one that asks for more than tensors.</exception>
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
            case var _ when SafeTensors.IsStartOf(bytes): // of one header in 32 the length begins as a pickle does
                ReadSafeTensors(bytes);
                break;
            case [0x80, ..]:
                ReadStream(bytes);
                break;
            case var _ when IsTar(bytes):
                ReadTar(bytes, depth);
                break;
            default:
                throw new ForeignFileException($"The file is no checkpoint. {ForeignFile.InPlaceOfCheckpoint(bytes) ?? "It is neither PyTorch's zip or pickle nor safetensors, nor a tar or gzip around one."}");
        }
    }

    private void ReadSafeTensors(byte[] bytes)
    {
        var saved = new PickledDictionary();
        foreach (var tensor in SafeTensors.Read(bytes))
        {
            var type = tensor.Type switch { "F64" => "DoubleStorage", "F32" => "FloatStorage", "F16" => "HalfStorage", "BF16" => "BFloat16Storage", _ => tensor.Type };
            var storage = new Storage(type, tensor.Size, tensor.Length / tensor.Size, () => bytes.AsSpan(tensor.From, tensor.Length).ToArray());
            saved.Set(tensor.Name, RowByRow(storage, tensor.Shape));
        }

        Keep(saved);
    }

    /// <summary>A tensor as a checkpoint refers to it.</summary>
    internal static object Lazy(long[] shape, float[] values) => RowByRow(new Storage("FloatStorage", sizeof(float), values.Length, () => MemoryMarshal.AsBytes(values.AsSpan()).ToArray()), shape);

    private static LazyTensor RowByRow(Storage storage, long[] shape)
    {
        var strides = new long[shape.Length];
        for (var (d, step) = (shape.Length - 1, 1L); d >= 0; step *= shape[d--])
        {
            strides[d] = step;
        }

        return new LazyTensor(storage, 0, shape, strides);
    }

    private static bool IsWrapped(byte[] bytes) => bytes is [0x1f, 0x8b, ..] || IsTar(bytes);

    private static bool IsTar(byte[] bytes) => bytes.Length > 262 && bytes.AsSpan(257, 5).SequenceEqual("ustar"u8);

    private void ReadTar(byte[] bytes, int depth)
    {
        var files = new List<(string Name, byte[] Bytes)>();
        using var tar = new TarReader(new MemoryStream(bytes));
        while (tar.GetNextEntry() is { } entry)
        {
            if (entry.EntryType is TarEntryType.RegularFile or TarEntryType.V7RegularFile && entry.DataStream is { } data)
            {
                files.Add((entry.Name, ReadAll(data)));
            }
        }

        var meant = files.FindAll(f => IsWrapped(f.Bytes) || f.Bytes is [0x80, ..] or [(byte)'P', (byte)'K', 3, 4, ..] || SafeTensors.IsStartOf(f.Bytes));
        switch (files.Count, meant.Count)
        {
            case (0, _):
                throw new ForeignFileException("The file is no checkpoint. It is a tar archive that holds no file.");
            case (_, 0):
                throw new ForeignFileException($"The file is no checkpoint. It is a tar archive of {Listed(files.Select(f => f.Name))}, and there is no checkpoint in it. Get the file itself.");
            case (_, > 1):
                throw new InvalidDataException($"The tar holds several files that may be checkpoints: {Listed(meant.Select(f => f.Name))}. Unpack it, and name the one that is meant.");
            default:
                ReadAny(meant[0].Bytes, depth + 1);
                break;
        }
    }

    /// <summary><c>NAME/data.pkl</c>, and a file for each storage in <c>NAME/data/</c>.</summary>
    private void ReadZip(byte[] bytes)
    {
        using var zip = new ZipArchive(new MemoryStream(bytes), ZipArchiveMode.Read);
        if (zip.Entries.Any(e => e.IsEncrypted) || zip.Entries.FirstOrDefault(e => e.FullName == "data.pkl" || e.FullName.EndsWith("/data.pkl", StringComparison.Ordinal)) is not { } pickle
            || zip.Entries.Any(e => e.FullName.EndsWith("/constants.pkl", StringComparison.Ordinal)))
        {
            throw new ForeignFileException($"The file is no checkpoint. {ForeignFile.InPlaceOfCheckpoint(bytes)}");
        }

        var root = pickle.FullName[..^"data.pkl".Length];
        if (zip.GetEntry($"{root}byteorder") is { } order && System.Text.Encoding.ASCII.GetString(ReadAll(order.Open())).Trim() == "big")
        {
            throw new InvalidDataException("The checkpoint was saved on a big-endian machine; save it again on a little-endian one.");
        }

        var unpickler = new Unpickler(Call, id => FindStorage(id, key => () =>
        {
            var entry = zip.GetEntry($"{root}data/{key}") ?? throw new InvalidDataException($"The checkpoint's data of storage '{Unpickler.Clip(key)}' is missing.");
            return ReadAll(entry.Open());
        }));
        var saved = unpickler.Read(ReadAll(pickle.Open()), out _);
        NotBuilt = unpickler.NotBuilt;
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
            throw new InvalidDataException("The pickle is no PyTorch checkpoint: it does not start with PyTorch's magic number. Save the state dict: torch.save(model.state_dict(), path).");
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
            var unpickler = new Unpickler(Call, id => FindStorage(id, key => () => data.TryGetValue(key, out var found) ? found : throw new InvalidDataException($"The checkpoint's data of storage '{Unpickler.Clip(key)}' is missing.")));
            var value = unpickler.Read(bytes.AsSpan(at), out var length);
            NotBuilt = [.. NotBuilt, .. unpickler.NotBuilt];
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

    /// <summary>What the calls give that make tensors and dictionaries; of no other is anything made.</summary>
    private static object? Call(PickledName name, object?[] arguments) => (name.Module, name.Name) switch
    {
        ("collections", "OrderedDict") => Filled(arguments),
        ("collections", "defaultdict") => new PickledDictionary(),
        ("torch._utils", "_rebuild_tensor_v2" or "_rebuild_tensor") => Rebuilt(arguments),
        ("torch._utils", "_rebuild_parameter" or "_rebuild_parameter_with_state") => arguments is [LazyTensor data, ..] ? data : throw new InvalidDataException("The checkpoint has a parameter that is no tensor."),
        ("torch", "Size") => arguments is [object?[] sizes] ? sizes : Array.Empty<object?>(),
        _ => null,
    };

    /// <summary>Python 2 gives the pairs to the call; later ones set them.</summary>
    private static PickledDictionary Filled(object?[] arguments)
    {
        var dictionary = new PickledDictionary();
        foreach (var pair in arguments is [IList<object?> pairs] ? pairs : [])
        {
            if (pair is IList<object?> { Count: 2 } both)
            {
                dictionary.Set(both[0], both[1]);
            }
        }

        return dictionary;
    }

    private static LazyTensor Rebuilt(object?[] arguments) => arguments is [Storage storage, long offset, object?[] shape, object?[] strides, ..]
        && shape.Length == strides.Length && shape.Length <= 8 && Array.TrueForAll(shape, s => s is >= 0L) && Array.TrueForAll(strides, s => s is >= 0L)
        ? new LazyTensor(storage, offset, Array.ConvertAll(shape, s => (long)s!), Array.ConvertAll(strides, s => (long)s!))
        : throw new InvalidDataException("The checkpoint has a tensor without storage, place, sizes and strides.");

    private Storage FindStorage(object? id, Func<string, Func<byte[]>> data)
    {
        if (id is object?[] and ["module", ..])
        {
            throw new InvalidDataException("The checkpoint is a whole model with its program, which is not run here. In Python: torch.save(model.state_dict(), path).");
        }

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

    /// <summary>
    /// Of all dictionaries that hold tensors the one whose names are those of a known network; without its tensors of whole numbers
    /// (counters).
    /// </summary>
    private void Keep(object? saved)
    {
        if (saved is LazyTensor || saved is IList<object?> list && list.Any(i => i is LazyTensor))
        {
            throw new InvalidDataException($"The checkpoint is {(saved is LazyTensor ? "one tensor without a name" : "a list of tensors without names")}, and a network is told by its tensors' names. Save the state dict: torch.save(model.state_dict(), path).");
        }

        if (saved is not (PickledDictionary or List<object?> or object?[]))
        {
            throw new InvalidDataException($"The checkpoint is no dictionary{(saved is PickledObject { Class: var type } ? $", but an object of '{Unpickler.Clip(type.ToString())}', which is not built here" : "")}. Save the state dict: torch.save(model.state_dict(), path).");
        }

        var holders = Holders(saved, "", "checkpoint", 0, new HashSet<object>(ReferenceEqualityComparer.Instance)).ToList();
        if (holders.Count == 0)
        {
            throw new InvalidDataException($"The checkpoint holds no tensors of floating-point numbers in {DeepestNesting} levels of keys; it has {Listed(Children(saved, "").Select(c => c.Key))}{(NotBuilt.Count > 0 ? $", and objects that are not built here: {Listed(NotBuilt)}" : "")}. Save the state dict: torch.save(model.state_dict(), path).");
        }

        var known = holders.FindAll(h => NetworkLayout.Of(h.Tensors.Keys) is not null);
        var meant = known.Count == 0 ? holders : known;
        var chosen = meant.Count == 1 ? meant[0] : meant.MinBy(h => Array.IndexOf(StateDicts, h.Key) is >= 0 and var place ? place : int.MaxValue)!;
        if (meant.Count > 1 && !StateDicts.Contains(chosen.Key))
        {
            throw new InvalidDataException(known.Count > 0
                ? $"The checkpoint holds several networks: {Listed(known.Select(h => h.Key))}. Save the one that is meant alone: torch.save({known[^1].Python}, path)."
                : $"The checkpoint holds tensors under {Listed(holders.Select(h => h.Key))}, and none of them is a network that is converted here. {NetworkLayout.Describe(holders.MaxBy(h => h.Tensors.Count)!.Tensors.Keys)}.");
        }

        Key = chosen.Key.Length > 0 ? chosen.Key : null;
        LeftOut = chosen.LeftOut;
        Tensors = chosen.Tensors.ToDictionary(t => t.Key, t => Read(t.Key, t.Value));
    }

    /// <summary>A dictionary of tensors, or those of it that are one network.</summary>
    /// <param name="Key">The keys that lead to it, by points.</param>
    /// <param name="Python">The same as Python would write it, of what torch.load gives.</param>
    private sealed record Holder(string Key, string Python, Dictionary<string, LazyTensor> Tensors, IReadOnlyList<string> LeftOut);

    private static string Listed(IEnumerable<string> keys)
    {
        var some = keys.Take(MostListed + 1).Select(k => k.Length > 0 ? $"'{Unpickler.Clip(k)}'" : "no key").ToList();
        return some.Count == 0 ? "no keys" : string.Join(", ", some.Take(MostListed)) + (some.Count > MostListed ? ", …" : "");
    }

    /// <summary>Dictionaries of tensors, each once, with the keys that lead to it.</summary>
    private static IEnumerable<Holder> Holders(object? value, string key, string python, int depth, HashSet<object> seen)
    {
        var children = Children(value, python);
        if (depth > DeepestNesting || children.Count == 0 || !seen.Add(value!))
        {
            yield break;
        }

        var own = new Dictionary<string, LazyTensor>();
        foreach (var (name, child, _) in children)
        {
            if (value is PickledDictionary && child is LazyTensor { Storage.IsFloat: true } tensor)
            {
                own[name] = tensor;
            }
        }

        var place = children.Exists(c => c.Value is PickledDictionary or List<object?> or object?[]) ? $"{{k: v for k, v in {python}.items() if torch.is_tensor(v)}}" : python;
        foreach (var holder in own.Count > 0 ? Networks(own, key, place) : [])
        {
            yield return holder;
        }

        foreach (var (name, child, way) in children)
        {
            foreach (var holder in Holders(child, key.Length > 0 ? $"{key}.{name}" : name, way, depth + 1, seen))
            {
                yield return holder;
            }
        }
    }

    /// <summary>What a dictionary, a list or a tuple holds.</summary>
    private static List<(string Key, object? Value, string Python)> Children(object? value, string python) => value switch
    {
        PickledDictionary dictionary => [.. dictionary.Items.Select(i => (i.Key, i.Value, $"{python}[{dictionary.Quoted(i.Key)}]"))],
        IList<object?> list => [.. list.Select((item, i) => ($"{i}", item, $"{python}[{i}]"))],
        _ => [],
    };

    /// <summary>
    /// The networks in a dictionary of tensors: one, or, where it is none that is known, those parts of it that are: a backbone beside its
    /// head, a network and its moving average.
    /// </summary>
    private static IEnumerable<Holder> Networks(Dictionary<string, LazyTensor> own, string key, string python)
    {
        var tensors = Shortened(own);
        var parts = NetworkLayout.Of(tensors.Keys) is not null ? [] : tensors.Keys.Where(k => k.Contains('.', StringComparison.Ordinal)).GroupBy(k => k[..(k.IndexOf('.', StringComparison.Ordinal) + 1)])
            .Select(g => (g.Key, Tensors: Shortened(g.ToDictionary(k => k[g.Key.Length..], k => tensors[k])))).Where(p => NetworkLayout.Of(p.Tensors.Keys) is not null).ToList();
        return parts.Count == 0 ? [new Holder(key, python, tensors, [])] : parts.Select(part =>
        {
            var name = part.Key.TrimEnd('.');
            var inFile = own.Keys.First(k => ReferenceEquals(own[k], part.Tensors.Values.First())); // with what was left out before it
            var before = Unpickler.Clip(inFile[..inFile.LastIndexOf(part.Tensors.Keys.First(), StringComparison.Ordinal)]);
            return new Holder(key.Length > 0 ? $"{key}.{name}" : name, $"{{k.removeprefix('{before}'): v for k, v in {python}.items() if k.startswith('{before}')}}",
                part.Tensors, [.. tensors.Keys.Where(k => !k.StartsWith(part.Key, StringComparison.Ordinal))]);
        });
    }

    /// <summary>Without what PyTorch's wrappers put before names: <c>module.</c>, and what all of them begin with, such as <c>backbone.</c>.</summary>
    private static Dictionary<string, LazyTensor> Shortened(Dictionary<string, LazyTensor> tensors)
    {
        const string wrapper = "module.";
        for (var wrapped = 0; wrapped < DeepestWrapping; wrapped++)
        {
            var first = tensors.Keys.First();
            var common = first[..(first.IndexOf('.', StringComparison.Ordinal) + 1)];
            var prefix = tensors.Keys.Any(k => k.StartsWith(wrapper, StringComparison.Ordinal)) ? wrapper
                : common.Length > 0 && tensors.Count > 1 && tensors.Keys.All(k => k.StartsWith(common, StringComparison.Ordinal)) ? common : null;
            if (prefix is null)
            {
                break;
            }

            var shorter = new Dictionary<string, LazyTensor>();
            foreach (var (name, tensor) in tensors)
            {
                shorter[name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : name] = tensor;
            }

            tensors = shorter;
        }

        return tensors;
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
            for (int count; (count = Read()) > 0;)
            {
                bytes.Write(buffer, 0, count);
                if (bytes.Length > LargestFile)
                {
                    throw new InvalidDataException($"The checkpoint unpacks to more than {LargestFile / 1024 / 1024} MiB, far more than a MobileFaceNet.");
                }
            }

            return bytes.ToArray();

            int Read()
            {
                try
                {
                    return stream.Read(buffer);
                }
                catch (InvalidDataException e)
                {
                    throw new InvalidDataException("The archive around the checkpoint is damaged: what is in it cannot be unpacked. Get it again.", e);
                }
            }
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
