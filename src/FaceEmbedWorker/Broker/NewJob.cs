using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>A job to hand in.</summary>
/// <param name="Name">Of what it was made; the job's metadata names it as its file.</param>
/// <param name="Mode">As in a message; null: the worker's.</param>
internal sealed record NewJob(string Id, string Name, ReadOnlyMemory<byte> Body, string ContentType, string? Mode = null, byte? Priority = null, bool Bulk = false)
{
    /// <summary>A JSON job's body.</summary>
    /// <param name="kind"><c>url</c> or <c>s3</c>.</param>
    public static byte[] Reference(string kind, string place) => JsonSerializer.SerializeToUtf8Bytes(new() { ["image"] = new() { [kind] = place } }, SubmitJson.Default.DictionaryStringDictionaryStringString);
}

/// <summary>A job that the broker did not take; the message says why.</summary>
internal sealed class JobRefusedException(string message, Exception inner) : Exception(message, inner)
{
    /// <summary>Others will fare no better.</summary>
    public bool IsForAll => InnerException is not UnpublishableException;
}

/// <summary>What became of a job: a result, or why it is a dead letter.</summary>
internal sealed record JobReport(string JobId, EmbedResult? Result, string? Error = null);

[JsonSerializable(typeof(Dictionary<string, string>))]
[JsonSerializable(typeof(Dictionary<string, Dictionary<string, string>>))]
internal sealed partial class SubmitJson : JsonSerializerContext;
