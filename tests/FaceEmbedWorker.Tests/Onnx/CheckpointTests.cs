using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using FaceEmbedWorker.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>Checkpoints that PyTorch wrote (tests/data/make_checkpoints.py), against what PyTorch computes with them.</summary>
public class CheckpointTests
{
    private static readonly JsonElement Golden = JsonElement.Parse(TestData.Read("checkpoints/golden.json"));

    [Theory]
    [InlineData("zip.pth", "embedding")]
    [InlineData("legacy.pth.tar", "embedding")]
    [InlineData("parameters.pt", "embedding")]
    [InlineData("wrapped.tar.gz", "embedding")]
    [InlineData("folded.pth", "embedding")]
    [InlineData("half.pth", "half")]
    [InlineData("bfloat16.pth", "bfloat16")]
    [InlineData("double.pth", "double")]
    [InlineData("zip.pth", "features")]
    [InlineData("landmarks.pth.tar", "landmarks")]
    public void A_conversion_computes_what_PyTorch_does(string file, string expected)
    {
        var golden = Golden.GetProperty(expected);
        var features = expected is "features" or "landmarks";
        var size = golden.GetProperty("size").GetInt32();

        var model = MobileFaceNet.Convert(Checkpoint.Read(TestData.Read($"checkpoints/{file}")), features ? CheckpointHead.Features : CheckpointHead.Auto, features ? size : null, file);

        Assert.Equal((size, !features), (model.Size, model.Identity));
        var expectedOutput = golden.GetProperty("output").EnumerateArray().Select(v => v.GetSingle()).ToArray();
        Assert.Equal(expectedOutput.Length, model.Dimensions);
        var scale = expectedOutput.Max(Math.Abs);
        foreach (var batch in new[] { 1, 3 })
        {
            var output = Run(model, batch);
            for (var i = 0; i < output.Length; i++)
            {
                Assert.Equal(expectedOutput[i % expectedOutput.Length] / scale, output[i] / scale, 1e-5);
            }
        }
    }

