namespace FaceEmbedWorker.Images;

/// <summary>Where a job's picture is: in the job itself, or somewhere that the job refers to.</summary>
internal abstract record ImageSource
{
    public sealed record Data(byte[] Bytes) : ImageSource;

    public sealed record Url(string Address) : ImageSource;

    public sealed record Path(string Name) : ImageSource;
}

/// <summary>Brings a job's encoded picture into memory.</summary>
internal static class ImageFetcher
{
    /// <exception cref="ImageException">The source is one that this worker does not read.</exception>
    public static ValueTask<byte[]> FetchAsync(ImageSource source, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        return source switch
        {
            ImageSource.Data data => ValueTask.FromResult(data.Bytes),
            ImageSource.Url => throw Denied("image.url"),
            ImageSource.Path => throw Denied("image.path"),
            _ => throw new InvalidOperationException($"No way to fetch {source.GetType().Name}."),
        };
    }

    private static ImageException Denied(string field) =>
        new(ImageFault.SourceDenied, $"This worker does not read '{field}'; send the picture itself, as the message body or as 'image.data' in base64.");
}
