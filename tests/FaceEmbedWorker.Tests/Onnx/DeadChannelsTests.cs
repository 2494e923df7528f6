using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

public class DeadChannelsTests
{
    private const int Block = 16;

    /// <summary>How a channel is made dead, or nearly.</summary>
    private enum Death
    {
        None,
        NothingIn,
        OnlyItsBiasIn,
        NothingThrough,
        NobodyReads,
    }

    [Fact]
    public void The_shipped_embedder_loses_its_dead_channels()
    {
        var bytes = File.ReadAllBytes(Pipeline.Shipped("face_embedding.onnx"));
        var model = ModelProto.Parser.ParseFrom(GraphPreparation.Prepare(bytes).Model);
        var left = new List<string>();

        Assert.Equal(1216, GraphPreparation.Prepare(bytes).Removed);
        Assert.Equal(0, DeadChannels.Remove(model.Graph, left));
        Assert.Empty(left);
        var hidden = model.Graph.Initializer.Where(t => t.Dims.Count == 4).Select(t => t.Dims[0]);
        Assert.All(hidden, channels => Assert.Equal(0, channels % Block));
    }

    /// <summary>
    /// Random chains of layers, with and without depthwise convolutions, activations, biases, padding; channels dead for every reason, and
    /// nearly dead; weights raw or not, in Constant nodes, as inputs of an old file.
    /// </summary>
    [Fact]
    public void Cut_and_plain_agree_on_random_graphs()
    {
        var (removed, kept) = (0, 0);
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var chain = new Chain(random);
            var (plain, left) = (chain.Model.ToByteArray(), new List<string>());

            var count = DeadChannels.Remove(chain.Model.Graph, left);

            Assert.Equal((seed, chain.Removable, chain.Obstacles), (seed, count, left.Count));
            removed += count;
            kept += left.Count;
            AssertSame(plain, chain.Model.ToByteArray(), random);
            AssertSame(plain, GraphPreparation.Prepare(plain).Model, random);
        }

