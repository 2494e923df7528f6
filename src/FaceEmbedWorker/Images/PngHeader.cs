namespace FaceEmbedWorker.Images;

/// <summary>A PNG's chunks up to its pixels (W3C PNG, third edition).</summary>
internal static class PngHeader
{
    public static ImageHeader Read(HeaderReader bytes)
    {
        if (!bytes.Is(12, "IHDR"u8))
        {
            throw bytes.Corrupt("it does not begin with its header");
        }

        var (width, height) = (bytes.Side(bytes.U32(16)), bytes.Side(bytes.U32(20)));
        var (bits, color, interlaced) = (bytes.U8(24), bytes.U8(25), bytes.U8(28) == 1);
        var (orientation, transparent) = (1, false);
        for (long at = 33; at <= bytes.Length - 8 && !bytes.Is(at + 4, "IDAT"u8); at += 12L + bytes.U32(at))
        {
            transparent |= bytes.Is(at + 4, "tRNS"u8);
            if (bytes.Is(at + 4, "eXIf"u8))
            {
                orientation = Exif.Orientation(bytes.Slice(at + 8, bytes.U32(at)));
            }
        }

        long end = 8;
        while (end <= bytes.Length - 12 && !bytes.Is(end + 4, "IEND"u8))
        {
            end += 12L + bytes.U32(end);
        }

        var samples = color switch { 0 => 1, 2 or 3 => 3, 4 => 2, 6 => 4, _ => throw bytes.Corrupt($"it has no colour type {color}") } + (transparent ? 1 : 0);
        return new ImageHeader("png", width, height)
        {
            Orientation = orientation,
            Whole = interlaced,
            Cut = end > bytes.Length - 12,
            Held = interlaced ? (long)width * height * samples * (bits == 16 ? 2 : 1) : 0, // Adam7 gives its first row only when it has nearly all
        };
    }
}
