using System.Security.Cryptography;
using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Jobs;

/// <summary>The life of one job, from its picture to its outcome. The same bytes give the same vectors, whatever runs beside them.</summary>
internal sealed class JobHandler(ImageDecoder decoder, FaceDetector detector, Landmarks landmarks, FaceAligner aligner, FaceEmbedder embedder,
    IOptions<JobOptions> options, TimeProvider time)
{
    private static readonly JsonElement NoMetadata = JsonElement.Parse("{}");
    private readonly JobOptions options = options.Value;

    /// <summary>Host and process, as results and dead letters name it.</summary>
    public static string Worker { get; } = $"{Environment.MachineName}/{Environment.ProcessId}";

    /// <summary>This program's.</summary>
    public static string Version { get; } = typeof(JobHandler).Assembly.GetName().Version!.ToString(3);

    /// <summary>What the embedder's self-test found wrong, set once at start; null: nothing, or not tested. Results carry that it failed.</summary>
    public string? ModelDoubt { get; set; }

    /// <exception cref="OperationCanceledException">Only where <paramref name="stopping"/> is cancelled: the job is undecided.</exception>
    public async Task<JobOutcome> HandleAsync(EmbedJob job, CancellationToken stopping)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(options.DeadlineSeconds), time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, stopping);
        var (cancel, clock) = (either.Token, new StageClock(time));
        var bytes = Array.Empty<byte>();
        try
        {
            bytes = await ImageFetcher.FetchAsync(job.Image, cancel);
            using var encoded = decoder.Open(bytes);
            return (job.Mode ?? options.Mode) == EmbedMode.Faces
                ? EmbedFaces(job, bytes, encoded, clock, cancel)
                : EmbedWhole(job, bytes, encoded, clock, cancel);
        }
        catch (ImageException e) when (e.Fault == ImageFault.Undecodable && options.Undecodable == UndecodablePolicy.Stub)
        {
            return EmbedStub(job, bytes, clock);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            return JobOutcome.Of(e);
        }
    }

    private JobOutcome.Completed EmbedFaces(EmbedJob job, byte[] bytes, EncodedImage encoded, StageClock clock, CancellationToken cancel)
    {
        var shrink = encoded.ShrinkFor(detector.Wanted);
        using var overview = encoded.Decode(shrink, cancel);
        clock.Mark(Stage.Decode);

        var found = detector.Detect(overview);
        clock.Mark(Stage.Detect);

        using var picture = DecodeFiner(encoded, overview, shrink, found, cancel);
        clock.Mark(Stage.Decode);

        var points = landmarks.Locate(picture, found);
        clock.Mark(Stage.Detect);

        var embeddings = new List<ResultEmbedding>(found.Count);
        for (var i = 0; i < found.Count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            using var aligned = aligner.Align(picture, found[i].Box, points[i], out var error);
            clock.Mark(Stage.Align);

            embeddings.Add(Describe(found[i], points[i], error, embedder.Embed(aligned)));
            clock.Mark(Stage.Embed);
        }

        embeddings = [.. embeddings.OrderByDescending(e => e.Box!.Width * e.Box.Height)];
        return Complete(job, embeddings.Count > 0 ? EmbedResult.Embedded : EmbedResult.NoFace, Model(embedder.FaceSpace), Describe(bytes, encoded), embeddings, clock);
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

    private JobOutcome.Completed EmbedStub(EmbedJob job, byte[] bytes, StageClock clock)
    {
        var vector = StubEmbedding.Compute(bytes, embedder.Dimensions);
        var model = new ResultModel(StubEmbedding.ModelId, StubEmbedding.Space(embedder.Dimensions), embedder.Dimensions);
        return Complete(job, EmbedResult.Stub, model, new ResultImage(Sha256(bytes)), [new ResultEmbedding("stub", vector)], clock);
    }

    /// <summary>The overview again, or, where its smallest face has fewer pixels than the embedder takes, the picture decoded once more at a finer scale.</summary>
    private Picture DecodeFiner(EncodedImage encoded, Picture overview, int shrink, IReadOnlyList<Detection> found, CancellationToken cancel)
    {
        if (found.Count == 0)
        {
            return overview;
        }

        var smallest = found.Min(f => Math.Min(f.Box.Width, f.Box.Height));
        var finer = EncodedImage.ShrinkFor(smallest, aligner.Width);
        return finer < shrink ? encoded.Decode(finer, cancel) : overview;
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
            Attempt = job.Attempt,
            Worker = Worker,
            Version = Version,
            TimingsMs = clock.Read(),
            CompletedAt = time.GetUtcNow().UtcDateTime,
        });

    private ResultModel Model(string space) => new(embedder.Card.Id, space, embedder.Dimensions, ModelDoubt is null ? null : "failed");

    private static ResultImage Describe(byte[] bytes, EncodedImage encoded) =>
        new(Sha256(bytes), encoded.Format, encoded.Width, encoded.Height, encoded.Orientation);

    private static ResultEmbedding Describe(Detection face, Point[] points, double alignmentError, Embedding embedding)
    {
        var (x, y) = ((int)Math.Round(face.Box.X), (int)Math.Round(face.Box.Y));
        var box = new ResultBox(x, y, (int)Math.Round(face.Box.X + face.Box.Width) - x, (int)Math.Round(face.Box.Y + face.Box.Height) - y);
        var pairs = Array.ConvertAll(points, p => new[] { Math.Round(p.X, 1), Math.Round(p.Y, 1) });
        return new ResultEmbedding("face", embedding.Vector, box, pairs, Math.Round(face.Score, 4), new ResultQuality(Math.Round(embedding.Norm, 3), Math.Round(alignmentError, 2)));
    }

    private static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
