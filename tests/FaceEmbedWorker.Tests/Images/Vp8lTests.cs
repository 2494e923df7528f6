using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class Vp8lTests
{
    /// <summary>Streams that use all of the format by chance; that libwebp takes them shows that they are as the format says.</summary>
    [Fact]
    public void The_groups_of_any_stream_that_libwebp_decodes_are_counted()
    {
        for (var seed = 0; seed < 120; seed++)
        {
            var random = new Random(seed);
            var (width, height) = (1 + random.Next(60), 1 + random.Next(60));
            var writer = new Writer(random);
            var groups = writer.Write(width, height);

            Assert.True(groups == Vp8l.Groups(writer.Stream, width, height), $"seed {seed}: {width} x {height} has {groups} groups, and {Vp8l.Groups(writer.Stream, width, height)} are counted");
            if (writer.Named % 8 == 0)
            {
                Assert.Equal(groups, Vp8l.Groups(writer.Stream.AsSpan(0, writer.Named / 8), width, height)); // nothing behind it is looked at
            }

            using var picture = Pipeline.Decode(File(width, height, writer.Stream)); // throws for what is not in order, or ends early
            Assert.Equal((width, height), (picture.Width, picture.Height));
        }
    }

    [Fact]
    public void What_ends_early_is_no_fault()
    {
        for (var seed = 0; seed < 12; seed++)
        {
            var writer = new Writer(new Random(seed));
            writer.Write(40, 40);
            var stream = writer.Stream;
            for (var end = 0; end < stream.Length; end += 1 + end / 9)
            {
                Assert.InRange(Vp8l.Groups(stream.AsSpan(0, end), 40, 40), 1, 65_536);
            }
        }
    }

    /// <summary>Symbols that there are not, runs beyond the last, codes that lack some.</summary>
    [Fact]
    public void Any_bytes_are_counted()
    {
        for (var seed = 0; seed < 4000; seed++)
        {
            var random = new Random(seed);
            var bytes = new byte[random.Next(100)];
            random.NextBytes(bytes);
            Assert.InRange(Vp8l.Groups(bytes, 1 + random.Next(300), 1 + random.Next(300)), 1, 65_536);
        }

        const string One = "1000", Two = "111", Forty = "00010100"; // codes for distances end before 40
        var beyond = ("0" + "0" + "1" + "000" + "0" + One + One + One + One + Two + Forty + "10000000").PadRight(64, '0').Chunk(8).Select(b => Convert.ToByte(new string([.. b.Reverse()]), 2)).ToArray();
        Assert.Equal(1, Vp8l.Groups(beyond, 40, 40));
    }

    [Fact]
    public void A_transform_that_comes_twice_ends_it()
    {
        var once = new Writer(new Random(1));
        once.Transform(2, 40, 40);
        var groups = once.Write(40, 40, transforms: false, groups: 9);
        Assert.Equal(groups, Vp8l.Groups(once.Stream, 40, 40));
        Assert.InRange(groups, 5, 9);

        var twice = new Writer(new Random(1));
        twice.Transform(2, 40, 40);
        twice.Transform(2, 40, 40);
        twice.Write(40, 40, transforms: false, groups: 9);
        Assert.Equal(1, Vp8l.Groups(twice.Stream, 40, 40));
    }

    private static byte[] File(int width, int height, byte[] stream)
    {
        byte[] data = [0x2F, .. BitConverter.GetBytes((uint)(width - 1) | (uint)(height - 1) << 14), .. stream];
        byte[] all = [.. "WEBPVP8L"u8, .. BitConverter.GetBytes(data.Length), .. data, .. new byte[data.Length & 1]];
        return [.. "RIFF"u8, .. BitConverter.GetBytes(all.Length), .. all];
    }

    /// <summary>Writes a stream by chance, in the order of RFC 9649, 3: what pixels there are is decided before their codes.</summary>
    private sealed class Writer(Random random)
    {
        private const int Green = 0, Red = 1, Blue = 2, Alpha = 3, Distance = 4, Plain = 5;
        private static readonly int[] CodeLengthOrder = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

        private readonly List<byte> bits = [];

        /// <summary>The bits up to the end of what names the groups.</summary>
        public int Named { get; private set; }

        public byte[] Stream => [.. bits.Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << i).Sum())];

        /// <returns>How many groups of codes it has.</returns>
        public int Write(int width, int height, bool transforms = true, int? groups = null)
        {
            List<int> kinds = transforms ? [0, 1, 2, 3] : [];
            while (kinds.Count > 0 && random.Next(3) > 0)
            {
                var kind = kinds[random.Next(kinds.Count)];
                kinds.Remove(kind);
                width = Transform(kind, width, height);
            }

            Put(0, 1);
            var cache = Cache();
            var (most, size) = (1, 2 + random.Next(Chance(2) ? 2 : 8)); // many blocks, mostly
            int[] named = new int[width * height];
            if (Put(groups is not null || Chance(4) ? 1 : 0, 1) == 1)
            {
                Put(size - 2, 3);
                var across = Blocks(width, size);
                var count = groups ?? (Chance(8) ? 1 + random.Next(6) : 1 + random.Next(400));
                var blocks = Picture(across, Blocks(height, size), () => random.Next(count));
                (most, Named) = (blocks.Max() + 1, bits.Count);
                named = [.. named.Select((_, at) => blocks[(at / width >> size) * across + (at % width >> size)])];
            }

            var pixels = named.Select(group => (Group: group, Symbols: Literal(Colour(random.Next(65536))))).ToList();
            var codes = Enumerable.Range(0, most).Select(group => Codes(pixels.Where(p => p.Group == group).SelectMany(p => p.Symbols), cache)).ToArray();
            foreach (var (group, symbols) in pixels)
            {
                Put(symbols, codes[group]);
            }

            return most;
        }

        /// <returns>The picture's width behind it.</returns>
        public int Transform(int kind, int width, int height)
        {
            Put(1, 1);
            Put(kind, 2);
            if (kind < 2)
            {
                var size = 2 + Put(random.Next(Chance(2) ? 2 : 8), 3);
                Picture(Blocks(width, size), Blocks(height, size), () => random.Next(65536));
            }
            else if (kind == 3)
            {
                int[] some = [1, 2, 3, 4, 5, 16, 17, 1 + random.Next(256)]; // of so few, bytes hold several
                var colours = 1 + Put(some[random.Next(some.Length)] - 1, 8);
                Picture(colours, 1, () => random.Next(65536));
                width = Blocks(width, colours <= 2 ? 3 : colours <= 4 ? 2 : colours <= 16 ? 1 : 0);
            }

            return width;
        }

        /// <returns>Red and green of each pixel of a small picture, as one number.</returns>
        private int[] Picture(int width, int height, Func<int> said)
        {
            var cache = Cache();
            var kept = new uint[Math.Max(1, cache)];
            var pixels = new List<uint>();
            var symbols = new List<(int Of, int Value, int Bits)>();
            var one = Chance(6) ? null : (int?)said(); // of one colour: no pixel takes a bit
            while (pixels.Count < width * height)
            {
                var (before, left) = (pixels.Count, width * height - pixels.Count);
                if (before > 0 && one is null && random.Next(4) == 0)
                {
                    var (length, far) = (1 + random.Next(Math.Min(left, random.Next(2) == 0 ? 5 : 4096)), 1 + random.Next(before));
                    symbols.AddRange([.. Number(Green, 256, length), .. Number(Distance, 0, 120 + far)]);
                    for (var i = 0; i < length; i++)
                    {
                        pixels.Add(pixels[^far]);
                    }
                }
                else if (cache > 0 && one is null && random.Next(4) == 0)
                {
                    var at = random.Next(cache);
                    symbols.Add((Green, 280 + at, 0));
                    pixels.Add(kept[at]);
                }
                else
                {
                    pixels.Add(Colour(one ?? said()));
                    symbols.AddRange(Literal(pixels[^1]));
                }

                foreach (var pixel in cache > 0 ? pixels.Skip(before) : [])
                {
                    kept[(0x1E35A7BDu * pixel) >> (32 - int.Log2(cache))] = pixel;
                }
            }

            Put(symbols, Codes(symbols, cache));
            return [.. pixels.Select(p => (int)(p >> 8 & 0xFFFF))];
        }

        /// <summary>Blue and alpha are few, so that their codes are short.</summary>
        private uint Colour(int said) => (uint)random.Next(3) << 24 | (uint)said << 8 | (uint)random.Next(2) * 200;

        private static List<(int Of, int Value, int Bits)> Literal(uint colour) =>
            [(Green, (int)(colour >> 8 & 255), 0), (Red, (int)(colour >> 16 & 255), 0), (Blue, (int)(colour & 255), 0), (Alpha, (int)(colour >> 24), 0)];

        /// <summary>A length or a distance, from 1 on: a prefix, and bits for the rest.</summary>
        private static List<(int Of, int Value, int Bits)> Number(int of, int first, int value)
        {
            var more = 0;
            for (; value - 1 >= 4 << more; more++)
            {
            }

            return value <= 4 ? [(of, first + value - 1, 0)] : [(of, first + 2 * more + 2 + ((value - 1) >> more & 1), 0), (Plain, (value - 1) & (1 << more) - 1, more)];
        }

        private int Cache() => Put(random.Next(2), 1) == 1 ? 1 << Put(1 + random.Next(11), 4) : 0;

        /// <summary>Writes codes for green and lengths, red, blue, alpha and distances.</summary>
        private string?[][] Codes(IEnumerable<(int Of, int Value, int Bits)> symbols, int cache)
        {
            int[] alphabets = [256 + 24 + cache, 256, 256, 256, 40];
            var used = symbols.ToLookup(s => s.Of, s => s.Value);
            return [.. alphabets.Select((alphabet, of) => Code(alphabet, [.. used[of].Concat(More(alphabet)).DefaultIfEmpty(random.Next(alphabet)).Distinct().Order()]))];
        }

        /// <summary>Symbols that have a code and are not there: one, two, or a row of them, so that lengths come in runs.</summary>
        private IEnumerable<int> More(int alphabet) => Chance(3) ? Enumerable.Range(0, random.Next(3)).Select(_ => random.Next(alphabet)) : Enumerable.Range(random.Next(alphabet - 20), random.Next(20));

        /// <summary>A code in which some symbols have a place, written in one of the ways that the format has for it.</summary>
        /// <returns>The bits of each symbol.</returns>
        private string?[] Code(int alphabet, int[] used)
        {
            if (used.Length <= 2 && used[^1] < 256 && Chance(4))
            {
                random.Shuffle(used);
                Put(1, 1);
                Put(used.Length - 1, 1);
                Put(used[0], Put(used[0] > 1 ? 1 : random.Next(2), 1) == 1 ? 8 : 1);
                Put(used.Length > 1 ? used[1] : 0, used.Length > 1 ? 8 : 0);
                return Canonical(alphabet, used, [1, 1]);
            }

            var code = Canonical(alphabet, used, Complete(used.Length, 15));
            var lengths = new int[alphabet];
            foreach (var symbol in used)
            {
                lengths[symbol] = Math.Max(1, code[symbol]!.Length);
            }

            var written = Runs(lengths);
            int[] kinds = [.. written.Select(w => w.Symbol).Distinct().Order()];
            var of = Canonical(19, kinds, Complete(kinds.Length, 7));
            var count = Math.Max(4, 1 + CodeLengthOrder.Index().Where(o => of[o.Item] is not null).Max(o => o.Index));
            Put(0, 1);
            Put(count - 4, 4);
            foreach (var kind in CodeLengthOrder.Take(count))
            {
                Put(of[kind] is { } known ? Math.Max(1, known.Length) : 0, 3);
            }

            var end = written.FindLastIndex(w => w.Symbol is > 0 and < 17) + 1; // zeros behind the last may be left out
            if (end >= 2 && Chance(2))
            {
                Put(1, 1);
                var room = Enumerable.Range(0, 8).First(n => end - 2 < 1 << 2 + 2 * n);
                Put(room, 3);
                Put(end - 2, 2 + 2 * room);
                written.RemoveRange(end, written.Count - end);
            }
            else
            {
                Put(0, 1);
            }

            foreach (var (symbol, more, width) in written)
            {
                PutCode(of[symbol]!);
                Put(more, width);
            }

            return code;
        }

        /// <summary>Lengths one by one, or as runs: of zeros, or of the last that was none.</summary>
        private List<(int Symbol, int More, int Width)> Runs(int[] lengths)
        {
            var runs = new List<(int, int, int)>();
            for (int at = 0, before = 8; at < lengths.Length;)
            {
                var (length, run) = (lengths[at], lengths.Skip(at).TakeWhile(l => l == lengths[at]).Count());
                var (symbol, least, width) = length == 0 && run >= 11 ? (18, 11, 7) : length == 0 ? (17, 3, 3) : (16, 3, 2);
                if (run >= least && (length == 0 || length == before) && Chance(5))
                {
                    var taken = Math.Min(run, least + random.Next(1 << width));
                    runs.Add((symbol, taken - least, width));
                    at += taken;
                }
                else
                {
                    runs.Add((length, 0, 0));
                    (at, before) = (at + 1, length > 0 ? length : before);
                }
            }

            return runs;
        }

        /// <summary>The lengths of so many codes that leave no room for another, in any order; one alone has any length, and takes no bits.</summary>
        private int[] Complete(int count, int longest)
        {
            List<int> lengths = [0];
            var way = random.Next(3);
            while (lengths.Count < count)
            {
                var at = way == 0 ? lengths.IndexOf(lengths.Min()) : way == 1 && lengths[^1] < longest ? lengths.Count - 1 : random.Next(lengths.Count); // as alike as can be, as different, or by chance
                if (lengths[at] < longest)
                {
                    lengths.Add(++lengths[at]);
                }
            }

            return [.. lengths];
        }

        /// <summary>The bits of each symbol: shorter codes first, then by the symbols' order.</summary>
        private static string?[] Canonical(int alphabet, int[] symbols, int[] lengths)
        {
            var codes = new string?[alphabet];
            var (next, before) = (0, 0);
            foreach (var (symbol, length) in symbols.Zip(lengths).OrderBy(s => s.Second).ThenBy(s => s.First))
            {
                next <<= length - before;
                codes[symbol] = symbols.Length == 1 ? "" : Convert.ToString(next++, 2).PadLeft(length, '0');
                before = length;
            }

            return codes;
        }

        private void Put(List<(int Of, int Value, int Bits)> symbols, string?[][] codes)
        {
            foreach (var (of, value, width) in symbols)
            {
                if (of == Plain)
                {
                    Put(value, width);
                }
                else
                {
                    PutCode(codes[of][value]!);
                }
            }
        }

        /// <summary>The highest bit first.</summary>
        private void PutCode(string code) => bits.AddRange(code.Select(c => (byte)(c - '0')));

        /// <summary>The lowest bit first.</summary>
        private int Put(int value, int count)
        {
            for (var i = 0; i < count; i++)
            {
                bits.Add((byte)(value >> i & 1));
            }

            return value;
        }

        private static int Blocks(int side, int size) => (side + (1 << size) - 1) >> size;

        /// <summary>All but one time in so many.</summary>
        private bool Chance(int of) => random.Next(of) > 0;
    }
}
