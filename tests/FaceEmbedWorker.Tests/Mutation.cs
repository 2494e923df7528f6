using System.Buffers.Binary;

namespace FaceEmbedWorker.Tests;

/// <summary>Flips, cuts, repeats and exchanges bytes of a file, mostly near its structure.</summary>
internal static class Mutation
{
    public static byte[] Of(byte[] original, Random random)
    {
        var bytes = original.ToList();
        for (var change = random.Next(1, 4); change > 0 && bytes.Count > 16; change--)
        {
            var near = random.Next(2) == 0 ? Math.Min(bytes.Count, 4000) : bytes.Count;
            var at = random.Next(near - 8);
            switch (random.Next(6))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes.RemoveRange(at, random.Next(1, Math.Min(4000, bytes.Count - at)));
                    break;
                case 3:
                    bytes.InsertRange(at, bytes.GetRange(at, random.Next(1, Math.Min(200, bytes.Count - at))));
                    break;
                case 4:
                    var length = new byte[8];
                    BinaryPrimitives.WriteInt64LittleEndian(length, random.NextInt64());
                    bytes.RemoveRange(at, 8);
                    bytes.InsertRange(at, length);
                    break;
                default:
                    var keep = bytes.Count * random.Next(1, 100) / 100;
                    bytes.RemoveRange(keep, bytes.Count - keep);
                    break;
            }
        }

        return [.. bytes];
    }
}
