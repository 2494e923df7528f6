using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

public class BitReaderTests
{
    [Fact]
    public void Bits_come_from_the_left_and_zeros_behind_the_end()
    {
        var bits = new BitReader([0b1010_0101, 0b1100_0011]);
        Assert.Equal(0b101UL, bits.Read(3));
        Assert.Equal(0b0_0101_11UL, bits.Read(7));
        bits.Skip(4);
        Assert.Equal(0b1100UL, bits.Read(4)); // two of them are behind the end
        Assert.Equal(0UL, bits.Read(64));
        Assert.Equal(0UL, new BitReader([0xFF]).Read(0));
    }

    /// <summary>0 is 1, 1 is 010, 2 is 011, 3 is 00100, 6 is 00111, 7 is 0001000.</summary>
    [Fact]
    public void Numbers_of_Golomb_follow_one_another()
    {
        var bits = new BitReader([0b1_010_011_0, 0b0100_0011, 0b1_0001000]);
        Assert.Equal(0UL, bits.ReadGolomb());
        Assert.Equal(1UL, bits.ReadGolomb());
        Assert.Equal(2UL, bits.ReadGolomb());
        Assert.Equal(3UL, bits.ReadGolomb());
        Assert.Equal(6UL, bits.ReadGolomb());
        Assert.Equal(7UL, bits.ReadGolomb());
        Assert.Equal(0UL, bits.ReadGolomb());
    }

    /// <summary>A number that goes on for ever ends with 32 zeros, or with the bytes.</summary>
    [Fact]
    public void Zeros_are_counted_to_32()
    {
        Assert.Equal((1UL << 8) - 1, new BitReader([0]).ReadGolomb());
        Assert.Equal((1UL << 32) - 1 + 0x80000001, new BitReader([0, 0, 0, 0, 0x80, 0, 0, 1, 0xFF]).ReadGolomb());
        Assert.Equal((1UL << 32) - 1 + 0x00000001, new BitReader([0, 0, 0, 0, 0, 0, 0, 1, 0xFF]).ReadGolomb());
    }
}
