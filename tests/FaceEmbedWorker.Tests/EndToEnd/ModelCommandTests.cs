using System.Net;
using System.Security.Cryptography;
using System.Text.Json;

namespace FaceEmbedWorker.Tests.EndToEnd;

/// <summary><c>face-embed model</c> as a process of its own.</summary>
public sealed class ModelCommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-model-").FullName;

    [Fact]
    public async Task A_converted_checkpoint_is_dropped_in_and_embeds_with_no_other_step()
    {
        var file = In("models/own.onnx");
        var (code, output, errors) = await FaceEmbed.RunAsync("model", "convert", "--checkpoint", "tests/data/checkpoints/landmarks.pth.tar", "--output", file, "--head", "features", "--input-size", "160");
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("[batch,3,160,160] -> [batch,512]", output, StringComparison.Ordinal);
        var card = JsonElement.Parse(await File.ReadAllTextAsync(In("models/own.json")));
        Assert.False(card.GetProperty("identity").GetBoolean());
        Assert.StartsWith("Not an identity embedding", card.GetProperty("notes").GetString(), StringComparison.Ordinal);

        (code, output, _) = await FaceEmbed.RunAsync("embed", "tests/data/astronaut.png", $"--Faces:EmbeddingModel={file}");
        Assert.Equal(0, code);
        Assert.Equal((512, "mobilefacenet-512-features"), (JsonElement.Parse(output).GetProperty("model").GetProperty("dimensions").GetInt32(), JsonElement.Parse(output).GetProperty("model").GetProperty("id").GetString()));
    }

    [Fact]
    public async Task What_cannot_be_converted_is_told_in_one_line()
    {
        await FailsAsync("has 136 outputs: it is a regressor of 68 landmarks", 1, "--checkpoint", "tests/data/checkpoints/landmarks.pth.tar");
        await FailsAsync("asks to call '__builtin__.eval'", 1, "--checkpoint", "tests/data/checkpoints/evil.pth");
        await FailsAsync("there is no such checkpoint", 1, "--checkpoint", "nowhere.pth");
        await FailsAsync("and 00 was asked for", 1, "--checkpoint", "tests/data/checkpoints/zip.pth#sha256=00");
        await FailsAsync("CHECKPOINT_URL", 64);
        await FailsAsync("it can be 16 to 1024", 64, "--checkpoint", "x", "--input-size", "7");
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));

        async Task FailsAsync(string told, int expected, params string[] arguments)
        {
            var (code, _, errors) = await FaceEmbed.RunAsync(["model", "convert", "--output", In("never.onnx"), .. arguments]);
            Assert.Equal(expected, code);
            Assert.Contains(told, Assert.Single(errors.Split('\n')), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_checkpoint_is_downloaded_and_its_sum_is_checked()
    {
        var bytes = TestData.Read("checkpoints/zip.pth");
        using var server = new HttpListener();
        var address = $"http://127.0.0.1:{TestBroker.FreePort()}/";
        server.Prefixes.Add(address);
        server.Start();
        var serving = Task.Run(async () =>
        {
            while (server.IsListening)
            {
                var context = await server.GetContextAsync();
                context.Response.StatusCode = context.Request.Url!.AbsolutePath == "/model.pth" ? 200 : 404;
                if (context.Response.StatusCode == 200)
                {
                    await context.Response.OutputStream.WriteAsync(bytes);
                }

                context.Response.Close();
            }
        });

        var sum = Convert.ToHexStringLower(SHA256.HashData(bytes));
        var (code, output, errors) = await FaceEmbed.RunAsync(["model", "convert", "--output", In("a.onnx")], new() { ["CHECKPOINT_URL"] = $"{address}model.pth?token=secret#sha256={sum}" });
        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("[batch,3,48,48] -> [batch,16]", output, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", output + await File.ReadAllTextAsync(In("a.json")), StringComparison.Ordinal);

        (code, _, errors) = await FaceEmbed.RunAsync("model", "convert", "--output", In("b.onnx"), "--checkpoint", $"{address}other.pth");
        Assert.Equal(1, code);
        Assert.Contains("answered 404", errors, StringComparison.Ordinal);
        server.Stop();
        await Assert.ThrowsAnyAsync<Exception>(() => serving);
    }

    [Fact]
    public async Task Check_passes_the_shipped_model_and_catches_one_that_was_never_trained()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("model", "check");
        Assert.Equal(0, code);
        Assert.EndsWith("passes: 9 tests.", output, StringComparison.Ordinal);

        (code, output, _) = await FaceEmbed.RunAsync("model", "check", "tests/data/untrained.onnx", "--card", "original-160");
        Assert.Equal(1, code);
        Assert.Contains("is NOT fit to serve", output, StringComparison.Ordinal);
        Assert.Contains("never trained", output.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_measures_on_pictures_too()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("model", "check", "--pictures", TestData.Verification("lfw10"));
        Assert.Equal(0, code);
        Assert.Contains("TAR at FMR 1e-3", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_shows_files_that_are_not_ours_as_well()
    {
        var (code, output, _) = await FaceEmbed.RunAsync("model", "inspect");
        Assert.Equal(0, code);
        Assert.All(new[] { "221,161,984", "33 PRelu rewritten", "1,216 dead channels", "0bc65e766053", "1,190,338" }, text => Assert.Contains(text, output, StringComparison.Ordinal));

        (code, output, _) = await FaceEmbed.RunAsync("model", "inspect", "models/rfb/face_landmarks.onnx");
        Assert.Equal(0, code);
        Assert.Contains("face-landmarks", output, StringComparison.Ordinal);

        await File.WriteAllBytesAsync(In("broken.onnx"), [1, 2, 3]);
        var (broken, _, errors) = await FaceEmbed.RunAsync("model", "inspect", In("broken.onnx"));
        Assert.Equal(1, broken);
        Assert.Contains("not an ONNX file", errors, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(TestData.Repository, "*profile*.json"));
    }

    [Fact]
    public async Task A_worker_with_a_model_that_was_never_trained_refuses_or_says_so()
    {
        var (code, _, errors) = await FaceEmbed.RunAsync("run", "--Faces:EmbeddingModel=tests/data/untrained.onnx", "--Faces:SelfTest=Refuse");
        Assert.Equal(78, code);
        Assert.Contains("fails its self-test", Assert.Single(errors.Split('\n')), StringComparison.Ordinal);

        var health = $"http://127.0.0.1:{TestBroker.FreePort()}";
        await using var worker = FaceEmbed.Start("run", "--Faces:EmbeddingModel=tests/data/untrained.onnx", $"--Health:Url={health}", $"--Broker:Uri=amqp://127.0.0.1:{TestBroker.FreePort()}");
        await worker.SaidAsync("fails its self-test");
        await worker.SaidAsync("Status page: ");
        using var http = new HttpClient();
        using var answer = await http.GetAsync(new Uri($"{health}/readyz"), TestContext.Current.CancellationToken);
        Assert.Equal(503, (int)answer.StatusCode);
        Assert.Contains("never trained", await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string In(string name) => Path.Combine(folder, name);
}
