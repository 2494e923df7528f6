using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Directories as TIFF 6.0 and BigTIFF have them.</summary>
public class TiffHeaderTests
{
    /// <summary>A picture of 20 x 10 pixels, 8-bit RGB, in one strip that is not compressed.</summary>
    private static readonly (int Tag, int Type, ulong[] Values)[] Plain =
    [
        (256, 3, [20]), (257, 3, [10]), (258, 3, [8, 8, 8]), (259, 3, [1]), (262, 3, [2]), (273, 4, [8]), (277, 3, [3]), (278, 3, [10]), (279, 4, [600]),
    ];

    private static readonly (int Tag, int Type, ulong[] Values)[] Tiled = [(322, 3, [16]), (323, 3, [32]), (324, 4, [8]), (325, 4, [600])];

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Sizes_are_read_in_either_order_of_bytes_and_of_BigTIFF(bool bigEndian, bool big)
    {
        foreach (var type in new[] { 3, 4, 16 })
        {
            if (type < 16 || big)
            {
                // the entries, and three depths of two bytes that do not fit in theirs but in BigTIFF's
                Assert.Equal(new ImageHeader("tiff", 20, 10) { Held = 600 + 6 * 4 * (big ? 0 : 1), HeldByImageSharp = 9 * 200 + 6 * 2 * (big ? 0 : 1) }, Read(Tiff(Changed((256, type, [20]), (257, type, [10])), bigEndian, big)));
            }
        }
    }

    /// <summary>Strips of rows; what is compressed is held twice, JPEG with its coefficients, tiles in whole rows.</summary>
    [Theory]
    [InlineData(1, 10, 10 * 20 * 3)]
    [InlineData(1, 4, 4 * 20 * 3)]
    [InlineData(1, 99, 10 * 20 * 3)] // no more rows than there are
    [InlineData(5, 4, 2 * 4 * 20 * 3)]
    [InlineData(8, 10, 2 * 10 * 20 * 3)]
    public void A_row_of_strips_is_held(int compression, int rows, int held) => Assert.Equal(held + 24, Read(Tiff(Changed((259, 3, [(ulong)compression]), (278, 3, [(ulong)rows])))).Held);

    [Fact]
    public void A_row_of_tiles_is_held_and_a_jpeg_with_its_coefficients()
    {
        Assert.Equal(2 * 32 * 32 * 3 + 24, Read(Tiff([.. Plain, .. Tiled])).Held); // two tiles of 16 x 32 across
        Assert.Equal(4 * 200 * 3 + 24, Read(Tiff(Changed((259, 3, [7]), (262, 3, [6])))).Held);
        Assert.Equal(200 * 8 + 4 * 2 * 4, Read(Tiff(Changed((258, 3, [16, 16, 16, 16]), (277, 3, [4]), (279, 4, [1600])), more: 1000)).Held); // four samples of two bytes
        Assert.Equal(200 * 3, Read(Tiff(Changed((258, 3, [8]), (277, 3, [1]), (262, 3, [1])))).Held); // grey becomes three
        Assert.Equal(10 * 20 * 3 + 24, Read(Tiff([.. Plain.Where(e => e.Tag != 278)])).Held); // one strip for all
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(6, 6)]
    [InlineData(8, 8)]
    [InlineData(0, 1)]
    public void An_orientation_is_one_of_eight(int written, int told) => Assert.Equal(told, Read(Tiff([.. Plain, (274, 3, [(ulong)written])])).Orientation);

