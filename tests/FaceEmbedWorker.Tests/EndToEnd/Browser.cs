using System.Diagnostics;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>Chromium without a window, told what to do over its DevTools protocol.</summary>
internal sealed class Browser : IAsyncDisposable
{
    private readonly string profile = Directory.CreateTempSubdirectory("face-embed-chromium-").FullName;
    private readonly ClientWebSocket socket = new();
    private Process? process;
    private int last;

    public static string? Missing() => File.Exists("/usr/bin/chromium") ? null : "There is no Chromium: apt-get install chromium.";

    public static async Task<Browser> OpenAsync()
    {
        var browser = new Browser();
        var start = new ProcessStartInfo("/usr/bin/chromium", ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0", $"--user-data-dir={browser.profile}", "about:blank"])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        browser.process = Process.Start(start)!;
        browser.process.BeginErrorReadLine();
        browser.process.BeginOutputReadLine();
        var port = Path.Combine(browser.profile, "DevToolsActivePort");
        for (var end = DateTime.UtcNow.AddSeconds(60); !File.Exists(port) || (await File.ReadAllLinesAsync(port)).Length < 2; await Task.Delay(100))
        {
            Assert.True(DateTime.UtcNow < end, "Chromium has not opened its port in 60 s.");
        }

        using var http = new HttpClient();
        var targets = JsonElement.Parse(await http.GetStringAsync($"http://127.0.0.1:{(await File.ReadAllLinesAsync(port))[0]}/json"));
        var page = targets.EnumerateArray().First(t => t.GetProperty("type").GetString() == "page");
        await browser.socket.ConnectAsync(new Uri(page.GetProperty("webSocketDebuggerUrl").GetString()!), CancellationToken.None);
        return browser;
    }

    public Task SizeAsync(int width, int height, bool phone) =>
        AskAsync("Emulation.setDeviceMetricsOverride", new JsonObject { ["width"] = width, ["height"] = height, ["deviceScaleFactor"] = 1, ["mobile"] = phone });

    public Task DarkAsync() => AskAsync("Emulation.setEmulatedMedia", JsonNode.Parse("""{"features":[{"name":"prefers-color-scheme","value":"dark"}]}""")!.AsObject());

    public Task GoAsync(string url) => AskAsync("Page.navigate", new JsonObject { ["url"] = url });

    /// <summary>The value of an expression in the page.</summary>
    public async Task<string> EvaluateAsync(string expression) =>
        (await AskAsync("Runtime.evaluate", new JsonObject { ["expression"] = expression, ["returnByValue"] = true })).GetProperty("result").TryGetProperty("value", out var value) ? value.ToString() : "";

    public async Task UntilAsync(string expression, int seconds = 30)
    {
        for (var end = DateTime.UtcNow.AddSeconds(seconds); await EvaluateAsync(expression) != "True"; await Task.Delay(100))
        {
            Assert.True(DateTime.UtcNow < end, $"After {seconds} s it is not so that {expression}: {await EvaluateAsync("document.body?.innerText")}");
        }
    }

    /// <summary>A PNG of the page.</summary>
    public async Task<byte[]> ScreenshotAsync() => (await AskAsync("Page.captureScreenshot", new JsonObject { ["captureBeyondViewport"] = true })).GetProperty("data").GetBytesFromBase64();

    public async ValueTask DisposeAsync()
    {
        socket.Dispose();
        if (process is { HasExited: false })
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
        }

        process?.Dispose();
        Directory.Delete(profile, recursive: true);
    }

    private async Task<JsonElement> AskAsync(string method, JsonObject parameters)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var id = ++last;
        await socket.SendAsync(Encoding.UTF8.GetBytes(new JsonObject { ["id"] = id, ["method"] = method, ["params"] = parameters }.ToJsonString()), WebSocketMessageType.Text, true, patience.Token);
        while (true)
        {
            using var message = new MemoryStream();
            WebSocketReceiveResult part;
            do
            {
                var buffer = new byte[65536];
                part = await socket.ReceiveAsync(buffer, patience.Token);
                message.Write(buffer, 0, part.Count);
            }
            while (!part.EndOfMessage);

            var answer = JsonElement.Parse(message.ToArray());
            if (answer.TryGetProperty("id", out var of) && of.GetInt32() == id)
            {
                return answer.TryGetProperty("result", out var result) ? result : throw new InvalidOperationException($"{method}: {answer}");
            }
        }
    }
}
