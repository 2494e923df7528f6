using System.CommandLine;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed completion</c>: a script for the shell that completes verbs and options, by asking this program.</summary>
internal static class CompletionCommand
{
    private static readonly Dictionary<string, string> Scripts = new()
    {
        ["bash"] = """
            _face_embed() {
              local IFS=$'\n'
              COMPREPLY=($(compgen -W "$(face-embed "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
            }
            complete -o default -F _face_embed face-embed
            """,
        ["zsh"] = """
            #compdef face-embed
            _face_embed() {
              local -a found=("${(@f)$(face-embed "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
              _alternative "verbs:verb:compadd -a found" "files:file:_files"
            }
            compdef _face_embed face-embed
            """,
        ["fish"] = """
            complete -c face-embed -a '(face-embed "[suggest:"(commandline -C)"]" (commandline -p) 2>/dev/null)'
            """,
    };

    public static void AddTo(RootCommand root)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong([.. Scripts.Keys]);
        var command = new Command("completion", "A completion script for your shell.") { shell };
        command.SetAction(parsed => Screen.SayLines(Scripts[parsed.GetRequiredValue(shell)]));
        root.Add(command);
    }
}
