using System.CommandLine;
using System.Globalization;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Onnx;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed model inspect</c>: what is in an ONNX file, ours or not.</summary>
internal static class ModelInspectCommand
{
    public static void AddTo(Command parent, string[] settings)
    {
        var (file, card) = (ModelCommand.File(), ModelCommand.Card());
        var command = new Command("inspect", "Show an ONNX file's inputs, outputs, size and cost, what is prepared for speed, its card and its space.") { file, card };
        command.SetAction((parsed, _) => Task.FromResult(Inspect(ModelCommand.Settings(settings, parsed.GetValue(file), parsed.GetValue(card)))));
        parent.Add(command);
    }

    private static int Inspect(string[] settings)
    {
        using var services = Services.Build(settings);
        var options = services.GetRequiredService<IOptions<FaceOptions>>().Value;
        var file = Model.Locate(options.EmbeddingModel);
        try
        {
            var bytes = Model.Read(file);
            var (inspection, summary, prepared) = (ModelInspection.Of(file, bytes), GraphSummary.Read(bytes), GraphPreparation.Prepare(bytes)); // first what all verbs refuse
            var table = new Table().AddColumns("what", "value").HideHeaders();
            Add("file", Text($"{file}, {bytes.Length:N0} bytes"));
            Add("inputs", inspection.Inputs);
            Add("outputs", inspection.Outputs);
            Add("opset, IR version, producer", Text($"{summary.Opset}, {summary.IrVersion}, {summary.Producer}"));
            Add("parameters", Text($"{summary.Parameters:N0}"));
            Add("multiply-adds, one picture", inspection.MultiplyAdds is { } cost ? Text($"{cost:N0}") : $"unknown: {inspection.Trouble}");
            Add("operators", string.Join(", ", summary.Operators.Select(o => $"{o.Count} {o.Type}")));
            Add("new weights", Text($"{summary.Fresh} of {summary.WeightTensors} weight tensors fill a framework's range of new weights") + (summary.LooksUntrained ? ": never trained" : ""));
            Add("prepared for speed", prepared.Left.Prepend(Text($"{prepared.Rewritten} PRelu rewritten, {prepared.Flushed:N0} negligible weights made zero, {prepared.Removed:N0} dead channels removed, {prepared.Joined} convolutions joined with others")));
            foreach (var (key, value) in summary.Metadata)
            {
                Add($"metadata {key}", value);
            }

            var fault = inspection.Trouble is { } trouble ? new ModelException($"The model {file} does not run: {trouble}") : null;
            AddCard(options);
            Screen.Show(table);
            return fault is null ? ExitCode.Ok : throw fault;

            void Add(string what, params IEnumerable<string> lines) => table.AddRow(Screen.Cell(what), Screen.Cell(lines));

            void AddCard(FaceOptions options)
            {
                try
                {
                    var isDetector = DetectorLayout.IsDetector(summary.Outputs); // without a card that is all there is to tell by
                    var (card, named) = ModelCard.For(file, ModelCard.Embedding, options.EmbeddingCard);
                    (card, named) = named == ModelCard.DefaultContract && isDetector ? ModelCard.For(file, ModelCard.Detection, "") : (card, named);
                    Add("card", named);
                    Add("task, licence", $"{card.Task}, {(named == ModelCard.ToldByOutputs ? null : card.Licence) ?? "unknown"}");
                    if (card.Task == ModelCard.Detection)
                    {
                        Add("layout", $"{card.Output.Layout ?? "rfb"}, {(DetectorLayout.HasPoints(card.Output.Layout) ? "five points" : "no points: it wants Faces:LandmarksModel")}");
                        Load(ModelCard.Detection, isDetector ? null : $"The card {named} is a detector's, and {file} has not the outputs of one; it has {DetectorLayout.Shown(summary.Outputs)}. Name the card of an embedder, or another file.").Dispose();
                    }
                    else if (card.Task == ModelCard.Landmarks)
                    {
                        Load(ModelCard.Landmarks, null).Dispose();
                    }
                    else
                    {
                        using var model = Load(ModelCard.Embedding, null);
                        using var detector = Model.Load(options.DetectionModel, ModelCard.Detection, options.PrepareGraph);
                        var embedder = new FaceEmbedder(model, FaceDetector.PointsRule(detector.Card, detector.Sha256));
                        Add("id, dimensions", Text($"{model.Card.Id}, {embedder.Dimensions}"));
                        Add("input", Text($"{model.Card.Input.Width} x {model.Card.Input.Height} {model.Card.Input.Color}, mean {string.Join(' ', model.Card.Input.Mean)}, std {string.Join(' ', model.Card.Input.Std)}, {model.Card.Input.Layout}"));
                        Add("space of faces, of whole pictures", $"{embedder.FaceSpace}, {embedder.ImageSpace}");
                    }

                    fault = null; // it runs as its card says, which may be on no other size
                }
                catch (ModelException e)
                {
                    Add(options.EmbeddingCard.Length > 0 || File.Exists(Path.ChangeExtension(file, ".json")) ? "as its card says" : "without a card", e.Message);
                    fault = e;
                }
            }

            Model Load(string task, string? refusal)
            {
                try
                {
                    return Model.Load(file, task, options.PrepareGraph, cardName: options.EmbeddingCard);
                }
                catch (ModelException e) when (refusal is not null)
                {
                    throw new ModelException(refusal, e);
                }
            }
        }
        catch (Exception e) when (e is ForeignFileException or InvalidDataException)
        {
            Screen.Complain(file, e.Message);
            return ExitCode.Configuration;
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
