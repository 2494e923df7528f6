using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Commands;

namespace FaceEmbedWorker.Tests.EndToEnd;

[Collection(AroundRabbitMq310.Name)]
public sealed class SubmitOnRabbitMq310Tests(DebianBroker broker) : SubmitTests(broker);

/// <summary>Archives, handed in by <c>submit --from</c>.</summary>
public abstract class SubmitTests(TestBroker broker) : IDisposable
{
    private protected readonly string folder = Directory.CreateTempSubdirectory("face-embed-submit-").FullName;

    protected TestBroker Broker => broker;

    [Fact]
    public async Task Bulk_jobs_go_to_their_queue_and_no_more_wait_there_than_was_said()
    {
        await using var probe = await ProbeAsync(bulk: true);
        await using var submit = FaceEmbed.Start(["submit", "--from", await ListAsync(60), "--bulk", "--ahead", "20", .. probe.Settings]);
        await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Bulk!).Result == 20 ? probe : null, "a full queue");
        const string nobody = "No worker takes jobs at the moment: the rest is handed in once one is started (face-embed run).";
        await probe.UntilAsync(() => submit.Errors.Contains(nobody, StringComparison.Ordinal) ? probe : null, "a word of what it waits for");
        await Task.Delay(1500); // three looks
        Assert.Equal((20u, true, 2), (await probe.ReadyAsync(probe.Topology.Bulk!), submit.Running, submit.Errors.Split(nobody).Length));

        var taken = new HashSet<string>();
        await probe.UntilAsync(() =>
        {
            Assert.InRange(probe.ReadyAsync(probe.Topology.Bulk!).Result, 0u, 20u);
            taken.UnionWith(TakeAllAsync(probe, probe.Topology.Bulk!, but: 1).Result.Select(FileOf)); // one that nobody takes is no empty queue
            return taken.Count == 59 ? probe : null;
        }, "all but one of them");
        Assert.Equal(0, await submit.ExitAsync());
        taken.UnionWith((await TakeAllAsync(probe, probe.Topology.Bulk!)).Select(FileOf));
        Assert.Equal(60, taken.Count);
        Assert.Equal(0u, await probe.ReadyAsync(probe.Topology.Jobs));
    }

    /// <summary>No rate makes a time of it: the jobs that the queue had room for went in at once, and the others never.</summary>
    [Fact]
    public async Task A_queue_that_nobody_takes_gives_no_time()
    {
        await using var probe = await ProbeAsync();
        await using var submit = FaceEmbed.Start(["submit", "--from", await ListAsync(5000), "--ahead", "5", .. probe.Settings]);
        await probe.UntilAsync(() => submit.Errors.Contains("5 of 5,000 handed in, 0/s, no worker takes jobs (0 consumers)", StringComparison.Ordinal) ? probe : null, "how far it is", seconds: 60);
        Assert.DoesNotContain(" left", submit.Errors, StringComparison.Ordinal);
        Assert.Equal(130, await submit.InterruptAsync());
    }

    [Fact]
    public async Task Without_a_queue_of_bulk_jobs_bulk_is_refused()
    {
        await using var probe = await ProbeAsync();
        var (code, _, errors) = await FaceEmbed.RunAsync(["submit", TestData.GraceHopper, "--bulk", .. probe.Settings]);
        Assert.Equal((78, "face-embed: --bulk needs Broker:BulkQueue=true, here and at the workers."), (code, errors));
        (code, _, errors) = await FaceEmbed.RunAsync(["submit", TestData.GraceHopper, "--bulk", .. probe.Settings, "--Broker:BulkQueue=true"]);
        Assert.Equal(1, code);
        Assert.Contains("there is no queue of bulk jobs", errors, StringComparison.Ordinal);
    }

    /// <summary>Killed at any moments: each line is handed in, and what may have come twice has the same id, and is no more than the journal's window.</summary>
    [Fact]
    public async Task A_list_that_is_killed_again_and_again_is_handed_in_once()
    {
        await using var probe = await ProbeAsync();
        const int count = 5000;
        var (list, journal, kills) = (await ListAsync(count), In("journal"), 0);
        string[] command = ["submit", "--from", list, "--resume", journal, .. probe.Settings];
        for (var part = 1; part <= 3; part++)
        {
            await using var submit = FaceEmbed.Start(command);
            var enough = part * count / 4;
            await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result > enough || !submit.Running ? probe : null, $"{enough} jobs", seconds: 120);
            Assert.True(submit.Running, submit.Errors);
            await submit.KillAsync();
            kills++;
        }

        var (code, output, errors) = await FaceEmbed.RunAsync(command);
        Assert.True(code == 0, errors);
        Assert.Contains(" were handed in before.", output, StringComparison.Ordinal);
        var jobs = await TakeAllAsync(probe, probe.Topology.Jobs);
        var byLine = jobs.GroupBy(FileOf).ToArray();
        Assert.Equal(count, byLine.Length);
        Assert.All(byLine, line => Assert.Single(line.Select(j => j.Properties.MessageId).Distinct()));
        Assert.Equal(count, jobs.Select(j => j.Properties.MessageId).Distinct().Count());
        Assert.InRange(jobs.Count - count, 0, kills * SubmitJournal.Window);

        (code, output, _) = await FaceEmbed.RunAsync(command);
        Assert.Equal((0, 0u), (code, await probe.ReadyAsync(probe.Topology.Jobs)));
        Assert.StartsWith("0 jobs confirmed", output, StringComparison.Ordinal);
        await File.WriteAllTextAsync(list, string.Join('\n', (await File.ReadAllLinesAsync(list)).Skip(1)));
        (code, _, errors) = await FaceEmbed.RunAsync(command);
        Assert.Equal(1, code);
        Assert.Contains("The journal is of another list", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Results_are_counted_by_outcome_while_a_list_is_handed_in()
    {
        await using var probe = await ProbeAsync();
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        for (var i = 0; i < 6; i++)
        {
            File.Copy(TestData.GraceHopper, In($"{i}.jpg"));
        }

        await File.WriteAllTextAsync(In("noise.jpg"), "no picture");
        var (code, output, errors) = await FaceEmbed.RunAsync(["submit", "--from", In("list"), "--wait", .. probe.Settings], []);
        Assert.Equal(1, code);
        Assert.Contains($"{In("list")}: ", errors, StringComparison.Ordinal); // it is not there

        await File.WriteAllTextAsync(In("list"), $"{folder}\n");
        (code, output, errors) = await FaceEmbed.RunAsync(["submit", "--from", In("list"), "--wait", .. probe.Settings]);
        Assert.Equal(1, code);
        Assert.True(output.EndsWith("6 embedded, 1 stub", StringComparison.Ordinal), output + errors);
    }

    public void Dispose()
    {
        Directory.Delete(folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    private protected string In(string name) => Path.Combine(folder, name);

    private protected async Task<string> ListAsync(int lines)
    {
        await File.WriteAllLinesAsync(In($"list-{lines}"), Enumerable.Range(0, lines).Select(i => $"https://photos.example.com/2026/{i}.jpg"));
        return In($"list-{lines}");
    }

    private protected static string FileOf(Seen job) => JsonElement.Parse(job.Header("metadata")).GetProperty("file").GetString()!;

    private protected static async Task<List<Seen>> TakeAllAsync(BrokerProbe probe, string queue, uint but = 0)
    {
        var taken = new List<Seen>();
        while (await probe.ReadyAsync(queue) > but && await probe.Channel.BasicGetAsync(queue, autoAck: true) is { } job)
        {
            taken.Add(new Seen(job.RoutingKey, job.Body.ToArray(), job.BasicProperties));
        }

        return taken;
    }

    private protected async Task<BrokerProbe> ProbeAsync(bool bulk = false)
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri, o => o.BulkQueue = bulk).ConnectAsync(listen: false);
    }
}

