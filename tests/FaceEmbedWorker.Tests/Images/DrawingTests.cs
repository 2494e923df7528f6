using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class DrawingTests
{
    [Theory]
    [InlineData("0", ".....|.###.|.#.#.|.#.#.|.#.#.|.###.|.....")]
    [InlineData("1", ".....|..#..|.##..|..#..|..#..|.###.|.....")]
    [InlineData("2", ".....|.###.|...#.|.###.|.#...|.###.|.....")]
    [InlineData("3", ".....|.###.|...#.|.###.|...#.|.###.|.....")]
    [InlineData("4", ".....|.#.#.|.#.#.|.###.|...#.|...#.|.....")]
    [InlineData("5", ".....|.###.|.#...|.###.|...#.|.###.|.....")]
    [InlineData("6", ".....|.###.|.#...|.###.|.#.#.|.###.|.....")]
    [InlineData("7", ".....|.###.|...#.|..#..|..#..|..#..|.....")]
    [InlineData("8", ".....|.###.|.#.#.|.###.|.#.#.|.###.|.....")]
    [InlineData("9", ".....|.###.|.#.#.|.###.|...#.|.###.|.....")]
    [InlineData("0.9", ".............|.###.....###.|.#.#.....#.#.|.#.#.....###.|.#.#.......#.|.###..#..###.|.............")]
    public void A_number_is_green_on_black_above_its_corner(string text, string dots)
    {
        using var picture = White(40, 40);
        Drawing.Number(picture, 3, 20, text);
        var rows = dots.Split('|');
        for (var i = 0; i < 1600; i++)
        {
            var (x, y) = (i % 40, i / 40);
            var (column, row) = (x - 3, y - 6); // a dot is 2 x 2 pixels, and 7 of them stand above
            var place = column >= 0 && column / 2 < rows[0].Length && row is >= 0 and < 14 ? rows[row / 2][column / 2] : ' ';
            Assert.Equal((x, y, place), (x, y, Shown(picture, x, y) switch { 'g' => '#', 'b' => '.', 'w' => ' ', var other => other }));
        }
    }

    [Theory]
    [InlineData(13, 13)]
    [InlineData(14, 0)]
    public void A_number_without_room_above_stands_below_its_corner(int y, int top)
    {
        using var picture = White(40, 40);
        Drawing.Number(picture, 0, y, "1");
        Assert.Equal("bb", $"{Shown(picture, 0, top)}{Shown(picture, 0, top + 13)}");
        Assert.Equal('w', Shown(picture, 0, top + 14));
        Assert.Equal('w', Shown(picture, 0, top == 0 ? 39 : top - 1));
    }

    [Theory]
    [InlineData(40, 40, 1)]
    [InlineData(599, 40, 1)]
    [InlineData(600, 40, 2)]
    [InlineData(40, 900, 3)]
    public void A_box_and_a_dot_are_drawn_by_lines_as_wide_as_suits_the_picture(int width, int height, int line)
    {
        using var picture = White(width, height);
        Drawing.Box(picture, 5, 6, 20, 15);
        for (var i = 0; i < 1600; i++)
        {
            var (x, y) = (i % 40, i / 40);
            var inside = x is >= 5 and < 25 && y is >= 6 and < 21;
            var edge = inside && (x < 5 + line || x >= 25 - line || y < 6 + line || y >= 21 - line);
            Assert.Equal((x, y, edge ? 'g' : 'w'), (x, y, Shown(picture, x, y)));
        }

        using var dotted = White(width, height);
        Drawing.Dot(dotted, 20.9, 10.2);
        for (var i = 0; i < 1600; i++)
        {
            var (x, y) = (i % 40, i / 40);
            Assert.Equal((x, y, Math.Abs(x - 20) <= line && Math.Abs(y - 10) <= line ? 'y' : 'w'), (x, y, Shown(dotted, x, y)));
        }
    }

    private static char Shown(Picture picture, int x, int y) => (picture.Row(y)[x * 3], picture.Row(y)[x * 3 + 1], picture.Row(y)[x * 3 + 2]) switch
    {
        (255, 255, 255) => 'w',
        (0, 0, 0) => 'b',
        (64, 224, 96) => 'g',
        (255, 208, 0) => 'y',
        _ => '?',
    };

    private static Picture White(int width, int height)
    {
        var picture = new Picture(width, height);
        picture.Pixels.Fill(255);
        return picture;
    }
}
