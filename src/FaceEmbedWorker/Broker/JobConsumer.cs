using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// Takes jobs from the queue for as long as the worker lives: one <see cref="ConsumerLife"/> after the other, with a pause between them
/// where they fail, a look at each whether it is really alive, and at the end one deadline for everything in hand.
/// </summary>
internal sealed partial class JobConsumer : BackgroundService
{
    private static readonly TimeSpan LookTime = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan WatchTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private readonly ResultPublisher publisher;
    private readonly Topology topology;
    private readonly IntakeGate gate;
    private readonly WorkerHealth health;
    private readonly TimeProvider time;
    private readonly ILogger<JobConsumer> logger;
    private readonly IBrokerLink link;
    private readonly QueueDepths depths;
    private readonly CrashCounts crashes = new();
    private readonly Settler settler;
    private readonly JobSlots slots;
    private readonly SuspectLane lane;
    private readonly HandBack handBack;
    private readonly Drain drain;
    private readonly PrefetchBudget budget;
    private readonly CarefulTurns turns;
    private readonly CancellationTokenSource abandon = new();
    private TimeSpan lastPause;
    private ushort prefetch;
    private long quiet;
    private long lastLook;

    /// <param name="handle"><see cref="JobHandler.HandleAsync"/>.</param>
    /// <param name="gate">The publisher's.</param>
    public JobConsumer(Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, ResultPublisher publisher, Topology topology, IntakeGate gate, JobTally tally, WorkerHealth health,
        IOptions<BrokerOptions> options, IOptions<JobOptions> jobs, TimeProvider time, ILogger<JobConsumer> logger)
        : this((role, confirms) => new BrokerLink(new BrokerConnection(role, confirms, options, topology, time, logger)), handle, publisher, topology, gate, tally, health, options, jobs, time, logger)
    {
    }

    internal JobConsumer(MakeLink link, Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, ResultPublisher publisher, Topology topology, IntakeGate gate, JobTally tally, WorkerHealth health,
        IOptions<BrokerOptions> options, IOptions<JobOptions> jobs, TimeProvider time, ILogger<JobConsumer> logger)
    {
        this.publisher = publisher;
        this.topology = topology;
        this.gate = gate;
        this.health = health;
        this.time = time;
        this.logger = logger;
        this.link = link("consume", false);
        depths = new QueueDepths(this.link, topology, time);
        settler = new Settler(publisher, topology, tally, crashes, time, logger);
        slots = new JobSlots(handle, settler.Begin, gate, crashes, jobs.Value, topology.Jobs, time, logger, abandon.Token);
        lane = new SuspectLane(slots, settler, crashes, gate, topology, logger);
        handBack = new HandBack(settler, publisher, TimeSpan.FromSeconds(options.Value.HandBackSeconds), time, logger);
        drain = new Drain(slots, settler, lane, handBack, abandon, TimeSpan.FromSeconds(options.Value.DrainSeconds), time, logger);
        budget = new PrefetchBudget((ushort)(options.Value.Prefetch > 0 ? options.Value.Prefetch : Math.Min(3 * jobs.Value.Slots, ushort.MaxValue)), options.Value.PrefetchBytes);
        turns = new CarefulTurns(topology.Bulk is not null, time);
        (health.Link, health.Queues, health.Slots, health.Prefetch) = (this.link, depths, slots, budget.Wanted);
    }

