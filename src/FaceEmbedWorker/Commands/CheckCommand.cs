using System.CommandLine;
using System.Globalization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed check</c>: would a worker with these settings work here? Looks at everything and changes nothing.</summary>
internal static class CheckCommand
{
    /// <summary>Of a container, in cgroups of version 2 and 1.</summary>
    private static readonly string[] MemoryLimits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

    public static void AddTo(RootCommand root, string[] settings)
    {
        var management = ManagementOption();
        var command = new Command("check", "Check settings, models, broker, permissions and topology before a worker is started; changes nothing.") { management };
        command.SetAction((parsed, cancel) => CheckAsync(settings, parsed.GetValue(management), cancel));
        root.Add(command);
    }

    private static async Task<int> CheckAsync(string[] settings, Uri? management, CancellationToken cancel)
    {
        await using var services = Services.Build(settings); // a wrong setting ends it here, with its name
        var (faces, images, jobs, broker) = (Of<FaceOptions>(), Of<ImageOptions>(), Of<JobOptions>(), Of<BrokerOptions>());
        var table = new Table().AddColumns("what", "", "found");
        var (failed, lacksBroker) = (0, false);
        Line("settings", true, "valid");

        var (detector, embedder) = (services.GetRequiredService<FaceDetector>(), services.GetRequiredService<FaceEmbedder>());
        foreach (var (path, card) in new[] { (faces.DetectionModel, detector.Card), (faces.LandmarksModel, detector.LandmarksCard), (faces.EmbeddingModel, embedder.Card) })
        {
            if (card is not null)
            {
                var size = card.Input.Multiple > 0 ? Text($"any size in multiples of {card.Input.Multiple}") : Text($"{card.Input.Width} x {card.Input.Height}");
                Line(card.Task, true, $"{path}: {card.Id}, {size}{(card.Sha256 is null ? "" : ", checksum as its card says")}");
            }
        }

        var findings = services.GetRequiredService<SelfTest>().Run(faces.EmbeddingModel);
        Line("self-test", SelfTest.Verdict(findings) is null, SelfTest.Verdict(findings) ?? Text($"{findings.Count} tests passed; space {embedder.FaceSpace}"));
        if (jobs.Mode != EmbedMode.Image && embedder.Card.NotForFaces is { } reason)
        {
            Line("crop", false, reason);
        }

        Line("decoder", true, services.GetRequiredService<ImageDecoder>().Describe());
        var (megabytes, available) = (200 + jobs.Slots * images.MaxMemory / 1_000_000, MemoryHere() / 1_000_000);
        Line("plan", megabytes < available, Text($"{Plural.Of(Environment.ProcessorCount, "core")}, {Plural.Of(jobs.Slots, "job")} at once; with the largest pictures they take up to {megabytes} MB, and {available} MB are here{(megabytes < available ? "" : ": lower Images:MaxMemory or Jobs:Parallelism")}"));

        var look = "broker";
        try
        {
            var check = new BrokerCheck(Options.Create(broker), services.GetRequiredService<Topology>());
            Lines([await check.BrokerAsync(cancel)]);
            look = "topology";
            Lines(await check.TopologyAsync(cancel));
            look = "permissions";
            Lines(await check.PermissionsAsync(cancel));
            string[] outcomes = [EmbedResult.Embedded, EmbedResult.NoFace, .. jobs.Undecodable == UndecodablePolicy.Stub ? [EmbedResult.Stub] : Array.Empty<string>()];
            if (management is null)
            {
                table.AddRow("policies", "", "not looked at: name the management API with --management");
                if (!broker.ResultsQueue)
                {
                    table.AddRow("results", "", Screen.Cell($"not looked at, and there is no default queue: queues of yours must take the keys {string.Join(", ", outcomes)}; --management shows whether they do"));
                }
            }
            else
            {
                look = "management";
                Lines(await check.PoliciesAsync(management, cancel));
                Lines(await check.BindingsAsync(management, cancel));
                Lines(await check.RoutesAsync(management, outcomes, cancel));
            }
        }
        catch (BrokerRefusedException e)
        {
            Line(look, false, e.Message);
            lacksBroker = look == "broker";
            if (lacksBroker)
            {
                table.AddRow("topology, permissions", "", "not looked at: without the broker there is nothing to see");
            }
        }

        Screen.Show(table);
        Screen.Say(failed == 0 ? "A worker with these settings can start." : $"{failed} of {table.Rows.Count} {(failed == 1 ? "is" : "are")} in the way.");
        return failed == 0 ? ExitCode.Ok : lacksBroker && failed == 1 ? ExitCode.Unavailable : ExitCode.SomeFailed;

        void Lines(IEnumerable<BrokerFinding> findings)
        {
            foreach (var finding in findings)
            {
                Line(finding.Name, finding.Good, finding.Text);
            }
        }

        T Of<T>()
            where T : class => services.GetRequiredService<IOptions<T>>().Value;

        void Line(string what, bool good, string found)
        {
            failed += good ? 0 : 1;
            table.AddRow(Screen.Cell(what), good ? "ok" : "FAILED", Screen.Cell(found));
        }
    }

    public static Option<Uri?> ManagementOption() => new("--management") { Description = "RabbitMQ's management API, such as http://host:15672; the login is that of Broker:Uri, unless the address has one.", HelpName = "URL", CustomParser = ParseManagement };

    private static Uri? ParseManagement(System.CommandLine.Parsing.ArgumentResult argument)
    {
        var text = argument.Tokens[0].Value;
        if (Uri.TryCreate(text.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is ("http" or "https") && uri.AbsolutePath == "/")
        {
            return uri;
        }

        argument.AddError($"--management is '{text}'; it must look like http://host:15672, without a path: the virtual host is that of Broker:Uri.");
        return null;
    }

    /// <summary>
    /// Bytes that the process may have, by its container's limit and the machine; not the garbage collector's part of them, for pictures lie
    /// outside of its heap.
    /// </summary>
    private static long MemoryHere()
    {
        var told = MemoryLimits.Where(File.Exists).Select(f => File.ReadAllText(f).Trim())
            .Concat(File.Exists("/proc/meminfo") ? File.ReadLines("/proc/meminfo").Where(l => l.StartsWith("MemTotal:", StringComparison.Ordinal)).Select(l => $"{l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]}000") : []);
        var limits = told.Select(t => long.TryParse(t, CultureInfo.InvariantCulture, out var bytes) ? bytes : long.MaxValue).ToList();
        return limits.Count > 0 ? limits.Min() : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
