using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FaceEmbedWorker.Faces;

/// <summary>What a model is, and everything that moves its output. A JSON file beside the ONNX file.</summary>
internal sealed record ModelCard
{
    public const string Detection = "face-detection";
    public const string Landmarks = "face-landmarks";
    public const string Embedding = "face-embedding";

    public required string Id { get; init; }

    public string? Version { get; init; }

    /// <summary>Lower-case hex of the ONNX file; checked at start.</summary>
    public string? Sha256 { get; init; }

    public string? Licence { get; init; }

    public string? Source { get; init; }

    /// <summary><c>face-detection</c>, <c>face-landmarks</c> or <c>face-embedding</c>.</summary>
    public required string Task { get; init; }

    public required ModelInput Input { get; init; }

    /// <summary>How a face becomes the input picture.</summary>
    public ModelCrop? Crop { get; init; }

    public required ModelOutput Output { get; init; }

    /// <summary>How two embeddings are compared.</summary>
    public string? Metric { get; init; }

    /// <summary>Suggested similarity from which two faces count as one person.</summary>
    public double? Threshold { get; init; }

    /// <summary>The raw norms that clean faces and non-faces have: [low, high].</summary>
    public double[]? NormRange { get; init; }

    /// <summary>What a reader should know.</summary>
    public string? Notes { get; init; }

    /// <summary>The contract of a model that brings no card: the whole or aligned picture as RGB, (x - 127.5) / 127.5, NCHW; sizes are filled in from the file.</summary>
    public static ModelCard Default(string id, string task) => new()
    {
        Id = id,
        Task = task,
        Input = new ModelInput { Color = "RGB", Mean = [127.5], Std = [127.5] },
        Crop = new ModelCrop { Rule = ModelCrop.Similarity, Template = FaceAligner.ArcFaceTemplate, TemplateSize = FaceAligner.ArcFaceSize },
        Output = new ModelOutput { Normalization = "l2" },
        Metric = "cosine",
    };

    /// <exception cref="ModelException">Not JSON, or not a card.</exception>
    public static ModelCard Read(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            var card = JsonSerializer.Deserialize(file, ModelCardJson.Default.ModelCard) ?? throw new JsonException("it is null");
            card.Validate();
            return card;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            throw new ModelException($"The model card {path} cannot be read: {e.Message} Correct it, or remove it to run the model under the default contract (models/README.md).", e);
        }
    }

    /// <summary>
    /// Names the embedding space: 12 hex digits of a SHA-256 over everything that moves a vector. Equal spaces mean comparable vectors.
    /// </summary>
    /// <param name="weights">SHA-256 of the ONNX file.</param>
    /// <param name="crop">The crop rule in force, with its template and resize filter.</param>
    public string Space(string weights, string crop)
    {
        var text = string.Create(CultureInfo.InvariantCulture,
            $"face-embed/1 weights={weights} size={Input.Width}x{Input.Height} color={Input.Color} mean={List(Input.Mean)} std={List(Input.Std)} crop={crop} output={Output.Name} dimensions={Output.Dimensions} normalization={Output.Normalization}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12];
    }

    private static string List(IEnumerable<double> values) => string.Join(',', values.Select(v => v.ToString("R", CultureInfo.InvariantCulture)));

    private void Validate()
    {
        Known("input.color", Input.Color, "RGB", "BGR", "GRAY");
        Known("input.layout", Input.Layout, "NCHW", "NHWC");
        Known("output.normalization", Output.Normalization, "l2", "none");
        Known("crop.rule", Crop?.Rule ?? ModelCrop.Similarity, ModelCrop.Similarity, ModelCrop.WholePicture, ModelCrop.BoxSquare);
        Sized("input.mean", Input.Mean);
        Sized("input.std", Input.Std);
        if (Input.Std.Contains(0))
        {
            throw new FormatException("input.std is 0.");
        }

        if (Crop is { Rule: ModelCrop.Similarity } and not { Template: [[_, _], [_, _], [_, _], [_, _], [_, _]], TemplateSize: > 0 })
        {
            throw new FormatException("crop.template wants five [x, y] points, and crop.template_size their picture's side in pixels.");
        }

        void Known(string field, string value, params ReadOnlySpan<string> values)
        {
            if (!values.Contains(value))
            {
                throw new FormatException($"{field} is '{value}'; it can be {string.Join(", ", values.ToArray())}.");
            }
        }

        void Sized(string field, double[] values)
        {
            if (values.Length != 1 && values.Length != Input.Channels)
            {
                throw new FormatException($"{field} has {values.Length} values; it wants 1, or one for each of the {Input.Channels} channels.");
            }
        }
    }
}

/// <summary>A model's input picture: value = (pixel - mean) / std, pixel 0 to 255.</summary>
internal sealed record ModelInput
{
    /// <summary>Name of the input; empty: the file's first.</summary>
    public string Name { get; init; } = "";

    /// <summary>Pixels; 0: as the file says.</summary>
    public int Width { get; init; }

    /// <summary>Pixels; 0: as the file says.</summary>
    public int Height { get; init; }

    /// <summary><c>NCHW</c> or <c>NHWC</c>.</summary>
    public string Layout { get; init; } = "NCHW";

    /// <summary><c>RGB</c>, <c>BGR</c> or <c>GRAY</c>.</summary>
    public required string Color { get; init; }

    /// <summary>One value, or one a channel in the order of <see cref="Color"/>.</summary>
    public required double[] Mean { get; init; }

    /// <summary>One value, or one a channel in the order of <see cref="Color"/>.</summary>
    public required double[] Std { get; init; }

    /// <summary>How a picture is brought to the input's size: <c>pillow-bicubic</c> or <c>pillow-bilinear</c>.</summary>
    public string ResizeFilter { get; init; } = "pillow-bicubic";

    [JsonIgnore]
    public int Channels => Color == "GRAY" ? 1 : 3;

    /// <summary>Pictures a run.</summary>
    [JsonIgnore]
    public int Batch { get; init; } = 1;

    [JsonIgnore]
    public long[] Shape => Layout == "NCHW" ? [Batch, Channels, Height, Width] : [Batch, Height, Width, Channels];
}

/// <summary>How a face becomes the input picture.</summary>
internal sealed record ModelCrop
{
    /// <summary>A similarity transform that brings the five landmarks to <see cref="Template"/>.</summary>
    public const string Similarity = "similarity-5pt";

    /// <summary>A square on the box's centre, its side the box's height, padded at the border.</summary>
    public const string BoxSquare = "box-square";

    /// <summary>The picture itself.</summary>
    public const string WholePicture = "whole-picture";

    public required string Rule { get; init; }

    /// <summary>[x, y] of left eye, right eye, nose, left and right mouth corner (left and right as seen), in pixels of a square of <see cref="TemplateSize"/>.</summary>
    public double[][]? Template { get; init; }

    public double? TemplateSize { get; init; }
}

/// <summary>What a model gives.</summary>
internal sealed record ModelOutput
{
    /// <summary>Name of the output; empty: the file's first.</summary>
    public string Name { get; init; } = "";

    /// <summary>Values a face; 0: as the file says.</summary>
    public int Dimensions { get; init; }

    /// <summary>What is done to the raw output: <c>l2</c> or <c>none</c>.</summary>
    public string Normalization { get; init; } = "none";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, ReadCommentHandling = JsonCommentHandling.Skip,
    AllowTrailingCommas = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(ModelCard))]
internal sealed partial class ModelCardJson : JsonSerializerContext;
