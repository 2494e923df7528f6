using System.CommandLine;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Commands;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;

var root = new RootCommand("Takes photos from a RabbitMQ queue, finds and aligns every face, and publishes an embedding of each. Settings: --Section:Key=value.");
try
{
    var (arguments, settings) = Settings.Split(args);
    Verbs.AddTo(root, settings);

    var parsed = Arguments.Parse(root, arguments);
    if (Arguments.Wrong(parsed) is { Count: > 0 } wrong)
    {
        return Fail(ExitCode.Usage, $"{string.Join(' ', wrong.SelectMany(w => w.Split(['\r', '\n', '\t'], StringSplitOptions.RemoveEmptyEntries)))} See {$"face-embed {Arguments.Path(parsed.CommandResult.Command)}".TrimEnd()} --help.");
    }

    using var help = new StringWriter(); // help, version and completions: printed as all else is
    var invocation = new InvocationConfiguration { ProcessTerminationTimeout = null, EnableDefaultExceptionHandler = false, Output = help };
    if (parsed.CommandResult.Command.Name == RunCommand.Name)
    {
        return await InvokeAsync(CancellationToken.None); // the worker has its own way to stop
    }

    using var interrupt = new Interrupt();
    HandedFile.Ending = interrupt.Token;
    try
    {
        return await InvokeAsync(interrupt.Token);
    }
    catch (OperationCanceledException) when (interrupt.Token.IsCancellationRequested)
    {
        return Fail(interrupt.Code, "interrupted.");
    }

    async Task<int> InvokeAsync(CancellationToken cancel)
    {
        var code = await parsed.InvokeAsync(invocation, cancel);
        if (help.ToString().TrimEnd() is { Length: > 0 } text)
        {
            Screen.SayLines(text);
        }

        return code;
    }
}
catch (Exception e) when (e is SettingsException or ModelException)
{
    return Fail(ExitCode.Configuration, e.Message);
}
catch (OutputException e)
{
    return Fail(ExitCode.CannotWrite, e.Message);
}
catch (BrokerRefusedException e)
{
    return Fail(ExitCode.Unavailable, e.Message);
}
catch (Exception e)
{
    Screen.Complain(e);
    return ExitCode.Software;
}

static int Fail(int code, string message)
{
    Screen.Complain(message);
    return code;
}
