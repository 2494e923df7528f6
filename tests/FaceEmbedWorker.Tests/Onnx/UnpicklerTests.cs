using System.Numerics;
using System.Text;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>Instructions as Python's pickletools has them, in letters where they are letters.</summary>
public class UnpicklerTests
{
    [Theory]
    [InlineData("N.", null)]
    [InlineData("\u0088.", true)]
    [InlineData("\u0089.", false)]
    [InlineData("I01\n.", true)]
    [InlineData("I00\n.", false)]
    [InlineData("K\u00ff.", 255L)]
    [InlineData("M\u0001\u00ff.", 0xFF01L)]
    [InlineData("J\u00fe\u00ff\u00ff\u00ff.", -2L)]
    [InlineData("J\u0001\u0002\0\0.", 513L)]
    [InlineData("I-12\n.", -12L)]
    [InlineData("I12\r\n.", 12L)]
    [InlineData("L34L\n.", 34L)]
    [InlineData("\u008a\u0001\u00fe.", -2L)]
    [InlineData("\u008a\u0002\0\u0080.", -32768L)]
    [InlineData("\u008a\0.", 0L)]
    [InlineData("\u008a\u0008\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f.", long.MaxValue)]
    [InlineData("\u008a\u0008\0\0\0\0\0\0\0\u0080.", long.MinValue)]
    [InlineData("\u008b\u0002\0\0\0\u0001\u0002.", 513L)]
    [InlineData("G\u003f\u00f8\0\0\0\0\0\0.", 1.5)]
    [InlineData("F-2.5\n.", -2.5)]
    [InlineData("X\u0002\0\0\0\u00c3\u00a4.", "ä")]
    [InlineData("\u008c\u0002ab.", "ab")]
    [InlineData("\u008d\u0003\0\0\0\0\0\0\0abc.", "abc")]
    [InlineData("Vabc\n.", "abc")]
    [InlineData("V\n.", "")]
    [InlineData("U\u0002ab.", "ab")]
    [InlineData("T\u0002\0\0\0ab.", "ab")]
    [InlineData("S'ab'\n.", "ab")]
    [InlineData("S\"ab\"\n.", "ab")]
    [InlineData("\u0080\u0005\u0095\u0003\0\0\0\0\0\0\0K\u0001.", 1L)]
    [InlineData("K\u0001K\u00020.", 1L)] // POP
    [InlineData("K\u0001(K\u0002K\u00031.", 1L)] // POP_MARK
    [InlineData("K\u0001q\u0007K\u0002h\u0007.", 1L)]
    [InlineData("K\u0001r\u0007\0\0\0K\u0002j\u0007\0\0\0.", 1L)]
    [InlineData("K\u0001p300\nK\u0002g300\n.", 1L)]
    [InlineData("K\u0001\u0094K\u0002\u0094K\u0003h\u0001.", 2L)]
    [InlineData("K\u0001K\u0002b.", "The checkpoint's pickle is broken: it sets attributes of something that is no object.")]
    public void An_instruction_gives_its_value(string pickle, object? expected)
    {
        if (expected is string told && told.StartsWith("The ", StringComparison.Ordinal))
        {
            Assert.Equal(told, Broken(pickle));
            return;
        }

        Assert.Equal(expected, Read(pickle));
        Assert.Equal(expected, Read(pickle + "behind it"));
        for (var length = 0; length < pickle.Length; length++)
        {
            Assert.Contains("The checkpoint's pickle is broken: ", Broken(pickle[..length]), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Numbers_may_be_larger_than_64_bits_and_not_than_64_bytes()
    {
        Assert.Equal(BigInteger.One << 64, Read("\u008a\u0009\0\0\0\0\0\0\0\0\u0001."));
        Assert.Equal((BigInteger)long.MaxValue + 1, Read("\u008a\u0009\0\0\0\0\0\0\0\u0080\0."));
        Assert.Equal((BigInteger)long.MinValue - 1, Read("\u008a\u0009\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f\u00ff."));
        Assert.Equal(BigInteger.Pow(10, 30), Read($"L1{new string('0', 30)}L\n."));
        Assert.Equal(BigInteger.Pow(10, 98), Read($"I1{new string('0', 98)}\n."));
        Assert.Contains("0' is no number", Broken($"I1{new string('0', 99)}\n."), StringComparison.Ordinal);
        Assert.Equal(BigInteger.Pow(256, 63), Read($"\u008a\u0040{new string('\0', 63)}\u0001."));
        Assert.EndsWith("it has a number of more than 64 bytes.", Broken($"\u008a\u0041{new string('\0', 64)}\u0001."), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("C\u0002ab.")]
    [InlineData("B\u0002\0\0\0ab.")]
    [InlineData("\u008e\u0002\0\0\0\0\0\0\0ab.")]
    [InlineData("\u0096\u0002\0\0\0\0\0\0\0ab.")]
    public void Bytes_are_bytes(string pickle) => Assert.Equal("ab"u8.ToArray(), Assert.IsType<byte[]>(Read(pickle)));

    [Theory]
    [InlineData("].", "list")]
    [InlineData("(K\u0001K\u0002l.", "list 1 2")]
    [InlineData("]K\u0001aK\u0002a.", "list 1 2")]
    [InlineData("]K\u0001a(K\u0002K\u0003e.", "list 1 2 3")]
    [InlineData(").", "tuple")]
    [InlineData("K\u0009(K\u0001K\u0002t.", "tuple 1 2")]
    [InlineData("K\u0009K\u0001\u0085.", "tuple 1")]
    [InlineData("K\u0009K\u0001K\u0002\u0086.", "tuple 1 2")]
    [InlineData("K\u0009K\u0001K\u0002K\u0003\u0087.", "tuple 1 2 3")]
    [InlineData("K\u00012\u0086.", "tuple 1 1")] // DUP
    [InlineData("}.", "dictionary")]
    [InlineData("(Va\nK\u0001Vb\nK\u0002d.", "dictionary a:1 b:2")]
    [InlineData("}Va\nK\u0001s.", "dictionary a:1")]
    [InlineData("}(Va\nK\u0001Vb\nK\u0002Va\nK\u0003u.", "dictionary a:3 b:2")] // the last counts, where the first stood
    [InlineData("}(K\u0007K\u0001NK\u0002)K\u0003u.", "dictionary 7:1")] // text and whole numbers alone
    [InlineData("\u008f.", "object builtins.set")]
    [InlineData("\u008f(K\u0001K\u0002\u0090.", "object builtins.set")]
    [InlineData("(K\u0001K\u0002\u0091.", "object builtins.set")]
    [InlineData("ca\nb\n.", "name a.b")]
    [InlineData("Va\nVb\n\u0093.", "name a.b")]
    [InlineData("ca\nb\n)R.", "object a.b")]
    [InlineData("ca\nb\n)\u0081.", "object a.b")]
    [InlineData("ca\nb\n)}\u0092.", "object a.b")]
    [InlineData("(K\u0001ia\nb\n.", "object a.b")]
    [InlineData("(ca\nb\nK\u0001o.", "object a.b")]
    [InlineData("ca\nb\n)R)R.", "object a.b")] // what it would give is not built either
    [InlineData("ca\nb\n)R}b.", "object a.b")]
    [InlineData("}Va\nK\u0001s}Vb\nK\u0002sb.", "dictionary a:1")]
    [InlineData("ca\nb\n)RK\u0001a.", "object a.b")] // what is added to it is left alone
    [InlineData("ca\nb\n)RVa\nK\u0001s.", "object a.b")]
    [InlineData("cknown\nf\n(K\u0001K\u0002tR.", "tuple 1 2")]
    [InlineData("cknown\nf\nK\u0001\u0085\u0081.", "tuple 1")]
    [InlineData("(K\u0001K\u0002iknown\nf\n.", "tuple 1 2")]
    [InlineData("(cknown\nf\nK\u0001K\u0002o.", "tuple 1 2")]
    [InlineData("cknown\nf\nK\u0001\u0085}\u0092.", "tuple 1")]
    [InlineData("K\u0005Q.", "loaded 5")]
    public void Collections_names_and_calls(string pickle, string expected) => Assert.Equal(expected, Told(Read(pickle)));

    [Theory]
    [InlineData("", "it ends in the middle")]
    [InlineData(".", "it takes from an empty stack")]
    [InlineData("0.", "it takes from an empty stack")]
    [InlineData("(.", "it takes from an empty stack")]
    [InlineData("(K\u0001\u0086.", "it takes from an empty stack")]
    [InlineData("K\u0001\u0086.", "it takes from an empty stack")]
    [InlineData("(o.", "it takes from an empty stack")]
    [InlineData("K\u0001t.", "a mark is missing")]
    [InlineData("\u0080\u0006N.", "it is of protocol 6, and 5 is the highest known")]
    [InlineData("h\u0001.", "it recalls 1, which it never kept")]
    [InlineData("gx\n.", "'x' is no number")]
    [InlineData("g-1\n.", "'-1' is no number")]
    [InlineData("Fx\n.", "'x' is no number")]
    [InlineData("I1x\n.", "'1x' is no number")]
    [InlineData("Vabc", "it ends in the middle")]
    [InlineData("X\u0003\0\0\0ab", "it ends in the middle")]
    [InlineData("X\u00ff\u00ff\u00ff\u00ffab", "it ends in the middle")]
    [InlineData("\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ffab", "it ends in the middle")]
    [InlineData("\u008d\u0002\0\0\0\u0001\0\0\0ab.", "it ends in the middle")] // 4 GiB and two bytes
    [InlineData("K\u0001K\u0002a.", "it adds to something that is not a list")]
    [InlineData("K\u0001(K\u0002\u0090.", "it adds to something that is not a set")]
    [InlineData("K\u0001(K\u0002K\u0003u.", "it adds to something that is not a dictionary")]
    [InlineData("}(K\u0002u.", "a dictionary has a key without a value")]
    [InlineData("VaK\n\u0093.", "it takes from an empty stack")]
    [InlineData("Va\nK\u0001\u0093.", "a name is not text")]
    [InlineData("K\u0001)R.", "it calls something that is no name")]
    [InlineData("ca\nb\nK\u0001R.", "it calls something that is no name")]
    [InlineData("N\u0001.", "it has the instruction 0x01 at byte 1, which is not one that data needs")]
    [InlineData("\u0080\u0002P1\n.", "it has the instruction 0x50 at byte 2, which is not one that data needs")]
    public void What_is_broken_is_told(string pickle, string why) => Assert.Equal($"The checkpoint's pickle is broken: {why}.", Broken(pickle));

    [Theory]
    [InlineData("os", "system", true)]
    [InlineData("os.path", "join", true)]
    [InlineData("subprocess", "Popen", true)]
    [InlineData("runpy", "run_path", true)]
    [InlineData("builtins", "exec", true)]
    [InlineData("__builtin__", "eval", true)]
    [InlineData("builtins", "getattr", false)]
    [InlineData("a", "eval", false)]
    [InlineData("osprey", "system", false)]
    public void A_call_that_does_harm_is_told_from_one_that_is_not_known(string module, string name, bool harm)
    {
        if (harm)
        {
            Assert.StartsWith($"The checkpoint asks to call '{module}.{name}', which no tensor needs", Broken($"c{module}\n{name}\n)R."), StringComparison.Ordinal);
            Assert.Equal($"name {module}.{name}", Told(Read($"c{module}\n{name}\n."))); // a name alone is none
            return;
        }

        var unpickler = New();
        Assert.Equal($"object {module}.{name}", Told(unpickler.Read(Bytes($"c{module}\n{name}\n)R."), out _)));
        Assert.Equal([$"{module}.{name}"], unpickler.NotBuilt);
    }

    [Fact]
    public void One_pickle_follows_another_and_knows_nothing_of_it()
    {
        var (unpickler, bytes) = (New(), Bytes("K\u0001q\u0001.K\u0002."));
        Assert.Equal(1L, unpickler.Read(bytes, out var length));
        Assert.Equal(5, length);
        Assert.Equal(2L, unpickler.Read(bytes.AsSpan(length), out length));
        Assert.Equal(3, length);
        Assert.Throws<InvalidDataException>(() => unpickler.Read(Bytes("h\u0001."), out _));
        Assert.Throws<InvalidDataException>(() => unpickler.Read(Bytes("K\u0001K\u0002\u0001"), out _));
        Assert.Throws<InvalidDataException>(() => unpickler.Read(Bytes("."), out _));
    }

    [Fact]
    public void Long_texts_are_cut_where_they_are_told()
    {
        Assert.Equal(new string('x', 100), Unpickler.Clip(new string('x', 100)));
        Assert.Equal($"{new string('x', 100)}…", Unpickler.Clip(new string('x', 101)));
    }

    [Fact]
    public void A_key_is_told_as_Python_writes_it()
    {
        var dictionary = new PickledDictionary();
        dictionary.Set(7L, "seven");
        dictionary.Set("a", "text");
        Assert.Equal(("7", "'a'", "'8'"), (dictionary.Quoted("7"), dictionary.Quoted("a"), dictionary.Quoted("8")));
        Assert.Equal(("seven", "text", null), (dictionary["7"], dictionary["a"], dictionary["b"]));
    }

    private static Unpickler New() => new((name, arguments) => name == new PickledName("known", "f") ? arguments : null, id => $"loaded {id}");

    private static object? Read(string pickle) => New().Read(Bytes(pickle), out _);

    private static string Broken(string pickle) => Assert.Throws<InvalidDataException>(() => Read(pickle)).Message;

    private static byte[] Bytes(string pickle) => Encoding.Latin1.GetBytes(pickle);

    private static string Told(object? value) => value switch
    {
        List<object?> list => string.Join(' ', list.Prepend("list")),
        object?[] tuple => string.Join(' ', tuple.Prepend("tuple")),
        PickledDictionary dictionary => string.Join(' ', dictionary.Items.Select(i => $"{i.Key}:{i.Value}").Prepend("dictionary")),
        PickledObject { Class: var type } => $"object {type}",
        PickledName name => $"name {name}",
        _ => $"{value}",
    };
}
