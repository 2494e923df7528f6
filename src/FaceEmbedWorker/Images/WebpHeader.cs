namespace FaceEmbedWorker.Images;

/// <summary>A WebP's chunks (RFC 9649).</summary>
internal static class WebpHeader
{
    /// <summary>Bytes a pixel that libwebp and libvips hold of a whole frame (measured: 7.3, with transparency 8.4).</summary>
    private const int FrameBytes = 9;

    /// <summary>Bytes that libwebp holds of each group of prefix codes of a lossless picture (measured: up to 9,700), and ImageSharp beside
    /// (measured: 42,000 in all).</summary>
    private const int GroupBytes = 12_000, MoreOfImageSharp = 36_000;

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
        var groups = Groups(bytes, 12, bytes.Length, width, height, frame: false);
        return new ImageHeader("webp", width, height) { HeldByImageSharp = groups * MoreOfImageSharp, Orientation = orientation, Pages = Math.Max(1, frames), Whole = true, Held = (long)width * height * FrameBytes + groups * GroupBytes, Cut = bytes.U32(4) + 8L > bytes.Length };
    }

    /// <summary>Of the picture and its alpha channel; of an animation, of its first frame's.</summary>
    private static long Groups(HeaderReader bytes, long at, long end, int width, int height, bool frame)
    {
        var (groups, alphas) = (0L, 0);
        for (; at <= end - 8; at += 8L + bytes.U32(at + 4) + (bytes.U32(at + 4) & 1))
        {
            var (data, length) = (at + 8, Math.Min(bytes.U32(at + 4), end - at - 8));
            if (bytes.Is(at, "VP8L"u8) && length > 5)
            {
                return groups + Vp8l.Groups(bytes.Slice(data + 5, length - 5), width, height);
            }

            if (bytes.Is(at, "VP8 "u8))
            {
                return groups;
            }

            if (bytes.Is(at, "ALPH"u8) && ++alphas > 1)
            {
                throw bytes.Corrupt("it has two alpha channels");
            }

            if (bytes.Is(at, "ALPH"u8) && length > 1 && (bytes.U8(data) & 3) == 1)
            {
                groups += Vp8l.Groups(bytes.Slice(data + 1, length - 1), width, height);
            }
            else if (bytes.Is(at, "ANMF"u8) && length > 16)
            {
                return frame ? throw bytes.Corrupt("a frame of it holds a frame")
                    : Groups(bytes, data + 16, data + length, U24(bytes, data + 6) + 1, U24(bytes, data + 9) + 1, frame: true);
            }
        }

        return groups;
    }

    private static int U24(HeaderReader bytes, long at) => bytes.U16(at) | bytes.U8(at + 2) << 16;
}
