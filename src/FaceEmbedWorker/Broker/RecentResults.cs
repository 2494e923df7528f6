using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Broker;

/// <summary>The last results, so that a job which is handed out again after a lost connection is answered with the same bytes instead of being done twice.</summary>
internal sealed class RecentResults
{
    private const int Capacity = 256;

    private readonly Dictionary<(string Id, EmbedMode? Mode), EmbedResult> results = [];
    private readonly Queue<(string Id, EmbedMode? Mode)> order = [];

    public void Add(EmbedJob job, EmbedResult result)
    {
        lock (results)
        {
            if (results.TryAdd((job.Id, job.Mode), result))
            {
                order.Enqueue((job.Id, job.Mode));
                if (order.Count > Capacity)
                {
                    results.Remove(order.Dequeue());
                }
            }
            else
            {
                results[(job.Id, job.Mode)] = result;
            }
        }
    }

    /// <param name="sha256">Of the job's picture: another picture under the same id is another job.</param>
    public EmbedResult? Find(EmbedJob job, string sha256)
    {
        lock (results)
        {
            return results.TryGetValue((job.Id, job.Mode), out var result) && result.Image.Sha256 == sha256 ? result : null;
        }
    }
}