    /// <inheritdoc cref="JobSlots.Stuck"/>
    public event Action? Stuck
    {
        add => slots.Stuck += value;
        remove => slots.Stuck -= value;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        slots.Start();
        using var gauges = Telemetry.Watch(() => health.InFlight, () => health.NotReady is null, () => health.Depths.Select(d => (d.Key, topology.Role(d.Key), d.Value)));
        await using var clock = time.CreateTimer(_ => Tick(), null, JobSlots.StuckTime / 10, JobSlots.StuckTime / 10);
        var watching = depths.WatchAsync(stoppingToken);
        try
        {
            await publisher.OpenAsync(stoppingToken);
            while (!stoppingToken.IsCancellationRequested)
            {
                await LiveAsync(stoppingToken);
            }
        }
        catch (Exception) when (stoppingToken.IsCancellationRequested)
        {
            // stopped before there was anything to drain; a connection that was just being refused is no failure then
        }
        finally
        {
            slots.Close();
            await (stoppingToken.IsCancellationRequested ? watching : Task.CompletedTask);
            await link.DisposeAsync();
            await publisher.DisposeAsync();
            health.Over = true;
        }

        Stopped(logger);
    }

    /// <summary>One life: until its channel is gone, or the worker stops.</summary>
    private async Task LiveAsync(CancellationToken stopping)
    {
        await WhileBlockedAsync(stopping);
        using var life = new ConsumerLife(await link.ChannelAsync(stopping), time);
        health.Life = life;
        var returning = handBack.WatchAsync(life);
        try
        {
            await lane.IdleAsync(stopping);
            await SubscribeAsync(life, stopping);
            Consuming(logger, topology.Jobs);
            lastPause = TimeSpan.Zero;
            while (!life.Ended && !stopping.IsCancellationRequested)
            {
                await life.ChangedAsync(LookTime, stopping);
                await LookAsync(life, stopping);
            }
        }
        catch (Exception) when (stopping.IsCancellationRequested)
        {
            // whatever was under way, what is in hand is drained
        }
        catch (Exception e)
        {
            await life.EndAsync(BrokerErrors.Describe(e));
        }

        await (life.Ended ? BuryAsync(life, stopping) : drain.RunAsync(life));
        await life.EndAsync("stopped");
        await returning;
    }

    /// <summary>While the broker takes nothing, nothing is taken from it: it would be in hand for too long.</summary>
    private async Task WhileBlockedAsync(CancellationToken stopping)
    {
        while (publisher.Blocked is not null)
        {
            await Task.Delay(FirstPause, time, stopping);
        }
    }

    private async Task SubscribeAsync(ConsumerLife life, CancellationToken stopping)
    {
        prefetch = turns.Careful ? (ushort)1 : budget.Wanted;
        foreach (var bulk in turns.Next(life.Settled))
        {
            await life.SubscribeAsync(bulk ? topology.Bulk! : topology.Jobs, bulk ? (ushort)((prefetch + 1) / 2) : prefetch, Receive, FailedAsync, bulk, stopping);
        }

        quiet = time.GetTimestamp();
    }

    private void Receive(Delivery delivery)
    {
        budget.Saw(delivery.Bytes);
        Telemetry.JobConsumed(delivery.IsBulk ? topology.Bulk! : topology.Jobs);
        if (delivery.Life.Closed || (topology.Bulk is not null && delivery.Message.IsBulk && !delivery.IsBulk) || !slots.Add(delivery)) // bulk: wait queues and replays lead to the first queue only
        {
            _ = handBack.ReturnAsync(delivery);
        }
    }

    /// <summary>
    /// A delivery that could not even be taken in: no memory for its body, say. Its body is still the client's, and good until this
    /// returns.
    /// </summary>
    private async Task FailedAsync(Delivery delivery, Exception e)
    {
        settler.Begin(delivery, null, JobOutcome.Of(e));
        await delivery.Settlement;
    }

