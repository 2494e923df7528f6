using System.CommandLine;
using FaceEmbedWorker.Web;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed health</c>: asks the worker beside it whether it is ready, for images that have no shell.</summary>
internal static class HealthCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command("health", "Ask the worker at Health:Url whether it takes jobs; exit code 1 where not.");
        command.SetAction((_, cancel) => AskAsync(settings, cancel));
        root.Add(command);
    }

    private static async Task<int> AskAsync(string[] settings, CancellationToken cancel)
    {
        using var services = new ServiceCollection().AddSettings(Settings.Read(settings)).BuildServiceProvider();
        var url = services.GetRequiredService<IOptions<HealthOptions>>().Value.Url;
        if (url.Length == 0)
        {
            throw new SettingsException("Health:Url is empty, so no worker answers. Set it for the worker and for this command.");
        }

        // what listens everywhere is asked here
        var address = new UriBuilder(url) { Path = "/readyz" };
        address.Host = address.Host is "0.0.0.0" or "[::]" or "*" or "+" ? "127.0.0.1" : address.Host;
        try
        {
            using var http = new HttpClient { Timeout = Patience };
            using var answer = await http.GetAsync(address.Uri, cancel);
            Screen.SayLines((await answer.Content.ReadAsStringAsync(cancel)).TrimEnd());
            return answer.IsSuccessStatusCode ? ExitCode.Ok : ExitCode.SomeFailed;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancel.IsCancellationRequested)
        {
            Screen.Complain(address.Uri.ToString(), $"no worker answers: {e.Message}");
            return ExitCode.SomeFailed;
        }
    }
}
