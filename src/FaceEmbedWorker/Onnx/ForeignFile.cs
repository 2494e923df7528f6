using System.IO.Compression;
using System.Text;

namespace FaceEmbedWorker.Onnx;

/// <summary>A file that is neither of the kind that was asked for nor a broken one of it.</summary>
internal sealed class ForeignFileException(string message) : Exception(message);

/// <summary>What a file is that was given for a model and is none: told from its bytes, with what to do.</summary>
internal static class ForeignFile
{
    private const string Unpack = "Unpack it, and name the model in it.";
    private const string Export = "Only its own framework can run it: export it to ONNX where it was trained";
    private const int Looked = 64 * 1024;

    /// <summary>By first bytes.</summary>
    private static readonly (byte[] Start, int At, string Words)[] Signatures =
    [
        ([.. "version https://git-lfs"u8], 0, "It is a Git LFS pointer, a text that stands for the file: run git lfs pull where it was cloned, or download the file itself."),
        ([0x89, .. "HDF\r\n"u8], 0, $"It is a Keras or HDF5 file. {Export} (tf2onnx)."),
        ([.. "TFL3"u8], 4, $"It is a TensorFlow Lite model. {Export} (tf2onnx --tflite)."),
        ([.. "ORTM"u8], 4, "It is a model in ONNX Runtime's own format (.ort): use the .onnx file that it was made of."),
        ([0x93, .. "NUMPY"u8], 0, $"It is a NumPy array. {Export}."),
        ([0x12, 1, 0, 0, 0, 0, 0, 0], 0, $"It is a file of MXNet parameters. {Export}."),
        ([.. "7767517\n"u8], 0, $"It is an ncnn network. {Export}."),
        ([.. "GGUF"u8], 0, $"It is a GGUF file of a language model. {Export}."),
        ([.. "RKNN"u8], 0, $"It is a Rockchip RKNN model. {Export}."),
        ([.. "PK"u8, 5, 6], 0, "It is an empty zip archive: what packed or downloaded it failed. Get it again."),
        ([0x1f, 0x8b], 0, $"It is a gzip file. {Unpack}"),
        ([.. "7z"u8, 0xbc, 0xaf], 0, $"It is a 7z archive. {Unpack}"),
        ([.. "Rar!"u8], 0, $"It is a RAR archive. {Unpack}"),
        ([0xfd, .. "7zXZ"u8, 0], 0, $"It is an xz file. {Unpack}"),
        ([0x5d, 0, 0], 0, $"It is an LZMA file. {Unpack}"),
        ([.. "BZh"u8], 0, $"It is a bzip2 file. {Unpack}"),
        ([0x28, 0xb5, 0x2f, 0xfd], 0, $"It is a Zstandard file. {Unpack}"),
        ([.. "ustar"u8], 257, $"It is a tar archive. {Unpack}"),
        ([.. "Salted__"u8], 0, "It is encrypted (OpenSSL). Decrypt it first."),
        ([.. "age-encryption.org"u8], 0, "It is encrypted (age). Decrypt it first."),
        ([.. "-----BEGIN PGP"u8], 0, "It is encrypted or signed (PGP). Decrypt it first."),
        ([0x89, .. "PNG"u8], 0, "It is a picture (PNG), not a model."),
        ([0xff, 0xd8, 0xff], 0, "It is a picture (JPEG), not a model."),
        ([.. "%PDF"u8], 0, "It is a PDF document, not a model."),
        ([0x7f, .. "ELF"u8], 0, "It is a program or library (ELF), not a model."),
        ([.. "MZ"u8], 0, "It is a program or library of Windows, not a model."),
    ];

    /// <summary>Of a file that is no checkpoint. A sentence or two; null where nothing is known of it.</summary>
    public static string? InPlaceOfCheckpoint(byte[] bytes) => InPlaceOfOnnx(bytes) ?? (IsOnnx(bytes) ? "It is an ONNX file already: point Faces:EmbeddingModel at it." : null);

    /// <summary>Of a file that is no ONNX file. A sentence or two; null where nothing is known of it.</summary>
    public static string? InPlaceOfOnnx(byte[] bytes)
    {
        if (bytes.Length == 0)
        {
            return "It is empty. Get it again.";
        }

        if (Array.TrueForAll(bytes, b => b == 0))
        {
            return "It holds nothing but zeros: a download or a copy was cut off. Get it again.";
        }

        var known = Array.Find(Signatures, s => bytes.Length >= s.At + s.Start.Length && bytes.AsSpan(s.At, s.Start.Length).SequenceEqual(s.Start)).Words;
        return known ?? (bytes is [(byte)'P', (byte)'K', 3, 4, ..] ? Zip(bytes)
            : SafeTensors.IsStartOf(bytes) ? Checkpoint("a safetensors file")
            : bytes is [0x80, >= 2 and <= 5, ..] ? Checkpoint("a PyTorch checkpoint or another Python pickle")
            : Protobuf(bytes) ?? Text(bytes) ?? (IsNoise(bytes) ? "No format is known that begins like it, and its bytes are as good as random: it is encrypted or packed. Decrypt or unpack it first." : null));
    }

    private static string Checkpoint(string kind) => $"It is {kind}, not ONNX: face-embed model convert --checkpoint writes a MobileFaceNet as ONNX, with its card.";

