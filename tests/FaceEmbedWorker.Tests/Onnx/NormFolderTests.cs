using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>A norm of two channels: twice x + 7 of the one, and x / 2 - 3 of the other.</summary>
public class NormFolderTests
{
    private const float Epsilon = 1e-3f;

    [Fact]
    public void A_norm_goes_into_the_convolution_before_it()
    {
        var graph = Graph(Node("Conv", "c", "x", "w", "b"), Norm("c", "y"));
        graph.Initializer.Add([Floats("w", [2, 1, 1, 2], 1, 2, 3, 4), Floats("b", [2], 10, 20)]);
        new NormFolder(graph).Fold();
        var conv = Assert.Single(graph.Node);
        Assert.Equal(("Conv", "y"), (conv.OpType, conv.Output[0]));
        Equal([2, 4, 1.5f, 2], graph, conv.Input[1], 2, 1, 1, 2);
        Equal([27, 7], graph, conv.Input[2], 2);
        Assert.Equal(2, graph.Initializer.Count); // what nobody reads is gone
    }

    [Fact]
    public void A_convolution_without_a_bias_gets_one()
    {
        var graph = Graph(Node("Conv", "c", "x", "w"), Norm("c", "y"));
        graph.Initializer.Add(Floats("w", [2, 1, 1, 1], 1, 1));
        new NormFolder(graph).Fold();
        Equal([7, -3], graph, Assert.Single(graph.Node).Input[2], 2);
    }

    /// <summary>A product's outputs are its matrix' columns, or its rows where it is turned.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_norm_goes_into_the_product_before_it(bool turned)
    {
        var graph = Graph(Node("Gemm", "c", "x", "w"), Norm("c", "y"));
        graph.Initializer.Add(turned ? Floats("w", [2, 3], 1, 2, 3, 4, 5, 6) : Floats("w", [3, 2], 1, 4, 2, 5, 3, 6));
        if (turned)
        {
            graph.Node[0].Attribute.Add(new AttributeProto { Name = "transB", I = 1 });
        }

        new NormFolder(graph).Fold();
        var product = Assert.Single(graph.Node);
        Equal(turned ? [2, 4, 6, 2, 2.5f, 3] : [2, 2, 4, 2.5f, 6, 3], graph, product.Input[1], turned ? [2, 3] : [3, 2]);
        Equal([7, -3], graph, product.Input[2], 2);
    }

    /// <summary>Where others see what is in front of it, or it is no product, it becomes a convolution of each channel by itself.</summary>
    [Theory]
    [InlineData("another reads it")]
    [InlineData("it is an output")]
    [InlineData("a sum is before it")]
    [InlineData("the picture is before it")]
    public void A_norm_that_goes_nowhere_becomes_a_convolution(string what)
    {
        var graph = Graph(Node("Conv", "c", "x", "w"), Node("Add", "s", "c", "c"), Norm(what switch { "a sum is before it" => "s", "the picture is before it" => "x", _ => "c" }, "y"));
        graph.Initializer.Add(Floats("w", [2, 1, 1, 1], 1, 1));
        if (what == "it is an output")
        {
            graph.Node.RemoveAt(1);
            graph.Output.Add(new ValueInfoProto { Name = "c" });
        }

        new NormFolder(graph).Fold();
        var norm = graph.Node[^1];
        Assert.Equal(("Conv", "y"), (norm.OpType, norm.Output[0]));
        Assert.Equal(["group 2", "kernel_shape 1 1"], norm.Attribute.Select(a => $"{a.Name} {(a.Ints.Count > 0 ? string.Join(' ', a.Ints) : a.I)}"));
        Equal([2, 0.5f], graph, norm.Input[1], 2, 1, 1, 1);
        Equal([7, -3], graph, norm.Input[2], 2);
        Assert.Equal(1, graph.Node[0].Input.Count(i => i == "w")); // and that is as it was
    }

    [Theory]
    [InlineData("Relu", true)]
    [InlineData("PRelu", true)]
    [InlineData("Sub", true)]
    [InlineData("Mul", true)]
    [InlineData("Div", true)]
    [InlineData("Sigmoid", true)]
    [InlineData("Clip", true)]
    [InlineData("LeakyRelu", true)]
    [InlineData("MaxPool", true)]
    [InlineData("AveragePool", true)]
    [InlineData("GlobalAveragePool", true)]
    [InlineData("Flatten", false)] // no picture any more
    public void What_keeps_a_pictures_dimensions_is_known(string between, bool picture)
    {
        var graph = Graph(Node(between, "c", "x"), Norm("c", "y"));
        new NormFolder(graph).Fold();
        Assert.Equal(picture ? "Conv" : "BatchNormalization", graph.Node[1].OpType);
    }

