using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class HeaderReaderTests
{
    [Fact]
    public void Numbers_are_read_in_either_order()
    {
        byte[] bytes = [9, 1, 2, 3, 4, 5, 6, 7, 8];
        var big = new HeaderReader(bytes, "png");
        var little = big.As(bigEndianNumbers: false);
        Assert.Equal((9, 0x0102, 0x01020304u, 0x0102030405060708ul), (big.U8(0), big.U16(1), big.U32(1), big.U64(1)));
        Assert.Equal((9, 0x0201, 0x04030201u, 0x0807060504030201ul), (little.U8(0), little.U16(1), little.U32(1), little.U64(1)));
        Assert.Equal(9, little.Length);
    }

    [Fact]
    public void A_place_behind_the_end_is_the_pictures_fault()
    {
        Assert.Equal([1, 2, 3], new HeaderReader([1, 2, 3], "png").Slice(0, 3).ToArray());
        Assert.Equal([], new HeaderReader([1, 2, 3], "png").Slice(3, 0).ToArray());
        Assert.All(new[] { (0L, 4L), (1, 3), (3, 1), (-1, 1), (0, -1), (long.MaxValue, 1), (1, long.MaxValue) }, place =>
            Assert.Equal($"The png is truncated or corrupt: its header refers to byte {place.Item1:N0}, and it has 3.", Assert.Throws<ImageException>(() => new HeaderReader([1, 2, 3], "png").Slice(place.Item1, place.Item2)).Message));
    }

    [Fact]
    public void Text_and_bytes_are_found_where_they_are()
    {
        var bytes = new HeaderReader([.. "abcab"u8], "png");
        Assert.True(bytes.Is(0, "abc"u8));
        Assert.True(bytes.Is(3, "ab"u8));
        Assert.False(bytes.Is(2, "ab"u8));
        Assert.False(bytes.Is(3, "abc"u8)); // as much as is there
        Assert.False(bytes.Is(-1, "a"u8));
        Assert.Equal((0, 3, 4, -1, -1, -1), (bytes.IndexOf((byte)'a', 0), bytes.IndexOf((byte)'a', 1), bytes.IndexOf((byte)'b', 4), bytes.IndexOf((byte)'a', 4), bytes.IndexOf((byte)'a', 5), bytes.IndexOf((byte)'a', 6)));
    }

    [Fact]
    public void A_side_is_one_pixel_or_more()
    {
        var bytes = new HeaderReader([], "png");
        Assert.Equal((1, int.MaxValue), (bytes.Side(1), bytes.Side(int.MaxValue)));
        foreach (var none in new[] { 0ul, int.MaxValue + 1ul, ulong.MaxValue })
        {
            Assert.Equal($"The png is truncated or corrupt: its header says that a side has {none:N0} pixels.", Assert.Throws<ImageException>(() => new HeaderReader([], "png").Side(none)).Message);
        }
    }
}
