namespace FaceEmbedWorker.Images;

/// <summary>The one thing that is read of EXIF: which way up the picture is.</summary>
internal static class Exif
{
    /// <summary>1 to 8; 1 where it is not said, or not in order: a picture is not thrown away for its metadata.</summary>
    /// <param name="bytes">A TIFF structure (EXIF 2.32, 4.5); "Exif\0\0" may stand before it.</param>
    public static int Orientation(ReadOnlySpan<byte> bytes)
    {
        var exif = bytes.StartsWith("Exif\0\0"u8) ? bytes[6..] : bytes;
        if (exif.Length < 8 || !(exif.StartsWith("II*\0"u8) || exif.StartsWith("MM\0*"u8)))
        {
            return 1;
        }

        var reader = new HeaderReader(exif, "exif", bigEndian: exif[0] == 'M');
        var directory = reader.U32(4);
        var entries = directory <= exif.Length - 2 ? Math.Min(reader.U16(directory), (exif.Length - directory - 2) / 12) : 0; // a file may have millions of blocks: none costs an exception
        for (var i = 0; i < entries; i++)
        {
            var entry = directory + 2 + 12L * i;
            if (reader.U16(entry) == 0x0112)
            {
                return reader.U16(entry + 2) == 3 && reader.U16(entry + 8) is >= 1 and <= 8 and var turn ? turn : 1;
            }
        }

        return 1;
    }
}
