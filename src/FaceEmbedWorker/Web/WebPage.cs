using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;

namespace FaceEmbedWorker.Web;

/// <summary>
/// A page of this program: one answer with all that it needs. Its policy lets no style and no script run but the page's own, by their
/// hashes.
/// </summary>
internal sealed partial class WebPage
{
    private readonly byte[] page;
    private readonly string policy;

    /// <param name="name">An embedded file; where it names another as <c>{{page.css}}</c>, it gets what all pages share.</param>
    public WebPage(string name)
    {
        var html = Shared().Replace(Encoding.UTF8.GetString(Read(name)), shared => Encoding.UTF8.GetString(Read(shared.Groups[1].Value)));
        page = Encoding.UTF8.GetBytes(html);
        policy = $"default-src 'none'; style-src {Hash(Style().Match(html))}; script-src {Hash(Script().Match(html))}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    }

    public static byte[] Read(string name)
    {
        using var resource = typeof(WebPage).Assembly.GetManifestResourceStream(name)!;
        using var bytes = new MemoryStream();
        resource.CopyTo(bytes);
        return bytes.ToArray();
    }

    public Task WriteAsync(HttpContext context) => WriteAsync(context, "text/html; charset=utf-8", page, policy);

    /// <summary>Writes what a browser is neither to keep, nor to take for anything else, nor to show to another site.</summary>
    public static async Task WriteAsync(HttpContext context, string type, byte[] bytes, string policy = "default-src 'none'; frame-ancestors 'none'")
    {
        var headers = context.Response.Headers;
        (headers.ContentType, headers.CacheControl, headers.XContentTypeOptions, headers.ContentSecurityPolicy) = (type, "no-store", "nosniff", policy);
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers["Referrer-Policy"] = "no-referrer";
        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
    }

    private static string Hash(Match element) => $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(element.Groups[1].Value)))}'";

    [GeneratedRegex(@"\{\{(page\.\w+)\}\}")]
    private static partial Regex Shared();

    [GeneratedRegex("<style>(.*?)</style>", RegexOptions.Singleline)]
    private static partial Regex Style();

    [GeneratedRegex("<script>(.*?)</script>", RegexOptions.Singleline)]
    private static partial Regex Script();
}
