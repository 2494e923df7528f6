using System.Diagnostics;
using System.Text.Json;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.EndToEnd;

[Collection(AroundRabbitMq310.Name)]
public sealed class OperatorOnRabbitMq310Tests(DebianBroker broker) : OperatorTests(broker);

/// <summary>The desk of dead letters and the other tools of operators, as processes on a real broker.</summary>
public abstract class OperatorTests(TestBroker broker)
{
    private protected const string None = "There are no dead letters, or another program is looking at them.";

    protected TestBroker Broker => broker;


    [Fact]
    public async Task Five_hundred_dead_letters_are_listed_filtered_and_replayed_with_the_tool_killed_in_between()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await using (var worker = await FaceEmbed.WorkerAsync(probe, "--Jobs:Undecodable=Reject"))
        {
            await Parallel.ForAsync(0, 500, async (i, _) => await probe.SubmitAsync(i % 5 < 3 ? [1, 2, 3] : [], "image/jpeg", $"letter-{i}", new() { ["metadata"] = """{"kept":true}""" }));
            await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 500 ? probe : null, "500 dead letters", seconds: 60);
            Assert.Equal(0, await worker.TerminateAsync());
        }

        var list = await JsonAsync("list", "--json", "--reason", "malformed", "--limit", "7");
        Assert.Equal((500, 300, 200, 7), (list.GetProperty("total").GetInt32(), list.GetProperty("reasons").GetProperty("undecodable").GetInt32(), list.GetProperty("reasons").GetProperty("malformed").GetInt32(), list.GetProperty("letters").GetArrayLength()));
        Assert.All(list.GetProperty("letters").EnumerateArray(), l => Assert.Equal("malformed", l.GetProperty("reason").GetString()));
        var (code, output, told) = await RunAsync("list");
        Assert.Equal((0, "500 dead letters: 300 undecodable, 200 malformed.\n50 of 500 shown, the newest: --limit N shows more."), (code, told));
        Assert.Equal(50, output.Split('\n').Count(line => line.StartsWith("letter-", StringComparison.Ordinal)));
        Assert.EndsWith("\n200 of 200 shown.", (await RunAsync("list", "--reason", "malformed", "--limit", "1000")).Errors, StringComparison.Ordinal);
        (code, _, told) = await RunAsync("list", "--reason", "nonsense");
        Assert.Equal(1, code);
        Assert.Contains("nonsense: no dead letter has this reason; there are malformed, undecodable.", told, StringComparison.Ordinal);
        (code, _, told) = await RunAsync("discard", "letter-7", "letter-", "letter-9999");
        Assert.Equal(1, code);
        Assert.Contains("letter-: there is no such dead letter", told, StringComparison.Ordinal);
        Assert.Contains("letter-9999: there is no such dead letter", told, StringComparison.Ordinal);
        var picture = Path.GetTempFileName();
        (code, output, _) = await RunAsync("show", "letter-0", "--save-image", picture);
        Assert.Equal(0, code);
        Assert.Contains("kept", output, StringComparison.Ordinal);
        Assert.Contains("undecodable", output, StringComparison.Ordinal);
        Assert.Equal([1, 2, 3], await File.ReadAllBytesAsync(picture));
        File.Delete(picture);
        Assert.Equal((0, "\u0001\u0002\u0003", ""), await RunAsync("show", "letter-0", "--save-image", "-")); // from a pod that has no disk and no tar
        (code, output, _) = await RunAsync("replay", "--all", "--dry-run");
        Assert.Equal(0, code);
        Assert.EndsWith("500 would be replayed.", output, StringComparison.Ordinal);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 500 ? probe : null, "all 500 back: nothing was taken out");

        // killed in the middle: each letter is in one place or in both
        await using (var tool = FaceEmbed.Start(["dead-letters", "replay", "--reason", "undecodable", .. probe.Settings]))
        {
            await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result > 40 ? probe : null, "some replayed");
            await tool.KillAsync();
        }

        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result is var ready && ready is < 500 and > 200 && ready + probe.ReadyAsync(probe.Topology.Jobs).Result >= 500 ? probe : null, "the rest back on the queue");
        (code, output, _) = await RunAsync("replay", "--reason", "undecodable");
        Assert.Equal(0, code);
        Assert.EndsWith(" replayed.", output, StringComparison.Ordinal);

        var (jobs, dead) = (await DrainAsync(probe.Topology.Jobs), await DrainAsync(probe.Topology.Dead));
        Assert.Equal(Enumerable.Range(0, 500).Where(i => i % 5 < 3).Select(i => $"letter-{i}").Order(), jobs.Select(j => j.BasicProperties.MessageId!).Distinct().Order());
        Assert.Equal(Enumerable.Range(0, 500).Where(i => i % 5 >= 3).Select(i => $"letter-{i}").Order(), dead.Select(j => j.BasicProperties.MessageId!).Order());
        Assert.All(jobs, job =>
        {
            Assert.Equal(["fw-replays", "metadata"], job.BasicProperties.Headers!.Keys.Where(k => !k.StartsWith("x-", StringComparison.Ordinal)).Order());
            Assert.Equal((1L, "image/jpeg", DeliveryModes.Persistent), (Convert.ToInt64(job.BasicProperties.Headers!["fw-replays"], System.Globalization.CultureInfo.InvariantCulture), job.BasicProperties.ContentType, job.BasicProperties.DeliveryMode));
        });

        async Task<JsonElement> JsonAsync(params string[] arguments) => JsonElement.Parse((await RunAsync(arguments)).Output);

        async Task<List<BasicGetResult>> DrainAsync(string queue)
        {
            var all = new List<BasicGetResult>();
            while (await probe.Channel.BasicGetAsync(queue, autoAck: true) is { } got)
            {
                all.Add(got);
            }

            return all;
        }

        Task<(int ExitCode, string Output, string Errors)> RunAsync(params string[] arguments) => FaceEmbed.RunAsync(["dead-letters", .. arguments, .. probe.Settings]);
    }

    [Fact]
    public async Task Dead_letters_are_discarded_and_counted_by_their_replays()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        foreach (var id in new[] { "a", "b", "carol-17", "\u001b[2J[red]odd" })
        {
            await probe.SubmitAsync([], id: id);
        }

        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 4 ? probe : null, "four dead letters");
        var odd = (await RunAsync("list")).Output;
        Assert.DoesNotContain('\u001b', odd); // what an id may say to a terminal
        Assert.Contains("[red]", odd, StringComparison.Ordinal);
        Assert.Equal((0, "\uFFFD[2J[red]odd: discarded\n1 discarded."), await RunAsync("discard", "\u001b[2J[red]odd"));
        Assert.Contains("carol-17", (await RunAsync("show", "carol-17")).Output, StringComparison.Ordinal);
        Assert.Equal((0, "b: replayed\n1 replayed."), await RunAsync("replay", "b"));
        await worker.SaidAsync("Job b: dead letter, malformed, attempt 1", seconds: 30);
        await probe.UntilAsync(() => RunAsync("list", "--json").Result.Output.Contains("\"replays\":1", StringComparison.Ordinal) ? probe : null, "the letter with its replay");
        Assert.Equal(1, (await RunAsync("discard", "nobody")).Code);
        Assert.Equal((0, "a: discarded\n1 discarded."), await RunAsync("discard", "a"));
        Assert.Equal((0, "2 discarded."), await RunAsync("discard", "--all"));
        Assert.Equal((0, "", None), await FaceEmbed.RunAsync(["dead-letters", "list", .. probe.Settings])); // no line that is no letter
        Assert.Equal(64, (await RunAsync("discard")).Code);
        Assert.Equal(64, (await RunAsync("replay", "a", "--all")).Code);

        var (code, _, errors) = await FaceEmbed.RunAsync("dead-letters", "list", $"--Broker:Uri={probe.Options.Uri}", "--Broker:Jobs=nowhere.jobs");
        Assert.Equal(69, code);
        Assert.Contains("nowhere.jobs.dead", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);

        async Task<(int Code, string Output)> RunAsync(params string[] arguments)
        {
            var (code, output, _) = await FaceEmbed.RunAsync(["dead-letters", .. arguments, .. probe.Settings]);
            return (code, output);
        }
    }

    /// <summary>A leader that does not answer for a moment, as in an election: the queue's own count is 0 then.</summary>
    [Fact]
    public async Task Dead_letters_behind_a_slow_leader_are_listed()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await probe.Channel.BasicPublishAsync(probe.Topology.Dead, "worker", true, new BasicProperties { MessageId = "behind", DeliveryMode = DeliveryModes.Persistent }, new byte[] { 1 });
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 1 ? probe : null, "a dead letter");
        await broker.EvaluateAsync($"P = whereis(list_to_atom(\"%2F_{probe.Topology.Dead}\")), timer:apply_after(8000, sys, resume, [P]), sys:suspend(P).");
        Assert.Equal(0u, await probe.ReadyAsync(probe.Topology.Dead)); // what the broker says of it

        var (code, output, errors) = await FaceEmbed.RunAsync(["dead-letters", "list", "--json", .. probe.Settings]);

        Assert.True(code == 0, errors);
        Assert.Equal("behind", JsonElement.Parse(output).GetProperty("letters")[0].GetProperty("id").GetString());
    }

    /// <summary>An alarm of the broker: what waits for it says so, and ends with 69 where it stays.</summary>
    [Fact]
    public async Task An_alarm_of_the_broker_is_told_and_waited_for()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "expired", "The first.", [1]);
        const string told = "The broker takes no messages: low on memory (an alarm of its memory or disk).";
        await broker.AlarmAsync();
        try
        {
            await Task.WhenAll(new string[][] { ["submit", "tests/data/astronaut.png"], ["dead-letters", "replay", "--all"] }.Select(async verb =>
            {
                var (code, _, errors) = await FaceEmbed.RunAsync([.. verb, .. probe.Settings, "--Broker:ConfirmSeconds=4"]);
                Assert.Equal(69, code);
                Assert.Equal([$"{told} Waiting for its end.", $"face-embed: {told} It has not ended in 4 s. End it, and try again: what was confirmed is on its queue."], errors.Split('\n'));
            }));
            // who failed holds no letter back: a look during the alarm sees it, as soon as the broker has put it back
            await probe.UntilAsync(() => JsonElement.Parse(FaceEmbed.RunAsync(["dead-letters", "list", "--json", .. probe.Settings]).Result.Output).GetProperty("total").GetInt32() == 1 ? probe : null, "the letter, during the alarm");
            var (checkedAs, found, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings]);
            Assert.Equal(1, checkedAs);
            var rows = found.Split('\n').Where(line => line.Contains("FAILED", StringComparison.Ordinal)).ToArray();
            Assert.StartsWith("│ permissions ", Assert.Single(rows), StringComparison.Ordinal);
            Assert.Contains(told, FaceEmbed.Flat(found), StringComparison.Ordinal);
            Assert.Single(found.Split('\n'), line => line.StartsWith("│ broker ", StringComparison.Ordinal));

            await using var submit = FaceEmbed.Start(["submit", "tests/data/astronaut.png", .. probe.Settings]);
            await probe.UntilAsync(() => submit.Errors.Contains(told, StringComparison.Ordinal) ? probe : null, "the alarm in words");
            await broker.AlarmAsync(raised: false);
            Assert.Equal(0, await submit.ExitAsync());
        }
        finally
        {
            await broker.AlarmAsync(raised: false);
        }

        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 1 ? probe : null, "the letter, where it was");
    }

    /// <summary>Whoever has a queue of results of their own has deleted the default one.</summary>
    [Fact]
    public async Task Submit_declares_on_an_empty_broker_and_brings_nothing_back_that_was_deleted()
    {
        broker.Require();
        await using var probe = new BrokerProbe(broker.Uri);
        var (code, _, errors) = await FaceEmbed.RunAsync(["submit", "tests/data/astronaut.png", .. probe.Settings]);
        Assert.True(code == 0, errors);
        await probe.ConnectAsync(listen: false);
        Assert.Equal(1u, await probe.ReadyAsync(probe.Topology.Jobs));
        await probe.Channel.QueueDeleteAsync(probe.Topology.Results, false, false);

        Assert.Equal(0, (await FaceEmbed.RunAsync(["submit", "tests/data/astronaut.png", .. probe.Settings])).ExitCode);

        Assert.Equal(2u, await probe.ReadyAsync(probe.Topology.Jobs));
        var gone = await Assert.ThrowsAsync<RabbitMQ.Client.Exceptions.OperationInterruptedException>(() => probe.ReadyAsync(probe.Topology.Results));
        Assert.Equal(404, gone.ShutdownReason!.ReplyCode);
        await probe.ReconnectAsync();
    }

    [Fact]
    public async Task Bench_leaves_nothing_on_the_broker_when_its_terminal_is_closed()
    {
        broker.Require();
        // it looks from inside of the broker: rabbitmqctl alone takes seconds to start on busy cores, and a bench is soon over
        const string look = """F = fun(F, N) -> case lists:any(fun({resource, _, queue, Q}) -> binary:match(Q, <<"face-embed-bench-">>) =/= nomatch end, rabbit_amqqueue:list_names()) of true -> seen; false when N > 0 -> timer:sleep(20), F(F, N - 1); false -> none end end, F(F, 6000).""";
        var seen = broker.EvaluateAsync(look);
        await using var bench = FaceEmbed.Start("bench", "--amqp", "--seconds", "2", $"--Broker:Uri={broker.Uri}");
        Assert.True((await seen).Trim() == "seen", $"There are no queues of it: {bench.Errors}");

        Assert.Equal(129, await bench.HangUpAsync());

        Assert.DoesNotContain("face-embed-bench-", await QueuesAsync(), StringComparison.Ordinal);

        Task<string> QueuesAsync() => broker.ControlAsync("list_queues", "name");
    }

    /// <summary>Who may look and not hand in: told once, whatever there is of it.</summary>
    [Fact]
    public async Task What_may_not_be_handed_in_is_told_once_with_the_pattern_to_grant()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "expired", "The first.", [1]);
        await BuryAsync(probe, "photo-2", "expired", "The second.", [2]);
        var pattern = probe.Topology.Jobs.Replace(".", "\\.", StringComparison.Ordinal);
        await broker.AddUserAsync("looker", "password");
        await broker.AllowAsync("looker", "^$", "^$", $"^{pattern}.*$");
        string[] settings = [.. probe.Settings, $"--Broker:Uri={new UriBuilder(broker.Uri) { UserName = "looker", Password = "password" }.Uri}"];
        foreach (var (verb, told) in new (string[], string)[] { (["submit", TestData.GraceHopper, TestData.Astronaut], "0 jobs confirmed by the broker."), (["dead-letters", "replay", "--all"], "0 replayed.") })
        {
            var (code, output, errors) = await FaceEmbed.RunAsync([.. verb, .. settings]);
            Assert.True((69, told) == (code, output), $"{code} {output} {errors}");
            var line = Assert.Single(errors.Split('\n'));
            Assert.StartsWith("face-embed: User 'looker' may not hand jobs in at the broker at ", line, StringComparison.Ordinal);
            Assert.Contains($"Grant it write on ^{pattern}$ (rabbitmqctl set_permissions; ", line, StringComparison.Ordinal);
        }

        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 2 ? probe : null, "both letters, where they were");
    }

    [Fact]
    public async Task Without_the_exchange_submit_ends_at_once()
    {
        broker.Require();
        await using var probe = new BrokerProbe(broker.Uri);
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        var (code, output, errors) = await FaceEmbed.RunAsync(["submit", TestData.GraceHopper, TestData.Astronaut, .. probe.Settings, "--Broker:Declare=false"]);
        Assert.Equal((69, ""), (code, output));
        Assert.Equal($"face-embed: There is nothing to hand jobs in to: NOT_FOUND - no exchange '{probe.Topology.Jobs}' in vhost '/'. Start a worker, or call face-embed topology declare.", errors);
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 20); // Broker:ConfirmSeconds is 30
    }

    [Fact]
    public async Task Results_are_watched_beside_their_consumer()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        var file = Path.GetTempFileName();
        await using (var watch = FaceEmbed.Start(["results", "--follow", "--out", file, .. probe.Settings]))
        {
            await probe.UntilAsync(() => watch.Errors.Contains("Watching", StringComparison.Ordinal) ? probe : null, "a watcher");
            for (var i = 0; i < 5; i++)
            {
                await probe.SubmitAsync([1, 2, 3], "image/jpeg", $"watched-{i}");
            }

            await probe.UntilAsync(() => File.ReadAllLines(file).Length == 5 ? probe : null, "five lines");
            Assert.Equal(0, await watch.TerminateAsync());
        }

        Assert.Equal(5, (await File.ReadAllLinesAsync(file)).Select(l => JsonElement.Parse(l).GetProperty("job_id").GetString()).Distinct().Count());
        File.Delete(file);
        Assert.Equal(5, probe.Results.Count);
        Assert.Equal(0, (await FaceEmbed.RunAsync(["results", .. probe.Settings])).ExitCode); // silence ends it
    }

    [Fact]
    public async Task The_topology_is_shown_and_declared()
    {
        broker.Require();
        await using var probe = new BrokerProbe(broker.Uri);
        var (code, output, _) = await FaceEmbed.RunAsync(["topology", "show", .. probe.Settings]);
        Assert.Equal(1, code);
        Assert.Contains("missing", output, StringComparison.Ordinal);
        Assert.Equal(0, (await FaceEmbed.RunAsync(["topology", "declare", .. probe.Settings, "--Broker:Declare=false"])).ExitCode);
        (code, output, _) = await FaceEmbed.RunAsync(["topology", "show", .. probe.Settings]);
        Assert.Equal(0, code);
        Assert.DoesNotContain("missing", output, StringComparison.Ordinal);
        Assert.Contains(output.Split('\n'), line => line.Trim('│', ' ') == "x-overflow reject-publish"); // a line each
        Assert.DoesNotContain('\uFFFD', output);
        await probe.ConnectAsync(listen: false);
        await probe.Channel.QueueDeleteAsync(probe.Topology.Suspects, false, false);
        await probe.Channel.QueueDeclareAsync(probe.Topology.Suspects, durable: true, exclusive: false, autoDelete: false);
        (code, output, _) = await FaceEmbed.RunAsync(["topology", "show", .. probe.Settings]);
        Assert.Equal(1, code);
        Assert.Contains("DIFFERS", output, StringComparison.Ordinal);
    }

    /// <summary>Puts a dead letter on the queue, as a worker does.</summary>
    private protected static async Task BuryAsync(BrokerProbe probe, string id, string reason, string message, byte[] body, string? metadata = null)
    {
        var headers = new Dictionary<string, object?> { ["fw-error"] = reason, ["fw-error-message"] = message, ["fw-attempt"] = 1, ["fw-last-failed-at"] = DateTime.UtcNow.ToString("O", System.Globalization.CultureInfo.InvariantCulture) };
        if (metadata is not null)
        {
            headers["metadata"] = metadata;
        }

        await probe.Channel.BasicPublishAsync(probe.Topology.Dead, "worker", mandatory: true, new BasicProperties { MessageId = id, ContentType = "image/jpeg", DeliveryMode = DeliveryModes.Persistent, Headers = headers }, body);
    }
}

