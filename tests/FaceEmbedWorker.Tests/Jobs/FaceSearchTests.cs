using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using Microsoft.Extensions.Time.Testing;

namespace FaceEmbedWorker.Tests.Jobs;

/// <summary>Which faces a picture's looks give, with models that see squares; <c>FaceSearchPhotoTests</c> have the shipped ones.</summary>
public class FaceSearchTests
{
    /// <summary>Upright, and to be turned by 90 degrees.</summary>
    private static readonly Lazy<(byte[] Upright, byte[] Turned)> Vast = new(() =>
    {
        using var picture = PaperFaces.Blank(2560, 3200).Face(800, 2640, side: 160);
        return (PictureEncoder.Png(picture), Pixels.Turned(picture, 270).Png());
    });

    [Fact]
    public async Task Another_look_is_taken_only_where_it_may_help()
    {
        (string Scene, Picture Picture, FaceOptions Options, int Looks)[] scenes =
        [
            ("a clear face", Wide().Face(64, 64), Flat(), 1),
            ("nothing: a border, and three turns", Wide(), Flat(), 5),
            ("nothing, and no border", Wide(), Flat(o => o.TightCrops = false), 4),
            ("nothing, and no turns", Wide(), Flat(o => o.TurnedPhotos = false), 2),
            ("a face of a quarter of the picture", PaperFaces.Blank(64, 64).Face(16, 16), Flat(), 1),
            ("a face of nearly half of it", PaperFaces.Blank(48, 48).Face(8, 8), Flat(), 2),
            ("a cut face", Wide().Face(0, 64), Flat(), 2),
            ("a smaller one is cut", Wide().Face(64, 64).Cut(8, 1.2), Flat(), 1),
            ("an unsure face", Wide().Face(64, 64, 0.85), Flat(), 5),
            ("a dull face", Wide().Face(64, 64, 0.95, 3, 4), Flat(), 5),
            ("a clear face beside an unsure one", Wide().Face(64, 64, 0.85).Face(104, 64, 0.9875), Flat(o => o.TightCrops = false), 1),
            ("a sure face that is too small", Wide().Face(64, 64), Flat(o => o.MinSize = 33), 1),
            ("an unsure face that is too small", Wide().Face(64, 64, 0.8), Flat(o => o.MinSize = 33), 4),
        ];
        var looks = new List<(string, int)>();
        foreach (var (scene, picture, options, _) in scenes)
        {
            var result = await FindAsync(picture, options, time: new FakeTimeProvider { AutoAdvanceAmount = TimeSpan.FromMilliseconds(1) });
            looks.Add((scene, (int)result.TimingsMs.Decode! - 1)); // one mark a look, and one of the first decode
        }

        Assert.Equal(scenes.Select(s => (s.Scene, s.Looks)), looks);
    }

    [Fact]
    public async Task The_foremost_faces_are_embedded_and_others_are_told_with_the_reason()
    {
        // in the middle, unsure; at the right; in a corner, sure; cut, so that it is 24 pixels wide
        Picture Four() => Wide().Face(64, 64, 0.65).Face(104, 64).Face(8, 8, 0.975).Cut(120, 1.2);
        (FaceOptions Options, Func<EmbedJob, EmbedJob>? Job, string Faces, string LeftOut)[] cases =
        [
            (Flat(), null, "8,8 104,64 64,64 136,120", ""),
            (Flat(o => o.MaxFaces = 2), null, "64,64 104,64", "8,8 max_faces; 136,120 max_faces"),
            (Flat(), j => j with { MaxFaces = 2 }, "64,64 104,64", "8,8 max_faces; 136,120 max_faces"),
            (Flat(o => o.MaxFaces = 4), null, "64,64 104,64 8,8 136,120", ""),
            (Flat(o => o.FaceOf = FaceChoice.Central), null, "64,64", "104,64 face_of; 8,8 face_of; 136,120 face_of"),
            (Flat(o => o.FaceOf = FaceChoice.Largest), null, "8,8", "104,64 face_of; 64,64 face_of,uncertain; 136,120 face_of"),
            (Flat(o => o.MinSize = 24), null, "8,8 104,64 64,64 136,120", ""),
            (Flat(o => o.MinSize = 25), null, "8,8 104,64 64,64", "136,120 min_face_size"),
            (Flat(), j => j with { MinFaceSize = 25 }, "8,8 104,64 64,64", "136,120 min_face_size"),
            (Flat(o => (o.MinSize, o.MaxFaces) = (25, 1)), null, "64,64", "104,64 max_faces; 8,8 max_faces; 136,120 min_face_size"),
            (Flat(o => o.MinSize = 33), null, "", "8,8 min_face_size; 104,64 min_face_size; 64,64 min_face_size,uncertain; 136,120 min_face_size"),
        ];
        foreach (var (options, job, faces, leftOut) in cases)
        {
            var result = await FindAsync(Four(), options, job);
            Assert.Equal((faces, leftOut, faces.Length > 0), (Places(result), LeftOut(result), result.TimingsMs.Embed is not null)); // what is left out costs nothing more
        }
    }

