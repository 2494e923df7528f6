using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Simulation;

/// <summary>What is in a job, for the handler that plays.</summary>
internal enum JobKind
{
    Fine,

    /// <summary>Fails for the world's fault, and then does not.</summary>
    Transient,

    Malformed,

    /// <summary>Ends the worker whenever it is handled.</summary>
    Crashes,

    /// <summary>Never ends, which ends the worker.</summary>
    Hangs,
}

/// <summary>A job's fate.</summary>
internal sealed class SimulatedJob(string id, JobKind kind, bool bulk, bool fetched)
{
    /// <summary>Its picture is not in the message.</summary>
    public bool IsFetched => fetched;

    public bool IsBulk => bulk;

    public string Id => id;

    public JobKind Kind => kind;

    public bool IsGuilty => kind is JobKind.Crashes or JobKind.Hangs;

    /// <summary>Whoever sent it wants a reply.</summary>
    public bool Asks { get; init; }

    /// <summary>The broker has confirmed it to its producer.</summary>
    public bool Confirmed { get; set; }

    /// <summary>Attempts that failed for the world's fault.</summary>
    public int Failed { get; set; }

    public int Results { get; set; }

    /// <summary>Reasons of its dead letters.</summary>
    public List<string> Dead { get; } = [];

    /// <summary>Times that a queue took it, or what became of it.</summary>
    public int Arrivals { get; set; }

    /// <summary>Returns that a worker which lives on could not know of.</summary>
    public int Blows { get; set; }

    /// <summary>Faults that may each have made one copy of it.</summary>
    public int Excuses { get; set; }

    /// <summary>A copy of it found its queue full: such may wait, uncounted, and come twice where no confirm came.</summary>
    public bool IsRefused { get; set; }

    public int Ends => Results + Dead.Count;
}

/// <summary>What a schedule ended with.</summary>
/// <param name="Broken">Promises that were not kept, in words.</param>
/// <param name="Trace">A number made of all that happened: two runs of a seed have the same.</param>
internal sealed record Verdict(long Seed, int Lost, int Condemned, int Stuck, int Doubles, IReadOnlyList<string> Broken, ulong Trace, long Events);

/// <summary>
/// One run of workers against the model of a broker. The seed decides how many workers and jobs there are, how long each frame takes, and
/// where faults strike; everything that happens follows from it.
/// </summary>
internal sealed class Schedule : IWatcher, INetwork
{
    private const string Audience = "audience";

    /// <summary>Of whoever wants replies.</summary>
    private const string Asker = "amq.gen-asker";

    /// <summary>A picture to the handler, and no JSON to the reader of jobs.</summary>
    private static readonly byte[] Body = "{"u8.ToArray();

    /// <summary>A job whose picture is to be fetched.</summary>
    private static readonly byte[] Reference = """{"image":{"url":"https://archive.example/photo.jpg"}}"""u8.ToArray();
    private static readonly string BodySha256 = Convert.ToHexStringLower(SHA256.HashData(Body));
    private static readonly JsonElement NoMetadata = JsonElement.Parse("{}");
    private static readonly TimeSpan LongEnough = TimeSpan.FromHours(2);
    /// <summary>So often, docs/delivery.md says, a job that is alone may end its worker before it is given up.</summary>
    private const int Blows = 3;

    /// <summary>So often among others, before it goes alone.</summary>
    private const int CrashesAmongOthers = 2;

    /// <summary>So many different jobs, docs/delivery.md says, may fail one after the other before the intake closes.</summary>
    private const int FailuresInARow = 5;

    /// <summary>The longest fault is an alarm of 90 s.</summary>
    private static readonly TimeSpan FaultTime = TimeSpan.FromSeconds(100);

    /// <summary>By then, where nothing else struck, a worker that was told to stop has given back what it has not begun.</summary>
    private static readonly TimeSpan ReturnTime = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(30);

