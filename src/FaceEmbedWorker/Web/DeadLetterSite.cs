using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Web;

/// <summary>
/// The desk of dead letters for one browser of this machine: on loopback, behind a link that is good once. What dead letters hold is other
/// people's: a picture is shown as a JPEG that managed code has made here, and everything else as text.
/// </summary>
internal sealed class DeadLetterSite : IAsyncDisposable
{
    /// <summary>Carries the list's <c>proof</c>: another site may send a form here, and can neither read that nor set a header.</summary>
    private const string ProofHeader = "X-Desk-Proof";
    private const int MostListed = 500;
    private const int LongestSide = 1280;
    private const int MostPosted = 1024 * 1024;

    private static readonly TimeSpan BrokerTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan DecodeTime = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);
    private static readonly WebPage Page = new("desk.html");

    private readonly DeadLetterDesk desk;
    private readonly ImageDecoder decoder;
    private readonly SemaphoreSlim one = new(1, 1); // a look holds all letters, and a second one would find none
    private readonly CancellationTokenSource stopping = new();
    private readonly string session = Secret(32), proof = Secret(32);
    private string? token = Secret(16); // of 128 bits: the link goes on a line
    private WebApplication? server;

    public DeadLetterSite(DeadLetterDesk desk, ImageOptions images)
    {
        this.desk = desk;
        decoder = new ImageDecoder(Options.Create(images.Managed()), places: 2); // one of these pictures may be what crashed a worker's native decoder
    }

    /// <param name="port">0: any that is free.</param>
    /// <returns>The link that lets a browser in.</returns>
    /// <exception cref="IOException">The port is taken.</exception>
    public async Task<Uri> StartAsync(int port, CancellationToken cancel)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls($"http://127.0.0.1:{port}").ConfigureKestrel(kestrel => (kestrel.AddServerHeader, kestrel.Limits.MaxRequestBodySize) = (false, MostPosted));
        server = builder.Build();
        server.Run(AnswerAsync);
        await server.StartAsync(cancel);
        return new Uri($"{server.Urls.First()}/?token={token}");
    }

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        if (server is not null)
        {
            using var limit = new CancellationTokenSource(StopTime);
            await server.StopAsync(limit.Token);
            await server.DisposeAsync();
        }

        decoder.Dispose();
        stopping.Dispose();
        one.Dispose();
    }

    private Task AnswerAsync(HttpContext context)
    {
        var request = context.Request;
        if (request.Host.Host is not ("127.0.0.1" or "localhost"))
        {
            return TextAsync(context, StatusCodes.Status421MisdirectedRequest, "This desk answers to 127.0.0.1 and localhost only."); // a name of someone else's that leads here
        }

        if (request is { Method: "GET", Path.Value: "/" } && request.Query.TryGetValue("token", out var shown) && (Knows(context) || TryEnter(context, shown.ToString())))
        {
            (context.Response.StatusCode, context.Response.Headers.Location, context.Response.Headers.CacheControl) = (StatusCodes.Status303SeeOther, "/", "no-store");
            return Task.CompletedTask;
        }

        if (!Knows(context))
        {
            return TextAsync(context, StatusCodes.Status403Forbidden, "Open the link that face-embed dead-letters web has printed. It is good once; for another, start it again.");
        }

        return (request.Method, request.Path.Value) switch
        {
            ("GET", "/") => Page.WriteAsync(context),
            ("GET", "/letters.json") => OrTroubleAsync(context, ListAsync),
            ("GET", "/letter.json") => OrTroubleAsync(context, ShowAsync),
            ("POST", "/replay" or "/discard") when !IsFromPage(request) => TextAsync(context, StatusCodes.Status403Forbidden, "Only the desk's own page may do this."),
            ("POST", "/replay") => OrTroubleAsync(context, c => TakeAsync(c, replay: true)),
            ("POST", "/discard") => OrTroubleAsync(context, c => TakeAsync(c, replay: false)),
            _ => TextAsync(context, StatusCodes.Status404NotFound, "There is no such page."),
        };
    }

    /// <summary>Browsers keep cookies by host and not by port: each desk has its own name for it.</summary>
    private static string Cookie(HttpContext context) => $"face-embed-desk-{context.Connection.LocalPort}";

    private bool Knows(HttpContext context) => AreEqual(context.Request.Cookies[Cookie(context)], session);

    private bool TryEnter(HttpContext context, string shown)
    {
        var good = token;
        if (!AreEqual(shown, good) || Interlocked.CompareExchange(ref token, null, good) != good)
        {
            return false;
        }

        context.Response.Cookies.Append(Cookie(context), session, new CookieOptions { HttpOnly = true, SameSite = SameSiteMode.Strict, Path = "/" });
        return true;
    }

    private bool IsFromPage(HttpRequest request) => request.Headers.Origin == $"http://{request.Host.Value}" && AreEqual(request.Headers[ProofHeader], proof);

    private static bool AreEqual(string? shown, string? known) => shown is not null && known is not null && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(shown), Encoding.UTF8.GetBytes(known));

    private static string Secret(int bytes) => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(bytes));

    private async Task ListAsync(HttpContext context)
    {
        var reason = context.Request.Query["reason"].ToString();
        var list = await desk.ListAsync(reason.Length > 0 ? reason : null, MostListed, stopping.Token, BrokerTime);
        await JsonAsync(context, StatusCodes.Status200OK, new DeskList(proof, desk.Queue, list.Total, list.Reasons, list.Letters), DeskJson.Default.DeskList);
    }

    private async Task ShowAsync(HttpContext context)
    {
        var (key, found) = (context.Request.Query["key"].ToString(), ((DeadLetter Letter, JobMessage Message)?)null);
        await desk.ScanAsync((letter, message) =>
        {
            if (found is null && letter.Key == key)
            {
                found = (letter, message with { Body = message.Body.ToArray() });
            }

            return Task.FromResult(false);
        }, stopping.Token, BrokerTime);
        if (found is not { } one)
        {
            await JsonAsync(context, StatusCodes.Status404NotFound, new DeskTrouble("This dead letter has gone in the meantime."), DeskJson.Default.DeskTrouble);
            return;
        }

        var (jpeg, why) = Picture(one.Message);
        await JsonAsync(context, StatusCodes.Status200OK, new DeskLetter([.. one.Letter.Facts(one.Message).Select(f => (string[])[f.Name, f.Value])], jpeg, why), DeskJson.Default.DeskLetter);
    }

    /// <summary>The picture as a JPEG of our own in Base64, or why there is none to see.</summary>
    private (string? Jpeg, string? Why) Picture(JobMessage message)
    {
        try
        {
            if (DeadLetter.PictureOf(message) is not { } bytes)
            {
                return (null, "The job refers to its picture and does not carry it.");
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping.Token);
            limit.CancelAfter(DecodeTime);
            using var picture = decoder.Open(bytes).Decode(shrink: 1, limit.Token);
            var scale = Math.Min(1, LongestSide / (double)Math.Max(picture.Width, picture.Height));
            using var small = Pixels.Shrunk(picture, Math.Max(1, (int)(picture.Width * scale)), Math.Max(1, (int)(picture.Height * scale)));
            return (Convert.ToBase64String(PictureEncoder.Jpeg(small, 85)), null);
        }
        catch (ImageException e) when (e.Fault == ImageFault.Unsupported)
        {
            return (null, $"{e.Message.Split(';')[0].TrimEnd('.')}. Save it to look at it elsewhere: face-embed dead-letters show {DeadLetter.Of(message).Key[..8]} --save-image FILE"); // no setting changes what decodes here
        }
        catch (Exception e) when (e is MalformedJobException or ImageException)
        {
            return (null, e.Message);
        }
        catch (Exception e) when (e is not OperationCanceledException || !stopping.IsCancellationRequested)
        {
            return (null, e is OperationCanceledException ? $"Decoding it takes longer than {DecodeTime.TotalSeconds} s." : $"It cannot be decoded here: {e.GetType().Name}.");
        }
    }

    private async Task TakeAsync(HttpContext context, bool replay)
    {
        var asked = await JsonSerializer.DeserializeAsync(context.Request.Body, DeskJson.Default.DeskOrder, stopping.Token);
        var (wanted, count, error) = ((asked?.Keys ?? []).ToHashSet(StringComparer.Ordinal), 0, (string?)null);
        try
        {
            await desk.TakeAsync(letter => wanted.Remove(letter.Key), replay, _ => count++, stopping.Token, BrokerTime); // to its end, whether the browser waits or not
        }
        catch (Exception e) when (e is JobRefusedException or BrokerRefusedException)
        {
            error = e.Message;
        }

        await JsonAsync(context, StatusCodes.Status200OK, new DeskTaken(count, error), DeskJson.Default.DeskTaken);
    }

    /// <summary>One at a time; what is in the way is told in a sentence.</summary>
    private async Task OrTroubleAsync(HttpContext context, Func<HttpContext, Task> answer)
    {
        await one.WaitAsync(stopping.Token);
        try
        {
            await answer(context);
        }
        catch (Exception e) when (e is BrokerRefusedException or JsonException)
        {
            await JsonAsync(context, e is JsonException ? StatusCodes.Status400BadRequest : StatusCodes.Status503ServiceUnavailable, new DeskTrouble(e is JsonException fault ? JsonFault.Of(fault) : e.Message), DeskJson.Default.DeskTrouble);
        }
        finally
        {
            one.Release();
        }
    }

    private static Task JsonAsync<T>(HttpContext context, int status, T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        context.Response.StatusCode = status;
        return WebPage.WriteAsync(context, "application/json", JsonSerializer.SerializeToUtf8Bytes(value, type));
    }

    private static Task TextAsync(HttpContext context, int status, string text)
    {
        context.Response.StatusCode = status;
        return WebPage.WriteAsync(context, "text/plain; charset=utf-8", Encoding.UTF8.GetBytes($"{text}\n"));
    }
}

/// <param name="Proof">That a request comes from the page, which alone can read this.</param>
/// <param name="Letters">The first of those that were asked for.</param>
internal sealed record DeskList(string Proof, string Queue, int Total, IReadOnlyDictionary<string, int> Reasons, IReadOnlyList<DeadLetter> Letters);

/// <param name="Facts">Names and values, in their order.</param>
/// <param name="Picture">A JPEG in Base64.</param>
/// <param name="NoPicture">Why there is none.</param>
internal sealed record DeskLetter(IReadOnlyList<string[]> Facts, string? Picture, string? NoPicture);

internal sealed record DeskOrder(IReadOnlyList<string>? Keys);

/// <param name="Error">Why the rest is still there; null where nothing is.</param>
internal sealed record DeskTaken(int Count, string? Error);

internal sealed record DeskTrouble(string Error);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DeskList))]
[JsonSerializable(typeof(DeskLetter))]
[JsonSerializable(typeof(DeskOrder))]
[JsonSerializable(typeof(DeskTaken))]
[JsonSerializable(typeof(DeskTrouble))]
internal sealed partial class DeskJson : JsonSerializerContext;
