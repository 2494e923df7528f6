using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using NetVips;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Chaos;

/// <summary>Pictures and messages made to break the worker: each ends in a typed outcome, within its deadline.</summary>
[Collection(Heavy.Name)]
public class HostilePictureTests
{
    private static readonly JobHandler Handler = Pipeline.Handler(new JobOptions { DeadlineSeconds = 10 });
    private static readonly string[] Formats = ["baseline.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "palette.png", "grey16.png", "alpha.png", "lossless.webp", "lzw.tif", "two_pages.tif", "animated.gif", "orientation6.jpg"];

    [Fact]
    public async Task Bombs_are_refused_by_their_header()
    {
        await EndsAsync("refused", Pngs.Header(50_000, 50_000));
        await EndsAsync("refused", Gif(frames: 10_000));
        await EndsAsync("refused", Tiff(pages: 2_000));
        var endless = Tiff(pages: 2);
        endless.AsSpan(8 + 104 + 2 + 8 * 12, 4).Clear();
        endless[8 + 104 + 2 + 8 * 12] = 8; // the second page's next is the first
        await EndsInTimeAsync(endless);
        await EndsAsync("refused", Progressive(7000, 6000));
    }

    [Fact]
    public async Task A_small_file_of_many_pixels_costs_no_more_than_its_pixels()
    {
        // 9,500 x 9,500 black pixels in a few hundred kilobytes: within the limit, and decoded
        using var black = Image.Black(9500, 9500, bands: 3);
        var threads = new WarmThreads();
        var patient = Pipeline.Handler(new JobOptions(), threads: threads); // it is memory that is watched here, whatever runs beside
        var before = await threads.RunAsync(GC.GetAllocatedBytesForCurrentThread); // the one on which all of the job's pixels are
        await EndsInTimeAsync(black.PngsaveBuffer(compression: 9), outcome => Assert.Equal("no_face", outcome), handler: patient, seconds: 60);
        Assert.InRange(await threads.RunAsync(GC.GetAllocatedBytesForCurrentThread) - before, 1000, 64_000_000);
    }

    [Fact]
    public async Task Lying_headers_are_undecodable_or_refused()
    {
        var png = TestData.Read("formats/rgb.png");
        foreach (var (width, height) in new[] { (0u, 47u), (61u, 0u), (uint.MaxValue, 1u), (61u, 4_000_000u), (6_100u, 47u) })
        {
            var lying = (byte[])png.Clone();
            BinaryPrimitives.WriteUInt32BigEndian(lying.AsSpan(16), width);
            BinaryPrimitives.WriteUInt32BigEndian(lying.AsSpan(20), height);
            BinaryPrimitives.WriteUInt32BigEndian(lying.AsSpan(29), System.IO.Hashing.Crc32.HashToUInt32(lying.AsSpan(12, 17)));
            await EndsInTimeAsync(lying, outcome => Assert.True(outcome is "stub" or "refused", outcome));
        }
    }

    [Fact]
    public async Task A_file_cut_anywhere_ends_in_time()
    {
        foreach (var format in Formats.Append("../grace_hopper.jpg").Append("../astronaut.png"))
        {
            var whole = TestData.Read("formats/" + format);
            for (var part = 0; part < 50; part++)
            {
                await EndsInTimeAsync(whole[..(whole.Length * part / 50)]);
            }
        }
    }

    [Fact]
    public async Task Polyglots_noise_and_nothing_end_in_time()
    {
        await EndsAsync("stub", [.. "%!PS"u8, .. TestData.Read("formats/rgb.png")]);
        await EndsAsync("embedded", [.. File.ReadAllBytes(TestData.GraceHopper), .. "PK\u0003\u0004 and a zip behind the picture"u8]);
        var noise = new byte[64 * 1024 * 1024];
        new Random(1).NextBytes(noise);
        await EndsAsync("stub", noise);
        await EndsAsync("too_large", new byte[noise.Length + 1]);
        await EndsAsync("stub", [0]);
    }

    [Fact]
    public void Hostile_messages_are_malformed()
    {
        Malformed([], null);
        Malformed(Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("{\"a\":", 100_000))), "application/json");
        Malformed(Encoding.ASCII.GetBytes(new string('[', 1_000_000)), "application/json");
        Malformed([.. "{\"image\":{\"data\":\""u8, 0xC3, 0x28, .. "\"}}"u8], "application/json");
        Malformed([1], null, id: new string('x', 255));
        Malformed([1], null, headers: new() { ["metadata"] = new byte[200 * 1024] });
        Malformed([1], null, headers: new() { ["metadata"] = Enumerable.Repeat((byte)'[', 10_000).ToArray() });
        Malformed([1], null, headers: new() { ["mode"] = new List<object?> { 1 } });

