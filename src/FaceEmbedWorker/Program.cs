using System.CommandLine;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Commands;
using FaceEmbedWorker.Faces;

var root = new RootCommand("Takes photos from a RabbitMQ queue, finds and aligns every face, and publishes an embedding of each. Settings: --Section:Key=value.");
try
{
    var (arguments, settings) = Settings.Split(args);
    RunCommand.AddTo(root, settings);
    EmbedCommand.AddTo(root, settings);
    SubmitCommand.AddTo(root, settings);
    ResultsCommand.AddTo(root, settings);
    DeadLettersCommand.AddTo(root, settings);
    TopologyCommand.AddTo(root, settings);
    VerifyCommand.AddTo(root, settings);
    BenchCommand.AddTo(root, settings);
    ModelCommand.AddTo(root, settings);
    CheckCommand.AddTo(root, settings);
    HealthCommand.AddTo(root, settings);
    CompletionCommand.AddTo(root);

    var parsed = Arguments.Parse(root, arguments);
    if (Arguments.Wrong(parsed) is { Count: > 0 } wrong)
    {
        return Fail(ExitCode.Usage, $"{string.Join(' ', wrong.SelectMany(w => w.Split(['\r', '\n', '\t'], StringSplitOptions.RemoveEmptyEntries)))} See face-embed --help.");
    }

    return await parsed.InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null, EnableDefaultExceptionHandler = false });
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