/// <summary>Once, and here: how lists, buckets and journals are read, before the broker hears of them.</summary>
[Collection(AroundRabbitMq4.Name)]
public sealed class SubmitOnRabbitMq4Tests(ContainerBroker broker) : SubmitTests(broker)
{
    /// <summary>Lines of the long list.</summary>
    private static int Lines => int.TryParse(Environment.GetEnvironmentVariable("FACE_EMBED_LINES"), CultureInfo.InvariantCulture, out var lines) ? lines : 20_000;

    [Fact]
    public async Task A_list_names_files_folders_URLs_and_keys()
    {
        await using var probe = await ProbeAsync();
        Directory.CreateDirectory(In("album"));
        File.Copy(TestData.GraceHopper, In("album/a.jpg"));
        File.Copy(TestData.GraceHopper, In("b.jpg"));
        await File.WriteAllTextAsync(In("list"), $"{In("b.jpg")}\r\n\n{In("album")}\nhttps://photos.example.com/c%20d.jpg?x=1\ns3://photos/2026/e.jpg\n{In("nowhere.jpg")}\ns3:///f.jpg\n");

        var (code, output, errors) = await FaceEmbed.RunAsync(["submit", "--from", In("list"), "--mode", "image", "--priority", "7", .. probe.Settings]);

        Assert.Equal(1, code);
        Assert.Matches(@"4 jobs confirmed by the broker, 2 failed, [\d,]+/s\.$", output);
        Assert.Contains($"{In("nowhere.jpg")}: there is no such file", errors, StringComparison.Ordinal);
        Assert.Contains("s3:///f.jpg: write s3://bucket/key", errors, StringComparison.Ordinal);
        var jobs = await TakeAllAsync(probe, probe.Topology.Jobs);
        Assert.All(jobs, j => Assert.Equal((7, "image"), (j.Properties.Priority, j.Header("mode"))));
        Assert.Equal([In("album/a.jpg"), In("b.jpg"), "https://photos.example.com/c%20d.jpg?x=1", "s3://photos/2026/e.jpg"], jobs.Select(FileOf).Order(StringComparer.Ordinal));
        Assert.Equal("""{"image":{"url":"https://photos.example.com/c%20d.jpg?x=1"}}""", Encoding.UTF8.GetString(jobs.Single(j => FileOf(j).StartsWith("https:", StringComparison.Ordinal)).Body));
        var reference = jobs.Single(j => FileOf(j).StartsWith("s3:", StringComparison.Ordinal));
        Assert.Equal(("application/json", """{"image":{"s3":"photos/2026/e.jpg"}}"""), (reference.Properties.ContentType, Encoding.UTF8.GetString(reference.Body)));
        Assert.Equal(await File.ReadAllBytesAsync(TestData.GraceHopper), jobs.Single(j => FileOf(j) == In("b.jpg")).Body);
    }

