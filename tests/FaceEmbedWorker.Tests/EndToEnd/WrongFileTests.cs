using System.IO.Compression;
using System.Text;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>Files that people give for models: each is named for what it is, in one line, with what to do.</summary>
public sealed class WrongFileTests : IDisposable
{
    private const string Broken = "truncated or corrupt";

    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-wrong-").FullName;

    /// <summary>The file, what is told of it where an ONNX file is wanted, and where a checkpoint is; null: the same.</summary>
    private static IEnumerable<(string Name, byte[] Bytes, string Told, string? ToldConverting)> Files()
    {
        var pickle = TestData.Read("checkpoints/legacy.pth.tar");
        yield return ("empty", [], "It is empty. Get it again.", null);
        yield return ("zeros", new byte[5000], "It holds nothing but zeros", null);
        yield return ("lfs", [.. "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"u8], "It is a Git LFS pointer", null);
        yield return ("html", [.. "\n<!DOCTYPE html>\n<html lang=\"en\"><head>"u8], "It is a web page", null);
        yield return ("html16", [0xff, 0xfe, .. Encoding.Unicode.GetBytes("<!DOCTYPE html><html>")], "It is a web page", null);
        yield return ("pickle0", [.. "(dp0\nS'a'\np1\nI1\ns."u8], "It is a Python pickle of protocol 0", null);
        yield return ("empty.zip", Zip(), "It is an empty zip archive", null);
        yield return ("xml", [.. "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"u8], "It is XML", null);
        yield return ("json", [.. "{\"message\": \"Not Found\"}"u8], "It is JSON", null);
        yield return ("text", [.. "Not found\n"u8], "It is text that begins 'Not found'", null);
        yield return ("keras.h5", [0x89, .. "HDF\r\n\u001a\n"u8, .. new byte[100]], "It is a Keras or HDF5 file", null);
        yield return ("keras.keras", Zip("metadata.json", "config.json", "model.weights.h5"), "It is a Keras model", null);
        yield return ("model.tflite", [0x1c, 0, 0, 0, .. "TFL3"u8, .. new byte[100]], "It is a TensorFlow Lite model", null);
        yield return ("frozen.pb", [0x0a, 0x20, 0x0a, 5, .. "input"u8, 0x12, 11, .. "Placeholder"u8, .. new byte[40]], "It is a TensorFlow graph", null);
        yield return ("model.ort", [0x18, 0, 0, 0, .. "ORTM"u8, .. new byte[100]], "ONNX Runtime's own format (.ort)", null);
        yield return ("script.pt", Zip("model/data.pkl", "model/code/__torch__.py", "model/constants.pkl"), "It is a TorchScript archive", null);
        yield return ("buffalo.zip", Zip("det_10g.onnx", "w600k_r50.onnx"), "It is a zip archive that holds 'det_10g.onnx'", null);
        yield return ("photos.zip", Zip("a.jpg", "b.jpg"), "It is a zip archive of 'a.jpg', 'b.jpg'", null);
        yield return ("weights.npz", Zip("a.npy", "b.npy"), "It is a NumPy archive", null);
        yield return ("weights.npy", [0x93, .. "NUMPY"u8, 1, 0, .. new byte[50]], "It is a NumPy array", null);
        yield return ("locked.zip", Encrypted(Zip("archive/data.pkl")), "It is an encrypted zip archive", null);
        yield return ("cut.zip", Zip("a.onnx", "b.onnx")[..60], "It begins as a zip archive and has no end", Broken);
        yield return ("salted", [.. "Salted__"u8, .. Noise(300)], "It is encrypted (OpenSSL)", null);
        yield return ("age", [.. "age-encryption.org/v1\n"u8, .. Noise(300)], "It is encrypted (age)", null);
        yield return ("noise", [0xc5, .. Noise(20_000)], "it is encrypted or packed", null);
        yield return ("model.lzma", [0x5d, 0, 0, 0x80, 0, .. Noise(300)], "It is an LZMA file", null);
        yield return ("model.xz", [0xfd, .. "7zXZ"u8, 0, .. Noise(300)], "It is an xz file", null);
        yield return ("model.7z", [.. "7z"u8, 0xbc, 0xaf, 0x27, 0x1c, .. Noise(300)], "It is a 7z archive", null);
        yield return ("resnet.params", [0x12, 1, 0, 0, 0, 0, 0, 0, .. new byte[100]], "It is a file of MXNet parameters", null);
        yield return ("model.param", [.. "7767517\n75 83\n"u8], "It is an ncnn network", null);
        yield return ("model.gguf", [.. "GGUF"u8, 3, 0, 0, 0, .. new byte[100]], "It is a GGUF file", null);
        yield return ("face.png", TestData.Read("astronaut.png"), "It is a picture (PNG)", null);
        yield return ("face.jpg", TestData.Read("grace_hopper.jpg"), "It is a picture (JPEG)", null);
        yield return ("paper.pdf", [.. "%PDF-1.7\n"u8, .. new byte[100]], "It is a PDF document", null);
        yield return ("library.so", [0x7f, .. "ELF"u8, 2, 1, .. new byte[100]], "It is a program or library (ELF)", null);
        yield return ("checkpoint.pth", TestData.Read("checkpoints/zip.pth"), "It is a PyTorch checkpoint, not ONNX: face-embed model convert", "");
        yield return ("old.pth.tar", pickle, "It is a PyTorch checkpoint or another Python pickle, not ONNX: face-embed model convert", "");
        yield return ("model.safetensors", TestData.Read("checkpoints/tall.safetensors"), "It is a safetensors file, not ONNX: face-embed model convert", "");
        yield return ("model.tar.gz", TestData.Read("checkpoints/wrapped.tar.gz"), "It is a gzip file. Unpack it", "");
        yield return ("cut.onnx", File.ReadAllBytes(Path.Combine(TestData.Repository, "models", "face_embedding.onnx"))[..100_000], "is not an ONNX file that ONNX Runtime can run", "no checkpoint. It is neither");
    }

