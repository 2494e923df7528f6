using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>Which operators of small graphs are quantised, which tensors go through 8 bits, and whose scale each has.</summary>
public class QuantizationPlanTests
{
    [Fact]
    public void All_between_the_picture_and_the_last_product_runs_in_8_bits()
    {
        var plan = Plan(Conv("a", "data"), Node("Relu", "b", "a"), Conv("c", "b"), Node("Add", "d", "c", "b"), Node("MaxPool", "e", "d"), Node("Flatten", "f", "e"), Gemm("vector", "f"));
        Assert.Equal("a c d vector", Quantised(plan));
        Assert.Equal("b", Names(plan.Absorbed));
        Assert.Equal(["a b"], plan.Activated.Select(a => $"{a.Key} {a.Value}"));
        Assert.Equal("b c d data e f", Tensors(plan));
        Assert.Equal("d d d data", string.Join(' ', new[] { "f", "e", "d", "data" }.Select(plan.Source)));
    }

    [Theory]
    [InlineData("Flatten")]
    [InlineData("Reshape")]
    [InlineData("Transpose")]
    [InlineData("MaxPool")]
    public void What_moves_values_has_the_scale_of_what_it_moves(string type)
    {
        var plan = Plan(Conv("a", "data"), Node(type, "b", "a"), Conv("c", "b"), Conv("vector", "c"));
        Assert.Equal(("a c", "a b c data", "a"), (Quantised(plan), Tensors(plan), plan.Source("b")));
    }

    [Fact]
    public void What_computes_has_a_scale_of_its_own()
    {
        var plan = Plan(Conv("a", "data"), Node("Sigmoid", "b", "a"), Conv("c", "b"), Conv("vector", "c"));
        Assert.Equal(("c", "b c data", "b"), (Quantised(plan), Tensors(plan), plan.Source("b")));
    }

    /// <summary>A convolution that gives float32 stays as it is, but for what it reads; a product has a kernel that gives float32.</summary>
    [Fact]
    public void The_last_convolution_is_not_quantised_and_the_last_product_is()
    {
        Assert.Equal(("", "data"), Of(Plan(Conv("vector", "data"))));
        Assert.Equal(("vector", "data"), Of(Plan(Gemm("vector", "data"))));
        Assert.Equal(("", ""), Of(Plan(Node("Add", "vector", "data", "data"))));
        Assert.Equal(("", ""), Of(Plan(Node("Flatten", "vector", "data"))));

        static (string, string) Of(QuantizationPlan plan) => (Quantised(plan), Tensors(plan));
    }

    [Fact]
    public void A_sum_that_is_wanted_in_8_bits_takes_both_in_8_bits_but_no_constant()
    {
        Assert.Equal(("a b", "a b data"), Of("a", "data"));
        Assert.Equal(("", "b data"), Of("a", "vector-of-one"));
        Assert.Equal(("", "b data"), Of("vector-of-one", "a"));

        static (string, string) Of(string one, string other)
        {
            var plan = Plan(Conv("a", "data"), Node("Add", "b", one, other), Conv("vector", "b"));
            return (Quantised(plan), Tensors(plan));
        }
    }

    [Fact]
    public void A_sum_of_three_is_none()
    {
        var plan = Plan(Conv("a", "data"), Node("Add", "b", "a", "data", "data"), Conv("vector", "b"));
        Assert.Equal(("", "b data"), (Quantised(plan), Tensors(plan)));
    }

    /// <summary>What lies below zero is cut off by the zero point alone.</summary>
    [Fact]
    public void A_relu_behind_a_convolution_or_a_sum_is_absorbed()
    {
        Assert.Equal(("b", "a b"), Of(Conv("a", "data"), Node("Relu", "b", "a")));
        Assert.Equal(("b", "a b"), Of(Node("Add", "a", "data", "data"), Node("Relu", "b", "a")));
        Assert.Equal(("", ""), Of(Node("MaxPool", "a", "data"), Node("Relu", "b", "a")));
        Assert.Equal(("", ""), Of(Gemm("a", "data"), Node("Relu", "b", "a")));
        Assert.Equal(("", ""), Of(Node("Relu", "b", "data")));

        static (string, string) Of(params NodeProto[] nodes)
        {
            var plan = Plan([.. nodes, Conv("vector", "b")]);
            return (Names(plan.Absorbed), string.Join(' ', plan.Activated.Select(a => $"{a.Key} {a.Value}")));
        }
    }

