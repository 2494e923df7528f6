using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace FaceEmbedWorker.Tests.EndToEnd;

[Collection(AroundRabbitMq310.Name)]
public sealed class ProducerOnRabbitMq310Tests(DebianBroker broker) : ProducerTests(broker);

[Collection(AroundRabbitMq4.Name)]
public sealed class ProducerOnRabbitMq4Tests(ContainerBroker broker) : ProducerTests(broker);

/// <summary>Every way to hand in a photo, and to be answered.</summary>
public abstract class ProducerTests(TestBroker broker)
{
    private static readonly byte[] GraceHopper = File.ReadAllBytes(TestData.GraceHopper);

    [Fact]
    public async Task CloudEvents_vectors_in_base64_and_deadlines_are_served_as_asked()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);
        var data = Convert.ToBase64String(GraceHopper);
        await EventAsync("event-1", $$$"""{"specversion":"1.0","id":"event-1","source":"/gallery","type":"photo.added","data":{"image":{"data":"{{{data}}}"},"metadata":{"n":1},"vector_encoding":"base64"}}""");
        await EventAsync("event-2", $$$"""{"specversion":"1.0","id":"event-2","source":"/gallery","type":"photo.added","datacontenttype":"image/jpeg","data_base64":"{{{data}}}"}""");
        await EventAsync("event-3", """{"specversion":"1.0","id":"event-3","source":"/gallery","type":"photo.added"}""");
        await EventAsync("event-4", """{"specversion":"0.3","id":"event-4","source":"/gallery","type":"photo.added","data":{}}""");
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "base64", new() { ["vector_encoding"] = "base64" });
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "late", new() { ["deadline"] = "2026-01-01T00:00:00Z" });
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "in-time", new() { ["deadline"] = "2126-01-01T00:00:00+02:00" });
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "no-time", new() { ["deadline"] = "soon" });

        var expected = (await Pipeline.EmbedAsync(GraceHopper)).Embeddings[0].Vector;
        var first = await probe.UntilAsync(() => probe.Results.FirstOrDefault(r => r.Properties.MessageId?.StartsWith("event-1:", StringComparison.Ordinal) is true), "a result of event-1");
        Assert.Equal("application/cloudevents+json", first.Properties.ContentType);
        Assert.Equal(("1.0", first.Properties.MessageId, "face-embed.result.embedded", "event-1", "application/json"), (Text(first, "specversion"), Text(first, "id"), Text(first, "type"), Text(first, "subject"), Text(first, "datacontenttype")));
        Assert.StartsWith("/face-embed/", Text(first, "source"), StringComparison.Ordinal);
        Assert.Equal(expected, Floats(first.Json.GetProperty("data")));
        Assert.Equal(1, first.Json.GetProperty("data").GetProperty("metadata").GetProperty("n").GetInt32());

        var second = await probe.UntilAsync(() => probe.Results.FirstOrDefault(r => r.Properties.MessageId?.StartsWith("event-2:", StringComparison.Ordinal) is true), "a result of event-2");
        Assert.Equal(expected, second.Json.GetProperty("data").GetProperty("embeddings")[0].GetProperty("vector").EnumerateArray().Select(v => v.GetSingle()));
        Assert.Contains("either 'data'", (await probe.DeadLetterAsync("event-3")).Header("fw-error-message"), StringComparison.Ordinal);
        Assert.Contains("version '0.3'", (await probe.DeadLetterAsync("event-4")).Header("fw-error-message"), StringComparison.Ordinal);

        var base64 = await probe.UntilAsync(() => probe.Results.FirstOrDefault(r => r.Properties.MessageId?.StartsWith("base64:", StringComparison.Ordinal) is true), "a result in base64");
        Assert.Equal(("application/json", false), (base64.Properties.ContentType, base64.Json.GetProperty("embeddings")[0].TryGetProperty("vector", out _)));
        Assert.Equal(expected, Floats(base64.Json));

        var late = await probe.DeadLetterAsync("late");
        Assert.Equal(("expired", "1"), (late.Header("fw-error"), late.Header("fw-attempt")));
        Assert.Equal("malformed", (await probe.DeadLetterAsync("no-time")).Header("fw-error"));
        await probe.UntilAsync(() => probe.Results.FirstOrDefault(r => r.Properties.MessageId?.StartsWith("in-time:", StringComparison.Ordinal) is true), "a result in time");

        async Task EventAsync(string id, string json) => await probe.SubmitAsync(Encoding.UTF8.GetBytes(json), "application/cloudevents+json", id);

        static string Text(Seen seen, string name) => seen.Json.GetProperty(name).GetString()!;

        static float[] Floats(JsonElement result)
        {
            var bytes = result.GetProperty("embeddings")[0].GetProperty("vector_base64").GetBytesFromBase64();
            return [.. Enumerable.Range(0, bytes.Length / 4).Select(i => BitConverter.ToSingle(bytes, 4 * i))];
        }
    }

    [Fact]
    public async Task A_setting_makes_every_result_a_CloudEvent_in_base64()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe, "--Results:Envelope=CloudEvents", "--Results:VectorEncoding=Base64");
        await probe.SubmitAsync(GraceHopper, "image/jpeg", "plain");
        var result = await probe.UntilAsync(() => probe.Results.FirstOrDefault(), "a result");
        Assert.Equal(("application/cloudevents+json", 2048), (result.Properties.ContentType, result.Json.GetProperty("data").GetProperty("embeddings")[0].GetProperty("vector_base64").GetBytesFromBase64().Length));
    }

    [Fact]
    public async Task Who_asks_by_reply_to_is_answered_and_who_has_gone_holds_nothing_up()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await using var connection = await new ConnectionFactory { Uri = new Uri(probe.Options.Uri) }.CreateConnectionAsync();
        await using var channel = await connection.CreateChannelAsync();
        var replies = new ConcurrentQueue<Seen>();
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, e) =>
        {
            replies.Enqueue(new Seen(e.RoutingKey, e.Body.ToArray(), e.BasicProperties));
            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync("amq.rabbitmq.reply-to", autoAck: true, consumer);
        await AskAsync("asked", "amq.rabbitmq.reply-to");
        await AskAsync("gone", "amq.gen-that-is-not-there");
        await channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = "rejected", CorrelationId = "c-rejected", ReplyTo = "amq.rabbitmq.reply-to", ContentType = "text/plain" }, GraceHopper);

        var reply = await probe.UntilAsync(() => replies.FirstOrDefault(r => r.Properties.CorrelationId == "c-asked"), "a reply");
        Assert.Equal(("asked", "c-asked"), (BrokerProbe.JobId(reply), reply.Properties.CorrelationId));
        Assert.Equal(reply.Body, (await probe.ResultAsync("asked")).Body);
        await probe.ResultAsync("gone");
        await worker.SaidAsync("that queue is gone");

        var (letter, word) = (await probe.DeadLetterAsync("rejected"), await probe.UntilAsync(() => replies.FirstOrDefault(r => r.Properties.CorrelationId == "c-rejected"), "a reply of the dead letter"));
        Assert.Null(MessageSchemas.Trouble(MessageSchemas.RejectedJob, word.Json));
        Assert.Equal(("rejected", "malformed", letter.Header("fw-error-message"), 1), (BrokerProbe.JobId(word), word.Json.GetProperty("error").GetString(), word.Json.GetProperty("message").GetString(), word.Json.GetProperty("attempt").GetInt32()));
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 0 ? probe : null, "an empty queue");
        Assert.Equal(0, await worker.TerminateAsync());
        Assert.Single(worker.Output.Split("did not reach who asked for it")[1..]); // the broker returns what it hands over directly, for it is in no queue

        Task AskAsync(string id, string queue) => channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = id, CorrelationId = $"c-{id}", ReplyTo = queue, ContentType = "image/jpeg" }, GraceHopper).AsTask();
    }

    [Fact]
    public async Task Replies_go_only_to_queues_that_settings_allow()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe, "--Results:ReplyTo=answers.*");
        var (mine, others) = ($"answers.{probe.Topology.Jobs}", $"{probe.Topology.Jobs}.others");
        foreach (var queue in new[] { mine, others })
        {
            await probe.Channel.QueueDeclareAsync(queue, durable: false, exclusive: true, autoDelete: true);
            await probe.Channel.BasicPublishAsync(probe.Topology.Jobs, "job", true, new BasicProperties { MessageId = queue, ReplyTo = queue, ContentType = "image/jpeg" }, GraceHopper);
        }

        await probe.UntilAsync(() => probe.Channel.MessageCountAsync(mine).Result == 1 ? probe : null, "a reply");
        await probe.ResultAsync(others);
        await worker.SaidAsync("which Results:ReplyTo does not allow");
        Assert.Equal(0u, await probe.Channel.MessageCountAsync(others));
    }

    [Fact]
    public async Task Submit_waits_on_through_a_lost_connection_and_a_file_over_the_limit_fails_alone()
    {
        await using var probe = await ProbeAsync();
        await using var proxy = new Chaos.CutableProxy(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, new Uri(probe.Options.Uri).Port));
        var folder = Directory.CreateTempSubdirectory("face-embed-submit-").FullName;
        for (var i = 0; i < 30; i++)
        {
            await File.WriteAllBytesAsync(Path.Combine(folder, $"{i}.jpg"), Chaos.Ledger.Photo);
        }

        await File.WriteAllBytesAsync(Path.Combine(folder, "7-large.jpg"), new byte[150 * 1024 * 1024]);
        var through = new UriBuilder(new Uri(probe.Options.Uri)) { Port = proxy.Port }.Uri;
        await using var submit = FaceEmbed.Start(["submit", folder, "--wait", .. probe.Settings, $"--Broker:Uri={through}", "--Images:MaxBytes=200000000"]);
        await probe.UntilAsync(() => submit.Output.Contains("30 jobs confirmed by the broker, 1 failed", StringComparison.Ordinal) ? probe : null, "all but one confirmed", seconds: 60);
        Assert.Contains("7-large.jpg: the broker does not take the job", submit.Errors, StringComparison.Ordinal);
        await proxy.CutAsync(TimeSpan.FromSeconds(1));

        await using var worker = await FaceEmbed.WorkerAsync(probe);
        Assert.Equal(1, await submit.ExitAsync());
        Assert.EndsWith("30 embedded", submit.Output, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void Jobs_of_the_readme_are_valid_and_wrong_ones_are_not()
    {
        Assert.All(new[] { """{"image":{"data":"AAAA"}}""", """{"id":"a","image":{"url":"https://x/"},"mode":"faces","detail":2,"metadata":{},"deadline":"2026-01-31T12:00:00Z","vector_encoding":"base64","priority":255}""", """{"image":{"s3":"b/k","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}}""" },
            job => Assert.Null(MessageSchemas.Trouble(MessageSchemas.Job, JsonElement.Parse(job))));
        Assert.All(new[] { "{}", """{"image":{}}""", """{"image":{"data":"AAAA","url":"x"}}""", """{"image":{"s3":"bucket"}}""", """{"image":{"data":"AAAA"},"detail":9}""", """{"image":{"data":"AAAA"},"mode":"all"}""", """{"image":{"data":"AAAA"},"priority":256}""" },
            job => Assert.NotNull(MessageSchemas.Trouble(MessageSchemas.Job, JsonElement.Parse(job))));
        Assert.NotNull(MessageSchemas.Trouble(MessageSchemas.Result, JsonElement.Parse("""{"job_id":"a","outcome":"embedded"}""")));
        Assert.NotNull(MessageSchemas.Trouble(MessageSchemas.DeadLetter, JsonElement.Parse("""{"fw-error":"else"}""")));
    }

    private async Task<BrokerProbe> ProbeAsync()
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri).ConnectAsync();
    }
}
