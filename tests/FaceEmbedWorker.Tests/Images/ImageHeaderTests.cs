using System.Buffers.Binary;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;
using NetVips;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Headers are read in managed code; what libvips says of the same file is the reference.</summary>
public class ImageHeaderTests
{
    private static ReadOnlySpan<byte> ScanMarker => [0xFF, 0xDA];

    public static TheoryData<string> Fixtures => [.. Directory.EnumerateFiles(Path.Combine(TestData.Folder, "formats")).Append(TestData.GraceHopper).Append(TestData.Astronaut)];

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Size_orientation_and_pages_are_those_that_libvips_sees(string file) => EqualsLibvips(file);

    [Theory]
    [InlineData("lfw10")]
    [InlineData("photos")]
    [InlineData("wider")]
    public void The_same_of_other_peoples_photos(string set)
    {
        var files = Directory.EnumerateFiles(TestData.Verification(set), "*.jpg", SearchOption.AllDirectories).Take(200).ToList();
        Assert.NotEmpty(files);
        Assert.All(files, EqualsLibvips);
    }

    [Theory]
    [InlineData("webp")]
    [InlineData("gif")]
    [InlineData("avif")]
    [InlineData("tif")]
    [InlineData("png")]
    public void The_same_of_each_format_in_odd_sizes(string format)
    {
        foreach (var (width, height) in new[] { (1, 1), (1, 17), (33, 2), (257, 129), (640, 3) })
        {
            using var picture = Image.Black(width, height, bands: 3);
            using var srgb = picture.Copy(interpretation: Enums.Interpretation.Srgb);
            var header = Header(srgb.WriteToBuffer("." + format));
            Assert.Equal((width, height, 1, 1), (header.Width, header.Height, header.Orientation, header.Pages));
        }
    }

