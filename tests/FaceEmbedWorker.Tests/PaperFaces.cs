using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests;

/// <summary>
/// Pictures, and two tiny models that see faces in them by plain arithmetic, so that each number of a result can be said beforehand. A face
/// is a square of 32 pixels on a grid of 8: its upper half is so much redder than blue, and its lower half so much bluer, as its score says;
/// so it is a face one way up only. Its vector is how green the quarters at the upper left and right are.
/// </summary>
internal static class PaperFaces
{
    public const int Side = 32;

    private const int Stride = 8;

    /// <summary>Red beyond blue at a score of 1.</summary>
    private const int Chroma = 160;

    /// <summary>Levels of green for 1 in a vector before it is brought to unit length.</summary>
    private const int Green = 20;

    /// <summary>Sharpness is the norm by this.</summary>
    private const double Sharp = 12.5;

    public static Model Embedding => EmbeddingModel.Value;

    /// <summary>The same for faces of 64 pixels.</summary>
    public static Model LargeEmbedding => LargeEmbeddingModel.Value;

    public static ModelCard EmbedderCard { get; } = ModelCard.Default("paper", ModelCard.Embedding) with { Input = new ModelInput { Color = "RGB", Mean = [0], Std = [Green] }, NormScale = [0, Sharp] };

    /// <summary>Its own threshold is for closer looks, and none of these faces has it: their points are those of the first look.</summary>
    private static ModelCard DetectorCard { get; } = new()
    {
        Id = "paper-detector",
        Task = ModelCard.Detection,
        Input = new ModelInput { Color = "RGB", Mean = [0], Std = [1], Multiple = Side, ResizeFilter = AreaResize.Name },
        Output = new ModelOutput { Layout = "yunet" },
        Threshold = 0.999,
        Filter = new FaceFilter { Certain = 0.7, Sharpness = 0.2 },
    };

    private static readonly Lazy<Model> EmbeddingModel = new(() => Load(Embedder(Side), EmbedderCard));
    private static readonly Lazy<Model> LargeEmbeddingModel = new(() => Load(Embedder(2 * Side), EmbedderCard));
    private static readonly Lazy<Model> DetectionModel = new(() => Load(Detector(), DetectorCard));
    private static readonly Lazy<Model> CloseModel = new(() => Load(Detector(), DetectorCard with { Threshold = 0.5 }));
    private static readonly Lazy<Model> FixedModel = new(() => Load(Detector(), DetectorCard with { Input = DetectorCard.Input with { Multiple = 0 } }));

    /// <summary>Every face of a score over 0.5.</summary>
    public static FaceOptions Flat => new() { DetectionThreshold = 0.5 };

    public static FaceDetector DetectorOf(FaceOptions? options = null) => new(DetectionModel.Value, null, Options.Create(options ?? Flat));

    /// <summary>One whose closer looks see the same faces, and put their points elsewhere; its threshold is the card's, with its filter.</summary>
    public static FaceDetector CloserOf(FaceOptions? options = null) => new(CloseModel.Value, null, Options.Create(options ?? new FaceOptions()));

    /// <summary>One that takes pictures of 64 pixels only, and whose points are not looked at closer.</summary>
    public static FaceDetector FixedOf(FaceOptions? options = null) => new(FixedModel.Value, null, Options.Create(options ?? Flat));

    public static JobHandler Handler(FaceOptions? faces = null, TimeProvider? time = null, Model? embedding = null, FaceDetector? detector = null, JobOptions? options = null, ImageOptions? images = null) =>
        Pipeline.Handler(options, time, images, embedding ?? Embedding, faces ?? Flat, detector: detector ?? DetectorOf(faces));

    public static Model Load(byte[] onnx, ModelCard card)
    {
        var (file, beside) = (Path.GetTempFileName(), Path.GetTempFileName());
        File.WriteAllBytes(file, onnx);
        File.WriteAllBytes(beside, card.ToJson());
        var model = Model.Load(file, card.Task, prepare: false, cardName: beside);
        File.Delete(file);
        File.Delete(beside);
        return model;
    }

