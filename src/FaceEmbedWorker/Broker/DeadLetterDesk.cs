using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FaceEmbedWorker.Images;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>A dead letter, without its body.</summary>
/// <param name="Id"><see cref="JobMessage.JobId"/>, whoever made the letter.</param>
/// <param name="Reason"><c>fw-error</c>; where the broker made the letter, its own word for why.</param>
/// <param name="Key">Tells letters of one id apart, which may be of different pictures.</param>
/// <param name="File">The file that <c>submit</c> made the job of; null where it is another's job.</param>
internal sealed record DeadLetter(string Id, string Reason, string Message, string? Detail, int Attempt, long Replays, string? FirstFailedAt, string? LastFailedAt, string? Worker, string? ContentType, int Bytes, string Key, string? File = null)
{
    public static DeadLetter Of(JobMessage message) => new(
        JobMessage.Short(message.JobId)!,
        message.Text(DeadLetters.ErrorHeader) ?? message.Text("x-first-death-reason") ?? "unknown",
        message.Text(DeadLetters.MessageHeader) ?? ByBroker(message.Text("x-first-death-reason")),
        message.Text(DeadLetters.DetailHeader),
        message.Attempt,
        message.Number(DeadLetters.ReplaysHeader),
        message.Text(DeadLetters.FirstFailedHeader),
        message.Text(DeadLetters.LastFailedHeader),
        message.Text(DeadLetters.WorkerHeader),
        message.Properties.ContentType,
        message.Body.Length,
        KeyOf(message),
        JobPublisher.FileOf(message.Text(JobMessage.MetadataHeader)));

    /// <summary>What went wrong, in a line, with the file that it was about.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public string What => File is null ? Message : $"{File}: {Message}";

    private static string ByBroker(string? reason) => $"The broker made this dead letter: {reason switch
    {
        "delivery_limit" => "the job was handed out too often, and never settled.",
        "expired" => "the job waited longer than its expiration.",
        "rejected" => "nothing that became of the job could be published; the worker's log says why.",
        _ => "the job was handed out too often, expired, or nothing that became of it could be published.",
    }}";

    /// <summary>Of its headers and the ends of its body: letters may be many and large.</summary>
    private static string KeyOf(JobMessage message)
    {
        const int end = 4096;
        var told = string.Join('\n', new[] { DeadLetters.ErrorHeader, DeadLetters.MessageHeader, DeadLetters.FirstFailedHeader, DeadLetters.LastFailedHeader, JobMessage.MetadataHeader }.Select(message.Text)
            .Append($"{message.Attempt} {message.Number(DeadLetters.ReplaysHeader)} {message.Body.Length}").Prepend(message.Identity));
        var body = message.Body.Span;
        return Convert.ToHexStringLower(SHA256.HashData((byte[])[.. Encoding.UTF8.GetBytes(told), .. body[..Math.Min(end, body.Length)], .. body[Math.Max(0, body.Length - end)..]]))[..32];
    }

    /// <summary>
    /// The encoded picture that a job carries: where it is malformed by what is said beside the picture, its body. Null where the job
    /// refers to its picture.
    /// </summary>
    /// <exception cref="MalformedJobException">There is none.</exception>
    public static byte[]? PictureOf(JobMessage message)
    {
        try
        {
            return message.Read().Image is ImageSource.Data picture ? picture.Bytes : null;
        }
        catch (MalformedJobException) when (message.Body.Length > 0 && ImageFormat.Of(message.Body.Span) is not null)
        {
            return message.Bytes();
        }
        catch (MalformedJobException) when (JsonPicture.Of(message.Body) is { } picture)
        {
            return picture;
        }
        catch (MalformedJobException e) when (message.Body.Length > 0 && message.Properties.ContentType?.Contains("json", StringComparison.OrdinalIgnoreCase) != true)
        {
            throw new MalformedJobException("The body is not a picture of any known format.", e); // whatever else is wrong with the job
        }
    }

    /// <summary>All that is known of it, with names for people; of a JSON job the beginning of its body.</summary>
    public IEnumerable<(string Name, string Value)> Facts(JobMessage message) => new (string Name, string? Value)[]
    {
        ("id", Id), ("key", Key), ("file", File), ("reason", Reason), ("what", Message), ("detail", Detail), ("attempt", $"{Attempt}"), ("replays", $"{Replays}"), ("failed first", FirstFailedAt), ("failed last", LastFailedAt),
        ("by", Worker), ("content type", ContentType), ("bytes", Bytes.ToString("N0", CultureInfo.InvariantCulture)),
        ("correlation id", message.Properties.CorrelationId), ("metadata", message.Text(JobMessage.MetadataHeader)),
        ("body", ContentType?.Contains("json", StringComparison.OrdinalIgnoreCase) == true ? Encoding.UTF8.GetString(message.Body.Span[..Math.Min(400, message.Body.Length)]) : null),
    }.Where(fact => !string.IsNullOrEmpty(fact.Value)).Select(fact => (fact.Name, fact.Value!));
}

