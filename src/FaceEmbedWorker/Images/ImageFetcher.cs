using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using Amazon.Runtime;
using Amazon.S3;
using Microsoft.Extensions.Options;
using Polly;
using Polly.Retry;

namespace FaceEmbedWorker.Images;

/// <summary>Where a job's picture is: in the job itself, or somewhere that the job refers to.</summary>
/// <param name="Sha256">What its bytes must have, in lower-case hexadecimal; null: anything.</param>
internal abstract record ImageSource(string? Sha256)
{
    public sealed record Data(byte[] Bytes, string? Sha256 = null) : ImageSource(Sha256);

    public sealed record Url(string Address, string? Sha256 = null) : ImageSource(Sha256);

    /// <param name="Name">Relative to one of the roots.</param>
    public sealed record Path(string Name, string? Sha256 = null) : ImageSource(Sha256);

    /// <param name="Name">A file of this machine that its user has named: no job may.</param>
    public sealed record File(string Name) : ImageSource((string?)null);

    public sealed record S3(string Bucket, string Key, string? Sha256 = null) : ImageSource(Sha256);
}

/// <summary>A picture's place does not answer as it should: trying again may help.</summary>
internal sealed class SourceException(string message, Exception? inner = null, TimeSpan? retryAfter = null, bool paused = false) : Exception(message, inner)
{
    /// <summary>When the place wants to be asked again; null where it does not say.</summary>
    public TimeSpan? RetryAfter => retryAfter;

    /// <summary>It was not asked, for it failed again and again before.</summary>
    public bool Paused => paused;
}

/// <summary>
/// Brings a job's encoded picture into memory, from where the settings allow. What is fetched is bounded in size and time, and tried up to
/// three times.
/// </summary>
internal sealed class ImageFetcher : IDisposable
{
    private const int MostRedirects = 3;

    /// <summary>What a place asks for is waited for here up to this; beyond, the job waits in a queue, and others have its slot.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(2);

    private readonly SourceOptions options;
    private readonly int maxBytes;
    private readonly AllowedHost[] hosts;
    private readonly string[] buckets;
    private readonly IReadOnlyList<IPNetwork> networks;
    private readonly (string Given, string Real)[] roots;
    private readonly HttpClient http;
    private readonly Lazy<AmazonS3Client> s3;
    private readonly ResiliencePipeline<byte[]> again;
    private readonly HostTurns turns;
    private readonly TimeProvider time;

    public ImageFetcher(IOptions<SourceOptions> options, IOptions<ImageOptions> images, TimeProvider time)
        : this(options, images, time, Dns.GetHostAddressesAsync)
    {
    }

    /// <param name="resolve">Host name -> addresses.</param>
    internal ImageFetcher(IOptions<SourceOptions> options, IOptions<ImageOptions> images, TimeProvider time, Func<string, CancellationToken, Task<IPAddress[]>> resolve)
    {
        this.options = options.Value;
        this.time = time;
        maxBytes = images.Value.MaxBytes;
        hosts = [.. SourceOptions.List(this.options.Hosts).Select(h => AllowedHost.Parse(h)!)];
        buckets = SourceOptions.List(this.options.Buckets);
        roots = [.. SourceOptions.List(this.options.Roots).Select(r => (r, RealPath(r)))];
        networks = this.options.Networks;
        http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // each is checked
            UseCookies = false,
            UseProxy = false,
            AutomaticDecompression = DecompressionMethods.None,
            PooledConnectionLifetime = TimeSpan.FromMinutes(1),
            MaxResponseHeadersLength = 32,
            ConnectCallback = async (context, cancel) => await ConnectAsync(context.DnsEndPoint, networks, resolve, cancel),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        http.DefaultRequestHeaders.UserAgent.ParseAdd("face-embed");
        s3 = new Lazy<AmazonS3Client>(() => BucketListing.Client(this.options, retries: 0));
        again = new ResiliencePipelineBuilder<byte[]> { TimeProvider = time }
            .AddRetry(new RetryStrategyOptions<byte[]>
            {
                MaxRetryAttempts = 2,
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                Delay = TimeSpan.FromMilliseconds(200),
                ShouldHandle = new PredicateBuilder<byte[]>().Handle<SourceException>(e => !e.Paused && !(e.RetryAfter > LongestWait)),
                DelayGenerator = arguments => ValueTask.FromResult((arguments.Outcome.Exception as SourceException)?.RetryAfter),
            })
            .Build();
        turns = new HostTurns(this.options, time);
    }

