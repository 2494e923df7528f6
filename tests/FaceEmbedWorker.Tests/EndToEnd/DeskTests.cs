using System.Net;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.EndToEnd;

[Collection(AroundRabbitMq310.Name)]
public sealed class DeskOnRabbitMq310Tests(DebianBroker broker) : DeskTests(broker);

/// <summary>The desk of dead letters in a browser, on a real broker, and what others on the web may not do with it.</summary>
public abstract class DeskTests(TestBroker broker)
{
    protected TestBroker Broker => broker;

    [Fact]
    public async Task An_alarm_of_the_broker_is_told_in_the_browser_and_the_letter_stays()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "expired", "Too late.", [1]);
        await using var desk = await DeskAsync(probe);
        await using var browser = await Browser.OpenAsync();
        await browser.GoAsync(Link(desk).AbsoluteUri);
        await browser.UntilAsync("document.getElementById('state')?.textContent === '1 dead letter.'");
        await broker.AlarmAsync();
        try
        {
            await browser.EvaluateAsync("document.getElementById('all').click(), document.getElementById('replay').click()");
            await browser.UntilAsync("document.getElementById('state').textContent.startsWith('0 replayed. The broker takes no messages: low on memory (an alarm of its memory or disk). It has not ended in 5 s. End it, and try again: what was confirmed is on its queue.')", seconds: 30);
        }
        finally
        {
            await broker.AlarmAsync(raised: false);
        }

        await ClickAsync(browser, "#again", "");
        await browser.UntilAsync("document.getElementById('state').textContent === '1 dead letter.'");
        Assert.Equal(130, await desk.InterruptAsync());
    }

    [Fact]
    public async Task A_broker_that_is_away_is_told_and_the_desk_goes_on_when_it_is_back()
    {
        broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "malformed", "The body is empty.", []);
        await using var desk = await DeskAsync(probe);
        await using var browser = await Browser.OpenAsync();
        await browser.GoAsync(Link(desk).AbsoluteUri);
        await browser.UntilAsync("document.getElementById('state')?.textContent === '1 dead letter.'");

        await broker.StopAsync();
        try
        {
            await browser.EvaluateAsync("document.getElementById('all').click(), document.getElementById('discard').click(), document.getElementById('yes').click()");
            await browser.UntilAsync("/^0 discarded\\. No answer from the broker at .*; tried for 5 s, /.test(document.getElementById('state').textContent) && document.getElementById('state').className === 'bad'");
        }
        finally
        {
            await broker.StartAsync();
        }

        await browser.UntilAsync("/ 1 dead letter\\.$/.test(document.getElementById('state').textContent) && document.querySelectorAll('#letters li').length === 1", seconds: 90);
        await browser.EvaluateAsync("document.getElementById('discard').click(), document.getElementById('yes').click()");
        await browser.UntilAsync("document.getElementById('state').textContent === '1 discarded. There are no dead letters, or another program is looking at them.'");
        await probe.ReconnectAsync();
    }

    /// <summary>Puts a dead letter on the queue, as a worker does.</summary>
    /// <summary>A quorum queue may have letters back a moment after the look that held them: here, who holds them is slow.</summary>
    [Fact]
    public async Task A_look_right_behind_another_sees_all_letters()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await Task.WhenAll(Enumerable.Range(0, 5).Select(n => BuryAsync(probe, $"photo-{n}", "expired", "Too late.", [1])));
        await using (var letters = Desk(new Moment()))
        {
            Assert.Equal(5, await TotalAsync(letters));
            for (var n = 0; n < 5; n++)
            {
                Assert.NotNull(await probe.UntilAsync(() => probe.Channel.BasicGetAsync(probe.Topology.Dead, autoAck: false).Result, "a letter"));
            }

            var look = TotalAsync(letters);
            await Task.Delay(300, TestContext.Current.CancellationToken);
            await probe.Channel.BasicNackAsync(0, multiple: true, requeue: true);
            Assert.Equal(5, await look);
        }

        // also where the look before ended at the first of them
        await using (var letters = Desk(new Moment()))
        {
            await Assert.ThrowsAsync<InvalidDataException>(() => letters.ScanAsync((_, _) => throw new InvalidDataException(), TestContext.Current.CancellationToken));
            for (var n = 0; n < 4; n++)
            {
                Assert.NotNull(await probe.UntilAsync(() => probe.Channel.BasicGetAsync(probe.Topology.Dead, autoAck: false).Result, "a letter"));
            }

            var look = TotalAsync(letters);
            await Task.Delay(300, TestContext.Current.CancellationToken);
            await probe.Channel.BasicNackAsync(0, multiple: true, requeue: true);
            Assert.Equal(5, await look);
        }

        // who has taken some out meanwhile is not waited for: the next look is behind them
        await using (var letters = Desk(TimeProvider.System))
        {
            Assert.Equal(5, await TotalAsync(letters));
            await probe.UntilAsync(() => probe.Channel.BasicGetAsync(probe.Topology.Dead, autoAck: true).Result, "a letter");
            Assert.Equal(4, await TotalAsync(letters));
        }

        DeadLetterDesk Desk(TimeProvider time) => new(Options.Create(probe.Options), probe.Topology, time, NullLogger<DeadLetterDesk>.Instance);
        async Task<int> TotalAsync(DeadLetterDesk letters) => (await letters.ListAsync(null, 1, TestContext.Current.CancellationToken)).Total;
    }

    /// <summary>No time passes; timers end.</summary>
    private sealed class Moment : TimeProvider
    {
        public override long GetTimestamp() => 1;
    }

    private protected static async Task BuryAsync(BrokerProbe probe, string id, string reason, string message, byte[] body, string contentType = "image/jpeg", Dictionary<string, object?>? headers = null)
    {
        var now = DateTime.UtcNow.ToString("O", System.Globalization.CultureInfo.InvariantCulture);
        var properties = new BasicProperties
        {
            MessageId = id,
            ContentType = contentType,
            DeliveryMode = DeliveryModes.Persistent,
            Headers = new Dictionary<string, object?>(headers ?? []) { ["fw-error"] = reason, ["fw-error-message"] = message, ["fw-attempt"] = 1, ["fw-first-failed-at"] = now, ["fw-last-failed-at"] = now, ["fw-worker"] = "host/1", ["fw-replays"] = 0 },
        };
        await probe.Channel.BasicPublishAsync(probe.Topology.Dead, "worker", mandatory: true, properties, body);
    }

    private protected static async Task<FaceEmbed> DeskAsync(BrokerProbe probe)
    {
        var desk = FaceEmbed.Start(["dead-letters", "web", .. probe.Settings]);
        await desk.SaidAsync("/?token=");
        return desk;
    }

    private protected static Uri Link(FaceEmbed desk) => new(desk.Output.Trim());

    private protected static async Task ClickAsync(Browser browser, string selector, string text)
    {
        var one = $"[...document.querySelectorAll('{selector}')].find(b => b.textContent.startsWith({JsonSerializer.Serialize(text)}))";
        await browser.UntilAsync($"!!{one} && !document.getElementById('again').disabled");
        await browser.EvaluateAsync($"{one}.click()");
    }
}

