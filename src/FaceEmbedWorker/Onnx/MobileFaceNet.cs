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
/// <param name="Input">[batch, 3, <paramref name="Height"/>, <paramref name="Width"/>].</param>
internal sealed record ConvertedModel(byte[] Onnx, NetworkLayout Layout, string Input, string Output, int Height, int Width, int Dimensions, bool Identity);

/// <summary>
/// Builds the ONNX graph of a MobileFaceNet from a checkpoint's tensors, whose names say of which family it is
/// (<see cref="NetworkLayout"/>) and whose shapes say how wide and how deep. Batch norms are folded into the convolutions before them.
/// </summary>
internal static class MobileFaceNet
{
    /// <summary>Values of 68 landmarks.</summary>
    private const int LandmarkValues = 136;

    private const int Shrunk = 16; // four layers halve the picture
    private const string Input = "input";

    /// <param name="size">Side of the input picture in pixels; null: what the last convolution takes, 112 in the original.</param>
    /// <param name="source">Where the checkpoint came from, for the file's metadata.</param>
    /// <exception cref="InvalidDataException">
    /// A network that is not known; a tensor that is missing, left over or of another shape; or no identity network.
    /// </exception>
    public static ConvertedModel Convert(Checkpoint checkpoint, CheckpointHead head, int? size, string source)
    {
        var layout = NetworkLayout.Of(checkpoint.Tensors.Keys) ?? throw new InvalidDataException(
            $"{NetworkLayout.Describe([.. checkpoint.Tensors.Keys])}{(checkpoint.Key is null ? "" : $" (under '{checkpoint.Key}')")}. Of checkpoints, MobileFaceNets of {NetworkLayout.All.Count} layouts are converted (models/README.md); "
            + "export any other network where it was trained, with torch.onnx.export, and write a card for the ONNX file.");
        var builder = new Builder(checkpoint.Tensors);
        var (value, channels) = (Input, 3L);
        foreach (var step in layout.Steps[..^2])
        {
            (value, channels) = step is Blocks blocks ? builder.Blocks(value, channels, blocks) : builder.Convolution(value, channels, (Layer)step);
        }

        var (global, linear) = ((Layer)layout.Steps[^2], (Layer)layout.Steps[^1]);
        var kernel = builder.Peek($"{global.Weights}.weight", channels, 1, null, null).Shape;
        var outputs = builder.Peek($"{linear.Weights}.weight").Shape.FirstOrDefault();
        var identity = head != CheckpointHead.Features;
        if (identity && outputs == LandmarkValues)
        {
            throw new InvalidDataException($"The checkpoint has {LandmarkValues} outputs: it is a regressor of 68 landmarks, not an identity embedding, and its vectors would not tell people apart. "
                + "To export its pooled features all the same, say --head features.");
        }

        var (height, width) = Size(kernel, size, identity);
        (value, _) = builder.Convolution(value, channels, global);
        if (identity)
        {
            builder.Linear(value, channels, linear);
        }
        else
        {
            builder.Node("Flatten", "output", builder.Node("GlobalAveragePool", null, value));
            builder.Ignore($"{linear.Weights}.", $"{linear.Norm}.");
        }

        builder.NothingLeft(layout);
        var dimensions = identity ? (int)outputs : (int)channels;
        var metadata = new[]
        {
            ("source", source), ("source_sha256", checkpoint.Sha256), ("layout", layout.Name),
            ("preprocessing", FormattableString.Invariant($"RGB, (x - [{string.Join(", ", layout.Mean)}]) / [{string.Join(", ", layout.Std)}], NCHW")),
            ("identity", identity ? "yes" : "no: pooled features of a network for something else"),
        };
        return new ConvertedModel(builder.Finish(height, width, dimensions, metadata), layout, Input, "output", height, width, dimensions, identity);
    }

    /// <summary>The input's height and width: those that the last convolution takes, or of the side that is asked for.</summary>
    private static (int Height, int Width) Size(long[] kernel, int? side, bool identity)
    {
        var (high, wide) = ((int)kernel[2], (int)kernel[3]);
        if (high > 1024 / Shrunk || wide > 1024 / Shrunk)
        {
            throw new InvalidDataException($"The last convolution takes {high} x {wide} values, which no picture of up to 1,024 pixels leaves.");
        }

        var (height, width) = side is { } same ? (same, same) : (high * Shrunk, wide * Shrunk);
        var (rows, columns) = ((height + Shrunk - 1) / Shrunk, (width + Shrunk - 1) / Shrunk);
        var wanted = high == wide ? $"use --input-size {high * Shrunk}" : $"leave --input-size out, for {wide * Shrunk} x {high * Shrunk}";
        if (rows < high || columns < wide)
        {
            throw new InvalidDataException($"An input of {width} x {height} leaves {columns} x {rows} values before the last convolution, which takes {wide} x {high}: {wanted}{(high == wide ? " or more" : "")}.");
        }

        return !identity || (rows, columns) == (high, wide) ? (height, width)
            : throw new InvalidDataException($"An input of {width} x {height} leaves {columns} x {rows} values, and the embedding's last convolution takes exactly {wide} x {high}: {wanted}, or --head features.");
    }

