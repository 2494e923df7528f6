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
/// Decodes with ImageSharp, in managed code only: a hostile file ends in an exception, never in native memory. Always at full size, and nothing that libvips is
/// asked for is asked of it differently.
/// </summary>
internal static class ImageSharpDecoder
{
    /// <inheritdoc cref="EncodedImage.Decode"/>
    public static Picture Decode(ImageHeader header, byte[] bytes, long maxMemory, CancellationToken cancel)
    {
        if (header.Cut)
        {
            throw header.Broken(); // it would fill up what is missing
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
                for (var y = 0; y < rows.Height; y++)
                {
                    Pixels.Place(System.Runtime.InteropServices.MemoryMarshal.AsBytes(rows.GetRowSpan(y)), y, header.Width, header.Height, header.Orientation, picture);
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
                OutOfMemoryException or InvalidMemoryOperationException => new ImageException(ImageFault.Refused, $"The {header.Format} ({header.Width} x {header.Height}) takes more memory than its header tells; Images:MaxMemory allows {maxMemory:N0} bytes."),
                NotSupportedException => new ImageException(ImageFault.Unsupported, $"The picture is a {header.Format} of a kind that ImageSharp does not decode; Images:Decoder=Libvips may."),
                _ => header.Broken(),
            };
        }
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