/// <summary>Once, and here: which letters are meant, and what is written where.</summary>
[Collection(AroundRabbitMq4.Name)]
public sealed class OperatorOnRabbitMq4Tests(ContainerBroker broker) : OperatorTests(broker)
{
    /// <summary>Two pictures that were sent with one id: neither is shown, replayed or discarded for the other.</summary>
    [Fact]
    public async Task Dead_letters_of_one_id_are_told_apart_by_their_keys()
    {
        Broker.Require();
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-1", "malformed", "The first of them.", [1]);
        await BuryAsync(probe, "photo-1", "expired", "The second of them.", [2]);
        await BuryAsync(probe, "photo-2", "expired", "Another id.", [3]);
        var list = JsonElement.Parse((await RunAsync("list", "--json")).Output);
        var second = list.GetProperty("letters").EnumerateArray().Single(l => l.GetProperty("message").GetString() == "The second of them.").GetProperty("key").GetString()!;

        var (code, output, errors) = await RunAsync("show", "photo-1");
        Assert.Equal((1, ""), (code, output));
        Assert.Matches($@"photo-1: 2 dead letters have this id\. Name one by its key: [0-9a-f]{{8}} \(malformed, .*\), {second[..8]} \(expired, .*\)\.$", errors);

        (code, output, _) = await RunAsync("show", second[..8]);
        Assert.Equal(0, code);
        Assert.Contains("The second of them.", output, StringComparison.Ordinal);
        Assert.Contains(second, output, StringComparison.Ordinal);
        Assert.Equal((0, "photo-1: discarded\n1 discarded.", ""), await RunAsync("discard", second[..8].ToUpperInvariant()));
        Assert.Contains("The first of them.", (await RunAsync("show", "photo-1")).Output, StringComparison.Ordinal);
        Assert.Equal((1, "", "face-embed: nonsense: no dead letter has this reason; there are expired, malformed."), await RunAsync("discard", "--reason", "nonsense"));
        Assert.Equal((0, "2 discarded.", ""), await RunAsync("discard", "--all"));
        Assert.Equal((0, None, ""), await RunAsync("discard", "--all"));
        Assert.Equal((1, "", "face-embed: nonsense: no dead letter has this reason; there are no dead letters, or another program is looking at them."), await RunAsync("discard", "--reason", "nonsense"));

        Task<(int Code, string Output, string Errors)> RunAsync(params string[] arguments) => FaceEmbed.RunAsync(["dead-letters", .. arguments, .. probe.Settings]);
    }