        Assert.True(removed > 3000 && kept > 20, $"{removed} removed, {kept} layers kept");
    }

    [Fact]
    public void A_channel_with_one_weight_that_counts_stays()
    {
        Assert.Equal(16, Removed(Death.NothingThrough, "depthwise", 20 * 9 + 4)); // 31 dead: one block
        Assert.Equal(16, Removed(Death.NobodyReads, "reader", 20));
        Assert.Equal(32, Removed(Death.NothingThrough, "reader", 20)); // more is read of what does not get through
        Assert.Equal(32, Removed(Death.NobodyReads, "depthwise", 20 * 9 + 4));

        static int Removed(Death death, string tensor, int index)
        {
            var random = new Random(1);
            var model = Hourglass(random, death);
            Change(model, tensor, index, 1e-3f);
            var before = model.ToByteArray();
            var removed = DeadChannels.Remove(model.Graph, []);
            AssertSame(before, model.ToByteArray(), random);
            return removed;
        }
    }

    [Fact]
    public void What_is_dead_and_stays_is_named_with_its_reason()
    {
        Assert.EndsWith("'maker-node' keeps 32 dead channels: its weights are read elsewhere too.", Left(m => m.Graph.Node.Add(new NodeProto { OpType = "Identity", Input = { "depthwise" }, Output = { "copy" } })), StringComparison.Ordinal);
        Assert.EndsWith("its weights are read elsewhere too.", Left(m => m.Graph.Output.Add(new ValueInfoProto { Name = "reader" })), StringComparison.Ordinal);
        Assert.EndsWith("its weights are not finite.", Left(m => Change(m, "maker", 0, float.NaN)), StringComparison.Ordinal);
        Assert.EndsWith("a subgraph may read them.", Left(m => m.Graph.Node.Add(new NodeProto { OpType = "If", Input = { "in" }, Output = { "maybe" } })), StringComparison.Ordinal);

        static string Left(Action<ModelProto> change)
        {
            var (model, left) = (Hourglass(new Random(1), Death.NothingThrough), new List<string>());
            change(model);
            var before = model.ToByteArray();
            Assert.Equal(0, DeadChannels.Remove(model.Graph, left));
            Assert.Equal(before, model.ToByteArray());
            return Assert.Single(left);
        }
    }

    [Fact]
    public void A_layer_that_others_see_stays()
    {
        foreach (var hidden in new[] { "maker-out", "depthwise-out" })
        {
            var (seen, read) = (Hourglass(new Random(1), Death.NothingThrough), Hourglass(new Random(1), Death.NothingThrough));
            seen.Graph.Output.Add(new ValueInfoProto { Name = hidden });
            read.Graph.Node.Add(new NodeProto { OpType = "Relu", Input = { hidden }, Output = { "too" } });
            Assert.Equal((0, 0), (DeadChannels.Remove(seen.Graph, []), DeadChannels.Remove(read.Graph, [])));
        }
    }

    [Fact]
    public void Of_a_layer_that_is_dead_altogether_one_block_stays()
    {
        var random = new Random(1);
        var model = Hourglass(random, Death.NothingThrough, all: true);
        var before = model.ToByteArray();
        Assert.Equal(48, DeadChannels.Remove(model.Graph, []));
        AssertSame(before, model.ToByteArray(), random);
    }

    /// <summary>What stands between two convolutions may be said in another way, or be something else.</summary>
    [Fact]
    public void A_layer_is_known_by_what_its_nodes_do_and_not_by_how_it_is_written()
    {
        Assert.Equal(32, Removed(_ => { }));
        Assert.Equal(32, Removed(m => m.Graph.Node.ToList().ForEach(n => n.Domain = "ai.onnx")));
        Assert.Equal(0, Removed(m => m.Graph.Node[0].Domain = "other"));
        Assert.Equal(0, Removed(m => m.Graph.Node[1].Domain = "other"));
        Assert.Equal(0, Removed(m => m.Graph.Node[0].Input.Add("computed"))); // a bias that is no constant
        Assert.Equal(0, Removed(m => Set(m.Graph.Initializer.Single(t => t.Name == "reader"), [2, 32, 1, 1]))); // which does not fit

        Assert.Equal(32, Removed(m => Between(m, "Relu")));
        Assert.Equal(32, Removed(m => Between(m, "Relu").Domain = "ai.onnx"));
        Assert.Equal(0, Removed(m => Between(m, "Relu").Domain = "other"));
        Assert.Equal(0, Removed(m => Between(m, "Exp")));
        Assert.Equal(32, Removed(m => Between(m, "PRelu", 64, 1, 1)));
        Assert.Equal(32, Removed(m => Between(m, "PRelu", 64, 1, 1).Domain = "ai.onnx"));
        Assert.Equal(0, Removed(m => Between(m, "PRelu", 64, 1, 1).Domain = "other"));
        Assert.Equal(32, Removed(m => Between(m, "PRelu", 1, 64, 1, 1)));
        Assert.Equal(32, Removed(m => Between(m, "PRelu", 1, 1)));
        Assert.Equal(0, Removed(m => Between(m, "PRelu", 2, 64, 1, 1)));
        Assert.Equal(0, Removed(m => Between(m, "PRelu", 1, 64)));

        static int Removed(Action<ModelProto> change)
        {
            var model = Hourglass(new Random(1), Death.NothingThrough);
            change(model);
            var before = model.ToByteArray();
            var removed = DeadChannels.Remove(model.Graph, []);
            Assert.Equal(removed == 0, before.AsSpan().SequenceEqual(model.ToByteArray()));
            if (removed > 0 && model.Graph.Node.FirstOrDefault(n => n.OpType == "PRelu") is { } prelu)
            {
                var slope = model.Graph.Initializer.Single(t => t.Name == prelu.Input[1]);
                Assert.Equal(slope.Dims.Contains(32) ? 32 : 1, Weights.Values(slope)!.Length);
            }

            return removed;
        }

        static NodeProto Between(ModelProto model, string type, params long[] slope)
        {
            var node = new NodeProto { OpType = type, Input = { "depthwise-out" }, Output = { "between" } };
            if (slope.Length > 0)
            {
                model.Graph.Initializer.Add(Tensor("slope", Values(new Random(2), (int)slope.Aggregate((a, b) => a * b)), slope));
                node.Input.Add("slope");
            }

            model.Graph.Node.Insert(2, node);
            model.Graph.Node[3].Input[0] = "between";
            return node;
        }

        static void Set(TensorProto tensor, long[] dims)
        {
            tensor.Dims.Clear();
            tensor.Dims.Add(dims);
        }
    }

    [Fact]
    public void Slopes_that_others_read_keep_a_layer_and_one_for_all_channels_does_not()
    {
        Assert.Equal((0, "Conv 'maker-node' keeps 32 dead channels: its weights are read elsewhere too."), Removed(64, 1, 1));
        Assert.Equal((32, null), Removed(1));

        static (int, string?) Removed(params long[] slope)
        {
            var (model, left) = (Hourglass(new Random(1), Death.NothingThrough), new List<string>());
            model.Graph.Initializer.Add(Tensor("slope", Values(new Random(2), (int)slope[0]), slope));
            model.Graph.Node.Insert(2, new NodeProto { OpType = "PRelu", Input = { "depthwise-out", "slope" }, Output = { "between" } });
            model.Graph.Node[3].Input[0] = "between";
            model.Graph.Node.Add(new NodeProto { OpType = "Identity", Input = { "slope" }, Output = { "copy" } });
            return (DeadChannels.Remove(model.Graph, left), left.SingleOrDefault());
        }
    }

    /// <summary>Of 16 dead channels one passes on 3, through weights of 1, 2, 3 and 4: 30 more in the reader's bias.</summary>
    [Theory]
    [InlineData("", true)]
    [InlineData("pads 0 0 0 0", true)]
    [InlineData("pads 1 0 0 0", false)]
    [InlineData("pads 0 0 0 1", false)]
    [InlineData("auto_pad", false)]
    [InlineData("no bias", false)]
    [InlineData("no bias and no name", false)]
    [InlineData("bias of another", false)]
    public void A_constant_goes_into_its_readers_bias_where_no_border_is(string how, bool goes)
    {
        var graph = new GraphProto();
        graph.Initializer.Add(Tensor("maker", [.. Enumerable.Range(0, 32).Select(c => c is >= 8 and < 24 ? 0f : 1)], 32, 1, 1, 1));
        graph.Initializer.Add(Tensor("bias", [.. Enumerable.Range(0, 32).Select(c => c == 10 ? 3f : 0)], 32));
        graph.Initializer.Add(Tensor("reader", [.. Enumerable.Range(0, 32 * 4).Select(i => i % 4 + 1f)], 1, 32, 2, 2));
        graph.Initializer.Add(Tensor("reader-bias", [7], 1));
        var (maker, reader) = (new NodeProto { OpType = "Conv", Name = "maker-node", Input = { "in", "maker", "bias" }, Output = { "hidden" } }, new NodeProto { OpType = "Conv", Input = { "hidden", "reader" }, Output = { "out" } });
        graph.Node.Add([maker, reader]);
        graph.ValueInfo.Add(Value("hidden", 32));
        if (how.StartsWith("no bias", StringComparison.Ordinal))
        {
            maker.Name = how == "no bias" ? maker.Name : "";
        }
        else
        {
            reader.Input.Add("reader-bias");
        }

        if (how.Contains("pad", StringComparison.Ordinal))
        {
            reader.Attribute.Add(new AttributeProto { Name = how.Split(' ')[0], Ints = { how.Split(' ')[1..].Select(n => long.Parse(n, System.Globalization.CultureInfo.InvariantCulture)) } });
        }

        if (how == "bias of another")
        {
            graph.Node.Add(new NodeProto { OpType = "Identity", Input = { "reader-bias" }, Output = { "copy" } });
        }

        var left = new List<string>();
        Assert.Equal(goes ? 16 : 0, DeadChannels.Remove(graph, left));
        var why = how == "bias of another" ? "16 dead channels: its weights are read elsewhere too." : "1 dead channels: they pass on a constant, and its reader has padding or no bias for it.";
        Assert.Equal(goes ? [] : [$"Conv '{(how == "no bias and no name" ? "hidden" : "maker-node")}' keeps {why}"], left);
        Assert.Equal(goes ? 37 : 7, Weights.Values(graph.Initializer[3])![0]);
        Assert.Equal(goes ? 16 : 32, graph.ValueInfo[0].Type.TensorType.Shape.Dim[1].DimValue);
    }

    /// <summary>3 -> 64 channels, a depthwise convolution of 3 x 3, -> 1; the middle 32 of the 64 are dead, or all.</summary>
    private static ModelProto Hourglass(Random random, Death death, bool all = false)
    {
        var model = new ModelProto { IrVersion = 8, Graph = new GraphProto(), OpsetImport = { new OperatorSetIdProto { Version = 13 } } };
        var gone = Enumerable.Range(0, 64).Select(c => all || c is >= 16 and < 48 ? death : Death.None).ToArray();
        model.Graph.Input.Add(Value("in", 3));
        Conv(model, random, "maker", "in", 3, 64, 1, 1, bias: false, gone, Death.NothingIn);
        Conv(model, random, "depthwise", "maker-out", 1, 64, 3, 64, bias: false, gone, Death.NothingThrough);
        var reader = Values(random, 64);
        for (var c = 0; c < 64; c++)
        {
            reader[c] = gone[c] == Death.NobodyReads ? 0 : reader[c];
        }

        model.Graph.Initializer.Add(Tensor("reader", reader, 1, 64, 1, 1));
        model.Graph.Node.Add(new NodeProto { OpType = "Conv", Input = { "depthwise-out", "reader" }, Output = { "out" } });
        model.Graph.Output.Add(Value("out", 1));
        return model;
    }

    private static void Conv(ModelProto model, Random random, string name, string input, int from, int to, int kernel, int group, bool bias, Death[] deaths, Death zeroes)
    {
        var values = Values(random, to * from * kernel * kernel);
        for (var c = 0; c < to; c++)
        {
            if (deaths[c] == zeroes || zeroes == Death.NothingIn && deaths[c] == Death.OnlyItsBiasIn)
            {
                values.AsSpan(c * from * kernel * kernel, from * kernel * kernel).Clear();
            }
        }

        model.Graph.Initializer.Add(Tensor(name, values, to, from, kernel, kernel));
        var node = new NodeProto { OpType = "Conv", Name = $"{name}-node", Input = { input, name }, Output = { $"{name}-out" } };
        node.Attribute.Add(new AttributeProto { Name = "group", Type = AttributeProto.Types.AttributeType.Int, I = group });
        node.Attribute.Add(new AttributeProto { Name = "pads", Type = AttributeProto.Types.AttributeType.Ints, Ints = { Enumerable.Repeat((long)kernel / 2, 4) } });
        if (bias)
        {
            var constants = Values(random, to);
            for (var c = 0; c < to; c++)
            {
                constants[c] = deaths[c] == Death.NothingIn && zeroes == Death.NothingIn ? 0 : constants[c];
            }

            model.Graph.Initializer.Add(Tensor($"{name}-bias", constants, to));
            node.Input.Add($"{name}-bias");
        }

        model.Graph.Node.Add(node);
    }

    private static float[] Values(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * 2 - 1))];

    private static TensorProto Tensor(string name, float[] values, params long[] dims) => new() { Name = name, DataType = 1, Dims = { dims }, FloatData = { values } };

    private static void Change(ModelProto model, string tensor, int index, float value) => model.Graph.Initializer.Single(t => t.Name == tensor).FloatData[index] = value;

    private static ValueInfoProto Value(string name, int channels)
    {
        var shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimValue = 1 }, new TensorShapeProto.Types.Dimension { DimValue = channels } } };
        shape.Dim.Add([new() { DimValue = 7 }, new() { DimValue = 7 }]);
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = shape } } };
    }

    private static void AssertSame(byte[] plain, byte[] cut, Random random)
    {
        var input = Values(random, 3 * 7 * 7);
        var (expected, actual) = (Run(plain, input), Run(cut, input));
        var scale = expected.Max(Math.Abs) + 1e-6;
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * scale));
    }

    private static float[] Run(byte[] model, float[] input)
    {
        using var options = Model.SessionOptions();
        using var session = new InferenceSession(model, options);
        using var value = OrtValue.CreateTensorValueFromMemory(input, [1, 3, 7, 7]);
        using var run = new RunOptions();
        using var outputs = session.Run(run, session.InputNames, [value], session.OutputNames);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>Convolutions one behind the other; between each two a layer of hidden channels.</summary>
    private sealed class Chain
    {
        private readonly Random random;
        private readonly string?[] activation = new string?[2]; // behind the layer's maker, behind its depthwise convolution
        private NodeProto? made;
        private NodeProto? through;

        public Chain(Random random)
        {
            this.random = random;
            Model = new ModelProto { IrVersion = random.Next(2) == 0 ? 3 : 8, Graph = new GraphProto(), OpsetImport = { new OperatorSetIdProto { Version = random.Next(9, 22) } } };
            Model.Graph.Input.Add(Value("in", 3));
            var (last, channels, deaths) = ("in", 3, new Death[3]);
            var layers = random.Next(2, 5);
            for (var layer = 0; layer < layers; layer++)
            {
                (last, channels, deaths) = Add(layer, last, channels, deaths, hidden: layer < layers - 1);
            }

            Model.Graph.Output.Add(Value(last, channels));
            Disguise();
        }

        public ModelProto Model { get; }

        public int Removable { get; private set; }

        public int Obstacles { get; private set; }

        private (string Out, int Channels, Death[] Deaths) Add(int layer, string input, int from, Death[] unread, bool hidden)
        {
            var graph = Model.Graph;
            var (to, depthwise, name) = (hidden ? random.Next(2, 100) : 5, random.Next(2) == 0, $"conv{layer}");
            var deaths = Enumerable.Range(0, to).Select(c => !hidden || c == 0 || random.Next(2) == 0 ? Death.None : (Death)random.Next(1, 5)).ToArray();
            Conv(Model, random, name, input, from, to, random.Next(2) == 0 ? 1 : 3, 1, random.Next(2) == 0, deaths, Death.NothingIn);
            var reading = graph.Node[^1];
            var weights = graph.Initializer.Single(t => t.Name == name);
            var kernel = weights.FloatData.Count / from / to;
            for (var i = 0; i < weights.FloatData.Count; i++)
            {
                weights.FloatData[i] = unread[i / kernel % from] == Death.NobodyReads ? 0 : weights.FloatData[i];
            }

            if (layer > 0)
            {
                Expect(unread, reading, kernel > 1);
            }

            var last = Activate($"{name}-out", to, 0);
            through = null;
            if (hidden && depthwise)
            {
                Conv(Model, random, $"deep{layer}", last, 1, to, 3, to, random.Next(2) == 0, deaths, Death.NothingThrough);
                through = graph.Node[^1];
                last = Activate($"deep{layer}-out", to, 1);
            }

            made = reading;
            return (last, to, deaths);
        }

        /// <summary>
        /// By the rules in words: what is passed on at the end of a dead channel must be nothing, or go into the reader's bias.
        /// </summary>
        private void Expect(Death[] deaths, NodeProto reader, bool padded)
        {
            var (dead, constants) = (0, 0);
            for (var c = 0; c < deaths.Length; c++)
            {
                var end = through ?? made!;
                var bias = end.Input.Count > 2 ? Model.Graph.Initializer.Single(t => t.Name == end.Input[2]).FloatData[c] : 0;
                var isRelu = activation[through is null ? 0 : 1] == "Relu";
                var passes = bias == 0 || isRelu && bias < 0 ? 0 : 1;
                var constant = deaths[c] switch
                {
                    Death.NobodyReads => 0,
                    Death.NothingIn => passes,
                    Death.OnlyItsBiasIn when through is null || made!.Input.Count < 3 => passes,
                    Death.OnlyItsBiasIn when activation[0] == "Relu" && Model.Graph.Initializer.Single(t => t.Name == made!.Input[2]).FloatData[c] < 0 => passes,
                    Death.NothingThrough when through is not null => passes,
                    _ => -1,
                };
                dead += constant >= 0 ? 1 : 0;
                constants += constant > 0 ? 1 : 0;
            }

            var usable = padded || reader.Input.Count < 3 ? dead - constants : dead;
            Removable += Blocks(usable);
            Obstacles += Blocks(usable) == 0 && Blocks(dead) > 0 ? 1 : 0;

            int Blocks(int gone) => Math.Max(0, deaths.Length - (deaths.Length - gone + Block - 1) / Block * Block);
        }

        private string Activate(string input, int channels, int place)
        {
            activation[place] = random.Next(3) switch { 0 => null, 1 => "Relu", _ => "PRelu" };
            if (activation[place] is not { } type)
            {
                return input;
            }

            var node = new NodeProto { OpType = type, Input = { input }, Output = { $"{input}/active" } };
            if (type == "PRelu")
            {
                var one = random.Next(3) == 0;
                Model.Graph.Initializer.Add(one ? Tensor($"{input}/slope", Values(random, 1), 1) : Tensor($"{input}/slope", Values(random, channels), channels, 1, 1));
                node.Input.Add($"{input}/slope");
            }

            Model.Graph.Node.Add(node);
            return $"{input}/active";
        }

        /// <summary>The same weights as they lie in other files.</summary>
        private void Disguise()
        {
            var graph = Model.Graph;
            foreach (var tensor in graph.Initializer.ToArray())
            {
                if (random.Next(2) == 0)
                {
                    tensor.RawData = ByteString.CopyFrom(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(tensor.FloatData.ToArray()));
                    tensor.FloatData.Clear();
                }

                if (Model.IrVersion < 4)
                {
                    var shape = new TensorShapeProto { Dim = { tensor.Dims.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }) } };
                    graph.Input.Add(new ValueInfoProto { Name = tensor.Name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = shape } } });
                }
                else if (random.Next(2) == 0)
                {
                    graph.Initializer.Remove(tensor);
                    var constant = new NodeProto { OpType = "Constant", Output = { tensor.Name } };
                    constant.Attribute.Add(new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor });
                    graph.Node.Insert(0, constant);
                }
            }

            if (Model.IrVersion >= 4)
            {
                graph.ValueInfo.Add(graph.Node.Where(n => n.OpType == "Conv").Take(1).Select(n => Value(n.Output[0], Channels(n.Input[1]))));
            }

            int Channels(string name) => (int)Weights.Of(graph)[name].Dims[0];
        }
    }
}
