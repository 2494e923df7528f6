using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Directories alone, from byte 8 on, as TIFF 6.0 and BigTIFF have them.</summary>
public class TiffPagesTests
{
    private const int At = 8, MiB = 1024 * 1024, Exif = 34665, Gps = 34853;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_directory_is_all_in_the_file_or_is_none(bool big)
    {
        byte[] empty = [.. new byte[At], .. Directory(big, 77)], two = [.. new byte[At], .. Directory(big, 78, (256, 3, 1, 5), (257, 4, 1, 6))];
        Assert.Equal(new TiffDirectory(big, At + (big ? 8 : 2), 0, 77), Read(empty));
        Assert.Equal(new TiffDirectory(big, At + (big ? 8 : 2), 2, 78), Read(two));
        Assert.Equal(big ? (1UL << 32) + 77 : 77, Read([.. new byte[At], .. Directory(big, (1UL << 32) + 77)])!.Value.Next);
        Assert.Null(Read(empty[..^1]));
        Assert.Null(Read(two[..^1]));
        Assert.Null(TiffDirectory.At(new HeaderReader(two, "tiff", bigEndian: false), big, ulong.MaxValue));
        Assert.Null(TiffDirectory.At(new HeaderReader([0, 0, 0], "tiff", bigEndian: false), big, 1));
        Assert.Equal((256, 257), Read(two)!.Value is var directory ? (directory.Tag(Reader(two), 0), directory.Tag(Reader(two), 1)) : default);
        Assert.Equal((5UL, 6UL), (directory.Value(Reader(two), 0), directory.Value(Reader(two), 1)));

        TiffDirectory? Read(byte[] file) => TiffDirectory.At(Reader(file), big, At);

        static HeaderReader Reader(byte[] file) => new(file, "tiff", bigEndian: false);
    }

    /// <summary>What an entry's own bytes hold is nowhere else; of a type that there is not nothing is held.</summary>
    [Theory]
    [InlineData("1 2 6 7", 1)]
    [InlineData("3 8", 2)]
    [InlineData("4 9 11 13", 4)]
    [InlineData("5 10 12 16 17 18", 8)]
    [InlineData("0 14 15 19", 0)]
    public void Values_weigh_as_much_as_their_type(string types, int width)
    {
        foreach (var type in types.Split(' ').Select(int.Parse))
        {
            foreach (var (big, own) in new[] { (false, 4), (true, 8) })
            {
                Assert.Equal((type, 0L, type == 2), Weighed(width == 0 ? 100 : own / width));
                Assert.Equal((type, width * 9L, type == 2), Weighed(9));
                Assert.Equal((type, width == 0 ? 0L : 200, type == 2), Weighed(uint.MaxValue)); // no more than there are

                (int, long, bool) Weighed(long count)
                {
                    byte[] file = [.. new byte[At], .. Directory(big, 0, (256, 3, 1, 5), (40_000, type, (ulong)count, 0))];
                    var bytes = new HeaderReader([.. file, .. new byte[200 - file.Length]], "tiff", bigEndian: false);
                    var (size, text) = TiffDirectory.At(bytes, big, At)!.Value.ValueBytes(bytes, 1);
                    return (type, size, text);
                }
            }
        }
    }

    [Fact]
    public void Pages_weigh_the_sum_of_their_entries_and_values()
    {
        byte[] first = Directory(false, 100, (256, 3, 1, 5), (40_000, 1, 10, 0), (40_001, 2, 7, 0)), second = Directory(false, 0, (40_000, 5, 3, 0));
        byte[] file = [.. new byte[At], .. first, .. new byte[100 - At - first.Length], .. second];
        var pages = Read(file);
        Assert.Equal(new TiffPages(2, Broken: false, Circular: false, Entries: 4, MostEntries: 3, Bytes: 10 + 7 + 24, HeldOfOne: 10 * 4 + 7 * 11), pages);
        Assert.Equal((10 + 7 + 24) * 6 + 4 * 200, pages.HeldByImageSharp);
        Assert.Equal(pages with { HeldOfOne = 0, Bytes = 0, Entries = 0, MostEntries = 0, Count = 1 }, Read(file, place: 0));
        Assert.Equal(new TiffPages(2, Broken: true, Circular: false, Entries: 3, MostEntries: 3, Bytes: 17, HeldOfOne: 10 * 4 + 7 * 11), Read(file[..^1]));
        Assert.Equal((2, true, false), Read([.. file[..^4], 100, 0, 0, 0]) is var back ? (back.Count, back.Circular, back.Broken) : default);
        Assert.Equal((2, true), Read([.. file[..^4], At, 0, 0, 0]) is var circle ? (circle.Count, circle.Circular) : default);
    }

