using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Commands;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Commands;

public class SubmitResultsTests
{
    [Fact]
    public void Thousands_have_commas()
    {
        var results = new SubmitResults(tells: false);
        for (var i = 0; i < 4_913; i++)
        {
            results.Expect($"{i}", "photo.jpg");
        }

        Assert.Equal("4,913 without a result yet", results.Summary());
    }

    /// <summary>The end is told, and the exit code made, by whoever sees that no result is missing.</summary>
    [Fact]
    public async Task What_is_not_open_any_more_is_counted()
    {
        var job = new EmbedJob("a", new ImageSource.Data(await File.ReadAllBytesAsync(TestData.GraceHopper)), EmbedMode.Faces, null, 1);
        var report = new JobReport("a", Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(job, CancellationToken.None)).Result);
        for (var i = 0; i < 20_000; i++)
        {
            var results = new SubmitResults(tells: false);
            await results.EnterAsync(CancellationToken.None);
            results.Expect("a", "photo.jpg");
            var reporting = Task.Run(() => results.Report(report));
            while (results.Open > 0)
            {
                Thread.SpinWait(1);
            }

            Assert.Equal("1 embedded", results.Summary());
            await reporting;
        }
    }
}
