using System.Net;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The page at <c>/</c>, as an operator sees it.</summary>
[Collection(AroundRabbitMq310.Name)]
public sealed class StatusPageTests(DebianBroker broker)
{
    /// <summary>Takes so long that no job of it is done before its deadline of a millisecond is told to it, however busy the machine is.</summary>
    private static readonly Lazy<byte[]> Large = new(() => Pipeline.Changed(TestData.GraceHopper, i => i.Resize(6), ".jpg", new NetVips.VOption { { "interlace", true } }));

    [Fact]
    public async Task The_page_shows_what_the_worker_does_and_renews_itself()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        var picture = await File.ReadAllBytesAsync(TestData.GraceHopper);
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        var url = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe, $"--Health:Url={url}");
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
        await browser.UntilAsync("/embedded\\s+40/.test(document.getElementById('outcomes').innerText) && /dead letter\\s+1\\s+malformed\\s+1/.test(document.getElementById('outcomes').innerText)");
        await browser.UntilAsync("parseFloat(document.getElementById('rate').textContent) > 0 && /embed\\s+[\\d.]+/.test(document.getElementById('stages').innerText)");
        await browser.UntilAsync("document.getElementById('troubles').innerText.includes('<b>no picture</b>: The body is empty')"); // as text
        await browser.UntilAsync($"/results\\s+{probe.Topology.Results}\\s+[1-9]/.test(document.getElementById('queues').innerText) || document.getElementById('empty').textContent.includes('{probe.Topology.Results}')");
        await browser.UntilAsync("document.getElementById('folded').open === false && /^[4-6] empty queues$/.test(document.querySelector('#folded summary').textContent)");
        await browser.UntilAsync($"document.getElementById('empty').textContent.includes('crash suspects{probe.Topology.Suspects}0') && document.getElementById('empty').textContent.includes('wait 0.2 s')");
        await browser.UntilAsync("document.getElementById('backlog').textContent === '0' && document.getElementById('left').textContent === ''");
        await browser.UntilAsync("document.getElementById('failures').textContent === '2.4 %' && document.getElementById('attempts').textContent === '41 attempts, 0 retries, 1 dead letter'");
        await browser.UntilAsync("/half of the jobs within\\s+[\\d.]+ ms\\s+95 % within\\s+[\\d.]+ ms/.test(document.getElementById('latency').innerText)");
        await browser.UntilAsync("document.getElementById('slots').textContent.endsWith(' idle')");
        await browser.UntilAsync($"/RabbitMQ 3\\.[\\d.]+\\) at 127.0.0.1:{new Uri(broker.Uri).Port}/.test(document.getElementById('who').textContent) && document.getElementById('who').textContent.includes('version {FaceEmbedWorker.Jobs.JobHandler.Version}')");
        await browser.UntilAsync("document.querySelectorAll('#results .entry').length === 10 && /^\\d\\d:\\d\\d:\\d\\d photo-\\d+ 1 face, [\\d.,]+ ms$/.test(document.querySelector('#results .entry').textContent)");
        Assert.Equal("True", await browser.EvaluateAsync("[...document.querySelectorAll('time')].every(t => t.textContent === new Date(t.dateTime).toLocaleTimeString('en-GB'))")); // where the reader is
        await browser.UntilAsync($"document.getElementById('model').innerText.includes('{Pipeline.Embedder.FaceSpace}')");
        await KeepAsync("status-page.png", await browser.ScreenshotAsync());
        await browser.DarkAsync();
        await KeepAsync("status-page-dark.png", await browser.ScreenshotAsync());

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
        Assert.InRange(status.ToString().Length, 100, 12_000);

        // what it links to is there, and nothing runs but what the page brought
        foreach (var link in JsonElement.Parse(await browser.EvaluateAsync("JSON.stringify([...document.links].map(a => a.href))")).EnumerateArray().Select(l => l.GetString()!))
        {
            Assert.Contains(link.EndsWith("/runbook", StringComparison.Ordinal) ? "## Runbook" : link.EndsWith("/metrics", StringComparison.Ordinal) ? "face_embed_jobs" : "\"worker\"", await http.GetStringAsync(link), StringComparison.Ordinal);
        }

        using var page = await http.GetAsync($"{url}/");
        Assert.DoesNotContain("unsafe", Assert.Single(page.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        Assert.Equal("", await browser.EvaluateAsync("{ const s = document.createElement('script'); s.textContent = 'window.strange = 1'; document.body.append(s); window.strange ?? '' }"));

        await worker.TerminateAsync();
        await browser.UntilAsync("document.getElementById('state').textContent.startsWith('This worker does not answer')");
    }

    /// <summary>A model that fails its self-test is served: the page does not say that no jobs are taken.</summary>
    [Fact]
    public async Task The_headline_says_whether_jobs_are_taken_and_a_slot_what_it_does()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        var url = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.WorkerAsync(probe, new Dictionary<string, string?> { ["FACE_EMBED_TEST_HANG_ON_ID"] = "slow-photo" }, $"--Health:Url={url}", "--Faces:EmbeddingModel=tests/data/untrained.onnx", "--Faces:SelfTest=Warn", "--Jobs:Parallelism=2");
        await using var browser = await Browser.OpenAsync();
        await browser.GoAsync($"{url}/");
        await browser.UntilAsync("/^Takes jobs, but is not ready: the model fails its self-test: \\S/.test(document.getElementById('state')?.textContent) && document.getElementById('state').className === 'warn'");
        await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), "image/jpeg", "slow-photo");
        await browser.UntilAsync("/^slow-photo[1-9]\\d*\\.\\d s1 idle$/.test(document.getElementById('slots').textContent)");

        await broker.StopAsync();
        try
        {
            await browser.UntilAsync("/^Takes no jobs: not connected to the broker.*And the model fails its self-test: /.test(document.getElementById('state').textContent) && document.getElementById('state').className === 'bad'", seconds: 60);
            using var http = new HttpClient();
            var status = JsonElement.Parse(await http.GetStringAsync($"{url}/status.json"));
            Assert.Matches("^not connected .*; and the model fails its self-test: ", status.GetProperty("not_ready").GetString()); // as /readyz has it
            Assert.StartsWith("not connected", status.GetProperty("intake_closed").GetString(), StringComparison.Ordinal);
            Assert.Equal(JsonValueKind.Null, status.GetProperty("broker").GetProperty("name").ValueKind);
        }
        finally
        {
            await broker.StartAsync();
        }

        await browser.UntilAsync("document.getElementById('state').className === 'warn'", seconds: 60);
        await probe.ReconnectAsync(); // to tidy up
    }

    /// <summary>An alarm, and failures in a row: the worker is connected, holds jobs, and goes on by itself.</summary>
    [Fact]
    public async Task The_headline_says_what_the_intake_is_paused_for()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        var url = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Health:Url={url}", "--Jobs:DeadlineSeconds=0.001", "--Jobs:Parallelism=1");
        await using var browser = await Browser.OpenAsync();
        await browser.GoAsync($"{url}/");
        await browser.UntilAsync("document.getElementById('state')?.textContent === 'Takes jobs'");
        for (var i = 0; i < 6; i++)
        {
            await probe.SubmitAsync(Large.Value, "image/jpeg", $"photo-{i}");
        }

        await browser.UntilAsync("/^Paused: [5-9] different jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds[.] The last: The job ran into its deadline/.test(document.getElementById('state').textContent) && document.title === 'paused · face-embed'");
        await broker.AlarmAsync();
        try
        {
            await browser.UntilAsync("document.getElementById('state').textContent === 'Paused: the broker takes no messages: low on memory'", seconds: 60);
        }
        finally
        {
            await broker.AlarmAsync(raised: false);
        }
    }

    /// <summary>Others are taken: the worker is ready, and yet somebody should know.</summary>
    [Fact]
    public async Task Paused_bulk_jobs_are_on_the_page_and_in_the_metrics()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(broker.Uri, o => o.BulkQueue = true).ConnectAsync();
        var url = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Health:Url={url}", "--Jobs:DeadlineSeconds=0.001", "--Jobs:Parallelism=1");
        await using var browser = await Browser.OpenAsync();
        await browser.GoAsync($"{url}/");
        await browser.UntilAsync("document.getElementById('state')?.textContent === 'Takes jobs'");
        for (var i = 0; i < 12; i++)
        {
            await probe.Channel.BasicPublishAsync(probe.Topology.Jobs, Topology.BulkKey, mandatory: true, new BasicProperties { MessageId = $"bulk-{i}", ContentType = "image/jpeg" }, Large.Value);
        }

        await browser.UntilAsync("/^Takes jobs, but bulk jobs are paused: [5-9] different bulk jobs in a row failed for no fault of theirs; one at a time is tried until one succeeds[.] The last: The job ran into its deadline/.test(document.getElementById('state').textContent) && document.getElementById('state').className === 'warn'");
        await browser.UntilAsync("Number(document.getElementById('backlog').textContent) > 0"); // they wait, in a queue of their own
        using var http = new HttpClient();
        Assert.Equal("ok\n", await http.GetStringAsync($"{url}/readyz"));
        var metrics = await http.GetStringAsync($"{url}/metrics");
        Assert.Matches("(?m)^face_embed_bulk_open({.*})? 0( |$)", metrics);
        Assert.Matches("(?m)^face_embed_bulk_results_total({.*})? 0( |$)", metrics);
        Assert.Matches("(?m)^face_embed_intake_open({.*})? 1( |$)", metrics);
    }

    /// <summary>Under a name of its own a site that a browser of this machine shows would be let in (DNS rebinding).</summary>
    [Theory]
    [InlineData("http://127.0.0.1", HttpStatusCode.MisdirectedRequest)]
    [InlineData("http://[::]", HttpStatusCode.OK)]
    public async Task A_page_on_loopback_answers_to_no_name_but_localhost(string address, HttpStatusCode toNames)
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        var port = TestBroker.FreePort();
        await using var worker = await FaceEmbed.WorkerAsync(probe, $"--Health:Url={address}:{port}");
        using var http = new HttpClient();
        foreach (var path in new[] { "/", "/status.json", "/metrics", "/livez" })
        {
            Assert.Equal(toNames, await AskAsync(path, "evil.example"));
            Assert.Equal(toNames, await AskAsync(path, $"worker.photos.svc:{port}"));
            foreach (var own in new[] { $"127.0.0.1:{port}", $"localhost:{port}", "10.1.2.3", $"[::1]:{port}" })
            {
                Assert.Equal(HttpStatusCode.OK, await AskAsync(path, own));
            }
        }

        async Task<HttpStatusCode> AskAsync(string path, string host)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"http://127.0.0.1:{port}{path}");
            request.Headers.Host = host;
            using var answer = await http.SendAsync(request);
            return answer.StatusCode;
        }
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
