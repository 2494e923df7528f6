using System.Security.Cryptography;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class PillowResizeTests
{
    public static TheoryData<string> Cases => [.. TestData.Golden.GetProperty("resized").EnumerateObject().Select(p => p.Name)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Resizes_as_Pillow_to_the_bit(string name)
    {
        var parts = name.Split(' ');
        var size = parts[2].Split('x').Select(int.Parse).ToArray();
        using var picture = Pipeline.Decode(TestData.Read(parts[0]));

        using var resized = Pixels.Resized(picture, size[0], size[1], parts[1]);

        Assert.Equal(TestData.Golden.GetProperty("resized").GetProperty(name).GetString(), Convert.ToHexStringLower(SHA256.HashData(resized.Pixels)));
    }
}
