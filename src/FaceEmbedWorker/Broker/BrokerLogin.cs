using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Broker;

/// <summary>How the worker makes itself known to the broker, and the broker to it.</summary>
internal static class BrokerLogin
{
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(15);

    /// <param name="role">Part of the connection's name on the broker.</param>
    /// <exception cref="BrokerRefusedException">A certificate cannot be read.</exception>
    public static ConnectionFactory Factory(BrokerOptions options, string role)
    {
        var uri = new Uri(options.CurrentUri);
        var factory = new ConnectionFactory
        {
            Uri = uri,
            ClientProvidedName = $"face-embed/{Environment.MachineName}/{role}",
            AutomaticRecoveryEnabled = false,
            TopologyRecoveryEnabled = false,
            RequestedHeartbeat = TimeSpan.FromSeconds(30),
            RequestedConnectionTimeout = AnswerTime,
            MaxInboundMessageBodySize = 128 * 1024 * 1024,
            RequestedFrameMax = 128 * 1024, // RabbitMQ's own; it bounds how deep a message's headers can be nested, which the client reads by recursion
        };
        factory.Ssl.ServerName = factory.HostName;
        factory.Ssl.AcceptablePolicyErrors = SslPolicyErrors.None; // the client lets any name pass otherwise
        if (options.CaFile.Length > 0)
        {
            var authorities = Read(options.CaFile, "Broker:CaFile", file =>
            {
                var found = new X509Certificate2Collection();
                found.ImportFromPemFile(file);
                return found.Count > 0 ? found : throw new CryptographicException("it holds no certificate in PEM");
            });
            factory.Ssl.CertificateValidationCallback = (_, certificate, sent, errors) => Trusts(authorities, certificate, sent, errors);
        }

        if (options.CertificateFile.Length > 0)
        {
            var key = options.CertificateKeyFile.Length > 0 ? options.CertificateKeyFile : null;
            factory.Ssl.Certs = [Read(options.CertificateFile, "Broker:CertificateFile", file => X509Certificate2.CreateFromPemFile(file, key))];
            if (uri.UserInfo.Length == 0) // the factory has filled in guest
            {
                factory.AuthMechanisms = [new ExternalMechanismFactory()];
            }
        }

        return factory;
    }

    /// <summary>The name of the broker's certificate must fit, and one of the authorities must have signed it.</summary>
    private static bool Trusts(X509Certificate2Collection authorities, X509Certificate? certificate, X509Chain? sent, SslPolicyErrors errors)
    {
        if (certificate is not X509Certificate2 shown || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0)
        {
            return false;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.ExtraStore.AddRange(sent?.ChainPolicy.ExtraStore ?? []); // those between, which the broker sends along
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck; // an authority of one's own rarely has a list
        return chain.Build(shown);
    }

    private static T Read<T>(string file, string setting, Func<string, T> read)
    {
        try
        {
            return read(file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new BrokerRefusedException($"{setting} {file} cannot be used: {e.Message.TrimEnd('.')}. It must be a certificate in PEM, with its key there or in Broker:CertificateKeyFile.", e);
        }
    }
}
