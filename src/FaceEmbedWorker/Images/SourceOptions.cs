using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Net;

namespace FaceEmbedWorker.Images;

/// <summary>What jobs may refer to instead of carrying their picture: nothing, until it is listed here. Section <c>Sources</c>.</summary>
internal sealed class SourceOptions : IValidatableObject
{
    public const string Section = "Sources";

    [Description("Hosts that URLs may name: photos.example.com, *.example.com, *; https on 443 unless it says host:8443 or http://host:8080.")]
    public string Hosts { get; set; } = "";

    [Description("Networks beside the public internet that such a host may be in: 10.1.0.0/16.")]
    public string PrivateNetworks { get; set; } = "";

    [Description("Folders under which paths are looked up.")]
    public string Roots { get; set; } = "";

    [Description("Buckets that may be read; the credentials are the AWS SDK's (AWS_ACCESS_KEY_ID and the like, or the machine's role).")]
    public string Buckets { get; set; } = "";

    [Description("An S3-compatible service; empty: AWS.")]
    public string S3Endpoint { get; set; } = "";

    [Description("Region of the buckets.")]
    [Required]
    public string S3Region { get; set; } = "us-east-1";

    [Description("Seconds for one try to fetch, and for each redirect of it anew; there are three within the job's deadline.")]
    [Range(0.1, 3600)]
    public double TimeoutSeconds { get; set; } = 10;

    [Description("Pictures that a worker fetches at once from one host or bucket; 0: as many as it has jobs at once.")]
    [Range(0, 1024)]
    public int PerHost { get; set; }

    [Description("Fetches a second that a worker begins at one host or bucket, redirects among them, evenly spaced; 0: as many as there are.")]
    [Range(0.0, 10_000)]
    public double PerHostRate { get; set; }

    public IReadOnlyList<IPNetwork> Networks => [.. List(PrivateNetworks).Select(IPNetwork.Parse)];

    public static string[] List(string text) => text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        foreach (var host in List(Hosts).Where(h => AllowedHost.Parse(h) is null))
        {
            yield return new ValidationResult($"'{host}' is no host; write photos.example.com, *.example.com, host:8443 or http://host:8080.", [nameof(Hosts)]);
        }

        foreach (var network in List(PrivateNetworks).Where(n => !IPNetwork.TryParse(n, out _)))
        {
            yield return new ValidationResult($"'{network}' is no network; write 10.1.0.0/16.", [nameof(PrivateNetworks)]);
        }

        foreach (var root in List(Roots).Where(r => !Directory.Exists(r)))
        {
            yield return new ValidationResult($"there is no folder '{root}'.", [nameof(Roots)]);
        }

        if (S3Endpoint.Length > 0 && (!Uri.TryCreate(S3Endpoint, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https")))
        {
            yield return new ValidationResult($"'{S3Endpoint}' must look like https://s3.example.com.", [nameof(S3Endpoint)]);
        }
    }
}

/// <summary>One entry of <see cref="SourceOptions.Hosts"/>.</summary>
/// <param name="Name">Lower case; <c>*</c> for any, or with a leading dot for every name below.</param>
internal sealed record AllowedHost(string Scheme, string Name, int Port)
{
    public static AllowedHost? Parse(string text)
    {
        var (scheme, rest) = text.Split("://") switch
        {
            [var host] => ("https", host),
            ["http", var host] => ("http", host),
            ["https", var host] => ("https", host),
            _ => ("", ""),
        };
        var wildcard = rest.StartsWith("*.", StringComparison.Ordinal);
        var probe = wildcard ? rest[2..] : rest is "*" ? "any.example" : rest;
        return scheme.Length > 0 && Uri.TryCreate($"{scheme}://{probe}", UriKind.Absolute, out var uri) && uri is { PathAndQuery: "/", UserInfo: "", Fragment: "" } && !probe.EndsWith('/')
            ? new AllowedHost(scheme, rest is "*" ? "*" : wildcard ? $".{uri.IdnHost.ToLowerInvariant()}" : uri.IdnHost.ToLowerInvariant(), uri.Port)
            : null;
    }

    public bool Allows(Uri uri)
    {
        var host = uri.IdnHost.ToLowerInvariant().TrimEnd('.');
        return uri.Scheme == Scheme && uri.Port == Port && (Name == "*" || (Name.StartsWith('.') ? host.EndsWith(Name, StringComparison.Ordinal) && host.Length > Name.Length : host == Name));
    }
}
