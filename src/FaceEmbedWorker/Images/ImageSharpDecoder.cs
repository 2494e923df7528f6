using System.Runtime.InteropServices;
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
using SixLabors.ImageSharp.Memory;
using SixLabors.ImageSharp.Metadata;
using SixLabors.ImageSharp.PixelFormats;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Decodes with ImageSharp, in managed code only: a hostile file ends in an exception, never in native memory. Always at full size, and
/// nothing that libvips is asked for is asked of it differently.
/// </summary>
internal static class ImageSharpDecoder
{
    /// <inheritdoc cref="EncodedImage.Decode"/>
    public static Picture Decode(ImageHeader header, byte[] bytes, long maxMemory, CancellationToken cancel)
    {
        if (header is { Cut: true } and not { Format: "jpeg", Whole: false })
        {
            bytes = (header.Format == "png" ? PngHeader.Ended(bytes) : null) ?? throw header.Broken(); // it would fill up what is missing
        }

        if (header.Format == "pnm" && bytes[1] >= '4')
        {
            cancel.ThrowIfCancellationRequested();
            var plain = new Picture(header.Width, header.Height);
            PnmHeader.Decode(bytes, plain);
            return plain;
        }

        Picture? picture = null;
        try
        {
            using var image = Load(header, bytes, maxMemory, cancel);
            if (image.Width != header.Width || image.Height != header.Height)
            {
                throw header.Broken();
            }

            picture = header.Orientation < 5 ? new Picture(header.Width, header.Height) : new Picture(header.Height, header.Width);
            image.ProcessPixelRows(rows =>
            {
                var smooth = header.HalvedColours == default ? [] : new byte[rows.Width * 3];
                for (var y = 0; y < rows.Height; y++)
                {
                    var row = MemoryMarshal.AsBytes(rows.GetRowSpan(y));
                    if (smooth.Length > 0)
                    {
                        var (above, below) = header.HalvedColours.Down ? (Math.Max(y - 1, 0), Math.Min(y + 1, rows.Height - 1)) : (y, y);
                        SmoothColours(MemoryMarshal.AsBytes(rows.GetRowSpan(above)), row, MemoryMarshal.AsBytes(rows.GetRowSpan(below)), header.HalvedColours.Across, smooth);
                        row = smooth;
                    }

                    Pixels.Place(row, y, header.Width, header.Height, header.Orientation, picture);
                }
            });
            return picture;
        }
        catch (Exception e) when (e is not (OperationCanceledException or ImageException or InsufficientMemoryException))
        {
            picture?.Dispose();
            cancel.ThrowIfCancellationRequested();
            throw e switch
            {
                { } when e.GetBaseException() is OutOfMemoryException or InvalidMemoryOperationException => new ImageException(ImageFault.Refused, $"The {header.Format} ({header.Width} x {header.Height}) takes more memory than its header tells; Images:MaxMemory allows {maxMemory:N0} bytes."),
                NotSupportedException => new ImageException(ImageFault.Unsupported, $"The picture is a {header.Format} of a kind that ImageSharp does not decode; Images:Decoder=Libvips may."),
                _ => header.Broken(),
            };
        }
    }

    /// <summary>
    /// ImageSharp repeats the colours of a JPEG that has half as many of them; libjpeg, and so everybody's eye and the models, know them
    /// spread by a triangle (3/4 and 1/4). Of what was repeated that is the average of a pixel, twice, and its neighbours; brightness stays
    /// as it is.
    /// </summary>
    private static void SmoothColours(ReadOnlySpan<byte> above, ReadOnlySpan<byte> row, ReadOnlySpan<byte> below, bool across, Span<byte> smooth)
    {
        for (var at = 0; at < row.Length; at += 3)
        {
            var (before, after) = across ? (Math.Max(at - 3, 0), Math.Min(at + 3, row.Length - 3)) : (at, at);
            var (red, green, blue) = (Around(above, row, below, 0), Around(above, row, below, 1), Around(above, row, below, 2));
            var brightness = (19_595 * (16 * row[at] - red) + 38_470 * (16 * row[at + 1] - green) + 7_471 * (16 * row[at + 2] - blue)) >> 16; // ITU-R BT.601, of what averaging took
            (smooth[at], smooth[at + 1], smooth[at + 2]) = (Byte(red + brightness), Byte(green + brightness), Byte(blue + brightness));

            int Around(ReadOnlySpan<byte> above, ReadOnlySpan<byte> row, ReadOnlySpan<byte> below, int colour) =>
                Column(above, row, below, before + colour) + 2 * Column(above, row, below, at + colour) + Column(above, row, below, after + colour);
        }

        static int Column(ReadOnlySpan<byte> above, ReadOnlySpan<byte> row, ReadOnlySpan<byte> below, int i) => above[i] + 2 * row[i] + below[i];

        static byte Byte(int sixteenths) => (byte)Math.Clamp((sixteenths + 8) >> 4, 0, 255);
    }

    private static Image<Rgb24> Load(ImageHeader header, byte[] bytes, long maxMemory, CancellationToken cancel)
    {
        var configuration = new Configuration { MaxDegreeOfParallelism = 1, MemoryAllocator = MemoryAllocator.Create(new MemoryAllocatorOptions { MaximumPoolSizeMegabytes = 0, AllocationLimitMegabytes = (int)Math.Clamp(maxMemory / 1_048_576, 1, int.MaxValue) }) };
        IImageDecoder decoder = header.Format switch
        {
            "jpeg" => new JpegDecoder { IgnoreMetadata = true },
            "png" => new PngDecoder { IgnoreMetadata = true },
            "webp" => new WebpDecoder { IgnoreMetadata = true },
            "gif" => new GifDecoder { IgnoreMetadata = true, DecodingMode = FrameDecodingMode.First },
            "tiff" => new TiffDecoder { IgnoreMetadata = true, DecodingMode = FrameDecodingMode.First },
            "bmp" => new BmpDecoder(),
            "tga" => new TgaDecoder(),
            _ => new PbmDecoder(),
        };
        using var stream = new MemoryStream(bytes, writable: false);
        return decoder.Decode<Rgb24>(configuration, stream, cancel);
    }
}