    [Fact]
    public void A_relu_stays_where_others_see_what_was_before_it_or_nobody_wants_it_in_8_bits()
    {
        Assert.Empty(Plan(Conv("a", "data"), Node("Relu", "b", "a"), Node("Add", "c", "a", "b"), Conv("vector", "c")).Absorbed);
        Assert.Empty(Plan(Conv("a", "data"), Node("Relu", "vector", "a")).Absorbed);
        var graph = Graph(Conv("a", "data"), Node("Relu", "b", "a"), Conv("vector", "b"));
        Assert.Single(new QuantizationPlan(graph).Absorbed);
        graph.Output.Add(new ValueInfoProto { Name = "a" });
        Assert.Empty(new QuantizationPlan(graph).Absorbed);
    }

    /// <summary>One reader that reads it twice is one.</summary>
    [Fact]
    public void A_relu_that_one_node_reads_twice_is_absorbed()
    {
        var plan = Plan(Conv("a", "data"), Node("Relu", "b", "a"), Node("Add", "c", "b", "b"), Conv("vector", "c"));
        Assert.Equal(("a c", "b"), (Quantised(plan), Names(plan.Absorbed)));
    }

    [Fact]
    public void What_is_made_of_constants_or_of_nothing_or_is_foreign_stays()
    {
        Assert.Equal(("", "a"), Of(Node("Reshape", "a", "w", "shape")));
        Assert.Equal(("", "a"), Of(Conv("a", "w")));
        Assert.Equal(("", "a"), Of(Node("Relu", "a")));
        foreach (var (domain, known) in new[] { ("ai.onnx", true), ("com.microsoft", false) })
        {
            var (conv, moving) = (Conv("a", "data"), Node("Flatten", "a", "data"));
            conv.Domain = moving.Domain = domain;
            Assert.Equal(known ? ("a", "a data") : ("", "a"), Of(conv));
            Assert.Equal(known ? ("", "a data") : ("", "a"), Of(moving));
        }

        static (string, string) Of(NodeProto first)
        {
            var plan = Plan(first, Conv("vector", "a"));
            return (Quantised(plan), Tensors(plan));
        }
    }

    [Fact]
    public void The_scale_of_a_moved_constant_is_its_own()
    {
        var plan = Plan(Node("Reshape", "a", "w", "shape"), Node("Reshape", "b", "a", "shape"), Conv("vector", "b"));
        Assert.Equal("a", plan.Source("b"));
        Assert.Equal("a", plan.Source("a"));
    }

