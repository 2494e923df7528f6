namespace FaceEmbedWorker.Images;

/// <summary>Draws boxes, dots and numbers into a picture; line widths follow its size. Needs no font.</summary>
internal static class Drawing
{
    private static readonly byte[] Green = [64, 224, 96];
    private static readonly byte[] Yellow = [255, 208, 0];
    private static readonly byte[] Black = [0, 0, 0];

    /// <summary>Digits of 3 x 5 dots, a row in three bits.</summary>
    private static readonly Dictionary<char, byte[]> Digits = new()
    {
        ['0'] = [7, 5, 5, 5, 7],
        ['1'] = [2, 6, 2, 2, 7],
        ['2'] = [7, 1, 7, 4, 7],
        ['3'] = [7, 1, 7, 1, 7],
        ['4'] = [5, 5, 7, 1, 1],
        ['5'] = [7, 4, 7, 1, 7],
        ['6'] = [7, 4, 7, 5, 7],
        ['7'] = [7, 1, 2, 2, 2],
        ['8'] = [7, 5, 7, 5, 7],
        ['9'] = [7, 5, 7, 1, 7],
        ['.'] = [0, 0, 0, 0, 2],
    };

    public static void Box(Picture picture, int x, int y, int width, int height)
    {
        var line = Line(picture);
        Fill(picture, x, y, width, line, Green);
        Fill(picture, x, y + height - line, width, line, Green);
        Fill(picture, x, y, line, height, Green);
        Fill(picture, x + width - line, y, line, height, Green);
    }

    public static void Dot(Picture picture, double x, double y)
    {
        var radius = Line(picture);
        Fill(picture, (int)x - radius, (int)y - radius, 2 * radius + 1, 2 * radius + 1, Yellow);
    }

    /// <summary>Digits and points, above the corner at (x, y) or, where there is no room, below it.</summary>
    public static void Number(Picture picture, int x, int y, string text)
    {
        var dot = Math.Max(2, Line(picture));
        var (width, height) = ((4 * text.Length + 1) * dot, 7 * dot);
        var top = y >= height ? y - height : y;
        Fill(picture, x, top, width, height, Black);
        for (var i = 0; i < text.Length; i++)
        {
            for (var bit = 0; bit < 15; bit++)
            {
                if ((Digits[text[i]][bit / 3] & (4 >> bit % 3)) != 0)
                {
                    Fill(picture, x + (4 * i + 1 + bit % 3) * dot, top + (1 + bit / 3) * dot, dot, dot, Green);
                }
            }
        }
    }

    private static int Line(Picture picture) => Math.Max(1, Math.Max(picture.Width, picture.Height) / 300);

    private static void Fill(Picture picture, int x, int y, int width, int height, byte[] color)
    {
        for (var row = Math.Max(0, y); row < Math.Min(picture.Height, (long)y + height); row++)
        {
            for (var column = Math.Max(0, x); column < Math.Min(picture.Width, (long)x + width); column++)
            {
                color.CopyTo(picture.Row(row)[(column * 3)..]);
            }
        }
    }
}
