using System.Numerics;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Onnx;
using Google.Protobuf;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>What becomes of a tiny detector's outputs; <c>FaceDetectorPhotoTests</c> have the shipped one.</summary>
public class FaceDetectorTests
{
    [Fact]
    public void Suppression_keeps_what_a_slow_reference_keeps()
    {
        var random = new Random(5);
        for (var round = 0; round < 200; round++)
        {
            List<Detection> boxes = [.. Enumerable.Range(0, random.Next(40)).Select(_ =>
                new Detection(new Box(random.Next(100), random.Next(100), 10 + random.Next(60), 10 + random.Next(60)), random.NextDouble()))];

            var kept = FaceDetector.Suppress([.. boxes], 0.3);

            // a box stays exactly where no better box that stays overlaps it
            foreach (var box in boxes)
            {
                var beaten = kept.Exists(k => k.Score > box.Score && Overlap(k.Box, box.Box) > 0.3);
                Assert.Equal(!beaten, kept.Contains(box));
            }
        }
    }

    [Fact]
    public void A_landmark_model_is_asked_for_where_the_detector_gives_no_points_and_refused_where_it_does()
    {
        var (without, with) = (CardOf("rfb"), CardOf("yunet"));
        FaceDetector.CheckLandmarks(with, new FaceOptions());
        FaceDetector.CheckLandmarks(without, new FaceOptions { LandmarksModel = "x" });
        Assert.Equal("The detector own of d.onnx gives no points, and faces are aligned by points. Set Faces:LandmarksModel (for RFB-320: models/rfb/face_landmarks.onnx), or use the shipped detector, models/face_detection.onnx (models/README.md).",
            Assert.Throws<ModelException>(() => FaceDetector.CheckLandmarks(without, new FaceOptions { DetectionModel = "d.onnx" })).Message);
        Assert.Equal("Faces:LandmarksModel is l.onnx, but the detector own of d.onnx gives points of its own, and no landmark model is run any more. Remove the setting; or, to keep vectors of the old space comparable, set "
            + "Faces:DetectionModel=models/rfb/face_detection.onnx beside it (models/README.md).", Assert.Throws<ModelException>(() => FaceDetector.CheckLandmarks(with, new FaceOptions { DetectionModel = "d.onnx", LandmarksModel = "l.onnx" })).Message);
    }

    /// <summary>It enters the space: vectors that are published depend on each character.</summary>
    [Fact]
    public void How_points_come_about_is_named_by_the_detector()
    {
        const string closer = "3 looks of 160 at 0.8-2 1+2 from the first that turns by 5 or 1, each the mean of what sees it";
        var (fixedSize, anySize) = (CardOf("yunet"), CardOf("yunet") with { Input = new ModelInput { Color = "RGB", Mean = [0], Std = [1], Multiple = 32 } });
        Assert.Equal(("1", "2 ab", closer, $"{closer} ab"), (FaceDetector.PointsRule(CardOf("rfb"), "ab"), FaceDetector.PointsRule(fixedSize, "ab"),
            FaceDetector.PointsRule(anySize, "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"), FaceDetector.PointsRule(anySize, "ab")));
        Assert.Equal(closer, FaceDetector.CloserPoints);
        Assert.StartsWith($"{closer} ", PaperFaces.DetectorOf().Points, StringComparison.Ordinal);
        Assert.True(PaperFaces.DetectorOf().HasPoints);
        Assert.Null(PaperFaces.DetectorOf().LandmarksCard);
    }

    /// <summary>Detail 2 at least; a detector of one size sees twice its input.</summary>
    [Theory]
    [InlineData(1, 2000, 1000, 640, 320)]
    [InlineData(2, 2000, 1000, 640, 320)]
    [InlineData(3, 2000, 1000, 960, 480)]
    [InlineData(3, 300, 200, 300, 200)]
    public void A_picture_is_decoded_with_the_pixels_of_the_finest_look(int detail, int width, int height, int wantedWidth, int wantedHeight)
    {
        Assert.Equal((wantedWidth, wantedHeight), PaperFaces.DetectorOf().WantedFor(detail, width, height));
        Assert.Equal((128, 128), PaperFaces.FixedOf().WantedFor(detail, width, height));
    }

