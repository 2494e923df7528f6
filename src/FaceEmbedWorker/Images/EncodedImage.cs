using NetVips;

namespace FaceEmbedWorker.Images;

/// <summary>A picture whose header has been read. Sizes are those of the upright picture at full resolution.</summary>
internal sealed class EncodedImage : IDisposable
{
    private readonly byte[] bytes;
    private readonly Image header;

    internal EncodedImage(byte[] bytes, string format)
    {
        this.bytes = bytes;
        Format = format;
        header = Guard(format, () => Load(1));
        Orientation = header.Contains("orientation") && header.Get("orientation") is int and >= 1 and <= 8 and var turn ? turn : 1;
        (Width, Height) = Orientation < 5 ? (header.Width, header.Height) : (header.Height, header.Width);
        Pages = header.Contains("n-pages") ? (int)header.Get("n-pages") : 1;
        Progressive = format == "jpeg" && header.Contains("interlaced");
    }

    public string Format { get; }

    /// <summary>Pixels, upright.</summary>
    public int Width { get; }

    /// <summary>Pixels, upright.</summary>
    public int Height { get; }

    /// <summary>EXIF orientation, 1 to 8; 1 is upright.</summary>
    public int Orientation { get; }

    public int Pages { get; }

    public bool Progressive { get; }

    /// <summary>
    /// The factor by which the JPEG decoder may shrink this picture (1, 2, 4 or 8; decoding's cost falls with it) and keep at least
    /// <paramref name="wanted"/> pixels. 1 for other formats.
    /// </summary>
    public int ShrinkFor((int Width, int Height) wanted) =>
        Format == "jpeg" ? Math.Min(ShrinkFor(Width, wanted.Width), ShrinkFor(Height, wanted.Height)) : 1;

    /// <summary>The largest factor of 1, 2, 4 and 8 that leaves <paramref name="wanted"/> of <paramref name="length"/> pixels.</summary>
    public static int ShrinkFor(double length, double wanted) => (length / wanted) switch { >= 8 => 8, >= 4 => 4, >= 2 => 2, _ => 1 };

    /// <summary>Decodes the first frame, applies the orientation, and reduces to 8-bit RGB at 1/<paramref name="shrink"/> of the size.</summary>
    /// <exception cref="ImageException">Truncated or corrupt.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; decoding stops within a few rows.</exception>
    public Picture Decode(int shrink, CancellationToken cancel) => Guard(Format, () =>
    {
        using var loaded = Load(shrink);
        using var rgb = ToRgb(loaded);
        using var upright = Upright(rgb);
        upright.SetProgress(null, cancel);
        var pixels = upright.WriteToMemory(out _);
        return new Picture(pixels, upright.Width, upright.Height, NetVips.NetVips.Free)
        {
            ScaleX = (double)Width / upright.Width,
            ScaleY = (double)Height / upright.Height,
        };
    }, cancel);

    public void Dispose() => header.Dispose();

    private Image Load(int shrink) => Image.NewFromBuffer(bytes, access: Enums.Access.Sequential, failOn: Enums.FailOn.Error,
        kwargs: shrink > 1 ? new VOption { { "shrink", shrink } } : null);

    /// <summary>
    /// As Pillow's <c>convert("RGB")</c>: alpha is dropped, grey is repeated, 16 bits keep their upper 8, embedded colour profiles are ignored.
    /// </summary>
    private static Image ToRgb(Image image)
    {
        if (image.Interpretation == Enums.Interpretation.Cmyk)
        {
            return CmykToRgb(image);
        }

        if (image is { Interpretation: Enums.Interpretation.Srgb, Format: Enums.BandFormat.Uchar, Bands: 3 })
        {
            return image.Copy();
        }

        using var srgb = image.Colourspace(Enums.Interpretation.Srgb);
        using var three = srgb.Bands > 3 ? srgb.ExtractBand(0, n: 3) : srgb.Bands < 3 ? srgb[0].Bandjoin(srgb[0], srgb[0]) : srgb.Copy();
        return three.Cast(Enums.BandFormat.Uchar);
    }

    /// <summary>The plain formula, without a colour profile: (255 - ink) x (255 - black) / 255, rounded.</summary>
    private static Image CmykToRgb(Image image)
    {
        using var ink = image.ExtractBand(0, n: 3);
        using var black = image[3];
        using var product = (255 - ink) * (255 - black);
        using var scaled = (product / 255).Rint();
        using var rgb = scaled.Cast(Enums.BandFormat.Uchar);
        return rgb.Copy(interpretation: Enums.Interpretation.Srgb);
    }

    private Image Upright(Image image)
    {
        if (Orientation == 1)
        {
            return image.Copy();
        }

        using var memory = image.CopyMemory(); // the JPEG decoder delivers rows in order; turning wants them in another
        return memory.Autorot();
    }

    private static T Guard<T>(string format, Func<T> call, CancellationToken cancel = default)
    {
        cancel.ThrowIfCancellationRequested();
        try
        {
            return call();
        }
        catch (VipsException e)
        {
            cancel.ThrowIfCancellationRequested();
            throw e.Message.Contains("vips_tracked: out of memory", StringComparison.Ordinal) // a file that lies of its sizes gets other words
                ? new InsufficientMemoryException("libvips is out of memory.", e)
                : new ImageException(ImageFault.Undecodable, $"The {format} is truncated or corrupt: {OneLine(e.Message)}", e);
        }
    }

    /// <summary>libvips gathers messages of all its threads; the last ones are this picture's.</summary>
    private static string OneLine(string messages) => string.Join("; ", messages.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Distinct().TakeLast(3));
}
