using System.Globalization;
using System.Net;
using System.Text;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;

namespace FaceEmbedWorker.Commands;

/// <summary>One page that holds all it shows: figures, histogram, curve, and the pairs that the model finds hardest.</summary>
internal static class VerifyReport
{
    private const int WorstPairs = 10;
    private const int Bins = 60;

    private const int LeastPeople = 10, LeastSame = 30, LeastDifferent = 1000;

    /// <summary>An equal error rate at which no threshold is worth its name.</summary>
    private const double NoUse = 0.2;

    /// <param name="conditions">What was measured, when and with which settings.</param>
    public static async Task<string> WriteAsync(VerifyFigures figures, string conditions, Verification verification, IReadOnlyList<VerifyPair> pairs, ImageDecoder decoder, int maxBytes)
    {
        var page = new StringBuilder();
        page.Append(Invariant($$"""
            <!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>Verification of {{Escape(figures.Model)}}</title>
            <style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
            h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem}.verdict{font-size:1.15rem}.small{font-size:.85rem;color:#5a6675;overflow-wrap:anywhere}
            .wide{overflow-x:auto}table{border-collapse:collapse}td,th{padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #dde3ea;text-align:left;font-weight:normal;vertical-align:top}
            th{color:#5a6675}svg{width:100%;max-width:44rem;height:auto}svg text{font-size:12px;fill:#1c2430}
            .pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(14.5rem,1fr));gap:1.5rem}figure{margin:0}figure div{display:flex;gap:4px}
            figure img,figure .gone{width:112px;height:112px;font-size:.75rem;overflow:hidden}figcaption{font-size:.85rem;color:#5a6675;overflow-wrap:anywhere}
            .same{fill:#2a7de1}.different{fill:#e2703a}</style></head><body>
            <h1>Verification of {{Escape(figures.Model)}}</h1>
            <p class="verdict">{{Escape(Verdict(figures, "the pairs below"))}}</p>
            <p class="small">{{Escape(conditions)}}; face taken of a picture: {{figures.Face}}; embedding space {{Escape(figures.Space)}}</p>
            <h2>Thresholds</h2><p>Two faces are taken for one person where the cosine of their vectors is above the threshold. The lower it is, the more strangers match.</p>
            <div class="wide"><table>
            <tr><th>false match rate (FMR)</th><th>threshold</th><th>pairs of one person that match (TAR)</th><th>95 % interval</th></tr>
            {{Threshold("1 in 100 (1e-2)", figures.ThresholdAtFmr1e2, figures.TarAtFmr1e2, figures.TarAtFmr1e2Interval)}}
            {{Threshold(NoThreshold(figures) is null ? "1 in 1,000 (1e-3), suggested" : "1 in 1,000 (1e-3)", figures.ThresholdAtFmr1e3, figures.TarAtFmr1e3, figures.TarAtFmr1e3Interval)}}
            {{Threshold("1 in 10,000 (1e-4)", figures.ThresholdAtFmr1e4, figures.TarAtFmr1e4, figures.TarAtFmr1e4Interval)}}
            </table></div>
            <h2>What was measured</h2>
            <div class="wide"><table>
            <tr><td>People</td><td>{{figures.People:N0}}</td></tr>
            <tr><td>Pictures with a face</td><td>{{figures.Pictures:N0}}</td></tr>
            <tr><td>Pictures without a face, left out</td><td>{{figures.WithoutFace.Count:N0}}</td></tr>
            <tr><td>Files that give no picture, left out</td><td>{{figures.NoPicture.Count:N0}}</td></tr>
            <tr><td>Pairs of one person</td><td>{{figures.SamePairs:N0}}</td></tr>
            <tr><td>Pairs of two people</td><td>{{figures.DifferentPairs:N0}}</td></tr>
            <tr><td>Equal error rate (EER), 95 % interval</td><td>{{figures.Eer * 100:0.00}} %, {{(figures.EerInterval is [var low, var high] ? Invariant($"{low * 100:0.00} to {high * 100:0.00}") : "too little to tell")}}</td></tr>
            <tr><td>Area under the curve (AUC)</td><td>{{figures.Auc:0.00000}}</td></tr>
            </table></div>
            <p class="small">The intervals come from a bootstrap over people: they say how much the figures would differ with other people of the same kind, and nothing about people of another kind.</p>

            """));
        page.Append("<h2>Scores</h2><p>Cosines of pairs of <span style=\"color:#2a7de1\">one person</span> and of <span style=\"color:#c2521c\">two</span>; the lines are the three thresholds, by their false match rate.</p>");
        Histogram(page, pairs, [("1e-2", figures.ThresholdAtFmr1e2), ("1e-3", figures.ThresholdAtFmr1e3), ("1e-4", figures.ThresholdAtFmr1e4)]);
        page.Append("<h2>Curve (ROC)</h2><p>What each threshold gives: the more pairs of one person match, the more of two people do.</p>");
        Curve(page, verification);
        page.Append("<h2>Hardest pairs of one person</h2><p>Low scores. Often a wrong name in the data, a profile, or a face that is hardly to be seen.</p>");
        await ShowAsync(page, pairs.Where(p => p.Same).OrderBy(p => p.Score).Take(WorstPairs), figures.ThresholdAtFmr1e3, decoder, maxBytes);
        page.Append("<h2>Most similar pairs of two people</h2><p>High scores. Often one person under two names, relatives, or children.</p>");
        await ShowAsync(page, pairs.Where(p => !p.Same).OrderByDescending(p => p.Score).Take(WorstPairs), figures.ThresholdAtFmr1e3, decoder, maxBytes);
        return page.Append("</body></html>\n").ToString();
    }

