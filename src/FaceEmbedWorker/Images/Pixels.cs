using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FaceEmbedWorker.Images;

/// <summary>Pure pixel geometry on pictures.</summary>
internal static class Pixels
{
    /// <summary>The whole picture stretched to a size.</summary>
    public static Picture Resized(Picture picture, int width, int height, string filter, double scaleX = 1, double scaleY = 1)
    {
        var resized = new Picture(width, height) { ScaleX = scaleX, ScaleY = scaleY };
        PillowResize.Resize(picture.Pixels, picture.Width, picture.Height, resized.Pixels, width, height, PillowResize.Filter.Named(filter));
        return resized;
    }

    /// <summary>The whole picture averaged down to a size; its sides may only shrink.</summary>
    public static Picture Shrunk(Picture picture, int width, int height)
    {
        var shrunk = new Picture(width, height) { ScaleX = picture.ScaleX * picture.Width / width, ScaleY = picture.ScaleY * picture.Height / height };
        AreaResize.Shrink(picture, shrunk);
        return shrunk;
    }

    /// <summary>The whole picture stretched to a size, by a filter or by area averaging, which a side that grows cannot have.</summary>
    public static Picture Fitted(Picture picture, int width, int height, string filter) =>
        filter != AreaResize.Name ? Resized(picture, width, height, filter)
        : width <= picture.Width && height <= picture.Height ? Shrunk(picture, width, height)
        : Resized(picture, width, height, PillowResize.Filter.Bilinear.Name);

    /// <summary>Writes four pixels, each red, green, blue (0 to 255) and a value that is left out, as 12 bytes.</summary>
    public static void WriteFour(Vector128<int> a, Vector128<int> b, Vector128<int> c, Vector128<int> d, Span<byte> target)
    {
        var bytes = Vector128.Narrow(Vector128.Narrow(a.AsUInt32(), b.AsUInt32()), Vector128.Narrow(c.AsUInt32(), d.AsUInt32()));
        var packed = Vector128.Shuffle(bytes, Vector128.Create((byte)0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15));
        MemoryMarshal.Write(target, packed.AsUInt64()[0]);
        MemoryMarshal.Write(target[8..], packed.AsUInt32()[2]);
    }

    /// <summary>A part of a picture; what lies outside is black.</summary>
    public static Picture Cropped(Picture picture, int x, int y, int width, int height)
    {
        var crop = new Picture(width, height);
        crop.Pixels.Clear();
        var (left, right) = (Math.Max(x, 0), Math.Min(x + width, picture.Width));
        if (left < right)
        {
            for (var row = Math.Max(y, 0); row < Math.Min(y + height, picture.Height); row++)
            {
                picture.Row(row)[(left * 3)..(right * 3)].CopyTo(crop.Row(row - y)[((left - x) * 3)..]);
            }
        }

        return crop;
    }

    /// <summary>A copy turned clockwise by 0, 90, 180 or 270 degrees.</summary>
    public static Picture Turned(Picture picture, int degrees)
    {
        var (width, height) = (picture.Width, picture.Height);
        var turned = degrees is 90 or 270
            ? new Picture(height, width) { ScaleX = picture.ScaleY, ScaleY = picture.ScaleX }
            : new Picture(width, height) { ScaleX = picture.ScaleX, ScaleY = picture.ScaleY };
        for (var y = 0; y < height; y++)
        {
            var row = picture.Row(y);
            for (var x = 0; x < width; x++)
            {
                var (u, v) = degrees switch { 90 => (height - 1 - y, x), 180 => (width - 1 - x, height - 1 - y), 270 => (y, width - 1 - x), _ => (x, y) };
                row.Slice(x * 3, 3).CopyTo(turned.Row(v)[(u * 3)..]);
            }
        }

        return turned;
    }

    /// <summary>Puts stored rows to where they belong in the upright picture.</summary>
    /// <param name="rows">uint8 [n, width, 3].</param>
    /// <param name="first">The first of them.</param>
    /// <param name="width">Pixels as stored.</param>
    /// <param name="height">Pixels as stored.</param>
    /// <param name="orientation">EXIF's, 1 to 8.</param>
    public static void Place(ReadOnlySpan<byte> rows, int first, int width, int height, int orientation, Picture upright)
    {
        if (orientation == 1)
        {
            rows.CopyTo(upright.Pixels[(first * width * 3)..]);
            return;
        }

        // the place of stored pixel (x, y) among the upright ones is from + x * across + y * down
        var (line, last) = (upright.Width, upright.Width * upright.Height - 1);
        var (from, across, down) = orientation switch
        {
            2 => (line - 1, -1, line),
            3 => (last, -1, -line),
            4 => (last + 1 - line, 1, -line),
            5 => (0, line, 1),
            6 => (line - 1, line, -1),
            7 => (last, -line, -1),
            _ => (last + 1 - line, -line, 1),
        };
        var source = MemoryMarshal.Cast<byte, Pixel>(rows);
        var target = MemoryMarshal.Cast<byte, Pixel>(upright.Pixels);
        var count = source.Length / width;
        from += first * down;
        if (orientation < 5)
        {
            for (var y = 0; y < count; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    target[from + x * across + y * down] = source[y * width + x];
                }
            }
        }
        else
        {
            for (var x = 0; x < width; x++) // along the upright row: what is written one after the other lies together
            {
                for (var y = 0; y < count; y++)
                {
                    target[from + x * across + y * down] = source[y * width + x];
                }
            }
        }
    }

    /// <summary>Three bytes that are copied at once.</summary>
    private readonly record struct Pixel(byte Red, byte Green, byte Blue);
}