    [Theory]
    [InlineData("274 9", "a TIFF of orientation 9")]
    [InlineData("262 -", "a TIFF that does not say what its samples mean")]
    [InlineData("262 3 258 8 277 1", "a palette TIFF without its palette")]
    [InlineData("262 3 258 8 277 1 320 9", null)]
    [InlineData("262 3 258 8 277 2 320 9", "a TIFF of 2 palette samples of 8 bits")]
    [InlineData("262 3 258 16 277 1 320 9", "a TIFF of 1 palette samples of 16 bits")]
    [InlineData("262 5 258 8 277 4", null)]
    [InlineData("262 5 258 8 277 4 332 1", null)]
    [InlineData("262 5 258 8 277 4 332 2", "a TIFF of inks other than CMYK")]
    [InlineData("262 5 258 16 277 4 332 1", "a TIFF of 4 CMYK samples of 16 bits")]
    [InlineData("262 5 258 8 277 5 332 1", "a TIFF of 5 CMYK samples of 8 bits")]
    [InlineData("339 3", "a TIFF of 8-bit floating-point samples")]
    [InlineData("339 2", "a TIFF of signed or complex samples")]
    [InlineData("339 4", null)]
    [InlineData("258 8,8,16", "a TIFF whose colours have different depths")]
    [InlineData("262 0 258 1 277 1", null)]
    [InlineData("262 1 258 2 277 1", null)]
    [InlineData("262 1 258 4 277 2", null)]
    [InlineData("262 1 258 16 277 2", null)]
    [InlineData("262 1 258 8 277 3", "a TIFF of 3 grey samples of 8 bits")]
    [InlineData("262 1 258 3 277 1", "a TIFF of 1 grey samples of 3 bits")]
    [InlineData("262 2 258 16 277 3", null)]
    [InlineData("262 2 258 8 277 4", null)]
    [InlineData("262 2 258 4 277 3", "a TIFF of 3 RGB samples of 4 bits")]
    [InlineData("262 2 258 8 277 2", "a TIFF of 2 RGB samples of 8 bits")]
    [InlineData("262 6 259 6", "a TIFF with old-style JPEG")]
    [InlineData("262 6 259 7", null)]
    [InlineData("262 6 259 7 277 4", "a TIFF of YCbCr samples that are not JPEG")]
    [InlineData("262 6 259 5", "a TIFF of YCbCr samples that are not JPEG")]
    [InlineData("262 8", "a TIFF in CIE L*a*b*")]
    [InlineData("262 9", "a TIFF in CIE L*a*b*")]
    [InlineData("262 10", "a TIFF in CIE L*a*b*")]
    [InlineData("262 32844", "a TIFF in LogLuv")]
    [InlineData("262 32845", "a TIFF in LogLuv")]
    [InlineData("262 32803", "a camera's raw TIFF")]
    [InlineData("262 34892", "a camera's raw TIFF")]
    [InlineData("262 4", "a TIFF of photometric interpretation 4")]
    [InlineData("259 2", null)]
    [InlineData("259 3", null)]
    [InlineData("259 4", null)]
    [InlineData("259 5", null)]
    [InlineData("259 8", null)]
    [InlineData("259 32946", null)]
    [InlineData("259 32773", null)]
    [InlineData("259 6", "a TIFF with old-style JPEG")]
    [InlineData("259 34925", "a TIFF compressed by LZMA")]
    [InlineData("259 50000", "a TIFF compressed by Zstandard")]
    [InlineData("259 50001", "a TIFF compressed by WebP")]
    [InlineData("259 9", "a TIFF of compression 9")]
    [InlineData("284 2", null)]
    [InlineData("284 2 262 1 258 8 277 2", "a TIFF of grey and alpha in separate planes")]
    [InlineData("284 2 262 1 258 8 277 1", null)]
    [InlineData("284 2 322 16 323 16 324 8 325 600", "a TIFF of tiles in separate planes")]
    [InlineData("322 256 323 256 324 8 325 600", null)]
    [InlineData("322 256 323 257 324 8 325 600", "a TIFF of 20 x 10 pixels in a tile of 257")]
    public void What_is_not_decoded_right_is_named(string entries, string? what) => Assert.Equal(what, Read(Tiff(Written(entries), more: 10_000)).Unsupported);

    [Theory]
    [InlineData("256 20", null)]
    [InlineData("284 2", "a TIFF of separate planes")]
    [InlineData("322 16 323 16 324 8 325 600", "a TIFF of tiles")]
    [InlineData("266 2", "a TIFF whose bits are in reverse order")]
    [InlineData("266 1", null)]
    [InlineData("338 1", "a TIFF whose colours are multiplied by its alpha")]
    [InlineData("338 2", null)]
    [InlineData("262 5 258 8 277 4 332 1", "a TIFF in CMYK")]
    [InlineData("262 3 258 8 277 1 320 255", "a TIFF whose palette has 8 bits")]
    [InlineData("262 3 258 8 277 1 320 256", null)]
    [InlineData("262 1 258 1 277 1 259 2", "a TIFF of fax compression whose white is not 0")]
    [InlineData("262 1 258 1 277 1 259 3", "a TIFF of fax compression whose white is not 0")]
    [InlineData("262 1 258 1 277 1 259 4", "a TIFF of fax compression whose white is not 0")]
    [InlineData("262 0 258 1 277 1 259 4", null)]
    [InlineData("262 1 258 1 277 1 259 5", null)]
    [InlineData("262 2 259 7", "a TIFF of JPEG in colours other than YCbCr")]
    [InlineData("262 6 259 7", null)]
    [InlineData("279 -", "a TIFF that does not say how long its strips are")]
    public void What_ImageSharp_decodes_otherwise_is_named(string entries, string? what) => Assert.Equal(what, Read(Tiff(Written(entries), more: 10_000)).UnsupportedByImageSharp);

