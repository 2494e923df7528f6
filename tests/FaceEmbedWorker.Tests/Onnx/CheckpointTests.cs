using System.Formats.Tar;
using System.IO.Compression;
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
    [InlineData("tall.ckpt", "tall")]
    [InlineData("tall.pth.tar", "tall")]
    [InlineData("tall.safetensors", "tall")]
    [InlineData("tall.ckpt in a tar.gz", "tall")]
    [InlineData("tall.safetensors", "tall features")]
    [InlineData("capped.ckpt", "capped")]
    [InlineData("capped.pth.tar", "capped")]
    [InlineData("capped.safetensors", "capped")]
    [InlineData("capped.safetensors in a tar.gz", "capped")]
    public void A_conversion_computes_what_PyTorch_does(string file, string expected)
    {
        var golden = Golden.GetProperty(expected);
        var features = expected is "features" or "landmarks" or "tall features";
        var size = golden.GetProperty("size").GetInt32();
        var width = golden.TryGetProperty("width", out var own) ? own.GetInt32() : size;

        var model = MobileFaceNet.Convert(Checkpoint.Read(Contents(file)), features ? CheckpointHead.Features : CheckpointHead.Auto, features ? size : null, file);

        Assert.Equal((size, width, !features), (model.Height, model.Width, model.Identity));
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

    /// <summary>What a network is trained with enters its card: vectors of another mean or another crop are worth little.</summary>
    [Theory]
    [InlineData("tall.ckpt", "Xiaoccer's MobileFaceNet", "net_state_dict", new[] { 127.5 }, new[] { 128.0 })]
    [InlineData("capped.pth.tar", "foamliu's MobileFaceNet", "model.backbone", new[] { 123.675, 116.28, 103.53 }, new[] { 58.395, 57.12, 57.375 })]
    [InlineData("zip.pth", "cunjian's and TreB1eN's MobileFaceNet", null, new[] { 127.5 }, new[] { 127.5 })]
    public void A_family_is_told_by_the_names_of_its_tensors(string file, string name, string? key, double[] mean, double[] std)
    {
        var checkpoint = Checkpoint.Read(TestData.Read($"checkpoints/{file}"));
        var layout = MobileFaceNet.Convert(checkpoint, CheckpointHead.Auto, null, "").Layout;
        Assert.Equal((name, key), (layout.Name, checkpoint.Key));
        Assert.Equal(mean, layout.Mean);
        Assert.Equal(std, layout.Std);
    }

    [Fact]
    public void Every_layout_has_names_of_its_own_and_ends_in_a_global_and_a_linear_layer()
    {
        Assert.All(NetworkLayout.All, layout =>
        {
            Assert.Equal((LayerKind.Global, LayerKind.Linear), (((Layer)layout.Steps[^2]).Kind, ((Layer)layout.Steps[^1]).Kind));
            Assert.Contains(layout.Steps.OfType<Layer>(), l => l.Weights.StartsWith(layout.Mark, StringComparison.Ordinal));
            Assert.All(NetworkLayout.All.Where(other => other != layout), other => Assert.DoesNotContain(other.Steps.OfType<Layer>(), l => l.Weights.StartsWith(layout.Mark, StringComparison.Ordinal)));
        });
    }

    [Theory]
    [InlineData("It is a MobileFaceNet with separate last layers", "layer1.conv.weight", "layer3.0.conv1.conv.weight", "dw7.weight")]
    [InlineData("It is an IResNet of InsightFace", "conv1.weight", "layer1.0.prelu.weight", "features.running_mean")]
    [InlineData("It is facenet-pytorch's InceptionResnetV1", "conv2d_1a.conv.weight", "last_linear.weight")]
    [InlineData("Its 2 tensors are named like 'a.weight', 'b.weight'", "a.weight", "b.weight")]
    public void Another_network_is_named_for_what_was_found(string told, params string[] names)
    {
        var message = Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(names.ToDictionary(n => n, _ => new Tensor([1], [1]))), CheckpointHead.Auto, null, "")).Message;
        Assert.StartsWith(told, message, StringComparison.Ordinal);
        Assert.Contains("torch.onnx.export", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("net:tall", "net", null)]
    [InlineData("a/b:tall", "a.b", null)]
    [InlineData("optimizer:x net:tall margin:x", "net", null)]
    [InlineData("ema:tall state_dict:tall", "state_dict", null)]
    [InlineData("ema:tall model_state_dict:tall", "model_state_dict", null)]
    [InlineData("ema:tall net_state_dict:tall", "net_state_dict", null)]
    [InlineData("net_state_dict:tall model_state_dict:tall state_dict:tall", "state_dict", null)]
    [InlineData("a:tall b:tall b/c:x", null, "Save the one that is meant alone: torch.save({k: v for k, v in checkpoint['b'].items() if torch.is_tensor(v)}, path)")]
    [InlineData("ema:tall net:tall", null, "holds several networks: 'ema', 'net'. Save the one that is meant alone")]
    [InlineData("a:x b:x", null, "holds tensors under 'a', 'b', and none of them is a network that is converted here. Its one tensor is named 'x.weight'")]
    [InlineData("a/b/c/d/e:tall", "a.b.c.d.e", null)]
    [InlineData("a/1/#2/d:tall", "a.1.2.d", null)]
    [InlineData("a/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15:tall", "a.1.2.3.4.5.6.7.8.9.10.11.12.13.14.15", null)]
    [InlineData("a/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16:tall", null, "holds no tensors of floating-point numbers in 16 levels of keys; it has 'a'")]
    [InlineData("a/state_dict:tall ema/#0/state_dict:tall", null, "Save the one that is meant alone: torch.save(checkpoint['ema'][0]['state_dict'], path)")]
    public void Tensors_are_found_under_any_key_and_keys_are_listed_where_nothing_fits(string contents, string? key, string? told)
    {
        var root = new PickledDictionary();
        foreach (var part in contents.Split(' ').Select(p => p.Split(':')))
        {
            var (inner, path) = (root, part[0].Split('/'));
            foreach (var step in path)
            {
                var next = inner[step] as PickledDictionary ?? new PickledDictionary();
                inner.Set(step.StartsWith('#') ? long.Parse(step[1..], System.Globalization.CultureInfo.InvariantCulture) : step, next);
                inner = next;
            }

            inner.Set(part[1] == "tall" ? "linear7.conv.weight" : "x.weight", Checkpoint.Lazy([1], [1f]));
        }

        if (told is null)
        {
            Assert.Equal(key, Checkpoint.Of(root).Key);
        }
        else
        {
            Assert.Contains(told, Assert.Throws<InvalidDataException>(() => Checkpoint.Of(root)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_dictionary_that_holds_itself_is_looked_at_once()
    {
        var root = new PickledDictionary();
        for (var i = 0; i < 10_000; i++)
        {
            root.Set($"{i}", root);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("holds no tensors", Assert.Throws<InvalidDataException>(() => Checkpoint.Of(root)).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 30_000_000); // of 10,000 keys, and not of as many for each of them
    }

    [Theory]
    [InlineData(false, "The checkpoint is a list of tensors without names")]
    [InlineData(true, "The checkpoint is one tensor without a name")]
    public void Tensors_without_names_are_called_so(bool bare, string told)
    {
        var tensor = Checkpoint.Lazy([1], [1f]);
        Assert.Contains(told, Assert.Throws<InvalidDataException>(() => Checkpoint.Of(bare ? tensor : new List<object?> { tensor })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_several_checkpoints_in_a_tar_none_is_taken_and_other_files_do_not_matter()
    {
        Assert.Contains("It is a tar archive that holds no file.", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(Tar(("folder/", null)))).Message, StringComparison.Ordinal);
        Assert.Contains("It is a tar archive of 'README.md', and there is no checkpoint in it. Get the file itself.", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(Tar(("README.md", [.. "read me\n"u8])))).Message, StringComparison.Ordinal);
        var network = TestData.Read("checkpoints/zip.pth");
        Assert.NotEmpty(Checkpoint.Read(Tar(("README.md", [1, 2]), ("b/a.pth", network))).Tensors);
        Assert.Contains("The tar holds several files that may be checkpoints: 'a.pth', 'b.pth'. Unpack it, and name the one that is meant.",
            Assert.Throws<InvalidDataException>(() => Checkpoint.Read(Tar(("a.pth", network), ("b.pth", network)))).Message, StringComparison.Ordinal);

        Assert.NotEmpty(Checkpoint.Read(Tar(("README.md", [1, 2]), ("a.gz", GZip(network)))).Tensors);
        var damaged = GZip(network);
        damaged[^8] ^= 1; // its sum
        Assert.Contains("is damaged: what is in it cannot be unpacked. Get it again.", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(damaged)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("module.backbone.", "")]
    [InlineData("backbone.", "")]
    [InlineData("a.b.c.", "")]
    [InlineData("a.b.c.d.", "d.")]
    public void What_wrappers_put_before_names_is_left_out(string before, string left)
    {
        var root = new PickledDictionary();
        root.Set($"{before}one.weight", Checkpoint.Lazy([1], [1f]));
        root.Set($"{before}two.weight", Checkpoint.Lazy([1], [1f]));
        Assert.Equal([$"{left}one.weight", $"{left}two.weight"], Checkpoint.Of(root).Tensors.Keys);
    }

    [Fact]
    public void A_wrappers_name_is_left_out_where_only_some_names_have_it()
    {
        var root = new PickledDictionary();
        foreach (var name in new[] { "module.a.weight", "module.b.weight", "head" })
        {
            root.Set(name, Checkpoint.Lazy([1], [1f]));
        }

        Assert.Equal(["a.weight", "b.weight", "head"], Checkpoint.Of(root).Tensors.Keys);
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
    [InlineData("posix", "system")]
    [InlineData("builtins", "exec")]
    [InlineData("__builtin__", "eval")]
    [InlineData("importlib.util", "find_spec")]
    public void A_call_that_does_harm_is_named_and_refused(string module, string name)
    {
        byte[] pickle = [0x80, 2, .. Encoding.ASCII.GetBytes($"c{module}\n{name}\n"), (byte)')', (byte)'R', (byte)'.'];
        Assert.Contains($"'{module}.{name}'", Assert.Throws<InvalidDataException>(() => new Unpickler((_, _) => null, _ => "").Read(pickle, out _)).Message, StringComparison.Ordinal);
    }

    /// <summary>A counter, sets, dictionaries of other kinds, a namespace and a time, by Python itself, in protocols 2 and 4.</summary>
    [Theory]
    [InlineData("gAJ9cQAoWAEAAABjcQFjY29sbGVjdGlvbnMKQ291bnRlcgpxAn1xAyhYAQAAAGFxBEsCWAEAAABicQVLAVgBAAAAY3EGSwF1hXEHUnEIWAEAAABzcQljX19idWlsdGluX18Kc2V0CnEKXXELKEsBSwJlhXEMUnENWAIAAABmc3EOY19fYnVpbHRpbl9fCmZyb3plbnNldApxD11xEEsDYYVxEVJxElgCAAAAZGRxE2Njb2xsZWN0aW9ucwpkZWZhdWx0ZGljdApxFGNfX2J1aWx0aW5fXwpsaXN0CnEVhXEWUnEXWAEAAAB4cRhdcRlLAWFzWAIAAABvZHEaY2NvbGxlY3Rpb25zCk9yZGVyZWREaWN0CnEbKVJxHEsBSwJzWAIAAABuc3EdY2FyZ3BhcnNlCk5hbWVzcGFjZQpxHimBcR99cSBYAgAAAGxycSFHP7mZmZmZmZpzYlgBAAAAdHEiY2RhdGV0aW1lCmRhdGV0aW1lCnEjY19jb2RlY3MKZW5jb2RlCnEkWAsAAAAHw6QBAQAAAAAAAHElWAYAAABsYXRpbjFxJoZxJ1JxKIVxKVJxKlgDAAAAbmV0cSt9cSxYBgAAAHdlaWdodHEtWAQAAABoZXJlcS5zdS4=", "argparse.Namespace, collections.Counter, collections.defaultdict, datetime.datetime")]
    [InlineData("gASVJAEAAAAAAAB9lCiMAWOUjAtjb2xsZWN0aW9uc5SMB0NvdW50ZXKUk5R9lCiMAWGUSwKMAWKUSwGMAWOUSwF1hZRSlIwBc5SPlChLAUsCkIwCZnOUKEsDkZSMAmRklGgCjAtkZWZhdWx0ZGljdJSTlIwIYnVpbHRpbnOUjARsaXN0lJOUhZRSlIwBeJRdlEsBYXOMAm9klGgCjAtPcmRlcmVkRGljdJSTlClSlEsBSwJzjAJuc5SMCGFyZ3BhcnNllIwJTmFtZXNwYWNllJOUKYGUfZSMAmxylEc/uZmZmZmZmnNijAF0lIwIZGF0ZXRpbWWUjAhkYXRldGltZZSTlEMKB+QBAQAAAAAAAJSFlFKUjANuZXSUfZSMBndlaWdodJSMBGhlcmWUc3Uu", "argparse.Namespace, collections.Counter, collections.defaultdict, datetime.datetime")]
    public void Objects_beside_the_tensors_are_not_built_and_harm_nothing(string pickle, string notBuilt)
    {
        var unpickler = new Unpickler((name, _) => name.Name == "OrderedDict" ? new PickledDictionary() : null, _ => "");
        var read = Assert.IsType<PickledDictionary>(unpickler.Read(Convert.FromBase64String(pickle), out _));
        Assert.Equal(["c", "s", "fs", "dd", "od", "ns", "t", "net"], read.Items.Select(i => i.Key));
        Assert.Equal(2L, Assert.IsType<PickledDictionary>(read["od"])["1"]);
        Assert.Equal("here", Assert.IsType<PickledDictionary>(read["net"])["weight"]);
        Assert.Equal(notBuilt, string.Join(", ", unpickler.NotBuilt.Where(n => !n.Contains("builtin", StringComparison.Ordinal) && n != "_codecs.encode").Order(StringComparer.Ordinal)));
    }

    [Theory]
    [InlineData("backbone.", "head.weight", "backbone")]
    [InlineData("module.backbone.", "module.arcface.weight", "backbone")]
    [InlineData("model.net.", "loss.kernel", "model")]
    [InlineData("backbone.", "head.weight", "net.backbone", "net")]
    public void A_head_beside_the_backbone_is_left_out(string before, string head, string key, string? under = null)
    {
        var root = new PickledDictionary();
        root.Set(head, Checkpoint.Lazy([1], [1f]));
        root.Set($"{before}linear7.conv.weight", Checkpoint.Lazy([1], [1f]));
        root.Set($"{before}conv1.conv.weight", Checkpoint.Lazy([1], [1f]));
        var outer = new PickledDictionary();
        outer.Set(under, root);
        var checkpoint = Checkpoint.Of(under is null ? root : outer);
        Assert.Equal((key, head.Replace("module.", "", StringComparison.Ordinal)), (checkpoint.Key, Assert.Single(checkpoint.LeftOut)));
        Assert.Equal(["linear7.conv.weight", "conv1.conv.weight"], checkpoint.Tensors.Keys);
    }

    [Fact]
    public void A_network_beside_its_moving_average_is_parted_by_what_Python_can_run()
    {
        var root = new PickledDictionary();
        foreach (var part in new[] { "module.ema_model", "module.model" })
        {
            root.Set($"{part}.linear7.conv.weight", Checkpoint.Lazy([1], [1f]));
        }

        Assert.Contains("several networks: 'ema_model', 'model'. Save the one that is meant alone: torch.save({k.removeprefix('module.model.'): v for k, v in checkpoint.items() if k.startswith('module.model.')}, path)",
            Assert.Throws<InvalidDataException>(() => Checkpoint.Of(root)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_list_of_dictionaries_is_looked_into()
    {
        var (root, named) = (new PickledDictionary(), new PickledDictionary());
        named.Set("linear7.conv.weight", Checkpoint.Lazy([1], [1f]));
        root.Set("models", new List<object?> { "a name", named });
        Assert.Equal("models.1", Checkpoint.Of(root).Key);
        Assert.Contains("several networks: '0', '1'. Save the one that is meant alone: torch.save(checkpoint[1], path)", Assert.Throws<InvalidDataException>(() => Checkpoint.Of(new List<object?> { named, Other() })).Message, StringComparison.Ordinal);

        static PickledDictionary Other()
        {
            var other = new PickledDictionary();
            other.Set("linear7.conv.weight", Checkpoint.Lazy([1], [1f]));
            return other;
        }
    }

    [Theory]
    [InlineData("conv_6_sep.conv.weight", float.NaN, "The tensor 'conv_6_sep.conv.weight' [")]
    [InlineData("conv_6_sep.conv.weight", float.PositiveInfinity, "has values that are not finite")]
    [InlineData("conv_6_sep.bn.running_var", -1f, "The tensor 'conv_6_sep.bn.running_var' has negative values")]
    public void Weights_that_no_training_leaves_are_refused_by_their_tensors_name(string name, float value, string told)
    {
        var tensors = Checkpoint.Read(TestData.Read("checkpoints/zip.pth")).Tensors;
        tensors[name].Values[0] = value;
        Assert.Contains(told, Assert.Throws<InvalidDataException>(() => MobileFaceNet.Convert(Checkpoint.Of(tensors), CheckpointHead.Auto, null, "")).Message, StringComparison.Ordinal);
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
        Assert.Contains("no checkpoint. It is neither", Assert.Throws<ForeignFileException>(() => Checkpoint.Read([1, 2, 3])).Message, StringComparison.Ordinal);
        Assert.Contains("no checkpoint. It is a picture", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(File.ReadAllBytes(TestData.Astronaut))).Message, StringComparison.Ordinal);
        Assert.Contains("truncated or corrupt", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(TestData.Read("checkpoints/zip.pth")[..5000])).Message, StringComparison.Ordinal);
        Assert.Contains("magic number. Save the state dict: torch.save(", Assert.Throws<InvalidDataException>(() => Checkpoint.Read([0x80, 2, .. "K\u0005."u8])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Archives_within_archives_are_unpacked_three_deep()
    {
        var bytes = TestData.Read("checkpoints/zip.pth");
        for (var deep = 1; deep <= 4; deep++)
        {
            bytes = deep % 2 == 0 ? GZip(bytes) : Tar(("a", bytes));
            if (deep <= 3)
            {
                Assert.NotEmpty(Checkpoint.Read(bytes).Tensors);
            }
        }

        Assert.Equal("The checkpoint is wrapped in more than 3 archives.", Assert.Throws<InvalidDataException>(() => Checkpoint.Read(bytes)).Message);
    }

    /// <summary>One tensor of one value, as torch.save writes it into an archive.</summary>
    [Fact]
    public void An_archive_holds_a_pickle_and_a_file_for_each_storage()
    {
        byte[] pickle = One(1, 1), value = BitConverter.GetBytes(1.5f);
        foreach (var root in new[] { "", "net/", "a/b/" })
        {
            Assert.Equal([1.5f], Assert.Single(Checkpoint.Read(Zip(($"{root}data.pkl", pickle), ($"{root}data/0", value), ($"{root}byteorder", [.. "little"u8]))).Tensors).Value.Values);
        }

        Assert.Equal("The checkpoint was saved on a big-endian machine; save it again on a little-endian one.", Refusal(("net/data.pkl", pickle), ("net/data/0", value), ("net/byteorder", [.. "big\n"u8])));
        Assert.Equal("The checkpoint's data of storage '0' is missing.", Refusal(("net/data.pkl", pickle), ("net/data/1", value)));
        Assert.Equal("The checkpoint's storage has 8 bytes, and 1 values of 4 are announced.", Refusal(("net/data.pkl", pickle), ("net/data/0", new byte[8])));
        Assert.StartsWith("The file is no checkpoint. It is a TorchScript archive", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(Zip(("net/data.pkl", pickle), ("net/constants.pkl", pickle)))).Message, StringComparison.Ordinal);
        var locked = Zip(("net/data.pkl", pickle), ("net/data/0", value));
        locked[locked.AsSpan().LastIndexOf("PK\u0001\u0002"u8) + 8] |= 1; // its second file
        Assert.StartsWith("The file is no checkpoint. It is an encrypted zip archive.", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(locked)).Message, StringComparison.Ordinal);
        Assert.StartsWith("The file is no checkpoint. It is a zip archive of 'other.pkl'", Assert.Throws<ForeignFileException>(() => Checkpoint.Read(Zip(("other.pkl", pickle)))).Message, StringComparison.Ordinal);

        static string Refusal(params (string, byte[])[] files) => Assert.Throws<InvalidDataException>(() => Checkpoint.Read(Zip(files))).Message;
    }

    /// <summary>The same before PyTorch 1.6: pickles in a row, then counts and values.</summary>
    [Fact]
    public void A_stream_holds_pickles_and_storages_behind_them()
    {
        byte[] value = BitConverter.GetBytes(1.5f), keys = [.. "]V0\na."u8];
        Assert.Equal([1.5f], Assert.Single(Checkpoint.Read(Stream(One(1, 1), keys, 1, value)).Tensors).Value.Values);
        Assert.Empty(Assert.Single(Checkpoint.Read(Stream(One(0, 0), keys, 0)).Tensors).Value.Values);
        Assert.Equal("The checkpoint's list of storages is missing.", Refusal(Stream(One(1, 1), "}."u8, 1, value)));
        Assert.Equal("The checkpoint holds a storage that no tensor uses.", Refusal(Stream(One(1, 1), "]V1\na."u8, 1, value)));
        Assert.Equal("The checkpoint holds a storage that no tensor uses.", Refusal(Stream(One(1, 1), "]I0\na."u8, 1, value)));
        Assert.Equal("The checkpoint's storage '0' holds 2 values, and 1 are announced.", Refusal(Stream(One(1, 1), keys, 2, value)));
        Assert.Equal("The checkpoint's data of storage '0' is missing.", Refusal(Stream(One(1, 1), "]."u8, 1, value)));
        foreach (var missing in new[] { 1, 4, 5, 12 })
        {
            Assert.Equal("The checkpoint ends in the middle of a storage.", Refusal(Stream(One(1, 1), keys, 1, value)[..^missing]));
        }

        Assert.Equal("The checkpoint ends in the middle of a storage.", Refusal(Stream(One(-1, 1), keys, -1, value)));
        Assert.StartsWith("The checkpoint is truncated or corrupt: ", Refusal(Stream(One(1L << 40, 1), keys, 1L << 40, value)), StringComparison.Ordinal); // more than can be counted

        static string Refusal(byte[] file) => Assert.Throws<InvalidDataException>(() => Checkpoint.Read(file)).Message;

        static byte[] Stream(byte[] pickle, ReadOnlySpan<byte> keys, long count, params byte[] values) =>
        [
            0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.', .. "I1001\n."u8, .. "}."u8, .. pickle, .. keys, .. BitConverter.GetBytes(count), .. values,
        ];
    }

    [Fact]
    public void Safetensors_of_each_floating_type_become_float32()
    {
        byte[] header = [.. """{"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"s":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"h":{"dtype":"F16","shape":[1],"data_offsets":[12,14]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[14,16]},"n":{"dtype":"I16","shape":[1],"data_offsets":[16,18]}}"""u8];
        var tensors = Checkpoint.Read([.. BitConverter.GetBytes((long)header.Length), .. header, .. BitConverter.GetBytes(1.25), .. BitConverter.GetBytes(2.5f), .. BitConverter.GetBytes((Half)(-3)), 0x90, 0x40, 7, 0]).Tensors;
        Assert.Equal([("d", 1.25f), ("s", 2.5f), ("h", -3f), ("b", 4.5f)], tensors.Select(t => (t.Key, Assert.Single(t.Value.Values))));
    }

    [Fact]
    public void Of_many_keys_the_first_twelve_are_listed()
    {
        string[] keys = [.. Enumerable.Range(1, 14).Select(i => $"{i}")];
        Assert.Equal("no keys", SavedNetwork.Listed([]));
        Assert.Equal("no key, 'a'", SavedNetwork.Listed(["", "a"]));
        Assert.Equal("'1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12'", SavedNetwork.Listed(keys[..12]));
        Assert.Equal("'1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', …", SavedNetwork.Listed(keys[..13]));
        Assert.Equal("'1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', …", SavedNetwork.Listed(keys));
    }

    /// <summary>One tensor of one number or none, whose storage is said to have some.</summary>
    private static byte[] One(long count, int shape) => Encoding.ASCII.GetBytes($"}}Va.weight\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI{count}\ntQI0\n(I{shape}\nt(I1\nttRs.");

    private static byte[] Tar(params (string Name, byte[]? Bytes)[] files)
    {
        var bytes = new MemoryStream();
        using (var tar = new TarWriter(bytes, leaveOpen: true))
        {
            foreach (var (name, content) in files)
            {
                tar.WriteEntry(content is null ? new UstarTarEntry(TarEntryType.Directory, name) : new UstarTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content) });
            }
        }

        return bytes.ToArray();
    }

    private static byte[] Zip(params (string Name, byte[] Bytes)[] files)
    {
        var bytes = new MemoryStream();
        using (var zip = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (name, content) in files)
            {
                using var entry = zip.CreateEntry(name).Open();
                entry.Write(content);
            }
        }

        return bytes.ToArray();
    }

    private static byte[] GZip(byte[] content)
    {
        var bytes = new MemoryStream();
        using (var gzip = new GZipStream(bytes, CompressionLevel.Fastest))
        {
            gzip.Write(content);
        }

        return bytes.ToArray();
    }

    private static byte[] Contents(string file)
    {
        const string wrapped = " in a tar.gz";
        var bytes = TestData.Read($"checkpoints/{file.Replace(wrapped, "", StringComparison.Ordinal)}");
        if (!file.EndsWith(wrapped, StringComparison.Ordinal))
        {
            return bytes;
        }

        var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        using (var tar = new TarWriter(gzip))
        {
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "model") { DataStream = new MemoryStream(bytes) });
        }

        return packed.ToArray();
    }

    private static float[] Run(ConvertedModel model, int batch)
    {
        using var session = new InferenceSession(model.Onnx);
        var values = model.Height * model.Width * 3;
        var input = Enumerable.Range(0, batch * values).Select(i => (float)Math.Sin(i % values / 100.0)).ToArray();
        using var value = OrtValue.CreateTensorValueFromMemory(input, [batch, 3, model.Height, model.Width]);
        using var options = new RunOptions();
        using var outputs = session.Run(options, [model.Input], [value], [model.Output]);
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }
}