    private static string Zip(byte[] bytes)
    {
        try
        {
            using var zip = new ZipArchive(new MemoryStream(bytes), ZipArchiveMode.Read);
            var names = zip.Entries.Select(e => e.FullName).ToList();
            return zip.Entries.Any(e => e.IsEncrypted) ? "It is an encrypted zip archive. Unpack it with its password, and name the model in it."
                : names.Exists(n => n.Contains("/code/", StringComparison.Ordinal) || n.EndsWith("/constants.pkl", StringComparison.Ordinal) || n is "constants.pkl")
                    ? "It is a TorchScript archive, a program and not a state dict. In Python: torch.save(torch.jit.load(path).state_dict(), 'model.pth'), then convert that; or export the network with torch.onnx.export."
                : names.Exists(n => n == "data.pkl" || n.EndsWith("/data.pkl", StringComparison.Ordinal)) ? Checkpoint("a PyTorch checkpoint")
                : names.Exists(n => n.EndsWith("model.weights.h5", StringComparison.Ordinal)) ? $"It is a Keras model. {Export} (tf2onnx)."
                : names.Find(n => n.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase)) is { } onnx ? $"It is a zip archive that holds '{Unpickler.Clip(onnx)}'. {Unpack}"
                : names.Count > 0 && names.TrueForAll(n => n.EndsWith(".npy", StringComparison.Ordinal)) ? $"It is a NumPy archive. {Export}."
                : $"It is a zip archive of {string.Join(", ", names.Take(3).Select(n => $"'{Unpickler.Clip(n)}'"))}{(names.Count > 3 ? ", …" : "")}, and no model that is known. {Unpack}";
        }
        catch (InvalidDataException)
        {
            return "It begins as a zip archive and has no end: a download was cut off. Get it again.";
        }
    }

    private static string? Text(byte[] bytes)
    {
        var start = bytes.AsSpan(0, Math.Min(bytes.Length, 4096));
        var encoding = start is [0xff, 0xfe, ..] or [(byte)'<', 0, ..] ? Encoding.Unicode : start is [0xfe, 0xff, ..] or [0, (byte)'<', ..] ? Encoding.BigEndianUnicode : Encoding.UTF8;
        if (encoding == Encoding.UTF8 && start.ContainsAnyInRange((byte)0, (byte)8))
        {
            return null;
        }

        if (IsTextPickle(bytes))
        {
            return "It is a Python pickle of protocol 0, which no version of PyTorch writes. Load it in Python, and save the state dict: torch.save(state_dict, path).";
        }

        var text = encoding.GetString(start).TrimStart('\uFEFF').TrimStart();
        return text.StartsWith("<!doctype html", StringComparison.OrdinalIgnoreCase) || text.StartsWith("<html", StringComparison.OrdinalIgnoreCase) ? "It is a web page, not the file: a link led to a page about it, to a login or to a question. Get it by its direct address (on GitHub: raw; on Hugging Face: resolve)."
            : text.StartsWith("<?xml", StringComparison.OrdinalIgnoreCase) || text.StartsWith("<Error>", StringComparison.Ordinal) ? "It is XML: a storage service's error, or a network of OpenVINO. Get the file itself."
            : text is ['{' or '[', ..] ? "It is JSON: a server's error, a model's configuration or its card, not the model. Get the file itself."
            : text.Contains('\uFFFD', StringComparison.Ordinal) || text.Length == 0 ? null
            : $"It is text that begins '{new string([.. text.Take(40).TakeWhile(c => !char.IsControl(c))])}', not a model. Get the file itself.";
    }

    /// <summary>A dictionary, list, tuple or name, kept or followed by another line, and the stop at the end.</summary>
    private static bool IsTextPickle(ReadOnlySpan<byte> bytes) =>
        bytes is [(byte)'(', (byte)'d' or (byte)'l' or (byte)'t' or (byte)'i', ..] or [(byte)'c', (byte)'c' or (byte)'_' or (byte)'t' or (byte)'n', ..] && bytes.IndexOf((byte)'\n') is > 0 and < 100 && bytes.TrimEnd("\r\n"u8) is [.., (byte)'.'];

    private static string? Protobuf(byte[] bytes)
    {
        var start = bytes.AsSpan(0, Math.Min(bytes.Length, Looked));
        return bytes is [8, 1, 0x12, ..] && start.IndexOf("serve"u8) >= 0 || bytes is [0x0a, ..] && (start.IndexOf("\u0012\u000bPlaceholder"u8) >= 0 || start.IndexOf("\u0012\u0005Const"u8) >= 0)
                ? $"It is a TensorFlow graph. {Export} (tf2onnx)."
            : null;
    }

    private static bool IsOnnx(byte[] bytes)
    {
        try
        {
            return ModelProto.Parser.ParseFrom(bytes).Graph is { Node.Count: > 0 };
        }
        catch (Google.Protobuf.InvalidProtocolBufferException)
        {
            return false;
        }
    }

    /// <summary>Its bytes have more than 7.9 bits of entropy each; weights of float32 have about 7.4.</summary>
    private static bool IsNoise(ReadOnlySpan<byte> bytes)
    {
        const int fewest = 4096;
        if (bytes.Length < fewest)
        {
            return false;
        }

        var counts = new int[256];
        var looked = bytes[..Math.Min(bytes.Length, Looked)];
        foreach (var value in looked)
        {
            counts[value]++;
        }

        var entropy = 0.0;
        foreach (var count in counts.Where(c => c > 0))
        {
            var share = (double)count / looked.Length;
            entropy -= share * Math.Log2(share);
        }

        return entropy > 7.9;
    }
}
