namespace FaceEmbedWorker.Onnx;

/// <summary>What a convolution is, of a network of faces.</summary>
internal enum LayerKind
{
    /// <summary>3 x 3 over all channels, padded by 1.</summary>
    Full,

    /// <summary>3 x 3, each channel for itself, padded by 1.</summary>
    Depthwise,

    /// <summary>1 x 1.</summary>
    Pointwise,

    /// <summary>Each channel for itself, over all places of the smallest map, whose size its weights tell.</summary>
    Global,

    /// <summary>From the pooled features to the embedding: weights [outputs, features], or those of a 1 x 1 convolution.</summary>
    Linear,
}

/// <summary>A step of a network: a layer, or blocks of them.</summary>
internal abstract record Step;

/// <summary>A convolution, the batch norm that is folded into it, and its activation.</summary>
/// <param name="Weights">The name before <c>.weight</c> and, where there is one, <c>.bias</c>.</param>
/// <param name="Norm">The name before the batch norm's <c>.weight</c>, <c>.bias</c>, <c>.running_mean</c> and <c>.running_var</c>.</param>
/// <param name="Slopes">The name before <c>.weight</c> of a PRelu.</param>
/// <param name="Relu6">Its activation is min(max(x, 0), 6).</param>
internal sealed record Layer(LayerKind Kind, string Weights, string Norm, string? Slopes = null, bool Relu6 = false, int Stride = 1) : Step;

/// <summary>
/// Bottlenecks: a pointwise layer that widens, a depthwise one with the stride, and a pointwise one back, added to the block's input where
/// the stride is 1.
/// </summary>
/// <param name="Prefix">Before the layers' names; a <c>*</c> in it is the block's number from 0 on.</param>
/// <param name="Strides">One a block; null: as many of stride 1 as the checkpoint has.</param>
internal sealed record Blocks(string Prefix, int[]? Strides, Layer Wide, Layer Depthwise, Layer Narrow) : Step;

/// <summary>
/// How a family of MobileFaceNets (Chen et al. 2018) names its tensors, its layers in their order, and what it was trained with. Checkpoints
/// hold names and shapes alone: another family is another entry of <see cref="All"/>.
/// </summary>
/// <param name="Name">As people are told.</param>
/// <param name="Id">Of a model of this family.</param>
/// <param name="Mark">How names of tensors begin that no other family has.</param>
/// <param name="Mean">Of a pixel from 0 to 255; one value, or red, green and blue.</param>
/// <param name="IsCertain">Input and crop are the family's; otherwise a checkpoint may be of one that was trained in another way.</param>
internal sealed record NetworkLayout(string Name, string Id, string Mark, double[] Mean, double[] Std, bool IsCertain, Step[] Steps)
{
    /// <summary>Of the blocks of both families that number them through: (channels, count, first stride) (64, 5, 2), (128, 1, 2), (128, 6, 1), (128, 1, 2), (128, 2, 1).</summary>
    private static readonly int[] Numbered = [2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1];

    /// <summary>cunjian/pytorch_face_landmark and TreB1eN/InsightFace_Pytorch.</summary>
    private static readonly Step[] Staged =
    [
        Unit(LayerKind.Full, "conv1", stride: 2),
        Unit(LayerKind.Depthwise, "conv2_dw"),
        StagedBlocks("conv_23", [2]),
        StagedBlocks("conv_3.model.*", null),
        StagedBlocks("conv_34", [2]),
        StagedBlocks("conv_4.model.*", null),
        StagedBlocks("conv_45", [2]),
        StagedBlocks("conv_5.model.*", null),
        Unit(LayerKind.Pointwise, "conv_6_sep"),
    ];

