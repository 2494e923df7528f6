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
        ["policy/v1/PodDisruptionBudget"] = Load<V1PodDisruptionBudget>,
        ["networking.k8s.io/v1/NetworkPolicy"] = Load<V1NetworkPolicy>,
        ["keda.sh/v1alpha1/ScaledObject"] = Strict.Deserialize<Custom<ScaledObject>>,
        ["keda.sh/v1alpha1/TriggerAuthentication"] = Strict.Deserialize<Custom<TriggerAuthentication>>,
        ["rabbitmq.com/v1beta1/Exchange"] = Strict.Deserialize<Custom<Exchange>>,
        ["rabbitmq.com/v1beta1/Queue"] = Strict.Deserialize<Custom<Queue>>,
        ["rabbitmq.com/v1beta1/Binding"] = Strict.Deserialize<Custom<Binding>>,
        ["rabbitmq.com/v1beta1/Permission"] = Strict.Deserialize<Custom<Permission>>,
        ["monitoring.coreos.com/v1/PodMonitor"] = Strict.Deserialize<Custom<PodMonitor>>,
        ["monitoring.coreos.com/v1/PrometheusRule"] = Strict.Deserialize<Custom<PrometheusRule>>,
        ["kustomize.config.k8s.io/v1beta1/Kustomization"] = Strict.Deserialize<Kustomization>,
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
    public async Task Kustomize_builds_what_the_program_needs(string overlay)
    {
        var built = await BuildAsync(overlay);
        Assert.SkipWhen(built is null, "There is no kubectl that knows kustomize 4 or later.");
        var objects = Objects(built!);

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
        var network = Assert.Single(objects.OfType<V1NetworkPolicy>()).Spec;
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
        Assert.Equal(("rabbitmq", "http", "QueueLength", new BrokerOptions().Jobs), (trigger.Type, trigger.Metadata!["protocol"], trigger.Metadata["mode"], trigger.Metadata["queueName"]));
        Assert.Equal("currentReplicasIfHigher", scaled.Fallback!.Behavior);
        Assert.True(scaled.Fallback.Replicas > 0 && scaled.MaxReplicaCount > scaled.MinReplicaCount && scaled.MinReplicaCount > 0);
        Assert.Equal(trigger.AuthenticationRef!.Name, Assert.Single(objects.OfType<Custom<TriggerAuthentication>>()).Metadata!["name"]);
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
        var objects = Objects(Read("topology/topology.yaml"));
        var topology = new Topology(Options.Create(new BrokerOptions()));
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
        Assert.Equal([topology.Jobs, topology.Suspects], topology.Queues.Select(q => q.Name).Where(q => System.Text.RegularExpressions.Regex.IsMatch(q, may["read"])).Order());
        Assert.Contains($"| `{may["configure"]}` | `{may["write"].Replace("|", "\\|", StringComparison.Ordinal)}` | `{may["read"].Replace("|", "\\|", StringComparison.Ordinal)}` |", File.ReadAllText(Path.Combine(TestData.Repository, "deploy", "README.md")), StringComparison.Ordinal);
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

    private static async Task<string?> BuildAsync(string overlay)
    {
        try
        {
            using var kubectl = Process.Start(new ProcessStartInfo("kubectl", ["kustomize", Path.Combine(Folder, overlay)]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            var (output, errors) = (kubectl.StandardOutput.ReadToEndAsync(), kubectl.StandardError.ReadToEndAsync());
            await kubectl.WaitForExitAsync();
            Assert.True(kubectl.ExitCode == 0, await errors);
            return await output;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
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

        public List<Dictionary<string, string>>? Patches { get; set; }
    }
}
