using FaceEmbedWorker.Commands;

namespace FaceEmbedWorker.Tests.Commands;

/// <summary>When a quantised model is written, from figures that are given: nothing is timed here.</summary>
public class QuantizeFiguresTests
{
    [Theory]
    [InlineData(3.07, 0.004, 0.004, 0.99)]
    [InlineData(1.30, 0.004, 0.005, 0.90)] // .1 point is not more than .1 point; people say more than cosines
    [InlineData(1.31, 0.004, 0.001, 0.90)]
    [InlineData(2.00, null, null, 0.95)]
    public void What_pays_is_written(double speed, double? before, double? after, double cosine) => Assert.Null(Figures(speed, before, after, cosine).Refusal);

    [Theory]
    [InlineData(3.07, 0.0035, 0.0049, 0.99, "EER rises from 0.35 to 0.49 %, by more than .1 point")]
    [InlineData(1.29, 0.004, 0.004, 0.99, "1.29 times as fast on this machine, and less than 1.3 times is not worth another space. Nothing")]
    [InlineData(0.80, 0.004, 0.300, 0.50, "0.80 times as fast")]
    [InlineData(2.00, null, null, 0.94, "median cosine of 0.940")]
    [InlineData(2.00, null, null, double.NaN, "median cosine of NaN")]
    public void What_does_not_is_refused_with_the_reason(double speed, double? before, double? after, double cosine, string reason) =>
        Assert.Contains(reason, Figures(speed, before, after, cosine).Refusal, StringComparison.Ordinal);

    [Fact]
    public void A_MobileFaceNet_is_told_that_it_gains_nothing() =>
        Assert.Contains("It is a MobileFaceNet, or built like one", (Figures(1.14, 0, 0, 0.97) with { IsMobile = true }).Refusal, StringComparison.Ordinal);

    private static QuantizeFigures Figures(double speed, double? before, double? after, double cosine) =>
        new("model", "model-int8", "0123456789ab", 100, 100, cosine, cosine - 0.1, 450, 4500, before, after, 10, 10 * speed, speed, 4000, 1000);
}
