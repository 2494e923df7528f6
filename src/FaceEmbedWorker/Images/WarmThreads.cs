using System.Collections.Concurrent;

namespace FaceEmbedWorker.Images;

/// <summary>
/// Threads for work on pixels: it goes to one that did some before. malloc keeps for each thread what its largest work took, and the
/// thread pool would hand each job to another one. There are as many as ever worked at once, and they stay.
/// </summary>
internal sealed class WarmThreads
{
    /// <summary>The process's.</summary>
    public static readonly WarmThreads Shared = new();

    private readonly ConcurrentStack<WarmThread> idle = [];

    /// <summary>Runs work that takes a core for milliseconds; what follows it does not run there.</summary>
    public Task<T> RunAsync<T>(Func<T> work)
    {
        var (done, context) = (new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously), ExecutionContext.Capture()!);
        if (!idle.TryPop(out var thread))
        {
            thread = new WarmThread();
        }

        thread.Give(() =>
        {
            Action tell;
            try
            {
                var result = default(T)!;
                ExecutionContext.Run(context, _ => result = work(), null);
                tell = () => done.SetResult(result);
            }
            catch (Exception e)
            {
                tell = () => done.SetException(e);
            }

            idle.Push(thread); // first, so that whoever goes on finds it
            tell();
        });
        return done.Task;
    }

    private sealed class WarmThread
    {
        private readonly object given = new(); // a Lock has no pulse
        private Action? work;

        public WarmThread() => new Thread(Run) { IsBackground = true, Name = "pixels" }.Start();

        public void Give(Action next)
        {
            lock (given)
            {
                work = next;
                Monitor.Pulse(given);
            }
        }

        private void Run()
        {
            while (true)
            {
                Once();
            }
        }

        /// <summary>Holds nothing once it has returned: the work has a picture.</summary>
        private void Once() => Next()();

        private Action Next()
        {
            lock (given)
            {
                Action? next;
                while ((next = work) is null)
                {
                    Monitor.Wait(given);
                }

                work = null;
                return next;
            }
        }
    }
}
