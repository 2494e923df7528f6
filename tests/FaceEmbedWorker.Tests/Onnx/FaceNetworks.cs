using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>Networks of the size and the build of those that 8 bits are for. No weights of theirs are here.</summary>
internal static class FaceNetworks
{
    private const int Float = 1;

    /// <summary>
    /// The shipped embedder with each depthwise 3 x 3 convolution written as a full one, zero between channels: it computes the same
    /// vectors with the multiply-adds of a ResNet.
    /// </summary>
    public static byte[] Dense(byte[] shipped)
    {
        var model = ModelProto.Parser.ParseFrom(shipped);
        var weights = Weights.Of(model.Graph);
        foreach (var node in model.Graph.Node.Where(n => n.OpType == "Conv"))
        {
            var (tensor, group) = (weights[node.Input[1]], node.Attribute.First(a => a.Name == "group"));
            if (group.I > 1 && tensor.Dims is [var channels, 1, 3, 3])
            {
                var (narrow, full) = (Weights.Values(tensor)!, new float[channels * channels * 9]);
                for (var c = 0; c < channels; c++)
                {
                    narrow.AsSpan(c * 9, 9).CopyTo(full.AsSpan((int)(c * channels + c) * 9));
                }

                tensor.Dims[1] = channels;
                Weights.Write(tensor, full);
                group.I = 1;
            }
        }

        return model.ToByteArray();
    }

    /// <summary>
    /// An IResNet (Duta et al. 2020) as InsightFace exports it: batch norms in front of padded convolutions, behind convolutions and at the
    /// end, PRelu, shortcuts with and without a convolution. Weights are random, of a fixed seed, and of such a size that values neither
    /// grow nor vanish.
    /// </summary>
    /// <param name="blocks">How many in each stage; each stage halves the sides.</param>
    public static byte[] IResNet(int size, int width, int[] blocks, int dimensions, int opset = 11, int seed = 1, bool weightsAsInputs = false)
    {
        var builder = new Builder(seed);
        var value = builder.PRelu(builder.Conv("data", 3, width, 3, 1), width);
        var (channels, side) = (width, size);
        for (var stage = 0; stage < blocks.Length; stage++)
        {
            for (var block = 0; block < blocks[stage]; block++)
            {
                var (stride, outputs) = (block == 0 ? 2 : 1, width << stage);
                var inner = builder.PRelu(builder.Norm(builder.Conv(builder.Norm(value, channels), channels, outputs, 3, 1), outputs), outputs);
                inner = builder.Norm(builder.Conv(inner, outputs, outputs, 3, stride), outputs, gain: 0.3);
                var shortcut = block > 0 ? value : builder.Norm(builder.Conv(value, channels, outputs, 1, 2), outputs);
                value = builder.Node("Add", inner, shortcut);
                channels = outputs;
            }

            side = (side + 1) / 2;
        }

        value = builder.Node("Dropout", builder.Norm(value, channels));
        var gemm = builder.Gemm(builder.Node("Flatten", value), channels * side * side, dimensions);
        return builder.Finish(builder.Norm(gemm, dimensions), size, dimensions, opset, weightsAsInputs);
    }

    private sealed class Builder(int seed)
    {
        private readonly Random random = new(seed);
        private readonly GraphProto graph = new() { Name = "iresnet" };

        public string Node(string type, params string[] inputs)
        {
            var node = new NodeProto { OpType = type, Input = { inputs }, Output = { $"{type}{graph.Node.Count}" } };
            graph.Node.Add(node);
            return node.Output[0];
        }

        public string Conv(string input, int channels, int outputs, int kernel, int stride)
        {
            var deviation = Math.Sqrt(2.0 / (channels * kernel * kernel));
            var output = Node("Conv", input, Constant([outputs, channels, kernel, kernel], () => deviation * Normal()), Constant([outputs], () => 0.1 * Normal()));
            var pad = kernel / 2;
            graph.Node[^1].Attribute.Add([Ints("kernel_shape", kernel, kernel), Ints("strides", stride, stride), Ints("pads", pad, pad, pad, pad)]);
            return output;
        }

        public string Norm(string input, int channels, double gain = 1) => Node("BatchNormalization", input, Constant([channels], () => gain * (0.7 + 0.6 * random.NextDouble())),
            Constant([channels], () => 0.2 * Normal()), Constant([channels], () => 0.2 * Normal()), Constant([channels], () => 0.7 + 0.6 * random.NextDouble()));

        public string PRelu(string input, int channels) => Node("PRelu", input, Constant([channels, 1, 1], () => 0.5 * random.NextDouble()));

        public string Gemm(string input, int inputs, int outputs)
        {
            var deviation = 1 / Math.Sqrt(inputs);
            var output = Node("Gemm", input, Constant([outputs, inputs], () => deviation * Normal()), Constant([outputs], () => 0.1 * Normal()));
            graph.Node[^1].Attribute.Add([new AttributeProto { Name = "transB", Type = AttributeProto.Types.AttributeType.Int, I = 1 }, new AttributeProto { Name = "alpha", Type = AttributeProto.Types.AttributeType.Float, F = 1 }]);
            return output;
        }

        public byte[] Finish(string output, int size, int dimensions, int opset, bool weightsAsInputs)
        {
            graph.Input.Add(Value("data", 0, 3, size, size));
            if (weightsAsInputs)
            {
                graph.Input.Add(graph.Initializer.Select(t => Value(t.Name, [.. t.Dims])));
            }

            graph.Output.Add(Value(output, 0, dimensions));
            return new ModelProto { IrVersion = weightsAsInputs ? 3 : 6, ProducerName = "pytorch", Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = opset } } }.ToByteArray();
        }

        private string Constant(long[] shape, Func<double> next)
        {
            var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = (float)next();
            }

            var tensor = new TensorProto { Name = $"w{graph.Initializer.Count}", DataType = Float, Dims = { shape } };
            Weights.Write(tensor, values);
            graph.Initializer.Add(tensor);
            return tensor.Name;
        }

        private double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

        private static AttributeProto Ints(string name, params long[] values) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Ints, Ints = { values } };

        private static ValueInfoProto Value(string name, params long[] sizes) => new()
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = Float, Shape = new TensorShapeProto { Dim = { sizes.Select(s => s > 0 ? new TensorShapeProto.Types.Dimension { DimValue = s } : new TensorShapeProto.Types.Dimension { DimParam = "batch" }) } } } },
        };
    }
}
