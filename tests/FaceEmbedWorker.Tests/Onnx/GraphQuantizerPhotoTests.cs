using System.Runtime.InteropServices;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>Networks of the size and the build of those that 8 bits are for, on faces of photos.</summary>
public class GraphQuantizerPhotoTests
{
    private const int Side = 112;

    private static readonly ModelInput Input = ModelCard.Default("test", ModelCard.Embedding).Input with { Width = Side, Height = Side };

    private static readonly Lazy<Picture[]> Faces = new(() => [.. new[] { TestData.Astronaut, TestData.GraceHopper }.SelectMany(FacesOf)]);

    private static readonly byte[] Shipped = File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"));

    /// <summary>The shipped network, the same with full convolutions, and IResNets of old and new opsets, one with its weights as inputs.</summary>
    public static TheoryData<string> Networks => ["shipped", "dense", "iresnet 9", "iresnet 11", "iresnet 13", "iresnet 18"];

    [Theory]
    [MemberData(nameof(Networks))]
    public void What_is_quantised_computes_before_that_what_the_file_computes(string network)
    {
        var bytes = Network(network);
        var plain = GraphQuantizer.Of(bytes).Plain;
        Assert.DoesNotContain(GraphSummary.Read(plain).Operators, o => o.Type is "PRelu" or "BatchNormalization" or "Dropout" or "Constant");
        foreach (var (expected, actual) in Run(bytes).Zip(Run(plain)))
        {
            var largest = expected.Max(Math.Abs);
            Assert.Equal(expected, actual, (a, b) => Math.Abs(a - b) <= 1e-5 * largest);
        }
    }

    /// <summary>A random network's vectors have much in common; what is compared is what is left without their mean.</summary>
    [Theory]
    [InlineData("shipped", 0.9)]
    [InlineData("iresnet 11", 0.95)]
    [InlineData("iresnet 18", 0.95)]
    public void Vectors_of_8_bits_are_near_those_of_float32(string network, double least)
    {
        var bytes = Network(network);
        var quantised = Quantise(bytes);
        Assert.True(quantised.Length < 0.45 * bytes.Length, $"{quantised.Length:N0} of {bytes.Length:N0} bytes");
        var (expected, actual) = (Run(bytes), Run(quantised));
        var mean = Enumerable.Range(0, expected[0].Length).Select(i => expected.Average(v => v[i])).ToArray();
        Assert.All(expected.Zip(actual), pair => Assert.InRange(Cosine(Without(pair.First), Without(pair.Second)), least, 0.99999));

        float[] Without(float[] vector) => [.. vector.Zip(mean, (v, m) => v - m)];
    }