    /// <summary>So long nothing is begun once the intake has closed: a second, but for what a timer lacks.</summary>
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.99);

    /// <summary>Faults that were begun are over by then, and what the broker was asked again.</summary>
    private static readonly TimeSpan QuietTime = TimeSpan.FromMinutes(3);

    private readonly Random random;
    private readonly long seed;
    private readonly List<string>? told;
    private readonly Agenda agenda = new();
    private readonly BrokerOptions options;
    private readonly Topology topology;
    private readonly List<string> waits;
    private readonly ModelBroker broker;
    private readonly List<SimulatedWorker> workers = [];
    private readonly Dictionary<string, SimulatedJob> jobs = [];
    private readonly List<string> broken = [];

    /// <summary>What a worker first sent of a delivery, and when.</summary>
    private readonly Dictionary<(ModelChannel Channel, ulong Tag), (string Exchange, string Key, TimeSpan At)> sent = [];
    private readonly double danger;
    private int faultsLeft;
    private int strikes;
    private TimeSpan restless = -FaultTime;
    private int started;
    private int unconfirmed;
    private bool outage;
    private bool ending;
    private ulong trace = 14695981039346656037;

    /// <param name="told">Gets a line for each thing that happens; null: nobody reads it.</param>
    public Schedule(long seed, List<string>? told = null)
    {
        (this.seed, this.told) = (seed, told);
        random = new Random((int)(seed ^ (seed >> 32)));
        options = new BrokerOptions { RetryDelays = "1,5,30,120", Prefetch = random.Next(1, 7), PrefetchMegabytes = 1, ConfirmSeconds = 5, DrainSeconds = 10, HandBackSeconds = random.Next(3) == 0 ? 20 : 600, BulkQueue = random.Next(4) == 0 };
        topology = new Topology(Options.Create(options));
        waits = [.. topology.Ladder.Select(topology.WaitQueue)];
        broker = new ModelBroker(topology, agenda, this) { IsVersion4 = seed % 2 == 0, AckTimeout = TimeSpan.FromSeconds(3 * options.HandBackSeconds) };
        if (random.Next(3) == 0)
        {
            broker.Bind(Audience, topology.Results, "#", []);
        }

        if (IsMore)
        {
            broker.Bind(Asker, "", Asker, []);
        }

        faultsLeft = random.Next(0, 9);
        danger = Math.Pow(10, -1 - (random.NextDouble() * 1.5));
    }

    private int Parallelism { get; set; }

    /// <summary>Some want replies, and faults strike where no frame is on its way, too. The other seeds stay the schedules that they were.</summary>
    private bool IsMore => seed % 16 is 7 or 12 or 15;

    private int BulkPrefetch => (options.Prefetch + 1) / 2;

    /// <summary>Runs it to its end.</summary>
    /// <param name="pump">Calls again and again, each time that nothing goes on any more, until it gets false.</param>
    public async Task<Verdict> RunAsync(Func<Func<bool>, Task> pump)
    {
        Parallelism = random.Next(1, 4);
        for (var i = random.Next(1, 6); i > 0; i--)
        {
            Begin();
        }

        var kinds = new[] { JobKind.Fine, JobKind.Fine, JobKind.Fine, JobKind.Transient, JobKind.Transient, JobKind.Malformed };
        for (var i = random.Next(2, 16); i > 0; i--)
        {
            Submit(kinds[random.Next(kinds.Length)]);
        }

        for (var i = Math.Max(0, random.Next(-2, 3)); i > 0; i--)
        {
            Submit(random.Next(4) == 0 ? JobKind.Hangs : JobKind.Crashes);
        }

        await pump(() => !IsDone && agenda.Now < LongEnough && agenda.Next());
        var stuck = Judge();
        faultsLeft = 0;
        var until = agenda.Now + QuietTime;
        await pump(() => !AreTaken && agenda.Now < until && agenda.Next());
        broken.AddRange(workers.Where(w => !w.TakesAll).Select(w => $"{w} takes {string.Join(" and ", w.Taken.DefaultIfEmpty("nothing"))} only, and nothing has happened for {QuietTime.TotalSeconds:0} s"));
        await StopAsync(pump);
        var all = jobs.Values.Where(j => j.Confirmed).ToArray();
        return new Verdict(seed, all.Count(j => j.Ends == 0 && !stuck.Contains(j.Id)), all.Count(IsCondemned), stuck.Count, all.Sum(j => Math.Max(0, j.Ends - 1)), broken, trace, agenda.Happened);
    }

    private bool IsDone => unconfirmed == 0 && jobs.Values.All(j => j.Ends > 0) && broker.Queues.Values.All(q => q.Unacked == 0 && q.Leaving == 0 && (q.Ready == 0 || IsEnd(q.Name)))
        && workers.TrueForAll(w => w.Links.All(l => l.Current is not { Calls: > 0 }) && w.Idle);

    /// <summary>Whoever runs takes from each queue of jobs that there is.</summary>
    private bool AreTaken => workers.Count > 0 && workers.TrueForAll(w => w.TakesAll);

    private bool IsEnd(string queue) => queue == topology.Results || queue == topology.Dead || queue == Audience || queue == Asker;

    /// <summary>A dead letter without a fault of its own; not one whose every attempt the world failed.</summary>
    private bool IsCondemned(SimulatedJob job) => job.Kind is JobKind.Fine or JobKind.Transient
        && job.Dead.Exists(reason => reason != DeadLetters.AttemptsExhausted || job.Failed <= topology.Ladder.Count);

    /// <returns>Ids of jobs that have not ended and are still there.</returns>
    private HashSet<string> Judge()
    {
        var waiting = broker.Queues.Values.Where(q => !IsEnd(q.Name) && q.Ready + q.Unacked + q.Leaving > 0).ToArray();
        var stuck = !IsDone ? jobs.Values.Where(j => j.Ends == 0 && waiting.Length > 0).Select(j => j.Id).ToHashSet() : [];
        foreach (var job in jobs.Values)
        {
            if (job.Ends == 0)
            {
                broken.Add(stuck.Contains(job.Id) ? $"{job.Id} has not ended" : $"{job.Id} is lost");
            }

            if (IsCondemned(job))
            {
                broken.Add($"{job.Id} ({job.Kind}) is a dead letter: {string.Join(", ", job.Dead)}");
            }

            if (job.Ends > 1 + job.Excuses)
            {
                broken.Add($"{job.Id} has ended {job.Ends} times, and faults excuse {1 + job.Excuses}");
            }

            if (job.Results > 0 && (job.IsGuilty || job.Kind == JobKind.Malformed))
            {
                broken.Add($"{job.Id} ({job.Kind}) has a result");
            }
        }

        if (!IsDone)
        {
            broken.AddRange(waiting.Select(q => $"{q.Name} keeps {q.Ready} ready, {q.Unacked} unacked, {q.Leaving} leaving"));
            broken.AddRange(workers.Where(w => !w.Idle).Select(w => $"{w}: {w.Why}"));
            broken.AddRange(workers.SelectMany(w => w.Links).Where(l => l.Current is { Calls: > 0 }).Select(l => $"{l.Party}: a call of {l.Role} waits"));
        }

        return stuck;
    }

    private async Task StopAsync(Func<Func<bool>, Task> pump)
    {
        ending = true;
        var until = agenda.Now + StopTime;
        foreach (var worker in workers.ToArray())
        {
            worker.Stop();
        }

        await pump(() => !workers.TrueForAll(w => w.Stopped) && agenda.Now < until && agenda.Next());
        await pump(() => broker.Queues.Values.Any(q => q.Unacked > 0) && agenda.Now < until && agenda.Next()); // the last frames are on their way
        broken.AddRange(workers.Where(w => !w.Stopped).Select(w => $"{w} does not stop"));
        broken.AddRange(workers.Where(w => w.Failure is not null).Select(w => $"{w} failed: {w.Failure}"));
        if (broker.Queues.Values.Any(q => q.Unacked > 0))
        {
            broken.Add("a worker stopped and left something unacked");
        }
    }

    private void Begin()
    {
        if (ending)
        {
            return;
        }

        workers.Add(new SimulatedWorker(++started, this));
        Note($"{workers[^1]} begins");
        workers[^1].Start();
    }

    /// <summary>A producer, which sends a job until it is confirmed.</summary>
    private void Submit(JobKind kind)
    {
        var job = new SimulatedJob($"{kind.ToString().ToLowerInvariant()}-{jobs.Count}", kind, bulk: topology.Bulk is not null && random.Next(2) == 0, fetched: topology.Bulk is not null && kind != JobKind.Malformed && random.Next(2) == 0)
        {
            Asks = broker.Queues.ContainsKey(Asker) && random.Next(2) == 0,
        };
        jobs[job.Id] = job;
        unconfirmed++;
        agenda.After(TimeSpan.FromSeconds(random.NextDouble() * random.Next(1, 20)), () => Send(job));
    }

    private void Send(SimulatedJob job)
    {
        var properties = new BasicProperties { MessageId = job.Id, ContentType = job.IsFetched || job.Kind == JobKind.Malformed ? "application/json" : "application/octet-stream", DeliveryMode = DeliveryModes.Persistent };
        if (job.Asks)
        {
            properties.ReplyTo = Asker;
        }

        if (broker.Publish(topology.Jobs, job.IsBulk ? Topology.BulkKey : Topology.JobKey, ModelMessage.Sent(job.IsFetched ? Reference : Body, properties)) == Answer.Confirmed)
        {
            Note($"the broker confirms {job.Id}{(job.IsBulk ? " (bulk)" : "")}");
            unconfirmed -= job.Confirmed ? 0 : 1;
            job.Confirmed = true;
        }
        else
        {
            agenda.After(TimeSpan.FromSeconds(1), () => Send(job));
        }
    }

    public void Note(string what)
    {
        foreach (var c in what)
        {
            trace = (trace ^ c) * 1099511628211;
        }

        trace = (trace ^ (ulong)agenda.Now.Ticks) * 1099511628211;
        told?.Add(string.Create(CultureInfo.InvariantCulture, $"{agenda.Now.TotalSeconds,10:0.000}  {what}"));
    }

    public void Doubled(string job)
    {
        if (jobs.TryGetValue(job, out var known))
        {
            known.Excuses++;
        }
    }

    public void Refused(string queue, ModelMessage message)
    {
        if (queue == topology.Jobs || queue == topology.Bulk)
        {
            jobs[message.Job].IsRefused = true;
        }
    }

    public void CameBack(string job) => jobs[job].Blows++;

    public void Arrived(string queue, ModelMessage message)
    {
        Note($"{queue} takes {message.Job}");
        if (queue == Asker)
        {
            return;
        }

        var job = jobs[message.Job];
        if (queue == topology.Suspects && started == 1 && job is { Arrivals: 1, Blows: < CrashesAmongOthers })
        {
            broken.Add($"{job.Id} is a suspect, and the only worker has not crashed");
        }

        job.Arrivals++;
        if (queue == topology.Results)
        {
            job.Results++;
        }
        else if (queue == topology.Dead)
        {
            var word = message.Header(DeadLetters.ErrorHeader) is byte[] error ? System.Text.Encoding.UTF8.GetString(error) : "by the broker";
            Note($"{message.Job} is a dead letter: {word}");
            job.Dead.Add(word);
        }
        else if (waits.IndexOf(queue) is >= 0 and var step && message.Header(JobMessage.AttemptHeader) is var next && !Equals(next, step + 2) && !job.IsRefused)
        {
            broken.Add($"{message.Job} waits in {queue} for attempt {next ?? "nought"}, and should for {step + 2}");
        }
    }

    public void SettledTwice(ModelChannel channel, ulong tag) => broken.Add($"{channel.Link.Party} settles {tag}, which it has not in hand");

    public void Sends(ModelChannel channel, string exchange, string key, ModelMessage message)
    {
        var hands = ((SimulatedWorker)channel.Link.Party).InHand(message.Job).ToArray();
        if (exchange == topology.Jobs && key != Topology.SuspectKey && hands.Select(h => h.Queue).Distinct().SequenceEqual([topology.Suspects]))
        {
            broken.Add($"{message.Job} is a suspect, and {channel.Link.Party} gives it back to the others");
        }

        foreach (var (taken, tag, _) in exchange.Length > 0 ? hands : [])
        {
            var at = hands.Length == 1 ? agenda.Now : -HandBack.AnswerTime; // of two copies of a job nobody knows which it is
            if (!sent.TryAdd((taken, tag), (exchange, key, at)) && hands.Length == 1 && sent[(taken, tag)] is var before
                && exchange == topology.Jobs && (before.Exchange, before.Key) != (exchange, key) && agenda.Now - before.At < HandBack.AnswerTime)
            {
                broken.Add($"{message.Job} goes back, and {channel.Link.Party} sent what became of it {(agenda.Now - before.At).TotalSeconds:0.00} s before: it may be confirmed yet");
            }
        }
    }

    public void TimedOut(ModelMessage message)
    {
        Note($"{message.Job} was in hand for too long");
        broken.Add($"{message.Job} ran into the broker's ack timeout");
    }

    public void Dropped(string queue, ModelMessage message) => Note($"{queue} drops {message.Job}");

    /// <summary>How a frame fares, and what strikes while it is on its way.</summary>
    public TimeSpan Latency(ModelChannel channel, string what)
    {
        Note($"{channel.Link.Party} {what}");
        if (what == "deliver" && channel.Unacked.Count() is var inHand && inHand > options.Prefetch + (topology.Bulk is null ? 0 : BulkPrefetch) + 1) // one that a careful turn has left
        {
            broken.Add($"{channel.Link.Party} has {inHand} in hand, and asks for {options.Prefetch} at once");
        }

        var latency = TimeSpan.FromMilliseconds(0.1 + (random.NextDouble() * random.NextDouble() * 20));
        if (channel.Link.Role == "reply" && random.Next(4) == 0)
        {
            latency += Short(8); // whoever asks is no concern of the others
        }

        if (faultsLeft > 0 && !ending && random.NextDouble() < danger)
        {
            faultsLeft--;
            return latency + Strike(channel, what);
        }

        return latency;
    }

    /// <summary>By what has happened so far: no number of the seed's is spent on it.</summary>
    public bool Strays => (trace >> 32 & 1) == 0;

    /// <summary>Whether a leader that moves knows no consumers.</summary>
    private bool Forgets => (trace >> 33 & 1) == 0;

    /// <returns>Time that the frame takes longer.</returns>
    private TimeSpan Strike(ModelChannel channel, string what)
    {
        var worker = (SimulatedWorker)channel.Link.Party;
        var alone = broker.Queues[topology.Suspects].Messages.Concat(worker.Links.SelectMany(l => l.Current?.Unacked ?? []).Where(u => u.Queue.Name == topology.Suspects).Select(u => u.Message));
        var spared = alone.Any(m => m.Returns + 1 >= Blows && !jobs[m.Job].IsGuilty); // nobody could tell the last blow from guilt
        switch (random.Next(13))
        {
            case 0 or 1 when !spared:
                Soon(() => worker.Crash("by chance"));
                break;
            case 2 or 3 when !spared || channel.Link.Role != "consume":
                Note($"fault: {worker} loses its {channel.Link.Role} connection");
                channel.Cut(Short(0.02), Short(4), Short(4));
                break;
            case 4 when !spared || workers.Count == 1 || channel.Link.Role != "consume":
                Note($"fault: '{what}' of {worker} takes long");
                (strikes, restless) = (strikes + 1, agenda.Now);
                return Short(20);
            case 5 when jobs.Values.Where(j => j.Confirmed).ToArray() is { Length: > 0 } sent:
                var again = sent[random.Next(sent.Length)];
                Note($"fault: {again.Id} is sent once more");
                again.Excuses++;
                Soon(() => Send(again));
                break;
            case 6:
                Soon(() => Fill(broker.Queues.Values.ElementAt(random.Next(broker.Queues.Count))));
                break;
            case 7 when !spared: // it may outlast the hand-back, and what goes back then is counted
                Soon(() => broker.Block(true));
                agenda.After(Short(90), () => broker.Block(false));
                break;
            case 8 when channel.Consumers.Count > 0 && !spared:
                Note($"fault: the broker cancels {worker}");
                Soon(() => channel.Consumers.Select(c => c.Consumer).ToList().ForEach(channel.CancelByBroker));
                break;
            case 9:
                Soon(() => worker.Stop());
                return TimeSpan.Zero; // it disturbs nothing
            case 10:
                Soon(() => MoveLeader(broker.Queues.Values.ElementAt(random.Next(broker.Queues.Count))));
                break;
            case 11:
                Note("fault: no queue takes results");
                broker.Unbound.Add(topology.Results);
                break;
            case 12 when random.Next(2) == 0:
                Note("fault: no queue tells its count");
                broker.CountsNothing = true;
                agenda.After(Short(30), () => broker.CountsNothing = false);
                break;
            default:
                Note("fault: the world is away");
                outage = true;
                agenda.After(Short(15), () => outage = false);
                break;
        }

        (strikes, restless) = (strikes + 1, agenda.Now);
        return TimeSpan.Zero;
    }

    private void Soon(Action strikes) => agenda.After(TimeSpan.Zero, strikes);

    private TimeSpan Short(double seconds) => TimeSpan.FromSeconds(random.NextDouble() * seconds);

    private void Fill(ModelQueue queue)
    {
        Note($"fault: {queue.Name} is full");
        queue.Filled = true;
        agenda.After(Short(30), () => // and a copy that waits for it gets through before the ack timeout
        {
            Note($"{queue.Name} has room");
            queue.Filled = false;
        });
    }

    private void MoveLeader(ModelQueue queue)
    {
        Note($"fault: the leader of {queue.Name} moves");
        queue.MovesLeader = true;
        if (Forgets)
        {
            Note($"{queue.Name} has forgotten its consumers, and tells nobody");
            queue.Forget();
        }

        queue.Stall(Short(6));
    }

    /// <summary>Nothing runs beside a suspect, and nothing is begun that the intake should keep.</summary>
    private async Task<JobOutcome> HandleAsync(SimulatedWorker worker, EmbedJob job, CancellationToken cancel)
    {
        var alone = worker.IsAlone(job.Id);
        if (worker.Runs.Count > 0 && (alone || worker.Runs.Exists(r => r.Alone)))
        {
            broken.Add($"{worker} handles {job.Id} beside {string.Join(" and ", worker.Runs.Select(r => r.Id))}, and one of them is a suspect");
        }

        var gated = !alone && job.Turn is null; // a bulk job may have passed the gate, and have waited for its slot since
        if (gated && worker.Failures.Closed is { } closed && agenda.Now - closed < FirstPause)
        {
            broken.Add($"{worker} begins {job.Id}, and {FailuresInARow} jobs in a row had failed {(agenda.Now - closed).TotalSeconds:0.00} s before");
        }

        if (gated && worker.Holds is { } why)
        {
            broken.Add($"{worker} begins {job.Id}, and {why}");
        }

        if (IsMore && faultsLeft > 0 && !ending && random.Next(15) == 0 && worker.Links.Find(l => l.Role == "consume")?.Current is { } channel)
        {
            faultsLeft--;
            Strike(channel, $"handling {job.Id}");
        }

        worker.Runs.Add((job.Id, alone));
        try
        {
            var outcome = await PlayAsync(worker, job, cancel);
            if (gated)
            {
                worker.Failures.Saw(job.Id, outcome is JobOutcome.Completed, agenda.Now);
            }

            return outcome;
        }
        finally
        {
            worker.Runs.Remove((job.Id, alone));
        }
    }

    /// <summary>The handler that plays.</summary>
    private async Task<JobOutcome> PlayAsync(SimulatedWorker worker, EmbedJob job, CancellationToken cancel)
    {
        var known = jobs[job.Id];
        Note($"{worker} handles {job.Id}, attempt {job.Attempt}");
        if (job.Attempt > 1 + known.Failed)
        {
            broken.Add($"{job.Id} counts {job.Attempt - 1} failed attempts, and there were {known.Failed}");
        }

        if (known.Kind == JobKind.Hangs)
        {
            await Task.Delay(Timeout.Infinite, CancellationToken.None);
        }

        if (known.IsFetched)
        {
            await Task.Delay(Short(random.Next(5) == 0 ? 10 : 0.3), worker.Clock, cancel);
            await (job.Turn?.Invoke() ?? Task.CompletedTask).WaitAsync(cancel);
        }

        if (++worker.Busy > Parallelism)
        {
            broken.Add($"{worker} handles {worker.Busy} jobs at once and has {Parallelism} slots");
        }

        try
        {
            await Task.Delay(Short(random.Next(10) == 0 ? 4 : 0.3), worker.Clock, cancel);
        }
        finally
        {
            worker.Busy--;
        }

        if (known.Kind == JobKind.Crashes)
        {
            worker.Crash($"of {job.Id}");
            await Task.Delay(Timeout.Infinite, CancellationToken.None);
        }

        if (outage || (known.Kind == JobKind.Transient && known.Failed == 0))
        {
            known.Failed++;
            return new JobOutcome.Retry("source_unavailable", "The world is away.");
        }

        return new JobOutcome.Completed(new EmbedResult
        {
            JobId = job.Id,
            Outcome = EmbedResult.NoFace,
            Model = new ResultModel("model", "space", 0),
            Image = new ResultImage(BodySha256),
            Embeddings = [],
            Metadata = NoMetadata,
            Attempt = job.Attempt,
            Worker = $"{worker}",
            Version = "1",
            TimingsMs = new ResultTimings(null, null, null, null, null, 1),
            CompletedAt = worker.Clock.GetUtcNow().UtcDateTime,
        });
    }

    /// <summary>Different jobs that failed one after the other.</summary>
    private sealed class Row
    {
        private readonly HashSet<string> failed = [];

        /// <summary>When they were too many.</summary>
        public TimeSpan? Closed { get; private set; }

        public void Saw(string job, bool good, TimeSpan now)
        {
            if (good)
            {
                failed.Clear();
                Closed = null;
            }
            else if (failed.Add(job) && failed.Count == FailuresInARow)
            {
                Closed = now;
            }
        }
    }

    /// <summary>A process with all the rooms of the consumer; whoever runs it starts another where it ends.</summary>
    [SuppressMessage("Design", "CA1001", Justification = "One that crashes disposes of nothing.")]
    private sealed class SimulatedWorker : Party
    {
        private readonly Schedule schedule;
        private readonly int number;
        private readonly IntakeGate gate;
        private readonly WorkerHealth health;
        private readonly JobConsumer consumer;
        private Task? stopping;

        public SimulatedWorker(int number, Schedule schedule)
        {
            (this.number, this.schedule) = (number, schedule);
            Clock = new SimulatedClock(schedule.agenda, this);
            gate = new IntakeGate(Clock);
            health = new WorkerHealth(gate, schedule.topology, Clock);
            var options = Options.Create(schedule.options);
            var publisher = new ResultPublisher(Link, options, Options.Create(new ResultOptions()), schedule.topology, gate, Clock, NullLogger<ResultPublisher>.Instance);
            consumer = new JobConsumer(Link, (job, cancel) => schedule.HandleAsync(this, job, cancel), publisher, schedule.topology, gate, new JobTally(Clock), health, options,
                Options.Create(new JobOptions { Parallelism = schedule.Parallelism, DeadlineSeconds = 5 }), Clock, NullLogger<JobConsumer>.Instance);
            consumer.Stuck += () => Crash("for a job that never ends");
        }

        public SimulatedClock Clock { get; }

        /// <summary>Jobs that have their picture.</summary>
        public int Busy { get; set; }

        /// <summary>Jobs that are being handled, and which of them is a suspect.</summary>
        public List<(string Id, bool Alone)> Runs { get; } = [];

        /// <summary>In a row, of jobs that are no bulk jobs.</summary>
        public Row Failures { get; } = new();

        /// <summary>Why the worker says that the broker takes nothing; null where it does not.</summary>
        public string? Holds => gate.Reason is { } why && !why.Contains("in a row failed", StringComparison.Ordinal) ? why : null;

        public List<ModelLink> Links { get; } = [];

        public bool Idle => health.InFlight == 0 && !gate.Holding && health.Slots!.Running.Count == 0;

        public string Why => $"{health.InFlight} in hand, {health.Slots!.Running.Count} running, {gate.Reason ?? "open"}";

        public IEnumerable<string> Taken => Consumers.Select(c => $"{c.Queue.Name} ({c.Consumer.Prefetch} at once)");

        /// <summary>Each queue of jobs, and as many at once as it may where so many have been settled; or told to stop.</summary>
        public bool TakesAll => stopping is not null || (Takes(schedule.topology.Jobs, schedule.options.Prefetch) && (schedule.topology.Bulk is not { } bulk || Takes(bulk, schedule.BulkPrefetch)));

        private IEnumerable<(ModelConsumer Consumer, ModelQueue Queue)> Consumers => Links.SelectMany(l => l.Current?.Consumers ?? []);

        public bool Stopped => stopping?.IsCompleted is true;

        public string? Failure => (consumer.ExecuteTask?.Exception ?? stopping?.Exception)?.InnerException?.ToString();

        /// <summary>Whether the job that is begun now came by the queue of suspects.</summary>
        public bool IsAlone(string job) => health.Life!.Unsettled.Any(d => d is { Alone: true, State: DeliveryState.Running } && d.Message.JobId == job);

        /// <summary>Deliveries of a job that it has in hand.</summary>
        public IEnumerable<(ModelChannel Channel, ulong Tag, string Queue)> InHand(string job) =>
            Links.Select(l => l.Current).OfType<ModelChannel>().SelectMany(c => c.Unacked.Where(u => u.Message.Job == job).Select(u => (c, u.Tag, u.Queue.Name)));

        public void Start() => _ = consumer.StartAsync(CancellationToken.None);

        public void Crash(string why)
        {
            if (!Dead)
            {
                schedule.Note($"fault: {this} crashes {why}");
                Dead = true;
                (schedule.strikes, schedule.restless) = (schedule.strikes + 1, schedule.agenda.Now);
                schedule.workers.Remove(this);
                Links.ForEach(l => l.Vanish(schedule.Short(0.05)));
                schedule.agenda.After(schedule.Short(3), schedule.Begin);
            }
        }

        public void Stop()
        {
            if (stopping is null && !Dead)
            {
                schedule.Note($"{this} is told to stop");
                stopping = StopAsync();
                var strikes = schedule.strikes;
                if (schedule.agenda.Now - schedule.restless > FaultTime)
                {
                    schedule.agenda.After(ReturnTime, () => Returns(strikes));
                }
            }
        }

        public override string ToString() => $"worker {number}";

        private bool Takes(string queue, int atOnce) => Consumers.Any(c => c.Queue.Name == queue && (c.Consumer.Prefetch == atOnce || health.Life!.Settled < schedule.options.Prefetch));

        private void Returns(int strikes)
        {
            if (!Dead && strikes == schedule.strikes && health.Life is { Ended: false } life && life.Unsettled.Where(d => d.State == DeliveryState.Waiting).ToArray() is { Length: > 0 } kept)
            {
                schedule.broken.Add($"{this} was told to stop {ReturnTime.TotalSeconds:0} s ago and keeps {string.Join(" and ", kept.Select(d => d.Message.JobId))}, not begun");
            }
        }

        private async Task StopAsync()
        {
            var told = schedule.agenda.Now;
            await consumer.StopAsync(CancellationToken.None);
            if (health.Life is { Reason: "stopped", InHand: > 0 and var left } && schedule.agenda.Now - told < TimeSpan.FromSeconds(schedule.options.DrainSeconds))
            {
                schedule.broken.Add($"{this} stopped before its time was over, with {left} in hand");
            }

            consumer.Dispose();
            gate.Dispose();
            if (!schedule.ending)
            {
                schedule.workers.Remove(this);
                schedule.Begin();
            }
        }

        private ModelLink Link(string role, bool confirms)
        {
            Links.Add(new ModelLink(schedule.broker, schedule, this, role));
            return Links[^1];
        }
    }
}
