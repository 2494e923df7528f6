using System.Buffers.Binary;

namespace FaceEmbedWorker.Images;

/// <summary>Names a file format by its first bytes.</summary>
internal static class ImageFormat
{
    /// <summary>
    /// The formats that are decoded with libvips, HEIC where the library in use can; no other of its loaders is allowed to run.
    /// </summary>
    public static readonly IReadOnlySet<string> Libvips = new HashSet<string> { "jpeg", "png", "webp", "gif", "tiff", "avif", "heic" };

    /// <summary>The formats that ImageSharp reads.</summary>
    public static readonly IReadOnlySet<string> ImageSharp = new HashSet<string> { "jpeg", "png", "webp", "gif", "tiff", "bmp", "tga", "pnm" };

    /// <summary>The formats that are decoded.</summary>
    public static readonly IReadOnlySet<string> Decoded = new HashSet<string>(Libvips.Union(ImageSharp));

    /// <summary>File name endings that <c>embed</c> and <c>submit</c> take from a folder.</summary>
    public static readonly IReadOnlySet<string> FileExtensions = new HashSet<string>(StringComparer.OrdinalIgnoreCase)
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".heics", ".hif", ".bmp", ".dib", ".tga", ".pbm", ".pgm", ".ppm", ".pnm", ".jxl", ".jp2",
    };

    /// <summary>What people send as pictures and is told by its first bytes; none is decoded.</summary>
    private static readonly (ReadOnlyMemory<byte> Magic, string Name)[] Others =
    [
        .. new (string Magic, string Name)[]
        {
            ("icns", "ICNS"), ("DDS ", "DDS"), ("qoif", "QOI"), ("gimp xcf", "XCF"), ("#?RADIANCE", "Radiance HDR"), ("SIMPLE  =", "FITS"), ("/* XPM", "XPM"), ("%!PS-Adobe", "PostScript"), ("P7\n", "PAM"),
            ("PF\n", "PFM"), ("Pf\n", "PFM"), ("AT&TFORM", "DjVu"), ("FUJIFILMCCD-RAW", "Fujifilm RAW"), ("IIU\0", "Panasonic RAW"), ("IIRO", "Olympus RAW"), ("IIRS", "Olympus RAW"), ("MMOR", "Olympus RAW"), ("FOVb", "Sigma RAW"),
            ("\0MRM", "Minolta RAW"), ("II\u00bc\u0001", "JPEG XR"), ("\u008aMNG", "MNG"), ("\u008bJNG", "JNG"), ("BPG\u00fb", "BPG"), ("\u0059\u00a6\u006a\u0095", "Sun raster"), ("\u00d7\u00cd\u00c6\u009a", "WMF"),
            ("\u001a\u0045\u00df\u00a3", "video"), ("OggS", "video"), ("FLV\u0001", "video"), ("\0\0\u0001\u00ba", "video"), ("\0\0\u0001\u00b3", "video"), ("\u0030\u0026\u00b2\u0075", "video"),
        }.Select(o => ((ReadOnlyMemory<byte>)System.Text.Encoding.Latin1.GetBytes(o.Magic), o.Name)),
    ];

    /// <summary>A format's name, or null where the bytes are of none that is known.</summary>
    public static string? Of(ReadOnlySpan<byte> bytes) => bytes switch
    {
        [0xFF, 0xD8, 0xFF, ..] => "jpeg",
        [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => "png",
        [(byte)'G', (byte)'I', (byte)'F', (byte)'8', ..] => "gif",
        [(byte)'I', (byte)'I', 42 or 43, 0, ..] or [(byte)'M', (byte)'M', 0, 42 or 43, ..] => "tiff",
        [(byte)'R', (byte)'I', (byte)'F', (byte)'F', _, _, _, _, (byte)'W', (byte)'E', (byte)'B', (byte)'P', ..] => "webp",
        [(byte)'R', (byte)'I', (byte)'F', (byte)'F', _, _, _, _, (byte)'A', (byte)'V', (byte)'I', (byte)' ', ..] => "video",
        [_, _, _, _, (byte)'f', (byte)'t', (byte)'y', (byte)'p', ..] => Brand(bytes),
        [0xFF, 0x0A, ..] or [0, 0, 0, 12, (byte)'J', (byte)'X', (byte)'L', (byte)' ', ..] => "JPEG XL",
        [0, 0, 0, 12, (byte)'j', (byte)'P', (byte)' ', (byte)' ', ..] or [0xFF, 0x4F, 0xFF, 0x51, ..] => "JPEG 2000",
        [(byte)'B', (byte)'M', _, _, _, _, _, _, _, _, _, _, _, 0, 12 or 16 or 40 or 52 or 56 or 64 or 108 or 124, 0, 0, 0, ..] => "bmp",
        [(byte)'P', >= (byte)'1' and <= (byte)'6', (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\r' or (byte)'#', ..] => "pnm",
        [(byte)'8', (byte)'B', (byte)'P', (byte)'S', 0, 1 or 2, ..] => "Photoshop",
        [(byte)'%', (byte)'P', (byte)'D', (byte)'F', (byte)'-', ..] => "PDF",
        [(byte)'<', (byte)'s', (byte)'v', (byte)'g', ..] => "SVG",
        [0x76, 0x2F, 0x31, 0x01, ..] => "OpenEXR",
        [0, 0, 1, 0, not 0, 0, _, _, _, 0, ..] => "ICO",
        [0, 0, 2, 0, not 0, 0, _, _, _, 0, ..] => "CUR",
        [0x0A, 0 or 2 or 3 or 4 or 5, 0 or 1, 1 or 2 or 4 or 8, ..] => "PCX",
        _ => Other(bytes) ?? (IsSvg(bytes) ? "SVG" : TgaHeader.Fits(bytes) ? "tga" : null),
    };

    private static string? Other(ReadOnlySpan<byte> bytes)
    {
        foreach (var (magic, name) in Others)
        {
            if (bytes.StartsWith(magic.Span))
            {
                return name;
            }
        }

        return null;
    }

    private static bool IsSvg(ReadOnlySpan<byte> bytes) => MemoryExtensions.TrimStart(bytes, (ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF, (byte)' ', (byte)'\t', (byte)'\r', (byte)'\n']) is [(byte)'<', (byte)'?' or (byte)'!' or (byte)'s', ..] && bytes[..Math.Min(bytes.Length, 4096)].IndexOf("<svg"u8) >= 0;

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
            : Has(box, "heic"u8) || Has(box, "heix"u8) || Has(box, "heim"u8) || Has(box, "heis"u8) || Has(box, "hevc"u8) || Has(box, "hevx"u8) || Has(box, "mif1"u8) || Has(box, "msf1"u8) ? "heic"
            : Has(box, "crx "u8) ? "Canon RAW"
            : Has(box, "qt  "u8) || Has(box, "isom"u8) || Has(box, "mp42"u8) || Has(box, "iso2"u8) || Has(box, "mp41"u8) || Has(box, "M4V "u8) || Has(box, "avc1"u8) || Has(box, "3gp4"u8) || Has(box, "3gp5"u8) ? "video"
            : null;
    }
}