/// <summary>Once, and here: page and door. What the broker is asked for is what the desk on the command line asks for (OperatorTests).</summary>
[Collection(AroundRabbitMq4.Name)]
public sealed class DeskOnRabbitMq4Tests(ContainerBroker broker) : DeskTests(broker)
{
    private const string Strange = "<img src=x onerror=\"window.strange=1\">";
    private const string Svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>window.strange=1</script></svg>";

    [Fact]
    public async Task A_person_finds_looks_at_replays_and_discards_dead_letters_in_a_browser()
    {
        Broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        var photo = await File.ReadAllBytesAsync(TestData.GraceHopper);
        await BuryAsync(probe, "photo-1", "attempts_exhausted", "Attempt 6 of 6, source_unavailable: the host is away.", photo);
        await BuryAsync(probe, Strange, "<b>odd</b>", $"{Strange}\u202Egnp", Encoding.UTF8.GetBytes(Svg), "image/svg+xml");
        await BuryAsync(probe, "photo-2", "malformed", "The detail '9' is unknown; it can be 1, 2, 3 or 4.", photo, headers: new() { ["detail"] = 9 });
        await BuryAsync(probe, "photo-3", "malformed", "The body is empty.", []);
        await using var desk = await DeskAsync(probe);
        await using var browser = await Browser.OpenAsync();
        await browser.SizeAsync(1200, 800, phone: false);

        await browser.GoAsync(Link(desk).AbsoluteUri);

        await browser.UntilAsync("document.getElementById('state')?.textContent === '4 dead letters.' && document.querySelectorAll('#letters li').length === 4 && location.search === ''");
        await browser.UntilAsync("document.getElementById('reasons').innerText.split('\\n').map(t => t.trim()).join() === 'all 4,<b>odd</b> 1,attempts_exhausted 1,malformed 2'");
        // while it looks, no chip says more than the rows below it hold
        await browser.EvaluateAsync("window.fetch = (real => async (...a) => { await new Promise(r => setTimeout(r, 700)); return real(...a); })(window.fetch), document.getElementById('again').click(), [...document.querySelectorAll('#reasons button')].find(b => b.textContent.startsWith('malformed')).click()");
        await browser.UntilAsync("!document.getElementById('again').disabled");
        Assert.Equal("True", await browser.EvaluateAsync("(rows => document.querySelector('#reasons [aria-pressed=true]').textContent.endsWith(` ${rows}`) && document.getElementById('none').hidden)(document.querySelectorAll('#letters li').length)"));
        await ClickAsync(browser, "#reasons button", "malformed");
        await browser.UntilAsync("[...document.querySelectorAll('#letters b')].map(b => b.textContent).join() === 'photo-3,photo-2'");
        await ClickAsync(browser, "#reasons button", "all");
        await browser.UntilAsync("document.querySelectorAll('#letters li').length === 4");

        // one letter with its picture and its error; also of a job that is wrong in what it says beside the picture
        foreach (var (id, error) in new[] { ("photo-2", "The detail '9' is unknown"), ("photo-1", "the host is away.") })
        {
            await ClickAsync(browser, "#letters button", id);
            await browser.UntilAsync($"document.querySelector('#letter h2')?.textContent === '{id}' && document.querySelector('#letter img')?.naturalWidth > 100 && document.querySelector('#letter table').innerText.includes(\"{error}\")");
            Assert.StartsWith("data:image/jpeg;base64,/9j/", await browser.EvaluateAsync("document.querySelector('#letter img').src"), StringComparison.Ordinal);
        }

        await KeepAsync("desk.png", await browser.ScreenshotAsync());
        await browser.SizeAsync(390, 844, phone: true);
        Assert.Equal("True", await browser.EvaluateAsync("document.documentElement.scrollWidth <= innerWidth && innerWidth === 390 && getComputedStyle(document.getElementById('list')).display === 'none'"));
        await KeepAsync("desk-phone.png", await browser.ScreenshotAsync());
        await browser.EvaluateAsync("document.getElementById('back').click()");
        Assert.Equal("True", await browser.EvaluateAsync("document.documentElement.scrollWidth <= innerWidth && getComputedStyle(document.getElementById('list')).display !== 'none'"));
        Assert.Equal("True", await browser.EvaluateAsync("[...document.querySelectorAll('#letters .top .bad')].every(e => e.getBoundingClientRect().height < 30)")); // no reason is broken within

        // what others wrote is text, and their SVG is no picture
        await ClickAsync(browser, "#letters button", Strange);
        await browser.UntilAsync("document.querySelector('#letter p')?.textContent.includes('The picture is SVG')");
        Assert.Equal("True", await browser.EvaluateAsync("window.strange === undefined && !document.querySelector('#letter img, #letters img') && ![...document.querySelectorAll('b')].some(b => b.textContent === 'odd') && !document.body.innerText.includes('\\u202e')"));

        await browser.SizeAsync(1200, 800, phone: false);
        await ClickAsync(browser, "#letters button", "photo-1");
        await browser.UntilAsync("document.querySelector('#letter h2')?.textContent === 'photo-1'");
        await ClickAsync(browser, "#letter button", "Replay");
        await browser.UntilAsync("document.getElementById('state').textContent === '1 replayed. 3 dead letters.' && document.getElementById('letter').hidden");
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result == 1 ? probe : null, "the replayed job");
        var job = (await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true))!;
        Assert.Equal(("photo-1", 1L), (job.BasicProperties.MessageId, Convert.ToInt64(job.BasicProperties.Headers!["fw-replays"], System.Globalization.CultureInfo.InvariantCulture)));
        Assert.Equal(photo, job.Body.ToArray());

        await ClickAsync(browser, "#reasons button", "malformed");
        await browser.UntilAsync("document.querySelectorAll('#letters li').length === 2");
        await browser.EvaluateAsync("document.getElementById('all').click(), document.getElementById('discard').click()");
        await browser.UntilAsync("document.getElementById('sure').open && document.getElementById('question').textContent === 'Discard 2 dead letters? That is for good.'");
        await browser.EvaluateAsync("document.getElementById('no').click()");
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 3 ? probe : null, "all three, back from the last look");
        await browser.EvaluateAsync("document.getElementById('discard').click(), document.getElementById('yes').click()");
        await browser.UntilAsync("document.getElementById('state').textContent === '2 discarded. 1 dead letter.' && document.querySelectorAll('#letters li').length === 1"); // the filter had nothing left to show
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 1 ? probe : null, "the one that is left");
        Assert.Equal("", await browser.EvaluateAsync($"performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin) && !n.startsWith('data:image/jpeg')).join(' ')"));

        Assert.Equal(130, await desk.InterruptAsync());
        Assert.EndsWith("face-embed: interrupted.", desk.Errors, StringComparison.Ordinal);
        await browser.EvaluateAsync("document.getElementById('again').click()");
        await browser.UntilAsync("document.getElementById('state').textContent.startsWith('The desk does not answer: it has ended.')");
    }

    [Fact]
    public async Task Nobody_gets_in_without_the_link_and_no_other_site_acts_through_who_is()
    {
        Broker.Require();
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "malformed", "The body is empty.", []);
        await BuryAsync(probe, "photo-1", "expired", "Another picture of the same id.", [1]);
        await BuryAsync(probe, "drawing", "unsupported", "The picture is SVG", Encoding.UTF8.GetBytes(Svg), "image/svg+xml");
        await BuryAsync(probe, "iphone", "attempts_exhausted", "An original.", await File.ReadAllBytesAsync(Path.Combine(TestData.Repository, "tests/heic/plain.heic")), "image/heic");
        await BuryAsync(probe, "notes", "unknown_mode", "The mode 'q' is unknown.", [1, 2, 3], headers: new() { ["mode"] = "q" });
        await using var desk = await DeskAsync(probe);
        var link = Link(desk);
        Assert.Equal("127.0.0.1", link.Host);
        var origin = link.GetLeftPart(UriPartial.Authority);
        using var http = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false });

        // without the link, with a wrong one, and under a name of someone else's that leads here
        foreach (var path in new[] { "/", "/?token=", $"/?token={new string('0', 32)}", "/letters.json", "/letter.json?key=photo-1" })
        {
            var (status, text, _) = await SendAsync(HttpMethod.Get, path);
            Assert.Equal(HttpStatusCode.Forbidden, status);
            Assert.DoesNotContain("photo-1", text, StringComparison.Ordinal);
        }

        Assert.Equal(HttpStatusCode.MisdirectedRequest, (await SendAsync(HttpMethod.Get, link.PathAndQuery, host: "evil.example")).Status);

        // once, and for one browser
        var (entered, _, headers) = await SendAsync(HttpMethod.Get, link.PathAndQuery);
        Assert.Equal((HttpStatusCode.SeeOther, "/"), (entered, headers["Location"]));
        Assert.Matches("^face-embed-desk-[0-9]+=[0-9a-f]{64}; path=/; samesite=strict; httponly$", headers["Set-Cookie"]);
        var cookie = headers["Set-Cookie"].Split(';')[0];
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(HttpMethod.Get, link.PathAndQuery)).Status);
        Assert.Equal(HttpStatusCode.SeeOther, (await SendAsync(HttpMethod.Get, link.PathAndQuery, cookie)).Status); // whoever is in may press reload
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(HttpMethod.Get, "/letters.json", cookie[..^1] + "x")).Status);
        Assert.Equal(HttpStatusCode.MisdirectedRequest, (await SendAsync(HttpMethod.Get, "/letters.json", cookie, host: "evil.example")).Status);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, "/letters.json", cookie, host: $"localhost:{link.Port}")).Status);

        var (_, page, pageHeaders) = await SendAsync(HttpMethod.Get, "/", cookie);
        Assert.Contains("<h1>Dead letters</h1>", page, StringComparison.Ordinal);
        Assert.Matches("^default-src 'none'; style-src 'sha256-[^ ]+'; script-src 'sha256-[^ ]+'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$", pageHeaders["Content-Security-Policy"]);
        var (_, listed, listHeaders) = await SendAsync(HttpMethod.Get, "/letters.json", cookie);
        Assert.Equal(("nosniff", "no-store", "same-origin"), (listHeaders["X-Content-Type-Options"], listHeaders["Cache-Control"], listHeaders["Cross-Origin-Resource-Policy"]));
        Assert.DoesNotContain(listHeaders.Keys, name => name.StartsWith("Access-Control", StringComparison.OrdinalIgnoreCase));
        var proof = JsonElement.Parse(listed).GetProperty("proof").GetString()!;

        var letters = JsonElement.Parse(listed).GetProperty("letters").EnumerateArray().ToArray();
        async Task<JsonElement> ShownAsync(string reason) => JsonElement.Parse((await SendAsync(HttpMethod.Get, $"/letter.json?key={Key(reason)}", cookie)).Text);
        async Task<string?> WhyNoneAsync(string reason) => (await ShownAsync(reason)).GetProperty("no_picture").GetString();
        string Key(string reason) => letters.Single(l => l.GetProperty("reason").GetString() == reason).GetProperty("key").GetString()!;
        var one = $$"""{"keys":["{{Key("malformed")}}"]}""";

        var drawing = await ShownAsync("unsupported");
        Assert.Equal(JsonValueKind.Null, drawing.GetProperty("picture").ValueKind);
        Assert.Contains("SVG", drawing.GetProperty("no_picture").GetString(), StringComparison.Ordinal);
        Assert.Equal($"The picture is HEIC, which ImageSharp does not decode. Save it to look at it elsewhere: face-embed dead-letters show {Key("attempts_exhausted")[..8]} --save-image FILE", await WhyNoneAsync("attempts_exhausted"));
        Assert.Equal("The body is not a picture of any known format.", await WhyNoneAsync("unknown_mode"));
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(HttpMethod.Get, $"/letter.json?key={Key("unsupported")[..8]}", cookie)).Status); // a beginning is not enough here

        // forms and scripts of other sites, whose browser sends the cookie along: a port beside this one counts as the same site
        foreach (var (from, shown) in new[] { (null, proof), ("null", proof), ("http://evil.example", proof), ($"http://127.0.0.1:{link.Port + 1}", proof), (origin, null), (origin, ""), (origin, proof[..^1] + "x") })
        {
            Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync("/discard", from, shown, one)).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync("/replay", from, shown, one)).Status);
        }

        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(HttpMethod.Get, "/discard?ids=photo-1", cookie)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync("/discard", origin, proof, "ids=photo-1")).Status);
        Assert.Equal("""{"count":0,"error":null}""", (await PostAsync("/discard", origin, proof, "{}")).Text);

        Assert.Equal(0u, await probe.ReadyAsync(probe.Topology.Jobs));

        // that one, and no other of its id
        Assert.Equal("""{"count":1,"error":null}""", (await PostAsync("/discard", origin, proof, one)).Text);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 4 ? probe : null, "one less");
        Assert.Contains("Another picture of the same id.", (await SendAsync(HttpMethod.Get, "/letters.json", cookie)).Text, StringComparison.Ordinal);

        // a desk beside this one wants a port of its own
        var (code, output, errors) = await FaceEmbed.RunAsync(["dead-letters", "web", "--port", $"{link.Port}", .. probe.Settings]);
        Assert.Equal((64, ""), (code, output));
        Assert.Contains($"The desk cannot listen on port {link.Port}: ", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        Assert.Equal(143, await desk.TerminateAsync());

        Task<(HttpStatusCode Status, string Text, Dictionary<string, string> Headers)> PostAsync(string path, string? from, string? shown, string body) =>
            SendAsync(HttpMethod.Post, path, cookie, from: from, proof: shown, body: body);

        async Task<(HttpStatusCode Status, string Text, Dictionary<string, string> Headers)> SendAsync(HttpMethod method, string path, string? cookie = null, string? host = null, string? from = null, string? proof = null, string? body = null)
        {
            using var request = new HttpRequestMessage(method, origin + path);
            request.Headers.Host = host;
            foreach (var (name, value) in new[] { ("Cookie", cookie), ("Origin", from), ("X-Desk-Proof", proof) }.Where(h => h.Item2 is not null))
            {
                request.Headers.TryAddWithoutValidation(name, value);
            }

            request.Content = body is null ? null : new StringContent(body, Encoding.UTF8, "text/plain"); // as a form may send it
            using var answer = await http.SendAsync(request);
            return (answer.StatusCode, await answer.Content.ReadAsStringAsync(), answer.Headers.Concat(answer.Content.Headers).ToDictionary(h => h.Key, h => string.Join(", ", h.Value)));
        }
    }

    [Fact]
    public async Task Letters_of_one_id_are_told_apart_by_their_keys()
    {
        Broker.Require();
        Assert.SkipWhen(Browser.Missing() is not null, Browser.Missing() ?? "");
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "malformed", "The body is empty.", []);
        await BuryAsync(probe, "photo-1", "expired", "Another picture of the same id.", [1]);
        await BuryAsync(probe, "photo-2", "expired", "Another id.", [2]);
        await using var desk = await DeskAsync(probe);
        await using var browser = await Browser.OpenAsync();
        await browser.GoAsync(Link(desk).AbsoluteUri);
        await browser.UntilAsync("document.getElementById('state')?.textContent === '3 dead letters.'");

        await browser.UntilAsync("[...document.querySelectorAll('#letters .top')].map(t => /key [0-9a-f]{8}/.test(t.textContent)).join() === 'false,true,true'");
        await browser.EvaluateAsync("[...document.querySelectorAll('#letters button')].find(b => b.textContent.includes('Another picture')).click()");
        await browser.UntilAsync("/^Several dead letters have this id; this one's key is [0-9a-f]{8}\\.$/.test(document.querySelector('#letter p')?.textContent)");
        await ClickAsync(browser, "#letter button", "Discard");
        await browser.UntilAsync("/^Discard the dead letter photo-1 of key [0-9a-f]{8}\\? That is for good\\.$/.test(document.getElementById('question').textContent)");
        await browser.EvaluateAsync("document.getElementById('yes').click()");
        await browser.UntilAsync("document.getElementById('state').textContent === '1 discarded. 2 dead letters.' && [...document.querySelectorAll('#letters .why')].at(-1).textContent === 'The body is empty.' && !document.getElementById('letters').textContent.includes('key ')");
        Assert.Equal(130, await desk.InterruptAsync());
    }

    /// <summary>To be looked at, where FACE_EMBED_SCREENSHOTS names a folder.</summary>
    private static async Task KeepAsync(string name, byte[] png)
    {
        if (Environment.GetEnvironmentVariable("FACE_EMBED_SCREENSHOTS") is { Length: > 0 } folder)
        {
            await File.WriteAllBytesAsync(Path.Combine(folder, name), png);
        }
    }
}