    /// <summary>Those of Exif and of places count as the page's own, wherever they stand in it.</summary>
    [Theory]
    [InlineData(Exif, false)]
    [InlineData(Gps, false)]
    [InlineData(Exif, true)]
    [InlineData(Gps, true)]
    public void Directories_within_a_page_count(int tag, bool big)
    {
        (int, int, ulong, ulong) plain = (256, 3, 1, 5);
        byte[] inner = Directory(big, 0, (1, 1, 10, 0), plain);
        foreach (var page in new[] { new[] { (tag, 4, 1UL, 200UL) }, [(tag, 4, 1, 200), plain, plain], [plain, plain, (tag, 4, 1, 200)] })
        {
            byte[] outer = Directory(big, 0, page);
            Assert.Equal(new TiffPages(1, false, false, page.Length + 2, page.Length, 10, 40), Read([.. new byte[At], .. outer, .. new byte[200 - At - outer.Length], .. inner], big));
        }

        Assert.Equal(new TiffPages(1, false, false, 1, 1, 0, 0), Read([.. new byte[At], .. Directory(big, 0, (tag, 4, 1, 2000))], big)); // beyond the file
        Assert.Equal(new TiffPages(1, false, false, 1, 1, 0, 0), Read([.. new byte[At], .. Directory(big, 0, (tag + 1, 4, 1, At))], big));
    }

    /// <summary>As an entry it would be that of Exif, at byte 200.</summary>
    [Fact]
    public void The_next_pages_place_is_no_entry()
    {
        byte[] page = [.. new byte[At], .. Directory(false, Exif, (256, 3, 1, 5)), 0, 0, 0, 0, 200, 0, 0, 0], inner = Directory(false, 0, (1, 1, 10, 0));
        Assert.Equal(new TiffPages(2, Broken: true, Circular: false, Entries: 1, MostEntries: 1, Bytes: 0, HeldOfOne: 0), Read([.. page, .. new byte[200 - page.Length], .. inner]));
    }

    [Fact]
    public void Values_may_be_named_more_than_once_by_64_MiB()
    {
        (int, int, ulong, ulong)[] many = [.. Enumerable.Range(0, 65).Select(i => (40_000 + i, 1, (ulong)MiB, 0UL))];
        Assert.Equal(65L * MiB, Read(Long([.. many, (50_000, 1, 4, 0)])).Bytes);
        Assert.Equal("The tiff is truncated or corrupt: its tags name 68,157,445 bytes, and it has 1,048,576.", Assert.Throws<ImageException>(() => Read(Long([.. many, (50_000, 1, 5, 0)]))).Message);

        static byte[] Long((int, int, ulong, ulong)[] entries) => Directory(false, 0, entries) is var page ? [.. new byte[At], .. page, .. new byte[MiB - At - page.Length]] : [];
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(false, 1)]
    [InlineData(true, 0)]
    [InlineData(true, 1)]
    public void Directories_may_lie_over_one_another_by_a_mebibyte(bool big, int missing)
    {
        const int inner = 30_000;
        var (size, times) = (big ? 20 : 12, big ? 4 : 5);
        var file = new byte[size * (times + times * inner) - MiB - missing];
        byte[] page = Directory(big, 0, [.. Enumerable.Repeat((Exif, 4, 1UL, 200UL), times)]);
        page.CopyTo(file, At);
        Directory(big, 0, new (int, int, ulong, ulong)[inner]).CopyTo(file, 200);
        if (missing == 0)
        {
            Assert.Equal(times + times * inner, Read(file, big).Entries);
        }
        else
        {
            Assert.Equal($"The tiff is truncated or corrupt: its directories have {times + times * inner:N0} entries, for which it is too short.", Assert.Throws<ImageException>(() => Read(file, big)).Message);
        }
    }

    private static TiffPages Read(byte[] file, bool big = false, ulong place = At) => TiffPages.Read(new HeaderReader(file, "tiff", bigEndian: false), big, place);

    private static byte[] Directory(bool big, ulong next, params (int Tag, int Type, ulong Count, ulong Value)[] entries)
    {
        byte[] Number(ulong value, int width) => BitConverter.GetBytes(value)[..width];
        var width = big ? 8 : 4;
        return [.. Number((ulong)entries.Length, big ? 8 : 2), .. entries.SelectMany(e => (byte[])[.. Number((ulong)e.Tag, 2), .. Number((ulong)e.Type, 2), .. Number(e.Count, width), .. Number(e.Value, width)]), .. Number(next, width)];
    }
}
