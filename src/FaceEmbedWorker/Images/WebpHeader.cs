namespace FaceEmbedWorker.Images;

/// <summary>A WebP's chunks (RFC 9649).</summary>
internal static class WebpHeader
{
    /// <summary>Bytes a pixel that libwebp and libvips hold of a whole frame (measured: 7.3, with transparency 8.4).</summary>
    private const int FrameBytes = 9;

    public static ImageHeader Read(HeaderReader bytes)
    {
        var (orientation, frames) = (1, 0);
        (int Width, int Height)? canvas = null, still = null;
        for (long at = 12; at <= bytes.Length - 8; at += 8L + bytes.U32(at + 4) + (bytes.U32(at + 4) & 1))
        {
            var data = at + 8;
            if (bytes.Is(at, "VP8X"u8))
            {
                canvas = canvas is null ? (U24(bytes, data + 4) + 1, U24(bytes, data + 7) + 1) : throw bytes.Corrupt("it has two canvases");
            }
            else if (bytes.Is(at, "VP8 "u8))
            {
                still ??= (bytes.U16(data + 6) & 0x3FFF, bytes.U16(data + 8) & 0x3FFF);
            }
            else if (bytes.Is(at, "VP8L"u8))
            {
                var sizes = bytes.U32(data + 1);
                still ??= ((int)(sizes & 0x3FFF) + 1, (int)(sizes >> 14 & 0x3FFF) + 1);
            }
            else if (bytes.Is(at, "ANMF"u8))
            {
                frames++;
            }
            else if (bytes.Is(at, "EXIF"u8))
            {
                orientation = Exif.Orientation(bytes.Slice(data, Math.Min(bytes.U32(at + 4), bytes.Length - data)));
            }
        }

        if (canvas is not null && still is not null && frames == 0 && canvas != still)
        {
            throw bytes.Corrupt("its canvas and what is on it differ in size");
        }

        var (width, height) = (canvas ?? still ?? default) is var size ? (bytes.Side((ulong)size.Width), bytes.Side((ulong)size.Height)) : default;
        return new ImageHeader("webp", width, height) { Orientation = orientation, Pages = Math.Max(1, frames), Whole = true, Held = (long)width * height * FrameBytes, Cut = bytes.U32(4) + 8L > bytes.Length };
    }

    private static int U24(HeaderReader bytes, long at) => bytes.U16(at) | bytes.U8(at + 2) << 16;
}
