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
    IOptions<JobOptions> options, IOptions<FaceOptions> faceOptions, TimeProvider time)
{
    /// <summary>Share of the picture from which a face is looked at again with a border.</summary>
    private const double MuchOfPicture = 0.3;

    /// <summary>Whole photos are turned, not details of them.</summary>
    private const int TurnedDetail = 2;

    /// <summary>
    /// A larger picture is copied at this many pixels for a look that turns it or puts a border around it: such a copy is up to three times
    /// as large, and outside <c>Images:MaxMemory</c>.
    /// </summary>
    private const int MostInView = 8_000_000, SmallerInView = 2_000_000;

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
            return new JobOutcome.Rejected("expired", $"The job was worth doing until {end.UtcDateTime:O}, and that is past.");
        }

        try
        {
            bytes = await fetcher.FetchAsync(job.Image, cancel);
            if (job.Image is not ImageSource.Data)
            {
                clock.Mark(Stage.Fetch);
            }

            var encoded = decoder.Open(bytes);
            return (job.Mode ?? options.Mode) == EmbedMode.Faces
                ? EmbedFaces(job, bytes, encoded, clock, cancel)
                : EmbedWhole(job, bytes, encoded, clock, cancel);
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

    private JobOutcome.Completed EmbedFaces(EmbedJob job, byte[] bytes, EncodedImage encoded, StageClock clock, CancellationToken cancel)
    {
        var detail = job.Detail ?? faceOptions.DetectionDetail;
        using var overview = encoded.Decode(encoded.WithinMemory(encoded.ShrinkFor(detector.WantedFor(detail, encoded.Width, encoded.Height))), cancel);
        clock.Mark(Stage.Decode);

        var faces = Look(encoded, overview, View.Plain, detail, clock, cancel);
        if (faceOptions.TightCrops && (faces.Count == 0 || WantsBorder(faces.MaxBy(f => f.Box.Area)!, encoded)))
        {
            faces = FaceQuality.Merged(faces, Look(encoded, overview, View.Padded, 1, clock, cancel), f => WantsBorder(f, encoded), embedder.Card, encoded.Width, encoded.Height);
        }

        if (faceOptions.TurnedPhotos && !faces.Exists(f => FaceQuality.IsClear(f, embedder.Card)))
        {
            var turned = View.Turned.Select(view => Look(encoded, overview, view, Math.Min(detail, TurnedDetail), clock, cancel)).ToArray();
            var upright = turned.Where(look => look.Exists(f => FaceQuality.IsUpright(f, faces, embedder.Card))).MaxBy(look => look.Max(f => f.Score)); // the surest: an upside-down face may be as sharp
            faces = upright is null ? faces : WithTurned(faces, upright);
            if (detail > TurnedDetail && faces is [{ Turn: not 0 } first, ..])
            {
                faces = Look(encoded, overview, View.Turned.Single(v => v.Turn == first.Turn), detail, clock, cancel);
            }
        }

        var described = faces.Select(f => Describe(f, encoded)).OrderByDescending(e => e.Box!.Width * e.Box.Height).ToArray();
        var kept = described.Where(e => e.Quality!.Score >= faceOptions.MinQuality).ToArray();
        var skipped = described.Except(kept).Select(e => new SkippedFace(e.Box!, e.Score!.Value, e.Quality!, ["min_quality", .. e.Quality!.Flags!])).ToArray();
        var image = Describe(bytes, encoded) with { Rotation = faces is [{ Turn: not 0 and var turn }, ..] ? turn : null };
        var outcome = kept.Length > 0 ? EmbedResult.Embedded : EmbedResult.NoFace;
        var completed = Complete(job, outcome, Model(embedder.FaceSpace), image, kept, clock);
        return skipped.Length > 0 ? new(completed.Result with { Skipped = skipped }) : completed;
    }

    /// <summary>
    /// What a turned look sees, where it stands for the picture: otherwise one who lies down would take the place of all who stand. Then
    /// faces that are upright stay, and those of the turned look that are clear come to them.
    /// </summary>
    private List<Face> WithTurned(List<Face> upright, List<Face> turned)
    {
        var others = upright.FindAll(f => !turned.Exists(t => FaceQuality.AreOne(f, t)));
        return others.Count(f => !detector.IsUncertain(f.Score)) <= turned.Count(t => !detector.IsUncertain(t.Score)) ? turned
            : [.. upright.Where(f => !turned.Exists(t => FaceQuality.IsClear(t, embedder.Card) && FaceQuality.AreOne(f, t))), .. turned.Where(t => FaceQuality.IsClear(t, embedder.Card))];
    }

    /// <summary>
    /// Finds, aligns and embeds the faces that one way to look at the picture shows: a face is always cut out of the picture as delivered.
    /// </summary>
    private List<Face> Look(EncodedImage encoded, Picture overview, View view, int detail, StageClock clock, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        using var small = view == View.Plain ? null : detector.Shrunk(overview, detail); // a copy of all of it would double what a job takes
        using var shown = small is null ? null : view.Apply(small);
        var found = detector.Detect(shown ?? overview, detail);
        cancel.ThrowIfCancellationRequested();
        found = found.Count == 0 && view == View.Plain ? detector.DetectFiner(overview, detail) : found;
        clock.Mark(Stage.Detect);

        using var finer = DecodeFiner(encoded, overview, found, cancel);
        var picture = finer ?? overview;
        clock.Mark(Stage.Decode);

        var smaller = (long)picture.Width * picture.Height > MostInView ? Math.Sqrt((double)SmallerInView / picture.Width / picture.Height) : 1;
        using var less = view == View.Plain || found.Count == 0 || smaller == 1 ? null : Pixels.Shrunk(picture, Math.Max(1, (int)(picture.Width * smaller)), Math.Max(1, (int)(picture.Height * smaller)));
        var seen = less ?? picture;
        using var shownFiner = view == View.Plain || found.Count == 0 ? null : view.Apply(seen);
        var points = found.ConvertAll(f => detector.Locate(shownFiner ?? picture, f, cancel));
        clock.Mark(Stage.Detect);

        var faces = new List<Face>(found.Count);
        for (var i = 0; i < found.Count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            var (box, five) = view == View.Plain ? (found[i].Box, points[i]) : (view.Back(found[i].Box, seen), Array.ConvertAll(points[i], p => view.Back(p, seen)));
            using var aligned = aligner.Align(picture, box, five, out var error);
            clock.Mark(Stage.Align);

            var face = new Face(box, found[i].Score, five, error, embedder.Embed(aligned), found[i].Seen, view.Turn);
            clock.Mark(Stage.Embed);
            if (detector.IsFace(face, embedder.Card))
            {
                faces.Add(face);
            }
        }

        return faces;
    }

    /// <summary>
    /// It covers much of the picture, is cut at its border, or is doubtful: with something around it the detector may see it better.
    /// </summary>
    private bool WantsBorder(Face face, EncodedImage encoded) =>
        face.Box.Area > MuchOfPicture * encoded.Width * encoded.Height || FaceQuality.IsCut(face.Box, encoded.Width, encoded.Height) || !FaceQuality.IsClear(face, embedder.Card);

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

    /// <summary>
    /// The picture decoded once more at a finer scale, where the overview's smallest face has fewer pixels than the embedder takes and the
    /// file has more; otherwise null.
    /// </summary>
    private Picture? DecodeFiner(EncodedImage encoded, Picture overview, IReadOnlyList<Detection> found, CancellationToken cancel)
    {
        var smallest = found.Select(f => Math.Min(f.Box.Width, f.Box.Height)).DefaultIfEmpty(double.MaxValue).Min();
        var finer = encoded.WithinMemory(EncodedImage.ShrinkFor(smallest, aligner.Width), overview);
        return finer < (int)Math.Round(overview.ScaleX) ? encoded.Decode(finer, cancel, overview) : null;
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
        var (x, y) = ((int)Math.Round(face.Box.X), (int)Math.Round(face.Box.Y));
        var box = new ResultBox(x, y, (int)Math.Round(face.Box.X + face.Box.Width) - x, (int)Math.Round(face.Box.Y + face.Box.Height) - y);
        var pairs = Array.ConvertAll(face.Landmarks, p => new[] { Math.Round(p.X, 1), Math.Round(p.Y, 1) });
        var quality = FaceQuality.Of(face, embedder.Card, encoded.Width, encoded.Height);
        return new ResultEmbedding("face", face.Embedding.Vector, box, pairs, Math.Round(face.Score, 4), new ResultQuality(
            Math.Round(face.Embedding.Norm, 3), Math.Round(face.AlignmentError, 2), (int)Math.Round(quality.Size), quality.Sharpness is { } sharpness ? Math.Round(sharpness, 3) : null,
            Degrees(quality.Pose.Yaw), Degrees(quality.Pose.Pitch), Degrees(quality.Pose.Roll), detector.IsUncertain(face.Score) ? [.. quality.Flags, FaceQuality.Uncertain] : quality.Flags, Math.Round(quality.Score, 3)));
    }

    /// <summary>Whole, and never -0.</summary>
    private static double Degrees(double angle) => Math.Round(angle) + 0.0;

    private static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
