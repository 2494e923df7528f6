using System.Globalization;
using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Broker;

/// <summary>
/// What is said while there is no connection: of each try, or, where somebody waits for a tool, of each reason once; on a terminal one row.
/// </summary>
internal sealed partial class BrokerWait(string role, ILogger logger)
{
    /// <summary>How long somebody waits; null: nobody does.</summary>
    private TimeSpan? patience;

    /// <summary>Shows to a person what a tool waits for, each time in the last one's place; null takes it away. Unset: the log tells.</summary>
    public static Action<string?>? Show { get; set; }

    /// <summary>Where the broker should be and why there is no connection; empty before the first try, and while there is one.</summary>
    public string Trouble { get; set; } = "";

    /// <summary>Those that failed since somebody began to wait.</summary>
    public int Tries { get; private set; }

    public void Begin(TimeSpan limit) => (patience, Tries) = (limit, 0);

    public void End()
    {
        patience = null;
        Show?.Invoke(null);
    }

    /// <summary>A try begins, which may take its seconds.</summary>
    public void Try(string address)
    {
        if (patience is not null && Tries > 0)
        {
            Show?.Invoke($"Waiting for the broker at {address} (try {Tries + 1} now)");
        }
    }

    public void Failed(string address, string reason, TimeSpan next)
    {
        Tries++;
        var trouble = $" at {address}: {reason}";
        if (patience is null)
        {
            Waiting(logger, address, role, reason, next.TotalSeconds);
        }
        else if (Show is { } show)
        {
            show(string.Create(CultureInfo.InvariantCulture, $"Waiting for the broker at {address} (try {Tries}, next in {next.TotalSeconds:0.0} s): {reason}"));
        }
        else if (Trouble != trouble)
        {
            Trying(logger, address, role, reason, patience.Value.TotalSeconds);
        }

        Trouble = trouble;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Waiting for the broker at {Address} ({Role}): {Reason}; next try in {Seconds:0.0} s")]
    private static partial void Waiting(ILogger logger, string address, string role, string reason, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Waiting for the broker at {Address} ({Role}): {Reason}; trying for {Seconds:0.#} s")]
    private static partial void Trying(ILogger logger, string address, string role, string reason, double seconds);
}
