using System.CommandLine;
using System.Globalization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Web;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed dead-letters web</c>: the desk of dead letters in a browser of this machine, until Ctrl-C.</summary>
internal static class DeadLettersWebCommand
{
    public static void AddTo(Command parent, string[] settings)
    {
        var port = new Option<int>("--port") { Description = "Port on loopback; without it any that is free.", HelpName = "N" };
        Arguments.MustBe(port, "any number from 0 (any that is free) to 65535", text => ushort.TryParse(text, CultureInfo.InvariantCulture, out _));
        var command = new Command("web", "Look at the dead letters in a browser of this machine, hand them in again, or throw them away.") { port };
        command.SetAction((parsed, cancel) => ServeAsync(settings, parsed.GetValue(port), cancel));
        parent.Add(command);
    }

    private static async Task<int> ServeAsync(string[] settings, int port, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        await using var desk = services.GetRequiredService<DeadLetterDesk>();
        await using var site = new DeadLetterSite(desk, services.GetRequiredService<IOptions<ImageOptions>>().Value);
        var list = await desk.ListAsync(reason: null, limit: 0, cancel); // what is wrong with broker, login or queue is told here, as by list
        Uri link;
        try
        {
            link = await site.StartAsync(port, cancel);
        }
        catch (IOException e)
        {
            Screen.Complain($"The desk cannot listen on port {port}: {e.Message.TrimEnd('.')}. Leave --port out for one that is free.");
            return ExitCode.Usage;
        }

        Screen.Say(link.AbsoluteUri);
        Screen.Note($"{Plural.Of(list.Total, "dead letter")}. Open this link: it is good once, for one browser of this machine. Ctrl-C ends the desk.");
        await Task.Delay(Timeout.Infinite, cancel);
        return ExitCode.Ok;
    }
}
