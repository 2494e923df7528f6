using System.Globalization;
using System.Net;
using System.Text;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Commands;

/// <summary>One page that holds all it shows: figures, histogram, curve, and the pairs that the model finds hardest.</summary>
internal static class VerifyReport
{
    private const int WorstPairs = 10;
    private const int Bins = 60;

    public static async Task<string> WriteAsync(VerifyFigures figures, Verification verification, IReadOnlyList<VerifyPair> pairs, ImageDecoder decoder, int maxBytes)
    {
        var page = new StringBuilder();
        page.Append(Invariant($$"""
            <!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>Verification of {{Escape(figures.Model)}}</title>
            <style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
            table{border-collapse:collapse}td{padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #dde3ea}svg{width:100%;max-width:44rem;height:auto}
            figure{display:inline-block;margin:0 1.5rem 1.5rem 0}figure img{width:112px;height:112px;margin-right:4px}figcaption{font-size:.85rem;color:#5a6675}
            .same{fill:#2a7de1}.different{fill:#e2703a}</style></head><body>
            <h1>Verification of {{Escape(figures.Model)}}</h1>
            <table>
            <tr><td>Embedding space</td><td>{{Escape(figures.Space)}}</td></tr>
            <tr><td>People, pictures, without a face</td><td>{{figures.People}}, {{figures.Pictures}}, {{figures.WithoutFace.Count}}</td></tr>
            <tr><td>Pairs of one person, of two</td><td>{{figures.SamePairs}}, {{figures.DifferentPairs}}</td></tr>
            <tr><td>Area under the curve (AUC)</td><td>{{figures.Auc:0.00000}}</td></tr>
            <tr><td>Equal error rate (EER)</td><td>{{figures.Eer * 100:0.00}} %</td></tr>
            <tr><td>Face taken of a picture</td><td>{{figures.Face}}</td></tr>
            <tr><td>FMR 1e-2 (1 false match in 100): threshold, same pairs matched</td><td>{{figures.ThresholdAtFmr1e2:0.000}}, {{figures.TarAtFmr1e2 * 100:0.00}} %</td></tr>
            <tr><td>FMR 1e-3 (1 in 1,000; the suggested threshold)</td><td>{{figures.SuggestedThreshold:0.000}}, {{figures.TarAtFmr1e3 * 100:0.00}} %</td></tr>
            <tr><td>FMR 1e-4 (1 in 10,000)</td><td>{{figures.ThresholdAtFmr1e4:0.000}}, {{figures.TarAtFmr1e4 * 100:0.00}} %</td></tr>
            </table>

            """));
        page.Append("<h2>Scores</h2><p>Cosine of pairs of <span style=\"color:#2a7de1\">one person</span> and of <span style=\"color:#e2703a\">two</span>, each as a share of its kind; the lines are the thresholds at FMR 1e-2, 1e-3 (the suggested one) and 1e-4.</p>");
        Histogram(page, pairs, [("1e-2", figures.ThresholdAtFmr1e2), ("1e-3", figures.SuggestedThreshold), ("1e-4", figures.ThresholdAtFmr1e4)]);
        page.Append("<h2>Curve (ROC)</h2><p>Share of same pairs matched over the share of different pairs matched, which is on a logarithmic scale.</p>");
        Curve(page, verification);
        page.Append("<h2>Hardest pairs of one person</h2>");
        await ShowAsync(page, pairs.Where(p => p.Same).OrderBy(p => p.Score).Take(WorstPairs), decoder, maxBytes);
        page.Append("<h2>Most similar pairs of two people</h2>");
        await ShowAsync(page, pairs.Where(p => !p.Same).OrderByDescending(p => p.Score).Take(WorstPairs), decoder, maxBytes);
        return page.Append("</body></html>\n").ToString();
    }

