namespace FaceEmbedWorker.Faces;

/// <summary>A rectangle in pixels of the picture at full size; the origin is the upper left corner of the upright picture.</summary>
internal readonly record struct Box(double X, double Y, double Width, double Height)
{
    public double Area => Width * Height;

    public double ShorterSide => Math.Min(Width, Height);

    public double CentreX => X + Width / 2;

    public double CentreY => Y + Height / 2;

    /// <summary>Intersection over union, 0 to 1.</summary>
    public double Overlap(Box other)
    {
        var shared = Shared(other);
        return shared == 0 ? 0 : shared / (Area + other.Area - shared);
    }

    /// <summary>Area of the intersection.</summary>
    public double Shared(Box other) =>
        Math.Max(0, Math.Min(X + Width, other.X + other.Width) - Math.Max(X, other.X)) * Math.Max(0, Math.Min(Y + Height, other.Y + other.Height) - Math.Max(Y, other.Y));

    /// <summary>The part of it that lies in a picture.</summary>
    public Box Clamped(double width, double height)
    {
        var (left, upper) = (Math.Clamp(X, 0, width), Math.Clamp(Y, 0, height));
        return new Box(left, upper, Math.Clamp(X + Width, 0, width) - left, Math.Clamp(Y + Height, 0, height) - upper);
    }

    /// <summary>Its sides at whole pixels, as results show it.</summary>
    public Box Rounded()
    {
        var (x, y) = (Math.Round(X), Math.Round(Y));
        return new Box(x, y, Math.Round(X + Width) - x, Math.Round(Y + Height) - y);
    }

    public Box Scaled(double x, double y) => new(X * x, Y * y, Width * x, Height * y);
}

/// <summary>A point in pixels of the picture at full size; pixel i covers [i, i + 1).</summary>
internal readonly record struct Point(double X, double Y);

/// <summary>A face's landmarks; left and right as seen.</summary>
internal sealed record FivePoints(Point LeftEye, Point RightEye, Point Nose, Point LeftMouth, Point RightMouth)
{
    public const int Count = 5;

    public Point[] ToArray() => [LeftEye, RightEye, Nose, LeftMouth, RightMouth];
}

/// <summary>A box that the detector takes for a face, and how sure it is, 0 to 1.</summary>
internal readonly record struct Detection(Box Box, double Score)
{
    /// <summary>Left eye, right eye, nose, left and right mouth corner (as seen), where the detector finds them itself.</summary>
    public Point[]? Landmarks { get; init; }

    /// <summary>Pixels of the box's shorter side in the detector's input.</summary>
    public double Seen { get; init; }
}

/// <summary>A face that was found, aligned and embedded; box and landmarks in pixels of the picture as delivered.</summary>
/// <param name="AlignmentError">Root mean square distance of the landmarks from the template, in pixels of a 112-pixel face.</param>
/// <param name="Seen">As <see cref="Detection.Seen"/>.</param>
/// <param name="Turn">Degrees clockwise by which the picture was turned to see it upright.</param>
/// <param name="Crop">Null where nobody asked for it.</param>
internal sealed record Face(Box Box, double Score, Point[] Landmarks, double AlignmentError, Embedding Embedding, double Seen, int Turn, FaceCrop? Crop = null);

/// <summary>An aligned face as it was embedded.</summary>
/// <param name="Format"><c>png</c> or <c>jpeg</c>.</param>
/// <param name="Landmarks">In pixels of the crop; null where it was cut out by its box.</param>
internal sealed record FaceCrop(string Format, byte[] Data, Point[]? Landmarks);

/// <summary>An embedding: unit L2 length where the card says so, and the raw norm before.</summary>
internal readonly record struct Embedding(float[] Vector, double Norm);
