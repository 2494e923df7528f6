using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Blocks as GIF89a has them.</summary>
public class GifHeaderTests
{
    private static readonly byte[] Data = [8, 2, 0x4C, 1, 0]; // the code size, and one sub-block of two bytes

    [Fact]
    public void Frames_are_pages_and_a_frame_holds_six_bytes_a_pixel()
    {
        Assert.Equal(new ImageHeader("gif", 300, 200) { Whole = true, Held = 300 * 200 * 6 }, Read(Screen(300, 200), Frame(0, 0, 300, 200), [0x3B]));
        Assert.Equal(3, Read(Screen(30, 20), Frame(0, 0, 30, 20), Frame(5, 5, 9, 9), Frame(0, 0, 30, 20), [0x3B]).Pages);
        Assert.Equal(1, Read(Screen(30, 20), Frame(0, 0, 30, 20), [0x3B], Frame(0, 0, 30, 20)).Pages); // nothing follows the end
        Assert.Equal(1, Read(Screen(30, 20), Frame(0, 0, 30, 20), [0x99], Frame(0, 0, 30, 20)).Pages); // nor what is no block
    }

    [Fact]
    public void Without_a_frame_it_is_no_picture()
    {
        Corrupt("it has no frame", Screen(30, 20), [0x3B]);
        Corrupt("it has no frame", Screen(30, 20), Frame(0, 0, 30, 20)[..9]); // whose sizes are not all there
        Corrupt("its header says that a side has 0 pixels", Screen(0, 20), Frame(0, 0, 0, 20));
    }

    /// <summary>A frame that reaches beyond the screen makes it larger, along the side that it crosses, where it is the first.</summary>
    [Fact]
    public void A_first_frame_beyond_the_screen_widens_it()
    {
        Assert.Equal((35, 20), Size(Read(Screen(30, 20), Frame(5, 0, 30, 20))));
        Assert.Equal((30, 27), Size(Read(Screen(30, 20), Frame(0, 7, 30, 20))));
        Assert.Equal((30, 20), Size(Read(Screen(30, 20), Frame(0, 0, 30, 20), Frame(5, 7, 30, 20))));
        foreach (var (x, y, larger) in new[] { (0, 0, false), (1, 0, true), (0, 1, true) })
        {
            Assert.Equal(larger ? "a GIF whose first frame is larger than its screen" : null, Read(Screen(30, 20), Frame(x, y, 30, 20)).UnsupportedByImageSharp);
        }
    }

    /// <summary>A palette has 3 x 2^(n + 1) bytes where a flag says that there is one.</summary>
    [Theory]
    [InlineData(0x07, 0)]
    [InlineData(0x80, 6)]
    [InlineData(0x81, 12)]
    [InlineData(0xF7, 768)]
    public void Palettes_are_passed_over(byte flags, int length)
    {
        var screen = Screen(30, 20);
        screen[10] = flags;
        var frame = Frame(0, 0, 30, 20);
        frame[9] = flags;
        var header = Read([.. screen, .. new byte[length]], [.. frame[..10], .. new byte[length], .. frame[10..]], Frame(0, 0, 30, 20), [0x3B]);
        Assert.Equal((2, false), (header.Pages, header.Cut));
    }

    [Fact]
    public void Extensions_are_passed_over_with_all_their_blocks()
    {
        byte[] loop = [0x21, 0xFF, 11, .. "NETSCAPE2.0"u8, 3, 1, 0x2C, 0x2C, 0];
        Assert.Equal(1, Read(Screen(30, 20), loop, Frame(0, 0, 30, 20), loop).Pages);
    }

    [Fact]
    public void A_first_frame_that_the_file_does_not_hold_is_cut()
    {
        var frame = Frame(0, 0, 30, 20);
        Assert.False(Read(Screen(30, 20), frame).Cut);
        for (var less = 1; less <= 5; less++)
        {
            Assert.True(Read(Screen(30, 20), frame[..^less]).Cut, $"{less} less");
        }

        Assert.False(Read(Screen(30, 20), frame, frame[..^1]).Cut); // the second one is not used
    }

    private static (int Width, int Height) Size(ImageHeader header) => (header.Width, header.Height);

    private static ImageHeader Read(params byte[][] blocks) => ImageHeader.Read("gif", [.. blocks.SelectMany(b => b)]);

    private static void Corrupt(string why, params byte[][] blocks) => Assert.Contains($"The gif is truncated or corrupt: {why}", Assert.Throws<ImageException>(() => Read(blocks)).Message, StringComparison.Ordinal);

    private static byte[] Screen(int width, int height) => [.. "GIF89a"u8, .. Two(width), .. Two(height), 0, 0, 0];

    private static byte[] Frame(int x, int y, int width, int height) => [0x2C, .. Two(x), .. Two(y), .. Two(width), .. Two(height), 0, .. Data];

    private static byte[] Two(int value) => [(byte)value, (byte)(value >> 8)];
}
