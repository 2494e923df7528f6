using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Jobs;

/// <summary>
/// The search for the faces of one picture, look by look: what is found is aligned and embedded, for what a face is worth decides whether
/// there is another look.
/// </summary>
internal sealed class FaceSearch(EncodedImage encoded, FaceDetector detector, FaceAligner aligner, FaceEmbedder embedder, FaceOptions options, EmbedJob job, StageClock clock, CancellationToken cancel)
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

    /// <summary>Bytes of crops in memory; a result has room for fewer.</summary>
    private const int MostCropped = 32 * 1024 * 1024;

    private const int CropQuality = 95;

    private long cropped;
    private readonly int detail = job.Detail ?? options.DetectionDetail;
    private readonly FaceLimits limits = options.LimitsOf(job.MaxFaces, job.MinFaceSize);

    public Seen Run()
    {
        using var overview = encoded.Decode(encoded.WithinMemory(encoded.ShrinkFor(detector.WantedFor(detail, encoded.Width, encoded.Height))), cancel);
        clock.Mark(Stage.Decode);

        var (faces, leftOut) = Look(overview, View.Plain, detail);
        if (options.TightCrops && (faces.Count == 0 ? leftOut.Count == 0 : WantsBorder(faces.MaxBy(f => f.Box.Area)!)))
        {
            var padded = Look(overview, View.Padded, 1);
            faces = FaceQuality.Merged(faces, padded.Faces, WantsBorder, embedder.Card, encoded.Width, encoded.Height);
            leftOut.AddRange(padded.LeftOut);
        }

        if (options.TurnedPhotos && !faces.Exists(IsClear) && !leftOut.Exists(l => l.Score >= FaceQuality.SureScore))
        {
            var turned = Array.ConvertAll(View.Turned, view => Look(overview, view, Math.Min(detail, TurnedDetail)));
            var upright = turned.Where(look => look.Faces.Exists(f => FaceQuality.IsUpright(f, faces, embedder.Card))).MaxBy(look => look.Faces.Max(f => f.Score)); // the surest: an upside-down face may be as sharp
            (faces, leftOut) = upright is null ? (faces, leftOut) : (WithTurned(faces, upright.Faces), [.. leftOut, .. upright.LeftOut]);
            if (detail > TurnedDetail && faces is [{ Turn: not 0 } first, ..])
            {
                (faces, leftOut) = Look(overview, View.Turned.Single(v => v.Turn == first.Turn), detail);
            }
        }

        var foremost = limits.Foremost(faces, f => f.Box, encoded.Width, encoded.Height).Take(limits.Count).ToList(); // of several looks together there may be more
        leftOut.AddRange(faces.Select(f => new LeftOut(f.Box, f.Score, limits.Beyond)));
        return new Seen(foremost, OnceEach(leftOut, foremost));
    }

    /// <summary>
    /// What a turned look sees, where it stands for the picture: otherwise one who lies down would take the place of all who stand. Then
    /// faces that are upright stay, and those of the turned look that are clear come to them.
    /// </summary>
    private List<Face> WithTurned(List<Face> upright, List<Face> turned)
    {
        var others = upright.FindAll(f => !turned.Exists(t => FaceQuality.AreOne(f, t)));
        return others.Count(f => !detector.IsUncertain(f.Score)) <= turned.Count(t => !detector.IsUncertain(t.Score)) ? turned
            : [.. upright.Where(f => !turned.Exists(t => IsClear(t) && FaceQuality.AreOne(f, t))), .. turned.Where(IsClear)];
    }

    private bool IsClear(Face face) => FaceQuality.IsClear(face, embedder.Card);

    /// <summary>
    /// Finds, aligns and embeds the faces that one way to look at the picture shows: a face is always cut out of the picture as delivered.
    /// </summary>
    private Seen Look(Picture overview, View view, int fineness)
    {
        cancel.ThrowIfCancellationRequested();
        using var small = view == View.Plain ? null : detector.Shrunk(overview, fineness); // a copy of all of it would double what a job takes
        using var shown = small is null ? null : view.Apply(small);
        var found = detector.Detect(shown ?? overview, fineness);
        cancel.ThrowIfCancellationRequested();
        found = found.Count == 0 && view == View.Plain ? detector.DetectFiner(overview, fineness) : found;
        var leftOut = found.FindAll(d => !limits.IsLargeEnough(Delivered(d.Box, small!))).ConvertAll(d => new LeftOut(Delivered(d.Box, small!), d.Score, FaceLimits.TooSmall));
        found = [.. limits.Foremost(found.Where(d => limits.IsLargeEnough(Delivered(d.Box, small!))), d => Delivered(d.Box, small!), encoded.Width, encoded.Height)];
        clock.Mark(Stage.Detect);

        using var finer = DecodeFiner(overview, found.Take(limits.Count));
        var picture = finer ?? overview;
        clock.Mark(Stage.Decode);

        var isCopied = view != View.Plain && found.Count > 0;
        using var less = isCopied ? Smaller(picture) : null;
        var seen = less ?? picture;
        using var shownFiner = isCopied ? view.Apply(seen) : null;

        var faces = new List<Face>(found.Count);
        foreach (var detection in found)
        {
            cancel.ThrowIfCancellationRequested();
            var box = Delivered(detection.Box, seen);
            if (faces.Count == limits.Count || !limits.IsLargeEnough(box)) // finer pixels may have moved a side
            {
                leftOut.Add(new LeftOut(box, detection.Score, faces.Count == limits.Count ? limits.Beyond : FaceLimits.TooSmall));
                continue;
            }

            var points = Array.ConvertAll(detector.Locate(shownFiner ?? picture, detection, cancel), p => view.Back(p, seen));
            clock.Mark(Stage.Detect);

            using var aligned = aligner.Align(picture, box, points, out var error);
            clock.Mark(Stage.Align);

            var face = new Face(box, detection.Score, points, error, embedder.Embed(aligned), detection.Seen, view.Turn, Crop(aligned, points));
            clock.Mark(Stage.Embed);
            if (detector.IsFace(face, embedder.Card))
            {
                faces.Add(face);
            }
        }

        return new Seen(faces, leftOut);

        Box Delivered(Box box, Picture looked) => view == View.Plain ? box : view.Back(box, looked);
    }

    /// <summary>A copy of a picture that has too many pixels for a copy of all of them; null where it has not.</summary>
    private static Picture? Smaller(Picture picture)
    {
        if ((long)picture.Width * picture.Height <= MostInView)
        {
            return null;
        }

        var scale = Math.Sqrt((double)SmallerInView / picture.Width / picture.Height);
        return Pixels.Shrunk(picture, Math.Max(1, (int)(picture.Width * scale)), Math.Max(1, (int)(picture.Height * scale)));
    }

    private FaceCrop? Crop(Picture aligned, Point[] landmarks)
    {
        if (job.ReturnCrops is not { } format || (cropped > MostCropped && !job.EveryCrop))
        {
            return null;
        }

        var data = format == CropFormat.Png ? PictureEncoder.Png(aligned) : PictureEncoder.Jpeg(aligned, CropQuality);
        cropped += data.Length;
        return new FaceCrop(format == CropFormat.Png ? "png" : "jpeg", data, aligner.InCrop(landmarks));
    }

    /// <summary>
    /// It covers much of the picture, is cut at its border, or is doubtful: with something around it the detector may see it better.
    /// </summary>
    private bool WantsBorder(Face face) =>
        face.Box.Area > MuchOfPicture * encoded.Width * encoded.Height || FaceQuality.IsCut(face.Box, encoded.Width, encoded.Height) || !IsClear(face);

    /// <summary>
    /// The picture decoded once more at a finer scale, where the overview's smallest face has fewer pixels than the embedder takes and the
    /// file has more; otherwise null.
    /// </summary>
    private Picture? DecodeFiner(Picture overview, IEnumerable<Detection> found)
    {
        var smallest = found.Select(f => Math.Min(f.Box.Width, f.Box.Height)).DefaultIfEmpty(double.MaxValue).Min();
        var finer = encoded.WithinMemory(EncodedImage.ShrinkFor(smallest, aligner.Width), overview);
        return finer < (int)Math.Round(overview.ScaleX) ? encoded.Decode(finer, cancel, overview) : null;
    }

    /// <summary>What is not embedded of what looks left out, the largest first.</summary>
    private static List<LeftOut> OnceEach(List<LeftOut> leftOut, List<Face> embedded)
    {
        var told = embedded.ConvertAll(f => f.Box);
        var once = new List<LeftOut>();
        foreach (var face in leftOut.OrderByDescending(l => l.Box.Area))
        {
            if (!told.Exists(t => FaceQuality.AreOne(t, face.Box)))
            {
                told.Add(face.Box);
                once.Add(face);
            }
        }

        return once;
    }
}

/// <summary>What looking at a picture gave.</summary>
/// <param name="LeftOut">Found, and by <see cref="FaceLimits"/> not embedded.</param>
internal sealed record Seen(List<Face> Faces, List<LeftOut> LeftOut);

/// <summary>A box in pixels of the picture as delivered.</summary>
/// <param name="Reason">A word of <see cref="FaceLimits"/>.</param>
internal readonly record struct LeftOut(Box Box, double Score, string Reason);
