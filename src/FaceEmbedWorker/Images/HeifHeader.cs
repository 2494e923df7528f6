namespace FaceEmbedWorker.Images;

/// <summary>
/// The boxes of a HEIF file (ISO/IEC 23008-12) that say how large its primary picture is, how it is turned, and of what codec's pictures it
/// is made.
/// </summary>
internal static class HeifHeader
{
    /// <summary>
    /// Boxes in a row, items, and extents of all items together; libheif itself reads fewer. A picture of more is corrupt.
    /// </summary>
    private const int Most = 4_096;

    public static ImageHeader Read(HeaderReader bytes, string format)
    {
        if (Find(bytes, "meta"u8, 0, bytes.Length) is not { } meta)
        {
            return Find(bytes, "moov"u8, 0, bytes.Length) is null ? throw bytes.Corrupt("it has no picture")
                : new ImageHeader(format, 1, 1) { Unsupported = $"a sequence of {format} pictures without a still one" };
        }

        var primary = Find(bytes, "pitm"u8, meta.From + 4, meta.To) is { } box ? Number(bytes, box.From + 4, bytes.U8(box.From) == 0 ? 2 : 4) : throw bytes.Corrupt("it does not say which picture is its own");
        var (width, height, coded) = (0UL, 0UL, 0L);
        foreach (var property in Properties(bytes, meta, primary))
        {
            if (bytes.Is(property.From - 4, "ispe"u8))
            {
                (width, height) = (bytes.U32(property.From + 4), bytes.U32(property.From + 8));
                coded = (long)bytes.Side(width) * bytes.Side(height);
            }
            else if (bytes.Is(property.From - 4, "clap"u8))
            {
                (width, height) = (Cut(bytes, property.From), Cut(bytes, property.From + 8));
            }
            else if (bytes.Is(property.From - 4, "irot"u8) && (bytes.U8(property.From) & 1) == 1)
            {
                (width, height) = (height, width);
            }
        }

        // what is decoded has the size and depth that its own stream says, whatever the boxes around it claim
        var held = 0L;
        var streams = HevcParameters(bytes, meta);
        var units = 0;
        var items = AvifItems(bytes, meta, out var scattered);
        foreach (var (from, to) in items)
        {
            streams.Add(Av1.Read(bytes.Slice(from, to - from), ref units));
        }

        // the tiles of a grid may lie outside of it, be one and the same again and again, and are decoded at once
        var parts = Math.Max(1, Parts(bytes, meta));
        foreach (var (pixels, pixelBytes) in streams)
        {
            held = Math.Max(held, checked(Math.Max(coded, parts * pixels) * pixelBytes));
        }

        return new ImageHeader(format, bytes.Side(width), bytes.Side(height)) { Unsupported = scattered ? $"{(format == "avif" ? "an" : "a")} {format} whose picture lies in several pieces" : null, Whole = true, Held = held > 0 ? held : checked(coded * Av1.MostPixelBytes) };
    }

    /// <summary>Pictures that other pictures are put together of (<c>dimg</c>), each as often as it is named.</summary>
    private static long Parts(HeaderReader bytes, (long From, long To) meta)
    {
        var parts = 0L;
        if (Find(bytes, "iref"u8, meta.From + 4, meta.To) is { } references)
        {
            foreach (var box in Boxes(bytes, references.From + 4, references.To))
            {
                parts += bytes.Is(box.From - 4, "dimg"u8) ? bytes.U16(box.From + (bytes.U8(references.From) == 0 ? 2 : 4)) : 0;
            }
        }

        return parts;
    }

    /// <summary>The properties of one item; of the others none is kept.</summary>
    private static List<(long From, long To)> Properties(HeaderReader bytes, (long From, long To) meta, ulong item)
    {
        var found = new List<(long, long)>();
        if (Find(bytes, "iprp"u8, meta.From + 4, meta.To) is not { } properties || Find(bytes, "ipma"u8, properties.From, properties.To) is not { } map)
        {
            return found;
        }

        var all = PropertyBoxes(bytes, meta);
        var (version, wide) = (bytes.U8(map.From), (bytes.U8(map.From + 3) & 1) == 1);
        var at = map.From + 8;
        for (var entries = AtMost(bytes, bytes.U32(map.From + 4)); entries > 0; entries--)
        {
            var mine = Number(bytes, at, version == 0 ? 2 : 4) == item;
            at += version == 0 ? 2 : 4;
            if (mine && found.Count > 0)
            {
                throw bytes.Corrupt("the properties of its picture are given twice");
            }

            for (var count = bytes.U8(at++); count > 0; count--)
            {
                var index = wide ? bytes.U16(at) & 0x7FFF : bytes.U8(at) & 0x7F;
                at += wide ? 2 : 1;
                if (mine && index > 0 && index <= all.Count)
                {
                    found.Add(all[index - 1]);
                }
            }
        }

        return found;
    }

    private static List<(long From, long To)> PropertyBoxes(HeaderReader bytes, (long From, long To) meta) =>
        Find(bytes, "iprp"u8, meta.From + 4, meta.To) is { } properties && Find(bytes, "ipco"u8, properties.From, properties.To) is { } all ? Boxes(bytes, all.From, all.To) : [];

