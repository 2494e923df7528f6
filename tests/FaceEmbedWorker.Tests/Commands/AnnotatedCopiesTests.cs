using System.Text;
using FaceEmbedWorker.Commands;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Commands;

public sealed class AnnotatedCopiesTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-copies-").FullName;

    [Fact]
    public async Task A_picture_that_is_gone_by_now_has_no_copy()
    {
        Assert.Contains("there is no such file", await WriteAsync(Path.Combine(folder, "gone.jpg")), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder));
    }

    /// <summary>File systems of Linux count bytes, and cut nowhere.</summary>
    [Fact]
    public async Task A_name_is_cut_to_what_a_name_may_have()
    {
        var below = Directory.CreateDirectory(Path.Combine(folder, "in", string.Concat(Enumerable.Repeat("é😀", 40)))).FullName;
        var (picture, same) = (Path.Combine(below, "x.jpg"), Path.Combine(below, "x.png"));
        File.Copy(TestData.GraceHopper, picture);
        File.Copy(TestData.GraceHopper, same);
        var copies = Copies();

        Assert.Null(await copies.WriteAsync(picture, await ResultAsync(), TestContext.Current.CancellationToken));
        Assert.Null(await copies.WriteAsync(same, await ResultAsync(), TestContext.Current.CancellationToken));

        var names = Directory.GetFiles(folder).Select(Path.GetFileName).Order(StringComparer.Ordinal).ToArray();
        Assert.EndsWith("😀_x.2.faces.jpg", names[0], StringComparison.Ordinal);
        Assert.EndsWith("😀_x.faces.jpg", names[1], StringComparison.Ordinal);
        Assert.All(names, n => Assert.InRange(Encoding.UTF8.GetByteCount(n!), 245, 255));
        Assert.DoesNotContain(names, n => n!.Contains('\uFFFD'));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static Task<EmbedResult> ResultAsync() => Pipeline.EmbedAsync(File.ReadAllBytes(TestData.GraceHopper));

    private async Task<string?> WriteAsync(string file) => await Copies().WriteAsync(file, await ResultAsync(), TestContext.Current.CancellationToken);

    private AnnotatedCopies Copies() => new(Pipeline.Decoder, 1_000_000, folder, new FileSet());
}
