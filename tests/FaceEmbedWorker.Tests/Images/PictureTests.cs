using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
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
        using var picture = new Picture(width, height);
        picture.Pixels.Fill(7);
        Assert.Equal(asks, FlagsAt(ref MemoryMarshal.GetReference(picture.Pixels)).Contains("hg"));
        if (asks)
        {
            Assert.Contains("hg", FlagsAt(ref picture.Pixels[(picture.Pixels.Length / HugePage * HugePage) - 1]));
            Assert.DoesNotContain("hg", FlagsAt(ref picture.Pixels[^1])); // the last page, which the picture does not fill
        }
    }

    /// <summary>What the kernel knows of the mapping that a byte lies in: proc(5), smaps.</summary>
    private static unsafe string[] FlagsAt(ref byte place)
    {
        var address = (ulong)Unsafe.AsPointer(ref place);
        var found = false;
        foreach (var line in File.ReadLines("/proc/self/smaps"))
        {
            if (line.Split(' ')[0].Split('-') is [var start, var end] && ulong.TryParse(start, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var from))
            {
                found = from <= address && address < ulong.Parse(end, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            }
            else if (found && line.StartsWith("VmFlags:", StringComparison.Ordinal))
            {
                return line.Split(' ');
            }
        }

        throw new InvalidOperationException("No mapping holds the address.");
    }
}
