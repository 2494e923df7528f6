using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>What a model is, and everything that moves its output. A JSON file beside the ONNX file.</summary>
internal sealed record ModelCard
{
    public const string Detection = "face-detection";
    public const string Landmarks = "face-landmarks";
    public const string Embedding = "face-embedding";

    /// <summary>Pixels. No model of faces takes more, and one picture's values are then 200 MB.</summary>
    public const int LargestSide = 4096;

    /// <summary>In place of a card's file, where there is none.</summary>
    public const string DefaultContract = "none: the default contract (models/README.md)";

    /// <inheritdoc cref="DefaultContract"/>
    public const string ToldByOutputs = "none: told by the outputs (models/README.md)";

    private const int MostBytes = 16 * 1024 * 1024; // golden vectors are some kilobytes
    private const int LongestId = 200;
    private const int MostDimensions = 65_536;
    private const int LargestLevel = 1000; // pixels go to 255
    private const double SmallestStd = 1e-6;
    private const int LargestMargin = 10;

    public required string Id { get; init; }

    public string? Version { get; init; }

    /// <summary>Lower-case hex of the ONNX file, followed by the files that its weights lie in, in order of name; checked at start.</summary>
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

    /// <summary>
    /// Suggested similarity from which two faces count as one person; of a detector, the score from which a box counts as a face.
    /// </summary>
    public double? Threshold { get; init; }

    /// <summary>Of a detector: which boxes above its threshold are dropped or doubted, where that was measured.</summary>
    public FaceFilter? Filter { get; init; }

    /// <summary>The raw norms that faces have: [low, high].</summary>
    public double[]? NormRange { get; init; }

    /// <summary>The raw norms of what is no face and of a clean one: what sharpness is measured by.</summary>
    public double[]? NormScale { get; init; }

    /// <summary>False: its vectors do not tell people apart (features of a network for something else).</summary>
    public bool? Identity { get; init; }

    /// <summary>Sample picture -> its face's vector: float32, little-endian, base64. The self-test compares.</summary>
    public IReadOnlyDictionary<string, string>? Golden { get; init; }

    /// <summary>What a reader should know.</summary>
    public string? Notes { get; init; }

    /// <summary>
    /// The contract of a model that brings no card: the whole or aligned picture as RGB, (x - 127.5) / 127.5, NCHW; sizes are filled in
    /// from the file.
    /// </summary>
    public static ModelCard Default(string id, string task) => new()
    {
        Id = id,
        Task = task,
        Input = new ModelInput { Color = "RGB", Mean = [127.5], Std = [127.5] },
        Crop = ModelCrop.For(FaceAligner.ArcFaceSize, FaceAligner.ArcFaceSize),
        Output = new ModelOutput { Normalization = "l2" },
        Metric = "cosine",
    };

    /// <exception cref="ModelException">Not JSON, or not a card.</exception>
    public static ModelCard Read(string path)
    {
        try
        {
            using var file = new MemoryStream(HandedFile.Read(path, MostBytes)); // a stream, whose byte order mark is passed over
            var card = JsonSerializer.Deserialize(file, ModelCardJson.Default.ModelCard) ?? throw new JsonException("it is null.");
            card.Validate();
            return card;
        }
        catch (Exception e) when (e is JsonException or FormatException or IOException or UnauthorizedAccessException)
        {
            throw new ModelException($"The model card {path} cannot be read: {(e is JsonException fault ? JsonFault.Of(fault) : e.Message)} Correct it, or remove it to run the model under the default contract (models/README.md).", e);
        }
    }

