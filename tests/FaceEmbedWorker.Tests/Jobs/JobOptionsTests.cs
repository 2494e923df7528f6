using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class JobOptionsTests
{
    [Fact]
    public void Slots_are_as_many_as_the_setting_says_and_without_it_the_cores()
    {
        Assert.Equal(Environment.ProcessorCount + 3, new JobOptions { Parallelism = Environment.ProcessorCount + 3 }.Slots);
        Assert.Equal(1, new JobOptions { Parallelism = 1 }.Slots);
        Assert.Equal(Environment.ProcessorCount, new JobOptions().Slots);
    }
}
