using System.Globalization;
using System.Runtime.CompilerServices;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PictureTests
{
    private const int HugePage = 2 * 1024 * 1024;

    [Theory]
    [InlineData(3024, 4032, true)]
    [InlineData(600, 800, false)]
    public void A_large_picture_asks_for_huge_pages_and_a_small_one_does_not(int width, int height, bool asks)
    {
        Assert.SkipUnless(Directory.Exists("/sys/kernel/mm/transparent_hugepage"), "the system has no transparent huge pages");
        var had = Advised();
        using var picture = new Picture(width, height);
        picture.Pixels.Fill(7);
        var has = Advised();
        Assert.Equal(asks, Hold(has, ref picture.Pixels[0]) && (asks || !Hold(had, ref picture.Pixels[0]))); // a small one may lie where a larger one did
        if (asks)
        {
            Assert.True(Hold(has, ref picture.Pixels[(picture.Pixels.Length / HugePage * HugePage) - 1]));
            Assert.False(Hold(has, ref picture.Pixels[^1])); // the last page, which the picture does not fill
        }
    }

    [Theory]
    [InlineData(1000, 1000, 1000)]
    [InlineData(3024, 4032, 80)]
    public void Pictures_that_are_done_with_are_given_back(int width, int height, int times)
    {
        using var process = System.Diagnostics.Process.GetCurrentProcess();
        var before = process.WorkingSet64;
        for (var i = 0; i < times; i++)
        {
            using var picture = new Picture(width, height);
            picture.Pixels.Fill(7);
        }

        process.Refresh();
        Assert.InRange(process.WorkingSet64 - before, long.MinValue, 1_500_000_000); // of 3 GB; other tests have pictures, too
    }

    [Fact]
    public void A_picture_that_is_done_with_is_read_no_more()
    {
        var picture = new Picture(3, 2);
        picture.Dispose();
        picture.Dispose();
        Assert.Throws<ObjectDisposedException>(() => picture.Pixels.Length);
    }

    [Theory]
    [InlineData(1, 1, 3)]
    [InlineData(715_827_882, 1, 2_147_483_646)]
    [InlineData(26_754, 26_755, 2_147_409_810)]
    public void A_picture_has_as_many_bytes_as_a_span_can_have(int width, int height, int bytes) => Assert.Equal(bytes, Picture.Bytes(width, height));

    /// <summary>The mappings that asked for huge pages: proc(5), smaps.</summary>
    private static List<(ulong From, ulong End)> Advised()
    {
        var (mapping, advised) = ((0UL, 0UL), new List<(ulong From, ulong End)>());
        foreach (var line in File.ReadLines("/proc/self/smaps"))
        {
            if (line.Split(' ')[0].Split('-') is [var start, var end] && ulong.TryParse(start, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var from))
            {
                mapping = (from, ulong.Parse(end, NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            }
            else if (line.StartsWith("VmFlags:", StringComparison.Ordinal) && line.Split(' ').Contains("hg"))
            {
                advised.Add(mapping);
            }
        }

        return advised;
    }

    private static unsafe bool Hold(List<(ulong From, ulong End)> mappings, ref byte place)
    {
        var address = (ulong)Unsafe.AsPointer(ref place);
        return mappings.Exists(m => m.From <= address && address < m.End);
    }
}
