using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// Does a graph that was rewritten for speed give faces the vectors that the file's own graph gives them? And does it give two faces two?
/// </summary>
internal static class SameVectors
{
    /// <summary>Rounding alone leaves 1 - 1e-9 and better.</summary>
    public const double Cosine = 0.99999;

    private const double Rounding = 1e-6;

    private const int Side = 112;

    /// <summary>Of the sample photos: 112 x 112 pixels each, cut out beforehand, for a start has no decoder to wait for.</summary>
    private static readonly Lazy<Picture[]> Faces = new(() => Array.ConvertAll(["astronaut.ppm", "grace_hopper.ppm"], Face));

    /// <summary>The least cosine of both models' vectors, of two faces; 1 where the first one's are no numbers, for there is nothing to compare.</summary>
    public static double Least(Model one, Model other) => Faces.Value.Min(face => Embedded(one, face) is not { } a ? 1 : Embedded(other, face) is { } b ? CosineOf(a.Vector, b.Vector) : 0);

    /// <summary>
    /// It gives two faces one vector, to float32's rounding: what flows in it is infinite, or nothing of the picture is left. A network that
    /// was never trained gives vectors that are alike, a thousand times as far apart.
    /// </summary>
    public static bool AreConstant(Model model) => Array.ConvertAll(Faces.Value, face => Embedded(model, face)) is [{ } one, { } other]
        && Math.Abs(one.Norm - other.Norm) <= Rounding * one.Norm && one.Vector.Zip(other.Vector).All(v => Math.Abs(v.First - v.Second) <= Rounding * one.Vector.Max(Math.Abs));

    private static Embedding? Embedded(Model model, Picture face)
    {
        var input = model.Card.Input;
        using var resized = Pixels.Resized(face, input.Width, input.Height, input.ResizeFilter);
        try
        {
            return new FaceEmbedder(model).Embed(resized);
        }
        catch (ModelException)
        {
            return null;
        }
    }

    private static double CosineOf(float[] a, float[] b)
    {
        double dot = 0, first = 0, second = 0;
        for (var i = 0; i < a.Length; i++)
        {
            dot += (double)a[i] * b[i];
            first += (double)a[i] * a[i];
            second += (double)b[i] * b[i];
        }

        return dot / Math.Sqrt(first * second);
    }

    internal static Picture Face(string resource)
    {
        using var stream = typeof(SameVectors).Assembly.GetManifestResourceStream(resource)!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        var face = new Picture(Side, Side);
        PnmHeader.Decode(bytes, face);
        return face;
    }
}
