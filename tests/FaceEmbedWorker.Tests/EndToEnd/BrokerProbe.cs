using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A message as a consumer sees it.</summary>
internal sealed record Seen(string RoutingKey, byte[] Body, IReadOnlyBasicProperties Properties)
{
    private readonly Lazy<JsonElement> json = new(() => JsonElement.Parse(Body)); // who waits for one of thousands looks at each many times

    public JsonElement Json => json.Value;

    public string Header(string name) => Properties.Headers?.TryGetValue(name, out var value) is true ? value is byte[] bytes ? Encoding.UTF8.GetString(bytes) : $"{value}" : "";
}

/// <summary>A producer and consumer with queues of its own on a real broker, as a user's program would be.</summary>
internal sealed class BrokerProbe : IAsyncDisposable
{
    private readonly ConcurrentQueue<Seen> results = new();
    private readonly ConcurrentQueue<Seen> dead = new();
    private long last;
    private int submitted;
    private IConnection? connection;
    private IChannel? channel;

    public BrokerProbe(string uri, Action<BrokerOptions>? change = null)
    {
        var name = $"t{Guid.NewGuid():N}"[..9];
        Options = new BrokerOptions { Uri = uri, Jobs = $"{name}.jobs", Results = $"{name}.results", RetryDelays = "0.2,0.4", DrainSeconds = 20 };
        change?.Invoke(Options);
        Topology = new Topology(Microsoft.Extensions.Options.Options.Create(Options));
    }

    public BrokerOptions Options { get; }

    internal Topology Topology { get; }

    /// <summary>Jobs that the broker confirmed.</summary>
    public int Submitted => submitted;

    public IReadOnlyCollection<Seen> Results => results;

    public IReadOnlyCollection<Seen> Dead => dead;

    public IChannel Channel => channel!;

    /// <summary>The settings as a command line.</summary>
    public string[] Settings => ["--Health:Url=", .. typeof(BrokerOptions).GetProperties().Where(p => p.CanWrite).Select(p => FormattableString.Invariant($"--Broker:{p.Name}={p.GetValue(Options)}"))];

