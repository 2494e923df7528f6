namespace FaceEmbedWorker.Images;

/// <summary>The directories of a TIFF (TIFF 6.0, and BigTIFF): its first page's, and how many follow.</summary>
internal static class TiffHeader
{
    /// <summary>Tags of a page; those that there are, with those of cameras and of geography, are some 300.</summary>
    private const int MostTags = 1000;

    /// <summary>
    /// Bytes of tags that libtiff reads in a blink; it cannot be stopped while it does (measured: up to 0.15 s for a million).
    /// </summary>
    private const int QuickBytes = 1024 * 1024;

    /// <summary>Bytes of a tile's pixels that libvips takes.</summary>
    private const int MostTile = 100_000_000;

    /// <summary>A tile's side that libvips takes: twice that of the picture, rounded up to 128s.</summary>
    private static ulong MostTileSide(int longest) => ((ulong)longest + 127) / 128 * 256;

    /// <summary>By so many bytes strips may lie over one another.</summary>
    private const long SharedStrips = 64 * 1024 * 1024;

    public static ImageHeader Read(HeaderReader bytes)
    {
        var big = bytes.U16(2) == 43;
        var first = big ? bytes.U64(8) : bytes.U32(4);
        var tags = Directory(bytes, big, first);
        var pages = TiffPages.Read(bytes, big, first);
        ulong Tag(int tag, ulong otherwise) => tags.GetValueOrDefault(tag) is { Count: > 0 } values ? values[0] : otherwise;

        var (width, height) = (bytes.Side(Tag(256, 0)), bytes.Side(Tag(257, 0)));
        var (samples, planar) = (Tag(277, 1), Tag(284, 1) == 2);
        var bits = tags.GetValueOrDefault(258) is { Count: > 0 } depths ? depths : [1];
        var tiled = tags.ContainsKey(322);
        var (cut, scans) = Parts(bytes, big, first, tiled, jpeg: Tag(259, 1) == 7);
        return new ImageHeader("tiff", width, height)
        {
            Orientation = Tag(274, 1) is >= 1 and <= 8 and var turn ? (int)turn : 1,
            Pages = pages.Count,
            Whole = pages.Bytes > QuickBytes,
            Scans = scans,
            Cut = pages.Broken || cut,
            Unsupported = pages.MostEntries > MostTags ? $"a TIFF with {pages.MostEntries:N0} tags on a page"
                : !tags.ContainsKey(262) ? "a TIFF that does not say what its samples mean"
                : Tag(274, 1) > 8 ? $"a TIFF of orientation {Tag(274, 1)}"
                : Tag(262, 0) == 3 && !tags.ContainsKey(320) ? "a palette TIFF without its palette"
                : Tag(262, 0) == 5 && Tag(332, 1) != 1 ? "a TIFF of inks other than CMYK"
                : tiled && (Int128)Tag(322, 0) * Tag(323, 0) * samples * ((bits.Max() + 7) / 8) is var tile && tile > MostTile ? $"a TIFF with a tile of {tile:N0} bytes"
                : tiled && Math.Max(Tag(322, 0), Tag(323, 0)) is var side && side > MostTileSide(Math.Max(width, height)) ? $"a TIFF of {width} x {height} pixels in a tile of {side:N0}"
                : Unsupported(bits, samples, Tag(339, 1), Tag(262, 0), Tag(259, 1), planar, tiled),
            UnsupportedByImageSharp = pages.Circular ? "a TIFF whose last page leads back to another" : planar ? "a TIFF of separate planes" : tiled ? "a TIFF of tiles" : Tag(266, 1) == 2 ? "a TIFF whose bits are in reverse order"
                : Tag(338, 0) == 1 ? "a TIFF whose colours are multiplied by its alpha" : Tag(262, 0) == 5 ? "a TIFF in CMYK" : Tag(262, 0) == 3 && tags.GetValueOrDefault(320, []).All(v => v < 256) ? "a TIFF whose palette has 8 bits"
                : Tag(262, 0) == 1 && Tag(259, 1) is 2 or 3 or 4 ? "a TIFF of fax compression whose white is not 0"
                : Tag(259, 1) == 7 && (Tag(262, 0), samples) is not (6, 3) ? "a TIFF of JPEG in colours other than YCbCr"
                : !tags.ContainsKey(279) ? "a TIFF that does not say how long its strips are" : null,
            Held = samples > 64 || bits.Max() > 64 || Tag(322, 1) > int.MaxValue || Tag(323, 1) > int.MaxValue ? throw bytes.Corrupt("its header claims sizes that no picture has")
                : pages.HeldOfOne + Strips(width, height, Math.Max(3, (int)samples * (((int)bits.Max() + 7) / 8)), tiled, (long)Tag(322, 1), (long)Tag(323, 1), (long)Math.Min(Tag(278, int.MaxValue), (ulong)height), Tag(259, 1)),
            HeldByImageSharp = Math.Max(0, pages.HeldByImageSharp - pages.HeldOfOne),
        };
    }

