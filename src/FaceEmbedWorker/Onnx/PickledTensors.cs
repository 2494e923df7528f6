namespace FaceEmbedWorker.Onnx;

/// <summary>What a pickle of PyTorch makes of its calls and of its references: dictionaries, tensors and their storages.</summary>
internal sealed class PickledTensors
{
    private readonly Dictionary<string, Storage> storages = [];

    /// <summary>The storage of a key, where a tensor refers to it.</summary>
    public Storage? Of(string key) => storages.GetValueOrDefault(key);

    /// <summary>What the calls give that make tensors and dictionaries; of no other is anything made.</summary>
    public static object? Call(PickledName name, object?[] arguments) => (name.Module, name.Name) switch
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

    /// <param name="data">What gives the bytes of the storage of a key.</param>
    /// <exception cref="InvalidDataException">It is none, or of no numbers that are known here.</exception>
    public Storage Find(object? id, Func<string, Func<byte[]>> data)
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
}