    [Fact]
    public async Task Dead_letters_take_a_line_each_and_the_question_ends_with_Ctrl_C_at_once()
    {
        Broker.Require();
        Assert.SkipUnless(Terminal.Exists, "There is no tmux.");
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        const string path = "photos/2026/summer/by the sea.jpg";
        await BuryAsync(probe, "019a2f3c-1111-7000-8000-000000000001", "attempts_exhausted", "Attempt 6 of 6, source_unavailable: the host photos.example.org did not answer in 10 s.", [1]);
        await BuryAsync(probe, "019a2f3d-1111-7000-8000-000000000002", "undecodable", "The picture is corrupt: its data ends early.", [2], $$"""{"file":"{{path}}"}""");
        await BuryAsync(probe, "customers/4711/photos/2026/summer/img  0001.jpg", "malformed", "写真 写真 写真 写真 写真 写真 写真 写真 写真 写真 写真 写真", [3]);

        foreach (var (columns, expected) in new[]
        {
            (80, new[] { "019a2f3c  ", "019a2f3d  ", "customers/4711/phot…  ", "…", "…" }),
            (180, ["019a2f3c  ", "019a2f3d  ", "customers/4711/phot…  ", path, "did not answer in 10 s."]),
        })
        {
            await using var wide = await Terminal.RunAsync(columns, 40, ["dead-letters", "list", .. probe.Settings]);
            var screen = await wide.ShowsAsync("EXIT 0");
            var lines = screen[screen.IndexOf("failed last", StringComparison.Ordinal)..].Split('\n');
            Assert.Equal(7, lines.Length); // the heading, one each, the counts, the end
            Assert.Equal(["3 dead letters: 1 attempts_exhausted, 1 malformed, 1 undecodable.", "3 of 3 shown.", "EXIT 0"], lines[4..]);
            Assert.All(expected, text => Assert.Contains(text, screen, StringComparison.Ordinal));
            Assert.All(lines[1..4], line => Assert.Matches(" 20[0-9-]{8} [0-9:]{5}  ", line));
        }

        var piped = (await FaceEmbed.RunAsync(["dead-letters", "list", .. probe.Settings])).Output.Split('\n');
        Assert.Equal(3, piped.Length);
        Assert.Matches(@"^019a2f3d-1111-7000-8000-000000000002\tundecodable\t20[0-9T:.-]+Z\t[0-9a-f]{32}\t1\t0\tphotos/2026/summer/by the sea\.jpg: The picture is corrupt: its data ends early\.$", piped[1]);
        Assert.Equal(["customers/4711/photos/2026/summer/img  0001.jpg", "019a2f3d-1111-7000-8000-000000000002", "019a2f3c-1111-7000-8000-000000000001"], piped.Select(line => line.Split('\t')[0])); // the newest first

        await using var terminal = await Terminal.RunAsync(80, 40, ["dead-letters", "discard", "--all", .. probe.Settings]);
        await terminal.ShowsAsync("discard all 3 dead letters? [y/N]");
        await terminal.PressAsync("C-c");
        await terminal.ShowsAsync("EXIT 130", seconds: 4); // it was ended after 5
        Assert.Contains("\nface-embed: interrupted.\n", await terminal.ScreenAsync(), StringComparison.Ordinal);
        Assert.Equal(3u, await probe.ReadyAsync(probe.Topology.Dead));

        // a pipe takes the output: the question is asked on the terminal all the same
        await using var piping = await Terminal.RunPipedAsync(80, 40, "sed s/^/piped:/", ["dead-letters", "discard", "--all", .. probe.Settings]);
        Assert.StartsWith("discard all 3 dead letters? [y/N]", await piping.ShowsAsync("[y/N]"), StringComparison.Ordinal);
        await piping.PressAsync("n");
        await piping.PressAsync("Enter");
        Assert.Contains("piped:Nothing was discarded.", await piping.ShowsAsync("EXIT 1"), StringComparison.Ordinal);
        Assert.Equal(3u, await probe.ReadyAsync(probe.Topology.Dead));
    }

