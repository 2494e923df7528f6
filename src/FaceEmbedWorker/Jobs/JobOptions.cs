using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Jobs;

/// <summary>What a job's picture becomes.</summary>
internal enum EmbedMode
{
    /// <summary>Every face, aligned.</summary>
    Faces,

    /// <summary>The whole picture, resized.</summary>
    Image,
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

    /// <summary>What a job's picture becomes where the job does not say.</summary>
    [EnumDataType(typeof(EmbedMode))]
    public EmbedMode Mode { get; set; } = EmbedMode.Faces;

    /// <summary>What becomes of bytes that are no picture.</summary>
    [EnumDataType(typeof(UndecodablePolicy))]
    public UndecodablePolicy Undecodable { get; set; } = UndecodablePolicy.Stub;

    /// <summary>Seconds that one attempt at a job may take.</summary>
    [Range(0.001, 3600)]
    public double DeadlineSeconds { get; set; } = 60;

    /// <summary>Jobs worked on at once; 0: the cores that this process may use, container quota included.</summary>
    [Range(0, 1024)]
    public int Parallelism { get; set; }

    public int Slots => Parallelism > 0 ? Parallelism : Environment.ProcessorCount;
}
