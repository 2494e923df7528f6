namespace FaceEmbedWorker.Faces;

/// <summary>A model or its card cannot be used. The message says which file, why, and the way out.</summary>
internal sealed class ModelException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>What a model gave of a picture has values that are NaN or infinite.</summary>
    public static ModelException NotFinite(string model, string what) =>
        new($"The model {model} gave a {what} that is not finite (NaN or infinite): its weights are damaged, or its card is wrong of its input. Get or export it again; face-embed model check tests an embedder.");
}
