using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Faces;

public class InputPictureTests
{
    [Theory]
    [InlineData("NCHW", "RGB", "fixed", 3)]
    [InlineData("NCHW", "BGR", "fixed", 3)]
    [InlineData("NHWC", "RGB", "fixed", 3)]
    [InlineData("NHWC", "BGR", "fixed", 3)]
    [InlineData("NCHW", "BGR", "fixed", 1)]
    [InlineData("NCHW", "GRAY", "fixed", 1)]
    [InlineData("NCHW", "RGB", "per-image", 1)]
    [InlineData("NHWC", "BGR", "per-image", 3)]
    public void Pixels_become_values_as_the_card_says(string layout, string colour, string standardization, int means)
    {
        using var picture = Noise(new Random(4), 7, 5);
        var input = new ModelInput { Layout = layout, Color = colour, Standardization = standardization, Mean = means == 1 ? [100] : [10, 20, 30], Std = means == 1 ? [50] : [2, 3, 4], Width = 7, Height = 5 };
        var values = new float[35 * input.Channels];
        InputPicture.Write(picture.Pixels, input, values);

        var all = picture.Pixels.ToArray().Select(v => (double)v).ToArray();
        var (own, deviation) = (all.Average(), Math.Sqrt(all.Average(v => (v - all.Average()) * (v - all.Average()))));
        for (var i = 0; i < 35; i++)
        {
            for (var channel = 0; channel < input.Channels; channel++)
            {
                double[] rgb = [picture.Pixels[i * 3], picture.Pixels[i * 3 + 1], picture.Pixels[i * 3 + 2]];
                var value = colour == "GRAY" ? 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] : rgb[colour == "RGB" ? channel : 2 - channel];
                var (mean, std) = standardization == "per-image" ? (own, deviation) : (input.Mean[means == 1 ? 0 : channel], input.Std[means == 1 ? 0 : channel]);
                Assert.Equal((value - mean) / std, values[layout == "NCHW" ? channel * 35 + i : i * input.Channels + channel], 1e-4);
            }
        }
    }

    /// <summary>FaceNet's prewhitening: no value of a flat picture is divided by nothing.</summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 44 / 45.0 / 0.1490712)] // of 45 values one differs: the deviation is .1474, and at least 1 / sqrt(45)
    [InlineData(3, 3 * 44 / 45.0 / 0.4422166)]
    public void A_flat_picture_is_standardised_by_a_least_deviation(byte more, double most)
    {
        using var picture = new Picture(5, 3);
        picture.Pixels.Fill(200);
        picture.Pixels[7] += more;
        var values = new float[45];
        InputPicture.Write(picture.Pixels, new ModelInput { Color = "RGB", Standardization = "per-image", Mean = [0], Std = [1], Width = 5, Height = 3 }, values);
        Assert.Equal(most, values.Max(), 1e-3);
    }

    [Theory]
    [InlineData("RGB")]
    [InlineData("BGR")]
    public void An_input_is_the_area_average_in_any_shape(string colours)
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 1 + random.Next(seed % 2 == 0 ? 90 : 200), 1 + random.Next(90));
            var (width, height) = (1 + random.Next(picture.Width), 1 + random.Next(picture.Height));
            width = seed % 4 == 1 ? picture.Width - width / 2 : width; // by less than half
            var input = new ModelInput { Layout = "NCHW", Color = colours, Mean = seed % 3 > 0 ? [10, 20, 30] : [0, 20, 0], Std = seed % 3 > 0 ? [2, 3, 4] : [2, 1, 1], Width = width + random.Next(9), Height = height + random.Next(9) };
            var values = new float[3 * input.Width * input.Height];
            values.AsSpan().Fill(float.NaN);
            InputPicture.WriteShrunk(picture, width, height, input, values);
            for (var channel = 0; channel < 3; channel++)
            {
                for (var y = 0; y < input.Height; y++)
                {
                    for (var x = 0; x < input.Width; x++)
                    {
                        var colour = x < width && y < height ? Average(picture, x, y, (double)picture.Width / width, (double)picture.Height / height, colours == "RGB" ? channel : 2 - channel) : 0;
                        var value = values[(channel * input.Height + y) * input.Width + x];
                        Assert.True(Math.Abs((colour - input.Mean[channel]) / input.Std[channel] - value) < 1e-3, $"seed {seed}, channel {channel} at {x}, {y}: {value}");
                    }
                }
            }
        }

        static double Average(Picture picture, int x, int y, double across, double down, int colour)
        {
            var sum = 0.0;
            for (var v = (int)(y * down); v < Math.Min(picture.Height, (y + 1) * down); v++)
            {
                for (var u = (int)(x * across); u < Math.Min(picture.Width, (x + 1) * across); u++)
                {
                    sum += picture.Row(v)[u * 3 + colour] * (Math.Min(u + 1, (x + 1) * across) - Math.Max(u, x * across)) * (Math.Min(v + 1, (y + 1) * down) - Math.Max(v, y * down));
                }
            }

            return sum / (across * down);
        }
    }

    /// <summary>Where the input is of another kind, it is resized, padded and written one after the other.</summary>
    [Theory]
    [InlineData("NHWC", "RGB", "fixed")]
    [InlineData("NCHW", "GRAY", "fixed")]
    [InlineData("NCHW", "BGR", "per-image")]
    public void An_input_of_any_kind_is_the_shrunk_picture_in_its_corner(string layout, string colour, string standardization)
    {
        using var picture = Noise(new Random(3), 40, 30);
        var input = new ModelInput { Layout = layout, Color = colour, Standardization = standardization, Mean = [100], Std = [50], Width = 24, Height = 17 };
        var (values, expected) = (new float[24 * 17 * input.Channels], new float[24 * 17 * input.Channels]);
        InputPicture.WriteShrunk(picture, 20, 15, input, values);
        using var shrunk = Pixels.Shrunk(picture, 20, 15);
        using var whole = new Picture(24, 17);
        whole.Pixels.Clear();
        for (var y = 0; y < 15; y++)
        {
            shrunk.Row(y).CopyTo(whole.Row(y));
        }

        InputPicture.Write(whole.Pixels, input, expected);
        Assert.Equal(expected, values);
    }

    private static Picture Noise(Random random, int width, int height)
    {
        var picture = new Picture(width, height);
        random.NextBytes(picture.Pixels);
        return picture;
    }
}