    /// <summary>The other colours beside it hide it, where the picture ends.</summary>
    [Fact]
    public async Task With_a_border_a_face_is_seen_that_hides_at_the_edge()
    {
        Picture Hidden(double score = 1.25) => Wide().Face(-8, 112, score, 12, 12).Fill(24, 112, 8, 16, -1.5, 0).Fill(24, 128, 8, 16, 1.5, 0);
        (Picture Picture, Action<FaceOptions> Set, string Faces, string LeftOut)[] cases =
        [
            (Hidden().Face(64, 8), _ => { }, "64,8", ""),
            (Hidden().Face(0, 8), _ => { }, "0,8 0,112", ""),
            (Hidden().Face(0, 8), o => o.TightCrops = false, "0,8", ""),
            (Hidden(1).Face(0, 8), _ => { }, "0,8", ""), // what is not clear is not added
            (Hidden().Face(0, 8), o => o.MinSize = 25, "0,8", "0,112 min_face_size"),
            (Hidden().Face(0, 8), o => o.MaxFaces = 1, "0,8", "0,112 max_faces"),
            (Hidden().Cut(0, 1), o => o.MaxFaces = 1, "0,112", "136,0 max_faces"), // each look gave one
        ];
        foreach (var (picture, set, faces, leftOut) in cases)
        {
            var result = await FindAsync(picture, Flat(set, threshold: 0.6));
            Assert.Equal((faces, leftOut), (Places(result), LeftOut(result)));
        }
    }

    /// <summary>Without a border it is taken with 8 columns of something else; with one, with 8 of the border, and so it is sharper.</summary>
    [Theory]
    [InlineData(false, 32, 0.5375, 8.485)]
    [InlineData(true, 24, 0.7125, 12)]
    public async Task Of_a_face_that_two_looks_see_the_better_one_stays(bool border, int width, double score, double norm)
    {
        var picture = Wide().Fill(0, 64, 24, 16, 0.95, 0).Fill(8, 64, 16, 16, 0.95, 12).Fill(0, 80, 24, 16, -0.95, 0).Fill(24, 64, 8, 16, -0.7, 0).Fill(24, 80, 8, 16, 0.7, 0);
        var face = Assert.Single((await FindAsync(picture, Flat(o => o.TightCrops = border))).Embeddings);
        Assert.Equal((new ResultBox(0, 64, width, 32), score, norm), (face.Box!, face.Score!.Value, face.Quality!.Norm));
    }

