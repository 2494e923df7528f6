using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// The last results, so that a job which is handed out again after a lost connection is answered with the same bytes instead of being done
/// twice.
/// </summary>
internal sealed class RecentResults(int most = 256, long mostBytes = 16_000_000)
{
    private readonly Dictionary<Key, EmbedResult> results = [];
    private readonly Queue<Key> order = [];
    private long bytes;

    public void Add(EmbedJob job, EmbedResult result)
    {
        var key = Key.Of(job, result.Image.Sha256);
        lock (results)
        {
            if (results.Remove(key, out var old))
            {
                bytes -= Bytes(key, old);
            }
            else
            {
                order.Enqueue(key);
            }

            results[key] = result;
            bytes += Bytes(key, result);
            while (order.Count > most || bytes > mostBytes)
            {
                var oldest = order.Dequeue();
                results.Remove(oldest, out var gone);
                bytes -= Bytes(oldest, gone!);
            }
        }
    }

    /// <param name="sha256">Of the job's picture.</param>
    public EmbedResult? Find(EmbedJob job, string sha256)
    {
        lock (results)
        {
            return results.GetValueOrDefault(Key.Of(job, sha256));
        }
    }

    /// <summary>About as many as it takes in memory.</summary>
    private static long Bytes(Key key, EmbedResult result) => 500 + 4L * (key.Metadata?.Length ?? 0) + result.Embeddings.Sum(e => 400 + (4L * e.Vector.Length) + (e.Crop?.Data.Length ?? 0)) + (400L * (result.Skipped?.Count ?? 0));

    /// <summary>All that makes a result: another picture, question or form of answer under the same id is another job.</summary>
    private readonly record struct Key(EmbedJob Asked, string Sha256, string? Metadata, string? Warnings)
    {
        private static readonly ImageSource Nowhere = new ImageSource.Data([]);

        public static Key Of(EmbedJob job, string sha256) =>
            new(job with { Image = Nowhere, Metadata = null, Warnings = null, Deadline = null }, sha256, job.Metadata?.GetRawText(), job.Warnings is { } warnings ? string.Join('\n', warnings) : null);
    }
}
