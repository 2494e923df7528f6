using System.Globalization;
using System.Text;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>Writes the <c>fw-*</c> headers that say what became of a job.</summary>
internal static class DeadLetters
{
    public const string ErrorHeader = "fw-error";
    public const string MessageHeader = "fw-error-message";
    public const string DetailHeader = "fw-error-detail";
    public const string FirstFailedHeader = "fw-first-failed-at";
    public const string LastFailedHeader = "fw-last-failed-at";
    public const string WorkerHeader = "fw-worker";
    public const string VersionHeader = "fw-version";
    public const string ReplaysHeader = "fw-replays";
    public const string ExpirationHeader = "fw-expiration";

    public const string Malformed = "malformed";
    public const string CrashLoop = "crash_loop";
    public const string AttemptsExhausted = "attempts_exhausted";
    public const string Expired = "expired";

    /// <summary>What becomes of the job cannot be published as it is.</summary>
    public const string Unpublishable = "unpublishable";

    private const int LongestMessage = 1024;
    private const int LongestDetail = 4096;

    /// <summary>Properties of a job that waits for its next attempt.</summary>
    public static BasicProperties ForRetry(JobMessage job, JobOutcome.Retry retry, DateTimeOffset now)
    {
        var properties = Failed(job, retry.Reason, retry.Message, retry.Detail, now);
        properties.Headers![JobMessage.AttemptHeader] = job.Attempt + 1;
        return properties;
    }

    /// <summary>Properties of a job that waits, and that nobody has tried: no attempt is counted.</summary>
    public static BasicProperties ForWait(JobMessage job)
    {
        var properties = job.CopyProperties();
        properties.Headers![JobMessage.AttemptHeader] = job.Attempt;
        return properties;
    }

    /// <summary>Properties of a fresh copy of a job that nobody has tried: no attempt is counted, and none of its returns.</summary>
    public static BasicProperties ForReturn(JobMessage job)
    {
        var properties = ForWait(job);
        properties.Headers!.Remove(ExpirationHeader);
        properties.Expiration = job.Expiration;
        return properties;
    }

    /// <summary>Properties of a dead letter that is handed in again.</summary>
    public static BasicProperties ForReplay(JobMessage letter)
    {
        var properties = ForReturn(letter);
        properties.Headers!.Remove(JobMessage.AttemptHeader);
        properties.Headers.Remove(FirstFailedHeader);
        properties.Headers[ReplaysHeader] = letter.Number(ReplaysHeader) + 1;
        return properties;
    }

    /// <summary>
    /// The same with as little as the job, or whoever finds the letter, can do with: for what cannot be published in full.
    /// </summary>
    public static BasicProperties Least(JobMessage job, BasicProperties full)
    {
        var properties = job.LeastProperties();
        foreach (var name in new[] { JobMessage.AttemptHeader, ErrorHeader, FirstFailedHeader, LastFailedHeader, WorkerHeader, VersionHeader, ReplaysHeader, JobMessage.BulkHeader })
        {
            if (full.Headers!.TryGetValue(name, out var value))
            {
                properties.Headers![name] = value;
            }
        }

        if (full.IsPriorityPresent())
        {
            properties.Priority = full.Priority;
        }

        if (full.Headers!.ContainsKey(MessageHeader))
        {
            properties.Headers![MessageHeader] = "Its other headers could not be published again.";
        }

        return properties;
    }

    /// <summary>Properties of a dead letter.</summary>
    public static BasicProperties ForDeadLetter(JobMessage job, string jobId, string reason, string message, string? detail, DateTimeOffset now)
    {
        var properties = Failed(job, reason, message, detail, now);
        properties.Headers![JobMessage.AttemptHeader] = job.Attempt;
        properties.Headers.TryAdd(ReplaysHeader, 0);
        properties.MessageId = JobMessage.Short(jobId); // its result would have had that
        return properties;
    }

    private static BasicProperties Failed(JobMessage job, string reason, string message, string? detail, DateTimeOffset now)
    {
        var properties = job.CopyProperties();
        var headers = properties.Headers!;
        var time = now.UtcDateTime.ToString("O", CultureInfo.InvariantCulture);
        headers[ErrorHeader] = reason;
        headers[MessageHeader] = Clip(message, LongestMessage);
        if (detail is not null)
        {
            headers[DetailHeader] = Clip(detail, LongestDetail);
        }

        headers.TryAdd(FirstFailedHeader, time);
        headers[LastFailedHeader] = time;
        headers[WorkerHeader] = JobHandler.Worker;
        headers[VersionHeader] = JobHandler.Version;
        return properties;
    }

    /// <summary>At most <paramref name="longest"/> bytes of UTF-8, cut between characters.</summary>
    internal static string Clip(string text, int longest)
    {
        if (Encoding.UTF8.GetByteCount(text) <= longest)
        {
            return text;
        }

        var clipped = new StringBuilder();
        var left = longest - 3; // for the ellipsis
        foreach (var rune in text.EnumerateRunes())
        {
            left -= rune.Utf8SequenceLength;
            if (left < 0)
            {
                break;
            }

            clipped.Append(rune.ToString());
        }

        return clipped.Append('…').ToString();
    }
}
