using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Images;

/// <summary>A decoded picture: upright, 8-bit RGB, interleaved, rows without padding. Its pixels live outside the managed heap.</summary>
internal sealed unsafe partial class Picture : IDisposable
{
    private const int Weighty = 64 * 1024 * 1024;

    private readonly int bytes;
    private nint pixels;

    /// <summary>
    /// glibc raises the size from which a block is given back at once to that of the largest that was, up to 32 MB: after one large picture
    /// the blocks of the next ones stay with the process (measured: 200 MB over twelve large pictures). With a fixed size they do not.
    /// </summary>
    static Picture()
    {
        const int trimThreshold = -1, mapThreshold = -3; // malloc.h
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = SetMalloc(mapThreshold, 4 * 1024 * 1024);
            _ = SetMalloc(trimThreshold, 8 * 1024 * 1024);
        }
        catch (EntryPointNotFoundException)
        {
            // another C library
        }
    }

    /// <summary>A picture with undefined pixels, for the caller to fill.</summary>
    /// <exception cref="ArgumentOutOfRangeException">As <see cref="Bytes"/>.</exception>
    public Picture(int width, int height)
    {
        bytes = Bytes(width, height);
        pixels = (nint)NativeMemory.Alloc((nuint)bytes);
        if (bytes > Weighty)
        {
            GC.AddMemoryPressure(bytes); // or it would let dead files of 60 MB lie beside pictures of 300
        }

        (Width, Height) = (width, height);
    }

    /// <summary>Bytes of so many pixels.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side is not positive, or the bytes are more than a span can have: 715 million
    /// pixels.</exception>
    public static int Bytes(int width, int height)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(height);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)width * height, int.MaxValue / 3, nameof(width));
        return width * height * 3;
    }

    public int Width { get; }

    public int Height { get; }

    /// <summary>
    /// Pixels of the picture at full size that one of this one's is wide. Boxes and landmarks are always in pixels of the full size.
    /// </summary>
    public double ScaleX { get; init; } = 1;

    /// <summary>As <see cref="ScaleX"/>, for the height.</summary>
    public double ScaleY { get; init; } = 1;

    /// <summary>uint8 [height, width, 3], RGB.</summary>
    public Span<byte> Pixels
    {
        get
        {
            ObjectDisposedException.ThrowIf(pixels == 0, this);
            return new((void*)pixels, bytes);
        }
    }

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int SetMalloc(int parameter, int value);

    /// <summary>One row: uint8 [width, 3].</summary>
    public Span<byte> Row(int y) => Pixels.Slice(y * Width * 3, Width * 3);

    public void Dispose()
    {
        var owned = Interlocked.Exchange(ref pixels, 0);
        if (owned != 0)
        {
            NativeMemory.Free((void*)owned);
            if (bytes > Weighty)
            {
                GC.RemoveMemoryPressure(bytes);
            }
        }
    }
}
