using System.Globalization;
using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>Any message that can be sent asks for the same after retries, returns, as a dead letter and replayed, however wrong it is.</summary>
public class RoundTripTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    /// <summary>Words that headers and fields of jobs have, right and wrong ones.</summary>
    private static readonly string[] Words = ["faces", "image", "aligned", "Faces", "png", "jpeg", "numbers", "base64", "0", "1", "4", "5", "-1", "1.5", "100000", "9999999999", "true", "", " ", "ü\n", "2026-01-31T12:00:00Z", "tomorrow",
        "{}", "{\"a\":[1,{}]}", "[]", "{", "null", "[[1,2],[3,4],[5,6],[7,8],[9,10]]", "[[1,2],[3,4]]", "[[1e9,2],[3,4],[5,6],[7,8],[9,10]]"];

    private static readonly string[] Asked = [JobMessage.ModeHeader, JobMessage.MetadataHeader, JobMessage.DetailHeader, JobMessage.DeadlineHeader, JobMessage.VectorEncodingHeader, JobMessage.MaxFacesHeader,
        JobMessage.MinFaceSizeHeader, JobMessage.ReturnCropsHeader, JobMessage.LandmarksHeader];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Whatever_becomes_of_a_message_it_asks_for_the_same(int part)
    {
        for (var seed = part * 10_000; seed < part * 10_000 + 5_000; seed++)
        {
            var random = new Random(seed);
            var sent = Message(random);
            var (asked, attempt, replays, way) = (AsksFor(sent), 1, 0L, new StringBuilder());
            for (var (message, steps) = (sent, random.Next(1, 6)); steps > 0; steps--)
            {
                var step = random.Next(4);
                way.Append(" RSDL"[step + 1]);
                (attempt, replays) = step switch
                {
                    0 => (attempt + 1, replays),
                    3 => (1, replays + 1),
                    _ => (attempt, replays),
                };
                message = Received(message, step switch
                {
                    0 => DeadLetters.ForRetry(message, new JobOutcome.Retry("fetch_failed", "No answer."), Now),
                    1 => DeadLetters.ForReturn(message),
                    2 => DeadLetters.ForDeadLetter(message, message.JobId, "refused", "No.", null, Now),
                    _ => DeadLetters.ForReplay(message),
                });
                Assert.True(asked == AsksFor(message), $"Seed {seed}, by {way}:\n{asked}\n{AsksFor(message)}");
                Assert.Equal((attempt, replays), (message.Attempt, message.Number(DeadLetters.ReplaysHeader)));
            }
        }
    }

    /// <summary>All that decides what is done with a message, as text; what is no job stays none.</summary>
    private static string AsksFor(JobMessage message)
    {
        var properties = message.Properties;
        var about = string.Create(CultureInfo.InvariantCulture, $"{message.JobId} {message.Priority} {message.Expiration} {message.IsBulk} {properties.CorrelationId} {properties.ReplyTo} {properties.ContentEncoding} {properties.Type} {properties.AppId} ");
        try
        {
            var job = message.Read();
            return about + string.Create(CultureInfo.InvariantCulture, $"{job.Id} {Of(job.Image)} {job.Mode} {job.Metadata?.GetRawText()} {job.Detail} {job.VectorEncoding} {job.Deadline:O} {job.IsCloudEvent} {job.MaxFaces} {job.MinFaceSize} {job.ReturnCrops} {job.Landmarks} {string.Join('|', job.Warnings ?? [])}");
        }
        catch (MalformedJobException)
        {
            return about + "malformed";
        }
    }

    private static string Of(ImageSource source) => source is ImageSource.Data(var bytes, var sum) ? $"{Convert.ToHexString(bytes)} {sum}" : $"{source}";

    private static JobMessage Message(Random random)
    {
        var type = random.Next(6) switch { 0 => null, 1 => "image/jpeg", 2 => "application/octet-stream", 3 => "application/cloudevents+json", _ => "application/json; charset=utf-8" };
        var properties = new BasicProperties { Headers = new Dictionary<string, object?>(), ContentType = type };
        foreach (var name in Asked.Where(_ => random.Next(4) == 0))
        {
            properties.Headers[name] = Value(random);
        }

        foreach (var name in new[] { "x-death", "x-delivery-count", "other", "traceparent", "CC" }.Where(_ => random.Next(6) == 0))
        {
            properties.Headers[name] = Value(random);
        }

        if (random.Next(2) == 0)
        {
            properties.MessageId = Name(random);
        }

        properties.CorrelationId = random.Next(3) == 0 ? Name(random) : null;
        properties.ReplyTo = random.Next(5) == 0 ? Name(random) : null;
        properties.ContentEncoding = random.Next(9) == 0 ? Name(random) : null;
        properties.Type = random.Next(9) == 0 ? Name(random) : null;
        properties.AppId = random.Next(9) == 0 ? Name(random) : null;
        properties.Expiration = random.Next(4) == 0 ? Word(random) : null;
        if (random.Next(4) == 0)
        {
            properties.Priority = (byte)random.Next(256);
        }

        var body = type?.Contains("json", StringComparison.Ordinal) != true ? Bytes(random, random.Next(4)) : Encoding.UTF8.GetBytes(Json(random, type.Contains("cloud", StringComparison.Ordinal)));
        return new JobMessage(body, properties) { CameAsBulk = random.Next(4) == 0 };
    }

    /// <summary>A JSON job or event; one in eight is broken off somewhere.</summary>
    private static string Json(Random random, bool isEvent)
    {
        var fields = Asked.Append("id").Append("priority").Append("colour").Where(_ => random.Next(4) == 0).Select(name => $"\"{name}\":{Literal(random)}");
        var image = random.Next(5) switch { 0 => "{\"url\":\"https://host/a.jpg\"}", 1 => "{\"s3\":\"bucket/key\"}", 2 => Literal(random), _ => $"{{\"data\":\"{Convert.ToBase64String(Bytes(random, 3))}\"}}" };
        var job = $"{{{string.Join(',', fields.Append($"\"image\":{image}"))}}}";
        var text = !isEvent ? job : random.Next(3) == 0 ? $$"""{"specversion":"1.0","id":"e","source":"s","type":"t","data_base64":"{{Convert.ToBase64String(Bytes(random, 3))}}"}"""
            : $$"""{"specversion":"1.0","id":{{Literal(random)}},"source":"s","type":"t","priority":{{random.Next(300)}},"data":{{job}}}""";
        return random.Next(8) == 0 ? text[..random.Next(text.Length)] : text;
    }

    private static string Literal(Random random) => random.Next(3) == 0 ? "42" : Word(random) is var word && random.Next(2) == 0 && word is ['[' or '{' or '1' or '4' or 't' or 'n', ..] && word is not ("{" or "tomorrow" or "numbers" or "2026-01-31T12:00:00Z")
        ? word : $"\"{word.Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\"";

    private static string Word(Random random) => Words[random.Next(Words.Length)];

    private static string Name(Random random) => random.Next(8) switch { 0 => "", 1 => new string('ü', 120), 2 => new string('x', 241), 3 => Word(random), _ => $"photo-{random.Next(100)}" };

    private static byte[] Bytes(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    /// <summary>A header's value as the client library gives what AMQP can hold.</summary>
    private static object? Value(Random random) => random.Next(20) switch
    {
        0 => random.Next(-2, 6),
        1 => (long)random.Next(-2, 6),
        2 => (byte)random.Next(6),
        3 => (sbyte)random.Next(-2, 6),
        4 => (short)random.Next(6),
        5 => random.Next(2) == 0,
        6 => random.NextDouble() * 5,
        7 => (float)random.Next(5),
        8 => 2.50m,
        9 => new AmqpTimestamp(1_000),
        10 => new List<object?> { "image"u8.ToArray(), 1 },
        11 => new Dictionary<string, object?> { ["a"] = 1 },
        12 => null,
        13 => Bytes(random, 300),
        14 => Encoding.UTF8.GetBytes("{\"a\":\"" + new string('ü', random.Next(8_000, 8_400)) + "\"}"),
        15 => Encoding.UTF8.GetBytes($"[[1,2],[3,4],[5,6],[7,8],[9,10]{new string(' ', random.Next(950, 1_050))}]"),
        16 => Encoding.UTF8.GetBytes("1" + new string('0', random.Next(200, 300))),
        _ => Encoding.UTF8.GetBytes(Word(random)),
    };

    /// <summary>A published message as its consumer gets it: text as bytes, an empty property as none.</summary>
    private static JobMessage Received(JobMessage message, BasicProperties properties)
    {
        properties.Headers = properties.Headers!.ToDictionary(header => header.Key, header => header.Value is string text ? Encoding.UTF8.GetBytes(text) : header.Value);
        return message with { Properties = properties, CameAsBulk = false };
    }
}
