namespace FaceEmbedWorker.Images;

/// <summary>
/// The size that an HEVC picture's own parameters give (ITU-T H.265, 7.3.2.2), from the box that holds them (ISO/IEC 14496-15,
/// <c>hvcC</c>).
/// </summary>
internal static class Hevc
{
    private const int SequenceParameters = 33;

    /// <summary>The size stands in the first bytes of the sequence's parameters, behind at most 130 of profiles and levels.</summary>
    private const int FirstBytes = 512;

    /// <summary>Width x height of the coded picture, and the bytes that decoding holds of each pixel; 0 where nothing is said.</summary>
    public static (long Pixels, int PixelBytes) Read(HeaderReader bytes, long at, long end)
    {
        at += 22;
        for (var arrays = bytes.U8(at++); arrays > 0 && at < end; arrays--)
        {
            var type = bytes.U8(at) & 63;
            var units = bytes.U16(at + 1);
            at += 3;
            for (; units > 0 && at < end; units--)
            {
                var length = bytes.U16(at);
                if (type == SequenceParameters)
                {
                    return Sequence(new BitReader(Unescaped(bytes.Slice(at + 4, Math.Clamp(length - 2, 0, FirstBytes)))));
                }

                at += 2 + length;
            }
        }

        return default;
    }

    private static (long Pixels, int PixelBytes) Sequence(BitReader bits)
    {
        bits.Read(4);
        var layers = (int)bits.Read(3);
        bits.Read(1);
        bits.Skip(96); // profile, tier and level
        Span<ulong> present = stackalloc ulong[8];
        for (var i = 0; i < layers; i++)
        {
            present[i] = bits.Read(2);
        }

        bits.Skip(layers > 0 ? 2 * (8 - layers) : 0);
        for (var i = 0; i < layers; i++)
        {
            bits.Skip(((present[i] & 2) != 0 ? 88 : 0) + ((present[i] & 1) != 0 ? 8 : 0));
        }

        bits.ReadGolomb();
        var colours = bits.ReadGolomb();
        bits.Read(colours == 3 ? 1 : 0);
        var (width, height) = (bits.ReadGolomb(), bits.ReadGolomb());
        if (bits.Read(1) == 1)
        {
            for (var side = 0; side < 4; side++)
            {
                bits.ReadGolomb();
            }
        }

        var deep = bits.ReadGolomb() > 0;
        var pixels = (long)Math.Min(width, 1 << 20) * (long)Math.Min(height, 1 << 20);
        return (pixels, (deep ? 12 : 8) + (colours > 1 ? 4 : 0)); // measured with libheif 1.15: 5.6 at 8 bits and halved colours
    }

    /// <summary>Without the bytes that keep the stream from looking like a start code.</summary>
    private static byte[] Unescaped(ReadOnlySpan<byte> unit)
    {
        var plain = new List<byte>(unit.Length);
        var zeros = 0;
        foreach (var value in unit)
        {
            if (zeros >= 2 && value == 3)
            {
                zeros = 0;
                continue;
            }

            zeros = value == 0 ? zeros + 1 : 0;
            plain.Add(value);
        }

        return [.. plain];
    }
}