    /// <summary>
    /// Names the embedding space: 12 hex digits of a SHA-256 over everything that moves a vector. Equal spaces mean comparable vectors.
    /// </summary>
    /// <param name="weights">SHA-256 of the ONNX file, and of the files that its weights lie in.</param>
    /// <param name="crop">The crop rule in force, with its template and resize filter.</param>
    public string Space(string weights, string crop)
    {
        var text = string.Create(CultureInfo.InvariantCulture,
            $"face-embed/1 weights={weights} size={Input.Width}x{Input.Height} color={Input.Color} mean={List(Input.Mean)} std={List(Input.Std)} crop={crop} output={Output.Name} dimensions={Output.Dimensions} normalization={Output.Normalization}{(Input.Standardization == "per-image" ? " standardization=per-image" : "")}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12];
    }

    /// <summary>Why faces are not embedded with it: it is made for whole pictures. Null: they are.</summary>
    [JsonIgnore]
    public string? NotForFaces => Crop is { Rule: ModelCrop.WholePicture }
        ? $"The card of {Id} says that its model takes whole pictures (crop.rule {ModelCrop.WholePicture}), and cuts no faces out. Ask for whole pictures (Jobs:Mode=Image, embed --mode image, or a job's mode image), or correct crop.rule in the card (models/README.md)."
        : null;

    /// <summary>A vector as <see cref="Golden"/> has it; null where it is none.</summary>
    public static float[]? VectorOf(string? text)
    {
        var bytes = new byte[(text?.Length ?? 0) / 4 * 3 + 3];
        return text is { Length: > 0 } && Convert.TryFromBase64String(text, bytes, out var length) && length > 0 && length % sizeof(float) == 0
            && MemoryMarshal.Cast<byte, float>(bytes.AsSpan(0, length)).ToArray() is var vector && Array.TrueForAll(vector, float.IsFinite) ? vector : null;
    }

    /// <summary>The card as a file.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, ModelCardJson.Default.ModelCard);

    /// <summary>Names of the cards that come with the program, for models that do not.</summary>
    public static IReadOnlyList<string> KnownNames => Directory.Exists(KnownFolder) ? [.. Directory.EnumerateFiles(KnownFolder, "*.json").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)] : [];

    /// <summary>A card by the name of a known family, or by its path.</summary>
    /// <exception cref="ModelException">No such card, or a broken one.</exception>
    public static ModelCard Named(string nameOrPath)
    {
        var known = Path.Combine(KnownFolder, $"{nameOrPath}.json");
        return KnownNames.Contains(nameOrPath) ? Read(known)
            : File.Exists(nameOrPath) ? Read(nameOrPath)
            : throw new ModelException($"'{nameOrPath}' is neither a card's file nor one of the known cards: {string.Join(", ", KnownNames)}.");
    }

    /// <summary>
    /// The card in force for a model, and where it comes from: the named one, the file beside the model, for a detector what its outputs
    /// tell, or the default contract.
    /// </summary>
    /// <exception cref="ModelException">No such card, or a broken one.</exception>
    public static (ModelCard Card, string From) For(string model, string task, string named)
    {
        var beside = Path.ChangeExtension(model, ".json");
        return named.Length > 0 ? (Named(named), named)
            : File.Exists(beside) ? (Read(beside), beside)
            : task == Detection ? (DetectorLayout.CardOf(model), ToldByOutputs)
            : (Default(Path.GetFileNameWithoutExtension(model), task), DefaultContract);
    }

    private static string KnownFolder => Path.Combine(AppContext.BaseDirectory, "models", "cards");

    private static string List(IEnumerable<double> values) => string.Join(',', values.Select(v => v.ToString("R", CultureInfo.InvariantCulture)));

