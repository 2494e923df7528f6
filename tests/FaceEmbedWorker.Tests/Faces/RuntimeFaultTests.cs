using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Faces;

public sealed class RuntimeFaultTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-fault-").FullName;

    private string File => Path.Combine(folder, "model.onnx");

    /// <summary>What ONNX Runtime 1.2x says, and what is left of it.</summary>
    [Theory]
    [InlineData("[ErrorCode:Fail] Load model from m.onnx failed:Protobuf parsing failed.", "Protobuf parsing failed.")]
    [InlineData("  something  ", "something.")]
    [InlineData("first\nsecond", "first.")]
    [InlineData("\n first.\r\nsecond", "first.")]
    [InlineData("first \nsecond", "first.")]
    [InlineData("", ".")]
    [InlineData("[ErrorCode:Fail] Load model from m.onnx failed:/a/b/graph.cc:12 onnxruntime::Graph::Graph(const Model&, int) const [with T = int] This is an invalid model. Type Error: no type.", "Type Error: no type.")]
    [InlineData("model.cc:3 Run x in node () is wrong", "x is wrong.")]
    [InlineData("[ErrorCode:Fail] Load model from m.onnx failed:/a/model_load_utils.h:56 void onnxruntime::model_load_utils::ValidateOpsetForDomain(int, const logging::Logger&) ONNX Runtime only *guarantees* support for models stamped with official released onnx opset versions. Opset 99 is under development and support for this is limited. Current official support for domain ai.onnx is till opset 23.",
        "It was written for opset 99, and this program runs up to 23: export it for an older one.")]
    [InlineData("Unsupported model IR version: 99, max supported IR version: 11", "It was written for version 99 of ONNX's file format, and this program reads up to 11: export it with an older onnx, or for an older opset.")]
    [InlineData("In Node, (\"a\", Foo, \"\", -1) : (\"x\": tensor(float),) -> (\"y\",) , Error No Op registered for Foo with domain_version of 13", "Its operator Foo is none of ONNX's in opset 13: export it with ONNX's own operators.")]
    [InlineData("Fatal error: com.acme:Magic(-1) is not a registered function/op", "Its operator Magic of com.acme is none that this program has: export it with ONNX's own operators.")]
    [InlineData("Got invalid dimensions for input: data for the following indices\n index: 2 Got: 112 Expected: 160\n Please fix either the inputs/outputs or the model.", "Its input 'data' is 112 at index 2, and it wants 160 there.")]
    [InlineData("Node (conv1) Op (Conv) [ShapeInferenceError] sizes differ", "Its Conv 'conv1' fails: sizes differ.")]
    [InlineData("Node () Op (Conv) [ShapeInferenceError] sizes differ", "Its Conv fails: sizes differ.")]
    [InlineData("Non-zero status code returned while running Conv node. Name:'conv1_nchwc' Status Message: a != b was false. Sizes differ", "Its Conv 'conv1' fails: Sizes differ.")]
    public void What_the_runtime_says_is_told_in_one_line(string message, string told) => Assert.Equal(told, RuntimeFault.Told(new InvalidOperationException(message), "m.onnx"));

    [Fact]
    public void A_file_of_another_kind_is_called_that() =>
        Assert.Equal($"The model {File} is not an ONNX file. It is empty. Get it again.", RuntimeFault.Refused(File, [], new InvalidOperationException("x")).Message);

    [Fact]
    public void What_is_no_fault_of_the_runtimes_is_told_as_it_is()
    {
        var inner = new InvalidOperationException("It is so.");
        var told = RuntimeFault.Refused(File, Model(new TensorProto { Name = "w", DataType = 1, Dims = { 1 }, FloatData = { 1 } }), inner);
        Assert.Equal(($"The model {File} is not an ONNX file that ONNX Runtime can run: It is so.", inner), (told.Message, told.InnerException));
    }

    /// <summary>Words of ONNX Runtime stand in brackets where this program has none.</summary>
    [Theory]
    [InlineData("Relu", 99, "It was written for opset 99, and this program runs up to ", false)]
    [InlineData("Nothing", 17, "Its operator Nothing is none of ONNX's in opset 17: export it with ONNX's own operators.", false)]
    [InlineData("Concat", 17, "It is damaged, or was exported wrongly: get it again, or export it again (", true)]
    public void A_file_that_the_runtime_refuses_is_told_in_words_of_this_program(string operation, int opset, string told, bool quoted)
    {
        static ValueInfoProto Value(string name) => new() { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1 } } };
        var bytes = new ModelProto
        {
            IrVersion = 8,
            OpsetImport = { new OperatorSetIdProto { Version = opset } },
            Graph = new GraphProto { Name = "g", Input = { Value("a") }, Output = { Value("b") }, Node = { new NodeProto { OpType = operation, Input = { "a" }, Output = { "b" } } } },
        }.ToByteArray();
        var message = RuntimeFault.Refused(File, bytes, Assert.ThrowsAny<OnnxRuntimeException>(() => new InferenceSession(bytes))).Message;
        Assert.StartsWith($"The model {File} is not an ONNX file that ONNX Runtime can run: {told}", message, StringComparison.Ordinal);
        Assert.Equal(quoted, message.EndsWith(").", StringComparison.Ordinal));
        Assert.DoesNotContain("..", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(12, null)]
    [InlineData(11, "has 11 bytes for its tensor 'w', whose shape [1,3] has 12. Get it again, or export it again.")]
    [InlineData(13, "has 13 bytes for its tensor 'w', whose shape [1,3] has 12. Get it again, or export it again.")]
    public void Weights_in_the_file_are_as_many_as_their_shape_says(int bytes, string? told)
    {
        var model = Model(new TensorProto { Name = "w", DataType = 1, Dims = { 1, 3 }, RawData = ByteString.CopyFrom(new byte[bytes]) });
        Assert.Equal(told, RuntimeFault.BrokenWeights(File, model));
        if (told is not null)
        {
            Assert.Equal($"The model {File} {told}", RuntimeFault.Refused(File, model, new InvalidOperationException("x")).Message);
        }
    }

    [Fact]
    public void Weights_beside_the_file_are_all_there()
    {
        System.IO.File.WriteAllBytes(Path.Combine(folder, "w.bin"), new byte[100]);
        Directory.CreateDirectory(Path.Combine(folder, "folder"));
        System.IO.File.CreateSymbolicLink(Path.Combine(folder, "link.bin"), Path.Combine(folder, "w.bin"));
        System.IO.File.CreateSymbolicLink(Path.Combine(folder, "circle.bin"), Path.Combine(folder, "circle.bin"));
        Assert.Null(Broken("w.bin"));
        Assert.Null(Broken("link.bin"));
        Assert.Null(Broken("w.bin", ("offset", "88"), ("length", "12")));
        Assert.Equal($"keeps its tensor 'w' in {Path.Combine(folder, "w.bin")} up to byte 101, and that file has 100: it is cut short. Get it again, from where the model came.", Broken("w.bin", ("offset", "89")));
        Assert.Equal($"keeps its tensor 'w' in {Path.Combine(folder, "link.bin")} up to byte 101, and that file has 100: it is cut short. Get it again, from where the model came.", Broken("link.bin", ("offset", "89")));
        Assert.Equal("keeps its tensor 'w' in w.bin with the offset '-1', which is no number of bytes. Export it again.", Broken("w.bin", ("offset", "-1")));
        Assert.Equal("keeps its tensor 'w' in w.bin with the length 'x', which is no number of bytes. Export it again.", Broken("w.bin", ("length", "x")));
        Assert.Equal("keeps 13 bytes for its tensor 'w' in w.bin, whose shape [1,3] has 12. Export it again.", Broken("w.bin", ("length", "13")));
        Assert.Equal("keeps weights in ../w.bin, and they are read from its own folder only. Export it again, with its weights beside it or inside.", Broken("../w.bin"));
        Assert.Equal($"keeps weights in {Path.Combine(folder, "none.bin")}, and there is no such file. Put it there, from where the model came.", Broken("none.bin"));
        Assert.Equal($"keeps weights in {Path.Combine(folder, "circle.bin")}, whose links lead in a circle, and to no file. Put the file there, from where the model came.", Broken("circle.bin"));
        Assert.StartsWith($"keeps weights in {Path.Combine(folder, "folder")}, which is a ", Broken("folder"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_link_out_of_the_folder_is_not_followed()
    {
        var inner = Path.Combine(folder, "inner");
        Directory.CreateDirectory(inner);
        System.IO.File.WriteAllBytes(Path.Combine(folder, "w.bin"), new byte[12]);
        System.IO.File.CreateSymbolicLink(Path.Combine(inner, "w.bin"), Path.Combine(folder, "w.bin"));
        var file = Path.Combine(inner, "model.onnx");
        Assert.Equal($"The model {file} keeps weights in {Path.Combine(inner, "w.bin")}, a link that leads out of its folder, and they are read from there only. Put the file itself there.",
            RuntimeFault.Refused(file, Model(Elsewhere("w.bin")), new InvalidOperationException("x")).Message);
    }

    [Fact]
    public void What_is_no_model_has_no_weights()
    {
        Assert.Null(RuntimeFault.BrokenWeights(File, [0xFF, 0xFF]));
        Assert.Null(RuntimeFault.BrokenWeights(File, []));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string? Broken(string place, params (string Key, string Value)[] entries) => RuntimeFault.BrokenWeights(File, Model(Elsewhere(place, entries)));

    private static byte[] Model(TensorProto weights) => new ModelProto { IrVersion = 8, Graph = new GraphProto { Initializer = { weights } } }.ToByteArray();

    /// <summary>Three float32.</summary>
    private static TensorProto Elsewhere(string place, params (string Key, string Value)[] entries)
    {
        var tensor = new TensorProto { Name = "w", DataType = 1, Dims = { 1, 3 }, DataLocation = 1 };
        tensor.ExternalData.Add(entries.Prepend(("location", place)).Select(e => new StringStringEntryProto { Key = e.Item1, Value = e.Item2 }));
        return tensor;
    }
}
