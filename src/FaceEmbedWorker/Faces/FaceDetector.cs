using System.Globalization;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// Finds faces and their five points with a detector whose card names its layout: the picture brought to the network's input, boxes back,
/// non-maximum suppression.
/// </summary>
/// <param name="landmarks">For a detector whose layout gives no points; otherwise null.</param>
internal sealed class FaceDetector(Model model, Landmarks? landmarks, IOptions<FaceOptions> options)
{
    private readonly FaceOptions options = options.Value;

    /// <summary>SHA-256 of models/face_detection.onnx, whose vectors are published.</summary>
    private const string Shipped = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4";

    private const double UsualThreshold = 0.5;

    private const int LeastDecoded = 2;

    /// <summary>Of a score that is 1.</summary>
    private const double Rounding = 1e-3;

    private const int CloseSide = 160;

    /// <summary>
    /// How large closer looks show the face, of a template of 112 pixels, and how far off the middle: the network sees in steps of 8
    /// pixels, and what it makes of them shall not be the same twice. The first brings it level, small enough that tilted faces keep their
    /// points; the mean of all, each from there, counts.
    /// </summary>
    private static readonly (double Scale, double Shift)[] Close = [(0.8, -2), (1, 2)];

    /// <summary>
    /// Overlap of boxes that stand for one face in a closer look: what they say of its points is averaged, for the surest alone jumps by
    /// pixels from one picture to its copy.
    /// </summary>
    private const double SamePlace = 0.5;

    /// <summary>Looks to bring a face level, at most: each sees a part of the tilt that is left.</summary>
    private const int MostLevelling = 4;

    /// <summary>
    /// Degrees: a face that the first look turns by more is tilted, and is looked at until a look turns it by no more than
    /// <see cref="Level"/>.
    /// </summary>
    private const double Tilted = 5;

    private const double Level = 1;

    public ModelCard Card => model.Card;

    /// <summary>Of the network that gives landmarks; null where the detector itself does.</summary>
    public ModelCard? LandmarksCard => landmarks?.Card;

    /// <summary>It finds the five points itself.</summary>
    public bool HasPoints => DetectorLayout.HasPoints(model.Card.Output.Layout);

    /// <summary>
    /// How a detector's faces get their points, as it enters the embedding space: vectors move with them. A change that moves points gets
    /// the next number.
    /// </summary>
    /// <param name="sha256">Of the detector: another one of the same layout puts the points elsewhere.</param>
    public static string PointsRule(ModelCard card, string sha256) => !DetectorLayout.HasPoints(card.Output.Layout) ? LandmarkPoints
        : card.Input.Multiple == 0 ? $"2 {sha256}"
        : sha256 == Shipped ? CloserPoints
        : $"{CloserPoints} {sha256}";

    /// <inheritdoc cref="PointsRule(ModelCard, string)"/>
    public string Points => PointsRule(model.Card, model.Sha256);

    /// <summary>By the shipped detector itself, in closer looks.</summary>
    public static readonly string CloserPoints = FormattableString.Invariant($"3 looks of {CloseSide} at {string.Join(' ', Close.Select(look => FormattableString.Invariant($"{look.Scale}{look.Shift:+0;-0}")))} from the first that turns by {Tilted} or {Level}, each the mean of what sees it");

    /// <summary>By a model of 68 landmarks, as all faces did once.</summary>
    public const string LandmarkPoints = "1";

    /// <summary>A box counts as a face from this score on: the setting, or what the card says.</summary>
    private double Threshold => options.DetectionThreshold > 0 ? options.DetectionThreshold : OwnThreshold;

    /// <summary>The card's. In closer looks it alone counts: points, and so vectors, are the same whatever is set.</summary>
    private double OwnThreshold => model.Card.Threshold ?? UsualThreshold;

    /// <summary>What the card asks beside it; a threshold that is set is flat.</summary>
    private FaceFilter? Filter => options.DetectionThreshold > 0 ? null : model.Card.Filter;

