namespace FaceEmbedWorker.Images;

/// <summary>A portable bitmap, greymap or pixmap (PBM, PGM, PPM): numbers as text, with comments between them.</summary>
internal static class PnmHeader
{
    /// <summary>
    /// The pixels of a binary one (P4, P5, P6): bits, bytes, or words of which the upper byte counts. ImageSharp passes over whitespace
    /// behind the header, and so over first pixels that have its values.
    /// </summary>
    public static void Decode(ReadOnlySpan<byte> picture, Picture into)
    {
        var bytes = new HeaderReader(picture, "pnm");
        var (kind, at) = (bytes.U8(1) - '0', 2);
        Number(bytes, ref at);
        Number(bytes, ref at);
        var step = kind == 4 ? 0 : Number(bytes, ref at) > 255 ? 2 : 1;
        var pixels = picture[(int)PixelsAt(bytes, at)..];
        var (samples, stride) = (kind == 6 ? 3 : 1, kind == 4 ? (into.Width + 7) / 8 : into.Width * step * (kind == 6 ? 3 : 1));
        for (var y = 0; y < into.Height; y++)
        {
            var row = pixels.Slice((int)((long)y * stride), stride);
            var target = into.Row(y);
            for (var i = 0; i < target.Length; i++)
            {
                var sample = samples == 3 ? i : i / 3;
                target[i] = kind == 4 ? (byte)((row[sample / 8] >> 7 - sample % 8 & 1) == 0 ? 255 : 0) : row[sample * step];
            }
        }
    }

    public static ImageHeader Read(HeaderReader bytes)
    {
        var kind = bytes.U8(1) - '0';
        var at = 2;
        var header = new ImageHeader("pnm", bytes.Side(Number(bytes, ref at)), bytes.Side(Number(bytes, ref at)));
        var most = kind is 1 or 4 ? 1 : Number(bytes, ref at);
        var rowBits = (long)header.Width * (kind == 4 ? 1 : most > 255 ? 16 : 8) * (kind == 6 ? 3 : 1);
        var samples = checked(header.Pixels * (kind is 3 or 6 ? 3 : 1));
        var text = kind < 4 ? Texts(bytes.Slice(at, bytes.Length - at), samples) : default;
        if (text.Most > most && (kind > 1 || !text.Adjoining)) // where bits are not parted they make no number
        {
            throw bytes.Corrupt("a number of it is over its white");
        }

        return header with
        {
            Whole = true,
            Held = checked(header.Pixels * 4),
            Cut = kind < 4 ? text.Samples < samples : checked((rowBits + 7) / 8 * header.Height) > bytes.Length - PixelsAt(bytes, at),
            Unsupported = kind is not (1 or 4) && most is not (255 or 65535) ? $"a PNM whose white is {most}"
                : kind == 1 && text.Adjoining ? "a plain PBM whose bits are not parted" : null,
        };
    }

    /// <summary>
    /// How many samples there are, counted up to <paramref name="count"/>, where they are numbers of text with comments between them,
    /// whether some of them have more than one digit, and the largest.
    /// </summary>
    private static (long Samples, bool Adjoining, ulong Most) Texts(ReadOnlySpan<byte> text, long count)
    {
        var (samples, number, adjoining, comment) = (0L, false, false, false);
        var (value, most) = (0UL, 0UL);
        foreach (var c in text)
        {
            var digit = !comment && char.IsAsciiDigit((char)c);
            if (digit && !number && samples++ == count)
            {
                return (count, adjoining, most);
            }

            value = digit ? Math.Min(value * 10 + c - '0', uint.MaxValue) : 0;
            most = Math.Max(most, value);
            adjoining |= digit && number;
            number = digit;
            comment = comment ? c is not ((byte)'\n' or (byte)'\r') : c == '#';
        }

        return (Math.Min(samples, count), adjoining, most);
    }

    /// <summary>Behind one whitespace, or behind the comment that stands in its place.</summary>
    private static long PixelsAt(HeaderReader bytes, long at)
    {
        for (var comment = at < bytes.Length && bytes.U8(at) == '#'; comment && at < bytes.Length && bytes.U8(at) is not ((byte)'\n' or (byte)'\r'); at++)
        {
        }

        return at + 1;
    }

    private static ulong Number(HeaderReader bytes, ref int at)
    {
        var comment = false;
        for (; comment || !char.IsAsciiDigit((char)bytes.U8(at)); at++)
        {
            var c = bytes.U8(at);
            comment = comment ? c is not ((byte)'\n' or (byte)'\r') : c == '#';
            if (!comment && !char.IsWhiteSpace((char)c) && c != '#')
            {
                throw bytes.Corrupt("its header is not made of numbers");
            }
        }

        ulong value = 0;
        for (; at < bytes.Length && char.IsAsciiDigit((char)bytes.U8(at)); at++)
        {
            value = Math.Min(value * 10 + bytes.U8(at) - '0', uint.MaxValue);
        }

        return value;
    }
}
