using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Onnx;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Fuzz;

/// <summary>
/// What reads strangers' bytes, each with what it may say to them; any other exception is a fault. <c>tests/fuzz</c> looks for bytes that
/// make one, <c>FuzzTests</c> tries those that were found.
/// </summary>
internal static class FuzzTargets
{
    private static readonly string[] Types = ["image/jpeg", "application/json", EmbedResult.CloudEventType, "", "text/plain"];
    private static readonly string[] HeaderNames = [JobMessage.ModeHeader, JobMessage.MetadataHeader, JobMessage.DetailHeader, JobMessage.DeadlineHeader, JobMessage.VectorEncodingHeader, JobMessage.MaxFacesHeader, JobMessage.MinFaceSizeHeader,
        JobMessage.ReturnCropsHeader, JobMessage.LandmarksHeader, JobMessage.AttemptHeader, JobMessage.BulkHeader, DeadLetters.ErrorHeader, DeadLetters.MessageHeader, DeadLetters.FirstFailedHeader, DeadLetters.ReplaysHeader,
        DeadLetters.ExpirationHeader, "x-delivery-count", "x-first-death-reason", "x-first-death-queue", "traceparent"];

    private static readonly string[] Formats = ["jpeg", "png", "webp", "gif", "tiff", "bmp", "tga", "pnm", "avif", "heic"];
    private static readonly string CardFile = Path.Combine(Path.GetTempPath(), $"face-embed-fuzz-{Environment.ProcessId}.json");

    public static IReadOnlyDictionary<string, Action<byte[]>> All { get; } = new Dictionary<string, Action<byte[]>>
    {
        ["message"] = Message,
        ["header"] = Header,
        ["checkpoint"] = Checkpoint,
        ["onnx"] = Onnx,
        ["card"] = Card,
    };

    /// <summary>A job, a dead letter, and both again: a byte for the type, headers as (name, length, text), a zero, the body.</summary>
    private static void Message(byte[] bytes)
    {
        if (bytes.Length < 2)
        {
            return;
        }

        var properties = new BasicProperties { ContentType = Types[bytes[0] % Types.Length], Headers = new Dictionary<string, object?>() };
        var at = 1;
        while (at + 2 < bytes.Length && bytes[at] != 0)
        {
            var (name, length) = (HeaderNames[bytes[at] % HeaderNames.Length], Math.Min(bytes[at + 1], bytes.Length - at - 2));
            properties.Headers[name] = length switch { 0 => null, 1 => (int)bytes[at + 2], 2 => (long)bytes[at + 2], 3 => bytes[at + 2] % 2 == 0, _ => bytes[(at + 2)..(at + 2 + length)] };
            at += 2 + length;
        }

        var message = new JobMessage(bytes.AsMemory(Math.Min(at + 1, bytes.Length)), properties);
        var read = Read(message);
        _ = DeadLetter.Of(message);
        try
        {
            _ = DeadLetter.PictureOf(message);
        }
        catch (Exception e) when (e is MalformedJobException or ImageException)
        {
            // said in words
        }

        var letter = Again(message, DeadLetters.ForDeadLetter(message, message.JobId, "refused", "No.", null, DateTimeOffset.UnixEpoch));
        _ = DeadLetter.Of(letter);
        if (Read(Again(letter, DeadLetters.ForReplay(letter))) != read)
        {
            throw new InvalidOperationException("A replay asks for something else.");
        }
    }

    private static string Read(JobMessage message)
    {
        try
        {
            var job = message.Read();
            return $"{job.Id} {job.Mode} {job.Detail} {job.MaxFaces} {job.MinFaceSize} {job.ReturnCrops} {job.VectorEncoding} {job.Deadline} {job.Landmarks} {job.Metadata?.GetRawText()}";
        }
        catch (MalformedJobException)
        {
            return "";
        }
    }

    private static JobMessage Again(JobMessage message, BasicProperties properties)
    {
        properties.Headers = properties.Headers!.ToDictionary(header => header.Key, header => header.Value is string text ? Encoding.UTF8.GetBytes(text) : header.Value);
        return message with { Properties = properties };
    }

    /// <summary>A byte for the format, the picture.</summary>
    private static void Header(byte[] bytes)
    {
        if (bytes.Length < 2)
        {
            return;
        }

        var (format, picture) = (Formats[bytes[0] % Formats.Length], bytes[1..]);
        try
        {
            _ = ImageFormat.Of(picture);
            var header = ImageHeader.Read(format, picture);
            if (header.Held < 0 || header.Width < 0 || header.Height < 0)
            {
                throw new InvalidOperationException($"{header.Width} x {header.Height} pixels in {header.Held} bytes");
            }

            switch (format)
            {
                case "jpeg":
                    _ = JpegHeader.CountScans(new HeaderReader(picture, format));
                    break;
                case "png":
                    _ = PngHeader.WithoutWords(picture);
                    _ = PngHeader.Ended(picture);
                    break;
            }
        }
        catch (ImageException)
        {
            // said in words
        }
    }

    private static void Checkpoint(byte[] bytes)
    {
        try
        {
            FaceEmbedWorker.Onnx.Checkpoint.Read(bytes);
        }
        catch (Exception e) when (e is ForeignFileException or InvalidDataException)
        {
            // said in words
        }
    }

    private static void Onnx(byte[] bytes)
    {
        foreach (var read in new Action[] { () => GraphSummary.Read(bytes), () => GraphPreparation.Prepare(bytes), () => GraphQuantizer.Of(bytes), () => GraphPreparation.WithBatch(bytes, 2) })
        {
            try
            {
                read();
            }
            catch (Exception e) when (e is ForeignFileException or InvalidDataException)
            {
                // said in words
            }
        }
    }

    private static void Card(byte[] bytes)
    {
        File.WriteAllBytes(CardFile, bytes);
        try
        {
            ModelCard.Read(CardFile);
        }
        catch (ModelException)
        {
            // said in words
        }
    }
}
