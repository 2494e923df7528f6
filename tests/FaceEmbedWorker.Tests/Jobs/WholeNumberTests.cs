using System.Text.Json;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Tests.Jobs;

public class WholeNumberTests
{
    private static readonly JsonSerializerOptions Json = new() { Converters = { new WholeNumber() } };

    [Theory]
    [InlineData("5", 5L)]
    [InlineData("5.0", 5L)]
    [InlineData("5e0", 5L)]
    [InlineData("-5", -5L)]
    [InlineData("0", 0L)]
    [InlineData("9223372036854775807", long.MaxValue)]
    [InlineData("9223372036854775808", null)]
    [InlineData("-9223372036854775807", -long.MaxValue)]
    [InlineData("1e400", null)]
    [InlineData("5.5", null)]
    [InlineData("\"5\"", null)]
    [InlineData("true", null)]
    [InlineData("null", null)]
    public void Is_one_however_JSON_writes_it(string json, long? expected) => Assert.Equal(expected, WholeNumber.Of(JsonElement.Parse(json)));

    [Theory]
    [InlineData("2147483647", int.MaxValue)]
    [InlineData("-2147483648", int.MinValue)]
    [InlineData("4.0", 4)]
    public void Is_read_as_far_as_it_goes(string json, int expected) => Assert.Equal(expected, Read(json));

    [Theory]
    [InlineData("2147483648")]
    [InlineData("-2147483649")]
    [InlineData("4.5")]
    [InlineData("\"4\"")]
    public void Anything_else_is_broken_JSON(string json) => Assert.Throws<JsonException>(() => Read(json));

    private static int Read(string json) => JsonSerializer.Deserialize<int>(json, Json);
}
