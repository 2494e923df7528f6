using FaceEmbedWorker.Onnx;

namespace FaceEmbedWorker.Tests.Onnx;

/// <summary>A seeded mutator; each ends in a model or in an error of the two kinds, in time and within memory.</summary>
public class CheckpointMutationTests
{
    [Fact]
    public void Mutated_checkpoints_give_errors_and_nothing_else()
    {
        var corpus = new[] { "zip.pth", "legacy.pth.tar", "wrapped.tar.gz", "evil.pth", "half.pth", "tall.safetensors", "capped.pth.tar" }.Select(f => TestData.Read($"checkpoints/{f}")).ToArray();
        var (converted, refused, most) = (0, 0, (Bytes: 0L, Seed: 0));
        var start = GC.GetAllocatedBytesForCurrentThread(); // this test's own: others run beside it
        for (var seed = 0; seed < 1500; seed++)
        {
            var bytes = Mutation.Of(corpus[seed % corpus.Length], new Random(seed));
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                MobileFaceNet.Convert(Checkpoint.Read(bytes), CheckpointHead.Auto, null, "");
                converted++;
            }
            catch (Exception e) when (e is InvalidDataException or ForeignFileException)
            {
                refused++;
            }

            most = GC.GetAllocatedBytesForCurrentThread() - before is var taken && taken > most.Bytes ? (taken, seed) : most;
        }

        Console.WriteLine($"{converted} converted, {refused} refused; at most {most.Bytes:N0} bytes, by seed {most.Seed}");
        Assert.True(converted > 0 && refused > 500, $"{converted} converted, {refused} refused");
        Assert.InRange(most.Bytes, 0, 100_000_000);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - start) / 1500, 0, 20_000_000);
    }
}
