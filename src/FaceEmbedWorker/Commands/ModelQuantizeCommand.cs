using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Onnx;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// <c>face-embed model quantize</c>: an embedder in 8 bits, calibrated and measured on a user's own faces, and written only where it pays.
/// </summary>
internal static class ModelQuantizeCommand
{
    private const int FewestFaces = 20;
    private const int EnoughFaces = 100;
    private const int MostCalibrated = 300;
    private const int Timed = 16;
    private const int MostPictures = 5000; // their faces are in memory together

    public static void AddTo(Command parent, string[] settings)
    {
        var (file, card) = (ModelCommand.File(), ModelCommand.Card());
        var pictures = new Option<string>("--pictures") { Description = "A folder with one folder of pictures per person: what is quantised is calibrated and measured on the faces in them, 20 at least, better 100. Who is the same is told by the folders alone; without them there is no EER, and the cosine decides.", HelpName = "DIR", Required = true };
        var output = new Option<string?>("--output") { Description = "The ONNX file to write, a name that ends in .onnx; its card goes beside it. Default: FILE.int8.onnx.", HelpName = "FILE.onnx" };
        Arguments.MustBe(output, "a name that ends in .onnx", text => text.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase));
        var json = new Option<string?>("--json") { Description = "Write the figures, also of a model that is not written.", HelpName = "FILE" };
        var command = new Command("quantize", "Make an embedder one of 8 bits, faster on this machine, where that costs no accuracy; exit code 1 where it does not pay.") { file, pictures, card, output, json };
        command.SetAction((parsed, cancel) => QuantizeAsync(ModelCommand.Settings(settings, parsed.GetValue(file), parsed.GetValue(card)), parsed.GetRequiredValue(pictures), parsed.GetValue(output), parsed.GetValue(json), cancel));
        parent.Add(command);
    }

    private static async Task<int> QuantizeAsync(string[] settings, string folder, string? output, string? json, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var options = services.GetRequiredService<IOptions<FaceOptions>>().Value;
        var file = Model.Locate(options.EmbeddingModel);
        output ??= Path.ChangeExtension(file, ".int8.onnx");
        if (Path.ChangeExtension(Path.GetFullPath(output), null) == Path.ChangeExtension(Path.GetFullPath(file), null))
        {
            Screen.Complain(output, $"--output is the file that is quantised, or has its card's name. Name another one, such as {Path.ChangeExtension(file, ".int8.onnx")}.");
            return ExitCode.Usage;
        }

        if (json is not null && Path.GetFullPath(json) is var figuresFile
            && new[] { file, Path.ChangeExtension(file, ".json"), output, Path.ChangeExtension(output, ".json") }.Any(taken => Path.GetFullPath(taken) == figuresFile))
        {
            Screen.Complain(json, $"--json is the model, or the card of one. Name another file, such as {Path.ChangeExtension(output, ".figures.json")}.");
            return ExitCode.Usage;
        }

        try
        {
            var bytes = Model.Read(file);
            var embedder = services.GetRequiredService<FaceEmbedder>();
            if ((embedder.Card.NotForFaces ?? (embedder.Card.Identity is false ? $"The card of {embedder.Card.Id} says that its vectors do not tell people apart: there is nothing to measure it by." : null)) is { } reason)
            {
                throw new ModelException(reason);
            }

            var quantizer = Quantizable(file, () => GraphQuantizer.Of(bytes));
            ModelCommand.MustBeWritable(output);
            if (json is not null)
            {
                OutputFile.MustBeWritable(json);
            }

            var photos = await FacesAsync(services, folder, cancel);
            if (photos.Count < FewestFaces)
            {
                throw new InvalidDataException($"{folder} has {Plural.Of(photos.Count, "picture")} with a face, and it wants {FewestFaces} at least, better {EnoughFaces}, to see what the network computes.");
            }

            if (photos.Count < EnoughFaces)
            {
                Screen.Note($"{Plural.Of(photos.Count, "face")} are few to calibrate and to measure on: {EnoughFaces} or more, of thirty people, say more.");
            }

            using var trial = new Trial(quantizer, embedder, services.GetRequiredService<FaceDetector>().Points, photos, bytes, file);
            var figures = await trial.RunAsync(cancel);
            Print(figures);
            if (json is not null)
            {
                OutputFile.Write(json, JsonSerializer.Serialize(figures, QuantizeJson.Default.QuantizeFigures));
            }

            if (figures.Refusal is { } refusal)
            {
                Screen.Complain(file, refusal);
                return ExitCode.SomeFailed;
            }

            ModelCommand.Write(output, trial.Quantised, trial.Card);
            Screen.Say($"{output}: {file} in 8 bits, with its card {Path.ChangeExtension(output, ".json")}. Its vectors are of the space {figures.Space}, and do not compare with those of {embedder.FaceSpace}: embed an archive again (models/README.md).");
            return ExitCode.Ok;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            Screen.Complain(file, e.Message);
            return ExitCode.SomeFailed;
        }
    }

    /// <exception cref="ModelException">It cannot be quantised, whatever the pictures are.</exception>
    private static T Quantizable<T>(string file, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception e) when (e is ForeignFileException or InvalidDataException)
        {
            throw new ModelException($"The model {file} cannot be quantised: {e.Message}", e);
        }
    }

    /// <summary>The face in the middle of each picture; in a folder without folders, everybody is somebody else.</summary>
    private static async Task<List<VerifyPhoto>> FacesAsync(ServiceProvider services, string folder, CancellationToken cancel)
    {
        if (!Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException($"there is no folder {folder}. It should hold one folder of pictures per person.");
        }

        var people = Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal).ToArray();
        var pictures = PicturePaths.Expand(people.Length > 0 ? people : [folder]).Files.Count;
        if (pictures > MostPictures)
        {
            throw new InvalidDataException($"{folder} has {pictures:N0} pictures, and {MostPictures:N0} are taken at most; some hundred people do.");
        }

        var (photos, _, _, _) = await VerifyCommand.EmbedAsync(services, folder, people.Length > 0 ? people : [folder], VerifyCommand.Central, cancel, CropFormat.Png);
        return photos.FindAll(p => p.Face.Crop is not null); // of a crowd, the smallest have none
    }

    private static void Print(QuantizeFigures figures)
    {
        var table = new Table().AddColumns("figure", "float32", "int8");
        table.AddRow("faces a second, one core", Text($"{figures.FloatPerS:0.0}"), Text($"{figures.Int8PerS:0.0} ({figures.Speed:0.00} times)"));
        table.AddRow("EER", figures.FloatEer is { } before ? Text($"{before * 100:0.00} %") : "unknown: no pairs", figures.Int8Eer is { } after ? Text($"{after * 100:0.00} %") : "");
        table.AddRow("pairs of one person", Text($"{figures.SamePairs:N0}"), "");
        table.AddRow("pairs of two people", Text($"{figures.DifferentPairs:N0}"), "");
        table.AddRow("cosine, median and least", "", Text($"{figures.CosineMedian:0.0000}, {figures.CosineLeast:0.0000}"));
        table.AddRow("bytes", Text($"{figures.FloatBytes:N0}"), Text($"{figures.Int8Bytes:N0}"));
        table.AddRow("faces", Text($"{figures.Faces:N0}"), "");
        table.AddRow("faces calibrated on", Text($"{figures.Calibrated:N0}"), "");
        Screen.Show(table);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Both models beside each other, in a folder of their own that goes with the trial.</summary>
    private sealed class Trial(GraphQuantizer quantizer, FaceEmbedder embedder, string points, List<VerifyPhoto> photos, byte[] original, string file) : IDisposable
    {
        private readonly string folder = Directory.CreateTempSubdirectory("face-embed-quantize-").FullName;
        private readonly ImageDecoder decoder = new(Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp })); // of our own crops

        public byte[] Quantised { get; private set; } = [];

        public ModelCard Card { get; private set; } = embedder.Card;

        public async Task<QuantizeFigures> RunAsync(CancellationToken cancel)
        {
            var calibrated = Enumerable.Range(0, Math.Min(MostCalibrated, photos.Count)).Select(i => photos[(int)((long)i * photos.Count / Math.Min(MostCalibrated, photos.Count))]).ToList();
            Dictionary<string, ValueRange> ranges = [];
            await Screen.ProgressAsync("calibrating", calibrated.Count, advance => Task.Run(() => ranges = Quantizable(file, () => Quantization.Ranges(quantizer.Probe(), embedder.Card.Input, Pictures(calibrated, advance), cancel)), cancel));
            Quantised = Quantizable(file, () => quantizer.Quantize(ranges));
            Card = CardOf(calibrated.Count);
            var path = Path.Combine(folder, "int8.onnx");
            ModelCommand.Write(path, Quantised, Card);
            using var model = Model.Load(path, ModelCard.Embedding);
            var small = new FaceEmbedder(model, points);
            List<VerifyPhoto> before = [], after = [];
            await Screen.ProgressAsync("comparing", photos.Count, advance => Task.Run(() =>
            {
                foreach (var photo in photos)
                {
                    cancel.ThrowIfCancellationRequested();
                    using var face = Decode(photo);
                    before.Add(photo with { Face = photo.Face with { Vector = embedder.Embed(face).Vector, Crop = null } });
                    after.Add(photo with { Face = photo.Face with { Vector = small.Embed(face).Vector, Crop = null } });
                    advance();
                }
            }, cancel));
            var cosines = before.Zip(after, (a, b) => VerifyCommand.Cosine(Unit(a.Face.Vector), Unit(b.Face.Vector))).Order().ToArray();
            var some = photos.Take(Timed).Select(Decode).ToArray();
            (double Before, double After, double Ratio) speed = default;
            await Screen.ProgressAsync("measuring the speed", Quantization.Turns, advance => Task.Run(() => speed = Quantization.Speed(embedder, small, some, advance, cancel), cancel));
            Array.ForEach(some, p => p.Dispose());
            var (floats, bytes) = (VerifyCommand.Pairs(before), VerifyCommand.Pairs(after));
            return new QuantizeFigures(embedder.Card.Id, Card.Id, small.FaceSpace, photos.Count, calibrated.Count, cosines[cosines.Length / 2], cosines[0],
                floats.Count(p => p.Same), floats.Count(p => !p.Same), Eer(floats), Eer(bytes), speed.Before, speed.After, speed.Ratio, original.Length, Quantised.Length, quantizer.IsMobile);
        }

        public void Dispose() => Directory.Delete(folder, recursive: true);

        private static double? Eer(List<VerifyPair> pairs) => pairs.Exists(p => p.Same) && pairs.Exists(p => !p.Same)
            ? new Verification(pairs.Where(p => p.Same).Select(p => p.Score), pairs.Where(p => !p.Same).Select(p => p.Score)).Eer : null;

        private static float[] Unit(float[] vector)
        {
            var norm = Math.Sqrt(VerifyCommand.Cosine(vector, vector));
            return Array.ConvertAll(vector, v => (float)(v / norm));
        }

        private IEnumerable<Picture> Pictures(IEnumerable<VerifyPhoto> faces, Action advance)
        {
            foreach (var face in faces)
            {
                using var picture = Decode(face);
                yield return picture;
                advance();
            }
        }

        private Picture Decode(VerifyPhoto photo)
        {
            var encoded = decoder.Open(photo.Face.Crop!.Data);
            return encoded.Decode(1, CancellationToken.None);
        }

        /// <summary>The original's, of another file: what it says of vectors and norms is not of these weights.</summary>
        private ModelCard CardOf(int faces)
        {
            var sha256 = Convert.ToHexStringLower(SHA256.HashData(original));
            return embedder.Card with
            {
                Id = $"{embedder.Card.Id}-int8",
                Version = sha256[..12],
                Sha256 = Convert.ToHexStringLower(SHA256.HashData(Quantised)),
                Source = $"{Path.GetFileName(file)}, SHA-256 {sha256}{(embedder.Card.Source is { } source ? $" ({source})" : "")}",
                Golden = null,
                Notes = $"Quantised to 8 bits by face-embed, calibrated on {faces} faces.{(embedder.Card.Threshold is null && embedder.Card.NormRange is null ? "" : " Threshold and norms are those of the float32 file: measure them again with face-embed verify.")}",
            };
        }
    }
}

