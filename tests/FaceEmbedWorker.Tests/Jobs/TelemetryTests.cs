using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Jobs;

public sealed partial class TelemetryTests : IDisposable
{
    private readonly MeterListener listener = new();
    private readonly ActivityListener traces = new();
    private readonly List<Instrument> instruments = [];
    private readonly List<string> measured = [];
    private readonly int thread = Environment.CurrentManagedThreadId; // what is measured and traced is told on the thread that does it, and other tests do it too
    private readonly Meter[] watched;
    private bool open = true;

    public TelemetryTests()
    {
        RuntimeHelpers.RunClassConstructor(typeof(Telemetry).TypeHandle);
        watched = [Telemetry.Watch(() => 7, () => open, () => [("face.jobs", "jobs", 3), ("face.jobs.dead", "dead", 4)]), Telemetry.WatchBulk(() => open, () => 9)];
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter.Name == Telemetry.Name && (!instrument.IsObservable || watched.Contains(instrument.Meter)))
            {
                instruments.Add(instrument);
                l.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.Start();
        traces.ShouldListenTo = source => source.Name == Telemetry.Name;
        traces.Sample = (ref ActivityCreationOptions<ActivityContext> _) => IsMine ? ActivitySamplingResult.AllData : ActivitySamplingResult.None;
        ActivitySource.AddActivityListener(traces);
    }

    public void Dispose()
    {
        listener.Dispose();
        traces.Dispose();
        Array.ForEach(watched, meter => meter.Dispose());
    }

    [Fact]
    public void The_documented_metrics_are_those_that_are_exported()
    {
        Assert.Equal(Documented().Select(row => row.Name).Order(), instruments.Select(i => i.Name).Order());
        Assert.All(Documented(), row => Assert.Equal(row.What.Contains("seconds", StringComparison.Ordinal), Instrument(row.Name).Unit == "s"));
        Assert.All(instruments, instrument =>
        {
            Assert.Matches("^(s|1|{[a-z]+})$", instrument.Unit); // what may stand there: UCUM, in braces what is counted
            Assert.Matches("^[A-Z0-9].+[a-z]\\.$", instrument.Description);
        });
    }

    [Fact]
    public void What_is_counted_says_what()
    {
        Assert.Equal(["{job}", "{job}", "{job}", "{job}", "{job}"], new[] { "jobs", "retries", "dead_letters", "in_flight", "bulk.results" }.Select(name => Instrument($"face_embed.{name}").Unit));
        Assert.Equal(["{message}", "{message}", "{message}"], new[] { "messaging.client.consumed.messages", "messaging.client.sent.messages", "face_embed.queue.ready" }.Select(name => Instrument(name).Unit));
        Assert.Equal(["{face}", "{picture}"], new[] { "faces", "pictures" }.Select(name => Instrument($"face_embed.{name}").Unit));
    }

    [Fact]
    public void A_job_that_is_handed_out_counts_for_its_queue()
    {
        Telemetry.JobConsumed("face.jobs");
        Assert.Equal(["messaging.client.consumed.messages 1 messaging.destination.name=face.jobs messaging.system=rabbitmq"], measured);
    }

    [Fact]
    public void A_confirmed_message_counts_as_sent()
    {
        Telemetry.MessagePublished("face.results", TimeSpan.FromSeconds(0.25), null);
        Assert.Equal(
            [
                "messaging.client.operation.duration 0.25 messaging.destination.name=face.results messaging.operation.name=publish messaging.system=rabbitmq",
                "messaging.client.sent.messages 1 messaging.destination.name=face.results messaging.system=rabbitmq",
            ],
            measured.Order());
    }

    [Fact]
    public void A_message_that_is_not_confirmed_tells_why_and_is_not_sent()
    {
        Telemetry.MessagePublished("face.results", TimeSpan.FromSeconds(30), "timeout");
        Assert.Equal(["messaging.client.operation.duration 30 error.type=timeout messaging.destination.name=face.results messaging.operation.name=publish messaging.system=rabbitmq"], measured);
    }

    [Fact]
    public void A_job_tells_its_time_and_why_it_failed()
    {
        Telemetry.JobProcessed(TimeSpan.FromMilliseconds(1500), "face.jobs", null);
        Telemetry.JobProcessed(TimeSpan.FromMilliseconds(500), "face.jobs.bulk", "io");
        Assert.Equal(
            [
                "messaging.process.duration 1.5 messaging.destination.name=face.jobs messaging.system=rabbitmq",
                "messaging.process.duration 0.5 error.type=io messaging.destination.name=face.jobs.bulk messaging.system=rabbitmq",
            ],
            measured);
    }

    [Fact]
    public void A_result_tells_its_picture_its_faces_and_the_seconds_of_its_stages()
    {
        new JobTally(new FakeTimeProvider()).Completed(Result(EmbedResult.Embedded));
        Assert.Equal(
            [
                "face_embed.faces 1 space=0123",
                "face_embed.jobs 1 outcome=embedded space=0123",
                "face_embed.pictures 1 decoder=libvips format=jpeg",
                "face_embed.stage.duration 0.25 stage=fetch",
                "face_embed.stage.duration 1.5 stage=detect",
            ],
            measured.Order());
    }

    [Fact]
    public void A_stub_is_no_picture()
    {
        new JobTally(new FakeTimeProvider()).Completed(Result(EmbedResult.Stub) with { TimingsMs = new ResultTimings(null, null, null, null, null, 1) });
        Assert.Equal(["face_embed.jobs 1 outcome=stub space=0123"], measured);
    }

