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
