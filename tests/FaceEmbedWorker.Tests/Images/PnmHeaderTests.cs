using System.Text;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>PBM, PGM and PPM as netpbm's manual pages have them.</summary>
public class PnmHeaderTests
{
    [Theory]
    [InlineData("P6\n3 2\n255\n")]
    [InlineData("P6 3\t2\r255 ")]
    [InlineData("P6# a 9 9\n# 7\r 3 # 8\n2\n#\n255\n")]
    public void Sizes_are_numbers_with_whitespace_and_comments_between_them(string text)
    {
        var header = Read(text, 18);
        Assert.Equal(new ImageHeader("pnm", 3, 2) { Whole = true, Held = 24 }, header);
    }

    /// <summary>Bits fill bytes up row by row; a white over 255 takes two bytes.</summary>
    [Theory]
    [InlineData("P6 3 2 255\n", 18)]
    [InlineData("P6 3 2 65535\n", 36)]
    [InlineData("P5 3 2 255\n", 6)]
    [InlineData("P5 3 2 65535\n", 12)]
    [InlineData("P4 8 3\n", 3)]
    [InlineData("P4 9 3\n", 6)]
    [InlineData("P5 3 2 255#c\n", 6)] // a comment in the place of the whitespace
    public void A_file_is_cut_where_a_byte_of_its_pixels_is_missing(string text, int pixels)
    {
        Assert.False(Read(text, pixels).Cut);
        Assert.False(Read(text, pixels + 1).Cut);
        Assert.True(Read(text, pixels - 1).Cut);
    }

    [Theory]
    [InlineData("P5 3 2 255")]
    [InlineData("P4 3 2")]
    [InlineData("P5 3 2 255#no end")]
    public void A_file_is_cut_where_its_pixels_do_not_begin(string text) => Assert.True(Read(text, 0).Cut);

    [Theory]
    [InlineData("P4 24 1\n999")]
    [InlineData("P5 3 1 255\n999")]
    [InlineData("P6 1 1 255\n999")]
    public void Binary_pixels_are_no_numbers(string text) => Assert.False(Read(text, 0).Cut);

    [Theory]
    [InlineData("P2 2 2 255 1 2 3 4", false)]
    [InlineData("P2 2 2 255 1 2 3 4 5 6", false)]
    [InlineData("P2 2 2 255 1 2 3", true)]
    [InlineData("P2 2 2 255 1 2 # 3 4\n 5", true)]
    [InlineData("P2 2 2 255 1 2 # 3 4\n 5 6", false)]
    [InlineData("P2 2 2 255 1 2 # 3 4\r 5 6", false)]
    [InlineData("P3 2 1 255 1 2 3 4 5 6", false)]
    [InlineData("P3 2 1 255 1 2 3 4 5", true)]
    [InlineData("P1 2 2 1 0 0 1", false)]
    [InlineData("P1 2 2 1 0 0", true)]
    public void A_text_is_cut_where_a_number_is_missing(string text, bool cut)
    {
        var header = Read(text, 0);
        Assert.Equal((cut, null), (header.Cut, header.Unsupported));
    }

    [Theory]
    [InlineData("P6 1 1 254\n", "a PNM whose white is 254")]
    [InlineData("P6 1 1 65534\n", "a PNM whose white is 65534")]
    [InlineData("P2 1 1 1 1", "a PNM whose white is 1")]
    [InlineData("P1 4 1 0110", "a plain PBM whose bits are not parted")]
    [InlineData("P1 3 1 011", "a plain PBM whose bits are not parted")]
    [InlineData("P1 4 1 0121", "a plain PBM whose bits are not parted")] // no number over its white
    [InlineData("P6 1 1 255\n", null)]
    [InlineData("P6 1 1 65535\n", null)]
    [InlineData("P4 1 1\n", null)]
    public void What_is_not_read_is_named(string text, string? what) => Assert.Equal(what, Read(text, 6).Unsupported);

    [Theory]
    [InlineData("P2 2 1 255 1 256", "a number of it is over its white")]
    [InlineData("P1 2 1 1 2", "a number of it is over its white")]
    [InlineData("P6 x 3 255\n", "its header is not made of numbers")]
    [InlineData("P6 3 -3 255\n", "its header is not made of numbers")]
    [InlineData("P6 0 3 255\n", "its header says that a side has 0 pixels")]
    [InlineData("P6 3 99999999999999999999 255\n", "its header says that a side has 4,294,967,295 pixels")]
    [InlineData("P6 1300000000 1300000000 65535\n", "its header claims sizes that no picture has")] // 6 bytes a pixel are more than 64 bits count
    [InlineData("P6 3 # 3 255", "its header refers to byte")]
    public void A_header_that_cannot_be_is_corrupt(string text, string why) =>
        Assert.Contains($"The pnm is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(text, 0)).Message, StringComparison.Ordinal);

    /// <summary>Numbers beyond the last pixel are not the picture's.</summary>
    [Fact]
    public void What_follows_the_pixels_is_not_read() => Assert.Null(Read("P2 2 1 255 1 2 99999", 0).Unsupported);

    [Theory]
    [InlineData("P5 3 2 255\n", 6, 1)]
    [InlineData("P5 3 2 65535\n", 12, 1)]
    [InlineData("P5 3 2 255#c\n", 6, 1)]
    [InlineData("P6 3 2 255\n", 18, 3)]
    [InlineData("P6 3 2 65535\n", 36, 3)]
    public void Bytes_and_the_upper_bytes_of_words_are_the_pixels(string text, int length, int samples)
    {
        var pixels = new byte[length];
        new Random(length).NextBytes(pixels);
        pixels[0] = (byte)' '; // a first pixel that looks like whitespace
        using var picture = Decoded(text, pixels);
        var step = length / (6 * samples);
        for (var i = 0; i < 18; i++)
        {
            Assert.Equal(pixels[(samples == 3 ? i : i / 3) * step], picture.Pixels[i]);
        }
    }

    [Fact]
    public void Bits_are_black_where_they_are_set_and_rows_begin_with_a_byte()
    {
        using var picture = Decoded("P4 3 2\n", [0b0101_1111, 0b1000_0000]);
        Assert.Equal([255, 0, 255, 0, 255, 255], Enumerable.Range(0, 6).Select(i => (int)picture.Pixels[i * 3 + 1]));
        using var wide = new Picture(9, 2);
        PnmHeader.Decode([.. "P4 9 2\n"u8, 0xFF, 0x80, 0x00, 0x80], wide);
        Assert.Equal(new byte[27], wide.Row(0).ToArray());
        Assert.Equal([.. Enumerable.Repeat((byte)255, 24), 0, 0, 0], wide.Row(1).ToArray());
    }

    private static ImageHeader Read(string text, int pixels) => ImageHeader.Read("pnm", [.. Encoding.ASCII.GetBytes(text), .. new byte[pixels]]);

    private static Picture Decoded(string text, byte[] pixels)
    {
        var picture = new Picture(3, 2);
        PnmHeader.Decode([.. Encoding.ASCII.GetBytes(text), .. pixels], picture);
        return picture;
    }
}