    [Theory]
    [InlineData(600, false)]
    [InlineData(601, true)]
    public void A_file_is_cut_where_a_strip_ends_behind_it(int strip, bool cut)
    {
        var tiff = Tiff(Changed((279, 4, [600])));
        var at = (ulong)(tiff.Length - 600);
        Assert.Equal(cut, Read(Tiff(Changed((273, 4, [at]), (279, 4, [(ulong)strip])))).Cut);
        Assert.Equal(cut, Read(Tiff(Changed((273, 4, [8, at + 24]), (279, 4, [1, (ulong)strip - 8])), more: 0)) is var two && two.Cut); // any of them
    }

    [Fact]
    public void Strips_that_were_never_written_are_told()
    {
        Corrupt("parts of its pixels were never written", Tiff(Changed((279, 4, [0]))));
        Corrupt("its header gives tag 256 twice", Tiff([Plain[0], .. Plain]));
        Corrupt("its header gives tag 324 twice", Tiff([.. Plain, .. Tiled, Tiled[2]]));
        Corrupt("its header gives tag 257 as no whole number", Tiff(Changed((257, 5, [10]))));
        Corrupt("its header says that a side has 0 pixels", Tiff(Changed((257, 3, [0]))));
        Corrupt("its header claims sizes that no picture has", Tiff(Changed((277, 3, [65]))));
        Corrupt("its header claims sizes that no picture has", Tiff(Changed((258, 3, [65, 8, 8]))));
        Assert.Contains("64 RGB samples", Read(Tiff(Changed((277, 3, [64])))).Unsupported, StringComparison.Ordinal);

        static void Corrupt(string why, byte[] tiff) => Assert.Contains($"The tiff is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(tiff)).Message, StringComparison.Ordinal);
    }

    private static ImageHeader Read(byte[] tiff) => ImageHeader.Read("tiff", tiff);

    private static (int, int, ulong[])[] Changed(params (int Tag, int Type, ulong[] Values)[] entries) => [.. Plain.Where(p => !entries.Any(e => e.Tag == p.Tag)), .. entries];

    /// <summary>"TAG VALUE" in turn; "-" for a tag that is left out.</summary>
    private static (int Tag, int Type, ulong[] Values)[] Written(string entries)
    {
        var words = entries.Split(' ').Chunk(2).ToDictionary(w => int.Parse(w[0], System.Globalization.CultureInfo.InvariantCulture), w => w[1]);
        return [.. Changed([.. words.Where(w => w.Value != "-").Select(w => (w.Key, 4, w.Value.Split(',').Select(v => ulong.Parse(v, System.Globalization.CultureInfo.InvariantCulture)).ToArray()))])
            .Where(e => words.GetValueOrDefault(e.Item1) != "-")];
    }

    /// <summary>Its directory at once, then what does not fit in its entries, then 600 bytes of pixels and more.</summary>
    private static byte[] Tiff((int Tag, int Type, ulong[] Values)[] entries, bool bigEndian = false, bool big = false, int more = 0)
    {
        byte[] Number(ulong value, int width) => [.. Enumerable.Range(0, width).Select(i => (byte)(value >> 8 * (bigEndian ? width - 1 - i : i)))];
        var (head, size) = big ? (16, 20) : (8, 12);
        var behind = new List<byte>();
        var at = head + (big ? 8 : 2) + size * entries.Length + (big ? 8 : 4);
        var directory = new List<byte>(Number((ulong)entries.Length, big ? 8 : 2));
        foreach (var (tag, type, values) in entries.OrderBy(e => e.Tag))
        {
            byte[] bytes = [.. values.SelectMany(v => Number(v, type switch { 3 => 2, 4 => 4, _ => 8 }))];
            directory.AddRange([.. Number((ulong)tag, 2), .. Number((ulong)type, 2), .. Number((ulong)values.Length, big ? 8 : 4)]);
            if (bytes.Length <= (big ? 8 : 4))
            {
                directory.AddRange([.. bytes, .. new byte[(big ? 8 : 4) - bytes.Length]]);
            }
            else
            {
                directory.AddRange(Number((ulong)(at + behind.Count), big ? 8 : 4));
                behind.AddRange(bytes);
            }
        }

        return [.. bigEndian ? "MM"u8 : "II"u8, .. Number(big ? 43u : 42u, 2), .. big ? (byte[])[.. Number(8, 2), 0, 0, .. Number(16, 8)] : Number(8, 4), .. directory, .. Number(0, big ? 8 : 4), .. behind, .. new byte[600 + more]];
    }
}
