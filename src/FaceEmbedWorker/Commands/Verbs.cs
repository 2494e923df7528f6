using System.CommandLine;

namespace FaceEmbedWorker.Commands;

/// <summary>All that the program can be told to do.</summary>
internal static class Verbs
{
    /// <param name="settings">The part of the command line that is settings.</param>
    public static void AddTo(RootCommand root, string[] settings)
    {
        RunCommand.AddTo(root, settings);
        EmbedCommand.AddTo(root, settings);
        SubmitCommand.AddTo(root, settings);
        ResultsCommand.AddTo(root, settings);
        DeadLettersCommand.AddTo(root, settings);
        TopologyCommand.AddTo(root, settings);
        VerifyCommand.AddTo(root, settings);
        BenchCommand.AddTo(root, settings);
        ModelCommand.AddTo(root, settings);
        CheckCommand.AddTo(root, settings);
        HealthCommand.AddTo(root, settings);
        SettingsCommand.AddTo(root, settings);
        CompletionCommand.AddTo(root);
        Help.AddTo(root, settings);
    }
}
