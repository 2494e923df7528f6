using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace FaceEmbedWorker.Tests.Chaos;

/// <summary>Passes loopback connections on to a port, until it cuts them all and takes no new ones for a while.</summary>
internal sealed class CutableProxy : IAsyncDisposable
{
    private readonly int target;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentBag<Socket> open = [];
    private readonly CancellationTokenSource stopping = new();
    private readonly Task accepting;
    private volatile bool cut;

    public CutableProxy(int target)
    {
        this.target = target;
        listener.Start();
        accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    public async Task CutAsync(TimeSpan time)
    {
        cut = true;
        CloseAll();
        await Task.Delay(time);
        cut = false;
    }

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        listener.Stop();
        await accepting;
        CloseAll();
        stopping.Dispose();
    }

    private void CloseAll()
    {
        while (open.TryTake(out var socket))
        {
            socket.Dispose();
        }
    }

    private async Task AcceptAsync()
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                var near = await listener.AcceptSocketAsync(stopping.Token);
                var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
                open.Add(near);
                open.Add(far);
                if (cut)
                {
                    CloseAll();
                    continue;
                }

                await far.ConnectAsync(IPAddress.Loopback, target, stopping.Token);
                _ = PassAsync(near, far);
                _ = PassAsync(far, near);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // the next one, or the end
            }
        }
    }

    private static async Task PassAsync(Socket from, Socket to)
    {
        try
        {
            await using var source = new NetworkStream(from);
            await using var sink = new NetworkStream(to);
            await source.CopyToAsync(sink);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // cut
        }
        finally
        {
            from.Dispose();
            to.Dispose();
        }
    }
}
