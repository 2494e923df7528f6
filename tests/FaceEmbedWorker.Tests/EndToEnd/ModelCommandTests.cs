using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using FaceEmbedWorker.Tests.Onnx;
using Google.Protobuf;
using NetVips;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary><c>face-embed model</c> as a process of its own.</summary>
public sealed class ModelCommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-model-").FullName;

    [Fact]
    public async Task The_self_tests_own_photos_are_within_no_limits_that_are_set()
    {
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "check", "models/face_embedding.onnx", "--Images:MaxBytes=1000", "--Images:MaxSide=100");
        Assert.True(code == 0, output + errors);
    }

    [Fact]
    public async Task A_converted_checkpoint_is_dropped_in_and_embeds_with_no_other_step()
    {
        var file = In("models/own.onnx");
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", "tests/data/checkpoints/landmarks.pth.tar", "--output", file, "--head", "features", "--input-size", "160");
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("[batch,3,160,160] -> [batch,512]", output, StringComparison.Ordinal);
        var card = JsonElement.Parse(await File.ReadAllTextAsync(In("models/own.json")));
        Assert.False(card.GetProperty("identity").GetBoolean());
        Assert.StartsWith("Not an identity embedding", card.GetProperty("notes").GetString(), StringComparison.Ordinal);

        (code, output, _) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", $"--Faces:EmbeddingModel={file}");
        Assert.Equal(0, code);
        Assert.Equal((512, "mobilefacenet-512-features"), (JsonElement.Parse(output).GetProperty("model").GetProperty("dimensions").GetInt32(), JsonElement.Parse(output).GetProperty("model").GetProperty("id").GetString()));
    }

    /// <summary>The card that a conversion writes is its family's known card: input, crop and all.</summary>
    [Theory]
    [InlineData("tall.ckpt", "mobilefacenet-96x112", "'net_state_dict'", "[batch,3,112,96] -> [batch,8]")]
    [InlineData("capped.safetensors", "mobilefacenet-relu6", "is foamliu's MobileFaceNet.", "[batch,3,112,112] -> [batch,8]")]
    public async Task A_checkpoint_of_a_known_family_gets_its_familys_card(string file, string family, string found, string shape)
    {
        var model = In("own.onnx");
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", $"tests/data/checkpoints/{file}", "--output", model);
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains(found, output, StringComparison.Ordinal);
        Assert.Contains(shape, output, StringComparison.Ordinal);

        var (card, known) = (ModelCard.Read(In("own.json")), ModelCard.Named(family));
        Assert.Equal($"{family}-8", card.Id);
        Assert.Equal(JsonSerializer.Serialize(known.Crop), JsonSerializer.Serialize(card.Crop));
        Assert.Equal(JsonSerializer.Serialize(known.Input), JsonSerializer.Serialize(card.Input with { Name = "" }));

        (code, output, _) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", $"--Faces:EmbeddingModel={model}");
        Assert.Equal(0, code);
        Assert.Equal(8, JsonElement.Parse(output).GetProperty("model").GetProperty("dimensions").GetInt32());
    }

    [Fact]
    public async Task What_cannot_be_converted_is_told_in_one_line()
    {
        await FailsAsync("has 136 outputs: it is a regressor of 68 landmarks", 78, "--checkpoint", "tests/data/checkpoints/landmarks.pth.tar");
        await FailsAsync("asks to call '__builtin__.eval'", 78, "--checkpoint", "tests/data/checkpoints/evil.pth");
        await FailsAsync("there is no such checkpoint", 78, "--checkpoint", "nowhere.pth");
        await FailsAsync("and 00 was asked for", 78, "--checkpoint", "tests/data/checkpoints/zip.pth#sha256=00");
        await FailsAsync("it is a folder. Name the checkpoint in it.", 78, "--checkpoint", "tests/data/checkpoints");
        await FailsAsync("it is a device. Name a file", 78, "--checkpoint", "/dev/zero");
        await FailsAsync("CHECKPOINT_URL", 64);
        await FailsAsync("it can be 16 to 1024", 64, "--checkpoint", "x", "--input-size", "7");
        var (nameless, _, told) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", "tests/data/checkpoints/zip.pth", "--output", In("never"));
        Assert.Equal(64, nameless);
        Assert.Contains("it can be a name that ends in .onnx", Assert.Single(told.Split('\n')), StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));

        async Task FailsAsync(string told, int expected, params string[] arguments)
        {
            var (code, _, errors) = await FaceEmbed.RunAsync(["model", "convert", "--output", In("never.onnx"), .. arguments]);
            Assert.Equal(expected, code);
            Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task An_output_that_cannot_be_written_ends_with_73_and_leaves_nothing()
    {
        await File.WriteAllTextAsync(In("file"), "", TestContext.Current.CancellationToken);
        Directory.CreateDirectory(In("folder.onnx"));
        Directory.CreateDirectory(In("card.json"));
        System.Diagnostics.Process.Start("mkfifo", In("pipe.onnx"))!.WaitForExit();
        foreach (var (output, told) in new[] { (In("file/own.onnx"), "it is a f"), (In("folder.onnx"), "it is a f"), (In("card.onnx"), "it is a f"), (In("pipe.onnx"), "it is a pipe (FIFO).") })
        {
            var (code, _, errors) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", "tests/data/checkpoints/zip.pth", "--output", output);
            Assert.Equal(73, code);
            Assert.Contains($"it cannot be written: {told}", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }

        var (usage, _, _) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", In("own.json"), "--output", In("own.onnx"));
        Assert.Equal(64, usage);
        Assert.Equal(["card.json", "file", "folder.onnx", "pipe.onnx"], Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    /// <summary>A number sign in a name begins a sum only where it says so.</summary>
    [Fact]
    public async Task A_checkpoints_name_may_have_a_number_sign()
    {
        await File.WriteAllBytesAsync(In("epoch#3.pth"), TestData.Read("checkpoints/zip.pth"), TestContext.Current.CancellationToken);
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", In("epoch#3.pth"), "--output", In("own.onnx"));
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("epoch#3.pth (SHA-256", output, StringComparison.Ordinal);
    }

    /// <summary>Graphs that do not run: one line, by inspect and by check, and nothing of ONNX Runtime's own on the screen.</summary>
    [Fact]
    public async Task An_operator_that_nobody_knows_is_one_line()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        model.Graph.Node[0].OpType = "Frobnicate";
        await File.WriteAllBytesAsync(In("own.onnx"), model.ToByteArray(), TestContext.Current.CancellationToken);
        foreach (var verb in new[] { "inspect", "check" })
        {
            var (code, _, errors) = await FaceEmbed.RunAsync("model", verb, In("own.onnx"));
            Assert.Equal(78, code);
            Assert.Contains("Frobnicate", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_graph_without_an_input_is_one_line()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        model.Graph.Input.Clear();
        model.Graph.Node.Clear();
        model.Graph.Initializer.Clear();
        model.Graph.Node.Add(new NodeProto { OpType = "Constant", Output = { model.Graph.Output[0].Name }, Attribute = { new AttributeProto { Name = "value_floats", Floats = { 1, 2 }, Type = AttributeProto.Types.AttributeType.Floats } } });
        model.Graph.Output[0].Type.TensorType.Shape.Dim.Clear();
        model.Graph.Output[0].Type.TensorType.Shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = 2 });
        await File.WriteAllBytesAsync(In("own.onnx"), model.ToByteArray(), TestContext.Current.CancellationToken);
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "inspect", In("own.onnx"));
        Assert.True(code is 0 or 78, $"{code}\n{output}\n{errors}");
        Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal);
        Assert.Equal(78, (await FaceEmbed.RunAsync("model", "check", In("own.onnx"))).ExitCode);
    }

    /// <summary>What a fixed batch costs is told of one picture, and a file without a card is not blamed on its card.</summary>
    [Fact]
    public async Task Inspect_counts_one_picture_and_speaks_of_no_card_where_there_is_none()
    {
        foreach (var batch in new[] { 1, 4 })
        {
            var model = ModelProto.Parser.ParseFrom(FaceNetworks.IResNet(112, 4, [1], 8));
            model.Graph.Input[0].Type.TensorType.Shape.Dim[0] = new TensorShapeProto.Types.Dimension { DimValue = batch };
            await File.WriteAllBytesAsync(In($"{batch}.onnx"), model.ToByteArray(), TestContext.Current.CancellationToken);
        }

        var (one, four) = (await InspectAsync("1.onnx"), await InspectAsync("4.onnx"));
        Assert.Equal(Cost(one), Cost(four));

        await File.WriteAllBytesAsync(In("grey.onnx"), TinyOnnx.Detector("scrfd", 64), TestContext.Current.CancellationToken);
        Assert.Contains("told by the outputs", await InspectAsync("grey.onnx"), StringComparison.Ordinal);
        var two = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        two.Graph.Input[0].Type.TensorType.Shape.Dim[1].DimValue = 1;
        two.Graph.Output[0].Type.TensorType.Shape.Dim[1].DimValue = 1;
        await File.WriteAllBytesAsync(In("plain.onnx"), two.ToByteArray(), TestContext.Current.CancellationToken);
        var (refused, _, told) = await FaceEmbed.RunAsync("model", "check", In("plain.onnx"));
        Assert.Equal(78, refused);
        Assert.Contains("has no card, and without one the input is [1,3,112,112] (NCHW, RGB), but the file has", told, StringComparison.Ordinal);

        async Task<string> InspectAsync(string name)
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("model", "inspect", In(name));
            Assert.Equal((0, ""), (code, errors));
            return output;
        }

        static string Cost(string output) => Assert.Single(output.Split('\n'), l => l.Contains("multiply-adds", StringComparison.Ordinal));
    }

    /// <summary>Whatever verb looks: of a card, what <c>check</c> says, and behind it the table.</summary>
    [Theory]
    [InlineData("[1]", "own.json cannot be read: it is not an object")]
    [InlineData("", "the input is named 'nope', but the file has the inputs picture")]
    public async Task Inspect_ends_with_78_where_the_card_is_wrong(string text, string told)
    {
        await File.WriteAllBytesAsync(In("own.onnx"), TinyOnnx.ChannelMeans(112, 112), TestContext.Current.CancellationToken);
        var card = ModelCard.Default("own", ModelCard.Embedding);
        await File.WriteAllBytesAsync(In("own.json"), text.Length > 0 ? System.Text.Encoding.UTF8.GetBytes(text) : (card with { Input = card.Input with { Name = "nope" } }).ToJson(), TestContext.Current.CancellationToken);
        foreach (var verb in (string[])["inspect", "check"])
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("model", verb, In("own.onnx"));
            Assert.True(code == 78, output + errors);
            Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    /// <summary>The card that is named is the one that the file is compared with, of a detector too; where both do not fit, the right one is blamed.</summary>
    [Fact]
    public async Task Inspect_compares_a_detector_with_the_card_that_is_named()
    {
        await File.WriteAllBytesAsync(In("det.onnx"), TinyOnnx.Detector("scrfd", 64), TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(In("embedder.onnx"), TinyOnnx.ChannelMeans(112, 112), TestContext.Current.CancellationToken);
        var card = ModelCard.Named("scrfd");
        card = card with { Input = card.Input with { Width = 64, Height = 64 } };
        await File.WriteAllBytesAsync(In("fits.json"), card.ToJson(), TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(In("other.json"), (card with { Output = card.Output with { Layout = "scrfd-boxes" } }).ToJson(), TestContext.Current.CancellationToken);

        var (code, output, errors) = await FaceEmbed.RunAsync("model", "inspect", In("det.onnx"), "--card", In("fits.json"));
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("scrfd, five points", output, StringComparison.Ordinal);
        Assert.DoesNotContain("none: told by the outputs", output, StringComparison.Ordinal);

        Assert.Contains("as its card says", await FailsAsync("det.onnx has 9 outputs, and layout scrfd-boxes has 6 or 10", "det.onnx", In("other.json")), StringComparison.Ordinal);
        await FailsAsync("det.onnx is a detector of faces by its outputs, whatever its card w600k_r50 says, and an embedder is wanted here.", "det.onnx", "w600k_r50");
        await FailsAsync("embedder.onnx has not the outputs of one; it has means [1,3]. Name the card of an embedder, or another file.", "embedder.onnx", "yunet");

        async Task<string> FailsAsync(string told, string file, string named)
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("model", "inspect", In(file), "--card", named);
            Assert.True(code == 78, output + errors);
            Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
            return output;
        }
    }

    /// <summary>A detector that no verb takes is refused by inspect too, by the same words.</summary>
    [Fact]
    public async Task Inspect_refuses_a_detector_without_a_card_that_other_verbs_refuse()
    {
        await File.WriteAllBytesAsync(In("retina.onnx"), Retina(), TestContext.Current.CancellationToken);

        var (code, output, errors) = await FaceEmbed.RunAsync("model", "inspect", In("retina.onnx"));
        var (other, _, said) = await FaceEmbed.RunAsync("embed", TestData.Astronaut, $"--Faces:DetectionModel={In("retina.onnx")}");

        Assert.Equal((78, 78), (code, other));
        Assert.Contains("they look like RetinaFace's", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        Assert.Equal(said, errors);
        Assert.Contains("without a card", output, StringComparison.Ordinal);
        Assert.DoesNotContain("as its card says", output, StringComparison.Ordinal);

        static byte[] Retina()
        {
            var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(64, 64));
            var value = model.Graph.Output[0];
            model.Graph.Output.Clear();
            foreach (var (name, last) in new[] { ("loc", 4), ("conf", 2), ("landms", 10) })
            {
                model.Graph.Initializer.Add(new TensorProto { Name = $"{name}/constant", DataType = 1, Dims = { 1, last }, FloatData = { new float[last] } });
                model.Graph.Node.Add(new NodeProto { OpType = "Identity", Input = { $"{name}/constant" }, Output = { name } });
                var output = value.Clone();
                output.Name = name;
                output.Type.TensorType.Shape.Dim[1].DimValue = last;
                model.Graph.Output.Add(output);
            }

            return model.ToByteArray();
        }
    }

    /// <summary>Verbs for embedders call a detector one, and say where it belongs.</summary>
    [Fact]
    public async Task A_detector_in_an_embedders_place_is_called_one()
    {
        File.Copy(Pipeline.Shipped("rfb/face_detection.onnx"), In("rfb.onnx"));
        await File.WriteAllBytesAsync(In("scrfd.onnx"), TinyOnnx.Detector("scrfd", 64), TestContext.Current.CancellationToken);
        foreach (var arguments in (string[][])[["check", In("rfb.onnx")], ["check", In("scrfd.onnx")], ["quantize", In("scrfd.onnx"), "--pictures", folder]])
        {
            var (code, output, errors) = await FaceEmbed.RunAsync(["model", .. arguments]);
            Assert.True(code == 78, output + errors);
            Assert.Contains($"{arguments[1]} is a detector of faces by its outputs, and an embedder is wanted here. Set Faces:DetectionModel to it, or name an embedder", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    /// <summary>A worker whose embedder gives nothing has nothing to serve, whatever the self-test's policy is.</summary>
    [Fact]
    public async Task A_worker_whose_model_gives_zeros_does_not_start()
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        graph.Graph.Node[0].Output[0] = "mean";
        graph.Graph.Node.Insert(1, new NodeProto { OpType = "Sub", Input = { "mean", "mean" }, Output = { "pooled" } });
        await File.WriteAllBytesAsync(In("zeros.onnx"), graph.ToByteArray(), TestContext.Current.CancellationToken);

        var (code, output, errors) = await FaceEmbed.RunAsync("run", $"--Faces:EmbeddingModel={In("zeros.onnx")}", $"--Broker:Uri=amqp://127.0.0.1:{TestBroker.FreePort()}");
        Assert.True(code == 78, output + errors);
        Assert.Contains("gives no vectors. The model zeros gave a vector of zeros, which compares with nothing", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);

        (code, output, _) = await FaceEmbed.RunAsync("model", "check", In("zeros.onnx"));
        Assert.True(code == 1, output);
        (code, output, errors) = await FaceEmbed.RunAsync("embed", TestData.Astronaut, $"--Faces:EmbeddingModel={In("zeros.onnx")}");
        Assert.True(code == 1, output + errors);
        Assert.Contains("gave a vector of zeros", output + errors, StringComparison.Ordinal);
    }

    /// <summary>Weights of 3e38 make all that flows infinite, and what comes out is of no picture.</summary>
    [Fact]
    public async Task A_model_that_gives_every_face_the_same_vector_is_refused_by_every_verb()
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        graph.Graph.Initializer.Add(new TensorProto { Name = "w", DataType = 1, Dims = { 3, 3, 9, 9 }, FloatData = { Enumerable.Repeat(3e38f, 3 * 3 * 81) } });
        graph.Graph.Node.Insert(0, new NodeProto { OpType = "Abs", Input = { "picture" }, Output = { "positive" } });
        graph.Graph.Node.Insert(1, new NodeProto { OpType = "Conv", Input = { "positive", "w" }, Output = { "infinite" } });
        graph.Graph.Node.Insert(2, new NodeProto { OpType = "Sigmoid", Input = { "infinite" }, Output = { "one" } });
        graph.Graph.Node[3].Input[0] = "one";
        await File.WriteAllBytesAsync(In("constant.onnx"), graph.ToByteArray(), TestContext.Current.CancellationToken);
        foreach (var verb in (string[][])[["run"], ["check"], ["embed", TestData.Astronaut], ["model", "check"], ["model", "inspect"]])
        {
            var (code, output, errors) = await FaceEmbed.RunAsync([.. verb, $"--Faces:EmbeddingModel={In("constant.onnx")}"]);
            Assert.True(code == 78, $"{verb[^1]}: {output}{errors}");
            Assert.Contains("constant.onnx gives two faces the same vector, to the last digit, and tells nobody apart: its weights are damaged", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_checkpoint_is_downloaded_and_its_sum_is_checked()
    {
        var bytes = TestData.Read("checkpoints/zip.pth");
        using var server = new HttpListener();
        var address = $"http://127.0.0.1:{TestBroker.FreePort()}/";
        server.Prefixes.Add(address);
        server.Start();
        var serving = Task.Run(async () =>
        {
            while (server.IsListening)
            {
                var context = await server.GetContextAsync();
                context.Response.StatusCode = context.Request.Url!.AbsolutePath == "/model.pth" ? 200 : 404;
                if (context.Response.StatusCode == 200)
                {
                    await context.Response.OutputStream.WriteAsync(bytes);
                }

                context.Response.Close();
            }
        });

        var sum = Convert.ToHexStringLower(SHA256.HashData(bytes));
        var (code, output, errors) = await FaceEmbed.RunAsync(["model", "convert", "--output", In("a.onnx")], new() { ["CHECKPOINT_URL"] = $"{address}model.pth?token=secret#sha256={sum}" });
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("[batch,3,48,48] -> [batch,16]", output, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", output + await File.ReadAllTextAsync(In("a.json")), StringComparison.Ordinal);

        (code, _, errors) = await FaceEmbed.RunAsync("model", "convert", "--output", In("b.onnx"), "--checkpoint", $"{address}other.pth");
        Assert.Equal(1, code);
        Assert.Contains("answered 404", errors, StringComparison.Ordinal);
        server.Stop();
        await Assert.ThrowsAnyAsync<Exception>(() => serving);
    }

    [Fact]
    public async Task Check_passes_the_shipped_model_and_catches_one_that_was_never_trained()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("model", "check");
        Assert.Equal(0, code);
        Assert.EndsWith("passes: 9 tests.", output, StringComparison.Ordinal);

        (code, output, _) = await FaceEmbed.RunAsync("model", "check", "tests/data/untrained.onnx", "--card", "original-160");
        Assert.Equal(1, code);
        Assert.Contains("is NOT fit to serve", output, StringComparison.Ordinal);
        Assert.Contains("never trained", output.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_measures_on_pictures_too()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("model", "check", "--pictures", TestData.Verification("lfw10"));
        Assert.Equal(0, code);
        Assert.Contains("TAR at FMR 1e-3", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_shows_files_that_are_not_ours_as_well()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("model", "inspect");
        Assert.Equal(0, code);
        Assert.All(new[] { "221,161,984", "33 PRelu rewritten", "1,216 dead channels", "0bc65e766053", "1,190,338" }, text => Assert.Contains(text, output, StringComparison.Ordinal));

        (code, output, _) = await FaceEmbed.RunAsync("model", "inspect", "models/rfb/face_landmarks.onnx");
        Assert.Equal(0, code);
        Assert.Contains("face-landmarks", output, StringComparison.Ordinal);

        await File.WriteAllBytesAsync(In("broken.onnx"), [1, 2, 3]);
        var (broken, _, errors) = await FaceEmbed.RunAsync("model", "inspect", In("broken.onnx"));
        Assert.Equal(78, broken);
        Assert.Contains("not an ONNX file", errors, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(TestData.Repository, "*profile*.json"));
    }

    [Fact]
    public async Task A_worker_with_a_model_that_was_never_trained_refuses_or_says_so()
    {
        var (code, _, errors) = await FaceEmbed.RunAsync("run", "--Faces:EmbeddingModel=tests/data/untrained.onnx", "--Faces:SelfTest=Refuse");
        Assert.Equal(78, code);
        Assert.Contains("fails its self-test", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);

        var health = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = FaceEmbed.Start("run", "--Faces:EmbeddingModel=tests/data/untrained.onnx", $"--Health:Url={health}", $"--Broker:Uri=amqp://127.0.0.1:{TestBroker.FreePort()}");
        await worker.SaidAsync("fails its self-test");
        await worker.SaidAsync("Status page: ");
        using var http = new HttpClient();
        using var answer = await http.GetAsync(new Uri($"{health}/readyz"), TestContext.Current.CancellationToken);
        Assert.Equal(503, (int)answer.StatusCode);
        Assert.Contains("never trained", await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    /// <summary>The shipped embedder with full convolutions: as much to compute as a ResNet, and vectors that tell people apart.</summary>
    [Fact]
    public async Task A_network_of_a_ResNets_size_is_quantised_and_serves_like_any_other()
    {
        var (file, quantised) = (In("dense.onnx"), In("dense.int8.onnx"));
        await File.WriteAllBytesAsync(file, FaceNetworks.Dense(await File.ReadAllBytesAsync(Pipeline.Shipped("face_embedding.onnx"))));
        var card = ModelCard.Read(Pipeline.Shipped("face_embedding.json")) with { Id = "dense", Sha256 = null, Threshold = null, NormRange = null };
        await File.WriteAllBytesAsync(In("dense.json"), card.ToJson());

        var (code, output, errors) = await FaceEmbed.RunAsync("model", "quantize", file, "--pictures", People(), "--json", In("figures.json"));
        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("figures.json")));
        Assert.SkipWhen(figures.GetProperty("speed").GetDouble() < 1.3, $"This processor gains nothing by 8 bits: {errors}");
        Assert.True(code == 0, output + errors);
        Assert.Equal((24, 24, 2 * 66, 144), (Number("faces"), Number("calibrated"), Number("same_pairs"), Number("different_pairs")));
        Assert.InRange(figures.GetProperty("cosine_median").GetDouble(), 0.95, 0.99999);
        Assert.InRange(figures.GetProperty("int8_eer").GetDouble(), 0, 0.001);
        Assert.Equal(JsonValueKind.Null, figures.GetProperty("refusal").ValueKind);
        Assert.Equal(new FileInfo(quantised).Length, Number("int8_bytes"));

        var made = ModelCard.Read(In("dense.int8.json"));
        Assert.Equal(("dense-int8", Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(quantised)))), (made.Id, made.Sha256));
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(file))), made.Source, StringComparison.Ordinal);
        Assert.Null(made.Golden);
        Assert.EndsWith("calibrated on 24 faces.", made.Notes, StringComparison.Ordinal); // nor a word of thresholds that there are none of

        (code, output, _) = await FaceEmbed.RunAsync("model", "inspect", quantised);
        Assert.Equal(0, code);
        Assert.Contains(figures.GetProperty("space").GetString()!, output, StringComparison.Ordinal);
        (code, output, _) = await FaceEmbed.RunAsync("model", "check", quantised);
        Assert.True(code == 0, output);

        var (float32, int8) = (await EmbedAsync(file), await EmbedAsync(quantised));
        Assert.Equal((figures.GetProperty("space").GetString(), "dense-int8"), (int8.GetProperty("model").GetProperty("space").GetString(), int8.GetProperty("model").GetProperty("id").GetString()));
        Assert.NotEqual(float32.GetProperty("model").GetProperty("space").GetString(), int8.GetProperty("model").GetProperty("space").GetString());
        Assert.InRange(Pipeline.Cosine(Vector(float32), Vector(int8)), 0.95, 0.99999);

        (code, _, errors) = await FaceEmbed.RunAsync("model", "quantize", quantised, "--pictures", In("people"), "--output", In("twice.onnx"));
        Assert.Equal(78, code);
        Assert.Contains("quantised already", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        Assert.False(File.Exists(In("twice.onnx")));

        int Number(string name) => figures.GetProperty(name).GetInt32();

        static float[] Vector(JsonElement result) => [.. result.GetProperty("embeddings")[0].GetProperty("vector").EnumerateArray().Select(v => v.GetSingle())];

        static async Task<JsonElement> EmbedAsync(string model)
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", $"--Faces:EmbeddingModel={model}");
            Assert.Equal((0, ""), (code, errors)); // nor is it called unprepared
            return JsonElement.Parse(output);
        }
    }

    /// <summary>Whether it gains is the processor's to say; that its figures decide, and what is said, is not.</summary>
    [Fact]
    public async Task The_shipped_model_is_written_in_8_bits_only_where_its_figures_allow_it()
    {
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "quantize", "models/face_embedding.onnx", "--pictures", People(), "--output", In("own.onnx"), "--json", In("figures.json"));
        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("figures.json")));
        var pays = figures.GetProperty("speed").GetDouble() >= 1.3 && figures.GetProperty("int8_eer").GetDouble() <= figures.GetProperty("float_eer").GetDouble() + 0.001;
        Assert.True((code == 0) == pays, output + errors);
        Assert.Equal((pays, pays), (File.Exists(In("own.onnx")), File.Exists(In("own.json"))));
        Assert.True(pays || errors.Contains("It is a MobileFaceNet, or built like one", StringComparison.Ordinal), errors);
    }

    [Fact]
    public async Task What_cannot_be_quantised_is_told_in_one_line_and_nothing_is_written()
    {
        await FailsAsync("there is no folder", 1, "models/face_embedding.onnx", "--pictures", In("nowhere"));
        await FailsAsync("with a face, and it wants 20 at least", 1, "models/face_embedding.onnx", "--pictures", "tests/data/checkpoints", "--Images:MaxBytes=10");
        await FailsAsync("there is no such file", 78, In("nothing.onnx"), "--pictures", "tests/data");
        await FailsAsync($"The model {Path.GetFullPath("models", TestData.Repository)} is a folder. Name the .onnx file in it.", 78, "models", "--pictures", "tests/data");
        await FailsAsync("it wants 20 at least", 1, "models/face_embedding.onnx", "--pictures", "tests/data/checkpoints", "--json", In("figures.json"));
        await FailsAsync("face-detection", 78, "models/rfb/face_detection.onnx", "--pictures", "tests/data");
        await FailsAsync("is the file that is quantised", 64, In("never.onnx"), "--pictures", "tests/data");
        await FailsAsync("there is no folder", 1, "models/face_embedding.onnx", "--pictures", In("nowhere"), "--output", In("new/deeper/own.onnx")); // and none is made
        await FailsAsync("--pictures", 64, "models/face_embedding.onnx");
        await File.WriteAllBytesAsync(In("flat.onnx"), TinyOnnx.ChannelMeans(112, 112), TestContext.Current.CancellationToken);
        await FailsAsync("flat.onnx cannot be quantised: It has no convolution that can be quantised, so that nothing would be gained.", 78, In("flat.onnx"), "--pictures", "tests/data");
        File.Delete(In("flat.onnx"));
        var source = await File.ReadAllBytesAsync(Path.Combine(TestData.Repository, "models", "face_embedding.onnx"), TestContext.Current.CancellationToken);
        foreach (var taken in (string[])["models/face_embedding.onnx", "models/face_embedding.json", In("never.onnx"), In("never.json")])
        {
            await FailsAsync("--json is the model, or the card of one. Name another file, such as", 64, "models/face_embedding.onnx", "--pictures", "tests/data", "--json", taken);
        }

        Assert.Equal(source, await File.ReadAllBytesAsync(Path.Combine(TestData.Repository, "models", "face_embedding.onnx"), TestContext.Current.CancellationToken));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));

        await File.WriteAllTextAsync(In("file"), "", TestContext.Current.CancellationToken);
        Directory.CreateDirectory(In("taken.json"));
        foreach (var place in (string[])["file/own.onnx", "taken.onnx"])
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("model", "quantize", "models/face_embedding.onnx", "--pictures", In("nowhere"), "--output", In(place)); // which is told later
            Assert.True(code == 73, output + errors);
            Assert.Matches("it cannot be written: it is a f", Assert.Single(errors.Split('\n')));
            Assert.DoesNotContain(".part", errors, StringComparison.Ordinal);
        }

        Assert.Equal(["file", "taken.json"], Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName).Order());

        async Task FailsAsync(string told, int expected, params string[] arguments)
        {
            var (code, output, errors) = await FaceEmbed.RunAsync(["model", "quantize", .. arguments.Contains("--output") ? (string[])[] : ["--output", In("never.onnx")], .. arguments]);
            Assert.True(code == expected, output + errors);
            Assert.Contains(told, errors.Split('\n')[^1], StringComparison.Ordinal);
        }
    }

    /// <summary>Two people, twelve pictures of each: copies of a photo, lighter and darker, smaller and stored worse.</summary>
    private string People()
    {
        foreach (var (name, file) in new[] { ("collins", TestData.Astronaut), ("hopper", TestData.GraceHopper) })
        {
            Directory.CreateDirectory(In(Path.Combine("people", name)));
            for (var i = 0; i < 12; i++)
            {
                var (light, scale) = (0.7 + 0.05 * i, 1 - 0.03 * (i % 5));
                File.WriteAllBytes(In(Path.Combine("people", name, $"{i}.jpg")), Pipeline.Changed(file, image => (image * light).Cast(Enums.BandFormat.Uchar).Resize(scale), ".jpg", new VOption { ["Q"] = 60 + 3 * i }));
            }
        }

        return In("people");
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string In(string name) => Path.Combine(folder, name);
}
