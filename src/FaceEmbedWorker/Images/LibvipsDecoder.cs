using System.Runtime.InteropServices;
using NetVips;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Decodes with libvips, the fastest way: JPEGs shrink while they are decoded, and rows come out as they go in where the format allows it.
/// </summary>
internal static partial class LibvipsDecoder
{
    /// <summary>Bytes of decoded rows that are asked for at a time; between two times a decode can be stopped.</summary>
    private const int StripBytes = 256 * 1024;

    static LibvipsDecoder()
    {
        NetVips.NetVips.BlockUntrusted = true;
        Operation.Block("VipsForeignLoad", true);
        foreach (var loader in (string[])["Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif"])
        {
            Operation.Block("VipsForeignLoad" + loader, false);
        }

        // what a file is wrong about is in the error; a hostile one must not write into our log
        Log.SetLogHandler("VIPS", Enums.LogLevelFlags.Warning, static (_, _, _) => { });
        Cache.Max = 0;
        NetVips.NetVips.Concurrency = 1; // parallelism is across jobs
        NativeLibrary.SetDllImportResolver(typeof(LibvipsDecoder).Assembly, static (name, _, _) => name != Library ? 0
            : NativeLibrary.Load(OperatingSystem.IsWindows() ? "libvips-42.dll" : OperatingSystem.IsMacOS() ? "libvips.42.dylib" : "libvips.so.42", typeof(Image).Assembly, null));
    }

    private static readonly Lazy<bool> ReadsHeicHere = new(() =>
    {
        using var stream = typeof(LibvipsDecoder).Assembly.GetManifestResourceStream("probe.heic")!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        try
        {
            using var picture = Decode(ImageHeader.Read("heic", bytes), bytes, 1, CancellationToken.None);
            return true;
        }
        catch (ImageException)
        {
            return false;
        }
    });

    /// <summary>
    /// The library in use decodes HEIC: the prebuilt one does not, Debian's does. Tried once, on a picture of 16 x 16 pixels.
    /// </summary>
    public static bool ReadsHeic => ReadsHeicHere.Value;

    /// <summary>The library and its version.</summary>
    public static string Version => $"libvips {NetVips.NetVips.Version(0)}.{NetVips.NetVips.Version(1)}.{NetVips.NetVips.Version(2)}";

    /// <inheritdoc cref="EncodedImage.Decode"/>
    /// <param name="warnings">What the decoder only warns of is broken too.</param>
    public static Picture Decode(ImageHeader header, byte[] bytes, int shrink, CancellationToken cancel, bool warnings = false)
    {
        cancel.ThrowIfCancellationRequested();
        Picture? picture = null;
        try
        {
            using var source = Source.NewFromMemory(Readable(header, bytes)); // pinned, not copied
            using var loaded = Image.NewFromSource(source, access: Enums.Access.Sequential, failOn: warnings ? Enums.FailOn.Warning : Enums.FailOn.Error, kwargs: Options(header, shrink));
            var (width, height) = (loaded.Width, loaded.Height);
            if (!IsShrunk(width, header.Width, shrink) || !IsShrunk(height, header.Height, shrink))
            {
                throw header.Broken();
            }

            using var converted = ToRgb(loaded);
            var turned = header.Orientation >= 5;
            picture = new Picture(turned ? height : width, turned ? width : height)
            {
                ScaleX = (double)(turned ? header.Height : header.Width) / (turned ? height : width),
                ScaleY = (double)(turned ? header.Width : header.Height) / (turned ? width : height),
            };
            var rows = Math.Clamp(StripBytes / (width * 3), 1, height);
            using var strip = header.Orientation == 1 ? null : new Picture(width, rows);
            using var target = Wrapped(strip ?? picture);
            using var from = Region.New(converted ?? loaded);
            using var to = Region.New(target);
            for (var row = 0; row < height; row += rows)
            {
                cancel.ThrowIfCancellationRequested();
                var wanted = new Area(0, row, width, Math.Min(rows, height - row));
                var written = strip is null ? wanted : wanted with { Top = 0 };
                if (PointInto(to, written) != 0 || Evaluate(from, to, wanted, written.Left, written.Top) != 0)
                {
                    throw new VipsException("The rows do not come.");
                }

                if (strip is not null)
                {
                    Pixels.Place(strip.Pixels[..(wanted.Width * wanted.Height * 3)], row, width, height, header.Orientation, picture);
                }
            }

            return picture;
        }
        catch (Exception e)
        {
            picture?.Dispose();
            cancel.ThrowIfCancellationRequested();
            if (e is VipsException)
            {
                throw Explain(header, e.Message);
            }

            throw;
        }
    }