    private void Validate()
    {
        Known("input.color", Input.Color, "RGB", "BGR", "GRAY");
        Known("input.resize_filter", Input.ResizeFilter, [PillowResize.Filter.Bicubic.Name, PillowResize.Filter.Bilinear.Name, .. Task == Detection ? [AreaResize.Name] : Array.Empty<string>()]);
        Known("input.layout", Input.Layout, "NCHW", "NHWC");
        Known("output.normalization", Output.Normalization, "l2", "none");
        Known("input.standardization", Input.Standardization, "fixed", "per-image");
        Known("input.fit", Input.Fit, "stretch", "letterbox");
        Known("output.layout", Output.Layout ?? "rfb", "rfb", "scrfd", "scrfd-boxes", "yunet");
        Known("crop.rule", Crop?.Rule ?? ModelCrop.Similarity, ModelCrop.Similarity, ModelCrop.WholePicture, ModelCrop.BoxSquare, ModelCrop.BoxMargin);
        Sized("input.mean", Input.Mean);
        Sized("input.std", Input.Std);
        if (Input.Multiple is < 0 or > 1024)
        {
            throw new FormatException($"input.multiple is {Input.Multiple}; it can be 1 to 1,024 pixels, or left out where the model has one size.");
        }

        if (Input.Width is < 0 or > LargestSide || Input.Height is < 0 or > LargestSide)
        {
            throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"input.width and input.height are {Input.Width} and {Input.Height}; they can be 1 to {LargestSide} pixels, or left out."));
        }

        if (Output.Dimensions is < 0 or > MostDimensions)
        {
            throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"output.dimensions is {Output.Dimensions}; it can be 1 to {MostDimensions}, or left out."));
        }

        if (Id.Length is 0 or > LongestId || Id.Any(char.IsControl))
        {
            throw new FormatException($"id has {Id.Length} characters; it can be a name of 1 to {LongestId} characters in one line.");
        }

        foreach (var (name, vector) in Golden ?? new Dictionary<string, string>())
        {
            if (VectorOf(vector) is null)
            {
                throw new FormatException($"golden.{name} is no vector; it can be base64 of float32 values, little-endian, none of them NaN or infinite.");
            }
        }

        if (Threshold is < 0 or >= 1)
        {
            throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"threshold is {Threshold}; it is a score from 0 up to, not including, 1."));
        }

        if (Filter is { } filter)
        {
            Range("per_octave", filter.PerOctave, 1);
            Range("highest", filter.Highest, 1);
            Range("sharpness", filter.Sharpness, 1);
            Range("doubt", filter.Doubt, 100);
            Range("finer", filter.Finer, 100);
            Range("alignment_error", filter.AlignmentError, 112);
            Range("certain", filter.Certain, 1);
        }

        Each("input.mean", Input.Mean, v => Math.Abs(v) <= LargestLevel, $"-{LargestLevel} to {LargestLevel}");
        Each("input.std", Input.Std, v => v is >= SmallestStd and <= LargestLevel, "0.000001 to 1000");
        Each("norm_range", NormRange ?? [], v => v is >= 0 and <= float.MaxValue, "0 or more");
        Each("norm_scale", NormScale ?? [], v => v is >= 0 and <= float.MaxValue, "0 or more");
        Each("crop.margin", Crop?.Margin is { } margin ? [margin] : [], v => v is >= 0 and <= LargestMargin, $"0 to {LargestMargin}");
        Each("crop.template_size, template_width and template_height", new[] { Crop?.TemplateSize, Crop?.TemplateWidth, Crop?.TemplateHeight }.OfType<double>(), v => v is >= 1 and <= LargestSide, $"1 to {LargestSide}");
        Each("crop.template", (Crop?.Template ?? []).SelectMany(p => p ?? []), v => Math.Abs(v) <= LargestSide, $"-{LargestSide} to {LargestSide}");
        foreach (var (field, values) in new[] { ("norm_range", NormRange), ("norm_scale", NormScale) })
        {
            if (values is not null && !(values is [var low, var high] && low < high))
            {
                throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"{field} is [{string.Join(", ", values)}]; it wants two norms, the lower one first."));
            }
        }

        if (Crop is { Rule: ModelCrop.Similarity } and not { Template: [[_, _], [_, _], [_, _], [_, _], [_, _]], TemplateFrame: { Width: > 0, Height: > 0 } })
        {
            throw new FormatException("crop.template wants five [x, y] points, and crop.template_size their picture's side in pixels, or crop.template_width and crop.template_height its sides.");
        }

        if (Crop is { Rule: ModelCrop.Similarity, Template: { } points } && (points.Max(p => p[0]) - points.Min(p => p[0]) < 1 || points.Max(p => p[1]) - points.Min(p => p[1]) < 1))
        {
            throw new FormatException("crop.template has its five points in one place or in one line, and they are eyes, nose and corners of the mouth.");
        }

        if (Crop is { TemplateSize: not null } and not { TemplateWidth: null, TemplateHeight: null })
        {
            throw new FormatException("crop.template_size is a square's side: leave it out, or crop.template_width and crop.template_height.");
        }

        void Range(string field, double value, double most)
        {
            if (!(value >= 0 && value <= most))
            {
                throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"filter.{field} is {value}; it can be 0 to {most}."));
            }
        }

        void Each(string field, IEnumerable<double> values, Func<double, bool> fits, string wanted)
        {
            if (values.Where(v => !fits(v)).Select(v => (double?)v).FirstOrDefault() is { } value)
            {
                throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"{field} has {value}; a value can be {wanted}."));
            }
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

