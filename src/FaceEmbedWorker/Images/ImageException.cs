namespace FaceEmbedWorker.Images;

/// <summary>Why a picture gives no pixels.</summary>
internal enum ImageFault
{
    /// <summary>Not a picture, truncated or corrupt.</summary>
    Undecodable,

    /// <summary>No bytes at all: nothing to tell one picture from another by, so there is no stub for it either.</summary>
    Empty,

    /// <summary>Over a limit in pixels, pages or progressive pixels.</summary>
    Refused,

    /// <summary>More bytes than allowed.</summary>
    TooLarge,

    /// <summary>A picture in a format that is not read here, such as HEIC.</summary>
    Unsupported,

    /// <summary>The job refers to a source that this worker does not read, or that does not let it.</summary>
    SourceDenied,

    /// <summary>There is nothing where the job says.</summary>
    SourceMissing,

    /// <summary>What is there has another checksum than the job says.</summary>
    SourceMismatch,

    /// <summary>A local file that is no regular file, or may not be read.</summary>
    Unreadable,
}

/// <summary>A picture that cannot be used, through its own fault: trying again would not help.</summary>
internal sealed class ImageException(ImageFault fault, string message, Exception? inner = null) : Exception(message, inner)
{
    public ImageFault Fault { get; } = fault;
}