    [Theory]
    [InlineData(90)]
    [InlineData(180)]
    [InlineData(270)]
    public async Task A_turned_photos_faces_are_told_where_they_are_in_it(int turn)
    {
        var result = await FindAsync(PaperFaces.Blank(208, 160).Face(40, 64, turn: turn));

        var face = Assert.Single(result.Embeddings);
        Assert.Equal((turn, new ResultBox(40, 64, 32, 32), 10), (result.Image.Rotation, face.Box!, face.Quality!.Norm));
        Assert.Equal([0.6f, 0.8f], face.Vector);
        Assert.Equal(PaperFaces.Points(0, 0).Select(p => Turned(p, turn)).Select(p => new[] { Math.Round(p.X + 40, 1), Math.Round(p.Y + 64, 1) }), face.Landmarks!);
        Assert.Equal(EmbedResult.NoFace, (await FindAsync(PaperFaces.Blank(208, 160).Face(40, 64, turn: turn), Flat(o => o.TurnedPhotos = false))).Outcome);

        static Point Turned(Point p, int turn) => turn switch { 90 => new(p.Y, 32 - p.X), 180 => new(32 - p.X, 32 - p.Y), _ => new(32 - p.Y, p.X) };
    }

    /// <summary>Whatever closer looks make of its points, they look at the face the right way up.</summary>
    [Fact]
    public async Task A_turned_copy_has_the_points_of_its_original()
    {
        using var upright = PaperFaces.Blank(208, 160).Face(40, 64);
        var original = await FindAsync(Pixels.Turned(upright, 0), new FaceOptions(), detector: PaperFaces.CloserOf());
        var points = Assert.Single(original.Embeddings).Landmarks!;
        Assert.NotEqual(PaperFaces.Points(40, 64).Select(p => new[] { Math.Round(p.X, 1), Math.Round(p.Y, 1) }), points);
        foreach (var turn in new[] { 90, 180, 270 })
        {
            var result = await FindAsync(Pixels.Turned(upright, 360 - turn), new FaceOptions(), detector: PaperFaces.CloserOf());
            var turned = Assert.Single(result.Embeddings).Landmarks!.Select(p => turn switch { 90 => [208 - p[1], p[0]], 180 => [208 - p[0], 160 - p[1]], _ => new[] { p[1], 160 - p[0] } });
            Assert.All(points.Zip(turned), pair => Assert.All(pair.First.Zip(pair.Second), v => Assert.Equal(v.First, v.Second, 0.11)));
        }
    }

    [Fact]
    public async Task Of_three_turns_the_one_with_the_surest_face_counts()
    {
        var result = await FindAsync(Wide().Face(8, 8, 0.975, turn: 90).Face(8, 64, 0.8, turn: 90).Face(104, 8, turn: 270));
        Assert.Equal((90, "8,8 8,64"), (result.Image.Rotation, Places(result)));
    }

    /// <summary>At (64, 64) is one that is a face both ways, and a surer one when turned.</summary>
    [Fact]
    public async Task Who_lies_down_does_not_take_the_place_of_all_who_stand()
    {
        Picture Both() => Wide().Quarters(64, 64, [(1.55, 8), (-0.35, 6), (0.35, 6), (-1.55, 0)]);
        (Picture Picture, int? Rotation, string Faces)[] cases =
        [
            (Both(), 90, "64,64 0.95"),
            (Both().Face(8, 8, 0.75), 90, "64,64 0.95"),
            (Both().Face(8, 8, 0.75).Face(8, 112, 0.75), null, "8,8 0.75 8,112 0.75 64,64 0.95"),
            (Both().Face(8, 8, 0.65).Face(8, 112, 0.65), 90, "64,64 0.95"), // they may be none
            (Both().Face(8, 8, 0.75).Face(8, 112, 0.75).Face(112, 112, 0.8, turn: 90), 90, "112,112 0.8 64,64 0.95"),
            (Both().Face(8, 8, 0.75).Face(8, 112, 0.75).Face(112, 8, 0.75).Face(112, 112, 0.8, turn: 90), null, "8,8 0.75 112,8 0.75 8,112 0.75 64,64 0.95"),
        ];
        foreach (var (picture, rotation, faces) in cases)
        {
            var result = await FindAsync(picture);
            Assert.Equal((rotation, faces), (result.Image.Rotation, string.Join(' ', result.Embeddings.OrderBy(e => e.Score).ThenBy(e => e.Box!.Y).Select(e => FormattableString.Invariant($"{e.Box!.X},{e.Box.Y} {e.Score}")))));
        }
    }

