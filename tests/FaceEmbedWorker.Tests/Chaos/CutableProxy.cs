using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace FaceEmbedWorker.Tests.Chaos;

/// <summary>
/// The network between worker and broker: passes connections on to the first of its targets that answers, until it is cut. It can be cut
/// with a word (all connections closed, no new ones) or in silence (they stay open, and nothing comes through).
/// </summary>
internal sealed class CutableProxy : IAsyncDisposable
{
    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(1);

    private readonly IReadOnlyList<IPEndPoint> targets;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<Socket, bool> open = new();
    private readonly CancellationTokenSource stopping = new();
    private readonly Task accepting;
    private volatile TaskCompletionSource passing = Done();
    private volatile bool cut;
    private int next;

    /// <summary>Deliveries to consumers do not come through; everything else, heartbeats too, does.</summary>
    public bool DropsDeliveries { get; set; }

    /// <summary>Puts one byte in place of another in what a client sends, for what no client library would send.</summary>
    public (byte From, byte To)? Rewrites { get; set; }

    public CutableProxy(params IReadOnlyList<IPEndPoint> targets)
    {
        this.targets = targets;
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

    public async Task SilenceAsync(TimeSpan time)
    {
        passing = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await Task.Delay(time);
        passing.SetResult();
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
        foreach (var socket in open.Keys)
        {
            socket.Dispose();
        }

        open.Clear();
    }

    private async Task AcceptAsync()
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                var near = await listener.AcceptSocketAsync(stopping.Token);
                if (cut || await ConnectAsync() is not { } far)
                {
                    near.Dispose();
                    continue;
                }

                open[near] = open[far] = true;
                _ = PassAsync(near, far, frames: false);
                _ = PassAsync(far, near, frames: true);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // the next one, or the end
            }
        }
    }

    private async Task<Socket?> ConnectAsync()
    {
        for (var tries = 0; tries < targets.Count; tries++)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            try
            {
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping.Token);
                limit.CancelAfter(ConnectTime);
                await socket.ConnectAsync(targets[next++ % targets.Count], limit.Token);
                return socket;
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                socket.Dispose();
            }
        }

        return null;
    }

    private async Task PassAsync(Socket from, Socket to, bool frames)
    {
        try
        {
            await using var source = new NetworkStream(from);
            await using var sink = new NetworkStream(to);
            if (frames)
            {
                await PassFramesAsync(source, sink);
                return;
            }

            var buffer = new byte[64 * 1024];
            while (await source.ReadAsync(buffer, stopping.Token) is > 0 and var count)
            {
                await passing.Task;
                if (Rewrites is var (odd, put))
                {
                    buffer.AsSpan(0, count).Replace(odd, put);
                }

                await sink.WriteAsync(buffer.AsMemory(0, count), stopping.Token);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            // cut
        }
        finally
        {
            open.TryRemove(from, out _);
            open.TryRemove(to, out _);
            from.Dispose();
            to.Dispose();
        }
    }

    /// <summary>
    /// AMQP 0-9-1 frames: type, channel, size, payload, an end mark. A delivery is basic.deliver (60, 60), a header and a body.
    /// </summary>
    private async Task PassFramesAsync(Stream source, Stream sink)
    {
        var (header, dropping) = (new byte[7], false);
        while (await source.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false, stopping.Token) == header.Length)
        {
            var payload = new byte[BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(3)) + 1];
            await source.ReadExactlyAsync(payload, stopping.Token);
            await passing.Task;
            dropping = header[0] == 1 ? DropsDeliveries && payload is [0, 60, 0, 60, ..] : header[0] != 8 && dropping;
            if (!dropping)
            {
                await sink.WriteAsync(header, stopping.Token);
                await sink.WriteAsync(payload, stopping.Token);
            }
        }
    }

    private static TaskCompletionSource Done()
    {
        var done = new TaskCompletionSource();
        done.SetResult();
        return done;
    }
}