/// <summary>
/// What a quantised embedder gains and costs; EERs are shares from 0 to 1, null without pairs; speeds are faces a second on one core.
/// </summary>
internal sealed record QuantizeFigures(string Model, string Quantised, string Space, int Faces, int Calibrated, double CosineMedian, double CosineLeast, int SamePairs, int DifferentPairs,
    double? FloatEer, double? Int8Eer, double FloatPerS, double Int8PerS, double Speed, long FloatBytes, long Int8Bytes, [property: JsonIgnore] bool IsMobile = false)
{
    private const double LargestRise = 0.001;
    private const double LeastSpeed = 1.3;
    private const double LeastCosine = 0.95; // where there is nothing better to judge by

    /// <summary>Why it is not written; null: it is.</summary>
    public string? Refusal => Gained ?? Lost;

    private string? Lost => (FloatEer, Int8Eer) switch
    {
        ({ } before, { } after) when after - before > LargestRise + 1e-9 => Text($"in 8 bits its EER rises from {before * 100:0.00} to {after * 100:0.00} %, by more than .1 point. Nothing is written: serve it as it is."),
        (null, _) when !(CosineMedian >= LeastCosine) => Text($"in 8 bits its vectors have a median cosine of {CosineMedian:0.000} with those of float32, and {LeastCosine} is wanted where no people are there to compare. Nothing is written."),
        _ => null,
    };

    private string? Gained => Speed >= LeastSpeed ? null
        : Text($"in 8 bits it is {Speed:0.00} times as fast on this machine, and less than {LeastSpeed:0.0} times is not worth another space. {(IsMobile ? "It is a MobileFaceNet, or built like one: its depthwise convolutions leave little to compute in 8 bits; networks of the size of a ResNet gain. " : "")}Nothing is written.");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(QuantizeFigures))]
internal sealed partial class QuantizeJson : JsonSerializerContext;
