using FaceEmbedWorker.Images;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Faces;

/// <summary>Does a graph that was rewritten for speed give faces the vectors that the file's own graph gives them?</summary>
internal static class SameVectors
{
    /// <summary>Rounding alone leaves 1 - 1e-9 and better.</summary>
    public const double Cosine = 0.99999;

    /// <summary>The sample pictures' faces: x, y and side of a square, in their pixels.</summary>
    private static readonly (string File, int X, int Y, int Side)[] Crops = [("astronaut.png", 167, 63, 113), ("grace_hopper.jpg", 162, 120, 212)];

    private static readonly Lazy<Picture[]> Faces = new(() => Array.ConvertAll(Crops, Cut));

    /// <summary>The least cosine of both models' vectors, of two faces; not a number where a vector is none.</summary>
    public static double Least(Model one, Model other) => Faces.Value.Min(face => Compare(one, other, face));

    private static double Compare(Model one, Model other, Picture face)
    {
        var input = one.Card.Input;
        using var resized = Pixels.Resized(face, input.Width, input.Height, input.ResizeFilter);
        var (a, b) = (new FaceEmbedder(one).Embed(resized), new FaceEmbedder(other).Embed(resized));
        double dot = 0, first = 0, second = 0;
        for (var i = 0; i < a.Vector.Length; i++)
        {
            dot += (double)a.Vector[i] * b.Vector[i];
            first += (double)a.Vector[i] * a.Vector[i];
            second += (double)b.Vector[i] * b.Vector[i];
        }

        return dot / Math.Sqrt(first * second);
    }

    /// <summary>In managed code, for whoever asks for no other has no native decoder in the process.</summary>
    private static Picture Cut((string File, int X, int Y, int Side) crop)
    {
        var encoded = new ImageDecoder(Options.Create(new ImageOptions { Decoder = PictureDecoder.ImageSharp })).Open(File.ReadAllBytes(Path.Combine(SelfTest.Samples, crop.File)));
        using var picture = encoded.Decode(shrink: 1, CancellationToken.None);
        return Pixels.Cropped(picture, crop.X, crop.Y, crop.Side, crop.Side);
    }
}
