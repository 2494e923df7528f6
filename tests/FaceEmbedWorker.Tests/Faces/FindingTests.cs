using System.Collections.Concurrent;
using System.Globalization;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using NetVips;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>Small, turned, tightly cropped and crowded faces, and pictures without any.</summary>
[Collection(Heavy.Name)]
public class FindingTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    /// <summary>The face of each photo as it is: looked at once for all tests.</summary>
    private static readonly ConcurrentDictionary<string, Task<ResultEmbedding>> Uprights = new();

    [Fact]
    public async Task Faces_of_24_pixels_in_a_small_frame_are_found_at_the_default()
    {
        var (first, best) = (0, 0);
        foreach (var (file, n) in People().Take(20).Select((f, i) => (f, i)))
        {
            var frame = FaceScenes.Frame(640, 480, n);
            var place = FaceScenes.Paste(frame, file, size: 24, x: 40 + 25 * n, y: 60 + 15 * n);
            first += await FoundAsync(frame, [place], detail: 1, ".png");
            best += await FoundAsync(frame, [place], detail: 2, ".png");
            frame.Dispose();
        }

        Console.WriteLine($"24 pixels: {first} of 20 at detail 1, {best} at 2");
        Assert.Equal(20, best);
        Assert.True(first < best);
    }

    [Fact]
    public async Task Faces_of_a_sixtieth_of_twelve_megapixels_are_found_at_the_highest_detail()
    {
        var (found, people) = (0, People().ToArray());
        for (var photo = 0; photo < 4; photo++)
        {
            using var frame = FaceScenes.Frame(4000, 3000, photo);
            var places = Enumerable.Range(0, 20).Select(i => FaceScenes.Paste(frame, people[(photo * 20 + i) % people.Length], size: 60, x: 100 + i % 5 * 760 + photo * 13, y: 120 + i / 5 * 690 + photo * 17)).ToArray();
            found += await FoundAsync(frame, places, detail: 4, ".jpg");
        }

        Console.WriteLine($"60 pixels in 12 Mpx: {found} of 80 at detail 4");
        Assert.InRange(found, 76, 80);
    }

    [Theory]
    [InlineData(90)]
    [InlineData(180)]
    [InlineData(270)]
    public async Task A_photo_turned_without_a_word_gives_the_vector_of_the_upright_one(int degrees)
    {
        var (found, cosines) = (0, new List<double>());
        foreach (var file in People())
        {
            var upright = await UprightAsync(file);
            var turned = await Pipeline.EmbedAsync(Pipeline.Changed(file, i => i.Rot(degrees switch { 90 => Enums.Angle.D90, 180 => Enums.Angle.D180, _ => Enums.Angle.D270 })));
            if (Largest(turned) is { } face && turned.Image.Rotation == 360 - degrees)
            {
                found++;
                cosines.Add(Pipeline.Cosine(upright.Vector, face.Vector));
                Assert.Equal(Turned(upright, degrees), (face.Landmarks![2][0], face.Landmarks[2][1]), Near(upright.Box!.Width * 0.15));
            }
        }

        cosines.Sort();
        Console.WriteLine(FormattableString.Invariant($"turned by {degrees}: {found} of 100, median cosine {cosines[cosines.Count / 2]:0.000}"));
        Assert.InRange(found, 98, 100);
        Assert.InRange(cosines[cosines.Count / 2], 0.95, 1.000001);

        (double X, double Y) Turned(ResultEmbedding face, int by) => by switch
        {
            90 => (250 - face.Landmarks![2][1], face.Landmarks[2][0]),
            180 => (250 - face.Landmarks![2][0], 250 - face.Landmarks[2][1]),
            _ => (face.Landmarks![2][1], 250 - face.Landmarks[2][0]),
        };
    }

    /// <summary>A crowd seen from afar is less clear than one large face that lies among them, and is there all the same.</summary>
    [Theory]
    [InlineData(90)]
    [InlineData(180)]
    [InlineData(270)]
    public async Task One_who_lies_down_does_not_take_the_place_of_those_who_stand(int degrees)
    {
        var people = People().ToArray();
        using var frame = FaceScenes.Frame(1600, 1200, 3);
        var standing = Enumerable.Range(0, 8).Select(i => FaceScenes.Paste(frame, people[10 * i], size: 36, x: 40 + 150 * i, y: 80)).ToArray();
        using var photo = Pipeline.Decode(File.ReadAllBytes(TestData.Astronaut));
        using var head = Pixels.Cropped(photo, 90, 0, 300, 300);
        using var large = Pixels.Resized(head, 500, 500, PillowResize.Filter.Bicubic.Name);
        using var lying = Pixels.Turned(large, degrees);
        for (var row = 0; row < lying.Height; row++)
        {
            lying.Row(row).CopyTo(frame.Row(600 + row)[(600 * 3)..]);
        }

        var result = Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(new EmbedJob("x", new ImageSource.Data(FaceScenes.Encoded(frame, ".png"))), None)).Result;
        var boxes = result.Embeddings.Select(e => e.Box!).ToList();
        Assert.Null(result.Image.Rotation);
        Assert.InRange(standing.Count(n => boxes.Exists(b => n.X >= b.X && n.X <= b.X + b.Width && n.Y >= b.Y && n.Y <= b.Y + b.Height)), 7, 8);
        Assert.Contains(boxes, b => b.Width > 100); // who lies is there too
    }

    /// <summary>
    /// A look at a tilted face sees a part of its tilt only; looked at until it is level, it has the upright face's vector.
    /// </summary>
    [Theory]
    [InlineData(20)]
    [InlineData(-30)]
    public async Task A_tilted_face_has_its_own_vector(double degrees)
    {
        var cosines = new List<double>();
        foreach (var file in People())
        {
            var upright = await UprightAsync(file);
            var tilted = Largest(await Pipeline.EmbedAsync(Pipeline.Changed(file, i => i.Similarity(angle: degrees, background: [128, 128, 128]))));
            cosines.Add(tilted is null ? 0 : Pipeline.Cosine(upright.Vector, tilted.Vector));
        }

        cosines.Sort();
        Console.WriteLine(FormattableString.Invariant($"tilted by {degrees}: cosine {cosines[10]:0.000} for one in ten, {cosines[50]:0.000} in the median"));
        Assert.InRange(cosines[10], 0.9, 1.000001);
        Assert.InRange(cosines[50], 0.96, 1.000001);
    }

    [Theory]
    [InlineData(1.0)]
    [InlineData(0.8)]
    public async Task A_face_that_fills_the_picture_is_found(double tightness)
    {
        var found = 0;
        foreach (var file in People())
        {
            var box = (await UprightAsync(file)).Box!;
            var (width, height) = ((int)(box.Width * tightness), (int)(box.Height * tightness));
            var (x, y) = (Math.Clamp(box.X + (box.Width - width) / 2, 0, 250 - width), Math.Clamp(box.Y + (box.Height - height) / 2, 0, 250 - height));
            var cropped = await Pipeline.EmbedAsync(Pipeline.Changed(file, i => i.Crop(x, y, width, height)));
            found += cropped.Embeddings.Count > 0 ? 1 : 0;
        }

        Console.WriteLine($"cropped to {tightness} of the box: {found} of 100");
        Assert.InRange(found, 98, 100);
    }

    /// <summary>FACE_EMBED_FACELESS=500 looks at all that docs/finding.md speaks of.</summary>
    [Fact]
    public async Task Pictures_without_a_face_have_none()
    {
        var handler = Pipeline.Handler();
        var (count, alarms) = (int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_FACELESS") ?? "100", CultureInfo.InvariantCulture), 0);
        await Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, async (number, _) =>
        {
            using var picture = FacelessPictures.Make(number);
            var result = Assert.IsType<JobOutcome.Completed>(await handler.HandleAsync(new EmbedJob("x", new ImageSource.Data(FaceScenes.Encoded(picture, ".png"))), None)).Result;
            Assert.Equal(result.Embeddings.Count == 0, result.Outcome == EmbedResult.NoFace); // nothing in any look, the turned ones included
            Interlocked.Add(ref alarms, result.Embeddings.Count);
        });
        Console.WriteLine($"{count} pictures without a face: {alarms} false alarms");
        Assert.InRange(alarms, 0, count / 250);
    }

    [Fact]
    public async Task Turned_and_tight_looks_can_be_switched_off()
    {
        var off = Pipeline.Handler(faces: new FaceOptions { TurnedPhotos = false, TightCrops = false });
        var upside = Pipeline.Changed(TestData.GraceHopper, i => i.Rot180());
        var outcome = Assert.IsType<JobOutcome.Completed>(await off.HandleAsync(new EmbedJob("x", new ImageSource.Data(upside)), None));
        Assert.Null(outcome.Result.Image.Rotation);
        Assert.Equal(180, (await Pipeline.EmbedAsync(upside)).Image.Rotation);
    }

    [Fact]
    public async Task A_job_can_ask_for_its_own_detail()
    {
        using var frame = FaceScenes.Frame(640, 480, 3);
        FaceScenes.Paste(frame, TestData.GraceHopper, size: 14, x: 300, y: 200);
        var picture = new ImageSource.Data(FaceScenes.Encoded(frame, ".png"));
        var counts = new List<int>();
        foreach (var detail in new[] { 1, 4 })
        {
            counts.Add(Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler().HandleAsync(new EmbedJob("x", picture, Detail: detail), None)).Result.Embeddings.Count);
        }

        Assert.Equal([0, 1], counts);
    }

    [Fact]
    public async Task Faces_below_the_lowest_quality_are_skipped_and_listed_with_reasons()
    {
        var blurred = Pipeline.Changed(TestData.GraceHopper, image => image.Gaussblur(12));
        var all = await Pipeline.EmbedAsync(blurred);
        Assert.Contains(FaceQuality.Blurred, Assert.Single(all.Embeddings).Quality!.Flags!);
        Assert.Null(all.Skipped);

        var result = Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler(faces: new FaceOptions { MinQuality = 0.6 }).HandleAsync(new EmbedJob("x", new ImageSource.Data(blurred)), None)).Result;

        Assert.Equal(EmbedResult.NoFace, result.Outcome);
        Assert.Equal(["min_quality", FaceQuality.Blurred], Assert.Single(result.Skipped!).Reasons);
        Assert.Single(Assert.IsType<JobOutcome.Completed>(await Pipeline.Handler(faces: new FaceOptions { MinQuality = 0.6 }).HandleAsync(new EmbedJob("x", new ImageSource.Data(File.ReadAllBytes(TestData.GraceHopper))), None)).Result.Embeddings);
    }

    /// <summary>The table of docs/finding.md is of LFW-300, by <c>quality</c> of the benchmarks' project; this holds its shape.</summary>
    [Fact]
    public async Task The_share_of_matches_rises_with_the_quality_score()
    {
        var people = People().ToArray();
        var clean = new Dictionary<string, List<float[]>>();
        foreach (var file in people)
        {
            var person = Path.GetFileName(Path.GetDirectoryName(file)!);
            clean.TryAdd(person, []);
            clean[person].Add((await UprightAsync(file)).Vector);
        }

        var (scores, impostors) = (new List<(double Quality, double Cosine)>(), new List<double>());
        for (var i = 0; i < 300; i++)
        {
            var (file, random) = (people[i % people.Length], new Random(i));
            var person = Path.GetFileName(Path.GetDirectoryName(file)!);
            var degraded = Pipeline.Changed(file, image => image.Resize(0.15 + 0.85 * random.NextDouble()).Gaussblur(random.NextDouble() * 4 + 0.1), ".jpg", new VOption { { "Q", random.Next(40, 95) } });
            if (Largest(await Pipeline.EmbedAsync(degraded)) is { } face)
            {
                scores.AddRange(clean[person].Where((_, n) => n != i % 10).Select(v => (face.Quality!.Score!.Value, Pipeline.Cosine(v, face.Vector))));
                impostors.AddRange(clean.Where(c => c.Key != person).SelectMany(c => c.Value).Select(v => Pipeline.Cosine(v, face.Vector)));
            }
        }

        var threshold = impostors.Order().ElementAt((int)(impostors.Count * 0.999));
        var deciles = scores.GroupBy(s => Math.Min(9, (int)(s.Quality * 10))).OrderBy(g => g.Key).Select(g => (Decile: g.Key, Pairs: g.Count(), Share: g.Count(s => s.Cosine > threshold) / (double)g.Count())).ToArray();
        Console.WriteLine(string.Join("; ", deciles.Select(d => FormattableString.Invariant($"{d.Decile / 10.0:0.0}: {d.Share:0.000} of {d.Pairs}"))));
        foreach (var (lower, higher) in deciles.Where(d => d.Pairs >= 100).Zip(deciles.Where(d => d.Pairs >= 100).Skip(1)))
        {
            Assert.True(higher.Share >= lower.Share - 0.02, $"{higher} after {lower}");
        }

        Assert.InRange(deciles[^1].Share, 0.98, 1);
        Assert.InRange(deciles[0].Share, 0, 0.5);
    }

    [Theory]
    [InlineData(1, 200_000)]
    [InlineData(200_000, 1)]
    [InlineData(1, 1)]
    [InlineData(5, 3)]
    public void A_picture_of_any_shape_can_be_looked_at(int width, int height)
    {
        using var picture = new Picture(width, height);
        picture.Pixels.Fill(90);
        for (var detail = 1; detail <= 4; detail++)
        {
            Assert.Empty(Pipeline.Detector.Detect(picture, detail));
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(6)]
    public void A_face_that_is_larger_than_the_detectors_range_is_found(int times)
    {
        var found = 0;
        foreach (var file in People())
        {
            using var photo = Pipeline.Decode(File.ReadAllBytes(file));
            using var large = Pixels.Resized(photo, 250 * times, 250 * times, "pillow-bicubic");
            found += Pipeline.Detector.Detect(large, 2).Any(d => d.Box.Width > 50 * times && d.Box.CentreX / times is > 85 and < 165) ? 1 : 0;
        }

        Assert.Equal(100, found);
    }

    [Fact]
    public async Task A_mirrored_face_looks_the_other_way()
    {
        var (plain, mirrored) = (Largest(await Pipeline.EmbedAsync(await File.ReadAllBytesAsync(TestData.Astronaut, None)))!.Quality!, Largest(await Pipeline.EmbedAsync(Pipeline.Changed(TestData.Astronaut, i => i.FlipHor())))!.Quality!);
        Assert.Equal(plain.Yaw!.Value, -mirrored.Yaw!.Value, 12.0);
        Assert.Equal(plain.Roll!.Value, -mirrored.Roll!.Value, 6.0);
        Assert.Equal(plain.Pitch!.Value, mirrored.Pitch!.Value, 12.0);
        Assert.Empty(plain.Flags!);
        Assert.InRange(plain.Score!.Value, 0.5, 1);
    }

    private static IEnumerable<string> People() => Directory.EnumerateFiles(TestData.Verification("lfw10"), "*.jpg", SearchOption.AllDirectories).Order(StringComparer.Ordinal);

    private static Task<ResultEmbedding> UprightAsync(string file) => Uprights.GetOrAdd(file, async photo => Largest(await Pipeline.EmbedAsync(await File.ReadAllBytesAsync(photo, None)))!);

    private static ResultEmbedding? Largest(EmbedResult result) => result.Embeddings.Count > 0 ? result.Embeddings[0] : null;

    private static IEqualityComparer<(double X, double Y)> Near(double distance) =>
        EqualityComparer<(double X, double Y)>.Create((a, b) => Math.Abs(a.X - b.X) < distance && Math.Abs(a.Y - b.Y) < distance, _ => 0);

    private static async Task<int> FoundAsync(Picture frame, Point[] noses, int detail, string format)
    {
        var outcome = await Pipeline.Handler().HandleAsync(new EmbedJob("x", new ImageSource.Data(FaceScenes.Encoded(frame, format)), Detail: detail), None);
        var boxes = Assert.IsType<JobOutcome.Completed>(outcome).Result.Embeddings.Select(e => e.Box!).ToList();
        return noses.Count(n => boxes.RemoveAll(b => n.X >= b.X && n.X <= b.X + b.Width && n.Y >= b.Y && n.Y <= b.Y + b.Height) > 0);
    }
}
