namespace FaceEmbedWorker.Faces;

/// <summary>Whose face of a picture is embedded.</summary>
internal enum FaceChoice
{
    /// <summary>Everybody's.</summary>
    All,

    /// <summary>The one of the largest box.</summary>
    Largest,

    /// <summary>The one whose centre is nearest to the picture's.</summary>
    Central,
}

/// <summary>
/// Which of the faces that are found are embedded: those that are large enough, the foremost first, up to a number. Decided before a face is
/// aligned, so that those that are left out cost nothing more.
/// </summary>
/// <param name="Most">0: any number.</param>
/// <param name="MinSize">Pixels of the box's shorter side, in the upright picture at full size.</param>
internal readonly record struct FaceLimits(FaceChoice Of = FaceChoice.All, int Most = 0, int MinSize = 0)
{
    /// <summary>Words of a result's <c>skipped</c>.</summary>
    public const string TooMany = "max_faces", TooSmall = "min_face_size", NotChosen = "face_of";

    public int Count => Of != FaceChoice.All ? 1 : Most > 0 ? Most : int.MaxValue;

    /// <summary>Why a face beyond <see cref="Count"/> is left out.</summary>
    public string Beyond => Of == FaceChoice.All ? TooMany : NotChosen;

    /// <summary>As results show it.</summary>
    public bool IsLargeEnough(Box box) => box.Rounded().ShorterSide >= MinSize;

    /// <summary>The foremost first: by size, by place or, for some of all, by both, a face in a corner counting half its area. Where all
    /// are embedded, in the order given.</summary>
    /// <param name="width">Of the picture, in the boxes' pixels.</param>
    public IEnumerable<T> Foremost<T>(IEnumerable<T> faces, Func<T, Box> box, double width, double height)
    {
        var choice = Of;
        return Count == int.MaxValue ? faces : faces.OrderByDescending(face => Weight(box(face)));

        double Weight(Box face)
        {
            var (x, y) = (2 * face.CentreX / width - 1, 2 * face.CentreY / height - 1);
            return choice switch
            {
                FaceChoice.Largest => face.Area,
                FaceChoice.Central => -((x * width * x * width) + (y * height * y * height)),
                _ => face.Area * (1 - ((x * x) + (y * y)) / 4),
            };
        }
    }
}
