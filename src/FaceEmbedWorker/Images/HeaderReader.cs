using System.Buffers.Binary;

namespace FaceEmbedWorker.Images;

/// <summary>Reads numbers from an encoded picture's bytes; a place behind their end is the picture's fault, told as such.</summary>
internal readonly ref struct HeaderReader(ReadOnlySpan<byte> bytes, string format, bool bigEndian = true)
{
    private readonly ReadOnlySpan<byte> bytes = bytes;

    public int Length => bytes.Length;

    /// <summary>The same bytes, with numbers in the other order.</summary>
    public HeaderReader As(bool bigEndianNumbers) => new(bytes, format, bigEndianNumbers);

    /// <summary><paramref name="length"/> bytes from <paramref name="at"/> on; both may be anything that a file claims.</summary>
    /// <exception cref="ImageException">They are not all there.</exception>
    public ReadOnlySpan<byte> Slice(long at, long length) =>
        at >= 0 && length >= 0 && at <= bytes.Length - length ? bytes.Slice((int)at, (int)length) : throw Corrupt($"its header refers to byte {at:N0}, and it has {bytes.Length:N0}");

    public byte U8(long at) => Slice(at, 1)[0];

    public int U16(long at) => bigEndian ? BinaryPrimitives.ReadUInt16BigEndian(Slice(at, 2)) : BinaryPrimitives.ReadUInt16LittleEndian(Slice(at, 2));

    public uint U32(long at) => bigEndian ? BinaryPrimitives.ReadUInt32BigEndian(Slice(at, 4)) : BinaryPrimitives.ReadUInt32LittleEndian(Slice(at, 4));

    public ulong U64(long at) => bigEndian ? BinaryPrimitives.ReadUInt64BigEndian(Slice(at, 8)) : BinaryPrimitives.ReadUInt64LittleEndian(Slice(at, 8));

    public bool Is(long at, ReadOnlySpan<byte> text) => at >= 0 && at <= bytes.Length - text.Length && bytes.Slice((int)at, text.Length).SequenceEqual(text);

    /// <summary>The next place of a byte, or -1.</summary>
    public int IndexOf(byte value, int from)
    {
        var at = from < bytes.Length ? bytes[from..].IndexOf(value) : -1;
        return at < 0 ? -1 : from + at;
    }

    /// <summary>A number of the header as a side or a count: 0, and what no picture has, is corrupt.</summary>
    public int Side(ulong value) => value is > 0 and <= int.MaxValue ? (int)value : throw Corrupt($"its header says that a side has {value:N0} pixels");

    public ImageException Corrupt(string why) => new(ImageFault.Undecodable, $"The {format} is truncated or corrupt: {why}.");
}