    /// <summary>
    /// Whether what was found, aligned and embedded is a face: a box from afar must be as sharp as its pixels allow, the more so the less
    /// sure the detector is.
    /// </summary>
    public bool IsFace(Face face, ModelCard embedder) => Filter is not { } filter || filter.Allows(face, FaceQuality.SharpnessOf(face.Embedding.Norm, embedder));

    /// <summary>A face that stays and may be none.</summary>
    public bool IsUncertain(double score) => score < model.Card.Filter?.Certain;

    private bool TakesAnySize => model.Card.Input.Multiple > 0;

    /// <summary>Refuses a detector without points and without a landmark model, and a landmark model that would never run.</summary>
    /// <exception cref="ModelException">With what to do.</exception>
    public static void CheckLandmarks(ModelCard card, FaceOptions options)
    {
        if (DetectorLayout.HasPoints(card.Output.Layout) == options.LandmarksModel.Length > 0)
        {
            throw new ModelException(options.LandmarksModel.Length > 0
                ? $"Faces:LandmarksModel is {options.LandmarksModel}, but the detector {card.Id} of {options.DetectionModel} gives points of its own, and no landmark model is run any more. Remove the setting; or, to keep vectors of the old space comparable, set Faces:DetectionModel=models/rfb/face_detection.onnx beside it (models/README.md)."
                : $"The detector {card.Id} of {options.DetectionModel} gives no points, and faces are aligned by points. Set Faces:LandmarksModel (for RFB-320: models/rfb/face_landmarks.onnx), or use the shipped detector, models/face_detection.onnx (models/README.md).");
        }
    }

    /// <summary>
    /// The pixels that a picture should be decoded with for the finest look at a detail: those of detail 2 at least, for most faces can then
    /// be cut out of the same decode, and unpacking a JPEG again costs more than the pixels do.
    /// </summary>
    public (int Width, int Height) WantedFor(int detail, int width, int height) => SeenAt(Math.Max(detail, LeastDecoded), width, height);

    /// <summary>A copy with the pixels that are wanted for a detail, or all that there are.</summary>
    public Picture Shrunk(Picture picture, int detail)
    {
        var wanted = SeenAt(detail, picture.Width, picture.Height);
        var factor = Math.Max(1, Math.Min((double)picture.Width / wanted.Width, (double)picture.Height / wanted.Height));
        return Pixels.Shrunk(picture, Math.Max(1, (int)Math.Round(picture.Width / factor)), Math.Max(1, (int)Math.Round(picture.Height / factor)));
    }

    private (int Width, int Height) SeenAt(int detail, int width, int height)
    {
        var input = model.Card.Input;
        return TakesAnySize ? Scales.Fit(width, height, Scales.Finest(detail)) : (2 * input.Width, 2 * input.Height);
    }

    /// <summary>The faces of a picture, the surest first, clamped to the picture.</summary>
    /// <param name="detail">1 to 4: how fine the finest look is, where the detector takes pictures of any size.</param>
    public List<Detection> Detect(Picture picture, int detail = 1)
    {
        if (!TakesAnySize)
        {
            return Look(picture, int.MaxValue, Filter);
        }

        // a face beyond the detector's range is seen from further away; what is smaller was seen better before
        var (found, filter) = (new List<Detection>(), detail < Scales.Highest ? Filter : null); // who asks for the finest look wants all there is
        foreach (var (side, smallest) in Scales.Looks(detail, picture.Width, picture.Height))
        {
            found = Scales.Merge(found, Look(picture, side, filter).Where(d => d.Seen >= smallest), options.DetectionOverlap);
        }

        return found;
    }

    /// <summary>
    /// The faces of a picture in which <see cref="Detect"/> finds none: half as fine again, a small picture enlarged for it.
    /// </summary>
    public List<Detection> DetectFiner(Picture picture, int detail) =>
        TakesAnySize && Scales.Finer(detail, picture.Width, picture.Height) is > 0 and var side ? Look(picture, side, Filter) : [];

