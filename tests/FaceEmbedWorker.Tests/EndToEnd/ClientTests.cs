using System.Diagnostics;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Amazon.S3;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The clients of README and docs as they stand there, with queues of the default names on a virtual host of their own.</summary>
public sealed partial class ClientTests(DebianBroker broker) : IClassFixture<DebianBroker>, IDisposable
{
    private const string Python = "/usr/bin/python3"; // Debian's, which knows its packages
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-clients-").FullName;
    private string database = "";

    [Fact]
    public async Task The_CSharp_clients_hand_in_and_receive()
    {
        await using var probe = await ProbeAsync("csharp");
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);
        Directory.CreateDirectory(In("photos"));
        File.Copy(TestData.GraceHopper, In("photos/one.jpg"));
        File.Copy(TestData.GraceHopper, In("photos/two.jpg"));
        await File.WriteAllTextAsync(In("producer.cs"), Block("docs/clients.md", "producer.cs"));
        await File.WriteAllTextAsync(In("consumer.cs"), Block("docs/clients.md", "consumer.cs"));

        using var producer = Start(probe, "dotnet", "run", In("producer.cs"), In("photos"));
        Assert.Equal("", await producer.StandardOutput.ReadToEndAsync());
        await producer.WaitForExitAsync();
        Assert.Equal(0, producer.ExitCode);

        Directory.CreateDirectory(In("none"));
        using var idle = Start(probe, "dotnet", "run", In("producer.cs"), In("none"));
        Assert.Equal($"{In("none")}: there is no *.jpg in it", (await idle.StandardError.ReadToEndAsync()).Trim());
        await idle.WaitForExitAsync();
        Assert.Equal(1, idle.ExitCode);

