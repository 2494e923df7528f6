using FaceEmbedWorker.Images;
using NetVips;

namespace FaceEmbedWorker.Tests.Images;

public class LibvipsDecoderTests
{
    /// <summary>Rows of it come 29 at a time, the last two alone.</summary>
    private const int Width = 3000;

    private const int Height = 60;

    [Theory]
    [MemberData(nameof(Orientations.All), MemberType = typeof(Orientations))]
    public void Rows_come_in_strips_and_lie_where_they_belong(int orientation)
    {
        _ = LibvipsDecoder.Version; // sets it up
        using var noise = Noise(Width, Height);
        var (png, pixels) = (noise.PngsaveBuffer(), noise.WriteToMemory<byte>());
        using var picture = LibvipsDecoder.Decode(HeaderOf(png) with { Orientation = orientation }, png, 1, CancellationToken.None);
        Assert.Equal((orientation < 5 ? (Width, Height) : (Height, Width), 1.0, 1.0), ((picture.Width, picture.Height), picture.ScaleX, picture.ScaleY));
        for (var y = 0; y < Height; y++)
        {
            for (var x = y % 7; x < Width; x += 7)
            {
                var (column, row) = Orientations.Upright(orientation, x, y, Width, Height);
                Assert.True(picture.Row(row).Slice(3 * column, 3).SequenceEqual(pixels.AsSpan(3 * (y * Width + x), 3)), $"{x}, {y}");
            }
        }
    }

    [Theory]
    [InlineData("b-w", 1, Enums.Interpretation.Bw, Enums.BandFormat.Uchar)]
    [InlineData("grey with alpha", 2, Enums.Interpretation.Bw, Enums.BandFormat.Uchar)]
    [InlineData("colours with alpha", 4, Enums.Interpretation.Srgb, Enums.BandFormat.Uchar)]
    [InlineData("grey of 16 bits", 1, Enums.Interpretation.Grey16, Enums.BandFormat.Ushort)]
    [InlineData("colours of 16 bits", 3, Enums.Interpretation.Rgb16, Enums.BandFormat.Ushort)]
    public void Alpha_is_dropped_grey_repeated_and_the_upper_bits_kept(string kind, int bands, Enums.Interpretation interpretation, Enums.BandFormat format)
    {
        var random = new Random(bands);
        var samples = new ushort[10 * 8 * bands];
        var deep = format == Enums.BandFormat.Ushort;
        for (var i = 0; i < samples.Length; i++)
        {
            samples[i] = (ushort)random.Next(deep ? 65536 : 256);
        }

        using var memory = deep ? Image.NewFromMemory(samples, 10, 8, bands, format) : Image.NewFromMemory(samples.Select(s => (byte)s).ToArray(), 10, 8, bands, format);
        using var image = memory.Copy(interpretation: interpretation);
        using var picture = Decode(image.PngsaveBuffer());
        for (var i = 0; i < 80; i++)
        {
            for (var colour = 0; colour < 3; colour++)
            {
                var sample = samples[i * bands + (bands < 3 ? 0 : colour)];
                Assert.True((deep ? sample >> 8 : sample) == picture.Pixels[3 * i + colour], $"{kind}: {i}, {colour}");
            }
        }
    }

    /// <summary>By the plain formula, whatever profile is there.</summary>
    [Fact]
    public void Inks_become_colours()
    {
        using var noise = Image.NewFromMemory(Enumerable.Range(0, 4 * 64).Select(i => (byte)(i / 4 % 8 * 30 + i % 4 * 10)).ToArray(), 8, 8, 4, Enums.BandFormat.Uchar);
        using var cmyk = noise.Copy(interpretation: Enums.Interpretation.Cmyk);
        var jpeg = cmyk.JpegsaveBuffer(q: 100);
        using var stored = Image.NewFromBuffer(jpeg);
        var inks = stored.WriteToMemory<byte>();
        using var picture = Decode(jpeg);
        for (var i = 0; i < 64; i++)
        {
            for (var colour = 0; colour < 3; colour++)
            {
                Assert.Equal((byte)Math.Round((255 - inks[4 * i + colour]) * (255 - inks[4 * i + 3]) / 255.0), picture.Pixels[3 * i + colour]);
            }
        }
    }

    /// <summary>libjpeg rounds up, libvips down: both are right, and nothing else is.</summary>
    [Theory]
    [InlineData(2, 32, true)]
    [InlineData(2, 33, true)]
    [InlineData(2, 31, true)]
    [InlineData(2, 30, false)]
    [InlineData(2, 34, false)]
    [InlineData(4, 64, true)]
    [InlineData(4, 67, true)]
    [InlineData(4, 61, true)]
    [InlineData(4, 60, false)]
    [InlineData(4, 68, false)]
    public void A_shrunk_picture_has_the_size_that_its_header_makes_likely(int shrink, int side, bool likely)
    {
        using var noise = Noise(16 * shrink, 16 * shrink);
        var jpeg = noise.JpegsaveBuffer();
        foreach (var (width, height) in new[] { (side, 16 * shrink), (16 * shrink, side) })
        {
            var header = new ImageHeader("jpeg", width, height);
            if (!likely)
            {
                Assert.Equal("The jpeg is truncated or corrupt: its pixels cannot be decoded.", Assert.Throws<ImageException>(() => LibvipsDecoder.Decode(header, jpeg, shrink, CancellationToken.None)).Message);
                continue;
            }

            using var picture = LibvipsDecoder.Decode(header, jpeg, shrink, CancellationToken.None);
            Assert.Equal((16, 16, width / 16.0, height / 16.0), (picture.Width, picture.Height, picture.ScaleX, picture.ScaleY));
            using var turned = LibvipsDecoder.Decode(header with { Orientation = 6 }, jpeg, shrink, CancellationToken.None);
            Assert.Equal((16, 16, height / 16.0, width / 16.0), (turned.Width, turned.Height, turned.ScaleX, turned.ScaleY));
        }
    }

