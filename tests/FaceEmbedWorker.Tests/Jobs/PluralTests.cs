using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class PluralTests
{
    [Theory]
    [InlineData(0, "0 jobs wait, 0 people, 0 faces")]
    [InlineData(1, "1 job waits, 1 person, 1 face")]
    [InlineData(1200, "1,200 jobs wait, 1,200 people, 1,200 faces")]
    public void A_count_and_its_noun_agree(int count, string expected) =>
        Assert.Equal(expected, $"{Plural.Of(count, "job waits", "jobs wait")}, {Plural.Of(count, "person", "people")}, {Plural.Of(count, "face")}");
}
