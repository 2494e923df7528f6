using System.Buffers.Binary;
using System.Security.Cryptography;

namespace FaceEmbedWorker.Jobs;

/// <summary>
/// The vector of bytes that are no picture: SHA-256 of the bytes in counter mode, mean zero, unit length. The same bytes give the same
/// vector; two different ones are near-orthogonal. Specified, with test vectors, in docs/messages.md.
/// </summary>
internal static class StubEmbedding
{
    public const string ModelId = "stub-sha256";

    /// <summary>Stubs have a space of their own for each length, so that none meets a real vector in an index.</summary>
    public static string Space(int dimensions) =>
        Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.ASCII.GetBytes($"{ModelId}/1 {dimensions}")))[..12];

    /// <returns>float32 [dimensions], unit L2 length, mean zero.</returns>
    public static float[] Compute(ReadOnlySpan<byte> bytes, int dimensions)
    {
        Span<byte> seed = stackalloc byte[32 + 4]; // SHA-256 of the bytes, then a counter, big-endian
        Span<byte> block = stackalloc byte[32];
        SHA256.HashData(bytes, seed);
        var values = new double[dimensions];
        for (var i = 0; i < dimensions; i++)
        {
            if (i % 8 == 0)
            {
                BinaryPrimitives.WriteInt32BigEndian(seed[32..], i / 8);
                SHA256.HashData(seed, block);
            }

            values[i] = BinaryPrimitives.ReadUInt32BigEndian(block[(i % 8 * 4)..]) / 4294967296.0;
        }

        var mean = values.Average();
        var norm = Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)));
        return Array.ConvertAll(values, v => (float)((v - mean) / norm));
    }
}
