using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FaceEmbedWorker.Broker;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>A broker that speaks TLS to those who show a certificate, takes logins by certificate, and has its management API.</summary>
public sealed class SecureBroker : DebianBroker
{
    private readonly int management = FreePort();

    public int TlsPort { get; } = FreePort();

    public int ManagementTlsPort { get; } = FreePort();

    public string ManagementUrl => $"http://127.0.0.1:{management}";

    /// <summary>Certificate of the authority that signed the broker's and the clients'.</summary>
    public string Authority => Path.Combine(Folder, "ca.pem");

    public string Certificate => Path.Combine(Folder, "client.pem");

    public string CertificateKey => Path.Combine(Folder, "client.key");

    /// <summary>Of another authority.</summary>
    public string Stranger => Path.Combine(Folder, "stranger.pem");

    protected override string Plugins => "rabbitmq_management,rabbitmq_auth_mechanism_ssl";

    protected override string Configuration => $"""
        management.tcp.port = {management}
        management.tcp.ip = 127.0.0.1
        management.ssl.port = {ManagementTlsPort}
        management.ssl.ip = 127.0.0.1
        management.ssl.cacertfile = {Authority}
        management.ssl.certfile = {Path.Combine(Folder, "server.pem")}
        management.ssl.keyfile = {Path.Combine(Folder, "server.key")}
        management.ssl.verify = verify_peer
        management.ssl.fail_if_no_peer_cert = true
        listeners.ssl.default = 127.0.0.1:{TlsPort}
        ssl_options.cacertfile = {Authority}
        ssl_options.certfile = {Path.Combine(Folder, "server.pem")}
        ssl_options.keyfile = {Path.Combine(Folder, "server.key")}
        ssl_options.verify = verify_peer
        ssl_options.fail_if_no_peer_cert = true
        ssl_cert_login_from = common_name
        auth_mechanisms.1 = PLAIN
        auth_mechanisms.2 = EXTERNAL
        """;

    public override async Task StartAsync()
    {
        Directory.CreateDirectory(Folder);
        using var authority = MakeAuthority("test authority", Authority);
        using var stranger = MakeAuthority("another authority", Stranger);
        using var between = MakeAuthority("between", Path.Combine(Folder, "between.pem"), authority);
        Make(between, "broker", "server", names => names.AddIpAddress(IPAddress.Loopback));
        File.AppendAllText(Path.Combine(Folder, "server.pem"), $"\n{between.ExportCertificatePem()}\n"); // sent along
        Make(authority, "face-embed", "client", _ => { });
        Make(authority, "nobody", "nobody", _ => { });
        Make(authority, "old", "old", _ => { });
        Make(authority, "renewed", "renewed", _ => { });
        await base.StartAsync();
    }

    private static X509Certificate2 MakeAuthority(string name, string file, X509Certificate2? above = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var made = above is null ? request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(2))
            : request.Create(above, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1.5), RandomNumberGenerator.GetBytes(8)).CopyWithPrivateKey(key);
        File.WriteAllText(file, made.ExportCertificatePem());
        return made;
    }

    private void Make(X509Certificate2 authority, string name, string file, Action<SubjectAlternativeNameBuilder> addNames)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        addNames(names);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        using var made = request.Create(authority, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1), RandomNumberGenerator.GetBytes(8));
        File.WriteAllText(Path.Combine(Folder, $"{file}.pem"), made.ExportCertificatePem());
        File.WriteAllText(Path.Combine(Folder, $"{file}.key"), key.ExportPkcs8PrivateKeyPem());
    }
}

/// <summary>Who may do what, and who learns what.</summary>
public sealed class SecurityTests(SecureBroker broker) : IClassFixture<SecureBroker>
{
    private const string Password = "s3cret-Pass";

    /// <summary>The worker's permissions, as they are shipped.</summary>
    private static (string Configure, string Write, string Read) Least(Topology t) => KubernetesTests.RoleOf("face-embed", t);

