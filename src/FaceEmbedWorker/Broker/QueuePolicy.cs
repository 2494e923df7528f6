using System.Text.Json;

namespace FaceEmbedWorker.Broker;

/// <summary>Whether a policy on a queue breaks the guarantee, as the management API tells of it.</summary>
internal static class QueuePolicy
{
    /// <summary>The name of the queue's policy, which a list without figures has at once; of operator policies it tells nothing.</summary>
    public static string? Of(JsonElement queue) => Named(queue, "policy");

    /// <summary>The names of the queue's policy and of its operator policy; null where it has neither.</summary>
    private static string? NameOf(JsonElement queue) => (Of(queue), Named(queue, "operator_policy")) switch
    {
        (var policy, null) => policy,
        (null, var ofOperator) => $"operator policy {ofOperator}",
        var (policy, ofOperator) => $"{policy} and operator policy {ofOperator}",
    };

    private static string? Named(JsonElement queue, string which) => queue.TryGetProperty(which, out var name) && name.ValueKind == JsonValueKind.String ? name.GetString() : null;

    /// <summary>
    /// A policy beats a queue's own argument for overflow and strategy; length, time to live and limits merge by the minimum. Nothing takes
    /// what leaves the dead letters or the results: there, what a policy deletes is gone.
    /// </summary>
    /// <param name="role">As of <see cref="Topology.Role"/>.</param>
    public static BrokerFinding Judge(string queue, string role, JsonElement found)
    {
        var keys = found.TryGetProperty("effective_policy_definition", out var definition) && definition.ValueKind == JsonValueKind.Object
            ? definition.EnumerateObject().ToDictionary(p => p.Name, p => p.Value.ToString())
            : [];
        var (isLast, timeToLive) = (role is "dead" or "results", keys.GetValueOrDefault("message-ttl"));
        var harm = keys.GetValueOrDefault("overflow", "reject-publish") is not "reject-publish" and var overflow ? $"overflow {overflow} drops messages of a full queue"
            : keys.GetValueOrDefault("dead-letter-strategy", "at-least-once") is not "at-least-once" and var strategy ? $"dead-letter-strategy {strategy} may lose what moves between queues"
            : keys.TryGetValue("expires", out var expires) ? $"expires {expires} deletes the queue with its messages"
            : isLast && keys.TryGetValue("delivery-limit", out var limit) ? $"delivery-limit {limit} deletes what was looked at, or came back, more often than that"
            : role == "results" && timeToLive is not null ? $"message-ttl {timeToLive} deletes results that nobody took in {timeToLive} ms"
            : null;
        return new BrokerFinding($"policy on {queue}", harm is null, harm is not null ? $"{NameOf(found)}: {harm}. Take it out of the policy, or let the policy's pattern pass over {queue}."
            : keys.Count == 0 ? "none"
            : $"{NameOf(found)}: {string.Join(", ", keys.Keys)}; {(role == "dead" && timeToLive is not null ? $"dead letters are deleted after {timeToLive} ms" : "nothing of it loses messages")}");
    }
}