    [Fact]
    public void Scans_of_a_progressive_jpeg_are_counted()
    {
        var bytes = TestData.Read("formats/progressive.jpg");
        var header = Header(bytes);
        var scans = Enumerable.Range(0, bytes.Length - 1).Count(i => bytes[i] == 0xFF && bytes[i + 1] == 0xDA);
        Assert.Equal((true, scans), (header.Progressive, header.Scans));
        Assert.InRange(scans, 2, 20);

        // the same scan again and again: a file of a few hundred kilobytes that would take a minute
        var last = bytes.AsSpan().LastIndexOf(ScanMarker);
        byte[] many = [.. bytes[..last], .. Enumerable.Repeat(bytes[last..^2], 200).SelectMany(s => s), 0xFF, 0xD9];
        Assert.Equal(scans + 199, Header(many).Scans);
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open(many));
        Assert.Equal(ImageFault.Refused, fault.Fault);
        Assert.Contains($"has {scans + 199} scans; Images:MaxScans allows 100", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_baseline_jpeg_that_brings_its_colours_one_after_another_holds_them_all()
    {
        var baseline = TestData.Read("formats/baseline.jpg");
        Assert.Equal(baseline.Length, Header(baseline).Held); // a copy, where its end is in doubt
        var scan = baseline.AsSpan().IndexOf(ScanMarker);
        var single = (byte[])baseline.Clone();
        single[scan + 4] = 1; // one component in its first scan
        Assert.InRange(Header(single).Held - single.Length, 61 * 47 * 2, 80 * 64 * 6);
    }

    [Fact]
    public void An_avif_is_as_large_as_its_stream_says_whatever_its_boxes_say()
    {
        var avif = Pipeline.Changed(TestData.Astronaut, image => image.Copy(), ".avif");
        var size = avif.AsSpan().IndexOf("ispe"u8) + 8;
        Assert.Equal(512u, BinaryPrimitives.ReadUInt32BigEndian(avif.AsSpan(size)));
        var honest = Header(avif).Held;
        BinaryPrimitives.WriteUInt32BigEndian(avif.AsSpan(size), 8);
        BinaryPrimitives.WriteUInt32BigEndian(avif.AsSpan(size + 4), 8);
        Assert.Equal((8, honest), (Header(avif).Width, Header(avif).Held));
        Assert.InRange(honest, 512 * 512 * 14, 512 * 512 * 24);
    }

    [Theory]
    [InlineData(1, 1, 1, 32, 1, "1 grey samples of 32 bits")]
    [InlineData(1, 1, 1, 32, 3, "32-bit floating-point samples")]
    [InlineData(1, 1, 1, 8, 2, "signed")]
    [InlineData(5, 1, 4, 16, 1, "4 CMYK samples of 16 bits")]
    [InlineData(8, 1, 3, 8, 1, "CIE L*a*b*")]
    [InlineData(6, 6, 3, 8, 1, "old-style JPEG")]
    [InlineData(6, 1, 3, 8, 1, "YCbCr")]
    [InlineData(2, 34925, 3, 8, 1, "LZMA")]
    [InlineData(2, 50000, 3, 8, 1, "Zstandard")]
    [InlineData(32845, 34676, 3, 16, 1, "LogLuv")]
    [InlineData(32803, 1, 1, 16, 1, "raw")]
    [InlineData(2, 1, 5, 8, 1, "5 RGB samples")]
    [InlineData(2, 1, 3, 8, 1, "tiles in separate planes", 2, true)]
    [InlineData(1, 1, 2, 8, 1, "separate planes", 2)]
    public void A_tiff_that_would_be_decoded_wrong_is_named(int photometric, int compression, int samples, int bits, int sampleFormat, string what, int planar = 1, bool tiled = false)
    {
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open(Tiff(photometric, compression, samples, bits, sampleFormat, planar, tiled)));
        Assert.Equal(ImageFault.Unsupported, fault.Fault);
        Assert.Contains(what, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_grey_tiff_of_any_depth_gives_its_grey()
    {
        foreach (var bits in new[] { 8, 16 })
        {
            using var picture = Pipeline.Decode(Tiff(photometric: 1, compression: 1, samples: 1, bits: bits, sampleFormat: 1, fill: 0x5A));
            Assert.All(picture.Pixels.ToArray(), value => Assert.Equal(0x5A, value));
        }
    }

    [Theory]
    [InlineData(0xC3, 8, 3, "lossless")]
    [InlineData(0xC2, 12, 3, "12 bits")]
    [InlineData(0xC0, 8, 2, "2 components")]
    public void A_jpeg_that_no_decoder_here_reads_is_named(byte marker, byte precision, byte components, string what)
    {
        byte[] frame = [0xFF, 0xD8, 0xFF, marker, 0, (byte)(8 + 3 * components), precision, 0, 16, 0, 16, components, .. Enumerable.Range(1, components).SelectMany(c => new byte[] { (byte)c, 0x11, 0 })];
        byte[] scan = [0xFF, 0xDA, 0, (byte)(6 + 2 * components), components, .. Enumerable.Range(1, components).SelectMany(c => new byte[] { (byte)c, 0 }), 0, 63, 0, 0xFF, 0xD9];
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open([.. frame, .. scan]));
        Assert.Equal(ImageFault.Unsupported, fault.Fault);
        Assert.Contains(what, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Limits_on_sides_and_shape_are_told_with_their_setting()
    {
        Refused(Pngs.Header(70_000, 700), "Images:MaxSide allows 65,535");
        Refused(Pngs.Header(1, 65_535), "Images:MaxAspectRatio allows 100");
        Refused(Pngs.Header(10_100, 100), "Images:MaxAspectRatio allows 100");
        Pipeline.Decoder.Open(Pngs.Header(10_000, 100));
        Pipeline.Decoder.Open(Pngs.Header(1000, 1));
        Refused(Pngs.Header(10_000, 10_000), "Images:MaxMemory allows 67,108,864", new ImageOptions { MaxMemory = 64 * 1024 * 1024 });
    }

    /// <summary>
    /// A million pictures are not needed for this: whatever a header claims, reading it ends, in a header or in a typed refusal.
    /// </summary>
    [Fact]
    public void Headers_that_lie_are_read_or_refused()
    {
        var corpus = Fixtures.Select(f => File.ReadAllBytes(f.Data)).Append(Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.1), ".avif")).Append(Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.1), ".webp")).ToArray();
        var (read, refused) = (0, 0);
        for (var seed = 0; seed < 60_000; seed++)
        {
            var random = new Random(seed);
            var bytes = (byte[])corpus[random.Next(corpus.Length)].Clone();
            for (var change = random.Next(1, 8); change > 0; change--)
            {
                var at = random.Next(Math.Min(bytes.Length - 4, 700));
                if (random.Next(2) == 0)
                {
                    bytes.AsSpan(at, 4).Fill((byte)(random.Next(2) * 255));
                }

                bytes[at] = (byte)random.Next(256);
            }

            try
            {
                if (ImageFormat.Of(bytes) is { } format && ImageFormat.Decoded.Contains(format))
                {
                    var header = ImageHeader.Read(format, bytes.AsSpan(0, random.Next(4) == 0 ? random.Next(12, bytes.Length) : bytes.Length));
                    Assert.True(header is { Width: > 0, Height: > 0, Held: >= 0, Pages: > 0, Orientation: >= 1 and <= 8 }, $"seed {seed}: {header}");
                    read++;
                }
            }
            catch (ImageException)
            {
                refused++;
            }
            catch (Exception e)
            {
                Assert.Fail($"seed {seed}: {e}");
            }
        }

