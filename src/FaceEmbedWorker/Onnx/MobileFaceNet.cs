using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;

namespace FaceEmbedWorker.Onnx;

/// <summary>Which output of the network becomes the model's.</summary>
internal enum CheckpointHead
{
    /// <summary>The embedding, where the checkpoint holds one.</summary>
    Auto,

    /// <summary>The embedding: [batch, E].</summary>
    Embedding,

    /// <summary>The pooled features before the last layer: [batch, 512] in the original, at any input size. Not an identity.</summary>
    Features,
}

/// <summary>A network as an ONNX file.</summary>
/// <param name="Input">[batch, 3, <paramref name="Size"/>, <paramref name="Size"/>].</param>
internal sealed record ConvertedModel(byte[] Onnx, string Input, string Output, int Size, int Dimensions, bool Identity);

/// <summary>
/// Builds the ONNX graph of a MobileFaceNet (Chen et al. 2018, in the layout of cunjian/pytorch_face_landmark and
/// TreB1eN/InsightFace_Pytorch) from a checkpoint's tensors, whose shapes say how wide and how deep it is. Batch norms are folded into the
/// convolutions before them.
/// </summary>
internal static class MobileFaceNet
{
    /// <summary>Values of 68 landmarks.</summary>
    private const int LandmarkValues = 136;

    private const int Strides = 16; // four layers halve the picture
    private const string Input = "input";

    /// <param name="size">Side of the input picture in pixels; null: what the last convolution takes, 112 in the original.</param>
    /// <param name="source">Where the checkpoint came from, for the file's metadata.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, left over or of another shape; or it is no identity network.</exception>
    public static ConvertedModel Convert(Checkpoint checkpoint, CheckpointHead head, int? size, string source)
    {
        var builder = new Builder(checkpoint.Tensors);
        var (value, channels) = Trunk(builder);

        var outer = checkpoint.Tensors.Keys.Any(k => k.StartsWith("output_layer.", StringComparison.Ordinal)) ? "output_layer." : "";
        var kernel = builder.Peek($"{outer}conv_6_dw.conv.weight", channels, 1, null, null).Shape[2];
        var linear = builder.Peek($"{outer}linear.weight", null, channels);
        var wanted = (int)kernel * Strides;
        var side = size ?? wanted;
        var map = (side + Strides - 1) / Strides;
        if (map < kernel)
        {
            throw new InvalidDataException($"An input of {side} x {side} leaves {map} x {map} values before the last convolution, which takes {kernel} x {kernel}: use --input-size {wanted} or more.");
        }

        var identity = head != CheckpointHead.Features;
        if (identity && linear.Shape[0] == LandmarkValues)
        {
            throw new InvalidDataException($"The checkpoint has {LandmarkValues} outputs: it is a regressor of 68 landmarks, not an identity embedding, and its vectors would not tell people apart. "
                + "To export its pooled features all the same, say --head features.");
        }

        if (identity && map != kernel)
        {
            throw new InvalidDataException($"An input of {side} x {side} leaves {map} x {map} values, and the embedding's last convolution takes exactly {kernel} x {kernel}: use --input-size {wanted}, or --head features.");
        }

        value = builder.Convolution(value, $"{outer}conv_6_dw", channels, depthwise: true, stride: 1, pad: 0, kernel: (int)kernel).Value;
        var dimensions = identity ? (int)linear.Shape[0] : (int)channels;
        if (identity)
        {
            builder.Linear(value, outer, channels);
        }
        else
        {
            builder.Node("Flatten", "output", builder.Node("GlobalAveragePool", null, value));
            builder.Ignore($"{outer}linear.", $"{outer}bn.");
        }

        builder.NothingLeft();
        return new ConvertedModel(builder.Finish(side, dimensions, checkpoint.Sha256, source, identity), Input, "output", side, dimensions, identity);
    }

