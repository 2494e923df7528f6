using System.CommandLine;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed model</c>: what users do with models of their own.</summary>
internal static class ModelCommand
{
    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command("model", "Convert, inspect and check models.");
        ModelConvertCommand.AddTo(command);
        ModelInspectCommand.AddTo(command, settings);
        ModelCheckCommand.AddTo(command, settings);
        root.Add(command);
    }

    /// <summary>A card other than the one beside the model.</summary>
    public static Option<string?> Card() => new("--card") { Description = "A card's file, or the name of a known family, instead of the card beside the model.", HelpName = "NAME" };

    /// <summary>The model of the command line, or of the settings.</summary>
    public static Argument<string?> File() => new("FILE") { Description = "An ONNX file; without it, the embedder of the settings.", Arity = ArgumentArity.ZeroOrOne };

    /// <summary>The settings, with the command line's model and card in place of theirs.</summary>
    public static string[] Settings(string[] settings, string? file, string? card) =>
        [.. settings, .. file is null ? (string[])[] : [$"--Faces:EmbeddingModel={file}", "--Faces:EmbeddingCard="], .. card is null ? (string[])[] : [$"--Faces:EmbeddingCard={card}"]];
}
