using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace FaceEmbedWorker.Onnx;

/// <summary>A name that a pickle refers to, such as <c>torch.FloatStorage</c>. It is only ever compared.</summary>
internal sealed record PickledName(string Module, string Name)
{
    public override string ToString() => $"{Module}.{Name}";
}

/// <summary>An object of a pickle that is not built: nobody here knows its class, nor needs it.</summary>
internal sealed record PickledObject(PickledName Class);

/// <summary>
/// Reads a pickle (Python's object stream, protocols 0 to 5) as data: numbers, text, lists, tuples and dictionaries, and the few calls that
/// its user knows. Nothing is run: what any other call would give is an object that is not built, and one that is made to do harm is an
/// error that names it.
/// </summary>
/// <param name="call">What a call gives, for a name and its arguments; null where the name is not known.</param>
/// <param name="load">What a persistent id stands for.</param>
internal sealed class Unpickler(Func<PickledName, object?[], object?> call, Func<object?, object> load)
{
    private static readonly object Mark = new();

    /// <summary>
    /// Whose functions pickles call to do harm. None would be run: a file that asks for them is no checkpoint, and that is told.
    /// </summary>
    private static readonly HashSet<string> Hostile = ["os", "posix", "nt", "subprocess", "sys", "runpy", "pty", "socket", "shutil", "importlib", "ctypes", "webbrowser"];

    private static readonly HashSet<string> HostileBuiltins = ["eval", "exec", "execfile", "compile", "open", "apply", "__import__", "breakpoint"];

    private static readonly PickledObject Set = new(new PickledName("builtins", "set"));

    private readonly List<object?> stack = [];
    private readonly Dictionary<int, object?> memo = [];
    private readonly HashSet<string> notBuilt = [];

    /// <summary>The names of what was called and is not known.</summary>
    public IReadOnlyCollection<string> NotBuilt => notBuilt;

    /// <summary>Reads one pickle.</summary>
    /// <param name="bytes">From its start; what follows it is left alone.</param>
    /// <param name="length">How many bytes it took.</param>
    /// <exception cref="InvalidDataException">No pickle, a broken one, or one that asks for more than data.</exception>
    public object? Read(ReadOnlySpan<byte> bytes, out int length)
    {
        stack.Clear();
        memo.Clear();
        var reader = new Reader(bytes);
        while (true)
        {
            var at = reader.At;
            var code = (char)reader.Byte();
            if (code == '.')
            {
                length = reader.At;
                return Pop();
            }

            Step(code, ref reader, at);
        }
    }

