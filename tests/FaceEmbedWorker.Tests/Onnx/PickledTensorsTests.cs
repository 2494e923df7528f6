using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>Calls and references as torch.save writes them.</summary>
public class PickledTensorsTests
{
    private static readonly Storage Six = new("FloatStorage", 4, 6, () => [.. new[] { 1f, 2, 3, 4, 5, 6 }.SelectMany(BitConverter.GetBytes)]);

    [Theory]
    [InlineData("_rebuild_tensor_v2")]
    [InlineData("_rebuild_tensor")]
    public void A_tensor_is_a_part_of_a_storage(string call)
    {
        var tensor = Assert.IsType<LazyTensor>(Call("torch._utils", call, Six, 1L, Longs(2, 2), Longs(3, 1), false, null));
        var budget = 16L;
        var read = tensor.Read("a", ref budget);
        Assert.Equal([2, 2], read.Shape);
        Assert.Equal([2, 3, 5, 6], read.Values);
        Assert.Equal(0, budget);
        Assert.Equal("[2,2]", read.ToString());
    }

    [Fact]
    public void A_tensor_that_is_not_whole_is_refused()
    {
        object?[][] wrong =
        [
            [Six, 1L, Longs(2, 2)], ["storage", 1L, Longs(2), Longs(1)], [Six, 1, Longs(2), Longs(1)], [Six, 1L, Longs(2, 2), Longs(1)], [Six, 1L, Longs(-1), Longs(1)], [Six, 1L, Longs(1), Longs(-1)],
            [Six, 1L, new object?[] { "2" }, Longs(1)], [Six, 0L, Longs(1, 1, 1, 1, 1, 1, 1, 1, 1), Longs(1, 1, 1, 1, 1, 1, 1, 1, 1)], [],
        ];
        Assert.All(wrong, arguments => Assert.Equal("The checkpoint has a tensor without storage, place, sizes and strides.", Assert.Throws<InvalidDataException>(() => Call("torch._utils", "_rebuild_tensor_v2", arguments)).Message));
        Assert.IsType<LazyTensor>(Call("torch._utils", "_rebuild_tensor_v2", Six, 0L, Longs(1, 1, 1, 1, 1, 1, 1, 1), Longs(0, 0, 0, 0, 0, 0, 0, 0)));
    }

    [Fact]
    public void A_parameter_is_its_tensor()
    {
        var tensor = LazyTensor.RowByRow(Six, [6]);
        Assert.Same(tensor, Call("torch._utils", "_rebuild_parameter", tensor, true, null));
        Assert.Same(tensor, Call("torch._utils", "_rebuild_parameter_with_state", tensor));
        Assert.Equal("The checkpoint has a parameter that is no tensor.", Assert.Throws<InvalidDataException>(() => Call("torch._utils", "_rebuild_parameter", "text")).Message);
    }

    [Fact]
    public void Dictionaries_and_sizes_are_made_and_nothing_else()
    {
        Assert.Empty(Assert.IsType<PickledDictionary>(Call("collections", "OrderedDict")).Items);
        Assert.Equal([("a", 1L), ("b", 2L)], Assert.IsType<PickledDictionary>(Call("collections", "OrderedDict", new List<object?> { new object?[] { "a", 1L }, new List<object?> { "b", 2L }, new object?[] { "c" }, "d" })).Items);
        Assert.Empty(Assert.IsType<PickledDictionary>(Call("collections", "defaultdict", "list")).Items);
        Assert.Equal([3L], Assert.IsType<object?[]>(Call("torch", "Size", (object)Longs(3))));
        Assert.Empty(Assert.IsType<object?[]>(Call("torch", "Size")));
        Assert.Null(Call("collections", "Counter"));
        Assert.Null(Call("torch", "OrderedDict"));
        Assert.Null(Call("torch.utils", "_rebuild_tensor"));
    }

    [Theory]
    [InlineData("torch", "FloatStorage", 4)]
    [InlineData("torch", "IntStorage", 4)]
    [InlineData("torch", "HalfStorage", 2)]
    [InlineData("torch", "BFloat16Storage", 2)]
    [InlineData("torch", "ShortStorage", 2)]
    [InlineData("torch.cuda", "DoubleStorage", 8)]
    [InlineData("torch", "LongStorage", 8)]
    [InlineData("torch", "ByteStorage", 1)]
    [InlineData("torch", "CharStorage", 1)]
    [InlineData("torch", "BoolStorage", 1)]
    [InlineData("torch", "ComplexStorage", 0)]
    [InlineData("numpy", "FloatStorage", 0)]
    public void A_storage_has_a_type_and_a_count(string module, string type, int size)
    {
        var tensors = new PickledTensors();
        object?[] id = ["storage", new PickledName(module, type), "0", "cpu", 6L];
        if (size == 0)
        {
            Assert.Equal($"The checkpoint has a storage of type '{module}.{type}', which is not one of numbers that are known here.", Assert.Throws<InvalidDataException>(() => Find(id)).Message);
            return;
        }

        var storage = Find(id);
        Assert.Equal((size, 6), (storage.Size, storage.Count));
        Assert.Equal(type is "FloatStorage" or "HalfStorage" or "BFloat16Storage" or "DoubleStorage", storage.IsFloat);
        Assert.Same(storage, Find(new List<object?>(id))); // of protocol 0
        Assert.Same(storage, tensors.Of("0"));
        Assert.Null(tensors.Of("1"));

        Storage Find(object id) => tensors.Find(id, _ => () => []);
    }

