using System.ComponentModel.DataAnnotations;
using System.Net;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class SourceOptionsTests
{
    [Theory]
    [InlineData("photos.example.com", "https", "photos.example.com", 443)]
    [InlineData("Photos.Example.com:8443", "https", "photos.example.com", 8443)]
    [InlineData("https://photos.example.com", "https", "photos.example.com", 443)]
    [InlineData("http://photos.example.com", "http", "photos.example.com", 80)]
    [InlineData("*", "https", "*", 443)]
    [InlineData("http://*", "http", "*", 80)]
    [InlineData("*.Example.com:444", "https", ".example.com", 444)]
    [InlineData("bücher.example", "https", "xn--bcher-kva.example", 443)]
    [InlineData("*.bücher.example", "https", ".xn--bcher-kva.example", 443)]
    [InlineData("10.1.2.3:8080", "https", "10.1.2.3", 8080)]
    [InlineData("[::1]:8080", "https", "::1", 8080)]
    public void An_entry_is_a_scheme_a_name_and_a_port(string text, string scheme, string name, int port) => Assert.Equal(new AllowedHost(scheme, name, port), AllowedHost.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("a b")]
    [InlineData("ftp://x")]
    [InlineData("://x")]
    [InlineData("http://a://b")]
    [InlineData("x/")]
    [InlineData("x/path")]
    [InlineData("x?query")]
    [InlineData("x#part")]
    [InlineData("user@x")]
    [InlineData("*.")]
    [InlineData("x:99999")]
    public void What_is_no_host_is_no_entry(string text) => Assert.Null(AllowedHost.Parse(text));

    [Theory]
    [InlineData("*.example.com", "https://.example.com/", false)]
    [InlineData("*.example.com", "https://A.Example.com./", true)]
    [InlineData("*", "https://anything.example:444/", false)]
    [InlineData("a.example.com", "https://a.example.com:443/", true)]
    [InlineData("http://a.example.com", "https://a.example.com:80/", false)]
    public void A_host_is_one_of_an_entry_or_not(string entry, string url, bool allowed) => Assert.Equal(allowed, Uri.TryCreate(url, UriKind.Absolute, out var uri) && AllowedHost.Parse(entry)!.Allows(uri));

    [Fact]
    public void Nothing_is_allowed_until_it_is_listed()
    {
        var options = new SourceOptions();
        Assert.Equal(("", "", "", "", "", "us-east-1", 10, 0, 0), (options.Hosts, options.PrivateNetworks, options.Roots, options.Buckets, options.S3Endpoint, options.S3Region, options.TimeoutSeconds, options.PerHost, options.PerHostRate));
        Assert.Empty(Faults(options));
        Assert.Empty(options.Networks);
        Assert.Equal("Sources", SourceOptions.Section);
        Assert.Equal(["a", "b c"], SourceOptions.List(" a,, b c ,"));
        Assert.Equal([IPNetwork.Parse("10.1.0.0/16"), IPNetwork.Parse("fd00::/8")], new SourceOptions { PrivateNetworks = "10.1.0.0/16, fd00::/8" }.Networks);
    }

    [Theory]
    [InlineData("Hosts", "a.example.com, b c, x/", "'b c' is no host; write photos.example.com, *.example.com, host:8443 or http://host:8080.|'x/' is no host; write photos.example.com, *.example.com, host:8443 or http://host:8080.")]
    [InlineData("Hosts", "a.example.com,*", "")]
    [InlineData("PrivateNetworks", "10.1.0.0/16,10.1.0.0/99,x", "'10.1.0.0/99' is no network; write 10.1.0.0/16.|'x' is no network; write 10.1.0.0/16.")]
    [InlineData("Roots", "/, /nowhere/at/all", "there is no folder '/nowhere/at/all'.")]
    [InlineData("S3Endpoint", "http://127.0.0.1:9000", "")]
    [InlineData("S3Endpoint", "https://s3.example.com", "")]
    [InlineData("S3Endpoint", "ftp://s3.example.com", "'ftp://s3.example.com' must look like https://s3.example.com.")]
    [InlineData("S3Endpoint", "s3.example.com", "'s3.example.com' must look like https://s3.example.com.")]
    public void A_wrong_setting_is_told_with_what_to_write(string setting, string value, string told)
    {
        var options = new SourceOptions();
        typeof(SourceOptions).GetProperty(setting)!.SetValue(options, value);
        Assert.Equal(told.Split('|', StringSplitOptions.RemoveEmptyEntries).Select(t => $"{setting}: {t}"), Faults(options));
    }

    private static IEnumerable<string> Faults(SourceOptions options) => options.Validate(new ValidationContext(options)).Select(f => $"{string.Join(',', f.MemberNames)}: {f.ErrorMessage}");

    /// <summary>The SDK goes on with a line for each place where it looked for credentials.</summary>
    [Theory]
    [InlineData("Access denied", "Access denied")]
    [InlineData(" Access denied. \nMore", "Access denied.")]
    [InlineData("Failed to resolve AWS credentials. The credential providers used to search for credentials returned the following errors:\n\nException 1", "Failed to resolve AWS credentials.")]
    [InlineData("One. Two. Three:", "One. Two.")]
    [InlineData("Alone:", "Alone:")]
    [InlineData(". x:", ". x:")]
    public void The_first_sentences_of_a_fault_are_told(string message, string told) => Assert.Equal(told, BucketListing.Words(new InvalidOperationException(message)));
}
