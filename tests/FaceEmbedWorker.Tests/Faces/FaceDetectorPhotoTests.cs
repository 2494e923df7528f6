using System.Text.Json;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>With the shipped detector and its predecessor.</summary>
public class FaceDetectorPhotoTests
{
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

    /// <summary>tests/data/make_faces.py: boxes, points and scores of OpenCV 4.10's FaceDetectorYN, of what scores over 0.3.</summary>
    [Fact]
    public void Boxes_points_and_scores_are_those_of_OpenCV()
    {
        var looks = JsonElement.Parse(TestData.Read("faces.json")).GetProperty("looks").EnumerateArray().ToList();
        Assert.Equal(24, looks.Count);
        foreach (var look in looks)
        {
            using var photo = Pipeline.Decode(TestData.Read(look.GetProperty("file").GetString()!));
            using var picture = Change(photo, look.GetProperty("change").GetString()!);
            Assert.Equal((look.GetProperty("width").GetInt32(), look.GetProperty("height").GetInt32()), (picture.Width, picture.Height));
            var detector = Pipeline.DetectorOf(new FaceOptions { DetectionThreshold = look.GetProperty("threshold").GetDouble() });

            var found = detector.Look(picture, Math.Max(picture.Width, picture.Height), filter: null);

            var faces = look.GetProperty("faces").EnumerateArray().Select(f => f.EnumerateArray().Select(v => v.GetDouble()).ToArray()).ToList();
            // OpenCV suppresses by boxes of whole pixels: of the many of a score under 0.3, a few pixels in size, others stay
            Assert.Equal(faces.Count(f => f[14] > 0.3), found.Count(f => f.Score > 0.3));
            foreach (var face in faces.Where(f => f[14] > 0.3))
            {
                var same = found.MaxBy(f => f.Box.Overlap(new Box(face[0], face[1], face[2], face[3]).Clamped(picture.Width, picture.Height)));
                Assert.Equal(face[14], same.Score, 0.01);
                var box = new Box(face[0], face[1], face[2], face[3]).Clamped(picture.Width, picture.Height);
                Assert.All(new[] { box.X - same.Box.X, box.Y - same.Box.Y, box.Width - same.Box.Width, box.Height - same.Box.Height }, d => Assert.Equal(0, d, 1.0));
                for (var p = 0; p < 5; p++)
                {
                    // OpenCV counts pixel centres at whole numbers when it aligns; ours are at halves. The person's right eye is the left
                    // one as seen
                    Assert.Equal(face[4 + 2 * p] + 0.5, same.Landmarks![p].X, 1.0);
                    Assert.Equal(face[5 + 2 * p] + 0.5, same.Landmarks[p].Y, 1.0);
                }
            }
        }

        static Picture Change(Picture photo, string change) => change switch
        {
            "plain" => Pixels.Cropped(photo, 0, 0, photo.Width, photo.Height),
            "mirrored" => From(photo, photo.Width, photo.Height, (x, y) => (photo.Width - 1 - x, y)),
            "four" => From(photo, 2 * photo.Width, 2 * photo.Height, (x, y) => (x % photo.Width, y % photo.Height)),
            "cut" => Pixels.Cropped(photo, 30, 7, 401, 443),
            "third" => From(photo, (photo.Width + 1) / 3, photo.Height / 3 + (photo.Height % 3 > 1 ? 1 : 0), (x, y) => (1 + 3 * x, 1 + 3 * y)),
            _ => From(photo, (photo.Width + 3) / 8, (photo.Height + 3) / 8, (x, y) => (4 + 8 * x, 4 + 8 * y)),
        };

        static Picture From(Picture photo, int width, int height, Func<int, int, (int X, int Y)> at)
        {
            var picture = new Picture(width, height);
            for (var y = 0; y < height; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    var (u, v) = at(x, y);
                    photo.Row(v).Slice(u * 3, 3).CopyTo(picture.Row(y)[(x * 3)..]);
                }
            }

            return picture;
        }
    }

    /// <summary>
    /// Somebody's calibration may rest on it: RFB-320 and 68 landmarks give the vectors and the space that they gave when they were the
    /// default.
    /// </summary>
    [Fact]
    public void The_earlier_detector_still_gives_the_vectors_of_its_space()
    {
        using var picture = Pipeline.Decode(TestData.Read("grace_hopper.jpg"));
        var face = Assert.Single(Pipeline.Earlier.Detect(picture));
        using var aligned = Pipeline.Aligner.Align(picture, face.Box, Pipeline.Earlier.Locate(picture, face), out _);
        var vector = Pipeline.Embedder.Embed(aligned).Vector;
        Assert.Equal(0.0343, vector[0], 0.002); // as published in its time
        Assert.False(Pipeline.Earlier.HasPoints);
    }
}
