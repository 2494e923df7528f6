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

    [Description("A model that fails face-embed model check at start: Warn (log, /readyz and results say so), Refuse or Off.")]
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

    [Description("Faces with a lower quality score are left out and listed as skipped.")]
    [Range(0.0, 1.0)]
    public double MinQuality { get; set; }

    [Description("Lowest score of a face, flat; 0: what the detector's card says.")]
    [Range(0.0, 1.0)]
    public double DetectionThreshold { get; set; }

    [Description("Boxes that overlap more are one face.")]
    [Range(0.0, 1.0)]
    public double DetectionOverlap { get; set; } = 0.3;
}
