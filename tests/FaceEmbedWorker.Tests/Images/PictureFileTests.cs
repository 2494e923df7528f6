using System.Diagnostics;
using System.Net.Sockets;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>What of a path is opened, and what is said of the rest.</summary>
public sealed class PictureFileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("face-embed-files-").FullName;

    public PictureFileTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "Pipes, devices and sockets are Linux' here.");

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(70_000)]
    public async Task A_file_is_read_as_a_whole_up_to_the_most_bytes(int size)
    {
        var bytes = new byte[size];
        new Random(1).NextBytes(bytes);
        var file = Written("x", bytes);
        Assert.Equal(bytes, await PictureFile.ReadAsync(file, size, TestContext.Current.CancellationToken));
        Assert.Equal(bytes, HandedFile.Read(file, size));
        if (size > 0)
        {
            var fault = await Assert.ThrowsAsync<ImageException>(() => PictureFile.ReadAsync(file, size - 1, TestContext.Current.CancellationToken));
            Assert.Equal((ImageFault.TooLarge, $"The picture has {size:N0} bytes; Images:MaxBytes allows {size - 1:N0}."), (fault.Fault, fault.Message));
            Assert.Equal("it is larger than 0 MiB, and no more is read. Name another file.", Assert.Throws<IOException>(() => HandedFile.Read(file, size - 1)).Message);
        }
    }

    /// <summary>Their sizes say 0, and they have bytes.</summary>
    [Fact]
    public async Task A_file_that_has_more_than_its_size_says_changes_while_it_is_read() =>
        Assert.Equal("it changes while it is read.", (await Assert.ThrowsAsync<IOException>(() => PictureFile.ReadAsync("/proc/self/status", 100, TestContext.Current.CancellationToken))).Message);

    /// <summary>The kernel says a page for its settings, and has a line.</summary>
    [Fact]
    public async Task A_file_that_has_less_than_its_size_says_is_read_to_its_end()
    {
        const string setting = "/sys/kernel/mm/transparent_hugepage/enabled";
        Assert.SkipUnless(File.Exists(setting), "There is no such setting here.");
        var bytes = await PictureFile.ReadAsync(setting, 100_000, TestContext.Current.CancellationToken);
        Assert.InRange(bytes.Length, 1, 1000);
        Assert.Contains("never", System.Text.Encoding.ASCII.GetString(bytes), StringComparison.Ordinal);
        Assert.Equal(bytes, HandedFile.Read(setting, 100_000));
    }

    [Fact]
    public void A_file_that_is_disposed_of_is_closed()
    {
        var path = Written("closed", [1]);
        PictureFile.Open(path).Dispose();
        Assert.DoesNotContain(path, Directory.EnumerateFileSystemEntries("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget));
    }

    [Fact]
    public void A_device_is_known_by_both_of_its_numbers()
    {
        var path = Written("file", [1]);
        using var stat = Process.Start(new ProcessStartInfo("stat", ["-c", "%Hd %Ld %i", path]) { RedirectStandardOutput = true })!;
        var told = stat.StandardOutput.ReadToEnd().Split().Where(n => n.Length > 0).Select(ulong.Parse).ToArray();
        stat.WaitForExit();
        Assert.Equal((told[0] << 32 | told[1], told[2]), PictureFile.Identity(path));
    }

    [Fact]
    public void What_is_no_file_is_named_and_not_opened()
    {
        using (var made = Process.Start("mkfifo", Path.Combine(folder, "pipe")))
        {
            made.WaitForExit();
        }

        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder, "socket")));
        File.CreateSymbolicLink(Path.Combine(folder, "link"), Written("file", [1]));
        File.CreateSymbolicLink(Path.Combine(folder, "circle"), Path.Combine(folder, "circle"));

        Assert.Equal("a pipe (FIFO)", Said("pipe"));
        Assert.Equal("a socket", Said("socket"));
        Assert.Equal("a folder", Said("."));
        Assert.Equal("a device", Said("/dev/null"));
        Assert.Null(PictureFile.KindOf(Path.Combine(folder, "file")));
        Assert.Null(PictureFile.KindOf(Path.Combine(folder, "link")));
        Assert.Null(PictureFile.KindOf(Path.Combine(folder, "nothing")));
        using (var file = PictureFile.Open(Path.Combine(folder, "link")))
        {
            Assert.Equal(1, file.ReadByte());
        }

        Assert.Equal("there is no such file or folder.", Assert.Throws<FileNotFoundException>(() => PictureFile.Open(Path.Combine(folder, "nothing"))).Message);
        Assert.Equal("there is no such file or folder.", Assert.Throws<FileNotFoundException>(() => PictureFile.Open(Path.Combine(folder, "file", "in it"))).Message);
        Assert.Equal("its links lead in a circle, and to no file.", Assert.Throws<IOException>(() => PictureFile.Open(Path.Combine(folder, "circle"))).Message);
        Assert.Equal(PictureFile.NotUtf8, Assert.Throws<IOException>(() => PictureFile.Open(Path.Combine(folder, "\uFFFD"))).Message);
        Assert.Equal("it has a zero in its name, and no file has.", Assert.Throws<IOException>(() => PictureFile.Open("a\0b")).Message);
        Assert.Equal("File name too long.", Assert.Throws<IOException>(() => PictureFile.Open(new string('x', 300))).Message);

        string? Said(string name)
        {
            var path = Path.Combine(folder, name);
            var kind = PictureFile.KindOf(path);
            Assert.Equal($"it is {kind}, and only regular files are read.", Assert.Throws<NotAFileException>(() => PictureFile.Open(path)).Message);
            return kind;
        }
    }

    [Fact]
    public void A_file_is_the_same_by_whatever_name()
    {
        var file = Written("file", [1]);
        File.CreateSymbolicLink(Path.Combine(folder, "link"), file);
        Assert.Equal(PictureFile.Identity(file), PictureFile.Identity(Path.Combine(folder, "link")));
        Assert.NotEqual(PictureFile.Identity(file), PictureFile.Identity(Written("other", [1])));
        Assert.NotEqual(PictureFile.Identity("/dev/null")!.Value.Device, PictureFile.Identity("/proc/self/status")!.Value.Device);
        Assert.Throws<FileNotFoundException>(() => PictureFile.Identity(Path.Combine(folder, "nothing")));
    }

    /// <summary>A card is read by more than one, and what came through a pipe comes once.</summary>
    [Fact]
    public async Task What_comes_through_a_pipe_is_kept()
    {
        var pipe = Path.Combine(folder, "card");
        using (var made = Process.Start("mkfifo", pipe))
        {
            await made.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        var bytes = new byte[150_000];
        new Random(2).NextBytes(bytes);
        var written = WriterOf(pipe, bytes); // which waits for who reads
        Assert.Equal(bytes, HandedFile.Read(pipe, bytes.Length));
        Assert.Equal(bytes, HandedFile.Read(pipe, bytes.Length));
        await written;

        var vast = Path.Combine(folder, "vast");
        using (var made = Process.Start("mkfifo", vast))
        {
            await made.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        var refused = WriterOf(vast, new byte[65_537]);
        Assert.StartsWith("it is larger than", Assert.Throws<IOException>(() => HandedFile.Read(vast, 65_536)).Message, StringComparison.Ordinal);
        await Record.ExceptionAsync(() => refused);
    }

    /// <summary>On a thread of its own: whoever reads has five seconds of patience, and the pool may be busy for as long.</summary>
    private static Task WriterOf(string pipe, byte[] bytes) => Task.Factory.StartNew(() => File.WriteAllBytes(pipe, bytes), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private string Written(string name, byte[] bytes)
    {
        var path = Path.Combine(folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
