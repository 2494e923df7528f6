using System.Text;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>First bytes, a byte a character, as the formats' own documents have them.</summary>
public class ImageFormatTests
{
    [Theory]
    [InlineData("\u00ff\u00d8\u00ff\u00e0", "jpeg")]
    [InlineData("\u0089PNG\r\n\u001a\n", "png")]
    [InlineData("GIF87a", "gif")]
    [InlineData("II*\0", "tiff")]
    [InlineData("II+\0", "tiff")]
    [InlineData("MM\0*", "tiff")]
    [InlineData("MM\0+", "tiff")]
    [InlineData("RIFF1234WEBP", "webp")]
    [InlineData("RIFF1234AVI ", "video")]
    [InlineData("RIFF1234WAVE", null)]
    [InlineData("\u00ff\n", "JPEG XL")]
    [InlineData("\0\0\0\u000cJXL \r\n", "JPEG XL")]
    [InlineData("\0\0\0\u000cjP  \r\n", "JPEG 2000")]
    [InlineData("\u00ffO\u00ffQ", "JPEG 2000")]
    [InlineData("BM____________\u0028\0\0\0", null)] // the place of its pixels is beyond 16 million
    [InlineData("BM___________\0\u0028\0\0\0", "bmp")]
    [InlineData("BM___________\0\u000c\0\0\0", "bmp")]
    [InlineData("BM___________\0\u007c\0\0\0", "bmp")]
    [InlineData("BM___________\0\u0029\0\0\0", null)]
    [InlineData("P1\n", "pnm")]
    [InlineData("P6 ", "pnm")]
    [InlineData("P3#", "pnm")]
    [InlineData("P0\n", null)]
    [InlineData("P7\n", "PAM")]
    [InlineData("P6x", null)]
    [InlineData("8BPS\0\u0001", "Photoshop")]
    [InlineData("8BPS\0\u0002", "Photoshop")]
    [InlineData("%PDF-1.7", "PDF")]
    [InlineData("<svg>", "SVG")]
    [InlineData("  \r\n\t<?xml?><svg>", "SVG")]
    [InlineData("\u00ef\u00bb\u00bf<!-- a --><svg>", "SVG")]
    [InlineData("<?xml?><html>", null)]
    [InlineData("{<svg>", null)]
    [InlineData("v/1\u0001", "OpenEXR")]
    [InlineData("\0\0\u0001\0\u0001\0___\0", "ICO")]
    [InlineData("\0\0\u0002\0\u0001\0___\0", "CUR")]
    [InlineData("\0\0\u0001\0\0\0___\0", null)] // of no pictures
    [InlineData("\n\u0005\u0001\u0008", "PCX")]
    [InlineData("\n\0\0\u0001", "PCX")]
    [InlineData("\n\u0002\u0001\u0002", "PCX")]
    [InlineData("\n\u0003\u0001\u0004", "PCX")]
    [InlineData("\n\u0004\u0001\u0008", "PCX")]
    [InlineData("\n\u0001\u0001\u0008", null)]
    [InlineData("icns", "ICNS")]
    [InlineData("FUJIFILMCCD-RAW ", "Fujifilm RAW")]
    [InlineData("\u008aMNG", "MNG")]
    [InlineData("OggS", "video")]
    [InlineData("hello", null)]
    [InlineData("", null)]
    public void A_format_is_told_by_its_first_bytes(string bytes, string? format) => Assert.Equal(format, ImageFormat.Of(Encoding.Latin1.GetBytes(bytes)));

    /// <summary>ISO base media files say what they are in brands: the main one, and those that it goes with.</summary>
    [Theory]
    [InlineData("avif", "avif")]
    [InlineData("avis", "avif")]
    [InlineData("heic", "heic")]
    [InlineData("heix", "heic")]
    [InlineData("heim", "heic")]
    [InlineData("heis", "heic")]
    [InlineData("hevc", "heic")]
    [InlineData("hevx", "heic")]
    [InlineData("mif1", "heic")]
    [InlineData("msf1", "heic")]
    [InlineData("crx ", "Canon RAW")]
    [InlineData("qt  ", "video")]
    [InlineData("isom", "video")]
    [InlineData("mp42", "video")]
    [InlineData("iso2", "video")]
    [InlineData("mp41", "video")]
    [InlineData("M4V ", "video")]
    [InlineData("avc1", "video")]
    [InlineData("3gp4", "video")]
    [InlineData("3gp5", "video")]
    [InlineData("none", null)]
    public void A_brand_counts_wherever_it_stands_in_its_box(string brand, string? format)
    {
        Assert.Equal(format, Of($"\0\0\0\u0010ftyp{brand}\0\0\0\0"));
        Assert.Equal(format, Of($"\0\0\0\u0018ftypxxxx\0\0\0\0yyyy{brand}"));
        Assert.Null(Of($"\0\0\0\u0010ftypxxxx{brand}")); // a version
        Assert.Null(Of($"\0\0\0\u0014ftypxxxx\0\0\0\0yyyy{brand}")); // behind the box
        Assert.Null(Of($"\0\0\0\u0018ftypxxxx\0\0\0\0yyyy{brand[..3]}"));
    }

    [Fact]
    public void A_still_picture_is_told_before_what_it_is_beside() => Assert.Equal("avif", Of("\0\0\0\u001cftypisom\0\0\0\0mif1avif"));

    private static string? Of(string bytes) => ImageFormat.Of(Encoding.Latin1.GetBytes(bytes));
}