    /// <summary>A picture's own memory as an image of libvips, for it to write into.</summary>
    private static unsafe Image Wrapped(Picture picture)
    {
        fixed (byte* pixels = picture.Pixels)
        {
            return Image.NewFromMemory((nint)pixels, (ulong)picture.Pixels.Length, picture.Width, picture.Height, 3, Enums.BandFormat.Uchar); // outside the managed heap: it stays where it is
        }
    }

    /// <summary>
    /// A TIFF may need more than the 50 MB that libvips allows libtiff; the header has weighed what it takes. Versions before 8.17 set no
    /// limit.
    /// </summary>
    private static VOption? Options(ImageHeader header, int shrink) => shrink > 1 ? new VOption { { "shrink", shrink } }
        : header.Format == "tiff" && NetVips.NetVips.AtLeastLibvips(8, 17) ? new VOption { { "unlimited", true } }
        : null;

    /// <summary>
    /// The bytes as libvips reads them: it takes an image sequence for what it is only by the name of its still picture, and unpacks all
    /// that is written beside a PNG's pixels, however much that becomes, before it can be stopped.
    /// </summary>
    private static byte[] Readable(ImageHeader header, byte[] bytes)
    {
        if (header.Wordy)
        {
            return PngHeader.WithoutWords(bytes);
        }

        if (header.Format != "avif" || !bytes.AsSpan(8, 4).SequenceEqual("avis"u8))
        {
            return bytes;
        }

        var still = (byte[])bytes.Clone();
        "avif"u8.CopyTo(still.AsSpan(8));
        return still;
    }

    /// <summary>libjpeg rounds up; libvips leaves out a last pixel that is not whole.</summary>
    private static bool IsShrunk(int length, int full, int shrink) => length == full / shrink || length == (full + shrink - 1) / shrink;

    /// <summary>
    /// libvips gathers the messages of all its threads in one place, so its text may be another picture's and is shown to nobody. That
    /// memory ran out somewhere is enough to try again.
    /// </summary>
    private static Exception Explain(ImageHeader header, string messages) =>
        messages.Contains("out of memory", StringComparison.Ordinal) ? new InsufficientMemoryException("libvips is out of memory.") : header.Broken();

    /// <summary>
    /// As Pillow's <c>convert("RGB")</c>: alpha is dropped, grey is repeated, 16 bits keep their upper 8, embedded colour profiles are
    /// ignored.
    /// </summary>
    /// <returns>Null where the image is so already: each operation keeps rows of its own.</returns>
    private static Image? ToRgb(Image image)
    {
        if (image.Interpretation == Enums.Interpretation.Cmyk)
        {
            return CmykToRgb(image);
        }

        if (image is { Interpretation: Enums.Interpretation.Srgb, Format: Enums.BandFormat.Uchar, Bands: 3 })
        {
            return null;
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

    private const string Library = "libvips";

    /// <summary>Makes a region stand for an area of its image.</summary>
    [LibraryImport(Library, EntryPoint = "vips_region_image")]
    private static partial int PointInto(Region region, in Area area);

    /// <summary>Computes an area, on this thread, into another region from (<paramref name="left"/>, <paramref name="top"/>) on.</summary>
    [LibraryImport(Library, EntryPoint = "vips_region_prepare_to")]
    private static partial int Evaluate(Region region, Region into, in Area area, int left, int top);

    /// <summary><c>VipsRect</c>.</summary>
    private readonly record struct Area(int Left, int Top, int Width, int Height);
}
