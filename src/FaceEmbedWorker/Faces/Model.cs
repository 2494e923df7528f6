using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// One ONNX model, checked against its card and ready to run. Safe for use by many threads; each run is one picture on one core.
/// </summary>
internal sealed partial class Model : IDisposable
{
    private readonly InferenceSession session;
    private readonly ConcurrentBag<ModelRun> idle = [];

    /// <summary>
    /// From 1.29 on ONNX Runtime's builds for Linux report names and hashes of models to Microsoft, and keep a device id in the home
    /// folder, unless the process's environment says no before the library is loaded. Nothing of a face worker's leaves it but to its
    /// broker.
    /// </summary>
    static Model()
    {
        if (!OperatingSystem.IsWindows())
        {
            _ = SetNativeEnvironment("ORT_DISABLE_TELEMETRY", "1", 1); // .NET's own call changes a copy that native code does not see
        }

        OrtEnv.Instance().DisableTelemetryEvents();
    }

    private Model(InferenceSession session, string file, ModelCard card, bool hasCard, string sha256, PreparedGraph? prepared)
    {
        this.session = session;
        File = file;
        Card = card;
        HasCard = hasCard;
        Sha256 = sha256;
        Prepared = prepared;
    }

    /// <summary>Where it was read.</summary>
    public string File { get; }

    /// <summary>Whether somebody wrote its card, or it is taken for what the file tells.</summary>
    public bool HasCard { get; }

    /// <summary>The card, with names and sizes filled in from the file.</summary>
    public ModelCard Card { get; private set; }

    /// <summary>SHA-256 of the ONNX file and of the files that its weights lie in, one behind the other; lower-case hex.</summary>
    public string Sha256 { get; }

    /// <summary>What was rewritten for speed, and what could not be; null where that was not asked for.</summary>
    public PreparedGraph? Prepared { get; private set; }

    /// <summary>Reads the file and its card, and refuses a pair that does not fit.</summary>
    /// <param name="prepare">Rewrite the graph in memory for ONNX Runtime's fast path.</param>
    /// <exception cref="ModelException">Missing, not ONNX, a wrong checksum, or a card that contradicts the file.</exception>
    /// <param name="batch">Pictures a run.</param>
    /// <param name="cardName">A card's file or a known family's name, instead of the file beside the model.</param>
    public static Model Load(string path, string task, bool prepare = true, int batch = 1, string cardName = "")
    {
        var model = Opened(path, task, prepare, batch, cardName);
        Heaps.GiveBack(); // the file's bytes, here where nothing holds them
        return model;
    }

    private static Model Opened(string path, string task, bool prepare, int batch, string cardName)
    {
        var file = Locate(path);
        var bytes = Read(file);
        var beside = Weights.FilesOf(bytes);
        if (beside.Count > 0 && RuntimeFault.BrokenWeights(file, bytes) is { } broken)
        {
            throw new ModelException($"The model {file} {broken}");
        }

        if (ForeignFile.InPlaceOfOnnx(bytes) is { } foreign)
        {
            throw new ModelException($"The model {file} is not an ONNX file. {foreign}");
        }

        var sha256 = Checksum(file, bytes, beside);
        var (card, cardFile) = ModelCard.For(file, task, cardName);
        if (card.Sha256 is { } expected && !expected.Equals(sha256, StringComparison.OrdinalIgnoreCase))
        {
            throw new ModelException(
                $"The model {file} has SHA-256 {sha256}{(beside.Count == 0 ? "" : $" with its weights in {string.Join(", ", beside)}")}, but its card {cardFile} says {expected}. For the file that the card means, run models/fetch; "
                + "for a model of your own, write its card (models/README.md) or remove the card to run it under the default contract.");
        }

        if (card.Task != task)
        {
            throw new ModelException($"The card {cardFile} says that {file} is {Kind(card.Task)}, and {Kind(task)} is wanted here. Name another file, or the card that is its own.");
        }

        var hasCard = cardFile is not (ModelCard.DefaultContract or ModelCard.ToldByOutputs);
        if (task == ModelCard.Embedding && !hasCard && DetectorLayout.IsDetector(OutputsOf(bytes)))
        {
            throw IsNoEmbedder("");
        }

        Model model;
        try
        {
            model = Load(file, bytes, sha256, card, prepare, batch, hasCard);
        }
        catch (ModelException) when (task == ModelCard.Embedding && DetectorLayout.IsDetector(OutputsOf(bytes)))
        {
            throw IsNoEmbedder($", whatever its card {cardFile} says");
        }
        catch (ModelException) when (task == ModelCard.Detection && prepare)
        {
            model = Load(file, bytes, sha256, card, prepare: false, batch, hasCard); // what is told is of the file's own outputs, not of the rewritten graph's
        }

        if (task != ModelCard.Embedding || batch > 1)
        {
            return model;
        }

        if (SameVectors.AreConstant(model))
        {
            model.Dispose();
            throw new ModelException($"The model {file} gives two faces the same vector, to the last digit, and tells nobody apart: its weights are damaged, such as with values near 1e38, or its card is wrong of its input. Get or export it again.");
        }

        if (model.Prepared is not { IsChanged: true })
        {
            return model;
        }

        var plain = Load(file, bytes, sha256, card, prepare: false, batch, hasCard, isRead: true);
        var same = SameVectors.Least(plain, model);
        var (kept, gone) = same > SameVectors.Cosine ? (model, plain) : (plain, model);
        gone.Dispose();
        kept.Prepared = kept == model ? model.Prepared
            : new PreparedGraph(bytes, 0, [FormattableString.Invariant($"Rewritten it gives a face another vector (cosine {same:0.000000} with that of the file's own graph), and runs as it is.")]);
        return kept;

        ModelException IsNoEmbedder(string whatever) =>
            new($"The model {file} is a detector of faces by its outputs{whatever}, and an embedder is wanted here. Set Faces:DetectionModel to it, or name an embedder (models/README.md).");
    }

