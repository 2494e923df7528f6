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

    [Fact]
    public void What_became_of_a_job_is_in_the_headers_of_what_is_published()
    {
        var (first, now) = (new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero), new DateTimeOffset(2026, 1, 31, 15, 0, 0, TimeSpan.FromHours(1)));
        var job = new JobMessage(new byte[] { 1 }, new BasicProperties { MessageId = "photo-42", Priority = 3, Headers = new Dictionary<string, object?> { ["mode"] = "image" } });
        var retry = DeadLetters.ForRetry(job, new JobOutcome.Retry("io", "The disk is full.", "ENOSPC"), first);
        Dictionary<string, object?> failed = new()
        {
            ["fw-error"] = "io",
            ["fw-error-message"] = "The disk is full.",
            ["fw-error-detail"] = "ENOSPC",
            ["fw-first-failed-at"] = "2026-01-31T12:00:00.0000000Z",
            ["fw-last-failed-at"] = "2026-01-31T12:00:00.0000000Z",
            ["fw-worker"] = JobHandler.Worker,
            ["fw-version"] = JobHandler.Version,
            ["fw-attempt"] = 2,
        };
        Assert.Equal(failed, Written(retry));

        var again = new JobMessage(job.Body, retry);
        var letter = DeadLetters.ForDeadLetter(again, "photo-43", "refused", "No.", null, now);
        failed["fw-error"] = "refused";
        failed["fw-error-message"] = "No.";
        failed["fw-last-failed-at"] = "2026-01-31T14:00:00.0000000Z"; // the first failure stays
        failed["fw-replays"] = 0;
        failed.Remove("fw-error-detail");
        Assert.Equal(failed, Written(letter));
        Assert.Equal("photo-43", letter.MessageId);

        var least = DeadLetters.Least(again, letter);
        failed["fw-error-message"] = "Its other headers could not be published again.";
        Assert.Equal(failed, Written(least));
        Assert.Equal((3, false), (least.Priority, least.Headers!.ContainsKey("mode")));
        Assert.Equal(["fw-attempt"], DeadLetters.Least(again, DeadLetters.ForReturn(again)).Headers!.Keys.Where(k => k != "fw-first-failed-at"));
        Assert.False(DeadLetters.Least(job, new BasicProperties { Headers = new Dictionary<string, object?>() }).IsPriorityPresent());

        Assert.Equal(["fw-attempt", "fw-first-failed-at"], Written(DeadLetters.ForReturn(new JobMessage(job.Body, retry))).Keys.Order());
        Assert.Equal(2, DeadLetters.ForReturn(again).Headers!["fw-attempt"]);
        Assert.Equal([new("fw-replays", 1L)], Written(DeadLetters.ForReplay(new JobMessage(job.Body, letter))));

        static Dictionary<string, object?> Written(BasicProperties properties) => properties.Headers!.Where(h => h.Key.StartsWith("fw-", StringComparison.Ordinal))
            .ToDictionary(h => h.Key, h => h.Value is byte[] text ? Encoding.UTF8.GetString(text) : h.Value);
    }

    [Theory]
    [InlineData("abcdef", 6, "abcdef")]
    [InlineData("abcdefg", 6, "abc…")]
    [InlineData("üüü", 6, "üüü")]
    [InlineData("üüüü", 7, "üü…")]
    [InlineData("a🙂bcde", 8, "a🙂…")]
    [InlineData("a🙂bcd", 7, "a…")]
    [InlineData("", 6, "")]
    public void A_text_is_cut_to_so_many_bytes_between_characters(string text, int longest, string cut) => Assert.Equal(cut, DeadLetters.Clip(text, longest));

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
