using System.Diagnostics;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>What deploy/ holds, run as its users run it.</summary>
public class DeployTests
{
    [Fact]
    public async Task The_demo_shows_results_and_the_stub_and_stops_what_it_started()
    {
        Assert.SkipUnless(File.Exists("/usr/lib/rabbitmq/bin/rabbitmq-server"), "There is no RabbitMQ of Debian's.");
        var (code, output) = await ScriptAsync("deploy/demo");
        Assert.True(code == 0, output);
        Assert.Contains("astronaut.png: embedded, 1 vector of space", output, StringComparison.Ordinal);
        Assert.Contains("not-a-picture.jpg: stub, 1 vector of space", output, StringComparison.Ordinal);
        Assert.Contains("42 embedded, 1 stub", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compose_brings_up_a_broker_and_two_workers_that_share_the_work()
    {
        Assert.SkipUnless(Environment.GetEnvironmentVariable("FACE_EMBED_COMPOSE") == "1", "There is no Docker engine with compose; tests/run installs them as root on Debian.");
        var (code, output) = await ScriptAsync("tests/compose");
        Assert.True(code == 0, output);
        Assert.Contains("astronaut.png: embedded, 1 vector of space", output, StringComparison.Ordinal);
        Assert.Contains("11 embedded", output, StringComparison.Ordinal);
        foreach (var worker in new[] { "worker_1", "worker_2" })
        {
            Assert.Contains(output.Split('\n'), line => line.Contains(worker, StringComparison.Ordinal) && line.Contains("\"message\":\"Job ", StringComparison.Ordinal));
            Assert.Contains(output.Split('\n'), line => line.Contains(worker, StringComparison.Ordinal) && line.Contains("\"message\":\"Stopped\"", StringComparison.Ordinal));
        }
    }

    private static async Task<(int Code, string Output)> ScriptAsync(string script)
    {
        var start = new ProcessStartInfo("bash", ["-c", $"exec {script} 2>&1"]) { RedirectStandardOutput = true, WorkingDirectory = TestData.Repository };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output);
    }
}
