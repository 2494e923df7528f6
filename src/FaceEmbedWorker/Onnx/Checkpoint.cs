using System.Buffers.Binary;
using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FaceEmbedWorker.Onnx;

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

    private readonly PickledTensors pickled = new();

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
            saved.Set(tensor.Name, LazyTensor.RowByRow(storage, tensor.Shape));
        }

        Keep(saved);
    }

    /// <summary>A tensor as a checkpoint refers to it.</summary>
    internal static object Lazy(long[] shape, float[] values) => LazyTensor.RowByRow(new Storage("FloatStorage", sizeof(float), values.Length, () => MemoryMarshal.AsBytes(values.AsSpan()).ToArray()), shape);

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
                throw new ForeignFileException($"The file is no checkpoint. It is a tar archive of {SavedNetwork.Listed(files.Select(f => f.Name))}, and there is no checkpoint in it. Get the file itself.");
            case (_, > 1):
                throw new InvalidDataException($"The tar holds several files that may be checkpoints: {SavedNetwork.Listed(meant.Select(f => f.Name))}. Unpack it, and name the one that is meant.");
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

        var unpickler = new Unpickler(PickledTensors.Call, id => pickled.Find(id, key => () =>
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
            if (key is not string name || pickled.Of(name) is not { } storage)
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
            var unpickler = new Unpickler(PickledTensors.Call, id => pickled.Find(id, key => () => data.TryGetValue(key, out var found) ? found : throw new InvalidDataException($"The checkpoint's data of storage '{Unpickler.Clip(key)}' is missing.")));
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

    private void Keep(object? saved)
    {
        var network = SavedNetwork.In(saved, NotBuilt);
        var budget = (long)LargestFile;
        (Key, LeftOut) = (network.Key.Length > 0 ? network.Key : null, network.LeftOut);
        Tensors = network.Tensors.ToDictionary(t => t.Key, t => t.Value.Read(t.Key, ref budget));
    }
}
