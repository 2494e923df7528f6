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

    /// <summary>A link under a copy's name would otherwise lead to a file that nobody asked to be written.</summary>
    [Fact]
    public async Task What_a_link_leads_to_is_left_alone()
    {
        var elsewhere = Directory.CreateTempSubdirectory("face-embed-elsewhere-").FullName;
        var (mine, picture) = (Path.Combine(elsewhere, "mine.txt"), Path.Combine(elsewhere, "x.jpg"));
        await File.WriteAllTextAsync(mine, "mine", TestContext.Current.CancellationToken);
        File.CreateSymbolicLink(Path.Combine(folder, $"{Stem(picture)}.faces.jpg"), mine);
        File.Copy(TestData.GraceHopper, picture);

        Assert.Null(await new AnnotatedCopies(Pipeline.Decoder, 1_000_000, new CopyFolder(folder, new FileSet([picture]))).WriteAsync(picture, await ResultAsync(), TestContext.Current.CancellationToken));

        Assert.Equal("mine", await File.ReadAllTextAsync(mine, TestContext.Current.CancellationToken));
        Directory.Delete(elsewhere, recursive: true);
    }

    /// <summary>The results' file lies in the folder of copies, under a copy's name, and is named through another way there.</summary>
    [Fact]
    public async Task The_file_of_results_is_no_copy_whatever_leads_there()
    {
        var way = folder + "-way";
        Directory.CreateSymbolicLink(way, folder);
        var picture = Path.Combine(folder, "x.jpg");
        File.Copy(TestData.GraceHopper, picture);
        var output = Path.Combine(way, $"{Stem(picture)}.faces.jpg");
        await File.WriteAllTextAsync(output, "results", TestContext.Current.CancellationToken);

        Assert.Null(await new AnnotatedCopies(Pipeline.Decoder, 1_000_000, new CopyFolder(folder, new FileSet([picture]), output)).WriteAsync(picture, await ResultAsync(), TestContext.Current.CancellationToken));

        Assert.Equal("results", await File.ReadAllTextAsync(output, TestContext.Current.CancellationToken));
        Assert.True(File.Exists(Path.Combine(folder, $"{Stem(picture)}.2.faces.jpg")));
        Directory.Delete(way);
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static string Stem(string picture) => Path.ChangeExtension(string.Join('_', Path.GetRelativePath(".", picture).Split('/').Where(p => p != "..")), null);

    private static Task<EmbedResult> ResultAsync() => Pipeline.EmbedAsync(File.ReadAllBytes(TestData.GraceHopper));

    private async Task<string?> WriteAsync(string file) => await Copies().WriteAsync(file, await ResultAsync(), TestContext.Current.CancellationToken);

    /// <summary>Faces of one picture never stand among another's.</summary>
    [Fact]
    public void Copies_of_a_picture_share_a_stem_that_is_no_other_ones()
    {
        var copies = new CopyFolder(folder, new FileSet());
        string Name(string file, string ending) => Path.GetFileName(copies.Target(file, ending));

        Assert.Equal(("a.face1.png", "a.2.face1.png", "a.2.face2.png", "a.face2.png"), (Name("a.jpg", ".face1.png"), Name("a.png", ".face1.png"), Name("a.png", ".face2.png"), Name("a.jpg", ".face2.png")));
        Assert.Equal(("a.2.2.face1.png", "a.2.2.face2.png"), (Name("a.2.jpg", ".face1.png"), Name("a.2.jpg", ".face2.png")));
    }

    private AnnotatedCopies Copies() => new(Pipeline.Decoder, 1_000_000, new CopyFolder(folder, new FileSet()));
}
