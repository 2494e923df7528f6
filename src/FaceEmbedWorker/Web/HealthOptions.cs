using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace FaceEmbedWorker.Web;

/// <summary>Where the worker tells how it is. Section <c>Health</c>.</summary>
internal sealed class HealthOptions : IValidatableObject
{
    public const string Section = "Health";

    [Description("Where the status page, probes and metrics answer; http://[::]:8081 in a container, empty for nowhere.")]
    public string Url { get; set; } = "http://127.0.0.1:8081";

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (Url.Length > 0 && (!Uri.TryCreate(Url, UriKind.Absolute, out var uri) || uri.Scheme != "http" || uri.PathAndQuery != "/"))
        {
            yield return new ValidationResult($"'{Url}' must look like http://127.0.0.1:8081, or be empty.", [nameof(Url)]);
        }
    }
}
