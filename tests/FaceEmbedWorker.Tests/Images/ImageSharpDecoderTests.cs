using FaceEmbedWorker.Images;
using SixLabors.ImageSharp;
using SixLabors.ImageSharp.Formats;
using SixLabors.ImageSharp.Formats.Bmp;
using SixLabors.ImageSharp.Formats.Gif;
using SixLabors.ImageSharp.Formats.Jpeg;
using SixLabors.ImageSharp.Formats.Pbm;
using SixLabors.ImageSharp.Formats.Png;
using SixLabors.ImageSharp.Formats.Tga;
using SixLabors.ImageSharp.Formats.Tiff;
using SixLabors.ImageSharp.Formats.Webp;
using SixLabors.ImageSharp.PixelFormats;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>On pictures of a few hundred pixels, so that each change to the decoder is held against all of them.</summary>
public class ImageSharpDecoderTests
{
    private const int Width = 21;
    private const int Height = 13;
    private const long Enough = 1 << 28;

    [Theory]
    [InlineData("bmp")]
    [InlineData("gif")]
    [InlineData("png")]
    [InlineData("pnm")]
    [InlineData("tga")]
    [InlineData("tiff")]
    [InlineData("webp")]
    public void Of_a_lossless_format_each_pixel_comes_back_and_of_frames_the_first(string format)
    {
        using var image = Few(1);
        if (format is "gif" or "tiff")
        {
            using var second = Few(2);
            image.Frames.AddFrame(second.Frames.RootFrame);
        }

        var bytes = Saved(image, format switch
        {
            "bmp" => new BmpEncoder(),
            "gif" => new GifEncoder(),
            "png" => new PngEncoder(),
            "pnm" => new PbmEncoder { ColorType = PbmColorType.Rgb },
            "tga" => new TgaEncoder { BitsPerPixel = TgaBitsPerPixel.Pixel24 },
            "tiff" => new TiffEncoder { BitsPerPixel = TiffBitsPerPixel.Bit24 },
            _ => new WebpEncoder { FileFormat = WebpFileFormatType.Lossless },
        });
        using var picture = Decode(bytes);
        Assert.Equal((Width, Height), (picture.Width, picture.Height));
        Assert.Equal(PixelsOf(image), picture.Pixels.ToArray());
    }

    [Fact]
    public void A_pnm_is_read_and_not_for_one_who_has_gone()
    {
        var bytes = "P3 2 1 255 1 2 3 4 5 6"u8.ToArray();
        using var picture = Decode(bytes);
        Assert.Equal([1, 2, 3, 4, 5, 6], picture.Pixels.ToArray());
        byte[] binary = [.. "P6 2 1 255 "u8, 1, 2, 3, 4, 5, 6];
        using var other = Decode(binary);
        Assert.Equal([1, 2, 3, 4, 5, 6], other.Pixels.ToArray());
        Assert.ThrowsAny<OperationCanceledException>(() => ImageSharpDecoder.Decode(HeaderOf(binary), binary, Enough, new CancellationToken(canceled: true)));
    }

