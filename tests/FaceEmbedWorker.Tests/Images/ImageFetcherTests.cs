using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Tests.EndToEnd;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Images;

public sealed class ImageFetcherTests : IDisposable
{
    private const string Loopback = "127.0.0.0/8";
    private readonly string root = Directory.CreateTempSubdirectory("face-embed-root-").FullName;
    private readonly List<IDisposable> used = [];

    /// <summary>
    /// Where a job may try to lead a worker that may fetch from any host; each ends as source_denied before a byte is asked for.
    /// </summary>
    public static TheoryData<string> Tricks => [.. """
        https://127.0.0.1/ https://127.1/ https://127.0.1/ https://2130706433/ https://0x7f000001/ https://0x7f.0.0.1/ https://017700000001/ https://0177.0.0.1/ https://127.255.255.254/
        https://0.0.0.0/ https://0/ https://0.1.2.3/ https://10.0.0.1/ https://10.255.255.255/ https://100.64.0.1/ https://100.127.255.254/ https://169.254.169.254/latest/meta-data/
        https://0xa9fea9fe/ https://2852039166/ https://169.254.170.2/v2/credentials https://172.16.0.1/ https://172.31.255.255/ https://192.0.0.1/ https://192.0.0.192/ https://192.0.2.1/ https://192.88.99.1/
        https://192.168.0.1/ https://192.168.255.255/ https://198.18.0.1/ https://198.19.255.255/ https://198.51.100.7/ https://203.0.113.7/ https://224.0.0.1/ https://239.255.255.250/
        https://240.0.0.1/ https://255.255.255.255/ https://[::]/ https://[::1]/ https://[0:0:0:0:0:0:0:1]/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/ https://[::ffff:169.254.169.254]/
        https://[::ffff:10.0.0.1]/ https://[::127.0.0.1]/ https://[64:ff9b::7f00:1]/ https://[64:ff9b::a9fe:a9fe]/ https://[64:ff9b:1::1]/ https://[100::1]/ https://[2001::1]/ https://[2001:db8::1]/ https://[2002:7f00:1::]/
        https://[2002:a9fe:a9fe::1]/ https://[fc00::1]/ https://[fd00:ec2::254]/ https://[fe80::1]/ https://[fe80::1%25lo]/ https://[fec0::1]/ https://[ff02::1]/ https://[3fff::1]/ https://[5f00::1]/
        https://localhost/ https://LOCALHOST/ https://localhost./ https://①②⑦.0.0.1/ https://127。0。0。1/
        http://photos.example.com/ http://127.0.0.1/ https://photos.example.com:22/ https://user@photos.example.com/ https://photos.example.com@127.0.0.1/ https://photos.example.com%00@127.0.0.1/
        file:///etc/passwd ftp://127.0.0.1/a.jpg gopher://127.0.0.1/ data:image/png;base64,AAAA dict://127.0.0.1:11211/ javascript:alert(1) //127.0.0.1/a.jpg /etc/passwd https:127.0.0.1 https:///etc/passwd
        """.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)];

    [Theory]
    [MemberData(nameof(Tricks))]
    public async Task A_url_that_leads_inside_is_denied(string url)
    {
        var e = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(url), hosts: "*"));
        Assert.Equal(ImageFault.SourceDenied, e.Fault);
    }

    [Theory]
    [InlineData("", "https://photos.example.com/a.jpg", "This worker fetches no URLs. To allow it: Sources:Hosts=photos.example.com")]
    [InlineData("a.example.com,*.b.org", "https://photos.example.com:8443/a.jpg", "does not fetch from https://photos.example.com:8443. To allow it: Sources:Hosts=a.example.com,*.b.org,photos.example.com:8443")]
    [InlineData("a.example.com", "http://photos.example.com/a.jpg", "To allow it: Sources:Hosts=a.example.com,http://photos.example.com:80")]
    [InlineData("a.example.com", "https://photos.example.com/", "This worker does not fetch from https://photos.example.com:443. To allow it: Sources:Hosts=a.example.com,photos.example.com")]
    [InlineData("*", "https://user@photos.example.com/", "This worker does not fetch from https://photos.example.com:443. URLs with a user in them are never fetched.")]
    [InlineData("*", "https://127\u30020\u30020\u30021/", "This worker does not fetch from https://127.0.0.1:443. Only http and https, and hosts by their plain names, can be.")]
    [InlineData("", "ftp://photos.example.com/", "The 'image.url' begins neither with https:// nor with http://. Only http and https, and hosts by their plain names, can be.")]
    [InlineData("*", "nowhere", "The 'image.url' is no absolute URL.")]
    [InlineData("*", "https://172.16.2.3/", "To allow it: Sources:PrivateNetworks=172.16.2.3/32")]
    [InlineData("*", "https://172.31.2.3/", "To allow it: Sources:PrivateNetworks=172.31.2.3/32")]
    [InlineData("*", "https://192.168.2.3/", "To allow it: Sources:PrivateNetworks=192.168.2.3/32")]
    [InlineData("*", "https://192.0.2.3/", "Sources:PrivateNetworks lists networks that may be reached.")]
    [InlineData("*", "https://127.168.2.3/", "Sources:PrivateNetworks lists networks that may be reached.")]
    [InlineData("*", "ftp://photos.example.com/", "Only http and https, and hosts by their plain names, can be.")]
    [InlineData("*", "https://10.1.2.3/", "'10.1.2.3' is at 10.1.2.3, which is not on the public internet. To allow it: Sources:PrivateNetworks=10.1.2.3/32")]
    [InlineData("*", "https://169.254.169.254/", "Sources:PrivateNetworks lists networks that may be reached.")]
    public async Task A_denial_gives_the_setting_that_would_allow_it_whole(string hosts, string url, string told)
    {
        var e = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(url), hosts));
        Assert.EndsWith(told, e.Message, StringComparison.Ordinal);
        if (e.Message.Split("Sources:Hosts=") is [_, var setting])
        {
            Assert.True(setting.Split(',').Select(AllowedHost.Parse).Any(h => h!.Allows(new Uri(url))), setting);
        }
    }

    [Fact]
    public void The_table_is_long_enough_and_public_addresses_are_not_refused()
    {
        Assert.InRange(Tricks.Count, 60, 200);
        Assert.All(new[] { "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8" }, a => Assert.True(PublicAddress.MayReach(IPAddress.Parse(a), []), a));
        Assert.True(PublicAddress.MayReach(IPAddress.Parse("10.1.2.3"), [IPNetwork.Parse("10.1.0.0/16")]));
        Assert.False(PublicAddress.MayReach(IPAddress.Parse("10.2.2.3"), [IPNetwork.Parse("10.1.0.0/16")]));
    }

    [Theory]
    [InlineData("photos.example.com", "https://photos.example.com/a.jpg", true)]
    [InlineData("photos.example.com", "https://PHOTOS.example.com./a.jpg", true)]
    [InlineData("photos.example.com", "https://evil-photos.example.com/", false)]
    [InlineData("photos.example.com", "https://photos.example.com.evil.org/", false)]
    [InlineData("photos.example.com", "http://photos.example.com/", false)]
    [InlineData("photos.example.com", "https://photos.example.com:8443/", false)]
    [InlineData("photos.example.com:8443", "https://photos.example.com:8443/", true)]
    [InlineData("*.example.com", "https://a.b.example.com/", true)]
    [InlineData("*.example.com", "https://example.com/", false)]
    [InlineData("*.example.com", "https://badexample.com/", false)]
    [InlineData("http://photos.local:8080", "http://photos.local:8080/a", true)]
    [InlineData("*", "https://anything.example/", true)]
    [InlineData("*", "http://anything.example/", false)]
    [InlineData("bücher.example", "https://xn--bcher-kva.example/", true)]
    public void A_host_is_allowed_by_name_scheme_and_port(string entry, string url, bool allowed) => Assert.Equal(allowed, AllowedHost.Parse(entry)!.Allows(new Uri(url)));

    [Theory]
    [InlineData("a b")]
    [InlineData("ftp://x")]
    [InlineData("https://x/path")]
    [InlineData("user@x")]
    [InlineData("*.*.x y")]
    public void A_wrong_host_is_no_entry(string entry) => Assert.Null(AllowedHost.Parse(entry));

    [Fact]
    public async Task A_url_is_fetched_with_its_redirects_and_checked()
    {
        byte[] picture = [1, 2, 3, 4];
        using var server = new Server(path => path switch
        {
            "/a.jpg" => Server.Ok(picture),
            "/moved" => Server.To("/a.jpg"),
            "/far1" => Server.To("/far2"),
            "/far2" => Server.To("/far3"),
            "/far3" => Server.To("/a.jpg"),
            "/nowhere" => Server.Status("302 Found"),
            _ when path.StartsWith("/as", StringComparison.Ordinal) => Server.Status($"{path[3..]} There\r\nLocation: /a.jpg"),
            "/round" => Server.To("/round"),
            "/inside" => Server.To("https://169.254.169.254/latest/"),
            "/other" => Server.To("http://127.0.0.1:1/"),
            "/gone" => Server.Status("404 Not Found"),
            "/forever" => Server.Status("410 Gone"),
            "/forbidden" => Server.Status("403 Forbidden"),
            _ => Server.Status("400 Bad Request"),
        });
        Assert.Equal(picture, await FetchAsync(server, "/a.jpg"));
        Assert.Equal(picture, await FetchAsync(server, "/moved"));
        var round = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/round"));
        Assert.Equal((ImageFault.SourceDenied, $"{server.Url("/round")} redirects more than 3 times."), (round.Fault, round.Message));
        Assert.Equal(4, server.Requests.Count(r => r.StartsWith("GET /round ", StringComparison.Ordinal)));
        Assert.Equal(picture, await FetchAsync(server, "/far1")); // three redirects
        foreach (var status in new[] { 301, 302, 303, 307, 308 })
        {
            Assert.Equal(picture, await FetchAsync(server, $"/as{status}"));
        }

        Assert.Equal($"{server.Url("/as300")} refuses the picture (status 300).", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/as300"))).Message);
        Assert.Equal($"{server.Url("/as304")} refuses the picture (status 304).", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/as304"))).Message);
        Assert.Equal($"{server.Url("/nowhere")} refuses the picture (status 302).", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/nowhere"))).Message);
        Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/inside"))).Fault);
        Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/other"))).Fault);
        var gone = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/gone?x=1"));
        Assert.Equal((ImageFault.SourceMissing, $"There is nothing at {server.Url("/gone")} (status 404)."), (gone.Fault, gone.Message));
        Assert.Equal($"There is nothing at {server.Url("/forever")} (status 410).", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/forever"))).Message);
        var denied = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/forbidden?signature=s3cret"));
        Assert.Equal(ImageFault.SourceDenied, denied.Fault);
        Assert.DoesNotContain("s3cret", denied.Message, StringComparison.Ordinal);
        Assert.All(server.Requests, r => Assert.DoesNotContain("cookie", r, StringComparison.OrdinalIgnoreCase));

        // the same server without leave
        Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(server.Url("/a.jpg"))))).Fault);
        Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(server.Url("/a.jpg")), hosts: server.Url("")))).Fault);

        var sum = Convert.ToHexStringLower(SHA256.HashData(picture));
        Assert.Equal(picture, await FetchAsync(new ImageSource.Url(server.Url("/a.jpg"), sum), hosts: server.Url(""), networks: Loopback));
        Assert.Equal(ImageFault.SourceMismatch, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(server.Url("/a.jpg"), new string('0', 64)), hosts: server.Url(""), networks: Loopback))).Fault);
    }

    /// <summary>
    /// The name server says an allowed address first and an inner one from then on: what was checked is what is connected to, and each
    /// connection is checked.
    /// </summary>
    [Fact]
    public async Task A_name_that_is_bound_again_leads_nowhere_else()
    {
        using var inner = new Server(_ => Server.Ok([6, 6, 6]));
        using var allowed = new Server(_ => Server.Ok([1]), IPAddress.Parse("127.0.0.2"), inner.Port);
        var asked = 0;
        using var fetcher = new ImageFetcher(Options.Create(new SourceOptions { Hosts = $"http://rebinding.example:{inner.Port}", PrivateNetworks = "127.0.0.2/32", TimeoutSeconds = 5 }), Options.Create(new ImageOptions()), TimeProvider.System,
            (_, _) => Task.FromResult<IPAddress[]>([IPAddress.Parse(asked++ == 0 ? "127.0.0.2" : "127.0.0.1")]));
        var source = new ImageSource.Url($"http://rebinding.example:{inner.Port}/a.jpg");

        Assert.Equal([1], await fetcher.FetchAsync(source, TestContext.Current.CancellationToken));
        Assert.Equal((1, 1), (asked, allowed.Requests.Count));
        Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => fetcher.FetchAsync(source, TestContext.Current.CancellationToken).AsTask())).Fault);
        Assert.Empty(inner.Requests);

        // several addresses, one of them inside: none is used
        using var mixed = new ImageFetcher(Options.Create(new SourceOptions { Hosts = $"http://rebinding.example:{inner.Port}", PrivateNetworks = "127.0.0.2/32" }), Options.Create(new ImageOptions()), TimeProvider.System,
            (_, _) => Task.FromResult<IPAddress[]>([IPAddress.Parse("127.0.0.2"), IPAddress.Loopback]));
        Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => mixed.FetchAsync(source, TestContext.Current.CancellationToken).AsTask())).Fault);
    }

    [Fact]
    public async Task A_name_of_an_inner_address_is_denied_at_connect_time()
    {
        using var server = new Server(_ => Server.Ok([1]));
        var e = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url($"http://localhost:{server.Port}/"), hosts: $"http://localhost:{server.Port}"));
        Assert.Equal(ImageFault.SourceDenied, e.Fault);
        Assert.Contains("not on the public internet", e.Message, StringComparison.Ordinal);
        Assert.Empty(server.Requests);
    }

    [Fact]
    public async Task What_the_world_does_wrong_is_tried_again_and_then_the_jobs_retry()
    {
        var calls = 0;
        using var server = new Server(path => path switch
        {
            "/flaky" => Interlocked.Increment(ref calls) < 3 ? Server.Status("503 Service Unavailable") : Server.Ok([7]),
            "/busy" => Server.Status("429 Too Many Requests"),
            "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc"u8.ToArray(),
            "/rubbish" => "no http at all"u8.ToArray(),
            "/slow" => Server.Status("408 Request Timeout"),
            "/early" => Server.Status("425 Too Early"),
            _ => Server.Status("500 Internal Server Error"),
        });
        Assert.Equal([7], await FetchAsync(server, "/flaky"));
        Assert.Equal(3, calls);
        foreach (var (path, told) in new[] { ("/busy", "/busy answers with status 429."), ("/short", "The picture cannot be fetched: The response ended"), ("/rubbish", "The picture cannot be fetched: "), ("/broken", "/broken answers with status 500."), ("/slow", "/slow answers with status 408."), ("/early", "/early answers with status 425.") })
        {
            var e = await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, path));
            Assert.Contains(told, e.Message, StringComparison.Ordinal);
            Assert.Equal("source_unavailable", Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(e)).Reason);
            Assert.Equal(3, server.Requests.Count(r => r.StartsWith($"GET {path} ", StringComparison.Ordinal)));
        }

        var nobody = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await Assert.ThrowsAsync<SourceException>(() => FetchAsync(new ImageSource.Url($"{nobody}/"), hosts: nobody, networks: Loopback));
    }

    [Fact]
    public async Task A_place_that_says_when_it_wants_to_be_asked_again_is_asked_then()
    {
        var (calls, start) = (0, DateTime.UtcNow);
        using var server = new Server(path => path switch
        {
            "/soon" => Interlocked.Increment(ref calls) < 2 ? Server.Status("429 Too Many Requests\r\nRetry-After: 1") : Server.Ok([7]),
            "/later" => Server.Status("429 Too Many Requests\r\nRetry-After: 90"),
            "/never" => Server.Status("429 Too Many Requests\r\nRetry-After: 9999999999"),
            "/date" => Server.Status($"503 Service Unavailable\r\nRetry-After: {start.AddMinutes(10):R}"),
            "/past" => Server.Status("503 Service Unavailable\r\nRetry-After: Thu, 01 Jan 2026 00:00:00 GMT"),
            _ => Server.Status("500 Internal Server Error\r\nRetry-After: 90"),
        });
        Assert.Equal([7], await FetchAsync(server, "/soon"));
        Assert.InRange(DateTime.UtcNow - start, TimeSpan.FromSeconds(0.99), TimeSpan.FromSeconds(60)); // a timer and a clock differ by a tick

        var later = await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, "/later"));
        Assert.Equal(TimeSpan.FromSeconds(90), Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(later)).After);
        Assert.EndsWith("/later answers with status 429, and wants to be asked again in 90 s.", later.Message, StringComparison.Ordinal);
        Assert.InRange((await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, "/date"))).RetryAfter!.Value, TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(10));
        Assert.Equal(TimeSpan.FromDays(1), (await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, "/never"))).RetryAfter);
        Assert.Equal((1, 1), (Asked("/later"), Asked("/date"))); // a queue is the place to wait that long
        Assert.Equal(TimeSpan.Zero, (await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, "/past"))).RetryAfter);
        Assert.Null((await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, "/broken"))).RetryAfter);
        Assert.Equal((3, 3), (Asked("/past"), Asked("/broken")));

        int Asked(string path) => server.Requests.Count(r => r.StartsWith($"GET {path} ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_host_is_asked_no_more_often_and_by_no_more_at_once_than_the_settings_say()
    {
        var (now, most) = (0, 0);
        using var server = new Server(_ =>
        {
            var at = Interlocked.Increment(ref now);
            most = Math.Max(most, at);
            Thread.Sleep(100);
            Interlocked.Decrement(ref now);
            return Server.Ok([1]);
        });
        await AllAsync(new SourceOptions { PerHost = 2 });
        Assert.Equal(2, most);

        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        await AllAsync(new SourceOptions { PerHostRate = 10 });
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(start), TimeSpan.FromSeconds(0.6), TimeSpan.FromSeconds(60)); // eight: seven tenths of a second

        async Task AllAsync(SourceOptions options)
        {
            (options.Hosts, options.PrivateNetworks, options.TimeoutSeconds) = (server.Url(""), Loopback, 30);
            using var fetcher = new ImageFetcher(Options.Create(options), Options.Create(new ImageOptions()), TimeProvider.System);
            await Task.WhenAll(Enumerable.Range(0, 8).Select(i => fetcher.FetchAsync(new ImageSource.Url(server.Url($"/{i}")), TestContext.Current.CancellationToken).AsTask()));
        }
    }

    /// <summary>What .NET takes for no URL, or finds out later: none is a fault of the world, after five of which a worker pauses.</summary>
    [Theory]
    [InlineData("//")]
    [InlineData("//?")]
    [InlineData("//:80")]
    [InlineData("//[")]
    [InlineData("//[::1")]
    [InlineData("//..")]
    [InlineData("//%")]
    [InlineData("//a:99999/")]
    [InlineData("//a..b/")]
    [InlineData("file:")]
    [InlineData("file:/etc/passwd")]
    [InlineData("data:,x")]
    [InlineData("http://xn--\u00e4/")]
    [InlineData("https://\u05d0a/")]
    [InlineData("https://\ud800/")]
    [InlineData("https://./")]
    [InlineData("http://10.1.2.3/")]
    public async Task A_url_that_is_none_is_denied_and_so_is_a_redirect_to_it(string url)
    {
        using var server = new Server(_ => System.Text.Encoding.Latin1.GetBytes($"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"));
        foreach (var any in new[] { "", ",*,http://*" })
        {
            var moved = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(server.Url("/")), hosts: server.Url("") + any, networks: Loopback));
            Assert.Equal(ImageFault.SourceDenied, moved.Fault);
            Assert.NotEqual("", moved.Message);
            var given = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Url(url), hosts: server.Url("") + any, networks: Loopback));
            Assert.Equal(ImageFault.SourceDenied, given.Fault);
            Assert.NotEqual("", given.Message);
        }
    }

    /// <summary>That it redirects says nothing of whether it has pictures.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_host_that_redirects_to_itself_and_fails_is_left_alone_too(bool otherwise)
    {
        var dotted = ""; // another spelling of the same
        using var server = new Server(path => path.StartsWith("/to", StringComparison.Ordinal) ? Server.To(dotted + path[3..]) : Server.Status("500 Broken"));
        dotted = otherwise ? server.Url("").Replace(".1:", ".1.:", StringComparison.Ordinal) : "";
        using var fetcher = new ImageFetcher(Options.Create(new SourceOptions { Hosts = server.Url(""), PrivateNetworks = Loopback }), Options.Create(new ImageOptions()), TimeProvider.System);
        var (asked, leftAlone) = (0, 0);
        for (var i = 0; i < 6; i++)
        {
            var failure = await Assert.ThrowsAsync<SourceException>(() => fetcher.FetchAsync(new ImageSource.Url(server.Url($"/to/{i}")), TestContext.Current.CancellationToken).AsTask());
            (asked, leftAlone) = (server.Requests.Count, leftAlone + (failure.Paused ? 1 : 0));
        }

        Assert.InRange(leftAlone, 3, 5);
        Assert.InRange(asked, 10, 24); // five tries of two requests; each second one more
    }

    /// <summary>It has no pictures of its own: that it leads elsewhere is all that it can answer.</summary>
    [Fact]
    public async Task A_host_that_redirects_elsewhere_is_well_once_it_does_so_again()
    {
        using var other = new Server(_ => Server.Ok([7]));
        var left = HostTurns.Failures;
        using var server = new Server(_ =>
        {
            if (Interlocked.Decrement(ref left) >= 0)
            {
                return Server.Status("500 Broken");
            }

            Thread.Sleep(300);
            return Server.To(other.Url("/picture"));
        });
        using var fetcher = new ImageFetcher(Options.Create(new SourceOptions { Hosts = $"{server.Url("")},{other.Url("")}", PrivateNetworks = Loopback }), Options.Create(new ImageOptions()), TimeProvider.System);
        await Assert.ThrowsAsync<SourceException>(Fetch);
        await Assert.ThrowsAsync<SourceException>(Fetch); // five tries
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Equal([7], await Fetch());
        Assert.All(await Task.WhenAll(Fetch(), Fetch(), Fetch()), picture => Assert.Equal([7], picture)); // not one at a time

        Task<byte[]> Fetch() => fetcher.FetchAsync(new ImageSource.Url(server.Url("/moved")), TestContext.Current.CancellationToken).AsTask();
    }

    /// <summary>A redirect asks a host like any other, and what is never asked waits for nobody.</summary>
    [Fact]
    public async Task Each_redirect_has_its_turn_and_what_is_refused_needs_none()
    {
        using var server = new Server(path => path == "/moved" ? Server.To("/here") : Server.Ok([1]));
        var time = new FakeTimeProvider();
        var options = new SourceOptions { Hosts = $"{server.Url("")},http://10.1.2.3", PrivateNetworks = Loopback, Buckets = "mine", PerHostRate = 0.1 };
        using var fetcher = new ImageFetcher(Options.Create(options), Options.Create(new ImageOptions()), time);
        var moved = Fetch(new ImageSource.Url(server.Url("/moved")));
        for (var i = 0; i < 3000 && server.Requests.IsEmpty; i++)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.Single(server.Requests);
        Assert.False(moved.IsCompleted);
        foreach (var refused in Enumerable.Repeat<ImageSource>(new ImageSource.Url("nonsense"), 3).Concat(Enumerable.Repeat<ImageSource>(new ImageSource.Url("https://elsewhere.example/1.jpg"), 3)).Concat(Enumerable.Repeat<ImageSource>(new ImageSource.S3("theirs", "1.jpg"), 3)).Concat(Enumerable.Repeat<ImageSource>(new ImageSource.Url("http://10.1.2.3/1.jpg"), 3)))
        {
            Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => Fetch(refused).WaitAsync(TimeSpan.FromSeconds(30)))).Fault);
        }

        time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal([1], await moved.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
        Assert.Equal(2, server.Requests.Count);

        Task<byte[]> Fetch(ImageSource source) => fetcher.FetchAsync(source, TestContext.Current.CancellationToken).AsTask();
    }

    /// <summary>A host that is away costs five tries, and then next to nothing; those that answer do not wait for it.</summary>
    [Fact]
    public async Task A_host_that_fails_again_and_again_is_left_alone_and_others_are_not()
    {
        using var away = new Server(path => path == "/missing" ? "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"u8.ToArray() : "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
        using var other = new Server(_ => Server.Ok([7]));
        var options = new SourceOptions { Hosts = $"{away.Url("")},{other.Url("")}", PrivateNetworks = Loopback };
        using var fetcher = new ImageFetcher(Options.Create(options), Options.Create(new ImageOptions()), TimeProvider.System);
        Assert.False((await Assert.ThrowsAsync<SourceException>(() => Fetch(away, "/1"))).Paused);
        Assert.Equal(ImageFault.SourceMissing, (await Assert.ThrowsAsync<ImageException>(() => Fetch(away, "/missing"))).Fault); // it answers
        Assert.False((await Assert.ThrowsAsync<SourceException>(() => Fetch(away, "/2"))).Paused);
        var asked = await Assert.ThrowsAsync<SourceException>(() => Fetch(away, "/3"));
        Assert.Equal((false, $"{away.Url("/3")} answers with status 500."), (asked.Paused, asked.Message)); // it was, if twice only
        var e = await UntilAsync(paused: true);
        Assert.Matches($@"^127\.0\.0\.1:\d+ is not asked now: [5-9] tries in a row failed, and the next is in [\d.]+ s\. The last: {away.Url("/")}[34] answers with status 500\.$", e.Message);
        Assert.Equal(("source_unavailable", null), Assert.IsType<JobOutcome.Retry>(JobOutcome.Of(e)) is var retry ? (retry.Reason, retry.After) : default);
        Assert.Equal([7], await Fetch(other, "/4"));

        var before = away.Requests.Count;
        Assert.Equal($"{away.Url("/4")} answers with status 500.", (await UntilAsync(paused: false)).Message);
        Assert.Equal(before + 1, away.Requests.Count); // once, and an attempt: where all wait for one host that is away for good, each job has its end

        async Task<SourceException> UntilAsync(bool paused)
        {
            var failure = await Assert.ThrowsAsync<SourceException>(() => Fetch(away, "/4"));
            for (var end = DateTime.UtcNow.AddSeconds(60); failure.Paused != paused; failure = await Assert.ThrowsAsync<SourceException>(() => Fetch(away, "/4")))
            {
                Assert.True(DateTime.UtcNow < end, failure.Message);
                await Task.Delay(10, TestContext.Current.CancellationToken);
            }

            return failure;
        }

        Task<byte[]> Fetch(Server server, string path) => fetcher.FetchAsync(new ImageSource.Url(server.Url(path)), TestContext.Current.CancellationToken).AsTask();
    }

    [Fact]
    public async Task Too_many_bytes_are_not_read_and_drips_end_in_time()
    {
        using var server = new Server(path => path switch
        {
            "/says" => "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"u8.ToArray(),
            "/most" => Server.Ok(new byte[1000]),
            "/just" => [.. "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"u8, .. new byte[1000]],
            "/long" => [.. "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"u8, .. new byte[2000]],
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\na"u8.ToArray(),
        })
        { Drips = "/drip" };
        var says = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/says"));
        Assert.Equal((ImageFault.TooLarge, $"{server.Url("/says")} has 100,000,000 bytes or more; 1,000 are allowed (Images:MaxBytes)."), (says.Fault, says.Message));
        var endless = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(server, "/long"));
        Assert.Equal(ImageFault.TooLarge, endless.Fault);
        Assert.EndsWith(" bytes or more; 1,000 are allowed (Images:MaxBytes).", endless.Message, StringComparison.Ordinal);
        Assert.Equal(1000, (await FetchAsync(server, "/most")).Length);
        Assert.Equal(1000, (await FetchAsync(server, "/just")).Length);
        var e = await Assert.ThrowsAsync<SourceException>(() => FetchAsync(server, "/drip"));
        Assert.Contains("Sources:TimeoutSeconds", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_stays_under_its_root()
    {
        var outside = Directory.CreateTempSubdirectory("face-embed-outside-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(root, "2026"));
            await File.WriteAllBytesAsync(Path.Combine(root, "2026", "a.jpg"), [5]);
            await File.WriteAllBytesAsync(Path.Combine(outside, "secret"), [6]);
            File.CreateSymbolicLink(Path.Combine(root, "link.jpg"), Path.Combine(outside, "secret"));
            Directory.CreateSymbolicLink(Path.Combine(root, "folder"), outside);
            File.CreateSymbolicLink(Path.Combine(root, "good.jpg"), Path.Combine(root, "2026", "a.jpg"));
            var sibling = Directory.CreateDirectory(root + "-sibling");
            await File.WriteAllBytesAsync(Path.Combine(sibling.FullName, "x"), [7]);
            used.Add(new Removal(sibling.FullName));

            Assert.Equal([5], await FetchAsync(new ImageSource.Path("2026/a.jpg"), roots: root));
            Assert.Equal([5], await FetchAsync(new ImageSource.Path("good.jpg"), roots: $"{outside}, {root}"));
            foreach (var name in new[] { "../x", "2026/../../x", $"../{Path.GetFileName(root)}-sibling/x", "/etc/passwd", "link.jpg", "folder/secret", "..\\x", "a\0.jpg", "2026/..", "folder/../../etc/passwd" })
            {
                Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path(name), roots: root))).Fault);
            }

            foreach (var (name, told) in new[] { ("link.jpg", "'link.jpg' leads out of its root by a link."), ("/etc/passwd", "The 'image.path' must be relative to a root, without '..'.") })
            {
                Assert.Equal(told, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path(name), roots: root))).Message);
            }

            var nowhere = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path("nowhere.jpg"), roots: root));
            Assert.Equal((ImageFault.SourceMissing, "There is no file 'nowhere.jpg' under any of Sources:Roots."), (nowhere.Fault, nowhere.Message));
            await File.WriteAllBytesAsync(Path.Combine(root, "large"), new byte[1001], TestContext.Current.CancellationToken);
            Assert.Equal("'large' has 1,001 bytes or more; 1,000 are allowed (Images:MaxBytes).", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path("large"), roots: root))).Message);
            using (var made = System.Diagnostics.Process.Start("mkfifo", Path.Combine(root, "pipe")))
            {
                await made.WaitForExitAsync(TestContext.Current.CancellationToken);
            }

            var pipe = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path("pipe"), roots: root));
            Assert.Equal((ImageFault.SourceDenied, "'pipe' cannot be a picture: it is a pipe (FIFO), and only regular files are read."), (pipe.Fault, pipe.Message));
            Assert.Equal("This worker reads no paths. To allow it: Sources:Roots=/the/folder/they/are/under", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path("a.jpg")))).Message);
            Assert.Equal(ImageFault.SourceMissing, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path("2026"), roots: root))).Fault);
            Assert.Equal(ImageFault.SourceDenied, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Path("2026/a.jpg")))).Fault);
        }
        finally
        {
            Directory.Delete(outside, recursive: true);
        }
    }

    [Fact]
    public async Task A_bucket_that_is_not_listed_is_denied()
    {
        var denied = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.S3("theirs", "a.jpg")));
        Assert.Equal((ImageFault.SourceDenied, "This worker reads no buckets. To allow it: Sources:Buckets=theirs"), (denied.Fault, denied.Message));
        using var fetcher = new ImageFetcher(Options.Create(new SourceOptions { Buckets = "mine" }), Options.Create(new ImageOptions()), TimeProvider.System);
        Assert.Equal("This worker does not read the bucket 'theirs'. To allow it: Sources:Buckets=mine,theirs",
            (await Assert.ThrowsAsync<ImageException>(() => fetcher.FetchAsync(new ImageSource.S3("theirs", "a.jpg"), TestContext.Current.CancellationToken).AsTask())).Message);
    }

    /// <summary>As a store of objects answers; a real one is in <c>ClientTests</c>.</summary>
    [Fact]
    public async Task A_bucket_is_read_and_listed_page_by_page()
    {
        var credentials = Path.Combine(root, "credentials");
        await File.WriteAllTextAsync(credentials, "[default]\naws_access_key_id=one\naws_secret_access_key=two\n", TestContext.Current.CancellationToken);
        Amazon.AWSConfigs.AWSProfilesLocation = credentials;
        Server? self = null;
        using var server = self = new Server(path => (path, self!.Requests.Last()) switch
        {
            ("/photos/2026/a.jpg", _) => Server.Ok([1, 2, 3]),
            ("/photos/gone", _) => Server.Status("404 Not Found"),
            ("/photos/secret", _) => Server.Status("403 Forbidden"),
            ("/photos/broken", _) => Server.Status("500 Broken"),
            ("/photos/none", _) => [],
            ("/photos/", var asked) when asked.Contains("continuation-token=two", StringComparison.Ordinal) => List("<IsTruncated>true</IsTruncated><NextContinuationToken>three</NextContinuationToken>"),
            ("/photos/", var asked) when asked.Contains("continuation-token=three", StringComparison.Ordinal) => List("<IsTruncated>false</IsTruncated><NextContinuationToken>four</NextContinuationToken><Contents><Key>2026/c.png</Key></Contents>"),
            ("/photos/", var asked) when asked.Contains("prefix=2026%2F", StringComparison.Ordinal) && !asked.Contains("continuation", StringComparison.Ordinal) =>
                List("<IsTruncated>true</IsTruncated><NextContinuationToken>two</NextContinuationToken><Contents><Key>2026/a.jpg</Key></Contents><Contents><Key>2026/notes.txt</Key></Contents><Contents><Key>2026/b.JPG</Key></Contents>"),
            _ => Server.Status("400 Bad Request"),
        });
        var sources = Options.Create(new SourceOptions { Buckets = "photos,locked", S3Endpoint = server.Url(""), S3Region = "eu-central-1", TimeoutSeconds = 5 });
        using var fetcher = new ImageFetcher(sources, Options.Create(new ImageOptions { MaxBytes = 3 }), TimeProvider.System);

        Assert.Equal([1, 2, 3], await Fetch("2026/a.jpg"));
        Assert.Contains("/eu-central-1/s3/", server.Requests.Single(), StringComparison.Ordinal);
        var gone = await Assert.ThrowsAsync<ImageException>(() => Fetch("gone"));
        Assert.Equal((ImageFault.SourceMissing, "There is nothing at s3://photos/gone (status 404)."), (gone.Fault, gone.Message));
        var secret = await Assert.ThrowsAsync<ImageException>(() => Fetch("secret"));
        Assert.Equal((ImageFault.SourceDenied, "s3://photos/secret refuses the picture (status 403)."), (secret.Fault, secret.Message));
        var before = server.Requests.Count;
        Assert.Equal("s3://photos/broken answers with status 500.", (await Assert.ThrowsAsync<SourceException>(() => Fetch("broken"))).Message);
        Assert.Equal(3, server.Requests.Count - before); // by our tries, and none of the library's
        Assert.Contains("cannot be ", (await Assert.ThrowsAsync<SourceException>(() => Fetch("none"))).Message, StringComparison.Ordinal);

        using var listing = new BucketListing(sources);
        Assert.Equal(["2026/a.jpg", "2026/b.JPG", "2026/c.png"], await Keys("photos"));
        var refused = await Assert.ThrowsAsync<SourceException>(() => Keys("locked"));
        Assert.StartsWith("it cannot be listed: ", refused.Message, StringComparison.Ordinal);
        Assert.EndsWith(". It needs s3:ListBucket, the address in Sources:S3Endpoint and the region in Sources:S3Region.", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("..", refused.Message, StringComparison.Ordinal);

        Task<byte[]> Fetch(string key) => fetcher.FetchAsync(new ImageSource.S3("photos", key), TestContext.Current.CancellationToken).AsTask();

        async Task<List<string>> Keys(string bucket)
        {
            var keys = new List<string>();
            await foreach (var key in listing.PicturesAsync(bucket, "2026/", TestContext.Current.CancellationToken))
            {
                keys.Add(key);
            }

            return keys;
        }

        static byte[] List(string what) => Server.Ok(Encoding.ASCII.GetBytes($"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{what}</ListBucketResult>"));
    }

    [Theory]
    [InlineData("Access Denied.", "Access Denied.")]
    [InlineData("Nothing there\nand more", "Nothing there")]
    [InlineData("No credentials found. Looked at:\nhere\nthere", "No credentials found.")]
    [InlineData("Looked at:\nhere", "Looked at:")]
    [InlineData("No. One. Looked\nhere", "No. One. Looked")]
    public void Of_the_librarys_words_the_first_sentences_are_told(string message, string told) => Assert.Equal(told, BucketListing.Words(new InvalidOperationException(message)));

    /// <summary>A file that its user has named may be anywhere.</summary>
    [Fact]
    public async Task A_file_of_ones_own_is_read_wherever_it_is()
    {
        var file = Path.Combine(root, "own.jpg");
        await File.WriteAllBytesAsync(file, [9], TestContext.Current.CancellationToken);
        Assert.Equal([9], await FetchAsync(new ImageSource.File(file)));
        var missing = await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.File(Path.Combine(root, "nothing"))));
        Assert.Equal((ImageFault.SourceMissing, "there is no such file or folder."), (missing.Fault, missing.Message));
        Assert.Equal(ImageFault.Unreadable, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.File(root)))).Fault);
        await File.WriteAllBytesAsync(file, new byte[1001], TestContext.Current.CancellationToken);
        Assert.Equal(ImageFault.TooLarge, (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.File(file)))).Fault);
        using var fetcher = new ImageFetcher(Options.Create(new SourceOptions()), Options.Create(new ImageOptions()), TimeProvider.System);
        await Assert.ThrowsAsync<OperationCanceledException>(() => fetcher.FetchAsync(new ImageSource.Data([1]), new CancellationToken(true)).AsTask());
        Assert.Equal([1], await FetchAsync(new ImageSource.Data([1], Convert.ToHexStringLower(SHA256.HashData([1])))));
        var other = new string('0', 64);
        Assert.Equal($"The picture has SHA-256 {Convert.ToHexStringLower(SHA256.HashData([1]))}, and the job says {other}.", (await Assert.ThrowsAsync<ImageException>(() => FetchAsync(new ImageSource.Data([1], other)))).Message);
    }

    public void Dispose()
    {
        used.ForEach(u => u.Dispose());
        Directory.Delete(root, recursive: true);
    }

    private Task<byte[]> FetchAsync(Server server, string path) => FetchAsync(new ImageSource.Url(server.Url(path)), hosts: server.Url(""), networks: Loopback);

    private Task<byte[]> FetchAsync(ImageSource source, string hosts = "", string networks = "", string roots = "")
    {
        var fetcher = new ImageFetcher(Options.Create(new SourceOptions { Hosts = hosts, PrivateNetworks = networks, Roots = roots, TimeoutSeconds = 1 }),
            Options.Create(new ImageOptions { MaxBytes = 1000 }), TimeProvider.System);
        used.Add(fetcher);
        return fetcher.FetchAsync(source, TestContext.Current.CancellationToken).AsTask();
    }

    private sealed class Removal(string folder) : IDisposable
    {
        public void Dispose() => Directory.Delete(folder, recursive: true);
    }

    /// <summary>Answers one request a connection with the bytes that it is told, HTTP or not.</summary>
    private sealed class Server : IDisposable
    {
        private readonly TcpListener listener;

        public Server(Func<string, byte[]> answer, IPAddress? address = null, int port = 0)
        {
            listener = new TcpListener(address ?? IPAddress.Loopback, port);
            listener.Start();
            _ = ServeAsync(answer);
        }

        public string? Drips { get; init; }

        public System.Collections.Concurrent.ConcurrentQueue<string> Requests { get; } = new();

        public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

        public string Url(string path) => $"http://127.0.0.1:{Port}{path}";

        public static byte[] Ok(byte[] body) => [.. Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Length: {body.Length}\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n"), .. body];

        public static byte[] To(string place) => Encoding.ASCII.GetBytes($"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n");

        public static byte[] Status(string status) => Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");

        public void Dispose() => listener.Dispose();

        private async Task ServeAsync(Func<string, byte[]> answer)
        {
            try
            {
                while (true)
                {
                    var client = await listener.AcceptTcpClientAsync();
                    _ = OneAsync(client, answer);
                }
            }
            catch (Exception e) when (e is ObjectDisposedException or SocketException)
            {
                // the test is over
            }
        }

        private async Task OneAsync(TcpClient client, Func<string, byte[]> answer)
        {
            using (client)
            {
                try
                {
                    var stream = client.GetStream();
                    var buffer = new byte[8192];
                    var request = Encoding.ASCII.GetString(buffer, 0, await stream.ReadAsync(buffer));
                    Requests.Enqueue(request);
                    var path = request.Split(' ')[1].Split('?')[0];
                    await stream.WriteAsync(await Task.Run(() => answer(path)));
                    for (var i = 0; path == Drips && i < 40; i++)
                    {
                        await Task.Delay(100);
                        await stream.WriteAsync("a"u8.ToArray());
                    }
                }
                catch (IOException)
                {
                    // whoever asked has gone
                }
            }
        }
    }
}
