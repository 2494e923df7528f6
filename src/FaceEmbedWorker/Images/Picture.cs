using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Images;

/// <summary>A decoded picture: upright, 8-bit RGB, interleaved, rows without padding. Its pixels live outside the managed heap.</summary>
internal sealed unsafe partial class Picture : IDisposable
{
    /// <summary>Blocks from here on are mapped anew and given back at once.</summary>
    private const int Mapped = 4 * 1024 * 1024;

    private const int HugePage = 2 * 1024 * 1024;

    private readonly int bytes;
    private nint pixels;

    /// <summary>
    /// glibc raises the size from which a block is given back at once to that of the largest that was, up to 32 MB: after one large picture
    /// the blocks of the next ones stay with the process (measured: 200 MB over twelve large pictures). With a fixed size they do not.
    /// </summary>
    static Picture()
    {
        const int trimThreshold = -1, mapThreshold = -3; // malloc.h
        Heaps.Set(mapThreshold, Mapped);
        Heaps.Set(trimThreshold, 2 * Mapped);
    }

    /// <summary>A picture with undefined pixels, for the caller to fill.</summary>
    /// <exception cref="ArgumentOutOfRangeException">As <see cref="Bytes"/>.</exception>
    public Picture(int width, int height)
    {
        bytes = Bytes(width, height);
        pixels = (nint)(bytes < Mapped ? NativeMemory.Alloc((nuint)bytes) : AllocHuge());
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

    /// <summary>
    /// In huge pages where the system gives them: a fault for each 4 KB of fresh memory costs more than the decode that writes it
    /// (measured in a virtual machine: 195 of 222 ms at 12 Mpx).
    /// </summary>
    private void* AllocHuge()
    {
        const int hugePage = 14; // madvise(2)
        var block = NativeMemory.AlignedAlloc((nuint)bytes, HugePage);
        if (OperatingSystem.IsLinux())
        {
            _ = Advise(block, (nuint)bytes / HugePage * HugePage, hugePage); // not the last one, which the picture does not fill
        }

        return block;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);

    /// <summary>One row: uint8 [width, 3].</summary>
    public Span<byte> Row(int y) => Pixels.Slice(y * Width * 3, Width * 3);

    public void Dispose()
    {
        var owned = Interlocked.Exchange(ref pixels, 0);
        if (owned != 0)
        {
            if (bytes < Mapped)
            {
                NativeMemory.Free((void*)owned);
            }
            else
            {
                NativeMemory.AlignedFree((void*)owned);
            }
        }
    }
}