    /// <summary>Where the five points of a face are.</summary>
    public static Point[] Points(double x, double y, double side = Side) =>
        Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(x + (p[0] * Side / FaceAligner.ArcFaceSize + 0.5) * side / Side, y + (p[1] * Side / FaceAligner.ArcFaceSize + 0.5) * side / Side));

    /// <summary>A grey picture without faces.</summary>
    public static Picture Blank(int width, int height)
    {
        var picture = new Picture(width, height);
        picture.Pixels.Fill(128);
        return picture;
    }

    /// <summary>Paints a face.</summary>
    /// <param name="turn">Degrees clockwise by which the picture must be turned to see it.</param>
    public static Picture Face(this Picture picture, int x, int y, double score = 0.95, double left = 6, double right = 8, int turn = 0, int side = Side) =>
        picture.Quarters(x, y, [(score, left), (score, right), (-score, 0), (-score, 0)], turn, side);

    /// <summary>Paints a face of which the picture's right border leaves 24 columns, and a strip at its left that keeps it there.</summary>
    public static Picture Cut(this Picture picture, int y, double score) =>
        picture.Face(picture.Width - 24, y, score).Fill(picture.Width - Side, y, 8, Side / 2, -0.3, 0).Fill(picture.Width - Side, y + Side / 2, 8, Side / 2, 0.3, 0);

    /// <summary>Paints a square of four colours.</summary>
    /// <param name="quarters">Upper left, upper right, lower left, lower right: how red, 0 to 1 or how blue, 0 to -1, and how green.</param>
    public static Picture Quarters(this Picture picture, int x, int y, (double Red, double Green)[] quarters, int turn = 0, int side = Side)
    {
        for (var v = 0; v < side; v++)
        {
            for (var u = 0; u < side; u++)
            {
                var (across, down) = turn switch { 90 => (side - 1 - v, u), 180 => (side - 1 - u, side - 1 - v), 270 => (v, side - 1 - u), _ => (u, v) };
                picture.Dot(x + u, y + v, quarters[down * 2 / side * 2 + across * 2 / side]);
            }
        }

        return picture;
    }

    /// <summary>Paints a rectangle of one colour.</summary>
    public static Picture Fill(this Picture picture, int x, int y, int width, int height, double red, double green)
    {
        for (var v = y; v < y + height; v++)
        {
            for (var u = x; u < x + width; u++)
            {
                picture.Dot(u, v, (red, green));
            }
        }

        return picture;
    }

    /// <summary>As a file without loss; the picture is gone.</summary>
    public static byte[] Png(this Picture picture)
    {
        using (picture)
        {
            return PictureEncoder.Png(picture);
        }
    }

    private static void Dot(this Picture picture, int x, int y, (double Red, double Green) colour)
    {
        if (x >= 0 && x < picture.Width && y >= 0 && y < picture.Height)
        {
            var half = (int)Math.Round(colour.Red * Chroma / 2);
            var pixel = picture.Row(y).Slice(x * 3, 3);
            (pixel[0], pixel[1], pixel[2]) = ((byte)(127 + half), (byte)Math.Round(colour.Green * Green), (byte)(127 - half));
        }
    }

    /// <summary>Means of the green of two quarters: float32 [1, 3, side, side] -> [1, 2].</summary>
    public static byte[] Embedder(int side)
    {
        var weights = new float[2 * 3 * side * side];
        for (var y = 0; y < side / 2; y++)
        {
            for (var x = 0; x < side; x++)
            {
                weights[((x * 2 / side * 3 + 1) * side + y) * side + x] = 4f / (side * side);
            }
        }

        var graph = new GraphProto { Name = "embedder", Input = { Value("picture", 1, 3, side, side) }, Output = { Value("vector", 1, 2) } };
        Convolve(graph, "picture", "means", weights, [0, 0], side, side);
        graph.Node.Add(new NodeProto { OpType = "Flatten", Input = { "means" }, Output = { "vector" } });
        return Bytes(graph);
    }

    /// <summary>
    /// YuNet's outputs, of the means of 8 x 8 pixels each: of a stride of 8 the class is how red a square's upper half is, the object how blue
    /// its lower one.
    /// </summary>
    public static byte[] Detector()
    {
        const int cells = Side / Stride;
        var (upper, lower) = (new float[3 * cells * cells], new float[3 * cells * cells]);
        for (var i = 0; i < cells * cells; i++)
        {
            var (half, sign) = i < cells * cells / 2 ? (upper, 1) : (lower, -1);
            half[i] = sign * 2f / (cells * cells * Chroma);
            half[2 * cells * cells + i] = -half[i];
        }

        var five = Points(0, 0).SelectMany(p => new[] { (float)((p.X - 0.5) / Stride), (float)((p.Y - 0.5) / Stride) }).ToArray(); // the layout adds half a pixel
        const float middle = cells / 2f;
        var side = MathF.Log(cells);
        var graph = new GraphProto { Name = "detector", Input = { Value("picture", 1, 3, 2 * Side, 2 * Side) } };
        graph.Node.Add(new NodeProto { OpType = "AveragePool", Input = { "picture" }, Output = { "cells" }, Attribute = { Whole("kernel_shape", Stride, Stride), Whole("strides", Stride, Stride) } });
        foreach (var stride in new[] { Stride, 16, 32 })
        {
            (string Name, float[] Weights, float[] Bias)[] heads = stride == Stride
                ? [("cls", upper, [0]), ("obj", lower, [0]), ("bbox", new float[3 * 4], [middle, middle, side, side]), ("kps", new float[3 * 10], five)]
                : [("cls", new float[3], [0]), ("obj", new float[3], [0]), ("bbox", new float[3 * 4], new float[4]), ("kps", new float[3 * 10], new float[10])];
            foreach (var (name, weights, bias) in heads)
            {
                var output = $"{name}_{stride}";
                Convolve(graph, "cells", $"{output}/planes", weights, bias, weights.Length == upper.Length ? cells : 1, stride / Stride);
                graph.Node.Add(new NodeProto { OpType = "Transpose", Input = { $"{output}/planes" }, Output = { $"{output}/places" }, Attribute = { Whole("perm", 0, 2, 3, 1) } });
                graph.Initializer.Add(new TensorProto { Name = $"{output}/shape", DataType = 7, Dims = { 3 }, Int64Data = { 1, -1, bias.Length } });
                graph.Node.Add(new NodeProto { OpType = "Reshape", Input = { $"{output}/places", $"{output}/shape" }, Output = { output } });
                graph.Output.Add(Value(output, 1, 4 * Side * Side / stride / stride, bias.Length));
            }
        }

        return Bytes(graph);
    }

    /// <summary>A square window at each place, over zeros behind the right and lower border.</summary>
    private static void Convolve(GraphProto graph, string input, string output, float[] weights, float[] bias, int window, int stride)
    {
        graph.Initializer.Add(new TensorProto { Name = $"{output}/weights", DataType = 1, Dims = { bias.Length, 3, window, window }, FloatData = { weights } });
        graph.Initializer.Add(new TensorProto { Name = $"{output}/bias", DataType = 1, Dims = { bias.Length }, FloatData = { bias } });
        var more = Math.Max(0, window - stride);
        graph.Node.Add(new NodeProto
        {
            OpType = "Conv",
            Input = { input, $"{output}/weights", $"{output}/bias" },
            Output = { output },
            Attribute = { Whole("kernel_shape", window, window), Whole("strides", stride, stride), Whole("pads", 0, 0, more, more) },
        });
    }

    private static AttributeProto Whole(string name, params long[] values) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Ints, Ints = { values } };

    private static ValueInfoProto Value(string name, params long[] sizes) => new()
    {
        Name = name,
        Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { sizes.Select(s => new TensorShapeProto.Types.Dimension { DimValue = s }) } } } },
    };

    private static byte[] Bytes(GraphProto graph) => new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } } }.ToByteArray();
}
