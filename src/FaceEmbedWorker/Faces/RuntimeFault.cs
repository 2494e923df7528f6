using System.Globalization;
using System.Text.RegularExpressions;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Faces;

/// <summary>What ONNX Runtime says of a model, without its source's paths, its functions and what is said already.</summary>
internal static partial class RuntimeFault
{
    /// <summary>A file that does not load: another kind of file, one whose weights are not all there, or what ONNX Runtime says of it.</summary>
    public static ModelException Refused(string file, byte[] bytes, Exception e) => new(
        ForeignFile.InPlaceOfOnnx(bytes) is { } known ? $"The model {file} is not an ONNX file. {known}"
        : BrokenWeights(file, bytes) is { } broken ? $"The model {file} {broken}"
        : LinkedOut(file, bytes) is { } path ? $"The model {file} keeps weights in {path}, a link that leads out of its folder, and they are read from there only. Put the file itself there."
        : $"The model {file} is not an ONNX file that ONNX Runtime can run: {Reason(e, file, bytes)}", e);

    /// <summary>In words of this program, with ONNX Runtime's in brackets where there are none of it.</summary>
    private static string Reason(Exception e, string file, byte[] bytes)
    {
        var told = Told(e, file);
        return e is not OnnxRuntimeException || told.StartsWith("It was written for", StringComparison.Ordinal) || told.StartsWith("Its ", StringComparison.Ordinal) ? told
            : GraphFault.Of(bytes) is { } fault ? $"{fault} Export it again."
            : $"It is damaged, or was exported wrongly: get it again, or export it again ({told.TrimEnd('.')}).";
    }