    /// <summary>Everything before the head.</summary>
    private static (string Value, long Channels) Trunk(Builder builder)
    {
        var (value, channels) = builder.Convolution(Input, "conv1", 3, depthwise: false, stride: 2, pad: 1, kernel: 3);
        (value, channels) = builder.Convolution(value, "conv2_dw", channels, depthwise: true, stride: 1, pad: 1, kernel: 3);
        foreach (var (down, residual) in new[] { ("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5") })
        {
            (value, channels) = Bottleneck(builder, value, channels, down, stride: 2);
            for (var block = 0; block < builder.Blocks(residual); block++)
            {
                var prefix = string.Create(CultureInfo.InvariantCulture, $"{residual}.model.{block}");
                var (inner, wide) = Bottleneck(builder, value, channels, prefix, stride: 1);
                if (wide != channels)
                {
                    throw new InvalidDataException($"The tensor '{prefix}.project.conv.weight' has {wide} outputs, and is added to {channels} channels.");
                }

                value = builder.Node("Add", null, value, inner);
            }
        }

        return builder.Convolution(value, "conv_6_sep", channels, depthwise: false, stride: 1, pad: 0, kernel: 1);
    }

    private static (string Value, long Channels) Bottleneck(Builder builder, string value, long channels, string prefix, int stride)
    {
        (value, channels) = builder.Convolution(value, $"{prefix}.conv", channels, depthwise: false, stride: 1, pad: 0, kernel: 1);
        (value, channels) = builder.Convolution(value, $"{prefix}.conv_dw", channels, depthwise: true, stride, pad: 1, kernel: 3);
        return builder.Convolution(value, $"{prefix}.project", channels, depthwise: false, stride: 1, pad: 0, kernel: 1);
    }

    private sealed class Builder(IReadOnlyDictionary<string, Tensor> tensors)
    {
        private const int Float = 1;
        private const double Epsilon = 1e-5; // of PyTorch's batch norm

        private readonly GraphProto graph = new() { Name = "MobileFaceNet" };
        private readonly HashSet<string> used = [];
        private int count;

        /// <summary>How many residual blocks a stage has.</summary>
        public int Blocks(string stage) => tensors.Keys.Where(k => k.StartsWith($"{stage}.model.", StringComparison.Ordinal))
            .Select(k => int.TryParse(k.Split('.')[2], NumberStyles.None, CultureInfo.InvariantCulture, out var block) && block < 1000 ? block + 1 : 0).DefaultIfEmpty().Max();

        /// <summary>A tensor that must be there. A size of null is any.</summary>
        public Tensor Peek(string name, params long?[] shape)
        {
            if (!tensors.TryGetValue(name, out var tensor))
            {
                throw new InvalidDataException($"The checkpoint lacks the tensor '{name}' [{Text(shape)}]: it is no MobileFaceNet of the kind that is converted here, or not a whole one.");
            }

            return tensor.Shape.Length == shape.Length && tensor.Shape.Zip(shape).All(s => s.First > 0 && (s.Second is null || s.First == s.Second))
                ? tensor
                : throw new InvalidDataException($"The tensor '{name}' is {tensor}, and [{Text(shape)}] is needed there.");

            static string Text(long?[] shape) => string.Join(',', shape.Select(s => s?.ToString(CultureInfo.InvariantCulture) ?? "any"));
        }

        public Tensor Take(string name, params long?[] shape)
        {
            used.Add(name);
            return Peek(name, shape);
        }

        public void Ignore(params string[] prefixes) => used.UnionWith(tensors.Keys.Where(k => Array.Exists(prefixes, p => k.StartsWith(p, StringComparison.Ordinal))));

        /// <exception cref="InvalidDataException">A tensor that no layer takes.</exception>
        public void NothingLeft()
        {
            foreach (var (name, tensor) in tensors.Where(t => !used.Contains(t.Key)))
            {
                throw new InvalidDataException($"The checkpoint has the tensor '{name}' {tensor}, which no layer of a MobileFaceNet takes: it is another network.");
            }
        }

        /// <summary>A convolution with its batch norm, if any, folded in, and its PRelu, if any.</summary>
        public (string Value, long Channels) Convolution(string value, string prefix, long channels, bool depthwise, int stride, int pad, int kernel)
        {
            var weights = depthwise ? Take($"{prefix}.conv.weight", channels, 1, kernel, kernel) : Take($"{prefix}.conv.weight", null, channels, kernel, kernel);
            var outputs = weights.Shape[0];
            var (scale, shift) = Folded($"{prefix}.conv.bias", $"{prefix}.bn", outputs);
            var node = AddNode("Conv", null, [value, Constant($"{prefix}.weight", weights.Shape, Scaled(weights, scale)), Constant($"{prefix}.bias", [outputs], shift)]);
            node.Attribute.Add([Ints("kernel_shape", kernel, kernel), Ints("strides", stride, stride), Ints("pads", pad, pad, pad, pad), Int("group", depthwise ? channels : 1)]);
            value = node.Output[0];
            if (tensors.ContainsKey($"{prefix}.prelu.weight"))
            {
                var slope = Peek($"{prefix}.prelu.weight", (long?)null);
                slope = Take($"{prefix}.prelu.weight", slope.Shape[0] == 1 ? 1 : outputs);
                value = Node("PRelu", null, value, Constant($"{prefix}.slope", [slope.Shape[0], 1, 1], slope.Values));
            }

            return (value, outputs);
        }

