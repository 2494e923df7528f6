namespace FaceEmbedWorker.Images;

/// <summary>
/// A JPEG's markers (ITU-T T.81, Annex B) up to its pixels; where its decoder must hold the whole picture, up to its end.
/// </summary>
internal static class JpegHeader
{
    /// <summary>Scans are counted to here; no limit is higher.</summary>
    private const int MostScans = 10_000;

    public static ImageHeader Read(HeaderReader bytes)
    {
        ImageHeader? header = null;
        var (orientation, components, scans, jfif, adobe, junk, at) = (1, 0, 0, false, -1, bytes.U8(2) != 0xFF, 2);
        while (NextMarker(bytes, ref at) is var marker and not EndOfImage)
        {
            switch (marker)
            {
                case >= 0xD0 and <= 0xD8 or 0x01: // restart, another start, TEM: no length
                    continue;
                case >= 0xC0 and <= 0xCF and not (0xC4 or 0xC8 or 0xCC):
                    header ??= Frame(bytes, at, marker, out components);
                    break;
                case 0xE1 when orientation == 1 && bytes.Is(at + 2, "Exif\0\0"u8):
                    orientation = Exif.Orientation(bytes.Slice(at + 2, Segment(bytes, at) - 2));
                    break;
                case 0xE0:
                    jfif |= bytes.Is(at + 2, "JFIF\0"u8);
                    break;
                case 0xEE when bytes.Is(at + 2, "Adobe"u8):
                    adobe = bytes.U8(at + 13);
                    break;
                case StartOfScan:
                    scans++;
                    var inScan = bytes.U8(at + 2);
                    if (header is null)
                    {
                        throw bytes.Corrupt("its pixels come before its size");
                    }

                    if (jfif && adobe == 0 && components == 3)
                    {
                        header = header with { UnsupportedByImageSharp = "a JPEG whose JFIF and Adobe markers disagree about its colours" };
                    }

                    if (bytes.Is(2, [0xFF, 0xFF]))
                    {
                        header = header with { UnsupportedByImageSharp = "a JPEG filled up before its first segment" };
                    }

                    if (junk)
                    {
                        header = header with { UnsupportedByImageSharp = "a JPEG with bytes that belong to no segment" };
                    }

                    if (!header.Progressive && inScan > 1 && inScan < components)
                    {
                        header = header with { UnsupportedByImageSharp = "a JPEG whose scans hold some of its colours together, some apart" };
                    }

                    if (!header.Progressive && inScan >= components && scans == 1)
                    {
                        var (end, ended) = ScanEnd(bytes, at + Segment(bytes, at));
                        return header with { Orientation = orientation, Held = bytes.Length, Whole = false, PixelsEnd = end, Cut = !ended }; // rows come out as they go in; a copy of the bytes where their end is in doubt
                    }

                    if (scans == MostScans)
                    {
                        return header with { Orientation = orientation, Scans = scans };
                    }

                    break;
            }

            at += Segment(bytes, at);
            junk |= scans == 0 && at < bytes.Length && bytes.U8(at) != 0xFF;
        }

        return header is null || scans == 0 ? throw bytes.Corrupt("it ends before its pixels") : header with { Orientation = orientation, Scans = scans, Cut = at < 0, Held = header.Held + bytes.Length };
    }

    /// <summary>Scans of a JPEG that is part of something else and may lack its tables, counted as <see cref="Read"/> does.</summary>
    public static int CountScans(HeaderReader bytes)
    {
        var (scans, at) = (0, 0);
        while (scans < MostScans && NextMarker(bytes, ref at) is var marker && (marker != EndOfImage))
        {
            scans += marker == StartOfScan ? 1 : 0;
            if (marker is not (>= 0xD0 and <= 0xD8 or 0x01))
            {
                at += Segment(bytes, at);
            }
        }

        return scans;
    }

    /// <summary>
    /// Where the entropy-coded bytes of a scan end, and whether the end of the image is what comes there. Whatever follows, a thumbnail or
    /// what a camera appends, is not the picture's.
    /// </summary>
    private static (int At, bool Ended) ScanEnd(HeaderReader bytes, int at)
    {
        while (true)
        {
            switch (NextMarker(bytes, ref at))
            {
                case >= 0xD0 and <= 0xD7: // restart
                    continue;
                case EndOfImage when at >= 0:
                    return (at - 2, true);
                default:
                    return (at < 0 ? bytes.Length : at - 2, false);
            }
        }
    }