    [Theory]
    [InlineData("spatial 0")]
    [InlineData("training_mode 1")]
    [InlineData("a variance of -1")]
    [InlineData("weights of other lengths")]
    [InlineData("weights that are computed")]
    [InlineData("a row is before it")]
    public void A_norm_of_another_kind_stays(string what)
    {
        var graph = Graph(Node("Sub", "c", "x", "m"), Norm("c", "y"));
        var norm = graph.Node[1];
        switch (what)
        {
            case "spatial 0" or "training_mode 1":
                norm.Attribute.Add(new AttributeProto { Name = what.Split(' ')[0], I = what[^1] - '0' });
                break;
            case "a variance of -1":
                Weights.Write(graph.Initializer.Single(t => t.Name == "variance"), [-1, -1]);
                break;
            case "weights of other lengths":
                graph.Initializer.Single(t => t.Name == "mean").Dims[0] = 3;
                Weights.Write(graph.Initializer.Single(t => t.Name == "mean"), [1, 2, 3]);
                break;
            case "weights that are computed":
                graph.Initializer.Remove(graph.Initializer.Single(t => t.Name == "mean"));
                break;
            default:
                graph.Input[0].Type.TensorType.Shape.Dim.RemoveAt(3);
                break;
        }

        new NormFolder(graph).Fold();
        Assert.Equal(["Sub", "BatchNormalization"], graph.Node.Select(n => n.OpType));
    }

    /// <summary>The usual values of these attributes say nothing else.</summary>
    [Fact]
    public void Attributes_of_their_usual_values_keep_no_norm()
    {
        var graph = Graph(Norm("x", "y"));
        graph.Node[0].Attribute.Add([new AttributeProto { Name = "spatial", I = 1 }, new AttributeProto { Name = "training_mode", I = 0 }, new AttributeProto { Name = "momentum", F = 0.9f }]);
        new NormFolder(graph).Fold();
        Assert.Equal("Conv", graph.Node[0].OpType);
    }

    [Fact]
    public void Without_an_epsilon_it_is_ONNXs()
    {
        var graph = Graph(Norm("x", "y"));
        graph.Node[0].Attribute.Clear();
        Weights.Write(graph.Initializer.Single(t => t.Name == "variance"), [0, 0]);
        new NormFolder(graph).Fold();
        var scale = Weights.Values(graph.Initializer.Single(t => t.Name == graph.Node[0].Input[1]))!;
        Assert.Equal(4 / Math.Sqrt(1e-5f), scale[0], 0.01);
    }

    /// <summary>A second norm goes into what the first has become.</summary>
    [Fact]
    public void Norms_in_a_row_go_into_one_convolution()
    {
        var graph = Graph(Node("Conv", "c", "x", "w"), Norm("c", "d"), Norm("d", "y"));
        graph.Initializer.Add(Floats("w", [2, 1, 1, 1], 1, 1));
        new NormFolder(graph).Fold();
        var conv = Assert.Single(graph.Node);
        Equal([4, 0.25f], graph, conv.Input[1], 2, 1, 1, 1);
        Equal([21, -4.5f], graph, conv.Input[2], 2);
    }

    /// <summary>The first becomes a convolution, whose output others read too: the second becomes one of its own, with weights of its own.</summary>
    [Fact]
    public void A_norm_behind_a_norm_that_others_read_becomes_a_convolution_too()
    {
        var graph = Graph(Norm("x", "n"), Norm("n", "y"), Node("Relu", "z", "n"));
        new NormFolder(graph).Fold();
        Assert.Equal(["Conv", "Conv", "Relu"], graph.Node.Select(n => n.OpType));
        foreach (var conv in graph.Node.Take(2))
        {
            Equal([2, 0.5f], graph, conv.Input[1], 2, 1, 1, 1);
            Equal([7, -3], graph, conv.Input[2], 2);
        }

        Assert.Equal(4, graph.Initializer.Select(t => t.Name).Distinct().Count());
    }

    /// <summary>Of a sum's two parts one may be a constant.</summary>
    [Fact]
    public void A_picture_and_a_constant_make_a_picture()
    {
        var graph = Graph(Node("Mul", "c", "x", "k"), Norm("c", "y"));
        graph.Initializer.Add(Floats("k", [2, 1, 1], 1, 1));
        new NormFolder(graph).Fold();
        Assert.Equal(["Mul", "Conv"], graph.Node.Select(n => n.OpType));
    }

    private static void Equal(float[] expected, GraphProto graph, string name, params long[] shape)
    {
        var tensor = graph.Initializer.Single(t => t.Name == name);
        Assert.Equal(shape, tensor.Dims);
        Assert.All(expected.Zip(Weights.Values(tensor)!), v => Assert.Equal(v.First, v.Second, 1e-4));
    }

    private static GraphProto Graph(params NodeProto[] nodes) => new()
    {
        Input = { new ValueInfoProto { Name = "x", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = new TensorShapeProto { Dim = { Enumerable.Range(0, 4).Select(_ => new TensorShapeProto.Types.Dimension()) } } } } } },
        Output = { new ValueInfoProto { Name = "y" } },
        Node = { nodes },
        Initializer = { Floats("scale", [2], 4, 1), Floats("shift", [2], 3, -2), Floats("mean", [2], -2, 2), Floats("variance", [2], 4 - Epsilon, 4 - Epsilon) },
    };

    private static NodeProto Norm(string from, string to)
    {
        var norm = Node("BatchNormalization", to, from, "scale", "shift", "mean", "variance");
        norm.Attribute.Add(new AttributeProto { Name = "epsilon", F = Epsilon });
        return norm;
    }

    private static NodeProto Node(string type, string output, params string[] inputs) => new() { OpType = type, Input = { inputs }, Output = { output } };

    private static TensorProto Floats(string name, long[] shape, params float[] values)
    {
        var tensor = new TensorProto { Name = name, DataType = 1, Dims = { shape } };
        Weights.Write(tensor, values);
        return tensor;
    }
}
