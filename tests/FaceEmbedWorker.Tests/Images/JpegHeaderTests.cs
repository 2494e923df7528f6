using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Segments as ITU-T T.81, Annex B, has them.</summary>
public class JpegHeaderTests
{
    private static readonly byte[] Exif6 = [.. "Exif\0\0MM\0*"u8, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0];
    private static readonly byte[] Jfif = Segment(0xE0, [.. "JFIF\0"u8, 1, 1, 0, 0, 1, 0, 1, 0, 0]);

    /// <summary>Its rows come out as they go in; where its pixels end, and its end comes, is known.</summary>
    [Fact]
    public void A_baseline_one_holds_a_copy_of_its_bytes()
    {
        var jpeg = Jpeg(Frame(0xC0, 300, 200, 0x22, 0x11, 0x11), Scan(3));
        var header = Read(jpeg);
        Assert.Equal(new ImageHeader("jpeg", 300, 200) { Held = jpeg.Length, PixelsEnd = jpeg.Length - 2, HalvedColours = (true, true) }, header);
    }

    [Theory]
    [InlineData(new byte[] { 0x22, 0x11, 0x11 }, true, true)]
    [InlineData(new byte[] { 0x21, 0x11, 0x11 }, true, false)]
    [InlineData(new byte[] { 0x12, 0x11, 0x11 }, false, true)]
    [InlineData(new byte[] { 0x22, 0x11, 0x21 }, false, true)] // one of the two alone is not halved
    [InlineData(new byte[] { 0x11, 0x11, 0x11 }, false, false)]
    [InlineData(new byte[] { 0x44, 0x22, 0x22 }, true, true)]
    [InlineData(new byte[] { 0x11, 0x22, 0x22 }, false, false)]
    [InlineData(new byte[] { 0x41, 0x11, 0x11 }, false, false)]
    [InlineData(new byte[] { 0x22 }, false, false)]
    [InlineData(new byte[] { 0x22, 0x11, 0x11, 0x11 }, false, false)]
    public void Colours_are_halved_where_both_have_half_the_pixels(byte[] sampling, bool across, bool down) => Assert.Equal((across, down), Read(Jpeg(Frame(0xC0, 30, 20, sampling), Scan(sampling.Length))).HalvedColours);

    /// <summary>Two bytes for each coefficient, of blocks of 8 x 8 that are filled up to whole groups.</summary>
    [Theory]
    [InlineData(0xC2, 3, 17, 16, 2 * 1 * (4 + 1 + 1))]
    [InlineData(0xC2, 3, 16, 16, 1 * 1 * (4 + 1 + 1))]
    [InlineData(0xCA, 3, 16, 33, 1 * 3 * (4 + 1 + 1))]
    [InlineData(0xC0, 1, 16, 17, 1 * 2 * (4 + 1 + 1))] // one colour after another
    public void What_comes_in_passes_is_held_as_a_whole(byte marker, int inScan, int width, int height, int blocks)
    {
        var jpeg = Jpeg(Frame(marker, width, height, 0x22, 0x11, 0x11), Scan(inScan), Scan(inScan));
        var header = Read(jpeg);
        Assert.Equal((true, marker != 0xC0, 2, blocks * 64 * 2 + jpeg.Length, false), (header.Whole, header.Progressive, header.Scans, header.Held, header.Cut));
    }

    [Fact]
    public void Scans_are_counted_to_ten_thousand()
    {
        Assert.Equal(9_999, Read(Jpeg([Frame(0xC2, 16, 16, 0x11), .. Enumerable.Repeat(Scan(1), 9_999)])).Scans);
        Assert.Equal(10_000, Read(Jpeg([Frame(0xC2, 16, 16, 0x11), .. Enumerable.Repeat(Scan(1), 10_001)])).Scans);
        Assert.Equal(10_000, JpegHeader.CountScans(new HeaderReader(Jpeg([.. Enumerable.Repeat(Scan(1), 10_001)]), "jpeg")));
        Assert.Equal(3, JpegHeader.CountScans(new HeaderReader(Jpeg(Scan(1), Scan(2), [0xFF, 0xD0, 0xFF, 0x01], Scan(1)), "jpeg"))); // without a frame
    }

