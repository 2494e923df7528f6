using System.Runtime.InteropServices;

namespace FaceEmbedWorker.Commands;

/// <summary>
/// Ctrl-C and SIGTERM while a verb runs that comes to an end by itself: it is told to stop, says what is done, and gives the cursor back;
/// one that is told twice, or does not stop in time, is ended. The worker has its own way (<see cref="RunCommand"/>).
/// </summary>
internal sealed class Interrupt : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly CancellationTokenSource told = new();
    private readonly PosixSignalRegistration[] registrations;

    public Interrupt() => registrations = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop)];

    public CancellationToken Token => told.Token;

    /// <summary>128 and the signal's number, as shells have it.</summary>
    public int Code { get; private set; } = ExitCode.Interrupted;

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
            End();
        }

        Code = context.Signal == PosixSignal.SIGTERM ? ExitCode.Terminated : ExitCode.Interrupted;
        Task.Run(told.Cancel);
        Task.Delay(Patience).ContinueWith(_ => End(), TaskScheduler.Default);
    }

    private void End()
    {
        Screen.ShowCursor();
        Environment.Exit(Code);
    }
}
