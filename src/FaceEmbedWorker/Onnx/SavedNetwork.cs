namespace FaceEmbedWorker.Onnx;

/// <summary>A dictionary of tensors, or those of it that are one network.</summary>
/// <param name="Key">The keys that lead to it, by points.</param>
/// <param name="Python">The same as Python would write it, of what torch.load gives.</param>
internal sealed record SavedNetwork(string Key, string Python, Dictionary<string, LazyTensor> Tensors, IReadOnlyList<string> LeftOut)
{
    private const int DeepestWrapping = 3;
    private const int DeepestNesting = 16;
    private const int MostListed = 12;

    /// <summary>Where a checkpoint holds several networks, as of training with a moving average, the one that is meant.</summary>
    private static readonly string[] StateDicts = ["state_dict", "model_state_dict", "net_state_dict"];

    /// <summary>
    /// Of all dictionaries that hold tensors the one whose names are those of a known network; without its tensors of whole numbers
    /// (counters).
    /// </summary>
    /// <param name="notBuilt">Classes of objects that are told where nothing is found.</param>
    /// <exception cref="InvalidDataException">There is none, or more than one.</exception>
    public static SavedNetwork In(object? saved, IReadOnlyCollection<string> notBuilt)
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
            throw new InvalidDataException($"The checkpoint holds no tensors of floating-point numbers in {DeepestNesting} levels of keys; it has {Listed(Children(saved, "").Select(c => c.Key))}{(notBuilt.Count > 0 ? $", and objects that are not built here: {Listed(notBuilt)}" : "")}. Save the state dict: torch.save(model.state_dict(), path).");
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

        return chosen;
    }

    /// <summary>Keys or names, the first of them.</summary>
    public static string Listed(IEnumerable<string> keys)
    {
        var some = keys.Take(MostListed + 1).Select(k => k.Length > 0 ? $"'{Unpickler.Clip(k)}'" : "no key").ToList();
        return some.Count == 0 ? "no keys" : string.Join(", ", some.Take(MostListed)) + (some.Count > MostListed ? ", …" : "");
    }

    /// <summary>Dictionaries of tensors, each once, with the keys that lead to it.</summary>
    private static IEnumerable<SavedNetwork> Holders(object? value, string key, string python, int depth, HashSet<object> seen)
    {
        if (depth > DeepestNesting || value is not (PickledDictionary or IList<object?>) || !seen.Add(value))
        {
            yield break;
        }

        var (children, own) = (Children(value, python), new Dictionary<string, LazyTensor>());
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
    private static IEnumerable<SavedNetwork> Networks(Dictionary<string, LazyTensor> own, string key, string python)
    {
        var tensors = Shortened(own);
        var parts = NetworkLayout.Of(tensors.Keys) is not null ? [] : tensors.Keys.Where(k => k.Contains('.', StringComparison.Ordinal)).GroupBy(k => k[..(k.IndexOf('.', StringComparison.Ordinal) + 1)])
            .Select(g => (g.Key, Tensors: Shortened(g.ToDictionary(k => k[g.Key.Length..], k => tensors[k])))).Where(p => NetworkLayout.Of(p.Tensors.Keys) is not null).ToList();
        return parts.Count == 0 ? [new SavedNetwork(key, python, tensors, [])] : parts.Select(part =>
        {
            var name = part.Key.TrimEnd('.');
            var inFile = own.Keys.First(k => ReferenceEquals(own[k], part.Tensors.Values.First())); // with what was left out before it
            var before = Unpickler.Clip(inFile[..inFile.LastIndexOf(part.Tensors.Keys.First(), StringComparison.Ordinal)]);
            return new SavedNetwork(key.Length > 0 ? $"{key}.{name}" : name, $"{{k.removeprefix('{before}'): v for k, v in {python}.items() if k.startswith('{before}')}}",
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
}
