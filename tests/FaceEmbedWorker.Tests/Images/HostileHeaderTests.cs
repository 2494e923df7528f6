using System.Buffers.Binary;
using System.Diagnostics;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Headers whose counts and sizes are made to cost time or memory, or to overflow: each ends at once, in a typed fault.</summary>
[Collection(Heavy.Name)]
public class HostileHeaderTests
{
    [Fact]
    public void Item_locations_that_take_no_bytes_are_counted()
    {
        byte[] item = [0, 2, 0, 0, 0xFF, 0xFF];
        Undecodable(Avif(iloc: [0, 0, 0xFF, 0xFF, .. Enumerable.Repeat(item, 65_535).SelectMany(i => i)]), "65,535 parts");
        Undecodable(Avif(iloc: [0, 0, 0x0F, 0xFF, .. Enumerable.Repeat(item, 4095).SelectMany(i => i)]), "65,535 parts");
    }

    [Fact]
    public void Properties_of_one_item_are_read_once()
    {
        byte[] entry = [0, 1, 255, .. Enumerable.Repeat((byte)1, 255)];
        Undecodable(Avif(ipma: [0, 0, 0xFF, 0xFF, .. Enumerable.Repeat(entry, 65_535).SelectMany(e => e)]), "65,535 parts");
        Undecodable(Avif(ipma: [0, 0, 0, 2, .. entry, .. entry]), "given twice");
        byte[] other = [0, 2, .. entry[2..]];
        Undecodable(Avif(ipma: [0, 0, 0xFF, 0xFF, .. Enumerable.Repeat(other, 65_535).SelectMany(e => e)]), "65,535 parts");
        Assert.Equal(64, ImageHeader.Read("avif", Avif(ipma: [0, 0, 0, 2, .. other, .. entry])).Width);
    }

    /// <summary>A grid of 16 x 16 tiles that are all one large picture: a kilobyte that is decoded for minutes.</summary>
    [Fact]
    public void Tiles_are_weighed_as_often_as_a_grid_names_them()
    {
        var file = File.ReadAllBytes(Path.Combine(TestData.Folder, "..", "heic", "tiles.heic"));
        var real = ImageHeader.Read("heic", file);
        Assert.InRange((double)real.Held / real.Pixels, 1, 16); // whole tiles cover hardly more than the picture
        var count = file.AsSpan().IndexOf("dimg"u8) + 6;
        var tiles = BinaryPrimitives.ReadInt16BigEndian(file.AsSpan(count));
        Assert.InRange(tiles, 2, 64);

        BinaryPrimitives.WriteInt16BigEndian(file.AsSpan(count), (short)(16 * tiles));
        Assert.Equal(16 * real.Held, ImageHeader.Read("heic", file).Held);
    }

    [Fact]
    public void Sizes_that_overflow_are_no_picture_in_any_format()
    {
        Undecodable(Tiff((322, 4, 1, int.MaxValue), (323, 4, 1, int.MaxValue), (324, 4, 1, 8), (325, 4, 1, 256)), "sizes that no picture has");
        Undecodable(Tiff((322, 4, 1, int.MaxValue - 15), (323, 4, 1, 800_000_000), (324, 4, 1, 8), (325, 4, 1, 256)), "sizes that no picture has");
        Undecodable("P6 2147483647 2147483647 65535 0"u8.ToArray(), "sizes that no picture has");
        var avif = Avif();
        avif.AsSpan(avif.AsSpan().IndexOf("ispe"u8) + 8, 8).Fill(0x7F);
        Undecodable(avif, "sizes that no picture has");
    }

    [Fact]
    public void A_tag_without_a_value_has_its_default()
    {
        var header = ImageHeader.Read("tiff", Tiff((258, 3, 0, 8)));
        Assert.Equal((16, 16, null), (header.Width, header.Height, header.Unsupported));
    }

