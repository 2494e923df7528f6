using FaceEmbedWorker.Faces;

namespace FaceEmbedWorker.Tests.Faces;

public class LandmarksTests
{
    /// <summary>Lids without the corners of the eyes, the tip of the nose, both corners of the lips (iBUG 300-W, from 0).</summary>
    [Theory]
    [InlineData(0, new[] { 37, 38, 40, 41 })]
    [InlineData(1, new[] { 43, 44, 46, 47 })]
    [InlineData(2, new[] { 30 })]
    [InlineData(3, new[] { 48, 60 })]
    [InlineData(4, new[] { 54, 64 })]
    public void Five_points_are_means_of_the_68(int point, int[] of)
    {
        for (var i = 0; i < 68; i++)
        {
            var points = new float[136];
            (points[2 * i], points[2 * i + 1]) = (12, 24);
            Assert.Equal(of.Contains(i) ? new Point(12.0 / of.Length, 24.0 / of.Length) : default, Landmarks.Five(points)[point]);
        }
    }
}
