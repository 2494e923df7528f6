using System.Buffers.Binary;
using System.Text;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

public class SafeTensorsTests
{
    private const string Two = """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}""";

    [Fact]
    public void Tensors_are_read_by_name_type_and_shape()
    {
        var data = new byte[12];
        BinaryPrimitives.WriteSingleLittleEndian(data, 1.5f);
        BinaryPrimitives.WriteSingleLittleEndian(data.AsSpan(4), -2);
        BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(8), 0x3fc0); // the upper half of 1.5
        var tensors = Checkpoint.Read(FileOf(Two + "   ", data)).Tensors;
        Assert.Equal([1.5f, -2], tensors["a"].Values);
        Assert.Equal([1.5f, 0], tensors["b"].Values);
        Assert.Equal([1, 2], tensors["b"].Shape);
    }

    /// <summary>Its length begins the file: with the byte of a pickle, and with a brace.</summary>
    [Theory]
    [InlineData(0x80, "{")]
    [InlineData(0x7b, "{")]
    [InlineData(0x88, "{\n ")]
    public void A_header_of_any_length_is_known(int length, string start) =>
        Assert.Equal(2, Checkpoint.Read(FileOf((start + Two[1..]).PadRight(length), new byte[12])).Tensors.Count);

    [Theory]
    [InlineData("""{"a":{"dtype":null,"shape":[3],"data_offsets":[0,12]}}""", "the tensor 'a' has no dtype that is text")]
    [InlineData("""{"a":{"shape":[3],"data_offsets":[0,12]}}""", "the tensor 'a' has no dtype that is text")]
    [InlineData("""{"__metadata__":{"format":1},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "its __metadata__ is no dictionary of text by names")]
    [InlineData("""{"__metadata__":{"format":"pt","more":1},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "its __metadata__ is no dictionary of text by names")]
    [InlineData("""{"__metadata__":5,"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "its __metadata__ is no dictionary of text by names")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "broken: 4 bytes at its end belong to no tensor")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", "'a' [3] of F32 wants 12 bytes, and has 8")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[4,12]}}""", "'a' [3] of F32 wants 12 bytes, and has 8")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2147483647],"data_offsets":[0,12]}}""", "'a' [2147483647] of F32 wants 8589934588 bytes, and has 12")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2147483648],"data_offsets":[0,12]}}""", "'a' is too large")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}""", "'a' lies outside of the data")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", "'a' begins at byte 4 of the data, where 0 is next")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", "'b' begins at byte 4 of the data, where 8 is next")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", "'a' lies outside of the data")]
    [InlineData("""{"a":{"dtype":"F8_E4M3","shape":[12],"data_offsets":[0,12]}}""", "'a' is of type 'F8_E4M3', which is not known here")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-3],"data_offsets":[0,12]}}""", "'a' has no shape that is a list of whole numbers from 0 on")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,12]}}""", "'a' is too large")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12],"then":1}}""", "'a' has more than dtype, shape and data_offsets")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "its header is not as the format wants it")]
    [InlineData("""{"a":{"dtype":"F32","shape":3,"data_offsets":[0,12]}}""", "'a' has no shape that is a list")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3]}}""", "'a' has no data_offsets that is a list")]
    [InlineData("""{"a":1}""", "'a' is no object with dtype, shape and data_offsets")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,12]}}""", "'a' has no shape that is a list")]
    [InlineData("""{"a":{"dtype":"F32",""", "its header is not as the format wants it")]
    public void A_header_that_does_not_fit_its_data_is_refused(string header, string told)
    {
        var message = Assert.Throws<InvalidDataException>(() => Checkpoint.Read(FileOf(header, new byte[12]))).Message;
        Assert.StartsWith("The safetensors file is broken: ", message, StringComparison.Ordinal);
        Assert.Contains(told, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("F64", 8)]
    [InlineData("I64", 8)]
    [InlineData("U64", 8)]
    [InlineData("F32", 4)]
    [InlineData("I32", 4)]
    [InlineData("U32", 4)]
    [InlineData("F16", 2)]
    [InlineData("BF16", 2)]
    [InlineData("I16", 2)]
    [InlineData("U16", 2)]
    [InlineData("I8", 1)]
    [InlineData("U8", 1)]
    [InlineData("BOOL", 1)]
    public void Types_have_their_sizes(string type, int size)
    {
        var file = FileOf($$$"""{"a":{"dtype":"{{{type}}}","shape":[2,3],"data_offsets":[0,{{{6 * size}}}]}}""", new byte[6 * size]);
        var tensor = Assert.Single(SafeTensors.Read(file));
        Assert.Equal(("a", type, size, file.Length - 6 * size, 6 * size), (tensor.Name, tensor.Type, tensor.Size, tensor.From, tensor.Length));
        Assert.Equal([2, 3], tensor.Shape);
    }

    /// <summary>Tensors come in any order, some have no values, and a number has no sides.</summary>
    [Fact]
    public void Tensors_cover_the_data_in_any_order()
    {
        var tensors = SafeTensors.Read(FileOf("""{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"none":{"dtype":"U8","shape":[0,5],"data_offsets":[1,1]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}""", new byte[3]));
        Assert.Equal(["b 2", "none 0", "a 1"], tensors.Select(t => $"{t.Name} {t.Length}"));
        Assert.Empty(SafeTensors.Read(FileOf("{}", [])));
    }

    [Fact]
    public void A_tensor_has_eight_dimensions_at_most()
    {
        Assert.Equal(8, SafeTensors.Read(FileOf("""{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,2],"data_offsets":[0,2]}}""", new byte[2]))[0].Shape.Length);
        Assert.Contains("'a' is too large", Assert.Throws<InvalidDataException>(() => SafeTensors.Read(FileOf("""{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,2]}}""", new byte[2]))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"a\"", 0x80, true)]
    [InlineData("{}", 2, true)]
    [InlineData("{ ", 2, true)]
    [InlineData("{\t", 2, true)]
    [InlineData("{\r", 2, true)]
    [InlineData("{\n", 2, true)]
    [InlineData("{a", 2, false)]
    [InlineData("[]", 2, false)]
    [InlineData("{", 2, false)] // too short to tell
    public void The_start_of_a_file_is_a_number_and_a_brace(string start, byte length, bool isOne) => Assert.Equal(isOne, SafeTensors.IsStartOf([length, 0, 0, 0, 0, 0, 0, 0, .. Encoding.ASCII.GetBytes(start)]));

    /// <summary>Eight letters are no number, though JSON may follow.</summary>
    [Fact]
    public void Text_is_no_start_of_one() => Assert.False(SafeTensors.IsStartOf("metadata{}"u8));

    [Theory]
    [InlineData("{\"a\" 1}", "no JSON at line 1, byte 6")]
    [InlineData("{\n \"a\": x}", "no JSON at line 2, byte 7")]
    [InlineData("{\"a\":1,\"a\":1}", "a name is there twice")]
    [InlineData("{\"\\ud800\":1}", "text that is no UTF-8")]
    [InlineData("[]", "its header is not as the format wants it")]
    public void What_is_wrong_of_a_header_is_told_with_its_place(string header, string told) =>
        Assert.Contains(told, Assert.Throws<InvalidDataException>(() => SafeTensors.Read(FileOf(header, []))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 40)]
    [InlineData(200UL)]
    public void A_length_that_lies_costs_nothing(ulong length)
    {
        var file = FileOf(Two, new byte[12]);
        BinaryPrimitives.WriteUInt64LittleEndian(file, length);
        Assert.Contains($"its header is said to have {length} bytes, of {file.Length - 8} that follow", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_is_as_long_as_what_follows_at_most()
    {
        var file = FileOf("{}", []);
        Assert.Empty(SafeTensors.Read(file));
        file[0]++;
        Assert.Contains("its header is said to have 3 bytes, of 2 that follow", Assert.Throws<InvalidDataException>(() => SafeTensors.Read(file)).Message, StringComparison.Ordinal);
    }

    private static byte[] FileOf(string header, byte[] data)
    {
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, Encoding.UTF8.GetByteCount(header));
        return [.. length, .. Encoding.UTF8.GetBytes(header), .. data];
    }
}