    public static readonly IReadOnlyList<NetworkLayout> All =
    [
        new("cunjian's and TreB1eN's MobileFaceNet", "mobilefacenet", "output_layer.conv_6_dw.", [127.5], [127.5], IsCertain: false,
            [.. Staged, new Layer(LayerKind.Global, "output_layer.conv_6_dw.conv", "output_layer.conv_6_dw.bn"), new Layer(LayerKind.Linear, "output_layer.linear", "output_layer.bn")]),
        new("TreB1eN's MobileFaceNet", "mobilefacenet", "conv_6_dw.", [127.5], [127.5], IsCertain: false,
            [.. Staged, new Layer(LayerKind.Global, "conv_6_dw.conv", "conv_6_dw.bn"), new Layer(LayerKind.Linear, "linear", "bn")]),
        new("Xiaoccer's MobileFaceNet", "mobilefacenet-96x112", "linear7.", [127.5], [128], IsCertain: true,
        [
            Unit(LayerKind.Full, "conv1", stride: 2),
            Unit(LayerKind.Depthwise, "dw_conv1"),
            new Blocks("blocks.*", Numbered, new(LayerKind.Pointwise, "conv.0", "conv.1", "conv.2"), new(LayerKind.Depthwise, "conv.3", "conv.4", "conv.5"), new(LayerKind.Pointwise, "conv.6", "conv.7")),
            Unit(LayerKind.Pointwise, "conv2"),
            new Layer(LayerKind.Global, "linear7.conv", "linear7.bn"),
            new Layer(LayerKind.Linear, "linear1.conv", "linear1.bn"),
        ]),
        new("foamliu's MobileFaceNet", "mobilefacenet-relu6", "gdconv.", [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], IsCertain: true,
        [
            new Layer(LayerKind.Full, "conv1.0", "conv1.1", Relu6: true, Stride: 2),
            new Layer(LayerKind.Depthwise, "dw_conv.depthwise", "dw_conv.bn1", Relu6: true),
            new Layer(LayerKind.Pointwise, "dw_conv.pointwise", "dw_conv.bn2", Relu6: true),
            new Blocks("features.*", Numbered, new(LayerKind.Pointwise, "conv.0.0", "conv.0.1", Relu6: true), new(LayerKind.Depthwise, "conv.1.0", "conv.1.1", Relu6: true), new(LayerKind.Pointwise, "conv.2", "conv.3")),
            new Layer(LayerKind.Pointwise, "conv2.0", "conv2.1", Relu6: true),
            new Layer(LayerKind.Global, "gdconv.depthwise", "gdconv.bn"),
            new Layer(LayerKind.Linear, "conv3", "bn"),
        ]),
    ];

    /// <summary>Networks of faces that people have and that are not converted, each by tensors that it alone has.</summary>
    private static readonly (string Name, string[] Marks)[] Others =
    [
        ("a MobileFaceNet with separate last layers (layer1, layer2, layer3, dw7, linear)", ["layer3.0.conv1.conv.weight", "dw7.weight"]),
        ("an IR-SE ResNet of TreB1eN/InsightFace_Pytorch", ["input_layer.0.weight", "body.0.res_layer.1.weight"]),
        ("an IResNet of InsightFace's arcface_torch", ["layer1.0.prelu.weight", "features.running_mean"]),
        ("facenet-pytorch's InceptionResnetV1", ["conv2d_1a.conv.weight", "last_linear.weight"]),
        ("a RetinaFace detector", ["fpn.output1.0.weight", "ClassHead.0.conv1x1.weight"]),
        ("a ResNet of torchvision", ["layer1.0.conv1.weight", "fc.weight"]),
        ("a MobileNetV2 of torchvision", ["features.1.conv.0.0.weight", "classifier.1.weight"]),
    ];

    /// <summary>The one whose tensors these are, by their names; null: none that is converted.</summary>
    public static NetworkLayout? Of(IEnumerable<string> tensors) => All.FirstOrDefault(l => tensors.Any(t => t.StartsWith(l.Mark, StringComparison.Ordinal)));

    /// <summary>What tensors of another network are, in words.</summary>
    public static string Describe(IReadOnlyCollection<string> tensors)
    {
        var other = Array.Find(Others, o => Array.TrueForAll(o.Marks, tensors.Contains)).Name;
        return other is null
            ? tensors.Count == 1 ? $"Its one tensor is named '{Unpickler.Clip(tensors.First())}', as in no network that is converted here"
            : $"Its {tensors.Count} tensors are named like {string.Join(", ", tensors.Take(3).Select(t => $"'{Unpickler.Clip(t)}'"))}, as in no network that is converted here"
            : $"It is {other}, which is not converted here";
    }

    private static Layer Unit(LayerKind kind, string prefix, int stride = 1) => new(kind, $"{prefix}.conv", $"{prefix}.bn", $"{prefix}.prelu", Stride: stride);

    private static Blocks StagedBlocks(string prefix, int[]? strides) =>
        new(prefix, strides, Unit(LayerKind.Pointwise, "conv"), Unit(LayerKind.Depthwise, "conv_dw"), Unit(LayerKind.Pointwise, "project") with { Slopes = null });
}
