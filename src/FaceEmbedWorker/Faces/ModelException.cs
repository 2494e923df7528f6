namespace FaceEmbedWorker.Faces;

/// <summary>A model or its card cannot be used. The message says which file, why, and the way out.</summary>
internal sealed class ModelException(string message, Exception? inner = null) : Exception(message, inner);
