using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace FaceEmbedWorker.Commands;

/// <summary>Help of every verb, with examples at its end; <c>face-embed help VERB</c> is <c>face-embed VERB --help</c>.</summary>
internal static class Help
{
    /// <summary>Verb -> command lines that can be pasted.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Examples = new Dictionary<string, string[]>
    {
        [""] = ["face-embed embed photos", "face-embed run --Broker:Uri=amqp://user:password@broker:5672/"],
        ["run"] = ["face-embed run", "face-embed run --Broker:Uri=amqps://user:password@broker:5671/photos --Jobs:Parallelism=2"],
        ["embed"] = ["face-embed embed photos", "face-embed embed photos/*.jpg --out vectors.jsonl --annotate boxes"],
        ["submit"] = ["face-embed submit photos", "face-embed submit portrait.jpg --wait", "face-embed submit --from photos.txt --bulk --ahead 5000 --resume photos.journal"],
        ["results"] = ["face-embed results", "face-embed results --follow --out results.jsonl"],
        ["dead-letters"] = ["face-embed dead-letters list", "face-embed dead-letters replay --reason source_missing"],
        ["dead-letters list"] = ["face-embed dead-letters list", "face-embed dead-letters list --reason unsupported --limit 10"],
        ["dead-letters show"] = ["face-embed dead-letters show photo-17", "face-embed dead-letters show photo-17 --save-image photo-17.jpg"],
        ["dead-letters replay"] = ["face-embed dead-letters replay photo-17", "face-embed dead-letters replay --reason source_missing --dry-run"],
        ["dead-letters discard"] = ["face-embed dead-letters discard photo-17", "face-embed dead-letters discard --reason unsupported --dry-run"],
        ["dead-letters web"] = ["face-embed dead-letters web", "face-embed dead-letters web --port 8090"],
        ["topology"] = ["face-embed topology show", "face-embed topology declare"],
        ["topology show"] = ["face-embed topology show", "face-embed topology show --Broker:Uri=amqp://user:password@broker:5672/"],
        ["topology declare"] = ["face-embed topology declare", "face-embed topology declare --Broker:RetryDelays=1,10,60"],
        ["topology prune"] = ["face-embed topology prune --management http://broker:15672 --dry-run", "face-embed topology prune --management http://broker:15672"],
        ["verify"] = ["face-embed verify people", "face-embed verify people --report report.html --json figures.json"],
        ["bench"] = ["face-embed bench photos", "face-embed bench photos --seconds 30 --json bench.json"],
        ["model"] = ["face-embed model inspect own.onnx", "face-embed model check own.onnx"],
        ["model convert"] = ["face-embed model convert --checkpoint checkpoint.pth --output own.onnx", "face-embed model convert --checkpoint checkpoint.pth --output own.onnx --head embedding"],
        ["model quantize"] = ["face-embed model quantize own.onnx --pictures people", "face-embed model quantize w600k_r50.onnx --card w600k_r50 --pictures people --json figures.json"],
        ["model inspect"] = ["face-embed model inspect own.onnx", "face-embed model inspect own.onnx --card w600k_mbf"],
        ["model check"] = ["face-embed model check", "face-embed model check own.onnx --card own.json"],
        ["check"] = ["face-embed check", "face-embed check --management http://broker:15672"],
        ["health"] = ["face-embed health", "face-embed health --Health:Url=http://127.0.0.1:9000"],
        ["settings"] = ["face-embed settings", "face-embed settings --Jobs:Parallelism=4"],
        ["help"] = ["face-embed help", "face-embed help dead-letters replay"],
        ["completion"] = ["face-embed completion bash > /etc/bash_completion.d/face-embed", "face-embed completion fish > ~/.config/fish/completions/face-embed.fish"],
    };

    /// <summary>Adds <c>help</c>, what happens without a verb, and the examples.</summary>
    public static void AddTo(RootCommand root, string[] settings)
    {
        foreach (var option in root.Options.OfType<HelpOption>())
        {
            option.Action = new WithExamples((HelpAction)option.Action!);
        }

        var verb = new Argument<string[]>("VERB") { Description = "The verb, and what follows it: dead-letters replay.", Arity = ArgumentArity.ZeroOrMore };
        var command = new Command("help", "Show what a verb does, its options and examples.") { verb };
        command.SetAction(parsed => Show(root, parsed.GetRequiredValue(verb), parsed.InvocationConfiguration));
        root.Add(command);
        root.SetAction(parsed => settings.Length == 0 ? Show(root, [], parsed.InvocationConfiguration) : Lost(settings));
    }

    private static int Show(RootCommand root, string[] verb, InvocationConfiguration invocation)
    {
        var parsed = Arguments.Parse(root, [.. verb, "--help"]);
        if (parsed.UnmatchedTokens is [var unknown, ..])
        {
            Screen.Complain($"{Arguments.Unknown(unknown, parsed)} See face-embed --help.");
            return ExitCode.Usage;
        }

        var (asked, known) = (string.Join(' ', verb), Arguments.Path(parsed.CommandResult.Command));
        if (asked != known)
        {
            Screen.Complain($"There is no verb '{asked}'. See face-embed {known} --help.");
            return ExitCode.Usage;
        }

        return parsed.Invoke(invocation);
    }

    private static int Lost(string[] settings)
    {
        Screen.Complain($"There are settings, and no verb. To start the worker: face-embed run {settings[0].Split('=')[0]}=…  See face-embed --help.");
        return ExitCode.Usage;
    }

    private sealed class WithExamples(HelpAction plain) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            var code = plain.Invoke(parseResult);
            if (Examples.TryGetValue(Arguments.Path(parseResult.CommandResult.Command), out var examples))
            {
                var output = parseResult.InvocationConfiguration.Output;
                output.WriteLine("Examples:");
                foreach (var example in examples)
                {
                    output.WriteLine($"  {example}");
                }
            }

            return code;
        }
    }
}