        static void Malformed(byte[] body, string? type, string? id = null, Dictionary<string, object?>? headers = null)
        {
            var properties = new BasicProperties { ContentType = type, MessageId = id, Headers = headers };
            var message = new JobMessage(body, properties);
            Assert.Throws<MalformedJobException>(message.Read);

            // and what is kept of it for the dead letter fits into a frame
            var kept = message.CopyProperties().Headers!.Values.Sum(v => (v as byte[])?.Length ?? 8);
            Assert.InRange(kept, 0, 20_000);
        }
    }

    /// <summary>Labelled samples that are not part of the repository: what happened once is in their table, what should is here.</summary>
    [Theory]
    [InlineData("faces")]
    [InlineData("image")]
    public async Task Each_hostile_sample_ends_as_it_should(string mode)
    {
        var expected = new Dictionary<string, string>
        {
            ["crash_faces_4473925x1.png"] = "refused",
            ["crash_image_1x12782641.png"] = "refused",
            ["retry_faces_1x2300000.png"] = "refused",
            ["thin_1x1000000.png"] = "refused",
            ["avif_rav1e_444_12.avif"] = "refused",
            ["png10000_rgba16_adam7.png"] = "refused",
            ["gif_43bytes.gif"] = "refused",
            ["webp_34bytes.webp"] = "refused",
            ["scan2646_rgb.jpg"] = "refused",
            ["flower-separated-contig-16.tif"] = "unsupported",
            ["flower-minisblack-32.tif"] = "unsupported",
            ["ojpeg-tile.tif"] = "unsupported",
            ["lab.tif"] = "unsupported",
            ["tiff_tiled_planar_lzw.tiff"] = "unsupported",
            ["hopper_lzma.tif"] = "unsupported",
            ["avis.avif"] = "decoded",
            ["warns.jpg"] = "decoded",
            ["xmp_tags_orientation.png"] = "decoded",
            ["transparent.gif"] = "decoded",
        };
        var samples = TestData.Verification("../hostile");
        var handler = Pipeline.Handler(new JobOptions { DeadlineSeconds = 5, Mode = Enum.Parse<EmbedMode>(mode, ignoreCase: true) });
        foreach (var (name, word) in expected)
        {
            var start = Stopwatch.GetTimestamp();
            var outcome = await handler.HandleAsync(new EmbedJob(name, new ImageSource.File(Path.Combine(samples, name))), CancellationToken.None);
            Assert.True(Stopwatch.GetElapsedTime(start).TotalSeconds < 10, $"{name} took {Stopwatch.GetElapsedTime(start)}");
            var ended = outcome switch { JobOutcome.Completed { Result.Outcome: "embedded" or "no_face" } => "decoded", JobOutcome.Rejected r => r.Reason, _ => outcome.ToString() };
            Assert.Equal((name, word), (name, ended));
        }
    }

    [Fact]
    public void A_decode_that_cannot_be_stopped_does_not_hold_its_job()
    {
        using var black = Image.Black(4000, 4000, bands: 3).Copy(interpretation: Enums.Interpretation.Srgb);
        foreach (var bytes in new[] { black.WebpsaveBuffer(lossless: true, effort: 0), black.HeifsaveBuffer(q: 50, effort: 0, compression: Enums.ForeignHeifCompression.Av1), black.PngsaveBuffer(interlace: true, compression: 1) })
        {
            using var decoder = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions()), places: 1);
            var encoded = decoder.Open(bytes);
            using var soon = new CancellationTokenSource(TimeSpan.FromMilliseconds(5));
            Assert.ThrowsAny<OperationCanceledException>(() => encoded.Decode(1, soon.Token).Dispose());

            // what was given up keeps its place until it ends, and then the next one has it
            encoded.Decode(1, CancellationToken.None).Dispose();
        }
    }

    /// <summary>libvips keeps its messages in one place for the whole process.</summary>
    [Fact]
    public async Task No_text_of_one_picture_is_in_the_answer_to_another()
    {
        byte[][] bad = [.. new[] { "baseline.jpg", "progressive.jpg", "rgb.png", "lossless.webp", "lzw.tif" }.Select(f => TestData.Read("formats/" + f)).Select(b => b[..(b.Length * 2 / 3)])];
        var expected = bad.Select(Told).ToArray();
        Assert.All(expected, (text, i) => Assert.Contains($"The {ImageFormat.Of(bad[i])} is truncated or corrupt: it", text, StringComparison.Ordinal));
        await Parallel.ForAsync(0, 2000, new ParallelOptions { MaxDegreeOfParallelism = 4 }, (n, _) =>
        {
            Assert.Equal(expected[n % bad.Length], Told(bad[n % bad.Length]));
            return ValueTask.CompletedTask;
        });

        static string Told(byte[] bytes)
        {
            var fault = Assert.Throws<ImageException>(() => Pipeline.Decode(bytes).Dispose());
            Assert.Null(fault.InnerException);
            return fault.Message;
        }
    }

    /// <summary>
    /// Real pictures in shapes that nobody has: one pixel high, one pixel wide, at the limits and one beyond. FACE_EMBED_FUZZ says how
    /// many.
    /// </summary>
    [Fact]
    public async Task Pictures_of_extreme_shapes_end_in_time()
    {
        int[] sides = [1, 2, 3, 99, 100, 101, 999, 1000, 1001, 4095, 9999, 10_000, 65_500, 65_535, 65_536, 100_000];
        string[] formats = [".png", ".jpg", ".webp", ".tif", ".gif", ".avif"];
        var count = int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_FUZZ") ?? "2000", CultureInfo.InvariantCulture) / 10;
        var outcomes = new System.Collections.Concurrent.ConcurrentDictionary<string, int>();
        await Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, async (seed, _) =>
        {
            var random = new Random(seed);
            var (width, height) = (sides[random.Next(sides.Length)], sides[random.Next(sides.Length)]);
            var format = formats[random.Next(formats.Length)];
            var most = format switch { ".webp" or ".gif" or ".avif" => 16_383, ".jpg" => 65_500, _ => 200_000 };
            if ((long)width * height > 3_000_000 || Math.Max(width, height) > most)
            {
                return;
            }

            using var black = Image.Black(width, height, bands: 3).Copy(interpretation: Enums.Interpretation.Srgb);
            var interlaced = format is ".png" or ".jpg" && random.Next(2) == 0 ? new VOption { { "interlace", true } } : null;
            await EndsInTimeAsync(black.WriteToBuffer(format, interlaced), outcome => outcomes.AddOrUpdate(outcome, 1, (_, n) => n + 1), $"seed {seed}: {width} x {height} {format}");
        });
        Assert.True(outcomes.ContainsKey("refused") && outcomes.ContainsKey("no_face"), string.Join(", ", outcomes));
        Assert.False(outcomes.ContainsKey("stub"), string.Join(", ", outcomes));
    }

    /// <summary>
    /// A seeded mutator over the corpus: flipped bits, cut, repeated and exchanged pieces, wild lengths. FACE_EMBED_FUZZ says how many.
    /// </summary>
    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public async Task Mutated_pictures_end_in_time_and_within_memory(string decoder)
    {
        var handler = Pipeline.Handler(new JobOptions { DeadlineSeconds = 10 }, images: new ImageOptions { Decoder = Enum.Parse<PictureDecoder>(decoder) });
        var count = int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_FUZZ") ?? "2000", CultureInfo.InvariantCulture);
        var corpus = Formats.Select(f => TestData.Read("formats/" + f)).Concat(Managed()).Append(Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.3), ".jpg")).Append(Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.2), ".avif")).ToArray();
        var outcomes = new System.Collections.Concurrent.ConcurrentDictionary<string, int>();
        await EndsInTimeAsync(corpus[0]);
        using var process = Process.GetCurrentProcess();
        var held = process.WorkingSet64; // by tests before this one
        if (OperatingSystem.IsLinux())
        {
            await File.WriteAllTextAsync("/proc/self/clear_refs", "5"); // the peak counts from here on
        }

        await Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, async (seed, _) =>
        {
            var bytes = Mutated(corpus, new Random(seed));
            await EndsInTimeAsync(bytes, outcome => outcomes.AddOrUpdate(outcome, 1, (_, n) => n + 1), $"seed {seed}", handler);
        });

        Assert.Equal(count, outcomes.Values.Sum());
        Assert.True(outcomes.ContainsKey("stub") && outcomes.ContainsKey("no_face"), string.Join(", ", outcomes));
        process.Refresh();
        Console.WriteLine($"{count} mutated pictures, {decoder}: {string.Join(", ", outcomes)}; peak {process.PeakWorkingSet64 / 1_000_000} MB");
        Assert.InRange(process.PeakWorkingSet64 - held, -held, 3_000_000_000); // two slots at 100 Mpx x 3 bytes twice, and everything else these tests hold
    }

    /// <summary>A BMP, a TGA and a PPM.</summary>
    private static IEnumerable<byte[]> Managed()
    {
        using var picture = SixLabors.ImageSharp.Image.Load<SixLabors.ImageSharp.PixelFormats.Rgb24>(TestData.Read("formats/rgb.png"));
        foreach (var encoder in new SixLabors.ImageSharp.Formats.IImageEncoder[] { new SixLabors.ImageSharp.Formats.Bmp.BmpEncoder(), new SixLabors.ImageSharp.Formats.Tga.TgaEncoder { Compression = SixLabors.ImageSharp.Formats.Tga.TgaCompression.RunLength }, new SixLabors.ImageSharp.Formats.Pbm.PbmEncoder() })
        {
            using var stream = new MemoryStream();
            picture.Save(stream, encoder);
            yield return stream.ToArray();
        }
    }

    private static byte[] Mutated(byte[][] corpus, Random random)
    {
        var bytes = corpus[random.Next(corpus.Length)].ToList();
        for (var change = random.Next(1, 6); change > 0 && bytes.Count > 8; change--)
        {
            var at = random.Next(bytes.Count - 4);
            switch (random.Next(7))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes.RemoveRange(at, random.Next(1, bytes.Count - at));
                    break;
                case 3:
                    bytes.InsertRange(at, bytes.GetRange(at, random.Next(1, Math.Min(64, bytes.Count - at))));
                    break;
                case 4:
                    var other = corpus[random.Next(corpus.Length)];
                    bytes.InsertRange(at, other.Skip(random.Next(other.Length)).Take(64));
                    break;
                case 5:
                    for (var i = 0; i < 4; i++)
                    {
                        bytes[at + i] = 0xFF; // a length, with luck
                    }

                    break;
                default:
                    bytes[random.Next(Math.Min(64, bytes.Count))] = (byte)random.Next(256); // the header
                    break;
            }
        }

        return [.. bytes];
    }

    private static Task EndsAsync(string expected, byte[] bytes) => EndsInTimeAsync(bytes, outcome => Assert.Equal(expected, outcome));

    private static async Task EndsInTimeAsync(byte[] bytes, Action<string>? check = null, string what = "", JobHandler? handler = null, double seconds = 10)
    {
        var start = Stopwatch.GetTimestamp();
        var outcome = await (handler ?? Handler).HandleAsync(new EmbedJob("hostile", new ImageSource.Data(bytes)), CancellationToken.None);
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(seconds + 5), $"{what} took {Stopwatch.GetElapsedTime(start)}");
        var word = outcome switch
        {
            JobOutcome.Completed(var result) => result.Outcome,
            JobOutcome.Rejected(var reason, _, _) => reason,
            JobOutcome.Retry(var reason, var message, var detail) => throw new Xunit.Sdk.XunitException($"{what}: {reason}: {message} {detail}"),
            _ => "",
        };
        check?.Invoke(word);
    }

    /// <summary>Frames of one pixel.</summary>
    private static byte[] Gif(int frames)
    {
        var frame = Convert.FromHexString("21F904040A0000002C0000000001000100000202440100");
        return [.. "GIF89a"u8, 1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255, .. Enumerable.Repeat(frame, frames).SelectMany(f => f), 0x3B];
    }

    /// <summary>Pages of one pixel, each pointing to the next.</summary>
    private static byte[] Tiff(int pages)
    {
        const int size = 2 + 8 * 12 + 4 + 2; // entries, the next page's place, one pixel and a filler
        var bytes = new List<byte>([(byte)'I', (byte)'I', 42, 0, 8, 0, 0, 0]);
        for (var page = 0; page < pages; page++)
        {
            var at = 8 + page * size;
            bytes.AddRange([8, 0]);
            foreach (var (tag, value) in new[] { (256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, at + size - 2), (278, 1), (279, 1) })
            {
                bytes.AddRange([(byte)tag, (byte)(tag >> 8), 4, 0, 1, 0, 0, 0, .. BitConverter.GetBytes(value)]);
            }

            bytes.AddRange([.. BitConverter.GetBytes(page + 1 < pages ? at + size : 0), 128, 0]);
        }

        return [.. bytes];
    }

    private static byte[] Progressive(int width, int height)
    {
        using var black = Image.Black(width, height, bands: 3);
        using var srgb = black.Copy(interpretation: Enums.Interpretation.Srgb);
        return srgb.JpegsaveBuffer(interlace: true);
    }
}