    /// <summary>
    /// A row of strips or tiles; a compressed one, and a tile, is held twice on its way; a JPEG, which may be a progressive one, with its
    /// coefficients.
    /// </summary>
    private static long Strips(int width, int height, int bytesPerPixel, bool tiled, long tileWidth, long tileHeight, long stripHeight, ulong compression)
    {
        var (across, rows) = tiled ? ((width + tileWidth - 1) / Math.Max(1, tileWidth) * tileWidth, tileHeight) : (width, Math.Max(1, stripHeight));
        return checked(across * rows * bytesPerPixel * (compression switch { 1 when !tiled => 1, 7 => 4, _ => 2 }));
    }

    /// <summary>
    /// What is decoded right is listed here; all else is named and refused, for libvips would make something of some of it.
    /// </summary>
    private static string? Unsupported(IReadOnlyList<ulong> bits, ulong samples, ulong sampleFormat, ulong photometric, ulong compression, bool planar, bool tiled)
    {
        var depth = bits[0];
        return bits.Any(b => b != depth) ? "a TIFF whose colours have different depths"
            : sampleFormat == 3 ? $"a TIFF of {depth}-bit floating-point samples"
            : sampleFormat is not (1 or 4) ? "a TIFF of signed or complex samples"
            : photometric switch
            {
                0 or 1 => depth is 1 or 2 or 4 or 8 or 16 && samples <= 2 ? null : $"a TIFF of {samples} grey samples of {depth} bits",
                2 => depth is 8 or 16 && samples is 3 or 4 ? null : $"a TIFF of {samples} RGB samples of {depth} bits",
                3 => depth is 1 or 2 or 4 or 8 && samples == 1 ? null : $"a TIFF of {samples} palette samples of {depth} bits",
                5 => depth == 8 && samples == 4 ? null : $"a TIFF of {samples} CMYK samples of {depth} bits",
                6 => compression == 6 ? "a TIFF with old-style JPEG" : depth == 8 && samples == 3 && compression == 7 ? null : "a TIFF of YCbCr samples that are not JPEG",
                8 or 9 or 10 => "a TIFF in CIE L*a*b*",
                32844 or 32845 => "a TIFF in LogLuv",
                32803 or 34892 => "a camera's raw TIFF",
                _ => $"a TIFF of photometric interpretation {photometric}",
            }
            ?? compression switch
            {
                1 or 2 or 3 or 4 or 5 or 7 or 8 or 32946 or 32773 => null,
                6 => "a TIFF with old-style JPEG",
                34925 => "a TIFF compressed by LZMA",
                50000 => "a TIFF compressed by Zstandard",
                50001 => "a TIFF compressed by WebP",
                _ => $"a TIFF of compression {compression}",
            }
            ?? (planar && tiled ? "a TIFF of tiles in separate planes" : planar && photometric <= 1 && samples > 1 ? "a TIFF of grey and alpha in separate planes" : null);
    }

    /// <summary>
    /// Whether a strip or tile lies beyond the file's end, and of JPEG the scans of that which has most: each is a JPEG of its own.
    /// </summary>
    private static (bool Cut, int Scans) Parts(HeaderReader bytes, bool big, ulong directory, bool tiled, bool jpeg)
    {
        var (from, size) = (Entry(bytes, big, directory, tiled ? 324 : 273), Entry(bytes, big, directory, tiled ? 325 : 279));
        var (most, seen) = (1, 0L);
        for (long i = 0; i < Math.Min(from.Count, size.Count); i++)
        {
            var (at, length) = (Value(bytes, from, i), Value(bytes, size, i));
            if (length == 0)
            {
                throw bytes.Corrupt("parts of its pixels were never written");
            }

            if (at + length > (ulong)bytes.Length)
            {
                return (true, most);
            }

            if (jpeg && (seen += (long)length) > bytes.Length + SharedStrips)
            {
                throw bytes.Corrupt($"its strips name {seen:N0} bytes, and it has {bytes.Length:N0}");
            }

            most = jpeg ? Math.Max(most, JpegHeader.CountScans(new(bytes.Slice((long)at, (long)length), "tiff"))) : most;
        }

        return (false, most);
    }

