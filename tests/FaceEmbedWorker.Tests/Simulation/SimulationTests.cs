using System.Diagnostics;

namespace FaceEmbedWorker.Tests.Simulation;

/// <summary>Workers against a model of RabbitMQ, in a process of its own: tests/simulate runs more of them.</summary>
public sealed class SimulationTests
{
    private const int Schedules = 800;

    [Fact]
    public async Task In_no_schedule_is_a_job_lost_condemned_stuck_or_doubled_without_a_fault()
    {
        var (code, lines) = await SimulateAsync($"{Schedules}");
        Assert.True(code == 0, string.Join('\n', lines));
        Assert.Matches($"^{Schedules} schedules: 0 lost, 0 condemned, 0 stuck, [1-9][0-9]* doubles$", lines[^1]);
    }

    /// <summary>Seeds that once found a fault. What they do changes with the simulation; the fault has a test of its own as well.</summary>
    [Theory]
    [InlineData(16530)] // a job on its way back was overlooked when an alarm lasted: the ack timeout took it (HandBackTests)
    [InlineData(5686)] // no probe ever got to the end of its pause (IntakeGateTests)
    [InlineData(1295531)] // a suspect was handed out into a channel that was given up, which counted as a crash (SuspectLaneTests)
    [InlineData(1396307)] // a node that died and an alarm that outlasted the hand-back condemned a suspect (CrashCountsTests)
    [InlineData(18890)] // jobs that had waited for a probe were begun during an alarm (IntakeGateTests)
    [InlineData(2247)] // a job went back whose result was confirmed and whose reply was not (HandBackTests)
    [InlineData(18952329)] // of those that come one by one after a lost connection each turn could leave one in hand (CarefulTurns)
    [InlineData(23101)] // a stop did not wait for what was on its way back (DrainTests)
    public async Task A_seed_that_found_a_fault_finds_none_now(long seed)
    {
        var (code, lines) = await SimulateAsync("--seed", $"{seed}");
        Assert.True(code == 0, lines[^1]);
    }

    [Fact]
    public async Task A_seed_is_replayed_exactly()
    {
        var (first, second) = (await SimulateAsync("--seed", "513"), await SimulateAsync("--seed", "513"));
        Assert.Equal(0, first.Code);
        Assert.Contains("crashes of", string.Join('\n', first.Lines), StringComparison.Ordinal);
        Assert.Equal(first.Lines, second.Lines);
    }

    private static async Task<(int Code, string[] Lines)> SimulateAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(SimulationTests).Assembly.Location, "simulate", .. arguments]) { RedirectStandardOutput = true };
        foreach (var setting in Simulator.OneThread)
        {
            start.Environment[setting] = "1";
        }

        using var process = Process.Start(start)!;
        var told = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, told.TrimEnd().Split('\n'));
    }
}
