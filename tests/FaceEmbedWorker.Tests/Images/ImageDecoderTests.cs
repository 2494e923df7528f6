using System.Security.Cryptography;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;
using NetVips;

namespace FaceEmbedWorker.Tests.Images;

public class ImageDecoderTests
{
    public static TheoryData<string> Files => [.. TestData.Golden.GetProperty("pixels").EnumerateObject().Select(p => p.Name)];

    [Theory]
    [MemberData(nameof(Files))]
    public void Decodes_to_the_pixels_that_Pillow_sees(string file)
    {
        var golden = TestData.Golden.GetProperty("pixels").GetProperty(file);

        using var picture = Pipeline.Decode(TestData.Read(file));

        Assert.Equal((golden.GetProperty("width").GetInt32(), golden.GetProperty("height").GetInt32()), (picture.Width, picture.Height));
        Assert.Equal(golden.GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(picture.Pixels)));
    }

    [Fact]
    public void Reads_avif()
    {
        var avif = Pipeline.Changed(TestData.Astronaut, image => image.Copy(), ".avif");

        var encoded = Pipeline.Decoder.Open(avif);
        using var picture = encoded.Decode(1, TestContext.Current.CancellationToken);

        Assert.Equal(("avif", 512, 512), (encoded.Format, picture.Width, picture.Height));
    }

    [Theory]
    [InlineData(1, 61, 47)]
    [InlineData(4, 61, 47)]
    [InlineData(5, 47, 61)]
    [InlineData(6, 47, 61)]
    public void Sizes_are_those_of_the_upright_picture(int orientation, int width, int height)
    {
        var encoded = Pipeline.Decoder.Open(TestData.Read($"formats/orientation{orientation}.jpg"));
        Assert.Equal((width, height, orientation), (encoded.Width, encoded.Height, encoded.Orientation));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(8)]
    public void A_jpeg_shrinks_while_decoding_and_keeps_its_scale(int shrink)
    {
        var encoded = Pipeline.Decoder.Open(File.ReadAllBytes(TestData.GraceHopper));
        using var picture = encoded.Decode(shrink, TestContext.Current.CancellationToken);

        Assert.Equal((512 / shrink, 600 / shrink), (picture.Width, picture.Height));
        Assert.Equal(shrink, picture.ScaleX, 0.1);
        Assert.Equal(600, picture.Height * picture.ScaleY, 1e-9);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(8)]
    public void A_jpeg_whose_sides_no_fraction_divides_shrinks_too(int shrink)
    {
        var jpeg = Pipeline.Changed(TestData.GraceHopper, image => image.Crop(0, 0, 509, 597), ".jpg");
        using var picture = Pipeline.Decode(jpeg, shrink);
        Assert.InRange(picture.Width, 509 / shrink, 509 / shrink + 1);
        Assert.InRange(picture.Height, 597 / shrink, 597 / shrink + 1);
        Assert.Equal((509, 597), ((int)Math.Round(picture.Width * picture.ScaleX), (int)Math.Round(picture.Height * picture.ScaleY)));
    }

    [Theory]
    [InlineData(4032, 3024, 4)]
    [InlineData(3024, 4032, 4)]
    [InlineData(7360, 4912, 8)]
    [InlineData(1279, 959, 1)]
    [InlineData(1280, 960, 2)]
    public void Detection_gets_at_least_the_pixels_of_its_input(int width, int height, int shrink)
    {
        var (wantedWidth, wantedHeight) = Pipeline.Detector.WantedFor(2, width, height);
        Assert.Equal(shrink, Math.Min(EncodedImage.ShrinkFor(width, wantedWidth), EncodedImage.ShrinkFor(height, wantedHeight)));
    }

    [Theory]
    [InlineData(800, 100, 8)]
    [InlineData(799, 100, 4)]
    [InlineData(400, 100, 4)]
    [InlineData(399, 100, 2)]
    [InlineData(200, 100, 2)]
    [InlineData(199, 100, 1)]
    [InlineData(10, 100, 1)]
    public void A_factor_leaves_what_is_wanted(double length, double wanted, int factor) => Assert.Equal(factor, EncodedImage.ShrinkFor(length, wanted));

    [Fact]
    public void Only_a_jpeg_of_libvips_shrinks_and_by_the_side_that_has_less_to_spare()
    {
        var (jpeg, png) = (TestData.Read("formats/baseline.jpg"), TestData.Read("formats/rgb.png"));
        var (one, other) = (Pipeline.Decoder.Open(jpeg), Pipeline.Decoder.Open(png));
        Assert.Equal(("libvips", 2, 4, 4), (one.DecodedBy, one.ShrinkFor((one.Width / 2, one.Height / 8)), one.ShrinkFor((one.Width / 8, one.Height / 4)), one.ShrinkFor((one.Width / 4, one.Height / 4))));
        Assert.Equal(("libvips", 1), (other.DecodedBy, other.ShrinkFor((1, 1))));
        var managed = new ImageDecoder(Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp })).Open(jpeg);
        Assert.Equal(("imagesharp", 1), (managed.DecodedBy, managed.ShrinkFor((1, 1))));
        Assert.Equal("imagesharp", Pipeline.Decoder.Open("P6 1 1 255 abc"u8.ToArray()).DecodedBy);
    }

    /// <summary>A limit is what is still allowed.</summary>
    [Theory]
    [InlineData("baseline.jpg", nameof(ImageOptions.MaxBytes), null)]
    [InlineData("rgb.png", nameof(ImageOptions.MaxSide), "pixels on a side")]
    [InlineData("rgb.png", nameof(ImageOptions.MaxPixels), "pixels")]
    [InlineData("two_pages.tif", nameof(ImageOptions.MaxPages), "frames or pages")]
    [InlineData("progressive.jpg", nameof(ImageOptions.MaxScans), "scans")]
    [InlineData("progressive.jpg", nameof(ImageOptions.MaxProgressivePixels), "pixels in progressive order")]
    public void What_is_at_its_limit_is_opened_and_one_more_is_refused(string file, string setting, string? what)
    {
        var bytes = TestData.Read("formats/" + file);
        var header = ImageHeader.Read(ImageFormat.Of(bytes)!, bytes);
        var value = setting switch
        {
            nameof(ImageOptions.MaxBytes) => bytes.Length,
            nameof(ImageOptions.MaxSide) => Math.Max(header.Width, header.Height),
            nameof(ImageOptions.MaxPages) => header.Pages,
            nameof(ImageOptions.MaxScans) => header.Scans,
            _ => header.Width * header.Height,
        };
        Assert.True(header.Width != header.Height && value > 1);
        new ImageDecoder(Options.Create(With(value))).Open(bytes);
        var refusal = Refusal(With(value - 1), bytes);
        Assert.Equal(what is null ? $"The picture has {value:N0} bytes; Images:MaxBytes allows {value - 1:N0}." : $"The {header.Format} ({header.Width} x {header.Height}) has {value:N0} {what}; Images:{setting} allows {value - 1:N0}.", refusal.Message);

        ImageOptions With(int limit)
        {
            var options = new ImageOptions();
            typeof(ImageOptions).GetProperty(setting)!.SetValue(options, Convert.ChangeType(limit, typeof(ImageOptions).GetProperty(setting)!.PropertyType, System.Globalization.CultureInfo.InvariantCulture));
            return options;
        }
    }

    [Theory]
    [InlineData(1001, 10, 101)]
    [InlineData(10, 1001, 101)]
    [InlineData(1010, 10, 101)]
    [InlineData(1000, 1, 0)]
    [InlineData(1, 1000, 0)]
    public void A_side_of_more_than_a_thousand_pixels_has_a_limit_by_the_other(int width, int height, int times)
    {
        using var black = Image.Black(width, height, bands: 3);
        var png = black.PngsaveBuffer();
        new ImageDecoder(Options.Create(new ImageOptions { MaxAspectRatio = Math.Max(1, times) })).Open(png);
        if (times > 0)
        {
            Assert.Contains($"({width} x {height}) has {times} times the length of the other on one side; Images:MaxAspectRatio allows {times - 1}.", Refusal(new ImageOptions { MaxAspectRatio = times - 1 }, png).Message, StringComparison.Ordinal);
        }
    }

    /// <summary>24 MiB for all, the file, what its decoder holds, 128 rows of 4 bytes a pixel, and 3 for each that comes out; 4 more within ImageSharp.</summary>
    [Theory]
    [InlineData("rgb.png", 1)]
    [InlineData("baseline.jpg", 8)]
    public void A_decode_is_held_against_the_memory_that_is_allowed(string file, int shrink)
    {
        var bytes = TestData.Read("formats/" + file);
        var header = ImageHeader.Read(ImageFormat.Of(bytes)!, bytes);
        long Least(int by, bool managed, long held) => 24 * 1024 * 1024 + bytes.Length + header.Held + header.Width * 4 * 128 + Pixels(by) * 3 + held * 3 + (managed ? Pixels(by) * 4 + header.HeldByImageSharp : 0);
        long Pixels(int by) => (long)((header.Width + by - 1) / by) * ((header.Height + by - 1) / by);

        foreach (var managed in new[] { false, true })
        {
            var by = managed ? 1 : shrink;
            var refusal = Refusal(With(Least(by, managed, 0) - 1), bytes);
            Assert.Equal((ImageFault.Refused, $"The {header.Format} ({header.Width} x {header.Height}) would take {Least(by, managed, 0):N0} bytes of memory; Images:MaxMemory allows {Least(by, managed, 0) - 1:N0}."), (refusal.Fault, refusal.Message));
            using var picture = new ImageDecoder(Options.Create(With(Least(by, managed, 0)))).Open(bytes).Decode(by, TestContext.Current.CancellationToken);

            using var held = new Picture(300, 200);
            var beside = new ImageDecoder(Options.Create(With(Least(by, managed, 60_000)))).Open(bytes);
            beside.Decode(by, TestContext.Current.CancellationToken, held).Dispose();
            using var larger = new Picture(301, 200);
            Assert.Contains($"would take {Least(by, managed, 60_200):N0} bytes", Assert.Throws<ImageException>(() => beside.Decode(by, TestContext.Current.CancellationToken, larger)).Message, StringComparison.Ordinal);

            ImageOptions With(long memory) => new() { MaxMemory = memory, Decoder = managed ? PictureDecoder.ImageSharp : PictureDecoder.Libvips };
        }
    }

    [Fact]
    public void A_jpeg_is_looked_at_as_coarsely_as_memory_wants()
    {
        using var black = Image.Black(4000, 3000, bands: 3);
        var (jpeg, png) = (black.JpegsaveBuffer(), black.PngsaveBuffer());
        long Least(byte[] picture) => long.Parse(Refusal(new ImageOptions { MaxMemory = 1 }, picture).Message.Split(' ')[7], System.Globalization.NumberStyles.AllowThousands, System.Globalization.CultureInfo.InvariantCulture);
        long Room(int shrink) => Least(jpeg) + (4000 / shrink * (3000 / shrink) - 500 * 375) * 3L;
        foreach (var shrink in new[] { 1, 2, 4, 8 })
        {
            Assert.Equal((shrink, Math.Max(2, shrink)), (Within(Room(shrink), 1), Within(Room(shrink), 2)));
            Assert.Equal(Math.Min(8, 2 * shrink), Within(Math.Max(Room(8), Room(shrink) - 1), 1));
        }

        using var held = new Picture(1000, 1000);
        Assert.Equal((2, 4), (Within(Room(2) + 3_000_000, 1, held), Within(Room(2) + 2_999_999, 1, held)));
        Assert.Equal((8, 8), (Within(Room(8), 1, held), Within(Room(8), 8, held))); // there is nothing coarser
        Assert.Equal(1, new ImageDecoder(Options.Create(new ImageOptions { MaxMemory = Least(png) })).Open(png).WithinMemory(1, held));

        int Within(long memory, int wanted, Picture? beside = null) => new ImageDecoder(Options.Create(new ImageOptions { MaxMemory = memory })).Open(jpeg).WithinMemory(wanted, beside);
    }

    /// <summary>The pixels that are missing lie in another corner each time.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public void A_jpeg_that_lacks_its_last_pixels_is_undecodable_in_managed_code_too(ushort orientation)
    {
        var random = new Random(orientation);
        using var image = new SixLabors.ImageSharp.Image<SixLabors.ImageSharp.PixelFormats.Rgb24>(61, 47);
        for (var i = 0; i < 61 * 47; i++)
        {
            image[i % 61, i / 61] = new((byte)random.Next(40, 90), (byte)random.Next(150, 200), (byte)random.Next(20, 60));
        }

        image.Metadata.ExifProfile = new();
        image.Metadata.ExifProfile.SetValue(SixLabors.ImageSharp.Metadata.Profiles.Exif.ExifTag.Orientation, orientation);
        using var stream = new MemoryStream();
        image.Save(stream, new SixLabors.ImageSharp.Formats.Jpeg.JpegEncoder { ColorType = SixLabors.ImageSharp.Formats.Jpeg.JpegColorType.YCbCrRatio444 });
        var jpeg = stream.ToArray();
        using var decoder = new ImageDecoder(Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp }));

        using var picture = decoder.Open(jpeg).Decode(1, TestContext.Current.CancellationToken);
        using var expected = SixLabors.ImageSharp.Image.Load<SixLabors.ImageSharp.PixelFormats.Rgb24>(jpeg);
        SixLabors.ImageSharp.Processing.ProcessingExtensions.Mutate(expected, x => SixLabors.ImageSharp.Processing.AutoOrientExtensions.AutoOrient(x));
        var pixels = new byte[61 * 47 * 3];
        expected.CopyPixelDataTo(pixels);
        Assert.Equal(pixels.Select(p => (int)p), picture.Pixels.ToArray().Select(p => (int)p), (a, b) => Math.Abs(a - b) <= 3);

        using var followed = decoder.Open([.. jpeg, .. jpeg]).Decode(1, TestContext.Current.CancellationToken); // as a camera puts a preview behind it
        Assert.Equal(picture.Pixels, followed.Pixels);

        byte[] cut = [.. jpeg[..^40], 0xFF, 0xD9];
        Assert.Equal(ImageFault.Undecodable, Assert.Throws<ImageException>(() => decoder.Open(cut).Decode(1, TestContext.Current.CancellationToken)).Fault);
    }

    [Fact]
    public void What_is_no_picture_or_not_decoded_is_told()
    {
        Assert.Equal((ImageFault.Empty, "The picture is empty: it has 0 bytes."), Of(new ImageOptions(), []));
        Assert.Equal((ImageFault.Undecodable, "The bytes are not a picture of any known format."), Of(new ImageOptions(), "hello, world"u8.ToArray()));
        var avif = Pipeline.Changed(TestData.Astronaut, image => image.Resize(0.1), ".avif");
        Assert.Equal((ImageFault.Unsupported, "The picture is AVIF, which ImageSharp does not decode; Images:Decoder=Libvips may."), Of(new ImageOptions { Decoder = PictureDecoder.ImageSharp }, avif));

        static (ImageFault, string) Of(ImageOptions options, byte[] bytes) => Refusal(options, bytes) is var e ? (e.Fault, e.Message) : default;
    }

    [Fact]
    public void Says_which_library_decodes_what()
    {
        Assert.Matches("^libvips [0-9.]+: JPEG, PNG, .*; ImageSharp: .*BMP", Pipeline.Decoder.Describe());
        Assert.DoesNotContain("PNG", Pipeline.Decoder.Describe().Split(';')[1], StringComparison.Ordinal);
        Assert.Equal(LibvipsDecoder.ReadsHeic, Pipeline.Decoder.Describe().Contains("HEIC", StringComparison.Ordinal));
        Assert.Matches("^ImageSharp [0-9.]+: .*JPEG.*PNG", new ImageDecoder(Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp })).Describe());
    }

    /// <summary>A place is kept for as long as it runs, also where nobody waits for it any more.</summary>
    [Fact]
    public async Task A_decode_that_was_given_up_keeps_its_place_until_it_ends()
    {
        using var black = Image.Black(4000, 4000, bands: 3);
        using var decoder = new ImageDecoder(Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp }), places: 1);
        var encoded = decoder.Open(black.PngsaveBuffer());
        using var cancel = new CancellationTokenSource();
        var first = Task.Run(() => encoded.Decode(1, cancel.Token), TestContext.Current.CancellationToken);
        cancel.CancelAfter(20);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        for (var again = 0; again < 2; again++)
        {
            using var picture = encoded.Decode(1, TestContext.Current.CancellationToken);
            Assert.Equal(4000, picture.Width);
        }
    }

    [Fact]
    public void Too_many_bytes_are_refused()
    {
        var fault = Refusal(new ImageOptions { MaxBytes = 1000 }, File.ReadAllBytes(TestData.GraceHopper));
        Assert.Equal(ImageFault.TooLarge, fault.Fault);
        Assert.Contains("Images:MaxBytes allows 1,000", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Too_many_pixels_are_refused_before_one_is_decoded()
    {
        var fault = Refusal(new ImageOptions(), Bomb());
        Assert.Equal(ImageFault.Refused, fault.Fault);
        Assert.Contains("50000 x 50000", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Too_many_pages_are_refused() =>
        Assert.Contains("2 frames or pages", Refusal(new ImageOptions { MaxPages = 1 }, TestData.Read("formats/two_pages.tif")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_large_progressive_jpeg_is_refused_where_a_baseline_one_is_not()
    {
        var options = new ImageOptions { MaxProgressivePixels = 2000 };
        Assert.Contains("progressive", Refusal(options, TestData.Read("formats/progressive.jpg")).Message, StringComparison.Ordinal);
        new ImageDecoder(Options.Create(options)).Open(TestData.Read("formats/baseline.jpg"));
    }

    [Theory]
    [InlineData("baseline.jpg")]
    [InlineData("rgb.png")]
    [InlineData("lossless.webp")]
    [InlineData("lzw.tif")]
    [InlineData("animated.gif")]
    public void Truncated_files_are_undecodable(string file)
    {
        var whole = TestData.Read("formats/" + file);
        // the second frame of an animation may be missing: the first is what is used
        var cut = whole[..(file == "animated.gif" ? 900 : whole.Length / 2)];
        Assert.Equal(ImageFault.Undecodable, Assert.Throws<ImageException>(() => Pipeline.Decode(cut)).Fault);
    }

    [Fact]
    public void Noise_is_undecodable()
    {
        var noise = new byte[5000];
        new Random(1).NextBytes(noise);
        Assert.Equal(ImageFault.Undecodable, Assert.Throws<ImageException>(() => Pipeline.Decode(noise)).Fault);
    }

    [Theory]
    [InlineData("0000001866747970686569630000000068656963", "HEIC")]
    [InlineData("FF0A0000000000000000", "JPEG XL")]
    [InlineData("0000000C6A5020200D0A870A", "JPEG 2000")]
    [InlineData("00000100010010100000010020006804", "ICO")]
    [InlineData("00000200010010100000010020006804", "CUR")]
    [InlineData("69636E73000000104943303400000008", "ICNS")]
    [InlineData("44445320 7C000000", "DDS")]
    [InlineData("0A050108000000003F003F00", "PCX")]
    [InlineData("3C3F786D6C2076657273696F6E3D22312E30223F3E3C7376672F3E", "SVG")]
    [InlineData("EFBBBF3C73766720786D6C6E733D22687474703A2F2F7777772E77332E6F7267223E", "SVG")]
    [InlineData("0000001C667479706D703432000000006D70343269736F6D", "video")]
    [InlineData("1A45DFA3010000000000001F", "video")]
    [InlineData("5249464600000000415649204C495354", "video")]
    [InlineData("0000001866747970637278200000000163727820", "Canon RAW")]
    [InlineData("255044462D312E37", "PDF")]
    [InlineData("3842505300010000", "Photoshop")]
    public void Other_formats_are_named(string hex, string name)
    {
        var fault = Assert.Throws<ImageException>(() => Pipeline.Decoder.Open(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))));
        Assert.Equal(ImageFault.Unsupported, fault.Fault);
        Assert.Contains($"The picture is {name},", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Decoding_stops_when_it_is_cancelled()
    {
        using var black = Image.Black(6000, 6000, bands: 3);
        var encoded = Pipeline.Decoder.Open(black.PngsaveBuffer());
        using var cancel = new CancellationTokenSource();
        await cancel.CancelAsync();
        Assert.ThrowsAny<OperationCanceledException>(() => encoded.Decode(1, cancel.Token));
    }

    private static ImageException Refusal(ImageOptions options, byte[] bytes) =>
        Assert.Throws<ImageException>(() => new ImageDecoder(Options.Create(options)).Open(bytes));

    /// <summary>A PNG header of 50,000 x 50,000 pixels, and nothing behind it.</summary>
    private static byte[] Bomb() => Convert.FromHexString(
        "89504E470D0A1A0A0000000D494844520000C3500000C3500802000000C4CDAA9D"
        + "0000000849444154789C030000000001480689D20000000049454E44AE426082");
}
