using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>
/// Detectors of each family's form, made here: each output is one convolution of the picture with random weights, so that a slow reference
/// can compute what any picture gives.
/// </summary>
public sealed class DetectorLayoutTests : IDisposable
{
    private static readonly int[] Three = [8, 16, 32];
    private static readonly int[] Five = [8, 16, 32, 64, 128];

    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-detectors-").FullName;

    /// <summary>Each is told by its outputs alone: there is no card.</summary>
    [Theory]
    [InlineData("scrfd", 9)]
    [InlineData("scrfd", 15)]
    [InlineData("scrfd-boxes", 6)]
    [InlineData("scrfd-boxes", 10)]
    [InlineData("yunet", 12)]
    public void Boxes_points_and_scores_are_those_of_a_slow_reference(string layout, int outputs)
    {
        const int width = 256, height = 128;
        var made = new Made(layout, outputs, new Random(outputs));
        using var model = Model.Load(Write(made.Onnx(width, height)), ModelCard.Detection);
        using var picture = new Picture(width, height);
        new Random(3).NextBytes(picture.Pixels);
        Assert.Equal((layout, "detector"), (model.Card.Output.Layout, model.Card.Id));
        Assert.Equal(layout != "scrfd-boxes", new FaceDetector(model, null, Options.Create(new FaceOptions())).HasPoints);

        var found = new FaceDetector(model, null, Options.Create(new FaceOptions { DetectionOverlap = 1 })).Look(picture, width, filter: null);

        var expected = made.Decode(picture, model.Card).OrderByDescending(e => e.Score).ToList();
        Assert.InRange(expected.Count, 30, 1000);
        Assert.Equal(expected.Count, found.Count);
        foreach (var (want, have) in expected.Zip(found))
        {
            Assert.Equal(want.Score, have.Score, 1e-4);
            double[] wanted = [want.Box.X, want.Box.Y, want.Box.Width, want.Box.Height, .. (want.Landmarks ?? []).SelectMany(p => new[] { p.X, p.Y })];
            double[] got = [have.Box.X, have.Box.Y, have.Box.Width, have.Box.Height, .. (have.Landmarks ?? []).SelectMany(p => new[] { p.X, p.Y })];
            Assert.Equal(wanted.Length, got.Length);
            Assert.All(wanted.Zip(got), v => Assert.Equal(v.First, v.Second, 0.02));
        }
    }

    [Fact]
    public void A_family_gives_a_detector_without_a_card_its_input_and_threshold()
    {
        using var scrfd = Model.Load(Write(new Made("scrfd", 9, new Random(1)).Onnx(64, 96)), ModelCard.Detection);
        Assert.Equal((64, 96, "letterbox", "RGB"), (scrfd.Card.Input.Width, scrfd.Card.Input.Height, scrfd.Card.Input.Fit, scrfd.Card.Input.Color));
        using var yunet = Model.Load(Write(new Made("yunet", 12, new Random(1)).Onnx(64, 64)), ModelCard.Detection);
        Assert.Equal((32, "BGR", 0.6, null), (yunet.Card.Input.Multiple, yunet.Card.Input.Color, yunet.Card.Threshold, yunet.Card.Filter));
        File.Copy(Pipeline.Shipped("rfb/face_detection.onnx"), Path.Combine(folder, "rfb.onnx"));
        using var rfb = Model.Load(Path.Combine(folder, "rfb.onnx"), ModelCard.Detection);
        Assert.Equal(("rfb", 320, 240, 0.7), (rfb.Card.Output.Layout, rfb.Card.Input.Width, rfb.Card.Input.Height, rfb.Card.Threshold));
        File.Copy(Pipeline.Shipped("face_detection.onnx"), Path.Combine(folder, "shipped.onnx"));
        using var shipped = Model.Load(Path.Combine(folder, "shipped.onnx"), ModelCard.Detection);
        Assert.Equal(FaceDetector.CloserPoints, FaceDetector.PointsRule(shipped.Card, shipped.Sha256));
        string[] spaces = [.. new[] { yunet, scrfd, shipped, rfb }.Select(d => new FaceEmbedder(Pipeline.EmbeddingModel, FaceDetector.PointsRule(d.Card, d.Sha256)).FaceSpace)];
        Assert.Equal(["0bc65e766053", "3d45b4915f1f"], spaces[2..]);
        Assert.Equal(4, spaces.Distinct().Count()); // another detector of the same layout puts the points elsewhere
    }

