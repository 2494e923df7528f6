using System.Text.Json.Nodes;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Faces;

public sealed class ModelTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-models-").FullName;

    [Theory]
    [InlineData("face_detection.onnx", ModelCard.Detection)]
    [InlineData("rfb/face_detection.onnx", ModelCard.Detection)]
    [InlineData("rfb/face_landmarks.onnx", ModelCard.Landmarks)]
    [InlineData("face_embedding.onnx", ModelCard.Embedding)]
    public void The_shipped_cards_fit_their_files(string file, string task)
    {
        using var model = Model.Load(Pipeline.Shipped(file), task);
        Assert.Equal(model.Card.Sha256, model.Sha256);
        Assert.All(new[] { model.Card.Licence, model.Card.Source, model.Card.Version, model.Card.Notes }, Assert.NotNull);
    }

    [Fact]
    public void A_model_without_a_card_runs_under_the_original_contract()
    {
        using var model = Model.Load(Write("own.onnx", TinyOnnx.ChannelMeans(160, 160)), ModelCard.Embedding);
        Assert.Equal(("own", "picture", 160, 160, "RGB", 3), (model.Card.Id, model.Card.Input.Name, model.Card.Input.Width, model.Card.Input.Height, model.Card.Input.Color, model.Card.Output.Dimensions));
        Assert.Equal((127.5, 127.5), (model.Card.Input.Mean[0], model.Card.Input.Std[0]));
    }

    [Fact]
    public void A_symbolic_size_is_160()
    {
        using var model = Model.Load(Write("own.onnx", TinyOnnx.ChannelMeans(0, 0, batch: 0)), ModelCard.Embedding);
        Assert.Equal([1, 3, 160, 160], model.Card.Input.Shape);
        Assert.Equal(3, model.Card.Output.Dimensions);
    }

    [Fact]
    public async Task A_model_of_another_size_embeds_with_no_other_step()
    {
        using var model = Model.Load(Write("own.onnx", TinyOnnx.ChannelMeans(96, 128)), ModelCard.Embedding);
        foreach (var mode in Enum.GetValues<EmbedMode>())
        {
            var outcome = await Pipeline.Handler(embedding: model).HandleAsync(new EmbedJob("own", new ImageSource.Data(File.ReadAllBytes(TestData.Astronaut)), mode) { Landmarks = new(new(196, 109), new(243, 109), new(222, 137), new(200, 152), new(240, 152)) }, TestContext.Current.CancellationToken);
            var vector = Assert.Single(Assert.IsType<JobOutcome.Completed>(outcome).Result.Embeddings).Vector;
            Assert.Equal(3, vector.Length);
            Assert.Equal(1, Pipeline.Cosine(vector, vector), 1e-5);
        }
    }

    [Fact]
    public void A_wrong_checksum_names_both_sums_and_the_way_out()
    {
        var file = Write("face_embedding.onnx", TinyOnnx.ChannelMeans(112, 112));
        File.Copy(Pipeline.Shipped("face_embedding.json"), Path.Combine(folder, "face_embedding.json"));

        var message = Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Embedding)).Message;

        Assert.Contains(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file))), message, StringComparison.Ordinal);
        Assert.Contains("87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581", message, StringComparison.Ordinal);
        Assert.Contains("models/fetch", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("input", "width", 160, "[1,3,112,160]")]
    [InlineData("input", "color", "GRAY", "[1,1,112,112]")]
    [InlineData("input", "name", "data", "'data'")]
    [InlineData("output", "dimensions", 128, "128 dimensions")]
    [InlineData("output", "name", "vector", "'vector'")]
    public void A_card_that_contradicts_the_file_says_what_differs(string section, string field, object value, string told)
    {
        var card = Card();
        card[section]![field] = JsonValue.Create(value);
        Assert.Contains(told, Assert.Throws<ModelException>(() => Load(card)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_fixed_batch_runs_one_picture_at_a_time()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112, batch: 4));
        model.Graph.Initializer.Add(new TensorProto { Name = "shape", DataType = 7, Dims = { 2 }, Int64Data = { 4, -1 } });
        model.Graph.Node[^1] = new NodeProto { OpType = "Reshape", Input = { "pooled", "shape" }, Output = { "means" } };
        using var loaded = Model.Load(Write("four.onnx", model.ToByteArray()), ModelCard.Embedding);
        Assert.Equal([1, 3, 112, 112], loaded.Card.Input.Shape);
        Assert.Equal(3, loaded.Card.Output.Dimensions);
        using var one = Model.Load(Write("one.onnx", TinyOnnx.ChannelMeans(112, 112)), ModelCard.Embedding);
        using var picture = new Picture(112, 112);
        new Random(1).NextBytes(picture.Pixels);
        Assert.Equal(new FaceEmbedder(one).Embed(picture).Vector, new FaceEmbedder(loaded).Embed(picture).Vector);
    }

    /// <summary>A graph that is changed in memory finds its weights beside the file that it came from.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void A_fixed_batch_and_weights_in_another_file_go_together(int batch)
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112, batch));
        float[] exchanged = [0, 0, 1, 0, 1, 0, 1, 0, 0];
        File.WriteAllBytes(Path.Combine(folder, "own.data"), System.Runtime.InteropServices.MemoryMarshal.AsBytes(exchanged.AsSpan()).ToArray());
        var place = new StringStringEntryProto { Key = "location", Value = "own.data" }.ToByteArray();
        byte[] weights = [.. new TensorProto { Name = "weights", DataType = 1, Dims = { 3, 3, 1, 1 }, DataLocation = 1 }.ToByteArray(), 13 << 3 | 2, (byte)place.Length, .. place];
        model.Graph.Initializer.Add(TensorProto.Parser.ParseFrom(weights)); // external_data is a field that is carried and not known here
        model.Graph.Node.Insert(0, new NodeProto { OpType = "Conv", Input = { "picture", "weights" }, Output = { "swapped" } });
        model.Graph.Node[1].Input[0] = "swapped";
        using var loaded = Model.Load(Write("own.onnx", model.ToByteArray()), ModelCard.Embedding);
        using var plain = Model.Load(Write("plain.onnx", TinyOnnx.ChannelMeans(112, 112)), ModelCard.Embedding);
        using var picture = new Picture(112, 112);
        new Random(1).NextBytes(picture.Pixels);
        Assert.Equal(new FaceEmbedder(plain).Embed(picture).Vector.Reverse(), new FaceEmbedder(loaded).Embed(picture).Vector);
    }

    [Fact]
    public void A_graph_that_claims_an_enormous_picture_is_refused_before_its_memory_is_taken() =>
        Assert.Contains("takes pictures of 60000 x 60000 pixels, and inputs of up to 4096 a side are run here", Assert.Throws<ModelException>(() => Model.Load(Write("vast.onnx", TinyOnnx.ChannelMeans(60_000, 60_000)), ModelCard.Embedding)).Message, StringComparison.Ordinal);

    /// <summary>Weights that lie in another file are of the model: of its checksum, and of its space.</summary>
    [Fact]
    public void A_checksum_covers_weights_that_lie_in_other_files()
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        graph.Graph.Initializer.Add(new TensorProto { Name = "w", DataType = 1, Dims = { 3, 3 }, DataLocation = 1, ExternalData = { new StringStringEntryProto { Key = "location", Value = "own.data" } } });
        graph.Graph.Node.Add(new NodeProto { OpType = "MatMul", Input = { "means", "w" }, Output = { "vector" } });
        graph.Graph.Output[0].Name = "vector";
        var weights = new byte[36];
        var (file, space, sum) = (Write("own.onnx", graph.ToByteArray()), "", "");
        foreach (var changed in (bool[])[false, true])
        {
            weights[0] = changed ? (byte)1 : (byte)0;
            Write("own.data", weights);
            using var model = Model.Load(file, ModelCard.Embedding);
            Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData([.. File.ReadAllBytes(file), .. weights])), model.Sha256);
            Assert.NotEqual(space, space = new FaceEmbedder(model, "").FaceSpace);
            (sum, var before) = (model.Sha256, sum);
            Assert.NotEqual(before, sum);
        }

        using (var model = Model.Load(file, ModelCard.Embedding))
        {
            Write("own.json", (model.Card with { Sha256 = sum }).ToJson());
        }

        Model.Load(file, ModelCard.Embedding).Dispose();
        weights[0] = 2;
        Write("own.data", weights);
        Fails("with its weights in own.data, but its card ");
        Write("own.data", weights[..20]);
        Fails("up to byte 36, and that file has 20: it is cut short."); // not that the sum is another
        File.Delete(Path.Combine(folder, "own.data"));
        Fails("own.data, and there is no such file. Put it there");

        var elsewhere = Directory.CreateTempSubdirectory("face-embed-elsewhere-").FullName;
        File.WriteAllBytes(Path.Combine(elsewhere, "own.data"), weights);
        File.CreateSymbolicLink(Path.Combine(folder, "own.data"), Path.Combine(elsewhere, "own.data"));
        File.Delete(Path.Combine(folder, "own.json"));
        Fails("a link that leads out of its folder, and they are read from there only.");
        Directory.Delete(elsewhere, recursive: true);
        Fails("own.data, and there is no such file. Put it there");

        void Fails(string told) => Assert.Contains(told, Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Embedding)).Message, StringComparison.Ordinal);
    }

    /// <summary>Vectors that are no numbers are nobody's vectors: the file or the job is rejected in each mode, and the self-test says it.</summary>
    [Theory]
    [InlineData("Log", "gave a vector that is not finite")]
    [InlineData("Reciprocal", "gave a vector that is not finite")]
    [InlineData("Identity", "gave a vector of zeros, which compares with nothing")]
    public async Task A_vector_that_is_no_number_or_zero_fails_by_the_models_name(string operation, string told)
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        graph.Graph.Node[0].Output[0] = "mean";
        graph.Graph.Node.Insert(1, new NodeProto { OpType = "Sub", Input = { "mean", "mean" }, Output = { "nothing" } });
        graph.Graph.Node.Insert(2, new NodeProto { OpType = operation, Input = { "nothing" }, Output = { "pooled" } });
        var file = Write("endless.onnx", graph.ToByteArray());
        using var model = Model.Load(file, ModelCard.Embedding);
        foreach (var mode in Enum.GetValues<EmbedMode>())
        {
            var job = new EmbedJob("own", new ImageSource.Data(File.ReadAllBytes(TestData.Astronaut)), mode) { Landmarks = new(new(196, 109), new(243, 109), new(222, 137), new(200, 152), new(240, 152)) };
            var failed = Assert.IsType<JobOutcome.Retry>(await Pipeline.Handler(embedding: model).HandleAsync(job, TestContext.Current.CancellationToken));
            Assert.Equal("model_output", failed.Reason);
            Assert.Contains($"The model endless {told}", failed.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_is_said_of_a_detectors_outputs_is_said_of_its_file_and_not_of_the_rewritten_graph()
    {
        File.Copy(Pipeline.Shipped("face_detection.onnx"), Path.Combine(folder, "own.onnx"));
        var card = ModelCard.Read(Pipeline.Shipped("face_detection.json")) with { Sha256 = null };
        foreach (var (output, told) in new[] { (card.Output with { Layout = "scrfd" }, "has 12 outputs, and layout scrfd has 9 or 15 "), (card.Output with { Name = "nope" }, "the output is named 'nope', but the file has the outputs cls_8, ") })
        {
            Write("own.json", (card with { Output = output }).ToJson());
            var message = Assert.Throws<ModelException>(() => Model.Load(Path.Combine(folder, "own.onnx"), ModelCard.Detection)).Message;
            Assert.Contains(told, message, StringComparison.Ordinal);
            Assert.Contains("kps_32", message, StringComparison.Ordinal);
            Assert.DoesNotContain("head_", message, StringComparison.Ordinal);
        }
    }

    /// <summary>Graphs of a few bytes whose values no memory holds are refused before ONNX Runtime makes them.</summary>
    [Theory]
    [InlineData("ConstantOfShape", "Its ConstantOfShape has 2,147,483,648 values, and 268,435,456 are the most that is run here.")]
    [InlineData("Expand", "Its Expand has 2,147,483,648 values")]
    [InlineData("Tile", "Its Tile has 2,147,483,648 values")]
    [InlineData("stated", "Its output 'means' has 2,147,483,648 values")]
    public void A_graph_of_billions_of_values_is_refused_before_it_takes_memory(string kind, string told)
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        var output = model.Graph.Output[0].Type.TensorType;
        if (kind == "stated")
        {
            output.Shape.Dim[1].DimValue = 1L << 31;
        }
        else
        {
            model.Graph.Initializer.Add(new TensorProto { Name = "s", DataType = 7, Dims = { 2 }, Int64Data = { 1, 1L << 31 } });
            model.Graph.Node.Add(new NodeProto { OpType = "ReduceMean", Input = { "means" }, Output = { "mean" } });
            model.Graph.Node.Add(new NodeProto { OpType = kind, Input = { kind == "ConstantOfShape" ? ["s"] : ["mean", "s"] }, Output = { "many" } });
            model.Graph.Output[0].Name = "many";
            output.Shape = null;
        }

        var file = Write("own.onnx", model.ToByteArray());
        var before = Peak();
        Assert.Contains(told, Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Embedding)).Message, StringComparison.Ordinal);
        Assert.Contains(told, Assert.Throws<ModelException>(() => ModelInspection.Of(file, File.ReadAllBytes(file))).Message, StringComparison.Ordinal);
        Assert.InRange(Peak() - before, 0, 2_000_000); // of the 8 that one such tensor has, in kB

        static long Peak() => !OperatingSystem.IsLinux() ? 0 : long.Parse(File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>As tf2onnx exports what was trained with TensorFlow: the layout is named, and a known card with it in its place does.</summary>
    [Fact]
    public void Channels_that_stand_last_are_called_that()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(160, 160));
        int[] sizes = [1, 160, 160, 3];
        for (var i = 0; i < sizes.Length; i++)
        {
            model.Graph.Input[0].Type.TensorType.Shape.Dim[i].DimValue = sizes[i];
        }

        model.Graph.Output[0].Type.TensorType.Shape = null;
        var file = Write("own.onnx", model.ToByteArray());
        Assert.Contains("has an input of [1,160,160,3], which is layout NHWC. Correct the card", Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Embedding, cardName: "facenet-prewhiten")).Message, StringComparison.Ordinal);

        var card = ModelCard.Named("facenet-prewhiten");
        Write("own.json", (card with { Input = card.Input with { Layout = "NHWC" }, Output = card.Output with { Dimensions = 0 } }).ToJson());
        using var loaded = Model.Load(file, ModelCard.Embedding);
        Assert.Equal([1, 160, 160, 3], loaded.Card.Input.Shape);
    }

    [Fact]
    public void Nodes_that_are_out_of_order_run_and_are_called_that()
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        graph.Graph.Node.Add(graph.Graph.Node[0].Clone());
        graph.Graph.Node.RemoveAt(0);
        using var model = Model.Load(Write("own.onnx", graph.ToByteArray()), ModelCard.Embedding);
        Assert.Equal("Its Flatten reads 'pooled', which only a node behind it gives: its nodes are out of order, or in a ring.", Assert.Single(model.Prepared!.Left));
    }

    /// <summary>Opening a pipe waits for a writer, and a device has no end: neither is opened, whatever the tensor's size is.</summary>
    [Theory]
    [InlineData("pipe", 3, "which is a pipe (FIFO), and weights are read from files only.")]
    [InlineData("pipe", 0, "which is a pipe (FIFO), and weights are read from files only.")]
    [InlineData("device", 3, "which is a device, and weights are read from files only.")]
    [InlineData("device", 0, "which is a device, and weights are read from files only.")]
    [InlineData("circle", 3, "whose links lead in a circle, and to no file. Put the file there, from where the model came.")]
    [InlineData("model", 3, "own.onnx is a pipe (FIFO). Name an ONNX file.")]
    public async Task Weights_that_are_a_pipe_or_a_device_are_named_and_not_waited_for(string kind, int rows, string told)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "mkfifo and /dev/zero are Linux'.");
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        model.Graph.Initializer.Add(new TensorProto { Name = "w", DataType = 1, Dims = { rows, 32 }, DataLocation = 1, ExternalData = { new StringStringEntryProto { Key = "location", Value = "own.data" } } });
        model.Graph.Node.Add(new NodeProto { OpType = "Gemm", Input = { "means", "w" }, Output = { "vector" } });
        model.Graph.Output[0].Name = "vector";
        var file = kind == "model" ? Path.Combine(folder, "own.onnx") : Write("own.onnx", model.ToByteArray());
        if (kind is "device" or "circle")
        {
            File.CreateSymbolicLink(Path.Combine(folder, "own.data"), kind == "device" ? "/dev/zero" : "own.data");
        }
        else
        {
            System.Diagnostics.Process.Start("mkfifo", kind == "model" ? file : Path.Combine(folder, "own.data"))!.WaitForExit();
        }

        var failed = await Assert.ThrowsAsync<ModelException>(() => Task.Run(() => Model.Load(file, ModelCard.Embedding)).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
        Assert.Contains(told, failed.Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// One weight of 1e20, of a channel that is always 0, makes all others of its tensor negligible: flushed, they would be missed.
    /// </summary>
    [Fact]
    public void A_graph_that_does_not_give_the_same_vectors_when_it_is_prepared_runs_as_it_is()
    {
        var model = ModelProto.Parser.ParseFrom(TinyOnnx.ChannelMeans(112, 112));
        float[] silent = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]; // the fourth of four channels
        float[] heavy = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1e20f];
        model.Graph.Initializer.Add(new TensorProto { Name = "silent", DataType = 1, Dims = { 4, 3, 1, 1 }, FloatData = { silent } });
        model.Graph.Initializer.Add(new TensorProto { Name = "heavy", DataType = 1, Dims = { 3, 4, 1, 1 }, FloatData = { heavy } });
        model.Graph.Node.Insert(0, new NodeProto { OpType = "Conv", Input = { "picture", "silent" }, Output = { "four" } });
        model.Graph.Node.Insert(1, new NodeProto { OpType = "Conv", Input = { "four", "heavy" }, Output = { "three" } });
        model.Graph.Node[2].Input[0] = "three";
        var file = Write("own.onnx", model.ToByteArray());
        using var prepared = Model.Load(file, ModelCard.Embedding);
        using var plain = Model.Load(file, ModelCard.Embedding, prepare: false);
        using var picture = new Picture(112, 112);
        new Random(1).NextBytes(picture.Pixels);
        Assert.Equal(new FaceEmbedder(plain).Embed(picture).Vector, new FaceEmbedder(prepared).Embed(picture).Vector);
        Assert.Contains("another vector", Assert.Single(prepared.Prepared!.Left), StringComparison.Ordinal);
        Assert.False(prepared.Prepared.IsChanged);
    }

    [Fact]
    public void A_missing_file_and_a_broken_one_are_named()
    {
        Assert.Contains("nowhere.onnx cannot be read", Assert.Throws<ModelException>(() => Model.Load(Path.Combine(folder, "nowhere.onnx"), ModelCard.Embedding)).Message, StringComparison.Ordinal);
        Assert.Contains("broken.onnx is not an ONNX file", Assert.Throws<ModelException>(() => Model.Load(Write("broken.onnx", [1, 2, 3]), ModelCard.Embedding)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_detector_in_the_embedders_place_is_refused() =>
        Assert.Contains("face-detection", Assert.Throws<ModelException>(() => Model.Load(Pipeline.Shipped("face_detection.onnx"), ModelCard.Embedding)).Message, StringComparison.Ordinal);

    /// <summary>Another processor's arithmetic moves a value of a JPEG by one or two.</summary>
    [Theory]
    [InlineData("astronaut.png", 167, 63, 113)]
    [InlineData("grace_hopper.jpg", 162, 120, 212)]
    public void Rewritten_graphs_are_compared_on_faces_of_the_sample_photos(string file, int x, int y, int side)
    {
        using var photo = new ImageDecoder(Microsoft.Extensions.Options.Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp })).Open(TestData.Read(file)).Decode(1, CancellationToken.None);
        using var crop = Pixels.Cropped(photo, x, y, side, side);
        using var expected = Pixels.Resized(crop, 112, 112, "pillow-bilinear");
        using var face = SameVectors.Face(Path.ChangeExtension(file, ".ppm"));
        Assert.Equal(expected.Pixels.ToArray().Select(p => (int)p), face.Pixels.ToArray().Select(p => (int)p), (a, b) => Math.Abs(a - b) <= 2);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static JsonNode Card() => JsonNode.Parse(File.ReadAllText(Pipeline.Shipped("face_embedding.json")))!;

    private Model Load(JsonNode card)
    {
        File.WriteAllText(Path.Combine(folder, "face_embedding.json"), card.ToJsonString());
        return Model.Load(Write("face_embedding.onnx", File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"))), ModelCard.Embedding);
    }

    private string Write(string name, byte[] bytes)
    {
        var path = Path.Combine(folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
