using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>A bitmap's headers of 12 and of 40 bytes, pixels behind them.</summary>
public class BmpHeaderTests
{
    [Fact]
    public void Sides_are_those_of_either_header_and_rows_may_come_from_above()
    {
        var expected = new ImageHeader("bmp", 30, 20) { Whole = true, Held = 30 * 20 * 4 };
        Assert.Equal(expected, Read(New(30, 20, 24, 0, 92 * 20)));
        Assert.Equal(expected, Read(New(30, -20, 24, 0, 92 * 20)));
        Assert.Equal(expected, Read(Old(30, 20, 24, 92 * 20)));
        Assert.Throws<ImageException>(() => Read(New(-30, 20, 24, 0, 92 * 20)));
        Assert.Throws<ImageException>(() => Read(New(30, 0, 24, 0, 92 * 20)));
    }

    /// <summary>Rows end at whole 32 bits: 30 pixels of 24 bits take 92 bytes, 33 of one bit 8.</summary>
    [Theory]
    [InlineData(30, 24, 0, 92)]
    [InlineData(32, 1, 0, 4)]
    [InlineData(33, 1, 0, 8)]
    [InlineData(30, 16, 3, 60)]
    public void Without_its_last_byte_it_is_cut(int width, short bits, int compression, int row)
    {
        Assert.False(Read(New(width, 20, bits, compression, row * 20)).Cut);
        Assert.True(Read(New(width, 20, bits, compression, row * 20 - 1)).Cut);
        Assert.True(Read(New(width, -20, bits, compression, row * 20 - 1)).Cut);
        Assert.False(Read(New(width, 20, bits, 1, 1)).Cut); // runs have any length
    }

    [Fact]
    public void An_old_one_is_cut_alike()
    {
        Assert.False(Read(Old(30, 20, 8, 32 * 20)).Cut);
        Assert.True(Read(Old(30, 20, 8, 32 * 20 - 1)).Cut);
    }

    [Fact]
    public void What_no_decoder_reads_is_named()
    {
        Assert.All(new short[] { 1, 4, 8, 16, 24, 32 }, bits => Assert.Null(Read(New(30, 20, bits, 0, 4000)).Unsupported));
        Assert.All(new short[] { 0, 2, 12, 64 }, bits => Assert.Equal($"a BMP of {bits} bits", Read(New(30, 20, bits, 0, 4000)).Unsupported));
        Assert.All(new[] { 0, 1, 2, 3, 6 }, compression => Assert.Null(Read(New(30, 20, 24, compression, 4000)).Unsupported));
        Assert.All(new[] { 4, 5, 7 }, compression => Assert.Equal($"a BMP of compression {compression}", Read(New(30, 20, 24, compression, 4000)).Unsupported));
    }

    private static ImageHeader Read(byte[] bytes) => ImageHeader.Read("bmp", bytes);

    private static byte[] New(int width, int height, short bits, int compression, int pixels) =>
        [.. File(54), .. BitConverter.GetBytes(40), .. BitConverter.GetBytes(width), .. BitConverter.GetBytes(height), 1, 0, .. BitConverter.GetBytes(bits), .. BitConverter.GetBytes(compression), .. new byte[20 + pixels]];

    private static byte[] Old(short width, short height, short bits, int pixels) =>
        [.. File(26), .. BitConverter.GetBytes(12), .. BitConverter.GetBytes(width), .. BitConverter.GetBytes(height), 1, 0, .. BitConverter.GetBytes(bits), .. new byte[pixels]];

    private static byte[] File(int pixelsAt) => [.. "BM"u8, .. new byte[8], .. BitConverter.GetBytes(pixelsAt)];
}
