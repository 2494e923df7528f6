using System.IO.Compression;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PngHeaderTests
{
    private static readonly byte[] Exif6 = [.. "MM\0*"u8, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0];

    [Fact]
    public void A_plain_one_holds_nothing_beside_its_rows() => Assert.Equal(new ImageHeader("png", 7, 5), Read(Png()));

    /// <summary>Adam7 gives its first row only when it has nearly all; a colour that is transparent becomes a channel.</summary>
    [Theory]
    [InlineData(0, 8, false, 1)]
    [InlineData(2, 8, false, 3)]
    [InlineData(3, 8, false, 3)] // a palette becomes colours
    [InlineData(4, 8, false, 2)]
    [InlineData(6, 8, false, 4)]
    [InlineData(0, 8, true, 2)]
    [InlineData(2, 8, true, 4)]
    [InlineData(0, 16, false, 2)]
    [InlineData(6, 16, false, 8)]
    [InlineData(0, 1, false, 1)]
    public void An_interlaced_one_is_held_as_a_whole(byte colour, byte bits, bool transparent, int bytes)
    {
        byte[] more = transparent ? Pngs.Chunk("tRNS", [0, 0]) : [];
        var header = Read(Png(colour: colour, bits: bits, interlaced: true, before: more));
        Assert.Equal((true, 35L * bytes), (header.Whole, header.Held));
        Assert.Equal((false, 0L), Read(Png(colour: colour, bits: bits, before: more)) is var plain ? (plain.Whole, plain.Held) : default);
    }

    /// <summary>Behind the pixels it says nothing of them.</summary>
    [Fact]
    public void Transparency_behind_the_pixels_does_not_count() => Assert.Equal(35, Read(Png(colour: 0, interlaced: true, after: Pngs.Chunk("tRNS", [0, 0]))).Held);

    [Fact]
    public void Transparency_counts_where_it_is_given_twice_but_not_behind_pixels_without_a_byte()
    {
        byte[] colour = Pngs.Chunk("tRNS", [0, 0]);
        Assert.Equal(70, Read(Png(colour: 0, interlaced: true, before: [.. colour, .. colour])).Held);
        Assert.Equal(35, Read(Png(colour: 0, interlaced: true, before: [.. Pngs.Chunk("IDAT", []), .. colour])).Held);
    }

    [Fact]
    public void An_orientation_counts_before_the_pixels_and_behind_them()
    {
        Assert.Equal(6, Read(Png(before: Pngs.Chunk("eXIf", Exif6))).Orientation);
        Assert.Equal(6, Read(Png(after: Pngs.Chunk("eXIf", Exif6))).Orientation);
        Assert.Equal(6, Read(Png(after: Pngs.Chunk("eXIf", Exif6))[..^20]).Orientation); // as far as it goes
    }

    [Theory]
    [InlineData("tEXt")]
    [InlineData("zTXt")]
    [InlineData("iTXt")]
    [InlineData("eXIf")]
    [InlineData("iCCP")]
    [InlineData("sPLT")]
    public void Words_beyond_16_KiB_are_left_out_of_a_copy(string type)
    {
        var (few, many) = (Png(before: Pngs.Chunk(type, new byte[16 * 1024 - 12])), Png(before: Pngs.Chunk(type, new byte[16 * 1024 - 11])));
        Assert.Equal((false, 0L), (Read(few).Wordy, Read(few).Held));
        Assert.Equal((true, many.Length), (Read(many).Wordy, Read(many).Held));
        byte[] both = [.. Pngs.Chunk(type, new byte[8192]), .. Pngs.Chunk(type, new byte[8192])];
        Assert.True(Read(Png(before: both)).Wordy); // together
        Assert.Equal(Png(), PngHeader.WithoutWords(Png(before: both, after: Pngs.Chunk(type, [1, 2, 3]))));
    }

    [Fact]
    public void What_is_no_words_stays_in_a_copy_and_so_does_what_is_cut()
    {
        var png = Png(before: Pngs.Chunk("gAMA", new byte[20_000]));
        Assert.False(Read(png).Wordy);
        Assert.Equal(png, PngHeader.WithoutWords(png));
        Assert.All(new[] { 1, 11, 12, 13, 20 }, cut => Assert.Equal(png[..^cut], PngHeader.WithoutWords(png.AsSpan(0, png.Length - cut))));
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    public void Pixels_that_begin_with_less_than_two_bytes_are_not_for_ImageSharp(int first, bool named)
    {
        var what = Read([.. Png()[..33], .. Pngs.Chunk("IDAT", new byte[first]), .. Png()[33..]]).UnsupportedByImageSharp;
        Assert.Equal(named ? "a PNG whose pixels begin with a chunk of less than two bytes" : null, what);
    }

    [Theory]
    [InlineData(4, true, "an interlaced PNG of 4 x 5 pixels")]
    [InlineData(5, true, null)]
    [InlineData(4, false, null)]
    public void A_narrow_interlaced_one_is_not_for_ImageSharp(int width, bool interlaced, string? what) => Assert.Equal(what, Read(Png(width: width, interlaced: interlaced)).UnsupportedByImageSharp);

    [Fact]
    public void Without_its_end_it_is_cut_and_ImageSharp_gets_a_copy()
    {
        var png = Png();
        Assert.Equal((false, 0L), (Read(png).Cut, Read(png).HeldByImageSharp));
        Assert.Equal((true, 2L * (png.Length - 12)), (Read(png[..^12]).Cut, Read(png[..^12]).HeldByImageSharp));
        Assert.True(Read(png[..^1]).Cut);
        Assert.True(Read([.. png[..^12], .. Pngs.Chunk("tEXt", [])]).Cut);
    }

    [Theory]
    [InlineData(1, "it has no colour type 1")]
    [InlineData(5, "it has no colour type 5")]
    [InlineData(7, "it has no colour type 7")]
    public void A_colour_type_that_is_none_is_corrupt(byte colour, string why) => Corrupt(Png(colour: colour), why);

    [Fact]
    public void A_header_comes_first_and_once()
    {
        var png = Png();
        Corrupt([.. png[..33], .. png[8..]], "it has two headers");
        Corrupt([.. png[..8], .. Pngs.Chunk("gAMA", [0, 0, 0, 1]), .. png[8..]], "it does not begin with its header");
        Corrupt(Png(width: 0), "its header says that a side has 0 pixels");
    }

    [Fact]
    public void Bytes_that_64_bits_do_not_count_are_no_pictures() => Corrupt(Png(1_518_500_250, 1_518_500_250, colour: 6, bits: 16, interlaced: true), "its header claims sizes that no picture has");

    /// <summary>Rows of every kind: each has its filter's byte, and bits fill bytes up; Adam7's passes are pictures of their own.</summary>
    [Theory]
    [InlineData(0, 1)]
    [InlineData(0, 8)]
    [InlineData(0, 16)]
    [InlineData(2, 8)]
    [InlineData(3, 4)]
    [InlineData(4, 8)]
    [InlineData(6, 16)]
    public void What_has_all_its_rows_gets_its_end_and_what_lacks_a_byte_does_not(byte colour, byte bits)
    {
        foreach (var (width, height) in new[] { (1, 1), (7, 5), (8, 8), (17, 9), (3, 20) })
        {
            var samples = colour switch { 2 => 3, 4 => 2, 6 => 4, _ => 1 };
            foreach (var interlaced in new[] { false, true })
            {
                var rows = 0;
                int[] sizes = interlaced ? Adam7(width, height) : [.. Enumerable.Repeat(width, height)];
                foreach (var pixels in sizes)
                {
                    rows += 1 + (pixels * samples * bits + 7) / 8;
                }

                var whole = Png(width, height, colour, bits, interlaced, rows: rows);
                Assert.Equal(whole, PngHeader.Ended(whole[..^12]));
                Assert.Equal(whole, PngHeader.Ended(whole[..^3]));
                Assert.Null(PngHeader.Ended(Png(width, height, colour, bits, interlaced, rows: rows - 1)[..^12]));
            }
        }
    }

    /// <summary>A chunk that is cut goes, one that is whole stays.</summary>
    [Fact]
    public void An_end_comes_behind_the_last_whole_chunk()
    {
        byte[] png = Png(), words = [.. png[..^12], .. Pngs.Chunk("tEXt", new byte[100])], empty = [.. png[..^12], .. Pngs.Chunk("tEXt", [])];
        Assert.Equal(png, PngHeader.Ended(words[..^1]));
        Assert.Equal(png, PngHeader.Ended(words[..^4]));
        Assert.Equal((byte[])[.. words, .. png[^12..]], PngHeader.Ended(words)!);
        Assert.Equal((byte[])[.. empty, .. png[^12..]], PngHeader.Ended(empty)!);
    }

    [Fact]
    public void What_cannot_be_unpacked_gets_no_end()
    {
        var png = Png();
        png[33 + 8] ^= 0xFF;
        Assert.Null(PngHeader.Ended(png[..^12]));
    }

    /// <summary>Pixels of each row of each pass (W3C PNG, 8.1).</summary>
    private static int[] Adam7(int width, int height)
    {
        string[] pattern = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"];
        var rows = new Dictionary<(char, int), int>();
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var pass = pattern[y % 8][x % 8];
                rows[(pass, y)] = rows.GetValueOrDefault((pass, y)) + 1;
            }
        }

        return [.. rows.Values];
    }

    private static ImageHeader Read(byte[] png) => ImageHeader.Read("png", png);

    private static void Corrupt(byte[] png, string why) => Assert.Contains($"The png is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(png)).Message, StringComparison.Ordinal);

    private static byte[] Png(int width = 7, int height = 5, byte colour = 2, byte bits = 8, bool interlaced = false, byte[]? before = null, byte[]? after = null, int rows = 110)
    {
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            zlib.Write(new byte[rows]);
        }

        return [.. Convert.FromHexString("89504E470D0A1A0A"), .. Pngs.Chunk("IHDR", [.. Number(width), .. Number(height), bits, colour, 0, 0, (byte)(interlaced ? 1 : 0)]),
            .. before ?? [], .. Pngs.Chunk("IDAT", packed.ToArray()), .. after ?? [], .. Pngs.Chunk("IEND", [])];
    }

    private static byte[] Number(int value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];
}
