namespace FaceEmbedWorker.Images;

/// <summary>
/// The beginning of a lossless WebP stream (RFC 9649, 3): how many groups of prefix codes its pixels are written with. Decoders hold five
/// tables for each, so that a megapixel can take a gigabyte. The groups are named by the pixels of a small picture, which every other
/// pixel repeats: the largest that is written out is the last group.
/// </summary>
internal static class Vp8l
{
    private const int Lengths = 24, Distances = 40, LongestCode = 15, LongestSide = 16384;
    private static readonly byte[] CodeLengthOrder = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// <param name="stream">Behind the signature and the sizes, or of an alpha channel.</param>
    /// <param name="width">Of the frame, in pixels.</param>
    /// <returns>1 to 65,536; what ends early or is not in order is counted as far as it goes, for no decoder goes further.</returns>
    public static int Groups(ReadOnlySpan<byte> stream, int width, int height)
    {
        var bits = new Bits(stream);
        var seen = 0;
        (width, height) = (Math.Min(width, LongestSide), Math.Min(height, LongestSide)); // of an animation's frame more can be claimed
        while (bits.Read(1) == 1 && !bits.Ended)
        {
            var transform = bits.Read(2);
            if ((seen & 1 << transform) != 0)
            {
                return 1; // each may come once: no decoder goes on
            }

            seen |= 1 << transform;
            switch (transform)
            {
                case 0 or 1: // what predicts pixels, or their colours, by blocks
                    var size = bits.Read(3) + 2;
                    Largest(ref bits, Blocks(width, size), Blocks(height, size));
                    break;
                case 3: // a palette, of which a byte may hold several indices
                    var colours = bits.Read(8) + 1;
                    Largest(ref bits, colours, 1);
                    width = Blocks(width, colours <= 2 ? 3 : colours <= 4 ? 2 : colours <= 16 ? 1 : 0);
                    break;
            }
        }

        if (bits.Read(1) == 1) // a cache of colours
        {
            bits.Read(4);
        }

        if (bits.Read(1) == 0 || bits.Ended)
        {
            return 1;
        }

        var block = bits.Read(3) + 2;
        return Largest(ref bits, Blocks(width, block), Blocks(height, block)) + 1;
    }

    private static int Blocks(int side, int bits) => (int)(((long)side + (1 << bits) - 1) >> bits);

    /// <summary>Reads over a small picture.</summary>
    /// <returns>The largest of its pixels' red and green as one number.</returns>
    private static int Largest(ref Bits bits, int width, int height)
    {
        var cache = bits.Read(1) == 1 ? 1 << bits.Read(4) : 0;
        var green = Code.Read(ref bits, 256 + Lengths + cache);
        var (red, blue, alpha, distance) = (Code.Read(ref bits, 256), Code.Read(ref bits, 256), Code.Read(ref bits, 256), Code.Read(ref bits, Distances));
        var largest = 0;
        for (long left = (long)width * height; left > 0 && !bits.Ended;)
        {
            var (before, symbol) = (bits.At, green.Next(ref bits));
            if (symbol < 256)
            {
                largest = Math.Max(largest, red.Next(ref bits) << 8 | symbol);
                blue.Next(ref bits);
                alpha.Next(ref bits);
                left = bits.At == before ? 0 : left - 1; // what takes no bits goes on for ever
            }
            else if (symbol < 256 + Lengths)
            {
                var length = Number(ref bits, symbol - 256);
                Number(ref bits, distance.Next(ref bits));
                left = bits.At == before ? 0 : left - length;
            }
            else
            {
                left = bits.At == before ? 0 : left - 1; // of the cache: it was written out before
            }
        }

        return largest;
    }

    /// <summary>A length or a distance: a prefix, and bits for the rest.</summary>
    private static long Number(ref Bits bits, int prefix)
    {
        var more = (prefix - 2) >> 1;
        return prefix < 4 ? prefix + 1 : ((2L + (prefix & 1)) << more) + bits.Read(more) + 1;
    }

    /// <summary>A prefix code: how many symbols have each length, and the symbols in the order of their codes.</summary>
    private readonly struct Code(int[] counts, ushort[] symbols)
    {
        public static Code Read(ref Bits bits, int alphabet)
        {
            var lengths = new byte[alphabet];
            if (bits.Read(1) == 1) // one symbol, or two
            {
                var two = bits.Read(1) == 1;
                var first = bits.Read(bits.Read(1) == 1 ? 8 : 1);
                int[] written = two ? [first, bits.Read(8)] : [first];
                return written.All(s => s < alphabet) ? two ? Of(written, lengths) : new([], [(ushort)first]) : new([], [0]);
            }

            var codes = new byte[CodeLengthOrder.Length];
            var count = 4 + bits.Read(4);
            for (var i = 0; i < count; i++)
            {
                codes[CodeLengthOrder[i]] = (byte)bits.Read(3);
            }

            var code = Of(codes);
            var most = bits.Read(1) == 1 ? 2 + bits.Read(2 + 2 * bits.Read(3)) : alphabet;
            byte before = 8;
            for (var symbol = 0; symbol < alphabet && most-- > 0 && !bits.Ended;)
            {
                var length = code.Next(ref bits);
                if (length < 16)
                {
                    lengths[symbol++] = (byte)length;
                    before = length > 0 ? (byte)length : before;
                    continue;
                }

                var (again, value) = length switch { 16 => (3 + bits.Read(2), before), 17 => (3 + bits.Read(3), (byte)0), _ => (11 + bits.Read(7), (byte)0) };
                for (; again > 0 && symbol < alphabet; again--)
                {
                    lengths[symbol++] = value;
                }
            }

            return Of(lengths);
        }

        /// <summary>The next symbol; that of a code which has only one takes no bits.</summary>
        public int Next(ref Bits bits)
        {
            var (code, first, index) = (0, 0, 0);
            for (var length = 1; length < counts.Length; length++)
            {
                code |= bits.Read(1);
                if (code - first < counts[length])
                {
                    return symbols[index + code - first];
                }

                index += counts[length];
                first = (first + counts[length]) << 1;
                code <<= 1;
            }

            return symbols.Length > 0 ? symbols[0] : 0;
        }

        private static Code Of(int[] two, byte[] lengths)
        {
            foreach (var symbol in two)
            {
                lengths[symbol] = 1;
            }

            return Of(lengths);
        }

        private static Code Of(byte[] lengths)
        {
            ushort[] symbols = [.. Enumerable.Range(0, lengths.Length).Where(s => lengths[s] > 0).OrderBy(s => lengths[s]).ThenBy(s => s).Select(s => (ushort)s)];
            if (symbols.Length <= 1)
            {
                return new([], symbols);
            }

            var counts = new int[LongestCode + 1];
            foreach (var symbol in symbols)
            {
                counts[lengths[symbol]]++;
            }

            return new(counts, symbols);
        }
    }

    /// <summary>The lowest bit of a byte first.</summary>
    private ref struct Bits(ReadOnlySpan<byte> bytes)
    {
        private readonly ReadOnlySpan<byte> bytes = bytes;
        private long at;

        public readonly long At => at;

        /// <summary>Nothing is left: what was read last were zeros.</summary>
        public readonly bool Ended => at > 8L * bytes.Length;

        public int Read(int count)
        {
            var value = 0;
            for (var i = 0; i < count; i++, at++)
            {
                value |= at < 8L * bytes.Length ? (bytes[(int)(at >> 3)] >> (int)(at & 7) & 1) << i : 0;
            }

            return value;
        }
    }
}
