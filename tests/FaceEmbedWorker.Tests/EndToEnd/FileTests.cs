using System.Diagnostics;
using System.Text.Json;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary>
/// Files and folders as strangers leave them, and places that cannot be written: each is named in one line, and everything else goes on.
/// </summary>
public sealed class FileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-files-").FullName;

    public FileTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes, devices and owners are Linux' here.");

    [Theory]
    [InlineData("mkfifo noses.json", "noses.json: it is a pipe (FIFO)")]
    [InlineData("mkfifo x.csv", "x.csv: it is a pipe (FIFO)")]
    [InlineData("ln -s /dev/zero noses.json", "noses.json: it is a device")]
    [InlineData("ln -s /dev/zero x.csv", "x.csv: it is a device")]
    [InlineData("truncate -s 100000000 x.csv", "x.csv: it has 100,000,000 bytes")]
    public async Task Verify_reads_marks_from_regular_files_of_a_sensible_size_only(string made, string told)
    {
        await ShellAsync(made);
        await ToldAsync(1, told, "verify", folder);
    }

    [Theory]
    [InlineData("mkfifo p")]
    [InlineData("ln -s /dev/zero p")]
    public async Task Verify_reads_pairs_from_regular_files_only(string made)
    {
        await ShellAsync($"mkdir d; {made}");
        await ToldAsync(1, "p: it is a", "verify", In("d"), "--pairs", In("p"));
    }

    [Theory]
    [InlineData("model", "convert", "--checkpoint")]
    [InlineData("model", "inspect", "--card")]
    [InlineData("check", "--Faces:EmbeddingCard")]
    public async Task A_pipe_that_nobody_writes_to_is_given_up(params string[] verb)
    {
        await ShellAsync("mkfifo p");
        await ToldAsync(78, "it is a pipe (FIFO), and nothing has come through it for 5 seconds. Write it to a file first, and name that.", [.. verb, In("p")]);
    }

    [Fact]
    public async Task A_pipe_that_nobody_reads_is_given_up()
    {
        await ShellAsync("mkfifo p");
        await ToldAsync(73, "p: it cannot be written: it is a pipe (FIFO), and nobody has begun to read it. Start its reader first, or name a file.", "embed", TestData.GraceHopper, "--out", In("p"));
    }

    [Fact]
    public async Task What_waits_for_a_pipe_ends_when_it_is_told_to()
    {
        await ShellAsync("mkfifo p");
        await using var convert = FaceEmbed.Start(["model", "convert", "--checkpoint", In("p"), "--output", In("own.onnx")]);
        await Task.Delay(TimeSpan.FromSeconds(2));
        Assert.Equal(130, await convert.InterruptAsync());
        Assert.Equal("face-embed: interrupted.", convert.Errors.Trim());
    }

    /// <summary>As a shell hands in what a command writes: <c>--card &lt;(cat card)</c>.</summary>
    [Fact]
    public async Task A_card_or_a_checkpoint_may_come_through_a_pipe()
    {
        foreach (var (verb, file) in new[] { ("model inspect --card", "models/face_embedding.json"), ("model check --card", "models/face_embedding.json"), ($"model convert --output '{In("own.onnx")}' --checkpoint", "tests/data/checkpoints/zip.pth") })
        {
            using var bash = Process.Start(new ProcessStartInfo("bash", ["-c", $"exec dotnet '{Path.Combine(AppContext.BaseDirectory, "face-embed.dll")}' {verb} <(cat {file})"]) { WorkingDirectory = TestData.Repository })!;
            await bash.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(bash.ExitCode == 0, verb);
        }
    }

    [Theory]
    [InlineData("model", "convert", "--checkpoint")]
    [InlineData("model", "inspect", "--card")]
    [InlineData("model", "inspect")]
    [InlineData("model", "check")]
    [InlineData("embed", "tests/data/astronaut.png", "--Faces:DetectionModel")]
    public async Task Links_in_a_circle_are_called_that(params string[] verb)
    {
        await ShellAsync("ln -s b.onnx a.onnx; ln -s a.onnx b.onnx");
        await ToldAsync(78, "its links lead in a circle, and to no file.", [.. verb, In("a.onnx")]);
    }

    [Theory]
    [InlineData("noses.json", """{"a.jpg":[[1]]}""", "the points of 'a.jpg' are not [[x, y], …]")]
    [InlineData("noses.json", """{"a.jpg":[[1,1e999]]}""", "the points of 'a.jpg' are not [[x, y], …]")]
    [InlineData("noses.json", """{"a.jpg":5}""", "the points of 'a.jpg' are not [[x, y], …]")]
    [InlineData("noses.json", """{"a.jpg":[[1,2]],"a.jpg":[]}""", "'a.jpg' is in it twice")]
    [InlineData("noses.json", "[]", "it is no object of JSON")]
    [InlineData("noses.json", """{"a\u0000.jpg":[[1,2]]}""", "it has a zero in its name")]
    [InlineData("noses.json", """{"sub/a.jpg":[[1,2]]}""", "sub/a.jpg: source_missing")]
    [InlineData("x.csv", "a.jpg,NaN,1", "'a.jpg,NaN,1' is not file,x,y")]
    [InlineData("x.csv", "sub/a.jpg,1,1,20,20", "sub/a.jpg: source_missing")]
    public async Task Verify_tells_in_a_sentence_what_is_wrong_with_marks(string name, string text, string told)
    {
        await File.WriteAllTextAsync(In(name), text);
        await ToldAsync(1, told, "verify", folder);
    }

    [Theory]
    [InlineData("noses.json", """{"sub/a.jpg":[[256,200]]}""")]
    [InlineData("x.csv", "sub/a.jpg,150,50,200,280,easy")]
    public async Task Verify_takes_marked_pictures_from_folders_below(string name, string text)
    {
        await ShellAsync("mkdir sub");
        File.Copy(TestData.GraceHopper, In("sub/a.jpg"));
        await File.WriteAllTextAsync(In(name), text);
        var (code, output, errors) = await FaceEmbed.RunAsync("verify", folder);
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("marked faces", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_may_not_be_looked_at_is_unreadable_and_named()
    {
        File.Copy(TestData.GraceHopper, In("a.jpg"));
        await ShellAsync("mkdir -m 700 shut; cp a.jpg shut; chmod 755 .");
        var (code, _, errors) = await AsNobodyAsync("verify", In("shut"));
        Assert.Equal(1, code);
        Assert.Contains("shut: the folder cannot be read: permission denied", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);

        (code, var output, _) = await AsNobodyAsync("embed", In("shut"), In("shut/a.jpg"), In("none.jpg"));
        Assert.Equal(1, code);
        Assert.Equal(["shut: unreadable", "shut/a.jpg: unreadable", "none.jpg: source_missing"],
            Documents(output).Select(d => $"{Path.GetRelativePath(folder, d.GetProperty("file").GetString()!)}: {d.GetProperty("error").GetString()}"));
    }

    [Fact]
    public async Task No_name_steers_a_terminal()
    {
        await ShellAsync(@"cp " + TestData.GraceHopper + " \"$(printf 'e\\033[31msc.jpg')\"");
        foreach (var marks in new[] { "e\u001b[31msc.jpg,5,5", "e\u001b[31msc.jpg,5,5,9,9,easy\u001b[31m" })
        {
            await File.WriteAllTextAsync(In("marks.csv"), marks);
            await PlainAsync("verify", folder);
        }

        await PlainAsync("verify", In("\u001b[31m"));
        await PlainAsync("embed", "--\u001b[31mred.jpg");
        await PlainAsync("embed", "x.jpg", "--mode", "\u001b[31m");
        await PlainAsync("embed", "x.jpg", "--\u001b[31m:x=1");
        await PlainAsync("embed", "x.jpg", "--Faces:EmbeddingModel=\u001b[31m");
        await PlainAsync("model", "inspect", "\u001b[31m");

        static async Task PlainAsync(params string[] arguments)
        {
            var (_, output, errors) = await FaceEmbed.RunAsync(arguments);
            Assert.DoesNotContain('\u001b', output + errors);
            Assert.Contains('\uFFFD', output + errors);
        }
    }

    [Fact]
    public async Task A_copy_that_cannot_be_made_stops_nothing_else()
    {
        using (var large = new Picture(5000, 4000))
        {
            large.Pixels.Fill(128);
            await File.WriteAllBytesAsync(In("big.jpg"), PictureEncoder.Jpeg(large), TestContext.Current.CancellationToken);
        }

        File.Copy(TestData.GraceHopper, In("p.jpg"));
        var (code, output, errors) = await FaceEmbed.RunAsync("embed", In("big.jpg"), In("p.jpg"), "--Images:MaxMemory=50000000", "--annotate", In("ann"));
        Assert.Equal(1, code);
        Assert.Equal(["no_face", "embedded"], Documents(output).Select(d => d.GetProperty("outcome").GetString()));
        Assert.Contains("big.jpg: no copy with boxes: The jpeg (5000 x 4000)", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        Assert.EndsWith("p.faces.jpg", Assert.Single(Directory.GetFiles(In("ann"))), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Each_picture_has_a_copy_of_its_own()
    {
        var deep = new string('d', 120);
        await ShellAsync($"mkdir -p a b {deep}/{deep}; for n in a/x.jpg b/x.jpg a_x.jpg a/x.jpeg a/x.faces.jpg {deep}/{deep}/x.jpg; do cp {TestData.GraceHopper} $n; done");
        var before = await File.ReadAllBytesAsync(In("a/x.faces.jpg"), TestContext.Current.CancellationToken);

        var (code, output, errors) = await FaceEmbed.RunAsync("embed", folder, "--annotate", In("a"));

        Assert.Equal((0, ""), (code, errors));
        Assert.Equal(6, Documents(output).Length);
        Assert.Equal(6 + 3, Directory.GetFiles(In("a")).Length);
        Assert.Equal(before, await File.ReadAllBytesAsync(In("a/x.faces.jpg"), TestContext.Current.CancellationToken));
    }

    /// <summary>As docs/reembedding.md names them; modes that find no faces have none to write.</summary>
    [Fact]
    public async Task Crops_are_named_by_their_photo_and_asked_for_where_faces_are_found()
    {
        var (photos, crops) = (Path.Combine(folder, "photos"), Path.Combine(folder, "crops"));
        Directory.CreateDirectory(photos);
        File.Copy(TestData.GraceHopper, Path.Combine(photos, "photo.jpg"));

        Assert.Equal(0, (await FaceEmbed.RunAsync("embed", photos, "--crops", crops)).ExitCode);

        Assert.EndsWith("_photos_photo.face1.png", Assert.Single(Directory.GetFiles(crops)), StringComparison.Ordinal);
        Assert.Equal(0, (await FaceEmbed.RunAsync("embed", crops, "--mode", "aligned")).ExitCode);
        await ToldAsync(64, "--crops writes the faces that are found, and mode aligned looks for none: take --mode faces, or leave --crops out.", "embed", crops, "--mode", "aligned", "--crops", crops);
        await ToldAsync(64, "mode image looks for none", "embed", photos, "--Jobs:Mode=Image", "--crops", crops);
    }

    [Fact]
    public async Task A_copy_never_takes_the_place_of_a_picture()
    {
        var stem = string.Join('_', Path.GetRelativePath(TestData.Repository, folder).Split('/').Where(p => p != ".."));
        await ShellAsync($"cp {TestData.GraceHopper} x.jpg; cp x.jpg y.jpg; cp x.jpg {stem}_x.faces.jpg; mkdir ann; ln -s ../x.jpg ann/{stem}_y.faces.jpg");
        foreach (var target in new[] { folder, In("ann") })
        {
            var (code, _, errors) = await FaceEmbed.RunAsync("embed", In("x.jpg"), In("y.jpg"), In($"{stem}_x.faces.jpg"), "--annotate", target);
            Assert.Equal((0, ""), (code, errors));
            var before = await File.ReadAllBytesAsync(TestData.GraceHopper, TestContext.Current.CancellationToken);
            Assert.All(new[] { "x.jpg", "y.jpg", $"{stem}_x.faces.jpg" }, name => Assert.Equal(before, File.ReadAllBytes(In(name))));
        }

        Assert.True(File.Exists(In($"{stem}_x.2.faces.jpg")));
        Assert.True(File.Exists(In($"ann/{stem}_y.2.faces.jpg")));
    }

    [Fact]
    public async Task Results_and_a_copy_of_the_same_name_are_both_there()
    {
        var stem = string.Join('_', Path.GetRelativePath(TestData.Repository, folder).Split('/').Where(p => p != ".."));
        await ShellAsync($"mkdir ann; cp {TestData.GraceHopper} x.jpg");
        var (code, _, _) = await FaceEmbed.RunAsync("embed", In("x.jpg"), "--annotate", In("ann"), "--out", In($"ann/{stem}_x.faces.jpg"));
        Assert.Equal(0, code);
        Assert.Equal("embedded", Assert.Single(Documents(await File.ReadAllTextAsync(In($"ann/{stem}_x.faces.jpg"), TestContext.Current.CancellationToken))).GetProperty("outcome").GetString());
        Assert.True(File.Exists(In($"ann/{stem}_x.2.faces.jpg")));
    }

    [Theory]
    [InlineData("--out", "none/x.jsonl")]
    [InlineData("--out", "d")]
    [InlineData("--out", "/dev/full")]
    [InlineData("--annotate", "p.jpg")]
    [InlineData("--annotate", "p.jpg/d")]
    public async Task What_cannot_be_written_is_told_in_one_line(string option, string place)
    {
        await ShellAsync($"mkdir d; cp {TestData.GraceHopper} p.jpg");
        await ToldAsync(73, $"{Path.Combine(folder, place)}: ", "embed", In("p.jpg"), option, Path.Combine(folder, place));
    }

    [Theory]
    [InlineData("", "ended with 73")]
    [InlineData("--crops crops", "ended with 0")]
    public async Task A_reader_who_is_gone_ends_what_is_done_for_it_alone(string option, string ended)
    {
        await ShellAsync($"mkdir d; for n in $(seq 20); do cp {TestData.GraceHopper} d/$n.jpg; done");
        var program = $"dotnet {Path.Combine(AppContext.BaseDirectory, "face-embed.dll")} embed d {option}";
        using var shell = Process.Start(new ProcessStartInfo("sh", ["-c", $"{{ {program}; echo ended with $? >&2; }} | head -n 1"]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder })!;
        var errors = (await shell.StandardError.ReadToEndAsync()).Trim().Split('\n');
        Assert.Equal(ended, errors[^1]);
        Assert.Equal(option == "" ? ["face-embed: standard output: it cannot be written: nobody reads it any more."] : [], errors[..^1]);
        Assert.Equal(option == "" ? 0 : 20, Directory.GetFiles(folder, "*.png", SearchOption.AllDirectories).Length);
    }

    [Theory]
    [InlineData("--annotate")]
    [InlineData("--crops")]
    public async Task A_folder_that_takes_no_files_is_told_before_the_work(string option)
    {
        Assert.SkipUnless(Directory.Exists("/proc"), "There is no /proc.");
        await ToldAsync(73, "face-embed: /proc: it cannot be written: no file can be made in it.", "embed", TestData.GraceHopper, TestData.Astronaut, option, "/proc");
        await ShellAsync($"mkdir d; cp {TestData.GraceHopper} d; chmod a+rx . d; chmod a-w d");
        var (code, output, errors) = await AsNobodyAsync("embed", In("d"), option, In("d"));
        Assert.Equal((73, "", $"face-embed: {In("d")}: it cannot be written: permission denied."), (code, output.Trim(), errors.Trim()));
    }

    [Theory]
    [InlineData("--json")]
    [InlineData("--report")]
    public async Task What_verify_cannot_write_is_told_in_one_line(string option)
    {
        await ShellAsync($"mkdir a b; for n in a/1.jpg a/2.jpg b/1.jpg; do cp {TestData.GraceHopper} $n; done");
        await ToldAsync(73, "none/x: ", "verify", folder, option, In("none/x"));
    }

    [Fact]
    public async Task No_picture_is_overwritten_by_its_results()
    {
        await ShellAsync($"mkdir d; cp {TestData.GraceHopper} d/own.jpg; ln -s d/own.jpg link.jpg; ln d/own.jpg hard.jpg");
        foreach (var place in new[] { "d/own.jpg", "link.jpg", "hard.jpg" })
        {
            await ToldAsync(64, $"{place} is one of the pictures", "embed", In("d"), "--out", In(place));
        }

        Assert.Equal(await File.ReadAllBytesAsync(TestData.GraceHopper, TestContext.Current.CancellationToken), await File.ReadAllBytesAsync(In("d/own.jpg"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Each_file_comes_once_whatever_names_lead_to_it()
    {
        await ShellAsync($"mkdir d; ln -s d dl; cp {TestData.GraceHopper} d/a.jpg; ln d/a.jpg d/b.jpg; ln -s dl/a.jpg c.jpg");
        var (code, output, _) = await FaceEmbed.RunAsync("embed", In("d/a.jpg"), In("dl/a.jpg"), In("d/b.jpg"), In("c.jpg"), folder);
        Assert.Equal(0, code);
        string[] both = [In("d/a.jpg"), In("d/b.jpg")]; // a hard link is a file of its own, as to everything else on the system
        Assert.Equal(both, Documents(output).Select(d => d.GetProperty("file").GetString()).Order());
        Assert.Equal(both, Documents((await FaceEmbed.RunAsync("embed", folder)).Output).Select(d => d.GetProperty("file").GetString()).Order());
    }

    [Fact]
    public async Task A_name_that_is_no_utf_8_is_told_beside_one_that_reads_the_same()
    {
        await ShellAsync($"mkdir same; cp {TestData.GraceHopper} \"$(printf 'same/\\357\\277\\275.jpg')\"; cp {TestData.Astronaut} \"$(printf 'same/\\377.jpg')\"");
        try
        {
            var (code, output, errors) = await FaceEmbed.RunAsync("embed", In("same"));
            Assert.Equal(1, code);
            Assert.Equal(["unreadable", ""], Documents(output).Select(d => d.TryGetProperty("error", out var error) ? error.GetString() : ""));
            Assert.Contains("its name is not UTF-8", errors, StringComparison.Ordinal);
        }
        finally
        {
            await ShellAsync("rm -r same"); // .NET cannot name it
        }
    }

    [Fact]
    public async Task A_name_with_a_dot_is_passed_over_in_a_folder_and_taken_where_it_is_named()
    {
        await ShellAsync($"mkdir .d; cp {TestData.GraceHopper} .a.jpg; cp {TestData.Astronaut} .d/b.jpg; cp {TestData.Astronaut} c.jpg");
        var (_, output, _) = await FaceEmbed.RunAsync("embed", folder, In(".a.jpg"));
        Assert.Equal(["c.jpg", ".a.jpg"], Documents(output).Select(d => Path.GetFileName(d.GetProperty("file").GetString())));
        Assert.Contains("begin with a dot", string.Join(' ', (await FaceEmbed.RunAsync("embed", "--help")).Output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("embed", "")]
    [InlineData("embed", "x.jpg", "--", "")]
    [InlineData("verify", "")]
    [InlineData("embed", "x.jpg", "--out", "")]
    public Task An_empty_name_is_refused(params string[] arguments) => ToldAsync(64, "empty", arguments);

    [Fact]
    public async Task Behind_two_dashes_everything_is_a_path()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("embed", "@x.jpg", "--", "@y.jpg", "--x.jpg", "--a:b.jpg", "--out", "--");
        Assert.Equal(1, code);
        Assert.Equal(["@x.jpg", "@y.jpg", "--x.jpg", "--a:b.jpg", "--out", "--"], Documents(output).Select(d => d.GetProperty("file").GetString()));
        await ToldAsync(64, "'--x.jpg' is no option here", "embed", "--x.jpg", "--", "--y.jpg");
        await ToldAsync(64, "'--x.jpg' is no option here", "embed", "--x.jpg", "--", "--x.jpg");
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static JsonElement[] Documents(string output)
    {
        var documents = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonElement.Parse(l)).ToArray();
        Assert.All(documents, d => Assert.Null(MessageSchemas.Trouble(d.GetProperty("outcome").GetString() == "rejected" ? MessageSchemas.RejectedFile : MessageSchemas.Result, d)));
        return documents;
    }

    private static async Task ToldAsync(int expected, string told, params string[] arguments)
    {
        var (code, _, errors) = await FaceEmbed.RunAsync(arguments);
        Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        Assert.Equal(expected, code);
    }

    /// <summary>The program without root's rights, whatever the tests have.</summary>
    private static async Task<(int ExitCode, string Output, string Errors)> AsNobodyAsync(params string[] arguments)
    {
        string[] program = ["dotnet", Path.Combine(AppContext.BaseDirectory, "face-embed.dll"), .. arguments];
        var start = Environment.UserName == "root" ? new ProcessStartInfo("setpriv", ["--reuid=65534", "--clear-groups", .. program]) : new ProcessStartInfo(program[0], program[1..]);
        (start.RedirectStandardOutput, start.RedirectStandardError) = (true, true);
        using var process = Process.Start(start)!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output, (await errors).TrimEnd());
    }

    private async Task ShellAsync(string script)
    {
        using var shell = Process.Start(new ProcessStartInfo("sh", ["-ec", script]) { WorkingDirectory = folder })!;
        await shell.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, shell.ExitCode);
    }

    private string In(string name) => Path.Combine(folder, name);
}
