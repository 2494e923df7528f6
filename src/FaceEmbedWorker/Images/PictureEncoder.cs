using SixLabors.ImageSharp;
using SixLabors.ImageSharp.Formats.Jpeg;
using SixLabors.ImageSharp.PixelFormats;

namespace FaceEmbedWorker.Images;

/// <summary>Writes pictures for people to look at.</summary>
internal static unsafe class PictureEncoder
{
    public static byte[] Jpeg(Picture picture, int quality = 90)
    {
        using var stream = new MemoryStream();
        WriteJpeg(picture, stream, quality);
        return stream.ToArray();
    }

    public static byte[] Png(Picture picture)
    {
        using var stream = new MemoryStream();
        var pixels = picture.Pixels;
        fixed (byte* first = pixels)
        {
            using var image = Image.WrapMemory<Rgb24>(first, picture.Width, picture.Height);
            image.SaveAsPng(stream);
        }

        return stream.ToArray();
    }

    /// <summary>Straight from its pixels: a copy of a large picture would be as large again.</summary>
    public static void WriteJpeg(Picture picture, Stream stream, int quality = 90)
    {
        var pixels = picture.Pixels;
        fixed (byte* first = pixels)
        {
            using var image = Image.WrapMemory<Rgb24>(first, picture.Width, picture.Height);
            image.SaveAsJpeg(stream, new JpegEncoder { Quality = quality, ColorType = JpegColorType.YCbCrRatio444 });
        }
    }
}