    [Fact]
    public async Task What_several_looks_leave_out_is_told_once()
    {
        // upright and cut, so that it is too small; two turned ones, of which one is embedded
        var result = await FindAsync(Wide().Cut(120, 0.8).Face(64, 64, turn: 90).Face(8, 8, turn: 90), Flat(o => (o.MinSize, o.MaxFaces) = (25, 1)));
        Assert.Equal((90, "64,64", "8,8 max_faces; 136,120 min_face_size,uncertain"), (result.Image.Rotation, Places(result), LeftOut(result)));

        // each look gives as many as may be, and together they are more
        result = await FindAsync(Wide().Face(8, 8, 0.75).Face(8, 112, 0.75).Face(64, 64, turn: 90), Flat(o => o.MaxFaces = 2));
        Assert.Equal(("64,64 8,112", "8,8 max_faces"), (Places(result), LeftOut(result)));
    }

    [Fact]
    public async Task A_face_beyond_the_limit_costs_no_more_than_being_found()
    {
        var result = await FindAsync(Wide().Face(64, 64).Face(8, 8, 0.975), Flat(o => o.MaxFaces = 1), time: new FakeTimeProvider { AutoAdvanceAmount = TimeSpan.FromMilliseconds(1) });
        Assert.Equal((2, 2, 1, 1), (result.TimingsMs.Decode, result.TimingsMs.Detect, result.TimingsMs.Align, result.TimingsMs.Embed));
    }

    /// <summary>
    /// Only the look with a border sees it, which has a pixel for five: its sides are at 116.3 and 284.6 there, which makes 116 and 285, and
    /// half a pixel further in the picture itself, whose border has whole pixels.
    /// </summary>
    [Fact]
    public async Task A_face_is_as_large_as_it_is_in_the_picture_it_is_cut_out_of()
    {
        Picture Banded() => PaperFaces.Blank(990, 495).Fill(116, 205, 168, 63, 0.95, 8).Fill(116, 311, 168, 63, -0.95, 0);
        Assert.Equal(("117,206", ""), await FacesAsync(168));
        Assert.Equal(("", "117,206 min_face_size,uncertain"), await FacesAsync(169));
        Assert.Equal(("", "116,205 min_face_size,uncertain"), await FacesAsync(170));

        async Task<(string, string)> FacesAsync(int least) => await FindAsync(Banded(), Flat(o => o.MinSize = least)) is var result ? (Places(result), LeftOut(result)) : default;
    }

    /// <summary>The face of 32 pixels is one at a detail of 3 only: at 2 its picture of 960 pixels is seen at 640, where that of 48 has 32.</summary>
    [Theory]
    [InlineData(2, null, 0, "48,24", 1)]
    [InlineData(3, null, 0, "480,32", 1)]
    [InlineData(2, 3, 0, "480,32", 1)]
    [InlineData(3, 2, 0, "48,24", 1)]
    [InlineData(2, null, 90, "48,24", 5)]
    [InlineData(3, null, 90, "480,32", 6)]
    [InlineData(2, 3, 90, "480,32", 6)]
    public async Task A_finer_detail_finds_smaller_faces_and_is_for_turned_photos_once_their_turn_is_known(int setting, int? asked, int turn, string finest, int looks)
    {
        var result = await FindAsync(PaperFaces.Blank(960, 96).Face(48, 24, turn: turn, side: 48).Face(480, 32, turn: turn), Flat(o => o.DetectionDetail = setting), j => j with { Detail = asked },
            time: new FakeTimeProvider { AutoAdvanceAmount = TimeSpan.FromMilliseconds(1) });
        Assert.Contains(finest, Places(result).Split(' '));
        Assert.Equal((finest == "48,24", turn == 0 ? null : turn, looks), (result.Embeddings.Count == 1, result.Image.Rotation, (int)result.TimingsMs.Decode! - 1));
    }