    /// <summary>An erasure of photo-42 is none of photo-421.</summary>
    [Fact]
    public async Task A_letter_is_taken_by_its_whole_id_and_a_made_one_by_its_beginning_too()
    {
        Broker.Require();
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        await BuryAsync(probe, "photo-421", "malformed", "Another's.", [1]);
        await BuryAsync(probe, "019a2f3c-1111-7000-8000-000000000001", "malformed", "Made by submit.", [2]);
        await BuryAsync(probe, "019a2f3c-2222-7000-8000-000000000002", "malformed", "Made a little later.", [3]);

        foreach (var (name, complaint) in new[] { ("photo-42", "there is no such dead letter"), ("019a2f3", "there is no such dead letter"), ("019a2f3c", "several dead letters begin so: 019a2f3c-1111-7000-8000-000000000001, 019a2f3c-2222-7000-8000-000000000002.") })
        {
            foreach (var verb in new[] { "discard", "replay", "show" })
            {
                var (code, output, errors) = await RunAsync(verb, name);
                Assert.Equal((1, ""), (code, output));
                Assert.StartsWith($"face-embed: {name}: {complaint}", errors, StringComparison.Ordinal);
            }
        }

        Assert.Equal((0, "019a2f3c-2222-7000-8000-000000000002: discarded\n1 discarded.", ""), await RunAsync("discard", "019A2F3C-2"));
        Assert.Equal((0, "photo-421: discarded\n1 discarded.", ""), await RunAsync("discard", "photo-421"));
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result == 1 ? probe : null, "the one that is left");