    /// <summary>What the figures mean, in words.</summary>
    /// <param name="pairs">Where the worst pairs are to be seen.</param>
    internal static string Verdict(VerifyFigures figures, string pairs)
    {
        if (IsTooLittle(figures))
        {
            return Invariant($"Too little to tell: {Plural.Of(figures.People, "person", "people")}, {Plural.Of(figures.SamePairs, "pair")} of one person and {Plural.Of(figures.DifferentPairs, "pair")} of two. It wants {LeastPeople} people or more, {LeastSame} pairs of one person and {LeastDifferent:N0} of two: ten people with five pictures each have them. The figures below are of these pictures alone.");
        }

        var quality = figures.Eer switch
        {
            < 0.01 => "The model tells these people apart well.",
            < 0.05 => $"The model tells most of these people apart; {pairs} show which it does not.",
            < NoUse => $"The model often mistakes these people for each other: {pairs} may say why.",
            _ => $"The model does not tell these people apart: face-embed model check says whether it is worth anything, and {pairs} whether the names are right.",
        };
        var few = figures.DifferentPairs < 10_000 ? Invariant($" With {figures.DifferentPairs:N0} pairs of two people, the threshold for 1 in 10,000 is a guess.") : "";
        return figures.Eer >= NoUse ? quality : Invariant($"{quality} At a threshold of {figures.ThresholdAtFmr1e3:0.000}, where 1 in 1,000 pairs of two people match, {figures.TarAtFmr1e3 * 100:0.0} % of the pairs of one person do.{few}");
    }

    /// <summary>Fewer people draw an interval of no meaning, and fewer pairs of two no rate of 1 in 1,000.</summary>
    internal static bool IsTooLittle(VerifyFigures figures) => figures.People < LeastPeople || figures.SamePairs < LeastSame || figures.DifferentPairs < LeastDifferent;

    /// <summary>Why no threshold is suggested; null where one is.</summary>
    internal static string? NoThreshold(VerifyFigures figures) => IsTooLittle(figures) ? "none: too little to tell" : figures.Eer >= NoUse ? "none: the model does not tell these people apart" : null;

    private static string Threshold(string rate, double threshold, double tar, double[]? interval) =>
        Invariant($"<tr><td>{rate}</td><td>{threshold:0.000}</td><td>{tar * 100:0.00} %</td><td>{(interval is null ? "too little to tell" : Invariant($"{interval[0] * 100:0.0} to {interval[1] * 100:0.0} %"))}</td></tr>");

