namespace FaceEmbedWorker.Images;

/// <summary>A Targa's header (Truevision TGA 2.0). The format has no signature, so that everything in the header must fit.</summary>
internal static class TgaHeader
{
    public static bool Fits(ReadOnlySpan<byte> bytes) => bytes.Length > 18 && bytes[1] <= 1 && (bytes[17] & 0xC0) == 0
        && (bytes[2], bytes[1], bytes[16]) is (1 or 9, 1, 8) or (2 or 10, 0, 16 or 24 or 32) or (3 or 11, 0, 8 or 16)
        && (bytes[1] == 1 ? bytes[7] is 15 or 16 or 24 or 32 : bytes[3] + bytes[4] + bytes[5] + bytes[6] + bytes[7] == 0)
        && bytes[12] + bytes[13] > 0 && bytes[14] + bytes[15] > 0;

    public static ImageHeader Read(HeaderReader bytes)
    {
        var header = new ImageHeader("tga", bytes.U16(12), bytes.U16(14));
        var plain = bytes.U8(2) < 8;
        var before = 18L + bytes.U8(0) + bytes.U16(5) * ((bytes.U8(7) + 7) / 8);
        var pixelBytes = (bytes.U8(16) + 7) / 8;
        return header with { Whole = true, Held = header.Pixels * 4, Unsupported = bytes.U16(3) != 0 ? "a TGA whose palette does not begin at 0" : bytes.U8(2) is 3 or 11 && bytes.U8(16) == 16 ? "a TGA of grey and alpha" : null, Cut = (plain ? before + header.Pixels * pixelBytes : RunsEnd(bytes, before, header.Pixels, pixelBytes)) > bytes.Length };
    }

    /// <summary>Where the pixels end: packets of a pixel that is repeated, or of several.</summary>
    private static long RunsEnd(HeaderReader bytes, long at, long pixels, int pixelBytes)
    {
        while (pixels > 0 && at < bytes.Length)
        {
            var packet = bytes.U8(at);
            var count = (packet & 127) + 1;
            at += 1 + (packet > 127 ? 1 : count) * pixelBytes;
            pixels -= count;
        }

        return pixels > 0 ? long.MaxValue : at;
    }
}