    public async Task<BrokerProbe> ConnectAsync(bool listen = true)
    {
        connection = await new ConnectionFactory { Uri = new Uri(Options.Uri), AutomaticRecoveryEnabled = false }.CreateConnectionAsync();
        await Topology.DeclareAsync(connection, CancellationToken.None);
        channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true));
        if (listen)
        {
            if (Options.ResultsQueue)
            {
                await ListenAsync(Topology.Results, results);
            }

            await ListenAsync(Topology.Dead, dead);
        }

        return this;
    }

    public async Task SubmitAsync(byte[] body, string? contentType = "image/png", string? id = null, Dictionary<string, object?>? headers = null, string? correlationId = null, string? queue = null)
    {
        var properties = new BasicProperties { Headers = headers, DeliveryMode = DeliveryModes.Persistent };
        if (contentType is not null)
        {
            properties.ContentType = contentType;
        }

        if (id is not null)
        {
            properties.MessageId = id;
        }

        if (correlationId is not null)
        {
            properties.CorrelationId = correlationId;
        }

        await Channel.BasicPublishAsync(queue is null ? Topology.Jobs : "", queue ?? Topology.JobKey, mandatory: true, properties, body);
        Interlocked.Increment(ref submitted);
    }

    public Task<Seen> ResultAsync(string id, int seconds = 30) => UntilAsync(() => results.FirstOrDefault(r => JobId(r) == id), $"a result of {id}", seconds);

    public Task<Seen> DeadLetterAsync(string? id = null, int seconds = 30) => UntilAsync(() => dead.FirstOrDefault(d => id is null || d.Properties.MessageId == id), $"a dead letter {id}", seconds);

    /// <param name="pause">Milliseconds between two looks: more, where each is a program of its own and what it waits for takes seconds.</param>
    public async Task<T> UntilAsync<T>(Func<T?> look, string what, int seconds = 30, int pause = 20)
        where T : class
    {
        for (var end = DateTime.UtcNow.AddSeconds(seconds); ; await Task.Delay(pause))
        {
            if (look() is { } found)
            {
                return found;
            }

            Assert.True(DateTime.UtcNow < end, $"After {seconds} s there is not {what}. {results.Count} results, {dead.Count} dead letters: {string.Join("; ", dead.Take(3).Select(d => d.Header("fw-error-message")))}");
        }
    }

    public static string JobId(Seen result) => result.Json.GetProperty("job_id").GetString()!;

    /// <summary>Messages ready in a queue.</summary>
    public async Task<uint> ReadyAsync(string queue) => (await Channel.QueueDeclarePassiveAsync(queue)).MessageCount;

    public async ValueTask DisposeAsync()
    {
        AssertSchemas();
        if (connection is { IsOpen: true })
        {
            try
            {
                await using var cleaning = await connection.CreateChannelAsync();
                await Topology.DeleteAsync(cleaning);
            }
            catch (Exception e) when (e is OperationCanceledException or RabbitMQ.Client.Exceptions.RabbitMQClientException)
            {
                // a broker that was attacked may not have the time; what is left goes with it
            }

            await connection.AbortAsync();
        }
    }

    /// <summary>Holds every result and dead letter that came against its schema.</summary>
    private void AssertSchemas()
    {
        Assert.All(results, r => Assert.Null(MessageSchemas.TroubleOfResult(r)));
        Assert.All(dead.Where(d => d.Header("fw-error").Length > 0), d => Assert.Null(MessageSchemas.Trouble(MessageSchemas.DeadLetter, JsonSerializer.SerializeToElement(
            d.Properties.Headers!.Where(h => !h.Key.StartsWith("x-", StringComparison.Ordinal)).ToDictionary(h => h.Key, h => h.Value is byte[] text ? Encoding.UTF8.GetString(text) : h.Value)))));
    }

    /// <summary>Longest time between two results.</summary>
    public TimeSpan LongestSilence { get; private set; }

    /// <summary>Longest time from a broker that is back to the first result of a worker; at most ten seconds.</summary>
    public TimeSpan? SlowestRecovery { get; private set; }

    /// <summary>Connects again; a cluster that elects leaders takes a moment.</summary>
    public async Task ReconnectAsync()
    {
        for (var end = DateTime.UtcNow.AddSeconds(180); ; await Task.Delay(250))
        {
            try
            {
                await ConnectAsync();
                return;
            }
            catch (Exception e) when (e is RabbitMQ.Client.Exceptions.OperationInterruptedException or RabbitMQ.Client.Exceptions.BrokerUnreachableException or OperationCanceledException && DateTime.UtcNow < end)
            {
                // not yet
            }
        }
    }

    /// <summary>
    /// The broker has just come back: connects again, and waits for the first result that was made since, if jobs are left.
    /// </summary>
    public async Task RecoverAsync()
    {
        var back = DateTime.UtcNow;
        await ReconnectAsync();
        var first = await UntilAsync(() => results.Select(r => (Result: r, At: r.Json.GetProperty("completed_at").GetDateTime())).Where(r => r.At > back).Select(r => $"{r.At:O}").FirstOrDefault()
            ?? (results.Select(r => r.Properties.MessageId).Distinct().Count() >= Submitted ? "" : null), "a result after the broker came back", seconds: 60);
        if (first.Length > 0)
        {
            var took = DateTime.Parse(first, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.RoundtripKind) - back;
            Assert.InRange(took, TimeSpan.Zero, TimeSpan.FromSeconds(10));
            SlowestRecovery = SlowestRecovery > took ? SlowestRecovery : took;
        }
    }

    /// <summary>Listens to a queue of results.</summary>
    public Task ListenAsync(string queue) => ListenAsync(queue, results);

    /// <summary>Waits until so many more results are there.</summary>
    public Task WaitForMoreAsync(int count)
    {
        var wanted = results.Count + count;
        return UntilAsync(() => results.Count >= wanted ? this : null, $"{wanted} results", seconds: 60);
    }

    /// <summary>Waits for a result of each of so many jobs.</summary>
    public Task AllAsync(int count, int seconds = 90) =>
        UntilAsync(() => results.Select(r => r.Properties.MessageId).Distinct().Count() >= count ? this : null, $"a result of each of {count} jobs", seconds);

    /// <summary>Acks only what it has kept, so that nothing is lost here either.</summary>
    private async Task ListenAsync(string queue, ConcurrentQueue<Seen> seen)
    {
        var consuming = await connection!.CreateChannelAsync();
        await consuming.BasicQosAsync(0, 100, global: false);
        var consumer = new AsyncEventingBasicConsumer(consuming);
        consumer.ReceivedAsync += async (_, e) =>
        {
            var now = System.Diagnostics.Stopwatch.GetTimestamp();
            if (seen == results && last != 0 && System.Diagnostics.Stopwatch.GetElapsedTime(last, now) > LongestSilence)
            {
                LongestSilence = System.Diagnostics.Stopwatch.GetElapsedTime(last, now);
            }

            last = now;
            seen.Enqueue(new Seen(e.RoutingKey, e.Body.ToArray(), e.BasicProperties));
            await consuming.BasicAckAsync(e.DeliveryTag, multiple: false);
        };
        await consuming.BasicConsumeAsync(queue, autoAck: false, consumer);
    }
}
