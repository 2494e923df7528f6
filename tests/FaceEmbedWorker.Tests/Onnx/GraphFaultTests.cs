using FaceEmbedWorker.Onnx;
using Google.Protobuf;

namespace FaceEmbedWorker.Tests.Onnx;

public class GraphFaultTests
{
    [Theory]
    [InlineData("", null)]
    [InlineData("Relu c > d", "Its Relu reads 'c', which only a node behind it gives: its nodes are out of order, or in a ring.")]
    [InlineData("Relu e > d", "Its Relu reads 'e', which nothing gives.")]
    [InlineData("Relu > d", null)] // an input that is left out
    [InlineData("Relu a >", "Its Relu gives nothing.")]
    [InlineData("Relu a > a", "It has two values of the name 'a'.")]
    [InlineData("Relu a > w", "It has two values of the name 'w'.")]
    [InlineData("Relu a > c", "It has two values of the name 'c'.")] // the second one
    [InlineData("Split a > d d", "It has two values of the name 'd'.")]
    [InlineData("Split a > d - -", null)] // outputs that are left out
    [InlineData("Split a > - d", "Its Split gives nothing.")]
    public void Each_node_reads_what_comes_before_it(string node, string? fault)
    {
        var graph = Graph();
        if (node.Length > 0)
        {
            var words = node.Split(' ');
            var (inputs, outputs) = (words[1..Array.IndexOf(words, ">")], words[(Array.IndexOf(words, ">") + 1)..].Where(o => o.Length > 0).Select(o => o == "-" ? "" : o));
            graph.Node.Insert(0, new NodeProto { OpType = words[0], Input = { inputs.Length > 0 ? inputs : [""] }, Output = { outputs } });
        }

        Assert.Equal(fault, GraphFault.Of(graph));
        Assert.Equal(fault, GraphFault.Of(new ModelProto { Graph = graph }.ToByteArray()));
    }

    [Fact]
    public void Names_are_given_once_and_outputs_by_something()
    {
        Assert.Equal("It has two inputs of the name 'a'.", With(g => g.Input.Add(new ValueInfoProto { Name = "a" })));
        Assert.Equal("It has two tensors of the name 'w'.", With(g => g.Initializer.Add(new TensorProto { Name = "w" })));
        Assert.Null(With(g => g.Input.Add(new ValueInfoProto { Name = "w" }))); // an old file names its weights as inputs too
        Assert.Equal("Its output 'other' is given by nothing.", With(g => g.Output.Add(new ValueInfoProto { Name = "other" })));
        Assert.Null(With(g => g.Output.Add(new ValueInfoProto { Name = "w" })));
        Assert.Null(GraphFault.Of([]));
        Assert.Null(GraphFault.Of([0xFF, 0xFF]));

        static string? With(Action<GraphProto> change)
        {
            var graph = Graph();
            change(graph);
            return GraphFault.Of(graph);
        }
    }

    [Fact]
    public void A_file_without_a_graph_that_can_be_run_is_refused()
    {
        Assert.Equal("It has no graph: it is damaged, or only a part of a model. Get it again, or export it again.", Refusal([]));
        Assert.Equal("It is damaged or cut short. Get it again.", Refusal([0xFF, 0xFF]));
        Assert.Equal("Its graph has no nodes, and computes nothing. Export it again.", Refusal(new ModelProto { Graph = new GraphProto() }.ToByteArray()));
        GraphFault.MustBeRunnable(new ModelProto { Graph = Graph() }.ToByteArray());
    }

    [Fact]
    public void Sizes_that_nothing_has_are_refused()
    {
        Assert.Equal("Its input 'a' is [1,any,2147483648], which no picture has. Export it again, for pictures of a size that they have.", With(g => g.Input[0].Type = Shape(1, 0, int.MaxValue + 1L)));
        Assert.Null(With(g => g.Input[0].Type = Shape(1, 0, int.MaxValue)));
        Assert.Null(With(g =>
        {
            g.Input.Add(new ValueInfoProto { Name = "w", Type = Shape(int.MaxValue + 1L) }); // a weight, of which there is as much as there is
        }));
        Assert.Equal("Its output 'c' has 268,435,457 values, and 268,435,456 are the most that is run here. It is no network of faces, or was exported wrongly.", With(g => g.Output[0].Type = Shape((1 << 28) + 1)));
        Assert.Null(With(g => g.Output[0].Type = Shape(1 << 14, -1, 0, 1 << 14)));
        Assert.StartsWith("Its output 'c' has 536,870,912 values", With(g => g.Output[0].Type = Shape(1 << 14, -1, 0, 1 << 15)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ConstantOfShape", true)]
    [InlineData("Expand", false)]
    [InlineData("Tile", false)]
    public void Nodes_that_make_values_by_a_shape_are_weighed(string type, bool alone)
    {
        Assert.Null(With(1 << 14, 1 << 14));
        Assert.StartsWith($"Its {type} has 268,451,840 values", With(1 << 14, (1 << 14) + 1), StringComparison.Ordinal);
        Assert.Null(GraphFaultTests.With(g => g.Node.Add(new NodeProto { OpType = type, Output = { "d" } })));
        Assert.Null(GraphFaultTests.With(g => g.Node.Add(new NodeProto { OpType = type, Input = { "a", "a" }, Output = { "d" } }))); // computed
        Assert.Null(GraphFaultTests.With(g =>
        {
            g.Initializer.Add(new TensorProto { Name = "shape", DataType = 1, Dims = { 1 }, FloatData = { 1e30f } }); // no whole numbers
            g.Initializer.Add(new TensorProto { Name = "large", DataType = 7, Dims = { 1 }, Int64Data = { 1L << 40 } });
            g.Node.Add(new NodeProto { OpType = type, Input = { alone ? ["shape"] : new[] { "a", "shape" } }, Output = { "d" } });
            g.Node.Add(new NodeProto { OpType = "Reshape", Input = { "a", "large" }, Output = { "e" } }); // makes none
        }));

        string? With(params long[] sizes) => GraphFaultTests.With(g =>
        {
            g.Initializer.Add(new TensorProto { Name = "shape", DataType = 7, Dims = { sizes.Length }, Int64Data = { sizes } });
            g.Node.Add(new NodeProto { OpType = type, Input = { alone ? ["shape"] : new[] { "a", "shape" } }, Output = { "d" } });
            g.Node.Add(new NodeProto { OpType = "Reshape", Input = { "a", "shape" }, Output = { "e" } }); // which makes none
        });
    }

    private static string? With(Action<GraphProto> change)
    {
        var graph = Graph();
        change(graph);
        var bytes = new ModelProto { Graph = graph }.ToByteArray();
        try
        {
            GraphFault.MustBeRunnable(bytes);
            return null;
        }
        catch (InvalidDataException e)
        {
            return e.Message;
        }
    }

    private static string Refusal(byte[] bytes) => Assert.Throws<InvalidDataException>(() => GraphFault.MustBeRunnable(bytes)).Message;

    private static TypeProto Shape(params long[] sizes) => new() { TensorType = new TypeProto.Types.Tensor { Shape = new TensorShapeProto { Dim = { sizes.Select(s => new TensorShapeProto.Types.Dimension { DimValue = s }) } } } };

    /// <summary>c = a w.</summary>
    private static GraphProto Graph() => new()
    {
        Input = { new ValueInfoProto { Name = "a" } },
        Initializer = { new TensorProto { Name = "w" } },
        Node = { new NodeProto { OpType = "Mul", Input = { "a", "w" }, Output = { "c" } } },
        Output = { new ValueInfoProto { Name = "c" } },
    };
}
