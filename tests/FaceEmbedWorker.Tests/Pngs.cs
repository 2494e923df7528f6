using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace FaceEmbedWorker.Tests;

/// <summary>Parts of PNG files (PNG 1.2, 3.2).</summary>
internal static class Pngs
{
    /// <summary>A header of that size and no pixels.</summary>
    public static byte[] Header(uint width, uint height)
    {
        var size = new byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(size, width);
        BinaryPrimitives.WriteUInt32BigEndian(size.AsSpan(4), height);
        return [.. Convert.FromHexString("89504E470D0A1A0A"), .. Chunk("IHDR", [.. size, 8, 2, 0, 0, 0]), .. Convert.FromHexString("0000000849444154789C030000000001"), .. new byte[4], .. Chunk("IEND", [])];
    }

    public static byte[] Chunk(string type, byte[] data)
    {
        byte[] chunk = [0, 0, 0, 0, .. Encoding.ASCII.GetBytes(type), .. data, 0, 0, 0, 0];
        BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(chunk.Length - 4), Crc32.HashToUInt32(chunk.AsSpan(4, 4 + data.Length)));
        return chunk;
    }
}
