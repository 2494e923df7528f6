using System.IO.Compression;

namespace FaceEmbedWorker.Images;

/// <summary>A PNG's chunks (W3C PNG, third edition).</summary>
internal static class PngHeader
{
    /// <summary>
    /// Packed bytes beside the pixels that libvips may unpack, to a thousand times as many; an ordinary colour profile has 3,000.
    /// </summary>
    private const int MostWords = 16 * 1024;

    /// <summary>
    /// In a narrower one passes are empty, and ImageSharp 2.1 takes them for something: wrong pixels, an error, or no end.
    /// </summary>
    private const int LeastInterlaced = 5;

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
            HeldByImageSharp = at > bytes.Length - 12 ? 2L * bytes.Length : 0, // its pixels, to see whether all are there, and a copy with an end
            UnsupportedByImageSharp = firstPixels is 0 or 1 ? "a PNG whose pixels begin with a chunk of less than two bytes"
                : interlaced && width < LeastInterlaced ? $"an interlaced PNG of {width} x {height} pixels" : null,
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

    /// <summary>
    /// A copy that ends as a PNG does, where only that end is missing: all rows of pixels are there. Null where some are not.
    /// </summary>
    public static byte[]? Ended(byte[] png)
    {
        var bytes = new HeaderReader(png, "png");
        using var packed = new MemoryStream(png.Length);
        var end = 8L;
        for (; end <= bytes.Length - 12 && end + 12L + bytes.U32(end) <= bytes.Length; end += 12L + bytes.U32(end))
        {
            if (bytes.Is(end + 4, "IDAT"u8))
            {
                packed.Write(png, (int)end + 8, (int)bytes.U32(end));
            }
        }

        packed.Position = 0;
        return Unpacks(packed, PackedRows(bytes)) ? [.. png.AsSpan(0, (int)end), 0, 0, 0, 0, .. "IEND"u8, 0xAE, 0x42, 0x60, 0x82] : null;
    }

    /// <summary>Bytes of all rows, each with its filter.</summary>
    private static long PackedRows(HeaderReader bytes)
    {
        var (width, height, bits) = ((long)bytes.U32(16), (long)bytes.U32(20), bytes.U8(24) * (bytes.U8(25) switch { 2 => 3, 4 => 2, 6 => 4, _ => 1 }));
        (int X, int Y, int Across, int Down)[] passes = bytes.U8(28) == 1 ? [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] : [(0, 0, 1, 1)]; // Adam7
        return passes.Sum(p => Pass((width - p.X + p.Across - 1) / p.Across, (height - p.Y + p.Down - 1) / p.Down));

        long Pass(long across, long down) => across == 0 ? 0 : down * (1 + (across * bits + 7) / 8);
    }

    private static bool Unpacks(Stream packed, long length)
    {
        using var unpacked = new ZLibStream(packed, CompressionMode.Decompress);
        var buffer = new byte[64 * 1024];
        try
        {
            for (int read; length > 0 && (read = unpacked.Read(buffer)) > 0;)
            {
                length -= read;
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException) // the latter of data that wants a dictionary
        {
            return false;
        }

        return length <= 0;
    }

    private static bool IsWords(HeaderReader bytes, long at) =>
        bytes.Is(at + 4, "tEXt"u8) || bytes.Is(at + 4, "zTXt"u8) || bytes.Is(at + 4, "iTXt"u8) || bytes.Is(at + 4, "eXIf"u8) || bytes.Is(at + 4, "iCCP"u8) || bytes.Is(at + 4, "sPLT"u8);
}