    [Fact]
    public async Task Details_that_only_some_of_a_turned_photo_asks_for_are_not_looked_for()
    {
        var result = await FindAsync(PaperFaces.Blank(960, 96).Face(48, 24, 0.75, side: 48).Face(144, 24, 0.75, side: 48).Face(288, 24, turn: 90, side: 48).Face(480, 32, turn: 90), Flat(o => o.DetectionDetail = 3));
        Assert.Null(result.Image.Rotation);
        Assert.DoesNotContain("480,32", Places(result).Split(' '));
    }

    /// <summary>A face of 24 pixels has 36 of 32 then.</summary>
    [Theory]
    [InlineData(0, false, "21,21")]
    [InlineData(0, true, "128,128")]
    [InlineData(90, false, "")]
    public async Task Where_nothing_is_found_the_upright_picture_is_looked_at_half_as_fine_again(int turn, bool another, string faces)
    {
        var picture = PaperFaces.Blank(256, 256).Face(20, 20, 0.85, turn: turn, side: 24);
        Assert.Equal(faces, Places(await FindAsync(another ? picture.Face(128, 128) : picture)));
    }

    [Fact]
    public async Task What_is_no_face_when_it_is_embedded_takes_no_faces_place()
    {
        var options = new FaceOptions { MaxFaces = 1 }; // the card's threshold, and its filter
        var result = await FindAsync(Wide().Face(64, 64, 1, 1, 1).Face(8, 112, 1), options, detector: PaperFaces.DetectorOf(options));
        Assert.Equal(("8,112", ""), (Places(result), LeftOut(result)));
    }

    [Theory]
    [InlineData("png", 0)]
    [InlineData("jpeg", 40)] // where two colours meet
    public async Task A_crop_is_the_face_as_it_was_embedded(string format, int off)
    {
        using var picture = Wide().Face(64, 64);
        var crop = Assert.Single((await FindAsync(Pixels.Turned(picture, 0), job: j => j with { ReturnCrops = Enum.Parse<CropFormat>(format, ignoreCase: true) })).Embeddings).Crop!;
        using var expected = Pixels.Cropped(picture, 64, 64, 32, 32);
        using var shown = Pipeline.Decode(crop.Data);
        Assert.Equal((format, 32, 32, format), (crop.Format, shown.Width, shown.Height, Pipeline.Decoder.Open(crop.Data).Format));
        Assert.InRange(expected.Pixels.ToArray().Zip(shown.Pixels.ToArray(), (a, b) => Math.Abs(a - b)).Max(), 0, off);
        Assert.Equal(PaperFaces.Points(0, 0).Select(p => new[] { Math.Round(p.X, 1), Math.Round(p.Y, 1) }), crop.Landmarks!);
        Assert.Null(Assert.Single((await FindAsync(Pixels.Turned(picture, 0))).Embeddings).Crop);
    }

    /// <summary>These stripes are seen in a decode of all pixels only: the overview has half of them, and each is the mean of two.</summary>
    [Fact]
    public async Task A_face_is_cut_out_of_as_many_pixels_as_the_embedder_takes_where_memory_suffices()
    {
        using var picture = PaperFaces.Blank(1280, 320).Face(64, 64, side: 64);
        for (var x = 65; x < 128; x += 4)
        {
            picture.Fill(x, 64, 2, 32, 0.95, 12);
        }

        var bytes = PictureEncoder.Jpeg(picture, 100);
        var room = 24 * 1024 * 1024 + 1280 * 512 + bytes.Length; // of the decoder's (ImageDecoder.Estimate)
        Assert.InRange(await ContrastAsync(new ImageOptions()), 40, 255);
        Assert.InRange(await ContrastAsync(new ImageOptions { MaxMemory = room + 1_000_000 }), 0, 20);

        async Task<double> ContrastAsync(ImageOptions images)
        {
            var job = new EmbedJob("x", new ImageSource.Data(bytes)) { ReturnCrops = CropFormat.Png };
            var outcome = await PaperFaces.Handler(embedding: PaperFaces.LargeEmbedding, images: images).HandleAsync(job, CancellationToken.None);
            using var crop = Pipeline.Decode(Assert.Single(Assert.IsType<JobOutcome.Completed>(outcome).Result.Embeddings).Crop!.Data);
            var row = crop.Row(10).ToArray();
            return Enumerable.Range(10, 40).Average(x => Math.Abs(row[x * 3 + 1] - row[x * 3 + 4]));
        }
    }