    /// <summary>Every few seconds, and when something came or went.</summary>
    private async Task LookAsync(ConsumerLife life, CancellationToken stopping)
    {
        if (life.CameSinceLastLook() || life.InHand > 0)
        {
            quiet = time.GetTimestamp();
            turns.Busy();
        }

        var before = prefetch;
        if (turns.Look(life.InHand > 0, life.Settled, budget.Wanted) || (!turns.Careful && budget.ShouldChange(prefetch, life.Bytes)))
        {
            await life.UnsubscribeAsync();
            await (turns.Careful ? handBack.ReturnUnstartedAsync(life).WaitAsync(stopping) : Task.CompletedTask); // the other queue does not wait for a gate that is closed
            await life.LighterAsync(turns.Careful ? 0 : budget.Bytes / 2, stopping); // one that came as its turn ended: nothing is to be beside it
            await SubscribeAsync(life, stopping);
            Resized(logger, prefetch == before ? LogLevel.Debug : LogLevel.Information, Plural.Of(prefetch, "job"), budget.Bytes / 1_000_000);
        }

        if (time.GetElapsedTime(lastLook) < LookTime || life.Ended || stopping.IsCancellationRequested)
        {
            return;
        }

        lastLook = time.GetTimestamp();
        var (jobs, suspects) = await CountAsync(life, stopping);
        if (suspects > 0 && !gate.Holding)
        {
            await lane.RunAsync(life, stopping);
            if (!life.Ended && !stopping.IsCancellationRequested)
            {
                await SubscribeAsync(life, stopping);
            }
        }
        else if (jobs > 0 && time.GetElapsedTime(quiet) > WatchTime && life.InHand == 0)
        {
            // either there was nothing, or the consumer is dead and does not know
            await life.EndAsync($"the queue has {Plural.Of(jobs, "job")}, and none was handed out for {WatchTime.TotalSeconds} s");
        }
    }

    private async Task<(long Jobs, long Suspects)> CountAsync(ConsumerLife life, CancellationToken stopping)
    {
        try
        {
            return await depths.AskAsync(stopping);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            if (life.InHand == 0 && !life.Ended)
            {
                await life.EndAsync($"the broker does not answer: {BrokerErrors.Describe(e)}");
            }

            return (0, 0); // what is in hand says by its own settling whether the broker is there
        }
    }

    /// <summary>What it had in hand is handed out again, to us or to others, and that was no crash of ours.</summary>
    private async Task BuryAsync(ConsumerLife life, CancellationToken stopping)
    {
        foreach (var delivery in life.Unsettled)
        {
            crashes.Lost(delivery.Message);
        }

        slots.ForgetEnded();
        await life.ArrivedAsync();
        await link.AbandonAsync(life.Channel);
        turns.Begin(life.Settled < budget.Wanted);
        if (life.Ready)
        {
            Interrupted(logger, life.Reason);
            await Task.Delay(life.Age < LongestPause ? FirstPause : TimeSpan.Zero, time, stopping).ContinueWith(_ => { }, TaskScheduler.Default);
        }
        else if (!stopping.IsCancellationRequested)
        {
            lastPause = lastPause + lastPause < LongestPause ? lastPause + lastPause + FirstPause : LongestPause;
            NotConsuming(logger, topology.Jobs, health.Refusal = life.Reason, lastPause.TotalSeconds);
            await Task.Delay(lastPause, time, stopping);
            health.Refusal = null;
        }
    }

    private void Tick()
    {
        health.Tick();
        slots.EndWhereStuck();
    }

    /// <summary>Ends the present life as a broker that goes away does, for tests.</summary>
    internal Task EndLifeAsync() => health.Life?.EndAsync("asked to") ?? Task.CompletedTask;

    public override void Dispose()
    {
        abandon.Dispose();
        base.Dispose();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Ready: taking jobs from {Queue}")]
    private static partial void Consuming(ILogger logger, string queue);

    [LoggerMessage(Message = "Asking for {Jobs} at once: those in hand are to stay below {Megabytes} MB (Broker:PrefetchMegabytes)")]
    private static partial void Resized(ILogger logger, LogLevel level, string jobs, long megabytes);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Cannot take jobs from {Queue} yet: {Reason}; next try in {Seconds:0.0} s")]
    private static partial void NotConsuming(ILogger logger, string queue, string reason, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The broker went away: {Reason}. Jobs not settled yet are handed out again")]
    private static partial void Interrupted(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopped")]
    private static partial void Stopped(ILogger logger);
}