    /// <summary>
    /// A copy of a JPEG each of whose scans goes on where its bytes end: decoders pass over that where the scan is whole, and read it where
    /// it is not. What follows the end of the image, or the one scan of a sequential JPEG, is left out.
    /// </summary>
    /// <param name="several">It may have several scans.</param>
    /// <returns>The copy, and the places at which <see cref="GoOn"/> fills it.</returns>
    public static (byte[] Copy, IReadOnlyList<int> Places) GoneOn(byte[] jpeg, bool several)
    {
        var bytes = new HeaderReader(jpeg, "jpeg");
        var (at, scans) = (2, new List<(int End, int Next)>());
        while ((several || scans.Count == 0) && NextMarker(bytes, ref at) is var marker && marker != EndOfImage)
        {
            if (marker is >= 0xD0 and <= 0xD8 or 0x01)
            {
                continue;
            }

            at += Segment(bytes, at);
            if (marker == StartOfScan)
            {
                at = ScanEnd(bytes, at).At;
                scans.Add((jpeg.AsSpan(0, at).TrimEnd((byte)0xFF).Length, at)); // with what goes on, 0xFF would become a marker
            }
        }

        // one copy, as the memory's estimate has it
        var (from, to, end) = (0, 0, at < 0 ? jpeg.Length : at - 2);
        var places = new List<int>();
        var copy = new byte[Math.Max(end, scans[^1].Next) - scans.Sum(s => s.Next - s.End) + scans.Count * Continuation + 2];
        foreach (var (last, next) in scans)
        {
            jpeg.AsSpan(from, last - from).CopyTo(copy.AsSpan(to));
            to += last - from;
            places.Add(to);
            copy.AsSpan(to + Continuation - Fill, Fill).Fill(0xFF);
            (from, to) = (next, to + Continuation);
        }

        jpeg.AsSpan(from, Math.Max(end, from) - from).CopyTo(copy.AsSpan(to));
        (copy[^2], copy[^1]) = (0xFF, EndOfImage);
        return (copy, places);
    }

    /// <summary>Each scan of a copy by <see cref="GoneOn"/> goes on with <paramref name="with"/>, in place of zeros.</summary>
    public static void GoOn(byte[] copy, IReadOnlyList<int> places, byte with)
    {
        foreach (var place in places)
        {
            copy.AsSpan(place, Continuation - Fill).Fill(with);
        }
    }

    private const int Continuation = 1024;

    /// <summary>Of these, such as may stand before any marker (B.1.1.2): ImageSharp, which looks for one by twos, finds it.</summary>
    private const int Fill = 4;

    private const int EndOfImage = 0xD9;
    private const int StartOfScan = 0xDA;

    /// <summary>A segment's length, which counts its own two bytes.</summary>
    private static int Segment(HeaderReader bytes, int at) => bytes.U16(at) is >= 2 and var length ? length : throw bytes.Corrupt("a segment of it has no length");

    /// <summary>
    /// The next marker, and the place behind it (-1 where there is none: the end of the bytes is the end of the image); what lies before it
    /// is entropy-coded data, or is passed over as libjpeg does.
    /// </summary>
    private static int NextMarker(HeaderReader bytes, ref int at)
    {
        while ((at = bytes.IndexOf(0xFF, at)) >= 0)
        {
            while (at < bytes.Length && bytes.U8(at) == 0xFF)
            {
                at++;
            }

            if (at < bytes.Length && bytes.U8(at++) is not 0 and var marker)
            {
                return marker;
            }
        }

        return EndOfImage;
    }

    private static ImageHeader Frame(HeaderReader bytes, int at, int marker, out int components)
    {
        var (precision, height, width) = (bytes.U8(at + 2), bytes.U16(at + 3), bytes.U16(at + 5));
        components = bytes.U8(at + 7);
        var sampling = new (int Across, int Down)[components];
        for (var i = 0; i < components; i++)
        {
            var factors = bytes.U8(at + 9 + 3 * i);
            sampling[i] = (factors >> 4, factors & 15);
        }

        var unsupported = marker is 0xC3 or 0xC5 or 0xC6 or 0xC7 or >= 0xCB ? "a lossless or hierarchical JPEG"
            : precision != 8 ? $"a JPEG of {precision} bits"
            : components is not (1 or 3 or 4) ? $"a JPEG of {components} components"
            : null;
        if (sampling.Any(s => s.Across is 0 or > 4 || s.Down is 0 or > 4))
        {
            throw bytes.Corrupt("its sampling factors are none");
        }

        var progressive = marker is 0xC2 or 0xCA;
        return new ImageHeader("jpeg", bytes.Side((ulong)width), bytes.Side((ulong)height))
        {
            Progressive = progressive,
            Whole = true,
            Unsupported = unsupported,
            Held = Coefficients(width, height, sampling),
            HalvedColours = components == 3 ? (IsHalf(s => s.Across), IsHalf(s => s.Down)) : default,
        };

        bool IsHalf(Func<(int Across, int Down), int> along) => sampling.Skip(1).All(s => 2 * along(s) == along(sampling[0]));
    }

    /// <summary>
    /// Two bytes for each coefficient, of blocks that are filled up to whole groups: what libjpeg keeps of a progressive JPEG, and of one
    /// that brings its colours one after another.
    /// </summary>
    private static long Coefficients(int width, int height, (int Across, int Down)[] sampling)
    {
        var (across, down) = (sampling.Max(s => (int?)s.Across) ?? 1, sampling.Max(s => (int?)s.Down) ?? 1);
        var groups = (long)Ceiling(width, 8 * across) * Ceiling(height, 8 * down);
        return sampling.Sum(s => groups * s.Across * s.Down * 64 * 2);
    }

    private static int Ceiling(int length, int unit) => (length + unit - 1) / unit;
}