    /// <summary>Left eye, right eye, nose, left and right mouth corner (left and right as seen) of a face.</summary>
    /// <param name="picture">The one it was found in, or a finer one.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled between two looks.</exception>
    public Point[] Locate(Picture picture, Detection face, CancellationToken cancel = default) => face.Landmarks is not { } points
        ? (landmarks ?? throw new InvalidOperationException("The detector gives no landmarks, and there is no model for them.")).Locate(picture, face.Box)
        : TakesAnySize ? Refined(picture, points, cancel) : points;

    /// <summary>
    /// The points as closer looks see them: of a face that is tilted, small or large in the first look they are off by several pixels. One
    /// look brings the face level and to a size that the detector sees well; the mean of looks at two sizes from there is steadier than
    /// either.
    /// </summary>
    private Point[] Refined(Picture picture, Point[] points, CancellationToken cancel)
    {
        var level = Closer(picture, points, Close[0], cancel);
        for (var (before, looks) = (points, 1); looks < MostLevelling && Math.Abs(Similarity.Fit(before, level).Degrees) > (looks == 1 ? Tilted : Level); looks++)
        {
            (before, level) = (level, Closer(picture, level, Close[0], cancel)); // of a tilted face a look sees three quarters of the tilt
        }

        var mean = new Point[points.Length];
        foreach (var look in Close)
        {
            var seen = Closer(picture, level, look, cancel);
            for (var i = 0; i < mean.Length; i++)
            {
                mean[i] = new Point(mean[i].X + seen[i].X / Close.Length, mean[i].Y + seen[i].Y / Close.Length);
            }
        }

        return mean;
    }

    private Point[] Closer(Picture picture, Point[] points, (double Scale, double Shift) look, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var (scale, margin) = (look.Scale, (CloseSide - FaceAligner.ArcFaceSize * look.Scale) / 2 + look.Shift);
        var places = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(p[0] * scale + margin, p[1] * scale + margin));
        var close = Similarity.Fit(Array.ConvertAll(points, p => new Point(p.X / picture.ScaleX - 0.5, p.Y / picture.ScaleY - 0.5)), places);
        using var level = new Picture(CloseSide, CloseSide);
        FaceAligner.Warp(picture, close, level);
        var seen = Candidates(level, CloseSide, OwnThreshold, filter: null);
        seen.RemoveAll(d => !(Off(d) < CloseSide / 8.0));
        if (seen.Count == 0)
        {
            return points; // a face that the closer look does not see
        }

        var surest = seen.MaxBy(d => d.Score).Box;
        seen.RemoveAll(d => d.Box.Overlap(surest) <= SamePlace);
        var (mean, weight, back) = (new Point[points.Length], 0.0, close.Inverse());
        foreach (var found in seen)
        {
            var more = found.Score - OwnThreshold;
            weight += more;
            for (var i = 0; i < mean.Length; i++)
            {
                mean[i] = new Point(mean[i].X + found.Landmarks![i].X * more, mean[i].Y + found.Landmarks[i].Y * more);
            }
        }

        return Array.ConvertAll(mean, p => back.Apply(new Point(p.X / weight - 0.5, p.Y / weight - 0.5)) is var at ? new Point((at.X + 0.5) * picture.ScaleX, (at.Y + 0.5) * picture.ScaleY) : default);

