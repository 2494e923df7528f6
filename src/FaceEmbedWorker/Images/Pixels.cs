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

        var target = upright.Pixels;
        for (var y = first; !rows.IsEmpty; y++, rows = rows[(width * 3)..])
        {
            for (var x = 0; x < width; x++)
            {
                var (u, v) = orientation switch
                {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (height - 1 - y, x),
                    7 => (height - 1 - y, width - 1 - x),
                    _ => (y, width - 1 - x),
                };
                rows.Slice(x * 3, 3).CopyTo(target[((v * upright.Width + u) * 3)..]);
            }
        }
    }
}
