using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed dead-letters</c>: looks at the jobs that were given up, hands them in again, or throws them away.</summary>
internal static class DeadLettersCommand
{
    private const string Named = "The id, in full; of a UUID, a hash or a key its first 8 digits are enough.";
    private const string None = "There are no dead letters, or another program is looking at them.", Gone = "the dead letter has gone in the meantime.";

    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command("dead-letters", "Look at the jobs that were given up, hand them in again, or throw them away.");
        AddList(command, settings);
        AddShow(command, settings);
        AddTaking(command, settings, "replay", "Hand dead letters in again: each copy is confirmed before the letter is taken out.", "would be replayed", "replayed", replay: true);
        AddTaking(command, settings, "discard", "Throw dead letters away, for good.", "would be discarded", "discarded", replay: false);
        DeadLettersWebCommand.AddTo(command, settings);
        root.Add(command);
    }

    private static void AddList(Command parent, string[] settings)
    {
        var reason = ReasonOption();
        var limit = new Option<int>("--limit") { Description = "Most letters to list.", HelpName = "N", DefaultValueFactory = _ => 50 };
        Arguments.MustBe(limit, "any number from 1 on", text => int.TryParse(text, CultureInfo.InvariantCulture, out var most) && most >= 1);
        var json = new Option<bool>("--json") { Description = "One JSON document instead of tables." };
        var command = new Command("list", "Count the dead letters by reason, and list them. Takes nothing out.") { reason, limit, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using var services = Services.Build(settings);
            await using var desk = services.GetRequiredService<DeadLetterDesk>();
            var list = await desk.ListAsync(parsed.GetValue(reason), parsed.GetValue(limit), cancel);
            if (parsed.GetValue(json))
            {
                Screen.Say(JsonSerializer.Serialize(list, DeadLetterJson.Default.DeadLetterList));
                return ExitCode.Ok;
            }

            Print(list, parsed.GetValue(reason));
            if (parsed.GetValue(reason) is { } asked && !list.Reasons.ContainsKey(asked))
            {
                NoSuchReason(asked, list.Reasons.Keys);
                return ExitCode.SomeFailed;
            }

            return ExitCode.Ok;
        });
        parent.Add(command);
    }

    /// <summary>In a file's place: the picture goes to standard output.</summary>
    private const string ToOutput = "-";

    private static void AddShow(Command parent, string[] settings)
    {
        var id = new Argument<string>("ID") { Description = Named };
        var save = new Option<string?>("--save-image") { Description = "Write the job's picture into this file; -: to standard output, and nothing else.", HelpName = "FILE" };
        save.Validators.Add(result =>
        {
            if (result.Tokens is [{ Value: ToOutput }] && !Console.IsOutputRedirected)
            {
                result.AddError("--save-image is '-', and standard output is a terminal; send it into a file or a program.");
            }
        });
        var command = new Command("show", "All that is known of one dead letter. Takes nothing out.") { id, save };
        command.SetAction(async (parsed, cancel) =>
        {
            await using var services = Services.Build(settings);
            await using var desk = services.GetRequiredService<DeadLetterDesk>();
            if (await DeadLetterNames.FindAsync(desk, [parsed.GetRequiredValue(id)], single: true, cancel) is not { } keys)
            {
                return ExitCode.SomeFailed;
            }

            (DeadLetter Letter, JobMessage Message)? found = null;
            await desk.ScanAsync((letter, message) =>
            {
                if (found is null && keys.Contains(letter.Key))
                {
                    found = (letter, message with { Body = message.Body.ToArray() });
                }

                return Task.FromResult(false);
            }, cancel);
            if (found is not { } one)
            {
                Screen.Complain(parsed.GetRequiredValue(id), Gone);
                return ExitCode.SomeFailed;
            }

            var file = parsed.GetValue(save);
            if (file != ToOutput)
            {
                Print(one.Letter, one.Message);
            }

            return file is not null && !SavePicture(one.Message, file) ? ExitCode.SomeFailed : ExitCode.Ok;
        });
        parent.Add(command);
    }

    private static void AddTaking(Command parent, string[] settings, string name, string description, string would, string done, bool replay)
    {
        var ids = new Argument<string[]>("ID") { Description = Named, Arity = ArgumentArity.ZeroOrMore };
        var reason = ReasonOption();
        var all = new Option<bool>("--all") { Description = "Every dead letter." };
        var dry = new Option<bool>("--dry-run") { Description = "Only say which." };
        var yes = new Option<bool>("--yes") { Description = "Do not ask, on a terminal, before all are taken." };
        var command = new Command(name, description) { ids, reason, all, dry, yes };
        command.Validators.Add(result =>
        {
            string[] ways = [.. result.GetValue(ids)!.Length > 0 ? ["IDs"] : Array.Empty<string>(), .. result.GetValue(reason) is null ? Array.Empty<string>() : ["--reason"], .. result.GetValue(all) ? ["--all"] : Array.Empty<string>()];
            if (ways.Length != 1)
            {
                result.AddError(ways.Length == 0 ? $"Say which dead letters to {name}: either IDs, or --reason, or --all."
                    : $"{string.Join(" and ", ways)} are given, and each says which dead letters to {name}: give one of them. --reason takes all of its reason.");
            }
        });
        command.SetAction(async (parsed, cancel) =>
        {
            await using var services = Services.Build(settings);
            await using var desk = services.GetRequiredService<DeadLetterDesk>();
            if (parsed.GetValue(all) && !parsed.GetValue(dry) && !parsed.GetValue(yes) && !Console.IsInputRedirected && !(Console.IsOutputRedirected && Console.IsErrorRedirected)
                && await CountAsync(desk, cancel) is > 0 and var waiting
                && !await Screen.AskAsync($"{name} {(waiting == 1 ? "the 1 dead letter" : $"all {Plural.Of(waiting, "dead letter")}")}?", cancel))
            {
                Screen.Say($"Nothing was {done}.");
                return ExitCode.SomeFailed;
            }

            if (await DeadLetterNames.FindAsync(desk, parsed.GetRequiredValue(ids), single: false, cancel) is not { } wanted)
            {
                return ExitCode.SomeFailed;
            }

            desk.BlockedChanged += () => Screen.NoteAlarm(desk.Blocked);
            var (seen, reasons, count) = (new HashSet<string>(StringComparer.Ordinal), new SortedSet<string>(StringComparer.Ordinal), 0);
            try
            {
                await (parsed.GetValue(dry) ? desk.ScanAsync((letter, _) => Task.FromResult(IsWanted(letter) && Say(letter)), cancel) : desk.TakeAsync(IsWanted, replay, Taken, cancel));
            }
            catch (JobRefusedException e)
            {
                Screen.Say($"{count:N0} {done}.");
                Screen.Complain(name, e.Message);
                return ExitCode.SomeFailed;
            }
            catch (BrokerRefusedException) when (seen.Count > 0)
            {
                Screen.Say($"{count:N0} {done}.");
                throw;
            }

            if (parsed.GetValue(reason) is { } asked && !reasons.Contains(asked))
            {
                NoSuchReason(asked, reasons);
                return ExitCode.SomeFailed;
            }

            Screen.Say(reasons.Count == 0 ? None : $"{count:N0} {(parsed.GetValue(dry) ? would : done)}.");

            var missing = wanted.Except(seen).ToArray();
            foreach (var key in missing)
            {
                Screen.Complain(key, Gone);
            }

            return missing.Length == 0 ? ExitCode.Ok : ExitCode.SomeFailed;

            bool IsWanted(DeadLetter letter)
            {
                reasons.Add(letter.Reason);
                var isWanted = parsed.GetValue(all) || letter.Reason == parsed.GetValue(reason) || wanted.Contains(letter.Key);
                if (isWanted)
                {
                    seen.Add(letter.Key);
                }

                return isWanted;
            }

            bool Say(DeadLetter letter)
            {
                count++;
                Screen.Say($"{letter.Id}: {letter.Reason}");
                return false;
            }

            void Taken(DeadLetter letter)
            {
                count++;
                if (wanted.Count > 0) // those that were named
                {
                    Screen.Say($"{letter.Id}: {done}");
                }
            }
        });
        parent.Add(command);
    }

    private static Option<string?> ReasonOption() => new("--reason") { Description = "Only those with this fw-error.", HelpName = "R" };

    private static void NoSuchReason(string reason, IEnumerable<string> reasons) =>
        Screen.Complain(reason, $"no dead letter has this reason{(reasons.Any() ? $"; there are {string.Join(", ", reasons)}" : "; there are no dead letters, or another program is looking at them")}.");

    private static async Task<int> CountAsync(DeadLetterDesk desk, CancellationToken cancel)
    {
        var count = 0;
        await desk.ScanAsync((_, _) => Task.FromResult(++count < 0), cancel);
        return count;
    }

    /// <summary>Standard output, piped, has a line a letter and nothing else: what is said of them goes beside it.</summary>
    private static void Print(DeadLetterList list, string? reason)
    {
        var (total, counts, letters) = list;
        Action<string> tell = Console.IsOutputRedirected ? Screen.Note : Screen.Say;
        if (total == 0)
        {
            tell(None);
            return;
        }

        if (Console.IsOutputRedirected)
        {
            foreach (var letter in letters)
            {
                Screen.SayFields(letter.Id, letter.Reason, letter.LastFailedAt ?? "-", letter.Key, letter.Attempt.ToString(CultureInfo.InvariantCulture), letter.Replays.ToString(CultureInfo.InvariantCulture), letter.What);
            }
        }
        else if (letters.Count > 0)
        {
            Screen.Show(DeadLetterTable.Of(letters));
        }

        tell($"{Plural.Of(total, "dead letter")}: {string.Join(", ", counts.OrderByDescending(c => c.Value).Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Value:N0} {c.Key}")))}.");
        var asked = reason is null ? total : counts.GetValueOrDefault(reason);
        tell(string.Create(CultureInfo.InvariantCulture, $"{letters.Count:N0} of {asked:N0} shown{(letters.Count < asked ? ", the newest: --limit N shows more" : "")}."));
    }

    private static void Print(DeadLetter letter, JobMessage message)
    {
        var table = new Table().AddColumns("", "").HideHeaders();
        foreach (var (name, value) in letter.Facts(message))
        {
            table.AddRow(name, Screen.Cell(value));
        }

        Screen.Show(table);
    }

    private static bool SavePicture(JobMessage message, string file)
    {
        try
        {
            if (DeadLetter.PictureOf(message) is { } picture)
            {
                if (file == ToOutput)
                {
                    OutputFile.WriteToOutput(picture);
                }
                else
                {
                    OutputFile.Write(file, picture);
                }

                return true;
            }

            Screen.Complain(file, "the job refers to its picture and does not carry it.");
        }
        catch (MalformedJobException e)
        {
            Screen.Complain(file, $"there is no picture to save: {e.Message}");
        }

        return false;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(DeadLetterList))]
internal sealed partial class DeadLetterJson : JsonSerializerContext;
