using System.Diagnostics;
using FaceEmbedWorker.Broker;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Options;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;
using Settings = FaceEmbedWorker.Commands.Settings;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>
/// What deploy/kubernetes holds against the types of the Kubernetes API and of the operators (unknown fields are errors), and against the
/// program.
/// </summary>
public class KubernetesTests
{
    private static readonly string Folder = Path.Combine(TestData.Repository, "deploy", "kubernetes");

    private static readonly IDeserializer Strict = new DeserializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance).WithDuplicateKeyChecking().Build();

    private static readonly Dictionary<string, Func<string, object>> Kinds = new()
    {
        ["v1/Namespace"] = Load<V1Namespace>,
        ["apps/v1/Deployment"] = Load<V1Deployment>,
        ["batch/v1/CronJob"] = Load<V1CronJob>,
        ["policy/v1/PodDisruptionBudget"] = Load<V1PodDisruptionBudget>,
        ["networking.k8s.io/v1/NetworkPolicy"] = Load<V1NetworkPolicy>,
        ["keda.sh/v1alpha1/ScaledObject"] = Strict.Deserialize<Custom<ScaledObject>>,
        ["keda.sh/v1alpha1/TriggerAuthentication"] = Strict.Deserialize<Custom<TriggerAuthentication>>,
        ["rabbitmq.com/v1beta1/Exchange"] = Strict.Deserialize<Custom<Exchange>>,
        ["rabbitmq.com/v1beta1/Queue"] = Strict.Deserialize<Custom<Queue>>,
        ["rabbitmq.com/v1beta1/Binding"] = Strict.Deserialize<Custom<Binding>>,
        ["rabbitmq.com/v1beta1/Permission"] = Strict.Deserialize<Custom<Permission>>,
        ["rabbitmq.com/v1beta1/User"] = Strict.Deserialize<Custom<User>>,
        ["monitoring.coreos.com/v1/PodMonitor"] = Strict.Deserialize<Custom<PodMonitor>>,
        ["monitoring.coreos.com/v1/PrometheusRule"] = Strict.Deserialize<Custom<PrometheusRule>>,
        ["kustomize.config.k8s.io/v1beta1/Kustomization"] = Strict.Deserialize<Kustomization>,
        ["kustomize.config.k8s.io/v1alpha1/Component"] = Strict.Deserialize<Kustomization>,
    };

    [Fact]
    public void Every_object_has_the_shape_of_its_kind()
    {
        var files = Directory.GetFiles(Folder, "*.yaml", SearchOption.AllDirectories);
        Assert.InRange(files.Length, 9, 40);
        Assert.All(files, file => Assert.NotEmpty(Objects(File.ReadAllText(file))));
        Assert.ThrowsAny<Exception>(() => Objects("apiVersion: apps/v1\nkind: Deployment\nspec:\n  replicaz: 1"));
        Assert.ThrowsAny<Exception>(() => Objects("apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec:\n  minReplicas: 1"));
    }

    [Theory]
    [InlineData("base")]
    [InlineData("overlays/production")]
    [InlineData("overlays/second-model")]
    public async Task Kustomize_builds_what_the_program_needs(string overlay)
    {
        var objects = await BuildAsync(overlay);
        var pod = Assert.Single(objects.OfType<V1Deployment>()).Spec.Template.Spec;
        var container = Assert.Single(pod.Containers);
        Assert.True(pod.TerminationGracePeriodSeconds > new BrokerOptions().DrainSeconds + 10, "longer than the host's shutdown");
        Assert.Equal((true, 1654L, "RuntimeDefault", false), (pod.SecurityContext.RunAsNonRoot, pod.SecurityContext.RunAsUser, pod.SecurityContext.SeccompProfile.Type, pod.AutomountServiceAccountToken));
        Assert.Equal((true, false, "ALL"), (container.SecurityContext.ReadOnlyRootFilesystem, container.SecurityContext.AllowPrivilegeEscalation, Assert.Single(container.SecurityContext.Capabilities.Drop)));
        Assert.Equal(["/startupz", "/readyz", "/livez"], new[] { container.StartupProbe, container.ReadinessProbe, container.LivenessProbe }.Select(p => p.HttpGet.Path));
        Assert.All(container.Env.Where(e => e.Name.StartsWith(Settings.EnvironmentPrefix, StringComparison.Ordinal)), e =>
        {
            var name = e.Name.Split("__");
            Assert.Contains(Settings.Of(Settings.Sections[name[1]]), p => p.Name == name[2]);
        });
        Assert.All(pod.Volumes.SelectMany(v => v.Secret.Items), item => Assert.Equal("FaceEmbed__Broker__Uri", item.Path));

        var labels = Assert.Single(objects.OfType<V1Deployment>()).Spec.Template.Metadata.Labels;
        var budget = Assert.Single(objects.OfType<V1PodDisruptionBudget>()).Spec;
        Assert.All(budget.Selector.MatchLabels, label => Assert.Contains(label, labels));
        Assert.Equal("AlwaysAllow", budget.UnhealthyPodEvictionPolicy);
        var network = Assert.Single(objects.OfType<V1NetworkPolicy>(), p => p.Name() == "face-embed").Spec;
        Assert.Equal(labels["app.kubernetes.io/name"], network.PodSelector.MatchLabels["app.kubernetes.io/name"]);
        Assert.Equal(["0.0.0.0/0: 169.254.0.0/16", "::/0: fe80::/10 fd00:ec2::254/128"], network.Egress.SelectMany(e => e.To ?? []).Where(to => to.IpBlock is not null).Select(to => $"{to.IpBlock.Cidr}: {string.Join(' ', to.IpBlock.Except)}"));
        Assert.Contains(network.Egress.SelectMany(e => e.To ?? []), to => to.NamespaceSelector is not null); // where pods have no address to match
        Assert.Contains(network.Ingress.Single().Ports, p => p.Port.Value == $"{container.Ports.Single().ContainerPort}");
        Assert.Equal(["53", "53", "5671", "5672", "4317", "4318"], network.Egress.SelectMany(e => e.Ports).Select(p => p.Port.Value));
        Assert.Equal(["kubernetes.io/hostname", "topology.kubernetes.io/zone"], pod.TopologySpreadConstraints.Select(s => s.TopologyKey));
        Assert.All(pod.TopologySpreadConstraints, spread =>
        {
            Assert.Equal("ScheduleAnyway", spread.WhenUnsatisfiable);
            Assert.All(spread.LabelSelector.MatchLabels, label => Assert.Contains(label, labels));
        });

        var scaled = Assert.Single(objects.OfType<Custom<ScaledObject>>()).Spec!;
        var trigger = Assert.Single(scaled.Triggers!);
        Assert.Equal(("rabbitmq", "http", "QueueLength", Setting(container, "Broker__Jobs") ?? new BrokerOptions().Jobs), (trigger.Type, trigger.Metadata!["protocol"], trigger.Metadata["mode"], trigger.Metadata["queueName"]));
        Assert.Equal("currentReplicasIfHigher", scaled.Fallback!.Behavior);
        Assert.True(scaled.Fallback.Replicas > 0 && scaled.MaxReplicaCount > scaled.MinReplicaCount && scaled.MinReplicaCount > 0);
        Assert.Equal(trigger.AuthenticationRef!.Name, Assert.Single(objects.OfType<Custom<TriggerAuthentication>>()).Metadata!["name"]);

        // one scrape each: by the PodMonitor, or by annotations
        Assert.NotEqual(objects.OfType<Custom<PodMonitor>>().Any(), Assert.Single(objects.OfType<V1Deployment>()).Spec.Template.Metadata.Annotations?.ContainsKey("prometheus.io/scrape") ?? false);
        Assert.All(Pods(objects), Restricted);
    }

    [Fact]
    public async Task Another_model_has_a_namespace_and_queues_of_its_own()
    {
        var objects = await BuildAsync("overlays/second-model");
        Assert.Empty(objects.OfType<Custom<PrometheusRule>>()); // the first one's tell them apart
        Assert.All(Pods(objects).Select(p => p.Containers.Single()), container =>
        {
            Assert.Equal("models/my-model.onnx", Setting(container, "Faces__EmbeddingModel"));
            Assert.Equal(("photos2", "faces2"), (Setting(container, "Broker__Jobs"), Setting(container, "Broker__Results")));
            Assert.StartsWith("registry.example.com/face-embed-my-model:", container.Image, StringComparison.Ordinal);
        });
        var check = Assert.Single(objects.OfType<V1CronJob>(), j => j.Name() == "face-embed-check").Spec.JobTemplate.Spec.Template.Spec.Containers.Single();
        Assert.Equal("true", Setting(check, "Broker__Declare")); // as its workers, which declare
        Assert.All(objects.OfType<V1NetworkPolicy>(), p => Assert.Equal("face-embed-2", p.Namespace()));
    }

    /// <summary>What a person runs: never by itself, with the login of its role, and a way to the management API that workers have not.</summary>
    [Fact]
    public async Task Whoever_is_on_call_has_jobs_to_start_with_a_login_and_a_network_of_their_own()
    {
        var objects = await BuildAsync("overlays/production");
        var worker = Assert.Single(objects.OfType<V1Deployment>()).Spec.Template.Spec;
        var jobs = objects.OfType<V1CronJob>().ToDictionary(j => j.Name(), j => j.Spec);
        Assert.Equal(["face-embed-check", "face-embed-operator"], jobs.Keys.Order());
        var network = Assert.Single(objects.OfType<V1NetworkPolicy>(), p => p.Name() == "face-embed-operator").Spec;
        Assert.Equal(["Ingress", "Egress"], network.PolicyTypes);
        Assert.Null(network.Ingress);
        Assert.Equal(["53", "53", "5671", "5672", "15671", "15672"], network.Egress.SelectMany(e => e.Ports).Select(p => p.Port.Value));
        Assert.All(jobs.Values, job =>
        {
            Assert.True(job.Suspend);
            Assert.Equal((0, true), (job.JobTemplate.Spec.BackoffLimit, job.JobTemplate.Spec.ActiveDeadlineSeconds > 0));
            var labels = job.JobTemplate.Spec.Template.Metadata.Labels;
            Assert.All(network.PodSelector.MatchLabels, label => Assert.Contains(label, labels));
            Assert.DoesNotContain("face-embed", labels.Values); // or the workers' policy, budget and PodMonitor would take it for a worker
            Assert.Equal(worker.Containers.Single().Image, job.JobTemplate.Spec.Template.Spec.Containers.Single().Image);
        });
        Assert.Equal("face-embed-operator", Pod("face-embed-operator").Volumes.Single().Secret.SecretName);
        Assert.Equal(worker.Volumes.Single().Secret.SecretName, Pod("face-embed-check").Volumes.Single().Secret.SecretName);
        Assert.Equal(worker.Containers.Single().Env.Single(e => e.Name == "FaceEmbed__Broker__Declare").Value, Setting(Pod("face-embed-check").Containers.Single(), "Broker__Declare"));
        Assert.Equal(worker.Containers.Single().Resources.Limits, Pod("face-embed-check").Containers.Single().Resources.Limits); // what it weighs is what a worker has
        foreach (var name in jobs.Keys)
        {
            Assert.Equal(0, (await FaceEmbed.RunAsync([.. Pod(name).Containers.Single().Args.Select(a => a == "$(MANAGEMENT)" ? "https://a:b@c:15671/" : a), "--help"])).ExitCode);
        }

        V1PodSpec Pod(string name) => jobs[name].JobTemplate.Spec.Template.Spec;
    }

    /// <summary>Every key that is read of a secret is one that is made, and each user's login is that of its address.</summary>
    [Fact]
    public async Task The_script_makes_the_secrets_that_the_manifests_read()
    {
        var objects = await BuildAsync("overlays/production");
        var (first, second) = (await SecretsAsync(), await SecretsAsync());
        Assert.Equal(4, first.Count);
        Assert.Empty(first.Values.Select(s => s["password"]).Intersect(second.Values.Select(s => s["password"])));
        Assert.Equal(4, first.Values.Select(s => s["password"]).Distinct().Count(p => p.Length == 48));

        var read = Pods(objects).SelectMany(p => p.Volumes.Select(v => (v.Secret.SecretName, v.Secret.Items.Single().Key))
                .Concat(p.Containers.SelectMany(c => c.Env).Where(e => e.ValueFrom is not null).Select(e => (e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key))))
            .Concat(objects.OfType<Custom<TriggerAuthentication>>().SelectMany(t => t.Spec!.SecretTargetRef!).Select(t => (t.Name!, t.Key!)));
        Assert.All(read, r => Assert.Contains(r.Item2, first[r.Item1].Keys));
        var users = objects.OfType<Custom<User>>().ToDictionary(u => (string)u.Metadata!["name"], u => u.Spec!);
        Assert.Equal(first.Keys.Order(), users.Values.Select(u => u.ImportCredentialsSecret!.Name!).Order());
        Assert.All(users, user => Assert.Equal(user.Key, first[user.Value.ImportCredentialsSecret!.Name!]["username"]));
        Assert.All(first.Values.Where(s => s.ContainsKey("FaceEmbed__Broker__Uri")), s =>
        {
            var options = new BrokerOptions { Uri = s["FaceEmbed__Broker__Uri"] };
            Assert.Empty(options.Validate(new(options)));
            Assert.Equal($"{s["username"]}:{s["password"]}", new Uri(options.Uri).UserInfo);
        });
        Assert.Equal($"https://face-embed-keda:{first["face-embed-keda"]["password"]}@rabbitmq.face-embed.svc:15671/", first["face-embed-broker"]["host"]);

        static async Task<Dictionary<string, Dictionary<string, string>>> SecretsAsync()
        {
            var yaml = await RunAsync(Path.Combine(Folder, "overlays", "production", "secrets"));
            var secrets = yaml!.Split("---\n", StringSplitOptions.RemoveEmptyEntries).Select(text => KubernetesYaml.Deserialize<V1Secret>(text, strict: true)).ToArray();
            Assert.All(secrets, s => Assert.Equal(("face-embed", "true"), (s.Namespace(), s.GetLabel("rabbitmq.com/topology-operator")))); // or the operator imports none
            return secrets.ToDictionary(s => s.Name(), s => s.Data.ToDictionary(d => d.Key, d => System.Text.Encoding.UTF8.GetString(d.Value)));
        }
    }

    /// <summary>A sample's password that is deployed unnoticed is everybody's.</summary>
    [Fact]
    public void No_password_is_in_the_manifests() => Assert.All(Directory.GetFiles(Folder, "*", SearchOption.AllDirectories), file =>
    {
        var text = File.ReadAllText(file);
        Assert.DoesNotMatch(@"kind: Secret\b|secretGenerator|--from-literal=(?!tls=)|stringData", text);
        Assert.All(System.Text.RegularExpressions.Regex.Matches(text, @"://[^\s:/@]+:([^\s@]+)@").Select(m => m.Groups[1].Value), password => Assert.Contains(password, new[] { "PASSWORD", "%s" }));
    });

    [Theory]
    [InlineData("production")]
    [InlineData("second-model")]
    public async Task A_private_authority_is_trusted_by_workers_the_operators_jobs_and_KEDA(string overlay)
    {
        var copy = Directory.CreateTempSubdirectory("face-embed-kustomize-").FullName;
        try
        {
            foreach (var file in Directory.GetFiles(Folder, "*", SearchOption.AllDirectories))
            {
                var to = Path.Combine(copy, Path.GetRelativePath(Folder, file));
                Directory.CreateDirectory(Path.GetDirectoryName(to)!);
                var text = await File.ReadAllTextAsync(file);
                await File.WriteAllTextAsync(to, text.Replace("\n# components: ", "\ncomponents: ", StringComparison.Ordinal));
            }

            var objects = await BuildAsync(Path.Combine(copy, "overlays", overlay));
            Assert.Equal(3, Pods(objects).Count());
            Assert.All(Pods(objects), pod =>
            {
                var container = pod.Containers.Single();
                var file = Setting(container, "Broker__CaFile")!;
                var mount = Assert.Single(container.VolumeMounts, m => file.StartsWith(m.MountPath + "/", StringComparison.Ordinal));
                var secret = pod.Volumes.Single(v => v.Name == mount.Name).Secret;
                Assert.Equal(("face-embed-ca", "ca.crt", $"{mount.MountPath}/{secret.Items.Single().Path}"), (secret.SecretName, secret.Items.Single().Key, file));
                Restricted(pod);
            });
            var keda = Assert.Single(objects.OfType<Custom<TriggerAuthentication>>()).Spec!.SecretTargetRef!;
            Assert.Equal(["host=face-embed-broker/host", "tls=face-embed-ca/tls", "ca=face-embed-ca/ca.crt"], keda.Select(t => $"{t.Parameter}={t.Name}/{t.Key}"));
            Assert.Contains("--from-file=ca.crt=FILE --from-literal=tls=enable", Read("private-ca/kustomization.yaml"), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }

    /// <summary>RabbitMQ's own pods fit "restricted" only from cluster operator 2.17 on.</summary>
    [Fact]
    public async Task The_bulk_queue_is_taken_and_scaled_by()
    {
        var folder = Path.Combine(Directory.CreateTempSubdirectory("face-embed-kustomize-").FullName, "kubernetes");
        foreach (var file in Directory.GetFiles(Folder, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(folder, Path.GetRelativePath(Folder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        var overlay = Path.Combine(folder, "overlays", "production", "kustomization.yaml");
        File.AppendAllText(overlay, File.ReadAllText(overlay).Contains("\ncomponents:", StringComparison.Ordinal) ? "" : "\ncomponents: [../../bulk]\n");
        var objects = Objects(await RunAsync("kubectl", "kustomize", Path.GetDirectoryName(overlay)!));
        Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);

        Assert.Equal(3, Pods(objects).Count(pod => Setting(pod.Containers[0], "Broker__BulkQueue") == "true")); // workers, desk, check
        Assert.Contains(objects.OfType<Custom<Queue>>(), q => q.Spec!.Name == "face.jobs.bulk");
        Assert.Equal(["face.jobs", "face.jobs.bulk"], objects.OfType<Custom<ScaledObject>>().Single().Spec!.Triggers!.Select(t => t.Metadata!["queueName"]));
    }

    [Fact]
    public void The_namespace_lets_the_brokers_pods_in_and_warns_of_what_is_not_restricted()
    {
        var labels = Assert.IsType<V1Namespace>(Assert.Single(Objects(Read("overlays/production/namespace.yaml")))).Metadata.Labels;
        Assert.Equal(("baseline", "restricted", "restricted"), (Label("enforce"), Label("warn"), Label("audit")));

        string Label(string mode) => labels[$"pod-security.kubernetes.io/{mode}"];
    }

    [Fact]
    public void Prometheus_operator_scrapes_the_pods_and_has_the_alerts()
    {
        var monitor = Assert.IsType<Custom<PodMonitor>>(Assert.Single(Objects(Read("monitoring/podmonitor.yaml")))).Spec!;
        var template = Assert.IsType<V1Deployment>(Assert.Single(Objects(Read("base/deployment.yaml")))).Spec.Template;
        Assert.All(monitor.Selector!.MatchLabels!, label => Assert.Contains(label, template.Metadata.Labels));
        var endpoint = Assert.Single(monitor.PodMetricsEndpoints!);
        Assert.Equal(("health", "/metrics"), (endpoint.Port, endpoint.Path));
        Assert.Contains(template.Spec.Containers.Single().Ports, p => p.Name == endpoint.Port);

        var alerts = Read("monitoring/alerts.yaml");
        Assert.NotEmpty(Assert.IsType<Custom<PrometheusRule>>(Assert.Single(Objects(alerts))).Spec!.Groups!);
        var lines = File.ReadAllLines(Path.Combine(TestData.Repository, "deploy", "prometheus", "alerts.yaml"));
        Assert.Equal(lines.Select(l => l.Length > 0 ? $"  {l}" : l), alerts.TrimEnd('\n').Split('\n').SkipWhile(l => l != "spec:").Skip(1));
    }

    /// <summary>Whoever applies it must know them before, for the manifests do not bring them.</summary>
    [Fact]
    public void The_production_overlay_says_at_its_top_what_it_presupposes()
    {
        var top = string.Join('\n', Read("overlays/production/kustomization.yaml").Split('\n').TakeWhile(l => l.StartsWith('#')));
        Assert.DoesNotContain("\n  - namespace.yaml", Read("overlays/production/kustomization.yaml"), StringComparison.Ordinal); // delete -k would take the broker along
        var topology = Objects(Read("topology/topology.yaml"));
        var pod = Assert.IsType<V1Deployment>(Assert.Single(Objects(Read("base/deployment.yaml")))).Spec.Template.Spec;
        var users = Objects(Read("topology/roles.yaml")).OfType<Custom<User>>().ToDictionary(u => (string)u.Metadata!["name"], u => u.Spec!.Tags ?? []);
        Assert.Empty(users["face-embed"]);
        Assert.All(users.Keys, user => Assert.Contains(user, top, StringComparison.Ordinal));
        var keda = Objects(Read("base/scaling.yaml")).OfType<Custom<TriggerAuthentication>>().Single().Spec!.SecretTargetRef!.Single();
        Assert.Equal(pod.Volumes.Single().Secret.SecretName, keda.Name);
        Assert.All(topology.OfType<Custom<Queue>>(), q => Assert.Contains($"RabbitmqCluster named {q.Spec!.RabbitmqClusterReference!.Name},", top, StringComparison.Ordinal));
        Assert.Contains($"the users {topology.OfType<Custom<Permission>>().Single().Spec!.User}, without a tag", top, StringComparison.Ordinal);
        Assert.Contains($"create secret generic {keda.Name} ", top, StringComparison.Ordinal);
        Assert.All(new[] { pod.Volumes.Single().Secret.Items.Single().Key, keda.Key }, key => Assert.Contains($"--from-file={key}=", top, StringComparison.Ordinal));
    }

    [Fact]
    public void The_operators_topology_is_the_programs()
    {
        var objects = Objects(Read("topology/topology.yaml") + Read("bulk/queue.yaml"));
        var topology = new Topology(Options.Create(new BrokerOptions { BulkQueue = true }));
        Assert.Equal(topology.Exchanges.Order(), objects.OfType<Custom<Exchange>>().Select(e => (e.Spec!.Name!, e.Spec.Type!)).Order());
        Assert.All(objects.OfType<Custom<Exchange>>(), e => Assert.Equal((true, false), (e.Spec!.Durable, e.Spec.AutoDelete)));

        var queues = objects.OfType<Custom<Queue>>().ToDictionary(q => q.Spec!.Name!, q => q.Spec!);
        Assert.Equal(topology.Queues.Select(q => q.Name).Order(), queues.Keys.Order());
        foreach (var (name, arguments, _, _) in topology.Queues)
        {
            var queue = queues[name];
            Assert.Equal(("quorum", true, false, "retain"), (queue.Type, queue.Durable, queue.AutoDelete, queue.DeletionPolicy)); // jobs outlive their manifest
            Assert.Equal(arguments.Where(a => a.Key != "x-queue-type").Select(a => $"{a.Key}={a.Value}").Order(), queue.Arguments!.Select(a => $"{a.Key}={a.Value}").Order());
        }

        Assert.Equal(topology.Queues.SelectMany(q => q.Keys.Select(k => (q.Exchange, q.Name, k))).Order(), objects.OfType<Custom<Binding>>().Select(b => (b.Spec!.Source!, b.Spec.Destination!, b.Spec.RoutingKey!)).Order());
        var may = Assert.Single(objects.OfType<Custom<Permission>>()).Spec!.Permissions!;
        Assert.All(topology.Exchanges, e => Assert.Matches(may["write"], e.Name));
        Assert.Equal([topology.Jobs, topology.Bulk, topology.Suspects], topology.Queues.Select(q => q.Name).Where(q => System.Text.RegularExpressions.Regex.IsMatch(q, may["read"])).Order());
    }

    /// <summary>One table, in deploy/README.md; what is shipped has its patterns, and <see cref="SecurityTests"/> tries them.</summary>
    [Fact]
    public void The_roles_that_are_shipped_are_those_of_the_table()
    {
        var table = File.ReadAllText(Path.Combine(TestData.Repository, "deploy", "README.md"));
        var permissions = Permissions();
        Assert.Equal(["face-embed", "face-embed-keda", "face-embed-operator", "face-embed-producer"], permissions.Keys.Order());
        Assert.All(permissions.Values, may => Assert.Contains($"| {Cell(may["configure"])} | {Cell(may["write"])} | {Cell(may["read"])} |", table, StringComparison.Ordinal));
        var tags = Objects(Read("topology/roles.yaml")).OfType<Custom<User>>().ToDictionary(u => (string)u.Metadata!["name"], u => string.Join(' ', u.Spec!.Tags ?? []));
        Assert.Equal(("", "monitoring", "monitoring", ""), (tags["face-embed"], tags["face-embed-keda"], tags["face-embed-operator"], tags["face-embed-producer"]));

        static string Cell(string pattern) => $"`{pattern.Replace("|", "\\|", StringComparison.Ordinal)}`";
    }

    /// <summary>What is shipped for a user, for queues that begin otherwise than with "face.".</summary>
    internal static (string Configure, string Write, string Read) RoleOf(string user, Topology topology)
    {
        var may = Permissions()[user];
        var prefix = topology.Jobs[..^"jobs".Length].Replace(".", "\\.", StringComparison.Ordinal);
        return (Of("configure"), Of("write"), Of("read"));

        string Of(string what) => may[what].Replace("face\\.", prefix, StringComparison.Ordinal);
    }

    private static Dictionary<string, Dictionary<string, string>> Permissions() =>
        Objects(Read("topology/topology.yaml")).Concat(Objects(Read("topology/roles.yaml"))).OfType<Custom<Permission>>().ToDictionary(p => p.Spec!.User!, p => p.Spec!.Permissions!);

    private static IEnumerable<V1PodSpec> Pods(IEnumerable<object> objects) =>
        objects.OfType<V1Deployment>().Select(d => d.Spec.Template.Spec).Concat(objects.OfType<V1CronJob>().Select(j => j.Spec.JobTemplate.Spec.Template.Spec));

    private static string? Setting(V1Container container, string name) => container.Env.SingleOrDefault(e => e.Name == $"{Settings.EnvironmentPrefix}{name}")?.Value;

    /// <summary>Kubernetes' pod security standard of that name, as far as it concerns pods of ours.</summary>
    private static void Restricted(V1PodSpec pod)
    {
        Assert.Equal((true, "RuntimeDefault", false), (pod.SecurityContext.RunAsNonRoot, pod.SecurityContext.SeccompProfile.Type, pod.AutomountServiceAccountToken));
        Assert.True(pod.SecurityContext.RunAsUser > 0 && pod.HostNetwork is null && pod.HostPID is null && pod.InitContainers is null);
        Assert.All(pod.Volumes, v => Assert.NotNull(v.Secret));
        Assert.All(pod.Containers, container =>
        {
            Assert.Equal((true, false, "ALL"), (container.SecurityContext.ReadOnlyRootFilesystem, container.SecurityContext.AllowPrivilegeEscalation, Assert.Single(container.SecurityContext.Capabilities.Drop)));
            Assert.Null(container.SecurityContext.Capabilities.Add);
            Assert.True(container.Resources.Limits.ContainsKey("memory"));
        });
    }

    private static string Read(string file) => File.ReadAllText(Path.Combine(Folder, file));

    private static object Load<T>(string yaml)
        where T : class => KubernetesYaml.Deserialize<T>(yaml, strict: true);

    private static List<object> Objects(string yaml)
    {
        var objects = new List<object>();
        foreach (var document in yaml.Split("\n---\n"))
        {
            var header = new DeserializerBuilder().IgnoreUnmatchedProperties().WithNamingConvention(CamelCaseNamingConvention.Instance).Build().Deserialize<Custom<object>>(document);
            if (header is null)
            {
                continue; // a comment
            }

            Assert.True(Kinds.TryGetValue($"{header.ApiVersion}/{header.Kind}", out var load), $"{header.ApiVersion}/{header.Kind} is no kind that is known here.");
            objects.Add(load(document));
        }

        return objects;
    }

    /// <summary>As kubectl builds it; without a kubectl the test is skipped.</summary>
    private static async Task<List<object>> BuildAsync(string overlay) => Objects(await RunAsync("kubectl", "kustomize", Path.Combine(Folder, overlay)));

    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        Assert.SkipUnless((Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(f => File.Exists(Path.Combine(f, "kubectl"))), "There is no kubectl that knows kustomize 5.");
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, await errors);
        return await output;
    }

    private sealed class Custom<T>
    {
        public string? ApiVersion { get; set; }

        public string? Kind { get; set; }

        public Dictionary<string, object>? Metadata { get; set; }

        public T? Spec { get; set; }
    }

    private sealed class ScaledObject
    {
        public Dictionary<string, string>? ScaleTargetRef { get; set; }

        public int PollingInterval { get; set; }

        public int CooldownPeriod { get; set; }

        public int? MinReplicaCount { get; set; }

        public int? MaxReplicaCount { get; set; }

        public Fallback? Fallback { get; set; }

        public Advanced? Advanced { get; set; }

        public List<Trigger>? Triggers { get; set; }
    }

    private sealed class Fallback
    {
        public int FailureThreshold { get; set; }

        public int Replicas { get; set; }

        public string? Behavior { get; set; }
    }

    private sealed class Advanced
    {
        public AutoscalerConfig? HorizontalPodAutoscalerConfig { get; set; }
    }

    private sealed class AutoscalerConfig
    {
        public Behavior? Behavior { get; set; }
    }

    private sealed class Behavior
    {
        public ScalingRules? ScaleDown { get; set; }
    }

    private sealed class ScalingRules
    {
        public int StabilizationWindowSeconds { get; set; }

        public List<Dictionary<string, string>>? Policies { get; set; }
    }

    private sealed class Trigger
    {
        public string? Type { get; set; }

        public Dictionary<string, string>? Metadata { get; set; }

        public Reference? AuthenticationRef { get; set; }
    }

    private sealed class Reference
    {
        public string? Name { get; set; }
    }

    private sealed class TriggerAuthentication
    {
        public List<SecretTarget>? SecretTargetRef { get; set; }
    }

    private sealed class SecretTarget
    {
        public string? Parameter { get; set; }

        public string? Name { get; set; }

        public string? Key { get; set; }
    }

    private class OfCluster
    {
        public Reference? RabbitmqClusterReference { get; set; }
    }

    private sealed class Exchange : OfCluster
    {
        public string? Name { get; set; }

        public string? Type { get; set; }

        public bool Durable { get; set; }

        public bool AutoDelete { get; set; }
    }

    private sealed class Queue : OfCluster
    {
        public string? Name { get; set; }

        public string? Type { get; set; }

        public string? DeletionPolicy { get; set; }

        public bool Durable { get; set; }

        public bool AutoDelete { get; set; }

        public Dictionary<string, string>? Arguments { get; set; }
    }

    private sealed class Binding : OfCluster
    {
        public string? Source { get; set; }

        public string? Destination { get; set; }

        public string? DestinationType { get; set; }

        public string? RoutingKey { get; set; }
    }

    private sealed class Permission : OfCluster
    {
        public string? Vhost { get; set; }

        public string? User { get; set; }

        public Dictionary<string, string>? Permissions { get; set; }
    }

    private sealed class User : OfCluster
    {
        public List<string>? Tags { get; set; }

        public Reference? ImportCredentialsSecret { get; set; }
    }

    private sealed class PodMonitor
    {
        public Selector? Selector { get; set; }

        public List<MetricsEndpoint>? PodMetricsEndpoints { get; set; }
    }

    private sealed class Selector
    {
        public Dictionary<string, string>? MatchLabels { get; set; }
    }

    private sealed class MetricsEndpoint
    {
        public string? Port { get; set; }

        public string? Path { get; set; }

        public string? Interval { get; set; }
    }

    private sealed class PrometheusRule
    {
        public List<RuleGroup>? Groups { get; set; }
    }

    private sealed class RuleGroup
    {
        public string? Name { get; set; }

        public List<Rule>? Rules { get; set; }
    }

    private sealed class Rule
    {
        public string? Alert { get; set; }

        public string? Expr { get; set; }

        public string? For { get; set; }

        public Dictionary<string, string>? Labels { get; set; }

        public Dictionary<string, string>? Annotations { get; set; }
    }

    private sealed class Kustomization
    {
        public string? ApiVersion { get; set; }

        public string? Kind { get; set; }

        public string? Namespace { get; set; }

        public List<string>? Resources { get; set; }

        public List<Dictionary<string, object>>? Labels { get; set; }

        public List<Dictionary<string, string>>? Images { get; set; }

        public List<string>? Components { get; set; }

        public List<Dictionary<string, object>>? Patches { get; set; }
    }
}