    private sealed class Builder(IReadOnlyDictionary<string, Tensor> tensors)
    {
        private const int Float = 1;
        private const double Epsilon = 1e-5; // of PyTorch's batch norm
        private const int MostBlocks = 1000;

        private readonly GraphProto graph = new() { Name = "MobileFaceNet" };
        private readonly HashSet<string> used = [];
        private string[]? bounds;
        private int count;

        /// <summary>A tensor that must be there. A size of null is any, no sizes are any shape.</summary>
        public Tensor Peek(string name, params long?[] shape)
        {
            if (!tensors.TryGetValue(name, out var tensor))
            {
                throw new InvalidDataException($"The checkpoint lacks the tensor '{name}'{(shape.Length > 0 ? $" [{Text(shape)}]" : "")}: it is no MobileFaceNet of the kind that is converted here, or not a whole one.");
            }

            return shape.Length == 0 || tensor.Shape.Length == shape.Length && tensor.Shape.Zip(shape).All(s => s.First > 0 && (s.Second is null || s.First == s.Second))
                ? tensor
                : throw new InvalidDataException($"The tensor '{name}' is {tensor}, and [{Text(shape)}] is needed there.");

            static string Text(long?[] shape) => string.Join(',', shape.Select(s => s?.ToString(CultureInfo.InvariantCulture) ?? "any"));
        }

        public void Ignore(params string[] prefixes) => used.UnionWith(tensors.Keys.Where(k => Array.Exists(prefixes, p => k.StartsWith(p, StringComparison.Ordinal))));

        /// <exception cref="InvalidDataException">A tensor that no layer takes.</exception>
        public void NothingLeft(NetworkLayout layout)
        {
            foreach (var (name, tensor) in tensors.Where(t => !used.Contains(t.Key)))
            {
                throw new InvalidDataException($"The checkpoint has the tensor '{name}' {tensor}, which no layer of {layout.Name} takes: it is another network.");
            }
        }

        public (string Value, long Channels) Blocks(string value, long channels, Blocks blocks)
        {
            var strides = blocks.Strides ?? [.. Enumerable.Repeat(1, CountOf(blocks.Prefix))];
            for (var block = 0; block < strides.Length; block++)
            {
                var prefix = blocks.Prefix.Replace("*", block.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
                var (inner, wide) = Convolution(value, channels, Under(blocks.Wide));
                (inner, wide) = Convolution(inner, wide, Under(blocks.Depthwise) with { Stride = strides[block] });
                var narrow = Under(blocks.Narrow);
                (inner, wide) = Convolution(inner, wide, narrow);
                if (strides[block] == 1 && wide != channels)
                {
                    throw new InvalidDataException($"The tensor '{narrow.Weights}.weight' has {wide} outputs, and is added to {channels} channels.");
                }

                (value, channels) = (strides[block] == 1 ? Node("Add", null, value, inner) : inner, wide);

                Layer Under(Layer layer) => layer with { Weights = $"{prefix}.{layer.Weights}", Norm = $"{prefix}.{layer.Norm}", Slopes = layer.Slopes is null ? null : $"{prefix}.{layer.Slopes}" };
            }

            return (value, channels);
        }

        /// <summary>A convolution with its batch norm, if any, folded in, and its activation, if any.</summary>
        public (string Value, long Channels) Convolution(string value, long channels, Layer layer)
        {
            var each = layer.Kind is LayerKind.Depthwise or LayerKind.Global;
            long? kernel = layer.Kind switch { LayerKind.Global => null, LayerKind.Pointwise => 1, _ => 3 };
            var weights = each ? Take($"{layer.Weights}.weight", channels, 1, kernel, kernel) : Take($"{layer.Weights}.weight", null, channels, kernel, kernel);
            var outputs = weights.Shape[0];
            var (scale, shift) = Folded(layer, outputs);
            var pad = kernel == 3 ? 1 : 0;
            var node = AddNode("Conv", null, [value, Constant($"{layer.Weights}.weight", weights.Shape, Scaled(weights, scale)), Constant($"{layer.Weights}.bias", [outputs], shift)]);
            node.Attribute.Add([Ints("kernel_shape", weights.Shape[2], weights.Shape[3]), Ints("strides", layer.Stride, layer.Stride), Ints("pads", pad, pad, pad, pad), Int("group", each ? channels : 1)]);
            return (Activated(node.Output[0], layer, outputs), outputs);
        }

        /// <summary>The last layer and its batch norm.</summary>
        public void Linear(string value, long channels, Layer layer)
        {
            var name = $"{layer.Weights}.weight";
            var weights = Peek(name).Shape.Length == 4 ? Take(name, null, channels, 1, 1) : Take(name, null, channels);
            var outputs = weights.Shape[0];
            var (scale, shift) = Folded(layer, outputs);
            var gemm = AddNode("Gemm", "output", [Node("Flatten", null, value), Constant("linear.weight", [outputs, channels], Scaled(weights, scale)), Constant("linear.bias", [outputs], shift)]);
            gemm.Attribute.Add(Int("transB", 1));
        }

        public string Node(string type, string? output, params string[] inputs) => AddNode(type, output, inputs).Output[0];

        public byte[] Finish(int height, int width, int dimensions, IEnumerable<(string Key, string Text)> metadata)
        {
            graph.Input.Add(Value(Input, 3, height, width));
            graph.Output.Add(Value("output", dimensions));
            var model = new ModelProto
            {
                IrVersion = 8,
                ProducerName = "face-embed",
                Graph = graph,
                OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 17 } },
            };
            model.MetadataProps.Add(metadata.Select(m => new StringStringEntryProto { Key = m.Key, Value = m.Text }));
            return model.ToByteArray();
        }

