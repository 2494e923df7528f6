using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Faces;

/// <summary>What becomes of a worker whose embedder fails its self-test.</summary>
internal enum SelfTestPolicy
{
    /// <summary>It works; log, readiness and results say so.</summary>
    Warn,

    /// <summary>It does not start.</summary>
    Refuse,

    /// <summary>Not tested.</summary>
    Off,
}

/// <summary>
/// Which models run, and when a box counts as a face. Section <c>Faces</c>. Relative paths are looked up in the working directory, then
/// beside the program.
/// </summary>
internal sealed class FaceOptions
{
    public const string Section = "Faces";

    /// <summary>Of faces, and of pixels of a face's side: more than any picture has.</summary>
    public const int Most = 100_000;

    [Description("ONNX file of the detector; its card (.json) lies beside it.")]
    [Required]
    public string DetectionModel { get; set; } = "models/face_detection.onnx";

    [Description("A 68-point model, for a detector that gives no points of its own (models/README.md).")]
    public string LandmarksModel { get; set; } = "";

    [Description("Your own: models/README.md.")]
    [Required]
    public string EmbeddingModel { get; set; } = "models/face_embedding.onnx";

    [Description("A card's file, or the name of a known family; empty: the card beside the model.")]
    public string EmbeddingCard { get; set; } = "";

    [Description("A model that fails face-embed model check at start: Warn (log, /readyz and results say so), Refuse or Off. One that gives no vectors starts with Off only.")]
    [EnumDataType(typeof(SelfTestPolicy))]
    public SelfTestPolicy SelfTest { get; set; } = SelfTestPolicy.Warn;

    [Description("Rewrite the models in memory for speed (docs/performance.md); same vectors, same space.")]
    public bool PrepareGraph { get; set; } = true;

    [Description("1 to 4: how finely a picture is searched (docs/finding.md).")]
    [Range(1, 4)]
    public int DetectionDetail { get; set; } = 2;

    [Description("Look again with a border where no face is found, or a large, cut or unsure one.")]
    public bool TightCrops { get; set; } = true;

    [Description("Look by 90, 180 and 270 degrees where no clear face is found.")]
    public bool TurnedPhotos { get; set; } = true;

    [Description("Whose face of a picture is embedded: All, Largest or Central (the one nearest to the picture's centre).")]
    [EnumDataType(typeof(FaceChoice))]
    public FaceChoice FaceOf { get; set; } = FaceChoice.All;

    [Description("At most so many faces of a picture are embedded, the largest and most central; the rest is listed as skipped. 0: all.")]
    [Range(0, Most)]
    public int MaxFaces { get; set; }

    [Description("Faces whose box has a shorter side of fewer pixels are not embedded, and listed as skipped.")]
    [Range(0, Most)]
    public int MinSize { get; set; }

    [Description("Faces with a lower quality score are left out and listed as skipped.")]
    [Range(0.0, 1.0)]
    public double MinQuality { get; set; }

    [Description("Lowest score of a face, flat; 0: what the detector's card says.")]
    [Range(0.0, 1.0)]
    public double DetectionThreshold { get; set; }

    [Description("Boxes that overlap more are one face.")]
    [Range(0.0, 1.0)]
    public double DetectionOverlap { get; set; } = 0.3;

    /// <summary>A job may ask for less than the settings allow, not for more.</summary>
    public FaceLimits LimitsOf(int? maxFaces, int? minSize) =>
        new(FaceOf, maxFaces is { } most && (MaxFaces == 0 || most < MaxFaces) ? most : MaxFaces, Math.Max(MinSize, minSize ?? 0));
}
