using System.Security.Cryptography;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Opens encoded pictures: header and limits first, in managed code; pixels when asked, within <c>Images:MaxMemory</c> and a deadline.
/// </summary>
internal sealed class ImageDecoder : IDisposable
{
    /// <summary>What decoding takes for any picture: the decoder's code, tables and buffers, and what comes after it.</summary>
    private const long Fixed = 24 * 1024 * 1024;

    /// <summary>Rows that a decoder holds of a picture that passes through it.</summary>
    private const int Rows = 128;

    private readonly ImageOptions options;
    private readonly SemaphoreSlim places;

    /// <param name="places">Decodes that may run at once; those that were given up and run on count.</param>
    public ImageDecoder(IOptions<ImageOptions> options, int places = 1024)
    {
        this.options = options.Value;
        this.places = new SemaphoreSlim(places);
    }

    /// <summary>Reads the header only.</summary>
    /// <exception cref="ImageException">Not a picture, not a supported one, or over a limit.</exception>
    public EncodedImage Open(byte[] bytes)
    {
        if (bytes.Length > options.MaxBytes)
        {
            throw new ImageException(ImageFault.TooLarge, $"The picture has {bytes.Length:N0} bytes; Images:MaxBytes allows {options.MaxBytes:N0}.");
        }

        if (bytes.Length == 0)
        {
            throw new ImageException(ImageFault.Empty, "The picture is empty: it has 0 bytes.");
        }

        var format = ImageFormat.Of(bytes)
            ?? throw new ImageException(ImageFault.Undecodable, "The bytes are not a picture of any known format.");
        if (!ImageFormat.Decoded.Contains(format))
        {
            throw new ImageException(ImageFault.Unsupported, $"The picture is {format}, which this worker does not decode; send JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP, TGA or PNM.");
        }

        if (options.Decoder == PictureDecoder.ImageSharp && !ImageFormat.ImageSharp.Contains(format))
        {
            throw new ImageException(ImageFault.Unsupported, $"The picture is {format.ToUpperInvariant()}, which ImageSharp does not decode; Images:Decoder=Libvips may.");
        }

        if (format == "heic" && !LibvipsDecoder.ReadsHeic)
        {
            throw new ImageException(ImageFault.Unsupported, "The picture is HEIC, which the libvips in use does not decode (patents); build with -p:SystemLibvips=true where the system's does, or convert it to JPEG first.");
        }

        var header = ImageHeader.Read(format, bytes);
        if (header.Unsupported is { } variant)
        {
            throw new ImageException(ImageFault.Unsupported, $"The picture is {variant}, which this worker does not decode; send an ordinary JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP, TGA or PNM.");
        }

        if (IsManaged(header) && header.UnsupportedByImageSharp is { } kind)
        {
            throw new ImageException(ImageFault.Unsupported, $"The picture is {kind}, which ImageSharp does not decode; Images:Decoder=Libvips does.");
        }

        CheckLimits(header);
        var coarsest = CanShrink(header) ? 8 : 1;
        if (IsOver(header, bytes, coarsest, held: null))
        {
            throw OverMemory(header, bytes, coarsest, held: null);
        }

        return new EncodedImage(bytes, header, this);
    }

    /// <summary>Which library decodes, of which version, and what it reads: for people.</summary>
    public string Describe() => options.Decoder == PictureDecoder.ImageSharp ? $"ImageSharp {typeof(SixLabors.ImageSharp.Image).Assembly.GetName().Version!.ToString(3)}: {Names(ImageFormat.ImageSharp)}"
        : $"{LibvipsDecoder.Version}: {Names(ImageFormat.Libvips.Where(f => f != "heic" || LibvipsDecoder.ReadsHeic))}; ImageSharp: {Names(ImageFormat.ImageSharp.Except(ImageFormat.Libvips))}";

    private static string Names(IEnumerable<string> formats) => string.Join(", ", formats.Select(f => f.ToUpperInvariant()));

    public void Dispose() => places.Dispose();

    /// <summary>Whether decoding would take more than <c>Images:MaxMemory</c>.</summary>
    internal bool IsOver(ImageHeader header, byte[] bytes, int shrink, Picture? held) => Estimate(header, bytes, shrink, held) > options.MaxMemory;

    /// <inheritdoc cref="EncodedImage.Decode"/>
    internal Picture Decode(ImageHeader header, byte[] bytes, int shrink, Picture? held, CancellationToken cancel)
    {
        if (IsOver(header, bytes, shrink, held))
        {
            throw OverMemory(header, bytes, shrink, held);
        }

        if (Estimate(header, bytes, shrink, held) > options.MaxMemory / 2)
        {
            Heaps.GiveBack();
        }

        return header.Whole || IsManaged(header) ? Alone(Now, cancel) : Now();

        Picture Now() => header.Format != "jpeg" ? Of(bytes)
            : !header.Cut ? Ended()
            : header.Whole ? throw header.Broken() // the last of its scans may be missing
            : Endless(header, bytes, Of);

        Picture Of(byte[] whole) => IsManaged(header) ? ImageSharpDecoder.Decode(header, whole, options.MaxMemory, cancel) : LibvipsDecoder.Decode(header, whole, shrink, cancel);

        Picture Ended()
        {
            if (!IsManaged(header))
            {
                try
                {
                    return LibvipsDecoder.Decode(header, bytes, shrink, cancel, warnings: true);
                }
                catch (ImageException)
                {
                    return Endless(header, bytes, Of); // libjpeg is content with most of what it warns of, missing pixels among it
                }
            }

            if (header.Whole)
            {
                return Endless(header, bytes, Of); // of a scan that is cut it shows what came before, in silence
            }

            var picture = Of(bytes.Length > header.PixelsEnd + 2 ? bytes[..(header.PixelsEnd + 2)] : bytes); // it would read on behind the end, into what a camera appends
            if (!MayBeMadeUp(picture))
            {
                return picture;
            }

            picture.Dispose();
            return Endless(header, bytes, Of);
        }
    }