    private static void Histogram(StringBuilder page, IReadOnlyList<VerifyPair> pairs, IReadOnlyList<(string Name, double Value)> thresholds)
    {
        page.Append("<svg viewBox=\"0 0 660 230\" role=\"img\" aria-label=\"Histogram of scores\">");
        var kinds = new[] { (Class: "different", Scores: pairs.Where(p => !p.Same)), (Class: "same", Scores: pairs.Where(p => p.Same)) }
            .Select(kind => (kind.Class, Shares: Shares(kind.Scores.Select(p => p.Score).ToList()))).ToArray();
        var highest = kinds.Max(kind => kind.Shares.Max());
        foreach (var (style, shares) in kinds)
        {
            for (var bin = 0; bin < Bins; bin++)
            {
                var height = 190 * shares[bin] / highest;
                page.Append(Invariant($"<rect class=\"{style}\" fill-opacity=\".7\" x=\"{30 + bin * 10}\" y=\"{200 - height:0.0}\" width=\"9\" height=\"{height:0.0}\"/>"));
            }
        }

        for (var i = 0; i < thresholds.Count; i++)
        {
            var x = X(thresholds[i].Value);
            page.Append(Invariant($"<line x1=\"{x:0.0}\" x2=\"{x:0.0}\" y1=\"5\" y2=\"200\" stroke=\"#1c2430\" stroke-dasharray=\"4 3\"/><text x=\"{x + 3:0.0}\" y=\"{14 + 13 * i}\" font-size=\"11\">{thresholds[i].Name}</text>"));
        }

        for (var tick = -0.5; tick <= 1; tick += 0.25)
        {
            page.Append(Invariant($"<text x=\"{X(tick):0.0}\" y=\"220\" font-size=\"12\" text-anchor=\"middle\">{tick:0.00}</text>"));
        }

        page.Append("</svg>");

        static double X(double score) => 30 + (score + 0.5) / 1.5 * Bins * 10;

        static double[] Shares(List<double> scores)
        {
            var shares = new double[Bins];
            foreach (var score in scores)
            {
                shares[Math.Clamp((int)((score + 0.5) / 1.5 * Bins), 0, Bins - 1)] += 1.0 / scores.Count;
            }

            return shares;
        }
    }

    private static void Curve(StringBuilder page, Verification verification)
    {
        const double lowest = 1e-5;
        var points = verification.Curve().Select(p => Invariant($"{50 + 580 * Math.Log10(Math.Max(p.Fmr, lowest) / lowest) / -Math.Log10(lowest):0.0},{250 - 230 * p.Tar:0.0}"));
        page.Append("<svg viewBox=\"0 0 660 290\" role=\"img\" aria-label=\"ROC\">");
        for (var power = -5; power <= 0; power++)
        {
            var x = 50 + 116 * (power + 5);
            page.Append(Invariant($"<line x1=\"{x}\" x2=\"{x}\" y1=\"20\" y2=\"250\" stroke=\"#dde3ea\"/><text x=\"{x}\" y=\"270\" font-size=\"12\" text-anchor=\"middle\">1e{power}</text>"));
        }

        for (var tar = 0; tar <= 4; tar++)
        {
            var y = 250 - 57.5 * tar;
            page.Append(Invariant($"<line x1=\"50\" x2=\"630\" y1=\"{y}\" y2=\"{y}\" stroke=\"#dde3ea\"/><text x=\"44\" y=\"{y + 4}\" font-size=\"12\" text-anchor=\"end\">{tar * 0.25:0.00}</text>"));
        }

        page.Append(Invariant($"<polyline fill=\"none\" stroke=\"#2a7de1\" stroke-width=\"2\" points=\"{string.Join(' ', points.Distinct())}\"/></svg>"));
    }

    private static async Task ShowAsync(StringBuilder page, IEnumerable<VerifyPair> pairs, ImageDecoder decoder, int maxBytes)
    {
        foreach (var pair in pairs)
        {
            page.Append(Invariant($"<figure>{await ThumbnailAsync(pair.First, decoder, maxBytes)}{await ThumbnailAsync(pair.Second, decoder, maxBytes)}<figcaption>{pair.Score:0.000} · {Escape(Path.GetFileName(pair.First.File))} · {Escape(Path.GetFileName(pair.Second.File))}</figcaption></figure>"));
        }
    }

    /// <summary>The face with a quarter of its height around it; why there is none, where the picture is gone by now.</summary>
    private static async Task<string> ThumbnailAsync(VerifyPhoto photo, ImageDecoder decoder, int maxBytes)
    {
        try
        {
            var encoded = decoder.Open(await PictureFile.ReadAsync(photo.File, maxBytes, CancellationToken.None));
            using var picture = encoded.Decode(encoded.WithinMemory(1), CancellationToken.None);
            var (box, scale) = (photo.Face.Box!, picture.ScaleX);
            var side = Math.Max(1, (int)(1.5 * Math.Max(box.Width, box.Height) / scale));
            using var crop = Pixels.Cropped(picture, (int)((box.X + box.Width / 2) / scale) - side / 2, (int)((box.Y + box.Height / 2) / scale) - side / 2, side, side);
            using var small = Pixels.Resized(crop, 112, 112, PillowResize.Filter.Bicubic.Name);
            return $"<img alt=\"\" src=\"data:image/jpeg;base64,{Convert.ToBase64String(PictureEncoder.Jpeg(small, quality: 85))}\">";
        }
        catch (Exception e) when (e is ImageException or IOException or UnauthorizedAccessException)
        {
            return Escape($"{photo.File}: {e.Message} ");
        }
    }

    private static string Escape(string text) => WebUtility.HtmlEncode(text);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
