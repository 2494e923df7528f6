using System.IO.Compression;
using System.Text;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>First bytes, a byte a character, and what is said of the file.</summary>
public class ForeignFileTests
{
    [Theory]
    [InlineData("", "It is empty. Get it again.")]
    [InlineData("\0\0\0", "It holds nothing but zeros: a download or a copy was cut off. Get it again.")]
    [InlineData("version https://git-lfs.github.com/spec/v1\n", "It is a Git LFS pointer, a text that stands for the file: run git lfs pull where it was cloned, or download the file itself.")]
    [InlineData("\u0089HDF\r\n\u001a\n", "It is a Keras or HDF5 file. Only its own framework can run it: export it to ONNX where it was trained (tf2onnx).")]
    [InlineData("\u001c\0\0\0TFL3", "It is a TensorFlow Lite model.")]
    [InlineData("\u001c\0\0\0ORTM", "It is a model in ONNX Runtime's own format (.ort): use the .onnx file that it was made of.")]
    [InlineData("\u0012\u0001\0\0\0\0\0\0", "It is a file of MXNet parameters.")]
    [InlineData("7767517\n", "It is an ncnn network.")]
    [InlineData("GGUF", "It is a GGUF file of a language model.")]
    [InlineData("PK\u0005\u0006", "It is an empty zip archive: what packed or downloaded it failed. Get it again.")]
    [InlineData("\u001f\u008b\u0008", "It is a gzip file. Unpack it, and name the model in it.")]
    [InlineData("Rar!", "It is a RAR archive. Unpack it, and name the model in it.")]
    [InlineData("Salted__", "It is encrypted (OpenSSL). Decrypt it first.")]
    [InlineData("\u0089PNG", "It is a picture (PNG), not a model.")]
    [InlineData("\u00ff\u00d8\u00ff\u00e0", "It is a picture (JPEG), not a model.")]
    [InlineData("MZ\u0090", "It is a program or library of Windows, not a model.")]
    [InlineData("\u0080\u0002}q\0.", "It is a PyTorch checkpoint or another Python pickle, not ONNX: face-embed model convert --checkpoint writes a MobileFaceNet as ONNX, with its card.")]
    [InlineData("\u0080\u0005}.", "It is a PyTorch checkpoint or another Python pickle")]
    [InlineData("\u0080\u0001}.", null)]
    [InlineData("\u0080\u0006}.", null)]
    [InlineData("PK\u0003\u0004", "It begins as a zip archive and has no end: a download was cut off. Get it again.")]
    [InlineData("<!DOCTYPE HTML>", "It is a web page, not the file: a link led to a page about it")]
    [InlineData("\n <html>", "It is a web page, not the file")]
    [InlineData("\u00ef\u00bb\u00bf<html>", "It is a web page, not the file")]
    [InlineData("\u00ff\u00fe<\0h\0t\0m\0l\0>\0", "It is a web page, not the file")]
    [InlineData("<\0h\0t\0m\0l\0>\0", "It is a web page, not the file")]
    [InlineData("\u00fe\u00ff\0<\0h\0t\0m\0l\0>", "It is a web page, not the file")]
    [InlineData("\0<\0h\0t\0m\0l\0>", "It is a web page, not the file")]
    [InlineData("<?xml version=\"1.0\"?><net>", "It is XML: a storage service's error, or a network of OpenVINO. Get the file itself.")]
    [InlineData("<Error><Code>", "It is XML: a storage service's error")]
    [InlineData("{\"a\":1}", "It is JSON: a server's error, a model's configuration or its card, not the model. Get the file itself.")]
    [InlineData(" [1]", "It is JSON")]
    [InlineData("hello, world\nand more", "It is text that begins 'hello, world', not a model. Get the file itself.")]
    [InlineData("it is more than forty characters, and is cut there", "It is text that begins 'it is more than forty characters, and is', not a model.")]
    [InlineData("hello\u0001world", null)] // no text has such a character
    [InlineData("hello\u0008world", null)]
    [InlineData("hello\u00ffworld", null)]
    [InlineData("  \n", null)]
    [InlineData("(dp0\nS'a'\np1\ns.", "It is a Python pickle of protocol 0, which no version of PyTorch writes. Load it in Python, and save the state dict: torch.save(state_dict, path).")]
    [InlineData("(lp0\n.\r\n", "It is a Python pickle of protocol 0")]
    [InlineData("(tp0\n.", "It is a Python pickle of protocol 0")]
    [InlineData("(ia\nb\n.", "It is a Python pickle of protocol 0")]
    [InlineData("ccollections\nOrderedDict\n.", "It is a Python pickle of protocol 0")]
    [InlineData("ctorch\nSize\n.", "It is a Python pickle of protocol 0")]
    [InlineData("(dear reader.", "It is text that begins '(dear reader.'")]
    [InlineData("(dear\nreader", "It is text that begins '(dear'")]
    [InlineData("case\nclosed.", "It is text that begins 'case'")]
    [InlineData("\u0008\u0001\u0012\u0005serve", "It is a TensorFlow graph. Only its own framework can run it: export it to ONNX where it was trained (tf2onnx).")]
    [InlineData("\n\u0010\u0001a\u0012\u000bPlaceholder", "It is a TensorFlow graph.")]
    [InlineData("\n\u0010\u0001a\u0012\u0005Const", "It is a TensorFlow graph.")]
    [InlineData("\n\u0010aaaa\u0012\u000bPlaceholder", "It is a TensorFlow graph.")] // though each of its characters could be a text's
    [InlineData("\n\u0010\u0001a\u0012\u0004Conv", null)]
    [InlineData("\u0008\u0001\u0012\u0005other", null)]
    [InlineData("\u0008\u0002\u0012\u0005serve", null)]
    public void A_file_is_told_by_its_bytes(string bytes, string? told)
    {
        var (onnx, checkpoint) = (ForeignFile.InPlaceOfOnnx(Encoding.Latin1.GetBytes(bytes)), ForeignFile.InPlaceOfCheckpoint(Encoding.Latin1.GetBytes(bytes)));
        if (told is null)
        {
            Assert.Equal((null, null), (onnx, checkpoint));
            return;
        }

        Assert.StartsWith(told, onnx, StringComparison.Ordinal);
        Assert.Equal(onnx, checkpoint);
    }

