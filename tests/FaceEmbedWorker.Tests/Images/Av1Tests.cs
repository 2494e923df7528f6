using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Sequence headers as the AV1 specification has them (5.5).</summary>
public class Av1Tests
{
    /// <summary>Whatever stands before them, sizes and depth are read: every other bit is the contrary of the depth's.</summary>
    [Fact]
    public void Sizes_and_depth_stand_behind_whatever_a_header_says()
    {
        for (var seed = 0; seed < 500; seed++)
        {
            var random = new Random(seed);
            var (deep, width, height) = (random.Next(2), 1 + random.Next(65_536), 1 + random.Next(65_536));
            Assert.Equal((seed, ((long)width * height, deep == 1 ? 18 : 14)), (seed, Read(Unit(Full(random, deep, width, height)))));
        }
    }

    /// <summary>As the specification's colour configuration says of each profile (5.5.2).</summary>
    [Theory]
    [InlineData(0, "0 0 0 0", 14)] // 8 bits, 4:2:0
    [InlineData(0, "0 1 0", 14)] // grey
    [InlineData(0, "1 0 0 0", 18)]
    [InlineData(1, "0 0 0 0", 17)] // 4:4:4
    [InlineData(1, "1 0 0 0", 24)]
    [InlineData(2, "0 0 0 0", 17)] // 4:2:2
    [InlineData(2, "0 1 0", 14)]
    [InlineData(2, "1 0 0 0 0", 24)] // 10 bits
    [InlineData(2, "1 1 0 0 0 1 1", 18)] // 12 bits, 4:2:0
    [InlineData(2, "1 1 0 0 1 1 1", 18)]
    [InlineData(2, "1 1 0 0 1 1 0", 24)] // 4:2:2
    [InlineData(2, "1 1 0 0 1 0 1", 24)] // 4:4:4
    [InlineData(2, "1 1 1 0", 18)] // grey
    [InlineData(2, "1 1 0 1 1/8 13/8 0/8 1 1 1", 24)] // sRGB has all colours
    [InlineData(2, "1 1 0 1 1/8 13/8 1/8 0 1 1", 18)]
    [InlineData(2, "1 1 0 1 1/8 12/8 0/8 0 1 1", 18)]
    [InlineData(2, "1 1 0 1 2/8 13/8 0/8 0 1 1", 18)]
    public void A_pixel_weighs_what_depth_and_colours_say(int profile, string colours, int bytes)
    {
        var bits = new Bits().Put(profile, 3).Put(0b11, 2).Put(0, 5).Put(7, 4).Put(6, 4).Put(199, 8).Put(99, 7).Put(0, 6);
        foreach (var number in colours.Split(' ').Select(n => n.Split('/')))
        {
            bits.Put(int.Parse(number[0], System.Globalization.CultureInfo.InvariantCulture), number.Length > 1 ? 8 : 1);
        }

        Assert.Equal((200 * 100, bytes), Read(Unit(bits.ToArray())));
    }

    [Fact]
    public void Units_have_a_head_a_length_and_perhaps_an_extension()
    {
        var header = new Bits().Put(0, 3).Put(0b11, 2).Put(0, 5).Put(7, 4).Put(6, 4).Put(199, 8).Put(99, 7).Put(0, 9).ToArray();
        Assert.Equal((200 * 100, 14), Read([1 << 3, .. header])); // to the end
        Assert.Equal((200 * 100, 14), Read([1 << 3 | 4, 0xFF, .. header]));
        Assert.Equal((200 * 100, 14), Read([1 << 3 | 6, 0xFF, (byte)header.Length, .. header]));
        Assert.Equal((200 * 100, 14), Read([1 << 3 | 2, (byte)(0x80 | header.Length), 0, .. header])); // a length of two bytes
        Assert.Equal((200 * 100, 14), Read([2 << 3 | 2, 3, 1, 2, 3, .. Unit(header)]));
        Assert.Equal((200 * 100, 14), Read([2 << 3 | 2, 0x82, 1, .. new byte[130], .. Unit(header)]));
        Assert.Equal((0, 0), Read([2 << 3 | 2, 0x83, 1, .. new byte[130], .. Unit(header)[..1]]));
        Assert.Equal((200 * 100, 14), Read([2 << 3 | 2, 0, .. Unit(header)])); // one of nothing, as each picture has before it
        Assert.Equal((0, 0), Read([2 << 3, .. Unit(header)])); // it goes to the end
        Assert.Equal((0, 0), Read([2 << 3 | 2, 100, .. Unit(header)])); // and beyond
        Assert.Equal((0, 0), Read([1 << 3 | 2, .. Enumerable.Repeat((byte)0x80, 8), .. header])); // a length without an end
        Assert.Equal((0, 0), Read([1 << 3 | 2, 0x80]));
        Assert.Equal((0, 0), Read([1 << 3 | 2, 0])); // a header of nothing says nothing
        Assert.Equal((0, 0), Read([]));
    }

