using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// <c>face-embed model convert</c>: a PyTorch MobileFaceNet checkpoint as an ONNX file, without Python and without running the pickle.
/// </summary>
internal static class ModelConvertCommand
{
    private const string Environment = "CHECKPOINT_URL";
    private const int MostNamed = 12;

    public static void AddTo(Command parent)
    {
        var checkpoint = new Option<string?>("--checkpoint") { Description = $"A .pth, .pt or .pth.tar file, or its address; #sha256=HEX behind it is checked. Default: {Environment} of the environment.", HelpName = "PATH|URL" };
        var output = new Option<string>("--output") { Description = "The ONNX file to write, a name that ends in .onnx; its card goes beside it.", HelpName = "FILE.onnx", DefaultValueFactory = _ => "models/face_embedding.onnx" };
        Arguments.MustBe(output, "a name that ends in .onnx", text => text.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase));
        var head = new Option<string>("--head") { Description = "embedding: the network's output. features: the pooled features before it, which are no identity. auto: the embedding, where there is one.", DefaultValueFactory = _ => "auto" };
        head.AcceptOnlyFromAmong("auto", "embedding", "features");
        var size = new Option<int?>("--input-size") { Description = "Side of the input picture in pixels; by default what the network was made for.", HelpName = "N" };
        Arguments.MustBe(size, "16 to 1024", text => int.TryParse(text, CultureInfo.InvariantCulture, out var side) && side is >= 16 and <= 1024);
        var command = new Command("convert", "Write a PyTorch MobileFaceNet checkpoint as an ONNX file with its card.") { checkpoint, output, head, size };
        command.SetAction((parsed, cancel) => ConvertAsync(parsed.GetValue(checkpoint) ?? System.Environment.GetEnvironmentVariable(Environment), parsed.GetRequiredValue(output),
            Enum.Parse<CheckpointHead>(parsed.GetRequiredValue(head), ignoreCase: true), parsed.GetValue(size), cancel));
        parent.Add(command);
    }

    private static async Task<int> ConvertAsync(string? checkpoint, string output, CheckpointHead head, int? size, CancellationToken cancel)
    {
        if (string.IsNullOrEmpty(checkpoint))
        {
            Screen.Complain("model convert", $"there is no checkpoint. Name it with --checkpoint PATH or URL, or in {Environment}.");
            return ExitCode.Usage;
        }

        var source = checkpoint.Split("#sha256=")[0];
        if (Path.GetFullPath(source) is var read && (Path.GetFullPath(output) == read || Path.GetFullPath(Path.ChangeExtension(output, ".json")) == read))
        {
            Screen.Complain(output, "--output is the checkpoint, or has its card's name. Name another file.");
            return ExitCode.Usage;
        }

        try
        {
            var bytes = await ReadAsync(checkpoint, cancel);
            var saved = Checkpoint.Read(bytes);
            var model = MobileFaceNet.Convert(saved, head, size, Shown(source));
            ModelCommand.Write(output, model.Onnx, CardOf(model, saved, Shown(source)));
            Screen.Say($"{Shown(source)} is {model.Layout.Name}{(saved.Key is null ? "" : $", under the key '{saved.Key}'")}.");
            if (saved.LeftOut.Count > 0)
            {
                Screen.Say($"Beside it, and left out: {Plural.Of(saved.LeftOut.Count, "tensor")}, such as '{saved.LeftOut[0]}'.");
            }

            if (saved.NotBuilt.Count > 0)
            {
                Screen.Say($"Not built, for no tensor needs it: {string.Join(", ", saved.NotBuilt.Take(MostNamed))}{(saved.NotBuilt.Count > MostNamed ? ", …" : "")}.");
            }

            Screen.Say($"{output}: {Shown(source)} (SHA-256 {saved.Sha256}) as [batch,3,{model.Height},{model.Width}] -> [batch,{model.Dimensions}], with its card {Path.ChangeExtension(output, ".json")}.");
            Screen.Say(model.Identity ? $"The checkpoint does not say how pictures were put in{(model.Layout.IsCertain ? "; the card has what this family is trained with. Run" : ": compare the card with how it was trained, then run")} face-embed model check." : "These are features, not an identity embedding: they do not tell people apart, and the card says so.");
            return ExitCode.Ok;
        }
        catch (Exception e) when (e is ForeignFileException or InvalidDataException or IOException or UnauthorizedAccessException or HttpRequestException || e is TaskCanceledException && !cancel.IsCancellationRequested)
        {
            Screen.Complain(Shown(source), e.Message);
            return e is HttpRequestException or TaskCanceledException ? ExitCode.SomeFailed : ExitCode.Configuration;
        }
    }

    private static async Task<byte[]> ReadAsync(string checkpoint, CancellationToken cancel)
    {
        var (place, sum) = checkpoint.Split("#sha256=") is [var address, var hex] ? (address, hex) : (checkpoint, null);
        byte[] bytes;
        if (Uri.TryCreate(place, UriKind.Absolute, out var url) && url.Scheme is "http" or "https")
        {
            bytes = await DownloadAsync(url, cancel);
        }
        else if (PictureFile.KindOf(place) is "a device")
        {
            throw new InvalidDataException("it is a device. Name a file or an address (http:// or https://).");
        }
        else if (!File.Exists(place))
        {
            throw new FileNotFoundException(Directory.Exists(place) ? "it is a folder. Name the checkpoint in it." : "there is no such checkpoint. Name a file or an address (http:// or https://).");
        }
        else
        {
            bytes = HandedFile.Read(place, Checkpoint.LargestFile);
        }

        var actual = Convert.ToHexStringLower(SHA256.HashData(bytes));
        return sum is null || sum.Equals(actual, StringComparison.OrdinalIgnoreCase) ? bytes
            : throw new InvalidDataException($"the checkpoint has SHA-256 {actual}, and {sum} was asked for. Get it again, or from where it came first.");
    }

    private static async Task<byte[]> DownloadAsync(Uri url, CancellationToken cancel)
    {
        using var http = new HttpClient { Timeout = TimeSpan.FromMinutes(10) };
        using var answer = await http.GetAsync(url, HttpCompletionOption.ResponseHeadersRead, cancel);
        if (!answer.IsSuccessStatusCode)
        {
            throw new HttpRequestException($"the server answered {(int)answer.StatusCode} ({answer.ReasonPhrase}). Is the address right?");
        }

        const int step = 64 * 1024;
        var length = answer.Content.Headers.ContentLength;
        var bytes = new MemoryStream();
        await using var body = await answer.Content.ReadAsStreamAsync(cancel);
        await Screen.ProgressAsync("downloading", (int)Math.Min((length ?? 0) / step, int.MaxValue), async advance =>
        {
            var buffer = new byte[step];
            for (int count; (count = await body.ReadAtLeastAsync(buffer, step, throwOnEndOfStream: false, cancel)) > 0; advance())
            {
                bytes.Write(buffer, 0, count);
                if (bytes.Length > Checkpoint.LargestFile)
                {
                    throw TooLarge();
                }
            }
        });
        return length is null || length == bytes.Length ? bytes.ToArray() : throw new HttpRequestException($"the server announced {length} bytes and sent {bytes.Length}. Try again.");
    }

    private static InvalidDataException TooLarge() => new($"the checkpoint is larger than {Checkpoint.LargestFile / 1024 / 1024} MiB; a MobileFaceNet has some megabytes.");

    private static ModelCard CardOf(ConvertedModel model, Checkpoint checkpoint, string source)
    {
        var card = ModelCard.Default($"{model.Layout.Id}-{model.Dimensions}{(model.Identity ? "" : "-features")}", ModelCard.Embedding);
        return card with
        {
            Version = checkpoint.Sha256[..12],
            Sha256 = Convert.ToHexStringLower(SHA256.HashData(model.Onnx)),
            Source = $"{source}, SHA-256 {checkpoint.Sha256}",
            Input = card.Input with { Name = model.Input, Width = model.Width, Height = model.Height, Mean = model.Layout.Mean, Std = model.Layout.Std },
            Crop = ModelCrop.For(model.Width, model.Height),
            Output = card.Output with { Name = model.Output, Dimensions = model.Dimensions },
            Identity = model.Identity ? null : false,
            Notes = model.Identity
                ? model.Layout.IsCertain ? $"Converted by face-embed. Input and crop are those of {model.Layout.Name}; the checkpoint does not say them, nor a threshold."
                    : "Converted by face-embed. The checkpoint says neither how pictures were put in nor what a threshold is: correct input, crop and threshold to how it was trained."
                : "Not an identity embedding: pooled features of a network for something else. Its vectors do not tell people apart.",
        };
    }

    /// <summary>Without what an address may hold of secrets.</summary>
    private static string Shown(string source) => Uri.TryCreate(source, UriKind.Absolute, out var url) && url.Scheme is "http" or "https" ? url.GetComponents(UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.Unescaped) : source;
}