    /// <summary>
    /// By the words of <c>SmoothColours</c>, in real numbers: 1, 2, 1 along and across what is halved, and brightness (ITU-R BT.601) as it was.
    /// </summary>
    [Theory]
    [InlineData(JpegColorType.YCbCrRatio444, false, false)]
    [InlineData(JpegColorType.YCbCrRatio420, true, true)]
    [InlineData(JpegColorType.YCbCrRatio444, true, false)] // as if: ImageSharp writes none that is halved one way
    [InlineData(JpegColorType.YCbCrRatio444, false, true)]
    public void Halved_colours_are_spread_and_brightness_stays(JpegColorType colours, bool across, bool down)
    {
        using var image = new Image<Rgb24>(Width, Height);
        var random = new Random(7);
        for (var i = 0; i < Width * Height; i++)
        {
            image[i % Width, i / Width] = new((byte)(255 * random.Next(2)), (byte)(255 * random.Next(2)), (byte)(255 * random.Next(2)));
        }

        var jpeg = Saved(image, new JpegEncoder { ColorType = colours, Quality = 100 });
        var header = HeaderOf(jpeg);
        Assert.Equal(colours == JpegColorType.YCbCrRatio420, header.HalvedColours == (true, true));
        using var repeated = Image.Load<Rgb24>(jpeg);
        using var picture = ImageSharpDecoder.Decode(header with { HalvedColours = (across, down) }, jpeg, Enough, CancellationToken.None);
        var cut = 0;
        for (var i = 0; i < Width * Height; i++)
        {
            var (x, y) = (i % Width, i / Width);
            var own = repeated[x, y];
            var mean = new double[3];
            foreach (var (byX, byY) in from byY in Enumerable.Range(-1, 3) from byX in Enumerable.Range(-1, 3) select (byX, byY))
            {
                var near = repeated[Math.Clamp(x + (across ? byX : 0), 0, Width - 1), Math.Clamp(y + (down ? byY : 0), 0, Height - 1)];
                var weight = (2 - Math.Abs(byX)) * (2 - Math.Abs(byY)) / 16.0;
                (mean[0], mean[1], mean[2]) = (mean[0] + weight * near.R, mean[1] + weight * near.G, mean[2] + weight * near.B);
            }

            var brightness = 0.299 * (own.R - mean[0]) + 0.587 * (own.G - mean[1]) + 0.114 * (own.B - mean[2]);
            for (var colour = 0; colour < 3; colour++)
            {
                var expected = mean[colour] + brightness;
                cut += expected is < 0 or > 255 ? 1 : 0;
                Assert.Equal(Math.Clamp(expected, 0, 255), picture.Row(y)[3 * x + colour], 0.5 + 1 / 16.0); // brightness is cut to a sixteenth
            }
        }

        Assert.True(cut > 50 || !across && !down, "What is over white or under black has its limits.");
    }

    [Theory]
    [MemberData(nameof(Orientations.All), MemberType = typeof(Orientations))]
    public void A_picture_is_turned_upright(int orientation)
    {
        using var image = Few(3);
        var png = Saved(image, new PngEncoder());
        using var picture = ImageSharpDecoder.Decode(HeaderOf(png) with { Orientation = orientation }, png, Enough, CancellationToken.None);
        Assert.Equal(orientation < 5 ? (Width, Height) : (Height, Width), (picture.Width, picture.Height));
        for (var i = 0; i < Width * Height; i++)
        {
            var (x, y) = (i % Width, i / Width);
            var (column, row) = Orientations.Upright(orientation, x, y, Width, Height);
            Assert.Equal([image[x, y].R, image[x, y].G, image[x, y].B], picture.Row(row).Slice(3 * column, 3).ToArray());
        }
    }

    [Fact]
    public void What_lacks_pixels_is_broken_and_a_png_without_its_end_alone_is_whole()
    {
        using var image = Few(4);
        var png = Saved(image, new PngEncoder());
        using var whole = Decode(png[..^12]);
        Assert.True(HeaderOf(png[..^12]).Cut);
        Assert.Equal(PixelsOf(image), whole.Pixels.ToArray());
        Fails(png[..^30], "The png is truncated or corrupt: it ends before its pixels do.");

        var webp = Saved(image, new WebpEncoder { FileFormat = WebpFileFormatType.Lossless });
        Fails(webp, "The webp is truncated or corrupt: it ends before its pixels do.", h => h with { Cut = true });
        var jpeg = Saved(image, new JpegEncoder());
        Fails(jpeg, "The jpeg is truncated or corrupt: it ends before its pixels do.", h => h with { Cut = true, Whole = true });
        ImageSharpDecoder.Decode(HeaderOf(jpeg) with { Cut = true, Whole = false }, jpeg, Enough, CancellationToken.None).Dispose(); // ImageDecoder sees whether its scan is there

        byte[] damaged = [.. png];
        damaged[png.AsSpan().IndexOf("IDAT"u8) + 9] ^= 0xFF;
        Fails(damaged, "The png is truncated or corrupt: its pixels cannot be decoded.");
    }

