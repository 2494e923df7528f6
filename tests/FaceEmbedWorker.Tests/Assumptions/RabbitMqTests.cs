using FaceEmbedWorker.Tests.EndToEnd;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Tests.Assumptions;

[Collection(RabbitMq310.Name)]
public sealed class RabbitMq310Tests(DebianBroker broker) : RabbitMqTests(broker);

[Collection(RabbitMq4.Name)]
public sealed class RabbitMq4Tests(ContainerBroker broker) : RabbitMqTests(broker);

/// <summary>What Broker/ believes of RabbitMQ and its client.</summary>
public abstract class RabbitMqTests(TestBroker broker)
{
    [Fact]
    public async Task A_confirmed_publish_fails_by_return_or_by_nack()
    {
        await using var probe = await ProbeAsync();
        var unroutable = await Assert.ThrowsAsync<PublishReturnException>(() => PublishAsync(probe, probe.Topology.Retry, "no-such-wait"));
        Assert.True(unroutable.IsReturn);

        var full = $"{probe.Topology.Results}.full";
        await probe.Channel.QueueDeclareAsync(full, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" });
        await Assert.ThrowsAsync<PublishException>(async () =>
        {
            for (var i = 0; i < 20; i++) // a quorum queue takes a few more than its limit before it refuses
            {
                await PublishAsync(probe, "", full);
            }
        });
        await probe.Channel.QueueDeleteAsync(full, ifUnused: false, ifEmpty: false);
    }

    [Fact]
    public async Task A_lost_connection_counts_as_a_delivery_and_a_fresh_copy_does_not()
    {
        await using var probe = await ProbeAsync();
        await probe.SubmitAsync([1], id: "counted");
        for (var lost = 0; lost < 3; lost++)
        {
            await using var connection = await new ConnectionFactory { Uri = new Uri(broker.Uri), AutomaticRecoveryEnabled = false }.CreateConnectionAsync();
            var channel = await connection.CreateChannelAsync();
            var got = await probe.UntilAsync(() => channel.BasicGetAsync(probe.Topology.Jobs, autoAck: false).Result, "the message");
            Assert.Equal(lost, new FaceEmbedWorker.Broker.JobMessage(got.Body.ToArray(), got.BasicProperties).Returns);
            Assert.Equal(lost > 0, got.Redelivered);
            await connection.AbortAsync();
        }
    }

    [Fact]
    public async Task The_client_tells_of_a_consumers_end_whoever_asked_for_it()
    {
        await using var probe = await ProbeAsync();
        var told = new TaskCompletionSource();
        var consumer = new AsyncEventingBasicConsumer(probe.Channel);
        consumer.UnregisteredAsync += (_, _) =>
        {
            told.TrySetResult();
            return Task.CompletedTask;
        };
        var tag = await probe.Channel.BasicConsumeAsync(probe.Topology.Jobs, autoAck: false, consumer);
        await probe.Channel.BasicCancelAsync(tag);
        await told.Task.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task A_wait_queue_hands_back_what_its_time_has_come_for()
    {
        await using var probe = await ProbeAsync();
        await PublishAsync(probe, probe.Topology.Retry, FaceEmbedWorker.Broker.Topology.RetryKey(probe.Topology.Ladder[0]));
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 1 ? probe : null, "a job that has waited");
    }

    /// <summary>
    /// What a queue has handed to a consumer that is being cancelled comes back counted, though the consumer never sees it: a job may have a
    /// return or two that no crash has made.
    /// </summary>
    [Fact]
    public async Task What_is_on_its_way_to_a_consumer_that_is_cancelled_comes_back_counted()
    {
        await using var probe = await ProbeAsync();
        await using var connection = await new ConnectionFactory { Uri = new Uri(broker.Uri) }.CreateConnectionAsync();
        for (var (round, unseen) = (0, 0); unseen == 0; round++)
        {
            Assert.True(round < 200, "nothing came back");
            await Task.WhenAll(Enumerable.Range(0, 60).Select(n => probe.SubmitAsync([1], id: $"{round}-{n}")));
            await using var channel = await connection.CreateChannelAsync();
            await channel.BasicQosAsync(0, 20, global: false);
            var received = new System.Collections.Concurrent.ConcurrentQueue<string>();
            var consumer = new AsyncEventingBasicConsumer(channel);
            consumer.ReceivedAsync += async (_, d) =>
            {
                await Task.Delay(1);
                await channel.BasicAckAsync(d.DeliveryTag, multiple: false);
                received.Enqueue(d.BasicProperties.MessageId!); // once it is acked: the channel closes when all are here
            };
            var tag = await channel.BasicConsumeAsync(probe.Topology.Jobs, autoAck: false, consumer);
            await Task.Delay(round % 8);
            await channel.BasicCancelAsync(tag);
            var left = 0;
            for (var end = DateTime.UtcNow.AddSeconds(10); left + received.Count < 60; await Task.Delay(1))
            {
                Assert.True(DateTime.UtcNow < end, $"of 60, {received.Count} were received and {left} are left");
                while (await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true) is { } got)
                {
                    left++;
                    Assert.DoesNotContain(got.BasicProperties.MessageId, received);
                    var returns = new FaceEmbedWorker.Broker.JobMessage(got.Body.ToArray(), got.BasicProperties).Returns;
                    Assert.Equal(got.Redelivered ? 1 : 0, returns);
                    unseen += got.Redelivered ? 1 : 0;
                }
            }
        }
    }

