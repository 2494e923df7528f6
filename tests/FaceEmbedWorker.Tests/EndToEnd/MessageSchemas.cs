using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Json.Schema;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The schemas of deploy/schemas; every message that a <see cref="BrokerProbe"/> sees is held against them.</summary>
internal static partial class MessageSchemas
{
    public static readonly JsonSchema Job = Load("job");
    public static readonly JsonSchema Result = Load("result");
    public static readonly JsonSchema RejectedFile = Load("rejected-file");
    public static readonly JsonSchema RejectedJob = Load("rejected-job");
    public static readonly JsonSchema DeadLetter = Load("dead-letter");

    /// <summary>What is wrong with a message; null: nothing.</summary>
    public static string? Trouble(JsonSchema schema, JsonElement message)
    {
        if (schema.Evaluate(message, new EvaluationOptions { OutputFormat = OutputFormat.Flag, RequireFormatValidation = true }).IsValid)
        {
            return null;
        }

        var results = schema.Evaluate(message, new EvaluationOptions { OutputFormat = OutputFormat.List, RequireFormatValidation = true });
        return string.Join("; ", (results.Details ?? []).Where(d => d.Errors is not null).SelectMany(d => d.Errors!.Select(e => $"{d.InstanceLocation} {e.Value}")));
    }

    /// <summary>As above, of a result as published: a vector of numbers is looked at as one number, for there are many of 512.</summary>
    public static string? TroubleOfResult(Seen message)
    {
        var shortened = JsonElement.Parse(Vector().Replace(Encoding.UTF8.GetString(message.Body), "\"vector\":[0]"));
        return Trouble(Result, message.Properties.ContentType == "application/json" ? shortened : shortened.GetProperty("data"));
    }

    [GeneratedRegex(@"""vector"":\[-?\d[\d.eE+-]*(?:,-?\d[\d.eE+-]*)*\]")]
    private static partial Regex Vector();

    private static JsonSchema Load(string name) => JsonSchema.FromText(File.ReadAllText(Path.Combine(TestData.Repository, "deploy", "schemas", $"{name}.schema.json")));
}
