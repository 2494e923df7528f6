using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Images;

/// <summary>Limits that are checked on a picture's header, before a pixel is decoded. Section <c>Images</c>.</summary>
internal sealed class ImageOptions
{
    public const string Section = "Images";

    /// <summary>Largest encoded picture, in bytes.</summary>
    [Range(1, int.MaxValue)]
    public int MaxBytes { get; set; } = 64 * 1024 * 1024;

    /// <summary>Largest picture, in pixels (width x height).</summary>
    [Range(1, 1_000_000_000)]
    public long MaxPixels { get; set; } = 100_000_000;

    /// <summary>Largest progressive JPEG, in pixels: its decoder holds every coefficient in memory (about 6 bytes a pixel), whatever the shrink.</summary>
    [Range(1, 1_000_000_000)]
    public long MaxProgressivePixels { get; set; } = 36_000_000;

    /// <summary>Most frames or pages of an animation or a multi-page TIFF. Only the first is used.</summary>
    [Range(1, 1_000_000)]
    public int MaxPages { get; set; } = 1000;
}
