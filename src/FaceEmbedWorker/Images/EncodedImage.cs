namespace FaceEmbedWorker.Images;

/// <summary>
/// A picture whose header has been read and is within the limits. Sizes are those of the upright picture at full resolution.
/// </summary>
internal sealed class EncodedImage
{
    private readonly byte[] bytes;
    private readonly ImageHeader header;
    private readonly ImageDecoder decoder;

    internal EncodedImage(byte[] bytes, ImageHeader header, ImageDecoder decoder)
    {
        this.bytes = bytes;
        this.header = header;
        this.decoder = decoder;
        (Width, Height) = header.Orientation < 5 ? (header.Width, header.Height) : (header.Height, header.Width);
    }

    public string Format => header.Format;

    /// <summary><c>libvips</c> or <c>imagesharp</c>.</summary>
    public string DecodedBy => decoder.IsManaged(header) ? "imagesharp" : "libvips";

    /// <summary>Pixels, upright.</summary>
    public int Width { get; }

    /// <summary>Pixels, upright.</summary>
    public int Height { get; }

    /// <summary>EXIF orientation, 1 to 8; 1 is upright.</summary>
    public int Orientation => header.Orientation;

    /// <summary>
    /// The factor by which the JPEG decoder may shrink this picture (1, 2, 4 or 8; decoding's cost falls with it) and keep at least
    /// <paramref name="wanted"/> pixels. 1 for other formats.
    /// </summary>
    public int ShrinkFor((int Width, int Height) wanted) =>
        decoder.CanShrink(header) ? Math.Min(ShrinkFor(Width, wanted.Width), ShrinkFor(Height, wanted.Height)) : 1;

    /// <summary>The largest factor of 1, 2, 4 and 8 that leaves <paramref name="wanted"/> of <paramref name="length"/> pixels.</summary>
    public static int ShrinkFor(double length, double wanted) => (length / wanted) switch { >= 8 => 8, >= 4 => 4, >= 2 => 2, _ => 1 };

    /// <summary>
    /// The factor from <paramref name="wanted"/> on (1, 2, 4, 8) at which a JPEG's decode, beside a picture that is held already, stays
    /// within
    /// <c>Images:MaxMemory</c>: a huge photo is looked at more coarsely before it is refused. 8 where none does.
    /// </summary>
    public int WithinMemory(int wanted, Picture? held = null)
    {
        var shrink = wanted;
        while (decoder.CanShrink(header) && shrink < 8 && decoder.IsOver(header, bytes, shrink, held))
        {
            shrink *= 2;
        }

        return shrink;
    }

    /// <summary>
    /// Decodes the first frame, applies the orientation, and reduces to 8-bit RGB at 1/<paramref name="shrink"/> of the size.
    /// </summary>
    /// <param name="held">A picture of this job that is in memory beside the new one.</param>
    /// <exception cref="ImageException">Truncated or corrupt, or over <c>Images:MaxMemory</c>.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Picture Decode(int shrink, CancellationToken cancel, Picture? held = null) => decoder.Decode(header, bytes, shrink, held, cancel);
}
