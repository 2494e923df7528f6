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
}
