namespace FaceEmbedWorker.Images;

/// <summary>A directory of a TIFF (TIFF 6.0, section 2; BigTIFF), all of whose entries are in the file.</summary>
/// <param name="Big">It is BigTIFF's.</param>
/// <param name="From">Place of its first entry.</param>
/// <param name="Count">Entries.</param>
/// <param name="Next">Place of the next one; 0 where it is the last.</param>
internal readonly record struct TiffDirectory(bool Big, long From, int Count, ulong Next)
{
    /// <summary>Most entries of a BigTIFF's, whose count could be anything; more than a TIFF's can have.</summary>
    private const int Most = 65_536;

    public int EntrySize => Big ? 20 : 12;

    /// <summary>The directory at a place, or null where it is not all in the file.</summary>
    public static TiffDirectory? At(HeaderReader bytes, bool big, ulong place)
    {
        var (head, size, tail) = big ? (8, 20, 8) : (2, 12, 4);
        if (place > (ulong)Math.Max(0, bytes.Length - head - tail))
        {
            return null;
        }

        var (at, count) = ((long)place, big ? (int)Math.Min(bytes.U64((long)place), Most) : bytes.U16((long)place));
        var next = at + head + (long)size * count;
        return next > bytes.Length - tail ? null : new(big, at + head, count, big ? bytes.U64(next) : bytes.U32(next));
    }

    public int Tag(HeaderReader bytes, int index) => bytes.U16(From + (long)EntrySize * index);

    /// <summary>An entry's value where it has one, or the place of its values.</summary>
    public ulong Value(HeaderReader bytes, int index) => From + (long)EntrySize * index is var at && Big ? bytes.U64(at + 12) : bytes.U32(at + 8);

    /// <summary>
    /// Bytes that an entry's values take elsewhere in the file: none where they are in the entry, and never more than there are; and
    /// whether they are text.
    /// </summary>
    public (long Bytes, bool Text) ValueBytes(HeaderReader bytes, int index)
    {
        var at = From + (long)EntrySize * index;
        var type = bytes.U16(at + 2);
        var width = type switch { 1 or 2 or 6 or 7 => 1u, 3 or 8 => 2u, 4 or 9 or 11 or 13 => 4u, 5 or 10 or 12 or 16 or 17 or 18 => 8u, _ => 0u };
        var size = width * Math.Min(Big ? bytes.U64(at + 4) : bytes.U32(at + 4), (ulong)bytes.Length);
        return (size <= (Big ? 8u : 4u) ? 0 : (long)Math.Min(size, (ulong)bytes.Length), type == 2);
    }
}
