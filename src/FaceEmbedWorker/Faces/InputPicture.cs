using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Faces;

/// <summary>Turns 8-bit RGB pixels into a model's input values.</summary>
internal static class InputPicture
{
    /// <summary>uint8 [height, width, 3] RGB -> float32 in the card's layout and colour order, (x - mean) / std.</summary>
    public static void Write(ReadOnlySpan<byte> rgb, ModelInput input, Span<float> values)
    {
        var pixels = input.Width * input.Height;
        if (input.Color == "GRAY")
        {
            var (mean, std) = ((float)input.Mean[0], (float)input.Std[0]);
            for (var i = 0; i < pixels; i++)
            {
                values[i] = (Luma(rgb.Slice(i * 3, 3)) - mean) / std;
            }

            return;
        }

        var own = input.Standardization == "per-image" ? Statistics(rgb[..(pixels * 3)]) : default;
        var (step, plane) = input.Layout == "NCHW" ? (1, pixels) : (input.Channels, 1);
        Span<float> table = stackalloc float[256]; // a pixel has few values: each is computed once
        for (var channel = 0; channel < input.Channels; channel++)
        {
            var mean = own.Std > 0 ? own.Mean : (float)input.Mean[input.Mean.Length == 1 ? 0 : channel];
            var std = own.Std > 0 ? own.Std : (float)input.Std[input.Std.Length == 1 ? 0 : channel];
            for (var i = 0; i < table.Length; i++)
            {
                table[i] = (i - mean) / std;
            }

            var source = rgb[(input.Color == "RGB" ? channel : 2 - channel)..];
            var target = values[(channel * plane)..];
            for (var i = 0; i < pixels; i++)
            {
                target[i * step] = table[source[i * 3]];
            }
        }
    }

    /// <summary>
    /// A picture averaged down to a size on its way into the input, where it lies in the upper left corner; the rest is black. No side may
    /// grow.
    /// </summary>
    public static void WriteShrunk(Picture picture, int width, int height, ModelInput input, Span<float> values)
    {
        if (input is not { Layout: "NCHW", Channels: 3, Standardization: "fixed" })
        {
            using var shrunk = Pixels.Shrunk(picture, width, height);
            using var whole = Pixels.Cropped(shrunk, 0, 0, input.Width, input.Height);
            Write(whole.Pixels, input, values);
            return;
        }

        var plane = input.Width * input.Height;
        var green = values[plane..(2 * plane)];
        var red = input.Color == "RGB" ? values[..plane] : values[(2 * plane)..];
        var blue = input.Color == "RGB" ? values[(2 * plane)..] : values[..plane];
        var (means, factors) = (Colours(input, c => Of(input.Mean, c)), Colours(input, c => 1 / Of(input.Std, c)));
        using var rows = new AreaResize(picture, width, height);
        for (var y = 0; y < height; y++)
        {
            var target = new Range(y * input.Width, y * input.Width + width);
            rows.Row(y, red[target], green[target], blue[target]);
            Standardize(red[target], means[0], factors[0]);
            Standardize(green[target], means[1], factors[1]);
            Standardize(blue[target], means[2], factors[2]);
        }

        var black = -means * factors;
        Pad(red, black[0]);
        Pad(green, black[1]);
        Pad(blue, black[2]);

        void Pad(Span<float> values, float black)
        {
            for (var y = 0; y < height; y++)
            {
                values.Slice(y * input.Width + width, input.Width - width).Fill(black);
            }

            values[(height * input.Width)..].Fill(black);
        }
    }

    /// <summary>(x - mean) x factor of each.</summary>
    private static void Standardize(Span<float> values, float mean, float factor)
    {
        if (mean == 0 && factor == 1)
        {
            return;
        }

        var vectors = MemoryMarshal.Cast<float, Vector256<float>>(values);
        foreach (ref var vector in vectors)
        {
            vector = (vector - Vector256.Create(mean)) * Vector256.Create(factor);
        }

        foreach (ref var value in values[(vectors.Length * Vector256<float>.Count)..])
        {
            value = (value - mean) * factor;
        }
    }

    /// <summary>A value for red, green and blue each, given in the order of the card's channels.</summary>
    private static Vector128<float> Colours(ModelInput input, Func<int, double> of) =>
        input.Color == "RGB" ? Vector128.Create((float)of(0), (float)of(1), (float)of(2), 0) : Vector128.Create((float)of(2), (float)of(1), (float)of(0), 0);

    private static double Of(double[] values, int channel) => values[values.Length == 1 ? 0 : channel];

    /// <summary>Mean and deviation of all values, the latter at least 1 / sqrt(n) (FaceNet's prewhitening, Sandberg).</summary>
    private static (float Mean, float Std) Statistics(ReadOnlySpan<byte> values)
    {
        double sum = 0, squares = 0;
        foreach (var value in values)
        {
            sum += value;
            squares += (double)value * value;
        }

        var mean = sum / values.Length;
        return ((float)mean, (float)Math.Max(Math.Sqrt(Math.Max(0, squares / values.Length - mean * mean)), 1 / Math.Sqrt(values.Length)));
    }

    /// <summary>ITU-R BT.601 luma, 0 to 255.</summary>
    private static float Luma(ReadOnlySpan<byte> rgb) => 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}
