using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>Exchanges and queues for a measurement, which are deleted with it.</summary>
internal sealed class BenchQueues : IAsyncDisposable
{
    private const string Prefix = "face-embed-bench-";

    private BenchQueues(BrokerOptions broker)
    {
        var name = $"{Prefix}{Guid.NewGuid():N}";
        Options = Microsoft.Extensions.Options.Options.Create(new BrokerOptions
        {
            Uri = broker.Uri,
            CaFile = broker.CaFile,
            CertificateFile = broker.CertificateFile,
            CertificateKeyFile = broker.CertificateKeyFile,
            Jobs = $"{name}.jobs",
            Results = $"{name}.results",
            Prefetch = broker.Prefetch,
            PrefetchMegabytes = broker.PrefetchMegabytes,
            RetryDelays = broker.RetryDelays,
        });
        Topology = new Topology(Options);
        Publisher = new JobPublisher(Options, Topology, TimeProvider.System, NullLogger<JobPublisher>.Instance);
    }

    public IOptions<BrokerOptions> Options { get; }

    public Topology Topology { get; }

    public JobPublisher Publisher { get; }

    /// <exception cref="BrokerRefusedException">No answer, or the user may not declare them.</exception>
    public static async Task<BenchQueues> OpenAsync(BrokerOptions broker)
    {
        var queues = new BenchQueues(broker);
        try
        {
            await queues.Publisher.OpenAsync(CancellationToken.None); // not given up half way: what it declares is deleted in the end
            return queues;
        }
        catch (BrokerRefusedException e)
        {
            await queues.DisposeAsync();
            throw e.InnerException is OperationInterruptedException { ShutdownReason: { ReplyCode: 403 } reason }
                ? new BrokerRefusedException($"bench --amqp declares queues of its own, and user '{new Uri(broker.Uri).UserInfo.Split(':')[0]}' may not: {reason.ReplyText}. Grant configure, write and read on ^{Prefix}.*$ (rabbitmqctl set_permissions), or measure without --amqp.", e) : e;
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await Publisher.DeleteTopologyAsync();
        }
        catch (OperationInterruptedException)
        {
            // who may not delete them could not declare them
        }
        finally
        {
            await Publisher.DisposeAsync();
        }
    }
}
