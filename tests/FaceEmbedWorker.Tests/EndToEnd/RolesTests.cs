namespace FaceEmbedWorker.Tests.EndToEnd;

[Collection(AroundRabbitMq310.Name)]
public sealed class RolesOnRabbitMq310Tests(DebianBroker broker) : RolesTests(broker);

[Collection(AroundRabbitMq4.Name)]
public sealed class RolesOnRabbitMq4Tests(ContainerBroker broker) : RolesTests(broker);

/// <summary>The table of deploy/README.md: role x command x exit code.</summary>
public abstract class RolesTests(TestBroker broker)
{
    private const string Password = "s3cret-Pass";

    /// <summary>The roles of deploy/README.md, each with what it can do, and what it is told that it cannot.</summary>
    [Fact]
    public async Task Each_role_does_its_own_work_and_is_told_in_a_line_what_it_may_not()
    {
        broker.Require();
        await using var probe = await new BrokerProbe(broker.Uri).ConnectAsync(listen: false);
        var (jobs, dead, results) = (Pattern(probe.Topology.Jobs), Pattern(probe.Topology.Dead), Pattern(probe.Topology.Results));
        var waiting = $"{jobs}\\.submit\\..*";
        (string Role, string Configure, string Write, string Read)[] roles =
        [
            Shipped("worker", "face-embed"),
            Shipped("producer", "face-embed-producer"),
            ("producer that waits", $"^{waiting}$", $"^({jobs}|{waiting})$", $"^({results}|{dead}|{waiting})$"),
            Shipped("operator", "face-embed-operator"),
            ("reader", "^amq\\.gen.*$", "^amq\\.gen.*$", $"^(amq\\.gen.*|{results})$"),
        ];
        foreach (var (role, configure, write, read) in roles)
        {
            await broker.AddUserAsync(User(role), Password);
            await broker.AllowAsync(User(role), configure, write, read);
        }

        await using var worker = FaceEmbed.Start(["run", .. probe.Settings, .. FaceEmbed.Light, $"--Broker:Uri={Uri("worker")}", "--Broker:Declare=false"]);
        await worker.SaidAsync("Ready: taking jobs");
        var letters = 0;
        var table = File.ReadLines(Path.Combine(TestData.Repository, "deploy", "README.md")).SkipWhile(line => !line.StartsWith("| command | worker |", StringComparison.Ordinal)).TakeWhile(line => line.StartsWith('|'))
            .Select(line => Array.ConvertAll(line.Trim('|').Split('|'), cell => cell.Trim(' ', '`'))).ToArray();
        Assert.Equal(roles.Select(r => r.Role), table[0][1..]);
        foreach (var (role, _, _, _) in roles)
        {
            foreach (var row in table[2..])
            {
                await probe.SubmitAsync([], id: $"letter-{letters++}");
                await probe.UntilAsync(() => probe.ReadyAsync(probe.Topology.Dead).Result > 0 ? probe : null, "a dead letter");
                string[] command = [.. row[0].Split(' '), .. row[0].StartsWith("submit", StringComparison.Ordinal) ? [TestData.GraceHopper] : Array.Empty<string>()];
                var (code, output, errors) = await FaceEmbed.RunAsync([.. command, .. probe.Settings, $"--Broker:Uri={Uri(role)}", "--Broker:Declare=false"]);
                Assert.True(row[1 + Array.IndexOf(table[0][1..], role)] == $"{code}", $"{role}: {row[0]}: {code}\n{output}\n{errors}");
                Assert.True(code != 69 || FaceEmbed.Flat(errors).Contains(" on ^", StringComparison.Ordinal), errors); // the pattern to grant
                Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal); // no stack trace
                Assert.True(code == 0 || FaceEmbed.Flat($"{output} {errors}").Contains("ACCESS_REFUSED", StringComparison.Ordinal) || FaceEmbed.Flat(output + errors).Contains("refused", StringComparison.OrdinalIgnoreCase), $"{role}: {row[0]}\n{output}\n{errors}");
            }
        }

        string Uri(string role) => $"amqp://{User(role)}:{Password}@127.0.0.1:{new Uri(broker.Uri).Port}/";

        static string User(string role) => role.Replace(' ', '-');

        (string, string, string, string) Shipped(string role, string user)
        {
            var (configure, write, read) = KubernetesTests.RoleOf(user, probe.Topology);
            return (role, configure, write, read);
        }

        static string Pattern(string name) => name.Replace(".", "\\.", StringComparison.Ordinal);
    }
}
