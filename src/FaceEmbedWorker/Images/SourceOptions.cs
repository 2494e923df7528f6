using System.ComponentModel.DataAnnotations;
using System.Net;

namespace FaceEmbedWorker.Images;

/// <summary>What jobs may refer to instead of carrying their picture: nothing, until it is listed here. Section <c>Sources</c>.</summary>
internal sealed class SourceOptions : IValidatableObject
{
    public const string Section = "Sources";

    /// <summary>Hosts that URLs may name, comma-separated: <c>photos.example.com</c>, <c>*.example.com</c>, <c>*</c>; https on port 443 unless the entry says <c>host:8443</c> or <c>http://host:8080</c>.</summary>
    public string Hosts { get; set; } = "";

    /// <summary>Private networks that a listed host may be in, comma-separated, such as 10.1.0.0/16; everything but the public internet is refused otherwise.</summary>
    public string PrivateNetworks { get; set; } = "";

    /// <summary>Folders under which paths are looked up, comma-separated, in that order.</summary>
    public string Roots { get; set; } = "";

    /// <summary>Buckets that may be read, comma-separated. The credentials are those of the AWS SDK: its environment variables, or the machine's role.</summary>
    public string Buckets { get; set; } = "";

    /// <summary>Address of an S3-compatible service; empty: AWS.</summary>
    public string S3Endpoint { get; set; } = "";

    /// <summary>The buckets' region.</summary>
    [Required]
    public string S3Region { get; set; } = "us-east-1";

    /// <summary>Seconds that one try to fetch a picture may take; it is tried up to three times within the job's deadline.</summary>
    [Range(0.1, 3600)]
    public double TimeoutSeconds { get; set; } = 10;

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