    /// <summary>One line, with a stop at its end; what it says of operators, opsets and nodes in fewer words.</summary>
    public static string Told(Exception e, string file)
    {
        var text = e.Message.ReplaceLineEndings("\n").Trim().Replace($"Load model from {file} failed:", "", StringComparison.Ordinal);
        text = Source().Replace(Code().Replace(text, ""), "").Replace("This is an invalid model. ", "", StringComparison.Ordinal).Replace(" in node ()", "", StringComparison.Ordinal).Trim();
        text = Opset().Replace(text, "It was written for opset $1, and this program runs up to $2: export it for an older one");
        text = Format().Replace(text, "It was written for version $1 of ONNX's file format, and this program reads up to $2: export it with an older onnx, or for an older opset");
        text = Operator().Replace(text, "Its operator $1 is none of ONNX's in opset $2: export it with ONNX's own operators");
        text = ForeignOperator().Replace(text, "Its operator $2 of $1 is none that this program has: export it with ONNX's own operators");
        text = Condition().Replace(Node().Replace(text, m => $"Its {m.Groups["type"].Value}{(m.Groups["name"].Length > 0 ? $" '{m.Groups["name"].Value}'" : "")} fails: "), "");
        text = Sizes().Replace(text, "Its input '$1' is $3 at index $2, and it wants $4 there");
        text = text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).FirstOrDefault("");
        return text is [.., '.'] ? text : $"{text}.";
    }

    /// <summary>What is wrong with its weights, where they are not here or not whole.</summary>
    public static string? BrokenWeights(string file, byte[] bytes)
    {
        try
        {
            var folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
            return Weights.Of(ModelProto.Parser.ParseFrom(bytes).Graph ?? new GraphProto()).Values.Select(t => Broken(t, folder)).FirstOrDefault(b => b is not null);
        }
        catch (Google.Protobuf.InvalidProtocolBufferException)
        {
            return null;
        }
    }

    private static string? Broken(TensorProto tensor, string folder)
    {
        var name = Unpickler.Clip(tensor.Name);
        if (Weights.FileOf(tensor) is not { Length: > 0 } place)
        {
            return tensor.HasRawData && Weights.BytesOf(tensor) is { } whole && whole != tensor.RawData.Length
                ? string.Create(CultureInfo.InvariantCulture, $"has {tensor.RawData.Length:N0} bytes for its tensor '{name}', whose shape [{string.Join(',', tensor.Dims)}] has {whole:N0}. Get it again, or export it again.") : null;
        }

        if (tensor.ExternalData.FirstOrDefault(e => e.Key is "offset" or "length" && !long.TryParse(e.Value, NumberStyles.None, CultureInfo.InvariantCulture, out _)) is { } entry)
        {
            return $"keeps its tensor '{name}' in {Unpickler.Clip(place)} with the {entry.Key} '{Unpickler.Clip(entry.Value)}', which is no number of bytes. Export it again.";
        }

        if (tensor.ExternalData.FirstOrDefault(e => e.Key == "length")?.Value is { } stated && Weights.BytesOf(tensor) is { } needed && needed != long.Parse(stated, CultureInfo.InvariantCulture))
        {
            return string.Create(CultureInfo.InvariantCulture, $"keeps {stated} bytes for its tensor '{name}' in {Unpickler.Clip(place)}, whose shape [{string.Join(',', tensor.Dims)}] has {needed:N0}. Export it again.");
        }

        if (Weights.PathOf(place, folder) is not { } path)
        {
            return $"keeps weights in {Unpickler.Clip(place)}, and they are read from its own folder only. Export it again, with its weights beside it or inside.";
        }

        if (PictureFile.KindOf(path) is { } kind)
        {
            return $"keeps weights in {path}, which is {kind}, and weights are read from files only. Put the file there, from where the model came.";
        }

        if (Target(path) is not { } data)
        {
            return $"keeps weights in {path}, whose links lead in a circle, and to no file. Put the file there, from where the model came.";
        }

        if (!data.Exists)
        {
            return $"keeps weights in {path}, and there is no such file. Put it there, from where the model came.";
        }

        return Weights.EndOf(tensor) is { } end && data.Length is var length && end > length
            ? string.Create(CultureInfo.InvariantCulture, $"keeps its tensor '{name}' in {path} up to byte {end:N0}, and that file has {length:N0}: it is cut short. Get it again, from where the model came.") : null;
    }

    private static string? LinkedOut(string file, byte[] bytes)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        return Weights.FilesOf(bytes).Select(place => Weights.PathOf(place, folder)).OfType<string>()
            .FirstOrDefault(path => Target(path) is { } data && Weights.PathOf(Path.GetRelativePath(folder, data.FullName), folder) is null);
    }

    /// <summary>The file itself where links lead to it; null where they lead in a circle.</summary>
    private static FileInfo? Target(string path)
    {
        try
        {
            return new FileInfo(path) is { LinkTarget: not null } link && link.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target ? target : new FileInfo(path);
        }
        catch (IOException)
        {
            return null;
        }
    }

    [GeneratedRegex(@"^\[ErrorCode:\w+\]\s*")]
    private static partial Regex Code();

    /// <summary>A condition of C++, where words of what is wrong follow.</summary>
    [GeneratedRegex(@"(?<=^|: )[\w.>()\-]+ [!=<>]+ [\w.>()\-]+ was false\. (?=\S)")]
    private static partial Regex Condition();

    /// <summary>A file and line of C++, and the function there, with or without what it takes.</summary>
    [GeneratedRegex(@"(?:/\S*/)?\w+\.(?:cc|h):\d+ (?:[\w:<>,&*~ ]*::[\w~]+\([^()]*\)(?: const)?(?: \[with [^\]]*\])?|\w+) ")]
    private static partial Regex Source();

    [GeneratedRegex(@"^ONNX Runtime only \*guarantees\*.*Opset (\d+) is under development.*till opset (\d+)\.?$", RegexOptions.Singleline)]
    private static partial Regex Opset();

    [GeneratedRegex(@"^Unsupported model IR version: (\d+), max supported IR version: (\d+)\.?$")]
    private static partial Regex Format();

    [GeneratedRegex(@"^In Node, .*No Op registered for (\w+) with domain_version of (\d+)\.?$", RegexOptions.Singleline)]
    private static partial Regex Operator();

    [GeneratedRegex(@"^Fatal error: ([\w.]+):(\w+)\(-?\d+\) is not a registered function/op\.?$")]
    private static partial Regex ForeignOperator();

    [GeneratedRegex(@"^Got invalid dimensions for input: (.+?) for the following indices\s+index: (\d+) Got: (\d+) Expected: (\d+).*$", RegexOptions.Singleline)]
    private static partial Regex Sizes();

    [GeneratedRegex(@"^Node \((?<name>[^)]*)\) Op \((?<type>\w+)\) \[\w+\] |^Non-zero status code returned while running (?<type>\w+) node\. Name:'(?<name>[^']*?)(?:_nchwc)?' Status Message: ")]
    private static partial Regex Node();
}