/// <param name="Total">Dead letters in the queue.</param>
/// <param name="Reasons">Reason -> letters, of all.</param>
/// <param name="Letters">Those that were asked for.</param>
internal sealed record DeadLetterList(int Total, IReadOnlyDictionary<string, int> Reasons, IReadOnlyList<DeadLetter> Letters);

/// <summary>Looks through the dead letters, and takes out only what was confirmed elsewhere or is to be discarded.</summary>
internal sealed class DeadLetterDesk(IOptions<BrokerOptions> options, Topology topology, TimeProvider time, ILogger<DeadLetterDesk> logger) : IAsyncDisposable
{
    private readonly BrokerConnection connection = Connection("dead-letters", options, time, logger);

    /// <summary>
    /// Its own, for an alarm blocks the connection that publishes: the broker would not read there that the letters are let go.
    /// </summary>
    private readonly BrokerConnection publishing = Connection("dead-letters-replay", options, time, logger);

    /// <summary>Between two words of how far a look has come.</summary>
    private static readonly TimeSpan Apart = TimeSpan.FromSeconds(0.5);

    /// <summary>A quorum queue has letters back a moment after the channel that held them has closed; unless somebody else takes them, so not for longer than this.</summary>
    private static readonly TimeSpan OnTheirWayBack = TimeSpan.FromSeconds(1);

    /// <summary>What the last look left in the queue, and when.</summary>
    private (long Letters, long At) left;

    public string Queue => topology.Dead;

    /// <inheritdoc cref="IBrokerLink.Blocked"/>
    public string? Blocked => publishing.Blocked;

    /// <inheritdoc cref="IBrokerLink.BlockedChanged"/>
    public event Action? BlockedChanged
    {
        add => publishing.BlockedChanged += value;
        remove => publishing.BlockedChanged -= value;
    }

    /// <summary>Counts the letters by reason, and lists the newest of those with a reason, or of all. Takes nothing out.</summary>
    public async Task<DeadLetterList> ListAsync(string? reason, int limit, CancellationToken cancel, TimeSpan? patience = null)
    {
        var (counts, letters) = (new SortedDictionary<string, int>(StringComparer.Ordinal), new PriorityQueue<DeadLetter, (string, string)>(OldestFirst));
        await ScanAsync((letter, _) =>
        {
            counts[letter.Reason] = counts.GetValueOrDefault(letter.Reason) + 1;
            if (reason is null || letter.Reason == reason)
            {
                letters.Enqueue(letter, (letter.LastFailedAt ?? "", letter.Key));
                if (letters.Count > limit)
                {
                    letters.Dequeue();
                }
            }

            return Task.FromResult(false);
        }, cancel, patience);
        var listed = new DeadLetter[letters.Count];
        for (var i = listed.Length - 1; i >= 0; i--)
        {
            listed[i] = letters.Dequeue();
        }

        return new DeadLetterList(counts.Values.Sum(), counts, listed);
    }

    /// <summary>Takes letters out: those to be handed in again once their copy is confirmed, the others for good.</summary>
    /// <param name="taken">Called for each as it goes.</param>
    /// <param name="patience">How long to wait for the broker, and for the end of an alarm.</param>
    /// <exception cref="JobRefusedException">The broker did not take a copy; that letter and those behind it stay.</exception>
    /// <exception cref="BrokerRefusedException">As of <see cref="ScanAsync"/>, or the broker takes nothing.</exception>
    public Task TakeAsync(Func<DeadLetter, bool> wanted, bool replay, Action<DeadLetter> taken, CancellationToken cancel, TimeSpan? patience = null) => ScanAsync(async (letter, message) =>
    {
        if (!wanted(letter))
        {
            return false;
        }

        if (replay)
        {
            await ReplayAsync(message, patience, cancel);
        }

        taken(letter);
        return true;
    }, cancel, patience);

