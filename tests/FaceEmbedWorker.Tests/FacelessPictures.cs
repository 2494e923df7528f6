using FaceEmbedWorker.Images;
using NetVips;

namespace FaceEmbedWorker.Tests;

/// <summary>
/// Textures and scenes without a face, each from its number: noise, clouds, cells, stripes, rings, checks, blobs, edges, text-like strokes,
/// gradients.
/// </summary>
internal static class FacelessPictures
{
    public const int Kinds = 10;

    public static Picture Make(int number)
    {
        var random = new Random(number);
        var (width, height) = (random.Next(200, 1200), random.Next(200, 1200));
        using var image = Draw(number % Kinds, width, height, random);
        using var colour = Coloured(image, random);
        var pixels = colour.WriteToMemory<byte>();
        var picture = new Picture(width, height);
        pixels.CopyTo(picture.Pixels);
        return picture;
    }

    private static Image Draw(int kind, int width, int height, Random random)
    {
        switch (kind)
        {
            case 0:
                return Scaled(Image.Gaussnoise(width, height, sigma: random.Next(10, 80), mean: 128, seed: random.Next()).Gaussblur(random.NextDouble() * 8 + 0.3));
            case 1:
                return Scaled(Image.Perlin(width, height, cellSize: random.Next(8, 200), seed: random.Next()));
            case 2:
                return Scaled(Image.Worley(width, height, cellSize: random.Next(10, 200), seed: random.Next()));
            case 3:
                return Scaled(Image.Sines(width, height, hfreq: random.NextDouble() * 40, vfreq: random.NextDouble() * 40));
            case 4:
                return Scaled(Image.Zone(width, height));
            case 5:
                var side = random.Next(10, 120);
                return Each(width, height, (x, y) => (x / side + y / side) % 2 * 200 + 20);
            case 6:
                return Blobs(width, height, random, count: random.Next(3, 40));
            case 7:
                return Scaled(Image.Perlin(width, height, cellSize: random.Next(20, 150), seed: random.Next()).Sobel());
            case 8:
                return Strokes(width, height, random);
            default:
                var (a, b) = (random.NextDouble(), random.NextDouble());
                return Each(width, height, (x, y) => 255 * (a * x / width + b * y / height) / (a + b));
        }
    }

    /// <summary>Ellipses in front of each other, as skin-coloured things may be.</summary>
    private static Image Blobs(int width, int height, Random random, int count)
    {
        var blobs = Enumerable.Range(0, count).Select(_ => (X: random.Next(width), Y: random.Next(height), A: random.Next(10, 200), B: random.Next(10, 200), Value: random.Next(256))).ToArray();
        return Each(width, height, (x, y) =>
        {
            double value = 90;
            foreach (var blob in blobs)
            {
                var (dx, dy) = ((double)(x - blob.X) / blob.A, (double)(y - blob.Y) / blob.B);
                value = dx * dx + dy * dy < 1 ? blob.Value : value;
            }

            return value;
        });
    }

    private static Image Strokes(int width, int height, Random random)
    {
        var pixels = new byte[width * height];
        Array.Fill(pixels, (byte)235);
        for (var stroke = 0; stroke < 600; stroke++)
        {
            var (x, y, length, across) = (random.Next(width), random.Next(height), random.Next(4, 40), random.Next(2) == 0);
            for (var i = 0; i < length; i++)
            {
                var (u, v) = across ? (x + i, y) : (x, y + i);
                if (u < width && v < height)
                {
                    pixels[v * width + u] = 20;
                }
            }
        }

        return Image.NewFromMemoryCopy<byte>(pixels, width, height, 1, Enums.BandFormat.Uchar);
    }

    private static Image Each(int width, int height, Func<int, int, double> value)
    {
        var pixels = new byte[width * height];
        for (var i = 0; i < pixels.Length; i++)
        {
            pixels[i] = (byte)Math.Clamp(value(i % width, i / width), 0, 255);
        }

        return Image.NewFromMemoryCopy<byte>(pixels, width, height, 1, Enums.BandFormat.Uchar);
    }

    /// <summary>Values brought to 0 to 255.</summary>
    private static Image Scaled(Image image) => image.ScaleImage();

    /// <summary>Grey, or tinted between two colours.</summary>
    private static Image Coloured(Image grey, Random random)
    {
        var (dark, light) = (Colour(), Colour());
        using var share = grey / 255.0;
        double[] difference = [light[0] - dark[0], light[1] - dark[1], light[2] - dark[2]];
        using var three = share.Bandjoin(share, share);
        using var tinted = three.Linear(difference, dark);
        using var bytes = tinted.Cast(Enums.BandFormat.Uchar);
        return bytes.Copy(interpretation: Enums.Interpretation.Srgb);

        double[] Colour() => [random.Next(256), random.Next(256), random.Next(256)];
    }
}
