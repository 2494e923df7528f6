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
                // the entries, and three depths that may not fit in theirs
                var depths = 3 * (type switch { 3 => 2, 4 => 4, _ => 8 });
                depths = depths > (big ? 8 : 4) ? depths : 0;
                Assert.Equal(new ImageHeader("tiff", 20, 10) { Held = 600 + depths * 4, HeldByImageSharp = 9 * 200 + depths * 2 }, Read(Tiff(Changed((256, type, [20]), (257, type, [10]), (258, type, [8, 8, 8])), bigEndian, big)));
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
        Assert.Equal(2 * 32 * 32 * 3 + 24, Read(Tiff([.. Changed((256, 3, [32])), .. Tiled])).Held); // which they fill
        Assert.Equal(200 * 6 + 24, Read(Tiff(Changed((258, 3, [16, 8, 8])))).Held); // of different depths the largest
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
    [InlineData("274 8", null)]
    [InlineData("274 9", "a TIFF of orientation 9")]
    [InlineData("262 -", "a TIFF that does not say what its samples mean")]
    [InlineData("262 3 258 8 277 1", "a palette TIFF without its palette")]
    [InlineData("262 3 258 8 277 1 320 9", null)]
    [InlineData("262 3 258 1 277 1 320 9", null)]
    [InlineData("262 3 258 2 277 1 320 9", null)]
    [InlineData("262 3 258 4 277 1 320 9", null)]
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
    [InlineData("256 300 322 768 323 768 324 8 325 600", null)] // the longer side counts
    [InlineData("257 300 322 768 323 768 324 8 325 600", null)]
    [InlineData("257 300 322 784 323 768 324 8 325 600", "a TIFF of 20 x 300 pixels in a tile of 784")]
    [InlineData("262 1 258 8 277 1 322 5000 323 20000 324 8 325 600", "a TIFF of 20 x 10 pixels in a tile of 20,000")] // 100 MB
    [InlineData("262 1 258 1 277 1 322 5000 323 20000 324 8 325 600", "a TIFF of 20 x 10 pixels in a tile of 20,000")]
    [InlineData("262 1 258 8 277 1 322 5000 323 20001 324 8 325 600", "a TIFF with a tile of 100,005,000 bytes")]
    [InlineData("322 5000 323 20000 324 8 325 600", "a TIFF with a tile of 300,000,000 bytes")]
    [InlineData("258 8,8,16 322 5000 323 20000 324 8 325 600", "a TIFF with a tile of 600,000,000 bytes")]
    [InlineData("322 2147483647 323 1 324 8 325 600", "a TIFF with a tile of 6,442,450,941 bytes")]
    [InlineData("322 1 323 2147483647 324 8 325 600", "a TIFF with a tile of 6,442,450,941 bytes")]
    [InlineData("258 64,64,64", "a TIFF of 3 RGB samples of 64 bits")]
    [InlineData("262 8 259 9", "a TIFF in CIE L*a*b*")] // of several the first
    [InlineData("259 9 284 2 322 16 323 16 324 8 325 600", "a TIFF of compression 9")]
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
    [InlineData("262 3 258 8 277 1 320 255,256", null)]
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
        Corrupt("its header claims sizes that no picture has", Tiff(Written("322 2147483648 323 1 324 8 325 600")));
        Corrupt("its header claims sizes that no picture has", Tiff(Written("322 1 323 2147483648 324 8 325 600")));
        Corrupt("its header claims sizes that no picture has", Tiff(Written("322 1073741824 323 1073741824 277 4 258 16,16,16,16 324 8 325 600"))); // bytes that are 0 in 64 bits
        Corrupt("a segment of it has no length", Jpegs([0xFF, 0xC4, 0, 1], Changed((259, 3, [7]), (262, 3, [6]))));
        byte[] outside = Tiff([.. Plain, (320, 16, [1, 2])], big: true);
        outside.AsSpan(16 + 8 + 20 * 9 + 12, 8).Fill(0xFF);
        Corrupt($"its header refers to byte 18,446,744,073,709,551,615, and it has {outside.Length}", outside);
        Assert.Contains("64 RGB samples", Read(Tiff(Changed((277, 3, [64])))).Unsupported, StringComparison.Ordinal);

        static void Corrupt(string why, byte[] tiff) => Assert.Contains($"The tiff is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(tiff)).Message, StringComparison.Ordinal);
    }

    /// <summary>Whatever the width of their places and lengths, and whether these are in the entry or elsewhere.</summary>
    [Theory]
    [InlineData(3, false, false)]
    [InlineData(3, true, false)]
    [InlineData(3, true, true)]
    [InlineData(4, false, false)]
    [InlineData(4, true, false)]
    [InlineData(4, false, true)]
    [InlineData(4, true, true)]
    [InlineData(16, false, true)]
    [InlineData(16, true, true)]
    public void A_file_is_cut_where_the_last_of_its_strips_is(int type, bool bigEndian, bool big)
    {
        for (var others = 0; others < 5; others++)
        {
            byte[] Of(int at, int length) => Tiff(Changed((273, type, [.. Enumerable.Repeat(8UL, others), (ulong)at]), (279, type, [.. Enumerable.Repeat(1UL, others), (ulong)length])), bigEndian, big);
            var end = Of(0, 1).Length;
            Assert.False(Read(Of(end - 100, 100)).Cut);
            Assert.True(Read(Of(end - 100, 101)).Cut);
        }
    }

    [Fact]
    public void Places_count_as_far_as_there_are_lengths_of_strips_or_where_there_are_tiles_of_these()
    {
        Assert.False(Read(Tiff(Changed((273, 4, [8, 8])))).Cut);
        Assert.False(Read(Tiff(Changed((279, 4, [600, 600])))).Cut);
        Assert.False(Read(Tiff([.. Plain.Where(e => e.Tag != 279)], big: true)).Cut);
        Assert.False(Read(Tiff([.. Plain, .. Tiled])).Cut);
        Assert.True(Read(Tiff([.. Plain, .. Tiled[..2], (324, 4, [10_000]), (325, 4, [1])])).Cut);
        Assert.True(Read(Tiff([.. Plain, .. Tiled[..3], (325, 4, [10_000])])).Cut);
        Assert.True(Read(Tiff(Changed((273, 16, [1UL << 63]), (279, 16, [1UL << 63])), big: true)).Cut); // 0 in 64 bits
    }

    /// <summary>A writer that left tiles for strips, say.</summary>
    [Fact]
    public void A_list_of_tiles_that_nobody_needs_may_lie_anywhere()
    {
        var tiff = Tiff([.. Plain, (324, 4, [8, 8, 8])]);
        BitConverter.GetBytes(tiff.Length + 1000).CopyTo(tiff.AsSpan(tiff.AsSpan().IndexOf((ReadOnlySpan<byte>)[68, 1, 4, 0, 3, 0, 0, 0]) + 8));
        Assert.Equal((false, null), Read(tiff) is var header ? (header.Cut, header.Unsupported) : default);
    }

    /// <summary>Of strips or tiles of JPEG each is a picture of its own: the one with most scans counts.</summary>
    [Fact]
    public void Scans_are_those_of_a_strip_or_of_a_tile()
    {
        byte[] scan = [0xFF, 0xDA, 0, 2], none = new byte[4], data = [.. scan, .. scan, .. scan, .. scan, .. scan, .. scan, .. scan, .. none, .. scan, .. none, .. scan, .. scan, .. scan, .. scan];
        Assert.Equal((false, 3), Told(7, [0], [12], false));
        Assert.Equal((false, 5), Told(7, [0], [12], true));
        Assert.Equal((false, 1), Told(1, [0], [12], false));
        Assert.Equal((false, 7), Told(7, [0, 28, 0], [12, 28, 28], false));
        Assert.Equal((false, 7), Told(7, [28, 0], [28, 28], false));
        Assert.Equal((true, 3), Told(7, [0, 28, 0], [12, 1000, 28], false)); // up to where it is cut

        (bool, int) Told(ulong compression, ulong[] strips, ulong[] lengths, bool tiled)
        {
            (int, int, ulong[])[] Entries(ulong from) => Changed([(259, 3, [compression]), (262, 3, [6]), (273, 4, [.. strips.Select(s => s + from)]), (279, 4, lengths), .. tiled ? Tiled[..2] : [], (324, 4, [28 + from]), (325, 4, [28])]);
            return Read(Jpegs(data, Entries((ulong)(Tiff(Entries(0)).Length - 600)))) is var header ? (header.Cut, header.Scans) : default;
        }
    }

    /// <summary>By 64 MiB more than the file they may lie over one another; each is looked through.</summary>
    [Fact]
    public void Strips_of_jpeg_that_name_the_same_bytes_are_counted()
    {
        const int MiB = 1024 * 1024;
        Assert.False(Read(Shared([.. Enumerable.Repeat(4UL * MiB, 17)])).Cut);
        Assert.Contains("its strips name 71,303,169 bytes, and it has 4,194,304", Assert.Throws<ImageException>(() => Read(Shared([.. Enumerable.Repeat(4UL * MiB, 17), 1]))).Message, StringComparison.Ordinal);
        Assert.False(Read(Shared([.. Enumerable.Repeat(4UL * MiB, 20)], compression: 1)).Cut); // these are not

        static byte[] Shared(ulong[] lengths, ulong compression = 7)
        {
            var entries = Changed((259, 3, [compression]), (262, 3, [6]), (273, 4, new ulong[lengths.Length]), (279, 4, lengths));
            return Tiff(entries, more: 4 * MiB - Tiff(entries).Length);
        }
    }

    [Fact]
    public void Tags_of_a_page_are_counted_to_a_thousand_and_their_bytes_to_a_mebibyte()
    {
        (int, int, ulong[])[] Private(int count) => [.. Plain, .. Enumerable.Range(0, count).Select(i => (40_000 + i, 3, new ulong[] { 1 }))];
        Assert.Null(Read(Tiff(Private(991))).Unsupported);
        Assert.Equal("a TIFF with 1,001 tags on a page", Read(Tiff(Private(992))).Unsupported);
        Assert.False(Read(Tiff([.. Plain, (40_000, 3, new ulong[512 * 1024 - 3])])).Whole); // and three depths
        Assert.True(Read(Tiff([.. Plain, (40_000, 3, new ulong[512 * 1024 - 2])])).Whole);
        Assert.Null(Read(Tiff([.. Plain, (40_000, 2, [1]), (40_000, 2, [1])])).Unsupported); // what is not read may be of any type, and twice
    }

    /// <summary>As an entry it would be a width, or lengths of strips.</summary>
    [Theory]
    [InlineData(256)]
    [InlineData(4 << 16 | 279)]
    public void The_next_pages_place_is_no_entry(int next) =>
        Assert.Equal((2, false), Read(Tiff([.. Plain.Where(e => e.Tag != 279)], next: next, more: 300_000)) is var header ? (header.Pages, header.Cut) : default);

    [Fact]
    public void Pages_that_lead_back_are_not_for_ImageSharp() => Assert.Equal("a TIFF whose last page leads back to another", Read(Tiff(Plain, next: 8)).UnsupportedByImageSharp);

    private static ImageHeader Read(byte[] tiff) => ImageHeader.Read("tiff", tiff);

    private static (int, int, ulong[])[] Changed(params (int Tag, int Type, ulong[] Values)[] entries) => [.. Plain.Where(p => !entries.Any(e => e.Tag == p.Tag)), .. entries];

    /// <summary>"TAG VALUE" in turn; "-" for a tag that is left out.</summary>
    private static (int Tag, int Type, ulong[] Values)[] Written(string entries)
    {
        var words = entries.Split(' ').Chunk(2).ToDictionary(w => int.Parse(w[0], System.Globalization.CultureInfo.InvariantCulture), w => w[1]);
        return [.. Changed([.. words.Where(w => w.Value != "-").Select(w => (w.Key, 4, w.Value.Split(',').Select(v => ulong.Parse(v, System.Globalization.CultureInfo.InvariantCulture)).ToArray()))])
            .Where(e => words.GetValueOrDefault(e.Item1) != "-")];
    }

    /// <summary>Pixels that begin so.</summary>
    private static byte[] Jpegs(byte[] pixels, (int, int, ulong[])[] entries)
    {
        var tiff = Tiff(entries);
        pixels.CopyTo(tiff.AsSpan(tiff.Length - 600));
        return tiff;
    }

    /// <summary>Its directory at once, then what does not fit in its entries, then 600 bytes of pixels and more.</summary>
    private static byte[] Tiff((int Tag, int Type, ulong[] Values)[] entries, bool bigEndian = false, bool big = false, int more = 0, int next = 0)
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

        return [.. bigEndian ? "MM"u8 : "II"u8, .. Number(big ? 43u : 42u, 2), .. big ? (byte[])[.. Number(8, 2), 0, 0, .. Number(16, 8)] : Number(8, 4), .. directory, .. Number((ulong)next, big ? 8 : 4), .. behind, .. new byte[600 + more]];
    }
}
