using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace FaceEmbedWorker.Tests.Broker;

/// <summary>Keeps what is logged, each line behind its level.</summary>
internal sealed class PaperLog : ILogger
{
    public ConcurrentQueue<string> Lines { get; } = new();

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Lines.Enqueue($"{logLevel}: {formatter(state, exception)}");

    public bool IsEnabled(LogLevel logLevel) => true;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;
}
