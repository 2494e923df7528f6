namespace FaceEmbedWorker.Images;

/// <summary>A GIF's blocks (GIF89a).</summary>
internal static class GifHeader
{
    /// <summary>Frames are counted to here; no limit is higher.</summary>
    private const int MostFrames = 1_000_001;

    /// <summary>Bytes a pixel that libvips and its GIF reader hold of a whole frame (measured: 4.3 to 5.1).</summary>
    private const int FrameBytes = 6;

    public static ImageHeader Read(HeaderReader bytes)
    {
        var screen = (Width: bytes.U16(6), Height: bytes.U16(8));
        var (width, height) = screen;
        var at = 13L + Palette(bytes.U8(10));
        var (frames, cut) = (0, false);
        while (frames < MostFrames && at < bytes.Length)
        {
            var block = bytes.U8(at);
            if (block == 0x21)
            {
                at = BehindData(bytes, at + 2);
            }
            else if (block == 0x2C && at <= bytes.Length - 10)
            {
                // a frame may reach beyond the screen, which then grows
                (width, height) = frames++ == 0 ? (Math.Max(width, bytes.U16(at + 1) + bytes.U16(at + 5)), Math.Max(height, bytes.U16(at + 3) + bytes.U16(at + 7))) : (width, height);
                at = BehindData(bytes, at + 10 + Palette(bytes.U8(at + 9)) + 1);
                cut |= frames == 1 && at > bytes.Length;
            }
            else
            {
                break; // the end, or nothing that is known
            }
        }

        (width, height) = (bytes.Side((ulong)width), bytes.Side((ulong)height));
        return frames == 0 ? throw bytes.Corrupt("it has no frame")
            : new ImageHeader("gif", width, height) { Pages = frames, Whole = true, Held = (long)width * height * FrameBytes, Cut = cut, UnsupportedByImageSharp = (width, height) == screen ? null : "a GIF whose first frame is larger than its screen" };
    }

    private static int Palette(int flags) => (flags & 0x80) != 0 ? 3 << (flags & 7) + 1 : 0;

    /// <summary>The place behind a chain of sub-blocks, each with its length before it; the end where the file ends first.</summary>
    private static long BehindData(HeaderReader bytes, long at)
    {
        while (at < bytes.Length && bytes.U8(at) is not 0 and var length)
        {
            at += 1 + length;
        }

        return at + 1;
    }
}