    /// <summary>
    /// Where a JPEG ends too early, ImageSharp leaves black what it has not begun, and grey what it has: one corner is of such a colour,
    /// which is rare otherwise.
    /// </summary>
    private static bool MayBeMadeUp(Picture picture)
    {
        var (row, end) = ((picture.Width - 1) * 3, picture.Pixels.Length - 3);
        foreach (var corner in (ReadOnlySpan<int>)[0, row, end - row, end])
        {
            if (picture.Pixels.Slice(corner, 3) is [0, 0, 0] or [>= 127 and <= 129, >= 127 and <= 129, >= 127 and <= 129])
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// A JPEG that may lack pixels: without its end marker, or with a scan that ends too early. ImageSharp makes them up in silence, and
    /// libjpeg misses some where none are: two different continuations of each scan give one picture where nothing was made up. Whether it
    /// lacks a whole scan that would have refined it, nobody can tell.
    /// </summary>
    private static Picture Endless(ImageHeader header, byte[] bytes, Func<byte[], Picture> decode)
    {
        byte[] expected;
        var (copy, places) = JpegHeader.GoneOn(bytes, several: header.Whole); // one, as the estimate has it
        using (var one = decode(copy))
        {
            expected = SHA256.HashData(one.Pixels);
        }

        JpegHeader.GoOn(copy, places, 0b0101_0101);
        var other = decode(copy);
        if (SHA256.HashData(other.Pixels).AsSpan().SequenceEqual(expected))
        {
            return other;
        }

        other.Dispose();
        throw (header with { Cut = true }).Broken();
    }

    /// <summary>A decoder can give the picture at 1/2, 1/4 or 1/8 of its size for less.</summary>
    internal bool CanShrink(ImageHeader header) => header.Format == "jpeg" && !IsManaged(header);

    /// <summary>ImageSharp decodes it.</summary>
    internal bool IsManaged(ImageHeader header) => options.Decoder == PictureDecoder.ImageSharp || !ImageFormat.Libvips.Contains(header.Format);

    /// <summary>
    /// Runs a decode that cannot be stopped. Where the token is cancelled first its caller goes on, and what comes out later is thrown
    /// away; it keeps its place until then, so that no more decodes run at once than jobs.
    /// </summary>
    private Picture Alone(Func<Picture> decode, CancellationToken cancel)
    {
        places.Wait(cancel);
        var running = WarmThreads.Shared.RunAsync(decode); // this one waits
        try
        {
            running.Wait(cancel);
        }
        catch (AggregateException)
        {
        }
        catch (OperationCanceledException)
        {
            running.ContinueWith(late =>
            {
                if (late.IsCompletedSuccessfully)
                {
                    late.Result.Dispose();
                }

                _ = late.Exception;
                places.Release();
            }, TaskScheduler.Default);
            throw;
        }

        places.Release();
        return running.GetAwaiter().GetResult();
    }

    /// <summary>
    /// Bytes that a decode takes at its peak, those of the file included: what the decoder holds, and 3 for each pixel that comes out.
    /// Held against measured peaks by <c>MemoryBudgetTests</c>.
    /// </summary>
    private long Estimate(ImageHeader header, byte[] bytes, int shrink, Picture? held)
    {
        var (width, height) = ((header.Width + (long)shrink - 1) / shrink, (header.Height + (long)shrink - 1) / shrink);
        return Fixed + bytes.Length + header.Held + header.Width * 4L * Rows + width * height * 3 + (held is null ? 0 : (long)held.Width * held.Height * 3)
            + (IsManaged(header) ? width * height * 4 + header.HeldByImageSharp : 0); // its own picture, from which ours is copied
    }

    private ImageException OverMemory(ImageHeader header, byte[] bytes, int shrink, Picture? held) => new(ImageFault.Refused,
        $"The {header.Format} ({header.Width} x {header.Height}) would take {Estimate(header, bytes, shrink, held):N0} bytes of memory; Images:MaxMemory allows {options.MaxMemory:N0}.");

    private void CheckLimits(ImageHeader header)
    {
        var (longer, shorter) = (Math.Max(header.Width, header.Height), Math.Min(header.Width, header.Height));
        Require(longer, options.MaxSide, "pixels on a side", nameof(ImageOptions.MaxSide));
        if (longer > 1000)
        {
            Require((longer + shorter - 1) / shorter, options.MaxAspectRatio, "times the length of the other on one side", nameof(ImageOptions.MaxAspectRatio));
        }

        Require(header.Pixels, options.MaxPixels, "pixels", nameof(ImageOptions.MaxPixels));
        Require(header.Pages, options.MaxPages, "frames or pages", nameof(ImageOptions.MaxPages));
        Require(header.Scans, options.MaxScans, "scans", nameof(ImageOptions.MaxScans));
        if (header.Progressive)
        {
            Require(header.Pixels, options.MaxProgressivePixels, "pixels in progressive order", nameof(ImageOptions.MaxProgressivePixels));
        }

        void Require(long value, long limit, string what, string setting)
        {
            if (value > limit)
            {
                throw new ImageException(ImageFault.Refused,
                    $"The {header.Format} ({header.Width} x {header.Height}) has {value:N0} {what}; Images:{setting} allows {limit:N0}.");
            }
        }
    }
}