    /// <summary>Of a node with weights and a bias, and whether it can be quantised then.</summary>
    public static TheoryData<string, bool> Kinds => new()
    {
        { "as it is", true },
        { "ai.onnx", true },
        { "no bias", true },
        { "foreign", false },
        { "another operator", false },
        { "one input", false },
        { "four inputs", false },
        { "computed weights", false },
        { "doubles", false },
        { "three dimensions", false },
        { "an empty dimension", false },
        { "computed bias", false },
        { "a bias of doubles", false },
        { "a bias of two dimensions", false },
        { "a longer bias", false },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_convolution_that_can_be_quantised_has_constants_that_fit(string kind, bool can)
    {
        var (node, weights) = (Node("Conv", "out", "data", "w", "b"), Tensors(Floats("w", [2, 3, 1, 1], 6), Floats("b", [2], 2)));
        Change(node, weights, kind, [2, 3, 2], [2, 0, 1, 1]);
        Assert.Equal(can, QuantizationPlan.IsConv(node, weights));
        Assert.False(QuantizationPlan.IsProduct(node, weights));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    [InlineData("alpha 1", true)]
    [InlineData("alpha 2", false)]
    [InlineData("beta 1", true)]
    [InlineData("beta 2", false)]
    [InlineData("transA 0", true)]
    [InlineData("transA 1", false)]
    [InlineData("transB 1", false)] // the bias fits the other dimension
    [InlineData("transB 0", true)]
    [InlineData("gamma 1", false)]
    public void A_product_that_can_be_quantised_has_constants_that_fit_and_no_factors(string kind, bool can)
    {
        var (node, weights) = (Node("Gemm", "out", "data", "w", "b"), Tensors(Floats("w", [3, 2], 6), Floats("b", [2], 2)));
        if (kind.Split(' ') is [var name, var value] && value is "0" or "1" or "2")
        {
            var number = int.Parse(value, System.Globalization.CultureInfo.InvariantCulture);
            node.Attribute.Add(name.StartsWith("trans", StringComparison.Ordinal) ? new AttributeProto { Name = name, I = number } : new AttributeProto { Name = name, F = number });
        }
        else
        {
            Change(node, weights, kind, [3, 2, 1], [0, 2]);
        }

        Assert.Equal(can, QuantizationPlan.IsProduct(node, weights));
        Assert.False(QuantizationPlan.IsConv(node, weights));
    }

    [Fact]
    public void Outputs_of_a_product_are_its_columns_or_where_it_is_transposed_its_rows()
    {
        var product = Node("Gemm", "out", "data", "w");
        Assert.Equal((0, 1), (QuantizationPlan.Axis(Node("Conv", "out", "data", "w")), QuantizationPlan.Axis(product)));
        Assert.False(QuantizationPlan.IsProduct(product, Tensors(Floats("w", [3, 0], 0))));
        product.Attribute.Add(new AttributeProto { Name = "transB", I = 1 });
        Assert.Equal(0, QuantizationPlan.Axis(product));
        var wide = Tensors(Floats("w", [3, 2], 6), Floats("b", [3], 3));
        product.Input.Add("b");
        Assert.True(QuantizationPlan.IsProduct(product, wide));
    }

    private static void Change(NodeProto node, Dictionary<string, TensorProto> weights, string kind, long[] otherDims, long[] emptyDims)
    {
        switch (kind)
        {
            case "as it is":
                break;
            case "ai.onnx":
                node.Domain = "ai.onnx";
                break;
            case "no bias":
                node.Input.RemoveAt(2);
                break;
            case "foreign":
                node.Domain = "com.microsoft";
                break;
            case "another operator":
                node.OpType = "ConvTranspose";
                break;
            case "one input":
                node.Input.RemoveAt(2);
                node.Input.RemoveAt(1);
                break;
            case "four inputs":
                node.Input.Add("b");
                break;
            case "computed weights":
                weights.Remove("w");
                break;
            case "doubles":
                weights["w"].DataType = 11;
                break;
            case "three dimensions":
                weights["w"] = Floats("w", otherDims, (int)otherDims.Aggregate(1L, (a, b) => a * b));
                break;
            case "an empty dimension":
                weights["w"] = Floats("w", emptyDims, 0);
                break;
            case "computed bias":
                weights.Remove("b");
                break;
            case "a bias of doubles":
                weights["b"].DataType = 11;
                break;
            case "a bias of two dimensions":
                weights["b"] = Floats("b", [1, 2], 2);
                break;
            case "a longer bias":
                weights["b"] = Floats("b", [3], 3);
                break;
            default:
                throw new ArgumentException(kind);
        }
    }

    private static QuantizationPlan Plan(params NodeProto[] nodes) => new(Graph(nodes));

    /// <summary>The last node gives the vector.</summary>
    private static GraphProto Graph(params NodeProto[] nodes) => new()
    {
        Node = { nodes },
        Initializer = { Floats("w", [2, 2, 1, 1], 4), Floats("m", [2, 2], 4), Floats("vector-of-one", [1], 1), new TensorProto { Name = "shape", DataType = 7, Dims = { 4 }, Int64Data = { 2, 2, 1, 1 } } },
        Input = { new ValueInfoProto { Name = "data" } },
        Output = { new ValueInfoProto { Name = nodes[^1].Output[0] } },
    };

    private static NodeProto Conv(string output, string input) => Node("Conv", output, input, "w");

    private static NodeProto Gemm(string output, string input) => Node("Gemm", output, input, "m");

    private static NodeProto Node(string type, string output, params string[] inputs) => new() { OpType = type, Input = { inputs }, Output = { output } };

    private static TensorProto Floats(string name, long[] shape, int count) => new() { Name = name, DataType = 1, Dims = { shape }, FloatData = { Enumerable.Range(1, count).Select(i => (float)i) } };

    private static Dictionary<string, TensorProto> Tensors(params TensorProto[] tensors) => tensors.ToDictionary(t => t.Name);

    private static string Quantised(QuantizationPlan plan) => Names(plan.Quantised);

    private static string Names(IEnumerable<NodeProto> nodes) => string.Join(' ', nodes.Select(n => n.Output[0]).Order(StringComparer.Ordinal));

    private static string Tensors(QuantizationPlan plan) => string.Join(' ', plan.Tensors.Order(StringComparer.Ordinal));
}