    [Fact]
    public void The_first_orientation_that_is_not_upright_counts()
    {
        Assert.Equal(6, Read(Jpeg(Segment(0xE1, Exif6), Frame(0xC0, 30, 20, 0x11), Scan(1))).Orientation);
        byte[] exif3 = [.. Exif6[..25], 3, .. Exif6[26..]];
        Assert.Equal(6, Read(Jpeg(Segment(0xE1, Exif6), Segment(0xE1, exif3), Frame(0xC0, 30, 20, 0x11), Scan(1))).Orientation);
        Assert.Equal(3, Read(Jpeg(Segment(0xE1, "http://ns.adobe.com/xap/1.0/\0"u8), Segment(0xE1, exif3), Frame(0xC2, 30, 20, 0x11), Scan(1), Scan(1))).Orientation);
        Assert.Equal(1, Read(Jpeg(Segment(0xE2, Exif6), Frame(0xC0, 30, 20, 0x11), Scan(1))).Orientation);
        Assert.Equal(1, Read(Jpeg(Segment(0xE1, Exif6.AsSpan(0, 25)), [6, 0, 0, 0], Frame(0xC0, 30, 20, 0x11), Scan(1))).Orientation); // what follows the segment is not its
    }

    [Theory]
    [InlineData(0xC1, 8, 3, null)]
    [InlineData(0xC9, 8, 3, null)] // arithmetic
    [InlineData(0xC3, 8, 3, "a lossless or hierarchical JPEG")]
    [InlineData(0xC5, 8, 3, "a lossless or hierarchical JPEG")]
    [InlineData(0xC6, 8, 3, "a lossless or hierarchical JPEG")]
    [InlineData(0xC7, 8, 3, "a lossless or hierarchical JPEG")]
    [InlineData(0xCB, 8, 3, "a lossless or hierarchical JPEG")]
    [InlineData(0xCF, 8, 3, "a lossless or hierarchical JPEG")]
    [InlineData(0xC0, 12, 3, "a JPEG of 12 bits")]
    [InlineData(0xC0, 8, 2, "a JPEG of 2 components")]
    [InlineData(0xC0, 8, 5, "a JPEG of 5 components")]
    [InlineData(0xC0, 8, 1, null)]
    [InlineData(0xC0, 8, 4, null)]
    public void A_kind_that_is_not_read_is_named(byte marker, byte precision, int components, string? what)
    {
        var frame = Frame(marker, 30, 20, [.. Enumerable.Repeat((byte)0x11, components)]);
        frame[4] = precision;
        Assert.Equal(what, Read(Jpeg(frame, Scan(components))).Unsupported);
    }

    [Fact]
    public void What_ImageSharp_decodes_otherwise_is_named()
    {
        byte[] frame = Frame(0xC0, 30, 20, 0x11, 0x11, 0x11), rgb = Segment(0xEE, [.. "Adobe"u8, 0, 100, 0, 0, 0, 0, 0]), ycc = [.. rgb[..^1], 1];
        Assert.Null(What(Jfif, ycc, frame, Scan(3)));
        Assert.Null(What(rgb, frame, Scan(3)));
        Assert.Equal("a JPEG whose JFIF and Adobe markers disagree about its colours", What(Jfif, rgb, frame, Scan(3)));
        Assert.Equal("a JPEG whose JFIF and Adobe markers disagree about its colours", What(Jfif, Jfif, rgb, frame, Scan(3)));
        Assert.Null(What(Jfif, rgb, Frame(0xC0, 30, 20, 0x11, 0x11, 0x11, 0x11), Scan(4)));
        Assert.Null(What(Segment(0xE0, "JFXX\0"u8), rgb, frame, Scan(3)));
        Assert.Equal("a JPEG filled up before its first segment", What([0xFF, .. frame], Scan(3)));
        Assert.Null(What(Jfif, [0xFF, 0xFF, .. frame], Scan(3))); // fill bytes elsewhere
        Assert.Equal("a JPEG with bytes that belong to no segment", What([7, .. frame], Scan(3)));
        Assert.Equal("a JPEG with bytes that belong to no segment", What(frame, [7, .. Scan(3)]));
        Assert.Equal("a JPEG with bytes that belong to no segment", What([7, .. Jfif], [7, .. frame], Scan(3)));
        Assert.Equal("a JPEG whose scans hold some of its colours together, some apart", What(frame, Scan(2), Scan(1)));
        Assert.Null(What(frame, Scan(1), Scan(1), Scan(1)));
        Assert.Null(What(Frame(0xC2, 30, 20, 0x11, 0x11, 0x11), Scan(2), Scan(1)));

        static string? What(params byte[][] segments) => Read(Jpeg(segments)).UnsupportedByImageSharp;
    }

