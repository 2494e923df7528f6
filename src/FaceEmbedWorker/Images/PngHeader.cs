namespace FaceEmbedWorker.Images;

/// <summary>A PNG's chunks (W3C PNG, third edition).</summary>
internal static class PngHeader
{
    /// <summary>
    /// Packed bytes beside the pixels that libvips may unpack, to a thousand times as many; an ordinary colour profile has 3,000.
    /// </summary>
    private const int MostWords = 16 * 1024;

    public static ImageHeader Read(HeaderReader bytes)
    {
        if (!bytes.Is(12, "IHDR"u8))
        {
            throw bytes.Corrupt("it does not begin with its header");
        }

        var (width, height) = (bytes.Side(bytes.U32(16)), bytes.Side(bytes.U32(20)));
        var (bits, color, interlaced) = (bytes.U8(24), bytes.U8(25), bytes.U8(28) == 1);
        var (orientation, transparent, words, firstPixels) = (1, false, 0L, -1L);
        var at = 8L;
        for (; at <= bytes.Length - 12 && !bytes.Is(at + 4, "IEND"u8); at += 12L + bytes.U32(at))
        {
            if (bytes.Is(at + 4, "IDAT"u8))
            {
                firstPixels = firstPixels < 0 ? bytes.U32(at) : firstPixels;
            }
            else if (bytes.Is(at + 4, "eXIf"u8)) // before the pixels or behind them
            {
                orientation = Exif.Orientation(bytes.Slice(at + 8, Math.Min(bytes.U32(at), bytes.Length - at - 8)));
            }

            if (at > 8 && bytes.Is(at + 4, "IHDR"u8))
            {
                throw bytes.Corrupt("it has two headers");
            }

            transparent |= firstPixels < 0 && bytes.Is(at + 4, "tRNS"u8);
            words += IsWords(bytes, at) ? 12L + bytes.U32(at) : 0;
        }

        var samples = color switch { 0 => 1, 2 or 3 => 3, 4 => 2, 6 => 4, _ => throw bytes.Corrupt($"it has no colour type {color}") } + (transparent ? 1 : 0);
        return new ImageHeader("png", width, height)
        {
            Orientation = orientation,
            Whole = interlaced,
            Wordy = words > MostWords,
            Cut = at > bytes.Length - 12,
            Held = (words > MostWords ? bytes.Length : 0) + (interlaced ? checked((long)width * height * samples * (bits == 16 ? 2 : 1)) : 0), // Adam7 gives its first row only when it has nearly all
            UnsupportedByImageSharp = firstPixels is 0 or 1 ? "a PNG whose pixels begin with a chunk of less than two bytes" : null,
        };
    }

    /// <summary>
    /// A copy without what is not pixels: texts, EXIF, colour profile and suggested palettes. What comes behind a chunk that is cut stays.
    /// </summary>
    public static byte[] WithoutWords(ReadOnlySpan<byte> png)
    {
        var bytes = new HeaderReader(png, "png");
        var (copy, length) = (new byte[png.Length], 8);
        png[..8].CopyTo(copy);
        for (long at = 8, size; at < png.Length; at += size)
        {
            size = Math.Min(png.Length - at, at <= png.Length - 12 ? 12L + bytes.U32(at) : long.MaxValue);
            if (!IsWords(bytes, at))
            {
                bytes.Slice(at, size).CopyTo(copy.AsSpan(length));
                length += (int)size;
            }
        }

        return copy[..length];
    }

    private static bool IsWords(HeaderReader bytes, long at) =>
        bytes.Is(at + 4, "tEXt"u8) || bytes.Is(at + 4, "zTXt"u8) || bytes.Is(at + 4, "iTXt"u8) || bytes.Is(at + 4, "eXIf"u8) || bytes.Is(at + 4, "iCCP"u8) || bytes.Is(at + 4, "sPLT"u8);
}
