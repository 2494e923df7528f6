using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Faces;

public class FaceAlignerTests
{
    private static readonly ModelCard Card = ModelCard.Default("own", ModelCard.Embedding);
    private static readonly int[] Sides = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 64, 65, 111, 112, 113, 300, 2049];

    [Fact]
    public void Fit_finds_the_similarity_that_made_the_points()
    {
        var random = new Random(3);
        for (var round = 0; round < 200; round++)
        {
            var (angle, scale) = (random.NextDouble() * 2 * Math.PI, 0.1 + 5 * random.NextDouble());
            var truth = new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), random.Next(-500, 500), random.Next(-500, 500));
            var from = Points(random);

            var fit = Similarity.Fit(from, Array.ConvertAll(from, truth.Apply));

            Assert.Equal(truth.A, fit.A, 1e-9);
            Assert.Equal(truth.B, fit.B, 1e-9);
            Assert.Equal(truth.X, fit.X, 1e-6);
            Assert.Equal(truth.Y, fit.Y, 1e-6);
        }
    }

    /// <summary>A large part is averaged a band at a time, and every band is as it would be in the whole.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    public void A_part_is_averaged_alike_in_one_piece_and_in_bands(int factor)
    {
        using var picture = new Picture(211, 307);
        new Random(factor).NextBytes(picture.Pixels);
        var (width, height) = (factor * (190 / factor), factor * (280 / factor));
        using var whole = FaceAligner.Shrunk(picture, -factor, 2 * factor, width, height, factor, int.MaxValue);
        foreach (var most in new[] { 1, 3 * width * factor * 2, 3 * width * factor * 5 })
        {
            using var bands = FaceAligner.Shrunk(picture, -factor, 2 * factor, width, height, factor, most);
            Assert.Equal(whole.Pixels.ToArray(), bands.Pixels.ToArray());
        }
    }

    [Fact]
    public void Fit_is_the_least_squares_one()
    {
        var random = new Random(4);
        for (var round = 0; round < 100; round++)
        {
            var (from, to) = (Points(random), Points(random));
            var fit = Similarity.Fit(from, to);
            var best = fit.Residual(from, to);
            foreach (var (a, b, x, y) in new[] { (1e-3, 0.0, 0.0, 0.0), (0.0, 1e-3, 0.0, 0.0), (0.0, 0.0, 0.1, 0.0), (0.0, 0.0, 0.0, 0.1) })
            {
                Assert.True(best <= new Similarity(fit.A + a, fit.B + b, fit.X + x, fit.Y + y).Residual(from, to));
                Assert.True(best <= new Similarity(fit.A - a, fit.B - b, fit.X - x, fit.Y - y).Residual(from, to));
            }
        }
    }

    [Fact]
    public void Points_that_fall_together_give_a_finite_transform()
    {
        var fit = Similarity.Fit(new Point[5], Points(new Random(1)));
        Assert.True(double.IsFinite(fit.Inverse().Scale));
    }

    [Fact]
    public void Inverse_undoes()
    {
        var similarity = new Similarity(0.3, -0.7, 40, 90);
        var back = similarity.Inverse().Apply(similarity.Apply(new Point(12, 34)));
        Assert.Equal(12, back.X, 1e-9);
        Assert.Equal(34, back.Y, 1e-9);
    }

    [Fact]
    public void Warp_reads_bilinearly_as_a_slow_reference_does()
    {
        using var picture = Pipeline.Decode(TestData.Read("formats/rgb.png"));
        using var target = new Picture(40, 30);
        var similarity = new Similarity(0.8, 0.35, 3.3, -7.1);

        FaceAligner.Warp(picture, similarity, target);

        for (var v = 0; v < target.Height; v++)
        {
            for (var u = 0; u < target.Width; u++)
            {
                var at = similarity.Inverse().Apply(new Point(u, v));
                for (var c = 0; c < 3; c++)
                {
                    Assert.Equal(Reference(picture, at.X, at.Y, c), target.Row(v)[u * 3 + c], 0.51);
                }
            }
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3.7)]
    [InlineData(9)]
    public void A_shrinking_warp_skips_no_pixel(double factor)
    {
        // stripes of one pixel: any sampling that skips pixels gives black or white instead of grey
        using var stripes = new Picture(600, 600);
        for (var y = 0; y < 600; y++)
        {
            for (var x = 0; x < 600; x++)
            {
                stripes.Row(y).Slice(x * 3, 3).Fill((byte)(x % 2 * 255));
            }
        }

        using var target = new Picture(40, 40);
        FaceAligner.Warp(stripes, new Similarity(1 / factor, 0, -20 / factor, -20 / factor), target);

        var tolerance = factor < 3 ? 1 : 255 / Math.Floor(factor);
        Assert.All(target.Pixels.ToArray(), value => Assert.InRange(value, 127 - tolerance, 128 + tolerance));
    }

    [Fact]
    public void A_shrinking_warp_stays_in_place()
    {
        // a ramp keeps its values under any averaging: a shift would show as another value
        using var ramp = new Picture(800, 800);
        for (var y = 0; y < 800; y++)
        {
            for (var x = 0; x < 800; x++)
            {
                ramp.Row(y).Slice(x * 3, 3).Fill((byte)(x / 4));
            }
        }

        using var target = new Picture(100, 100);
        FaceAligner.Warp(ramp, new Similarity(1 / 6.5, 0, -10, -10), target);

        for (var u = 0; u < 100; u++)
        {
            Assert.Equal((u + 10) * 6.5 / 4, target.Row(50)[u * 3], 1.0);
        }
    }

    /// <summary>Two levels a pixel, across in red and down in green: a crop's colours say where it was read.</summary>
    [Theory]
    [InlineData(2.2, 0)]
    [InlineData(2.9, 0.6)]
    [InlineData(3.3, 2)]
    [InlineData(4.1, -1.2)]
    public void A_shrinking_warp_that_turns_reads_where_its_inverse_says(double factor, double angle)
    {
        using var ramp = new Picture(128, 128);
        for (var i = 0; i < 128 * 128; i++)
        {
            (ramp.Pixels[i * 3], ramp.Pixels[i * 3 + 1], ramp.Pixels[i * 3 + 2]) = ((byte)(i % 128 * 2), (byte)(i / 128 * 2), 0);
        }

        using var target = new Picture(40, 40);
        var turn = new Similarity(Math.Cos(angle) / factor, Math.Sin(angle) / factor, 0, 0);
        var middle = turn.Apply(new Point(64, 64));
        var similarity = turn with { X = 20 - middle.X, Y = 20 - middle.Y };
        FaceAligner.Warp(ramp, similarity, target);
        var inside = 0;
        for (var i = 0; i < 40 * 40; i++)
        {
            if (similarity.Inverse().Apply(new Point(i % 40, i / 40)) is { X: > 8 and < 120, Y: > 8 and < 120 } at)
            {
                inside++;
                Assert.Equal(2 * at.X, target.Pixels[i * 3], 1.01);
                Assert.Equal(2 * at.Y, target.Pixels[i * 3 + 1], 1.01);
            }
        }

        Assert.InRange(inside, 500, 1600);
    }

    /// <summary>As large as it fits, and in the middle.</summary>
    [Theory]
    [InlineData(160, 112, 1, 24, 0)]
    [InlineData(112, 160, 1, 0, 24)]
    [InlineData(224, 336, 2, 0, 56)]
    [InlineData(84, 56, 0.5, 14, 0)]
    public void A_template_is_in_the_middle_of_an_input_of_another_shape(int width, int height, double scale, double left, double upper)
    {
        var aligner = new FaceAligner(Card with { Input = Card.Input with { Width = width, Height = height } });
        var expected = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(p[0] * scale + left + 0.5, p[1] * scale + upper + 0.5));
        Assert.All(aligner.InCrop(Template(3, 20))!.Zip(expected), p => Assert.Equal(0, Math.Abs(p.First.X - p.Second.X) + Math.Abs(p.First.Y - p.Second.Y), 1e-9));
        Assert.Equal(1 / scale, aligner.ScaleOf(Template(1, 20)), 1e-9);

        using var crop = Noise(new Random(5), width, height);
        using var taken = aligner.AlignCrop(crop)!; // of its own size, and no square
        Assert.Equal(crop.Pixels.ToArray(), taken.Pixels.ToArray());
    }

    [Fact]
    public void A_template_scales_to_another_input_size()
    {
        var aligner = new FaceAligner(Card with { Input = Card.Input with { Width = 160, Height = 160 } });
        var landmarks = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(p[0] + 0.5, p[1] + 0.5));
        using var picture = new Picture(112, 112);
        picture.Pixels.Fill(90);

        using var aligned = aligner.Align(picture, default, landmarks, out var error);

        Assert.Equal((160, 160), (aligned.Width, aligned.Height));
        Assert.Equal(0, error, 1e-9);
        Assert.Equal(90, aligned.Row(80)[80 * 3]);
    }

    /// <summary>
    /// In 96 x 112 a face is as large as in 112 x 112 with 8 pixels less on either side; a template is in its own picture's pixels.
    /// </summary>
    [Fact]
    public void A_template_has_width_and_height_and_is_in_its_own_picture()
    {
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.Astronaut));
        var face = Assert.Single(Pipeline.Detector.Detect(picture));
        var points = Pipeline.Detector.Locate(picture, face);
        using var square = Aligned("w600k_mbf", 112, 112, out var error);
        using var tall = Aligned("mobilefacenet-96x112", 96, 112, out var tallError);
        using var doubled = Aligned("mobilefacenet-96x112", 192, 224, out var doubledError);

        Assert.Equal((96, 112), (tall.Width, tall.Height));
        Assert.Equal(error, tallError, 1e-9);
        Assert.Equal(error, doubledError, 1e-9);
        for (var y = 0; y < 112; y++)
        {
            Assert.Equal(square.Row(y).Slice(8 * 3, 96 * 3).ToArray(), tall.Row(y).ToArray());
        }

        using var half = Pixels.Shrunk(doubled, 96, 112); // half a pixel off, as a template's points are scaled by the corner
        Assert.InRange(half.Pixels.ToArray().Zip(tall.Pixels.ToArray(), (a, b) => Math.Abs(a - b)).Average(), 0, 6);

        Picture Aligned(string card, int width, int height, out double error)
        {
            var known = ModelCard.Named(card);
            return new FaceAligner(known with { Input = known.Input with { Width = width, Height = height } }).Align(picture, face.Box, points, out error);
        }
    }

    /// <summary>A square of the box's height on its centre, black outside of the picture; no template has a part in it.</summary>
    [Fact]
    public void A_square_of_the_box_is_cut_out()
    {
        using var picture = new Picture(200, 100);
        new Random(2).NextBytes(picture.Pixels);
        var card = Card with { Crop = new ModelCrop { Rule = ModelCrop.BoxSquare } };
        var aligner = new FaceAligner(card with { Input = card.Input with { Width = 40, Height = 40 } });
        var points = Array.ConvertAll(FaceAligner.ArcFaceTemplate, p => new Point(p[0], p[1]));

        using var inside = aligner.Align(picture, new Box(60, 20, 20, 40), points, out _);
        using var beyond = aligner.Align(picture, new Box(0, 20, 20, 40), points, out _);

        for (var y = 0; y < 40; y++)
        {
            Assert.Equal(picture.Row(20 + y).Slice(50 * 3, 40 * 3).ToArray(), inside.Row(y).ToArray());
            Assert.Equal(new byte[10 * 3], beyond.Row(y)[..(10 * 3)].ToArray());
            Assert.Equal(picture.Row(20 + y)[..(30 * 3)].ToArray(), beyond.Row(y)[(10 * 3)..].ToArray());
        }

        Assert.StartsWith("box-square/", aligner.Rule, StringComparison.Ordinal);
    }

    /// <summary>A square template's rule is the space of vectors that are in indexes already.</summary>
    [Fact]
    public void A_templates_picture_is_part_of_the_rule()
    {
        Assert.Contains("70.7299,92.2041 of 112] box-shrink", new FaceAligner(ModelCard.Named("w600k_mbf")).Rule, StringComparison.Ordinal);
        Assert.Contains("62.7299,92.2041 of 96x112] box-shrink", new FaceAligner(ModelCard.Named("mobilefacenet-96x112")).Rule, StringComparison.Ordinal);
    }

    /// <summary>Landmarks may be anywhere, and nowhere: no memory beyond the picture's, no exception, black outside.</summary>
    [Fact]
    public void A_warp_of_any_similarity_reads_inside_the_picture_only()
    {
        double[] scales = [1e-9, 0.001, 0.015, 0.1, 0.3, 0.49, 0.5, 0.51, 1, 3, 1000, 1e9, double.NaN, double.PositiveInfinity];
        for (var seed = 0; seed < 3000; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, Sides[random.Next(Sides.Length)], Sides[random.Next(Sides.Length - 1)]);
            using var target = new Picture(1 + random.Next(40), 1 + random.Next(40));
            var (scale, angle) = (scales[random.Next(scales.Length)], random.NextDouble() * 7);
            var shift = Math.Pow(10, random.Next(12));
            target.Pixels.Fill(77);
            FaceAligner.Warp(picture, new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), (random.NextDouble() - 0.5) * shift, (random.NextDouble() - 0.5) * shift), target);
            Assert.True(double.IsFinite(scale) || target.Pixels.IndexOfAnyExcept((byte)0) < 0); // nowhere
        }
    }

    /// <summary>Four pixels at a time, at borders and in targets of any width: to the bit what a pixel at a time gives.</summary>
    [Fact]
    public void A_warp_equals_a_slow_reference_in_any_shape()
    {
        for (var seed = 0; seed < 1500; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 1 + random.Next(60), 1 + random.Next(60));
            using var target = new Picture(1 + random.Next(40), 1 + random.Next(20));
            var (scale, angle) = (Math.Exp(random.NextDouble() * 4 - 0.69), random.NextDouble() * 7); // shrinks by less than two
            var similarity = new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), random.Next(-40, 60), random.Next(-40, 60) + random.NextDouble());
            FaceAligner.Warp(picture, similarity, target);

            var back = similarity.Inverse();
            for (var v = 0; v < target.Height; v++)
            {
                for (var u = 0; u < target.Width; u++)
                {
                    var at = back.Apply(new Point(u, v));
                    var (x, y) = ((int)Math.Floor(at.X), (int)Math.Floor(at.Y));
                    var (across, down) = ((float)(at.X - x), (float)(at.Y - y));
                    for (var colour = 0; colour < 3; colour++)
                    {
                        var left = Value(x, y, colour) + (Value(x, y + 1, colour) - Value(x, y, colour)) * down;
                        var right = Value(x + 1, y, colour) + (Value(x + 1, y + 1, colour) - Value(x + 1, y, colour)) * down;
                        var expected = (byte)(left + (right - left) * across + 0.5f);
                        Assert.True(expected == target.Row(v)[u * 3 + colour], $"seed {seed} at {u}, {v}, colour {colour}: {expected} and {target.Row(v)[u * 3 + colour]}");
                    }
                }
            }

            float Value(int x, int y, int colour) => x >= 0 && y >= 0 && x < picture.Width && y < picture.Height ? picture.Row(y)[x * 3 + colour] : 0;
        }
    }

    [Fact]
    public void A_shrinking_warp_leaves_out_only_what_is_black()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            using var picture = Noise(random, 40 + random.Next(200), 40 + random.Next(200));
            using var target = new Picture(24, 18);
            var (scale, angle) = (1 / (2 + 6 * random.NextDouble()), random.NextDouble() * 7);
            var similarity = new Similarity(scale * Math.Cos(angle), scale * Math.Sin(angle), random.Next(-40, 40), random.Next(-40, 40));
            FaceAligner.Warp(picture, similarity, target);

            // the same in the middle of a black canvas, where nothing is near a border
            using var canvas = new Picture(picture.Width + 1600, picture.Height + 1600);
            canvas.Pixels.Clear();
            for (var y = 0; y < picture.Height; y++)
            {
                picture.Row(y).CopyTo(canvas.Row(y + 800)[(800 * 3)..]);
            }

            using var expected = new Picture(target.Width, target.Height);
            var (x, y2) = (similarity.A * 800 - similarity.B * 800, similarity.B * 800 + similarity.A * 800);
            FaceAligner.Warp(canvas, similarity with { X = similarity.X - x, Y = similarity.Y - y2 }, expected);
            for (var i = 0; i < target.Pixels.Length; i++)
            {
                Assert.True(Math.Abs(expected.Pixels[i] - target.Pixels[i]) <= 1, $"seed {seed}, value {i}: {expected.Pixels[i]} and {target.Pixels[i]}");
            }
        }
    }

    private static Picture Noise(Random random, int width, int height)
    {
        var picture = new Picture(width, height);
        random.NextBytes(picture.Pixels);
        return picture;
    }

    /// <summary>The box with its margin, as far as it lies in the picture.</summary>
    [Theory]
    [InlineData(60, 20, 40, 40, 0.5, 50, 10, 60, 60)]
    [InlineData(60, 20, 40, 20, 0.5, 50, 15, 60, 30)]
    [InlineData(60, 20, 40, 40, 0, 60, 20, 40, 40)]
    [InlineData(-5, -5, 40, 40, 0.5, 0, 0, 45, 45)]
    [InlineData(180, 80, 40, 40, 0.5, 170, 70, 30, 30)]
    [InlineData(500, 500, 40, 40, 0, 199, 99, 1, 1)]
    [InlineData(-500, -500, 40, 40, 0, 0, 0, 1, 1)]
    public void A_box_is_cut_out_with_its_margin(double x, double y, double wide, double high, double margin, int left, int upper, int width, int height)
    {
        using var picture = Noise(new Random(2), 200, 100);
        var aligner = ByBox(ModelCrop.BoxMargin, margin, width, height);
        using var crop = aligner.Align(picture, new Box(x, y, wide, high), Template(1, 0), out var error);
        using var expected = Pixels.Cropped(picture, left, upper, width, height); // of the input's size, so that nothing is resized
        Assert.Equal(expected.Pixels.ToArray(), crop.Pixels.ToArray());
        Assert.True(double.IsFinite(error));
        Assert.Null(aligner.InCrop(Template(1, 0)));
        Assert.False(aligner.IsByLandmarks);
    }

    [Fact]
    public void Boxes_and_points_are_in_pixels_of_the_full_size()
    {
        using var picture = new Picture(200, 100) { ScaleX = 2, ScaleY = 2 };
        new Random(2).NextBytes(picture.Pixels);
        using var crop = ByBox(ModelCrop.BoxMargin, 0, 40, 40).Align(picture, new Box(60, 20, 80, 80), Template(1, 0), out _);
        using var square = ByBox(ModelCrop.BoxSquare, 0, 40, 40).Align(picture, new Box(60, 20, 80, 80), Template(1, 0), out _);
        using var expected = Pixels.Cropped(picture, 30, 10, 40, 40);
        Assert.Equal(expected.Pixels.ToArray(), crop.Pixels.ToArray());
        Assert.Equal(expected.Pixels.ToArray(), square.Pixels.ToArray());

        var aligner = new FaceAligner(Card with { Input = Card.Input with { Width = 112, Height = 112 } });
        using var large = new Picture(300, 300) { ScaleX = 2, ScaleY = 2 };
        new Random(2).NextBytes(large.Pixels);
        using var aligned = aligner.Align(large, default, [.. Template(1, 20).Select(p => new Point(p.X * 2, p.Y * 2))], out var error);
        using var part = Pixels.Cropped(large, 20, 20, 112, 112);
        Assert.Equal(0, error, 1e-9);
        Assert.InRange(part.Pixels.ToArray().Zip(aligned.Pixels.ToArray(), (a, b) => Math.Abs(a - b)).Max(), 0, 1);
        Assert.Equal(2, aligner.ScaleOf([.. Template(1, 20).Select(p => new Point(p.X * 2, p.Y * 2))]), 1e-9);
        Assert.All(aligner.InCrop(Template(3, 20))!.Zip(Template(1, 0)), p => Assert.Equal(0, Math.Abs(p.First.X - p.Second.X) + Math.Abs(p.First.Y - p.Second.Y), 1e-9));
    }

    /// <summary>Of a 112-pixel face, whatever the embedder takes.</summary>
    [Theory]
    [InlineData(112)]
    [InlineData(160)]
    [InlineData(56)]
    public void An_alignment_error_is_told_in_pixels_of_112(int side)
    {
        using var picture = Noise(new Random(1), 200, 200);
        var points = Template(1, 30);
        (points[0], points[1]) = (points[1], points[0]); // eyes changed over: no similarity mends that
        using var aligned = new FaceAligner(Card with { Input = Card.Input with { Width = side, Height = side } }).Align(picture, default, points, out var error);
        var fit = Similarity.Fit(points, Template(1, 0));
        Assert.Equal(fit.Residual(points, Template(1, 0)), error, 1e-6);
        Assert.InRange(error, 5, 40);
    }

    [Fact]
    public void A_crop_of_the_inputs_size_is_taken_as_it_is_and_another_square_by_the_template()
    {
        var aligner = new FaceAligner(Card with { Input = Card.Input with { Width = 112, Height = 112 } });
        using var same = Noise(new Random(1), 112, 112);
        using var taken = aligner.AlignCrop(same)!;
        Assert.Equal(same.Pixels.ToArray(), taken.Pixels.ToArray());
        using var wide = Noise(new Random(1), 113, 112);
        Assert.Null(aligner.AlignCrop(wide));

        using var ramp = new Picture(168, 168); // half as large again
        for (var y = 0; y < 168; y++)
        {
            for (var x = 0; x < 168; x++)
            {
                ramp.Row(y).Slice(x * 3, 3).Fill((byte)x);
            }
        }

        using var aligned = aligner.AlignCrop(ramp)!;
        Assert.Equal((112, 112), (aligned.Width, aligned.Height));
        Assert.All(Enumerable.Range(0, 112), u => Assert.Equal(u * 1.5, aligned.Row(50)[u * 3], 0.51));

        var box = ByBox(ModelCrop.BoxMargin, 0, 40, 40);
        using var resized = box.AlignCrop(ramp)!;
        using var expected = Pixels.Resized(ramp, 40, 40, Card.Input.ResizeFilter);
        Assert.Equal(expected.Pixels.ToArray(), resized.Pixels.ToArray());
    }

    [Fact]
    public void A_rule_names_what_moves_pixels()
    {
        Assert.Equal("box-margin/own 0.5 pillow-bicubic", ByBox(ModelCrop.BoxMargin, 0.5, 40, 40, "own").Rule);
        Assert.Equal("box-square/own pillow-bicubic", ByBox(ModelCrop.BoxSquare, 0.5, 40, 40, "own").Rule);
        Assert.Equal($"box-square/{FaceDetector.CloserPoints} pillow-bicubic", ByBox(ModelCrop.BoxSquare, 0.5, 40, 40).Rule);
        Assert.StartsWith("similarity-5pt/own[38.2946,51.6963 73.5318,51.5014 ", new FaceAligner(ModelCard.Named("w600k_mbf"), "own").Rule, StringComparison.Ordinal);
        Assert.True(new FaceAligner(ModelCard.Named("w600k_mbf")).IsByLandmarks);
    }

    /// <summary>Turns and sizes that points and their transform tell.</summary>
    [Theory]
    [InlineData(3, 4, 5, 53.130102)]
    [InlineData(0, -2, 2, -90)]
    [InlineData(-1, 0, 1, 180)]
    public void A_similarity_tells_its_scale_and_turn(double a, double b, double scale, double degrees)
    {
        var similarity = new Similarity(a, b, 7, 9);
        Assert.Equal((scale, degrees), (similarity.Scale, Math.Round(similarity.Degrees, 6)));
        Assert.Equal(new Point(a * 2 - b * 3 + 7, b * 2 + a * 3 + 9), similarity.Apply(new Point(2, 3)));
    }

    [Fact]
    public void Points_that_fall_together_are_shifted_and_no_more()
    {
        var fit = Similarity.Fit([new(5, 6), new(5, 6)], [new(10, 20), new(30, 40)]);
        Assert.Equal(new Similarity(1, 0, 15, 24), fit);
        Assert.Equal(new Similarity(1e-6, 0, 10 - 1e-6, 20), Similarity.Fit([new(0, 0), new(2, 0)], [new(10, 20), new(10, 20)])); // onto one point: as small as can be
        Assert.Equal(Math.Sqrt(200), fit.Residual([new(5, 6), new(5, 6)], [new(10, 20), new(30, 40)]), 1e-9);
    }

    private static Point[] Template(double scale, double shift) => [.. FaceAligner.ArcFaceTemplate.Select(p => new Point((p[0] + 0.5) * scale + shift, (p[1] + 0.5) * scale + shift))];

    private static FaceAligner ByBox(string rule, double margin, int width, int height, string? points = null) =>
        new(Card with { Crop = new ModelCrop { Rule = rule, Margin = margin }, Input = Card.Input with { Width = width, Height = height } }, points);

    private static Point[] Points(Random random) => [.. Enumerable.Range(0, 5).Select(_ => new Point(random.Next(400), random.Next(400)))];

    private static double Reference(Picture picture, double x, double y, int channel)
    {
        double sum = 0;
        for (var dy = 0; dy < 2; dy++)
        {
            for (var dx = 0; dx < 2; dx++)
            {
                var (px, py) = ((int)Math.Floor(x) + dx, (int)Math.Floor(y) + dy);
                if (px >= 0 && py >= 0 && px < picture.Width && py < picture.Height)
                {
                    sum += picture.Row(py)[px * 3 + channel] * (1 - Math.Abs(x - px)) * (1 - Math.Abs(y - py));
                }
            }
        }

        return sum;
    }
}
