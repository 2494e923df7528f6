using System.Text.RegularExpressions;
using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Faces;

/// <summary>What ONNX Runtime says of a model, without its source's paths, its functions and what is said already.</summary>
internal static partial class RuntimeFault
{
    /// <summary>A file that does not load: another kind of file, one whose weights are gone, or what ONNX Runtime says of it.</summary>
    public static ModelException Refused(string file, byte[] bytes, Exception e) => new(
        ForeignFile.InPlaceOfOnnx(bytes) is { } known ? $"The model {file} is not an ONNX file. {known}"
        : MissingWeights(file, bytes) is { } missing ? $"The model {file} keeps weights in {missing}, and there is no such file. Put it there, from where the model came."
        : $"The model {file} is not an ONNX file that ONNX Runtime can run: {Told(e, file)}", e);

    /// <summary>One line, with a stop at its end.</summary>
    public static string Told(Exception e, string file)
    {
        var text = e.Message.ReplaceLineEndings(" ").Replace($"Load model from {file} failed:", "", StringComparison.Ordinal);
        text = Source().Replace(Code().Replace(text, ""), "").Replace("This is an invalid model. ", "", StringComparison.Ordinal).Trim();
        return text is [.., '.'] ? text : $"{text}.";
    }

    private static string? MissingWeights(string file, byte[] bytes)
    {
        try
        {
            var folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
            var files = Weights.Of(ModelProto.Parser.ParseFrom(bytes).Graph ?? new GraphProto()).Values.Select(Weights.FileOf).Where(f => !string.IsNullOrEmpty(f));
            return files.Select(f => Path.Combine(folder, f!)).FirstOrDefault(f => !File.Exists(f));
        }
        catch (Google.Protobuf.InvalidProtocolBufferException)
        {
            return null;
        }
    }

    [GeneratedRegex(@"^\[ErrorCode:\w+\]\s*")]
    private static partial Regex Code();

    /// <summary>A file and line of C++, and the function there, with or without what it takes.</summary>
    [GeneratedRegex(@"(?:/\S*/)?\w+\.(?:cc|h):\d+ (?:[\w:<>,&*~ ]*::[\w~]+\([^()]*\)(?: const)?(?: \[with [^\]]*\])?|\w+) ")]
    private static partial Regex Source();
}
