namespace FaceEmbedWorker.Commands;

/// <summary>Exit codes, after BSD's sysexits.h.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    /// <summary>Something was not embedded, for a reason other than having no face.</summary>
    public const int SomeFailed = 1;

    /// <summary>The command line is wrong.</summary>
    public const int Usage = 64;

    /// <summary>The broker refused us, or does not answer.</summary>
    public const int Unavailable = 69;

    /// <summary>A fault of this program.</summary>
    public const int Software = 70;

    /// <summary>A file that was asked for cannot be written.</summary>
    public const int CannotWrite = 73;

    /// <summary>A setting or a model is wrong.</summary>
    public const int Configuration = 78;

    /// <summary>SIGHUP: its terminal was closed; 128 and the signal's number, as below.</summary>
    public const int HungUp = 129;

    /// <summary>Ctrl-C.</summary>
    public const int Interrupted = 130;

    /// <summary>SIGTERM.</summary>
    public const int Terminated = 143;
}