    /// <summary>Programs end with 78 of a <see cref="ModelException"/>, and <c>model convert</c> of a <see cref="ForeignFileException"/>.</summary>
    [Fact]
    public void Each_is_named_for_what_it_is()
    {
        Assert.InRange(Files().Count(), 30, 100);
        foreach (var (name, bytes, told, toldConverting) in Files())
        {
            var message = Assert.Throws<ModelException>(() => Model.Load(Write(name, bytes), ModelCard.Embedding)).Message;
            Assert.Contains(name, message, StringComparison.Ordinal);
            Assert.Contains(told, message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', message);
            switch (toldConverting)
            {
                case "": // it is a checkpoint
                    Assert.NotEmpty(Checkpoint.Read(bytes).Tensors);
                    break;
                case Broken:
                    Assert.Contains(Broken, Assert.Throws<InvalidDataException>(() => Checkpoint.Read(bytes)).Message, StringComparison.Ordinal);
                    break;
                default:
                    Assert.Contains(toldConverting ?? told, Assert.Throws<ForeignFileException>(() => Checkpoint.Read(bytes)).Message, StringComparison.Ordinal);
                    break;
            }
        }
    }

    [Theory]
    [InlineData("html")]
    [InlineData("script.pt")]
    [InlineData("locked.zip")]
    public async Task Where_a_checkpoint_is_wanted_another_file_ends_with_78(string name)
    {
        var file = Files().Single(f => f.Name == name);
        var (code, _, errors) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", Write(file.Name, file.Bytes), "--output", Path.Combine(folder, "never.onnx"));
        Assert.Equal(78, code);
        Assert.Contains(file.Told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(folder, "never.onnx")));
    }

