using System.Text.Json;
using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

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

    [Theory]
    [InlineData("astronaut.png")]
    [InlineData("grace_hopper.jpg")]
    public async Task The_public_photos_have_one_face(string file)
    {
        var result = await Pipeline.EmbedAsync(TestData.Read(file));
        Assert.Equal("embedded", result.Outcome);
        Assert.Single(result.Embeddings);
    }

    [Fact]
    public async Task Every_nose_is_in_a_box_of_its_own()
    {
        var folder = TestData.Verification("photos");
        var noses = JsonElement.Parse(await File.ReadAllTextAsync(Path.Combine(folder, "noses.json"), TestContext.Current.CancellationToken));
        var (found, all, extra) = (0, 0, 0);
        foreach (var photo in noses.EnumerateObject())
        {
            var result = await Pipeline.EmbedAsync(await File.ReadAllBytesAsync(Path.Combine(folder, photo.Name), TestContext.Current.CancellationToken));
            var free = result.Embeddings.Select(e => e.Box!).ToList();
            foreach (var nose in photo.Value.EnumerateArray())
            {
                var (x, y) = (nose[0].GetDouble(), nose[1].GetDouble());
                all++;
                found += free.RemoveAll(b => x >= b.X && x <= b.X + b.Width && y >= b.Y && y <= b.Y + b.Height) > 0 ? 1 : 0;
            }

            extra += free.Count;
            Assert.Equal(result.Embeddings.OrderByDescending(e => e.Box!.Width * e.Box.Height), result.Embeddings);
        }

        Assert.Equal((46, 46), (found, all));
        Assert.Equal(0, extra);
    }

    [Fact]
    public void Landmarks_of_several_faces_in_one_run_are_those_of_single_runs()
    {
        using var picture = Pipeline.Decode(File.ReadAllBytes(TestData.GraceHopper));
        var face = Pipeline.Detector.Detect(picture)[0].Box;
        Box[] boxes = [.. Enumerable.Range(0, 2 * Landmarks.Batch + 3).Select(i => face with { X = face.X + 7 * i, Height = face.Height - 5 * i })];
        Assert.Equal(boxes.Select(box => Pipeline.Landmarker.Locate(picture, box)), Pipeline.Landmarker.Locate(picture, boxes));
    }

    private static double Overlap(Box a, Box b)
    {
        double shared = 0;
        for (var y = 0; y < 200; y++)
        {
            for (var x = 0; x < 200; x++)
            {
                shared += Inside(a, x, y) && Inside(b, x, y) ? 1 : 0;
            }
        }

        return shared / (a.Area + b.Area - shared);

        static bool Inside(Box box, int x, int y) => x >= box.X && x < box.X + box.Width && y >= box.Y && y < box.Y + box.Height;
    }
}
