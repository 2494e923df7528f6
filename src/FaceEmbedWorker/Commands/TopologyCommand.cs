using System.CommandLine;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed topology</c>: the exchanges and queues that should exist, and those that do.</summary>
internal static class TopologyCommand
{
    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command("topology", "Exchanges and queues: show, declare, prune.");
        var look = CheckCommand.ManagementOption();
        var show = new Command("show", "What should exist, what does, and what differs. Exit code 1 where something is missing or differs.") { look };
        show.SetAction((parsed, cancel) => ShowAsync(settings, parsed.GetValue(look), cancel));
        var declare = new Command("declare", "Declare what is missing, whatever Broker:Declare says.");
        declare.SetAction((_, cancel) => DeclareAsync(settings, cancel));
        var management = CheckCommand.ManagementOption();
        management.Required = true;
        var dry = new Option<bool>("--dry-run") { Description = "Only say which." };
        var force = new Option<bool>("--force") { Description = "Do not wait two minutes between the two looks." };
        var prune = new Command("prune", "Delete the wait queues of an old retry ladder that are empty at two looks, two minutes apart.") { management, dry, force };
        prune.SetAction((parsed, cancel) => PruneAsync(settings, parsed.GetRequiredValue(management)!, parsed.GetValue(dry), parsed.GetValue(force), cancel));
        command.Add(show);
        command.Add(declare);
        command.Add(prune);
        root.Add(command);
    }

    private static async Task<int> ShowAsync(string[] settings, Uri? management, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var topology = services.GetRequiredService<Topology>();
        var declaration = topology.Queues.ToDictionary(q => $"queue {q.Name}", q => q.Arguments.Select(a => $"{a.Key} {a.Value}"));
        foreach (var (name, _, exchange, keys) in topology.Queues)
        {
            declaration[$"bindings of {name}"] = keys.Select(key => $"{exchange} / {key}");
        }

        foreach (var (name, type) in topology.Exchanges)
        {
            declaration[$"exchange {name}"] = [type];
        }

        await services.GetRequiredService<TopologyDesk>().ReachAsync(cancel);
        var table = new Table().AddColumns("what", "", "found, and what it is declared with");
        var check = new BrokerCheck(services.GetRequiredService<IOptions<BrokerOptions>>(), topology);
        BrokerFinding[] findings = [.. await check.TopologyAsync(cancel), .. management is null ? [] : await check.BindingsAsync(management, cancel)];
        foreach (var finding in findings)
        {
            table.AddRow(Screen.Cell(finding.Name), finding switch { { Good: true, Exists: true } => "ok", { Exists: false } => "missing", { Exists: null } => "REFUSED", _ => "DIFFERS" }, Screen.Cell([finding.Text, .. declaration[finding.Name]]));
        }

        Screen.Show(table);
        if (management is null)
        {
            Screen.Note("Bindings were not looked at: AMQP does not tell them; --management does.");
        }

        return findings.All(f => f is { Good: true, Exists: true }) ? ExitCode.Ok : ExitCode.SomeFailed;
    }

    private static async Task<int> DeclareAsync(string[] settings, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var topology = services.GetRequiredService<Topology>();
        var desk = services.GetRequiredService<TopologyDesk>();
        await desk.ReachAsync(cancel);
        await desk.DeclareAsync(cancel);
        Screen.Say($"{Plural.Of(topology.Exchanges.Count(), "exchange")} and {Plural.Of(topology.Queues.Count(), "queue")} are there.");
        return ExitCode.Ok;
    }

    private static async Task<int> PruneAsync(string[] settings, Uri management, bool dry, bool force, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var desk = services.GetRequiredService<TopologyDesk>();
        await desk.ReachAsync(cancel);
        var left = await desk.LeftAsync(management, cancel);
        if (!dry && !force && left.Count > 0)
        {
            Screen.Note($"Looking at {Plural.Of(left.Count, "queue")} twice, {TopologyDesk.Apart.TotalMinutes:0} minutes apart; --force does not wait.");
        }

        var pruned = dry ? left.ToDictionary(q => q, _ => (string?)"would be deleted if it is empty") : await desk.PruneAsync(left, management, force, cancel);
        foreach (var (queue, why) in pruned)
        {
            Screen.Say($"{queue}: {why ?? "deleted"}");
        }

        if (left.Count == 0)
        {
            Screen.Say("There are no wait queues of another ladder.");
        }

        return dry || pruned.Values.All(why => why is null) ? ExitCode.Ok : ExitCode.SomeFailed;
    }
}