    /// <summary>
    /// Shows each letter that is in the queue now. All are held until the last is seen, and go back to their places when the channel
    /// closes, as they do where this process is killed.
    /// </summary>
    /// <param name="decide">True takes the letter out of the queue; only said once it is safe elsewhere.</param>
    /// <param name="patience">How long to wait for the broker; half a minute where it is not said.</param>
    /// <exception cref="BrokerRefusedException">There is no such queue, it may not be read, or the broker does not answer.</exception>
    public async Task ScanAsync(Func<DeadLetter, JobMessage, Task<bool>> decide, CancellationToken cancel, TimeSpan? patience = null)
    {
        var channel = await connection.OpenAsync(cancel, patience);
        var (looked, taken) = (0L, 0L);
        long? behind = null;
        try
        {
            while ((await channel.QueueDeclarePassiveAsync(topology.Dead, cancel)).MessageCount < left.Letters && time.GetElapsedTime(left.At) < OnTheirWayBack)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(20), time, cancel);
            }

            // a queue's own count is 0 where its leader is slow to answer; a message that is taken tells how many are behind it
            var (began, shown) = (time.GetTimestamp(), TimeSpan.Zero);
            while (behind is not 0 && await BrokerConnection.Bounded(token => channel.BasicGetAsync(topology.Dead, autoAck: false, token), cancel) is { } got)
            {
                behind = (behind ?? got.MessageCount + 1L) - 1;
                looked++;
                if (time.GetElapsedTime(began) is var passed && passed - shown > Apart)
                {
                    shown = passed;
                    BrokerWait.Show?.Invoke($"Looking at the dead letters: {looked:N0} of {looked + behind:N0}");
                }

                var message = new JobMessage(got.Body, got.BasicProperties);
                message = message with { CameAsBulk = topology.DiedAsBulk(message) };
                if (await decide(DeadLetter.Of(message), message))
                {
                    await channel.BasicAckAsync(got.DeliveryTag, multiple: false, cancel);
                    taken++;
                }
            }
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason is { ReplyCode: 403 or 404 } reason)
        {
            throw new BrokerRefusedException($"The dead letters cannot be read: {reason.ReplyText}. The queue is {topology.Dead} (Broker:Jobs), and reading it needs the permission: read on ^{System.Text.RegularExpressions.Regex.Escape(topology.Dead)}$.", e);
        }
        catch (Exception e) when (e is RabbitMQClientException or IOException or TimeoutException or OperationCanceledException && !cancel.IsCancellationRequested)
        {
            throw new BrokerRefusedException($"The broker went away under way: {BrokerErrors.Describe(e)}. Nothing is lost: what was not taken out is still a dead letter, at most handed in twice. Try again; where it goes away each time, the next letter has headers that this program's client cannot read, and is to be taken out by the broker's management page.", e);
        }
        finally
        {
            BrokerWait.Show?.Invoke(null);
            await connection.AbandonAsync(channel); // an ack is only sent; closing waits until the broker has taken it
            left = (looked - taken + (behind ?? 0), time.GetTimestamp());
        }
    }

    /// <summary>Hands the job in again: a copy without what went before, confirmed. The letter itself is then to be taken out.</summary>
    /// <exception cref="JobRefusedException">The broker did not take it.</exception>
    /// <exception cref="BrokerRefusedException">The user may not, or the broker takes nothing.</exception>
    private async Task ReplayAsync(JobMessage letter, TimeSpan? patience, CancellationToken cancel)
    {
        var channel = await publishing.OpenAsync(cancel, patience);
        var properties = DeadLetters.ForReplay(letter);
        var limit = patience ?? TimeSpan.FromSeconds(options.Value.ConfirmSeconds);
        try
        {
            await channel.BasicPublishAsync(topology.Jobs, Topology.JobKey, mandatory: true, properties, letter.Body, cancel)
                .AsTask().WaitAsync(limit, time, cancel);
        }
        catch (TimeoutException) when (Blocked is { } why)
        {
            await publishing.AbandonAsync(channel); // a reset: the copy that waits there is never read
            throw BrokerErrors.AlarmStays(why, limit);
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            await publishing.AbandonAsync(channel);
            throw BrokerErrors.MayNotHandIn(e, new Uri(options.Value.Uri), topology.Jobs) ?? (Exception)new JobRefusedException($"{letter.JobId} was not replayed, and is still a dead letter: {(e is PublishReturnException ? $"no queue is bound to {topology.Jobs}" : BrokerErrors.Describe(e))}.", e);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await connection.DisposeAsync();
        await publishing.DisposeAsync();
    }

    private static readonly Comparer<(string, string)> OldestFirst = Comparer<(string Time, string Key)>.Create((a, b) => string.CompareOrdinal(a.Time, b.Time) is not 0 and var order ? order : string.CompareOrdinal(a.Key, b.Key));

    private static BrokerConnection Connection(string role, IOptions<BrokerOptions> options, TimeProvider time, ILogger logger) =>
        new(role, confirms: true, options, new Topology(Options.Create(options.Value.WithoutDeclaring())), time, logger);
}
