namespace FaceEmbedWorker.Images;

/// <summary>Bits from the left; behind the end there are zeros.</summary>
internal ref struct BitReader(ReadOnlySpan<byte> bytes)
{
    private readonly ReadOnlySpan<byte> bytes = bytes;
    private int at;

    public ulong Read(int count)
    {
        ulong value = 0;
        for (; count > 0; count--, at++)
        {
            value = value << 1 | (at / 8 < bytes.Length ? (ulong)(bytes[at / 8] >> 7 - at % 8 & 1) : 0);
        }

        return value;
    }

    public void Skip(int count) => at += count;

    /// <summary>
    /// An unsigned Exp-Golomb number: as many zeros as bits follow the one behind them (<c>ue(v)</c>, and AV1's <c>uvlc()</c>).
    /// </summary>
    public ulong ReadGolomb()
    {
        var zeros = 0;
        while (zeros < 32 && at / 8 < bytes.Length && Read(1) == 0)
        {
            zeros++;
        }

        return (1UL << zeros) - 1 + Read(zeros);
    }
}
