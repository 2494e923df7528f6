using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Globalization;

namespace FaceEmbedWorker.Broker;

/// <summary>Where the broker is, what the queues are called, and how failed jobs come back. Section <c>Broker</c>.</summary>
internal sealed class BrokerOptions : IValidatableObject
{
    public const string Section = "Broker";

    [Description("amqps:// for TLS; without a user, the certificate logs in.")]
    [Required]
    public string Uri { get; set; } = "amqp://guest:guest@localhost:5672/";

    [Description("PEM file of the authorities that may have signed the broker's certificate; empty: the system's.")]
    public string CaFile { get; set; } = "";

    [Description("PEM file of the worker's own certificate.")]
    public string CertificateFile { get; set; } = "";

    [Description("PEM file of its key; empty: it is in the same file.")]
    public string CertificateKeyFile { get; set; } = "";

    [Description("Base name of the job exchanges and queues.")]
    [Required, MaxLength(200)]
    public string Jobs { get; set; } = "face.jobs";

    [Description("Results exchange and its default queue.")]
    [Required, MaxLength(200)]
    public string Results { get; set; } = "face.results";

    [Description("Declare exchanges, queues and bindings at start.")]
    public bool Declare { get; set; } = true;

    [Description("A default queue that takes every result, so that none is lost before you have your own.")]
    public bool ResultsQueue { get; set; } = true;

    [Description("A second queue of jobs (face.jobs.bulk), taken from while the first is empty, and for Jobs:BulkShare always ([messages](messages.md)).")]
    public bool BulkQueue { get; set; }

    [Description("Jobs handed out before one is settled; 0: three for each worked on at once.")]
    [Range(0, 65535)]
    public int Prefetch { get; set; }

    [Description("Megabytes that jobs in hand may have before fewer are handed out at once; 0: a quarter of the memory that the process may use.")]
    [Range(0, 1_000_000)]
    public int PrefetchMegabytes { get; set; }

    [Description("Seconds before each further attempt.")]
    [Required]
    public string RetryDelays { get; set; } = "1,5,30,120,600";

    [Description("Seconds that the broker may take to confirm a message.")]
    [Range(0.1, 600)]
    public double ConfirmSeconds { get; set; } = 30;

    [Description("Seconds for running jobs when the worker is told to stop; give the orchestrator 15 more.")]
    [Range(0.0, 600.0)]
    public double DrainSeconds { get; set; } = 20;

    [Description("Seconds after which a job in hand that cannot go on (its result is not taken, the intake is closed) returns to its queue, uncounted; keep it well below the broker's consumer_timeout (30 min).")]
    [Range(1.0, 86400.0)]
    public double HandBackSeconds { get; set; } = 600;

    /// <summary><see cref="PrefetchMegabytes"/> in bytes.</summary>
    public long PrefetchBytes => PrefetchMegabytes > 0 ? PrefetchMegabytes * 1_000_000L : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4;

    /// <summary>Reads the address once more, for a password may have been renewed; null: it stays as it is.</summary>
    internal Func<string?>? ReadUri;

    /// <summary>The address with the login of this moment.</summary>
    internal string CurrentUri => ReadUri?.Invoke() is { } now && System.Uri.TryCreate(now, UriKind.Absolute, out var uri) && IsAddress(uri) ? now : Uri;

    /// <summary>Without the slashes (amqp:user:password@host) there would be no host, which the client takes for localhost.</summary>
    private static bool IsAddress(Uri uri) => uri is { Scheme: "amqp" or "amqps", Host.Length: > 0 };

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
        if (!System.Uri.TryCreate(Uri, UriKind.Absolute, out var uri) || !IsAddress(uri))
        {
            yield return new ValidationResult("it must look like amqp://user:password@host:5672/vhost (amqps:// for TLS).", [nameof(Uri)]);
        }

        else if (uri.Scheme == "amqp" && CaFile.Length + CertificateFile.Length > 0)
        {
            yield return new ValidationResult("it begins with amqp://, which is not encrypted; with CaFile or CertificateFile it must begin with amqps://.", [nameof(Uri)]);
        }

        foreach (var (name, file) in new[] { (nameof(CaFile), CaFile), (nameof(CertificateFile), CertificateFile), (nameof(CertificateKeyFile), CertificateKeyFile) })
        {
            if (file.Length > 0 && !File.Exists(file))
            {
                yield return new ValidationResult($"there is no file '{file}'.", [name]);
            }
        }

        if (!RetryDelays.Split(',', StringSplitOptions.TrimEntries).All(s =>
            double.TryParse(s, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds is >= 0.001 and <= 86400))
        {
            yield return new ValidationResult($"'{RetryDelays}' is not what it can be: seconds between 0.001 and 86400, comma-separated, such as 1,5,30.", [nameof(RetryDelays)]);
        }
    }
}
