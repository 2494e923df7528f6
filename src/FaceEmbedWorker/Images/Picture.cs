using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Images;

/// <summary>A decoded picture: upright, 8-bit RGB, interleaved, rows without padding. Its pixels live outside the managed heap.</summary>
internal sealed unsafe class Picture : IDisposable
{
    private readonly Action<nint> free;
    private nint pixels;

    /// <summary>Takes ownership of <paramref name="pixels"/> (height x width x 3 bytes).</summary>
    public Picture(nint pixels, int width, int height, Action<nint> free)
    {
        this.pixels = pixels;
        this.free = free;
        Width = width;
        Height = height;
    }

    /// <summary>A picture with undefined pixels, for the caller to fill.</summary>
    public Picture(int width, int height)
        : this((nint)NativeMemory.Alloc((nuint)width * (nuint)height, 3), width, height, static p => NativeMemory.Free((void*)p))
    {
    }

    public int Width { get; }

    public int Height { get; }

    /// <summary>Pixels of the picture at full size that one of this one's is wide. Boxes and landmarks are always in pixels of the full size.</summary>
    public double ScaleX { get; init; } = 1;

    /// <summary>As <see cref="ScaleX"/>, for the height.</summary>
    public double ScaleY { get; init; } = 1;

    /// <summary>uint8 [height, width, 3], RGB.</summary>
    public Span<byte> Pixels
    {
        get
        {
            ObjectDisposedException.ThrowIf(pixels == 0, this);
            return new((void*)pixels, checked(Width * Height * 3));
        }
    }

    /// <summary>One row: uint8 [width, 3].</summary>
    public Span<byte> Row(int y) => Pixels.Slice(y * Width * 3, Width * 3);

    public void Dispose()
    {
        var owned = Interlocked.Exchange(ref pixels, 0);
        if (owned != 0)
        {
            free(owned);
        }
    }
}