        /// <summary>How many blocks the checkpoint has under a prefix.</summary>
        private int CountOf(string prefix)
        {
            var start = prefix[..prefix.IndexOf('*', StringComparison.Ordinal)];
            return tensors.Keys.Where(k => k.StartsWith(start, StringComparison.Ordinal))
                .Select(k => int.TryParse(k[start.Length..].Split('.')[0], NumberStyles.None, CultureInfo.InvariantCulture, out var block) && block < MostBlocks ? block + 1 : 0).DefaultIfEmpty().Max();
        }

        private Tensor Take(string name, params long?[] shape)
        {
            used.Add(name);
            var tensor = Peek(name, shape);
            return Array.TrueForAll(tensor.Values, float.IsFinite) ? tensor
                : throw new InvalidDataException($"The tensor '{name}' {tensor} has values that are not finite (NaN, infinite, or beyond float32): its training diverged, or the file is damaged. Take an earlier checkpoint.");
        }

        private string Activated(string value, Layer layer, long channels)
        {
            if (layer.Relu6)
            {
                bounds ??= [Constant("relu6.least", [], [0]), Constant("relu6.most", [], [6])];
                return Node("Clip", null, [value, .. bounds]);
            }

            if (layer.Slopes is null)
            {
                return value;
            }

            var name = $"{layer.Slopes}.weight";
            var slope = Peek(name, (long?)null);
            slope = Take(name, slope.Shape[0] == 1 ? 1 : channels);
            return Node("PRelu", null, value, Constant($"{layer.Slopes}.slope", [slope.Shape[0], 1, 1], slope.Values));
        }

        /// <summary>What a bias and a batch norm do, as a factor and a summand a channel.</summary>
        private (double[] Scale, float[] Shift) Folded(Layer layer, long channels)
        {
            var (bias, norm) = ($"{layer.Weights}.bias", layer.Norm);
            var shift = tensors.ContainsKey(bias) ? Array.ConvertAll(Take(bias, channels).Values, v => (double)v) : new double[channels];
            var scale = Enumerable.Repeat(1.0, (int)channels).ToArray();
            if (tensors.Keys.Any(k => k.StartsWith($"{norm}.", StringComparison.Ordinal)) || !tensors.ContainsKey(bias))
            {
                var (weight, offset) = (Take($"{norm}.weight", channels), Take($"{norm}.bias", channels));
                var (mean, variance) = (Take($"{norm}.running_mean", channels), Take($"{norm}.running_var", channels));
                used.Add($"{norm}.num_batches_tracked");
                if (Array.Exists(variance.Values, v => v < 0))
                {
                    throw new InvalidDataException($"The tensor '{norm}.running_var' has negative values, and a variance has none: the file is damaged. Get it again, or take another checkpoint.");
                }

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
