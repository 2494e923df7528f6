namespace FaceEmbedWorker.Tests;

/// <summary>How a stored picture is turned: EXIF 2.32, tag 274.</summary>
public static class Orientations
{
    public static TheoryData<int> All => [.. Enumerable.Range(1, 8)];

    /// <summary>Where a pixel of the stored picture lies in the upright one.</summary>
    internal static (int X, int Y) Upright(int orientation, int x, int y, int width, int height) => orientation switch
    {
        1 => (x, y),
        2 => (width - 1 - x, y),
        3 => (width - 1 - x, height - 1 - y),
        4 => (x, height - 1 - y),
        5 => (y, x),
        6 => (height - 1 - y, x),
        7 => (height - 1 - y, width - 1 - x),
        _ => (y, width - 1 - x),
    };
}
