using System.Buffers.Binary;
using System.Diagnostics;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using SixLabors.ImageSharp;
using SixLabors.ImageSharp.Formats;
using SixLabors.ImageSharp.Formats.Bmp;
using SixLabors.ImageSharp.Formats.Pbm;
using SixLabors.ImageSharp.Formats.Png;
using SixLabors.ImageSharp.Formats.Tga;
using SixLabors.ImageSharp.PixelFormats;
using SixLabors.ImageSharp.Processing;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>Two decoders behind one seam: the same outcomes, words and spaces.</summary>
[Collection(Heavy.Name)]
public class DecodersTests
{
    private static readonly JobHandler Libvips = Pipeline.Handler(images: new ImageOptions());
    private static readonly JobHandler Managed = Pipeline.Handler(images: new ImageOptions { Decoder = PictureDecoder.ImageSharp });

    public static TheoryData<string> Fixtures => [.. Directory.EnumerateFiles(Path.Combine(TestData.Folder, "formats")).Append(TestData.GraceHopper).Append(TestData.Astronaut)];

    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task A_fixture_has_one_vector_whoever_decodes(string file)
    {
        var bytes = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        foreach (var mode in new[] { EmbedMode.Faces, EmbedMode.Image })
        {
            var (one, other) = (await CompletedAsync(Libvips, bytes, mode), await CompletedAsync(Managed, bytes, mode));
            Assert.Equal(("libvips", "imagesharp"), (one.Image.Decoder, other.Image.Decoder));
            Assert.Equal((one.Outcome, one.Model.Space, one.Image with { Decoder = null }, one.Embeddings.Count), (other.Outcome, other.Model.Space, other.Image with { Decoder = null }, other.Embeddings.Count));
            for (var i = 0; i < one.Embeddings.Count; i++)
            {
                // a face's points answer to differences of a grey level here and there: .996 for the JPEG of the two photos, and .998 for
                // all else
                Assert.InRange(Pipeline.Cosine(one.Embeddings[i].Vector, other.Embeddings[i].Vector), mode == EmbedMode.Faces && file == TestData.GraceHopper ? 0.995 : 0.998, 1.0001);
            }
        }
    }