        Assert.True(read > 10_000 && refused > 1000, $"{read} read, {refused} refused");
    }

    [Fact]
    public void Orientation_in_xmp_alone_does_not_count()
    {
        byte[] xmp = [.. "http://ns.adobe.com/xap/1.0/\0"u8, .. """<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>"""u8];
        byte[] segment = [0xFF, 0xE1, (byte)((xmp.Length + 2) >> 8), (byte)(xmp.Length + 2), .. xmp];
        var baseline = TestData.Read("formats/baseline.jpg");
        Assert.Equal(1, Header([.. baseline[..2], .. segment, .. baseline[2..]]).Orientation);
    }

    [Fact]
    public void A_picture_that_cannot_be_decoded_is_told_by_its_format()
    {
        Assert.Equal((ImageFault.Undecodable, "The png is truncated or corrupt: its pixels cannot be decoded."), new ImageHeader("png", 1, 1).Broken() is var broken ? (broken.Fault, broken.Message) : default);
        Assert.Equal("The png is truncated or corrupt: it ends before its pixels do.", new ImageHeader("png", 1, 1) { Cut = true }.Broken().Message);
        Assert.Equal("No way to read the header of PCX.", Assert.Throws<NotSupportedException>(() => ImageHeader.Read("PCX", [])).Message);
    }

    private static void Refused(byte[] bytes, string why, ImageOptions? options = null)
    {
        using var decoder = new ImageDecoder(Options.Create(options ?? new ImageOptions()));
        var fault = Assert.Throws<ImageException>(() => decoder.Open(bytes));
        Assert.Equal(ImageFault.Refused, fault.Fault);
        Assert.Contains(why, fault.Message, StringComparison.Ordinal);
    }

    private static ImageHeader Header(byte[] bytes) => ImageHeader.Read(ImageFormat.Of(bytes)!, bytes);

    private static void EqualsLibvips(string file)
    {
        var header = Header(File.ReadAllBytes(file));
        using var image = Image.NewFromFile(file, access: Enums.Access.Sequential);
        var turn = image.Contains("orientation") && image.Get("orientation") is int and >= 1 and <= 8 and var value ? value : 1;
        var pages = image.Contains("n-pages") ? (int)image.Get("n-pages") : 1;
        Assert.Equal((file, image.Width, image.Height, turn, pages), (file, header.Width, header.Height, header.Orientation, header.Pages));
    }

    /// <summary>One strip, or one tile, of 16 x 16 pixels, every byte of which is <paramref name="fill"/>.</summary>
    private static byte[] Tiff(int photometric, int compression, int samples, int bits, int sampleFormat, int planar = 1, bool tiled = false, byte fill = 0)
    {
        var data = Enumerable.Repeat(fill, 16 * 16 * samples * bits / 8).ToArray();
        (int Tag, int Value)[] entries = [(256, 16), (257, 16), (258, bits), (259, compression), (262, photometric), (tiled ? 324 : 273, 0), (277, samples), (278, 16), (tiled ? 325 : 279, data.Length), (284, planar), .. tiled ? new[] { (322, 16), (323, 16) } : [], (339, sampleFormat)];
        entries = [.. entries.OrderBy(e => e.Tag)];
        var at = 8 + 2 + 12 * entries.Length + 4;
        var bytes = new List<byte>([(byte)'I', (byte)'I', 42, 0, 8, 0, 0, 0, (byte)entries.Length, 0]);
        foreach (var (tag, value) in entries)
        {
            bytes.AddRange([(byte)tag, (byte)(tag >> 8), 4, 0, 1, 0, 0, 0, .. BitConverter.GetBytes(tag is 273 or 324 ? at : value)]);
        }

        return [.. bytes, 0, 0, 0, 0, .. data];
    }
}
