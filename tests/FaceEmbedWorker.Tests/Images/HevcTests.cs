using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Parameters as ITU-T H.265 and ISO/IEC 14496-15 have them.</summary>
public class HevcTests
{
    [Theory]
    [InlineData(1, 0, 8)]
    [InlineData(0, 0, 8)] // grey
    [InlineData(2, 0, 12)]
    [InlineData(3, 0, 12)]
    [InlineData(1, 2, 12)]
    [InlineData(3, 2, 16)]
    public void A_pixel_weighs_what_depth_and_colours_say(int colours, int more, int bytes)
    {
        Assert.Equal((300 * 200, bytes), Read(Box((33, [Sequence(colours: colours, more: more)]))));
        Assert.Equal((300 * 200, bytes), Read(Box((33, [Sequence(colours: colours, more: more, window: true)]))));
    }

    /// <summary>Of seven layers each may bring 88 bits of a profile and 8 of a level.</summary>
    [Theory]
    [InlineData(new[] { 0 })]
    [InlineData(new[] { 1 })]
    [InlineData(new[] { 2 })]
    [InlineData(new[] { 3, 0, 2, 1, 3, 3 })]
    public void Layers_are_passed_over(int[] layers) => Assert.Equal((300 * 200, 12), Read(Box((33, [Sequence(layers, more: 1)]))));

    [Fact]
    public void They_are_the_first_of_their_kind()
    {
        byte[] other = [1, 2, 3, 4, 5];
        Assert.Equal((300 * 200, 8), Read(Box((32, [other, other]), (33, [Sequence(), Sequence(width: 30)]), (33, [Sequence(width: 40)]))));
        Assert.Equal((300 * 200, 8), Read(Box((0x80 | 33, [Sequence()])))); // a bit says that the array is whole
        Assert.Equal((0, 0), Read(Box((32, [other]), (34, [other]))));
        Assert.Equal((0, 0), Read(Box()));
        byte[] missing = Box((32, [other]));
        missing[22]++; // an array more than there is
        Assert.Equal((0, 0), Read(missing));
        byte[] two = Box((32, [other]), (33, [Sequence()])), none = [.. two[..22], 0, .. two[23..]], one = [.. two[..22], 1, .. two[23..]];
        Assert.Equal((0, 0), Read(none)); // as many as it says
        Assert.Equal((0, 0), Read(one));
        var second = 23 + 3 + 2 + other.Length;
        Assert.Equal((0, 0), Hevc.Read(new HeaderReader(two, "heic"), 0, second)); // the box ends there
        Assert.Equal((0, 0), Hevc.Read(new HeaderReader(two, "heic"), 0, second + 3)); // and there, before its first unit
        Assert.Equal((300 * 200, 8), Hevc.Read(new HeaderReader(two, "heic"), 0, second + 4));
    }

    /// <summary>Behind two zeros a 3 is put in, which is no part of the numbers.</summary>
    [Fact]
    public void Bytes_that_were_put_in_are_left_out()
    {
        byte[] plain = Sequence(general: 0), escaped = [.. plain[..3], .. plain[3..15].Chunk(2).SelectMany(two => (byte[])[.. two, 3]), .. plain[15..]];
        Assert.All(plain[3..15], value => Assert.Equal(0, value));
        Assert.Equal((300 * 200, 8), Read(Box((33, [plain]))));
        Assert.Equal((300 * 200, 8), Read(Box((33, [escaped]))));
    }

    [Fact]
    public void A_side_counts_for_no_more_than_a_million_pixels() =>
        Assert.Equal(((1L << 20) * 200, 8), Read(Box((33, [Sequence(width: (1 << 20) + 5)]))));

    private static (long Pixels, int PixelBytes) Read(byte[] box) => Hevc.Read(new HeaderReader(box, "heic"), 0, box.Length);

    private static byte[] Box(params (int Type, byte[][] Units)[] arrays) =>
        [.. new byte[22], (byte)arrays.Length, .. arrays.SelectMany(a => (byte[])[(byte)a.Type, 0, (byte)a.Units.Length, .. a.Units.SelectMany(u => (byte[])[(byte)(u.Length >> 8), (byte)u.Length, .. u])])];

    /// <summary>A unit of 300 x 200 pixels, its two bytes of head before it.</summary>
    private static byte[] Sequence(int[]? layers = null, int colours = 1, int width = 300, int more = 0, bool window = false, int general = 1)
    {
        layers ??= [];
        var bits = new List<int>();
        Put(general == 0 ? 0 : 15, 4);
        Put(layers.Length, 3);
        Put(general, 1);
        bits.AddRange(Enumerable.Repeat(general, 96));
        foreach (var layer in layers)
        {
            Put(layer, 2);
        }

        bits.AddRange(Enumerable.Repeat(0, layers.Length > 0 ? 2 * (8 - layers.Length) : 0));
        bits.AddRange(Enumerable.Repeat(0, layers.Sum(l => ((l & 2) != 0 ? 88 : 0) + ((l & 1) != 0 ? 8 : 0))));
        Golomb(5);
        Golomb(colours);
        Put(0, colours == 3 ? 1 : 0);
        Golomb(width);
        Golomb(200);
        Put(window ? 1 : 0, 1);
        for (var side = 0; side < (window ? 4 : 0); side++)
        {
            Golomb(side + 1);
        }

        Golomb(more);
        return [66, 1, .. bits.Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << 7 - i).Sum())];

        void Put(int value, int count) => bits.AddRange(Enumerable.Range(0, count).Select(i => value >> count - 1 - i & 1));

        void Golomb(int value)
        {
            var length = (int)Math.Log2(value + 1);
            Put(0, length);
            Put(value + 1, length + 1);
        }
    }
}
