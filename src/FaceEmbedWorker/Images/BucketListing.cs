using System.Runtime.CompilerServices;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Images;

/// <summary>Lists what lies in buckets, page by page.</summary>
internal sealed class BucketListing(IOptions<SourceOptions> options) : IDisposable
{
    private readonly Lazy<AmazonS3Client> s3 = new(() => Client(options.Value, retries: 3));

    /// <summary>
    /// The keys below a prefix that are named as pictures, in the bucket's order, which is the same each time as long as the bucket is.
    /// </summary>
    /// <exception cref="SourceException">The bucket cannot be listed.</exception>
    public async IAsyncEnumerable<string> PicturesAsync(string bucket, string prefix, [EnumeratorCancellation] CancellationToken cancel)
    {
        for (string? next = ""; next is not null;)
        {
            ListObjectsV2Response page;
            try
            {
                page = await s3.Value.ListObjectsV2Async(new ListObjectsV2Request { BucketName = bucket, Prefix = prefix, ContinuationToken = next.Length > 0 ? next : null }, cancel);
            }
            catch (Exception e) when (e is AmazonClientException or AmazonServiceException or HttpRequestException)
            {
                throw new SourceException($"it cannot be listed: {Words(e).TrimEnd('.')}. It needs s3:ListBucket, the address in Sources:S3Endpoint and the region in Sources:S3Region.", e);
            }

            foreach (var found in page.S3Objects ?? [])
            {
                if (ImageFormat.FileExtensions.Contains(Path.GetExtension(found.Key)))
                {
                    yield return found.Key;
                }
            }

            next = page.IsTruncated == true ? page.NextContinuationToken : null;
        }
    }

    public void Dispose()
    {
        if (s3.IsValueCreated)
        {
            s3.Value.Dispose();
        }
    }

    /// <summary>The first sentences of the SDK's own words, which go on with a line for each place where it looked for credentials.</summary>
    internal static string Words(Exception fault)
    {
        var first = fault.Message.Split('\n')[0].Trim();
        return first.EndsWith(':') && first.LastIndexOf(". ", StringComparison.Ordinal) is > 0 and var end ? first[..(end + 1)] : first;
    }

    internal static AmazonS3Client Client(SourceOptions options, int retries) => new(options.S3Endpoint.Length > 0
        ? new AmazonS3Config { ServiceURL = options.S3Endpoint, ForcePathStyle = true, AuthenticationRegion = options.S3Region, MaxErrorRetry = retries }
        : new AmazonS3Config { RegionEndpoint = Amazon.RegionEndpoint.GetBySystemName(options.S3Region), MaxErrorRetry = retries });
}
