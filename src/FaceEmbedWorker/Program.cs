using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Options;
var fo = Options.Create(new FaceOptions());
var emb = Model.Load("models/face_embedding.onnx", ModelCard.Embedding);
var h = new JobHandler(new ImageDecoder(Options.Create(new ImageOptions())), new FaceDetector(Model.Load("models/face_detection.onnx", ModelCard.Detection), fo), new Landmarks(Model.Load("models/face_landmarks.onnx", ModelCard.Landmarks)), new FaceAligner(emb.Card), new FaceEmbedder(emb), Options.Create(new JobOptions()), TimeProvider.System);
foreach (var f in args)
{
    var o = await h.HandleAsync(new EmbedJob(f, new ImageSource.Data(File.ReadAllBytes(f))), default);
    if (o is JobOutcome.Completed c) Console.WriteLine(System.Text.Encoding.UTF8.GetString((c.Result with { Embeddings = c.Result.Embeddings.Select(e => e with { Vector = e.Vector[..2] }).ToList() }).ToJson()));
    else Console.WriteLine(o);
}
