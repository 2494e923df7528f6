using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class JobOutcomeTests
{
    [Theory]
    [InlineData(nameof(ImageFault.Undecodable), "undecodable")]
    [InlineData(nameof(ImageFault.Empty), "malformed")]
    [InlineData(nameof(ImageFault.Refused), "refused")]
    [InlineData(nameof(ImageFault.TooLarge), "too_large")]
    [InlineData(nameof(ImageFault.Unsupported), "unsupported")]
    [InlineData(nameof(ImageFault.SourceDenied), "source_denied")]
    [InlineData(nameof(ImageFault.SourceMissing), "source_missing")]
    [InlineData(nameof(ImageFault.SourceMismatch), "source_mismatch")]
    [InlineData(nameof(ImageFault.Unreadable), "unreadable")]
    public void A_picture_that_cannot_be_used_is_the_jobs_fault(string fault, string reason) =>
        Assert.Equal(new JobOutcome.Rejected(reason, "It is torn.", "byte 7"), JobOutcome.Of(new ImageException(Enum.Parse<ImageFault>(fault), "It is torn.", new FormatException("byte 7"))));

    [Fact]
    public void Each_fault_of_a_picture_has_a_word_that_is_documented()
    {
        var documented = File.ReadAllText(Path.Combine(TestData.Repository, "docs", "messages.md"));
        Assert.All(Enum.GetValues<ImageFault>().Except([ImageFault.Unreadable]), fault => Assert.Contains($"`{JobOutcome.Word(fault)}`", documented, StringComparison.Ordinal)); // unreadable: files of embed only
    }

    [Fact]
    public void A_wrong_model_is_no_fault_of_the_jobs() =>
        Assert.Equal(new JobOutcome.Retry("model_output", "It gave NaN."), JobOutcome.Of(new ModelException("It gave NaN.")));

    [Fact]
    public void A_host_that_does_not_answer_is_asked_again_when_it_says() =>
        Assert.Equal(new JobOutcome.Retry("source_unavailable", "It is away.", "reset") { After = TimeSpan.FromSeconds(90), Asked = true },
            JobOutcome.Of(new SourceException("It is away.", new IOException("reset"), TimeSpan.FromSeconds(90))));

    [Fact]
    public void A_host_that_is_left_alone_was_not_asked() =>
        Assert.Equal(new JobOutcome.Retry("source_unavailable", "It is left alone.") { Asked = false }, JobOutcome.Of(new SourceException("It is left alone.", paused: true)));

    [Fact]
    public void A_job_that_stood_in_line_was_not_tried()
    {
        var retry = Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(new TurnException("photos.example.org", new OperationCanceledException())));
        Assert.Equal(("deadline", true), (retry.Reason, retry.InLine));
        Assert.Contains("photos.example.org", retry.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_deadline_names_its_setting()
    {
        var retry = Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(new OperationCanceledException()));
        Assert.Equal(("deadline", false, true), (retry.Reason, retry.InLine, retry.Asked));
        Assert.Contains("Jobs:DeadlineSeconds", retry.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_nobody_is_to_blame_for_is_tried_again_and_told_in_full()
    {
        foreach (var (exception, reason, message) in new (Exception, string, string)[]
        {
            (new InsufficientMemoryException(), "out_of_memory", "Memory ran out."),
            (new IOException("The disk is full."), "io", "The disk is full."),
            (new InvalidOperationException("Nobody expected it."), "unexpected", "InvalidOperationException: Nobody expected it."),
        })
        {
            Assert.Equal(new JobOutcome.Retry(reason, message, exception.ToString()), JobOutcome.Of(exception));
        }
    }

    [Fact]
    public void A_retry_was_an_attempt_unless_it_says_otherwise()
    {
        var retry = new JobOutcome.Retry("io", "away");
        Assert.Equal((true, false, null), (retry.Asked, retry.InLine, retry.After));
    }

    /// <summary>What a job may be tried again for is what <c>embed</c> may say of a file: the schema is the contract.</summary>
    [Fact]
    public void Reasons_to_try_again_are_words_of_the_schema()
    {
        using var schema = JsonDocument.Parse(File.ReadAllText(Path.Combine(TestData.Repository, "deploy", "schemas", "rejected-file.schema.json")));
        var words = schema.RootElement.GetProperty("properties").GetProperty("error").GetProperty("enum").EnumerateArray().Select(word => word.GetString()).ToArray();
        Exception[] causes = [new ModelException("x"), new OperationCanceledException(), new InsufficientMemoryException(), new IOException("x"), new InvalidOperationException("x")];
        Assert.All(causes, cause => Assert.Contains(Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(cause)).Reason, words));
    }
}
