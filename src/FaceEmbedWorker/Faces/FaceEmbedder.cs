using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>Computes the embedding of a picture that has the model's input size.</summary>
/// <param name="points">As for <see cref="FaceAligner"/>.</param>
internal sealed class FaceEmbedder(Model model, string? points = null)
{
    private readonly Model model = model;

    public int Dimensions => model.Card.Output.Dimensions;

    /// <summary>The space of aligned faces.</summary>
    public string FaceSpace { get; } = model.Card.Space(model.Sha256, new FaceAligner(model.Card, points).Rule);

    /// <summary>The space of whole pictures; their vectors do not compare with those of aligned faces.</summary>
    public string ImageSpace { get; } = model.Card.Space(model.Sha256, $"{ModelCrop.WholePicture}/1 {model.Card.Input.ResizeFilter}");

    public ModelCard Card => model.Card;

    /// <summary>The whole picture, resized to the input.</summary>
    public Embedding EmbedWhole(Picture picture)
    {
        var input = model.Card.Input;
        using var resized = Pixels.Resized(picture, input.Width, input.Height, input.ResizeFilter);
        return Embed(resized);
    }

    /// <param name="picture">Of the input's size.</param>
    /// <exception cref="ModelException">The vector has values that are no numbers.</exception>
    /// <param name="input">Colour order and scaling in place of the card's.</param>
    public Embedding Embed(Picture picture, ModelInput? input = null)
    {
        using var run = model.Rent();
        InputPicture.Write(picture.Pixels, input ?? model.Card.Input, run.Input);
        run.Execute();
        var raw = run.Output();
        var norm = Math.Sqrt(SumOfSquares(raw));
        if (!double.IsFinite(norm))
        {
            throw ModelException.NotFinite(model.Card.Id, "vector");
        }

        var vector = new float[Dimensions];
        var divisor = model.Card.Output.Normalization == "l2" ? norm + 1e-10 : 1;
        for (var i = 0; i < vector.Length; i++)
        {
            vector[i] = (float)(raw[i] / divisor);
        }

        return new Embedding(vector, norm);
    }

    private static double SumOfSquares(ReadOnlySpan<float> values)
    {
        double sum = 0;
        foreach (var value in values)
        {
            sum += (double)value * value;
        }

        return sum;
    }
}
