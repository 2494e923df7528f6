using FaceEmbedWorker.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>
/// Networks of each layout, a few channels wide and of random weights, against a plain computation, layer by layer, of what they are; and
/// what is said where a tensor is not as it must be.
/// </summary>
public class MobileFaceNetTests
{
    private static readonly string[] Layouts = ["staged", "staged own", "numbered", "capped"];

    /// <summary>With and without biases, batch norms that are folded in already, one slope for all, last layers as convolutions, and pictures that are not square.</summary>
    [Fact]
    public void A_converted_network_computes_what_its_layers_say()
    {
        for (var seed = 0; seed < 24; seed++)
        {
            var random = new Random(seed);
            var network = new Network(Layouts[seed % 4], random, kernel: seed < 12 ? (1, 1) : (1 + seed % 2, 1 + seed / 4 % 2));
            var (height, width) = (16 * network.Kernel.Height, 16 * network.Kernel.Width);
            var picture = Enumerable.Range(0, 3 * height * width).Select(_ => (float)(random.NextDouble() * 2 - 1)).ToArray();
            var square = height == width;

            var converted = MobileFaceNet.Convert(Checkpoint.Of(network.Tensors), CheckpointHead.Auto, seed % 3 == 0 && square ? width : null, "x");
            Assert.Equal((height, width, Network.Dimensions, true, "input", "output"), (converted.Height, converted.Width, converted.Dimensions, converted.Identity, converted.Input, converted.Output));
            Same(network.Compute(picture, height, width, pooled: false), Run(converted, picture, height, width), $"seed {seed}");

            // pooled features take any size, and no last layer
            (height, width) = square && seed % 2 == 0 ? (height + 16, width + 16) : (height, width);
            picture = [.. Enumerable.Range(0, 3 * height * width).Select(_ => (float)(random.NextDouble() * 2 - 1))];
            converted = MobileFaceNet.Convert(Checkpoint.Of(network.Tensors), CheckpointHead.Features, square ? width : null, "x");
            Assert.Equal((height, width, Network.Features, false), (converted.Height, converted.Width, converted.Dimensions, converted.Identity));
            Same(network.Compute(picture, height, width, pooled: true), Run(converted, picture, height, width), $"seed {seed}, features");
        }
    }

    [Theory]
    [InlineData("staged", "cunjian's and TreB1eN's MobileFaceNet", "mobilefacenet", false, "127.5", "127.5")]
    [InlineData("staged own", "TreB1eN's MobileFaceNet", "mobilefacenet", false, "127.5", "127.5")]
    [InlineData("numbered", "Xiaoccer's MobileFaceNet", "mobilefacenet-96x112", true, "127.5", "128")]
    [InlineData("capped", "foamliu's MobileFaceNet", "mobilefacenet-relu6", true, "123.675, 116.28, 103.53", "58.395, 57.12, 57.375")]
    public void A_file_says_what_it_is_and_where_it_is_from(string layout, string name, string id, bool certain, string mean, string std)
    {
        var checkpoint = Checkpoint.Of(new Network(layout, new Random(1), (1, 1)).Tensors);
        foreach (var head in new[] { CheckpointHead.Embedding, CheckpointHead.Features })
        {
            var converted = MobileFaceNet.Convert(checkpoint, head, 16, "a file");
            Assert.Equal((name, id, certain), (converted.Layout.Name, converted.Layout.Id, converted.Layout.IsCertain));
            var model = ModelProto.Parser.ParseFrom(converted.Onnx);
            Assert.Equal((8, "face-embed", "MobileFaceNet", 17), (model.IrVersion, model.ProducerName, model.Graph.Name, model.OpsetImport.Single().Version));
            Assert.Equal("", model.OpsetImport.Single().Domain);
            Assert.Equal(
                [("source", "a file"), ("source_sha256", checkpoint.Sha256), ("layout", name), ("preprocessing", $"RGB, (x - [{mean}]) / [{std}], NCHW"), ("identity", head == CheckpointHead.Embedding ? "yes" : "no: pooled features of a network for something else")],
                model.MetadataProps.Select(m => (m.Key, m.Value)));
            Assert.Equal(["input: 1 [batch,3,16,16]", $"output: 1 [batch,{converted.Dimensions}]"], model.Graph.Input.Concat(model.Graph.Output).Select(Told));
            Assert.Equal(model.Graph.Node.Count, model.Graph.Node.Select(n => n.Name).Distinct().Count());
            Assert.Equal(model.Graph.Initializer.Count, model.Graph.Initializer.Select(t => t.Name).Distinct().Count());
            Assert.Equal(Enumerable.Range(0, model.Graph.Node.Count).Select(i => $"_{i}"), model.Graph.Node.Select(n => n.Name[n.Name.IndexOf('_', StringComparison.Ordinal)..]));
        }

        static string Told(ValueInfoProto value) => $"{value.Name}: {value.Type.TensorType.ElemType} [{string.Join(',', value.Type.TensorType.Shape.Dim.Select(d => d.DimParam.Length > 0 ? d.DimParam : $"{d.DimValue}"))}]";
    }

