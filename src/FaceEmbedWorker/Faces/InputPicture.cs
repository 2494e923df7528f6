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

    /// <summary>The same for a picture that may be smaller than the input: it lies in the upper left corner, and the rest is black.</summary>
    public static void Write(Picture picture, ModelInput input, Span<float> values)
    {
        if ((picture.Width, picture.Height) == (input.Width, input.Height))
        {
            Write(picture.Pixels, input, values);
            return;
        }

        if (input is not { Layout: "NCHW", Channels: 3, Standardization: "fixed" })
        {
            using var whole = Pixels.Cropped(picture, 0, 0, input.Width, input.Height);
            Write(whole.Pixels, input, values);
            return;
        }

        Span<float> table = stackalloc float[256];
        for (var channel = 0; channel < 3; channel++)
        {
            var (mean, std) = ((float)input.Mean[input.Mean.Length == 1 ? 0 : channel], (float)input.Std[input.Std.Length == 1 ? 0 : channel]);
            for (var i = 0; i < table.Length; i++)
            {
                table[i] = (i - mean) / std;
            }

            for (var y = 0; y < input.Height; y++)
            {
                var target = values.Slice((channel * input.Height + y) * input.Width, input.Width);
                var width = y < picture.Height ? picture.Width : 0;
                if (width > 0)
                {
                    var source = picture.Row(y)[(input.Color == "RGB" ? channel : 2 - channel)..];
                    for (var x = 0; x < width; x++)
                    {
                        target[x] = table[source[x * 3]];
                    }
                }

                target[width..].Fill(table[0]);
            }
        }
    }

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