    /// <summary>
    /// libtiff reads all values of one page at a time, ImageSharp those of all pages, and both without regard to a deadline.
    /// </summary>
    [Fact]
    public void Tags_that_name_the_same_bytes_weigh_as_often_as_they_name_them()
    {
        (int, int, uint, long) Private(int tag, int count) => (40_000 + tag, 1, (uint)count, -1);
        var million = new byte[1_000_000];
        Undecodable(Tiff(million, [.. Enumerable.Range(0, 400).Select(i => Private(i, 1_000_000))]), "its tags name 400,000,000 bytes, and it has 1,00");
        var sixty = Tiff(million, [.. Enumerable.Range(0, 60).Select(i => Private(i, 1_000_000))]);
        Ends(ImageFault.Refused, sixty, "Images:MaxMemory allows 377,487,360", PictureDecoder.ImageSharp);
        Decodes(sixty, PictureDecoder.Libvips);
        Assert.True(ImageHeader.Read("tiff", sixty).Whole); // libtiff heeds no deadline
        Decodes(Tiff(million, [.. Enumerable.Range(0, 20).Select(i => Private(i, 1_000_000))]), PictureDecoder.ImageSharp, PictureDecoder.Libvips);
        Ends(ImageFault.Unsupported, Tiff([.. Enumerable.Range(0, 2000).Select(i => Private(i, 1))]), "a TIFF with 2,009 tags on a page");
    }

    [Fact]
    public void Pages_that_lie_over_one_another_are_counted()
    {
        // pages of 30,000 entries each, the next of which begins four bytes behind the beginning of the last
        var overlapping = Tiff(new byte[500_000]);
        var next = 8 + 256 + 2 + 9 * 12;
        for (var page = 1000; page < 50_000; page += 4)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(overlapping.AsSpan(page), 30_000);
            BinaryPrimitives.WriteInt32LittleEndian(overlapping.AsSpan(next), page);
            next = page + 2 + 30_000 * 12;
        }