    [Fact]
    public void Other_references_are_refused()
    {
        var tensors = new PickledTensors();
        object?[] storage = ["storage", new PickledName("torch", "FloatStorage"), "0", "cpu", 6L];
        object?[] others = [null, "storage", new object?[] { "storage" }, storage[..4], (object?[])["other", .. storage[1..]], (object?[])[.. storage[..4], 6]];
        Assert.All(others, id =>
            Assert.Equal("The checkpoint refers to something that is no storage.", Assert.Throws<InvalidDataException>(() => tensors.Find(id, _ => () => [])).Message));
        Assert.Contains("is a whole model with its program, which is not run here. In Python: torch.save(model.state_dict(), path).", Assert.Throws<InvalidDataException>(() => tensors.Find(new object?[] { "module", 1 }, _ => () => [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_that_reaches_beyond_its_storage_is_refused()
    {
        Assert.Equal([1, 2, 3, 4, 5, 6], Read(new LazyTensor(Six, 0, [6], [1])));
        Assert.Equal([6], Read(new LazyTensor(Six, 5, [1], [100])));
        Assert.Equal([1, 1, 1], Read(new LazyTensor(Six, 0, [3], [0])));
        Assert.Equal([1, 4, 2, 5, 3, 6], Read(new LazyTensor(Six, 0, [3, 2], [1, 3]))); // turned
        Assert.Equal([], Read(new LazyTensor(Six, 6, [0, 2], [1, 1])));
        Assert.Equal([3], Read(new LazyTensor(Six, 2, [], [])));
        foreach (var beyond in new LazyTensor[] { new(Six, 0, [7], [1]), new(Six, 1, [6], [1]), new(Six, 6, [1], [1]), new(Six, -1, [1], [1]), new(Six, 0, [2, 2], [1, 5]), new(Six, 0, [7], [0]) })
        {
            Assert.Equal($"The tensor 'name' [{string.Join(',', beyond.Shape)}] reaches beyond its storage of 6 values.", Assert.Throws<InvalidDataException>(() => Read(beyond)).Message);
        }

        Assert.Throws<OverflowException>(() => Read(new LazyTensor(Six, 0, [long.MaxValue, 2], [0, 0])));
        Assert.Throws<OverflowException>(() => Read(new LazyTensor(Six, 0, [3], [long.MaxValue])));
        Assert.Throws<OverflowException>(() => Read(new LazyTensor(Six, 0, [1L << 62, 4], [0, 0]))); // none in 64 bits
    }

    [Fact]
    public void Values_beyond_the_budget_are_not_made()
    {
        var budget = 47L;
        LazyTensor.RowByRow(Six, [2, 3]).Read("a", ref budget);
        Assert.Equal(23, budget);
        Assert.Equal("The checkpoint's tensors have more than 256 MiB, far more than a MobileFaceNet.", Assert.Throws<InvalidDataException>(() => LazyTensor.RowByRow(Six, [2, 3]).Read("b", ref budget)).Message);
    }

    [Fact]
    public void Rows_follow_one_another()
    {
        Assert.Equal([12, 4, 1], LazyTensor.RowByRow(Six, [2, 3, 4]).Strides);
        Assert.Empty(LazyTensor.RowByRow(Six, []).Strides);
    }

    [Theory]
    [InlineData("FloatStorage", 4, "0000C03F000020C0")]
    [InlineData("DoubleStorage", 8, "000000000000F83F00000000000004C0")]
    [InlineData("HalfStorage", 2, "003E00C1")]
    [InlineData("BFloat16Storage", 2, "C03F20C0")]
    public void Numbers_of_each_type_become_float32(string type, int size, string bytes)
    {
        Assert.Equal([1.5f, -2.5f], new Storage(type, size, 2, () => Convert.FromHexString(bytes)).Values());
        Assert.Equal($"The checkpoint's storage has {2 * size} bytes, and 3 values of {size} are announced.", Assert.Throws<InvalidDataException>(() => new Storage(type, size, 3, () => Convert.FromHexString(bytes)).Values()).Message);
        Assert.Throws<InvalidDataException>(() => new Storage(type, size, -1, () => Convert.FromHexString(bytes)).Values());
    }

    [Fact]
    public void A_storage_is_read_once()
    {
        var reads = 0;
        var storage = new Storage("FloatStorage", 4, 1, () =>
        {
            reads++;
            return new byte[4];
        });
        Assert.Same(storage.Values(), storage.Values());
        Assert.Equal(1, reads);
    }

    private static float[] Read(LazyTensor tensor)
    {
        var budget = 1000L;
        return tensor.Read("name", ref budget).Values;
    }

    private static object? Call(string module, string name, params object?[] arguments) => PickledTensors.Call(new PickledName(module, name), arguments);

    private static object?[] Longs(params long[] values) => Array.ConvertAll(values, v => (object?)v);
}
