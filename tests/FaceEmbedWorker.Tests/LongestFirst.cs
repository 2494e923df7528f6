using FaceEmbedWorker.Tests.Chaos;
using FaceEmbedWorker.Tests.EndToEnd;
using Xunit.Sdk;
using Xunit.v3;

[assembly: TestCollectionOrderer(typeof(FaceEmbedWorker.Tests.LongestFirst))]

namespace FaceEmbedWorker.Tests;

/// <summary>What takes minutes begins first: none of it runs alone at the end, with a core idle.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    /// <summary>As <c>tests/run</c> tells them; where images are made anew, DeployTests takes minutes too.</summary>
    private static readonly string[] Longest =
    [
        AttackedRabbitMq310.Name, AroundRabbitMq310.Name, AttackedRabbitMq4.Name, Heavy.Name, AroundRabbitMq4.Name, $".{nameof(DeployTests)}", RabbitMq4.Name, $".{nameof(SecurityTests)}", RabbitMq310.Name,
        $".{nameof(ClientTests)}", $".{nameof(CommandTests)}", $".{nameof(FileTests)}", $".{nameof(HeicTests)}", $".{nameof(ModelCommandTests)}", $".{nameof(ClusterTests)}", $".{nameof(TerminalTests)}",
        $".{nameof(Faces.SelfTestTests)}", $".{nameof(WrongFileTests)}",
    ];

    public IReadOnlyCollection<TTestCollection> OrderTestCollections<TTestCollection>(IReadOnlyCollection<TTestCollection> testCollections)
        where TTestCollection : ITestCollection => [.. testCollections.OrderBy(Place)];

    private static int Place<TTestCollection>(TTestCollection collection)
        where TTestCollection : ITestCollection => Array.FindIndex(Longest, name => collection.TestCollectionDisplayName.Contains(name, StringComparison.Ordinal)) is >= 0 and var place ? place : Longest.Length;
}
