using System.Text;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Chunks as RFC 9649 has them.</summary>
public class WebpHeaderTests
{
    private static readonly byte[] Exif6 = [.. "II*\0"u8, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0];

    [Fact]
    public void A_lossy_ones_size_is_in_its_first_frame_beside_a_scale()
    {
        Assert.Equal(new ImageHeader("webp", 300, 200) { Whole = true, Held = 300 * 200 * 9 }, Read(Lossy(300, 200)));
        Assert.Equal((0x3FFF, 0x3FFF), Read(Lossy(0xFFFF, 0x7FFF)) is var scaled ? (scaled.Width, scaled.Height) : default);
    }

    [Fact]
    public void A_lossless_ones_size_is_in_28_bits()
    {
        Assert.Equal(new ImageHeader("webp", 300, 200) { Whole = true, Held = 300 * 200 * 9 }, Read(Lossless(300, 200))); // nothing weighs nothing
    }

    [Fact]
    public void A_canvas_is_the_size_of_an_animation_and_its_frames_are_its_pages()
    {
        byte[] frame = Chunk("ANMF", [.. new byte[6], 9, 0, 0, 9, 0, 0, .. new byte[4], .. Lossy(10, 10)]);
        var header = Read(Canvas(100_000, 140_000), frame, frame, frame, Chunk("ANMF", []));
        Assert.Equal((100_000, 140_000, 4), (header.Width, header.Height, header.Pages));
        Assert.Equal(1, Read(Canvas(30, 40), Lossy(30, 40)).Pages);
        Assert.Equal((300, 1), Read(Canvas(300, 200), frame) is var one ? (one.Width, one.Pages) : default); // its frame may be smaller
    }

    [Fact]
    public void A_canvas_and_a_still_picture_on_it_are_of_one_size_and_there_is_one_of_each()
    {
        Assert.Equal(30, Read(Canvas(30, 40), Lossy(30, 40)).Width);
        Corrupt("its canvas and what is on it differ in size", Canvas(30, 40), Lossy(30, 41));
        Corrupt("its canvas and what is on it differ in size", Canvas(30, 40), Lossy(29, 40));
        Corrupt("it has two canvases", Canvas(30, 40), Canvas(30, 40), Lossy(30, 40));
        Assert.Equal(30, Read(Lossy(30, 40), Lossy(31, 40)).Width); // the first
        Assert.Equal(30, Read(Lossless(30, 40), Lossless(31, 40)).Width);
    }

    [Fact]
    public void A_chunk_of_odd_length_is_filled_up()
    {
        var header = Read(Canvas(30, 40), Chunk("XTRA", new byte[3]), Chunk("EXIF", Exif6), Lossy(30, 40));
        Assert.Equal((30, 6), (header.Width, header.Orientation));
        Assert.Equal(6, Read(Canvas(30, 40), Lossy(30, 40), Chunk("EXIF", [.. "Exif\0\0"u8, .. Exif6])).Orientation); // behind the pixels, as it should be
        Assert.Equal(6, ImageHeader.Read("webp", File(Lossy(30, 40), Chunk("EXIF", Exif6)).AsSpan()[..^4]).Orientation); // as far as it goes
    }

    [Fact]
    public void A_file_that_ends_before_it_says_is_cut()
    {
        var whole = File(Lossy(30, 40), Chunk("XTRA", [1, 2]));
        Assert.False(ImageHeader.Read("webp", whole).Cut);
        Assert.True(ImageHeader.Read("webp", whole.AsSpan(0, whole.Length - 1)).Cut);
        Assert.False(ImageHeader.Read("webp", [.. whole, 0]).Cut);
    }

    [Fact]
    public void Alpha_is_there_once_and_no_frame_holds_another()
    {
        Assert.Equal(30, Read(Canvas(30, 40), Chunk("ALPH", [0, 1, 2, 3]), Lossy(30, 40)).Width);
        Corrupt("it has two alpha channels", Canvas(30, 40), Chunk("ALPH", [0, 1]), Chunk("ALPH", [0, 1]), Lossy(30, 40));
        Corrupt("it has two alpha channels", Canvas(30, 40), Chunk("ALPH", [0, 1, 2]), Chunk("ALPH", [0, 1]), Lossy(30, 40));
        Corrupt("it has two alpha channels", Canvas(30, 40), Chunk("ALPH", [0, 1]), Chunk("ALPH", []));
        Assert.Equal(30, Read(Canvas(30, 40), Lossy(30, 40), Chunk("ALPH", [0, 1]), Chunk("ALPH", [0, 1])).Width); // behind the picture nobody looks
        byte[] head = [.. new byte[6], 9, 0, 0, 9, 0, 0, .. new byte[4]];
        Corrupt("a frame of it holds a frame", Canvas(30, 40), Chunk("ANMF", [.. head, .. Chunk("ANMF", [.. head, .. Lossy(10, 10)])]));
    }