    [Theory]
    [InlineData(1, 960, 480, 320, 160)]
    [InlineData(2, 960, 480, 640, 320)]
    [InlineData(1, 960, 3, 320, 1)]
    [InlineData(1, 3, 960, 1, 320)]
    [InlineData(1, 960, 481, 320, 160)]
    [InlineData(1, 481, 960, 160, 320)]
    [InlineData(1, 960, 1, 960, 1)] // it has no row to spare
    [InlineData(1, 320, 200, 320, 200)]
    [InlineData(1, 100, 50, 100, 50)]
    public void A_copy_has_the_pixels_that_a_detail_wants_or_all_there_are(int detail, int width, int height, int toWidth, int toHeight)
    {
        using var picture = PaperFaces.Blank(width, height);
        using var shrunk = PaperFaces.DetectorOf().Shrunk(picture, detail);
        Assert.Equal((toWidth, toHeight), (shrunk.Width, shrunk.Height));
    }

    /// <summary>A detector of 64 x 64 pixels: stretched, or in the upper left corner; boxes and points come back to where they are in the file's picture.</summary>
    [Theory]
    [InlineData("stretch", 128, 64, 1, 1, 0, 0, 64, 32)]
    [InlineData("letterbox", 128, 64, 1, 1, 0, 0, 64, 64)]
    [InlineData("letterbox", 64, 128, 1, 1, 0, 0, 64, 64)]
    [InlineData("letterbox", 32, 16, 1, 1, 0, 0, 16, 16)] // made larger
    [InlineData("stretch", 64, 64, 2, 3, 0, 0, 64, 96)] // of a picture that was decoded smaller
    [InlineData("stretch", 64, 64, 1, 1, 16, 24, 32, 32)]
    public void A_face_is_found_where_it_is(string fit, int width, int height, double scaleX, double scaleY, int x, int y, double boxWidth, double boxHeight)
    {
        using var model = Fixed(fit);
        using var picture = new Picture(width, height) { ScaleX = scaleX, ScaleY = scaleY };
        picture.Pixels.Fill(128);
        var (high, wide) = ((int)(boxHeight / scaleY), (int)(boxWidth / scaleX));
        picture.Fill(x, y, wide, high / 2, 0.9, 6).Fill(x, y + high / 2, wide, high - high / 2, -0.9, 6);
        var face = new FaceDetector(model, null, Options.Create(PaperFaces.Flat)).Detect(picture)[0];
        Assert.Equal((x * scaleX, y * scaleY, boxWidth, boxHeight), (Math.Round(face.Box.X, 3), Math.Round(face.Box.Y, 3), Math.Round(face.Box.Width, 3), Math.Round(face.Box.Height, 3)));
        Assert.Equal(32, face.Seen, 1e-3);
        Assert.InRange(face.Score, 0.8, 0.95);
        var expected = PaperFaces.Points(0, 0).Select(p => (x * scaleX + p.X * boxWidth / 32, y * scaleY + p.Y * boxHeight / 32));
        Assert.Equal(expected.Select(p => (Math.Round(p.Item1, 2), Math.Round(p.Item2, 2))), face.Landmarks!.Select(p => (Math.Round(p.X, 2), Math.Round(p.Y, 2))));
    }

    /// <summary>It counts from more than the threshold on: the card's, or the setting; beyond the picture's border it is cut.</summary>
    [Fact]
    public void A_score_must_be_more_than_the_threshold()
    {
        using var model = Constant(0.75f);
        using var picture = PaperFaces.Blank(64, 64);
        Assert.Single(Of(new FaceOptions { DetectionThreshold = 0.74 }));
        Assert.Empty(Of(new FaceOptions { DetectionThreshold = 0.75 }));
        Assert.Single(Of(new FaceOptions())); // 0.5, as the card says nothing
        using var sure = Constant(0.75f, card => card with { Threshold = 0.76 });
        Assert.Empty(new FaceDetector(sure, null, Options.Create(new FaceOptions())).Detect(picture));
        Assert.Single(new FaceDetector(sure, null, Options.Create(new FaceOptions { DetectionThreshold = 0.5 })).Detect(picture));

        List<Detection> Of(FaceOptions options) => new FaceDetector(model, null, Options.Create(options)).Detect(picture);
    }