    private static string Kind(string task) => task switch
    {
        ModelCard.Detection => $"a detector ({task})",
        ModelCard.Landmarks => $"a network of landmarks ({task})",
        ModelCard.Embedding => $"an embedder ({task})",
        _ => $"a model for '{Unpickler.Clip(task)}'",
    };

    /// <summary>None of what is no ONNX file.</summary>
    private static IReadOnlyList<GraphValue> OutputsOf(byte[] bytes)
    {
        try
        {
            return GraphSummary.Read(bytes).Outputs;
        }
        catch (Exception e) when (e is InvalidDataException or ForeignFileException)
        {
            return [];
        }
    }

    private static string Checksum(string file, byte[] bytes, IReadOnlyList<string> beside)
    {
        using var sum = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        sum.AppendData(bytes);
        var folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        var buffer = new byte[beside.Count == 0 ? 0 : 1024 * 1024];
        foreach (var path in beside.Select(b => Weights.PathOf(b, folder)).OfType<string>().Where(System.IO.File.Exists)) // of others it is told why they cannot be loaded
        {
            try
            {
                using var weights = System.IO.File.OpenRead(path);
                for (int count; (count = weights.Read(buffer)) > 0;)
                {
                    sum.AppendData(buffer.AsSpan(0, count));
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new ModelException($"The model {file} keeps weights in {path}, which cannot be read: {(e is UnauthorizedAccessException ? "permission denied." : e.Message)}", e);
            }
        }

        return Convert.ToHexStringLower(sum.GetHashAndReset());
    }

    private static Model Load(string file, byte[] bytes, string sha256, ModelCard card, bool prepare, int batch, bool hasCard, bool isRead = false)
    {
        var (session, prepared) = Open(file, bytes, prepare, batch, card.Input, isRead: isRead);
        if (batch == 1 && session.InputNames.Count > 0 && session.InputMetadata[session.InputNames[0]] is { IsTensor: true, Dimensions: [> 1, _, _, _] })
        {
            session.Dispose();
            (session, prepared) = Open(file, GraphPreparation.WithBatch(bytes, batch), prepare, batch, card.Input, isChanged: true); // its makers ran it on so many at once
        }

        try
        {
            var model = new Model(session, file, Fit(card with { Input = card.Input with { Batch = batch } }, session, file, hasCard), hasCard, sha256, prepared);
            model.WarmUp(file);
            return model;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>The working directory first, then beside the program; where it is in neither, the working directory.</summary>
    public static string Locate(string path)
    {
        var (here, beside) = (Path.GetFullPath(path), Path.Combine(AppContext.BaseDirectory, path));
        return !System.IO.File.Exists(here) && System.IO.File.Exists(beside) ? beside : here;
    }

    /// <summary>A set of buffers for one run; dispose to give it back.</summary>
    public ModelRun Rent() => Rent(Card.Input.Width, Card.Input.Height);

    /// <summary>The same for a picture of another size, where the card says that the model takes any.</summary>
    public ModelRun Rent(int width, int height)
    {
        var run = idle.TryTake(out var used) ? used : new ModelRun(this, session);
        run.Resize(Card.Input with { Width = width, Height = height });
        return run;
    }

    public void Return(ModelRun run) => idle.Add(run);

    public void Dispose()
    {
        while (idle.TryTake(out var run))
        {
            run.Free();
        }

        session.Dispose();
    }

    /// <summary>One real run: the first is slow, and it tells the size of an output that the file leaves open.</summary>
    private void WarmUp(string file)
    {
        if (Card.Input.Multiple is > 0 and var multiple)
        {
            foreach (var (across, down) in ((int, int)[])[(1, 1), (1, 2), (5, 3)]) // with the next, sizes that no multiple fits but the network's own
            {
                using var other = Rent(across * multiple, down * multiple);
                Try(other, file);
            }
        }

        using var run = Card.Input.Multiple > 0 ? Rent(3 * Card.Input.Multiple, 2 * Card.Input.Multiple) : Rent();
        Try(run, file);
        var length = LengthOf(run, file) / Card.Input.Batch;
        if (Card.Task == ModelCard.Embedding && Card.Output.Dimensions != length)
        {
            Card = Card.Output.Dimensions == 0
                ? Card with { Output = Card.Output with { Dimensions = length } }
                : throw new ModelException($"The model {file} gives {length} values for one picture, but {Card.Output.Dimensions} dimensions are stated. It is no embedder of single faces, or its card is wrong.");
        }
    }

    private static int LengthOf(ModelRun run, string file)
    {
        try
        {
            return run.Output().Length;
        }
        catch (ArgumentOutOfRangeException e) // more than a span has
        {
            throw new ModelException($"The model {file} gives more than {int.MaxValue:N0} values for one picture. It is no embedder or detector of faces.", e);
        }
    }

    private void Try(ModelRun run, string file)
    {
        run.Input.Clear();
        try
        {
            run.Execute();
        }
        catch (ModelException e)
        {
            throw new ModelException($"The model {file} does not run on an input of [{string.Join(',', run.Form.Shape)}]: {RuntimeFault.Told(e.InnerException!, file)} Write the size, or the multiple, that it wants into its card (models/README.md).", e);
        }

        if (Card.Task == ModelCard.Detection)
        {
            DetectorLayout.Check(run, Card.Output.Layout);
        }
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetNativeEnvironment(string name, string value, int overwrite);

    /// <exception cref="ModelException">It cannot be read.</exception>
    internal static byte[] Read(string file)
    {
        if (PictureFile.KindOf(file) is { } kind)
        {
            throw new ModelException($"The model {file} is {kind}. Name {(Directory.Exists(file) ? "the .onnx file in it" : "an ONNX file")}.");
        }

        try
        {
            return HandedFile.Read(file, Array.MaxLength);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelException($"The model {file} cannot be read: {(e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file." : e is UnauthorizedAccessException ? "permission denied." : e.Message)} Name an ONNX file, or run models/fetch for the shipped ones.", e);
        }
    }

    private static (InferenceSession Session, PreparedGraph? Prepared) Open(string file, byte[] bytes, bool prepare, int batch, ModelInput input, bool isChanged = false, bool isRead = false)
    {
        try
        {
            GraphFault.MustBeRunnable(bytes);
            if (!prepare && !isRead)
            {
                GraphSummary.Read(bytes); // what ONNX Runtime alone reads, such as its own format, could not be tested
            }

            var prepared = prepare ? GraphPreparation.Prepare(bytes) : null;
            if (input.Multiple > 0)
            {
                using var options = SessionOptions(file);
                options.EnableMemoryPattern = false; // a pattern is kept for each size that was ever seen
                return (new InferenceSession(GraphPreparation.WithOpenSize(prepared?.Model ?? bytes, input.Layout == "NCHW" ? 2 : 1), options), prepared);
            }

            if (batch > 1)
            {
                return (new InferenceSession(GraphPreparation.WithBatch(prepared?.Model ?? bytes, batch), SessionOptions(file)), prepared);
            }

            if (prepared is not { IsChanged: true } && !isChanged)
            {
                return (new InferenceSession(file, SessionOptions()), prepared); // by path, for weights may lie beside it
            }

            try
            {
                return (new InferenceSession(prepared?.Model ?? bytes, SessionOptions(file)), prepared);
            }
            catch (OnnxRuntimeException e) when (!isChanged)
            {
                return (new InferenceSession(file, SessionOptions()), new PreparedGraph(bytes, 0, [$"ONNX Runtime does not take the rewritten graph: {RuntimeFault.Told(e, file)}"]));
            }
        }
        catch (Exception e) when (e is OnnxRuntimeException or InvalidDataException or ForeignFileException)
        {
            throw RuntimeFault.Refused(file, bytes, e);
        }
    }

    /// <summary>One core a run, without spinning: parallelism is across pictures.</summary>
    /// <param name="file">Of a graph that was changed in memory, where it came from: weights may lie beside it.</param>
    internal static SessionOptions SessionOptions(string? file = null)
    {
        var options = new SessionOptions
        {
            IntraOpNumThreads = 1,
            InterOpNumThreads = 1,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL, // what fails is thrown, and told once
        };
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
        if (file is not null)
        {
            options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", Path.GetDirectoryName(Path.GetFullPath(file)));
        }

        return options;
    }

    /// <summary>Fills in what the card leaves to the file, and compares what both say.</summary>
    private static ModelCard Fit(ModelCard card, InferenceSession session, string file, bool hasCard)
    {
        if (session.InputNames.Count == 0 || session.OutputNames.Count == 0)
        {
            throw new ModelException($"The model {file} has {session.InputNames.Count} inputs and {session.OutputNames.Count} outputs; a picture goes in and something comes out of a model.");
        }

        var inputName = card.Input.Name.Length > 0 ? card.Input.Name : session.InputNames[0];
        var outputName = card.Output.Name.Length > 0 && !(session.OutputNames.Contains(DetectorHead.Name(8)) && DetectorHead.Replaces(card.Output.Name)) ? card.Output.Name : session.OutputNames[0];
        if (!session.InputMetadata.TryGetValue(inputName, out var input) || session.InputNames.Count != 1)
        {
            throw Differs($"the input is named '{inputName}'", $"the inputs {string.Join(", ", session.InputNames)}");
        }

        if (!session.OutputMetadata.TryGetValue(outputName, out var output))
        {
            throw Differs($"the output is named '{outputName}'", $"the outputs {string.Join(", ", session.OutputNames)}");
        }

        if (!input.IsTensor || !output.IsTensor)
        {
            throw Differs("tensors go in and come out", $"{(input.IsTensor ? $"an output '{outputName}'" : $"an input '{inputName}'")} of {(input.IsTensor ? output : input).OnnxValueType}");
        }

        var shape = input.Dimensions;
        if (shape.Length != 4 || input.ElementDataType != Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float)
        {
            throw Differs("a picture goes in as float32 with four dimensions", $"an input of {input.ElementDataType} [{string.Join(',', shape)}]");
        }

        if (output.ElementDataType != Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float)
        {
            throw Differs("values come out as float32", $"an output '{outputName}' of {output.ElementDataType}");
        }

        if (shape.Contains(0))
        {
            throw new ModelException($"The model {file} has an input of [{string.Join(',', shape)}], and no picture has a side of 0. Export it again, for pictures of a size that they have.");
        }

        var (height, width) = card.Input.Layout == "NCHW" ? (shape[2], shape[3]) : (shape[1], shape[2]);
        var dimensions = output.Dimensions is [.., > 0 and var last] ? last : 0;
        var complete = card with
        {
            Input = card.Input with { Name = inputName, Width = Pick(card.Input.Width, width, 160), Height = Pick(card.Input.Height, height, 160) },
            Output = card.Output with { Name = outputName, Dimensions = Pick(card.Output.Dimensions, dimensions, 0) },
        };
        foreach (var (ours, theirs) in complete.Input.Shape.Zip(shape))
        {
            if (theirs > 0 && theirs != ours)
            {
                throw Differs($"the input is [{string.Join(',', complete.Input.Shape)}] ({complete.Input.Layout}, {complete.Input.Color})", $"an input of [{string.Join(',', shape)}]{(complete.Input.Layout, shape) switch
                {
                    ("NCHW", [_, not (1 or 3), _, 1 or 3]) => ", which is layout NHWC",
                    ("NHWC", [_, 1 or 3, _, not (1 or 3)]) => ", which is layout NCHW",
                    _ => "",
                }}");
            }
        }

        if (complete.Input.Width > ModelCard.LargestSide || complete.Input.Height > ModelCard.LargestSide)
        {
            throw new ModelException($"The model {file} takes pictures of {complete.Input.Width} x {complete.Input.Height} pixels, and inputs of up to {ModelCard.LargestSide} a side are run here. Export it with a smaller input.");
        }

        if (dimensions > 0 && dimensions != complete.Output.Dimensions)
        {
            throw Differs($"the output has {complete.Output.Dimensions} dimensions", $"an output of [{string.Join(',', output.Dimensions)}]");
        }

        return complete;

        static int Pick(int card, int file, int otherwise) => card > 0 ? card : file > 0 ? file : otherwise;

        ModelException Differs(string says, string has) => !hasCard
            ? new($"The model {file} has no card, and without one {says}, but the file has {has}. Write its card (models/README.md), or put a model there that fits.")
            : new($"The card of {file} says that {says}, but the file has {has}. Correct the card, or put the model there that it describes.");
    }
}

/// <summary>Pinned input and output buffers, bound to the model's tensors once and used by one run at a time.</summary>
internal sealed class ModelRun : IDisposable
{
    private readonly InferenceSession session;
    private readonly RunOptions options = new() { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL }; // what fails is thrown, and told once
    private readonly string[] inputNames;
    private readonly string[] outputNames;
    private readonly OrtValue[] inputs = new OrtValue[1];
    private float[] input = [];
    private int length;
    private IDisposableReadOnlyCollection<OrtValue>? outputs;

    internal ModelRun(Model model, InferenceSession session)
    {
        Model = model;
        this.session = session;
        inputNames = [model.Card.Input.Name];
        outputNames = [model.Card.Output.Name, .. session.OutputNames.Where(n => n != model.Card.Output.Name)];
    }

    /// <summary>What runs.</summary>
    public Model Model { get; }

    /// <summary>What the input is now: the card's, or of another size.</summary>
    public ModelInput Form { get; private set; } = null!;

    /// <summary>float32, in the shape of <see cref="Form"/>.</summary>
    public Span<float> Input => input.AsSpan(0, length);

    /// <summary>Runs the model on <see cref="Input"/>.</summary>
    /// <exception cref="ModelException">It fails on this input.</exception>
    public void Execute()
    {
        outputs?.Dispose();
        outputs = null;
        try
        {
            outputs = session.Run(options, inputNames, inputs, outputNames);
        }
        catch (OnnxRuntimeException e)
        {
            throw new ModelException($"The model {Model.Card.Id} does not run on this picture: {RuntimeFault.Told(e, Model.File)} Export it again; face-embed model check tests an embedder.", e);
        }
    }

    /// <summary>The values of an output: 0 is the card's, then the others in the file's order. Valid until the next run.</summary>
    public ReadOnlySpan<float> Output(int index = 0) => outputs![index].GetTensorDataAsSpan<float>();

    /// <summary>The outputs' names, in the order of <see cref="Output"/>.</summary>
    public IReadOnlyList<string> OutputNames => outputNames;

    /// <summary>An output's shape; empty where it is a number, or none of tensors.</summary>
    public long[] Dimensions(int index) => outputs![index].IsTensor ? outputs![index].GetTensorTypeAndShape().Shape : [];

    /// <summary>The size of the last dimension of an output of floats; 0 of any other.</summary>
    public int LastDimension(int index) => outputs![index].IsTensor && outputs![index].GetTensorTypeAndShape() is { ElementDataType: Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, Shape: [.., var last] } ? (int)last : 0;

    public void Dispose() => Model.Return(this);

    internal void Resize(ModelInput form)
    {
        if (Form == form)
        {
            return;
        }

        Form = form;
        length = checked((int)form.Shape.Aggregate(1L, (a, b) => checked(a * b)));
        if (input.Length < length)
        {
            input = GC.AllocateUninitializedArray<float>(length, pinned: true);
        }

        inputs[0]?.Dispose();
        inputs[0] = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, input.AsMemory(0, length), form.Shape);
    }

    internal void Free()
    {
        outputs?.Dispose();
        inputs[0]?.Dispose();
        options.Dispose();
    }
}
