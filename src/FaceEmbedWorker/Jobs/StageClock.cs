namespace FaceEmbedWorker.Jobs;

/// <summary>The stages of a job that take time.</summary>
internal enum Stage
{
    Fetch,
    Decode,
    Detect,
    Align,
    Embed,
}

/// <summary>Adds up what each stage of one job takes.</summary>
internal sealed class StageClock(TimeProvider time)
{
    private readonly long start = time.GetTimestamp();
    private readonly double?[] milliseconds = new double?[Enum.GetValues<Stage>().Length];
    private long last = time.GetTimestamp();

    /// <summary>What has passed since the last mark was spent on <paramref name="stage"/>.</summary>
    public void Mark(Stage stage)
    {
        var now = time.GetTimestamp();
        milliseconds[(int)stage] = (milliseconds[(int)stage] ?? 0) + time.GetElapsedTime(last, now).TotalMilliseconds;
        last = now;
    }

    /// <summary>What has passed since the last mark was spent on none.</summary>
    public void Skip() => last = time.GetTimestamp();

    public TimeSpan Elapsed => time.GetElapsedTime(start);

    public ResultTimings Read() => new(Rounded(milliseconds[0]), Rounded(milliseconds[1]), Rounded(milliseconds[2]), Rounded(milliseconds[3]), Rounded(milliseconds[4]),
        Math.Round(time.GetElapsedTime(start).TotalMilliseconds, 2));

    private static double? Rounded(double? value) => value is { } known ? Math.Round(known, 2) : null;
}
