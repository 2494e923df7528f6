using SixLabors.ImageSharp;
using SixLabors.ImageSharp.Formats.Jpeg;
using SixLabors.ImageSharp.PixelFormats;

namespace FaceEmbedWorker.Images;

/// <summary>Writes pictures for people to look at.</summary>
internal static class PictureEncoder
{
    public static byte[] Jpeg(Picture picture, int quality = 90)
    {
        using var image = Image.LoadPixelData<Rgb24>(picture.Pixels, picture.Width, picture.Height);
        using var stream = new MemoryStream();
        image.SaveAsJpeg(stream, new JpegEncoder { Quality = quality, ColorType = JpegColorType.YCbCrRatio444 });
        return stream.ToArray();
    }
}
