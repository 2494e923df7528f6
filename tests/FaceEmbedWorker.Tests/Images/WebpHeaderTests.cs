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
        var header = Read(Chunk("VP8L", [0x2F, .. BitConverter.GetBytes((300u - 1) | (200u - 1) << 14 | 1u << 28)]));
        Assert.Equal((300, 200), (header.Width, header.Height));
    }

    [Fact]
    public void A_canvas_is_the_size_of_an_animation_and_its_frames_are_its_pages()
    {
        byte[] frame = Chunk("ANMF", [.. new byte[6], 9, 0, 0, 9, 0, 0, .. new byte[4], .. Lossy(10, 10)]);
        var header = Read(Canvas(300, 70_000), frame, frame, frame);
        Assert.Equal((300, 70_000, 3), (header.Width, header.Height, header.Pages));
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
    }

    [Fact]
    public void A_chunk_of_odd_length_is_filled_up()
    {
        var header = Read(Canvas(30, 40), Chunk("XTRA", new byte[3]), Chunk("EXIF", Exif6), Lossy(30, 40));
        Assert.Equal((30, 6), (header.Width, header.Orientation));
        Assert.Equal(6, Read(Canvas(30, 40), Lossy(30, 40), Chunk("EXIF", [.. "Exif\0\0"u8, .. Exif6])).Orientation); // behind the pixels, as it should be
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
        byte[] head = [.. new byte[6], 9, 0, 0, 9, 0, 0, .. new byte[4]];
        Corrupt("a frame of it holds a frame", Canvas(30, 40), Chunk("ANMF", [.. head, .. Chunk("ANMF", [.. head, .. Lossy(10, 10)])]));
    }

    /// <summary>Each group of prefix codes is weighed: of the picture and of its alpha channel.</summary>
    [Fact]
    public void A_lossless_picture_weighs_its_groups_and_those_of_its_alpha()
    {
        using var picture = NetVips.Image.Black(64, 48, 4).Copy(interpretation: NetVips.Enums.Interpretation.Srgb);
        var lossless = ImageHeader.Read("webp", picture.WebpsaveBuffer(lossless: true));
        var groups = (lossless.Held - 64 * 48 * 9) / 12_000;
        Assert.Equal((0, true), ((lossless.Held - 64 * 48 * 9) % 12_000, groups >= 1));
        Assert.Equal(groups * 36_000, lossless.HeldByImageSharp);

        using var noise = NetVips.Image.Gaussnoise(64, 48, mean: 128, sigma: 60).Cast(NetVips.Enums.BandFormat.Uchar);
        using var seen = noise.Bandjoin([noise, noise, noise]).Copy(interpretation: NetVips.Enums.Interpretation.Srgb);
        var alpha = ImageHeader.Read("webp", seen.WebpsaveBuffer(q: 80));
        Assert.True(alpha.Held > 64 * 48 * 9 && (alpha.Held - 64 * 48 * 9) % 12_000 == 0);
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
}