    [Theory]
    [InlineData(Width + 1, Height)]
    [InlineData(Width, Height - 1)]
    public void A_picture_of_another_size_than_its_header_told_is_broken(int width, int height)
    {
        using var image = Few(5);
        Fails(Saved(image, new PngEncoder()), "The png is truncated or corrupt: its pixels cannot be decoded.", h => new(h.Format, width, height));
    }

    [Fact]
    public void What_takes_more_memory_than_is_allowed_is_refused()
    {
        using var image = new Image<Rgb24>(700, 500);
        var png = Saved(image, new PngEncoder());
        var fault = Assert.Throws<ImageException>(() => ImageSharpDecoder.Decode(HeaderOf(png), png, 1_048_575, CancellationToken.None));
        Assert.Equal((ImageFault.Refused, "The png (700 x 500) takes more memory than its header tells; Images:MaxMemory allows 1,048,575 bytes."), (fault.Fault, fault.Message));
        ImageSharpDecoder.Decode(HeaderOf(png), png, 2 * 1_048_576, CancellationToken.None).Dispose();
    }

    [Fact]
    public void A_kind_that_ImageSharp_lacks_is_named()
    {
        using var image = Few(6);
        var tiff = Saved(image, new TiffEncoder { Compression = SixLabors.ImageSharp.Formats.Tiff.Constants.TiffCompression.None });
        var header = HeaderOf(tiff);
        byte[] compression = [0x03, 0x01, 3, 0, 1, 0, 0, 0];
        var at = tiff.AsSpan().IndexOf(compression) + compression.Length;
        (tiff[at], tiff[at + 1]) = (0x98, 0x87); // JPEG 2000, as microscopes write it
        var fault = Assert.Throws<ImageException>(() => ImageSharpDecoder.Decode(header, tiff, Enough, CancellationToken.None));
        Assert.Equal((ImageFault.Unsupported, "The picture is a tiff of a kind that ImageSharp does not decode; Images:Decoder=Libvips may."), (fault.Fault, fault.Message));
        using var gone = new CancellationTokenSource();
        gone.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => ImageSharpDecoder.Decode(header, tiff, Enough, gone.Token));
    }

    private static void Fails(byte[] bytes, string message, Func<ImageHeader, ImageHeader>? claims = null)
    {
        var header = HeaderOf(bytes);
        var fault = Assert.Throws<ImageException>(() => ImageSharpDecoder.Decode(claims is null ? header : claims(header), bytes, Enough, CancellationToken.None));
        Assert.Equal((ImageFault.Undecodable, message), (fault.Fault, fault.Message));
    }

    private static Picture Decode(byte[] bytes) => ImageSharpDecoder.Decode(HeaderOf(bytes), bytes, Enough, CancellationToken.None);

    private static ImageHeader HeaderOf(byte[] bytes) => ImageHeader.Read(ImageFormat.Of(bytes)!, bytes);

    /// <summary>Of 64 colours, so that each format has all of them.</summary>
    private static Image<Rgb24> Few(int seed)
    {
        var random = new Random(seed);
        var colours = Enumerable.Range(0, 64).Select(_ => new Rgb24((byte)random.Next(256), (byte)random.Next(256), (byte)random.Next(256))).ToArray();
        var image = new Image<Rgb24>(Width, Height);
        for (var i = 0; i < Width * Height; i++)
        {
            image[i % Width, i / Width] = colours[random.Next(64)];
        }

        return image;
    }

    private static byte[] PixelsOf(Image<Rgb24> image)
    {
        var pixels = new byte[image.Width * image.Height * 3];
        image.Frames.RootFrame.CopyPixelDataTo(pixels);
        return pixels;
    }

    private static byte[] Saved(Image image, IImageEncoder encoder)
    {
        using var stream = new MemoryStream();
        image.Save(stream, encoder);
        return stream.ToArray();
    }
}