    /// <summary>Each group of prefix codes is weighed: of the picture, of its alpha channel, and of an animation's first frame.</summary>
    [Fact]
    public void A_lossless_picture_weighs_its_groups_and_those_of_its_alpha()
    {
        byte[] two = Groups(4, last: true), raw = [0, .. two], packed = [1, .. two];
        Told(0, Canvas(5, 5), Lossy(5, 5));
        Told(6, Lossless(5, 5, two));
        Told(1, Lossless(5, 5, Groups(4, last: false)));
        Told(6, Canvas(5, 5), Chunk("ALPH", packed));
        Told(6, Canvas(5, 5), Chunk("ALPH", packed), Lossy(5, 5));
        Told(12, Canvas(5, 5), Chunk("ALPH", packed), Lossless(5, 5, two));
        Told(0, Canvas(5, 5), Chunk("ALPH", raw), Lossy(5, 5));
        Told(0, Canvas(5, 5), Chunk("ALPH", [1]), Lossy(5, 5));
        Told(6, Canvas(5, 5), Chunk("XTRA", [1, .. new byte[40]]), Lossless(5, 5, two));

        byte[] Frame(params byte[] data) => Chunk("ANMF", [.. new byte[6], 4, 0, 0, 8, 0, 0, .. new byte[4], .. data]); // 5 x 9, of 2 x 3 blocks
        Told(6, Canvas(5, 5), Frame(Lossless(5, 9, Groups(6, last: true))));
        Told(1, Canvas(5, 5), Frame(Lossless(5, 9, Groups(6, last: false))));
        Told(6, Canvas(5, 5), Frame(), Frame(Lossless(5, 9, Groups(6, last: true))));

        byte[] cut = [.. Canvas(5, 5), .. Chunk("ALPH", packed)];
        Assert.Equal(5 * 5 * 9, ImageHeader.Read("webp", File(cut).AsSpan(0, 12 + Canvas(5, 5).Length + 8 + 1)).Held); // as far as it goes

        static void Told(int groups, params byte[][] chunks) => Assert.Equal((5 * 5 * 9 + groups * 12_000, groups * 36_000), Read(chunks) is var header ? (header.Held, header.HeldByImageSharp) : default);
    }

    /// <summary>
    /// A stream (RFC 9649, 3) whose groups are named by blocks of 4 x 4 pixels: group 0 by all of so many but the last, and by that group 5,
    /// or by one behind it that is not the picture's.
    /// </summary>
    private static byte[] Groups(int blocks, bool last)
    {
        const string Meta = "00" + "1000", Green = "0" + "110" + "0" + "10100000", Others = "1000" + "1000" + "1000" + "1000"; // codes of two symbols, 0 and 5, and of one
        var bits = Meta + Green + Others + new string('0', last ? blocks - 1 : blocks) + "1";
        return [.. bits.PadRight(40, '0').Chunk(8).Select(b => Convert.ToByte(new string([.. b.Reverse()]), 2))];
    }

    private static ImageHeader Read(params byte[][] chunks) => ImageHeader.Read("webp", File(chunks));

    private static void Corrupt(string why, params byte[][] chunks) => Assert.Contains($"The webp is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(chunks)).Message, StringComparison.Ordinal);

    private static byte[] File(params byte[][] chunks)
    {
        byte[] all = [.. chunks.SelectMany(c => c)];
        return [.. "RIFF"u8, .. BitConverter.GetBytes(all.Length + 4), .. "WEBP"u8, .. all];
    }

    private static byte[] Chunk(string type, byte[] data) => [.. Encoding.ASCII.GetBytes(type), .. BitConverter.GetBytes(data.Length), .. data, .. new byte[data.Length % 2]];

    private static byte[] Canvas(int width, int height) => Chunk("VP8X", [0, 0, 0, 0, .. BitConverter.GetBytes(width - 1)[..3], .. BitConverter.GetBytes(height - 1)[..3]]);

    private static byte[] Lossy(ushort width, ushort height) => Chunk("VP8 ", [0, 0, 0, 0x9D, 0x01, 0x2A, (byte)width, (byte)(width >> 8), (byte)height, (byte)(height >> 8)]);

    private static byte[] Lossless(int width, int height, params byte[] stream) => Chunk("VP8L", [0x2F, .. BitConverter.GetBytes((uint)(width - 1) | (uint)(height - 1) << 14 | 1u << 28), .. stream]);
}