        using var consumer = Start(probe, "dotnet", "run", In("consumer.cs"));
        var lines = new[] { await consumer.StandardOutput.ReadLineAsync(), await consumer.StandardOutput.ReadLineAsync() };
        consumer.Kill(entireProcessTree: true);
        Assert.Equal(["one.jpg: embedded, 1 vectors", "two.jpg: embedded, 1 vectors"], lines.Order());
    }

    [Fact]
    public async Task The_first_job_by_hand_ends_as_the_readme_shows()
    {
        const string program = "out/face-embed ";
        var readme = await File.ReadAllTextAsync(Path.Combine(TestData.Repository, "README.md"));
        var steps = Block("README.md", $"{program}submit").Split('\n').Select(l => l.Split('#')[0].Trim()).Where(l => l.StartsWith(program, StringComparison.Ordinal)).Select(l => l[program.Length..]).ToArray();
        Assert.Equal("run &", steps[0]);
        await using var probe = await ProbeAsync("first");
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);

        var (code, output, errors) = await FaceEmbed.RunAsync([.. steps[1].Split(' '), .. probe.Settings]);

        Assert.True(code == 0, errors);
        var shown = readme[readme.IndexOf("```\n1 job confirmed", StringComparison.Ordinal)..].Split("```")[1].Trim();
        Assert.Equal(Measured().Replace(shown, "…"), Measured().Replace(output, "…"));
    }

    /// <summary>Photos are handed in and received by README and docs/clients.md; what is no picture is routed away.</summary>
    [Fact]
    public async Task The_Python_clients_hand_in_and_receive()
    {
        Assert.SkipUnless(File.Exists(Python), "There is no Debian Python: apt-get install python3-pika.");
        Assert.Equal(Block("README.md", "consumer.py"), Block("docs/clients.md", "consumer.py"));
        await using var probe = await ProbeAsync("python");
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);
        Directory.CreateDirectory(In("photos"));
        File.Copy(TestData.GraceHopper, In("photos/one.jpg"));
        await File.WriteAllTextAsync(In("photos/two.jpg"), "no picture");

        Directory.CreateDirectory(In("none"));
        using var idle = Start(probe, Python, await ScriptAsync("docs/clients.md", "producer.py"), In("none"));
        Assert.Equal($"{In("none")}: there is no *.jpg in it", (await idle.StandardError.ReadToEndAsync()).Trim());
        await idle.WaitForExitAsync();
        Assert.Equal(1, idle.ExitCode);

        await RunAsync(probe, In("producer.py"), In("photos"));
        using var consumer = Start(probe, Python, "-u", await ScriptAsync("README.md", "consumer.py"));
        var lines = new[] { await consumer.StandardOutput.ReadLineAsync(), await consumer.StandardOutput.ReadLineAsync() };
        consumer.Kill();
        Assert.Single(lines, line => line!.StartsWith($"one.jpg {Space(worker)} 0.9", StringComparison.Ordinal));
        Assert.Single(lines, line => line!.StartsWith("two.jpg", StringComparison.Ordinal) && line.EndsWith(" is no picture", StringComparison.Ordinal));
    }

    /// <summary>
    /// docs/reembedding.md: crops are kept, of jobs and CloudEvents with whatever ids, and give the same vectors without the photos.
    /// </summary>
    [Fact]
    public async Task Kept_crops_are_embedded_again_without_the_photos()
    {
        Assert.SkipUnless(File.Exists(Python), "There is no Debian Python: apt-get install python3-pika.");
        const string page = "docs/reembedding.md";
        await using var probe = await ProbeAsync("crops");
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);
        Directory.CreateDirectory(In("crops"));
        var photo = await File.ReadAllBytesAsync(TestData.GraceHopper);
        string[] ids = ["grace", "2026/11/grace", new string('g', 240), string.Concat(Enumerable.Repeat("é", 119)) + "/"];
        await probe.SubmitAsync(photo, "image/jpeg", ids[0], new() { ["return_crops"] = "png" });
        foreach (var id in ids[1..])
        {
            await probe.SubmitAsync(JsonSerializer.SerializeToUtf8Bytes(new { specversion = "1.0", id, source = "/photos", type = "photo", data = new { id, image = new { data = photo }, return_crops = "png" } }), "application/cloudevents+json");
        }

        using (var keep = Start(probe, Python, await ScriptAsync(page, "keep.py"), In("crops")))
        {
            await probe.UntilAsync(() => Directory.GetFiles(In("crops"), "*.face1.png").Length == ids.Length ? probe : null, "the crops");
            keep.Kill();
        }

        Directory.CreateDirectory(In("none"));
        using (var idle = Start(probe, Python, await ScriptAsync(page, "reembed.py"), In("none")))
        {
            Assert.Equal($"{In("none")}: there are no crops in it", (await idle.StandardError.ReadToEndAsync()).Trim());
            await idle.WaitForExitAsync();
            Assert.Equal(1, idle.ExitCode);
        }

        await RunAsync(probe, In("reembed.py"), In("crops"));

        var (vector, left) = ((await Pipeline.EmbedAsync(photo)).Embeddings[0].Vector, ids.ToHashSet());
        while (left.Count > 0)
        {
            var again = await probe.UntilAsync(() => probe.Channel.BasicGetAsync("face.results", autoAck: true).Result is { } got && got.BasicProperties.ContentType == "application/json" ? EmbedResult.FromJson(got.Body.Span) : null, "a vector");
            if (again.Metadata.TryGetProperty("photo", out var whose)) // otherwise a first result that was not acked in time
            {
                Assert.Equal((Space(worker), 1), (again.Model.Space, again.Metadata.GetProperty("face").GetInt32()));
                Assert.Equal(vector, again.Embeddings[0].Vector);
                left.Remove(whose.GetString()!);
            }
        }
    }

    /// <summary>docs/postgresql.md from its first step to its last, with pgvector.</summary>
    [Fact]
    public async Task Vectors_are_stored_searched_erased_and_replaced_by_those_of_another_model()
    {
        const string page = "docs/postgresql.md";
        await using var postgres = await PostgreSql.StartWithVectorsAsync();
        database = postgres.Url;
        await File.WriteAllTextAsync(In("tables.sql"), Block(page, "create table face"));
        await File.WriteAllTextAsync(In("erase.sql"), Block(page, "delete from face where job_id"));
        await File.WriteAllTextAsync(In("drop.sql"), Block(page, "delete from face where space"));
        await postgres.RunAsync(In("tables.sql"));
        await using var probe = await ProbeAsync("postgresql");
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);
        Directory.CreateDirectory(In("photos"));
        File.Copy(TestData.GraceHopper, In("photos/grace.jpg"));
        File.Copy(TestData.Astronaut, In("photos/astronaut.jpg"));
        await File.WriteAllTextAsync(In("photos/stub.jpg"), "no picture");
        var produce = await ScriptAsync("docs/clients.md", "producer.py");
        await RunAsync(probe, produce, In("photos"));

        using var store = Start(probe, Python, await ScriptAsync(page, "store.py"));
        await UntilAsync(postgres, "select string_agg(job_id, ' ' order by job_id) from face", "astronaut.jpg grace.jpg");
        await RunAsync(probe, produce, In("photos")); // again: doubles
        await probe.UntilAsync(() => probe.ReadyAsync("face.jobs").Result + probe.ReadyAsync("face.results").Result == 0 ? probe : null, "empty queues");
        Assert.Equal("2", await postgres.QueryAsync("select count(*) from face"));
        Assert.Equal("t", await postgres.QueryAsync("select bool_and(score > .9 and quality > .9 and box[3] > 50) from face"));

        // another picture under an id of before: its faces take the place of the old ones
        File.Copy(TestData.GraceHopper, In("photos/astronaut.jpg"), overwrite: true);
        await RunAsync(probe, produce, In("photos"));
        await UntilAsync(postgres, "select count(*), count(distinct vector) from face", "2|1");
        File.Copy(TestData.Astronaut, In("photos/astronaut.jpg"), overwrite: true);
        await RunAsync(probe, produce, In("photos"));
        await UntilAsync(postgres, "select count(*), count(distinct vector) from face", "2|2");
        await probe.UntilAsync(() => probe.ReadyAsync("face.jobs").Result + probe.ReadyAsync("face.results").Result == 0 ? probe : null, "empty queues");

        var search = await ScriptAsync(page, "search.py");
        var program = $"dotnet {Path.Combine(AppContext.BaseDirectory, "face-embed.dll")}";
        Assert.Matches(@"\A1\.000 grace\.jpg at \[\d+, \d+, \d+, \d+\]\n\z", await SearchAsync(TestData.GraceHopper));

        // a crop of it, as reembed.py hands it in, is erased with it
        Directory.CreateDirectory(In("crops"));
        await File.WriteAllBytesAsync(In("crops/0123.face1.png"), Pipeline.Changed(TestData.GraceHopper, i => i.ThumbnailImage(112, height: 112, size: NetVips.Enums.Size.Force)));
        await File.WriteAllTextAsync(In("crops/0123.json"), "\"grace.jpg\"");
        await RunAsync(probe, await ScriptAsync("docs/reembedding.md", "reembed.py"), In("crops"));
        await UntilAsync(postgres, "select count(*) from face where job_id = 'grace.jpg'", "2");

        await postgres.RunAsync("-v", "job=grace.jpg", In("erase.sql"));
        await RunAsync(probe, In("reembed.py"), In("crops"));
        await RunAsync(probe, produce, In("photos")); // a result that comes late
        await probe.UntilAsync(() => probe.ReadyAsync("face.jobs").Result + probe.ReadyAsync("face.results").Result == 0 ? probe : null, "empty queues");
        Assert.Equal("", await SearchAsync(TestData.GraceHopper));
        Assert.Matches(@"\A1\.000 astronaut\.jpg ", await SearchAsync(TestData.Astronaut));

        // The other model: the earlier detector, whose crops are another space.
        string[] other = [$"--Faces:DetectionModel={Path.Combine(TestData.Repository, "models/rfb/face_detection.onnx")}", $"--Faces:LandmarksModel={Path.Combine(TestData.Repository, "models/rfb/face_landmarks.onnx")}"];
        await using var second = await FaceEmbed.ShippedWorkerAsync(probe, [.. other, "--Broker:Jobs=photos2", "--Broker:Results=faces2"]);
        Assert.NotEqual(Space(worker), Space(second));
        await File.WriteAllTextAsync(In("producer2.py"), Block("docs/clients.md", "producer.py").Replace("\"face.jobs\"", "\"photos2\"", StringComparison.Ordinal));
        await RunAsync(probe, In("producer2.py"), In("photos"));
        using var store2 = Start(probe, "env", "RESULTS=faces2", Python, In("store.py"));
        await UntilAsync(postgres, Block(page, "count(distinct job_id)").ReplaceLineEndings(" ").Replace(";", " order by space = '" + Space(second) + "'", StringComparison.Ordinal), $"{Space(worker)}|1|1\n{Space(second)}|1|1");
        Assert.Matches(@"\A1\.000 astronaut\.jpg ", await SearchAsync(TestData.Astronaut, other));
        await postgres.RunAsync("-v", $"old={Space(worker)}", In("drop.sql"));
        Assert.Equal("", await SearchAsync(TestData.Astronaut));
        store.Kill();
        store2.Kill();

        async Task<string> SearchAsync(string photo, string[]? settings = null)
        {
            using var process = Start(probe, "env", $"FACE_EMBED={program} {string.Join(' ', settings ?? [])}", Python, search, photo);
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await process.WaitForExitAsync();
            Assert.True(process.ExitCode == 0, await errors);
            return await output;
        }
    }

    [Fact]
    public async Task Five_thousand_mixed_jobs_are_in_PostgreSQL_once_each_though_a_worker_was_killed()
    {
        const int count = 5000;
        Assert.SkipWhen(Environment.GetEnvironmentVariable("FACE_EMBED_S3RVER") is null, "There is no S3 server: FACE_EMBED_S3RVER names npm's s3rver.");
        var picture = Path.Combine(TestData.Folder, "formats", "rgb.png");
        File.Copy(picture, In("picture.png"));
        await using var postgres = await PostgreSql.StartAsync();
        database = postgres.Url;
        await postgres.QueryAsync("create table face (message_id text, position int, job_id text, space text, score real, quality real, box int[], vector real[], primary key (message_id, position)); create table erased (job_id text)");
        await using var s3 = await S3Server.StartAsync(In("s3"), picture);
        using var pictures = new PictureServer(await File.ReadAllBytesAsync(picture));
        await using var probe = await ProbeAsync("mixed");
        string[] settings = ["--Jobs:Mode=Image", "--Sources:PrivateNetworks=127.0.0.0/8", $"--Sources:Hosts={pictures.Address}", $"--Sources:Roots={folder}", "--Sources:Buckets=photos", $"--Sources:S3Endpoint={s3.Address}"];
        var environment = new Dictionary<string, string?> { ["AWS_ACCESS_KEY_ID"] = "S3RVER", ["AWS_SECRET_ACCESS_KEY"] = "S3RVER" };
        await using var first = await FaceEmbed.WorkerAsync(probe, environment, settings);
        await using var second = await FaceEmbed.WorkerAsync(probe, environment, settings);
        using var store = Start(probe, Python, await ScriptAsync("docs/postgresql.md", "store.py"));

        var producing = RunAsync(probe, Path.Combine(TestData.Folder, "produce_mixed.py"), $"{count}", picture, $"{pictures.Address}/picture.png", "picture.png", "photos/picture.png");
        await UntilAsync(postgres, "select count(*) > 500 from face", "t");
        await first.KillAsync();
        await using var third = await FaceEmbed.WorkerAsync(probe, environment, settings);
        await UntilAsync(postgres, "select count(*) > 2000 from face", "t");
        await third.KillAsync();
        await producing;

        await UntilAsync(postgres, "select count(distinct job_id) from face", $"{count}", seconds: 240);
        await probe.UntilAsync(() => probe.ReadyAsync("face.jobs").Result + probe.ReadyAsync("face.results").Result == 0 ? probe : null, "empty queues");
        Assert.Equal($"{count}|{count}", await postgres.QueryAsync("select count(*), count(distinct job_id) from face"));
        Assert.Equal("1", await postgres.QueryAsync("select count(distinct (space, vector)) from face")); // the same picture, however it came
        Assert.Equal(0u, await probe.ReadyAsync("face.jobs.dead"));
        store.Kill();
    }

    /// <summary>
    /// docs/postgresql.md's consumer, killed again and again beside workers that are, and a replay that is: each photo has its face once in
    /// each space, whatever came twice.
    /// </summary>
    [Fact]
    public async Task Each_photo_is_in_PostgreSQL_once_a_space_through_kills_replays_and_another_model()
    {
        const int count = 150;
        await using var postgres = await PostgreSql.StartAsync();
        database = postgres.Url;
        await postgres.QueryAsync("create table face (message_id text, position int, job_id text, space text, score real, quality real, box int[], vector real[], primary key (message_id, position)); create table erased (job_id text)");
        await using var probe = await ProbeAsync("recipe");
        var photo = Pipeline.Changed(TestData.GraceHopper, image => image.Resize(0.4), ".jpg");
        await using (var strict = await FaceEmbed.ShippedWorkerAsync(probe, "--Images:MaxBytes=100"))
        {
            await HandInAsync("face.jobs", 0, count / 2);
            await probe.UntilAsync(() => probe.ReadyAsync("face.jobs.dead").Result == count / 2 ? probe : null, "dead letters to replay", seconds: 60);
        }

        var store = await ScriptAsync("docs/postgresql.md", "store.py");
        using var over = new CancellationTokenSource();
        var (storing, storingOthers) = (KeepKillingAsync("face.results"), KeepKillingAsync("faces2"));
        await using var killed = await FaceEmbed.ShippedWorkerAsync(probe);
        string[] replay = ["dead-letters", "replay", "--all", "--yes", .. probe.Settings];
        await using (var first = FaceEmbed.Start(replay))
        {
            await probe.UntilAsync(() => probe.ReadyAsync("face.jobs").Result > 0 ? probe : null, "a replay under way");
            await first.KillAsync();
        }

        await HandInAsync("face.jobs", count / 2, count);
        await UntilAsync(postgres, "select count(*) > 10 from face", "t");
        await killed.KillAsync();
        await using var worker = await FaceEmbed.ShippedWorkerAsync(probe);
        await probe.UntilAsync(() => FaceEmbed.RunAsync(replay).Result.ExitCode >= 0 && probe.ReadyAsync("face.jobs.dead").Result == 0 ? probe : null, "no dead letters", seconds: 60);
        await UntilAsync(postgres, "select count(*), count(distinct job_id), count(distinct space) from face", $"{count}|{count}|1", seconds: 120);

        // the archive again, by this model and by another
        string[] other = [$"--Faces:DetectionModel={Path.Combine(TestData.Repository, "models/rfb/face_detection.onnx")}", $"--Faces:LandmarksModel={Path.Combine(TestData.Repository, "models/rfb/face_landmarks.onnx")}", "--Broker:Jobs=photos2", "--Broker:Results=faces2"];
        await using var second = await FaceEmbed.ShippedWorkerAsync(probe, other);
        await HandInAsync("face.jobs", 0, count);
        await HandInAsync("photos2", 0, count);
        await UntilAsync(postgres, $"select count(*) > {count + 10} from face", "t");
        await second.KillAsync();
        await using var third = await FaceEmbed.ShippedWorkerAsync(probe, other);
        await UntilAsync(postgres, "select space, count(*), count(distinct job_id) from face group by space order by space", string.Join('\n', new[] { Space(worker), Space(third) }.Order(StringComparer.Ordinal).Select(s => $"{s}|{count}|{count}")), seconds: 180);
        await probe.UntilAsync(() => new[] { "face.jobs", "face.results", "photos2", "faces2" }.All(queue => probe.ReadyAsync(queue).Result == 0) ? probe : null, "empty queues", seconds: 60);
        await over.CancelAsync();
        Assert.InRange(await storing + await storingOthers, 4, int.MaxValue); // kills
        Assert.Equal($"{2 * count}|{2 * count}|2", await postgres.QueryAsync("select count(*), count(distinct message_id), count(distinct (space, vector)) from face")); // one picture: one vector a space

        async Task HandInAsync(string exchange, int from, int to)
        {
            for (var i = from; i < to; i++)
            {
                await probe.Channel.BasicPublishAsync(exchange, "job", mandatory: true, new RabbitMQ.Client.BasicProperties { MessageId = $"photo-{i}", ContentType = "image/jpeg", DeliveryMode = RabbitMQ.Client.DeliveryModes.Persistent }, photo);
            }
        }

        async Task<int> KeepKillingAsync(string results)
        {
            for (var kills = 0; ; kills++)
            {
                using var consumer = Start(probe, "env", $"RESULTS={results}", Python, store);
                var ended = over.Token.IsCancellationRequested || await Task.Delay(TimeSpan.FromSeconds(3), over.Token).ContinueWith(t => t.IsCanceled, TaskScheduler.Default);
                consumer.Kill();
                await consumer.WaitForExitAsync();
                if (ended)
                {
                    return kills;
                }
            }
        }
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static async Task UntilAsync(PostgreSql postgres, string query, string expected, int seconds = 90)
    {
        var found = "";
        for (var end = DateTime.UtcNow.AddSeconds(seconds); found != expected; await Task.Delay(250))
        {
            Assert.True(DateTime.UtcNow < end, $"After {seconds} s '{query}' gives {found}, not {expected}.");
            found = await postgres.QueryAsync(query);
        }
    }

    /// <summary>The page's first block of code that has these words.</summary>
    private static string Block(string page, string words) => CodeBlock().Matches(File.ReadAllText(Path.Combine(TestData.Repository, page)))
        .Select(m => m.Groups[1].Value).First(c => c.Contains(words, StringComparison.Ordinal));

    private async Task<string> ScriptAsync(string page, string name)
    {
        await File.WriteAllTextAsync(In(name), Block(page, name));
        return In(name);
    }

    private async Task RunAsync(BrokerProbe probe, params string[] script)
    {
        using var process = Start(probe, Python, script);
        var errors = process.StandardError.ReadToEndAsync();
        await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, await errors);
    }

    private Process Start(BrokerProbe probe, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["AMQP_URL"] = probe.Options.Uri;
        start.Environment["DATABASE_URL"] = database;
        return Process.Start(start)!;
    }

    private async Task<BrokerProbe> ProbeAsync(string host)
    {
        broker.Require();
        await broker.ControlAsync("add_vhost", host);
        await broker.AllowAsync("guest", ".*", ".*", ".*", host);
        return await new BrokerProbe(broker.Uri, o => (o.Uri, o.Jobs, o.Results) = ($"{broker.Uri}{host}", "face.jobs", "face.results")).ConnectAsync(listen: false);
    }

    private static string Space(FaceEmbed worker) => SpaceInLog().Match(worker.Output + worker.Errors).Groups[1].Value;

    private string In(string name) => Path.Combine(folder, name);

    [GeneratedRegex("```(?:python|csharp|sql|bash)\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CodeBlock();

    [GeneratedRegex(@"[0-9.]+ ms, by \S+, job [0-9a-f-]+…?")]
    private static partial Regex Measured();

    [GeneratedRegex(@"\bspace (\w{12})\b")]
    private static partial Regex SpaceInLog();

    /// <summary>Gives one picture to whoever asks.</summary>
    private sealed class PictureServer : IDisposable
    {
        private readonly HttpListener listener = new();

        public PictureServer(byte[] picture)
        {
            listener.Prefixes.Add($"{Address}/");
            listener.Start();
            _ = Task.Run(async () =>
            {
                while (listener.IsListening)
                {
                    var context = await listener.GetContextAsync();
                    await context.Response.OutputStream.WriteAsync(picture);
                    context.Response.Close();
                }
            });
        }

        public string Address { get; } = $"http://127.0.0.1:{TestBroker.FreePort()}";

        public void Dispose() => listener.Close();
    }

    /// <summary>npm's s3rver, with one bucket that holds one picture.</summary>
    private sealed class S3Server(Process process, string address) : IAsyncDisposable
    {
        public string Address => address;

        public static async Task<S3Server> StartAsync(string folder, string picture)
        {
            Directory.CreateDirectory(folder);
            var port = TestBroker.FreePort();
            var process = Process.Start(new ProcessStartInfo(Environment.GetEnvironmentVariable("FACE_EMBED_S3RVER")!, ["--directory", folder, "--address", "127.0.0.1", "--port", $"{port}", "--silent", "--configure-bucket", "photos"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            var server = new S3Server(process, $"http://127.0.0.1:{port}");
            using var client = new AmazonS3Client("S3RVER", "S3RVER", new AmazonS3Config { ServiceURL = server.Address, ForcePathStyle = true, AuthenticationRegion = "us-east-1", MaxErrorRetry = 0, RequestChecksumCalculation = Amazon.Runtime.RequestChecksumCalculation.WHEN_REQUIRED });
            for (var end = DateTime.UtcNow.AddSeconds(30); ; await Task.Delay(200))
            {
                try
                {
                    await client.PutObjectAsync(new Amazon.S3.Model.PutObjectRequest { BucketName = "photos", Key = "picture.png", FilePath = picture, UseChunkEncoding = false });
                    return server;
                }
                catch (Exception e) when (e is HttpRequestException or Amazon.Runtime.AmazonServiceException && DateTime.UtcNow < end)
                {
                    // it starts
                }
            }
        }

        public async ValueTask DisposeAsync()
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }
}
