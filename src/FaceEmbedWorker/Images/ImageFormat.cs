using System.Buffers.Binary;

namespace FaceEmbedWorker.Images;

/// <summary>Names a file format by its first bytes.</summary>
internal static class ImageFormat
{
    /// <summary>The formats that are decoded; no other libvips loader is allowed to run.</summary>
    public static readonly IReadOnlySet<string> Decoded = new HashSet<string> { "jpeg", "png", "webp", "gif", "tiff", "avif" };

    /// <summary>File name endings that <c>embed</c> and <c>submit</c> take from a folder.</summary>
    public static readonly IReadOnlySet<string> FileExtensions = new HashSet<string>(StringComparer.OrdinalIgnoreCase)
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".bmp", ".jxl", ".jp2",
    };

    /// <summary>A format's name, or null where the bytes are of none that is known.</summary>
    public static string? Of(ReadOnlySpan<byte> bytes) => bytes switch
    {
        [0xFF, 0xD8, 0xFF, ..] => "jpeg",
        [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => "png",
        [(byte)'G', (byte)'I', (byte)'F', (byte)'8', ..] => "gif",
        [(byte)'I', (byte)'I', 42 or 43, 0, ..] or [(byte)'M', (byte)'M', 0, 42 or 43, ..] => "tiff",
        [(byte)'R', (byte)'I', (byte)'F', (byte)'F', _, _, _, _, (byte)'W', (byte)'E', (byte)'B', (byte)'P', ..] => "webp",
        [_, _, _, _, (byte)'f', (byte)'t', (byte)'y', (byte)'p', ..] => Brand(bytes),
        [0xFF, 0x0A, ..] or [0, 0, 0, 12, (byte)'J', (byte)'X', (byte)'L', (byte)' ', ..] => "JPEG XL",
        [0, 0, 0, 12, (byte)'j', (byte)'P', (byte)' ', (byte)' ', ..] or [0xFF, 0x4F, 0xFF, 0x51, ..] => "JPEG 2000",
        [(byte)'B', (byte)'M', _, _, _, _, 0, 0, 0, 0, _, _, 0, 0, 12 or 40 or 52 or 56 or 64 or 108 or 124, 0, 0, 0, ..] => "BMP",
        [(byte)'8', (byte)'B', (byte)'P', (byte)'S', 0, 1 or 2, ..] => "Photoshop",
        [(byte)'%', (byte)'P', (byte)'D', (byte)'F', (byte)'-', ..] => "PDF",
        [(byte)'<', (byte)'s', (byte)'v', (byte)'g', ..] => "SVG",
        [0x76, 0x2F, 0x31, 0x01, ..] => "OpenEXR",
        _ => null,
    };

    /// <summary>ISO base media files (HEIF family, video) say what they are in their brands.</summary>
    private static string? Brand(ReadOnlySpan<byte> bytes)
    {
        var box = bytes[..(int)Math.Min((uint)bytes.Length, BinaryPrimitives.ReadUInt32BigEndian(bytes))];
        bool Has(ReadOnlySpan<byte> box, ReadOnlySpan<byte> brand)
        {
            for (var i = 8; i + 4 <= box.Length; i += i == 8 ? 8 : 4)
            {
                if (box.Slice(i, 4).SequenceEqual(brand))
                {
                    return true;
                }
            }
            return false;
        }

        return Has(box, "avif"u8) || Has(box, "avis"u8) ? "avif"
            : Has(box, "heic"u8) || Has(box, "heix"u8) || Has(box, "hevc"u8) || Has(box, "mif1"u8) || Has(box, "msf1"u8) ? "HEIC"
            : Has(box, "crx "u8) ? "Canon RAW"
            : Has(box, "qt  "u8) || Has(box, "isom"u8) || Has(box, "mp42"u8) || Has(box, "iso2"u8) ? "video"
            : null;
    }
}