    [Fact]
    public async Task A_huge_turned_photo_has_its_face_and_nearly_its_points_where_they_are()
    {
        var (upright, turned) = (await FaceAsync(Vast.Value.Upright), await FaceAsync(Vast.Value.Turned));
        Assert.Equal((new ResultBox(800, 2640, 160, 160), new ResultBox(2640, 1600, 160, 160)), (upright.Box!, turned.Box!));
        Assert.Equal(upright.Vector[0], turned.Vector[0], 0.02);
        Assert.All(upright.Landmarks!.Zip(turned.Landmarks!), p => Assert.Equal((0, 0), (Math.Round((p.First[0] - 2560 + p.Second[1]) / 4), Math.Round((p.First[1] - p.Second[0]) / 4))));

        static async Task<ResultEmbedding> FaceAsync(byte[] picture)
        {
            var outcome = await PaperFaces.Handler(new FaceOptions(), detector: PaperFaces.CloserOf()).HandleAsync(new EmbedJob("x", new ImageSource.Data(picture)), CancellationToken.None);
            return Assert.Single(Assert.IsType<JobOutcome.Completed>(outcome).Result.Embeddings);
        }
    }

    /// <summary>
    /// Two faces, a tick of the clock a stage: decode, detect, decode, and for each face detect, align and embed. Two ticks are gone before
    /// the first.
    /// </summary>
    [Fact]
    public async Task Over_its_deadline_a_job_does_no_more_than_it_has_begun()
    {
        var ends = new List<int>();
        for (var deadline = 3; deadline <= 9; deadline++)
        {
            var time = new FakeTimeProvider { AutoAdvanceAmount = TimeSpan.FromMilliseconds(1) };
            var job = new EmbedJob("x", new ImageSource.Data(PaperFaces.Blank(64, 64).Face(0, 0).Face(32, 32).Png()));
            var outcome = await PaperFaces.Handler(Flat(o => o.TightCrops = false), time, detector: PaperFaces.FixedOf(), options: new JobOptions { DeadlineSeconds = deadline / 1000.0 }).HandleAsync(job, CancellationToken.None);
            ends.Add(outcome is JobOutcome.Retry { Reason: "deadline" } ? (int)(time.GetUtcNow() - time.Start).TotalMilliseconds : 0);
        }

        Assert.Equal([3, 5, 5, 8, 8, 8, 0], ends);
    }

    private static Picture Wide() => PaperFaces.Blank(160, 160);

    private static FaceOptions Flat(Action<FaceOptions>? set = null, double threshold = 0.5)
    {
        var options = new FaceOptions { DetectionThreshold = threshold };
        set?.Invoke(options);
        return options;
    }

    private static string Places(EmbedResult result) => string.Join(' ', result.Embeddings.Select(e => $"{e.Box!.X},{e.Box.Y}"));

    private static string LeftOut(EmbedResult result) => string.Join("; ", (result.Skipped ?? []).Select(s => $"{s.Box.X},{s.Box.Y} {string.Join(',', s.Reasons)}"));

    private static async Task<EmbedResult> FindAsync(Picture picture, FaceOptions? options = null, Func<EmbedJob, EmbedJob>? job = null, FaceDetector? detector = null, TimeProvider? time = null)
    {
        var question = new EmbedJob("x", new ImageSource.Data(picture.Png()));
        return Assert.IsType<JobOutcome.Completed>(await PaperFaces.Handler(options ?? Flat(), time, detector: detector).HandleAsync(job?.Invoke(question) ?? question, CancellationToken.None)).Result;
    }
}