    [Fact]
    public async Task Refusals_have_the_same_words()
    {
        var cut = Fixtures.Select(f => File.ReadAllBytes(f.Data)).Select(b => b[..(b.Length / 2)]);
        byte[][] wrong = [.. cut, Pngs.Header(50_000, 50_000), Pngs.Header(1, 9_000), [1, 2, 3], "%PDF-1.7"u8.ToArray(), Convert.FromHexString("FF0A0000000000000000")];
        foreach (var bytes in wrong)
        {
            Assert.Equal(await WordsAsync(Libvips, bytes), await WordsAsync(Managed, bytes));
        }

        static async Task<string> WordsAsync(JobHandler handler, byte[] bytes) => await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data(bytes)), CancellationToken.None) switch
        {
            JobOutcome.Completed(var result) => $"{result.Outcome} {result.Error} {result.Message}",
            JobOutcome.Rejected(var reason, var message, _) => $"{reason} {message}",
            var other => other.ToString(),
        };
    }

    [Fact]
    public async Task Five_formats_of_one_photo_give_one_face()
    {
        using var photo = Image.Load<Rgb24>(TestData.Astronaut);
        var reference = (await CompletedAsync(Libvips, await File.ReadAllBytesAsync(TestData.Astronaut, TestContext.Current.CancellationToken), EmbedMode.Faces)).Embeddings[0].Vector;
        foreach (var (format, encoder) in new (string, IImageEncoder)[] { ("bmp", new BmpEncoder()), ("tga", new TgaEncoder { Compression = TgaCompression.RunLength }), ("tga", new TgaEncoder { Compression = TgaCompression.None }), ("pnm", new PbmEncoder { Encoding = PbmEncoding.Plain, ColorType = PbmColorType.Rgb }), ("pnm", new PbmEncoder { Encoding = PbmEncoding.Binary, ColorType = PbmColorType.Rgb }), ("png", new PngEncoder()), ("jpeg", new SixLabors.ImageSharp.Formats.Jpeg.JpegEncoder { Quality = 98, ColorType = SixLabors.ImageSharp.Formats.Jpeg.JpegColorType.YCbCrRatio444 }) })
        {
            using var stream = new MemoryStream();
            await photo.SaveAsync(stream, encoder, TestContext.Current.CancellationToken);
            foreach (var handler in new[] { Libvips, Managed })
            {
                var result = await CompletedAsync(handler, stream.ToArray(), EmbedMode.Faces);
                Assert.Equal((format, 512, 512, 1), (result.Image.Format, result.Image.Width, result.Image.Height, result.Embeddings.Count));
                Assert.InRange(Pipeline.Cosine(reference, result.Embeddings[0].Vector), 0.998, 1.0001);
            }
        }
    }

    [Fact]
    public async Task Cut_pictures_of_the_managed_formats_are_undecodable()
    {
        using var photo = Image.Load<Rgb24>(TestData.Astronaut);
        foreach (var encoder in new IImageEncoder[] { new BmpEncoder(), new TgaEncoder { Compression = TgaCompression.None }, new PbmEncoder { Encoding = PbmEncoding.Plain }, new PbmEncoder { Encoding = PbmEncoding.Binary, ColorType = PbmColorType.Rgb } })
        {
            using var stream = new MemoryStream();
            await photo.SaveAsync(stream, encoder, TestContext.Current.CancellationToken);
            var result = await CompletedAsync(Libvips, stream.ToArray()[..200_000], EmbedMode.Faces);
            Assert.Equal(("stub", "undecodable"), (result.Outcome, result.Error));
            Assert.EndsWith("it ends before its pixels do.", result.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("P6\n2 1\n100\n", "a PNM whose white is 100")]
    [InlineData("P5\n2 1\n1023\n", "a PNM whose white is 1023")]
    [InlineData("P1\n4 1\n0110", "a plain PBM whose bits are not parted")]
    public void A_pnm_that_would_be_decoded_wrong_is_named(string text, string what)
    {
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open([.. System.Text.Encoding.ASCII.GetBytes(text), .. new byte[16]]));
        Assert.Equal(ImageFault.Unsupported, fault.Fault);
        Assert.Contains(what, fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("P3 2 1 255 200 201 202 203 204")]
    [InlineData("P3 2 1 255\n200 201 202 # 203\n204 205")]
    [InlineData("P2 3 1\n255\n100\n200")]
    [InlineData("P1 3 2\n1 0 1\n0 1")]
    public void A_plain_pnm_without_its_last_samples_is_cut(string text)
    {
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decode(System.Text.Encoding.ASCII.GetBytes(text)).Dispose());
        Assert.EndsWith("it ends before its pixels do.", fault.Message, StringComparison.Ordinal);
        Pipeline.Decode(System.Text.Encoding.ASCII.GetBytes(text + " 1")).Dispose();
    }

    [Theory]
    [InlineData("P2 2 1 255 255 256")]
    [InlineData("P3 1 1 255 0 99999999999999999999 0")]
    [InlineData("P2 2 1 65535 65536 0")]
    [InlineData("P1 2 1 0 2")]
    public void A_plain_pnm_with_a_number_over_its_white_is_corrupt(string text)
    {
        foreach (var at in (byte[][])[System.Text.Encoding.ASCII.GetBytes(text), System.Text.Encoding.ASCII.GetBytes(text + " # comment\n")])
        {
            var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open(at));
            Assert.Equal(ImageFault.Undecodable, fault.Fault);
            Assert.Contains("a number of it is over its white", fault.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>A decoder might take the sides from either, and its memory is weighed by the first.</summary>
    [Theory]
    [InlineData("Libvips", false)]
    [InlineData("Libvips", true)]
    [InlineData("ImageSharp", false)]
    [InlineData("ImageSharp", true)]
    public void A_png_with_two_headers_is_corrupt(string by, bool behindPixels)
    {
        using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(by) }));
        var png = TestData.Read("formats/rgb.png");
        byte[] larger = [.. png[16..29]];
        (larger[2], larger[6]) = (0x20, 0x20);
        var at = behindPixels ? png.Length - 12 : 33;
        var fault = Assert.Throws<ImageException>(() => decoder.Open([.. png[..at], .. Pngs.Chunk("IHDR", larger), .. png[at..]]));
        Assert.Equal(ImageFault.Undecodable, fault.Fault);
        Assert.Contains("it has two headers", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_ImageSharp_would_decode_wrong_or_not_at_all_is_named()
    {
        var (jpeg, gif, png) = (TestData.Read("formats/baseline.jpg"), TestData.Read("formats/animated.gif"), TestData.Read("formats/rgb.png"));
        var partly = (byte[])jpeg.Clone();
        partly[partly.AsSpan().IndexOf([(byte)0xFF, (byte)0xDA]) + 4] = 2;
        Named(partly, "a JPEG whose scans hold some of its colours together", decodes: false);
        Named([.. jpeg[..2], 0xFF, 0xFF, .. jpeg[2..]], "a JPEG filled up before its first segment");
        Named([.. jpeg[..20], 0, .. jpeg[20..]], "a JPEG with bytes that belong to no segment");
        gif[6] -= 2;
        Named(gif, "a GIF whose first frame is larger than its screen");
        Named(Split(png, 1), "a PNG whose pixels begin with a chunk of less than two bytes");
        foreach (var handler in new[] { PictureDecoder.Libvips, PictureDecoder.ImageSharp })
        {
            using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = handler }));
            decoder.Open(Split(png, 2)).Decode(1, CancellationToken.None).Dispose();
            decoder.Open(Split(png, 3)).Decode(1, CancellationToken.None).Dispose();
        }

        static void Named(byte[] bytes, string what, bool decodes = true)
        {
            using var managed = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp }));
            var fault = Assert.Throws<ImageException>(() => managed.Open(bytes));
            Assert.Equal(ImageFault.Unsupported, fault.Fault);
            Assert.StartsWith($"The picture is {what}", fault.Message, StringComparison.Ordinal);
            Assert.EndsWith("which ImageSharp does not decode; Images:Decoder=Libvips does.", fault.Message, StringComparison.Ordinal);
            if (decodes)
            {
                Pipeline.Decode(bytes).Dispose();
            }
        }

        static byte[] Split(byte[] png, int length)
        {
            var at = png.AsSpan().IndexOf("IDAT"u8) + 4;
            var size = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(at - 8));
            return [.. png[..(at - 8)], .. png[at..(at + size)].Chunk(length).SelectMany(part => Pngs.Chunk("IDAT", part)), .. png[(at + size + 4)..]];
        }
    }

    /// <summary>libjpeg takes some such files as whole, some not; ImageSharp cannot tell them from those that are cut.</summary>
    [Theory]
    [InlineData("formats/baseline.jpg", "Libvips")]
    [InlineData("formats/baseline.jpg", "ImageSharp")]
    [InlineData("grace_hopper.jpg", "Libvips")]
    [InlineData("grace_hopper.jpg", "ImageSharp")]
    public void A_jpeg_that_lacks_its_end_marker_only_is_whole(string file, string by)
    {
        using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(by) }));
        var jpeg = TestData.Read(file);
        using var expected = decoder.Open(jpeg).Decode(1, CancellationToken.None);
        for (var missing = 1; missing <= 2; missing++)
        {
            using var picture = decoder.Open(jpeg[..^missing]).Decode(1, CancellationToken.None);
            Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
        }

        var progressive = TestData.Read("formats/progressive.jpg");
        foreach (var cut in Enumerable.Range(2, 20).Select(part => jpeg[..^(part * part)]).Append(progressive[..^2]).Append(progressive[..^300]))
        {
            var fault = Assert.Throws<ImageException>(() => decoder.Open(cut).Decode(1, CancellationToken.None).Dispose());
            Assert.Equal(ImageFault.Undecodable, fault.Fault);
            Assert.EndsWith("it ends before its pixels do.", fault.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>
    /// What comes behind a cut, an end marker or another JPEG, does not make a picture whole; and what comes behind a whole one, or before
    /// its end marker, does not make it cut.
    /// </summary>
    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void A_jpeg_that_ends_too_early_is_cut_whatever_follows(string by)
    {
        using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(by) }));
        byte[] end = [0xFF, 0xD9];
        foreach (var jpeg in new[] { TestData.Read("grace_hopper.jpg"), TestData.Read("formats/baseline.jpg") })
        {
            using var expected = decoder.Open(jpeg).Decode(1, CancellationToken.None);
            foreach (byte[] whole in (byte[][])[[.. jpeg, .. jpeg], [.. jpeg, .. new byte[1000]], [.. jpeg[..^2], .. new byte[50], .. end]])
            {
                using var picture = decoder.Open(whole).Decode(1, CancellationToken.None);
                Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
            }

            var lacking = by == "Libvips" ? Enumerable.Range(2, 20).Select(part => part * part) : []; // ImageSharp does not tell that it lacks a few of the last block
            foreach (var cut in lacking.Concat(Enumerable.Range(1, 5).Select(part => jpeg.Length * part / 8)).Select(missing => jpeg[..^missing].AsSpan().TrimEnd((byte)0xFF).ToArray()))
            {
                foreach (byte[] tail in (byte[][])[end, jpeg])
                {
                    var fault = Assert.Throws<ImageException>(() => decoder.Open([.. cut, .. tail]).Decode(1, CancellationToken.None).Dispose());
                    Assert.EndsWith("it ends before its pixels do.", fault.Message, StringComparison.Ordinal);
                }
            }
        }
    }

    /// <summary>
    /// A scan that is cut, and then the rest of the file as it was, or an end marker: the first half is not embedded with the rest made up.
    /// </summary>
    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void A_jpeg_of_several_scans_one_of_which_is_cut_is_no_picture(string by)
    {
        using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(by) }));
        byte[] end = [0xFF, 0xD9];
        foreach (var jpeg in new[] { TestData.Read("formats/progressive.jpg"), Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.5), ".jpg", new NetVips.VOption { { "interlace", true } }) })
        {
            using var expected = decoder.Open(jpeg).Decode(1, CancellationToken.None);
            foreach (byte[] whole in (byte[][])[[.. jpeg, .. jpeg], [.. jpeg, .. new byte[1000]]])
            {
                using var picture = decoder.Open(whole).Decode(1, CancellationToken.None);
                Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
            }

            var scans = Enumerable.Range(0, jpeg.Length - 1).Where(i => jpeg[i] == 0xFF && jpeg[i + 1] == 0xDA).ToArray();
            var (first, next) = (scans[0], scans[1]);
            var tables = Enumerable.Range(first + 2, next - first - 2).First(i => jpeg[i] == 0xFF && jpeg[i + 1] is not (0 or 0xFF)); // before the next scan
            var half = jpeg[..(first + (tables - first) / 2)].AsSpan().TrimEnd((byte)0xFF).ToArray();
            foreach (byte[] cut in (byte[][])[[.. half, .. end], [.. half, .. jpeg[tables..]], [.. half, .. end, .. new byte[300]]])
            {
                var fault = Assert.Throws<ImageException>(() => decoder.Open(cut).Decode(1, CancellationToken.None).Dispose());
                Assert.Equal(ImageFault.Undecodable, fault.Fault);
            }
        }
    }

    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public void Bytes_behind_an_end_that_comes_too_early_make_no_picture(string by)
    {
        using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(by) }));
        byte[] end = [0xFF, 0xD9];
        var baseline = TestData.Read("grace_hopper.jpg");
        byte[] junk = [.. baseline[..(baseline.Length / 2)].AsSpan().TrimEnd((byte)0xFF), .. end, .. Enumerable.Repeat((byte)0x5A, 500), .. end];
        Assert.Throws<ImageException>(() => decoder.Open(junk).Decode(1, CancellationToken.None).Dispose());
    }

    [Fact]
    public void A_png_may_say_behind_its_pixels_how_it_is_turned()
    {
        var png = TestData.Read("formats/rgb.png");
        byte[] turned = [.. png[..^12], .. Pngs.Chunk("eXIf", [.. "MM\0*"u8, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]), .. png[^12..]];
        var (plain, upright) = (Pipeline.Decoder.Open(png), Pipeline.Decoder.Open(turned));
        Assert.Equal((plain.Height, plain.Width, 6), (upright.Width, upright.Height, upright.Orientation));
    }

    /// <summary>All rows are there: only the chunk that ends a PNG is not, or is damaged. One byte less of the rows, and they are not.</summary>
    [Theory]
    [InlineData(PngColorType.Rgb, PngBitDepth.Bit8, PngInterlaceMode.None)]
    [InlineData(PngColorType.RgbWithAlpha, PngBitDepth.Bit16, PngInterlaceMode.None)]
    [InlineData(PngColorType.Palette, PngBitDepth.Bit2, PngInterlaceMode.None)]
    [InlineData(PngColorType.Grayscale, PngBitDepth.Bit1, PngInterlaceMode.Adam7)]
    [InlineData(PngColorType.Rgb, PngBitDepth.Bit8, PngInterlaceMode.Adam7)]
    public void A_png_that_lacks_its_end_only_is_whole(PngColorType colours, PngBitDepth bits, PngInterlaceMode order)
    {
        foreach (var (width, height) in order == PngInterlaceMode.None ? new[] { (37, 21), (1, 1), (3, 2), (5, 400) } : [(37, 21), (5, 400), (9, 9)])
        {
            using var photo = Image.Load<Rgb24>(TestData.Astronaut);
            photo.Mutate(p => p.Resize(width, height));
            using var stream = new MemoryStream();
            photo.SaveAsPng(stream, new PngEncoder { ColorType = colours, BitDepth = bits, InterlaceMethod = order });
            var png = stream.ToArray();
            var end = png.AsSpan().LastIndexOf("IEND"u8) - 4;
            byte[] damaged = [.. png];
            damaged[end + 5] ^= 0xFF;
            foreach (var decoder in new[] { PictureDecoder.Libvips, PictureDecoder.ImageSharp })
            {
                using var images = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = decoder }));
                using var whole = images.Open(png).Decode(1, CancellationToken.None);
                foreach (var bytes in new[] { png[..end], png[..(end + 6)], damaged })
                {
                    using var picture = images.Open(bytes).Decode(1, CancellationToken.None);
                    Assert.True(whole.Pixels.SequenceEqual(picture.Pixels), $"{decoder}, {width} x {height}");
                }

                var cut = Assert.Throws<ImageException>(() => images.Open(png[..(end - 10)]).Decode(1, CancellationToken.None));
                Assert.Equal((ImageFault.Undecodable, true), (cut.Fault, cut.Message.EndsWith("it ends before its pixels do.", StringComparison.Ordinal)));
            }
        }
    }

    /// <summary>Every small size, with a few of Adam7's passes empty: decoded right, or named.</summary>
    [Fact]
    public void A_small_interlaced_png_is_decoded_right_or_named()
    {
        (int X, int Y, int Across, int Down)[] passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
        using var managed = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp }));
        for (var width = 1; width < 20; width++)
        {
            for (var height = 1; height < 20; height++)
            {
                var rows = new List<byte>();
                foreach (var pass in passes)
                {
                    for (var y = pass.Y; y < height && pass.X < width; y += pass.Down)
                    {
                        rows.Add(0);
                        for (var x = pass.X; x < width; x += pass.Across)
                        {
                            rows.AddRange([(byte)x, (byte)y, 200]);
                        }
                    }
                }

                byte[] png = [.. Convert.FromHexString("89504E470D0A1A0A"), .. Chunk("IHDR"u8, [0, 0, 0, (byte)width, 0, 0, 0, (byte)height, 8, 2, 0, 0, 1]), .. Chunk("IDAT"u8, Packed([.. rows])), .. Chunk("IEND"u8, [])];
                foreach (var images in new[] { Pipeline.Decoder, managed })
                {
                    if (images == managed && width < 5)
                    {
                        Assert.Equal(ImageFault.Unsupported, Assert.Throws<ImageException>(() => images.Open(png)).Fault);
                        continue;
                    }

                    using var picture = images.Open(png).Decode(1, CancellationToken.None);
                    for (var y = 0; y < height; y++)
                    {
                        for (var x = 0; x < width; x++)
                        {
                            Assert.Equal([(byte)x, (byte)y, 200], picture.Row(y).Slice(x * 3, 3).ToArray());
                        }
                    }
                }
            }
        }

        static byte[] Chunk(ReadOnlySpan<byte> type, byte[] data)
        {
            byte[] chunk = [0, 0, 0, 0, .. type, .. data, 0, 0, 0, 0];
            BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
            BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(chunk.Length - 4), System.IO.Hashing.Crc32.HashToUInt32(chunk.AsSpan(4, data.Length + 4)));
            return chunk;
        }

        static byte[] Packed(byte[] rows)
        {
            using var packed = new MemoryStream();
            using (var zlib = new System.IO.Compression.ZLibStream(packed, System.IO.Compression.CompressionMode.Compress))
            {
                zlib.Write(rows);
            }

            return packed.ToArray();
        }
    }

    [Fact]
    public void The_pixels_of_a_bmp_may_begin_anywhere()
    {
        using var photo = Image.Load<Rgb24>(TestData.Read("formats/rgb.png"));
        using var stream = new MemoryStream();
        photo.Save(stream, new BmpEncoder());
        var bmp = stream.ToArray();
        var offset = BitConverter.ToInt32(bmp, 10);
        byte[] far = [.. bmp[..10], .. BitConverter.GetBytes(offset + 70_000), .. bmp[14..offset], .. new byte[70_000], .. bmp[offset..]];
        using var expected = Pipeline.Decode(bmp);
        using var picture = Pipeline.Decode(far);
        Assert.Equal(expected.Pixels.ToArray(), picture.Pixels.ToArray());
    }

    [Fact]
    public void Comments_in_a_pnm_are_passed_over()
    {
        byte[] pixels = [10, 20, 30, 40, 50, 60];
        using var picture = Pipeline.Decode([.. "P6 # first\n# second\n2\n# third\n1 # fourth\n255\n"u8, .. pixels]);
        Assert.Equal((2, 1), (picture.Width, picture.Height));
        Assert.Equal(pixels, picture.Pixels.ToArray());
    }

    /// <summary>With <c>Images:Decoder=ImageSharp</c> the process has no libvips in its memory while it works.</summary>
    [Fact]
    public async Task No_native_decoder_is_loaded_where_managed_code_is_asked_for()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "What a process has loaded is read from Linux' /proc.");
        Assert.True(await LoadsLibvipsAsync("Libvips"));
        Assert.False(await LoadsLibvipsAsync("ImageSharp"));

        static async Task<bool> LoadsLibvipsAsync(string decoder)
        {
            var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "face-embed.dll"), "embed", $"--Images:Decoder={decoder}", TestData.GraceHopper, Path.Combine(TestData.Folder, "formats")]) { RedirectStandardOutput = true, RedirectStandardError = true };
            using var process = Process.Start(start)!;
            var (seen, output) = (false, process.StandardOutput.ReadToEndAsync());
            while (!process.WaitForExit(20))
            {
                try
                {
                    seen |= File.ReadAllText($"/proc/{process.Id}/maps").Contains("libvips", StringComparison.Ordinal);
                }
                catch (IOException)
                {
                }
            }

            Assert.Equal(0, process.ExitCode);
            Assert.Contains($"\"decoder\":\"{decoder.ToLowerInvariant()}\"", await output, StringComparison.Ordinal);
            return seen;
        }
    }

    private static async Task<EmbedResult> CompletedAsync(JobHandler handler, byte[] bytes, EmbedMode mode) =>
        Assert.IsType<JobOutcome.Completed>(await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data(bytes), mode), CancellationToken.None)).Result;
}