/// <summary>
/// A model's input picture: value = (pixel - mean) / std, pixel 0 to 255. (What has a default has a setter: the generated reader passes
/// over those of init properties.)
/// </summary>
internal sealed record ModelInput
{
    /// <summary>Name of the input; empty: the file's first.</summary>
    public string Name { get; set; } = "";

    /// <summary>Pixels; 0: as the file says.</summary>
    public int Width { get; init; }

    /// <summary>Pixels; 0: as the file says.</summary>
    public int Height { get; init; }

    /// <summary><c>NCHW</c> or <c>NHWC</c>.</summary>
    public string Layout { get; set; } = "NCHW";

    /// <summary><c>RGB</c>, <c>BGR</c> or <c>GRAY</c>.</summary>
    public required string Color { get; init; }

    /// <summary>One value, or one a channel in the order of <see cref="Color"/>.</summary>
    public required double[] Mean { get; init; }

    /// <summary>One value, or one a channel in the order of <see cref="Color"/>.</summary>
    public required double[] Std { get; init; }

    /// <summary>
    /// Of a detector that takes pictures of any size: its sides are multiples of this, and the file's own size is made open. 0: the size is
    /// fixed.
    /// </summary>
    public int Multiple { get; init; }

    /// <summary>
    /// How a picture is brought to the input's size: <c>pillow-bicubic</c>, <c>pillow-bilinear</c>, or, for a detector, <c>area</c>
    /// (averaging).
    /// </summary>
    public string ResizeFilter { get; set; } = "pillow-bicubic";

    /// <summary>
    /// <c>fixed</c>: (pixel - mean) / std with the card's numbers. <c>per-image</c>: with those of the input picture itself (FaceNet's
    /// prewhitening).
    /// </summary>
    public string Standardization { get; set; } = "fixed";

    /// <summary>
    /// How a picture of another shape fits a detector's input: <c>stretch</c>, or <c>letterbox</c> (scaled as a whole into the upper left
    /// corner, the rest black).
    /// </summary>
    public string Fit { get; set; } = "stretch";

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

    /// <summary>The detector's box, <see cref="Margin"/> of its size larger, clipped at the picture's border and stretched.</summary>
    public const string BoxMargin = "box-margin";

    public required string Rule { get; init; }

    /// <summary>Of <see cref="BoxMargin"/>: 0.3 makes the box 1.3 times as wide and high.</summary>
    public double? Margin { get; init; }

    /// <summary>
    /// [x, y] of left eye, right eye, nose, left and right mouth corner (left and right as seen), in pixels of a picture of
    /// <see cref="TemplateWidth"/> and <see cref="TemplateHeight"/>.
    /// </summary>
    public double[][]? Template { get; init; }

    /// <summary>Both sides of a square template's picture.</summary>
    public double? TemplateSize { get; init; }

    public double? TemplateWidth { get; init; }

    public double? TemplateHeight { get; init; }