    [Fact]
    public void A_tar_is_told_by_what_stands_far_within()
    {
        Assert.Equal("It is a tar archive. Unpack it, and name the model in it.", ForeignFile.InPlaceOfOnnx([.. "name"u8, .. new byte[253], .. "ustar"u8]));
        Assert.Null(ForeignFile.InPlaceOfOnnx([.. "name"u8, .. new byte[253], .. "usta"u8]));
    }

    [Fact]
    public void A_zip_is_told_by_what_is_in_it()
    {
        const string unpack = "Unpack it, and name the model in it.";
        Assert.StartsWith("It is a TorchScript archive, a program and not a state dict.", Told("net/data.pkl", "net/code/a.py"), StringComparison.Ordinal);
        Assert.StartsWith("It is a TorchScript archive", Told("net/data.pkl", "net/constants.pkl"), StringComparison.Ordinal);
        Assert.StartsWith("It is a TorchScript archive", Told("data.pkl", "constants.pkl"), StringComparison.Ordinal);
        Assert.StartsWith("It is a PyTorch checkpoint, not ONNX", Told("net/data.pkl", "net/data/0"), StringComparison.Ordinal);
        Assert.StartsWith("It is a PyTorch checkpoint, not ONNX", Told("data.pkl"), StringComparison.Ordinal);
        Assert.StartsWith("It is a Keras model. Only its own framework", Told("config.json", "model.weights.h5"), StringComparison.Ordinal);
        Assert.Equal($"It is a zip archive that holds 'a/net.ONNX'. {unpack}", Told("README.md", "a/net.ONNX"));
        Assert.StartsWith("It is a NumPy archive. Only its own framework", Told("a.npy", "b.npy"), StringComparison.Ordinal);
        Assert.Equal($"It is a zip archive of 'a.npy', 'b.txt', and no model that is known. {unpack}", Told("a.npy", "b.txt"));
        Assert.Equal($"It is a zip archive of 'a', 'b', 'c', and no model that is known. {unpack}", Told("a", "b", "c"));
        Assert.Equal($"It is a zip archive of 'a', 'b', 'c', …, and no model that is known. {unpack}", Told("a", "b", "c", "d"));

        static string? Told(params string[] names)
        {
            var bytes = new MemoryStream();
            using (var zip = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
            {
                Array.ForEach(names, n => zip.CreateEntry(n));
            }

            return ForeignFile.InPlaceOfOnnx(bytes.ToArray());
        }
    }

    [Fact]
    public void A_pickle_in_lines_has_short_ones()
    {
        Assert.StartsWith("It is a Python pickle of protocol 0", Told(99), StringComparison.Ordinal);
        Assert.StartsWith("It is text that begins '(daaa", Told(100), StringComparison.Ordinal);

        static string? Told(int end) => ForeignFile.InPlaceOfOnnx([.. "(d"u8, .. Enumerable.Repeat((byte)'a', end - 2), .. "\n."u8]);
    }

    [Fact]
    public void A_safetensors_file_is_called_so()
    {
        byte[] header = [.. """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"""u8];
        Assert.StartsWith("It is a safetensors file, not ONNX: face-embed model convert", ForeignFile.InPlaceOfOnnx([.. BitConverter.GetBytes((long)header.Length), .. header, 1, 2, 3, 4]), StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_as_good_as_random_are_packed_or_encrypted()
    {
        var bytes = new byte[4096];
        new Random(1).NextBytes(bytes);
        bytes[0] = 0xEE;
        Assert.StartsWith("No format is known that begins like it, and its bytes are as good as random", ForeignFile.InPlaceOfOnnx(bytes), StringComparison.Ordinal);
        Assert.Null(ForeignFile.InPlaceOfOnnx(bytes[..4095])); // too few to tell
        byte[] fewer = [.. bytes.Select(b => b == 0 ? (byte)0xEE : b)];
        Assert.NotNull(ForeignFile.InPlaceOfOnnx(fewer)); // of 255 values
        Assert.StartsWith("It is a TensorFlow graph.", ForeignFile.InPlaceOfOnnx([.. "\n\u0010\u0001a\u0012\u000bPlaceholder"u8, .. bytes]), StringComparison.Ordinal); // with weights of 8 bits
        byte[] halved = [0xEE, .. bytes.Skip(1).Select(b => (byte)(b & 0x7F))]; // 7 bits of entropy
        Assert.Null(ForeignFile.InPlaceOfOnnx(halved));
    }

    [Fact]
    public void An_ONNX_file_in_the_place_of_a_checkpoint_is_called_so()
    {
        var onnx = new ModelProto { IrVersion = 8, Graph = new GraphProto { Node = { new NodeProto { OpType = "Relu" } } } }.ToByteArray();
        Assert.Null(ForeignFile.InPlaceOfOnnx(onnx));
        Assert.Equal("It is an ONNX file already: point Faces:EmbeddingModel at it.", ForeignFile.InPlaceOfCheckpoint(onnx));
        Assert.Null(ForeignFile.InPlaceOfCheckpoint(new ModelProto { IrVersion = 8, Graph = new GraphProto() }.ToByteArray()));
    }
}
