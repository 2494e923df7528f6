using System.Diagnostics;
using System.Globalization;

namespace FaceEmbedWorker.Tests.Simulation;

/// <summary>
/// Runs schedules one after the other on the one thread of this process' pool, where a step is over once nothing is queued there. So what
/// the rooms do between two events has an order, and a seed always gives the same schedule.
/// </summary>
internal static class Simulator
{
    /// <summary>Variables that must be 1 before the process begins, for a pool of one thread.</summary>
    public static readonly string[] OneThread = ["DOTNET_ThreadPool_ForceMinWorkerThreads", "DOTNET_ThreadPool_ForceMaxWorkerThreads"];

    /// <summary><c>simulate N [FIRST]</c>, or <c>simulate --seed X</c>, which tells all that happens.</summary>
    public static int Run(string[] arguments)
    {
        AppContext.SetSwitch("System.Diagnostics.Metrics.Meter.IsSupported", false); // a crashed worker's would stay for ever
        ThreadPool.GetMaxThreads(out var threads, out _);
        if (threads != 1)
        {
            Console.Error.WriteLine($"A schedule needs a pool of one thread: {string.Join("=1 and ", OneThread)}=1. tests/simulate sets them.");
            return 2;
        }

        if (arguments is ["--seed", var seed])
        {
            return Replay(long.Parse(seed, CultureInfo.InvariantCulture));
        }

        var (count, first) = (long.Parse(arguments[0], CultureInfo.InvariantCulture), arguments.Length > 1 ? long.Parse(arguments[1], CultureInfo.InvariantCulture) : 1);
        var (watch, failed, events) = (Stopwatch.StartNew(), 0, 0L);
        var (lost, condemned, stuck, doubles) = (0L, 0L, 0L, 0L);
        for (var next = first; next < first + count; next++)
        {
            var verdict = Run(new Schedule(next));
            (lost, condemned, stuck, doubles, events) = (lost + verdict.Lost, condemned + verdict.Condemned, stuck + verdict.Stuck, doubles + verdict.Doubles, events + verdict.Events);
            if (verdict.Broken.Count > 0 && ++failed <= 10)
            {
                Console.WriteLine($"seed {verdict.Seed}: {string.Join("; ", verdict.Broken)}");
            }
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{failed} broke a promise; {events:N0} events, {watch.Elapsed.TotalSeconds:0.0} s"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count} schedules: {lost} lost, {condemned} condemned, {stuck} stuck, {doubles} doubles"));
        return failed > 0 ? 1 : 0;
    }

    /// <summary>Runs a seed twice: the second time tells whether it was the same.</summary>
    private static int Replay(long seed)
    {
        var told = new List<string>();
        var verdict = Run(new Schedule(seed, told));
        told.ForEach(Console.WriteLine);
        Console.WriteLine(verdict.Broken.Count > 0 ? $"seed {seed}: {string.Join("; ", verdict.Broken)}" : $"seed {seed}: all promises kept, {verdict.Doubles} doubles");
        if (Run(new Schedule(seed)).Trace != verdict.Trace)
        {
            Console.WriteLine("It went another way when it was run again: something does not follow from the seed.");
            return 1;
        }

        return verdict.Broken.Count > 0 ? 1 : 0;
    }

    private static Verdict Run(Schedule schedule)
    {
        var verdict = new TaskCompletionSource<Verdict>();
        ThreadPool.UnsafeQueueUserWorkItem(_ => _ = RunAsync(), null);
        return verdict.Task.GetAwaiter().GetResult();

        async Task RunAsync()
        {
            try
            {
                verdict.SetResult(await schedule.RunAsync(PumpAsync));
            }
            catch (Exception e)
            {
                verdict.SetException(e);
            }
        }
    }

    private static async Task PumpAsync(Func<bool> next)
    {
        do
        {
            while (ThreadPool.PendingWorkItemCount > 0)
            {
                await Task.Yield(); // behind what is queued
            }
        }
        while (next());
    }
}
