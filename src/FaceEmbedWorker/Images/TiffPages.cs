namespace FaceEmbedWorker.Images;

/// <summary>
/// What the directories of a TIFF's pages weigh. Decoders read all values that they name: ImageSharp keeps those of every page, libtiff
/// those of one at a time.
/// </summary>
/// <param name="Count">Pages, counted to one more than any limit.</param>
/// <param name="Broken">The chain of pages leads out of the file.</param>
/// <param name="Circular">The chain of pages leads back.</param>
/// <param name="Entries">Entries of all directories.</param>
/// <param name="MostEntries">Entries of the longest directory of a page.</param>
/// <param name="Bytes">Bytes that the values of all directories take; those that several name are counted for each.</param>
/// <param name="HeldOfOne">Bytes that libtiff and libvips hold of one page's at most.</param>
internal readonly record struct TiffPages(int Count, bool Broken, bool Circular, long Entries, int MostEntries, long Bytes, long HeldOfOne)
{
    /// <summary>Pages are counted to here; no limit is higher.</summary>
    private const int MostPages = 1_000_001;

    /// <summary>By so many bytes directories may lie over one another.</summary>
    private const long SharedEntries = 1024 * 1024;

    /// <summary>By so many bytes values may be named more than once: a colour profile that all pages share.</summary>
    private const long SharedValues = 64 * 1024 * 1024;

    /// <summary>
    /// Bytes that ImageSharp holds for an entry, and for each byte of its values, which it converts and keeps (measured: 1.6 to 5.2).
    /// </summary>
    private const int EntryBytes = 200, ManagedBytes = 6;

    /// <summary>
    /// Bytes that libtiff and libvips hold for each byte of an entry's values (measured: 3 to 3.8), and of its text (measured: up to 9.7,
    /// where it is none).
    /// </summary>
    private const int ValueBytes = 4, TextBytes = 11;

    private const int ExifDirectory = 34665, GpsDirectory = 34853;

    /// <summary>Bytes that ImageSharp holds of all pages.</summary>
    public long HeldByImageSharp => Bytes * ManagedBytes + Entries * EntryBytes;

    /// <exception cref="ImageException">The directories, or the values that they name, are far more than the file has bytes.</exception>
    public static TiffPages Read(HeaderReader bytes, bool big, ulong place)
    {
        var seen = new HashSet<ulong>();
        var all = default(TiffPages);
        while (place != 0 && seen.Count < MostPages && seen.Add(place))
        {
            var directory = TiffDirectory.At(bytes, big, place);
            all = directory is { } page ? all.With(bytes, page) : all with { Broken = true };
            place = directory?.Next ?? 0;
        }

        return all.Bytes > bytes.Length + SharedValues ? throw bytes.Corrupt($"its tags name {all.Bytes:N0} bytes, and it has {bytes.Length:N0}")
            : all with { Count = Math.Max(1, seen.Count), Circular = place != 0 && seen.Count < MostPages };
    }

    private TiffPages With(HeaderReader bytes, TiffDirectory page)
    {
        var (entries, size, held) = (Entries, 0L, 0L);
        Weigh(bytes, page);
        for (var i = 0; i < page.Count; i++)
        {
            if (page.Tag(bytes, i) is ExifDirectory or GpsDirectory && TiffDirectory.At(bytes, page.Big, page.Value(bytes, i)) is { } inner)
            {
                Weigh(bytes, inner);
            }
        }

        return this with { Entries = entries, MostEntries = Math.Max(MostEntries, page.Count), Bytes = Bytes + size, HeldOfOne = Math.Max(HeldOfOne, held) };

        void Weigh(HeaderReader bytes, TiffDirectory directory)
        {
            entries += directory.Count;
            if (entries * directory.EntrySize > bytes.Length + SharedEntries)
            {
                throw bytes.Corrupt($"its directories have {entries:N0} entries, for which it is too short");
            }

            for (var i = 0; i < directory.Count; i++)
            {
                var (values, text) = directory.ValueBytes(bytes, i);
                size += values;
                held += values * (text ? TextBytes : ValueBytes);
            }
        }
    }
}
