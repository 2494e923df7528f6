using Microsoft.Extensions.Options;
using NetVips;

namespace FaceEmbedWorker.Images;

/// <summary>Opens encoded pictures with libvips: header and limits first, pixels when asked.</summary>
internal sealed class ImageDecoder
{
    private readonly ImageOptions options;

    static ImageDecoder()
    {
        NetVips.NetVips.BlockUntrusted = true;
        Operation.Block("VipsForeignLoad", true);
        foreach (var loader in (string[])["Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif"])
        {
            Operation.Block("VipsForeignLoad" + loader, false);
        }

        // what a file is wrong about is in the error; a hostile one must not write into our log
        Log.SetLogHandler("VIPS", Enums.LogLevelFlags.Warning, static (_, _, _) => { });
        Cache.Max = 0;
        NetVips.NetVips.Concurrency = 1; // parallelism is across jobs
    }

    public ImageDecoder(IOptions<ImageOptions> options) => this.options = options.Value;

    /// <summary>Reads the header only.</summary>
    /// <exception cref="ImageException">Not a picture, not a supported one, or over a limit.</exception>
    public EncodedImage Open(byte[] bytes)
    {
        if (bytes.Length > options.MaxBytes)
        {
            throw new ImageException(ImageFault.TooLarge, $"The picture has {bytes.Length:N0} bytes; Images:MaxBytes allows {options.MaxBytes:N0}.");
        }

        var format = ImageFormat.Of(bytes)
            ?? throw new ImageException(ImageFault.Undecodable, "The bytes are not a picture of any known format.");
        if (!ImageFormat.Decoded.Contains(format))
        {
            throw new ImageException(ImageFault.Unsupported, $"The picture is {format}, which this worker does not decode; send JPEG, PNG, WebP, GIF, TIFF or AVIF.");
        }

        var image = new EncodedImage(bytes, format);
        try
        {
            CheckLimits(image);
            return image;
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    private void CheckLimits(EncodedImage image)
    {
        var pixels = (long)image.Width * image.Height;
        Require(pixels, options.MaxPixels, "pixels", nameof(ImageOptions.MaxPixels));
        Require(image.Pages, options.MaxPages, "frames or pages", nameof(ImageOptions.MaxPages));
        if (image.Progressive)
        {
            Require(pixels, options.MaxProgressivePixels, "pixels in progressive order", nameof(ImageOptions.MaxProgressivePixels));
        }

        void Require(long value, long limit, string what, string setting)
        {
            if (value > limit)
            {
                throw new ImageException(ImageFault.Refused,
                    $"The {image.Format} ({image.Width} x {image.Height}) has {value:N0} {what}; Images:{setting} allows {limit:N0}.");
            }
        }
    }
}