    /// <summary>A card's filter asks more of a large box; a threshold that is set asks the same of all.</summary>
    [Fact]
    public void A_filter_asks_more_of_large_boxes_unless_a_threshold_is_set()
    {
        using var model = Constant(0.75f, card => card with { Threshold = 0.5, Filter = new FaceFilter { PerOctave = 0.2, Certain = 0.8 } });
        using var picture = PaperFaces.Blank(64, 64);
        Assert.Empty(new FaceDetector(model, null, Options.Create(new FaceOptions())).Detect(picture)); // 32 pixels, two octaves over 8
        var set = new FaceDetector(model, null, Options.Create(new FaceOptions { DetectionThreshold = 0.5 }));
        Assert.Single(set.Detect(picture));
        Assert.Equal((true, false), (set.IsUncertain(0.79), set.IsUncertain(0.8)));
        Assert.False(PaperFaces.DetectorOf().IsUncertain(0.75));
    }

    /// <summary>Who asks for the finest look wants all there is.</summary>
    [Fact]
    public void At_the_highest_detail_no_filter_asks_for_more()
    {
        var paper = PaperFaces.DetectorOf().Card;
        using var model = PaperFaces.Load(PaperFaces.Detector(), paper with { Threshold = 0.5, Filter = new FaceFilter { PerOctave = 0.2 }, Input = paper.Input with { Name = "", Width = 0, Height = 0 }, Output = paper.Output with { Name = "" } });
        var detector = new FaceDetector(model, null, Options.Create(new FaceOptions()));
        using var wide = PaperFaces.Blank(1280, 64).Face(64, 16, 0.8); // it wants 0.9, of 32 pixels
        using var small = PaperFaces.Blank(160, 64).Face(64, 16, 0.8);
        using var sure = PaperFaces.Blank(160, 64).Face(64, 16, 0.95);
        Assert.Contains(detector.Detect(wide, 4), f => Whole(f.Box) == (64, 16, 32, 32));
        Assert.Empty(detector.Detect(small, 2));
        Assert.NotEmpty(detector.Detect(sure, 2));
    }

