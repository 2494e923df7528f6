using System.Globalization;
using FaceEmbedWorker.Tests.EndToEnd;

namespace FaceEmbedWorker.Tests.Chaos;

/// <summary>
/// The books of the attacks: what was handed in against what came out. FACE_EMBED_CHAOS multiplies the jobs and, above 1, makes outages as
/// long as real ones (tests/chaos sets it); FACE_EMBED_LEDGER names a file that gets a line a scenario.
/// </summary>
internal static class Ledger
{
    private static readonly Lock Writing = new();

    public static int Scale { get; } = int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_CHAOS") ?? "1", CultureInfo.InvariantCulture);

    public static bool Full => Scale > 1;

    /// <summary>Where an attack needs no single one: each start is a second of a core.</summary>
    public static int Workers => Full ? 3 : 2;

    /// <summary>Of a long alarm; FACE_EMBED_ALARM.</summary>
    public static int AlarmSeconds { get; } = int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_ALARM") ?? "120", CultureInfo.InvariantCulture);

    /// <summary>With one face, and small.</summary>
    public static byte[] Photo { get; } = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(0.4), ".jpg");

    /// <summary>In the short form of whole pictures: half of the work, and the same messages.</summary>
    public static async Task SubmitAsync(BrokerProbe probe, int count, int from = 0, string? queue = null)
    {
        for (var i = from; i < from + count; i += 50)
        {
            await Task.WhenAll(Enumerable.Range(i, Math.Min(50, from + count - i)).Select(n => probe.SubmitAsync(Photo, "image/jpeg", $"job-{n}", Full ? null : new() { ["mode"] = "image" }, queue: queue)));
        }
    }

    /// <summary>Hands in jobs and waits for half as many results, so that there is work in hand when it returns.</summary>
    public static async Task MoreAsync(BrokerProbe probe, int count)
    {
        await SubmitAsync(probe, 2 * count, from: probe.Submitted);
        await probe.WaitForMoreAsync(count);
    }

    /// <summary>Hands in jobs for as long as an attack takes, so that there are some on their way all the while.</summary>
    public static async Task UnderLoadAsync(BrokerProbe probe, Func<Task> attack)
    {
        await MoreAsync(probe, 30);
        var (before, attacking) = (probe.Submitted, attack());
        while (!attacking.IsCompleted)
        {
            await SubmitAsync(probe, 2, from: probe.Submitted);
            await Task.Delay(20);
        }

        await attacking;
        Assert.True(probe.Submitted > before);
    }

    /// <summary>Fails where a job was lost; otherwise a line for the table in docs/delivery.md.</summary>
    public static void Record(TestBroker broker, string scenario, int jobs, int attacks, BrokerProbe probe) =>
        Record(broker is DebianBroker ? "3.10" : "4.0", scenario, jobs, attacks, probe);

    public static void Record(string version, string scenario, int jobs, int attacks, BrokerProbe probe)
    {
        var ids = probe.Results.Select(r => r.Properties.MessageId).ToArray();
        var lost = jobs - ids.Distinct().Count() - probe.Dead.Count;
        Assert.InRange(lost, int.MinValue, 0);
        Assert.All(probe.Results, r => Assert.StartsWith($"{BrokerProbe.JobId(r)}:", r.Properties.MessageId, StringComparison.Ordinal));
        if (Environment.GetEnvironmentVariable("FACE_EMBED_LEDGER") is { Length: > 0 } ledger)
        {
            lock (Writing)
            {
                File.AppendAllText(ledger, FormattableString.Invariant($"| {version} | {scenario} | {jobs} | {attacks} | {Math.Max(0, lost)} | {ids.Length - ids.Distinct().Count()} | {probe.LongestSilence.TotalSeconds:0.0} s | {(probe.SlowestRecovery is { } slowest ? FormattableString.Invariant($"{slowest.TotalSeconds:0.0} s") : "")} |\n"));
            }
        }
    }
}
