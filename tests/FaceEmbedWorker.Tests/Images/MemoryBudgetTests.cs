using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;
using NetVips;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>What decoding really takes, in a process of its own for each picture, against what the header made us expect.</summary>
[Collection(Heavy.Name)]
public sealed partial class MemoryBudgetTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-budget-").FullName;

    [Theory]
    [InlineData("Libvips")]
    [InlineData("ImageSharp")]
    public async Task The_estimate_of_each_format_holds_and_is_no_multiple_of_what_is_taken(string by)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Peaks are read from Linux' /proc.");
        using var photo = by == "Libvips" ? Photo(2400, 2240) : Photo(4400, 4000); // beside a managed heap, of which smaller ones find room
        using var alpha = photo.Bandjoin(200);
        using var tile = Photo(3408, 3200);
        using var deep = photo.Colourspace(Enums.Interpretation.Rgb16);
        using var grey = photo.Colourspace(Enums.Interpretation.Bw);
        var pictures = new (string Name, Func<byte[]> Made)[]
        {
            ("baseline 4:2:0.jpg", () => photo.JpegsaveBuffer(q: 85)),
            ("baseline 4:4:4.jpg", () => photo.JpegsaveBuffer(q: 85, subsampleMode: Enums.ForeignSubsample.Off)),
            ("progressive 4:2:0.jpg", () => photo.JpegsaveBuffer(q: 85, interlace: true)),
            ("progressive 4:4:4.jpg", () => photo.JpegsaveBuffer(q: 85, interlace: true, subsampleMode: Enums.ForeignSubsample.Off)),
            ("turned.jpg", () => Turned(photo)),
            ("8 bits.png", () => photo.PngsaveBuffer(compression: 1)),
            ("16 bits.png", () => deep.PngsaveBuffer(compression: 1)),
            ("adam7.png", () => photo.PngsaveBuffer(compression: 1, interlace: true)),
            ("adam7 alpha.png", () => alpha.PngsaveBuffer(compression: 1, interlace: true)),
            ("adam7 16 bits.png", () => deep.PngsaveBuffer(compression: 1, interlace: true)),
            ("adam7 grey.png", () => grey.PngsaveBuffer(compression: 1, interlace: true)),
            ("lossy.webp", () => photo.WebpsaveBuffer(q: 80, effort: 0)),
            ("lossless.webp", () => photo.WebpsaveBuffer(lossless: true, effort: 0, q: 20)),
            ("alpha.webp", () => alpha.WebpsaveBuffer(q: 80, effort: 0)),
            ("one frame.gif", () => grey.GifsaveBuffer(effort: 1, dither: 0, bitdepth: 4)),
            ("8 bits 4:2:0.avif", () => photo.HeifsaveBuffer(q: 50, effort: 0, compression: Enums.ForeignHeifCompression.Av1, subsampleMode: Enums.ForeignSubsample.On)),
            ("8 bits 4:4:4.avif", () => photo.HeifsaveBuffer(q: 50, effort: 0, compression: Enums.ForeignHeifCompression.Av1, subsampleMode: Enums.ForeignSubsample.Off)),
            ("12 bits.avif", () => deep.HeifsaveBuffer(q: 50, effort: 0, bitdepth: 12, compression: Enums.ForeignHeifCompression.Av1)),
            ("strips.tif", () => photo.TiffsaveBuffer()),
            ("strips lzw.tif", () => photo.TiffsaveBuffer(compression: Enums.ForeignTiffCompression.Lzw)),
            ("tiles.tif", () => photo.TiffsaveBuffer(tile: true, compression: Enums.ForeignTiffCompression.Deflate)),
            ("one tile.tif", () => tile.TiffsaveBuffer(tile: true, tileWidth: 3408, tileHeight: 3200, compression: Enums.ForeignTiffCompression.Deflate)),
            ("jpeg.tif", () => photo.TiffsaveBuffer(compression: Enums.ForeignTiffCompression.Jpeg)),
        };
        if (by == "ImageSharp")
        {
            pictures = [.. pictures.Where(p => Unmanaged.All(word => !p.Name.Contains(word, StringComparison.Ordinal))), .. Plain.Select(kind => ($"plain.{kind}", (Func<byte[]>)(() => Managed(photo, kind))))];
        }

        await File.WriteAllBytesAsync(Path.Combine(folder, "tiny.onnx"), TinyOnnx.Values(13), TestContext.Current.CancellationToken); // what is decoded is measured
        var small = Enumerable.Range(0, 2 * SmallOnes).Select(n => Save($"small{n}.png", Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.1)))).ToArray();
        var before = (await PeakAsync(small, Save("another.png", Pipeline.Changed(TestData.GraceHopper, i => i.Resize(0.11))), by)).Before;
        var report = new List<string>();
        var wrong = 0;
        foreach (var (name, made) in pictures)
        {
            var bytes = made();
            var file = Save(name.Replace(':', '-'), bytes);
            var (estimate, taken) = (Estimate(bytes, by), (await PeakAsync(small, file, by)).Peak - before);
            var good = taken <= estimate && estimate <= Math.Max((by == "Libvips" ? 2.2 : 3.2) * taken, taken + 40_000_000);
            wrong += good ? 0 : 1;
            report.Add(string.Create(CultureInfo.InvariantCulture, $"{name,-24} estimate {estimate / 1e6,6:0} MB, taken {taken / 1e6,6:0} MB{(good ? "" : "  <--")}"));
        }

        Console.WriteLine(string.Join('\n', report));
        Assert.True(wrong == 0, string.Join('\n', report));
    }

    /// <summary>The worst of what is let through, in as many slots as the shipped manifests have, within their memory.</summary>
    [Fact]
    public async Task The_worst_pictures_that_are_let_through_leave_a_pod_alive()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Peaks are read from Linux' /proc.");
        using var large = Image.Black(10_000, 10_000, bands: 3).Copy(interpretation: Enums.Interpretation.Srgb);
        using var webp = Photo(5200, 5200);
        using var adam7 = Photo(6500, 6500);
        using var avif = Photo(4000, 4000);
        using var hopper = Image.NewFromFile(TestData.GraceHopper);
        var black = large.PngsaveBuffer(compression: 1);
        var closer = hopper.Crop(168, 110, 200, 230).ThumbnailImage(9800, height: 9800, size: Enums.Size.Force).PngsaveBuffer(compression: 6);
        var pictures = new (string Name, byte[] Bytes)[]
        {
            ("a.png", black), ("b.png", black), ("c.tif", large.TiffsaveBuffer(compression: Enums.ForeignTiffCompression.Deflate)),
            ("d.webp", webp.WebpsaveBuffer(lossless: true, effort: 0, q: 20)), ("e.png", adam7.PngsaveBuffer(compression: 1, interlace: true)), ("f.jpg", adam7.Crop(0, 0, 6000, 6000).JpegsaveBuffer(interlace: true, subsampleMode: Enums.ForeignSubsample.Off)),
            ("g.avif", avif.HeifsaveBuffer(q: 50, effort: 0, compression: Enums.ForeignHeifCompression.Av1, subsampleMode: Enums.ForeignSubsample.Off)), ("h.jpg", large.JpegsaveBuffer()),
            ("i.png", closer), ("j.png", closer), ("k.png", closer), ("l.png", closer), // a face that fills the picture is looked at in copies of it; files of 58 MB that are done with
            ("refused.webp", large.WebpsaveBuffer(lossless: true, effort: 0, q: 20)), ("refused.png", large.PngsaveBuffer(compression: 1, interlace: true)),
        };
        var files = pictures.Select(p => Save(p.Name, p.Bytes)).ToArray();
        Assert.All(pictures, p => Assert.Equal(p.Name.StartsWith("refused", StringComparison.Ordinal), Estimate(p.Bytes, "Libvips") > new ImageOptions().MaxMemory));
        foreach (var (slots, mode, mebibytes) in new[] { (1, "faces", 768), (2, "faces", 1024), (2, "image", 1024) })
        {
            var peak = await PeakAsync(["embed", "--mode", mode, $"--Jobs:Parallelism={slots}", .. files]);
            Console.WriteLine($"{slots} slots, {mode}: peak {peak / 1_048_576} MiB of {mebibytes}");
            Assert.InRange(peak, 0, mebibytes * 1_048_576L);
        }
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static Image Photo(int width, int height)
    {
        using var photo = Image.NewFromFile(TestData.Astronaut);
        return photo.ThumbnailImage(width, height: height, size: Enums.Size.Force).CopyMemory();
    }

    /// <summary>What ImageSharp does not decode.</summary>
    private static readonly string[] Unmanaged = ["avif", "tile"];

    private static readonly string[] Plain = ["bmp", "tga", "ppm"];

    private static byte[] Managed(Image photo, string kind)
    {
        using var picture = SixLabors.ImageSharp.Image.LoadPixelData<SixLabors.ImageSharp.PixelFormats.Rgb24>(photo.WriteToMemory<byte>(), photo.Width, photo.Height);
        using var stream = new MemoryStream();
        picture.Save(stream, kind switch
        {
            "bmp" => new SixLabors.ImageSharp.Formats.Bmp.BmpEncoder(),
            "tga" => new SixLabors.ImageSharp.Formats.Tga.TgaEncoder(),
            _ => new SixLabors.ImageSharp.Formats.Pbm.PbmEncoder(),
        });
        return stream.ToArray();
    }

    private static byte[] Turned(Image photo)
    {
        using var turned = photo.Mutate(m => m.Set(GValue.GIntType, "orientation", 6));
        return turned.JpegsaveBuffer(q: 85);
    }

    private string Save(string name, byte[] bytes)
    {
        var file = Path.Combine(folder, name);
        File.WriteAllBytes(file, bytes);
        return file;
    }

    /// <summary>The figure that a refusal gives.</summary>
    private static long Estimate(byte[] bytes, string by)
    {
        using var tight = new ImageDecoder(Options.Create(new ImageOptions { MaxMemory = 1, Decoder = Enum.Parse<PictureDecoder>(by) }));
        var fault = Assert.Throws<ImageException>(() => tight.Decode(ImageHeader.Read(ImageFormat.Of(bytes)!, bytes), bytes, shrink: 1, held: null, CancellationToken.None));
        Assert.Equal(ImageFault.Refused, fault.Fault);
        return long.Parse(Figure().Match(fault.Message).Groups[1].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture);
    }

    /// <summary>Small pictures before the one that is measured, and behind it: their results, 7 KB each, are more than a pipe holds (64 KB), so that it waits until they are read.</summary>
    private const int SmallOnes = 16;

    /// <summary>Resident memory when the first result is there, and at most from then on until that of the picture is.</summary>
    private async Task<(long Before, long Peak)> PeakAsync(string[] small, string file, string by)
    {
        using var process = Start(["embed", "--mode", "image", "--Jobs:Parallelism=1", $"--Images:Decoder={by}", $"--Faces:EmbeddingModel={folder}/tiny.onnx", .. small[..SmallOnes], file, .. small[SmallOnes..]]);
        var errors = process.StandardError.ReadToEndAsync();
        Assert.NotNull(await process.StandardOutput.ReadLineAsync());
        var before = Resident(process, "VmRSS:");
        await File.WriteAllTextAsync($"/proc/{process.Id}/clear_refs", "5"); // proc(5): the high water mark begins anew
        while (await process.StandardOutput.ReadLineAsync() is var line && line?.Contains(Path.GetFileName(file), StringComparison.Ordinal) != true)
        {
            if (line is null)
            {
                Assert.Fail(await errors);
            }
        }

        var peak = Resident(process, "VmHWM:");
        await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.InRange(process.ExitCode, 0, 1);
        return (before, peak);
    }

    /// <summary>Resident memory at most, of a whole run.</summary>
    private static async Task<long> PeakAsync(string[] arguments)
    {
        using var process = Start(arguments);
        var (output, errors, peak) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync(), 0L);
        while (!process.WaitForExit(10))
        {
            peak = Math.Max(peak, Resident(process, "VmHWM:"));
        }

        await Task.WhenAll(output, errors);
        Assert.InRange(process.ExitCode, 0, 1);
        return peak;
    }

    private static Process Start(string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "face-embed.dll"), .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = TestData.Repository };
        start.Environment["DOTNET_gcServer"] = "0";
        start.Environment.Remove("DOTNET_TC_QuickJitForLoops"); // which keeps what it decodes for longer
        start.Environment.Remove("DOTNET_TC_CallCountThreshold");
        return Process.Start(start)!;
    }

    private static long Resident(Process process, string of)
    {
        try
        {
            var line = File.ReadLines($"/proc/{process.Id}/status").FirstOrDefault(l => l.StartsWith(of, StringComparison.Ordinal));
            return line is null ? 0 : long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) * 1024;
        }
        catch (IOException)
        {
            return 0; // it has ended
        }
    }

    [GeneratedRegex("would take ([0-9,]+) bytes")]
    private static partial Regex Figure();
}
