using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.Extensions.Options;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

public class DetectorHeadTests
{
    private static readonly byte[] Shipped = File.ReadAllBytes(Pipeline.Shipped("face_detection.onnx"));

    /// <summary>Class, object, box and points of each stride: rows of the file's outputs against planes of the joined head.</summary>
    [Theory]
    [InlineData(32, 32)]
    [InlineData(160, 160)]
    [InlineData(320, 96)]
    [InlineData(480, 640)]
    public void The_shipped_detectors_joined_heads_give_the_same_values(int width, int height)
    {
        var prepared = GraphPreparation.Prepare(Shipped);
        Assert.Equal(18, prepared.Joined);
        var (plain, joined) = (Run(Shipped, width, height), Run(prepared.Model, width, height));
        Assert.Equal(["head_16", "head_32", "head_8"], joined.Keys.Order(StringComparer.Ordinal));
        foreach (var stride in (int[])[8, 16, 32])
        {
            var head = joined[$"head_{stride}"];
            var places = width / stride * (height / stride);
            Assert.Equal(DetectorHead.Channels * places, head.Length);
            var channel = 0;
            foreach (var (name, channels) in ((string, int)[])[("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)])
            {
                var rows = plain[$"{name}_{stride}"];
                for (var c = 0; c < channels; c++, channel++)
                {
                    for (var i = 0; i < places; i++)
                    {
                        var value = head[channel * places + i];
                        Assert.Equal(rows[i * channels + c], channels == 1 ? 1 / (1 + Math.Exp(-value)) : value, 1e-4);
                    }
                }
            }
        }
    }

    [Fact]
    public void Boxes_scores_and_points_are_those_of_the_plain_graph()
    {
        using var plain = Model.Load(Pipeline.Shipped("face_detection.onnx"), ModelCard.Detection, prepare: false);
        Assert.Null(plain.Prepared);
        var detector = new FaceDetector(plain, null, Options.Create(new FaceOptions()));
        foreach (var photo in (string[])[TestData.Astronaut, TestData.GraceHopper])
        {
            using var picture = Pipeline.Decode(File.ReadAllBytes(photo));
            foreach (var detail in (int[])[1, 2, 4])
            {
                var (expected, actual) = (detector.Detect(picture, detail), Pipeline.Detector.Detect(picture, detail));
                Assert.NotEmpty(expected);
                Assert.Equal(expected.Count, actual.Count);
                foreach (var (a, b) in expected.Zip(actual))
                {
                    Assert.Equal(a.Score, b.Score, 1e-5);
                    Assert.InRange(a.Box.Overlap(b.Box), 0.9999, 1);
                    Assert.All(a.Landmarks!.Zip(b.Landmarks!), p => Assert.InRange(Math.Abs(p.First.X - p.Second.X) + Math.Abs(p.First.Y - p.Second.Y), 0, 0.01));
                }
            }
        }
    }

    private static readonly (string What, Action<GraphProto> Change)[] Odd =
    [
        ("an output has another name", g => g.Output.Single(o => o.Name == "kps_16").Name = "points_16"),
        ("a value within a head is an output too", g => g.Output.Add(new ValueInfoProto { Name = Back(g, "bbox_8", "Conv").Output[0] })),
        ("a value within a head is read elsewhere", g => g.Node.Add(new NodeProto { OpType = "Identity", Input = { Back(g, "bbox_8", "Conv").Output[0] }, Output = { "elsewhere" } })),
        ("a convolution has no bias", g => Back(g, "obj_32", "Conv").Input.RemoveAt(2)),
        ("a convolution has other strides", g => Back(g, "cls_8", "Conv").Attribute.Single(a => a.Name == "strides").Ints[0] = 2),
        ("a part reads other features", g => Pointwise(g, "bbox_16").Input[0] = Pointwise(g, "bbox_8").Input[0]),
        ("weights lie elsewhere", g => g.Initializer.Single(t => t.Name == Back(g, "kps_8", "Conv").Input[1]).DataLocation = 1),
        ("rows are cut in another way", g => Back(g, "kps_8", "Reshape").Input[1] = Back(g, "bbox_8", "Reshape").Input[1]),
        ("planes are turned in another way", g => Back(g, "kps_8", "Transpose").Attribute[0].Ints[1] = 3),
        ("scores have no sigmoid", g => Back(g, "cls_8", "Sigmoid").OpType = "Identity"),
    ];

    public static readonly TheoryData<string> OddOnes = [.. Odd.Select(odd => odd.What)];

    /// <summary>What is not built like this stays as it is.</summary>
    [Theory]
    [MemberData(nameof(OddOnes))]
    public void Heads_of_another_build_stay_as_they_are(string what)
    {
        var model = ModelProto.Parser.ParseFrom(Shipped);
        Assert.Equal(18, DetectorHead.Join(model.Clone().Graph));
        Odd.Single(odd => odd.What == what).Change(model.Graph);
        var before = model.ToByteArray();
        Assert.Equal(0, DetectorHead.Join(model.Graph));
        Assert.Equal(before, model.ToByteArray());
    }

    /// <summary>A card may name an output of the file; that the network in memory has others is nobody's concern.</summary>
    [Fact]
    public void A_card_may_name_an_output_that_is_joined()
    {
        var card = Path.GetTempFileName();
        try
        {
            var shipped = Pipeline.Detector.Card;
            File.WriteAllBytes(card, (shipped with { Output = shipped.Output with { Name = "cls_8" } }).ToJson());
            using var model = Model.Load(Pipeline.Shipped("face_detection.onnx"), ModelCard.Detection, cardName: card);
            Assert.Equal(18, model.Prepared!.Joined);

            File.WriteAllBytes(card, (shipped with { Output = shipped.Output with { Name = "cls_9" } }).ToJson());
            Assert.Contains("the output is named 'cls_9'", Assert.Throws<ModelException>(() => Model.Load(Pipeline.Shipped("face_detection.onnx"), ModelCard.Detection, cardName: card)).Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(card);
        }
    }

    /// <summary>Damaged weights are no picture without faces, joined or not.</summary>
    [Theory]
    [InlineData("cls_8", true)]
    [InlineData("obj_8", true)]
    [InlineData("cls_8", false)]
    public void Scores_that_are_no_numbers_are_told_of_a_picture_without_faces(string output, bool prepare)
    {
        var model = ModelProto.Parser.ParseFrom(Shipped);
        Weights.Write(model.Graph.Initializer.Single(t => t.Name == Back(model.Graph, output, "Conv").Input[2]), [float.NaN]);
        var folder = Directory.CreateTempSubdirectory("face-embed-heads-");
        try
        {
            var file = Path.Combine(folder.FullName, "detector.onnx");
            File.WriteAllBytes(file, model.ToByteArray());
            using var damaged = Model.Load(file, ModelCard.Detection, prepare: prepare);
            using var grey = new FaceEmbedWorker.Images.Picture(320, 240);
            grey.Pixels.Fill(128);
            Assert.Contains("gave a face that is not finite", Assert.Throws<ModelException>(() => new FaceDetector(damaged, null, Options.Create(new FaceOptions())).Detect(grey)).Message, StringComparison.Ordinal);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static Dictionary<string, float[]> Run(byte[] model, int width, int height)
    {
        using var session = new InferenceSession(GraphPreparation.WithOpenSize(model, 2));
        var random = new Random(width);
        var picture = Enumerable.Range(0, 3 * width * height).Select(_ => (float)random.Next(256)).ToArray();
        using var value = OrtValue.CreateTensorValueFromMemory(picture, [1, 3, height, width]);
        using var options = new RunOptions();
        using var outputs = session.Run(options, ["input"], [value], session.OutputNames);
        return session.OutputNames.Zip(outputs, (name, output) => (name, output.GetTensorDataAsSpan<float>().ToArray())).ToDictionary();
    }

    /// <summary>The last node of a type on the way to an output.</summary>
    private static NodeProto Back(GraphProto graph, string value, string type) =>
        graph.Node.Single(n => n.Output.Contains(value)) is var node && node.OpType == type ? node : Back(graph, node.Input[0], type);

    private static NodeProto Pointwise(GraphProto graph, string output) => Back(graph, Back(graph, output, "Conv").Input[0], "Conv");
}
