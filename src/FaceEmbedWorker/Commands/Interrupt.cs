using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// Ctrl-C, SIGTERM and SIGHUP (the terminal is closed) while a verb runs that comes to an end by itself: it is told to stop, says what is
/// done, and gives the cursor back; one that is told twice, or does not stop in time, is ended. The worker has its own way
/// (<see cref="RunCommand"/>).
/// </summary>
internal sealed class Interrupt : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private static readonly Dictionary<PosixSignal, int> Codes = new()
    {
        [PosixSignal.SIGINT] = ExitCode.Interrupted,
        [PosixSignal.SIGTERM] = ExitCode.Terminated,
        [PosixSignal.SIGHUP] = ExitCode.HungUp,
    };

    private readonly CancellationTokenSource told = new();
    private readonly PosixSignalRegistration[] registrations;

    public Interrupt() => registrations = [.. Codes.Keys.Where(signal => signal != PosixSignal.SIGHUP || !HangUpIsIgnored).Select(signal => PosixSignalRegistration.Create(signal, Stop))];

    public CancellationToken Token => told.Token;

    /// <summary>128 and the signal's number, as shells have it.</summary>
    public int Code { get; private set; } = ExitCode.Interrupted;

    /// <summary>Whoever started us wants us to outlive the terminal (nohup), which a handler would undo.</summary>
    public static bool HangUpIsIgnored { get; } = OperatingSystem.IsLinux() && File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith("SigIgn:", StringComparison.Ordinal)) is { } line
        && (Convert.ToUInt64(line.Split('\t')[1].Trim(), 16) & 1) != 0;

    public void Dispose()
    {
        foreach (var registration in registrations)
        {
            registration.Dispose();
        }

        told.Dispose();
    }

    private void Stop(PosixSignalContext context)
    {
        context.Cancel = true;
        if (told.IsCancellationRequested)
        {
            if (context.Signal != PosixSignal.SIGHUP) // which the kernel sends, and the shell once more
            {
                End();
            }

            return;
        }

        Code = Codes[context.Signal];
        Task.Run(told.Cancel);
        Task.Delay(Patience).ContinueWith(_ => End(), TaskScheduler.Default);
    }

    private void End()
    {
        Screen.ShowCursor();
        Environment.Exit(Code);
    }
}