    /// <summary>The template's own picture: it is scaled into the middle of the input.</summary>
    [JsonIgnore]
    public (double Width, double Height) TemplateFrame => TemplateSize is { } side ? (side, side) : (TemplateWidth ?? 0, TemplateHeight ?? 0);

    /// <summary>
    /// The ArcFace template for an input. That of 96 x 112 is the square one's with 8 pixels less on either side, as SphereFace and the
    /// MobileFaceNets after it cut faces out; scaled into it the square one would show a smaller face.
    /// </summary>
    public static ModelCrop For(int width, int height) => width * 112 == height * 96
        ? new() { Rule = Similarity, Template = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new[] { Math.Round(p[0] - 8, 4), p[1] }), TemplateWidth = 96, TemplateHeight = 112 }
        : new() { Rule = Similarity, Template = FaceAligner.ArcFaceTemplate, TemplateSize = FaceAligner.ArcFaceSize };
}

/// <summary>
/// What makes a box of a detector a face beside its threshold, as measured for that detector (<c>Calibration</c> in the benchmarks'
/// project).
/// </summary>
internal sealed record FaceFilter
{
    /// <summary>
    /// A box must score this much more for each doubling of its shorter side beyond 8 pixels of the input: the larger a true face, the
    /// surer it is seen. Not at the highest detail.
    /// </summary>
    public double PerOctave { get; set; }

    /// <summary>Up to this score.</summary>
    public double Highest { get; set; } = 1;

    /// <summary>Sharpness (0 to 1, by the embedder's <c>norm_scale</c>) that a box of score 1 must have.</summary>
    public double Sharpness { get; set; }

    /// <summary>How much more sharpness for each point of score below 1.</summary>
    public double Doubt { get; set; }

    /// <summary>
    /// Sharpness is asked of boxes from 56 pixels on that are this many times as large in the picture as in the detector's input: the
    /// embedder then sees more than the detector did. 0: of all boxes.
    /// </summary>
    public double Finer { get; set; }

    /// <summary>Largest alignment error of a face; 0: any.</summary>
    public double AlignmentError { get; set; }

    /// <summary>A face of a lower score is flagged as uncertain.</summary>
    public double Certain { get; set; }

    private const double SmallestSeen = 8;
    private const double SmallestJudged = 56; // half the embedder's pixels: what is smaller is never sharp

    /// <summary>The score that a box must have.</summary>
    public double Threshold(double least, double seen) => Math.Max(least, Math.Min(Highest, least + PerOctave * Math.Log2(Math.Max(1, seen / SmallestSeen))));

    /// <param name="sharpness">null where the embedder's card has no scale for it: then it says nothing.</param>
    public bool Allows(Face face, double? sharpness) =>
        !(AlignmentError > 0 && face.AlignmentError >= AlignmentError)
        && !(IsJudged(Math.Min(face.Box.Width, face.Box.Height), face.Seen) && sharpness < Sharpness + Doubt * (1 - face.Score));

    private bool IsJudged(double size, double seen) => Finer == 0 || size >= SmallestJudged && size >= Finer * seen;
}

/// <summary>What a model gives.</summary>
internal sealed record ModelOutput
{
    /// <summary>Name of the output; empty: the file's first.</summary>
    public string Name { get; set; } = "";

    /// <summary>Values a face; 0: as the file says.</summary>
    public int Dimensions { get; init; }

    /// <summary>What is done to the raw output: <c>l2</c> or <c>none</c>.</summary>
    public string Normalization { get; set; } = "none";

    /// <summary>
    /// Of a detector: <c>rfb</c> (scores and decoded boxes), <c>scrfd</c> or <c>yunet</c> (three or five strides, with five landmarks of
    /// their own), or <c>scrfd-boxes</c> (without).
    /// </summary>
    public string? Layout { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, ReadCommentHandling = JsonCommentHandling.Skip,
    AllowTrailingCommas = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(ModelCard))]
internal sealed partial class ModelCardJson : JsonSerializerContext;
