using System.Security.Cryptography;
using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Jobs;

/// <summary>
/// The life of one job, from its picture to its outcome. The same bytes give the same vectors, whatever runs beside them.
/// </summary>
internal sealed class JobHandler(ImageFetcher fetcher, ImageDecoder decoder, FaceDetector detector, FaceAligner aligner, FaceEmbedder embedder,
    IOptions<JobOptions> options, IOptions<FaceOptions> faceOptions, WarmThreads threads, TimeProvider time)
{
    /// <summary>Of a result's crops: it has to go through brokers that take 16 MiB, in base64 and beside the vectors.</summary>
    private const int MostCropBytes = 4 * 1024 * 1024;

    /// <summary>Pixels of a crop's side: whole photos are none.</summary>
    private const int LargestCrop = 256;

    /// <summary>Pixels from the first to the last of a face's landmarks.</summary>
    private const double LeastSpan = 2;
    private const string InOneLine = "lie in one place, or in one line";

    private static readonly JsonElement NoMetadata = JsonElement.Parse("{}");
    private readonly JobOptions options = options.Value;
    private readonly FaceOptions faceOptions = faceOptions.Value;

    /// <summary>Host and process, as results and dead letters name it.</summary>
    public static string Worker { get; } = $"{Environment.MachineName}/{Environment.ProcessId}";

    /// <summary>This program's.</summary>
    public static string Version { get; } = typeof(JobHandler).Assembly.GetName().Version!.ToString(3);

    /// <summary>
    /// What the embedder's self-test found wrong, set once at start; null: nothing, or not tested. Results carry that it failed.
    /// </summary>
    public string? ModelDoubt { get; set; }

    /// <exception cref="OperationCanceledException">Only where <paramref name="stopping"/> is cancelled: the job is undecided.</exception>
    public async Task<JobOutcome> HandleAsync(EmbedJob job, CancellationToken stopping)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(options.DeadlineSeconds), time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, stopping);
        var (cancel, clock) = (either.Token, new StageClock(time));
        var bytes = Array.Empty<byte>();
        if (job.Deadline is { } end && time.GetUtcNow() > end)
        {
            return new JobOutcome.Rejected("expired", $"The job was worth doing until {end.UtcDateTime:yyyy-MM-ddTHH:mm:ssZ}, and that is past.");
        }

        var mode = job.Mode ?? options.Mode;
        string[] warnings = [.. job.Warnings ?? [], .. Ignored(job, mode)];
        job = job with { Warnings = warnings.Length > 0 ? warnings : null };
        if (mode != EmbedMode.Image && embedder.Card.NotForFaces is { } reason)
        {
            return new JobOutcome.Rejected("refused", reason);
        }

        try
        {
            bytes = await fetcher.FetchAsync(job.Image, cancel, last: job.Turn is not null);
            if (job.Image is not ImageSource.Data)
            {
                clock.Mark(Stage.Fetch);
                await TurnAsync(job, clock, deadline, stopping);
            }

            return await threads.RunAsync(() => Embed(job, mode, bytes, clock, cancel));
        }
        catch (ImageException e) when (e.Fault == ImageFault.Undecodable && options.Undecodable == UndecodablePolicy.Stub)
        {
            return EmbedStub(job, bytes, e, clock);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            return JobOutcome.Of(e);
        }
    }

    /// <summary>What others do meanwhile is none of the job's time.</summary>
    private async Task TurnAsync(EmbedJob job, StageClock clock, CancellationTokenSource deadline, CancellationToken stopping)
    {
        if (job.Turn is { } turn)
        {
            var left = TimeSpan.FromSeconds(options.DeadlineSeconds) - clock.Elapsed;
            deadline.CancelAfter(Timeout.InfiniteTimeSpan);
            await turn().WaitAsync(stopping);
            deadline.CancelAfter(left > TimeSpan.Zero ? left : TimeSpan.Zero);
            clock.Skip();
        }
    }

    private JobOutcome Embed(EmbedJob job, EmbedMode mode, byte[] bytes, StageClock clock, CancellationToken cancel)
    {
        var encoded = decoder.Open(bytes);
        return mode switch
        {
            EmbedMode.Faces => EmbedFaces(job, bytes, encoded, clock, cancel),
            EmbedMode.Aligned => EmbedAligned(job, bytes, encoded, clock, cancel),
            _ => EmbedWhole(job, bytes, encoded, clock, cancel),
        };
    }

    private JobOutcome.Completed EmbedFaces(EmbedJob job, byte[] bytes, EncodedImage encoded, StageClock clock, CancellationToken cancel)
    {
        var seen = new FaceSearch(encoded, detector, aligner, embedder, faceOptions, job, clock, cancel).Run();
        var described = seen.Faces.Select(f => Describe(f, encoded)).OrderByDescending(e => e.Box!.Width * e.Box.Height).ToArray();
        var kept = described.Where(e => e.Quality!.Score >= faceOptions.MinQuality).ToArray();
        SkippedFace[] skipped = [.. described.Except(kept).Select(e => new SkippedFace(e.Box!, e.Score!.Value, e.Quality!, ["min_quality", .. e.Quality!.Flags!])), .. seen.LeftOut.Select(Describe)];
        var image = Describe(bytes, encoded) with { Rotation = seen.Faces is [{ Turn: not 0 and var turn }, ..] ? turn : null };
        var outcome = kept.Length > 0 ? EmbedResult.Embedded : EmbedResult.NoFace;
        var (embeddings, warnings) = job.EveryCrop ? (kept, job.Warnings) : WithCrops(kept, job.Warnings);
        var completed = Complete(job with { Warnings = warnings }, outcome, Model(embedder.FaceSpace), image, embeddings, clock);
        return skipped.Length > 0 ? new(completed.Result with { Skipped = skipped }) : completed;
    }

    /// <summary>What a job asks for that its mode does not have.</summary>
    private static IEnumerable<string> Ignored(EmbedJob job, EmbedMode mode)
    {
        if (job.Landmarks is not null && mode != EmbedMode.Aligned)
        {
            yield return "The job's 'landmarks' were ignored: mode aligned takes them.";
        }

        if (job.ReturnCrops is not null && mode != EmbedMode.Faces)
        {
            yield return "The job's 'return_crops' was ignored: mode faces returns crops.";
        }

        foreach (var (name, value) in new[] { ("detail", job.Detail), ("max_faces", job.MaxFaces), ("min_face_size", job.MinFaceSize) })
        {
            if (value is not null && mode != EmbedMode.Faces)
            {
                yield return $"The job's '{name}' was ignored: mode faces looks for faces.";
            }
        }
    }

    /// <summary>Crops of as many of the largest faces as a message has room for.</summary>
    internal static (ResultEmbedding[] Embeddings, IReadOnlyList<string>? Warnings) WithCrops(ResultEmbedding[] faces, IReadOnlyList<string>? warnings)
    {
        var (bytes, without) = (0L, 0);
        var fitting = Array.ConvertAll(faces, face =>
        {
            bytes += face.Crop?.Data.Length ?? 0;
            without += bytes > MostCropBytes ? 1 : 0;
            return without > 0 ? face with { Crop = null } : face;
        });
        return (fitting, without == 0 ? warnings : [.. warnings ?? [], $"{Plural.Of(without, "face")} of {faces.Length:N0} have no crop: a result has room for {MostCropBytes / (1024 * 1024)} MiB of them. Ask for jpeg, or for fewer faces."]);
    }

    /// <summary>No detection: what a first pass returned as a face's crop, or a face of which the landmarks are known.</summary>
    private JobOutcome EmbedAligned(EmbedJob job, byte[] bytes, EncodedImage encoded, StageClock clock, CancellationToken cancel)
    {
        var landmarks = job.Landmarks?.ToArray();
        if (landmarks is null && Math.Max(encoded.Width, encoded.Height) > LargestCrop && (encoded.Width, encoded.Height) != (aligner.Width, aligner.Height))
        {
            return new JobOutcome.Rejected("malformed", $"The picture has {encoded.Width} x {encoded.Height} pixels, and a crop has {LargestCrop} a side at most. Mode aligned takes a crop of one face, or a picture and its 'landmarks'.");
        }

        if (landmarks is not null && (Span(landmarks, p => p.X, encoded.Width) ?? Span(landmarks, p => p.Y, encoded.Height) ?? Slanted(landmarks)) is { } why)
        {
            return new JobOutcome.Rejected("malformed", $"The landmarks are none of a face in this picture of {encoded.Width} x {encoded.Height} pixels: they {why}.");
        }

        if (landmarks is not null && !aligner.IsByLandmarks)
        {
            return new JobOutcome.Rejected("malformed", $"The model {embedder.Card.Id} takes faces by their box, not by landmarks. Send the face's crop without 'landmarks', or use mode faces.");
        }

        var scale = landmarks is null ? 1 : aligner.ScaleOf(landmarks);
        var shrink = encoded.WithinMemory(encoded.ShrinkFor(((int)(encoded.Width / scale), (int)(encoded.Height / scale))));
        using var picture = encoded.Decode(shrink, cancel);
        clock.Mark(Stage.Decode);

        var error = 0.0;
        using var aligned = landmarks is null ? aligner.AlignCrop(picture) : aligner.Align(picture, default, landmarks, out error);
        clock.Mark(Stage.Align);
        if (aligned is null)
        {
            return new JobOutcome.Rejected("malformed", $"The picture has {encoded.Width} x {encoded.Height} pixels: a crop is square, or of the model's {aligner.Width} x {aligner.Height}. Mode aligned takes a crop of one face, or a picture and its 'landmarks'.");
        }

        var embedding = embedder.Embed(aligned);
        clock.Mark(Stage.Embed);
        var sharpness = FaceQuality.SharpnessOf(embedding.Norm, embedder.Card);
        var quality = new ResultQuality(Math.Round(embedding.Norm, 3), landmarks is null ? null : Math.Round(error, 2), Sharpness: sharpness is { } s ? Math.Round(s, 3) : null, Flags: FaceQuality.FlagsOf(sharpness, error));
        return Complete(job, EmbedResult.Embedded, Model(embedder.FaceSpace), Describe(bytes, encoded), [new ResultEmbedding("face", embedding.Vector, Landmarks: landmarks is null ? null : Pairs(landmarks), Quality: quality)], clock);
    }

    /// <summary>What is wrong with landmarks along one axis; null: nothing.</summary>
    private static string? Span(Point[] landmarks, Func<Point, double> along, int length) => landmarks.Average(along) is var middle && (middle < 0 || middle > length) ? "lie outside"
        : landmarks.Max(along) - landmarks.Min(along) < LeastSpan ? InOneLine : null;

    /// <summary>The same of the axis along which they spread least.</summary>
    private static string? Slanted(Point[] landmarks)
    {
        var (x, y) = (landmarks.Average(p => p.X), landmarks.Average(p => p.Y));
        var angle = Math.Atan2(2 * landmarks.Sum(p => p.X * (p.Y - y)), landmarks.Sum(p => p.X * (p.X - x) - p.Y * (p.Y - y))) / 2; // one factor about its mean is enough
        double[] across = [.. landmarks.Select(p => p.Y * Math.Cos(angle) - p.X * Math.Sin(angle))];
        return across.Max() - across.Min() < LeastSpan ? InOneLine : null;
    }

    private JobOutcome.Completed EmbedWhole(EmbedJob job, byte[] bytes, EncodedImage encoded, StageClock clock, CancellationToken cancel)
    {
        using var picture = encoded.Decode(shrink: 1, cancel);
        clock.Mark(Stage.Decode);

        var embedding = embedder.EmbedWhole(picture);
        clock.Mark(Stage.Embed);

        var quality = new ResultQuality(Math.Round(embedding.Norm, 3));
        return Complete(job, EmbedResult.Embedded, Model(embedder.ImageSpace), Describe(bytes, encoded), [new ResultEmbedding("image", embedding.Vector, Quality: quality)], clock);
    }

    private JobOutcome.Completed EmbedStub(EmbedJob job, byte[] bytes, ImageException why, StageClock clock)
    {
        var vector = StubEmbedding.Compute(bytes, embedder.Dimensions);
        var model = new ResultModel(StubEmbedding.ModelId, StubEmbedding.Space(embedder.Dimensions), embedder.Dimensions);
        var completed = Complete(job, EmbedResult.Stub, model, new ResultImage(Sha256(bytes)), [new ResultEmbedding("stub", vector)], clock);
        return new(completed.Result with { Error = JobOutcome.Word(why.Fault), Message = why.Message });
    }

    private JobOutcome.Completed Complete(EmbedJob job, string outcome, ResultModel model, ResultImage image, IReadOnlyList<ResultEmbedding> embeddings, StageClock clock) =>
        new(new EmbedResult
        {
            JobId = job.Id,
            Outcome = outcome,
            Model = model,
            Image = image,
            Embeddings = embeddings,
            Metadata = job.Metadata ?? NoMetadata,
            Warnings = job.Warnings,
            Attempt = job.Attempt,
            Worker = Worker,
            Version = Version,
            TimingsMs = clock.Read(),
            CompletedAt = time.GetUtcNow().UtcDateTime,
        });

    private ResultModel Model(string space) => new(embedder.Card.Id, space, embedder.Dimensions, ModelDoubt is null ? null : "failed");

    private static ResultImage Describe(byte[] bytes, EncodedImage encoded) =>
        new(Sha256(bytes), encoded.Format, encoded.Width, encoded.Height, encoded.Orientation, Decoder: encoded.DecodedBy);

    private ResultEmbedding Describe(Face face, EncodedImage encoded)
    {
        var quality = FaceQuality.Of(face, embedder.Card, encoded.Width, encoded.Height);
        return new ResultEmbedding("face", face.Embedding.Vector, Whole(face.Box), Pairs(face.Landmarks), Math.Round(face.Score, 4), new ResultQuality(
            Math.Round(face.Embedding.Norm, 3), Math.Round(face.AlignmentError, 2), (int)quality.Size, quality.Sharpness is { } sharpness ? Math.Round(sharpness, 3) : null,
            Degrees(quality.Pose.Yaw), Degrees(quality.Pose.Pitch), Degrees(quality.Pose.Roll), detector.IsUncertain(face.Score) ? [.. quality.Flags, FaceQuality.Uncertain] : quality.Flags, Math.Round(quality.Score, 3)), Crop: face.Crop is { } crop ? new ResultCrop(crop.Format, crop.Data, crop.Landmarks is { } points ? Pairs(points) : null) : null);
    }

    private SkippedFace Describe(LeftOut face) =>
        new(Whole(face.Box), Math.Round(face.Score, 4), Quality: null, detector.IsUncertain(face.Score) ? [face.Reason, FaceQuality.Uncertain] : [face.Reason]);

    private static double[][] Pairs(Point[] points) => Array.ConvertAll(points, p => new[] { Math.Round(p.X, 1), Math.Round(p.Y, 1) });

    private static ResultBox Whole(Box box)
    {
        var shown = box.Rounded();
        return new ResultBox((int)shown.X, (int)shown.Y, (int)shown.Width, (int)shown.Height);
    }

    /// <summary>Whole, and never -0.</summary>
    private static double Degrees(double angle) => Math.Round(angle) + 0.0;

    private static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