    /// <summary>No answer on the channel tells when they have arrived; a second is enough.</summary>
    [Fact]
    public async Task Acks_of_a_cancelled_consumer_are_lost_where_the_channel_is_closed_at_once()
    {
        await using var probe = await ProbeAsync();
        for (var (round, lost) = (0, 0L); lost == 0; round++)
        {
            Assert.True(round < 10, "no ack was lost");
            lost = await LostAsync(TimeSpan.Zero);
        }

        Assert.Equal(0, await LostAsync(TimeSpan.FromSeconds(1)));

        async Task<long> LostAsync(TimeSpan pause)
        {
            await probe.Channel.QueuePurgeAsync(probe.Topology.Jobs);
            await Task.WhenAll(Enumerable.Range(0, 1200).Select(n => probe.SubmitAsync([1], id: $"{n}")));
            await Task.WhenAll(Enumerable.Range(0, 3).Select(async _ =>
            {
                await using var connection = await new ConnectionFactory { Uri = new Uri(broker.Uri) }.CreateConnectionAsync();
                await using var publishing = await connection.CreateChannelAsync(new CreateChannelOptions(true, true, new ThrottlingRateLimiter(1000)));
                await using var consuming = await new ConnectionFactory { Uri = new Uri(broker.Uri) }.CreateConnectionAsync();
                await using var channel = await consuming.CreateChannelAsync();
                await channel.BasicQosAsync(0, 400, global: false);
                var received = new System.Collections.Concurrent.ConcurrentQueue<ulong>();
                var consumer = new AsyncEventingBasicConsumer(channel);
                consumer.ReceivedAsync += (_, d) =>
                {
                    received.Enqueue(d.DeliveryTag);
                    return Task.CompletedTask;
                };
                var tag = await channel.BasicConsumeAsync(probe.Topology.Jobs, autoAck: false, consumer);
                await probe.UntilAsync(() => received.Count == 400 ? probe : null, "400 messages");
                await channel.BasicCancelAsync(tag);
                await Task.WhenAll(received.Select(async mine =>
                {
                    await publishing.BasicPublishAsync("", probe.Topology.Jobs, mandatory: true, new BasicProperties { DeliveryMode = DeliveryModes.Persistent }, new byte[30_000]);
                    await channel.BasicAckAsync(mine, multiple: false);
                }));
                await Task.Delay(pause);
                await channel.CloseAsync();
            }));
            await Task.Delay(1000);
            return await probe.ReadyAsync(probe.Topology.Jobs) - 1200L;
        }
    }

    private static Task PublishAsync(BrokerProbe probe, string exchange, string key) =>
        probe.Channel.BasicPublishAsync(exchange, key, mandatory: true, new BasicProperties { DeliveryMode = DeliveryModes.Persistent }, new byte[] { 1 }).AsTask();

    private async Task<BrokerProbe> ProbeAsync()
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
    }
}
