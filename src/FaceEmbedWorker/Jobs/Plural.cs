using System.Globalization;

namespace FaceEmbedWorker.Jobs;

/// <summary>A number and its noun, as every sentence for people has them: <c>1 job</c>, <c>1,200 jobs</c>.</summary>
internal static class Plural
{
    /// <param name="many">Where an s does not make the plural.</param>
    public static string Of(long count, string one, string? many = null) => string.Create(CultureInfo.InvariantCulture, $"{count:N0} {(count == 1 ? one : many ?? one + "s")}");
}
