using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Images;

/// <summary>Who decodes pictures.</summary>
internal enum PictureDecoder
{
    /// <summary>The fastest: shrinks JPEGs while decoding; native code.</summary>
    Libvips,

    /// <summary>Managed code only; no native decoder is loaded.</summary>
    ImageSharp,
}

/// <summary>Limits that are checked on a picture's header, before a pixel is decoded. Section <c>Images</c>.</summary>
internal sealed class ImageOptions
{
    public const string Section = "Images";

    /// <summary>Three bytes a pixel in one span of bytes.</summary>
    private const long MostPixels = 700_000_000;

    /// <summary>24 MiB are what any decode takes: with less than this no picture is small enough.</summary>
    private const long LeastMemory = 32 * 1024 * 1024;

    /// <summary>Who decodes: libvips, the fastest, or ImageSharp, which is managed code only and reads no AVIF. BMP, TGA and PBM, PGM and PPM are ImageSharp's in either case.</summary>
    [EnumDataType(typeof(PictureDecoder))]
    public PictureDecoder Decoder { get; set; } = PictureDecoder.Libvips;

    /// <summary>Largest encoded picture, in bytes.</summary>
    [Range(1, 1_000_000_000)]
    public int MaxBytes { get; set; } = 64 * 1024 * 1024;

    /// <summary>Largest picture, in pixels (width x height).</summary>
    [Range(1, MostPixels)]
    public long MaxPixels { get; set; } = 100_000_000;

    /// <summary>Longest side, in pixels.</summary>
    [Range(1, 10_000_000)]
    public int MaxSide { get; set; } = 65_535;

    /// <summary>How many times as long as the other a side may be, in pictures with a side over 1,000 pixels.</summary>
    [Range(1, 1_000_000)]
    public int MaxAspectRatio { get; set; } = 100;

    /// <summary>Bytes that decoding one picture may take, by an estimate from its header: the encoded bytes, what the decoder holds, and the pixels that come out. A worker takes this much for each job at once, and about 200 MB.</summary>
    [Range(LeastMemory, 64L * 1024 * 1024 * 1024)]
    public long MaxMemory { get; set; } = 360 * 1024 * 1024;

    /// <summary>Largest progressive JPEG, in pixels: its decoder holds every coefficient in memory, whatever the shrink.</summary>
    [Range(1, MostPixels)]
    public long MaxProgressivePixels { get; set; } = 36_000_000;

    /// <summary>Most scans of a progressive JPEG, each of which is a pass over the whole picture; encoders write 6 to 20.</summary>
    [Range(1, 9_999)]
    public int MaxScans { get; set; } = 100;

    /// <summary>Most frames or pages of an animation or a multi-page TIFF. Only the first is used.</summary>
    [Range(1, 1_000_000)]
    public int MaxPages { get; set; } = 1000;
}