    [Fact]
    public async Task A_worker_with_the_least_permissions_does_all_of_its_work()
    {
        await using var probe = await ProbeAsync();
        await AddUserAsync("least", Least(probe.Topology));
        string[] settings = [.. probe.Settings, $"--Broker:Uri={Uri("least")}", "--Broker:Declare=false"];

        var (code, output, errors) = await FaceEmbed.RunAsync(["check", .. settings], new() { ["DOTNET_GCHeapHardLimit"] = "0x18000000" }); // a bound of the heap, as the manifests have it, is none of the pictures
        Assert.True(code == 0, output + errors);
        Assert.Equal(4, output.Split('\n').Count(l => l.Contains("write to ", StringComparison.Ordinal) && l.Contains("allowed", StringComparison.Ordinal)));
        Assert.Matches("RabbitMQ 3[.][0-9.]+, cluster .+, virtual host /, logged in as user least", FaceEmbed.Flat(output));

        await using (var worker = FaceEmbed.Start(["run", .. settings, "--Jobs:DeadlineSeconds=0.001"]))
        {
            await worker.SaidAsync("Ready: taking jobs");
            await probe.SubmitAsync([], id: "malformed");
            Assert.Equal("malformed", (await probe.DeadLetterAsync("malformed")).Header("fw-error"));
            await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), id: "retried");
            Assert.Equal("attempts_exhausted", (await probe.DeadLetterAsync("retried")).Header("fw-error"));
            Assert.Equal(0, await worker.TerminateAsync());
        }

        await using var next = FaceEmbed.Start(["run", .. settings, .. FaceEmbed.Light]);
        await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), id: "good");
        await probe.ResultAsync("good", seconds: 60);
    }

    [Fact]
    public async Task Check_tells_which_permission_is_missing_and_takes_no_job()
    {
        await using var probe = await ProbeAsync(listen: false);
        await probe.SubmitAsync([1], id: "waits");
        var least = Least(probe.Topology);
        await AddUserAsync("weak", (least.Configure, least.Write.Replace("|\\.dead", "", StringComparison.Ordinal), "^$"));

        var (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings, $"--Broker:Uri={Uri("weak")}", "--Broker:Declare=false"]);

        Assert.Equal(1, code);
        var text = FaceEmbed.Flat(output);
        Assert.Matches($"write to {probe.Topology.Dead} .*FAILED", output);
        Assert.Matches($"read {probe.Topology.Jobs} .*FAILED", output);
        Assert.Contains("Grant it as deploy/README.md lists", text, StringComparison.Ordinal);
        Assert.Equal(1u, await probe.ReadyAsync(probe.Topology.Jobs));
        Assert.Equal(0u, await probe.ReadyAsync(probe.Topology.Dead) + await probe.ReadyAsync(probe.Topology.Results));

        // with every permission the same look takes no job either
        await FaceEmbed.RunAsync(["check", .. probe.Settings]);
        var got = await probe.Channel.BasicGetAsync(probe.Topology.Jobs, autoAck: true);
        Assert.False(got!.Redelivered);
    }

    [Fact]
    public async Task Check_names_a_policy_that_breaks_the_guarantee()
    {
        await using var probe = await ProbeAsync(listen: false);
        var (code, output, errors) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", broker.ManagementUrl]);
        Assert.True(code == 0, output + errors);
        Assert.Contains($"policy on {probe.Topology.Jobs} ", output, StringComparison.Ordinal);

        // queues of one's own that leave out an outcome: its first job would stop the intake
        await probe.Channel.QueueDeleteAsync(probe.Topology.Results, false, false);
        var own = (await probe.Channel.QueueDeclareAsync("", durable: false, exclusive: true, autoDelete: true)).QueueName;
        await probe.Channel.QueueBindAsync(own, probe.Topology.Results, "embedded");
        await probe.Channel.QueueBindAsync(own, probe.Topology.Results, "no_face");
        string[] ownQueues = ["check", .. probe.Settings, "--Broker:ResultsQueue=false", "--management", broker.ManagementUrl];
        (code, output, _) = await FaceEmbed.RunAsync(ownQueues);
        Assert.Equal(1, code);
        Assert.Contains($"no queue is bound to {probe.Topology.Results} with the key stub:", FaceEmbed.Flat(output), StringComparison.Ordinal);
        (code, output, errors) = await FaceEmbed.RunAsync([.. ownQueues, "--Jobs:Undecodable=Reject"]);
        Assert.True(code == 0, output + errors);
        Assert.Contains("a queue is bound for each of embedded, no_face", FaceEmbed.Flat(output), StringComparison.Ordinal);

        await broker.ControlAsync("set_policy", "breaks", $"^{probe.Topology.Jobs}$", """{"max-length":1000,"overflow":"drop-head"}""", "--apply-to", "queues");
        try
        {
            (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", broker.ManagementUrl]); // at once, though the API's figures are seconds old
            Assert.Equal(1, code);
            Assert.Contains("overflow drop-head drops messages of a full queue", FaceEmbed.Flat(output), StringComparison.Ordinal);
        }
        finally
        {
            await broker.ControlAsync("clear_policy", "breaks");
        }

        (code, output, errors) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", broker.ManagementUrl]);
        Assert.True(code == 0, output + errors);

        await broker.ControlAsync("set_operator_policy", "deletes", $"^{probe.Topology.Dead}$", """{"delivery-limit":1}""", "--apply-to", "queues");
        try
        {
            await probe.UntilAsync(() => FaceEmbed.Flat(FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", broker.ManagementUrl]).Result.Output).Contains("operator policy deletes: delivery-limit 1 deletes what was looked at", StringComparison.Ordinal) ? probe : null, "the operator policy, which the API tells seconds later", pause: 1000);
        }
        finally
        {
            await broker.ControlAsync("clear_operator_policy", "deletes");
        }

        await probe.UntilAsync(() => FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", broker.ManagementUrl]).Result.ExitCode == 0 ? probe : null, "no operator policy any more", pause: 1000);

        (code, _, errors) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", $"http://127.0.0.1:{TestBroker.FreePort()}"]);
        Assert.Equal(1, code);

        // who scales the workers has a user of its own, whose tag is looked at with its own login
        await AddUserAsync("untagged", ("^$", "^$", ".*"));
        (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", As("untagged")]);
        Assert.Equal(1, code);
        Assert.Contains("lacks the tag 'monitoring' or 'management'", FaceEmbed.Flat(output), StringComparison.Ordinal);
        Assert.DoesNotContain(Password, output, StringComparison.Ordinal);
        await broker.ControlAsync("set_user_tags", "untagged", "monitoring");
        (code, output, errors) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--management", As("untagged")]);
        Assert.True(code == 0, output + errors);
        Assert.Contains("user untagged, tags monitoring", FaceEmbed.Flat(output), StringComparison.Ordinal);

        string As(string user) => new UriBuilder(broker.ManagementUrl) { UserName = user, Password = Password }.Uri.ToString();
        Assert.Equal(64, (await FaceEmbed.RunAsync("check", "--management", "rabbit")).ExitCode);
    }

    /// <summary>A queue that nothing is bound to: AMQP does not tell, and a producer hears of it.</summary>
    [Fact]
    public async Task A_binding_that_is_gone_is_told_and_its_remedy_with_it()
    {
        await using var probe = await ProbeAsync(listen: false);
        await probe.Channel.QueueUnbindAsync(probe.Topology.Jobs, probe.Topology.Jobs, "job", null);
        var (code, output, errors) = await FaceEmbed.RunAsync(["topology", "show", .. probe.Settings]);
        Assert.Equal((0, "Bindings were not looked at: AMQP does not tell them; --management does."), (code, errors.Trim()));
        await probe.UntilAsync(() => FaceEmbed.RunAsync(["topology", "show", .. probe.Settings, "--management", broker.ManagementUrl]).Result is { ExitCode: 1 } told
            && told.Output.Contains("missing", StringComparison.Ordinal) && told.Output.Contains("not bound to", StringComparison.Ordinal) ? told.Output : null, "the missing binding", pause: 1000);
        (code, output, _) = await FaceEmbed.RunAsync(["check", .. probe.Settings, "--Broker:Declare=false", "--management", broker.ManagementUrl]);
        Assert.Equal(1, code);
        Assert.Contains("face-embed topology declare binds it", FaceEmbed.Flat(output), StringComparison.Ordinal);
        (code, _, errors) = await FaceEmbed.RunAsync(["submit", TestData.GraceHopper, .. probe.Settings]);
        Assert.Equal(1, code);
        Assert.Contains("face-embed topology declare binds it", FaceEmbed.Flat(errors), StringComparison.Ordinal);
        Assert.Equal(0, (await FaceEmbed.RunAsync(["topology", "declare", .. probe.Settings])).ExitCode);
        Assert.Equal(0, (await FaceEmbed.RunAsync(["topology", "show", .. probe.Settings, "--management", broker.ManagementUrl])).ExitCode);
    }

    [Fact]
    public async Task The_empty_queues_of_an_old_ladder_are_pruned_and_full_ones_are_kept()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.RetryDelays = "0.2,600,900").ConnectAsync(listen: false);
        await probe.Channel.BasicPublishAsync(probe.Topology.Retry, "600000", true, new BasicProperties(), new byte[] { 1 });
        await AddUserAsync("pruner", KubernetesTests.RoleOf("face-embed-operator", probe.Topology));
        await broker.ControlAsync("set_user_tags", "pruner", "monitoring");
        string[] settings = [.. probe.Settings, $"--Broker:Uri={Uri("pruner")}", "--Broker:RetryDelays=0.2", "--management", broker.ManagementUrl];
        await probe.UntilAsync(() => FaceEmbed.RunAsync(["topology", "prune", "--dry-run", .. settings]).Result.Output.Split('\n').Length == 2 ? probe : null, "two queues of the old ladder", pause: 1000);

        var (code, output, errors) = await FaceEmbed.RunAsync(["topology", "prune", "--dry-run", .. settings, "--Broker:RetryDelays=0.2,7"]); // nobody's ladder: theirs would be old ones
        Assert.Equal((69, ""), (code, output));
        Assert.Contains($"there is no queue {probe.Topology.Jobs}.wait.7000,", FaceEmbed.Flat(errors), StringComparison.Ordinal);
        (code, output, errors) = await FaceEmbed.RunAsync(["topology", "prune", "--force", .. settings]);

        Assert.True(code == 1, output + errors);
        Assert.Contains($"{probe.Topology.Jobs}.wait.600000: 1 job waits in it", output, StringComparison.Ordinal);
        Assert.Contains($"{probe.Topology.Jobs}.wait.900000: deleted", output, StringComparison.Ordinal);
        Assert.Equal(1u, await probe.ReadyAsync($"{probe.Topology.Jobs}.wait.600000"));
        await probe.Channel.BasicPublishAsync(probe.Topology.Retry, "600000", true, new BasicProperties(), new byte[] { 2 }); // it is bound again
        await probe.Channel.QueuePurgeAsync($"{probe.Topology.Jobs}.wait.600000");
        await probe.UntilAsync(() => FaceEmbed.RunAsync(["topology", "prune", "--force", .. settings]).Result.ExitCode == 0 ? probe : null, "a pruned queue", seconds: 90, pause: 1000); // the figures are seconds old
        Assert.Equal("There are no wait queues of another ladder.", (await FaceEmbed.RunAsync(["topology", "prune", "--force", .. settings])).Output);
    }

    /// <summary>
    /// What a worker with the old ladder does between two looks: it finds its queue unbound and binds it again; jobs are confirmed into it
    /// from then on, and the management API's figures know of them seconds later.
    /// </summary>
    [Fact]
    public async Task A_queue_of_an_old_ladder_that_is_bound_again_under_way_is_kept()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri, o => o.RetryDelays = "0.2,600").ConnectAsync(listen: false);
        var queue = $"{probe.Topology.Jobs}.wait.600000";
        string[] settings = [.. probe.Settings, "--Broker:RetryDelays=0.2", "--management", broker.ManagementUrl];
        await probe.UntilAsync(() => FaceEmbed.RunAsync(["topology", "prune", "--dry-run", .. settings]).Result.Output.Contains(queue, StringComparison.Ordinal) ? probe : null, "a queue of the old ladder", pause: 1000);
        var pruning = FaceEmbed.RunAsync(["topology", "prune", "--force", .. settings]);
        using var http = new HttpClient { DefaultRequestHeaders = { Authorization = new("Basic", Convert.ToBase64String("guest:guest"u8)) } };
        var bindings = new Uri($"{broker.ManagementUrl}/api/queues/%2F/{queue}/bindings"); // at once, where a rabbitmqctl takes seconds
        await probe.UntilAsync(() => http.GetStringAsync(bindings).Result.Contains("\"600000\"", StringComparison.Ordinal) ? null : probe, "an unbound queue");
        await probe.Channel.QueueBindAsync(queue, probe.Topology.Retry, "600000");

        var (code, output, errors) = await pruning;
        Assert.True(code == 1, output + errors);
        Assert.Contains($"{queue}: a worker still has the ladder that it belongs to", output, StringComparison.Ordinal);
        await probe.Channel.BasicPublishAsync(probe.Topology.Retry, "600000", true, new BasicProperties(), new byte[] { 1 });
        Assert.Equal(1u, await probe.ReadyAsync(queue));
    }

    [Fact]
    public async Task A_worker_speaks_TLS_and_logs_in_by_its_certificate()
    {
        await using var probe = await ProbeAsync();
        await broker.AddUserAsync("face-embed", Password);
        await broker.AllowAsync("face-embed", ".*", ".*", ".*");
        await using var worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light, .. Tls($"amqps://127.0.0.1:{broker.TlsPort}/", broker.Authority)]);
        await worker.SaidAsync("Ready: taking jobs");

        await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), id: "encrypted");
        await probe.ResultAsync("encrypted");
        var (code, output, errors) = await FaceEmbed.RunAsync(["bench", TestData.GraceHopper, "--seconds", "0.2", "--amqp", .. FaceEmbed.Light, .. Tls($"amqps://127.0.0.1:{broker.TlsPort}/", broker.Authority)]);
        Assert.True(code == 0, output + errors);
        Assert.Matches(@"managed bytes a photo +\d\d,\d{3}; through the broker \d{2,3},\d{3}", output);
    }

    /// <summary>One authority and one certificate serve the AMQP connection and the management API.</summary>
    [Fact]
    public async Task Check_and_prune_trust_the_authority_of_the_broker_for_its_management_API_too()
    {
        await using var probe = await ProbeAsync(listen: false);
        var management = $"https://guest:guest@127.0.0.1:{broker.ManagementTlsPort}";
        string[] settings = [.. probe.Settings, .. Tls($"amqps://guest:guest@127.0.0.1:{broker.TlsPort}/", broker.Authority), "--management", management];

        var (code, output, errors) = await FaceEmbed.RunAsync(["check", .. settings]);
        Assert.True(code == 0, output + errors);
        Assert.Contains("user guest, tags", FaceEmbed.Flat(output), StringComparison.Ordinal);
        (code, output, errors) = await FaceEmbed.RunAsync(["topology", "prune", .. settings]);
        Assert.True(code == 0, output + errors);

        (code, _, errors) = await FaceEmbed.RunAsync(["topology", "prune", .. settings[..^1], management.Replace("127.0.0.1", "localhost", StringComparison.Ordinal)]); // a certificate for another name
        Assert.Equal(69, code);
        Assert.Contains($"localhost:{broker.ManagementTlsPort} and this program do not agree on TLS", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
    }

    /// <summary>Half of it is written when the worker looks first: it waits for the rest.</summary>
    [Fact]
    public async Task A_certificate_that_is_renewed_is_shown_at_the_next_connection()
    {
        await using var probe = await ProbeAsync();
        foreach (var user in new[] { "old", "renewed" })
        {
            await AddUserAsync(user, (".*", ".*", ".*"));
        }

        var (certificate, key) = (broker.Certificate.Replace("client", "rotating", StringComparison.Ordinal), broker.CertificateKey.Replace("client", "rotating", StringComparison.Ordinal));
        File.Copy(broker.Certificate.Replace("client", "old", StringComparison.Ordinal), certificate);
        File.Copy(broker.CertificateKey.Replace("client", "old", StringComparison.Ordinal), key);
        await using var worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light, $"--Broker:Uri=amqps://127.0.0.1:{broker.TlsPort}/", $"--Broker:CaFile={broker.Authority}", $"--Broker:CertificateFile={certificate}", $"--Broker:CertificateKeyFile={key}"]);
        await worker.SaidAsync("Ready: taking jobs");

        var renewed = await File.ReadAllTextAsync(broker.Certificate.Replace("client", "renewed", StringComparison.Ordinal));
        await File.WriteAllTextAsync(certificate, renewed[..(renewed.Length / 2)]);
        await broker.ControlAsync("close_all_user_connections", "old", "renewed");
        await worker.SaidAsync($"Broker:CertificateFile {certificate} cannot be used");
        await File.WriteAllTextAsync(certificate, renewed);
        File.Copy(broker.CertificateKey.Replace("client", "renewed", StringComparison.Ordinal), key, overwrite: true);

        await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), id: "renewed");
        await probe.ResultAsync("renewed", seconds: 60);
        var users = await broker.ControlAsync("list_connections", "user");
        Assert.Contains("renewed", users, StringComparison.Ordinal);
        Assert.DoesNotContain("old", users, StringComparison.Ordinal);
        Assert.Equal(0, await worker.TerminateAsync());
    }

    [Fact]
    public async Task A_broker_that_is_not_the_right_one_is_refused()
    {
        await RefusesAsync("do not agree on TLS", Tls($"amqps://guest:guest@127.0.0.1:{broker.TlsPort}/", broker.Stranger)); // signed by another
        await RefusesAsync("do not agree on TLS", Tls($"amqps://guest:guest@localhost:{broker.TlsPort}/", broker.Authority)); // a certificate for another name
        await RefusesAsync("names no user", [.. Tls($"amqps://127.0.0.1:{broker.TlsPort}/", broker.Authority)[..2], $"--Broker:CertificateFile={broker.Certificate.Replace("client", "nobody", StringComparison.Ordinal)}", $"--Broker:CertificateKeyFile={broker.CertificateKey.Replace("client", "nobody", StringComparison.Ordinal)}"]);
        await RefusesAsync("not encrypted", [$"--Broker:Uri=amqp://127.0.0.1:{broker.TlsPort}/", $"--Broker:CaFile={broker.Authority}"]);
        await RefusesAsync("Broker:CertificateFile", [$"--Broker:Uri=amqps://127.0.0.1:{broker.TlsPort}/", $"--Broker:CertificateFile={broker.CertificateKey}"]);

        async Task RefusesAsync(string told, string[] settings)
        {
            var (code, _, errors) = await FaceEmbed.RunAsync(["run", "--Health:Url=", .. FaceEmbed.Light, .. settings]);
            Assert.True(code is 69 or 78, errors);
            Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Credentials_come_from_files_and_are_in_no_log()
    {
        await using var probe = await ProbeAsync();
        await AddUserAsync("filed", (".*", ".*", ".*"));
        var secrets = Directory.CreateTempSubdirectory("face-embed-secrets-");
        try
        {
            var file = Path.Combine(secrets.FullName, "FaceEmbed__Broker__Uri");
            await File.WriteAllTextAsync(file, $"{Uri("filed")}\n");
            await File.WriteAllTextAsync(Path.Combine(secrets.FullName, "something-else"), "not ours");
            var environment = new Dictionary<string, string?> { ["FACE_EMBED_SECRETS"] = secrets.FullName };
            string[] settings = [.. probe.Settings.Where(s => !s.StartsWith("--Broker:Uri", StringComparison.Ordinal)), "--Logging:LogLevel:Default=Trace", "--Logging:LogLevel:Microsoft=Trace", .. FaceEmbed.Light];
            await using (var worker = FaceEmbed.Start(["run", .. settings], environment))
            {
                await worker.SaidAsync("Ready: taking jobs");
                await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), id: "filed");
                await probe.ResultAsync("filed");
                Assert.Equal(0, await worker.TerminateAsync());
                Assert.DoesNotContain(Password, worker.Output + worker.Errors, StringComparison.Ordinal);
            }

            // a password that is renewed while the worker runs is used from the next connection on
            await using (var worker = FaceEmbed.Start(["run", .. settings], environment))
            {
                await worker.SaidAsync("Ready: taking jobs");
                await broker.ControlAsync("change_password", "filed", "another-Pass");
                await File.WriteAllTextAsync(file, Uri("filed").Replace(Password, "another-Pass", StringComparison.Ordinal));
                await broker.ControlAsync("close_all_user_connections", "filed", "renewed");
                await worker.SaidAsync("The broker went away");
                await probe.SubmitAsync(await File.ReadAllBytesAsync(TestData.GraceHopper), id: "renewed");
                await probe.ResultAsync("renewed");
                Assert.Equal(0, await worker.TerminateAsync());
                await broker.ControlAsync("change_password", "filed", Password);
            }

            foreach (var wrong in new[] { Uri("nobody"), $"amqp://filed:{Password}@127.0.0.1:{new Uri(broker.Uri).Port}/nowhere", $"http://filed:{Password}@x", $"amqp://filed:{Password}@[::" })
            {
                await File.WriteAllTextAsync(file, wrong);
                var (code, output, errors) = await FaceEmbed.RunAsync(["run", .. settings], environment);
                Assert.True(code is 69 or 78, errors);
                Assert.DoesNotContain(Password, output + errors, StringComparison.Ordinal);
            }

            var (_, _, unreadable) = await FaceEmbed.RunAsync(["run"], new() { ["FACE_EMBED_SECRETS"] = Path.Combine(secrets.FullName, "nowhere") });
            Assert.Contains("The secrets in", Assert.Single(unreadable.Split('\n')), StringComparison.Ordinal);
        }
        finally
        {
            secrets.Delete(recursive: true);
        }
    }

    private string[] Tls(string uri, string authority) => [$"--Broker:Uri={uri}", $"--Broker:CaFile={authority}", $"--Broker:CertificateFile={broker.Certificate}", $"--Broker:CertificateKeyFile={broker.CertificateKey}"];

    private string Uri(string user) => $"amqp://{user}:{Password}@127.0.0.1:{new Uri(broker.Uri).Port}/";

    private async Task AddUserAsync(string user, (string Configure, string Write, string Read) may)
    {
        await broker.AddUserAsync(user, Password);
        await broker.AllowAsync(user, may.Configure, may.Write, may.Read);
    }

    private async Task<BrokerProbe> ProbeAsync(bool listen = true)
    {
        broker.Require();
        return await new BrokerProbe(broker.Uri).ConnectAsync(listen);
    }
}
