using FaceEmbedWorker.Images;
using NetVips;

namespace FaceEmbedWorker.Tests.Assumptions;

/// <summary>What Images/ believes of libvips.</summary>
public class LibvipsTests
{
    [Fact]
    public void Only_the_allowed_loaders_run()
    {
        _ = LibvipsDecoder.Version; // sets it up
        using var image = Image.Black(8, 8);
        Assert.ThrowsAny<VipsException>(() => Image.NewFromBuffer("P5 2 2 255 abcd"u8.ToArray()));
        Assert.ThrowsAny<VipsException>(() => Image.NewFromBuffer("""<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>"""u8.ToArray()));
        Assert.Equal(8, Image.NewFromBuffer(image.PngsaveBuffer()).Width);
    }

    [Fact]
    public void The_operation_cache_is_off_and_a_picture_takes_one_thread()
    {
        _ = LibvipsDecoder.Version; // sets it up
        Assert.Equal((0, 1), (Cache.Max, NetVips.NetVips.Concurrency));
    }

    [Fact]
    public void Opening_reads_the_header_only()
    {
        // the pixels are missing, and it opens all the same
        var cut = TestData.Read("grace_hopper.jpg")[..2000];
        using var image = Image.NewFromBuffer(cut, access: Enums.Access.Sequential, failOn: Enums.FailOn.Error);
        Assert.Equal((512, 600), (image.Width, image.Height));
    }

    [Fact]
    public void A_progressive_jpeg_says_so_in_its_header()
    {
        using var progressive = Image.NewFromBuffer(TestData.Read("formats/progressive.jpg"));
        using var baseline = Image.NewFromBuffer(TestData.Read("formats/baseline.jpg"));
        Assert.True(progressive.Contains("interlaced"));
        Assert.False(baseline.Contains("interlaced"));
    }
}
