using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A worker in this process, with one slot and a handler of the test's.</summary>
internal sealed class InProcessWorker : IAsyncDisposable
{
    private readonly IntakeGate gate;
    private readonly JobConsumer consumer;
    private readonly WorkerHealth health;

    private InProcessWorker(BrokerProbe probe, Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, TimeProvider time)
    {
        var options = Options.Create(probe.Options);
        gate = new IntakeGate(time);
        health = new WorkerHealth(gate, probe.Topology, time);
        consumer = new JobConsumer(handle, new ResultPublisher(options, Options.Create(new ResultOptions()), probe.Topology, gate, time, NullLogger<ResultPublisher>.Instance), probe.Topology,
            gate, new JobTally(time), health, options, Options.Create(new JobOptions { Parallelism = 1 }), time, NullLogger<JobConsumer>.Instance);
    }

    public static async Task<InProcessWorker> StartAsync(BrokerProbe probe, Func<EmbedJob, CancellationToken, Task<JobOutcome>> handle, TimeProvider? time = null)
    {
        var worker = new InProcessWorker(probe, handle, time ?? TimeProvider.System);
        await worker.consumer.StartAsync(CancellationToken.None);
        return worker;
    }

    /// <summary>Jobs that it has been given and not settled.</summary>
    public int InHand => health.InFlight;

    /// <summary>As a channel that is lost.</summary>
    public Task EndLifeAsync() => consumer.EndLifeAsync();

    /// <summary>As a lost connection: what is not settled is handed out again.</summary>
    public async Task LoseConsumerAsync(BrokerProbe probe)
    {
        await consumer.EndLifeAsync();
        await probe.UntilAsync(() => probe.Channel.ConsumerCountAsync(probe.Topology.Jobs).Result > 0 ? this : null, "a new consumer");
    }

    public async ValueTask DisposeAsync()
    {
        await consumer.StopAsync(CancellationToken.None);
        consumer.Dispose();
        gate.Dispose();
    }
}