        /// <summary>The last layer and its batch norm.</summary>
        public void Linear(string value, string outer, long channels)
        {
            var weights = Take($"{outer}linear.weight", null, channels);
            var outputs = weights.Shape[0];
            var (scale, shift) = Folded($"{outer}linear.bias", $"{outer}bn", outputs);
            var gemm = AddNode("Gemm", "output", [Node("Flatten", null, value), Constant("linear.weight", weights.Shape, Scaled(weights, scale)), Constant("linear.bias", [outputs], shift)]);
            gemm.Attribute.Add(Int("transB", 1));
        }

        public string Node(string type, string? output, params string[] inputs) => AddNode(type, output, inputs).Output[0];

        public byte[] Finish(int side, int dimensions, string sha256, string source, bool identity)
        {
            graph.Input.Add(Value(Input, 3, side, side));
            graph.Output.Add(Value("output", dimensions));
            var model = new ModelProto
            {
                IrVersion = 8,
                ProducerName = "face-embed",
                Graph = graph,
                OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 17 } },
            };
            foreach (var (key, text) in new[] { ("source", source), ("source_sha256", sha256), ("preprocessing", "RGB, (x - 127.5) / 127.5, NCHW"), ("identity", identity ? "yes" : "no: pooled features of a network for something else") })
            {
                model.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = text });
            }

            return model.ToByteArray();
        }

        /// <summary>What a bias and a batch norm do, as a factor and a summand a channel.</summary>
        private (double[] Scale, float[] Shift) Folded(string bias, string norm, long channels)
        {
            var shift = tensors.ContainsKey(bias) ? Array.ConvertAll(Take(bias, channels).Values, v => (double)v) : new double[channels];
            var scale = Enumerable.Repeat(1.0, (int)channels).ToArray();
            if (tensors.Keys.Any(k => k.StartsWith($"{norm}.", StringComparison.Ordinal)) || !tensors.ContainsKey(bias))
            {
                var (weight, offset) = (Take($"{norm}.weight", channels), Take($"{norm}.bias", channels));
                var (mean, variance) = (Take($"{norm}.running_mean", channels), Take($"{norm}.running_var", channels));
                used.Add($"{norm}.num_batches_tracked");
                for (var c = 0; c < channels; c++)
                {
                    scale[c] = weight.Values[c] / Math.Sqrt(variance.Values[c] + Epsilon);
                    shift[c] = (shift[c] - mean.Values[c]) * scale[c] + offset.Values[c];
                }
            }

            return (scale, Array.ConvertAll(shift, v => (float)v));
        }

        private static float[] Scaled(Tensor tensor, double[] scale)
        {
            var perChannel = tensor.Values.Length / scale.Length;
            var scaled = new float[tensor.Values.Length];
            for (var i = 0; i < scaled.Length; i++)
            {
                scaled[i] = (float)(tensor.Values[i] * scale[i / perChannel]);
            }

            return scaled;
        }

        private NodeProto AddNode(string type, string? output, params string[] inputs)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"{type}_{count++}");
            var node = new NodeProto { OpType = type, Name = name, Input = { inputs }, Output = { output ?? name } };
            graph.Node.Add(node);
            return node;
        }

        private string Constant(string name, long[] shape, float[] values)
        {
            graph.Initializer.Add(new TensorProto { Name = name, DataType = Float, Dims = { shape }, RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(values.AsSpan())) });
            return name;
        }

        private static AttributeProto Int(string name, long value) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value };

        private static AttributeProto Ints(string name, params long[] values) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Ints, Ints = { values } };

        /// <summary>float32 [batch, sizes].</summary>
        private static ValueInfoProto Value(string name, params long[] sizes)
        {
            var shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimParam = "batch" } } };
            shape.Dim.Add(sizes.Select(s => new TensorShapeProto.Types.Dimension { DimValue = s }));
            return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = Float, Shape = shape } } };
        }
    }
}
