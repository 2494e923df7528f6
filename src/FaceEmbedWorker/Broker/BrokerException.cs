using System.Security.Authentication;
using System.Text.RegularExpressions;
using RabbitMQ.Client.Exceptions;

namespace FaceEmbedWorker.Broker;

/// <summary>The broker answered, and said no: waiting will not help. The message says what to do.</summary>
internal sealed class BrokerRefusedException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Puts what the client throws into words.</summary>
internal static partial class BrokerErrors
{
    /// <summary>The refusal that an exception stands for; null where waiting may help.</summary>
    public static BrokerRefusedException? Refusal(Exception exception, Uri broker)
    {
        var user = broker.UserInfo.Split(':')[0];
        foreach (var e in Chain(exception))
        {
            switch (e)
            {
                case BrokerRefusedException refused:
                    return refused;
                case AuthenticationException:
                    return Tls(broker, e);
                case AuthenticationFailureException when user.Length == 0:
                    return new($"The broker at {broker.Host}:{broker.Port} refused the login: Broker:Uri names no user. Name one with its password, or show a certificate and have the broker take certificates (rabbitmq_auth_mechanism_ssl) and a user of the certificate's name.", exception);
                case AuthenticationFailureException:
                    return new($"The broker at {broker.Host}:{broker.Port} refused the login of user '{user}'. Correct the user and password in Broker:Uri.", exception);
                case OperationInterruptedException { ShutdownReason: { ReplyCode: 530 } reason }:
                    return NotLetIn(broker, user, reason.ReplyText, exception);
                case OperationInterruptedException { ShutdownReason: { ReplyCode: 403 } reason }:
                    return new($"User '{user}' may not do this on the broker at {broker.Host}:{broker.Port}: {reason.ReplyText}. {Grant(reason.ReplyText)} deploy/README.md lists what each role needs; a worker that may not declare runs with Broker:Declare=false, once face-embed topology declare has.", exception);
            }
        }

        return null;
    }

    /// <summary>What to grant, by the broker's own words (RabbitMQ 3 does not say which of the three); a queue of one's own has a name that is new each time.</summary>
    private static string Grant(string reply) => Missing().Match(reply) is { Success: true } m
        ? $"Grant it {(m.Groups["right"] is { Success: true } right ? right.Value : "what it lacks of configure, write and read")} on ^{Own().Replace(Regex.Escape(m.Groups["name"].Value), "$1.*")}$ (rabbitmqctl set_permissions)."
        : "Grant the permission (rabbitmqctl set_permissions).";

    [GeneratedRegex("(?:(?<right>configure|write|read) )?access to (queue|exchange|topic) '(?<name>[^']+)'")]
    private static partial Regex Missing();

    /// <summary>What is random in the names of queues that end with their connection.</summary>
    [GeneratedRegex(@"(\.submit\\\.|^amq\\\.gen).*$")]
    private static partial Regex Own();

    /// <summary>530: the virtual host is not there, is another's, or takes no more connections.</summary>
    private static BrokerRefusedException NotLetIn(Uri broker, string user, string reply, Exception e)
    {
        var host = Uri.UnescapeDataString(broker.AbsolutePath.TrimStart('/')) is { Length: > 0 } named ? named : "/";
        var told = $"The broker at {broker.Host}:{broker.Port} does not let {(user.Length > 0 ? $"user '{user}'" : "the certificate's user")} into the virtual host '{host}': {reply}";
        return new(reply.EndsWith("not found", StringComparison.Ordinal) ? $"{told}. Correct the end of Broker:Uri, or make it: rabbitmqctl add_vhost '{host}'."
            : reply.Contains("limit", StringComparison.Ordinal) || !reply.Contains("refused for user", StringComparison.Ordinal) ? $"{told}."
            : $"{told}. Grant it what deploy/README.md lists for its role: rabbitmqctl set_permissions -p '{host}' {(user.Length > 0 ? user : "USER")} CONFIGURE WRITE READ.", e);
    }

    /// <summary>What is said of a publish that the user has no right to; null where that is not why it failed.</summary>
    public static BrokerRefusedException? MayNotHandIn(Exception exception, Uri broker, string exchange) =>
        Chain(exception).OfType<OperationInterruptedException>().FirstOrDefault(e => e.ShutdownReason is { ReplyCode: 403 }) is { ShutdownReason: { } reason }
            ? new($"User '{broker.UserInfo.Split(':')[0]}' may not hand jobs in at the broker at {broker.Host}:{broker.Port}: {reason.ReplyText}. Grant it write on ^{Regex.Escape(exchange)}$ (rabbitmqctl set_permissions; deploy/README.md lists what each role needs).", exception)
            : null;

    /// <summary>The other side's certificate is not for its name, or of no authority that is trusted.</summary>
    public static BrokerRefusedException Tls(Uri broker, Exception e) =>
        new($"{broker.Host}:{broker.Port} and this program do not agree on TLS: {e.Message.TrimEnd('.')}. Does it speak TLS at this port? Is its certificate for the name {broker.Host}, and signed by an authority in Broker:CaFile?", e);

    /// <summary>What is said of a connection that the broker has blocked (connection.blocked), with its own reason.</summary>
    public static string Alarm(string reason) => $"The broker takes no messages: {reason} (an alarm of its memory or disk).";

    /// <summary>For a tool that somebody waits for: the alarm has not ended in that time.</summary>
    public static BrokerRefusedException AlarmStays(string reason, TimeSpan waited) =>
        new($"{Alarm(reason)} It has not ended in {waited.TotalSeconds:0.#} s. End it, and try again: what was confirmed is on its queue.");

    /// <summary>One line, without credentials.</summary>
    public static string Describe(Exception exception)
    {
        var innermost = Chain(exception).Last();
        return Chain(exception).OfType<BrokerRefusedException>().FirstOrDefault() is { } refused ? refused.Message.TrimEnd('.').ReplaceLineEndings(" ")
            : innermost is OperationInterruptedException { ShutdownReason: { } reason } ? $"{reason.ReplyText} ({reason.ReplyCode})"
            : innermost is OperationCanceledException ? "no answer in time"
            : innermost.Message.TrimEnd('.').ReplaceLineEndings(" ");
    }

    private static IEnumerable<Exception> Chain(Exception exception)
    {
        for (var e = exception; e is not null; e = e is AggregateException { InnerExceptions: [var first, ..] } ? first : e.InnerException)
        {
            yield return e;
        }
    }
}
