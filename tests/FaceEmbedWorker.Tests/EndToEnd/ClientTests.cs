using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Amazon.S3;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The README's clients as they stand there, with queues of the default names on a virtual host of their own.</summary>
[Collection(AroundRabbitMq310.Name)]
public sealed partial class ClientTests(DebianBroker broker) : IDisposable
{
    private const string Python = "/usr/bin/python3"; // Debian's, which knows its packages
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-clients-").FullName;
    private string database = "";

    [Fact]
    public async Task The_CSharp_clients_hand_in_and_receive()
    {
        await using var probe = await ProbeAsync("csharp");
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        Directory.CreateDirectory(In("photos"));
        File.Copy(TestData.GraceHopper, In("photos/one.jpg"));
        File.Copy(TestData.GraceHopper, In("photos/two.jpg"));
        await File.WriteAllTextAsync(In("producer.cs"), Client("csharp", "producer.cs"));
        await File.WriteAllTextAsync(In("consumer.cs"), Client("csharp", "consumer.cs"));

        using var producer = Start(probe, "dotnet", "run", In("producer.cs"), In("photos"));
        Assert.Equal("", await producer.StandardOutput.ReadToEndAsync());
        await producer.WaitForExitAsync();
        Assert.Equal(0, producer.ExitCode);

        using var consumer = Start(probe, "dotnet", "run", In("consumer.cs"));
        var lines = new[] { await consumer.StandardOutput.ReadLineAsync(), await consumer.StandardOutput.ReadLineAsync() };
        consumer.Kill(entireProcessTree: true);
        Assert.Equal(["one.jpg: embedded, 1 vectors", "two.jpg: embedded, 1 vectors"], lines.Order());
    }

    [Fact]
    public async Task The_Python_producer_fills_PostgreSQL_by_the_Python_consumer()
    {
        await using var postgres = await PostgreSql.StartAsync();
        database = postgres.Url;
        await using var probe = await ProbeAsync("python");
        await using var worker = await FaceEmbed.WorkerAsync(probe);
        Directory.CreateDirectory(In("photos"));
        foreach (var n in Enumerable.Range(1, 10))
        {
            File.Copy(TestData.GraceHopper, In($"photos/{n}.jpg"));
        }

        await RunAsync(probe, await ScriptAsync("producer.py"), In("photos"));
        using var store = Start(probe, Python, await ScriptAsync("store.py"));
        await UntilAsync(postgres, "select count(*) from face where source = 'face' and array_length(vector, 1) = 512", "10");
        store.Kill();
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
        await using var s3 = await S3Server.StartAsync(In("s3"), picture);
        using var pictures = new PictureServer(await File.ReadAllBytesAsync(picture));
        await using var probe = await ProbeAsync("mixed");
        string[] settings = ["--Jobs:Mode=Image", "--Sources:PrivateNetworks=127.0.0.0/8", $"--Sources:Hosts={pictures.Address}", $"--Sources:Roots={folder}", "--Sources:Buckets=photos", $"--Sources:S3Endpoint={s3.Address}"];
        var environment = new Dictionary<string, string?> { ["AWS_ACCESS_KEY_ID"] = "S3RVER", ["AWS_SECRET_ACCESS_KEY"] = "S3RVER" };
        await using var first = await FaceEmbed.WorkerAsync(probe, environment, settings);
        await using var second = await FaceEmbed.WorkerAsync(probe, environment, settings);
        using var store = Start(probe, Python, await ScriptAsync("store.py"));

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

    private static string Client(string language, string name) => CodeBlock().Matches(File.ReadAllText(Path.Combine(TestData.Repository, "README.md")))
        .Where(m => m.Groups[1].Value == language).Select(m => m.Groups[2].Value).First(c => c.Contains(name, StringComparison.Ordinal));

    private async Task<string> ScriptAsync(string name)
    {
        await File.WriteAllTextAsync(In(name), Client("python", name));
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
        await broker.ControlAsync("set_permissions", "-p", host, "guest", ".*", ".*", ".*");
        return await new BrokerProbe(broker.Uri, o => (o.Uri, o.Jobs, o.Results) = ($"{broker.Uri}{host}", "face.jobs", "face.results")).ConnectAsync(listen: false);
    }

    private string In(string name) => Path.Combine(folder, name);

    [GeneratedRegex("```(python|csharp)\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CodeBlock();

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

/// <summary>PostgreSQL of Debian's in a folder of its own, on loopback; one at a time.</summary>
internal sealed class PostgreSql : IAsyncDisposable
{
    private readonly int port = TestBroker.FreePort();
    private static readonly string? Programs = Directory.Exists("/usr/lib/postgresql") ? Directory.GetDirectories("/usr/lib/postgresql").Order().Select(d => Path.Combine(d, "bin")).LastOrDefault() : null;
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-postgres-").FullName;

    private PostgreSql()
    {
    }

    public string Url => $"postgresql://postgres@127.0.0.1:{port}/postgres";

    public static async Task<PostgreSql> StartAsync()
    {
        Assert.SkipWhen(Programs is null || !Environment.IsPrivilegedProcess, "There is no PostgreSQL, or no root to start it: apt-get install postgresql python3-psycopg2 python3-pika.");
        var server = new PostgreSql();
        await ShellAsync($"chown postgres {server.folder}");
        await server.AsUserAsync($"{Programs}/initdb -D {server.folder}/data --auth=trust --no-sync");
        await server.AsUserAsync($"{Programs}/pg_ctl -D {server.folder}/data -w -l {server.folder}/log -o '-p {server.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={server.folder} -c fsync=off' start");
        return server;
    }

    /// <summary>A query's only row, its columns parted by |; nothing where it fails.</summary>
    public Task<string> QueryAsync(string query) => ShellAsync($"psql -qAt '{Url}' -c \"{query}\" 2>&1 || true");

    public async ValueTask DisposeAsync()
    {
        await AsUserAsync($"{Programs}/pg_ctl -D {folder}/data -m immediate stop");
        Directory.Delete(folder, recursive: true);
    }

    private Task<string> AsUserAsync(string command) => ShellAsync($"cd {folder} && runuser -u postgres -- {command} > {folder}/output 2>&1 || {{ cat {folder}/output; exit 1; }}");

    private static async Task<string> ShellAsync(string command)
    {
        using var shell = Process.Start(new ProcessStartInfo("sh", ["-c", command]) { RedirectStandardOutput = true })!;
        var output = await shell.StandardOutput.ReadToEndAsync();
        await shell.WaitForExitAsync();
        Assert.True(shell.ExitCode == 0, output);
        return output.Trim();
    }
}
