using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Jobs;

/// <summary>How a vector is written into a result.</summary>
internal enum VectorEncoding
{
    /// <summary><c>vector</c>: JSON numbers.</summary>
    Numbers,

    /// <summary><c>vector_base64</c>: float32, little-endian, in base64; a third of the bytes.</summary>
    Base64,
}

/// <summary>What surrounds a result.</summary>
internal enum ResultEnvelope
{
    /// <summary>Nothing; a CloudEvent where the job was one.</summary>
    Plain,

    /// <summary>CloudEvents 1.0, structured JSON.</summary>
    CloudEvents,
}

/// <summary>How results are written. Section <c>Results</c>.</summary>
internal sealed class ResultOptions
{
    public const string Section = "Results";

    [Description("How vectors are written where a job does not say: Numbers or Base64.")]
    [EnumDataType(typeof(VectorEncoding))]
    public VectorEncoding VectorEncoding { get; set; }

    [Description("What surrounds a result: Plain, or CloudEvents for every result.")]
    [EnumDataType(typeof(ResultEnvelope))]
    public ResultEnvelope Envelope { get; set; }

    [Description("Queues that a job's reply_to may name, with * for any text; empty for none.")]
    public string ReplyTo { get; set; } = "amq.rabbitmq.reply-to*,amq.gen-*";

    /// <summary><see cref="ReplyTo"/>, one each.</summary>
    public string[] ReplyToPatterns => ReplyTo.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}