    [Fact]
    public void A_detector_of_boxes_alone_gives_no_points()
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.Detector("scrfd", 64));
        foreach (var stride in new[] { 8, 16, 32 })
        {
            graph.Graph.Node.Remove(graph.Graph.Node.Single(n => n.Output[0] == $"{stride}10"));
            graph.Graph.Output.Remove(graph.Graph.Output.Single(o => o.Name == $"{stride}10"));
        }

        using var model = PaperFaces.Load(graph.ToByteArray(), CardOf("scrfd-boxes"));
        using var picture = PaperFaces.Blank(64, 64);
        var face = Assert.Single(new FaceDetector(model, null, Options.Create(new FaceOptions())).Detect(picture));
        Assert.Equal((TinyOnnx.DetectorBox, null), (face.Box, face.Landmarks));
    }

    [Theory]
    [InlineData(float.NaN, "gave a face that is not finite (NaN or infinite)")]
    [InlineData(1.002f, "gave a face the score 1.002, and scores go from 0 to 1: it was exported without its last sigmoid, or its card names another's layout.")]
    [InlineData(7f, "gave a face the score 7, and scores go from 0 to 1")]
    [InlineData(1.0005f, null)] // rounding
    public void A_score_that_is_none_is_an_error_of_the_model(float score, string? told)
    {
        using var model = Constant(score);
        using var picture = PaperFaces.Blank(64, 64);
        var detector = new FaceDetector(model, null, Options.Create(new FaceOptions()));
        if (told is null)
        {
            Assert.Single(detector.Detect(picture));
        }
        else
        {
            Assert.Contains($"The model own {told}", Assert.Throws<ModelException>(() => detector.Detect(picture)).Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Up to as far outside of the input as it is long.</summary>
    [Theory]
    [InlineData(0, -64, false)]
    [InlineData(0, -64.25f, true)]
    [InlineData(0, 128, false)]
    [InlineData(0, 128.25f, true)]
    [InlineData(1, -64, false)]
    [InlineData(1, -64.25f, true)]
    [InlineData(1, 128, false)]
    [InlineData(1, 128.25f, true)]
    [InlineData(9, float.NaN, true)]
    public void Points_may_lie_outside_but_not_far(int value, float at, bool refused)
    {
        using var model = Constant(0.75f, point: (value, at));
        using var picture = PaperFaces.Blank(64, 64);
        var detector = new FaceDetector(model, null, Options.Create(new FaceOptions()));
        if (!refused)
        {
            var point = Assert.Single(detector.Detect(picture)).Landmarks![value / 2];
            Assert.Equal(at, value % 2 == 0 ? point.X : point.Y, 0.01);
            return;
        }

        Assert.Contains(float.IsNaN(at) ? "gave a face that is not finite" : "The model own put a face's points farther outside of the picture than the picture is long: its weights are damaged, or its card names another's layout.",
            Assert.Throws<ModelException>(() => detector.Detect(picture)).Message, StringComparison.Ordinal);
    }

    /// <summary>Of what lies beyond the border less than a pixel is left.</summary>
    [Theory]
    [InlineData(16, 1)]
    [InlineData(20, 0)]
    public void What_is_less_than_a_pixel_is_no_face(double scale, int faces)
    {
        using var model = Constant(0.75f);
        using var picture = new Picture(64, 64) { ScaleX = 1 / scale / 2, ScaleY = 1 }; // the box has 32 of 64 pixels
        picture.Pixels.Fill(128);
        Assert.Equal(faces, new FaceDetector(model, null, Options.Create(new FaceOptions())).Detect(picture).Count);
        using var low = new Picture(64, 64) { ScaleX = 1, ScaleY = 1 / scale / 2 };
        low.Pixels.Fill(128);
        Assert.Equal(faces, new FaceDetector(model, null, Options.Create(new FaceOptions())).Detect(low).Count);
    }

    [Fact]
    public void Of_boxes_that_overlap_by_more_than_is_set_the_surest_stays()
    {
        using var picture = PaperFaces.Blank(96, 96).Face(32, 32, 0.95);
        Assert.Equal([0.95], Of(0.3).Select(f => Math.Round(f.Score, 3)));
        var all = Of(0.99);
        Assert.Equal([32.0, 24, 40], all.Select(f => Math.Round(f.Box.X))); // and one step to either side
        Assert.Equal(all.OrderByDescending(f => f.Score), all);

        List<Detection> Of(double overlap) => PaperFaces.DetectorOf(new FaceOptions { DetectionThreshold = 0.5, DetectionOverlap = overlap }).Detect(picture);
    }

    /// <summary>A picture that was looked at as coarsely as detail 1 wants is looked at half as fine again; one of a single size is not.</summary>
    [Fact]
    public void Where_nothing_was_found_one_looks_half_as_fine_again()
    {
        using var picture = PaperFaces.Blank(480, 480).Face(32, 32, 0.95);
        Assert.Equal([(32, 32, 32, 32)], PaperFaces.DetectorOf().DetectFiner(picture, 1).Select(f => Whole(f.Box)));
        Assert.Empty(PaperFaces.DetectorOf().Detect(picture, 1));
        Assert.Empty(PaperFaces.FixedOf().DetectFiner(picture, 1));
    }

    /// <summary>From 480 pixels on a coarser look joins, for what is large: in it a face of 128 pixels has 32.</summary>
    [Fact]
    public void A_face_beyond_the_range_of_the_finest_look_is_seen_from_further_away()
    {
        using var large = PaperFaces.Blank(640, 640).Face(128, 128, 0.95, side: 128);
        Assert.DoesNotContain(PaperFaces.DetectorOf().Detect(large, 2), f => f.Box.Width > 100); // 32 pixels there, and the finer look sees up to 200 of its own, 50 there

        var graph = ModelProto.Parser.ParseFrom(PaperFaces.Detector());
        var bias = graph.Graph.Initializer.Single(t => t.Name == "bbox_8/planes/bias").FloatData;
        (bias[2], bias[3]) = (MathF.Log(8), MathF.Log(8)); // boxes twice as large
        var paper = PaperFaces.DetectorOf().Card;
        using var model = PaperFaces.Load(graph.ToByteArray(), paper with { Input = paper.Input with { Name = "", Width = 0, Height = 0 }, Output = paper.Output with { Name = "" } });
        var twice = new FaceDetector(model, null, Options.Create(PaperFaces.Flat));
        Assert.Contains(twice.Detect(large, 2), f => Whole(f.Box) == (64, 64, 256, 256) && Math.Round(f.Seen) == 64);
        Assert.DoesNotContain(twice.Detect(large, 1), f => f.Box.Width > 200); // which is one look
    }

    [Fact]
    public void Points_that_no_one_gives_are_a_fault_of_the_program()
    {
        using var picture = PaperFaces.Blank(64, 64);
        Assert.Contains("no landmarks, and there is no model for them", Assert.Throws<InvalidOperationException>(() => PaperFaces.DetectorOf().Locate(picture, new Detection(new Box(0, 0, 32, 32), 1))).Message, StringComparison.Ordinal);
        var points = PaperFaces.Points(8, 8);
        Assert.Same(points, PaperFaces.FixedOf().Locate(picture, new Detection(new Box(8, 8, 32, 32), 1) { Landmarks = points }));
        Assert.Throws<OperationCanceledException>(() => PaperFaces.DetectorOf().Locate(picture, new Detection(new Box(8, 8, 32, 32), 1) { Landmarks = points }, new CancellationToken(true)));
    }

    /// <summary>
    /// A network that sees the same faces in every closer look, whatever is there, so that arithmetic says where the points come to lie: by
    /// complex numbers here, in which a turn with a scale is a factor. Where it sees a face turned, each look turns by as much.
    /// </summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(4, 0)] // not worth another look
    [InlineData(8, 0)] // as many as there are
    [InlineData(-8, 1)]
    [InlineData(4, 2)]
    [InlineData(-4, 3)]
    [InlineData(8, 4)]
    [InlineData(0, 5)]
    [InlineData(5, 6)]
    [InlineData(8, -1)] // all of them far off: the points stay
    public void Points_are_the_mean_of_what_closer_looks_see(double turned, int seed)
    {
        const double threshold = 0.4;
        var random = new Random(seed);
        double Jitter(double by) => (2 * random.NextDouble() - 1) * by;
        var seen = Enumerable.Range(0, seed == 0 ? 1 : 12).Select(i =>
        {
            var (x, y, turn) = (Math.Round(Jitter(i == 0 ? 0 : 24)) + (seed < 0 ? 40 : 0), Math.Round(Jitter(i == 0 ? 0 : 24)), Complex.FromPolarCoordinates(1, turned * Math.PI / 180));
            var points = FaceAligner.ArcFaceTemplate.Select(p => new Complex(80 + x, 80 + y) + turn * (new Complex(p[0], p[1]) - new Complex(56, 72)) * 0.9 + new Complex(Jitter(3), Jitter(3))).ToArray();
            return (Score: Math.Round(0.3 + 0.6 * random.NextDouble(), 3), Box: new Box(48 + x, 40 + y, 64 + Math.Round(Jitter(16)), 80 + Math.Round(Jitter(16))), Points: points);
        }).Append((Score: 0.95, Box: new Box(0, 0, 16, 16), Points: [.. Enumerable.Repeat(new Complex(8, 8), 5)])).ToArray(); // the surest, of somebody else
        using var model = Seeing(seen, threshold);
        var detector = new FaceDetector(model, null, Options.Create(new FaceOptions { DetectionThreshold = 0.9 })); // which is for first looks
        using var picture = new Picture(200, 150) { ScaleX = 2, ScaleY = 3 };
        picture.Pixels.Fill(128);
        var first = FaceAligner.ArcFaceTemplate.Select(p => new Complex(150 + 1.5 * p[0] + Jitter(5), 120 + 1.2 * p[1] + Jitter(5))).ToArray();

        var points = detector.Locate(picture, new Detection(new Box(150, 120, 100, 100), 1) { Landmarks = [.. first.Select(p => new Point(p.Real, p.Imaginary))] }, TestContext.Current.CancellationToken);

        var (before, level, looks) = (first, Closer(first, 0.8, -2), 1);
        for (var tilt = 5.0; looks < 4 && Math.Abs(Fit(before, level).By.Phase) * 180 / Math.PI > tilt; looks++, tilt = 1)
        {
            (before, level) = (level, Closer(level, 0.8, -2));
        }

        var expected = Closer(level, 0.8, -2).Zip(Closer(level, 1, 2), (a, b) => (a + b) / 2).ToArray();
        Assert.True(seed != 0 || looks == (turned > 5 ? 4 : 1));
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(0, (expected[i] - new Complex(points[i].X, points[i].Y)).Magnitude, 1e-4);
        }

        Complex[] Closer(Complex[] points, double scale, double shift)
        {
            var places = FaceAligner.ArcFaceTemplate.Select(p => new Complex(p[0], p[1]) * scale + new Complex(1, 1) * ((160 - 112 * scale) / 2 + shift)).ToArray();
            var (by, plus) = Fit([.. points.Select(p => new Complex(p.Real / 2 - 0.5, p.Imaginary / 3 - 0.5))], places);
            var near = seen.Where(s => s.Score > threshold && s.Points.Zip(places, (a, b) => (a - new Complex(0.5, 0.5) - b).Magnitude).Average() < 20).ToArray();
            if (near.Length == 0)
            {
                return points;
            }

            var surest = near.MaxBy(s => s.Score).Box;
            var same = near.Where(s => s.Box.Overlap(surest) > 0.5).ToArray();
            return [.. Enumerable.Range(0, 5).Select(i => same.Aggregate(Complex.Zero, (sum, s) => sum + s.Points[i] * (s.Score - threshold)) / same.Sum(s => s.Score - threshold))
                .Select(p => (p - new Complex(0.5, 0.5) - plus) / by).Select(p => new Complex((p.Real + 0.5) * 2, (p.Imaginary + 0.5) * 3))];
        }

        static (Complex By, Complex Plus) Fit(Complex[] from, Complex[] to)
        {
            var (a, b) = (from.Aggregate((x, y) => x + y) / 5, to.Aggregate((x, y) => x + y) / 5);
            var by = from.Zip(to, (x, y) => Complex.Conjugate(x - a) * (y - b)).Aggregate((x, y) => x + y) / from.Sum(x => (x - a).Magnitude * (x - a).Magnitude);
            return (by, b - by * a);
        }
    }

    private static double Overlap(Box a, Box b)
    {
        double shared = 0;
        for (var y = a.Y; y < a.Y + a.Height; y++)
        {
            for (var x = a.X; x < a.X + a.Width; x++)
            {
                shared += x >= b.X && x < b.X + b.Width && y >= b.Y && y < b.Y + b.Height ? 1 : 0;
            }
        }

        return shared / (a.Area + b.Area - shared);
    }

    private static (int, int, int, int) Whole(Box box) => ((int)Math.Round(box.X), (int)Math.Round(box.Y), (int)Math.Round(box.Width), (int)Math.Round(box.Height));

    private static ModelCard CardOf(string layout) => new() { Id = "own", Task = ModelCard.Detection, Input = new ModelInput { Color = "RGB", Mean = [0], Std = [1] }, Output = new ModelOutput { Layout = layout } };

    /// <summary>As <see cref="PaperFaces"/>, of 64 x 64 pixels.</summary>
    private static Model Fixed(string fit)
    {
        var paper = PaperFaces.FixedOf().Card;
        return PaperFaces.Load(PaperFaces.Detector(), paper with { Input = paper.Input with { Name = "", Width = 0, Height = 0, Fit = fit }, Output = paper.Output with { Name = "" } });
    }

    /// <summary>One that finds <see cref="TinyOnnx.DetectorBox"/> in every picture.</summary>
    /// <param name="point">Which of its ten values is where, in pixels of the input.</param>
    private static Model Constant(float score, Func<ModelCard, ModelCard>? change = null, (int Value, float At)? point = null)
    {
        var graph = ModelProto.Parser.ParseFrom(TinyOnnx.Detector("scrfd", 64));
        foreach (var tensor in graph.Graph.Initializer)
        {
            var values = tensor.FloatData;
            for (var i = 0; i < values.Count; i++)
            {
                values[i] = values[i] == 0.95f ? score : values[i];
            }

            if (point is { } p && tensor.Name == "1610/constant")
            {
                values[10 * 10 + p.Value] = (p.At - 16.5f) / 16; // of the place at 16, 16, and the layout adds half a pixel
            }
        }

        var card = CardOf("scrfd");
        return PaperFaces.Load(graph.ToByteArray(), change is null ? card : change(card));
    }
    /// <summary>One that sees these faces in every picture of 160 x 160 pixels, and of a smaller one in its upper left.</summary>
    private static Model Seeing((double Score, Box Box, Complex[] Points)[] faces, double threshold)
    {
        var graph = new GraphProto { Name = "detector", Input = { Any("picture", 1, 3, 160, 160) } };
        foreach (var (name, numbers) in new (string, long[])[] { ("two", [2]), ("four", [4]), ("corner", [0, 0]), ("sides", [1, 2]) })
        {
            graph.Initializer.Add(new TensorProto { Name = name, DataType = Int64, Dims = { numbers.Length }, Int64Data = { numbers } });
        }

        graph.Node.Add(new NodeProto { OpType = "Shape", Input = { "picture" }, Output = { "shape" } });
        graph.Node.Add(new NodeProto { OpType = "Slice", Input = { "shape", "two", "four" }, Output = { "size" } });
        foreach (var stride in new[] { 8, 16, 32 })
        {
            graph.Initializer.Add(new TensorProto { Name = $"stride{stride}", DataType = Int64, Dims = { 1 }, Int64Data = { stride } });
            graph.Node.Add(new NodeProto { OpType = "Div", Input = { "size", $"stride{stride}" }, Output = { $"places{stride}" } });
            foreach (var (name, last) in new[] { ("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10) })
            {
                var values = new float[160 / stride * (160 / stride) * last];
                for (var i = 0; stride == 8 && i < faces.Length; i++)
                {
                    var (x, y, face) = (i * 8.0, 16.0 * (i % 2), faces[i]); // where a face is seen says nothing of where it is
                    double[] seen = last switch
                    {
                        1 => [face.Score],
                        4 => [(face.Box.X + face.Box.Width / 2 - x) / 8, (face.Box.Y + face.Box.Height / 2 - y) / 8, Math.Log(face.Box.Width / 8), Math.Log(face.Box.Height / 8)],
                        _ => [.. face.Points.SelectMany(p => new[] { (p.Real - 0.5 - x) / 8, (p.Imaginary - 0.5 - y) / 8 })],
                    };
                    Array.ConvertAll(seen, v => (float)v).CopyTo(values, (int)(y / 8 * 20 + x / 8) * last);
                }

                var output = $"{name}_{stride}";
                graph.Initializer.Add(new TensorProto { Name = $"{output}/all", DataType = 1, Dims = { 1, 160 / stride, 160 / stride, last }, FloatData = { values } });
                graph.Initializer.Add(new TensorProto { Name = $"{output}/rows", DataType = Int64, Dims = { 3 }, Int64Data = { 1, -1, last } });
                graph.Node.Add(new NodeProto { OpType = "Slice", Input = { $"{output}/all", "corner", $"places{stride}", "sides" }, Output = { $"{output}/there" } });
                graph.Node.Add(new NodeProto { OpType = "Reshape", Input = { $"{output}/there", $"{output}/rows" }, Output = { output } });
                graph.Output.Add(Any(output));
            }
        }

        var card = CardOf("yunet");
        return PaperFaces.Load(new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 13 } } }.ToByteArray(), card with { Threshold = threshold, Input = card.Input with { Multiple = 32 } });

        static ValueInfoProto Any(string name, params long[] sizes) => new()
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1, Shape = sizes.Length == 0 ? null : new TensorShapeProto { Dim = { sizes.Select(d => new TensorShapeProto.Types.Dimension { DimValue = d }) } } } },
        };
    }

    private const int Int64 = 7;
}
