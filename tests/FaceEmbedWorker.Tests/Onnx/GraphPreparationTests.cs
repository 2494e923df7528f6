using System.Buffers.Binary;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

public class GraphPreparationTests
{
    private enum SlopeKind
    {
        PerChannel,
        PerChannelWithBatch,
        One,
        Scalar,
        AlongWidth,
    }

    [Fact]
    public void The_shipped_embedder_is_rewritten_in_full_and_gives_the_same_vectors()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"));
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Equal((33, 0), (prepared.Rewritten, prepared.Left.Count));

        using var plain = Model.Load(Pipeline.Shipped("face_embedding.onnx"), ModelCard.Embedding, prepare: false);
        foreach (var photo in new[] { TestData.Astronaut, TestData.GraceHopper })
        {
            using var picture = Pipeline.Decode(File.ReadAllBytes(photo));
            var face = Pipeline.Detector.Detect(picture)[0];
            using var aligned = Pipeline.Aligner.Align(picture, face.Box, Pipeline.Detector.Locate(picture, face), out _);
            Assert.Equal(new FaceEmbedder(plain).Embed(aligned).Vector, Pipeline.Embedder.Embed(aligned).Vector, (a, b) => Math.Abs(a - b) <= 1e-6);
        }

        Assert.Equal(new FaceEmbedder(plain).FaceSpace, Pipeline.Embedder.FaceSpace);
    }

    [Fact]
    public void A_model_without_prelu_and_negligible_weights_stays_as_it_is()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("rfb/face_detection.onnx"));
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Same(bytes, prepared.Model);
        Assert.Equal((0, 0, 0, 0), (prepared.Rewritten, prepared.Flushed, prepared.Removed, prepared.Joined));
    }

    /// <summary>The landmark network has dead weights too: zero instead of 1e-20, they move no landmark.</summary>
    [Fact]
    public void A_model_with_negligible_weights_gives_the_same_without_them()
    {
        using var plain = Model.Load(Pipeline.Shipped("rfb/face_landmarks.onnx"), ModelCard.Landmarks, prepare: false);
        using var flushed = Model.Load(Pipeline.Shipped("rfb/face_landmarks.onnx"), ModelCard.Landmarks);
        Assert.True(flushed.Prepared is { Rewritten: 0, Flushed: > 0 });
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.GraceHopper));
        var box = Pipeline.Detector.Detect(picture)[0].Box;
        var (expected, actual) = (new Landmarks(plain).Locate(picture, box), new Landmarks(flushed).Locate(picture, box));
        Assert.All(expected.Zip(actual), p => Assert.True(Math.Abs(p.First.X - p.Second.X) < 1e-3 && Math.Abs(p.First.Y - p.Second.Y) < 1e-3));
    }

    /// <summary>
    /// YuNet's file is for 640 x 640; a picture of its own shape gives what the same picture padded to that gives, away from the padding.
    /// </summary>
    [Fact]
    public void A_fixed_input_that_is_made_open_takes_other_sizes_and_gives_the_same()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_detection.onnx"));
        using var fixedSize = new Microsoft.ML.OnnxRuntime.InferenceSession(bytes);
        using var open = new Microsoft.ML.OnnxRuntime.InferenceSession(GraphPreparation.WithOpenSize(bytes, 2));
        Assert.Equal([1, 3, -1, -1], open.InputMetadata["input"].Dimensions);
        var picture = new float[3 * 640 * 640];
        var random = new Random(6);
        for (var i = 0; i < picture.Length; i++)
        {
            picture[i] = random.Next(256);
        }

        Assert.Equal(Run(fixedSize, picture, 640, 640), Run(open, picture, 640, 640));
        Assert.Equal(8 * 3, Run(open, picture[..(3 * 64 * 192)], 64, 192).Length / 8);

        static float[] Run(Microsoft.ML.OnnxRuntime.InferenceSession session, float[] picture, int height, int width)
        {
            using var value = Microsoft.ML.OnnxRuntime.OrtValue.CreateTensorValueFromMemory(picture, [1, 3, height, width]);
            using var options = new Microsoft.ML.OnnxRuntime.RunOptions();
            using var outputs = session.Run(options, ["input"], [value], ["cls_8"]);
            return outputs[0].GetTensorDataAsSpan<float>().ToArray();
        }
    }

    /// <summary>
    /// Random small networks: every kind of slope, positive, negative and above one, shared or not, as initialiser or constant, opsets 7 to
    /// 21, 4 and 2 dimensions, symbolic batch.
    /// </summary>
    [Fact]
    public void Prepared_and_plain_agree_on_random_graphs()
    {
        var (rewritten, left) = (0, 0);
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var graph = new RandomGraph(random);
            var bytes = graph.Write();

            var prepared = GraphPreparation.Prepare(bytes);

            Assert.Equal(graph.Rewritable, prepared.Rewritten);
            Assert.Equal(graph.Others, prepared.Left.Count);
            rewritten += prepared.Rewritten;
            left += prepared.Left.Count;
            var input = Enumerable.Range(0, 2 * graph.Channels * graph.Size * graph.Size).Select(_ => (float)(random.NextDouble() * 4 - 2)).ToArray();
            var (expected, actual) = (Run(bytes, input, graph), Run(prepared.Model, input, graph));
            var scale = expected.Max(Math.Abs) + 1e-6;
            Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * scale));
        }

        Assert.True(rewritten > 300 && left > 50, $"{rewritten} rewritten, {left} left");
    }

    [Fact]
    public void What_cannot_be_rewritten_names_its_node_and_why()
    {
        Assert.Contains("neither one value nor one a channel", Left(SlopeKind.AlongWidth), StringComparison.Ordinal);
        Assert.StartsWith("PRelu 'prelu-0' stays: its slope is not finite", Left(SlopeKind.PerChannel, float.NaN), StringComparison.Ordinal);

        static string Left(SlopeKind kind, float slope = 0.2f)
        {
            var model = new RandomGraph(new Random(1), kind, slope).Write();
            return Assert.Single(GraphPreparation.Prepare(model).Left);
        }
    }

    [Fact]
    public void Unknown_fields_are_kept()
    {
        var bytes = new RandomGraph(new Random(1), SlopeKind.PerChannel, 0.2f).Write();
        byte[] withMetadata = [.. bytes, .. new byte[] { 0x72, 6, 0x0A, 1, (byte)'k', 0x12, 1, (byte)'v' }]; // metadata_props, field 14
        Assert.EndsWith("\n\u0001k\u0012\u0001v", System.Text.Encoding.Latin1.GetString(GraphPreparation.Prepare(withMetadata).Model), StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_no_model_are_told_so()
    {
        Assert.Throws<InvalidDataException>(() => GraphPreparation.Prepare([0xFF, 0xFF, 0xFF]));
        Assert.Throws<InvalidDataException>(() => GraphPreparation.Prepare([]));
    }

    [Fact]
    public void A_graph_that_is_quantised_dynamically_is_left_alone()
    {
        var model = ModelProto.Parser.ParseFrom(new RandomGraph(new Random(2), SlopeKind.PerChannel).Write());
        Assert.True(GraphPreparation.Prepare(model.ToByteArray()).IsChanged);
        model.Graph.Node.Add(new NodeProto { OpType = "DynamicQuantizeLinear", Input = { "in" }, Output = { "q", "scale", "zero" } });
        var bytes = model.ToByteArray();
        var prepared = GraphPreparation.Prepare(bytes);
        Assert.Same(bytes, prepared.Model);
        Assert.Contains("quantised dynamically", Assert.Single(prepared.Left), StringComparison.Ordinal);
    }

    [Fact]
    public void A_batch_gives_what_single_pictures_give()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"));
        var random = new Random(4);
        var pictures = Enumerable.Range(0, 3 * 3 * 112 * 112).Select(_ => (float)(random.NextDouble() * 2 - 1)).ToArray();

        var together = RunShape(GraphPreparation.WithBatch(GraphPreparation.Prepare(bytes).Model, 3), pictures, [3, 3, 112, 112]);

        for (var i = 0; i < 3; i++)
        {
            var alone = RunShape(GraphPreparation.Prepare(bytes).Model, pictures[(i * 3 * 112 * 112)..((i + 1) * 3 * 112 * 112)], [1, 3, 112, 112]);
            Assert.Equal(alone, together[(i * 512)..((i + 1) * 512)]);
        }
    }

    private static float[] Run(byte[] model, float[] input, RandomGraph graph) =>
        RunShape(model, input, graph.TwoDimensions ? [2, graph.Channels * graph.Size * graph.Size] : [2, graph.Channels, graph.Size, graph.Size]);

    private static float[] RunShape(byte[] model, float[] input, long[] shape)
    {
        using var options = Model.SessionOptions();
        using var session = new InferenceSession(model, options);
        using var value = OrtValue.CreateTensorValueFromMemory(input, shape);
        using var run = new RunOptions();
        using var outputs = session.Run(run, session.InputNames, [value], session.OutputNames);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>A chain of convolutions (or matrix products) with a PRelu behind each.</summary>
    private sealed class RandomGraph
    {
        private readonly ModelProto model = new() { IrVersion = 8, Graph = new GraphProto() };
        private readonly Random random;
        private readonly SlopeKind? kind;
        private readonly float? slope;

        public RandomGraph(Random random, SlopeKind? kind = null, float? slope = null)
        {
            this.random = random;
            this.kind = kind;
            this.slope = slope;
            TwoDimensions = kind is null && random.Next(6) == 0;
            Channels = random.Next(1, 20);
            Size = random.Next(2, 7);
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = random.Next(7, 22) });
            Build(kind is null ? random.Next(1, 5) : 1);
        }

        public bool TwoDimensions { get; }

        public int Channels { get; }

        public int Size { get; }

        public int Rewritable { get; private set; }

        public int Others { get; private set; }

        public byte[] Write() => model.ToByteArray();

        private void Build(int layers)
        {
            var graph = model.Graph;
            graph.Input.Add(Value("in", TwoDimensions ? Channels * Size * Size : Channels));
            var (last, channels) = ("in", TwoDimensions ? Channels * Size * Size : Channels);
            string? shared = null;
            for (var layer = 0; layer < layers; layer++)
            {
                var next = random.Next(1, 33);
                graph.Initializer.Add(TwoDimensions ? Tensor($"w{layer}", channels, next) : Tensor($"w{layer}", next, channels, 1, 1));
                graph.Node.Add(new NodeProto { OpType = TwoDimensions ? "MatMul" : "Conv", Input = { last, $"w{layer}" }, Output = { $"x{layer}" } });
                var shape = kind ?? (SlopeKind)random.Next(5);
                var name = shared is not null && random.Next(2) == 0 && shape is SlopeKind.One or SlopeKind.Scalar && shared is not null ? shared : Slope(layer, shape, next);
                shared = shape is SlopeKind.One or SlopeKind.Scalar ? name : shared;
                graph.Node.Add(new NodeProto { OpType = "PRelu", Name = $"prelu-{layer}", Input = { $"x{layer}", name }, Output = { $"y{layer}" } });
                Count(shape, next);
                (last, channels) = ($"y{layer}", next);
            }

            graph.Output.Add(Value(last, channels));
        }

        private void Count(SlopeKind shape, int channels)
        {
            var one = shape is SlopeKind.One or SlopeKind.Scalar || shape == SlopeKind.AlongWidth && Size == 1;
            if (!TwoDimensions && slope is not float.NaN && (one || shape is SlopeKind.PerChannel or SlopeKind.PerChannelWithBatch || channels == 1 && shape == SlopeKind.AlongWidth && Size == 1))
            {
                Rewritable++;
            }
            else
            {
                Others++;
            }
        }

        private string Slope(int layer, SlopeKind shape, int channels)
        {
            long[] dims = (TwoDimensions, shape) switch
            {
                (true, SlopeKind.PerChannel or SlopeKind.PerChannelWithBatch or SlopeKind.AlongWidth) => [channels],
                (_, SlopeKind.Scalar) => [],
                (_, SlopeKind.One) => [1],
                (_, SlopeKind.PerChannelWithBatch) => [1, channels, 1, 1],
                (_, SlopeKind.AlongWidth) => [Size],
                _ => [channels, 1, 1],
            };
            var tensor = Tensor($"slope{layer}", dims);
            if (random.Next(2) == 0)
            {
                model.Graph.Initializer.Add(tensor);
            }
            else
            {
                var constant = new NodeProto { OpType = "Constant", Output = { tensor.Name } };
                constant.Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor });
                model.Graph.Node.Add(constant);
            }

            return tensor.Name;
        }

        private TensorProto Tensor(string name, params ReadOnlySpan<long> dims)
        {
            var tensor = new TensorProto { Name = name, DataType = 1 };
            var count = 1L;
            foreach (var dim in dims)
            {
                tensor.Dims.Add(dim);
                count *= dim;
            }

            var isSlope = name.StartsWith("slope", StringComparison.Ordinal);
            var spread = isSlope && random.Next(2) == 0 ? 0.9 : 2.5; // half of the slopes have none above one
            var values = Enumerable.Range(0, (int)count).Select(_ => isSlope && slope is { } given ? given : (float)((random.NextDouble() * 2 - 1) * spread)).ToArray();
            if (random.Next(2) == 0)
            {
                tensor.FloatData.Add(values);
            }
            else
            {
                var raw = new byte[count * sizeof(float)];
                for (var i = 0; i < values.Length; i++)
                {
                    BinaryPrimitives.WriteSingleLittleEndian(raw.AsSpan(i * sizeof(float)), values[i]);
                }

                tensor.RawData = ByteString.CopyFrom(raw);
            }

            return tensor;
        }

        private ValueInfoProto Value(string name, int channels)
        {
            var shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimParam = "batch" }, new TensorShapeProto.Types.Dimension { DimValue = channels } } };
            if (!TwoDimensions)
            {
                shape.Dim.Add([new() { DimValue = Size }, new() { DimValue = Size }]);
            }

            return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = shape } } };
        }
    }
}