    [Fact]
    public void A_file_is_cut_where_no_end_comes_after_its_one_scan()
    {
        var jpeg = Jpeg(Frame(0xC0, 30, 20, 0x11), Scan(1));
        Assert.Equal((false, jpeg.Length - 2), Told(jpeg));
        Assert.Equal((false, jpeg.Length - 2), Told([.. jpeg, 1, 2, 3])); // what a camera appends
        Assert.Equal((true, jpeg.Length - 2), Told(jpeg[..^2]));
        Assert.Equal((true, jpeg.Length - 1), Told(jpeg[..^1]));
        Assert.Equal((true, jpeg.Length - 2), Told([.. jpeg[..^2], .. Segment(0xC4, [0]), .. jpeg[^2..]])); // something else comes there
        Assert.Equal((false, jpeg.Length + 2), Told([.. jpeg[..^2], 0xFF, 0xD0, 9, 9, .. jpeg[^2..]])); // a restart
        Assert.Equal((false, jpeg.Length + 2), Told([.. jpeg[..^2], 0xFF, 0xD7, 9, 9, .. jpeg[^2..]]));
        Assert.Equal((true, jpeg.Length - 2), Told([.. jpeg[..^2], 0xFF, 0xD8, 9, 9, .. jpeg[^2..]])); // another start is none
        Assert.Equal((false, jpeg.Length + 1), Told([.. jpeg[..^2], 0xFF, 0, 9, .. jpeg[^2..]])); // a byte 255 of the pixels

        var progressive = Jpeg(Frame(0xC2, 30, 20, 0x11), Scan(1), Scan(1));
        Assert.False(Read(progressive).Cut);
        Assert.True(Read(progressive[..^2]).Cut);

        static (bool, int) Told(byte[] jpeg) => Read(jpeg) is var header ? (header.Cut, header.PixelsEnd) : default;
    }

    [Fact]
    public void Bytes_before_a_marker_are_passed_over_and_so_are_markers_without_a_length()
    {
        Assert.Equal(30, Read(Jpeg([0xFF, 0x01, 0xFF, 0xD0, 0xFF, 0xD7, 0xFF, 0xD8], Frame(0xC0, 30, 20, 0x11), Scan(1))).Width);
        Assert.Equal(30, Read(Jpeg(Segment(0xC4, [0, 1]), Segment(0xC8, [0, 1]), Segment(0xCC, [0, 1]), Frame(0xC0, 30, 20, 0x11), Frame(0xC0, 60, 40, 0x11), Scan(1))).Width); // no frames, and the first frame
    }

