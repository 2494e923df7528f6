using System.CommandLine;
using FaceEmbedWorker.Faces;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed model check</c>: is this embedder worth serving?</summary>
internal static class ModelCheckCommand
{
    public static void AddTo(Command parent, string[] settings)
    {
        var (file, card) = (ModelCommand.File(), ModelCommand.Card());
        var pictures = new Option<string?>("--pictures") { Description = "A folder with one folder of pictures per person: also measure on them, as verify does.", HelpName = "DIR" };
        var command = new Command("check", "Test whether an embedder tells people apart; exit code 1 where it does not.") { file, card, pictures };
        command.SetAction((parsed, cancel) => CheckAsync(ModelCommand.Settings(settings, parsed.GetValue(file), parsed.GetValue(card)), parsed.GetValue(pictures), cancel));
        parent.Add(command);
    }

    private static async Task<int> CheckAsync(string[] settings, string? pictures, CancellationToken cancel)
    {
        await using var services = Services.Build(settings);
        var path = services.GetRequiredService<IOptions<FaceOptions>>().Value.EmbeddingModel;
        var findings = services.GetRequiredService<SelfTest>().Run(path);
        var table = new Table().AddColumns("test", "", "seen");
        foreach (var finding in findings)
        {
            table.AddRow(Screen.Cell(finding.Name), finding is { Passed: true, IsDoubtful: true } ? "doubtful" : finding.Passed ? "ok" : "FAILED", Screen.Cell(finding.Text));
        }

        Screen.Show(table);
        var measured = pictures is null ? ExitCode.Ok : await VerifyCommand.VerifyAsync(settings, pictures, null, null, cancel);
        var failed = SelfTest.Verdict(findings) is not null;
        Screen.Say(failed ? $"{path} is NOT fit to serve: {findings.Count(f => !f.Passed)} of {findings.Count} tests failed." : $"{path} passes: {findings.Count} tests.");
        return failed ? ExitCode.SomeFailed : measured;
    }
}
