using System.CommandLine;
using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed model</c>: what users do with models of their own.</summary>
internal static class ModelCommand
{
    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command("model", "Convert, inspect, check and quantize models.");
        ModelConvertCommand.AddTo(command);
        ModelInspectCommand.AddTo(command, settings);
        ModelCheckCommand.AddTo(command, settings);
        ModelQuantizeCommand.AddTo(command, settings);
        root.Add(command);
    }

    /// <summary>A card other than the one beside the model.</summary>
    public static Option<string?> Card() => new("--card") { Description = "A card's file, or the name of a known family, instead of the card beside the model.", HelpName = "NAME" };

    /// <summary>The model of the command line, or of the settings.</summary>
    public static Argument<string?> File() => new("FILE") { Description = "An ONNX file; without it, the embedder of the settings.", Arity = ArgumentArity.ZeroOrOne };

    /// <summary>The settings, with the command line's model and card in place of theirs.</summary>
    public static string[] Settings(string[] settings, string? file, string? card) =>
        [.. settings, .. file is null ? (string[])[] : [$"--Faces:EmbeddingModel={file}", "--Faces:EmbeddingCard="], .. card is null ? (string[])[] : [$"--Faces:EmbeddingCard={card}"]];

    /// <summary>What cannot be written is told before the work; nothing is left of the try.</summary>
    /// <exception cref="OutputException">A model or its card cannot be written there.</exception>
    public static void MustBeWritable(string output)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(output))!;
        var missing = new List<string>(); // the innermost first
        for (var at = folder; !Directory.Exists(at); at = Path.GetDirectoryName(at)!)
        {
            missing.Add(at);
        }

        try
        {
            OutputFile.CreateFolder(folder);
            foreach (var name in (string[])[output, Path.ChangeExtension(output, ".json")])
            {
                OutputFile.MayBeReplaced(name);
                OutputFile.Write($"{name}.part", [], name);
                OutputFile.Remove($"{name}.part");
            }
        }
        finally
        {
            missing.FindAll(Directory.Exists).ForEach(Directory.Delete);
        }
    }

    /// <summary>A model and its card, both files or neither: a model under another one's card does not start.</summary>
    /// <exception cref="OutputException">They cannot be written, and nothing is left of them.</exception>
    public static void Write(string output, byte[] model, ModelCard card)
    {
        OutputFile.CreateFolder(Path.GetDirectoryName(Path.GetFullPath(output))!);
        (string Name, byte[] Bytes)[] files = [(output, model), (Path.ChangeExtension(output, ".json"), card.ToJson())];
        try
        {
            foreach (var (name, bytes) in files)
            {
                OutputFile.MayBeReplaced(name);
                OutputFile.Write($"{name}.part", bytes, name);
            }

            foreach (var (name, _) in files)
            {
                OutputFile.Move($"{name}.part", name);
            }
        }
        finally
        {
            foreach (var (name, _) in files)
            {
                OutputFile.Remove($"{name}.part");
            }
        }
    }
}
