using System.Diagnostics;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A PostgreSQL on loopback: Debian's, or, with pgvector, npm's PGlite.</summary>
internal sealed class PostgreSql : IAsyncDisposable
{
    private static readonly string? Programs = Directory.Exists("/usr/lib/postgresql") ? Directory.GetDirectories("/usr/lib/postgresql").Order().Select(d => Path.Combine(d, "bin")).LastOrDefault() : null;
    private static readonly string Psql = Programs is null ? "psql" : Path.Combine(Programs, "psql"); // Debian's of that name is a wrapper in Perl
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-postgres-").FullName;
    private readonly int port = TestBroker.FreePort();
    private readonly Func<Task> stop;

    private PostgreSql(Func<PostgreSql, Task> stop) => this.stop = () => stop(this);

    public string Url => $"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable";

    /// <summary>Debian's.</summary>
    public static async Task<PostgreSql> StartAsync()
    {
        Assert.SkipWhen(Programs is null || !Environment.IsPrivilegedProcess, "There is no PostgreSQL, or no root to start it: apt-get install postgresql python3-psycopg2 python3-pika.");
        var server = new PostgreSql(s => s.AsUserAsync($"{Programs}/pg_ctl -D {s.folder}/data -m immediate stop"));
        await ShellAsync($"chown postgres {server.folder}");
        await server.AsUserAsync($"{Programs}/initdb -D {server.folder}/data --auth=trust --no-sync");
        await server.AsUserAsync($"{Programs}/pg_ctl -D {server.folder}/data -w -l {server.folder}/log -o '-p {server.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={server.folder} -c fsync=off' start");
        return server;
    }

    /// <summary>PGlite, which has pgvector (Debian 12 has no package of it).</summary>
    public static async Task<PostgreSql> StartWithVectorsAsync()
    {
        var program = Environment.GetEnvironmentVariable("FACE_EMBED_PGLITE");
        Assert.SkipWhen(program is null || !File.Exists("/usr/bin/psql"), "There is no PostgreSQL with pgvector: FACE_EMBED_PGLITE names npm's pglite-server; and psql.");
        Process? process = null;
        var server = new PostgreSql(async _ =>
        {
            process!.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
            process.Dispose();
        });
        process = Process.Start(new ProcessStartInfo(program!, [$"--port={server.port}", "--extensions=@electric-sql/pglite-pgvector:vector", "--max-connections=20"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = server.folder,
        })!;
        var listening = new TaskCompletionSource();
        process.OutputDataReceived += (_, e) =>
        {
            if (e.Data is null || e.Data.Contains("listening", StringComparison.Ordinal))
            {
                listening.TrySetResult();
            }
        };
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        await listening.Task;
        return server;
    }

    /// <summary>A query's rows, their columns parted by |; what went wrong where it fails.</summary>
    public Task<string> QueryAsync(string query) => ShellAsync($"{Psql} -qAt '{Url}' -c \"{query}\" 2>&1 || true");

    /// <summary>Runs a file of statements, with psql's options before it.</summary>
    public Task RunAsync(params string[] arguments) => ShellAsync($"{Psql} -q -v ON_ERROR_STOP=1 {string.Join(' ', arguments[..^1])} -f {arguments[^1]} '{Url}' 2>&1");

    public async ValueTask DisposeAsync()
    {
        await stop();
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
