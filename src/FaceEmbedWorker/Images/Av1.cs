namespace FaceEmbedWorker.Images;

/// <summary>The first thing that an AV1 stream says of itself: its sequence header (AV1 Bitstream &amp; Decoding Process, 5.5).</summary>
internal static class Av1
{
    private const int SequenceHeader = 1;

    /// <summary>Units of all streams of a file that are looked at; a picture has a few, and each of its tiles may be one.</summary>
    private const int MostUnits = 10_000;

    /// <summary>Of a stream with more units than that: so many that it is refused.</summary>
    private const long TooManyPixels = 1L << 40;

    /// <summary>Bytes a pixel that libheif and libvips hold of a picture of more than 8 bits and full colours.</summary>
    public const int MostPixelBytes = 24;

    /// <summary>
    /// Largest width x height that the stream's pictures may have, and the most bytes that decoding holds of each pixel, by all of its
    /// sequence headers; 0 where this is no AV1, or says nothing.
    /// </summary>
    /// <param name="units">Of the file's other streams, which may lie over one another; these are added.</param>
    public static (long Pixels, int PixelBytes) Read(ReadOnlySpan<byte> stream, ref int units)
    {
        var (pixels, pixelBytes) = (0L, 0);
        for (var at = 0; at < stream.Length;)
        {
            if (++units > MostUnits)
            {
                return (TooManyPixels, MostPixelBytes);
            }

            var (type, extended, sized) = (stream[at] >> 3 & 15, (stream[at] & 4) != 0, (stream[at] & 2) != 0);
            at += extended ? 2 : 1;
            var size = sized ? Leb128(stream, ref at) : stream.Length - at;
            if (size < 0 || at >= stream.Length)
            {
                break;
            }

            if (type == SequenceHeader)
            {
                var (next, each) = Sequence(new BitReader(stream[at..]));
                (pixels, pixelBytes) = (Math.Max(pixels, next), Math.Max(pixelBytes, each));
            }

            at += (int)Math.Min(size, stream.Length);
        }

        return (pixels, pixelBytes);
    }

    private static (long Pixels, int PixelBytes) Sequence(BitReader bits)
    {
        var profile = bits.Read(3);
        bits.Read(1); // still picture
        var reduced = bits.Read(1) == 1;
        if (reduced)
        {
            bits.Read(5);
        }
        else
        {
            var decoderModel = false;
            var delayBits = 0;
            if (bits.Read(1) == 1) // timing
            {
                bits.Read(32);
                bits.Read(32);
                if (bits.Read(1) == 1)
                {
                    bits.ReadGolomb();
                }

                decoderModel = bits.Read(1) == 1;
                if (decoderModel)
                {
                    delayBits = (int)bits.Read(5) + 1;
                    bits.Read(32);
                    bits.Read(10);
                }
            }

            var initialDelay = bits.Read(1) == 1;
            for (var points = bits.Read(5) + 1; points > 0; points--)
            {
                bits.Read(12);
                if (bits.Read(5) > 7) // level
                {
                    bits.Read(1);
                }

                if (decoderModel && bits.Read(1) == 1)
                {
                    bits.Read(delayBits);
                    bits.Read(delayBits);
                    bits.Read(1);
                }

                if (initialDelay && bits.Read(1) == 1)
                {
                    bits.Read(4);
                }
            }
        }

        var (wide, high) = ((int)bits.Read(4) + 1, (int)bits.Read(4) + 1);
        var pixels = ((long)bits.Read(wide) + 1) * ((long)bits.Read(high) + 1);
        SkipTools(ref bits, reduced);
        var deep = bits.Read(1) == 1;
        return (pixels, (deep, HasHalvedColours(ref bits, profile, deep)) switch // measured: 11.7, 14.9, 15.0 and 21.4
        {
            (false, true) => 14,
            (false, false) => 17,
            (true, true) => 18,
            (true, false) => MostPixelBytes,
        });
    }

    /// <summary>The rest of the colour configuration: are there fewer colour samples than grey ones (4:2:0, or none)?</summary>
    private static bool HasHalvedColours(ref BitReader bits, ulong profile, bool deep)
    {
        var twelve = profile == 2 && deep && bits.Read(1) == 1;
        var grey = profile != 1 && bits.Read(1) == 1;
        var described = bits.Read(1) == 1 ? bits.Read(24) : 0;
        if (grey || profile == 0)
        {
            return true;
        }

        const ulong srgbIdentity = 1 << 16 | 13 << 8; // always 4:4:4
        bits.Read(described == srgbIdentity ? 0 : 1);
        return twelve && described != srgbIdentity && bits.Read(1) == 1 && bits.Read(1) == 1;
    }

    /// <summary>What stands between the sizes and the colours.</summary>
    private static void SkipTools(ref BitReader bits, bool reduced)
    {
        if (!reduced && bits.Read(1) == 1) // frame numbers
        {
            bits.Read(7);
        }

        bits.Read(3);
        if (!reduced)
        {
            bits.Read(4);
            var ordered = bits.Read(1) == 1;
            bits.Read(ordered ? 2 : 0);
            var screen = bits.Read(1) == 1 ? 2 : bits.Read(1);
            if (screen > 0 && bits.Read(1) == 0)
            {
                bits.Read(1);
            }

            bits.Read(ordered ? 3 : 0);
        }

        bits.Read(3);
    }

    private static long Leb128(ReadOnlySpan<byte> bytes, ref int at)
    {
        long value = 0;
        for (var i = 0; i < 8 && at < bytes.Length; i++)
        {
            var part = bytes[at++];
            value |= (long)(part & 127) << 7 * i;
            if (part < 128)
            {
                return value;
            }
        }

        return -1;
    }
}