    /// <exception cref="ImageException">The source is not allowed, is not there, has too many bytes or others than it should.</exception>
    /// <exception cref="SourceException">The source does not answer as it should.</exception>
    /// <param name="last">Others go before it where the settings bound how often a host is asked.</param>
    public async ValueTask<byte[]> FetchAsync(ImageSource source, CancellationToken cancel, bool last = false)
    {
        cancel.ThrowIfCancellationRequested();
        var bytes = source switch
        {
            ImageSource.Data data => data.Bytes,
            ImageSource.Url url => await FetchUrlAsync(url.Address, last, cancel),
            ImageSource.Path path => await ReadFileAsync(path.Name, cancel),
            ImageSource.File file => await ReadOwnAsync(file.Name, cancel),
            ImageSource.S3 s => await FetchS3Async(s.Bucket, s.Key, last, cancel),
            _ => throw new InvalidOperationException($"No way to fetch {source.GetType().Name}."),
        };
        return source.Sha256 is null || Convert.ToHexStringLower(SHA256.HashData(bytes)) is var sum && sum == source.Sha256 ? bytes
            : throw new ImageException(ImageFault.SourceMismatch, $"The picture has SHA-256 {sum}, and the job says {source.Sha256}.");
    }

    public void Dispose()
    {
        http.Dispose();
        turns.Dispose();
        if (s3.IsValueCreated)
        {
            s3.Value.Dispose();
        }
    }

