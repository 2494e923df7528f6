using System.Text.Json;
using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

/// <summary>A card is written by hand: what is wrong with it is told in its own names.</summary>
public class JsonFaultTests
{
    [Theory]
    [InlineData("{", "it ends before its last object or list does (line 1, byte 2).")]
    [InlineData("", "it is empty (line 1, byte 1).")]
    [InlineData("{}", "it lacks 'id', 'task', 'input', 'output'")]
    [InlineData("{\n \"idd\": 1 }", "there is no field 'idd' (line 2, byte ")]
    [InlineData("{ \"id\": 7 }", "'id' is not a string (line 1, byte ")]
    [InlineData("{ \"input\": { \"width\": \"big\" } }", "'input.width' is not a number (line 1, byte ")]
    [InlineData("{ \"input\": { \"width\": 1.5 } }", "'input.width' is not a whole number in its range (line 1, byte ")]
    [InlineData("{ \"input\": { \"mean\": 3 } }", "'input.mean' is not a list (line 1, byte ")]
    [InlineData("{ \"input\": { \"mean\": [true] } }", "'input.mean[0]' is not a number (line 1, byte ")]
    [InlineData("{ \"input\": [] }", "'input' is not an object (line 1, byte ")]
    [InlineData("[]", "it is not an object (line 1, byte ")]
    [InlineData("{ \"input\": {} }", "'input' lacks 'color', 'mean', 'std'")]
    [InlineData("{ \"input\": { \"width\": null } }", "'input.width' is not a number (line 1, byte ")]
    [InlineData("{ \"identity\": 1 }", "'identity' is not true or false (line 1, byte ")]
    [InlineData("{ \"golden\": \"a\" }", "'golden' is not an object (line 1, byte ")]
    [InlineData("{ \"id\": x }", "'x' is an invalid start of a value (line 1, byte 9).")]
    public void A_broken_card_says_field_line_and_byte(string json, string told)
    {
        var path = Path.GetTempFileName();
        File.WriteAllText(path, json);
        var error = Assert.Throws<ModelException>(() => ModelCard.Read(path)).Message;
        File.Delete(path);
        Assert.Contains($"The model card {path} cannot be read: {told}", error, StringComparison.Ordinal);
        Assert.All(new[] { "LineNumber", "Path:", "System.", ".NET", "FaceEmbedWorker" }, word => Assert.DoesNotContain(word, error, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("Double", "'Double' is not a number (line 1, byte ")]
    [InlineData("Single", "'Single' is not a number (line 1, byte ")]
    [InlineData("Long", "'Long' is not a number (line 1, byte ")]
    [InlineData("Flag", "'Flag' is not true or false (line 1, byte ")]
    public void What_cannot_be_null_is_told_by_its_kind(string field, string told) =>
        Assert.StartsWith(told, JsonFault.Of(Assert.Throws<JsonException>(() => JsonSerializer.Deserialize<Values>($"{{ \"{field}\": null }}"))), StringComparison.Ordinal);

    /// <summary>A job's text is parsed without its picture.</summary>
    [Fact]
    public void A_byte_is_counted_in_the_text_as_it_was_sent()
    {
        Assert.Equal("it (line 3, byte 8).", JsonFault.Of(new JsonException("it", null, 2, 7)));
        Assert.Equal("it (line 3, byte 71).", JsonFault.Of(new JsonException("it", null, 2, 7), (line, at) => 10 * at));
        Assert.Equal("nothing follows a comma (line 1, byte 8).", JsonFault.Of(Assert.ThrowsAny<JsonException>(() => JsonDocument.Parse("{\"a\":1,}"))));
        Assert.Equal("it.", JsonFault.Of(new JsonException("it"), (line, at) => at));
    }

    private sealed record Values(double Double, float Single, long Long, bool Flag);
}
