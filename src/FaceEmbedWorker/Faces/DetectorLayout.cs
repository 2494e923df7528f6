using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Faces;

/// <summary>
/// Turns what detectors of several families give into boxes, in pixels of the network's input. Pure functions. A score that is no number is
/// a candidate too, so that whoever reads them can tell a broken network from a picture without faces.
/// </summary>
internal static class DetectorLayout
{
    private const int MostTold = 6;

    /// <summary>Candidates of a look at one face, mostly.</summary>
    private const int Usual = 16;

    private static readonly int[] Strides = [8, 16, 32];

    /// <summary>How InsightFace's detectors come, by their number of outputs.</summary>
    private static readonly (int Outputs, bool HasPoints, int[] Strides, int Anchors)[] ScrfdForms =
    [
        (6, false, [8, 16, 32], 2),
        (9, true, [8, 16, 32], 2),
        (10, false, [8, 16, 32, 64, 128], 1),
        (15, true, [8, 16, 32, 64, 128], 1),
    ];

    /// <summary>Whether a layout gives five points with each box.</summary>
    public static bool HasPoints(string? layout) => layout is "scrfd" or "yunet";

    /// <summary>RFB (Linzaer): scores [n, 2], column 1 the face's, and decoded corners [n, 4], 0 to 1.</summary>
    public static void Rfb(ReadOnlySpan<float> scores, ReadOnlySpan<float> corners, int width, int height, double threshold, List<Detection> found)
    {
        for (var i = 0; i < scores.Length / 2; i++)
        {
            if (!(scores[i * 2 + 1] <= threshold))
            {
                var corner = corners.Slice(i * 4, 4);
                found.Add(new Detection(new Box((double)corner[0] * width, (double)corner[1] * height, ((double)corner[2] - corner[0]) * width, ((double)corner[3] - corner[1]) * height), scores[i * 2 + 1]));
            }
        }
    }

    /// <summary>
    /// One stride of SCRFD (InsightFace): scores [n, 1], distances to the box's sides [n, 4] and, where it has them, to five points [n, 10],
    /// in strides; so many anchors a place.
    /// </summary>
    public static void Scrfd(ReadOnlySpan<float> scores, ReadOnlySpan<float> distances, ReadOnlySpan<float> points, int anchors, int stride, int width, double threshold, List<Detection> found)
    {
        var columns = Places(width, stride);
        for (var i = 0; i < scores.Length; i++)
        {
            if (!(scores[i] <= threshold))
            {
                var (x, y) = (i / anchors % columns * stride, i / anchors / columns * stride);
                var d = distances.Slice(i * 4, 4);
                var box = new Box(x - d[0] * stride, y - d[1] * stride, (d[0] + d[2]) * stride, (d[1] + d[3]) * stride);
                found.Add(new Detection(box, scores[i]) { Landmarks = points.IsEmpty ? null : Five(points.Slice(i * 10, 10), x, y, stride) });
            }
        }
    }

    /// <summary>
    /// One stride of YuNet (OpenCV Zoo): class and object scores [n, 1], centre and logarithmic size [n, 4], five points [n, 10], in
    /// strides from the place.
    /// </summary>
    public static void YuNet(ReadOnlySpan<float> classes, ReadOnlySpan<float> objects, ReadOnlySpan<float> boxes, ReadOnlySpan<float> points, int stride, int width, double threshold, List<Detection> found)
    {
        var columns = width / stride;
        for (var i = 0; i < classes.Length; i++)
        {
            var score = Math.Sqrt(Math.Clamp(classes[i], 0, 1) * Math.Clamp(objects[i], 0, 1));
            if (!(score <= threshold))
            {
                found.Add(Decoded(boxes.Slice(i * 4, 4), points.Slice(i * 10, 10), i % columns * stride, i / columns * stride, stride, score));
            }
        }
    }

