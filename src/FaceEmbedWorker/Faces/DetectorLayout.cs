namespace FaceEmbedWorker.Faces;

/// <summary>Turns what detectors of several families give into boxes, in pixels of the network's input. Pure functions.</summary>
internal static class DetectorLayout
{
    private static readonly int[] Strides = [8, 16, 32];

    /// <summary>Whether a layout gives five points with each box.</summary>
    public static bool HasPoints(string? layout) => layout is "scrfd" or "yunet";

    /// <summary>RFB (Linzaer): scores [n, 2], column 1 the face's, and decoded corners [n, 4], 0 to 1.</summary>
    public static void Rfb(ReadOnlySpan<float> scores, ReadOnlySpan<float> corners, int width, int height, double threshold, List<Detection> found)
    {
        for (var i = 0; i < scores.Length / 2; i++)
        {
            if (scores[i * 2 + 1] > threshold)
            {
                var corner = corners.Slice(i * 4, 4);
                found.Add(new Detection(new Box((double)corner[0] * width, (double)corner[1] * height, ((double)corner[2] - corner[0]) * width, ((double)corner[3] - corner[1]) * height), scores[i * 2 + 1]));
            }
        }
    }

    /// <summary>
    /// One stride of SCRFD (InsightFace): two anchors a place; scores [n, 1], distances to the box's sides [n, 4] and to five points [n,
    /// 10], in strides.
    /// </summary>
    public static void Scrfd(ReadOnlySpan<float> scores, ReadOnlySpan<float> distances, ReadOnlySpan<float> points, int stride, int width, double threshold, List<Detection> found)
    {
        const int anchors = 2;
        var columns = width / stride;
        for (var i = 0; i < scores.Length; i++)
        {
            if (scores[i] > threshold)
            {
                var (x, y) = (i / anchors % columns * stride, i / anchors / columns * stride);
                var d = distances.Slice(i * 4, 4);
                var box = new Box(x - d[0] * stride, y - d[1] * stride, (d[0] + d[2]) * stride, (d[1] + d[3]) * stride);
                found.Add(new Detection(box, scores[i]) { Landmarks = Five(points.Slice(i * 10, 10), x, y, stride) });
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
            if (score > threshold)
            {
                var (x, y) = (i % columns * stride, i / columns * stride);
                var b = boxes.Slice(i * 4, 4);
                var (wide, high) = (Math.Exp(b[2]) * stride, Math.Exp(b[3]) * stride);
                found.Add(new Detection(new Box(x + b[0] * stride - wide / 2, y + b[1] * stride - high / 2, wide, high), score) { Landmarks = Five(points.Slice(i * 10, 10), x, y, stride) });
            }
        }
    }

    /// <summary>Refuses outputs that are not of the card's layout, of a run on any picture.</summary>
    /// <exception cref="ModelException">With what the outputs are.</exception>
    public static void Check(ModelRun run, string? layout) => Read(run, layout, threshold: double.MaxValue);

    /// <summary>The candidates of a run, in pixels of the input.</summary>
    /// <exception cref="ModelException">The outputs are not those of the card's layout.</exception>
    public static List<Detection> Read(ModelRun run, string? layout, double threshold)
    {
        var found = new List<Detection>();
        var (width, height) = (run.Form.Width, run.Form.Height);
        switch (layout)
        {
            case "scrfd":
                foreach (var stride in Strides)
                {
                    var places = width / stride * (height / stride) * 2;
                    Scrfd(Find(run, places, 1), Find(run, places, 4), Find(run, places, 10), stride, width, threshold, found);
                }

                break;
            case "yunet":
                foreach (var stride in Strides)
                {
                    var places = width / stride * (height / stride);
                    YuNet(Named(run, $"cls_{stride}", places, 1), Named(run, $"obj_{stride}", places, 1), Named(run, $"bbox_{stride}", places, 4), Named(run, $"kps_{stride}", places, 10), stride, width, threshold, found);
                }

                break;
            default:
                if (run.OutputNames.Count < 2 || run.LastDimension(0) != 2 || run.LastDimension(1) != 4 || run.Output(0).Length * 2 != run.Output(1).Length)
                {
                    throw new ModelException($"The detector's outputs are not scores of [n,2] and boxes of [n,4], as {(layout is null ? "they are taken for where a card says nothing" : "its card's layout needs")}; it has {Outputs(run)}. Set output.layout in its card (models/README.md).");
                }

                Rfb(run.Output(0), run.Output(1), width, height, threshold, found);
                break;
        }

        return found;
    }

    private static ReadOnlySpan<float> Named(ModelRun run, string name, int places, int last)
    {
        for (var i = 0; i < run.OutputNames.Count; i++)
        {
            if (run.OutputNames[i] == name && run.LastDimension(i) == last && run.Output(i).Length == places * last)
            {
                return run.Output(i);
            }
        }

        throw new ModelException($"The detector has no output '{name}' of [{places},{last}], which its card's layout needs; it has {Outputs(run)}. Correct output.layout or the input's size in the card.");
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

        throw new ModelException($"The detector has no output of [{places},{last}], which its card's layout needs; it has {Outputs(run)}. Correct output.layout or the input's size in the card.");
    }

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