    /// <summary>Those of a file's streams together: more are refused by what they weigh.</summary>
    [Fact]
    public void Units_are_counted_to_ten_thousand()
    {
        byte[] unit = Unit(new Bits().Put(0, 3).Put(0b11, 2).Put(0, 5).Put(7, 4).Put(6, 4).Put(199, 8).Put(99, 7).Put(0, 9).ToArray());
        var units = 9_998;
        Assert.Equal((200 * 100, 14), Av1.Read([.. unit, .. unit], ref units));
        Assert.Equal((1L << 40, 24), Av1.Read(unit, ref units));
    }

    private static (long Pixels, int PixelBytes) Read(byte[] stream)
    {
        var units = 0;
        return Av1.Read(stream, ref units);
    }

    private static byte[] Unit(byte[] header) => [1 << 3 | 2, (byte)header.Length, .. header];

    /// <summary>A header that is not reduced, of profile 0.</summary>
    private static byte[] Full(Random random, int deep, int width, int height)
    {
        var fill = 1 - deep;
        var bits = new Bits(fill).Put(0, 3).Fill(1).Put(0, 1);
        var model = false;
        var delay = 0;
        if (Flag())
        {
            bits.Fill(64);
            if (Flag())
            {
                bits.Put(0b00101, 5); // a number of five bits
            }

            model = Flag();
            if (model)
            {
                delay = 1 + random.Next(32);
                bits.Put(delay - 1, 5).Fill(42);
            }
        }

        var initial = Flag();
        var points = 1 + random.Next(4);
        bits.Put(points - 1, 5);
        for (var point = 0; point < points; point++)
        {
            var level = random.Next(2) == 0 ? 7 : 8 + random.Next(24);
            bits.Fill(12).Put(level, 5).Fill(level > 7 ? 1 : 0);
            if (model && Flag())
            {
                bits.Fill(2 * delay + 1);
            }

            if (initial && Flag())
            {
                bits.Fill(4);
            }
        }

        bits.Put(15, 4).Put(15, 4).Put(width - 1, 16).Put(height - 1, 16);
        if (Flag()) // frame numbers
        {
            bits.Fill(7);
        }

        bits.Fill(3).Fill(4);
        var ordered = Flag();
        bits.Fill(ordered ? 2 : 0);
        if (Flag() || Flag()) // screen content: as each picture says, or always
        {
            if (!Flag())
            {
                bits.Fill(1);
            }
        }

        bits.Fill(ordered ? 3 : 0).Fill(3);
        return bits.Put(deep, 1).Fill(1).Put(0, 8).ToArray();

        bool Flag()
        {
            var set = random.Next(2);
            bits.Put(set, 1);
            return set == 1;
        }
    }

    private sealed class Bits(int fill = 0)
    {
        private readonly List<int> bits = [];

        public Bits Put(int value, int count)
        {
            bits.AddRange(Enumerable.Range(0, count).Select(i => value >> count - 1 - i & 1));
            return this;
        }

        public Bits Fill(int count)
        {
            bits.AddRange(Enumerable.Repeat(fill, count));
            return this;
        }

        public byte[] ToArray() => [.. bits.Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << 7 - i).Sum())];
    }
}
