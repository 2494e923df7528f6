using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>Computes the embedding of a picture that has the model's input size.</summary>
/// <param name="points">As for <see cref="FaceAligner"/>.</param>
internal sealed class FaceEmbedder(Model model, string? points = null)
{
    private const double SmallestNorm = 1e-7; // below, what l2 adds to a norm is felt; embedders give 1 and more

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
    /// <exception cref="ModelException">The vector has values that are no numbers, or is zero.</exception>
    /// <param name="input">Colour order and scaling in place of the card's.</param>
    /// <param name="mayBeZero">Of a picture of one colour: a network may make nothing of it.</param>
    public Embedding Embed(Picture picture, ModelInput? input = null, bool mayBeZero = false)
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

        if (norm < SmallestNorm && !mayBeZero)
        {
            throw new ModelException($"The model {model.Card.Id} gave a vector of zeros, which compares with nothing: its weights are damaged, its card is wrong of its input, or the picture is of one colour. face-embed model check tests it.");
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
