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
    [InlineData("""{"__metadata__":5,"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "its __metadata__ is no dictionary of text by names")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "4 bytes at its end belong to no tensor")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", "'a' [3] of F32 wants 12 bytes, and has 8")]
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
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 40)]
    [InlineData(200UL)]
    public void A_length_that_lies_costs_nothing(ulong length)
    {
        var file = FileOf(Two, new byte[12]);
        BinaryPrimitives.WriteUInt64LittleEndian(file, length);
        Assert.Contains($"its header is said to have {length} bytes, of {file.Length - 8} that follow", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(file)).Message, StringComparison.Ordinal);
    }

    private static byte[] FileOf(string header, byte[] data)
    {
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, Encoding.UTF8.GetByteCount(header));
        return [.. length, .. Encoding.UTF8.GetBytes(header), .. data];
    }
}
