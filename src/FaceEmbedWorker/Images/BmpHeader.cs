namespace FaceEmbedWorker.Images;

/// <summary>A Windows bitmap's headers.</summary>
internal static class BmpHeader
{
    public static ImageHeader Read(HeaderReader bytes)
    {
        var old = bytes.U32(14) == 12;
        var (width, height) = old ? (bytes.U16(18), bytes.U16(20)) : ((int)bytes.U32(18), (int)bytes.U32(22));
        var (bits, compression) = old ? (bytes.U16(24), 0) : (bytes.U16(28), (int)bytes.U32(30));
        var header = new ImageHeader("bmp", bytes.Side((ulong)Math.Max(0, width)), bytes.Side((ulong)Math.Abs((long)height))); // rows from below where it is negative
        return header with
        {
            Whole = true,
            Held = checked(header.Pixels * 4),
            Cut = compression is 0 or 3 && ((long)width * bits + 31) / 32 * 4 * header.Height > bytes.Length - bytes.U32(10),
            Unsupported = bits is not (1 or 4 or 8 or 16 or 24 or 32) ? $"a BMP of {bits} bits" : compression is not (0 or 1 or 2 or 3 or 6) ? $"a BMP of compression {compression}" : null,
        };
    }
}
