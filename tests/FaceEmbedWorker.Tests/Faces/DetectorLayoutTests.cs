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

    /// <summary>Where the file leaves its input's size open.</summary>
    [Theory]
    [InlineData(64, 96, true)]
    [InlineData(0, 0, false)]
    [InlineData(64, 0, false)]
    [InlineData(0, 96, false)]
    public void A_detector_without_a_card_has_its_familys_input_where_it_says_none(int width, int height, bool says)
    {
        var model = ModelProto.Parser.ParseFrom(new Made("scrfd", 9, new Random(1)).Onnx(64, 96));
        model.Graph.Input[0] = Value("picture", 1, 3, height, width);
        var (card, family) = (DetectorLayout.CardOf(Write(model.ToByteArray())), ModelCard.Named("scrfd"));
        Assert.Equal((says ? 0 : family.Input.Width, says ? 0 : family.Input.Height, "", "detector"), (card.Input.Width, card.Input.Height, card.Input.Name, card.Id));
        Assert.Equal(("", 0, "scrfd", null), (card.Output.Name, card.Output.Dimensions, card.Output.Layout, card.Filter));
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
    [InlineData("yunet", 12, "has no output 'cls_8' of [16,1], which layout yunet gives of 32 x 32 pixels; it has cls_8 [1,4,1], cls_16 [1,4,1], ")]
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

    [Fact]
    public void Scrfd_and_YuNet_outputs_become_boxes_and_points()
    {
        // place (3, 2) of stride 8 in an input 64 wide: x 24, y 16
        var (scores, distances, points) = (new float[8 * 8 * 2], new float[8 * 8 * 2 * 4], new float[8 * 8 * 2 * 10]);
        var i = (2 * 8 + 3) * 2 + 1; // the second anchor
        scores[i] = 0.9f;
        float[] sides = [1, 0.5f, 2, 3];
        sides.CopyTo(distances, i * 4);
        for (var p = 0; p < 10; p++)
        {
            points[i * 10 + p] = p / 10f;
        }

        var found = new List<Detection>();
        DetectorLayout.Scrfd(scores, distances, points, 2, 8, 64, 0.5, found);
        var face = Assert.Single(found);
        Assert.Equal((new Box(16, 12, 24, 28), 0.9f), (face.Box, (float)face.Score));
        Assert.Equal(new Point(24 + 0.2f * 8 + 0.5, 16 + 0.3f * 8 + 0.5), face.Landmarks![1]);

        var (classes, objects, boxes, five) = (new float[64], new float[64], new float[64 * 4], new float[64 * 10]);
        i = 2 * 8 + 3;
        (classes[i], objects[i]) = (0.81f, 1.2f); // clamped to 1
        float[] centre = [0.5f, -0.25f, (float)Math.Log(4), (float)Math.Log(2)];
        centre.CopyTo(boxes, i * 4);
        five[i * 10 + 4] = 1;
        found.Clear();
        DetectorLayout.YuNet(classes, objects, boxes, five, 8, 64, 0.5, found);
        face = Assert.Single(found);
        Assert.Equal(0.9, face.Score, 1e-6);
        Assert.Equal((12.0, 6.0, 32.0, 16.0), (Math.Round(face.Box.X, 4), Math.Round(face.Box.Y, 4), Math.Round(face.Box.Width, 4), Math.Round(face.Box.Height, 4)));
        Assert.Equal(new Point(24 + 8 + 0.5, 16 + 0.5), face.Landmarks![2]);
    }

    /// <summary>A card that names another layout than the file has is refused when the model is loaded, by every command alike.</summary>
    [Theory]
    [InlineData("scrfd", "yunet", "no output 'cls_8' of [64,1]")]
    [InlineData("yunet", "scrfd", "has 12 outputs, and layout scrfd has 9 or 15 (without points, 6 or 10: scrfd-boxes)")]
    [InlineData("scrfd", "scrfd-boxes", "has 9 outputs, and layout scrfd-boxes has 6 or 10 (with points, 9 or 15: scrfd)")]
    [InlineData("scrfd", "rfb", "does not give scores of [n,2] and boxes of [n,4], as layout rfb does")]
    [InlineData("yunet", null, "as it should where a card names no output.layout")]
    public void Outputs_of_another_layout_are_refused_when_the_detector_is_loaded(string made, string? said, string told)
    {
        var file = Path.Combine(folder, "detector.onnx");
        File.WriteAllBytes(file, TinyOnnx.Detector(made, size: 64));
        var card = ModelCard.Named(made);
        var own = Path.Combine(folder, "detector-card.json");
        File.WriteAllBytes(own, (card with { Filter = null, Input = card.Input with { Name = "", Multiple = 0, Width = 64, Height = 64 }, Output = card.Output with { Layout = said } }).ToJson());

        var fault = Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Detection, cardName: own));

        Assert.Contains(told, fault.Message, StringComparison.Ordinal);
        Assert.StartsWith($"The detector {file} ", fault.Message, StringComparison.Ordinal);
        Assert.Contains("Correct output.layout or the input's size in its card", fault.Message, StringComparison.Ordinal);
    }

    /// <summary>A score that is no number is told, so that a broken network is no picture without faces.</summary>
    [Theory]
    [InlineData(0.5f, false)]
    [InlineData(0.51f, true)]
    [InlineData(float.NaN, true)]
    public void What_scores_over_the_threshold_is_a_candidate(float score, bool isOne)
    {
        var found = new List<Detection>();
        DetectorLayout.Rfb([0.9f, score, 0.9f, 0.1f], [0.25f, 0.5f, 0.5f, 0.75f, 0, 0, 1, 1], 320, 240, 0.5, found);
        Assert.Equal(isOne ? [new Box(80, 120, 80, 60)] : [], found.Select(f => f.Box));
        found.Clear();
        DetectorLayout.Scrfd([0, score], new float[8], default, 1, 8, 16, 0.5, found);
        Assert.Equal(isOne ? [new Box(8, 0, 0, 0)] : [], found.Select(f => f.Box));
        Assert.All(found, f => Assert.Null(f.Landmarks));
        found.Clear();
        DetectorLayout.YuNet([0, score * score], [0, 1], new float[8], new float[20], 8, 16, 0.5, found);
        Assert.Equal(isOne ? [new Box(4, -4, 8, 8)] : [], found.Select(f => f.Box));
    }

    [Fact]
    public void A_score_is_that_of_its_box_and_counts_over_the_threshold_only()
    {
        var found = new List<Detection>();
        DetectorLayout.Rfb([1, 0, 0.25f, 0.75f], new float[8], 320, 240, 0.5, found);
        Assert.Equal(0.75, Assert.Single(found).Score);
        found.Clear();
        DetectorLayout.YuNet(new float[DetectorHead.Channels], 8, 8, 0.5, found); // the root of a half and a half
        Assert.Empty(found);
    }

    /// <summary>Of a stride scores, box and points in one output, as prepared graphs have them.</summary>
    [Fact]
    public void Joined_heads_of_a_model_are_read()
    {
        var graph = new GraphProto { Name = "joined", Input = { Value("picture", 1, 3, 64, 64) } };
        foreach (var stride in Three)
        {
            var (side, places) = (64 / stride, 64 / stride * (64 / stride));
            float[] values = [.. Enumerable.Repeat(-9f, 2 * places), .. new float[14 * places]];
            (values[5], values[places + 5]) = stride == 16 ? (9, 9) : (values[0], values[0]); // the second of the second row
            Constant(graph, DetectorHead.Name(stride), values, 1, DetectorHead.Channels, side, side);
        }

        using var model = Model.Load(Write(Bytes(graph)), ModelCard.Detection, cardName: CardFor("yunet"));
        using var picture = new Picture(64, 64);
        Assert.Equal(new Box(8, 8, 16, 16), Assert.Single(new FaceDetector(model, null, Options.Create(new FaceOptions())).Look(picture, 64, filter: null)).Box);
    }

    [Fact]
    public void A_joined_head_that_is_of_no_floats_is_none()
    {
        var graph = new GraphProto { Name = "whole", Input = { Value("picture", 1, 3, 64, 64) } };
        Constant(graph, "first", new float[64], 1, 64, 1);
        Constant(graph, DetectorHead.Name(8), [], 1, DetectorHead.Channels, 8, 8);
        var (values, output) = (graph.Initializer[1], graph.Output[1].Type.TensorType);
        (values.DataType, output.ElemType) = (6, 6); // int32
        values.RawData = ByteString.CopyFrom(new byte[DetectorHead.Channels * 64 * sizeof(int)]);
        var file = Write(Bytes(graph));
        Assert.Contains("has no output 'cls_8' of [64,1]", Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Detection, cardName: CardFor("yunet"))).Message, StringComparison.Ordinal);
    }

    /// <summary>As many values as boxes and scores would have, in rows of another length.</summary>
    [Theory]
    [InlineData(2, 3, 3, 4)]
    [InlineData(6, 2, 8, 3)]
    public void Rows_of_another_length_are_no_scores_or_boxes(int scores, int each, int boxes, int sides)
    {
        var graph = new GraphProto { Name = "rows", Input = { Value("picture", 1, 3, 64, 64) } };
        Constant(graph, "scores", new float[scores * each], 1, scores, each);
        Constant(graph, "boxes", new float[boxes * sides], 1, boxes, sides);
        var file = Write(Bytes(graph));
        Assert.Contains($"does not give scores of [n,2] and boxes of [n,4], as layout rfb does; it has scores [1,{scores},{each}], boxes [1,{boxes},{sides}]", Assert.Throws<ModelException>(() => Model.Load(file, ModelCard.Detection, cardName: CardFor("rfb"))).Message, StringComparison.Ordinal);
    }

    /// <summary>SCRFD pads a width to whole strides; a place has its anchors one after the other.</summary>
    [Fact]
    public void Places_go_row_by_row_over_whole_strides()
    {
        var found = new List<Detection>();
        DetectorLayout.Scrfd(Enumerable.Repeat(1f, 16).ToArray(), Enumerable.Repeat(1f, 64).ToArray(), default, 2, 8, 25, 0.5, found); // 4 columns of 8
        Assert.Equal(Enumerable.Range(0, 16).Select(i => new Box(i / 2 % 4 * 8 - 8, i / 8 * 8 - 8, 16, 16)), found.Select(f => f.Box));
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.6)]
    [InlineData(1)]
    [InlineData(1.5)]
    public void A_joined_head_gives_what_its_parts_give(double threshold)
    {
        const int stride = 8, width = 40, places = 5 * 3;
        var random = new Random(6);
        var head = Enumerable.Range(0, DetectorHead.Channels * places).Select(_ => (float)(random.NextDouble() * 6 - 3)).ToArray();
        (head[3], head[places + 3]) = (float.NaN, -3); // no number, beside a score that none passes with
        var (joined, apart) = (new List<Detection>(), new List<Detection>());
        DetectorLayout.YuNet(head, stride, width, threshold, joined);
        DetectorLayout.YuNet(Rows(0, 1, sigmoid: true), Rows(1, 1, sigmoid: true), Rows(2, 4, sigmoid: false), Rows(6, 10, sigmoid: false), stride, width, threshold, apart);
        Assert.Equal(apart.Count, joined.Count);
        Assert.Equal(threshold < 1 ? 2 : 1, Math.Min(2, joined.Count)); // what is no number passes each threshold
        foreach (var (a, b) in apart.Zip(joined))
        {
            Assert.Equal(a.Box, b.Box);
            Assert.Equal(a.Landmarks!, b.Landmarks!);
            Assert.Equal(a.Score, b.Score, 1e-6);
        }

        float[] Rows(int first, int channels, bool sigmoid) => [.. Enumerable.Range(0, places * channels).Select(i => head[(first + i % channels) * places + i / channels]).Select(v => sigmoid ? (float)(1 / (1 + Math.Exp(-v))) : v)];
    }

    [Theory]
    [InlineData("yunet", "cls_8 1 cls_16 1 cls_32 1 kps_8 10 kps_16 10 kps_32 10")]
    [InlineData(null, "cls_8 1 cls_16 1 kps_8 10 kps_16 10 kps_32 10")]
    [InlineData(null, "cls_8 1 cls_16 1 cls_32 1 kps_8 10 kps_16 10")]
    [InlineData("rfb", "a 2 b 4")]
    [InlineData("rfb", "a 4 b 2")]
    [InlineData(null, "a 4 b 4")]
    [InlineData(null, "a 2 b 4 c 2")]
    [InlineData("scrfd-boxes", "a 1 b 1 c 1 d 4 e 4 f 4")]
    [InlineData("scrfd-boxes", "a 1 b 1 c 1 d 1 e 1 f 4 g 4 h 4 i 4 j 4")]
    [InlineData("scrfd", "a 1 b 1 c 1 d 4 e 4 f 4 g 10 h 10 i 10")]
    [InlineData("scrfd", "a 10 b 4 c 1 d 10 e 4 f 1 g 10 h 4 i 1")]
    [InlineData("scrfd", "a 1 b 0 c 1 d 4 e 4 f 0 g 10 h 10 i 10")] // sizes that the file leaves open
    [InlineData("scrfd", "a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0")]
    [InlineData(null, "a 1 b 1 c 1 d 1 e 4 f 4 g 10 h 10 i 10")]
    [InlineData(null, "a 1 b 1 c 1 d 4 e 4 f 4 g 10 h 10 i 3")]
    [InlineData(null, "a 1 b 1 c 4 d 4 e 4 f 4")]
    [InlineData(null, "a 1 b 1 c 1 d 4 e 4 f 10")]
    [InlineData(null, "a 1 b 1 c 1 d 4 e 4 f 4 g 4 h 10 i 10")]
    [InlineData(null, "a 1 b 1 c 1 d 4 e 4")]
    [InlineData(null, "")]
    public void A_layout_is_told_by_the_outputs(string? layout, string outputs)
    {
        var words = outputs.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        GraphValue[] values = [.. words.Chunk(2).Select(w => new GraphValue(w[0], [1, 0, int.Parse(w[1], System.Globalization.CultureInfo.InvariantCulture)]))];
        Assert.Equal(layout, DetectorLayout.Told(values));
        Assert.Equal(layout is not null, DetectorLayout.IsDetector(values));
    }

    [Fact]
    public void A_detector_whose_anchors_are_not_decoded_is_one_all_the_same()
    {
        Assert.True(DetectorLayout.IsDetector([new("loc", [1, 0, 4]), new("conf", [1, 0, 2]), new("landms", [1, 0, 10])]));
        Assert.False(DetectorLayout.IsDetector([new("loc", [1, 0, 4]), new("conf", [1, 0, 2]), new("landms", [1, 0, 11])]));
        Assert.False(DetectorLayout.IsDetector([new("vector", [1, 512])]));
    }

    [Fact]
    public void Six_outputs_are_shown()
    {
        GraphValue[] seven = [.. Enumerable.Range(0, 7).Select(i => new GraphValue($"o{i}", [1, i]))];
        Assert.Equal("o0 [1,any], o1 [1,1], o2 [1,2], o3 [1,3], o4 [1,4], o5 [1,5]", DetectorLayout.Shown(seven[..6]));
        Assert.Equal("o0 [1,any], o1 [1,1], o2 [1,2], o3 [1,3], o4 [1,4], o5 [1,5], …", DetectorLayout.Shown(seven));
    }

    [Theory]
    [InlineData("scrfd", true)]
    [InlineData("yunet", true)]
    [InlineData("scrfd-boxes", false)]
    [InlineData("rfb", false)]
    [InlineData(null, false)]
    public void Layouts_with_points_are_known(string? layout, bool points) => Assert.Equal(points, DetectorLayout.HasPoints(layout));

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string Write(byte[] bytes)
    {
        var file = Path.Combine(folder, "detector.onnx");
        File.WriteAllBytes(file, bytes);
        return file;
    }

    /// <summary>A known card, for an input of 64 x 64 pixels.</summary>
    private string CardFor(string layout)
    {
        var (card, file) = (ModelCard.Named(layout), Path.Combine(folder, "card.json"));
        File.WriteAllBytes(file, (card with { Filter = null, Input = card.Input with { Name = "", Multiple = 0, Width = 64, Height = 64 }, Output = card.Output with { Name = "", Dimensions = 0, Layout = layout } }).ToJson());
        return file;
    }

    /// <summary>An output that is the same of each picture.</summary>
    private static void Constant(GraphProto graph, string name, float[] values, params int[] sizes)
    {
        graph.Initializer.Add(new TensorProto { Name = $"{name}/constant", DataType = 1, Dims = { sizes.Select(s => (long)s) }, FloatData = { values } });
        graph.Node.Add(new NodeProto { OpType = "Identity", Input = { $"{name}/constant" }, Output = { name } });
        graph.Output.Add(Value(name, sizes));
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