    [Fact]
    public void An_ONNX_file_is_no_checkpoint_and_needs_no_conversion() =>
        Assert.Contains("It is an ONNX file already: point Faces:EmbeddingModel at it.", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx")))).Message, StringComparison.Ordinal);

    /// <summary>Whoever loads a model says the same of a wrong one: an embedder, and a detector.</summary>
    [Theory]
    [InlineData("Faces:EmbeddingModel")]
    [InlineData("Faces:DetectionModel")]
    public async Task Every_verb_says_the_same_of_a_wrong_file(string setting)
    {
        var page = Write("page.onnx", [.. "<html><body>Sign in"u8]);
        var photo = Path.Combine("tests", "data", "astronaut.png");
        string[][] verbs = [["embed", photo], ["check"], ["model", "check"], ["run"]];
        var said = new List<string>();
        foreach (var verb in verbs)
        {
            var (code, _, errors) = await FaceEmbed.RunAsync([.. verb, $"--{setting}={page}"]);
            Assert.True(code == 78, $"{verb[0]}: {code} {errors}");
            said.Add(Assert.Single(errors.Split('\n')));
        }

        Assert.Contains("page.onnx is not an ONNX file. It is a web page", Assert.Single(said.Distinct()), StringComparison.Ordinal);
    }

    /// <summary>Graphs that ONNX Runtime takes and that are no embedder; none ends in a stack trace.</summary>
    [Theory]
    [InlineData("labels", "values come out as float32, but the file has an output 'labels' of Int64")]
    [InlineData("folder", "own.onnx is a folder. Name the .onnx file in it.")]
    [InlineData("new version", "own.onnx is not an ONNX file that ONNX Runtime can run: It was written for version 99 of ONNX's file format, and this program reads up to ")]
    [InlineData("in a ring", "can run: Its Relu reads 'ring', which only a node behind it gives: its nodes are out of order, or in a ring. Export it again.")]
    [InlineData("no such output", "can run: Its output 'nowhere' is given by nothing. Export it again.")]
    [InlineData("whole numbers", "can run: It is damaged, or was exported wrongly: get it again, or export it again (Type Error: ")]
    [InlineData("weights gone", "own.onnx keeps weights in ")]
    [InlineData("weights outside", "own.onnx keeps weights in ../gone.data, and they are read from its own folder only.")]
    [InlineData("weights nowhere", "own.onnx keeps weights in gone")]
    [InlineData("weights cut short", "short.data up to byte 384, and that file has 100: it is cut short.")]
    [InlineData("tensor cut short", "own.onnx has 7 bytes for its tensor 'w', whose shape [3,32] has 384.")]
    [InlineData("new opset", "can run: It was written for opset 99, and this program runs up to ")]
    [InlineData("new operator", "can run: Its operator Foo is none of ONNX's in opset 13: export it with ONNX's own operators.")]
    [InlineData("foreign operator", "can run: Its operator Foo of my.ops is none that this program has: export it with ONNX's own operators.")]
    [InlineData("does not fit", "can run: Its Gemm fails: ")]
    [InlineData("does not run", ": Its Reshape fails: The input tensor cannot be reshaped to the requested shape. Input shape:{1,3}, requested shape:{1,512}. Write the size")]
    [InlineData("no graph", "can run: It has no graph: it is damaged, or only a part of a model. Get it again, or export it again.")]
    [InlineData("card", "is not an ONNX file. It is JSON")]
    [InlineData("no nodes", "can run: Its graph has no nodes, and computes nothing. Export it again.")]
    [InlineData("a sequence", "tensors go in and come out, but the file has an output 'vector' of ONNX_TYPE_SEQUENCE.")]
    [InlineData("input of 2147483648", "can run: Its input 'picture' is [1,3,2147483648,112], which no picture has. Export it again, for pictures")]
    [InlineData("input of 1099511627776", "can run: Its input 'picture' is [1,3,1099511627776,112], which no picture has.")]
    [InlineData("input of 0", "has an input of [1,3,0,112], and no picture has a side of 0. Export it again, for pictures")]
    [InlineData("weights offset -4", "keeps its tensor 'w' in short.data with the offset '-4', which is no number of bytes. Export it again.")]
    [InlineData("weights length -384", "keeps its tensor 'w' in short.data with the length '-384', which is no number of bytes.")]
    [InlineData("weights offset abc", "keeps its tensor 'w' in short.data with the offset 'abc', which is no number of bytes.")]
    [InlineData("weights length 96", "keeps 96 bytes for its tensor 'w' in short.data, whose shape [3,32] has 384. Export it again.")]
    [InlineData("one input", "is not an ONNX file that ONNX Runtime can run")]
    public async Task A_graph_that_is_no_embedder_says_why(string kind, string told)
    {
        var file = Path.Combine(folder, "own.onnx");
        switch (kind)
        {
            case "folder":
                Directory.CreateDirectory(file);
                break;
            case "card":
                await File.WriteAllTextAsync(file, "{\"id\": \"a card\"}");
                break;
            case "no graph":
                await File.WriteAllBytesAsync(file, new ModelProto { IrVersion = 8, ProducerName = "nobody" }.ToByteArray(), TestContext.Current.CancellationToken);
                break;
            default:
                var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
                if (kind == "new version")
                {
                    model.IrVersion = 99;
                }
                else if (kind == "new opset")
                {
                    model.OpsetImport[0].Version = 99;
                }
                else if (kind is "new operator" or "foreign operator")
                {
                    model.Graph.Node[^1].OpType = "Foo";
                    if (kind == "foreign operator")
                    {
                        model.Graph.Node[^1].Domain = "my.ops";
                        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "my.ops", Version = 1 });
                    }
                }
                else if (kind == "in a ring")
                {
                    Last(model, new NodeProto { OpType = "Relu", Input = { "ring" } });
                    model.Graph.Node.Add(new NodeProto { OpType = "Relu", Input = { "vector" }, Output = { "ring" } });
                }
                else if (kind == "no nodes")
                {
                    model.Graph.Node.Clear();
                }
                else if (kind == "a sequence")
                {
                    Last(model, new NodeProto { OpType = "SequenceConstruct", Input = { "means" } });
                    model.Graph.Output[0].Type = TypeProto.Parser.ParseFrom([0x22, 6, 0x0a, 4, 0x0a, 2, 0x08, 1]); // sequence_type of tensor_type of float32
                }
                else if (kind.StartsWith("input of ", StringComparison.Ordinal))
                {
                    model.Graph.Input[0].Type.TensorType.Shape.Dim[2].DimValue = long.Parse(kind["input of ".Length..], System.Globalization.CultureInfo.InvariantCulture);
                }
                else if (kind == "no such output")
                {
                    model.Graph.Output[0].Name = "nowhere";
                }
                else if (kind == "whole numbers")
                {
                    model.Graph.Input[0].Type.TensorType.ElemType = 7;
                }
                else if (kind == "does not run")
                {
                    model.Graph.Initializer.Add(new TensorProto { Name = "s", DataType = 7, Dims = { 2 }, Int64Data = { 1, 512 } });
                    Last(model, new NodeProto { OpType = "Reshape", Input = { "means", "s" } });
                }
                else if (kind.StartsWith("weights", StringComparison.Ordinal) || kind is "tensor cut short" or "does not fit")
                {
                    await File.WriteAllBytesAsync(Path.Combine(folder, "short.data"), new byte[100], TestContext.Current.CancellationToken);
                    var tensor = new TensorProto { Name = "w", DataType = 1, Dims = { kind == "does not fit" ? 5 : 3, 32 } };
                    if (kind.StartsWith("weights", StringComparison.Ordinal))
                    {
                        tensor.DataLocation = 1;
                        tensor.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = kind switch { "weights outside" => "../gone.data", "weights gone" => "gone.data", "weights nowhere" => "gone\0.data", _ => "short.data" } });
                        if (kind.Split(' ') is [_, "offset" or "length", var number])
                        {
                            tensor.ExternalData.Add(new StringStringEntryProto { Key = kind.Split(' ')[1], Value = number });
                        }
                    }
                    else
                    {
                        tensor.RawData = ByteString.CopyFrom(new byte[kind == "does not fit" ? 640 : 7]);
                    }

