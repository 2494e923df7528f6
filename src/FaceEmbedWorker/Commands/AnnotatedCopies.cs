using System.Globalization;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>Copies of pictures with boxes, landmarks and scores drawn.</summary>
internal sealed class AnnotatedCopies(ImageDecoder decoder, int maxBytes, CopyFolder folder)
{
    /// <returns>Why there is none; null where there is one.</returns>
    public async Task<string?> WriteAsync(string file, EmbedResult result, CancellationToken cancel)
    {
        try
        {
            var encoded = decoder.Open(await PictureFile.ReadAsync(file, maxBytes, cancel));
            using var picture = encoded.Decode(shrink: 1, cancel);
            Draw(picture, result);
            folder.Write(folder.Target(file, ".faces.jpg"), stream => PictureEncoder.WriteJpeg(picture, stream));
            return null;
        }
        catch (Exception e) when (!cancel.IsCancellationRequested) // whatever it is, it ends this copy alone
        {
            return e.Message;
        }
    }

    private static void Draw(Picture picture, EmbedResult result)
    {
        foreach (var embedding in result.Embeddings)
        {
            if (embedding.Box is { } box)
            {
                Drawing.Box(picture, box.X, box.Y, box.Width, box.Height);
                Drawing.Number(picture, box.X, box.Y, embedding.Score?.ToString("0.000", CultureInfo.InvariantCulture) ?? "");
            }

            foreach (var point in embedding.Landmarks ?? [])
            {
                Drawing.Dot(picture, point[0], point[1]);
            }
        }
    }
}
