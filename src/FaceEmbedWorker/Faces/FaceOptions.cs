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

/// <summary>Which models run, and when a box counts as a face. Section <c>Faces</c>. Relative paths are looked up in the working directory, then beside the program.</summary>
internal sealed class FaceOptions
{
    public const string Section = "Faces";

    /// <summary>ONNX file of the detector; its card (<c>.json</c>) lies beside it.</summary>
    [Required]
    public string DetectionModel { get; set; } = "models/face_detection.onnx";

    /// <summary>ONNX file of a 68-point landmark network, for a detector that gives no points of its own; its card lies beside it.</summary>
    public string LandmarksModel { get; set; } = "";

    /// <summary>ONNX file of the embedder. Without a card beside it: RGB, (x - 127.5) / 127.5, NCHW, size from its input (160 x 160 when symbolic).</summary>
    [Required]
    public string EmbeddingModel { get; set; } = "models/face_embedding.onnx";

    /// <summary>The embedder's card: a file, or the name of a known family; empty: the <c>.json</c> beside the model.</summary>
    public string EmbeddingCard { get; set; } = "";

    /// <summary>What a model that fails its self-test does to the worker's start.</summary>
    [EnumDataType(typeof(SelfTestPolicy))]
    public SelfTestPolicy SelfTest { get; set; } = SelfTestPolicy.Warn;

    /// <summary>Rewrite the models' graphs in memory for ONNX Runtime's fast path. The files, their checksums and the embedding space stay as they are.</summary>
    public bool PrepareGraph { get; set; } = true;

    /// <summary>How finely a picture is searched, 1 to 4: its longest side is brought down to 320, 640, 960 or 1,920 pixels. Each step finds smaller faces and costs more.</summary>
    [Range(1, 4)]
    public int DetectionDetail { get; set; } = 2;

    /// <summary>Look again with a border where no face is found, or one that fills the picture.</summary>
    public bool TightCrops { get; set; } = true;

    /// <summary>Look at the picture turned by 90, 180 and 270 degrees where no clear face is found.</summary>
    public bool TurnedPhotos { get; set; } = true;

    /// <summary>Faces whose quality score is lower are left out of a result and listed in it as skipped; 0: none.</summary>
    [Range(0.0, 1.0)]
    public double MinQuality { get; set; }

    /// <summary>Lowest score of a box that counts as a face, 0 to 1; 0: what the detector's card says.</summary>
    [Range(0.0, 1.0)]
    public double DetectionThreshold { get; set; }

    /// <summary>Boxes that overlap by more than this (intersection over union) are one face, 0 to 1.</summary>
    [Range(0.0, 1.0)]
    public double DetectionOverlap { get; set; } = 0.3;
}
