using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>A dead letter is found under the id that the job's result would have had.</summary>
public class DeadLettersTests
{
    private const string Library = "d1f0c2aa-0000-4000-8000-000000000001";

    [Theory]
    [InlineData("application/json", """{"id":"photo-99","image":{"data":"AQID"}}""", "photo-99")]
    [InlineData("application/json", """{"id":"photo-99","image":{"data":"AQID"},"mode":"x"}""", "photo-99")]
    [InlineData("application/json", """{"image":{"data":"AQID"}}""", Library)]
    [InlineData(EmbedResult.CloudEventType, """{"specversion":"1.0","id":"event","source":"s","type":"t","data":{"id":"photo-99","image":{"data":"AQID"}}}""", "photo-99")]
    [InlineData("image/jpeg", "not a picture", Library)]
    public void The_id_of_a_letter_is_its_jobs_whatever_id_the_message_has(string contentType, string body, string id)
    {
        var message = new JobMessage(Encoding.UTF8.GetBytes(body), new BasicProperties { MessageId = Library, ContentType = contentType, Headers = new Dictionary<string, object?>() });
        Assert.Equal(id, DeadLetter.Of(message).Id); // as the broker makes it
        var letter = DeadLetters.ForDeadLetter(message, message.JobId, "malformed", "why", null, DateTimeOffset.UnixEpoch);
        Assert.Equal((id, id), (letter.MessageId, DeadLetter.Of(new JobMessage(message.Body, letter)).Id));
    }

    [Theory]
    [InlineData("delivery_limit", "handed out too often, and never settled")]
    [InlineData("expired", "waited longer than its expiration")]
    [InlineData("rejected", "could be published; the worker's log")]
    [InlineData(null, "handed out too often, expired, or")]
    public void A_letter_of_the_brokers_says_why_it_was_made(string? reason, string told) => Assert.Contains(told, DeadLetter.Of(new JobMessage(new byte[] { 1 },
        new BasicProperties { Headers = new Dictionary<string, object?> { ["x-first-death-reason"] = reason is null ? null : Encoding.ASCII.GetBytes(reason) } })).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("application/json", """{"image":{"data":"AQID"},"mode":"x"}""")]
    [InlineData("application/json", """{"id":7,"image":{"data":"AQID"}}""")]
    [InlineData(EmbedResult.CloudEventType, """{"specversion":"2.0","data_base64":"AQID"}""")]
    public void A_letters_picture_is_shown_whatever_else_is_wrong_with_its_job(string contentType, string body) =>
        Assert.Equal([1, 2, 3], DeadLetter.PictureOf(new JobMessage(Encoding.UTF8.GetBytes(body), new BasicProperties { ContentType = contentType })));

    [Theory]
    [InlineData("""{"image":{"data":"%%"},"mode":"x"}""")]
    [InlineData("""{"image":[],"mode":"x"}""")]
    [InlineData("{")]
    [InlineData("[]")]
    public void A_letter_without_one_says_so(string body) =>
        Assert.Throws<MalformedJobException>(() => DeadLetter.PictureOf(new JobMessage(Encoding.UTF8.GetBytes(body), new BasicProperties { ContentType = "application/json" })));
}
