using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Jobs;

/// <summary>What a job's picture becomes.</summary>
internal enum EmbedMode
{
    /// <summary>Every face, aligned.</summary>
    Faces,

    /// <summary>The whole picture, resized.</summary>
    Image,

    /// <summary>One face: the picture is its crop, or the job names its landmarks.</summary>
    Aligned,
}

/// <summary>What becomes of bytes that are no picture.</summary>
internal enum UndecodablePolicy
{
    /// <summary>A result, marked as a stub.</summary>
    Stub,

    /// <summary>A dead letter.</summary>
    Reject,
}

/// <summary>How jobs are worked on. Section <c>Jobs</c>.</summary>
internal sealed class JobOptions
{
    public const string Section = "Jobs";

    [Description("What a job's picture becomes where the job does not say: Faces, Image or Aligned.")]
    [EnumDataType(typeof(EmbedMode))]
    public EmbedMode Mode { get; set; } = EmbedMode.Faces;

    [Description("What becomes of bytes that are no picture: Stub (a marked stand-in for a vector, to be kept out of every index) or Reject (a dead letter).")]
    [EnumDataType(typeof(UndecodablePolicy))]
    public UndecodablePolicy Undecodable { get; set; } = UndecodablePolicy.Stub;

    [Description("Seconds for one attempt at a job.")]
    [Range(0.001, 3600)]
    public double DeadlineSeconds { get; set; } = 60;

    [Description("Jobs worked on at once; 0: the cores that the process may use, container quota included.")]
    [Range(0, 1024)]
    public int Parallelism { get; set; }

    [Description("Percent of the jobs that come from the bulk queue though others wait; needs Broker:BulkQueue.")]
    [Range(1, 99)]
    public int BulkShare { get; set; } = 10;

    public int Slots => Parallelism > 0 ? Parallelism : Environment.ProcessorCount;
}
