using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class ExifTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_orientation_is_read_in_either_order_of_bytes_with_and_without_a_head(bool bigEndian)
    {
        for (var turn = 1; turn <= 8; turn++)
        {
            var exif = Directory(bigEndian, (0x0112, 3, turn));
            Assert.Equal((turn, turn), (Exif.Orientation(exif), Exif.Orientation([.. "Exif\0\0"u8, .. exif])));
        }

        Assert.Equal(6, Exif.Orientation(Directory(bigEndian, (0x0100, 3, 8), (0x0112, 3, 6), (0x0112, 3, 3)))); // the first of two
    }

    [Theory]
    [InlineData(0x0112, 3, 0)]
    [InlineData(0x0112, 3, 9)]
    [InlineData(0x0112, 4, 6)] // another type
    [InlineData(0x0113, 3, 6)] // another tag
    public void What_is_not_in_order_is_upright(int tag, int type, int value)
    {
        Assert.Equal(1, Exif.Orientation(Directory(true, (tag, type, value))));
        Assert.Equal(1, Exif.Orientation(Directory(false, (tag, type, value))));
    }

    [Fact]
    public void A_picture_is_not_thrown_away_for_its_metadata()
    {
        var exif = Directory(true, (0x0100, 3, 1), (0x0112, 3, 6));
        for (var length = 0; length < exif.Length; length++)
        {
            Assert.Equal(length >= 8 + 2 + 24 ? 6 : 1, Exif.Orientation(exif.AsSpan(0, length)));
        }

        Assert.Equal(1, Exif.Orientation([.. exif[..4], 0xFF, 0xFF, 0xFF, 0xFF, .. exif[8..]]));
        Assert.Equal(1, Exif.Orientation([.. "MM*\0"u8, .. exif[4..]]));
        Assert.Equal(1, Exif.Orientation([.. "II\0*"u8, .. exif[4..]]));
        Assert.Equal(6, Exif.Orientation([.. exif[..8], 0xFF, 0xFF, .. exif[10..]])); // more entries than there are
    }

    private static byte[] Directory(bool bigEndian, params (int Tag, int Type, int Value)[] entries)
    {
        byte[] Two(int value) => bigEndian ? [(byte)(value >> 8), (byte)value] : [(byte)value, (byte)(value >> 8)];
        byte[] Four(int value) => bigEndian ? [0, 0, .. Two(value)] : [.. Two(value), 0, 0];
        return [.. bigEndian ? "MM\0*"u8 : "II*\0"u8, .. Four(8), .. Two(entries.Length), .. entries.SelectMany(e => (byte[])[.. Two(e.Tag), .. Two(e.Type), .. Four(1), .. Two(e.Value), 0, 0]), 0, 0, 0, 0];
    }
}