    [Theory]
    [InlineData("numbered", "conv1.conv.weight", null, "The checkpoint lacks the tensor 'conv1.conv.weight' [any,3,3,3]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("numbered", "conv1.conv.weight", "2,3,3,1", "The tensor 'conv1.conv.weight' is [2,3,3,1], and [any,3,3,3] is needed there.")]
    [InlineData("numbered", "conv1.conv.weight", "2,3,3", "The tensor 'conv1.conv.weight' is [2,3,3], and [any,3,3,3] is needed there.")]
    [InlineData("numbered", "conv1.conv.weight", "0,3,3,3", "The tensor 'conv1.conv.weight' is [0,3,3,3], and [any,3,3,3] is needed there.")]
    [InlineData("numbered", "dw_conv1.conv.weight", "2,1,1,1", "The tensor 'dw_conv1.conv.weight' is [2,1,1,1], and [2,1,3,3] is needed there.")]
    [InlineData("numbered", "dw_conv1.conv.weight", "3,1,3,3", "The tensor 'dw_conv1.conv.weight' is [3,1,3,3], and [2,1,3,3] is needed there.")]
    [InlineData("numbered", "blocks.0.conv.0.weight", "4,2,3,3", "The tensor 'blocks.0.conv.0.weight' is [4,2,3,3], and [any,2,1,1] is needed there.")]
    [InlineData("numbered", "blocks.14.conv.3.weight", null, "The checkpoint lacks the tensor 'blocks.14.conv.3.weight' [4,1,3,3]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("numbered", "conv1.prelu.weight", "3", "The tensor 'conv1.prelu.weight' is [3], and [2] is needed there.")]
    [InlineData("numbered", "conv1.prelu.weight", "2,1", "The tensor 'conv1.prelu.weight' is [2,1], and [any] is needed there.")]
    [InlineData("numbered", "conv1.prelu.weight", null, "The checkpoint lacks the tensor 'conv1.prelu.weight' [any]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("numbered", "conv1.bn.running_mean", null, "The checkpoint lacks the tensor 'conv1.bn.running_mean' [2]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("numbered", "conv1.bn.weight", "3", "The tensor 'conv1.bn.weight' is [3], and [2] is needed there.")]
    [InlineData("numbered", "conv1.bn.bias", "3", "The tensor 'conv1.bn.bias' is [3], and [2] is needed there.")]
    [InlineData("numbered", "conv1.bn.running_var", "3", "The tensor 'conv1.bn.running_var' is [3], and [2] is needed there.")]
    [InlineData("numbered", "conv1.conv.bias", "3", "The tensor 'conv1.conv.bias' is [3], and [2] is needed there.")]
    [InlineData("numbered", "linear1.conv.weight", null, "The checkpoint lacks the tensor 'linear1.conv.weight': it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("numbered", "linear1.conv.weight", "", "The tensor 'linear1.conv.weight' is [], and [any,4] is needed there.")]
    [InlineData("numbered", "linear1.conv.weight", "3,5", "The tensor 'linear1.conv.weight' is [3,5], and [any,4] is needed there.")]
    [InlineData("numbered", "linear1.conv.weight", "3,5,1,1", "The tensor 'linear1.conv.weight' is [3,5,1,1], and [any,4,1,1] is needed there.")]
    [InlineData("numbered", "linear1.conv.weight", "136,4", "The checkpoint has 136 outputs: it is a regressor of 68 landmarks, not an identity embedding, and its vectors would not tell people apart. To export its pooled features all the same, say --head features.")]
    [InlineData("numbered", "linear7.conv.weight", "4,2,1,1", "The tensor 'linear7.conv.weight' is [4,2,1,1], and [4,1,any,any] is needed there.")]
    [InlineData("numbered", "linear7.conv.weight", "4,1,65,1", "The last convolution takes 65 x 1 values, which no picture of up to 1,024 pixels leaves.")]
    [InlineData("numbered", "linear7.conv.weight", "4,1,1,65", "The last convolution takes 1 x 65 values, which no picture of up to 1,024 pixels leaves.")]
    [InlineData("numbered", "head.weight", "1", "The checkpoint has the tensor 'head.weight' [1], which no layer of Xiaoccer's MobileFaceNet takes: it is another network.")]
    [InlineData("staged", "conv_3.model.2.conv.conv.weight", "4,2,1,1", "The checkpoint lacks the tensor 'conv_3.model.2.conv.bn.weight' [4]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("staged", "conv_3.model.999.x", "1", "The checkpoint lacks the tensor 'conv_3.model.2.conv.conv.weight' [any,2,1,1]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.")]
    [InlineData("staged", "conv_3.model.1000.x", "1", "The checkpoint has the tensor 'conv_3.model.1000.x' [1], which no layer of cunjian's and TreB1eN's MobileFaceNet takes: it is another network.")]
    [InlineData("staged", "conv_3.model.-1.x", "1", "The checkpoint has the tensor 'conv_3.model.-1.x' [1], which no layer of cunjian's and TreB1eN's MobileFaceNet takes: it is another network.")]
    public void A_tensor_that_is_not_as_it_must_be_is_named(string layout, string name, string? shape, string told)
    {
        var tensors = new Network(layout, new Random(1), (1, 1), plain: true).Tensors;
        tensors.Remove(name);
        if (shape is not null)
        {
            long[] sizes = [.. shape.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(long.Parse)];
            tensors[name] = new Tensor(sizes, new float[sizes.Aggregate(1L, (a, b) => a * b)]);
        }

        Assert.Equal(told, Refusal(tensors));
    }

    [Fact]
    public void A_block_gives_as_many_channels_as_it_is_added_to()
    {
        var tensors = new Network("numbered", new Random(1), (1, 1), plain: true).Tensors;
        tensors["blocks.1.conv.6.weight"] = new Tensor([3, 4, 1, 1], new float[12]);
        foreach (var name in new[] { "weight", "bias", "running_mean", "running_var" })
        {
            tensors[$"blocks.1.conv.7.{name}"] = new Tensor([3], new float[3]);
        }

        Assert.Equal("The tensor 'blocks.1.conv.6.weight' has 3 outputs, and is added to 2 channels.", Refusal(tensors));
    }

    [Theory]
    [InlineData("conv1.conv.weight", float.NaN, "The tensor 'conv1.conv.weight' [2,3,3,3] has values that are not finite (NaN, infinite, or beyond float32): its training diverged, or the file is damaged. Take an earlier checkpoint.")]
    [InlineData("conv1.prelu.weight", float.PositiveInfinity, "The tensor 'conv1.prelu.weight' [2] has values that are not finite (NaN, infinite, or beyond float32): its training diverged, or the file is damaged. Take an earlier checkpoint.")]
    [InlineData("dw_conv1.bn.running_var", -1e-9f, "The tensor 'dw_conv1.bn.running_var' has negative values, and a variance has none: the file is damaged. Get it again, or take another checkpoint.")]
    [InlineData("dw_conv1.bn.running_var", 0f, null)]
    [InlineData("dw_conv1.bn.weight", -1f, null)]
    public void A_value_that_no_training_gives_is_told(string name, float value, string? told)
    {
        var tensors = new Network("numbered", new Random(1), (1, 1), plain: true).Tensors;
        tensors[name].Values[^1] = value;
        if (told is null)
        {
            var converted = ModelProto.Parser.ParseFrom(MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Auto, null, "x").Onnx);
            Assert.All(converted.Graph.Initializer, t => Assert.All(Weights.Values(t)!, v => Assert.True(float.IsFinite(v), t.Name)));
            return;
        }

        Assert.Equal(told, Refusal(tensors));
    }

    [Theory]
    [InlineData(1, 1, 16, null)]
    [InlineData(1, 1, 1, null)] // a picture of one pixel leaves one value
    [InlineData(1, 1, 17, "An input of 17 x 17 leaves 2 x 2 values, and the embedding's last convolution takes exactly 1 x 1: use --input-size 16, or --head features.")]
    [InlineData(2, 2, 32, null)]
    [InlineData(2, 2, 17, null)]
    [InlineData(2, 2, 16, "An input of 16 x 16 leaves 1 x 1 values before the last convolution, which takes 2 x 2: use --input-size 32 or more.")]
    [InlineData(2, 2, 33, "An input of 33 x 33 leaves 3 x 3 values, and the embedding's last convolution takes exactly 2 x 2: use --input-size 32, or --head features.")]
    [InlineData(2, 1, 32, "An input of 32 x 32 leaves 2 x 2 values, and the embedding's last convolution takes exactly 1 x 2: leave --input-size out, for 16 x 32, or --head features.")]
    [InlineData(2, 1, 16, "An input of 16 x 16 leaves 1 x 1 values before the last convolution, which takes 1 x 2: leave --input-size out, for 16 x 32.")]
    [InlineData(1, 2, 16, "An input of 16 x 16 leaves 1 x 1 values before the last convolution, which takes 2 x 1: leave --input-size out, for 32 x 16.")]
    public void A_size_fits_the_last_convolution(int high, int wide, int side, string? told)
    {
        var tensors = new Network("numbered", new Random(1), (high, wide)).Tensors;
        if (told is null)
        {
            var converted = MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Auto, side, "x");
            Assert.Equal((side, side), (converted.Height, converted.Width));
            return;
        }

        Assert.Equal(told, Refusal(tensors, side));
        if (told.EndsWith("--head features.", StringComparison.Ordinal))
        {
            Assert.Equal(side, MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Features, side, "x").Width);
        }
        else
        {
            Assert.Equal(told, Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Features, side, "x")).Message);
        }
    }

    [Fact]
    public void The_largest_last_convolution_is_of_the_largest_picture()
    {
        var tensors = new Network("numbered", new Random(1), (64, 64)).Tensors;
        Assert.Equal((1024, 1024), MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Auto, null, "x") is var c ? (c.Height, c.Width) : default);
    }

    /// <summary>A regressor's features can be had; the last layers are not looked at then.</summary>
    [Fact]
    public void Pooled_features_leave_the_last_layer_out()
    {
        var network = new Network("numbered", new Random(1), (1, 1));
        network.Tensors["linear1.conv.weight"] = new Tensor([136, 9], new float[136 * 9]);
        network.Tensors["linear1.bn.odd"] = new Tensor([1], [float.NaN]);
        var converted = MobileFaceNet.Convert(Checkpoint.Of(network.Tensors), CheckpointHead.Features, null, "x");
        Assert.Equal((Network.Features, false), (converted.Dimensions, converted.Identity));
        Assert.Equal(["GlobalAveragePool", "Flatten"], ModelProto.Parser.ParseFrom(converted.Onnx).Graph.Node.TakeLast(2).Select(n => n.OpType));
        network.Tensors["head.weight"] = new Tensor([1], [1]);
        Assert.Contains("'head.weight' [1], which no layer of", Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(network.Tensors), CheckpointHead.Features, null, "x")).Message, StringComparison.Ordinal);
        Assert.DoesNotContain(ModelProto.Parser.ParseFrom(converted.Onnx).Graph.Initializer, t => t.Name.StartsWith("linear1", StringComparison.Ordinal) || t.Name == "linear.weight");
    }

    [Theory]
    [InlineData("a MobileFaceNet with separate last layers (layer1, layer2, layer3, dw7, linear)", "layer3.0.conv1.conv.weight", "dw7.weight")]
    [InlineData("an IR-SE ResNet of TreB1eN/InsightFace_Pytorch", "input_layer.0.weight", "body.0.res_layer.1.weight")]
    [InlineData("an IResNet of InsightFace's arcface_torch", "layer1.0.prelu.weight", "features.running_mean")]
    [InlineData("facenet-pytorch's InceptionResnetV1", "conv2d_1a.conv.weight", "last_linear.weight")]
    [InlineData("a RetinaFace detector", "fpn.output1.0.weight", "ClassHead.0.conv1x1.weight")]
    [InlineData("a ResNet of torchvision", "layer1.0.conv1.weight", "fc.weight")]
    [InlineData("a MobileNetV2 of torchvision", "features.1.conv.0.0.weight", "classifier.1.weight")]
    public void Another_network_is_known_by_both_of_its_tensors(string name, string one, string other)
    {
        const string next = "Of checkpoints, MobileFaceNets of 4 layouts are converted (models/README.md); export any other network where it was trained, with torch.onnx.export, and write a card for the ONNX file.";
        Assert.Equal($"It is {name}, which is not converted here. {next}", Refusal(Named(one, "more", other)));
        Assert.Equal($"Its one tensor is named '{one}', as in no network that is converted here. {next}", Refusal(Named(one)));
        Assert.Equal($"Its 4 tensors are named like '{other}', 'a', 'b', as in no network that is converted here. {next}", Refusal(Named(other, "a", "b", "c")));

        static Dictionary<string, Tensor> Named(params string[] names) => names.ToDictionary(n => n, _ => new Tensor([1], [1]));
    }

    [Fact]
    public void Where_another_network_lies_is_told()
    {
        var (root, inner) = (new PickledDictionary(), new PickledDictionary());
        root.Set("net", inner);
        inner.Set("a.weight", Checkpoint.Lazy([1], [1f]));
        Assert.StartsWith("Its one tensor is named 'a.weight', as in no network that is converted here (under 'net'). Of checkpoints, ", Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(root), CheckpointHead.Auto, null, "x")).Message, StringComparison.Ordinal);
    }

    private static string Refusal(Dictionary<string, Tensor> tensors, int? side = null) => Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Auto, side, "x")).Message;

    private static void Same(double[] expected, float[] actual, string of)
    {
        var largest = expected.Max(Math.Abs);
        Assert.Equal(expected.Length, actual.Length);
        Assert.True(largest > 1e-3, $"{of}: nothing is left"); // or anything would be the same
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= 1e-4 * largest, $"{of}: value {i} is {actual[i]} and not {expected[i]}");
        }
    }

    private static float[] Run(ConvertedModel model, float[] picture, int height, int width)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1, GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL };
        using var session = new InferenceSession(model.Onnx, options);
        using var value = OrtValue.CreateTensorValueFromMemory(picture, [1, 3, height, width]);
        using var run = new RunOptions();
        using var outputs = session.Run(run, ["input"], [value], ["output"]);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>Tensors by the names that a family's own code gives them, and what it does with them.</summary>
    private sealed class Network
    {
        private const int Narrow = 2;
        private const int Wide = 4;

        private readonly Random random;
        private readonly bool capped;
        private readonly bool plain;
        private readonly List<Func<double[][,], double[][,]>> layers = [];
        private Func<double[], double[]> last = null!;

        /// <param name="plain">Every convolution has its batch norm and no bias, each channel a slope of its own.</param>
        public Network(string layout, Random random, (int Height, int Width) kernel, bool plain = false)
        {
            this.random = random;
            this.plain = plain;
            (Kernel, capped) = (kernel, layout == "capped");
            var staged = layout.StartsWith("staged", StringComparison.Ordinal);
            if (capped)
            {
                Convolution("conv1.0", "conv1.1", null, 3, Narrow, 3, 2);
                Convolution("dw_conv.depthwise", "dw_conv.bn1", null, Narrow, 0, 3);
                Convolution("dw_conv.pointwise", "dw_conv.bn2", null, Narrow, Narrow, 1);
            }
            else
            {
                Unit("conv1", 3, Narrow, 3, 2);
                Unit(staged ? "conv2_dw" : "dw_conv1", Narrow, 0, 3);
            }

            if (staged)
            {
                Block("conv_23", 2);
                Block("conv_3.model.0", 1);
                Block("conv_3.model.1", 1);
                Block("conv_34", 2);
                Block("conv_4.model.0", 1);
                Block("conv_45", 2);
                Block("conv_5.model.0", 1);
                Block("conv_5.model.1", 1);
                Unit("conv_6_sep", Narrow, Wide, 1);
            }
            else
            {
                int[] strides = [2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1];
                for (var i = 0; i < strides.Length; i++)
                {
                    Block(capped ? $"features.{i}.conv" : $"blocks.{i}.conv", strides[i], numbered: true);
                }

                if (capped)
                {
                    Convolution("conv2.0", "conv2.1", null, Narrow, Wide, 1);
                }
                else
                {
                    Unit("conv2", Narrow, Wide, 1);
                }
            }

            var (global, norm, linear, lastNorm) = layout switch
            {
                "staged" => ("output_layer.conv_6_dw.conv", "output_layer.conv_6_dw.bn", "output_layer.linear", "output_layer.bn"),
                "staged own" => ("conv_6_dw.conv", "conv_6_dw.bn", "linear", "bn"),
                "numbered" => ("linear7.conv", "linear7.bn", "linear1.conv", "linear1.bn"),
                _ => ("gdconv.depthwise", "gdconv.bn", "conv3", "bn"),
            };
            Convolution(global, norm, "", Wide, 0, 0);
            Linear(linear, lastNorm);
        }

        public Dictionary<string, Tensor> Tensors { get; } = [];

        public (int Height, int Width) Kernel { get; }

        public static int Features => Wide;

        public static int Dimensions => 3;

        public double[] Compute(float[] picture, int height, int width, bool pooled)
        {
            var value = Enumerable.Range(0, 3).Select(c =>
            {
                var plane = new double[height, width];
                for (var i = 0; i < height * width; i++)
                {
                    plane[i / width, i % width] = picture[c * height * width + i];
                }

                return plane;
            }).ToArray();
            value = layers.Aggregate(value, (v, layer) => layer(v));
            return pooled ? [.. value.Select(plane => plane.Cast<double>().Average())] : last([.. value.Select(plane => plane[0, 0])]);
        }

        private void Unit(string prefix, int channels, int outputs, int kernel, int stride = 1) => Convolution($"{prefix}.conv", $"{prefix}.bn", $"{prefix}.prelu", channels, outputs, kernel, stride);

        private void Block(string prefix, int stride, bool numbered = false)
        {
            var from = layers.Count;
            if (!numbered)
            {
                Unit($"{prefix}.conv", Narrow, Wide, 1);
                Unit($"{prefix}.conv_dw", Wide, 0, 3, stride);
                Convolution($"{prefix}.project.conv", $"{prefix}.project.bn", "", Wide, Narrow, 1);
            }
            else if (capped)
            {
                Convolution($"{prefix}.0.0", $"{prefix}.0.1", null, Narrow, Wide, 1);
                Convolution($"{prefix}.1.0", $"{prefix}.1.1", null, Wide, 0, 3, stride);
                Convolution($"{prefix}.2", $"{prefix}.3", "", Wide, Narrow, 1);
            }
            else
            {
                Convolution($"{prefix}.0", $"{prefix}.1", $"{prefix}.2", Narrow, Wide, 1);
                Convolution($"{prefix}.3", $"{prefix}.4", $"{prefix}.5", Wide, 0, 3, stride);
                Convolution($"{prefix}.6", $"{prefix}.7", "", Wide, Narrow, 1);
            }

            if (stride == 1)
            {
                var inner = layers[from..];
                layers.RemoveRange(from, inner.Count);
                layers.Add(value => inner.Aggregate(value, (v, layer) => layer(v)).Zip(value, Added).ToArray());
            }

            static double[,] Added(double[,] a, double[,] b)
            {
                var sum = new double[a.GetLength(0), a.GetLength(1)];
                for (var i = 0; i < sum.Length; i++)
                {
                    var (y, x) = (i / sum.GetLength(1), i % sum.GetLength(1));
                    sum[y, x] = a[y, x] + b[y, x];
                }

                return sum;
            }
        }

        /// <param name="slopes">null: cut to 0 to 6; empty: as it is.</param>
        /// <param name="outputs">0: each channel for itself.</param>
        /// <param name="kernel">0: the last one's.</param>
        private void Convolution(string name, string norm, string? slopes, int channels, int outputs, int kernel, int stride = 1)
        {
            var apart = outputs == 0;
            var (made, each) = (apart ? channels : outputs, apart ? 1 : channels);
            var (high, wide) = kernel == 0 ? Kernel : (kernel, kernel);
            var weights = Add($"{name}.weight", [made, each, high, wide], 0.7);
            var (scale, shift) = Normed(name, norm, made);
            var slope = slopes is { Length: > 0 } ? Add($"{slopes}.weight", !plain && random.Next(4) == 0 ? [1] : [made], 0.5) : null;
            var pad = kernel == 3 ? 1 : 0;
            layers.Add(value => [.. Enumerable.Range(0, made).Select(o =>
            {
                var (height, width) = (value[0].GetLength(0), value[0].GetLength(1));
                var plane = new double[(height + 2 * pad - high) / stride + 1, (width + 2 * pad - wide) / stride + 1];
                for (var i = 0; i < plane.Length; i++)
                {
                    var (y, x, sum) = (i / plane.GetLength(1), i % plane.GetLength(1), 0.0);
                    for (var k = 0; k < each * high * wide; k++)
                    {
                        var (channel, v, u) = (apart ? o : k / (high * wide), y * stride + k / wide % high - pad, x * stride + k % wide - pad);
                        sum += v >= 0 && v < height && u >= 0 && u < width ? value[channel][v, u] * weights[o * each * high * wide + k] : 0;
                    }

                    sum = sum * scale[o] + shift[o];
                    plane[y, x] = slopes is null ? Math.Clamp(sum, 0, 6) : slope is null || sum >= 0 ? sum : sum * slope[slope.Length == 1 ? 0 : o];
                }

                return plane;
            })]);
        }

        private void Linear(string name, string norm)
        {
            var weights = Add($"{name}.weight", plain || random.Next(2) == 0 ? [Dimensions, Wide] : [Dimensions, Wide, 1, 1], 0.7);
            var (scale, shift) = Normed(name, norm, Dimensions);
            last = value => [.. Enumerable.Range(0, Dimensions).Select(o => value.Select((v, c) => v * weights[o * Wide + c]).Sum() * scale[o] + shift[o])];
        }

        /// <summary>A batch norm, with or without a bias of the convolution before it; or that bias alone.</summary>
        private (double[] Scale, double[] Shift) Normed(string name, string norm, int channels)
        {
            var kind = plain ? 3 : random.Next(6);
            var bias = kind is 0 or 1 ? Add($"{name}.bias", [channels], 0.3) : new float[channels];
            if (kind == 0)
            {
                return ([.. Enumerable.Repeat(1.0, channels)], Array.ConvertAll(bias, b => (double)b));
            }

            var (weight, offset) = (Add($"{norm}.weight", [channels], 0.4, 1), Add($"{norm}.bias", [channels], 0.3));
            var (mean, variance) = (Add($"{norm}.running_mean", [channels], 0.3), Add($"{norm}.running_var", [channels], 0.4, 1));
            if (kind == 2)
            {
                Add($"{norm}.num_batches_tracked", [], 0);
            }

            var scale = weight.Select((w, c) => w / Math.Sqrt(variance[c] + 1e-5)).ToArray();
            return (scale, [.. scale.Select((s, c) => (bias[c] - mean[c]) * s + offset[c])]);
        }

        private float[] Add(string name, long[] shape, double spread, double middle = 0)
        {
            var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = (float)(middle + (random.NextDouble() * 2 - 1) * spread);
            }

            Tensors[name] = new Tensor(shape, values);
            return values;
        }
    }
}
