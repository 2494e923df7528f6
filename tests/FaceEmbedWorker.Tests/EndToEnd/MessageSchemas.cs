using System.Text.Json;
using Json.Schema;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The schemas of deploy/schemas; every message that a <see cref="BrokerProbe"/> sees is held against them.</summary>
internal static class MessageSchemas
{
    public static readonly JsonSchema Job = Load("job");
    public static readonly JsonSchema Result = Load("result");
    public static readonly JsonSchema DeadLetter = Load("dead-letter");

    /// <summary>What is wrong with a message; null: nothing.</summary>
    public static string? Trouble(JsonSchema schema, JsonElement message)
    {
        var results = schema.Evaluate(message, new EvaluationOptions { OutputFormat = OutputFormat.List, RequireFormatValidation = true });
        return results.IsValid ? null : string.Join("; ", (results.Details ?? []).Where(d => d.Errors is not null).SelectMany(d => d.Errors!.Select(e => $"{d.InstanceLocation} {e.Value}")));
    }

    private static JsonSchema Load(string name) => JsonSchema.FromText(File.ReadAllText(Path.Combine(TestData.Repository, "deploy", "schemas", $"{name}.schema.json")));
}
