using System.ComponentModel;
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

    [Description("Libvips, or ImageSharp: managed code only (docs/pictures.md).")]
    [EnumDataType(typeof(PictureDecoder))]
    public PictureDecoder Decoder { get; set; } = PictureDecoder.Libvips;

    [Description("Largest encoded picture, in bytes.")]
    [Range(1, 1_000_000_000)]
    public int MaxBytes { get; set; } = 64 * 1024 * 1024;

    [Description("Largest picture, in pixels (width x height).")]
    [Range(1, MostPixels)]
    public long MaxPixels { get; set; } = 100_000_000;

    [Description("Longest side, in pixels.")]
    [Range(1, 10_000_000)]
    public int MaxSide { get; set; } = 65_535;

    [Description("How many times as long as the other a side may be, in pictures with a side over 1,000 pixels.")]
    [Range(1, 1_000_000)]
    public int MaxAspectRatio { get; set; } = 100;

    [Description("Bytes that decoding one picture may take, estimated from its header by format and shape (docs/pictures.md); a worker needs this for each job at once, and about 200 MB.")]
    [Range(LeastMemory, 64L * 1024 * 1024 * 1024)]
    public long MaxMemory { get; set; } = 360 * 1024 * 1024;

    [Description("Largest progressive JPEG, in pixels: its decoder holds every coefficient.")]
    [Range(1, MostPixels)]
    public long MaxProgressivePixels { get; set; } = 36_000_000;

    [Description("Scans of a progressive JPEG, or of one in a TIFF, each a pass over the whole picture; encoders write 6 to 20.")]
    [Range(1, 9_999)]
    public int MaxScans { get; set; } = 100;

    [Description("Frames or pages; the first is used.")]
    [Range(1, 1_000_000)]
    public int MaxPages { get; set; } = 1000;

    /// <summary>The same limits for whoever is to decode with managed code only.</summary>
    public ImageOptions Managed()
    {
        var copy = (ImageOptions)MemberwiseClone();
        copy.Decoder = PictureDecoder.ImageSharp;
        return copy;
    }
}
