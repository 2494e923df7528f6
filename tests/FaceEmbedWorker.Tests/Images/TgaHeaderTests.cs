using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>A Targa has no signature: what is taken for one must fit in every field.</summary>
public class TgaHeaderTests
{
    [Theory]
    [InlineData(1, 1, 8)]
    [InlineData(9, 1, 8)]
    [InlineData(2, 0, 16)]
    [InlineData(2, 0, 24)]
    [InlineData(10, 0, 32)]
    [InlineData(3, 0, 8)]
    [InlineData(11, 0, 16)]
    public void Every_kind_of_picture_fits(byte kind, byte palette, byte bits) => Assert.Equal("tga", ImageFormat.Of(Header(kind, palette, bits)));

    [Theory]
    [InlineData(0, 0, 24)] // no picture
    [InlineData(4, 0, 24)]
    [InlineData(1, 0, 8)] // a palette that is not there
    [InlineData(2, 1, 24)]
    [InlineData(2, 2, 24)]
    [InlineData(1, 1, 16)]
    [InlineData(2, 0, 8)]
    [InlineData(3, 0, 24)]
    public void What_does_not_belong_together_is_none(byte kind, byte palette, byte bits) => Assert.Null(ImageFormat.Of(Header(kind, palette, bits)));

    [Fact]
    public void One_field_that_does_not_fit_is_enough()
    {
        Assert.All(new[] { 15, 16, 24, 32 }, bits => Assert.Equal("tga", ImageFormat.Of(With(Header(1, 1, 8), 7, bits))));
        Assert.Null(ImageFormat.Of(With(Header(1, 1, 8), 7, 17)));
        Assert.All(new[] { 3, 4, 5, 6, 7 }, at => Assert.Null(ImageFormat.Of(With(Header(10, 0, 24), at, 1)))); // what a palette would have
        Assert.All(new[] { 4, 5, 6, 7 }, at => Assert.Null(ImageFormat.Of(With(With(Header(10, 0, 24), at - 1, 1), at, 1))));
        Assert.All(new[] { 0x40, 0x80 }, flags => Assert.Null(ImageFormat.Of(With(Header(2, 0, 24), 17, flags))));
        Assert.Equal("tga", ImageFormat.Of(With(Header(2, 0, 24), 17, 0x28)));
        Assert.Null(ImageFormat.Of(With(Header(2, 0, 24), 12, 0)));
        Assert.Null(ImageFormat.Of(With(Header(2, 0, 24), 14, 0)));
        Assert.Equal("tga", ImageFormat.Of(With(With(Header(2, 0, 24), 12, 0), 13, 1))); // 256 pixels wide
        Assert.Equal("tga", ImageFormat.Of(With(With(Header(2, 0, 24), 14, 0), 15, 1)));
        Assert.Null(ImageFormat.Of(Header(2, 0, 24).AsSpan(0, 18)));
        Assert.Equal("tga", ImageFormat.Of(Header(2, 0, 24).AsSpan(0, 19)));
    }

    [Fact]
    public void Its_sides_are_in_its_header()
    {
        Assert.Equal(new ImageHeader("tga", 30, 20) { Whole = true, Held = 30 * 20 * 4 }, ImageHeader.Read("tga", [.. Header(2, 0, 24)[..18], .. new byte[30 * 20 * 3]]));
        Assert.Equal("a TGA whose palette does not begin at 0", ImageHeader.Read("tga", With(Header(1, 1, 8), 3, 1)).Unsupported);
        Assert.Equal("a TGA of grey and alpha", ImageHeader.Read("tga", Header(3, 0, 16)).Unsupported);
        Assert.Equal("a TGA of grey and alpha", ImageHeader.Read("tga", Header(11, 0, 16)).Unsupported);
        Assert.Null(ImageHeader.Read("tga", Header(3, 0, 8)).Unsupported);
        Assert.Null(ImageHeader.Read("tga", Header(2, 0, 16)).Unsupported);
    }

    /// <summary>Behind the header: a text of as many bytes as it says, the palette, the pixels.</summary>
    [Theory]
    [InlineData(2, 0, 24, 0, 3)]
    [InlineData(2, 0, 16, 7, 2)]
    [InlineData(3, 0, 8, 0, 1)]
    [InlineData(1, 1, 8, 0, 1)]
    [InlineData(1, 1, 8, 200, 1)]
    public void Without_its_last_byte_it_is_cut(byte kind, byte palette, byte bits, byte text, int pixelBytes)
    {
        var header = With(Header(kind, palette, bits), 0, text)[..18];
        if (palette == 1)
        {
            header = With(With(header, 5, 10), 7, 15); // ten colours of two bytes
        }

        byte[] whole = [.. header, .. new byte[text + (palette == 1 ? 20 : 0) + 30 * 20 * pixelBytes]];
        Assert.False(ImageHeader.Read("tga", whole).Cut);
        Assert.True(ImageHeader.Read("tga", whole.AsSpan(0, whole.Length - 1)).Cut);
    }

    /// <summary>600 pixels of two bytes: four packets of one repeated, one of the 88 that are left.</summary>
    [Fact]
    public void Runs_are_counted()
    {
        byte[] header = Header(10, 0, 16)[..18];
        byte[] whole = [.. header, .. Enumerable.Repeat((byte[])[0xFF, 1, 2], 4).SelectMany(p => p), 87, .. new byte[88 * 2]];
        Assert.False(ImageHeader.Read("tga", whole).Cut);
        Assert.True(ImageHeader.Read("tga", whole.AsSpan(0, whole.Length - 1)).Cut);
        Assert.True(ImageHeader.Read("tga", whole.AsSpan(0, header.Length + 12)).Cut); // 88 are missing
        Assert.True(ImageHeader.Read("tga", header).Cut);
        Assert.False(ImageHeader.Read("tga", [.. whole, 0xFF]).Cut); // what follows is no packet
        whole[header.Length + 12] = 86;
        Assert.False(ImageHeader.Read("tga", [.. whole[..^2], 0x80, 1, 2]).Cut); // one of 87, and one repeated once
        byte[] longest = [.. header, .. Enumerable.Repeat((byte[])[127, .. new byte[128 * 2]], 4).SelectMany(p => p), 0xFF, 1, 2];
        Assert.False(ImageHeader.Read("tga", longest).Cut);
        Assert.True(ImageHeader.Read("tga", longest.AsSpan(0, longest.Length - 1)).Cut);
    }

    /// <summary>30 x 20 pixels.</summary>
    private static byte[] Header(byte kind, byte palette, byte bits) => [0, palette, kind, 0, 0, 0, 0, (byte)(palette == 1 ? 24 : 0), 0, 0, 0, 0, 30, 0, 20, 0, bits, 0, 0];

    private static byte[] With(byte[] header, int at, int value)
    {
        var changed = (byte[])header.Clone();
        changed[at] = (byte)value;
        return changed;
    }
}
