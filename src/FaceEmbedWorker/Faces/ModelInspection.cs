using System.Globalization;
using System.Text.Json;
using FaceEmbedWorker.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace FaceEmbedWorker.Faces;

/// <summary>What ONNX Runtime says of a file: inputs, outputs, and what one run costs.</summary>
/// <param name="MultiplyAdds">Of one picture; null where it does not run on zeros.</param>
/// <param name="Trouble">Why it does not run; null where it does.</param>
internal sealed record ModelInspection(IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs, long? MultiplyAdds, string? Trouble)
{
    private const int SymbolicSide = 160;

    /// <exception cref="ModelException">ONNX Runtime does not take the file.</exception>
    public static ModelInspection Of(string file, byte[] bytes)
    {
        var folder = Directory.CreateTempSubdirectory("face-embed-inspect-");
        try
        {
            GraphFault.MustBeRunnable(bytes);
            using var options = Model.SessionOptions();
            options.GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL; // the file's own nodes
            options.ProfileOutputPathPrefix = Path.Combine(folder.FullName, "run"); // first: it is read where profiling is switched on
            options.EnableProfiling = true;
            using var session = new InferenceSession(file, options);
            string[] inputs = [.. session.InputMetadata.Select(Describe)], outputs = [.. session.OutputMetadata.Select(Describe)];
            try
            {
                RunOnZeros(session);
                return new ModelInspection(inputs, outputs, MultiplyAddsOf(session.EndProfiling()) / Batch(session), null);
            }
            catch (Exception e) when (e is OnnxRuntimeException or NotSupportedException or ArgumentException or OverflowException)
            {
                session.EndProfiling();
                return new ModelInspection(inputs, outputs, null, RuntimeFault.Told(e, file));
            }
        }
        catch (Exception e) when (e is OnnxRuntimeException or InvalidDataException)
        {
            throw RuntimeFault.Refused(file, bytes, e);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static string Describe(KeyValuePair<string, NodeMetadata> value)
    {
        if (!value.Value.IsTensor)
        {
            return $"{value.Key}: {value.Value.OnnxValueType}";
        }

        var (names, sizes) = (value.Value.SymbolicDimensions, value.Value.Dimensions);
        var shape = sizes.Select((s, i) => s >= 0 ? s.ToString(CultureInfo.InvariantCulture) : names[i].Length > 0 ? names[i] : "any");
        return $"{value.Key}: {value.Value.ElementDataType.ToString().ToLowerInvariant()} [{string.Join(',', shape)}]";
    }

    private static void RunOnZeros(InferenceSession session)
    {
        var values = session.InputMetadata.Select(i => OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, i.Value.ElementDataType, ShapeOf(i.Value.Dimensions))).ToArray();
        try
        {
            foreach (var value in values)
            {
                value.GetTensorMutableRawData().Clear();
            }

            using var options = new RunOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL }; // what fails is thrown, and told once
            using var outputs = session.Run(options, [.. session.InputMetadata.Keys], values, [.. session.OutputMetadata.Keys]);
        }
        finally
        {
            Array.ForEach(values, v => v.Dispose());
        }
    }

    /// <summary>Pictures that one run takes.</summary>
    private static int Batch(InferenceSession session) => session.InputMetadata.Values.FirstOrDefault()?.Dimensions is [> 1 and var batch, _, _, _] ? batch : 1;

    /// <summary>One picture, or a fixed batch; of a side that the file leaves open, 160 pixels.</summary>
    private static long[] ShapeOf(int[] dimensions)
    {
        long[] shape = [.. dimensions.Select((d, i) => d > 0 ? d : i > 0 && dimensions.Length == 4 ? SymbolicSide : 1)];
        return shape.Aggregate(1.0, (a, b) => a * b) <= 64 * 1024 * 1024 ? shape : throw new NotSupportedException($"its input [{string.Join(',', shape)}] is too large to try");
    }

    /// <summary>The profile names each node's operator and the shapes that it met.</summary>
    private static long MultiplyAddsOf(string profile)
    {
        long sum = 0;
        foreach (var entry in JsonElement.Parse(File.ReadAllBytes(profile)).EnumerateArray())
        {
            if (entry.TryGetProperty("args", out var args) && args.TryGetProperty("op_name", out var type) && args.TryGetProperty("output_type_shape", out var outputs) && args.TryGetProperty("input_type_shape", out var inputs))
            {
                var (first, second, output) = (Shape(inputs, 0), Shape(inputs, 1), Shape(outputs, 0));
                sum += type.GetString() switch
                {
                    "Conv" => Product(output) * Product(second[1..]),
                    "Gemm" when output.Length == 2 => Product(output) * (Product(first) / Math.Max(1, output[0])),
                    "MatMul" when first.Length > 0 => Product(output) * first[^1],
                    _ => 0,
                };
            }
        }

        return sum;

        static long[] Shape(JsonElement values, int index) => index >= values.GetArrayLength() ? []
            : [.. values[index].EnumerateObject().First().Value.EnumerateArray().Select(d => d.GetInt64())];

        static long Product(long[] shape) => shape.Aggregate(1L, (a, b) => a * b);
    }
}