        double Off(Detection found)
        {
            var sum = 0.0;
            for (var i = 0; i < places.Length; i++)
            {
                sum += Math.Sqrt(Math.Pow(found.Landmarks![i].X - 0.5 - places[i].X, 2) + Math.Pow(found.Landmarks[i].Y - 0.5 - places[i].Y, 2));
            }

            return sum / places.Length;
        }
    }

    internal List<Detection> Look(Picture picture, int side, FaceFilter? filter) =>
        Suppress(Candidates(picture, side, Threshold, filter), options.DetectionOverlap);

    private List<Detection> Candidates(Picture picture, int side, double threshold, FaceFilter? filter)
    {
        var input = model.Card.Input;
        var (width, height) = TakesAnySize ? Scales.Fit(picture.Width, picture.Height, side, side)
            : input.Fit == "letterbox" ? Scales.Fit(picture.Width, picture.Height, input.Width, input.Height)
            : (input.Width, input.Height);
        using var run = TakesAnySize ? model.Rent(Scales.Up(width, input.Multiple), Scales.Up(height, input.Multiple)) : model.Rent();
        if (input.ResizeFilter == AreaResize.Name && width <= picture.Width && height <= picture.Height)
        {
            InputPicture.WriteShrunk(picture, width, height, run.Form, run.Input);
        }
        else
        {
            using var fitted = Pixels.Fitted(picture, width, height, input.ResizeFilter);
            InputPicture.WriteShrunk(fitted, width, height, run.Form, run.Input);
        }

        run.Execute();
        var (fullWidth, fullHeight) = (picture.Width * picture.ScaleX, picture.Height * picture.ScaleY);
        var (scaleX, scaleY) = (fullWidth / width, fullHeight / height);
        var (candidates, kept) = (DetectorLayout.Read(run, model.Card.Output.Layout, threshold), 0);
        for (var i = 0; i < candidates.Count; i++) // without closures and copies: there are dozens a look
        {
            var found = candidates[i];
            if (!IsFinite(found))
            {
                throw ModelException.NotFinite(model.Card.Id, "face");
            }

            if (found.Score > 1 + Rounding)
            {
                throw new ModelException(string.Create(CultureInfo.InvariantCulture, $"The model {model.Card.Id} gave a face the score {found.Score:0.###}, and scores go from 0 to 1: it was exported without its last sigmoid, or its card names another's layout."));
            }

            if (found.Score > (filter?.Threshold(threshold, found.Box.ShorterSide) ?? threshold) && found.Box.Scaled(scaleX, scaleY).Clamped(fullWidth, fullHeight) is { Width: >= 1, Height: >= 1 } box)
            {
                var points = found.Landmarks ?? [];
                if (!IsNear(points, run.Form.Width, run.Form.Height))
                {
                    throw new ModelException($"The model {model.Card.Id} put a face's points farther outside of the picture than the picture is long: its weights are damaged, or its card names another's layout.");
                }

                for (var p = 0; p < points.Length; p++)
                {
                    points[p] = new Point(points[p].X * scaleX, points[p].Y * scaleY);
                }

                candidates[kept++] = found with { Box = box, Seen = found.Box.ShorterSide };
            }
        }

        candidates.RemoveRange(kept, candidates.Count - kept);
        return candidates;
    }

    /// <summary>No farther outside of what the network saw than its longer side.</summary>
    private static bool IsNear(Point[] points, int width, int height)
    {
        var far = Math.Max(width, height);
        foreach (var p in points)
        {
            if (!(p.X >= -far && p.X <= width + far && p.Y >= -far && p.Y <= height + far))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsFinite(Detection found) => double.IsFinite(found.Score) && found.Box is var box && double.IsFinite(box.X + box.Y + box.Width + box.Height)
        && Array.TrueForAll(found.Landmarks ?? [], p => double.IsFinite(p.X + p.Y));

    /// <summary>
    /// Greedy non-maximum suppression: the best box stays, whatever overlaps it by more than <paramref name="overlap"/> goes. Reorders its
    /// input by descending score.
    /// </summary>
    internal static List<Detection> Suppress(List<Detection> candidates, double overlap)
    {
        candidates.Sort(static (a, b) => b.Score.CompareTo(a.Score));
        var kept = new List<Detection>();
        foreach (var candidate in candidates)
        {
            if (!IsCovered(candidate.Box))
            {
                kept.Add(candidate);
            }
        }

        return kept;

        bool IsCovered(Box box)
        {
            foreach (var better in kept)
            {
                if (better.Box.Overlap(box) > overlap)
                {
                    return true;
                }
            }

            return false;
        }
    }
}
