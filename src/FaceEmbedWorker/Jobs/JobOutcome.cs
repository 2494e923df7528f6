using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Jobs;

/// <summary>
/// How an attempt at a job ended. The job's own fault is <see cref="Rejected"/>; the world's, or nobody knows whose, is
/// <see cref="Retry"/>.
/// </summary>
internal abstract record JobOutcome
{
    public sealed record Completed(EmbedResult Result) : JobOutcome;

    /// <param name="Reason">One word, for counting.</param>
    /// <param name="Message">One sentence, for people.</param>
    public sealed record Retry(string Reason, string Message, string? Detail = null) : JobOutcome
    {
        /// <summary>The next attempt is worth nothing before; null: at any time.</summary>
        public TimeSpan? After { get; init; }

        /// <summary>False: the picture's host was not asked, for it had failed again and again before.</summary>
        public bool Asked { get; init; } = true;

        /// <summary>It was no attempt: the job stood in line at its host until its time was over.</summary>
        public bool InLine { get; init; }
    }

    /// <inheritdoc cref="Retry"/>
    public sealed record Rejected(string Reason, string Message, string? Detail = null) : JobOutcome;

    /// <summary>The one place where exceptions become outcomes.</summary>
    public static JobOutcome Of(Exception exception) => exception switch
    {
        ImageException e => new Rejected(Word(e.Fault), e.Message, e.InnerException?.Message),
        ModelException e => new Retry("model_output", e.Message), // a model that is wrong fails every job: the intake pauses, and the archive is no dead letter
        SourceException e => new Retry("source_unavailable", e.Message, e.InnerException?.Message) { After = e.RetryAfter, Asked = !e.Paused },
        TurnException e => new Retry("deadline", e.Message) { InLine = true },
        OperationCanceledException => new Retry("deadline", "The job ran into its deadline; Jobs:DeadlineSeconds sets it."),
        OutOfMemoryException => new Retry("out_of_memory", "Memory ran out.", exception.ToString()),
        IOException => new Retry("io", exception.Message, exception.ToString()),
        _ => new Retry("unexpected", $"{exception.GetType().Name}: {exception.Message}", exception.ToString()),
    };

    /// <summary>As in <c>fw-error</c>.</summary>
    internal static string Word(ImageFault fault) => fault switch
    {
        ImageFault.Undecodable => "undecodable",
        ImageFault.Empty => "malformed", // as a job whose body is empty
        ImageFault.Refused => "refused",
        ImageFault.TooLarge => "too_large",
        ImageFault.Unsupported => "unsupported",
        ImageFault.SourceDenied => "source_denied",
        ImageFault.SourceMissing => "source_missing",
        ImageFault.SourceMismatch => "source_mismatch",
        ImageFault.Unreadable => "unreadable",
        _ => throw new ArgumentOutOfRangeException(nameof(fault)),
    };
}
