using System.Text.Json;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The page at <c>/</c>, as an operator sees it.</summary>
[Collection(AroundRabbitMq310.Name)]
public sealed class StatusPageTests(DebianBroker broker)
{
    [Fact]
    public async Task The_page_shows_what_the_worker_does_and_renews_itself()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        var picture = await File.ReadAllBytesAsync(TestData.GraceHopper);
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        var url = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Health:Url={url}");
        await using var browser = await Browser.OpenAsync();
        await browser.SizeAsync(1200, 900, phone: false);
        await browser.GoAsync($"{url}/");
        await browser.UntilAsync("document.getElementById('state')?.textContent === 'Takes jobs'");
        await browser.UntilAsync("document.getElementById('outcomes').innerText.includes('none yet')");

        for (var i = 0; i < 40; i++)
        {
            await probe.SubmitAsync(picture, "image/jpeg", $"photo-{i}");
        }

        await probe.SubmitAsync([], "image/jpeg", "<b>no picture</b>");
        await browser.UntilAsync("/embedded\\s+40/.test(document.getElementById('outcomes').innerText) && /malformed\\s+1/.test(document.getElementById('dead').innerText)");
        await browser.UntilAsync("parseFloat(document.getElementById('rate').textContent) > 0 && /embed\\s+[\\d.]+/.test(document.getElementById('stages').innerText)");
        await browser.UntilAsync("document.getElementById('troubles').innerText.includes('<b>no picture</b>: The body is empty')"); // as text
        await browser.UntilAsync($"document.getElementById('queues').innerText.includes('{probe.Topology.Jobs}') && document.getElementById('queues').innerText.includes('wait 0.2 s')");
        await browser.UntilAsync("/crash suspects\\s+\\S+\\s+0/.test(document.getElementById('queues').innerText)");
        await browser.UntilAsync($"document.getElementById('model').innerText.includes('{Pipeline.Embedder.FaceSpace}')");
        await KeepAsync("status-page.png", await browser.ScreenshotAsync());

        // a phone: nothing sticks out, and the text has its size
        await browser.SizeAsync(390, 844, phone: true);
        Assert.Equal("True", await browser.EvaluateAsync("document.documentElement.scrollWidth <= innerWidth && innerWidth === 390"));
        await KeepAsync("status-page-phone.png", await browser.ScreenshotAsync());

        // nothing comes from elsewhere, and nothing of a picture or a vector is in it
        Assert.Equal("", await browser.EvaluateAsync($"performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('{url}/')).join(' ')"));
        using var http = new HttpClient();
        var status = JsonElement.Parse(await http.GetStringAsync($"{url}/status.json"));
        Assert.Equal(41, status.GetProperty("outcomes").EnumerateObject().Sum(o => o.Value.GetInt32()));
        Assert.DoesNotContain("vector", status.ToString(), StringComparison.Ordinal);
        Assert.InRange(status.ToString().Length, 100, 8_000);

        await worker.TerminateAsync();
        await browser.UntilAsync("document.getElementById('state').textContent.startsWith('This worker does not answer')");
    }

    /// <summary>For the README, where FACE_EMBED_SCREENSHOTS names a folder.</summary>
    private static async Task KeepAsync(string name, byte[] png)
    {
        Assert.Equal([0x89, 0x50, 0x4E, 0x47], png[..4]);
        if (Environment.GetEnvironmentVariable("FACE_EMBED_SCREENSHOTS") is { Length: > 0 } folder)
        {
            await File.WriteAllBytesAsync(Path.Combine(folder, name), png);
        }
    }
}