    private void Step(char code, ref Reader reader, int at)
    {
        switch (code)
        {
            case '\x80': // PROTO
                var protocol = reader.Byte();
                Require(protocol <= 5, $"it is of protocol {protocol}, and 5 is the highest known");
                break;
            case '\x95': // FRAME
                reader.Take(8);
                break;
            case '(':
                stack.Add(Mark);
                break;
            case '0':
                Pop();
                break;
            case '1': // POP_MARK
                ToMark();
                break;
            case '2': // DUP
                stack.Add(Peek());
                break;
            case 'N':
                stack.Add(null);
                break;
            case '\x88' or '\x89':
                stack.Add(code == '\x88');
                break;
            case 'K':
                stack.Add((long)reader.Byte());
                break;
            case 'M':
                stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(reader.Take(2)));
                break;
            case 'J':
                stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(reader.Take(4)));
                break;
            case '\x8a': // LONG1
                AddLong(reader.Take(reader.Byte()));
                break;
            case '\x8b': // LONG4
                AddLong(reader.Take(reader.Length(4)));
                break;
            case 'I' or 'L':
                stack.Add(Integer(reader.Line()));
                break;
            case 'G':
                stack.Add(BinaryPrimitives.ReadDoubleBigEndian(reader.Take(8)));
                break;
            case 'F':
                var text = reader.Line();
                Require(double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number), $"'{Clip(text)}' is no number");
                stack.Add(number);
                break;
            case 'X': // BINUNICODE
                stack.Add(reader.Text(reader.Length(4)));
                break;
            case '\x8c': // SHORT_BINUNICODE
                stack.Add(reader.Text(reader.Byte()));
                break;
            case '\x8d': // BINUNICODE8
                stack.Add(reader.Text(reader.Length(8)));
                break;
            case 'V':
                stack.Add(reader.Line());
                break;
            case 'U': // SHORT_BINSTRING, of Python 2
                stack.Add(reader.Text(reader.Byte()));
                break;
            case 'T':
                stack.Add(reader.Text(reader.Length(4)));
                break;
            case 'S':
                stack.Add(reader.Line().Trim('\'', '"'));
                break;
            case 'C': // SHORT_BINBYTES
                stack.Add(reader.Take(reader.Byte()).ToArray());
                break;
            case 'B':
                stack.Add(reader.Take(reader.Length(4)).ToArray());
                break;
            case '\x8e' or '\x96': // BINBYTES8, BYTEARRAY8
                stack.Add(reader.Take(reader.Length(8)).ToArray());
                break;
            case ']':
                stack.Add(new List<object?>());
                break;
            case 'l':
                stack.Add(ToMark().ToList());
                break;
            case 'a': // APPEND
                Append(Last(1));
                break;
            case 'e': // APPENDS
                Append(ToMark());
                break;
            case '\x8f': // EMPTY_SET
                stack.Add(Set);
                break;
            case '\x90': // ADDITEMS, to a set
                ToMark();
                Top<PickledObject>("a set");
                break;
            case '\x91': // FROZENSET
                ToMark();
                stack.Add(Set);
                break;
            case ')':
                stack.Add(Array.Empty<object?>());
                break;
            case 't':
                stack.Add(ToMark());
                break;
            case '\x85' or '\x86' or '\x87': // TUPLE1 to TUPLE3
                stack.Add(Last(code - '\x84'));
                break;
            case '}':
                stack.Add(new PickledDictionary());
                break;
            case 'd':
                var pairs = ToMark();
                stack.Add(new PickledDictionary());
                SetAll(pairs);
                break;
            case 's': // SETITEM
                SetAll(Last(2));
                break;
            case 'u': // SETITEMS
                SetAll(ToMark());
                break;
            case 'q':
                memo[reader.Byte()] = Peek();
                break;
            case 'r':
                memo[BinaryPrimitives.ReadInt32LittleEndian(reader.Take(4))] = Peek();
                break;
            case 'p':
                memo[Key(reader.Line())] = Peek();
                break;
            case '\x94': // MEMOIZE
                memo[memo.Count] = Peek();
                break;
            case 'h':
                stack.Add(Memo(reader.Byte()));
                break;
            case 'j':
                stack.Add(Memo(BinaryPrimitives.ReadInt32LittleEndian(reader.Take(4))));
                break;
            case 'g':
                stack.Add(Memo(Key(reader.Line())));
                break;
            case 'c': // GLOBAL
                stack.Add(new PickledName(reader.Line(), reader.Line()));
                break;
            case '\x93': // STACK_GLOBAL
                var name = Last(2);
                Require(name is [string, string], "a name is not text");
                stack.Add(new PickledName((string)name[0]!, (string)name[1]!));
                break;
            case 'R' or '\x81': // REDUCE, NEWOBJ
                var call = Last(2);
                stack.Add(Call(call[0], call[1]));
                break;
            case '\x92': // NEWOBJ_EX, with named arguments
                var named = Last(3);
                stack.Add(Call(named[0], named[1]));
                break;
            case 'i': // INST
                var type = new PickledName(reader.Line(), reader.Line());
                stack.Add(Call(type, ToMark()));
                break;
            case 'o': // OBJ
                var made = ToMark();
                Require(made.Length > 0, "it takes from an empty stack");
                stack.Add(Call(made[0], made[1..]));
                break;
            case 'b': // BUILD: attributes of an object; those of a dictionary (PyTorch's _metadata) are of no use here
                Pop();
                Require(Peek() is PickledDictionary or PickledObject, "it sets attributes of something that is no object");
                break;
            case 'Q': // BINPERSID
                stack.Add(load(Pop()));
                break;
            default:
                throw Broken($"it has the instruction 0x{(int)code:x2} at byte {at}, which is not one that data needs");
        }
    }

    private object Call(object? function, object? arguments)
    {
        if (function is PickledObject unknown)
        {
            return unknown; // what an object that is not built would give is not built either
        }

        if (function is not PickledName name || arguments is not object?[] values)
        {
            throw Broken("it calls something that is no name");
        }

        if (Hostile.Contains(name.Module.Split('.')[0]) || name.Module is "builtins" or "__builtin__" && HostileBuiltins.Contains(name.Name))
        {
            throw new InvalidDataException($"The checkpoint asks to call '{Clip(name.ToString())}', which no tensor needs: it is made to run a program. Nothing was run. Get the checkpoint from where it came first.");
        }

        if (call(name, values) is { } built)
        {
            return built;
        }

        notBuilt.Add(Clip(name.ToString()));
        return new PickledObject(name);
    }

    private void Append(object?[] items)
    {
        if (Peek() is not PickledObject)
        {
            Top<List<object?>>("a list").AddRange(items);
        }
    }

    private void SetAll(object?[] pairs)
    {
        Require(pairs.Length % 2 == 0, "a dictionary has a key without a value");
        if (Peek() is PickledObject)
        {
            return;
        }

        var dictionary = Top<PickledDictionary>("a dictionary");
        for (var i = 0; i < pairs.Length; i += 2)
        {
            dictionary.Set(pairs[i], pairs[i + 1]);
        }
    }

    private object? Peek()
    {
        Require(stack.Count > 0 && !ReferenceEquals(stack[^1], Mark), "it takes from an empty stack");
        return stack[^1];
    }

    private object? Pop()
    {
        var top = Peek();
        stack.RemoveAt(stack.Count - 1);
        return top;
    }

    private T Top<T>(string what)
        where T : class
    {
        Require(Peek() is T, $"it adds to something that is not {what}");
        return (T)stack[^1]!;
    }

    private object?[] Last(int count)
    {
        Require(stack.Count >= count, "it takes from an empty stack");
        var last = stack.GetRange(stack.Count - count, count).ToArray();
        Require(!last.Any(o => ReferenceEquals(o, Mark)), "it takes from an empty stack");
        stack.RemoveRange(stack.Count - count, count);
        return last;
    }

    private object?[] ToMark()
    {
        var mark = stack.LastIndexOf(Mark);
        Require(mark >= 0, "a mark is missing");
        var above = stack.GetRange(mark + 1, stack.Count - mark - 1).ToArray();
        stack.RemoveRange(mark, stack.Count - mark);
        return above;
    }

    private object? Memo(int key) => memo.TryGetValue(key, out var value) ? value : throw Broken($"it recalls {key}, which it never kept");

    private static int Key(string line) => int.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out var key) ? key : throw Broken($"'{Clip(line)}' is no number");

    private static object Integer(string line) => line switch
    {
        "00" => false,
        "01" => true,
        _ => long.TryParse(line.TrimEnd('L'), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? (object)number // else it becomes a large one
            : BigInteger.TryParse(line.Length < 100 ? line.TrimEnd('L') : "", NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var large) ? large
            : throw Broken($"'{Clip(line)}' is no number"),
    };

    private void AddLong(ReadOnlySpan<byte> bytes)
    {
        Require(bytes.Length <= 64, "it has a number of more than 64 bytes");
        var number = new BigInteger(bytes);
        stack.Add(number >= long.MinValue && number <= long.MaxValue ? (long)number : (object)number);
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw Broken(otherwise);
        }
    }

    private static InvalidDataException Broken(string why) => new($"The checkpoint's pickle is broken: {why}.");

    internal static string Clip(string text) => text.Length <= 100 ? text : text[..100] + "…";

    /// <summary>The bytes, with every length checked before it is believed.</summary>
    private ref struct Reader(ReadOnlySpan<byte> bytes)
    {
        private readonly ReadOnlySpan<byte> bytes = bytes;

        public int At { get; private set; }

        public byte Byte() => Take(1)[0];

        public ReadOnlySpan<byte> Take(int count)
        {
            Require(count >= 0 && count <= bytes.Length - At, "it ends in the middle");
            At += count;
            return bytes.Slice(At - count, count);
        }

        public int Length(int size)
        {
            var length = size == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(Take(4)) : BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
            Require(length <= (ulong)(bytes.Length - At), "it ends in the middle");
            return (int)length;
        }

        public string Text(int count) => Encoding.UTF8.GetString(Take(count));

        public string Line()
        {
            var end = bytes[At..].IndexOf((byte)'\n');
            Require(end >= 0, "it ends in the middle");
            var line = Text(end);
            At++;
            return line.TrimEnd('\r');
        }
    }
}

/// <summary>A dictionary of a pickle, in its order; of equal keys the last value counts.</summary>
internal sealed class PickledDictionary
{
    private readonly Dictionary<string, object?> values = [];
    private readonly List<string> order = [];
    private readonly HashSet<string> numbers = [];

    /// <summary>Keys that are text or whole numbers, with their values.</summary>
    public IEnumerable<(string Key, object? Value)> Items => order.Select(key => (key, values[key]));

    public object? this[string key] => values.GetValueOrDefault(key);

    /// <summary>A key as Python writes it.</summary>
    public string Quoted(string key) => numbers.Contains(key) ? key : $"'{Unpickler.Clip(key)}'";

    /// <summary>Keys of other kinds are of no use here.</summary>
    public void Set(object? key, object? value)
    {
        var name = key as string;
        if (key is long number)
        {
            numbers.Add(name = number.ToString(CultureInfo.InvariantCulture));
        }

        if (name is not null)
        {
            if (!values.ContainsKey(name))
            {
                order.Add(name);
            }

            values[name] = value;
        }
    }
}