    /// <summary>What can be read once only: not for a count and then for the jobs.</summary>
    [Theory]
    [InlineData("pipe")]
    [InlineData("link")] // as /dev/stdin is
    public async Task A_list_comes_through_a_pipe(string name)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes have names on Linux.");
        await using var probe = await ProbeAsync();
        Process.Start("mkfifo", In("pipe"))!.WaitForExit();
        File.CreateSymbolicLink(In("link"), In("pipe"));
        await using var submit = FaceEmbed.Start(["submit", "--from", In(name), .. probe.Settings]);

        await File.WriteAllTextAsync(In("pipe"), "https://photos.example.com/a.jpg\nhttps://photos.example.com/b.jpg\n");

        Assert.Equal(0, await submit.ExitAsync());
        Assert.Equal(2, (await TakeAllAsync(probe, probe.Topology.Jobs)).Count);
    }

    [Fact]
    public async Task A_bucket_is_listed_page_by_page()
    {
        const string Beginning = "<IsTruncated>true</IsTruncated><NextContinuationToken>next page</NextContinuationToken><Contents><Key>2026/</Key></Contents><Contents><Key>2026/a b.jpg</Key></Contents><Contents><Key>2026/b.txt</Key></Contents><Contents><Key>2026/c.PNG</Key></Contents>";
        const string End = "<IsTruncated>false</IsTruncated><Contents><Key>2026/d.jpeg</Key></Contents>";
        await using var probe = await ProbeAsync();
        var (asked, address) = (new List<string>(), $"http://127.0.0.1:{TestBroker.FreePort()}");
        using var s3 = new HttpListener();
        s3.Prefixes.Add($"{address}/");
        s3.Start();
        _ = AnswerAsync();
        var environment = new Dictionary<string, string?> { ["AWS_ACCESS_KEY_ID"] = "key", ["AWS_SECRET_ACCESS_KEY"] = "secret" };

        var (code, _, errors) = await FaceEmbed.RunAsync(["submit", "s3://photos/2026/", .. probe.Settings, $"--Sources:S3Endpoint={address}"], environment);

        Assert.True(code == 0, errors);
        Assert.Equal(["s3://photos/2026/a b.jpg", "s3://photos/2026/c.PNG", "s3://photos/2026/d.jpeg"], (await TakeAllAsync(probe, probe.Topology.Jobs)).Select(FileOf).Order(StringComparer.Ordinal));
        Assert.Collection(asked, first => Assert.Equal(("photos", "2026/", null), Query(first)), second => Assert.Equal(("photos", "2026/", "next page"), Query(second)));

        (code, _, errors) = await FaceEmbed.RunAsync(["submit", "s3://nowhere/", .. probe.Settings, $"--Sources:S3Endpoint={address}"], environment);
        Assert.Equal(1, code);
        Assert.Contains("s3://nowhere/: it cannot be listed", errors, StringComparison.Ordinal);

        (code, _, errors) = await FaceEmbed.RunAsync(["submit", "s3://empty/2026/", .. probe.Settings, $"--Sources:S3Endpoint={address}"], environment);
        Assert.Equal((1, true), (code, errors.Contains("s3://empty/2026/: there are no pictures in there.", StringComparison.Ordinal)));

        // in a list it is a line that failed; with a journal the list stops there, and what was begun is done
        var photo = await File.ReadAllBytesAsync(TestData.GraceHopper);
        await Task.WhenAll(Enumerable.Range(0, 40).Select(i => File.WriteAllBytesAsync(In($"{i:00}.jpg"), photo)));
        var names = Enumerable.Range(0, 40).Select(i => In($"{i:00}.jpg")).ToArray();
        await File.WriteAllLinesAsync(In("mixed"), [.. names[..30], "s3://nowhere/", .. names[30..]]);
        (code, var output, errors) = await FaceEmbed.RunAsync(["submit", "--from", In("mixed"), "--resume", In("journal"), .. probe.Settings, $"--Sources:S3Endpoint={address}"], environment);
        Assert.Equal(1, code);
        Assert.StartsWith("30 jobs confirmed by the broker", output.Split('\n')[^1], StringComparison.Ordinal);
        Assert.Contains("What is done is in the journal", errors, StringComparison.Ordinal);
        Assert.Equal(30, (await TakeAllAsync(probe, probe.Topology.Jobs)).Count);
        (code, output, errors) = await FaceEmbed.RunAsync(["submit", "--from", In("mixed"), .. probe.Settings, $"--Sources:S3Endpoint={address}"], environment);
        Assert.Equal(1, code);
        Assert.StartsWith("40 jobs confirmed by the broker, 1 failed", output.Split('\n')[^1], StringComparison.Ordinal);
        Assert.Contains("s3://nowhere/: it cannot be listed", errors, StringComparison.Ordinal);
        Assert.Equal(40, (await TakeAllAsync(probe, probe.Topology.Jobs)).Count);

        var nobody = environment.ToDictionary(v => v.Key, _ => (string?)null);
        nobody["AWS_EC2_METADATA_DISABLED"] = "true";
        (code, _, errors) = await FaceEmbed.RunAsync(["submit", "s3://photos/2026/", .. probe.Settings, $"--Sources:S3Endpoint={address}"], nobody);
        Assert.Equal((1, "face-embed: s3://photos/2026/: it cannot be listed: Failed to resolve AWS credentials. It needs s3:ListBucket, the address in Sources:S3Endpoint and the region in Sources:S3Region."), (code, errors.Trim()));

        async Task AnswerAsync()
        {
            while (s3.IsListening)
            {
                var context = await s3.GetContextAsync();
                var second = context.Request.QueryString["continuation-token"] is not null;
                if (context.Request.Url!.AbsolutePath.Contains("photos", StringComparison.Ordinal))
                {
                    asked.Add(context.Request.RawUrl!);
                    await context.Response.OutputStream.WriteAsync(Encoding.UTF8.GetBytes($"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name>{(second ? End : Beginning)}</ListBucketResult>"));
                }
                else if (context.Request.Url!.AbsolutePath.Contains("empty", StringComparison.Ordinal))
                {
                    await context.Response.OutputStream.WriteAsync("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>empty</Name><IsTruncated>false</IsTruncated></ListBucketResult>"u8.ToArray());
                }
                else
                {
                    context.Response.StatusCode = 404;
                }

                context.Response.Close();
            }
        }

        static (string Bucket, string? Prefix, string? Token) Query(string asked)
        {
            var url = new Uri($"http://s3{asked}");
            var query = System.Web.HttpUtility.ParseQueryString(url.Query);
            return (url.AbsolutePath.Trim('/'), query["prefix"], query["continuation-token"]);
        }
    }

    /// <summary>One of three lines is no picture: it is done with, and was not handed in.</summary>
    [Fact]
    public async Task What_failed_before_is_not_called_handed_in()
    {
        await using var probe = await ProbeAsync();
        await File.WriteAllLinesAsync(In("list"), ["https://photos.example.com/a.jpg", In("nowhere.jpg"), "https://photos.example.com/b.jpg"]);
        string[] command = ["submit", "--from", In("list"), "--resume", In("journal"), .. probe.Settings];
        var (code, output, _) = await FaceEmbed.RunAsync(command);
        Assert.Equal(1, code);
        Assert.Matches(@"2 jobs confirmed by the broker, 1 failed, [\d,]+/s\.$", output);

        (code, output, _) = await FaceEmbed.RunAsync(command);

        Assert.Equal(1, code);
        Assert.Equal("0 jobs confirmed by the broker, 0/s; 2 were handed in before, and 1 failed then: what failed is not tried again.", output);
        Assert.Equal(2u, await probe.ReadyAsync(probe.Topology.Jobs));
    }

    /// <summary>More jobs than may be out: what is handed in waits for results, and those for a worker.</summary>
    [Fact]
    public async Task A_long_list_whose_results_nobody_makes_says_what_it_waits_for()
    {
        await using var probe = await ProbeAsync();
        await using var submit = FaceEmbed.Start(["submit", "--from", await ListAsync(10_001), "--wait", .. probe.Settings]);
        await probe.UntilAsync(() => submit.Errors.Contains("No worker takes jobs at the moment: results come, and the rest is handed in, once one is started", StringComparison.Ordinal) ? probe : null, "a word of it", seconds: 100);
        Assert.Equal(10_000u, await probe.ReadyAsync(probe.Topology.Jobs));
        Assert.Equal(130, await submit.InterruptAsync());
    }

    /// <summary>Whoever writes the list has fallen silent, and what was handed in is told all the same.</summary>
    [Fact]
    public async Task A_list_that_does_not_end_is_left_when_it_is_told_to()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes have names on Linux.");
        await using var probe = await ProbeAsync();
        Process.Start("mkfifo", In("list"))!.WaitForExit();
        await using var submit = FaceEmbed.Start(["submit", "--from", In("list"), .. probe.Settings]);
        await using var list = new StreamWriter(new FileStream(In("list"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite)); // opens once it is read
        await list.WriteLineAsync("https://photos.example/1.jpg");
        await list.FlushAsync();
        await probe.UntilAsync(() => submit.Output.Contains("1.jpg: job ", StringComparison.Ordinal) ? probe : null, "the first job");
        Assert.Equal(130, await submit.InterruptAsync());
        Assert.Contains("1 job confirmed by the broker", submit.Output, StringComparison.Ordinal);
    }

    /// <summary>None of them reaches the broker.</summary>
    [Fact]
    public async Task A_list_or_a_journal_that_cannot_be_one_is_told()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes have names on Linux.");
        await using var probe = await ProbeAsync();
        Process.Start("mkfifo", In("pipe"))!.WaitForExit();
        await File.WriteAllTextAsync(In("empty"), "");

        Assert.Equal((64, $"face-embed: --from {folder} is a folder, and takes a file with a name a line: a folder is an argument, as in face-embed submit {folder}."), await ToldAsync("--from", folder));
        Assert.Equal((64, $"face-embed: --resume {In("pipe")} is a pipe (FIFO), and a journal is kept in a file."), await ToldAsync("--from", await ListAsync(3), "--resume", In("pipe")));
        Assert.Equal((64, $"face-embed: --resume {In("empty")} is what is to be handed in, and would be overwritten; name another file."), await ToldAsync("--from", In("empty"), "--resume", In("empty")));
        Assert.Equal("", await File.ReadAllTextAsync(In("empty")));

        Assert.Equal((73, $"face-embed: {In("nowhere/journal")}: it cannot be written: there is no such folder."), await ToldAsync("--from", In("empty"), "--resume", In("nowhere/journal")));
        foreach (var input in new[] { "-", "/dev/stdin" })
        {
            using var closed = Process.Start(new ProcessStartInfo("sh", ["-c", "exec timeout 60 dotnet \"$@\" <&-", "sh", Path.Combine(AppContext.BaseDirectory, "face-embed.dll"), "submit", "--from", input, .. probe.Settings]) { RedirectStandardError = true })!;
            Assert.Equal($"face-embed: --from {input} reads standard input, and that is closed: pipe a list in, or name a file.", (await closed.StandardError.ReadToEndAsync()).Trim());
            await closed.WaitForExitAsync();
            Assert.Equal((64, 0u), (closed.ExitCode, await probe.ReadyAsync(probe.Topology.Jobs)));
        }

        await File.WriteAllTextAsync(In("endless"), "\n\n" + new string('x', 70_000) + "\nhttps://host/a.jpg");
        Assert.Equal((1, $"face-embed: {In("endless")}: Line 3 is longer than 65,536 characters: a list has a name on each line."), await ToldAsync("--from", In("endless")));
        await File.WriteAllTextAsync(In("nowhere.txt"), "https://\r\n");
        Assert.Equal((1, "face-embed: https://: no address: write https://host/path."), await ToldAsync("--from", In("nowhere.txt")));

        await File.WriteAllTextAsync(In("blank"), "\r\n \n");
        Assert.Equal((1, $"face-embed: {In("blank")}: it holds no line with a name."), await ToldAsync("--from", In("blank")));
        Assert.Equal((1, "face-embed: /dev/null: it holds no line with a name."), await ToldAsync("--from", "/dev/null", "--resume", In("journal")));

        async Task<(int Code, string Errors)> ToldAsync(params string[] options)
        {
            var (code, _, errors) = await FaceEmbed.RunAsync(["submit", .. options, .. probe.Settings]);
            return (code, errors);
        }
    }

    /// <summary>What it keeps in memory does not grow with the list.</summary>
    [Fact]
    public async Task A_long_list_is_handed_in_in_constant_memory()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Peaks are read from /proc.");
        await using var probe = await ProbeAsync();
        var (few, _) = await PeakAsync(200);
        var (many, output) = await PeakAsync(Lines);
        TestContext.Current.TestOutputHelper?.WriteLine($"{Lines:N0} lines: {many / 1_000_000} MB at most, beside {few / 1_000_000} MB for 200. {output}");
        Assert.InRange(many, few / 2, few + 60_000_000);

        async Task<(long Peak, string Output)> PeakAsync(int lines)
        {
            await using var submit = FaceEmbed.Start(["submit", "--from", await ListAsync(lines), .. probe.Settings], new() { ["DOTNET_GCHeapHardLimit"] = "0x6000000" });
            var peak = 0L;
            while (submit.Running)
            {
                try
                {
                    peak = Math.Max(peak, long.Parse((await File.ReadAllLinesAsync($"/proc/{submit.Id}/status")).Single(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) * 1024);
                }
                catch (Exception e) when (e is IOException or InvalidOperationException or IndexOutOfRangeException)
                {
                    // it has just ended
                }

                await Task.Delay(50);
            }

            Assert.Equal(0, await submit.ExitAsync());
            await probe.Channel.QueuePurgeAsync(probe.Topology.Jobs);
            return (peak, submit.Output.Split('\n')[^1]);
        }
    }

    /// <summary>
    /// Confirms come in bursts between pauses in which the broker gives a count of nought: so does a leader with more to do than it can, on
    /// either broker (<see cref="OperatorTests"/>).
    /// </summary>
    [Fact]
    public async Task A_queue_that_does_not_tell_how_full_it_is_is_not_flooded()
    {
        await using var probe = await ProbeAsync();
        var list = await ListAsync(600);
        await Broker.EvaluateAsync($"Queue = '%2F_{probe.Topology.Jobs}', spawn(fun() -> Pause = fun Again(0) -> ok; Again(N) -> sys:suspend(Queue), timer:sleep(900), sys:resume(Queue), timer:sleep(60), Again(N - 1) end, Pause(25) end).");
        await using var submit = FaceEmbed.Start(["submit", "--from", list, "--ahead", "50", .. probe.Settings]);
        await Task.Delay(TimeSpan.FromSeconds(26));
        Assert.True(submit.Running, submit.Output + submit.Errors);
        Assert.Contains("The broker does not tell how many jobs wait in the queue", submit.Errors, StringComparison.Ordinal);
        Assert.InRange((uint)await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Jobs).Result is > 0 and var ready ? (object)ready : null, "a count: the pauses are over"), 1u, 65u);
    }
}