    /// <summary>ONNX Runtime fuses all of an IResNet: nothing of it is computed in float32 but what goes in and comes out.</summary>
    [Fact]
    public void Every_convolution_sum_and_product_of_an_IResNet_runs_in_8_bits()
    {
        var bytes = Network("iresnet 11");
        var folder = Directory.CreateTempSubdirectory("face-embed-quantizer-").FullName;
        try
        {
            using var options = new SessionOptions { OptimizedModelFilePath = Path.Combine(folder, "optimized.onnx"), LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
            new InferenceSession(Quantise(bytes), options).Dispose();
            var operators = GraphSummary.Read(File.ReadAllBytes(options.OptimizedModelFilePath)).Operators.ToDictionary(o => o.Type, o => o.Count);
            Assert.Equal((GraphQuantizer.Of(bytes).Convolutions, 1, 1), (operators["QLinearConv"], operators["QGemm"], operators["QuantizeLinear"]));
            Assert.DoesNotContain(operators.Keys, o => o is "Conv" or "Add" or "Relu" or "Gemm" or "DequantizeLinear");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Each_weight_is_within_half_a_step_of_its_own_channel()
    {
        var bytes = Network("iresnet 11");
        var (plain, quantised) = (Weights.Of(ModelProto.Parser.ParseFrom(GraphQuantizer.Of(bytes).Plain).Graph), ModelProto.Parser.ParseFrom(Quantise(bytes)).Graph);
        var constants = quantised.Initializer.ToDictionary(t => t.Name);
        var (nodes, seen) = (ModelProto.Parser.ParseFrom(GraphQuantizer.Of(bytes).Plain).Graph.Node.ToDictionary(n => n.Output[0]), 0);
        foreach (var (name, tensor) in constants.Where(c => c.Key.EndsWith("/weight/quantized", StringComparison.Ordinal)))
        {
            var value = name[..^"/weight/quantized".Length];
            var (expected, scales) = (Weights.Values(plain[nodes[value].Input[1]])!, Weights.Values(constants[$"{value}/weight/scale"])!);
            var steps = MemoryMarshal.Cast<byte, sbyte>(tensor.RawData.Span).ToArray();
            Assert.Equal(tensor.Dims[0], scales.Length);
            Assert.Equal(63, steps.Max(s => Math.Abs((int)s))); // two products with 255 stay within 16 bits, which is all that x64 has without VNNI
            for (var i = 0; i < steps.Length; i++)
            {
                var scale = scales[i / (steps.Length / scales.Length)];
                Assert.True(Math.Abs(steps[i] * scale - expected[i]) <= 0.5001f * scale, $"{name}[{i}]: {steps[i]} x {scale} is {expected[i]}");
            }

            seen++;
        }

        Assert.Equal(GraphQuantizer.Of(bytes).Convolutions + 1, seen);
    }

    /// <summary>A channel that training left without weights but with a bias: its own scale would leave the bias no room in 32 bits.</summary>
    [Fact]
    public void A_bias_beside_next_to_no_weights_keeps_its_value()
    {
        var model = ModelProto.Parser.ParseFrom(Network("iresnet 11"));
        var (first, weights) = (model.Graph.Node.First(n => n.OpType == "Conv"), Weights.Of(model.Graph));
        var (kernel, bias) = (Weights.Values(weights[first.Input[1]])!, Weights.Values(weights[first.Input[2]])!);
        kernel.AsSpan(0, 27).Fill(1e-12f);
        bias[0] = 4;
        Weights.Write(weights[first.Input[1]], kernel);
        Weights.Write(weights[first.Input[2]], bias);
        var bytes = model.ToByteArray();
        var quantised = Quantise(bytes);
        Assert.All(Run(bytes).Zip(Run(quantised)), v => Assert.InRange(Cosine(v.First, v.Second), 0.99, 1));
    }

    [Fact]
    public void A_relu_behind_a_convolution_becomes_its_zero_point()
    {
        var model = ModelProto.Parser.ParseFrom(Network("iresnet 11"));
        foreach (var node in model.Graph.Node.Where(n => n.OpType == "PRelu"))
        {
            node.OpType = "Relu";
            node.Input.RemoveAt(1);
        }

        var bytes = model.ToByteArray();
        var quantised = Quantise(bytes);
        Assert.DoesNotContain(GraphSummary.Read(quantised).Operators, o => o.Type == "Relu");
        Assert.All(Run(bytes).Zip(Run(quantised)), v => Assert.InRange(Cosine(v.First, v.Second), 0.99, 1));
    }

    [Fact]
    public void A_MobileFaceNet_is_known_by_its_depthwise_convolutions()
    {
        Assert.True(GraphQuantizer.Of(Shipped).IsMobile);
        Assert.False(GraphQuantizer.Of(Network("dense")).IsMobile);
        Assert.False(GraphQuantizer.Of(Network("iresnet 11")).IsMobile);
    }

    private static byte[] Network(string name) => name switch
    {
        "shipped" => Shipped,
        "dense" => FaceNetworks.Dense(Shipped),
        _ => FaceNetworks.IResNet(Side, 16, [1, 2, 2, 1], 128, int.Parse(name.Split(' ')[1]), weightsAsInputs: name.EndsWith(" 9", StringComparison.Ordinal)),
    };

    private static byte[] Quantise(byte[] bytes) => GraphQuantizer.Of(bytes).Quantize(Calibrate(bytes));

    private static Dictionary<string, ValueRange> Calibrate(byte[] bytes) => Quantization.Ranges(GraphQuantizer.Of(bytes).Probe(), Input, Faces.Value);

    /// <summary>What it gives for each of the faces.</summary>
    private static float[][] Run(byte[] bytes)
    {
        using var options = Model.SessionOptions();
        using var session = new InferenceSession(bytes, options);
        using var run = new RunOptions();
        return Array.ConvertAll(Faces.Value, face =>
        {
            var values = new float[3 * Side * Side];
            InputPicture.Write(face.Pixels, Input, values);
            using var value = OrtValue.CreateTensorValueFromMemory(values, [1, 3, Side, Side]);
            using var outputs = session.Run(run, [session.InputNames[0]], [value], session.OutputNames);
            return outputs[0].GetTensorDataAsSpan<float>().ToArray();
        });
    }

    private static double Cosine(float[] a, float[] b) => Pipeline.Cosine(a, b) / Math.Sqrt(Pipeline.Cosine(a, a) * Pipeline.Cosine(b, b));

    /// <summary>The face as it is aligned, and copies: mirrored, darker, and its upper left part.</summary>
    private static IEnumerable<Picture> FacesOf(string file)
    {
        using var picture = Pipeline.Decode(File.ReadAllBytes(file));
        var found = Pipeline.Detector.Detect(picture)[0];
        var face = Pipeline.Aligner.Align(picture, found.Box, Pipeline.Detector.Locate(picture, found), out _);
        var (mirrored, darker) = (new Picture(Side, Side), new Picture(Side, Side));
        for (var i = 0; i < face.Pixels.Length; i++)
        {
            darker.Pixels[i] = (byte)(face.Pixels[i] / 2);
            mirrored.Pixels[i] = face.Pixels[i / 3 / Side * Side * 3 + (Side - 1 - i / 3 % Side) * 3 + i % 3];
        }

        return [face, mirrored, darker, Pixels.Resized(Pixels.Cropped(face, 0, 0, 90, 90), Side, Side, Input.ResizeFilter)];
    }
}