    /// <summary>Where the values of an entry are, how wide each is, and how many; none where there is no such entry.</summary>
    private static (long At, int Width, long Count) Entry(HeaderReader bytes, bool big, ulong directory, int tag)
    {
        var at = Place(bytes, directory);
        var (count, entries, size) = big ? ((long)Math.Min(bytes.U64(at), 65536), at + 8, 20) : (bytes.U16(at), at + 2, 12);
        for (var i = 0; i < count; i++)
        {
            var entry = entries + size * i;
            if (bytes.U16(entry) == tag && bytes.U16(entry + 2) is (3 or 4 or 16) and var type)
            {
                var width = type switch { 3 => 2, 4 => 4, _ => 8 };
                var values = (long)Math.Min(big ? bytes.U64(entry + 4) : bytes.U32(entry + 4), (ulong)bytes.Length);
                var from = big ? entry + 12 : entry + 8;
                return (values * width <= (big ? 8 : 4) ? from : Place(bytes, big ? bytes.U64(from) : bytes.U32(from)), width, values);
            }
        }

        return default;
    }

    private static ulong Value(HeaderReader bytes, (long At, int Width, long Count) entry, long index) =>
        entry.Width switch { 2 => (ulong)bytes.U16(entry.At + 2 * index), 4 => bytes.U32(entry.At + 4 * index), _ => Math.Min(bytes.U64(entry.At + 8 * index), ulong.MaxValue / 4) };

    /// <summary>The integers of a directory; at most 64 of each entry.</summary>
    private static Dictionary<int, IReadOnlyList<ulong>> Directory(HeaderReader bytes, bool big, ulong place)
    {
        var at = Place(bytes, place);
        var (count, entries, size) = big ? ((long)Math.Min(bytes.U64(at), 65536), at + 8, 20) : (bytes.U16(at), at + 2, 12);
        var (tags, seen) = (new Dictionary<int, IReadOnlyList<ulong>>(), new HashSet<int>());
        for (var i = 0; i < count; i++)
        {
            var entry = entries + size * i;
            var (tag, type) = (bytes.U16(entry), bytes.U16(entry + 2));
            if (!Read(tag) && !Located(tag))
            {
                continue;
            }

            if (!seen.Add(tag)) // decoders differ in which they believe, and so the estimate would be somebody else's
            {
                throw bytes.Corrupt($"its header gives tag {tag} twice");
            }

            if (type is not (1 or 3 or 4 or 16)) // libtiff would read these too
            {
                throw bytes.Corrupt($"its header gives tag {tag} as no whole number");
            }

            if (!Read(tag))
            {
                continue; // where they are given, and nobody asks for them, they may be anywhere
            }

            var width = type switch { 1 => 1, 3 => 2, 4 => 4, _ => 8 };
            var values = (int)Math.Min(big ? bytes.U64(entry + 4) : bytes.U32(entry + 4), 64);
            var inline = values * width <= (big ? 8 : 4);
            var from = big ? entry + 12 : entry + 8;
            from = inline ? from : Place(bytes, big ? bytes.U64(from) : bytes.U32(from));
            var list = new ulong[values];
            for (var v = 0; v < values; v++)
            {
                var each = from + v * width;
                list[v] = width switch { 1 => bytes.U8(each), 2 => (ulong)bytes.U16(each), 4 => bytes.U32(each), _ => bytes.U64(each) };
            }

            tags[tag] = list;
        }

        return tags;

        static bool Read(int tag) => tag is 256 or 257 or 258 or 259 or 262 or 266 or 274 or 277 or 278 or 279 or 284 or 320 or 322 or 323 or 332 or 338 or 339;

        static bool Located(int tag) => tag is 273 or 324 or 325;
    }

    private static long Place(HeaderReader bytes, ulong place) => place < (ulong)bytes.Length ? (long)place : throw bytes.Corrupt($"its header refers to byte {place:N0}, and it has {bytes.Length:N0}");
}