                    model.Graph.Initializer.Add(tensor);
                    Last(model, new NodeProto { OpType = "Gemm", Input = { "means", "w" } });
                }
                else if (kind == "labels")
                {
                    var arg = new NodeProto { OpType = "ArgMax", Input = { "means" }, Output = { "labels" } };
                    model.Graph.Node.Add(arg);
                    model.Graph.Output[0] = model.Graph.Output[0].Clone();
                    model.Graph.Output[0].Name = "labels";
                    model.Graph.Output[0].Type.TensorType.ElemType = 7;
                    model.Graph.Output[0].Type.TensorType.Shape = null;
                }
                else
                {
                    model.Graph.Node.Insert(0, new NodeProto { OpType = "PRelu", Input = { "picture" }, Output = { "bent" } });
                    model.Graph.Node[1].Input[0] = "bent";
                }

                await File.WriteAllBytesAsync(file, model.ToByteArray(), TestContext.Current.CancellationToken);
                break;
        }

        foreach (var verb in (string[])["check", "inspect"])
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("model", verb, file);

            Assert.True(code == 78, $"{verb} {code} {output} {errors}");
            Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
            Assert.DoesNotMatch(@"onnxruntime::|\.cc:|ErrorCode|Non-zero|Name:''|own\.onnx.*own\.onnx", errors);
        }
    }

    /// <summary>A graph that runs on zeros, as when it is loaded, and on no picture: the place that it reads is of the largest pixel.</summary>
    [Fact]
    public async Task A_graph_that_fails_on_pictures_alone_says_so_without_a_trace()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        model.Graph.Initializer.Add(new TensorProto { Name = "hundred", DataType = 1, FloatData = { 100 } });
        model.Graph.Initializer.Add(new TensorProto { Name = "three", DataType = 7, Dims = { 1 }, Int64Data = { 3 } });
        var cast = new NodeProto { OpType = "Cast", Input = { "large" }, Output = { "whole" }, Attribute = { new AttributeProto { Name = "to", Type = AttributeProto.Types.AttributeType.Int, I = 7 } } };
        var largest = new NodeProto { OpType = "ReduceMax", Input = { "picture" }, Output = { "largest" }, Attribute = { new AttributeProto { Name = "keepdims", Type = AttributeProto.Types.AttributeType.Int, I = 0 } } };
        model.Graph.Node.Add([largest, new NodeProto { OpType = "Mul", Input = { "largest", "hundred" }, Output = { "large" } }, cast, new NodeProto { OpType = "Add", Input = { "whole", "three" }, Output = { "count" } }]);
        Last(model, new NodeProto { OpType = "Reshape", Input = { "means", "count" } });
        var file = Write("own.onnx", model.ToByteArray());
        const string told = "The model own does not run on this picture: Its Reshape fails: The input tensor cannot be reshaped to the requested shape. Input shape:{1,3}, requested shape:{103}.";

        foreach (var (verb, expected) in new (string[], int)[] { (["model", "check", file], 1), (["embed", "tests/data/astronaut.png", $"--Faces:EmbeddingModel={file}"], 1), (["run", $"--Faces:EmbeddingModel={file}"], 78) })
        {
            var (code, output, errors) = await FaceEmbed.RunAsync(verb);
            Assert.True(code == expected, $"{code} {output} {errors}");
            Assert.Contains(told, string.Join(" ", (output.Replace("│", "", StringComparison.Ordinal) + errors).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
            Assert.DoesNotMatch(@"onnxruntime::|\.h:|ErrorCode|Non-zero|\n +at ", output + errors);
        }
    }

    /// <summary>A card for whole pictures: verbs that measure faces say so, and nothing is cut out by another rule in silence.</summary>
    [Fact]
    public async Task Faces_are_refused_where_a_card_takes_whole_pictures()
    {
        string[] model = [$"--Faces:EmbeddingModel={Write("own.onnx", TinyOnnx.ChannelMeans(160, 160))}", $"--Faces:EmbeddingCard={Path.Combine(folder, "own.json")}"];
        var card = await File.ReadAllTextAsync(Path.Combine(TestData.Repository, "models", "cards", "original-160.json"), TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Path.Combine(folder, "own.json"), card.Replace("\"dimensions\": 512,", "", StringComparison.Ordinal), TestContext.Current.CancellationToken);
        Directory.CreateDirectory(Path.Combine(folder, "people", "one"));
        foreach (var (verb, expected) in new (string[], int)[] { (["embed", "tests/data/astronaut.png"], 1), (["run"], 78), (["check"], 1), (["verify", Path.Combine(folder, "people")], 78), (["model", "check", "--pictures", Path.Combine(folder, "people")], 78) })
        {
            var (code, output, errors) = await FaceEmbed.RunAsync([.. verb, .. model]);
            Assert.True(code == expected, $"{verb[0]}: {code} {output} {errors}");
            Assert.Contains("takes whole pictures (crop.rule whole-picture), and cuts no faces out", string.Join(" ", (output.Replace("│", "", StringComparison.Ordinal) + errors).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
        }

        var (whole, _, _) = await FaceEmbed.RunAsync(["embed", "tests/data/astronaut.png", "--mode", "image", .. model]);
        Assert.Equal(0, whole);
    }

    /// <summary>A node behind the others, whose output is the graph's.</summary>
    private static void Last(ModelProto model, NodeProto node)
    {
        node.Output.Add("vector");
        model.Graph.Node.Add(node);
        model.Graph.Output[0].Name = "vector";
        model.Graph.Output[0].Type.TensorType.Shape = null;
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string Write(string name, byte[] bytes)
    {
        var file = Path.Combine(folder, name);
        File.WriteAllBytes(file, bytes);
        return file;
    }

    private static byte[] Zip(params string[] names)
    {
        var bytes = new MemoryStream();
        using (var zip = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var name in names)
            {
                using var entry = zip.CreateEntry(name).Open();
                entry.Write(Encoding.ASCII.GetBytes(name));
            }
        }

        return bytes.ToArray();
    }

    /// <summary>The flag of encryption, in the file's header and in the directory's.</summary>
    private static byte[] Encrypted(byte[] zip)
    {
        zip[6] |= 1;
        zip[zip.AsSpan().IndexOf((ReadOnlySpan<byte>)[(byte)'P', (byte)'K', 1, 2]) + 8] |= 1;
        return zip;
    }

    private static byte[] Noise(int count)
    {
        var bytes = new byte[count];
        new Random(count).NextBytes(bytes);
        return bytes;
    }
}