    [Fact]
    public void A_landmark_regressor_is_refused_in_words()
    {
        var checkpoint = Checkpoint.Read(TestData.Read("checkpoints/landmarks.pth.tar"));
        foreach (var head in new[] { CheckpointHead.Auto, CheckpointHead.Embedding })
        {
            Assert.Contains("has 136 outputs: it is a regressor of 68 landmarks, not an identity", Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(checkpoint, head, null, "")).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_pickle_that_would_run_code_is_refused_and_runs_nothing()
    {
        const string trace = "/tmp/face-embed-was-here";
        File.Delete(trace);
        var message = Assert.Throws<InvalidDataException>(() => Checkpoint.Read(TestData.Read("checkpoints/evil.pth"))).Message;
        Assert.Contains(".eval'", message, StringComparison.Ordinal);
        Assert.Contains("Nothing was run", message, StringComparison.Ordinal);
        Assert.False(File.Exists(trace));
    }

    [Theory]
    [InlineData("os", "system")]
    [InlineData("builtins", "exec")]
    [InlineData("numpy.core.multiarray", "scalar")]
    [InlineData("torch.storage", "_load_from_bytes")]
    [InlineData("collections", "OrderedDictionary")]
    public void Any_name_but_tensors_and_dictionaries_is_named(string module, string name)
    {
        byte[] pickle = [0x80, 2, .. Encoding.ASCII.GetBytes($"c{module}\n{name}\n"), (byte)')', (byte)'R', (byte)'.'];
        Assert.Contains($"'{module}.{name}'", Assert.Throws<InvalidDataException>(() => new Unpickler((_, _) => null, _ => "").Read(pickle, out _)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("conv_4.model.0.conv_dw.bn.running_var", null, "lacks the tensor 'conv_4.model.0.conv_dw.bn.running_var' [16]")]
    [InlineData("conv_34.project.conv.weight", new long[] { 8, 3, 1, 1 }, "'conv_34.project.conv.weight' is [8,3,1,1], and [any,16,1,1] is needed")]
    [InlineData("output_layer.linear.weight", new long[] { 16, 5 }, "'output_layer.linear.weight' is [16,5], and [any,12] is needed")]
    [InlineData("fc.weight", new long[] { 2, 2 }, "has the tensor 'fc.weight' [2,2], which no layer")]
    public void A_tensor_that_does_not_fit_is_named_with_its_shapes(string name, long[]? shape, string told)
    {
        var tensors = Checkpoint.Read(TestData.Read("checkpoints/zip.pth")).Tensors.ToDictionary();
        tensors.Remove(name);
        if (shape is not null)
        {
            tensors[name] = new Tensor(shape, new float[shape.Aggregate(1L, (a, b) => a * b)]);
        }

        Assert.Contains(told, Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Auto, null, "")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_input_that_the_head_cannot_take_says_which_it_can()
    {
        var checkpoint = Checkpoint.Read(TestData.Read("checkpoints/zip.pth"));
        Assert.Contains("use --input-size 48", Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(checkpoint, CheckpointHead.Auto, 160, "")).Message, StringComparison.Ordinal);
        Assert.Contains("use --input-size 48 or more", Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(checkpoint, CheckpointHead.Features, 16, "")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_checkpoint_says_so()
    {
        Assert.Contains("no PyTorch checkpoint", Assert.Throws<InvalidDataException>(() => Checkpoint.Read([1, 2, 3])).Message, StringComparison.Ordinal);
        Assert.Contains("no PyTorch checkpoint", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(File.ReadAllBytes(TestData.Astronaut))).Message, StringComparison.Ordinal);
        Assert.Contains("truncated or corrupt", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(TestData.Read("checkpoints/zip.pth")[..5000])).Message, StringComparison.Ordinal);
    }

    /// <summary>A seeded mutator; each ends in a model or in an error of the two kinds, in time and within memory.</summary>
    [Fact]
    public void Mutated_checkpoints_give_errors_and_nothing_else()
    {
        var corpus = new[] { "zip.pth", "legacy.pth.tar", "wrapped.tar.gz", "evil.pth", "half.pth" }.Select(f => TestData.Read($"checkpoints/{f}")).ToArray();
        var (converted, refused, most) = (0, 0, (Bytes: 0L, Seed: 0));
        var start = GC.GetAllocatedBytesForCurrentThread(); // this test's own: others run beside it
        for (var seed = 0; seed < 1500; seed++)
        {
            var bytes = Mutation.Of(corpus[seed % corpus.Length], new Random(seed));
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                MobileFaceNet.Convert(Checkpoint.Read(bytes), CheckpointHead.Auto, null, "");
                converted++;
            }
            catch (InvalidDataException)
            {
                refused++;
            }

            most = GC.GetAllocatedBytesForCurrentThread() - before is var taken && taken > most.Bytes ? (taken, seed) : most;
        }

        Console.WriteLine($"{converted} converted, {refused} refused; at most {most.Bytes:N0} bytes, by seed {most.Seed}");
        Assert.True(converted > 0 && refused > 500, $"{converted} converted, {refused} refused");
        Assert.InRange(most.Bytes, 0, 100_000_000);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - start) / 1500, 0, 20_000_000);
    }

    private static float[] Run(ConvertedModel model, int batch)
    {
        using var session = new InferenceSession(model.Onnx);
        var values = model.Size * model.Size * 3;
        var input = Enumerable.Range(0, batch * values).Select(i => (float)Math.Sin(i % values / 100.0)).ToArray();
        using var value = OrtValue.CreateTensorValueFromMemory(input, [batch, 3, model.Size, model.Size]);
        using var options = new RunOptions();
        using var outputs = session.Run(options, [model.Input], [value], [model.Output]);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }
}

/// <summary>Flips, cuts, repeats and exchanges bytes of a file, mostly near its structure.</summary>
internal static class Mutation
{
    public static byte[] Of(byte[] original, Random random)
    {
        var bytes = original.ToList();
        for (var change = random.Next(1, 4); change > 0 && bytes.Count > 16; change--)
        {
            var near = random.Next(2) == 0 ? Math.Min(bytes.Count, 4000) : bytes.Count;
            var at = random.Next(near - 8);
            switch (random.Next(6))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes.RemoveRange(at, random.Next(1, Math.Min(4000, bytes.Count - at)));
                    break;
                case 3:
                    bytes.InsertRange(at, bytes.GetRange(at, random.Next(1, Math.Min(200, bytes.Count - at))));
                    break;
                case 4:
                    var length = new byte[8];
                    BinaryPrimitives.WriteInt64LittleEndian(length, random.NextInt64());
                    bytes.RemoveRange(at, 8);
                    bytes.InsertRange(at, length);
                    break;
                default:
                    var keep = bytes.Count * random.Next(1, 100) / 100;
                    bytes.RemoveRange(keep, bytes.Count - keep);
                    break;
            }
        }

        return [.. bytes];
    }
}
