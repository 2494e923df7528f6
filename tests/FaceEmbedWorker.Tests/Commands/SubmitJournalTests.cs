using FaceEmbedWorker.Commands;

namespace FaceEmbedWorker.Tests.Commands;

public sealed class SubmitJournalTests : IDisposable
{
    private readonly string path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.journal");

    [Fact]
    public void Goes_on_behind_the_last_line_before_which_all_are_done()
    {
        string second, third;
        using (var journal = SubmitJournal.Open(path))
        {
            (second, third) = (journal.IdOf(2), journal.IdOf(3));
            journal.Settle(1, "a", failed: false);
            journal.Settle(3, "c", failed: false);
            Assert.Throws<OutputException>(() => SubmitJournal.Open(path)); // another process is at it
        }

        using (var journal = SubmitJournal.Open(path))
        {
            Assert.Equal((1, second, third), (journal.Done, journal.IdOf(2), journal.IdOf(3))); // what comes twice has its id twice
            Assert.True(journal.Fits(1, "a"));
            Assert.False(journal.Fits(1, "b"));
            Assert.True(journal.Fits(2, "anything"));
            journal.Settle(2, "b", failed: false);
        }

        using var last = SubmitJournal.Open(path);
        Assert.Equal((2, true), (last.Done, last.Fits(2, "b")));
    }

    [Fact]
    public void Lines_that_failed_are_counted_once_all_before_them_are_done()
    {
        using (var journal = SubmitJournal.Open(path))
        {
            journal.Settle(2, "b", failed: true);
        }

        using (var journal = SubmitJournal.Open(path))
        {
            Assert.Equal((0, 0), (journal.Done, journal.Failed)); // both come again
            journal.Settle(2, "b", failed: true);
            journal.Settle(1, "a", failed: false);
        }

        using var last = SubmitJournal.Open(path);
        Assert.Equal((2, 1), (last.Done, last.Failed));
    }

    [Fact]
    public async Task No_more_lines_are_begun_than_may_come_twice()
    {
        using var journal = SubmitJournal.Open(path);
        for (var i = 0; i < SubmitJournal.Window; i++)
        {
            await journal.EnterAsync(CancellationToken.None);
        }

        var next = journal.EnterAsync(CancellationToken.None);
        journal.Settle(2, "b", failed: false);
        Assert.False(next.IsCompleted);
        journal.Settle(1, "a", failed: false);
        await next.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public void Two_journals_give_ids_of_their_own()
    {
        using var journal = SubmitJournal.Open(path);
        using var other = SubmitJournal.Open(path + "2");
        Assert.NotEqual(journal.IdOf(1), other.IdOf(1));
        Assert.True(Guid.TryParse(journal.IdOf(1), out _));
    }

    [Theory]
    [InlineData("photos/a.jpg\nphotos/b.jpg\n")]
    [InlineData("face-embed submit 0123456789abcdef0123456789abcdef\n")]
    [InlineData("x")]
    public void Another_file_is_not_written_over(string text)
    {
        File.WriteAllText(path, text);
        Assert.Contains("no journal", Assert.Throws<OutputException>(() => SubmitJournal.Open(path)).Message, StringComparison.Ordinal);
        Assert.Equal(text, File.ReadAllText(path));
    }

    public void Dispose()
    {
        File.Delete(path);
        File.Delete(path + "2");
    }
}
