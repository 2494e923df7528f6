using System.Collections.Concurrent;
using System.Net;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A collector for OTLP over HTTP that keeps what it is sent.</summary>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private readonly HttpListener listener = new();
    private readonly ConcurrentQueue<(string Path, byte[] Body)> received = new();
    private readonly Task serving;

    public OtlpReceiver()
    {
        Address = $"http://127.0.0.1:{TestBroker.FreePort()}";
        listener.Prefixes.Add($"{Address}/");
        listener.Start();
        serving = Task.Run(ServeAsync);
    }

    public string Address { get; }

    /// <summary>All bodies sent to a path, one behind the other.</summary>
    public byte[] Of(string path) => [.. received.Where(r => r.Path == path).SelectMany(r => r.Body)];

    public async ValueTask DisposeAsync()
    {
        listener.Close();
        await serving;
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                var context = await listener.GetContextAsync();
                var body = new MemoryStream();
                await context.Request.InputStream.CopyToAsync(body);
                received.Enqueue((context.Request.Url!.AbsolutePath, body.ToArray()));
                context.Response.ContentType = "application/x-protobuf";
                context.Response.Close();
            }
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
        {
            // closed
        }
    }
}
