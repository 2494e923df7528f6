namespace FaceEmbedWorker.Images;

/// <summary>
/// What an encoded picture says of itself before a pixel is decoded, read in managed code: no decoder has seen the bytes yet.
/// </summary>
/// <param name="Format">As in <see cref="ImageFormat.Decoded"/>.</param>
/// <param name="Width">Pixels as stored.</param>
/// <param name="Height">Pixels as stored.</param>
internal sealed record ImageHeader(string Format, int Width, int Height)
{
    /// <summary>
    /// EXIF orientation, 1 to 8; 1 is upright. That of XMP does not count, and HEIF turns by its own boxes, which are applied to the sizes
    /// here.
    /// </summary>
    public int Orientation { get; init; } = 1;

    /// <summary>Frames or pages; the first is used.</summary>
    public int Pages { get; init; } = 1;

    /// <summary>A JPEG's scans, counted to one more than any limit; 1 for other formats.</summary>
    public int Scans { get; init; } = 1;

    /// <summary>A JPEG in progressive order.</summary>
    public bool Progressive { get; init; }

    /// <summary>Whether a JPEG has half as many colours as pixels, along a row and along a column.</summary>
    public (bool Across, bool Down) HalvedColours { get; init; }

    /// <summary>
    /// Bytes that the decoder holds beside the rows that come out, whatever the shrink: coefficients, whole frames, strips.
    /// </summary>
    public long Held { get; init; }

    /// <summary>Bytes that ImageSharp holds over <see cref="Held"/>: it keeps the metadata of all pages.</summary>
    public long HeldByImageSharp { get; init; }

    /// <summary>The decoder works on the whole picture at once and cannot be stopped while it does.</summary>
    public bool Whole { get; init; }

    /// <summary>A PNG with so much beside its pixels that libvips gets a copy without that.</summary>
    public bool Wordy { get; init; }

    /// <summary>Where the bytes of a JPEG's one scan end.</summary>
    public int PixelsEnd { get; init; }

    /// <summary>The file ends before its pixels do, or may; known of formats whose decoder would fill up what is missing.</summary>
    public bool Cut { get; init; }

    /// <summary>What the file is, where it is a variant that is not read; otherwise null.</summary>
    public string? Unsupported { get; init; }

    /// <summary>What the file is, where ImageSharp would decode it wrong; otherwise null.</summary>
    public string? UnsupportedByImageSharp { get; init; }

    public long Pixels => (long)Width * Height;

    /// <summary>What is said of a picture whose decoder fails: in our words, the same whoever decodes.</summary>
    public ImageException Broken() => new(ImageFault.Undecodable, $"The {Format} is truncated or corrupt: {(Cut ? "it ends before its pixels do" : "its pixels cannot be decoded")}.");

    /// <summary>The header of a picture in one of <see cref="ImageFormat.Decoded"/>.</summary>
    /// <exception cref="ImageException">The header is truncated or corrupt.</exception>
    public static ImageHeader Read(string format, ReadOnlySpan<byte> bytes)
    {
        try
        {
            return Of(format, bytes) is { Held: >= 0 and <= MostHeld } header ? header : throw new OverflowException();
        }
        catch (Exception e) when (e is OverflowException or IndexOutOfRangeException or ArgumentException or InvalidOperationException) // of what a file claims, never of anything here
        {
            throw new HeaderReader(bytes, format).Corrupt("its header claims sizes that no picture has");
        }
    }

    /// <summary>Far over any limit, and far below where sums of it overflow.</summary>
    private const long MostHeld = 1L << 56;

    private static ImageHeader Of(string format, ReadOnlySpan<byte> bytes) => format switch
    {
        "jpeg" => JpegHeader.Read(new(bytes, format)),
        "png" => PngHeader.Read(new(bytes, format)),
        "webp" => WebpHeader.Read(new(bytes, format, bigEndian: false)),
        "gif" => GifHeader.Read(new(bytes, format, bigEndian: false)),
        "tiff" => TiffHeader.Read(new(bytes, format, bigEndian: bytes[0] == 'M')),
        "bmp" => BmpHeader.Read(new(bytes, format, bigEndian: false)),
        "tga" => TgaHeader.Read(new(bytes, format, bigEndian: false)),
        "pnm" => PnmHeader.Read(new(bytes, format)),
        "avif" or "heic" => HeifHeader.Read(new(bytes, format), format),
        _ => throw new NotSupportedException($"No way to read the header of {format}."),
    };
}
