namespace FaceEmbedWorker.Tests.Fuzz;

public class FuzzTests
{
    /// <summary>Seeds, and whatever <c>tests/fuzz</c> has found.</summary>
    [Theory]
    [InlineData("message")]
    [InlineData("header")]
    [InlineData("checkpoint")]
    [InlineData("onnx")]
    [InlineData("card")]
    public void No_case_that_was_found_is_a_fault(string target)
    {
        var cases = Directory.GetFiles(Path.Combine(TestData.Repository, "tests", "data", "fuzz", target));
        Assert.NotEmpty(cases);
        foreach (var file in cases)
        {
            var fault = Record.Exception(() => FuzzTargets.All[target](File.ReadAllBytes(file)));
            Assert.True(fault is null, $"{file}: {fault}");
        }
    }
}