    /// <summary>What is wrong with the file comes before what its outputs are.</summary>
    [Fact]
    public void A_detector_that_computes_nothing_is_told_so()
    {
        var model = ModelProto.Parser.ParseFrom(new Made("scrfd", 9, new Random(1)).Onnx(64, 64));
        model.Graph.Node.Clear();
        model.Graph.Output.Clear();
        Assert.Contains("Its graph has no nodes, and computes nothing.", Assert.Throws<ModelException>(() => Model.Load(Write(model.ToByteArray()), ModelCard.Detection)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rfb_finds_the_same_faces_where_its_boxes_are_written_first()
    {
        var graph = ModelProto.Parser.ParseFrom(File.ReadAllBytes(Pipeline.Shipped("rfb/face_detection.onnx")));
        using var usual = Model.Load(Write(graph.ToByteArray()), ModelCard.Detection);
        var (scores, boxes) = (graph.Graph.Output[0].Clone(), graph.Graph.Output[1].Clone());
        graph.Graph.Output.Clear();
        graph.Graph.Output.Add([boxes, scores]);
        using var turned = Model.Load(Write(graph.ToByteArray()), ModelCard.Detection);
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.GraceHopper));

        Assert.Equal("rfb", turned.Card.Output.Layout);
        Assert.Equal(Found(usual), Found(turned));

        List<(Box, double)> Found(Model model)
        {
            var found = new FaceDetector(model, null, Options.Create(new FaceOptions())).Detect(picture).ConvertAll(f => (f.Box, f.Score));
            Assert.NotEmpty(found);
            return found;
        }
    }

    [Theory]
    [InlineData("its outputs are of no layout that is known here (rfb, scrfd, scrfd-boxes, yunet): they look like RetinaFace's", "loc 4", "conf 2", "landms 10")]
    [InlineData("its outputs are of no layout that is known here (rfb, scrfd, scrfd-boxes, yunet); it has output0 [1,any,16]. Use the shipped detector", "output0 16")]
    [InlineData("it has a [1,any,1], b [1,any,1], c [1,any,1], d [1,any,1], e [1,any,4], f [1,any,4].", "a 1", "b 1", "c 1", "d 1", "e 4", "f 4")]
    public void Outputs_of_no_known_layout_are_refused_by_name(string told, params string[] outputs)
    {
        var graph = new GraphProto { Name = "other", Input = { Value("picture", 1, 3, 64, 64) } };
        foreach (var output in outputs.Select(o => o.Split(' ')))
        {
            graph.Node.Add(new NodeProto { OpType = "Identity", Input = { "picture" }, Output = { output[0] } });
            graph.Output.Add(Value(output[0], 1, 0, int.Parse(output[1], System.Globalization.CultureInfo.InvariantCulture)));
        }

        var file = Write(Bytes(graph));
        Assert.Contains(told, Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Detection)).Message, StringComparison.Ordinal);
    }

    /// <summary>Names and number tell the family, sizes only what a run gives: there is no card to correct, but one to write.</summary>
    [Theory]
    [InlineData("yunet", 12, "has no output 'cls_8' of [16,1], which layout yunet gives of 32 x 32 pixels; it has cls_8 [1,4,1]")]
    [InlineData("scrfd", 9, "has no output of [128,1], which layout scrfd gives of 64 x 64 pixels; it has ")]
    public void A_detector_without_a_card_whose_sizes_do_not_fit_is_told_to_have_one(string layout, int outputs, string told)
    {
        var model = ModelProto.Parser.ParseFrom(new Made(layout, outputs, new Random(1)).Onnx(64, 64));
        var (first, second) = (model.Graph.Output[0], model.Graph.Output[1]);
        model.Graph.Node.Single(n => n.Output[0] == first.Name).Output[0] = "unused";
        model.Graph.Node.Add(new NodeProto { OpType = "Identity", Input = { second.Name }, Output = { first.Name } }); // the next stride's, and so too small
        first.Type = second.Type.Clone();
        var file = Write(model.ToByteArray());

        var message = Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Detection)).Message;

        Assert.StartsWith($"The detector {file} ", message, StringComparison.Ordinal);
        Assert.Contains(told, message, StringComparison.Ordinal);
        Assert.Contains($"write its card, {Path.ChangeExtension(file, ".json")}", message, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string Write(byte[] bytes)
    {
        var file = Path.Combine(folder, "detector.onnx");
        File.WriteAllBytes(file, bytes);
        return file;
    }

    private static byte[] Bytes(GraphProto graph) => new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } } }.ToByteArray();

    private static ValueInfoProto Value(string name, params int[] sizes) => new()
    {
        Name = name,
        Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { sizes.Select(s => s > 0 ? new TensorShapeProto.Types.Dimension { DimValue = s } : new()) } } } },
    };

    /// <summary>One detector: for each stride its parts, each a convolution of a stride's square.</summary>
    private sealed class Made
    {
        private readonly bool isYuNet;
        private readonly int[] strides;
        private readonly int anchors;
        private readonly (string Name, int Values, bool IsScore)[] parts;
        private readonly Dictionary<string, (float[] Weights, float[] Biases)> weights = [];

        public Made(string layout, int outputs, Random random)
        {
            isYuNet = layout == "yunet";
            strides = outputs is 10 or 15 ? Five : Three;
            anchors = isYuNet || strides == Five ? 1 : 2;
            parts = isYuNet ? [("cls", 1, true), ("obj", 1, true), ("bbox", 4, false), ("kps", 10, false)]
                : layout == "scrfd" ? [("score", 1, true), ("bbox", 4, false), ("kps", 10, false)] : [("score", 1, true), ("bbox", 4, false)];
            foreach (var (part, stride) in parts.SelectMany(p => strides.Select(s => (p, s))))
            {
                var places = 3 * stride * stride;
                var most = (isYuNet ? 1 : 128) / (40.0 * stride); // of what goes in, 0 to 255 or -1 to 1, so that values come out around 1
                weights[Name(part.Name, stride)] = (Draw(part.Values * anchors * places, most / 3, 0), Draw(part.Values * anchors, 0.3, part.IsScore && isYuNet ? 0.5 : part.IsScore || isYuNet ? 0 : 1));
            }

            float[] Draw(int count, double most, double middle) => [.. Enumerable.Range(0, count).Select(_ => (float)(middle + (random.NextDouble() * 2 - 1) * most))];
        }

        public byte[] Onnx(int width, int height)
        {
            var graph = new GraphProto { Name = "made", Input = { Value("picture", 1, 3, height, width) } };
            foreach (var (part, stride) in parts.SelectMany(p => strides.Select(s => (p, s)))) // as the families' files: all scores first
            {
                var name = Name(part.Name, stride);
                var (kernel, bias) = weights[name];
                graph.Initializer.Add(new TensorProto { Name = $"{name}/w", DataType = 1, Dims = { part.Values * anchors, 3, stride, stride }, FloatData = { kernel } });
                graph.Initializer.Add(new TensorProto { Name = $"{name}/b", DataType = 1, Dims = { part.Values * anchors }, FloatData = { bias } });
                graph.Initializer.Add(new TensorProto { Name = $"{name}/shape", DataType = 7, Dims = { isYuNet ? 3 : 2 }, Int64Data = { isYuNet ? [1, -1, part.Values] : [-1, part.Values] } });
                var convolution = new NodeProto { OpType = "Conv", Input = { "picture", $"{name}/w", $"{name}/b" }, Output = { $"{name}/planes" } };
                convolution.Attribute.Add(new AttributeProto { Name = "strides", Type = AttributeProto.Types.AttributeType.Ints, Ints = { stride, stride } });
                var transpose = new NodeProto { OpType = "Transpose", Input = { $"{name}/planes" }, Output = { $"{name}/rows" } };
                transpose.Attribute.Add(new AttributeProto { Name = "perm", Type = AttributeProto.Types.AttributeType.Ints, Ints = { 0, 2, 3, 1 } });
                graph.Node.Add([convolution, transpose, new NodeProto { OpType = "Reshape", Input = { $"{name}/rows", $"{name}/shape" }, Output = { part.IsScore ? $"{name}/raw" : name } }]);
                if (part.IsScore)
                {
                    graph.Node.Add(new NodeProto { OpType = "Sigmoid", Input = { $"{name}/raw" }, Output = { name } });
                }

                var places = width / stride * (height / stride) * anchors;
                graph.Output.Add(isYuNet ? Value(name, 1, places, part.Values) : Value(name, places, part.Values));
            }

            return Bytes(graph);
        }

        /// <summary>What the network finds in a picture of its input's size, clamped to the picture.</summary>
        public IEnumerable<Detection> Decode(Picture picture, ModelCard card)
        {
            var threshold = card.Threshold ?? 0.5;
            foreach (var stride in strides)
            {
                for (var place = 0; place < picture.Width / stride * (picture.Height / stride) * anchors; place++)
                {
                    var (cell, anchor) = (place / anchors, place % anchors);
                    var (column, row) = (cell % (picture.Width / stride), cell / (picture.Width / stride));
                    double[] Of(string part, int values) => [.. Enumerable.Range(0, values).Select(v => Convolved(picture, card.Input, Name(part, stride), anchor * values + v, column, row, stride))];
                    var (x, y) = (column * stride, row * stride);
                    var score = isYuNet ? Math.Sqrt(Sigmoid(Of("cls", 1)[0]) * Sigmoid(Of("obj", 1)[0])) : Sigmoid(Of("score", 1)[0]);
                    if (score <= threshold)
                    {
                        continue;
                    }

                    var b = Of("bbox", 4);
                    var (left, upper, right, lower) = isYuNet
                        ? (x + (b[0] - Math.Exp(b[2]) / 2) * stride, y + (b[1] - Math.Exp(b[3]) / 2) * stride, x + (b[0] + Math.Exp(b[2]) / 2) * stride, y + (b[1] + Math.Exp(b[3]) / 2) * stride)
                        : (x - b[0] * stride, y - b[1] * stride, x + b[2] * stride, y + b[3] * stride);
                    (left, upper, right, lower) = (Math.Clamp(left, 0, picture.Width), Math.Clamp(upper, 0, picture.Height), Math.Clamp(right, 0, picture.Width), Math.Clamp(lower, 0, picture.Height));
                    if (right - left >= 1 && lower - upper >= 1)
                    {
                        var points = parts.Any(p => p.Name == "kps") ? Of("kps", 10) : null;
                        yield return new Detection(new Box(left, upper, right - left, lower - upper), score)
                        {
                            Landmarks = points is null ? null : [.. Enumerable.Range(0, 5).Select(p => new Point(x + points[2 * p] * stride + 0.5, y + points[2 * p + 1] * stride + 0.5))],
                        };
                    }
                }
            }

            static double Sigmoid(double v) => 1 / (1 + Math.Exp(-v));
        }

        private double Convolved(Picture picture, ModelInput input, string name, int channel, int column, int row, int stride)
        {
            var (kernel, bias) = weights[name];
            double sum = bias[channel];
            for (var c = 0; c < 3; c++)
            {
                for (var v = 0; v < stride; v++)
                {
                    for (var u = 0; u < stride; u++)
                    {
                        var pixel = picture.Row(row * stride + v)[(column * stride + u) * 3 + (input.Color == "RGB" ? c : 2 - c)];
                        sum += kernel[((channel * 3 + c) * stride + v) * stride + u] * (pixel - input.Mean[0]) / input.Std[0];
                    }
                }
            }

            return sum;
        }

        private static string Name(string part, int stride) => $"{part}_{stride}";
    }
}
