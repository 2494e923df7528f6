using System.Net;
using System.Net.Http.Headers;
using System.Security.Authentication;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// RabbitMQ's management API, with the login in its address, or else that of Broker:Uri, and the authorities and the certificate of section
/// Broker.
/// </summary>
internal sealed class ManagementApi : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private readonly HttpClient http;
    private readonly string user;
    private bool known;

    /// <param name="address">Such as http://host:15672/ or http://user:password@host:15672/.</param>
    public ManagementApi(Uri address, BrokerOptions options)
    {
        var factory = BrokerLogin.Factory(options, "management");
        VirtualHost = Uri.EscapeDataString(factory.VirtualHost);
        var login = address.UserInfo.Length > 0 ? Uri.UnescapeDataString(address.UserInfo) : $"{factory.UserName}:{factory.Password}";
        user = login.Split(':')[0];
        var tls = new SocketsHttpHandler { SslOptions = { RemoteCertificateValidationCallback = factory.Ssl.CertificateValidationCallback, ClientCertificates = factory.Ssl.Certs } };
        http = new HttpClient(tls) { BaseAddress = new UriBuilder(address) { UserName = "", Password = "" }.Uri, Timeout = Patience }; // what is named in errors has no password
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(login)));
    }

    /// <summary>As a part of a path.</summary>
    public string VirtualHost { get; }

    /// <returns>Null where there is no such thing.</returns>
    /// <exception cref="BrokerRefusedException">It does not answer, or not with JSON.</exception>
    public async Task<JsonElement?> GetAsync(string path, CancellationToken cancel)
    {
        if (!known)
        {
            // a server that knows none of it would look like a broker without queues and policies
            known = true;
            const string place = "It listens at port 15672 or 15671, unless it is set otherwise.";
            var who = await GetAsync("api/whoami", cancel) ?? throw new BrokerRefusedException($"There is no management API at {http.BaseAddress!.GetLeftPart(UriPartial.Authority)}: it answers 404 to /api/whoami. {place}");
            if (who.ValueKind != JsonValueKind.Object || !who.TryGetProperty("name", out _) || !who.TryGetProperty("tags", out _))
            {
                throw new BrokerRefusedException($"There is no management API at {http.BaseAddress!.GetLeftPart(UriPartial.Authority)}: its answer to /api/whoami names no user. {place}");
            }
        }

        try
        {
            using var answer = await http.GetAsync(path, cancel);
            if (answer.StatusCode == HttpStatusCode.NotFound)
            {
                return null;
            }

            if (answer.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
            {
                throw new BrokerRefusedException($"The management API at {http.BaseAddress!.GetLeftPart(UriPartial.Authority)} refuses the user {user}: {(answer.StatusCode == HttpStatusCode.Unauthorized ? "its name or password is wrong, or it lacks the tag 'monitoring' or 'management'" : "it may not see this")}. The user is that of Broker:Uri, unless this address names another.");
            }

            answer.EnsureSuccessStatusCode();
            return JsonElement.Parse(await answer.Content.ReadAsByteArrayAsync(cancel));
        }
        catch (HttpRequestException e) when (e.InnerException is AuthenticationException inner)
        {
            throw BrokerErrors.Tls(http.BaseAddress!, inner);
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or TaskCanceledException && !cancel.IsCancellationRequested)
        {
            throw new BrokerRefusedException($"The management API at {http.BaseAddress!.GetLeftPart(UriPartial.Authority)} does not answer as it should: {(e is JsonException fault ? $"this is no JSON: {JsonFault.Of(fault)}" : (e.InnerException ?? e).Message)}", e);
        }
    }

    public void Dispose() => http.Dispose();
}
