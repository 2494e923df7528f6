using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FaceEmbedWorker.Commands;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>The verbs that need no broker, as a process of their own.</summary>
public sealed class CommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-commands-").FullName;

    [Fact]
    public async Task Embed_writes_the_message_contract_and_the_file_a_line()
    {
        var (code, output, errors) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", "tests/data/grace_hopper.jpg");
        Assert.Equal((0, ""), (code, errors));
        var lines = output.Split('\n').Select(line => JsonElement.Parse(line)).ToArray();
        Assert.Equal(["tests/data/astronaut.png", "tests/data/grace_hopper.jpg"], lines.Select(l => l.GetProperty("file").GetString()));
        Assert.All(lines, line => Assert.Equal("embedded", line.GetProperty("outcome").GetString()));
        Assert.Equal((await Pipeline.EmbedAsync(File.ReadAllBytes(TestData.Astronaut))).Embeddings[0].Vector,
            lines[0].GetProperty("embeddings")[0].GetProperty("vector").EnumerateArray().Select(v => v.GetSingle()));
    }

    [Fact]
    public async Task One_bad_file_does_not_stop_the_rest()
    {
        var (heic, noise, empty, lines) = (In("iphone.heic"), In("noise.jpg"), In("empty.jpg"), In("out.jsonl"));
        await File.WriteAllBytesAsync(empty, []);
        await File.WriteAllBytesAsync(heic, Convert.FromHexString("0000001866747970686569630000000068656963"));
        await File.WriteAllBytesAsync(noise, [1, 2, 3]);

        var (code, output, errors) = await FaceEmbed.RunAsync("embed", heic, "no-such-file.jpg", noise, empty, "tests/data/astronaut.png", "--out", lines);

        Assert.Equal((1, ""), (code, output));
        Assert.Contains("iphone.heic: unsupported: The picture is HEIC", errors, StringComparison.Ordinal);
        Assert.Contains("no-such-file.jpg: there is no such file", errors, StringComparison.Ordinal);
        var documents = (await File.ReadAllLinesAsync(lines)).Select(l => JsonElement.Parse(l)).ToArray();
        Assert.Equal(["no-such-file.jpg: rejected source_missing", $"{heic}: rejected unsupported", $"{noise}: stub undecodable", $"{empty}: rejected malformed", "tests/data/astronaut.png: embedded "],
            documents.Select(d => $"{d.GetProperty("file")}: {d.GetProperty("outcome")} {(d.TryGetProperty("error", out var error) ? error : "")}"));
        Assert.All(documents, d => Assert.Null(MessageSchemas.Trouble(d.GetProperty("outcome").GetString() == "rejected" ? MessageSchemas.RejectedFile : MessageSchemas.Result, d)));
    }

    /// <summary>A folder as strangers leave it: loops, pipes, devices, what may not be read, and names made for a terminal.</summary>
    [Fact]
    public async Task Whatever_lies_in_a_folder_is_embedded_or_named()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes and devices are Linux' here.");
        var below = Directory.CreateDirectory(In("below")).FullName;
        File.Copy(TestData.GraceHopper, In("a.jpg"));
        File.Copy(TestData.GraceHopper, Path.Combine(below, "copy.jpg"));
        File.CreateSymbolicLink(In("again.jpg"), In("a.jpg"));
        File.CreateSymbolicLink(In("nowhere.jpg"), In("gone.jpg"));
        File.CreateSymbolicLink(In("zeros.png"), "/dev/zero");
        Directory.CreateSymbolicLink(Path.Combine(below, "loop"), folder);
        await File.WriteAllBytesAsync(In("line\nbreak\u001b[2J.jpg"), [1, 2, 3]);
        await File.WriteAllBytesAsync(In("large.jpg"), new byte[200_000]);
        using (var shell = System.Diagnostics.Process.Start("sh", ["-c", $"mkfifo '{In("pipe.jpg")}'; printf x > \"$(printf '{folder}/latin\\351.jpg')\""]))
        {
            await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        var (code, output, errors) = await FaceEmbed.RunAsync("embed", folder, In("a.jpg"), "/dev/null", "--Images:MaxBytes=100000");

        Assert.Equal(1, code);
        var documents = output.Split('\n').Select(l => JsonElement.Parse(l)).ToDictionary(d => Path.GetRelativePath(folder, d.GetProperty("file").GetString()!), d => $"{d.GetProperty("outcome")} {(d.TryGetProperty("error", out var e) ? e : "")}");
        Assert.Equal(new Dictionary<string, string>
        {
            ["a.jpg"] = "embedded ",
            ["below/copy.jpg"] = "embedded ",
            ["large.jpg"] = "rejected too_large",
            ["latin\uFFFD.jpg"] = "rejected unreadable",
            ["line\nbreak\u001b[2J.jpg"] = "stub undecodable",
            ["nowhere.jpg"] = "rejected source_missing",
            ["pipe.jpg"] = "rejected unreadable",
            ["zeros.png"] = "rejected unreadable",
        }.OrderBy(d => d.Key, StringComparer.Ordinal), documents.Where(d => !d.Key.StartsWith("..", StringComparison.Ordinal)).OrderBy(d => d.Key, StringComparer.Ordinal));
        Assert.Contains("rejected", documents[Path.GetRelativePath(folder, "/dev/null")], StringComparison.Ordinal);
        Assert.Contains("a pipe (FIFO)", errors, StringComparison.Ordinal);
        Assert.Contains("its name is not UTF-8", errors, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', errors);
        using var clean = System.Diagnostics.Process.Start("sh", ["-c", $"rm '{folder}'/latin*"]); // .NET cannot name it
        await clean.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_picture_without_a_face_is_no_failure()
    {
        File.Copy(Path.Combine(TestData.Folder, "formats", "rgb.png"), In("faceless.png"));
        Assert.Equal(0, (await FaceEmbed.RunAsync("embed", folder)).ExitCode);
    }

    [Fact]
    public async Task Annotate_draws_into_a_copy()
    {
        var (code, _, _) = await FaceEmbed.RunAsync("embed", "tests/data/grace_hopper.jpg", "--annotate", folder);
        Assert.Equal(0, code);
        using var annotated = Pipeline.Decode(await File.ReadAllBytesAsync(In("tests_data_grace_hopper.faces.jpg")));
        using var original = Pipeline.Decode(await File.ReadAllBytesAsync(TestData.GraceHopper));
        Assert.Equal((original.Width, original.Height), (annotated.Width, annotated.Height));
        var box = (await Pipeline.EmbedAsync(await File.ReadAllBytesAsync(TestData.GraceHopper))).Embeddings[0].Box!;
        var edge = annotated.Row(box.Y + box.Height / 2).Slice(box.X * 3, 3);
        Assert.True(edge[1] > edge[0] + 60, "the box's left edge is green");
    }

    [Fact]
    public async Task Image_mode_is_an_option()
    {
        var (_, output, _) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", "--mode", "image");
        Assert.Equal("image", JsonElement.Parse(output).GetProperty("embeddings")[0].GetProperty("source").GetString());
    }

    [Fact]
    public async Task Verify_tells_how_accurate_the_model_is()
    {
        var people = TestData.Verification("lfw10");
        var (code, output, _) = await FaceEmbed.RunAsync("verify", people, "--report", In("report.html"), "--json", In("figures.json"));
        Assert.Equal(0, code);
        Assert.Contains("TAR at FMR 1e-3", output, StringComparison.Ordinal);

        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("figures.json")));
        Assert.Equal((450, 4500), (figures.GetProperty("same_pairs").GetInt32(), figures.GetProperty("different_pairs").GetInt32()));
        Assert.InRange(figures.GetProperty("eer").GetDouble(), 0, 0.005);
        Assert.InRange(figures.GetProperty("tar_at_fmr_1e-3").GetDouble(), 0.99, 1);

        var report = await File.ReadAllTextAsync(In("report.html"));
        Assert.Equal((2, 40), (Count(report, "<svg "), Count(report, "data:image/jpeg;base64,")));
        Assert.Contains("The model tells these people apart well. At a threshold of ", report, StringComparison.Ordinal);
        Assert.Contains("With 4,500 pairs of two people, the threshold for 1 in 10,000 is a guess.", report, StringComparison.Ordinal);
        Assert.Equal(20, Count(report, $" {figures.GetProperty("suggested_threshold").GetDouble().ToString("0.000", CultureInfo.InvariantCulture)}<br>"));
        Assert.All(new[] { "eer_interval", "tar_at_fmr_1e-2_interval", "tar_at_fmr_1e-3_interval", "tar_at_fmr_1e-4_interval" }, name => Assert.InRange(figures.GetProperty(name)[0].GetDouble(), 0, figures.GetProperty(name)[1].GetDouble()));
        Assert.Equal(0, Count(report, "http"));
    }

    /// <summary>A file that is no picture is no picture without a face: it is counted, named, and the end is not 0.</summary>
    [Fact]
    public async Task Verify_says_its_verdict_and_what_was_no_picture()
    {
        foreach (var (person, photo) in new[] { ("one/a", TestData.GraceHopper), ("one/b", TestData.GraceHopper), ("two/c", TestData.Astronaut), ("two/faceless", Path.Combine(TestData.Folder, "formats", "rgb.png")) })
        {
            Directory.CreateDirectory(In(person.Split('/')[0]));
            File.Copy(photo, In(person + Path.GetExtension(photo)));
        }

        var (code, output, errors) = await FaceEmbed.RunAsync("verify", folder);
        Assert.Equal((0, $"face-embed: {In("two/faceless.png")}: there is no face in it. Left out."), (code, errors));
        Assert.Contains("Too little to tell: 2 people, 1 pair of one person and 2 pairs of two. It wants 10 people or more,", FaceEmbed.Flat(output), StringComparison.Ordinal);
        Assert.Contains("suggested threshold (cosine) none: too little to tell", FaceEmbed.Flat(output), StringComparison.Ordinal);
        Assert.DoesNotMatch(@"TAR at FMR 1e-2 [^A-Z]*\(", FaceEmbed.Flat(output)); // no interval

        await File.WriteAllBytesAsync(In("two/noise.jpg"), [1, 2, 3]);
        await File.WriteAllBytesAsync(In("two/empty.jpg"), []);
        (code, output, errors) = await FaceEmbed.RunAsync("verify", folder, "--json", In("figures.json"));
        Assert.Equal(1, code);
        Assert.Contains($"{In("two/noise.jpg")}: undecodable: The bytes are not a picture of any known format. Left out.", errors, StringComparison.Ordinal);
        Assert.Contains($"{In("two/empty.jpg")}: malformed: The picture is empty: it has 0 bytes. Left out.", errors, StringComparison.Ordinal);
        Assert.Contains("people 2 pictures with a face 3 pictures without a face 1 files that give no picture 2 pairs of one person 1 pairs of two people 2 AUC", FaceEmbed.Flat(output), StringComparison.Ordinal);
        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("figures.json")));
        Assert.Equal((JsonValueKind.Null, JsonValueKind.Null), (figures.GetProperty("suggested_threshold").ValueKind, figures.GetProperty("eer_interval").ValueKind));
        Assert.StartsWith("Too little to tell", figures.GetProperty("verdict").GetString(), StringComparison.Ordinal);
        Assert.Equal((1, 2), (figures.GetProperty("without_face").GetArrayLength(), figures.GetProperty("no_picture").GetArrayLength()));

        await File.WriteAllLinesAsync(In("pairs.txt"), ["2\t1", "one\t1\t2", "one\t1\ttwo\t1", "one\t1\t2", "one\t2\ttwo\t1"]);
        Assert.Equal(1, (await FaceEmbed.RunAsync("verify", folder, "--pairs", In("pairs.txt"))).ExitCode);
    }

    [Fact]
    public async Task Verify_one_level_too_high_says_so()
    {
        foreach (var (person, photo) in new[] { ("set/one", TestData.GraceHopper), ("set/two", TestData.Astronaut) })
        {
            Directory.CreateDirectory(In(person));
            File.Copy(photo, In($"{person}/{Path.GetFileName(photo)}"));
        }

        var (code, _, errors) = await FaceEmbed.RunAsync("verify", folder);
        Assert.Equal(1, code);
        Assert.Contains($"{In("set")}: its pictures lie in 2 folders and count as one person. Where each of these is a person: face-embed verify {In("set")}", errors, StringComparison.Ordinal);
        Assert.Contains("there are no pairs to compare", errors, StringComparison.Ordinal);
    }

    /// <summary>WIDER FACE's crowds: every third picture, with close bounds. FACE_EMBED_CROWDS=1 takes all 235, as docs/accuracy.md has them.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public async Task Faces_in_crowds_are_found(int detail)
    {
        var crowds = TestData.Verification("wider");
        var every = int.Parse(Environment.GetEnvironmentVariable("FACE_EMBED_CROWDS") ?? "3", CultureInfo.InvariantCulture);
        var (marked, easy, medium, hard, mostAlarms) = (every, detail) switch
        {
            (3, 2) => (653, 0.845, 0.745, 0.475, 11),
            (3, _) => (653, 0.89, 0.815, 0.69, 40),
            (_, 2) => (2520, 0.85, 0.79, 0.48, 235 / 8),
            _ => (2520, 0.88, 0.86, 0.66, 235),
        };
        var pictures = Directory.EnumerateFiles(crowds, "*.jpg").Order(StringComparer.Ordinal).Where((_, n) => n % every == 0).Select(file => Path.GetFileName(file)).ToHashSet();
        foreach (var name in pictures)
        {
            File.CreateSymbolicLink(In(name), Path.Combine(crowds, name));
        }

        await File.WriteAllLinesAsync(In("faces.csv"), File.ReadLines(Path.Combine(crowds, "faces.csv")).Where((line, n) => n == 0 || pictures.Contains(line.Split(',')[0])));
        var (code, _, _) = await FaceEmbed.RunAsync("verify", folder, $"--Faces:DetectionDetail={detail}", "--json", In("crowds.json"));
        Assert.Equal(0, code);
        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("crowds.json")));
        Assert.Equal(marked, figures.GetProperty("marked").GetInt32());
        var recalls = figures.GetProperty("subsets").EnumerateArray().ToDictionary(s => s.GetProperty("name").GetString()!, s => s.GetProperty("recall").GetDouble());
        Assert.Multiple(
            () => Assert.InRange(recalls["easy"], easy, 1),
            () => Assert.InRange(recalls["medium"], medium, 1),
            () => Assert.InRange(recalls["hard"], hard, 1),
            () => Assert.InRange(figures.GetProperty("false_alarms").GetInt32(), 0, mostAlarms));
    }

    [Fact]
    public async Task Verify_measures_detection_where_faces_are_marked()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("verify", TestData.Verification("photos"), "--json", In("detection.json"));
        Assert.Equal(0, code);
        Assert.Contains("46 (100.0 %)", output, StringComparison.Ordinal);
        Assert.Equal((46, 0), (JsonElement.Parse(await File.ReadAllTextAsync(In("detection.json"))).GetProperty("found").GetInt32(), JsonElement.Parse(await File.ReadAllTextAsync(In("detection.json"))).GetProperty("false_alarms").GetInt32()));

        File.Copy(TestData.GraceHopper, In("g.jpg"));
        await File.WriteAllTextAsync(In("points.csv"), "file,x,y\ng.jpg,256,200\ng.jpg,5,5\n");
        (code, output, _) = await FaceEmbed.RunAsync("verify", folder);
        Assert.Equal(0, code);
        Assert.Contains("1 (50.0 %)", output, StringComparison.Ordinal);
        Assert.Contains("g.jpg (5, 5)", output, StringComparison.Ordinal);

        await File.WriteAllTextAsync(In("noses.json"), "{ \"g.jpg\": [[256, 200]] x }");
        Assert.Contains("it does not mark faces: 'x' is invalid after a value. Expected either ',', '}', or ']' (line 1, byte 25).", (await FaceEmbed.RunAsync("verify", folder)).Errors, StringComparison.Ordinal);
        File.Delete(In("noses.json"));
        await File.WriteAllTextAsync(In("points.csv"), "not points");
        (code, _, var errors) = await FaceEmbed.RunAsync("verify", folder);
        Assert.Equal(1, code);
        Assert.Contains("'not points' is not file,x,y", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verify_names_marked_pictures_that_are_no_pictures()
    {
        await File.WriteAllBytesAsync(In("noise.jpg"), [1, 2, 3]);
        foreach (var marks in new[] { "noise.jpg,1,1", "noise.jpg,1,1,20,20,easy" })
        {
            await File.WriteAllTextAsync(In("marks.csv"), marks);
            var (code, _, errors) = await FaceEmbed.RunAsync("verify", folder);
            Assert.Equal(1, code);
            Assert.Contains("noise.jpg: undecodable", errors, StringComparison.Ordinal);
        }
    }

    /// <summary>LFW's protocol on ten of its people: ten folds of four pairs of one person and four of two.</summary>
    [Fact]
    public async Task Verify_takes_the_pairs_of_a_protocol_in_folds()
    {
        var people = Directory.GetDirectories(TestData.Verification("lfw10")).Order(StringComparer.Ordinal)
            .Select(d => (Name: Path.GetFileName(d), Numbers: Directory.GetFiles(d).Order(StringComparer.Ordinal).Select(f => int.Parse(Path.GetFileNameWithoutExtension(f)[^4..], CultureInfo.InvariantCulture)).ToArray())).ToArray();
        var lines = new List<string> { "10\t4" };
        for (var fold = 0; fold < 10; fold++)
        {
            var (name, numbers) = people[fold];
            lines.AddRange(Enumerable.Range(0, 4).Select(i => $"{name}\t{numbers[i]}\t{numbers[5 + i]}"));
            lines.AddRange(Enumerable.Range(0, 4).Select(i => (Other: people[(fold + 1 + i) % 10], Number: numbers[i])).Select(p => $"{name}\t{p.Number}\t{p.Other.Name}\t{p.Other.Numbers[fold]}"));
        }

        await File.WriteAllLinesAsync(In("pairs.txt"), lines);
        var (code, output, _) = await FaceEmbed.RunAsync("verify", TestData.Verification("lfw10"), "--pairs", In("pairs.txt"), "--json", In("pairs.json"));

        Assert.Equal(0, code);
        Assert.Contains("accuracy, mean of the folds", output, StringComparison.Ordinal);
        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("pairs.json")));
        Assert.Equal((10, 80, 0), (figures.GetProperty("folds").GetInt32(), figures.GetProperty("pairs").GetInt32(), figures.GetProperty("without_face").GetInt32()));
        Assert.Equal(10, figures.GetProperty("by_fold").GetArrayLength());
        Assert.InRange(figures.GetProperty("accuracy").GetDouble(), 0.97, 1);

        await File.WriteAllTextAsync(In("pairs.txt"), "10\t300\nNobody\t1\t2\n");
        (code, _, var errors) = await FaceEmbed.RunAsync("verify", TestData.Verification("lfw10"), "--pairs", In("pairs.txt"));
        Assert.Equal(1, code);
        Assert.Contains("has no picture 1", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verify_without_pairs_says_what_it_wants()
    {
        var (code, _, errors) = await FaceEmbed.RunAsync("verify", folder);
        Assert.Equal(1, code);
        Assert.Contains("wants two people or more", errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(64, "PATH", "embed")]
    [InlineData(64, "'--ot' is no option here; a file of that name goes behind --. Did you mean '--out'?", "embed", "x", "--ot", "y")]
    [InlineData(64, "There is no verb 'EMBED'. Did you mean 'embed'?", "EMBED", "x")]
    [InlineData(73, "/proc/x: it cannot be written: there is no such folder.", "embed", "tests/data/astronaut.png", "--annotate", "/proc/x")]
    [InlineData(64, "There is no verb 'sumbit'. Did you mean 'submit'?", "sumbit", "x")]
    [InlineData(64, "There is no verb 'dead-letters relpay'. Did you mean 'replay'?", "dead-letters", "relpay", "x")]
    [InlineData(64, "'--folow' is nothing that results takes. Did you mean '--follow'?", "results", "--folow")]
    [InlineData(64, "There is no verb 'submt'. Did you mean 'submit'?", "help", "submt")]
    [InlineData(64, "There is no verb 'embed nope'. See face-embed embed --help.", "help", "embed", "nope")]
    [InlineData(64, "'--follow' stands behind --, where nothing is an option or a verb: write it before. See face-embed results --help.", "results", "--", "--follow")]
    [InlineData(64, "dead-letters needs a verb: list, show, replay, discard or web. See face-embed dead-letters --help.", "dead-letters")]
    [InlineData(64, "topology needs a verb: show, declare or prune.", "topology")]
    [InlineData(1, "there are no folders in it. It wants two people or more", "verify", "tests/data/formats")]
    [InlineData(78, "Broker:Uri is wrong: it must look like amqp://user:password@host:5672/vhost", "run", "--Broker:Uri=amqp:me:secret@broker")]
    [InlineData(64, "--reason and --all are given, and each says which dead letters to discard: give one of them.", "dead-letters", "discard", "--all", "--reason", "x")]
    [InlineData(64, "To start the worker: face-embed run --Jobs:Parallelism=", "--Jobs:Parallelism=2")]
    [InlineData(64, "--seconds is '0'; it can be 0.1 to 3600.", "bench", "--seconds", "0")]
    [InlineData(64, "--seconds is 'soon'", "bench", "--seconds", "soon")]
    [InlineData(64, "--priority is '300'; it can be 0 to 255.", "submit", "tests/data", "--priority", "300")]
    [InlineData(64, "--ahead is 'many'; it can be any number from 1 on.", "submit", "tests/data", "--ahead", "many")]
    [InlineData(64, "--input-size is '8'; it can be 16 to 1024.", "model", "convert", "--input-size", "8")]
    [InlineData(64, "--limit is '-1'", "dead-letters", "list", "--limit", "-1")]
    [InlineData(64, "--management is 'foo'; it must look like http://host:15672, without a path: the virtual host is that of Broker:Uri.", "check", "--management", "foo")]
    [InlineData(64, "'--management' is required", "topology", "prune")]
    [InlineData(64, "--port is '70000'", "dead-letters", "web", "--port", "70000")]
    [InlineData(64, "either IDs, or --reason, or --all", "dead-letters", "discard")]
    [InlineData(64, "there is no checkpoint", "model", "convert")]
    [InlineData(1, "tests/data/checkpoints: there are no pictures in there.", "embed", "tests/data/checkpoints")]
    [InlineData(1, "tests/data/checkpoints: there are no pictures in there.", "submit", "tests/data/checkpoints")]
    [InlineData(64, "Required argument missing for option: '--from'.", "submit", "--from")]
    [InlineData(1, "/nope: there is no such file: --from takes one with a name a line.", "submit", "--from", "/nope")]
    [InlineData(1, "ftp://h/a.jpg: there is no such file; of addresses, submit takes https://, http:// and s3://bucket/key, and other verbs none.", "submit", "ftp://h/a.jpg")]
    [InlineData(1, "s3:/b/a.jpg: there is no such file; of addresses,", "submit", "s3:/b/a.jpg")]
    [InlineData(1, "https://h/a.jpg: there is no such file; of addresses, submit takes", "embed", "https://h/a.jpg")]
    [InlineData(0, "tests/data/checkpoints: there are no pictures in there.", "embed", "tests/data/checkpoints", "tests/data/astronaut.png")]
    [InlineData(73, "/nope/r.html: it cannot be written: there is no such folder.", "verify", "tests/data", "--report", "/nope/r.html")]
    [InlineData(1, "/nope: there is no such file or folder.", "embed", "/nope")]
    [InlineData(1, "/nope: there is no such folder", "verify", "/nope")]
    [InlineData(73, "/nope/x: it cannot be written", "results", "--out", "/nope/x")]
    [InlineData(78, "Jobs:Parallelism is 'many'; it can be a whole number from 0 to 1024.", "run", "--Jobs:Parallelism=many")]
    [InlineData(78, "Jobs:DeadlineSeconds is '1 s'; it can be a number from 0.001 to 3600.", "run", "--Jobs:DeadlineSeconds=1 s")]
    [InlineData(78, "Broker:Declare is 'maybe'; it can be true or false.", "run", "--Broker:Declare=maybe")]
    [InlineData(78, "Jobs:Mode has no value", "embed", "x", "--Jobs:Mode")]
    [InlineData(64, "--mode is 'both'; it can be faces, image or aligned. See face-embed embed --help.", "embed", "x", "--mode", "both")]
    [InlineData(64, "--head is 'big'; it can be auto, embedding or features. See face-embed model convert --help.", "model", "convert", "--checkpoint", "x", "--head", "big")]
    [InlineData(64, "SHELL is 'tcsh'; it can be bash, zsh or fish.", "completion", "tcsh")]
    [InlineData(78, "Jobs:Mode is 'both'; it can be Faces, Image or Aligned.", "embed", "x", "--Jobs:Mode=both")]
    [InlineData(78, "'Foo' is no section of settings; there are Broker, Jobs,", "run", "--Foo:Bar=1")]
    [InlineData(1, "/nope: there is no such file or folder.", "bench", "/nope")]
    [InlineData(78, "The model /nope/x.onnx cannot be read: there is no such file.", "model", "inspect", "/nope/x.onnx")]
    [InlineData(1, "no worker answers", "health", "--Health:Url=http://127.0.0.1:1")]
    [InlineData(73, "/nope/o: it cannot be written: there is no such folder.", "embed", "tests/data/astronaut.png", "--out", "/nope/o")]
    [InlineData(78, "Broker:Uri is wrong: it must look like amqp://user:password@host:5672/vhost", "run", "--Broker:Uri=http://x")]
    [InlineData(78, "Sources:Hosts:0 is no setting; Sources:Hosts is one text, and a list in it has commas: Sources:Hosts=a,b.", "run", "--Sources:Hosts:0=photos.example.com")]
    [InlineData(78, "Health:Url is wrong: 'x' must look like http://127.0.0.1:8081, or be empty.", "run", "--Health:Url=x")]
    [InlineData(78, "Faces:EmbeddingModel is empty, and must not be.", "run", "--Faces:EmbeddingModel=")]
    [InlineData(78, "Faces:DetectionDetail is '9'; it can be a whole number from 1 to 4.", "run", "--Faces:DetectionDetail=9")]
    [InlineData(78, "nowhere.onnx", "run", "--Faces:EmbeddingModel=nowhere.onnx")]
    [InlineData(78, "nowhere.onnx", "embed", "x", "--Faces:DetectionModel=nowhere.onnx")]
    public async Task What_is_wrong_is_told_in_one_line_and_an_exit_code(int expected, string told, params string[] arguments)
    {
        var (code, _, errors) = await FaceEmbed.RunAsync(arguments);
        Assert.Equal(expected, code);
        Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
    }

    /// <summary>Tests have many commands run by one process: each says there what it says in one of its own, whatever ran before it.</summary>
    [Fact]
    public async Task A_command_says_the_same_whether_or_not_others_ran_before_it()
    {
        var broker = $"--Broker:Uri=amqp://guest:guest@127.0.0.1:{TestBroker.FreePort()}/";
        string[][] commands =
        [
            ["--version"], ["embed", "--help"], ["embed", "--bogus"], ["settings", "--Jobs:Parallelism=3"], ["settings"], ["model", "inspect"], ["model", "inspect", TestData.Astronaut], ["model", "check"],
            ["embed", "nowhere.jpg", "--Faces:DetectionModel=nowhere.onnx"], ["dead-letters", "list", broker, "--wait", "0"], ["check", "--Faces:EmbeddingModel=nowhere.onnx"], ["completion", "bash"], [],
        ];
        foreach (var command in commands.Concat(commands.Reverse()))
        {
            var (own, among) = (await FaceEmbed.RunAsync(command, []), await FaceEmbed.RunAsync(command));
            Assert.Equal(own.Output, among.Output);
            Assert.Equal(own.Errors, among.Errors);
            Assert.Equal(own.ExitCode, among.ExitCode);
        }
    }

    /// <summary>A full disk behind a redirection is no fault of the program, and none of the broker's.</summary>
    [Theory]
    [InlineData("settings")]
    [InlineData("help")]
    [InlineData("embed --help")]
    [InlineData("--version")]
    [InlineData("completion bash")]
    [InlineData("model inspect")]
    [InlineData("embed tests/data/astronaut.png")]
    public async Task Standard_output_that_cannot_be_written_is_told(string verb)
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "There is no /dev/full.");
        using var shell = Process.Start(new ProcessStartInfo("sh", ["-c", $"dotnet {Path.Combine(AppContext.BaseDirectory, "face-embed.dll")} {verb} > /dev/full"]) { RedirectStandardError = true, WorkingDirectory = TestData.Repository })!;
        var errors = await shell.StandardError.ReadToEndAsync();
        await shell.WaitForExitAsync();
        Assert.Equal(73, shell.ExitCode);
        Assert.StartsWith("face-embed: standard output: it cannot be written: ", Assert.Single(errors.Trim().Split('\n')), StringComparison.Ordinal);
    }

    /// <summary>No broker: in every verb one line while it waits, and one at the end with how often it tried.</summary>
    [Fact]
    public async Task Without_a_broker_every_verb_says_so_and_ends_with_69()
    {
        var broker = $"--Broker:Uri=amqp://guest:guest@127.0.0.1:{TestBroker.FreePort()}/";
        await Task.WhenAll(new string[][]
        {
            ["submit", "tests/data/astronaut.png"], ["results"], ["dead-letters", "list"], ["dead-letters", "replay", "--all"], ["dead-letters", "web"], ["topology", "show"], ["topology", "declare"],
            ["topology", "prune", "--management", "http://127.0.0.1:1"], ["bench", "--amqp"],
        }.Select(async verb =>
        {
            var (code, output, errors) = await FaceEmbed.RunAsync([.. verb, broker]);
            Assert.Equal((69, ""), (code, output));
            var lines = errors.Split('\n');
            Assert.Equal(2, lines.Length);
            Assert.Matches("Waiting for the broker at 127.0.0.1:.*; trying for 30 s$", lines[0]); // true until its end, as a time until the next try was not
            Assert.Matches("^face-embed: No answer from the broker at 127.0.0.1:.*; tried for 30 s, [0-9]+ times", lines[1]);
        }));
    }

    [Fact]
    public async Task Alone_and_asked_for_it_shows_help_with_examples_that_can_be_typed()
    {
        var (code, alone, errors) = await FaceEmbed.RunAsync();
        Assert.Equal((0, ""), (code, errors));
        Assert.Equal(alone, (await FaceEmbed.RunAsync("help")).Output);
        Assert.All(new[] { "run", "embed", "submit", "settings", "Examples:" }, word => Assert.Contains(word, alone, StringComparison.Ordinal));
        Assert.Equal((await FaceEmbed.RunAsync("dead-letters", "replay", "--help")).Output, (await FaceEmbed.RunAsync("help", "dead-letters", "replay")).Output);

        var root = new System.CommandLine.RootCommand();
        Verbs.AddTo(root, []);
        Assert.All(Leaves(root), verb => Assert.True(Help.Examples.TryGetValue(verb, out var examples) && examples.Length >= 2, $"'{verb}' has no two examples."));
        Assert.All(Help.Examples.SelectMany(e => e.Value.Select(line => (Verb: e.Key, Line: line))), example =>
        {
            Assert.StartsWith($"face-embed {example.Verb}".TrimEnd(), example.Line, StringComparison.Ordinal);
            var (arguments, _) = Settings.Split(example.Line.Split(" > ")[0].Split(' ')[1..]);
            Assert.Empty(Arguments.Wrong(Arguments.Parse(root, arguments)));
        });

        static IEnumerable<string> Leaves(System.CommandLine.Command command, string path = "") =>
            command.Subcommands.Count == 0 ? [path] : command.Subcommands.SelectMany(c => Leaves(c, $"{path} {c.Name}".TrimStart())).Append(path);
    }

    [Theory]
    [InlineData("dead-letters", "--help")]
    [InlineData("dead-letters", "-h")]
    [InlineData("topology", "--help")]
    [InlineData("model", "-?")]
    public async Task A_verb_that_has_verbs_shows_its_help(string verb, string help)
    {
        var (code, output, errors) = await FaceEmbed.RunAsync(verb, help);
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains($"Examples:\n  face-embed {verb} ", output, StringComparison.Ordinal);
    }

    /// <summary>The worker's verb goes another way through the program than all others.</summary>
    [Fact]
    public async Task Every_verb_shows_its_help()
    {
        foreach (var verb in new[] { "run", "embed", "submit", "results", "verify", "bench", "check", "settings" })
        {
            var (code, output, errors) = await FaceEmbed.RunAsync(verb, "--help");
            Assert.Equal((verb, 0, ""), (verb, code, errors));
            Assert.Contains($"Examples:\n  face-embed {verb}", output, StringComparison.Ordinal);
        }
    }

    /// <summary>A password goes nowhere, however the address around it is written.</summary>
    [Theory]
    [InlineData("amqp:me:secret@broker:5672/")]
    [InlineData("amqp//me:secret@broker")]
    [InlineData("me:secret@broker")]
    [InlineData("amqp://me:sec/secret@broker")]
    public async Task Settings_show_no_password_of_a_malformed_address(string uri)
    {
        var (_, output, errors) = await FaceEmbed.RunAsync("settings", $"--Broker:Uri={uri}");
        Assert.Contains("***@broker", output, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", output + errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Settings_are_listed_with_where_they_come_from()
    {
        var (code, output, errors) = await FaceEmbed.RunAsync(["settings", "--Jobs:Parallelism=4"], new() { ["FaceEmbed__Broker__Uri"] = "amqp://me:secret@broker:5672/photos" });
        Assert.Equal((0, ""), (code, errors));
        Assert.DoesNotContain("secret@", output, StringComparison.Ordinal);
        Assert.Contains("Broker:Uri = amqp://me:***@broker:5672/photos   [environment, FaceEmbed__Broker__Uri; default: amqp://guest:***@localhost:5672/]", output, StringComparison.Ordinal);
        Assert.Contains("Jobs:Parallelism = 4   [command line; default: 0]\n    Jobs worked on at once", output, StringComparison.Ordinal);
        Assert.Contains("Jobs:Mode = Faces\n", output, StringComparison.Ordinal);
        Assert.Contains("(docs/messages.md)", output, StringComparison.Ordinal);
        Assert.DoesNotContain("](", output, StringComparison.Ordinal);
        Assert.Equal(2 * Settings.Sections.Sum(s => Settings.Of(s.Value).Count()), output.Split('\n').Length);

        (code, output, errors) = await FaceEmbed.RunAsync("settings", "--Jobs:Parallelism=-1");
        Assert.Equal(78, code);
        Assert.Contains("Jobs:Parallelism = -1", output, StringComparison.Ordinal);
        Assert.Contains("Jobs:Parallelism is '-1'; it can be a whole number from 0 to 1024.", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Health_says_where_no_worker_answers()
    {
        var (code, _, errors) = await FaceEmbed.RunAsync("health", $"--Health:Url=http://127.0.0.1:{TestBroker.FreePort()}");
        Assert.Equal(1, code);
        Assert.Contains("no worker answers", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bash", "complete -o default")]
    [InlineData("zsh", "#compdef face-embed")]
    [InlineData("fish", "complete -c face-embed")]
    public async Task A_shell_gets_its_completion(string shell, string part)
    {
        var (code, output, _) = await FaceEmbed.RunAsync("completion", shell);
        Assert.Equal(0, code);
        Assert.Contains(part, output, StringComparison.Ordinal);
        Assert.Equal(64, (await FaceEmbed.RunAsync("completion", "tcsh")).ExitCode);
    }

    [Fact]
    public async Task Bash_completes_verbs_and_options()
    {
        var (_, script, _) = await FaceEmbed.RunAsync("completion", "bash");
        await File.WriteAllTextAsync(In("completion"), script);
        var program = $"face-embed() {{ dotnet {Path.Combine(AppContext.BaseDirectory, "face-embed.dll")} \"$@\"; }}";
        foreach (var (line, expected) in new[] { ("face-embed dead", "dead-letters"), ("face-embed dead-letters repl", "replay"), ("face-embed dead-letters list --rea", "--reason") })
        {
            var words = line.Split(' ');
            using var bash = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("bash",
                ["-c", $"{program}; source {In("completion")}; COMP_LINE='{line}' COMP_POINT={line.Length} COMP_WORDS=({line}) COMP_CWORD={words.Length - 1}; _face_embed; echo \"${{COMPREPLY[@]}}\""])
            { RedirectStandardOutput = true })!;
            Assert.Equal(expected, (await bash.StandardOutput.ReadToEndAsync()).Trim());
        }
    }

    [Fact]
    public async Task A_setting_comes_from_the_environment()
    {
        var (code, _, errors) = await FaceEmbed.RunAsync(["embed", "x"], new() { ["FaceEmbed__Images__MaxPages"] = "0" });
        Assert.Equal(78, code);
        Assert.Contains("Images:MaxPages", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_model_that_cannot_be_prepared_runs_plain_with_one_warning()
    {
        await File.WriteAllBytesAsync(In("own.onnx"), TinyOnnx.WithMovingSlope(112, 112));
        var (code, output, errors) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", $"--Faces:EmbeddingModel={In("own.onnx")}");
        Assert.Equal(0, code);
        Assert.Contains("\"dimensions\":3", output, StringComparison.Ordinal);
        Assert.Contains("PRelu 'bent' stays: its slope is not a constant", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bench_writes_its_figures()
    {
        var (code, output, errors) = await FaceEmbed.RunAsync("bench", "tests/data/astronaut.png", "--seconds", "0.2", "--json", In("bench.json"));
        Assert.True(code == 0, errors);
        Assert.Contains("prepared graph", output, StringComparison.Ordinal);
        var figures = JsonElement.Parse(await File.ReadAllTextAsync(In("bench.json")));
        Assert.InRange(figures.GetProperty("embed").GetProperty("max_difference").GetDouble(), 0, 1e-5);
        Assert.Equal(["decode", "detect", "align", "embed"], figures.GetProperty("stages").EnumerateArray().Select(s => s.GetProperty("name").GetString()));
        Assert.All(
            new[] { ("embed", "prepared_per_s"), ("embed", "plain_per_s"), ("pipeline", "cpu_ms_per_photo"), ("pipeline", "allocated_bytes_per_photo"), ("decode", "shrunk_ms"), ("decode", "full_ms") },
            name => Assert.True(figures.GetProperty(name.Item1).GetProperty(name.Item2).GetDouble() > 0));
        Assert.True(figures.GetProperty("embed").GetProperty("slots").GetProperty("1").GetDouble() > 0);
        Assert.Equal(Environment.ProcessorCount, figures.GetProperty("slots").GetInt32());
        Assert.Equal(["decode", "detect", "align", "embed"], figures.GetProperty("pipeline").GetProperty("stages_ms").EnumerateObject().Where(s => s.Value.GetDouble() > 0).Select(s => s.Name));
        Assert.InRange(figures.GetProperty("pipeline").GetProperty("share_in_stages").GetDouble(), 0.5, 1.001); // parts are rounded, as the whole is
    }

    [Fact]
    public async Task Bench_leaves_out_what_is_no_picture_before_it_measures()
    {
        await File.WriteAllBytesAsync(In("notes.jpg"), [1, 2, 3]);
        await File.WriteAllBytesAsync(In("empty.jpg"), []);
        var (code, output, errors) = await FaceEmbed.RunAsync("bench", folder, "--seconds", "0.1");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains($"{In("notes.jpg")}: The bytes are not a picture of any known format. It is left out.", errors, StringComparison.Ordinal);
        Assert.Contains($"{In("empty.jpg")}: The picture is empty: it has 0 bytes. It is left out.", errors, StringComparison.Ordinal);
        Assert.EndsWith("none of these is a picture that can be decoded; without a path the sample portrait is measured.", errors, StringComparison.Ordinal);

        File.Copy(TestData.GraceHopper, In("photo.jpg"));
        (code, output, errors) = await FaceEmbed.RunAsync(["bench", folder, "--seconds", "0.1", .. FaceEmbed.Light]);
        Assert.True(code == 0, errors);
        Assert.Equal(2, errors.Split('\n').Count(line => line.EndsWith("It is left out.", StringComparison.Ordinal)));
        Assert.Contains("prepared graph", output, StringComparison.Ordinal);
    }

    /// <summary>ONNX Runtime's telemetry would keep a device id and its events in the home folder.</summary>
    [Fact]
    public async Task Nothing_is_left_in_the_home_folder()
    {
        var (code, _, _) = await FaceEmbed.RunAsync(["embed", "tests/data/astronaut.png"], new() { ["HOME"] = folder, ["XDG_CACHE_HOME"] = folder, ["CI"] = null, ["ORT_DISABLE_TELEMETRY"] = null, ["TF_BUILD"] = null, ["GITHUB_ACTIONS"] = null });
        Assert.Equal(0, code);
        Assert.Empty(Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static int Count(string text, string part) => text.Split(part).Length - 1;

    private string In(string name) => Path.Combine(folder, name);
}