    /// <summary>
    /// Resolves, checks each address, and connects to one that was checked: what the name means a moment later does not matter.
    /// </summary>
    private static async Task<Stream> ConnectAsync(DnsEndPoint host, IReadOnlyList<IPNetwork> networks, Func<string, CancellationToken, Task<IPAddress[]>> resolve, CancellationToken cancel)
    {
        var addresses = IPAddress.TryParse(host.Host, out var literal) ? [literal] : await resolve(host.Host, cancel);
        if (addresses.FirstOrDefault(a => !PublicAddress.MayReach(a, networks)) is { } hidden)
        {
            throw Hidden(host.Host, hidden, networks);
        }

        var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(addresses, host.Port, cancel);
            return new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>What is not allowed is refused before it waits for a turn, and each redirect has a turn of its own, at its own host.</summary>
    private async Task<byte[]> FetchUrlAsync(string address, bool last, CancellationToken cancel)
    {
        var first = Allowed(Uri.TryCreate(address, UriKind.Absolute, out var given) ? given : throw new ImageException(ImageFault.SourceDenied, "The 'image.url' is no absolute URL."));
        return await AgainAsync(async token =>
        {
            var url = first;
            for (var redirects = 0; redirects <= MostRedirects; redirects++)
            {
                var (bytes, next) = await OnceAsync(url.Authority, last, limit => GetAsync(url, limit), token,
                    a => a.Next is not null && Uri.TryCreate(url, a.Next, out var same) && IsAt(same, url) ? null : true);
                if (bytes is not null)
                {
                    return bytes;
                }

                url = Allowed(Uri.TryCreate(url, next, out var moved) ? moved : throw new ImageException(ImageFault.SourceDenied, $"{Shown(url)} redirects to what is no URL."));
            }

            throw new ImageException(ImageFault.SourceDenied, $"{Shown(url)} redirects more than {MostRedirects} times.");
        }, cancel);
    }

    /// <summary>Tries up to three times. Where the place is left alone after a try that asked it, that try's failure is told: it is an attempt of its job.</summary>
    private async Task<byte[]> AgainAsync(Func<CancellationToken, Task<byte[]>> fetch, CancellationToken cancel)
    {
        SourceException? asked = null;
        try
        {
            return await again.ExecuteAsync(async token =>
            {
                try
                {
                    return await fetch(token);
                }
                catch (SourceException e) when (!e.Paused)
                {
                    asked = e;
                    throw;
                }
            }, cancel);
        }
        catch (SourceException e) when (e.Paused && asked is not null)
        {
            throw asked;
        }
    }

    /// <returns>As it will be asked for.</returns>
    /// <exception cref="ImageException">It is not to be asked for.</exception>
    private Uri Allowed(Uri url)
    {
        var odd = !url.Host.All(c => char.IsAscii(c) || char.IsLetter(c)); // digits in circles and the like
        try
        {
            url = Plain(url);
            _ = url.IdnHost;
        }
        catch (UriFormatException e)
        {
            throw new ImageException(ImageFault.SourceDenied, $"The URL names no host that there can be: {e.Message}", e);
        }

        if (odd || url.UserInfo.Length > 0 || !hosts.Any(h => h.Allows(url)))
        {
            throw Denied(url.Scheme is not ("http" or "https") ? "The 'image.url' begins neither with https:// nor with http://" : hosts.Length == 0 ? "This worker fetches no URLs" : $"This worker does not fetch from {url.Scheme}://{url.Host}:{url.Port}",
                url.UserInfo.Length > 0 ? "URLs with a user in them are never fetched." : odd || url.Scheme is not ("http" or "https") ? "Only http and https, and hosts by their plain names, can be."
                    : Setting("Hosts", options.Hosts, url.Scheme == "http" ? $"http://{url.Host}:{url.Port}" : url.IsDefaultPort ? url.Host : $"{url.Host}:{url.Port}"));
        }

        return IPAddress.TryParse(url.IdnHost, out var literal) && !PublicAddress.MayReach(literal, networks) ? throw Hidden(url.Host, literal, networks) : url;
    }

    /// <returns>What is there, or where it is, from here.</returns>
    private async Task<(byte[]? Bytes, Uri? Next)> GetAsync(Uri url, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
        if ((int)answer.StatusCode is 301 or 302 or 303 or 307 or 308 && answer.Headers.Location is { } next)
        {
            return (null, next);
        }

        Check((int)answer.StatusCode, Shown(url), RetryAfter(answer.Headers));
        return (await ReadAsync(await answer.Content.ReadAsStreamAsync(cancel), answer.Content.Headers.ContentLength, Shown(url), cancel), null);
    }

    private async Task<byte[]> FetchS3Async(string bucket, string key, bool last, CancellationToken cancel) => buckets.Contains(bucket, StringComparer.Ordinal)
        ? await AgainAsync(token => OnceAsync($"s3://{bucket}", last, limit => GetS3Async(bucket, key, limit), token), cancel)
        : throw Denied(buckets.Length == 0 ? "This worker reads no buckets" : $"This worker does not read the bucket '{bucket}'", Setting("Buckets", options.Buckets, bucket));

    private async Task<byte[]> GetS3Async(string bucket, string key, CancellationToken cancel)
    {
        try
        {
            using var answer = await s3.Value.GetObjectAsync(bucket, key, cancel);
            return await ReadAsync(answer.ResponseStream, answer.ContentLength, $"s3://{bucket}/{key}", cancel);
        }
        catch (AmazonS3Exception e) when ((int)e.StatusCode >= 400)
        {
            Check((int)e.StatusCode, $"s3://{bucket}/{key}");
            throw;
        }
        catch (Exception e) when (e is AmazonClientException or AmazonServiceException)
        {
            throw new SourceException($"s3://{bucket}/{key} cannot be read: {BucketListing.Words(e)}", e);
        }
    }

    /// <summary>A job may try to lead inside: nothing is proposed for loopback, for where clouds keep credentials and the like.</summary>
    private static ImageException Hidden(string host, IPAddress address, IReadOnlyList<IPNetwork> networks) => Denied($"'{host}' is at {address}, which is not on the public internet",
        address.GetAddressBytes() is [10, _, _, _] or [172, >= 16 and < 32, _, _] or [192, 168, _, _]
            ? Setting("PrivateNetworks", string.Join(',', networks), $"{address}/32") : "Sources:PrivateNetworks lists networks that may be reached.");

    private static ImageException Denied(string what, string way) => new(ImageFault.SourceDenied, $"{what}. {way}");

    /// <summary>The setting that would allow it, whole, beside what is allowed now.</summary>
    private static string Setting(string name, string now, string more) => $"To allow it: {SourceOptions.Section}:{name}={string.Join(',', [.. SourceOptions.List(now), more])}";

    /// <summary>In seconds or as a date.</summary>
    private TimeSpan? RetryAfter(HttpResponseHeaders headers) => (headers.RetryAfter?.Delta ?? headers.RetryAfter?.Date - time.GetUtcNow()) is { } wait ? wait > TimeSpan.Zero ? wait : TimeSpan.Zero
        : headers.TryGetValues("Retry-After", out var told) && told.First().Trim() is { Length: > 0 } text && text.All(char.IsAsciiDigit) ? TimeSpan.FromDays(1) // more seconds than .NET takes
        : null;

    private static void Check(int status, string place, TimeSpan? retryAfter = null)
    {
        switch (status)
        {
            case >= 200 and < 300:
                return;
            case 404 or 410:
                throw new ImageException(ImageFault.SourceMissing, $"There is nothing at {place} (status {status}).");
            case 429 or 503 when retryAfter is { } wait:
                throw new SourceException($"{place} answers with status {status}, and wants to be asked again in {wait.TotalSeconds:0.#} s.", retryAfter: wait);
            case 408 or 425 or 429 or >= 500:
                throw new SourceException($"{place} answers with status {status}.");
            default:
                throw new ImageException(ImageFault.SourceDenied, $"{place} refuses the picture (status {status}).");
        }
    }

    private async Task<byte[]> ReadFileAsync(string name, CancellationToken cancel)
    {
        if (roots.Length == 0)
        {
            throw Denied("This worker reads no paths", Setting("Roots", "", "/the/folder/they/are/under"));
        }

        if (Path.IsPathRooted(name) || name.Contains('\0') || name.Split('/', '\\').Contains(".."))
        {
            throw new ImageException(ImageFault.SourceDenied, "The 'image.path' must be relative to a root, without '..'.");
        }

        foreach (var (given, real) in roots)
        {
            var file = Path.Combine(given, name);
            if (!File.Exists(file))
            {
                continue;
            }

            // what was opened is what is looked at: a link that changes meanwhile changes nothing
            await using var stream = OpenUnderRoot(file, name);
            var opened = OperatingSystem.IsLinux() ? RealPath($"/proc/self/fd/{stream.SafeFileHandle.DangerousGetHandle()}") : RealPath(file);
            return opened.StartsWith(real + Path.DirectorySeparatorChar, StringComparison.Ordinal)
                ? await ReadAsync(stream, stream.Length, $"'{name}'", cancel)
                : throw new ImageException(ImageFault.SourceDenied, $"'{name}' leads out of its root by a link.");
        }

        throw new ImageException(ImageFault.SourceMissing, $"There is no file '{name}' under any of Sources:Roots.");
    }

    private async Task<byte[]> ReadOwnAsync(string name, CancellationToken cancel)
    {
        try
        {
            return await PictureFile.ReadAsync(name, maxBytes, cancel);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException(e is FileNotFoundException ? ImageFault.SourceMissing : ImageFault.Unreadable, e.Message, e);
        }
    }

    private static FileStream OpenUnderRoot(string file, string name)
    {
        try
        {
            return PictureFile.Open(file);
        }
        catch (NotAFileException e)
        {
            throw new ImageException(ImageFault.SourceDenied, $"'{name}' cannot be a picture: {e.Message}", e);
        }
    }

    /// <summary>Has its turn at its host, and then its own time; what is not an answer becomes a <see cref="SourceException"/>.</summary>
    private Task<T> OnceAsync<T>(string host, bool last, Func<CancellationToken, Task<T>> ask, CancellationToken cancel, Func<T, bool?>? tells = null) =>
        turns.AskAsync(host, last, () => InTimeAsync(ask, cancel), cancel, tells);

    private async Task<T> InTimeAsync<T>(Func<CancellationToken, Task<T>> ask, CancellationToken token)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(token);
        limit.CancelAfter(TimeSpan.FromSeconds(options.TimeoutSeconds));
        try
        {
            return await ask(limit.Token);
        }
        catch (Exception e) when (Inner<ImageException>(e) is { } refused)
        {
            throw refused;
        }
        catch (OperationCanceledException e) when (!token.IsCancellationRequested)
        {
            throw new SourceException($"The picture was not here within {options.TimeoutSeconds} s (Sources:TimeoutSeconds).", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or System.Net.Sockets.SocketException)
        {
            throw new SourceException($"The picture cannot be fetched: {e.GetBaseException().Message}", e);
        }
    }

    private async Task<byte[]> ReadAsync(Stream stream, long? length, string place, CancellationToken cancel)
    {
        if (length > maxBytes)
        {
            throw TooLarge(length.Value);
        }

        using var bytes = new MemoryStream((int)(length ?? 64 * 1024));
        var buffer = new byte[64 * 1024];
        for (int read; (read = await stream.ReadAsync(buffer, cancel)) > 0;)
        {
            if (bytes.Length + read > maxBytes)
            {
                throw TooLarge(bytes.Length + read);
            }

            bytes.Write(buffer, 0, read);
        }

        return bytes.Length < length ? throw new SourceException($"{place} ended after {bytes.Length} of {length} bytes.") : bytes.ToArray();

        ImageException TooLarge(long size) => new(ImageFault.TooLarge, $"{place} has {size:N0} bytes or more; {maxBytes:N0} are allowed (Images:MaxBytes).");
    }

    private static T? Inner<T>(Exception exception)
        where T : Exception
    {
        for (var e = exception; e is not null; e = e.InnerException)
        {
            if (e is T found)
            {
                return found;
            }
        }

        return null;
    }

    /// <summary>The host as it will be looked up: other ways to write digits and letters, and a dot at the end, are gone.</summary>
    /// <param name="url">As a host wrote it.</param>
    /// <param name="plain">As <see cref="Allowed"/> has it.</param>
    private static bool IsAt(Uri url, Uri plain)
    {
        try
        {
            return Plain(url).Authority == plain.Authority;
        }
        catch (UriFormatException)
        {
            return false; // there is no such host
        }
    }

    private static Uri Plain(Uri url) => url.Host.Length > 0 && url.HostNameType == UriHostNameType.Dns ? new UriBuilder(url) { Host = url.IdnHost.TrimEnd('.') }.Uri : url;

    /// <summary>Without its query, which may hold a signature.</summary>
    private static string Shown(Uri url) => url.GetLeftPart(UriPartial.Path);

    /// <summary>With every link followed.</summary>
    private static string RealPath(string path)
    {
        var real = "/";
        foreach (var part in Path.GetFullPath(path).Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            var next = Path.Combine(real, part);
            real = new FileInfo(next).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? next;
            real = real == next ? next : RealPath(real);
        }

        return real;
    }
}
