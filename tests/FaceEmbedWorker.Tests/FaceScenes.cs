using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using NetVips;

namespace FaceEmbedWorker.Tests;

/// <summary>People's faces on grey clouds, as large and as many as a test wants.</summary>
internal static class FaceScenes
{
    /// <summary>Grey clouds.</summary>
    public static Picture Frame(int width, int height, int seed)
    {
        using var clouds = Image.Perlin(width, height, cellSize: 120, seed: seed);
        using var grey = (clouds * 30 + 120).Cast(Enums.BandFormat.Uchar);
        using var three = grey.Bandjoin(grey, grey);
        var frame = new Picture(width, height);
        three.WriteToMemory<byte>().CopyTo(frame.Pixels);
        return frame;
    }

    /// <summary>A person's face with what is around it, so that the detector's box is as high as asked; tells where its nose is.</summary>
    public static Point Paste(Picture frame, string file, int size, int x, int y)
    {
        using var photo = Pipeline.Decode(File.ReadAllBytes(file));
        var face = Pipeline.Detector.Detect(photo).MaxBy(d => d.Box.Area);
        var scale = size / face.Box.Height;
        using var small = new Picture((int)Math.Round(photo.Width * scale), (int)Math.Round(photo.Height * scale));
        PillowResize.Resize(photo.Pixels, photo.Width, photo.Height, small.Pixels, small.Width, small.Height, PillowResize.Filter.Bicubic);
        for (var row = 0; row < small.Height; row++)
        {
            small.Row(row).CopyTo(frame.Row(y + row)[(x * 3)..]);
        }

        var nose = Pipeline.Detector.Locate(photo, face)[2];
        return new Point(x + nose.X * scale, y + nose.Y * scale);
    }

    public static byte[] Encoded(Picture picture, string format)
    {
        using var image = Image.NewFromMemoryCopy<byte>(picture.Pixels, picture.Width, picture.Height, 3, Enums.BandFormat.Uchar);
        using var srgb = image.Copy(interpretation: Enums.Interpretation.Srgb);
        return srgb.WriteToBuffer(format == ".png" ? ".png[compression=1]" : format); // the same pixels, sooner
    }
}
