using FaceEmbedWorker.Faces;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Tests.Assumptions;

/// <summary>What Faces/ believes of ONNX Runtime and of the shipped models.</summary>
public class OnnxRuntimeTests
{
    [Fact]
    public void The_shipped_models_have_the_shapes_of_their_cards()
    {
        using var detector = new InferenceSession(Pipeline.Shipped("rfb/face_detection.onnx"));
        using var landmarks = new InferenceSession(Pipeline.Shipped("rfb/face_landmarks.onnx"));
        using var embedder = new InferenceSession(Pipeline.Shipped("face_embedding.onnx"));
        Assert.Equal([1, 4420, 2], detector.OutputMetadata["scores"].Dimensions);
        Assert.Equal([1, 4420, 4], detector.OutputMetadata["boxes"].Dimensions);
        Assert.Equal([1, 136], landmarks.OutputMetadata["output"].Dimensions);
        using var yunet = new InferenceSession(Pipeline.Shipped("face_detection.onnx"));
        Assert.Equal([1, 3, 640, 640], yunet.InputMetadata["input"].Dimensions);
        Assert.Equal(["bbox_16", "bbox_32", "bbox_8", "cls_16", "cls_32", "cls_8", "kps_16", "kps_32", "kps_8", "obj_16", "obj_32", "obj_8"], yunet.OutputNames.Order(StringComparer.Ordinal));
        Assert.Equal([1, 512], embedder.OutputMetadata["output"].Dimensions);
    }

    [Fact]
    public void Parallel_runs_of_one_session_give_the_same_bits()
    {
        var picture = new float[3 * 112 * 112];
        var random = new Random(2);
        for (var i = 0; i < picture.Length; i++)
        {
            picture[i] = random.NextSingle() * 2 - 1;
        }

        var alone = Run(picture);
        Assert.All(Enumerable.Range(0, 64).AsParallel().WithDegreeOfParallelism(8).Select(_ => Run(picture)), output => Assert.Equal(alone, output));

        static float[] Run(float[] picture)
        {
            using var run = Pipeline.EmbeddingModel.Rent();
            picture.CopyTo(run.Input);
            run.Execute();
            return run.Output().ToArray();
        }
    }

    /// <summary>What they compute is denormal and slow on some processors, so that GraphPreparation makes them zero.</summary>
    [Fact]
    public async Task Negligible_weights_made_zero_move_no_vector()
    {
        using var picture = Pipeline.Decode(await File.ReadAllBytesAsync(TestData.GraceHopper, TestContext.Current.CancellationToken));
        var found = Pipeline.Detector.Detect(picture)[0];
        using var face = Pipeline.Aligner.Align(picture, found.Box, Pipeline.Detector.Locate(picture, found), out _);
        Assert.InRange(Pipeline.EmbeddingModel.Prepared!.Flushed, 100_000, 400_000);
        var flushed = Pipeline.Embedder.Embed(face).Vector;

        var input = new float[3 * 112 * 112];
        FaceEmbedWorker.Faces.InputPicture.Write(face.Pixels, Pipeline.EmbeddingModel.Card.Input, input);
        using var session = new InferenceSession(Pipeline.Shipped("face_embedding.onnx"));
        using var value = OrtValue.CreateTensorValueFromMemory(input, [1, 3, 112, 112]);
        using var options = new RunOptions();
        using var outputs = session.Run(options, ["input"], [value], ["output"]);
        var raw = outputs[0].GetTensorDataAsSpan<float>().ToArray();
        var norm = Math.Sqrt(raw.Sum(v => (double)v * v));
        Assert.Equal(raw.Select(v => (float)(v / norm)), flushed, (a, b) => Math.Abs(a - b) < 1e-6);
    }

    [Fact]
    public void The_raw_norm_falls_with_blur()
    {
        var norms = new[] { 0.0, 3, 6 }.Select(sigma =>
        {
            var blurred = Pipeline.Changed(TestData.GraceHopper, image => sigma == 0 ? image.Copy() : image.Gaussblur(sigma * 2));
            return Pipeline.EmbedAsync(blurred).Result.Embeddings[0].Quality!.Norm;
        }).ToArray();
        Assert.True(norms[0] > norms[1] && norms[1] > norms[2], string.Join(' ', norms));
    }

    [Fact]
    public void The_similarity_of_the_template_to_itself_is_the_identity()
    {
        var template = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(p[0], p[1]));
        var fit = Similarity.Fit(template, template);
        Assert.Equal((1, 0), (Math.Round(fit.A, 12), Math.Round(fit.B, 12)));
    }
}
