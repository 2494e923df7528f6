namespace FaceEmbedWorker.Faces;

/// <summary>How far a face is turned, in degrees: yaw to the right as seen, pitch down, and roll clockwise are positive.</summary>
internal readonly record struct Pose(double Yaw, double Pitch, double Roll)
{
    /// <summary>
    /// Eyes, nose tip and mouth corners of a mean head, in millimetres: x to the right as seen, y down, z towards the camera; the nose tip
    /// is the origin. Held as people hold it who face a camera: the median pitch of 752 photos of LFW is 0 (98 in 100 within 10 degrees;
    /// the sets have no labels for more).
    /// </summary>
    private static readonly double[][] Head = [[-31, -37.6, -25.3], [31, -37.6, -25.3], [0, 0, 0], [-25, 29.3, -30.1], [25, 29.3, -30.1]];

    /// <summary>
    /// The weak-perspective pose (DeMenthon and Davis 1995, one step) that explains five points: an affine camera by least squares, made a
    /// rotation.
    /// </summary>
    /// <param name="points">Left eye, right eye, nose, left and right mouth corner, as seen.</param>
    public static Pose Of(ReadOnlySpan<Point> points)
    {
        Span<double> mean = stackalloc double[5]; // of head x, y, z and of image x, y
        for (var i = 0; i < 5; i++)
        {
            for (var d = 0; d < 3; d++)
            {
                mean[d] += Head[i][d] / 5;
            }

            mean[3] += points[i].X / 5;
            mean[4] += points[i].Y / 5;
        }

        // the head's scatter is block-diagonal: it is symmetric in x
        double xx = 0, yy = 0, yz = 0, zz = 0;
        Span<double> u = stackalloc double[3];
        Span<double> v = stackalloc double[3];
        for (var i = 0; i < 5; i++)
        {
            var (x, y, z) = (Head[i][0] - mean[0], Head[i][1] - mean[1], Head[i][2] - mean[2]);
            var (px, py) = (points[i].X - mean[3], points[i].Y - mean[4]);
            (xx, yy, yz, zz) = (xx + x * x, yy + y * y, yz + y * z, zz + z * z);
            (u[0], u[1], u[2]) = (u[0] + x * px, u[1] + y * px, u[2] + z * px);
            (v[0], v[1], v[2]) = (v[0] + x * py, v[1] + y * py, v[2] + z * py);
        }

        var determinant = yy * zz - yz * yz;
        var first = Unit((u[0] / xx, (u[1] * zz - u[2] * yz) / determinant, (u[2] * yy - u[1] * yz) / determinant));
        var second = Unit((v[0] / xx, (v[1] * zz - v[2] * yz) / determinant, (v[2] * yy - v[1] * yz) / determinant));
        var third = Unit(Cross(first, second));
        return new Pose(
            Degrees(Math.Atan2(-third.X, third.Z)),
            Degrees(Math.Asin(Math.Clamp(-third.Y, -1, 1))),
            Degrees(Math.Atan2(-first.Y, second.Y)));
    }

    /// <summary>The head's five points as a distant camera sees them: the inverse of <see cref="Of"/>.</summary>
    internal static Point[] Project(double yaw, double pitch, double roll, double scale, double x, double y)
    {
        var (sinYaw, cosYaw) = Math.SinCos(yaw * Math.PI / 180);
        var (sinPitch, cosPitch) = Math.SinCos(pitch * Math.PI / 180);
        var (sinRoll, cosRoll) = Math.SinCos(roll * Math.PI / 180);
        return Array.ConvertAll(Head, p =>
        {
            // yaw about y, then pitch about x, then roll about z
            var (u, w) = (cosYaw * p[0] + sinYaw * p[2], -sinYaw * p[0] + cosYaw * p[2]);
            var v = cosPitch * p[1] + sinPitch * w;
            return new Point(x + scale * (cosRoll * u - sinRoll * v), y + scale * (sinRoll * u + cosRoll * v));
        });
    }

    private static (double X, double Y, double Z) Unit((double X, double Y, double Z) a)
    {
        var length = Math.Sqrt(a.X * a.X + a.Y * a.Y + a.Z * a.Z) + 1e-12;
        return (a.X / length, a.Y / length, a.Z / length);
    }

    private static (double X, double Y, double Z) Cross((double X, double Y, double Z) a, (double X, double Y, double Z) b) =>
        (a.Y * b.Z - a.Z * b.Y, a.Z * b.X - a.X * b.Z, a.X * b.Y - a.Y * b.X);

    private static double Degrees(double radians) => radians * 180 / Math.PI;
}

/// <summary>What a face that was found and embedded is worth, in numbers that a consumer can act on.</summary>
/// <param name="Size">Whole pixels of the box's shorter side, in the picture as delivered.</param>
/// <param name="Sharpness">0 (as what is no face) to 1 (as a clean one), from the raw norm by the card's <c>norm_scale</c>; null where the
/// card has none.</param>
/// <param name="Score">0 to 1; docs/finding.md tells the share of matches by it.</param>
internal sealed record FaceQuality(double Size, double? Sharpness, Pose Pose, IReadOnlyList<string> Flags, double Score)
{
    public const string Small = "small";
    public const string Blurred = "blurred";
    public const string Profile = "profile";
    public const string Cut = "cut";
    public const string UncertainLandmarks = "uncertain_landmarks";