    [Fact]
    public void Only_formats_that_are_read_by_it_are()
    {
        _ = LibvipsDecoder.Version; // sets it up
        using var noise = Noise(20, 10);
        foreach (var (format, bytes) in new[] { ("jpeg", noise.JpegsaveBuffer()), ("png", noise.PngsaveBuffer()), ("webp", noise.WebpsaveBuffer()), ("tiff", noise.TiffsaveBuffer()), ("gif", noise.GifsaveBuffer()), ("avif", noise.HeifsaveBuffer(compression: Enums.ForeignHeifCompression.Av1)) })
        {
            Assert.Equal(format, HeaderOf(bytes).Format);
            using var picture = Decode(bytes);
            Assert.Equal((20, 10), (picture.Width, picture.Height));
        }

        Assert.Throws<VipsException>(() => Image.NewFromBuffer("P6 1 1 255 abc"u8.ToArray()));
    }

    /// <summary>A sequence with a still picture, under the sequence's name.</summary>
    [Fact]
    public void A_sequence_is_read_for_its_still_picture_and_its_bytes_stay_as_they_are()
    {
        using var noise = Noise(20, 10);
        var still = noise.HeifsaveBuffer(compression: Enums.ForeignHeifCompression.Av1);
        var header = HeaderOf(still);
        byte[] sequence = [.. still];
        "avis"u8.CopyTo(sequence.AsSpan(8));
        byte[] given = [.. sequence];
        using var expected = LibvipsDecoder.Decode(header, still, 1, CancellationToken.None);
        using var picture = LibvipsDecoder.Decode(header, sequence, 1, CancellationToken.None);
        Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
        Assert.Equal(given, sequence);
    }

    [Fact]
    public void A_jpeg_whose_scan_ends_early_is_broken_where_warnings_count()
    {
        using var noise = Noise(40, 40);
        var jpeg = noise.JpegsaveBuffer();
        byte[] cut = [.. jpeg[..^40], 0xFF, 0xD9];
        LibvipsDecoder.Decode(HeaderOf(jpeg), cut, 1, CancellationToken.None).Dispose();
        LibvipsDecoder.Decode(HeaderOf(jpeg), jpeg, 1, CancellationToken.None, warnings: true).Dispose();
        Assert.Throws<ImageException>(() => LibvipsDecoder.Decode(HeaderOf(jpeg), cut, 1, CancellationToken.None, warnings: true));
    }

    [Fact]
    public void What_is_damaged_is_broken_and_nothing_is_decoded_for_one_who_has_gone()
    {
        using var noise = Noise(200, 100);
        var png = noise.PngsaveBuffer();
        var header = HeaderOf(png);
        foreach (var bytes in (byte[][])[[.. png[..(png.Length / 2)]], [.. png[..8], .. new byte[100]]])
        {
            var fault = Assert.Throws<ImageException>(() => LibvipsDecoder.Decode(header, bytes, 1, CancellationToken.None));
            Assert.Equal((ImageFault.Undecodable, "The png is truncated or corrupt: its pixels cannot be decoded."), (fault.Fault, fault.Message));
            Assert.ThrowsAny<OperationCanceledException>(() => LibvipsDecoder.Decode(header, bytes, 1, new CancellationToken(canceled: true)));
        }

        Assert.ThrowsAny<OperationCanceledException>(() => LibvipsDecoder.Decode(header, png, 1, new CancellationToken(canceled: true)));
        Assert.Throws<ImageException>(() => LibvipsDecoder.Decode(header with { Width = 201 }, png, 1, CancellationToken.None));
        Assert.Throws<ImageException>(() => LibvipsDecoder.Decode(header with { Height = 99 }, png, 1, CancellationToken.None));
    }

    [Fact]
    public void The_library_tells_its_version() => Assert.Matches(@"^libvips 8\.\d+\.\d+$", LibvipsDecoder.Version);

    private static Picture Decode(byte[] bytes) => LibvipsDecoder.Decode(HeaderOf(bytes), bytes, 1, CancellationToken.None);

    private static ImageHeader HeaderOf(byte[] bytes) => ImageHeader.Read(ImageFormat.Of(bytes)!, bytes);

    private static Image Noise(int width, int height)
    {
        var pixels = new byte[width * height * 3];
        new Random(width).NextBytes(pixels);
        using var image = Image.NewFromMemory(pixels, width, height, 3, Enums.BandFormat.Uchar);
        return image.Copy(interpretation: Enums.Interpretation.Srgb);
    }
}
