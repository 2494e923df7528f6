using System.Buffers.Binary;
using System.Text;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Boxes as ISO/IEC 14496-12 and 23008-12 have them.</summary>
public class HeifHeaderTests
{
    private static readonly byte[] Size = Box("ispe", [0, 0, 0, 0, .. Four(300), .. Four(200)]);
    private static readonly byte[] Quarter = Box("irot", [1]);

    /// <summary>Place of a stream in a box behind the first one's.</summary>
    private const int At = 28;

    /// <summary>A sequence header of AV1, and one of HEVC, of 1,000 x 500 pixels, 8 bits and halved colours.</summary>
    private static readonly byte[] Stream = Convert.FromHexString("0A08183FC0F9C07CC000"), Parameters = Convert.FromHexString("4201F1FFFFFFFFFFFFFFFFFFFFFFFF32007D201F54");

    /// <summary>Of 65,512 x 500 pixels; behind the item's own stream it is none of it.</summary>
    private static readonly byte[] Larger = [.. Stream[..4], 0xFF, .. Stream[5..]];

    [Fact]
    public void A_picture_is_as_large_as_its_property_says_and_weighs_what_its_stream_may()
    {
        var header = Read(Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1])))));
        Assert.Equal(new ImageHeader("heic", 300, 200) { Whole = true, Held = 300 * 200 * (long)Av1.MostPixelBytes }, header);
    }

    [Theory]
    [InlineData(new byte[] { 0 }, 300, 200)]
    [InlineData(new byte[] { 1 }, 200, 300)]
    [InlineData(new byte[] { 2 }, 300, 200)]
    [InlineData(new byte[] { 3 }, 200, 300)]
    [InlineData(new byte[] { 1, 1 }, 300, 200)] // twice
    public void Quarters_change_its_sides_over(byte[] turns, int width, int height) => Equal(width, height, [Size, .. turns.Select(t => Box("irot", [t]))]);

    /// <summary>Fractions, rounded; in the order in which they are given.</summary>
    [Fact]
    public void A_clean_aperture_cuts_it()
    {
        var aperture = Box("clap", [.. Four(201), .. Four(2), .. Four(100), .. Four(1), .. new byte[16]]);
        Equal(101, 100, [Size, aperture]); // 100.5
        Equal(100, 101, [Size, aperture, Quarter]);
        Equal(101, 100, [Size, Quarter, aperture]);
        Equal(100, 100, [Size, Box("clap", [.. Four(301), .. Four(3), .. Four(100), .. Four(1), .. new byte[16]])]); // 100.3
        Corrupt("it is cut to no size", Meta(Pitm(1), Properties([Size, Box("clap", [.. Four(1), .. Four(0), .. Four(1), .. Four(1), .. new byte[16]])], Map(0, false, (1, [1, 2])))));
        var held = Read(Meta(Pitm(1), Properties([Size, aperture], Map(0, false, (1, [1, 2]))))).Held;
        Assert.Equal(300 * 200 * (long)Av1.MostPixelBytes, held); // all of it is decoded
    }

    /// <summary>Numbers of items are wide in other versions, and those of properties where a flag says so.</summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(1, false)]
    [InlineData(1, true)]
    public void Properties_are_those_of_the_primary_item(int version, bool wide)
    {
        var other = Box("ispe", [0, 0, 0, 0, .. Four(30), .. Four(20)]);
        var item = version == 0 ? 7u : 70_000u;
        byte[] pitm = version == 0 ? Pitm(7) : Box("pitm", [1, 0, 0, 0, .. Four(70_000)]);
        var header = Read(Meta(pitm, Properties([other, Size, Quarter], Map(version, wide, (3, [1]), (item, [0x80 | 2, 3]), (4, [1])))));
        Assert.Equal((200, 300), (header.Width, header.Height)); // a bit says that a property is essential
        Assert.Equal((300, 200), Read(Meta(pitm, Properties([Size], Map(version, wide, (item, [1, 0, 2]))))) is var none ? (none.Width, none.Height) : default); // no property has these numbers
        Corrupt("the properties of its picture are given twice", Meta(pitm, Properties([Size], Map(version, wide, (item, [1]), (item, [1])))));
    }

    [Fact]
    public void What_says_nothing_of_its_picture_is_corrupt()
    {
        Corrupt("it has no picture", Box("free", []));
        Corrupt("it does not say which picture is its own", Meta(Properties([Size], Map(0, false, (1, [1])))));
        Corrupt("its header says that a side has 0 pixels", Meta(Pitm(1)));
        Corrupt("its header says that a side has 0 pixels", Meta(Pitm(1), Properties([Size], Map(0, false, (2, [1])))));
        Assert.Equal("a sequence of heic pictures without a still one", Read(Box("moov", [])).Unsupported);
    }

    /// <summary>A box's length may be told by what is around it; one of 64 bits holds pixels.</summary>
    [Fact]
    public void Boxes_have_lengths_of_three_kinds()
    {
        var meta = Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))));
        byte[] large = [0, 0, 0, 1, .. "mdat"u8, 0, 0, 0, 0, 0, 0, 0, 26, .. new byte[10]];
        Assert.Equal(300, Read([.. large, .. meta]).Width);
        byte[] toTheEnd = [0, 0, 0, 0, .. meta[4..]];
        Assert.Equal(300, Read(toTheEnd).Width);
        Corrupt("it has no picture", [0, 0, 0, 7, .. "free"u8, .. meta]); // shorter than its head: nothing follows
        Assert.Equal(300, Read([0, 0, 0, 8, .. "free"u8, .. meta]).Width);
        Corrupt("it has no picture", [0, 0, 0, 4, .. meta]); // not even its type
        Corrupt("it has no picture", [0, 0, 0, 1, .. "free"u8, 0, 0, 0, 0, 0, 0, 0, 12, .. "meta"u8, .. new byte[4]]); // shorter than a head of 64 bits
    }

    [Fact]
    public void A_box_ends_before_the_next_one()
    {
        var other = Box("ispe", [0, 0, 0, 0, .. Four(30), .. Four(20)]);
        Assert.Equal(300, Read(Meta(Pitm(1), Box("iprp", [.. Box("ipco", Size), .. other, .. Map(0, false, (1, [1, 2]))]))).Width);
    }

    /// <summary>As many as 64 bits would take for few.</summary>
    [Fact]
    public void What_no_memory_holds_is_corrupt()
    {
        const string told = "its header claims sizes that no picture has";
        Corrupt(told, Meta(Pitm(1), Properties([Box("ispe", [0, 0, 0, 0, .. Four(1 << 30), .. Four(715_827_883)])], Map(0, false, (1, [1])))));
        byte[] stream = [.. Enumerable.Repeat((byte[])[2 << 3 | 2, 0], 10_001).SelectMany(u => u)], parts = [.. Enumerable.Repeat(Parts(65_535), 10).Append(Parts(43_701)).SelectMany(p => p)]; // a stream of too many units
        Corrupt(told, [.. Box("mdat", stream), .. Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))), Box("iref", [0, 0, 0, 0, .. parts]),
            Box("iinf", [0, 0, 0, 0, 0, 1, .. Box("infe", [2, 0, 0, 0, 0, 1, 0, 0, .. "av01\0"u8])]), Box("iloc", [0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1, .. Four(At), .. Four((uint)stream.Length)]))]);

        static byte[] Parts(int count) => Box("dimg", [0, 1, (byte)(count >> 8), (byte)count]);
    }

    [Fact]
    public void A_picture_in_several_pieces_is_named()
    {
        Assert.Null(Read(WithItem(extents: 1)).Unsupported);
        Assert.Equal("a heic whose picture lies in several pieces", Read(WithItem(extents: 2)).Unsupported);
        Assert.Null(Read(WithItem(extents: 2, type: "Exif")).Unsupported); // not the picture
        byte[] item = [0, 0, 0, 2, .. Four(1_000_000), .. Four(4), .. Four(1_000_000), .. Four(4)], entry = [2, 0, 0, 0, 0, 1, 0, 0, .. "av01\0"u8], second = [.. entry[..5], 2, .. entry[6..]];
        Assert.Equal("a heic whose picture lies in several pieces", Read(Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))),
            Box("iinf", [0, 0, 0, 0, 0, 2, .. Box("infe", entry), .. Box("infe", second)]), Box("iloc", [0, 0, 0, 0, 0x44, 0, 0, 2, 0, 1, .. item, 0, 2, .. item]))).Unsupported); // two of them

        static byte[] WithItem(int extents, string type = "av01") => Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))),
            Box("iinf", [0, 0, 0, 0, 0, 1, .. Box("infe", [2, 0, 0, 0, 0, 1, 0, 0, .. Encoding.ASCII.GetBytes(type), 0])]),
            Box("iloc", [0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, (byte)extents, .. Enumerable.Repeat((byte[])[.. Four(1_000_000), .. Four(4)], extents).SelectMany(e => e)])); // beyond the file: not read
    }

    [Fact]
    public void Parts_of_a_file_are_counted_to_4096()
    {
        byte[] end = Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))));
        Assert.Equal(300, Read([.. Enumerable.Repeat(Box("free", []), 4095).SelectMany(b => b), .. end]).Width);
        Corrupt("it is made of 4,097 parts, and no picture has more than 4,096", [.. Enumerable.Repeat(Box("free", []), 4097).SelectMany(b => b), .. end]);
    }

    /// <summary>
    /// Numbers of items are wide in version 2, and one more that says where data are stands in all but 0; places and lengths have 0, 4 or 8
    /// bytes.
    /// </summary>
    [Theory]
    [InlineData(0, 4, 4, 0, 0)]
    [InlineData(0, 8, 8, 8, 0)]
    [InlineData(0, 4, 0, 4, 0)] // to the end
    [InlineData(0, 0, 4, 4, 0)]
    [InlineData(0, 4, 4, 0, 4)] // in version 0 these bits mean nothing
    [InlineData(1, 4, 4, 0, 4)]
    [InlineData(1, 4, 8, 4, 0)]
    [InlineData(2, 4, 4, 0, 0)]
    [InlineData(2, 8, 4, 4, 8)]
    public void A_picture_weighs_what_its_own_stream_says(int version, int offset, int length, int start, int index)
    {
        Assert.Equal(1000 * 500 * 14L, Held(At, inFile: true));
        Assert.Equal(1000 * 500 * 14L, Held(At, inFile: true, "av01", Reference(0, "thmb", 3)));
        Assert.Equal(3 * 1000 * 500 * 14L, Held(At, inFile: true, "av01", Reference(0, "dimg", 3))); // a grid of it
        Assert.Equal(3 * 1000 * 500 * 14L, Held(At, inFile: true, "av01", Reference(1, "dimg", 3)));
        Assert.Equal(300 * 200 * 24L, Held(At, inFile: true, "Exif"));
        Assert.Equal(300 * 200 * 24L, Held(1_000_000, inFile: true)); // beyond the file
        if (version > 0)
        {
            Assert.Equal(300 * 200 * 24L, Held(At, inFile: false)); // in a box of the file's
        }

        long Held(int at, bool inFile, string type = "av01", byte[]? more = null)
        {
            byte[] Item(byte item, int extents) =>
            [
                .. version < 2 ? new byte[] { 0, item } : [0, 0, 0, item], .. version == 0 ? Array.Empty<byte>() : [0, (byte)(inFile ? 0 : 1)], 0, 0, .. Number(at, start), 0, (byte)extents,
                .. Enumerable.Repeat((byte[])[.. Number(7, version == 0 ? 0 : index), .. Number(start > 0 ? 0 : at, offset), .. Number(Stream.Length, length)], extents).SelectMany(e => e),
            ];
            byte[] info = version < 2 ? [2, 0, 0, 0, 0, 1, 0, 0, .. Encoding.ASCII.GetBytes(type), 0] : [3, 0, 0, 0, 0, 0, 0, 1, 0, 0, .. Encoding.ASCII.GetBytes(type), 0];
            byte[] count = version < 2 ? [0, 2] : [0, 0, 0, 2];
            return Read([.. Box("mdat", length == 0 ? Stream : [.. Stream, .. Larger]), .. Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))), more ?? [],
                Box("iinf", version == 0 ? [0, 0, 0, 0, 0, 1, .. Box("infe", info)] : [1, 0, 0, 0, 0, 0, 0, 1, .. Box("infe", info)]),
                Box("iloc", [(byte)version, 0, 0, 0, (byte)(offset << 4 | length), (byte)(start << 4 | index), .. count, .. Item(2, 3), .. Item(1, 1)]))]).Held;
        }

        static byte[] Number(int value, int size) => size == 0 ? [] : [.. new byte[size - 4], .. Four((uint)value)];

        static byte[] Reference(byte version, string type, byte parts) =>
            Box("iref", [version, 0, 0, 0, .. Box(type, [.. version == 0 ? new byte[] { 0, 1 } : [0, 0, 0, 1], 0, parts, .. new byte[parts * 4]])]);
    }

    [Fact]
    public void A_picture_of_HEVC_weighs_what_its_parameters_say()
    {
        var parameters = Box("hvcC", [.. new byte[22], 1, 33, 0, 1, 0, (byte)Parameters.Length, .. Parameters]);
        Assert.Equal(1000 * 500 * 8L, Read(Meta(Pitm(1), Properties([Size, parameters], Map(0, false, (1, [1, 2]))))).Held);
        Assert.Equal(1000 * 500 * 8L, Read(Meta(Pitm(1), Properties([Size, Quarter, parameters], Map(0, false, (1, [1]))))).Held); // whosever they are
    }

    [Fact]
    public void Item_locations_of_other_sizes_are_corrupt() => Corrupt("its item locations have no size that there is",
        Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))), Box("iloc", [0, 0, 0, 0, 0x34, 0, 0, 1, 0, 1, 0, 0, 0, 1, .. new byte[16]])));

    [Fact]
    public void An_avif_in_several_pieces_is_named_too() => Assert.Equal("an avif whose picture lies in several pieces", ImageHeader.Read("avif", [.. Box("ftyp", "avif\0\0\0\0mif1"u8), .. Meta(Pitm(1), Properties([Size], Map(0, false, (1, [1]))),
        Box("iinf", [0, 0, 0, 0, 0, 1, .. Box("infe", [2, 0, 0, 0, 0, 1, 0, 0, .. "av01"u8, 0])]), Box("iloc", [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 2]))]).Unsupported);

    private static void Equal(int width, int height, byte[][] properties)
    {
        var header = Read(Meta(Pitm(1), Properties(properties, Map(0, false, (1, [.. Enumerable.Range(1, properties.Length)])))));
        Assert.Equal((width, height), (header.Width, header.Height));
    }

    private static ImageHeader Read(byte[] boxes) => ImageHeader.Read("heic", [.. Box("ftyp", "heic\0\0\0\0mif1"u8), .. boxes]);

    private static void Corrupt(string why, byte[] boxes) => Assert.Contains($"The heic is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(boxes)).Message, StringComparison.Ordinal);

    private static byte[] Meta(params byte[][] boxes) => Box("meta", [0, 0, 0, 0, .. boxes.SelectMany(b => b)]);

    private static byte[] Pitm(byte item) => Box("pitm", [0, 0, 0, 0, 0, item]);

    private static byte[] Properties(byte[][] properties, byte[] map) => Box("iprp", [.. Box("ipco", [.. properties.SelectMany(p => p)]), .. map]);

    private static byte[] Map(int version, bool wide, params (uint Item, int[] Properties)[] entries) => Box("ipma", [(byte)version, 0, 0, (byte)(wide ? 1 : 0), .. Four((uint)entries.Length),
        .. entries.SelectMany(e => (byte[])[.. version == 0 ? Four(e.Item)[2..] : Four(e.Item), (byte)e.Properties.Length,
            .. e.Properties.SelectMany(p => wide ? new[] { (byte)(p & 0x80), (byte)(p & 0x7F) } : [(byte)p])])]);

    private static byte[] Box(string type, ReadOnlySpan<byte> data) => [.. Four((uint)data.Length + 8), .. Encoding.ASCII.GetBytes(type), .. data];

    private static byte[] Four(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }
}
