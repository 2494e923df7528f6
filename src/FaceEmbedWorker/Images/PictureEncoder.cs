using NetVips;

namespace FaceEmbedWorker.Images;

/// <summary>Writes pictures for people to look at.</summary>
internal static class PictureEncoder
{
    public static byte[] Jpeg(Picture picture, int quality = 90)
    {
        using var image = Image.NewFromMemoryCopy<byte>(picture.Pixels, picture.Width, picture.Height, 3, Enums.BandFormat.Uchar);
        using var srgb = image.Copy(interpretation: Enums.Interpretation.Srgb);
        return srgb.JpegsaveBuffer(q: quality, keep: Enums.ForeignKeep.None);
    }
}