        Undecodable(overlapping, "for which it is too short");
    }

    /// <summary>Each strip or tile of JPEG in TIFF is a picture of its own, which libtiff decodes at one go.</summary>
    [Fact]
    public void Scans_in_a_tiff_are_counted()
    {
        var jpeg = TestData.Read("formats/progressive.jpg");
        var last = jpeg.AsSpan().LastIndexOf([(byte)0xFF, (byte)0xDA]);
        byte[] many = [.. jpeg[..last], .. Enumerable.Repeat(jpeg[last..^2], 200).SelectMany(s => s), 0xFF, 0xD9];
        byte[] JpegInTiff(byte[] strip) => Tiff(strip, (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6), (273, 4, 1, -1), (277, 3, 1, 3), (279, 4, 1, strip.Length));
        Assert.Equal(ImageHeader.Read("jpeg", jpeg).Scans, ImageHeader.Read("tiff", JpegInTiff(jpeg)).Scans);
        Ends(ImageFault.Refused, JpegInTiff(many), $"has {ImageHeader.Read("jpeg", many).Scans} scans; Images:MaxScans allows 100");
    }

    /// <summary>libvips takes tiles of up to 100 million bytes.</summary>
    /// <summary>Of a small picture in a large tile libvips decodes nothing, and it is not the file that is wrong.</summary>
    [Theory]
    [InlineData(16, 16, 256, true)]
    [InlineData(16, 16, 272, false)]
    [InlineData(100, 30, 272, false)]
    [InlineData(250, 250, 512, true)]
    [InlineData(250, 250, 528, false)]
    [InlineData(100, 300, 768, true)]
    [InlineData(100, 300, 800, false)]
    public void A_small_picture_in_a_large_tile_is_decoded_or_named(int width, int height, int tile, bool decoded)
    {
        using var picture = NetVips.Image.Black(width, height, 3) + 90;
        using var bytes = picture.Cast(NetVips.Enums.BandFormat.Uchar);
        var tiff = bytes.TiffsaveBuffer(tile: true, tileWidth: tile, tileHeight: tile, compression: NetVips.Enums.ForeignTiffCompression.Deflate);
        if (decoded)
        {
            using var read = Pipeline.Decode(tiff);
            Assert.Equal((width, height, 90), (read.Width, read.Height, read.Pixels[^1]));
        }
        else
        {
            Ends(ImageFault.Unsupported, tiff, $"a TIFF of {width} x {height} pixels in a tile of {tile}");
        }
    }

    [Fact]
    public void A_tile_that_the_decoder_does_not_take_is_named() => Ends(ImageFault.Unsupported, Tiff((322, 4, 1, 10_016), (323, 4, 1, 10_000), (324, 4, 1, 8), (325, 4, 1, 256)), "a TIFF with a tile of 100,160,000 bytes");

    /// <summary>A JPEG may be a progressive one, of which libjpeg holds two bytes a coefficient, whatever the TIFF says.</summary>
    [Fact]
    public void A_strip_of_jpeg_weighs_four_times_its_pixels()
    {
        (int, int, uint, long)[] large = [(256, 4, 1, 10_000), (257, 4, 1, 9_000), (278, 4, 1, 9_000)];
        Assert.InRange(ImageHeader.Read("tiff", Tiff(large)).Held, 10_000 * 9_000L, 10_000 * 9_000L * 3 + 1000);
        Assert.InRange(ImageHeader.Read("tiff", Tiff([.. large, (259, 3, 1, 7)])).Held, 4 * 10_000 * 9_000L, 4 * 10_000 * 9_000L * 3 + 1000);
    }

    /// <summary>Photoshop keeps its layers in one tag; libvips would allow libtiff 50 MB for all that it holds.</summary>
    [Fact]
    public void A_tiff_with_a_large_tag_of_its_own_is_decoded() => Decodes(Tiff(new byte[35_000_000], (37724, 7, 35_000_000, -1)), PictureDecoder.Libvips, PictureDecoder.ImageSharp);

    [Fact]
    public void A_fax_tiff_whose_white_is_not_0_is_not_for_ImageSharp() =>
        Ends(ImageFault.Unsupported, Tiff((258, 3, 1, 1), (259, 3, 1, 4)), "a TIFF of fax compression whose white is not 0, which ImageSharp does not decode; Images:Decoder=Libvips does", PictureDecoder.ImageSharp);

    [Fact]
    public void Pages_in_a_circle_are_not_for_ImageSharp()
    {
        var circle = Tiff();
        BinaryPrimitives.WriteInt32LittleEndian(circle.AsSpan(8 + 256 + 2 + 9 * 12), 8 + 256);
        Ends(ImageFault.Unsupported, circle, "leads back", PictureDecoder.ImageSharp);
    }

    /// <summary>libvips unpacks texts and profiles before it can be stopped: 100 chunks of 5 MB would become 5 GB.</summary>
    [Fact]
    public void Texts_of_a_png_are_not_unpacked()
    {
        var png = TestData.Read("formats/rgb.png");
        using var packed = new MemoryStream();
        using (var zlib = new System.IO.Compression.ZLibStream(packed, System.IO.Compression.CompressionLevel.Optimal))
        {
            zlib.Write(new byte[50_000_000]);
        }

        byte[] texts = [.. Enumerable.Range(0, 100).SelectMany(i => Pngs.Chunk("zTXt", [(byte)'k', 0, 0, .. packed.ToArray()]))];
        byte[] profile = [.. Pngs.Chunk("iCCP", [(byte)'k', 0, 0, .. packed.ToArray()]), .. Pngs.Chunk("sPLT", [(byte)'k', 0, 8, .. new byte[6_000_000]])];
        using var expected = Pipeline.Decode(png);
        foreach (var wordy in new byte[][] { [.. png[..33], .. texts, .. profile, .. png[33..]], [.. png[..^12], .. texts, .. png[^12..]] })
        {
            var start = Stopwatch.GetTimestamp();
            using var picture = Pipeline.Decode(wordy);
            Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 3);
            Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
        }
    }

    private static void Decodes(byte[] bytes, params PictureDecoder[] decoders)
    {
        foreach (var by in decoders)
        {
            using var decoder = new ImageDecoder(Options.Create(new ImageOptions { Decoder = by }));
            decoder.Open(bytes).Decode(1, CancellationToken.None).Dispose();
        }
    }

    /// <summary>Decoders differ in which of two they believe, and would take what nobody has counted.</summary>
    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void A_tiff_that_says_something_twice_is_believed_in_neither(string by)
    {
        var decoder = Enum.Parse<PictureDecoder>(by);
        Ends(ImageFault.Undecodable, Tiff((256, 4, 1, 10_000), (256, 4, 1, 16)), "gives tag 256 twice", decoder);
        Ends(ImageFault.Undecodable, Tiff((322, 3, 1, 5008), (322, 3, 1, 256)), "gives tag 322 twice", decoder);
        Ends(ImageFault.Undecodable, Tiff((273, 4, 1, 8), (273, 4, 1, 9)), "gives tag 273 twice", decoder);
        Ends(ImageFault.Undecodable, Tiff((322, 9, 1, 5008)), "gives tag 322 as no whole number", decoder);
    }

    [Fact]
    public void A_webp_is_as_large_as_what_is_on_its_canvas()
    {
        byte[] lossless = [0x2F, .. Bits((9000 - 1) | (9000 - 1) << 14), 0, 0, 0];
        Ends(ImageFault.Undecodable, Webp(Canvas(16, 16), ("VP8L", lossless)), "differ in size", PictureDecoder.ImageSharp);
        Ends(ImageFault.Undecodable, Webp(Canvas(16, 16), ("VP8 ", [0, 0, 0, 0x9D, 1, 0x2A, .. Bits(9000 | 9000 << 16)])), "differ in size", PictureDecoder.ImageSharp);
        Ends(ImageFault.Undecodable, Webp(Canvas(16, 16), Canvas(9000, 9000), ("VP8L", lossless)), "two canvases");
        Assert.Equal(9000, ImageHeader.Read("webp", Webp(Canvas(9000, 9000), ("VP8L", lossless))).Width);

        static byte[] Bits(int value) => BitConverter.GetBytes(value);

        static (string, byte[]) Canvas(int width, int height) => ("VP8X", [0, 0, 0, 0, .. Bits(width - 1)[..3], .. Bits(height - 1)[..3]]);

        static byte[] Webp(params (string Type, byte[] Data)[] chunks)
        {
            byte[] all = [.. "WEBP"u8, .. chunks.SelectMany(c => (byte[])[.. System.Text.Encoding.ASCII.GetBytes(c.Type), .. Bits(c.Data.Length), .. c.Data, .. new byte[c.Data.Length & 1]])];
            return [.. "RIFF"u8, .. Bits(all.Length), .. all];
        }
    }

    /// <summary>65,536 groups of codes in a megapixel took 500 MB of libvips and 1.7 GB of ImageSharp: they are counted before.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(300)]
    [InlineData(4096)]
    public void The_groups_of_a_lossless_webp_are_counted(int groups)
    {
        Assert.Equal(groups, Vp8l.Groups(Stream(groups, transforms: false), 256, 256));
        Assert.Equal(groups, Vp8l.Groups(Stream(groups, transforms: true), 256, 256));
        Assert.Equal(1, Vp8l.Groups([], 256, 256));

        // a bit 1 and 4 x 4 blocks of 64 x 64; eight bits a channel for green and red, nothing for the others
        static byte[] Stream(int groups, bool transforms)
        {
            var bits = new List<int>();
            if (transforms)
            {
                Put(1, 1); // subtract green
                Put(2, 2);
                Put(1, 1); // predictor, by blocks of 512: one pixel
                Put(0, 2);
                Put(7, 3);
                Picture([0x1234]);
            }

            Put(0, 1);
            Put(0, 1); // no cache
            Put(1, 1);
            Put(0, 3);
            Picture([.. Enumerable.Range(0, 64 * 64).Select(i => i % groups)]);
            byte[] packed = [.. bits.Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << i).Sum())];
            return packed;

            void Picture(int[] values)
            {
                Put(0, 1);
                Flat(280);
                Flat(256);
                Single();
                Single();
                Single();
                foreach (var value in values)
                {
                    Symbol(value & 255);
                    Symbol(value >> 8);
                }
            }

            void Flat(int alphabet) // 256 symbols of eight bits
            {
                Put(0, 1);
                Put(8, 4);
                foreach (var symbol in new[] { 17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8 })
                {
                    Put(symbol is 0 or 8 ? 1 : 0, 3);
                }

                Put(0, 1);
                for (var i = 0; i < alphabet; i++)
                {
                    Put(i < 256 ? 1 : 0, 1);
                }
            }

            void Single()
            {
                Put(1, 1);
                Put(0, 1);
                Put(0, 1);
                Put(0, 1);
            }

            void Symbol(int value) => bits.AddRange(Enumerable.Range(0, 8).Select(i => value >> 7 - i & 1)); // codes begin with their highest bit

            void Put(int value, int count) => bits.AddRange(Enumerable.Range(0, count).Select(i => value >> i & 1));
        }
    }

    /// <summary>Pictures of codes that take no bits, of claimed sizes, again and again: none is read for longer than it takes to see that.</summary>
    [Fact]
    public void A_lossless_webp_that_goes_on_for_ever_is_left()
    {
        var start = Stopwatch.GetTimestamp();
        byte[] empty = new byte[64]; // every code has the symbol 0, which takes no bits
        var predictors = Enumerable.Range(0, 100_000).SelectMany(_ => (int[])[1, 0, 0, 0, 0, 0, 0, .. Enumerable.Repeat((int[])[1, 0, 0, 0], 5).SelectMany(c => c)]).Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << i).Sum()).ToArray();
        Assert.Equal(1, Vp8l.Groups(predictors, 1 << 24, 1 << 24));
        Assert.Equal(1, Vp8l.Groups(empty, 1 << 24, 1 << 24));
        byte[] meta = [0b0001_1000 >> 1 | 0, .. new byte[64]]; // no transform, no cache, groups by blocks of 4 x 4
        Assert.InRange(Vp8l.Groups(meta, 1 << 24, 1 << 24), 1, 65536);
        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 3);
    }

    /// <summary>Lengths that take no bits, one of which is 1: a small picture of 16 million steps.</summary>
    [Fact]
    public void A_lossless_webp_of_lengths_that_take_no_bits_is_left()
    {
        var start = Stopwatch.GetTimestamp();
        int[] bits = [0, 0, 1, 0, 0, 0, .. Green(), .. Enumerable.Repeat((int[])[1, 0, 0, 0], 4).SelectMany(c => c)]; // no transform, no cache, groups; no cache; codes
        var stream = bits.Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << i).Sum()).Concat(new byte[4]).ToArray();
        for (var again = 0; again < 100; again++)
        {
            Assert.InRange(Vp8l.Groups(stream, 16384, 16384), 1, 65536);
        }

        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 3);

        // 280 symbols, of which 256 alone has a length: 138 and 118 zeros, then 1
        static int[] Green() => [0, .. Number(0, 4), .. Lengths(), 0, 1, .. Number(127, 7), 1, .. Number(107, 7), 0, 1, .. Number(0, 7)];

        static int[] Lengths() => [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

        static IEnumerable<int> Number(int value, int count) => Enumerable.Range(0, count).Select(i => value >> i & 1);
    }

    [Fact]
    public void A_webp_has_one_alpha_channel_and_its_frames_hold_no_frames()
    {
        Corrupt(Webp([.. Chunk("ALPH", [1, 0, 0]), .. Chunk("ALPH", [1, 0, 0])]), "it has two alpha channels");
        byte[] nested = [];
        for (var deep = 0; deep < 3; deep++)
        {
            nested = Chunk("ANMF", [.. new byte[16], .. nested]);
        }

        Corrupt(Webp(nested), "a frame of it holds a frame");

        static void Corrupt(byte[] webp, string what) => Assert.Contains(what, Assert.Throws<ImageException>(() => ImageHeader.Read("webp", webp)).Message, StringComparison.Ordinal);

        static byte[] Webp(byte[] chunks)
        {
            byte[] canvas = Chunk("VP8X", [0x12, 0, 0, 0, 99, 0, 0, 99, 0, 0]);
            return [.. "RIFF"u8, .. BitConverter.GetBytes(4 + canvas.Length + chunks.Length), .. "WEBP"u8, .. canvas, .. chunks];
        }

        static byte[] Chunk(string name, byte[] data) => [.. System.Text.Encoding.ASCII.GetBytes(name), .. BitConverter.GetBytes(data.Length), .. data, .. new byte[data.Length & 1]];
    }

    /// <summary>A sequential JPEG is its first scan: what claims to be scans behind it takes nothing.</summary>
    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void Scans_behind_the_one_of_a_sequential_jpeg_take_no_memory(string by)
    {
        var jpeg = TestData.Read("formats/baseline.jpg");
        byte[] many = [.. jpeg[..^2], .. Enumerable.Repeat((byte[])[0xFF, 0xDA, 0, 2], 300_000).SelectMany(b => b)];
        using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(by) }));
        using var expected = decoder.Open(jpeg).Decode(1, CancellationToken.None);
        Assert.InRange(Enumerable.Range(0, 5).Min(_ => Allocated()), 0, 20_000_000); // the least: other tests allocate meanwhile

        long Allocated()
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            using var picture = decoder.Open(many).Decode(1, CancellationToken.None);
            Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
            return GC.GetTotalAllocatedBytes(precise: true) - before;
        }
    }

    /// <summary>The decoder goes by the last; the first is what the estimate believed.</summary>
    [Fact]
    public void All_sequence_headers_of_an_av1_stream_count()
    {
        // profile 0, reduced, 16 bits of sizes: 8 bits and 4:2:0; profile 2: 12 bits and 4:4:4
        var (small, large) = (Sequence(profile: 0, side: 64), Sequence(profile: 2, side: 4096));
        Assert.Equal((64 * 64, 14), Read(small));
        Assert.Equal((4096 * 4096, 24), Read(large));
        Assert.Equal((4096 * 4096, 24), Read([.. small, .. large]));
        Assert.Equal((4096 * 4096, 24), Read([.. large, .. small]));
        byte[] padding = [15 << 3 | 2, 0x88, 0x27, .. new byte[5000]];
        Assert.Equal((4096 * 4096, 24), Read([.. small, .. padding, .. large]));
        Assert.True(Read([.. Enumerable.Repeat(small, 20_000).SelectMany(s => s)]).Pixels > 1_000_000_000);

        var units = 9_999; // of the file's other streams
        Assert.Equal((64 * 64, 14), Av1.Read(small, ref units));
        Assert.True(Av1.Read(small, ref units).Pixels > 1_000_000_000);

        static (long Pixels, int PixelBytes) Read(byte[] stream)
        {
            var none = 0;
            return Av1.Read(stream, ref none);
        }

        static byte[] Sequence(int profile, int side)
        {
            var bits = new List<int>();
            Put(profile, 3);
            Put(0b11, 2); // still, reduced
            Put(0, 5);
            Put(15, 4);
            Put(15, 4);
            Put(side - 1, 16);
            Put(side - 1, 16);
            Put(0, 3 + 3); // tools
            Put(profile == 2 ? 1 : 0, 1); // deep
            if (profile == 2)
            {
                Put(1, 1); // 12 bits
            }

            Put(0, 2); // not grey, nothing described
            if (profile == 2)
            {
                Put(0, 2); // range; no halved columns
            }

            byte[] payload = [.. bits.Chunk(8).Select(b => (byte)b.Select((bit, i) => bit << 7 - i).Sum()), 0];
            return [1 << 3 | 2, (byte)payload.Length, .. payload];

            void Put(int value, int count) => bits.AddRange(Enumerable.Range(0, count).Select(i => value >> count - 1 - i & 1));
        }
    }

    /// <summary>64 MB of blocks that lead nowhere took 20 s, an exception each.</summary>
    [Fact]
    public void Blocks_of_exif_that_lead_nowhere_cost_no_exceptions()
    {
        byte[] block = [.. "MM\0*"u8, 0xFF, 0xFF, 0xFF, 0];
        byte[] truncated = [.. "II*\0"u8, 8, 0, 0, 0, 0xFF, 0xFF, 0x12];
        var thrown = 0;
        AppDomain.CurrentDomain.FirstChanceException += Count;
        Assert.Equal(1, Exif.Orientation(block));
        Assert.Equal(1, Exif.Orientation(truncated));
        Assert.Equal(6, Exif.Orientation([.. "Exif\0\0II*\0"u8, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]));
        AppDomain.CurrentDomain.FirstChanceException -= Count;
        Assert.Equal(0, thrown);

        void Count(object? sender, System.Runtime.ExceptionServices.FirstChanceExceptionEventArgs e) => thrown += e.Exception is ImageException && e.Exception.StackTrace?.Contains("Exif", StringComparison.Ordinal) == true ? 1 : 0;
    }

    /// <summary>Packets of a pixel that is repeated, and of several: what they give is counted, wherever the file ends.</summary>
    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void A_cut_targa_of_runs_is_no_picture(string decoder)
    {
        byte[] header = [0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 64, 0, 24, 0];
        byte[] whole = [.. header, .. Enumerable.Range(0, 64).SelectMany(i => (byte[])[0x80 | 31, (byte)i, 2, 3, 31, .. Enumerable.Range(0, 96).Select(b => (byte)b)])];
        using var images = new ImageDecoder(Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(decoder) }));
        using (var picture = images.Open(whole).Decode(shrink: 1, CancellationToken.None))
        {
            Assert.Equal((64, 64), (picture.Width, picture.Height));
        }

        for (var length = header.Length + 1; length < whole.Length; length++)
        {
            Assert.Equal(ImageFault.Undecodable, Assert.Throws<ImageException>(() => images.Open(whole[..length]).Decode(shrink: 1, CancellationToken.None).Dispose()).Fault);
        }
    }

    [Fact]
    public void A_comment_behind_the_last_number_of_a_portable_map_is_no_pixel()
    {
        byte[] pixels = [.. Enumerable.Range(0, 12).Select(i => (byte)(i * 20))];
        using var images = new ImageDecoder(Options.Create(new ImageOptions()));
        foreach (var head in new[] { "P6\n2 2\n255\n", "P6\n2 2\n255# made by somebody\n", "P6 # a\n2 2 # b\n255\n" })
        {
            using var picture = images.Open([.. System.Text.Encoding.ASCII.GetBytes(head), .. pixels]).Decode(shrink: 1, CancellationToken.None);
            Assert.Equal(pixels, picture.Pixels.ToArray());
        }

        Assert.True(ImageHeader.Read("pnm", [.. "P6\n2 2\n255# made by somebody\n"u8, .. pixels[..^1]]).Cut);
    }

    private static byte[] Tiff(params (int Tag, int Type, uint Count, long Value)[] entries) => Tiff([], entries);

    /// <summary>
    /// A TIFF of 16 x 16 grey pixels in one strip; entries of the same tags replace its own, and a place of -1 is that of
    /// <paramref name="behind"/>.
    /// </summary>
    private static byte[] Tiff(byte[] behind, params (int Tag, int Type, uint Count, long Value)[] entries)
    {
        (int Tag, int Type, uint Count, long Value)[] own = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 16), (279, 4, 1, 256)];
        var all = own.Where(o => entries.All(e => e.Tag != o.Tag)).Concat(entries).OrderBy(e => e.Tag).ToArray();
        var place = 8 + 256 + 2 + 12 * all.Length + 4;
        var bytes = new byte[place + behind.Length];
        "II*\0"u8.CopyTo(bytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), 8 + 256);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8 + 256), (ushort)all.Length);
        for (var i = 0; i < all.Length; i++)
        {
            var entry = bytes.AsSpan(8 + 256 + 2 + 12 * i);
            BinaryPrimitives.WriteUInt16LittleEndian(entry, (ushort)all[i].Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], (ushort)all[i].Type);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], all[i].Count);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], (uint)(all[i].Value < 0 ? place : all[i].Value));
        }

        behind.CopyTo(bytes, place);
        return bytes;
    }

    /// <summary>The boxes of a picture of 64 x 64 pixels, and no stream.</summary>
    private static byte[] Avif(byte[]? ipma = null, byte[]? iloc = null)
    {
        byte[] infe = Box("infe", [2, 0, 0, 0, 0, 1, 0, 0, .. "av01\0"u8]);
        byte[] items = Box("iprp", [.. Box("ipco", Box("ispe", [0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 64])), .. Box("ipma", [0, 0, 0, 0, .. ipma ?? [0, 0, 0, 1, 0, 1, 1, 1]])]);
        byte[] meta = [0, 0, 0, 0, .. Box("pitm", [0, 0, 0, 0, 0, 1]), .. Box("iinf", [0, 0, 0, 0, 0, 1, .. infe]), .. items, .. Box("iloc", [0, 0, 0, 0, .. iloc ?? [0, 0, 0, 0]])];
        return [.. Box("ftyp", "avif\0\0\0\0avifmif1"u8.ToArray()), .. Box("meta", meta)];

        static byte[] Box(string type, byte[] data)
        {
            var head = new byte[8];
            BinaryPrimitives.WriteInt32BigEndian(head, 8 + data.Length);
            System.Text.Encoding.ASCII.GetBytes(type).CopyTo(head, 4);
            return [.. head, .. data];
        }
    }

    private static void Undecodable(byte[] bytes, string why) => Ends(ImageFault.Undecodable, bytes, why);

    private static void Ends(ImageFault expected, byte[] bytes, string why, PictureDecoder by = PictureDecoder.Libvips)
    {
        using var decoder = new ImageDecoder(Options.Create(new ImageOptions { Decoder = by }));
        var (start, before) = (Stopwatch.GetTimestamp(), GC.GetAllocatedBytesForCurrentThread());
        var fault = Assert.Throws<ImageException>(() => decoder.Open(bytes));
        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 3);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 16_000_000);
        Assert.Equal(expected, fault.Fault);
        Assert.Contains(why, fault.Message, StringComparison.Ordinal);
    }
}