    [Fact]
    public void Retries_and_dead_letters_tell_their_reason()
    {
        var tally = new JobTally(new FakeTimeProvider());
        tally.Retried("a", new JobOutcome.Retry("io", "away"));
        tally.Dead("b", "malformed", "no job");
        Assert.Equal(["face_embed.jobs 1 outcome=retry", "face_embed.retries 1 reason=io", "face_embed.jobs 1 outcome=dead_letter", "face_embed.dead_letters 1 reason=malformed"], measured);
    }

    [Fact]
    public void Gauges_tell_what_is_so_now()
    {
        string[] always = ["face_embed.bulk.results 9", "face_embed.in_flight 7", "face_embed.queue.ready 3 queue=face.jobs role=jobs", "face_embed.queue.ready 4 queue=face.jobs.dead role=dead"];
        listener.RecordObservableInstruments();
        Assert.Equal(always.Concat(["face_embed.bulk.open 1", "face_embed.intake.open 1"]).Order(), measured.Order());

        open = false;
        measured.Clear();
        listener.RecordObservableInstruments();
        Assert.Equal(always.Concat(["face_embed.bulk.open 0", "face_embed.intake.open 0"]).Order(), measured.Order());
    }

    [Fact]
    public void Each_documented_label_is_one_that_is_exported()
    {
        Telemetry.MessagePublished("face.results", TimeSpan.Zero, "timeout");
        Telemetry.JobProcessed(TimeSpan.Zero, "face.jobs", "io");
        Telemetry.JobCompleted(Result(EmbedResult.Embedded));
        Telemetry.JobRetried("io");
        Telemetry.JobDead("malformed");
        listener.RecordObservableInstruments();
        Assert.All(Documented().SelectMany(row => Code().Matches(row.What).Select(label => (row.Name, Label: label.Groups[1].Value))),
            d => Assert.Contains(measured, m => m.StartsWith($"{d.Name} ", StringComparison.Ordinal) && m.Contains($" {d.Label}=", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_span_of_a_job_is_a_child_of_its_producers()
    {
        using var span = Telemetry.StartProcess("face.jobs", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1")!;
        Assert.Equal(("process face.jobs", ActivityKind.Consumer, true), (span.OperationName, span.Kind, span.HasRemoteParent));
        Assert.Equal(("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "vendor=1"), (span.TraceId.ToHexString(), span.ParentSpanId.ToHexString(), span.TraceStateString));
        Assert.Equal(new Dictionary<string, object?> { ["messaging.system"] = "rabbitmq", ["messaging.operation.type"] = "process", ["messaging.destination.name"] = "face.jobs" }, span.TagObjects.ToDictionary());
    }

    [Theory]
    [InlineData(null)]
    [InlineData("no trace")]
    public void Without_a_producers_trace_a_job_begins_one(string? parent)
    {
        using var span = Telemetry.StartProcess("face.jobs", parent, null)!;
        Assert.Null(span.ParentId);
    }

    [Fact]
    public void Stages_are_drawn_one_after_the_other_below_the_job()
    {
        using var span = Telemetry.StartProcess("face.jobs", null, null)!;
        var stages = Stopped(span, () => Telemetry.AddStages(Result(EmbedResult.Embedded), span));
        Assert.Equal([("fetch", 0.0, 250.0), ("detect", 250.0, 1500.0)], stages.Select(s => (s.OperationName, (s.StartTimeUtc - span.StartTimeUtc).TotalMilliseconds, s.Duration.TotalMilliseconds)));
        Assert.All(stages, s => Assert.Equal(span.SpanId, s.ParentSpanId));
    }

    [Fact]
    public void A_span_that_nobody_records_has_no_stages()
    {
        using var span = Telemetry.StartProcess("face.jobs", null, null)!;
        span.IsAllDataRequested = false;
        Assert.Empty(Stopped(span, () => Telemetry.AddStages(Result(EmbedResult.Embedded), span)));
        Telemetry.AddStages(Result(EmbedResult.Embedded), null);
    }

    /// <summary>Activities of the span's trace that end meanwhile.</summary>
    private List<Activity> Stopped(Activity span, Action act)
    {
        var stopped = new List<Activity>();
        traces.ActivityStopped = activity =>
        {
            if (activity.TraceId == span.TraceId)
            {
                stopped.Add(activity);
            }
        };
        act();
        return stopped;
    }

    private bool IsMine => Environment.CurrentManagedThreadId == thread;

    private Instrument Instrument(string name) => instruments.Single(instrument => instrument.Name == name);

    private void Note(Instrument instrument, IFormattable value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (IsMine)
        {
            measured.Add(string.Join(' ', [FormattableString.Invariant($"{instrument.Name} {value}"), .. tags.ToArray().Select(tag => $"{tag.Key}={tag.Value}").Order(StringComparer.Ordinal)]));
        }
    }

    /// <summary>The table of docs/operating.md.</summary>
    private static (string Name, string What)[] Documented() =>
    [
        .. File.ReadLines(Path.Combine(TestData.Repository, "docs", "operating.md")).SkipWhile(line => line != "## Metrics").Skip(1).TakeWhile(line => !line.StartsWith("## ", StringComparison.Ordinal))
            .Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('|'))
            .SelectMany(cells => Code().Matches(cells[1]).Select(name => (name.Groups[1].Value, cells[2]))),
    ];

    private static EmbedResult Result(string outcome) => new()
    {
        JobId = "job",
        Outcome = outcome,
        Model = new ResultModel("model", "0123", 1),
        Image = new ResultImage("sum", "jpeg", Decoder: "libvips"),
        Embeddings = [new ResultEmbedding("face", [1])],
        Metadata = JsonElement.Parse("{}"),
        Attempt = 1,
        Worker = "host/1",
        Version = "1.0.0",
        TimingsMs = new ResultTimings(250, null, 1500, null, null, 1750),
        CompletedAt = DateTime.UnixEpoch,
    };

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
