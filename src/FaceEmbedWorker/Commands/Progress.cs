using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary>A progress bar on standard error where a person is looking; nothing otherwise.</summary>
internal static class Progress
{
    public static async Task RunAsync(string what, int count, Func<Action, Task> work)
    {
        if (Console.IsErrorRedirected || count < 10)
        {
            await work(() => { });
            return;
        }

        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        await console.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                var task = context.AddTask(what, maxValue: count);
                await work(() => task.Increment(1));
            });
    }
}
