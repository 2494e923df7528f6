using System.ComponentModel.DataAnnotations;
using System.Globalization;

namespace FaceEmbedWorker.Broker;

/// <summary>Where the broker is, what the queues are called, and how failed jobs come back. Section <c>Broker</c>.</summary>
internal sealed class BrokerOptions : IValidatableObject
{
    public const string Section = "Broker";

    /// <summary>amqp:// or amqps:// with user, password, host and virtual host; without a user, the client certificate logs in.</summary>
    [Required]
    public string Uri { get; set; } = "amqp://guest:guest@localhost:5672/";

    /// <summary>PEM file of the authorities that may have signed the broker's certificate; empty: the system's.</summary>
    public string CaFile { get; set; } = "";

    /// <summary>PEM file of the certificate that is shown to the broker; empty: none.</summary>
    public string CertificateFile { get; set; } = "";

    /// <summary>PEM file of the certificate's key; empty: it is in <see cref="CertificateFile"/>.</summary>
    public string CertificateKeyFile { get; set; } = "";

    /// <summary>Base name of the job exchanges and queues.</summary>
    [Required, MaxLength(200)]
    public string Jobs { get; set; } = "face.jobs";

    /// <summary>Name of the results exchange, and of its default queue.</summary>
    [Required, MaxLength(200)]
    public string Results { get; set; } = "face.results";

    /// <summary>Declare exchanges, queues and bindings at start; false for a user who may not.</summary>
    public bool Declare { get; set; } = true;

    /// <summary>Declare a queue that takes every result, so that none is lost before a consumer has its own.</summary>
    public bool ResultsQueue { get; set; } = true;

    /// <summary>Jobs that the broker hands out before one is settled; 0: three for each job worked on at once.</summary>
    [Range(0, 65535)]
    public int Prefetch { get; set; }

    /// <summary>Megabytes that jobs in hand may have before fewer are handed out at once; 0: a quarter of the memory that this process may use.</summary>
    [Range(0, 1_000_000)]
    public int PrefetchMegabytes { get; set; }

    /// <summary>Seconds to wait before each further attempt, comma-separated; one more attempt than delays is made.</summary>
    [Required]
    public string RetryDelays { get; set; } = "1,5,30,120,600";

    /// <summary>Seconds that the broker may take to confirm a message.</summary>
    [Range(0.1, 600)]
    public double ConfirmSeconds { get; set; } = 30;

    /// <summary>Seconds that running jobs get to finish once the worker is told to stop; the orchestrator's grace should be ten longer.</summary>
    [Range(0.0, 600.0)]
    public double DrainSeconds { get; set; } = 20;

    /// <summary>Seconds after which a job in hand that cannot go on returns to its queue; well below the broker's consumer_timeout, which counts as a crash.</summary>
    [Range(1.0, 86400.0)]
    public double HandBackSeconds { get; set; } = 600;

    /// <summary><see cref="PrefetchMegabytes"/> in bytes.</summary>
    public long PrefetchBytes => PrefetchMegabytes > 0 ? PrefetchMegabytes * 1_000_000L : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4;

    /// <summary>Reads the address once more, for a password may have been renewed; null: it stays as it is.</summary>
    internal Func<string?>? ReadUri;

    /// <summary>The address with the login of this moment.</summary>
    internal string CurrentUri => ReadUri?.Invoke() is { } now && System.Uri.TryCreate(now, UriKind.Absolute, out var uri) && uri.Scheme is "amqp" or "amqps" ? now : Uri;

    /// <summary>The same for whoever only looks.</summary>
    public BrokerOptions WithoutDeclaring()
    {
        var copy = (BrokerOptions)MemberwiseClone();
        copy.Declare = false;
        return copy;
    }

    /// <summary>The retry ladder.</summary>
    /// <exception cref="FormatException">Not a comma-separated list of seconds.</exception>
    public IReadOnlyList<TimeSpan> Ladder => RetryDelays.Split(',', StringSplitOptions.TrimEntries)
        .Select(s => TimeSpan.FromSeconds(double.Parse(s, CultureInfo.InvariantCulture))).ToArray();

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (!System.Uri.TryCreate(Uri, UriKind.Absolute, out var uri) || uri.Scheme is not ("amqp" or "amqps"))
        {
            yield return new ValidationResult("The field Uri must look like amqp://user:password@host:5672/vhost (amqps:// for TLS).", [nameof(Uri)]);
        }

        else if (uri.Scheme == "amqp" && CaFile.Length + CertificateFile.Length > 0)
        {
            yield return new ValidationResult("The field Uri begins with amqp://, which is not encrypted; with CaFile or CertificateFile it must begin with amqps://.", [nameof(Uri)]);
        }

        foreach (var (name, file) in new[] { (nameof(CaFile), CaFile), (nameof(CertificateFile), CertificateFile), (nameof(CertificateKeyFile), CertificateKeyFile) })
        {
            if (file.Length > 0 && !File.Exists(file))
            {
                yield return new ValidationResult($"The field {name} is '{file}', and there is no such file.", [name]);
            }
        }

        if (!RetryDelays.Split(',', StringSplitOptions.TrimEntries).All(s =>
            double.TryParse(s, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds is >= 0.001 and <= 86400))
        {
            yield return new ValidationResult($"The field RetryDelays is '{RetryDelays}'; it must be seconds between 0.001 and 86400, comma-separated, such as 1,5,30.", [nameof(RetryDelays)]);
        }
    }
}