    [Fact]
    public void What_cannot_be_is_corrupt()
    {
        Corrupt("its pixels come before its size", Scan(1));
        Corrupt("it ends before its pixels", Frame(0xC0, 30, 20, 0x11));
        Corrupt("it ends before its pixels");
        Assert.Contains("it ends before its pixels", Assert.Throws<ImageException>(() => Read([0xFF, 0xD8, .. Frame(0xC0, 30, 20, 0x11)])).Message, StringComparison.Ordinal);
        Corrupt("a segment of it has no length", [0xFF, 0xE0, 0, 1]);
        Corrupt("its sampling factors are none", Frame(0xC0, 30, 20, 0x01), Scan(1));
        Corrupt("its sampling factors are none", Frame(0xC0, 30, 20, 0x50), Scan(1));
        Corrupt("its sampling factors are none", Frame(0xC0, 30, 20, 0x11, 0x15, 0x11), Scan(3));
        Corrupt("its header says that a side has 0 pixels", Frame(0xC0, 0, 20, 0x11), Scan(1));
        Corrupt("its header says that a side has 0 pixels", Frame(0xC0, 30, 0, 0x11), Scan(1));
        Assert.Equal(30, Read(Jpeg(Segment(0xE0, []), Frame(0xC0, 30, 20, 0x44), Scan(1))).Width); // the shortest segment, the largest factor

        static void Corrupt(string why, params byte[][] segments) => Assert.Contains($"The jpeg is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(Jpeg(segments))).Message, StringComparison.Ordinal);
    }

    /// <summary>What a scan lacks is read from what it goes on with, and nothing of it becomes a marker.</summary>
    [Fact]
    public void A_copy_goes_on_where_the_bytes_of_each_scan_end()
    {
        byte[] head = [0xFF, 0xD8, 0xFF, 0x01, 0xFF, 0xD0, 0xFF, 0xD7, 0xFF, 0xD8, .. Frame(0xC2, 30, 20, 0x11)], more = [.. Enumerable.Repeat((byte)0x55, 1020), 0xFF, 0xFF, 0xFF, 0xFF];
        var (copy, places) = JpegHeader.GoneOn([.. head, .. Scan(1), 0xFF, 0xFF, .. Scan(1), 0xFF, 0xFF, 0xD9, 1, 2, 3], several: true);
        JpegHeader.GoOn(copy, places, 0x55);
        Assert.Equal([.. head, .. Scan(1), .. more, .. Scan(1), .. more, 0xFF, 0xD9], copy); // what fills up before the next marker is left out
        Assert.Equal([head.Length + Scan(1).Length, head.Length + Scan(1).Length + 1024 + Scan(1).Length], places);
        Assert.Equal(2, Read(copy).Scans);
    }

    /// <summary>Its end is made, whatever else it ends with.</summary>
    [Fact]
    public void A_copy_of_one_without_an_end_has_one()
    {
        byte[] head = [0xFF, 0xD8, .. Frame(0xC2, 30, 20, 0x11), .. Scan(1)], table = Segment(0xC4, [1, 2, 3]);
        var (copy, places) = JpegHeader.GoneOn([.. head, .. table], several: true);
        JpegHeader.GoOn(copy, places, 0x55);
        Assert.Equal([.. head, .. Enumerable.Repeat((byte)0x55, 1020), 0xFF, 0xFF, 0xFF, 0xFF, .. table, 0xFF, 0xD9], copy);
    }

    /// <summary>What follows the one scan of a sequential JPEG is left out.</summary>
    [Fact]
    public void A_copy_of_a_sequential_one_ends_with_its_scan()
    {
        byte[] frame = Frame(0xC0, 30, 20, 0x11), head = [0xFF, 0xD8, .. frame, .. Scan(1)];
        var (copy, places) = JpegHeader.GoneOn([.. head, 0xFF, 0xC4, 0, 3, 9, .. Scan(1), 0xFF, 0xD9], several: false);
        JpegHeader.GoOn(copy, places, 7);
        Assert.Equal([head.Length], places);
        Assert.Equal([.. head, .. Enumerable.Repeat((byte)7, 1020), 0xFF, 0xFF, 0xFF, 0xFF], copy[..(head.Length + 1024)]);
        Assert.Equal([0xFF, 0xD9], copy[^2..]);
        Assert.False(Read(copy).Cut);
    }

    private static ImageHeader Read(byte[] jpeg) => ImageHeader.Read("jpeg", jpeg);

    private static byte[] Jpeg(params byte[][] segments) => [0xFF, 0xD8, .. segments.SelectMany(s => s), 0xFF, 0xD9];

    private static byte[] Segment(byte marker, ReadOnlySpan<byte> data) => [0xFF, marker, (byte)((data.Length + 2) >> 8), (byte)(data.Length + 2), .. data];

    private static byte[] Frame(byte marker, int width, int height, params byte[] sampling) =>
        Segment(marker, [8, (byte)(height >> 8), (byte)height, (byte)(width >> 8), (byte)width, (byte)sampling.Length, .. sampling.SelectMany((s, i) => new byte[] { (byte)(i + 1), s, 0 })]);

    /// <summary>Of so many colours, with three bytes of pixels.</summary>
    private static byte[] Scan(int components) => [.. Segment(0xDA, [(byte)components, .. Enumerable.Range(1, components).SelectMany(c => new byte[] { (byte)c, 0 }), 0, 63, 0]), 1, 2, 3];
}
