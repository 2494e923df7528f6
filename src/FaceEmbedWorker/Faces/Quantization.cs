using System.Diagnostics;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Faces;

/// <summary>What it takes to quantise an embedder: the ranges of what it computes of faces, and how much faster it is then.</summary>
internal static class Quantization
{
    /// <summary>Of which the first warms up.</summary>
    public const int Turns = Rounds + 1;

    private const int Rounds = 9;
    private static readonly TimeSpan Round = TimeSpan.FromMilliseconds(250);

    /// <summary>
    /// The least and the largest values that a network's tensors have of any of the faces. Nothing is clipped: what is rare in a face is
    /// often what tells it apart.
    /// </summary>
    /// <param name="probe">As <see cref="GraphQuantizer.Probe"/> gives it.</param>
    /// <param name="faces">Aligned, of the embedder's input size.</param>
    /// <exception cref="InvalidDataException">The probe does not run.</exception>
    public static Dictionary<string, ValueRange> Ranges(byte[] probe, ModelInput input, IEnumerable<Picture> faces, CancellationToken cancel = default)
    {
        try
        {
            return Observed(probe, input, faces, cancel);
        }
        catch (OnnxRuntimeException e)
        {
            throw new InvalidDataException($"It cannot be calibrated, for it does not run as it is rewritten for 8 bits: {RuntimeFault.Told(e, "")}", e);
        }
    }

    private static Dictionary<string, ValueRange> Observed(byte[] probe, ModelInput input, IEnumerable<Picture> faces, CancellationToken cancel)
    {
        using var options = Model.SessionOptions();
        using var session = new InferenceSession(probe, options);
        using var run = new RunOptions();
        var batch = Math.Max(1, session.InputMetadata[session.InputNames[0]].Dimensions[0]); // its makers may run it on so many at once
        var values = new float[input.Shape.Aggregate(1L, (a, b) => a * b)];
        using var tensor = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float, [batch, .. input.Shape[1..]]);
        var ranges = new Dictionary<string, ValueRange>();
        foreach (var face in faces)
        {
            cancel.ThrowIfCancellationRequested();
            InputPicture.Write(face.Pixels, input, values);
            for (var i = 0; i < batch; i++)
            {
                values.CopyTo(tensor.GetTensorMutableDataAsSpan<float>()[(i * values.Length)..]);
            }

            using var outputs = session.Run(run, session.InputNames, [tensor], session.OutputNames);
            for (var i = 0; i < outputs.Count; i++)
            {
                GraphQuantizer.Observe(ranges, session.OutputNames[i], outputs[i].GetTensorDataAsSpan<float>()[0]);
            }
        }

        return ranges;
    }

    /// <summary>Faces a second of both on one core, medians of rounds in turn, and the ratio that three rounds of four reach: on a busy machine it is not luck.</summary>
    /// <param name="advance">Called after each of <see cref="Turns"/>.</param>
    public static (double Before, double After, double Ratio) Speed(FaceEmbedder before, FaceEmbedder after, IReadOnlyList<Picture> faces, Action advance, CancellationToken cancel)
    {
        var rounds = new List<(double Before, double After)>();
        for (var turn = 0; turn < Turns; turn++)
        {
            rounds.Add((Rate(before), Rate(after)));
            advance();
        }

        rounds.RemoveAt(0);
        return (At(Rounds / 2, r => r.Before), At(Rounds / 2, r => r.After), At(Rounds / 4, r => r.After / r.Before));

        double Rate(FaceEmbedder embedder)
        {
            var (count, start) = (0, Stopwatch.GetTimestamp());
            do
            {
                cancel.ThrowIfCancellationRequested();
                embedder.Embed(faces[count++ % faces.Count]);
            }
            while (Stopwatch.GetElapsedTime(start) < Round);
            return count / Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        double At(int place, Func<(double Before, double After), double> value) => rounds.Select(value).Order().ElementAt(place);
    }
}