        Task<(int Code, string Output, string Errors)> RunAsync(params string[] arguments) => FaceEmbed.RunAsync(["dead-letters", .. arguments, .. probe.Settings]);
    }

    [Fact]
    public async Task Bench_without_the_right_to_its_queues_says_so_before_it_measures()
    {
        Broker.Require();
        await Broker.AddUserAsync("measurer", "password");
        var address = new UriBuilder(Broker.Uri) { UserName = "measurer", Password = "password" }.Uri;
        foreach (var (configure, write, read) in new[] { ("^$", "^$", "^$"), ("^face-embed-bench-.*$", "^$", "^$"), ("^face-embed-bench-.*$", "^face-embed-bench-.*$", "^$") })
        {
            await Broker.AllowAsync("measurer", configure, write, read);
            var (code, output, errors) = await FaceEmbed.RunAsync(["bench", "--amqp", "--seconds", "0.1", "--json", Path.Combine(Path.GetTempPath(), "face-embed-bench-refused.json"), $"--Broker:Uri={address}", .. FaceEmbed.Light]);
            Assert.Equal((69, ""), (code, output));
            Assert.Matches("^face-embed: bench --amqp declares queues of its own, and user 'measurer' may not: ACCESS_REFUSED - .* Grant configure, write and read on \\^face-embed-bench-\\.\\*\\$ ", Assert.Single(errors.Split('\n')));
            Assert.False(File.Exists(Path.Combine(Path.GetTempPath(), "face-embed-bench-refused.json")));
        }

        await Broker.AllowAsync("measurer", "^face-embed-bench-.*$", "^face-embed-bench-.*$", "^face-embed-bench-.*$");
        Assert.Equal(0, (await FaceEmbed.RunAsync(["bench", "--amqp", "--seconds", "0.1", $"--Broker:Uri={address}", .. FaceEmbed.Light])).ExitCode);
        Assert.DoesNotContain("face-embed-bench-", await Broker.ControlAsync("list_queues", "name") + await Broker.ControlAsync("list_exchanges", "name"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(404, "", "There is no management API at {0}: it answers 404 to /api/whoami. It listens at port 15672 or 15671, unless it is set otherwise.")]
    [InlineData(200, "<html>", "The management API at {0} does not answer as it should: this is no JSON: ")]
    [InlineData(200, "{}", "There is no management API at {0}: its answer to /api/whoami names no user. It listens at port")]
    [InlineData(200, "[1]", "There is no management API at {0}: its answer to /api/whoami names no user. It listens at port")]
    [InlineData(500, "", "The management API at {0} does not answer as it should: ")]
    public async Task Another_server_at_the_address_of_the_management_API_is_told(int status, string body, string expected)
    {
        Broker.Require();
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        using var server = new System.Net.HttpListener();
        var address = $"http://127.0.0.1:{TestBroker.FreePort()}";
        server.Prefixes.Add($"{address}/");
        server.Start();
        _ = AnswerAsync();
        var told = string.Format(System.Globalization.CultureInfo.InvariantCulture, expected, address);

        var (code, output, errors) = await FaceEmbed.RunAsync(["topology", "prune", "--management", address, .. probe.Settings]);
        Assert.Equal((69, ""), (code, output));
        Assert.StartsWith($"face-embed: {told}", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        (code, output, errors) = await FaceEmbed.RunAsync(["check", "--management", address, .. probe.Settings]);
        Assert.Equal((1, ""), (code, errors)); // the broker itself is there
        Assert.StartsWith("│ management ", Assert.Single(output.Split('\n'), line => line.Contains("FAILED", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains(told, FaceEmbed.Flat(output), StringComparison.Ordinal);

        async Task AnswerAsync()
        {
            while (server.IsListening)
            {
                var context = await server.GetContextAsync();
                context.Response.StatusCode = status;
                context.Response.Close(System.Text.Encoding.UTF8.GetBytes(body), willBlock: false);
            }
        }
    }

    /// <summary>Ids are made by <c>submit</c>: what a log, a result or a dead letter says of one leads to its file.</summary>
    [Fact]
    public async Task Submit_says_which_job_is_of_which_file()
    {
        Broker.Require();
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync(listen: false);
        var folder = Directory.CreateTempSubdirectory("face-embed-submit-").FullName;
        var (photo, noise) = (Path.Combine(folder, "a.jpg"), Path.Combine(folder, "b.jpg"));
        File.Copy(TestData.GraceHopper, photo);
        await File.WriteAllBytesAsync(noise, [1, 2, 3]);

        var (code, output, errors) = await FaceEmbed.RunAsync(["submit", folder, .. probe.Settings]);
        Assert.Equal((0, ""), (code, errors));
        var jobs = output.Split('\n')[..^1].Select(l => l.Split(": job ")).ToDictionary(l => l[0], l => l[1]);
        Assert.Equal([photo, noise], jobs.Keys.Order());
        Assert.EndsWith("2 jobs confirmed by the broker.", output, StringComparison.Ordinal);

        await using var watch = FaceEmbed.Start(["results", "--follow", .. probe.Settings]);
        await probe.UntilAsync(() => watch.Errors.Contains("Watching", StringComparison.Ordinal) ? probe : null, "a watcher");
        await using var worker = await FaceEmbed.WorkerAsync(probe, "--Jobs:Undecodable=Reject");
        await worker.SaidAsync($"Job {jobs[noise]}: dead letter, undecodable", seconds: 30);
        await watch.SaidAsync(jobs[photo], seconds: 30);
        var letter = JsonElement.Parse((await FaceEmbed.RunAsync(["dead-letters", "list", "--json", .. probe.Settings])).Output).GetProperty("letters")[0];
        Assert.Equal((jobs[noise], noise), (letter.GetProperty("id").GetString(), letter.GetProperty("file").GetString()));

        (code, output, _) = await FaceEmbed.RunAsync(["submit", folder, "--wait", .. probe.Settings]);
        Assert.Equal(1, code);
        Assert.Matches($@"a\.jpg: embedded, 1 vector of space [0-9a-f]+, [0-9.]+ ms, by \S+, job [0-9a-f-]{{36}}\n", output);
        Assert.Matches(@"b\.jpg: dead letter, undecodable: .*; job [0-9a-f-]{36}\n", output);
        Assert.EndsWith("\n1 dead letter, 1 embedded", output, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Results_that_cannot_be_written_end_the_watch()
    {
        Broker.Require();
        Assert.SkipUnless(File.Exists("/dev/full"), "There is no /dev/full.");
        await using var probe = await new BrokerProbe(Broker.Uri).ConnectAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        await Task.WhenAll(new[]
        {
            (Arguments: "", Place: "> /dev/full", Told: "standard output: it cannot be written: No space left on device."),
            (Arguments: "--follow", Place: "> /dev/full", Told: "standard output: it cannot be written: No space left on device."),
            (Arguments: "--follow --out /dev/full", Place: "", Told: "/dev/full: it cannot be written: No space left on device."),
            (Arguments: "--follow", Place: "| head -n 1", Told: "standard output: it cannot be written: nobody reads it any more."),
        }.Select(async watch =>
        {
            var program = $"dotnet {Path.Combine(AppContext.BaseDirectory, "face-embed.dll")} results {watch.Arguments} {string.Join(' ', probe.Settings.Select(s => $"'{s}'"))}";
            using var shell = Process.Start(new ProcessStartInfo("sh", ["-c", $"{{ {program}; echo ended with $? >&2; }} {watch.Place}"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            Assert.Equal("Watching.", (await shell.StandardError.ReadLineAsync())?[..9]);
            var rest = shell.StandardError.ReadToEndAsync();
            for (var i = 0; i < 100 && !rest.IsCompleted; i++)
            {
                await probe.SubmitAsync([1, 2, 3], "image/jpeg", $"unwritten-{Guid.NewGuid()}");
                await Task.WhenAny(rest, Task.Delay(TimeSpan.FromSeconds(0.2), TestContext.Current.CancellationToken));
            }

            if (!rest.IsCompleted)
            {
                shell.Kill(entireProcessTree: true);
            }

            var lines = (await rest).Trim().Split('\n');
            Assert.Equal("ended with 73", lines[^1]);
            Assert.StartsWith($"face-embed: {watch.Told}", Assert.Single(lines[..^1]), StringComparison.Ordinal);
        }));
    }
}