    /// <summary>The detector is not sure that this is a face.</summary>
    public const string Uncertain = "uncertain";

    /// <summary>Half the pixels that the embedder takes.</summary>
    private const double SmallSide = 56;

    /// <summary>Overlap from which two looks see one face: tight crops are boxed differently with a border.</summary>
    private const double SameFace = 0.3;

    /// <summary>The detector's score that upright faces have (95 in 100 of LFW), and turned ones have not.</summary>
    public const double SureScore = 0.9;

    private const double BlurredBelow = 0.6;
    private const double ProfileFrom = 40;

    /// <summary>The 98th percentile of 752 photos of LFW, in pixels of a 112-pixel face.</summary>
    private const double UncertainFrom = 4.5;

    public static FaceQuality Of(Face face, ModelCard card, double width, double height)
    {
        var size = face.Box.Rounded().ShorterSide;
        var sharpness = SharpnessOf(face.Embedding.Norm, card);
        var pose = Pose.Of(face.Landmarks);
        var flags = new List<string>();
        Flag(Small, size < SmallSide);
        Flag(Blurred, sharpness < BlurredBelow);
        Flag(Profile, Math.Abs(pose.Yaw) > ProfileFrom);
        Flag(Cut, IsCut(face.Box, width, height));
        Flag(UncertainLandmarks, face.AlignmentError > UncertainFrom);

        var frontal = Math.Max(0, Math.Cos(Math.Clamp(pose.Yaw, -90, 90) * Math.PI / 180));
        var score = (sharpness ?? 1) * Math.Min(1, Math.Sqrt(face.Box.ShorterSide / (1.5 * SmallSide))) * Math.Sqrt(frontal) * Math.Clamp(1.5 - face.AlignmentError / (2 * UncertainFrom), 0, 1);
        return new FaceQuality(size, sharpness, pose, flags, score);

        void Flag(string name, bool holds)
        {
            if (holds)
            {
                flags.Add(name);
            }
        }
    }

    /// <summary>Of a face that was not detected, as far as they can be told.</summary>
    public static IReadOnlyList<string> FlagsOf(double? sharpness, double alignmentError) =>
        [.. sharpness < BlurredBelow ? [Blurred] : Array.Empty<string>(), .. alignmentError > UncertainFrom ? [UncertainLandmarks] : Array.Empty<string>()];

    /// <summary>It ends at the picture's border.</summary>
    public static bool IsCut(Box box, double width, double height) => box.X < 1 || box.Y < 1 || box.X + box.Width > width - 1 || box.Y + box.Height > height - 1;

    /// <summary>
    /// Sure and sharp enough that nothing better is to be expected of the picture turned: of 852 upright faces of LFW 836 are, of the same
    /// upside down one.
    /// </summary>
    public static bool IsClear(Face face, ModelCard card) => face.Score >= SureScore && SharpnessOf(face.Embedding.Norm, card) is not < 0.5;

    /// <summary>
    /// Clear evidence that a turned look shows the picture the right way up: sharp, and sharper by a tenth than anything seen before, or
    /// surer than that by more than upright faces ever are when turned.
    /// </summary>
    public static bool IsUpright(Face turned, IReadOnlyCollection<Face> before, ModelCard card) =>
        turned.Score >= 0.85 && SharpnessOf(turned.Embedding.Norm, card) is not < 0.35
        && (before.All(f => turned.Embedding.Norm > 1.1 * f.Embedding.Norm) || turned.Score >= SureScore && before.All(f => turned.Score > f.Score + 0.03 && turned.Embedding.Norm > 0.85 * f.Embedding.Norm));

    /// <summary>
    /// The faces of two looks at one picture: where both see the same face, the better quality stays, but for faces that asked for no
    /// second look. What only the later look sees is added where it is clear, or where nothing else was found.
    /// </summary>
    /// <param name="wanted">Whether a face of the earlier look asks for a later one.</param>
    public static List<Face> Merged(List<Face> earlier, List<Face> later, Predicate<Face> wanted, ModelCard card, double width, double height)
    {
        var merged = earlier.ToList();
        foreach (var face in later)
        {
            var same = merged.FindIndex(f => AreOne(f, face));
            if (same < 0 && (earlier.Count == 0 || IsClear(face, card)))
            {
                merged.Add(face);
            }
            else if (same >= 0 && wanted(merged[same]) && Of(face, card, width, height).Score > Of(merged[same], card, width, height).Score)
            {
                merged[same] = face;
            }
        }

        return merged;
    }

    /// <summary>Whether two looks see one face: their boxes overlap, or one lies in the other.</summary>
    public static bool AreOne(Face a, Face b) => AreOne(a.Box, b.Box);

    /// <inheritdoc cref="AreOne(Face, Face)"/>
    public static bool AreOne(Box a, Box b) => a.Overlap(b) > SameFace || a.Shared(b) > 0.6 * Math.Min(a.Area, b.Area);

    internal static double? SharpnessOf(double norm, ModelCard card) =>
        card.NormScale is [var low, var high] ? Math.Clamp((norm - low) / (high - low), 0, 1) : null;
}