    private static List<(long Pixels, int PixelBytes)> HevcParameters(HeaderReader bytes, (long From, long To) meta)
    {
        var found = new List<(long, int)>();
        foreach (var box in PropertyBoxes(bytes, meta))
        {
            if (bytes.Is(box.From - 4, "hvcC"u8))
            {
                found.Add(Hevc.Read(bytes, box.From, box.To));
            }
        }

        return found;
    }

    /// <summary>The numbers of the items that are AV1 pictures (<c>iinf</c>).</summary>
    private static HashSet<ulong> AvifNumbers(HeaderReader bytes, (long From, long To) meta)
    {
        var found = new HashSet<ulong>();
        if (Find(bytes, "iinf"u8, meta.From + 4, meta.To) is { } list)
        {
            foreach (var entry in Boxes(bytes, list.From + (bytes.U8(list.From) == 0 ? 6 : 8), list.To))
            {
                var size = bytes.U8(entry.From) == 2 ? 2 : 4;
                if (bytes.Is(entry.From + 4 + size + 2, "av01"u8))
                {
                    found.Add(Number(bytes, entry.From + 4, size));
                }
            }
        }

        return found;
    }

    /// <summary>Where each AV1 picture is (<c>iloc</c>), once, of those that lie in the file as they are.</summary>
    /// <param name="scattered">One of them is in several pieces.</param>
    private static List<(long From, long To)> AvifItems(HeaderReader bytes, (long From, long To) meta, out bool scattered)
    {
        var found = new List<(long, long)>();
        var wanted = AvifNumbers(bytes, meta);
        scattered = false;
        if (Find(bytes, "iloc"u8, meta.From + 4, meta.To) is not { } places)
        {
            return found;
        }

        var version = bytes.U8(places.From);
        var (offset, length, start, index) = (bytes.U8(places.From + 4) >> 4, bytes.U8(places.From + 4) & 15, bytes.U8(places.From + 5) >> 4, version == 0 ? 0 : bytes.U8(places.From + 5) & 15);
        var at = places.From + 6;
        var (count, total) = (AtMost(bytes, Number(bytes, at, version < 2 ? 2 : 4)), 0UL);
        at += version < 2 ? 2 : 4;
        for (; count > 0; count--)
        {
            var item = Number(bytes, at, version < 2 ? 2 : 4);
            at += version < 2 ? 2 : 4;
            var inFile = version == 0 || (bytes.U16(at) & 15) == 0;
            at += version == 0 ? 2 : 4;
            var from = (long)Math.Min(Number(bytes, at, start), long.MaxValue / 4);
            at += start;
            var extents = bytes.U16(at);
            at += 2;
            total = AtMost(bytes, total + (ulong)extents);
            var isWanted = wanted.Remove(item);
            scattered |= isWanted && extents > 1;
            for (var extent = 0; extent < extents; extent++, at += index + offset + length)
            {
                var place = from + (long)Math.Min(Number(bytes, at + index, offset), long.MaxValue / 4);
                var size = (long)Math.Min(Number(bytes, at + index + offset, length), long.MaxValue / 4);
                if (extent == 0 && inFile && isWanted && place < bytes.Length)
                {
                    found.Add((place, size == 0 ? bytes.Length : Math.Min(bytes.Length, place + size)));
                }
            }
        }

        return found;
    }

    /// <summary>A side that a clean aperture leaves: a fraction of two numbers.</summary>
    private static ulong Cut(HeaderReader bytes, long at) => bytes.U32(at + 4) is not 0 and var by ? (bytes.U32(at) + by / 2) / by : throw bytes.Corrupt("it is cut to no size");

    private static (long From, long To)? Find(HeaderReader bytes, ReadOnlySpan<byte> type, long from, long to)
    {
        foreach (var box in Boxes(bytes, from, to))
        {
            if (bytes.Is(box.From - 4, type))
            {
                return box;
            }
        }

        return null;
    }

    /// <summary>The boxes of a stretch of the file: what stands in each, its type in the four bytes before.</summary>
    private static List<(long From, long To)> Boxes(HeaderReader bytes, long from, long to)
    {
        var boxes = new List<(long, long)>();
        for (long size; from <= to - 8; from += size)
        {
            AtMost(bytes, (ulong)boxes.Count);
            var large = bytes.U32(from) == 1;
            var head = large ? 16 : 8;
            size = large ? (long)Math.Min(bytes.U64(from + 8), long.MaxValue / 4) : bytes.U32(from) is not 0 and var given ? given : to - from;
            if (size < head)
            {
                break;
            }

            if (!large) // whatever is so long holds pixels
            {
                boxes.Add((from + head, Math.Min(to, from + size)));
            }
        }

        return boxes;
    }

    /// <summary>A count that the file claims, before as much is done.</summary>
    private static ulong AtMost(HeaderReader bytes, ulong count) => count <= Most ? count : throw bytes.Corrupt($"it is made of {count:N0} parts, and no picture has more than {Most:N0}");

    private static ulong Number(HeaderReader bytes, long at, int size) => size switch { 0 => 0, 2 => (ulong)bytes.U16(at), 4 => bytes.U32(at), 8 => bytes.U64(at), _ => throw bytes.Corrupt("its item locations have no size that there is") };
}