    /// <summary>
    /// One stride of a YuNet whose heads are joined (<see cref="DetectorHead"/>): float32 [16, height, width], the scores before their
    /// sigmoid.
    /// </summary>
    public static void YuNet(ReadOnlySpan<float> head, int stride, int width, double threshold, List<Detection> found)
    {
        var (columns, places) = (width / stride, head.Length / DetectorHead.Channels);
        var classes = head[..places];
        var objects = head.Slice(places, places);
        var least = threshold < 1 ? Math.Log(threshold * threshold / (1 - threshold * threshold)) : double.PositiveInfinity; // neither score may be less than the threshold's square
        Span<float> rest = stackalloc float[DetectorHead.Channels - 2];
        for (var i = 0; i < places; i++)
        {
            if ((!(classes[i] < least) && !(objects[i] < least) || float.IsNaN(classes[i] + objects[i])) && Math.Sqrt(Sigmoid(classes[i]) * Sigmoid(objects[i])) is var score && !(score <= threshold))
            {
                for (var c = 0; c < rest.Length; c++)
                {
                    rest[c] = head[(c + 2) * places + i];
                }

                found.Add(Decoded(rest[..4], rest[4..], i % columns * stride, i / columns * stride, stride, score));
            }
        }

        static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));
    }

    private static Detection Decoded(ReadOnlySpan<float> box, ReadOnlySpan<float> points, int x, int y, int stride, double score)
    {
        var (wide, high) = (Math.Exp(box[2]) * stride, Math.Exp(box[3]) * stride);
        return new Detection(new Box(x + box[0] * stride - wide / 2, y + box[1] * stride - high / 2, wide, high), score) { Landmarks = Five(points, x, y, stride) };
    }

    /// <summary>Refuses outputs that are not of the card's layout, of a run on any picture.</summary>
    /// <exception cref="ModelException">With what the outputs are.</exception>
    public static void Check(ModelRun run, string? layout) => Read(run, layout, threshold: double.MaxValue);

    /// <summary>The candidates of a run, in pixels of the input.</summary>
    /// <exception cref="ModelException">The outputs are not those of the card's layout.</exception>
    public static List<Detection> Read(ModelRun run, string? layout, double threshold)
    {
        var found = new List<Detection>(Usual);
        var (width, height) = (run.Form.Width, run.Form.Height);
        switch (layout)
        {
            case "scrfd" or "scrfd-boxes":
                var hasPoints = HasPoints(layout);
                var (strides, anchors) = ScrfdForm(run, hasPoints);
                foreach (var stride in strides)
                {
                    var places = Places(width, stride) * Places(height, stride) * anchors;
                    Scrfd(Find(run, places, 1), Find(run, places, 4), hasPoints ? Find(run, places, 10) : default, anchors, stride, width, threshold, found);
                }

                break;
            case "yunet":
                foreach (var stride in Strides)
                {
                    var places = width / stride * (height / stride);
                    if (IsNamed(run, DetectorHead.Name(stride), places * DetectorHead.Channels, out var head))
                    {
                        YuNet(head, stride, width, threshold, found);
                        continue;
                    }

                    YuNet(Named(run, $"cls_{stride}", places, 1), Named(run, $"obj_{stride}", places, 1), Named(run, $"bbox_{stride}", places, 4), Named(run, $"kps_{stride}", places, 10), stride, width, threshold, found);
                }

                break;
            default:
                var boxes = run.OutputNames.Count > 1 && run.LastDimension(0) == 4 ? 0 : 1; // some exporters write them first
                if (run.OutputNames.Count < 2 || run.LastDimension(1 - boxes) != 2 || run.LastDimension(boxes) != 4 || run.Output(1 - boxes).Length * 2 != run.Output(boxes).Length)
                {
                    throw Misfit(run, $"does not give scores of [n,2] and boxes of [n,4], as {(layout is null ? "it should where a card names no output.layout" : "layout rfb does")}");
                }

                Rfb(run.Output(1 - boxes), run.Output(boxes), width, height, threshold, found);
                break;
        }

        return found;
    }

    /// <summary>
    /// Strides and anchors a place: SCRFD has three strides with two anchors, or five with one, as its number of outputs says.
    /// </summary>
    private static (int[] Strides, int Anchors) ScrfdForm(ModelRun run, bool hasPoints)
    {
        var form = Array.Find(ScrfdForms, f => f.HasPoints == hasPoints && f.Outputs == run.OutputNames.Count);
        return form.Strides is not null ? (form.Strides, form.Anchors) : throw Misfit(run,
            $"has {run.OutputNames.Count} outputs, and layout {(hasPoints ? "scrfd" : "scrfd-boxes")} has {string.Join(" or ", ScrfdForms.Where(f => f.HasPoints == hasPoints).Select(f => f.Outputs))}{(hasPoints ? " (without points, 6 or 10: scrfd-boxes)" : " (with points, 9 or 15: scrfd)")}");
    }

    private static int Places(int side, int stride) => (side + stride - 1) / stride;

    /// <summary>
    /// The card of a detector that brings none: that of its family, which its outputs tell; sizes as the file says them, and no filter, for
    /// one belongs to the very detector that it was measured with.
    /// </summary>
    /// <exception cref="ModelException">It is of no known family.</exception>
    public static ModelCard CardOf(string file)
    {
        GraphSummary graph;
        try
        {
            var bytes = Model.Read(file);
            GraphFault.MustBeRunnable(bytes);
            graph = GraphSummary.Read(bytes);
        }
        catch (Exception e) when (e is ForeignFileException or InvalidDataException or ModelException)
        {
            return ModelCard.Default(Path.GetFileNameWithoutExtension(file), ModelCard.Detection); // loading it says what is wrong
        }

        var layout = Told(graph.Outputs) ?? throw new ModelException(
            $"The detector {file} has no card, and its outputs are of no layout that is known here (rfb, scrfd, scrfd-boxes, yunet){(LooksLikeRetinaFace(graph.Outputs) ? ": they look like RetinaFace's, whose anchors are not decoded here" : "")}; it has {Shown(graph.Outputs)}. "
            + "Use the shipped detector (models/face_detection.onnx), or one of those layouts (models/README.md).");
        var family = ModelCard.Named(layout == "scrfd-boxes" ? "scrfd" : layout);
        var isFixed = graph.Inputs is [{ Shape: [_, _, > 0, > 0] }];
        return family with
        {
            Id = Path.GetFileNameWithoutExtension(file),
            Input = family.Input with { Name = "", Width = isFixed ? 0 : family.Input.Width, Height = isFixed ? 0 : family.Input.Height },
            Output = family.Output with { Name = "", Dimensions = 0, Layout = layout },
            Filter = null,
        };
    }

    /// <summary>The layout that outputs are of, by their names and last sizes; null: none that is known.</summary>
    public static string? Told(IReadOnlyList<GraphValue> outputs)
    {
        if (Strides.All(stride => outputs.Any(o => o.Name == $"cls_{stride}") && outputs.Any(o => o.Name == $"kps_{stride}")))
        {
            return "yunet";
        }

        if (outputs is [{ Shape: [.., 2] }, { Shape: [.., 4] }] or [{ Shape: [.., 4] }, { Shape: [.., 2] }])
        {
            return "rfb";
        }

        var form = Array.Find(ScrfdForms, f => f.Outputs == outputs.Count);
        return form.Strides is not null && Fit(1) && Fit(4) && (!form.HasPoints || Fit(10)) && outputs.All(o => Last(o) is 0 or 1 or 4 or 10) ? form.HasPoints ? "scrfd" : "scrfd-boxes" : null;

        bool Fit(long last) => outputs.Count(o => Last(o) == last) <= form.Strides.Length && outputs.Count(o => Last(o) == last || Last(o) == 0) >= form.Strides.Length;

        static long Last(GraphValue output) => output.Shape is [.., var last] ? last : 0;
    }

    /// <summary>Whether outputs are a detector's, of a layout that is decoded here or not.</summary>
    public static bool IsDetector(IReadOnlyList<GraphValue> outputs) => Told(outputs) is not null || LooksLikeRetinaFace(outputs);

    /// <summary>The first outputs, for whoever is told what a file has.</summary>
    public static string Shown(IReadOnlyList<GraphValue> outputs) => $"{string.Join(", ", outputs.Take(MostTold))}{(outputs.Count > MostTold ? ", …" : "")}";

    private static bool LooksLikeRetinaFace(IReadOnlyList<GraphValue> outputs) => outputs.Count == 3 && outputs.Select(o => o.Shape is [.., var last] ? last : 0).Order().SequenceEqual([2, 4, 10]);

    private static ReadOnlySpan<float> Named(ModelRun run, string name, int places, int last)
    {
        for (var i = 0; i < run.OutputNames.Count; i++)
        {
            if (run.OutputNames[i] == name && run.LastDimension(i) == last && run.Output(i).Length == places * last)
            {
                return run.Output(i);
            }
        }

        throw Misfit(run, $"has no output '{name}' of [{places},{last}], which layout yunet gives of {run.Form.Width} x {run.Form.Height} pixels");
    }

    private static bool IsNamed(ModelRun run, string name, int length, out ReadOnlySpan<float> values)
    {
        for (var i = 0; i < run.OutputNames.Count; i++)
        {
            if (run.OutputNames[i] == name && run.LastDimension(i) > 0 && (values = run.Output(i)).Length == length)
            {
                return true;
            }
        }

        values = default;
        return false;
    }

    /// <summary>SCRFD's outputs have numbers for names: they are told apart by their sizes.</summary>
    private static ReadOnlySpan<float> Find(ModelRun run, int places, int last)
    {
        for (var i = 0; i < run.OutputNames.Count; i++)
        {
            if (run.LastDimension(i) == last && run.Output(i).Length == places * last)
            {
                return run.Output(i);
            }
        }

        throw Misfit(run, $"has no output of [{places},{last}], which layout scrfd gives of {run.Form.Width} x {run.Form.Height} pixels");
    }

    /// <param name="why">What it has not, after "The detector FILE".</param>
    private static ModelException Misfit(ModelRun run, string why) => new($"The detector {run.Model.File} {why}; it has {Outputs(run)}. {(run.Model.HasCard
        ? "Correct output.layout or the input's size in its card (models/README.md)."
        : $"It has no card, and is taken for what its outputs' names and number tell: write its card, {Path.ChangeExtension(run.Model.File, ".json")}, with its output.layout and input size (models/README.md), or use another detector.")}");

    private static string Outputs(ModelRun run) => string.Join(", ", run.OutputNames.Select((name, i) => $"{name} [{string.Join(',', run.Dimensions(i))}]"));

    private static Point[] Five(ReadOnlySpan<float> values, int x, int y, int stride)
    {
        var points = new Point[5];
        for (var p = 0; p < points.Length; p++)
        {
            points[p] = new Point(x + values[2 * p] * stride + 0.5, y + values[2 * p + 1] * stride + 0.5);
        }

        return points;
    }
}