    private static void Histogram(StringBuilder page, IReadOnlyList<VerifyPair> pairs, IReadOnlyList<(string Name, double Value)> thresholds)
    {
        page.Append("<svg viewBox=\"0 0 660 250\" role=\"img\" aria-label=\"Histogram of scores\">");
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
            page.Append(Invariant($"<line x1=\"{x:0.0}\" x2=\"{x:0.0}\" y1=\"5\" y2=\"200\" stroke=\"#1c2430\" stroke-dasharray=\"4 3\"/><text x=\"{x + 3:0.0}\" y=\"{14 + 13 * i}\">{thresholds[i].Name}</text>"));
        }

        for (var tick = -0.5; tick <= 1; tick += 0.25)
        {
            page.Append(Invariant($"<text x=\"{X(tick):0.0}\" y=\"218\" text-anchor=\"middle\">{tick:0.00}</text>"));
        }

        page.Append("<line x1=\"30\" x2=\"630\" y1=\"200\" y2=\"200\" stroke=\"#5a6675\"/><text x=\"330\" y=\"242\" text-anchor=\"middle\">cosine of two faces</text>");
        page.Append("<text x=\"-105\" y=\"18\" transform=\"rotate(-90)\" text-anchor=\"middle\">share of pairs of its kind</text></svg>");

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
        page.Append("<svg viewBox=\"0 0 660 300\" role=\"img\" aria-label=\"ROC\">");
        for (var power = -5; power <= 0; power++)
        {
            var x = 50 + 116 * (power + 5);
            page.Append(Invariant($"<line x1=\"{x}\" x2=\"{x}\" y1=\"20\" y2=\"250\" stroke=\"#dde3ea\"/><text x=\"{x}\" y=\"270\" text-anchor=\"middle\">1e{power}</text>"));
        }

        for (var tar = 0; tar <= 4; tar++)
        {
            var y = 250 - 57.5 * tar;
            page.Append(Invariant($"<line x1=\"50\" x2=\"630\" y1=\"{y}\" y2=\"{y}\" stroke=\"#dde3ea\"/><text x=\"44\" y=\"{y + 4}\" text-anchor=\"end\">{tar * 0.25:0.00}</text>"));
        }

        page.Append(Invariant($"<polyline fill=\"none\" stroke=\"#2a7de1\" stroke-width=\"2\" points=\"{string.Join(' ', points.Distinct())}\"/>"));
        page.Append("<text x=\"340\" y=\"292\" text-anchor=\"middle\">pairs of two people that match (FMR)</text><text x=\"-135\" y=\"12\" transform=\"rotate(-90)\" text-anchor=\"middle\">pairs of one person that match (TAR)</text></svg>");
    }

    private static async Task ShowAsync(StringBuilder page, IEnumerable<VerifyPair> pairs, double threshold, ImageDecoder decoder, int maxBytes)
    {
        page.Append("<div class=\"pairs\">");
        foreach (var pair in pairs)
        {
            var (over, gap) = (pair.Score > threshold ? "above" : "below", Math.Abs(pair.Score - threshold));
            page.Append(Invariant($"<figure><div>{await ThumbnailAsync(pair.First, decoder, maxBytes)}{await ThumbnailAsync(pair.Second, decoder, maxBytes)}</div><figcaption>{pair.Score:0.000}, {gap:0.000} {over} {threshold:0.000}<br>{Escape(Name(pair.First))}<br>{Escape(Name(pair.Second))}</figcaption></figure>"));
        }

        page.Append("</div>");

        static string Name(VerifyPhoto photo) => $"{photo.Person}, {Path.GetFileName(photo.File)}";
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
            return $"<span class=\"gone\">{Escape($"{photo.File}: {e.Message}")}</span>";
        }
    }

    private static string Escape(string text) => WebUtility.HtmlEncode(text);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
